#include "kernels.h"

int32_t begin(int32_t *head, uint16_t *mem) {
    int32_t sign = open_trial(head);
    rest(head, mem);
    if (sign > 0) {
        int32_t *e = head + head[ELIGIBILITY_AT];
        int32_t n = head[N_WEIGHTS];
        for (int32_t k = 0; k < n; k++)
            e[k] = 0;
    }
    return 0;
}

static void accumulate(int32_t *head, const uint16_t *mem) {
    int32_t *e = head + head[ELIGIBILITY_AT];
    const uint16_t *sign = mem + head[SIGNS_AT];
    const int16_t *signal = (const int16_t *)mem + head[SIGNALS_AT];
    const layer_t *layer = layers(head);
    int32_t n_layers = head[N_LAYERS];
    for (int32_t k = 0; k < n_layers; k++, layer++) {
        int32_t n_in = layer->n_in, n_out = layer->n_out, one = 1 << layer->input_frac;
        uint32_t bits = 0;
        for (int32_t i = 0; i < n_out; i++) {
            if (i % 16 == 0)
                bits = *sign++;
            if (bits & 1) {
                for (int32_t j = 0; j < n_in; j++)
                    *e++ += signal[j];
                *e++ += one;
            } else {
                for (int32_t j = 0; j < n_in; j++)
                    *e++ -= signal[j];
                *e++ -= one;
            }
            bits >>= 1;
        }
        signal += n_in;
    }
}

// Under EACH_STEP: 2**-TRACE_SHIFT of every eligibility goes, rounded away from zero.
static void fade(int32_t *head) {
    int32_t *e = head + head[ELIGIBILITY_AT];
    int32_t n = head[N_WEIGHTS], shift = head[TRACE_SHIFT], below = (1 << shift) - 1, limit = (1 << 30) - (1 << 15);
    for (int32_t k = 0; k < n; k++) {
        int32_t v = e[k];
        v -= (v > 0 ? v + below : v) >> shift;
        e[k] = v > limit ? limit : v < -limit ? -limit : v;
    }
}

static int32_t joint_magnitude(const int32_t *e, int32_t n) {
    int32_t m = 0;
    for (int32_t k = 0; k < n; k++)
        m |= magnitude(e[k]);
    return m;
}

static int32_t move_along_eligibility(int32_t *head, int16_t *w, const int32_t *e, int32_t n, int32_t e_shift,
                                      int32_t q, int32_t shift, int32_t r) {
    int32_t limit = head[LIMIT], saturated = head[SATURATED], stride = STRIDE * head[STOCHASTIC];
    for (int32_t k = 0; k < n; k++) {
        int32_t v = w[k] - round_by(to_zero(e[k], e_shift) * q, shift, r);
        if (v > limit) {
            v = limit;
            saturated++;
        } else if (v < -limit) {
            v = -limit;
            saturated++;
        }
        w[k] = v;
        r = (r + stride) & 0x1fffffff;
    }
    head[SATURATED] = saturated;
    return r;
}

static void learn(int32_t *head, uint16_t *mem) {
    int32_t *e = head + head[ELIGIBILITY_AT];
    int16_t *w = (int16_t *)mem;
    int32_t s = magnitude_shift(magnitude(head[DELTA]), 1 << 15);
    int32_t q = head[SIGN] * to_zero(head[DELTA], s) * head[RATE];
    int32_t q_shift = magnitude_shift(magnitude(q), 1 << 14);
    int32_t e_shift = magnitude_shift(joint_magnitude(e, head[N_WEIGHTS]), 1 << 15);
    int32_t base = head[RATE_SHIFT] - s - q_shift - e_shift + (head[ESTIMATOR] == TWO_SIDED ? 2 : 0);
    int32_t r = threshold(head);
    const layer_t *layer = layers(head);
    int32_t n_layers = head[N_LAYERS];
    q = to_zero(q, q_shift);
    for (int32_t k = 0; k < n_layers; k++, layer++) {
        int32_t n = (layer->n_in + 1) * layer->n_out, shift = base + layer->input_frac, rate = q;
        if (shift > 29) {
            rate = round_by(q, shift - 29, threshold(head));
            shift = 29;
        }
        r = move_along_eligibility(head, w, e, n, e_shift, rate, shift, r);
        e += n;
        w += n;
    }
}

int32_t act(int32_t *head, uint16_t *mem, uint16_t *x, uint16_t *u) {
    int32_t sign = head[SIGN];
    if (sense(head, mem, x))
        learn(head, mem);
    if (sign) {
        uint16_t *word = mem + head[SIGNS_AT];
        const layer_t *layer = layers(head);
        int32_t n_layers = head[N_LAYERS];
        for (int32_t k = 0; k < n_layers; k++, layer++)
            for (int32_t i = 0; i < layer->n_out; i += 16)
                *word++ = draw(head + PERTURBATION);
    }
    actuate(head, forward_words(head, mem, sign * head[AMPLITUDE]), u);
    if (sign) {
        if (head[ESTIMATOR] == EACH_STEP)
            fade(head);
        accumulate(head, mem);
    }
    return 0;
}

int32_t end(int32_t *head, uint16_t *mem) {
    if (close_trial(head)) {
        learn(head, mem);
        head[CHECK] = fold_words(head[CHECK], mem, head[N_WEIGHTS]);
    }
    seal(head);
    return 0;
}
