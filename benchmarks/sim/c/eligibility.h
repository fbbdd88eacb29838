// Eligibility: what each weight is held responsible for, one int32 a weight, and the update along it.

#include "network.h"

INLINE void clear(int32_t *head) {
    for (int32_t k = 0; k < BLOCK_N_WEIGHTS; k++)
        head[BLOCK_ELIGIBILITY_AT + k] = 0;
}

// Under EACH_STEP: 2**-TRACE_SHIFT of every eligibility goes, rounded away from zero.
INLINE void fade(int32_t *head) {
    int32_t *e = head + BLOCK_ELIGIBILITY_AT;
    int32_t shift = head[TRACE_SHIFT], below = (1 << shift) - 1, limit = (1 << 30) - (1 << 15);
    if (BLOCK_ESTIMATOR != EACH_STEP)
        return;
    for (int32_t k = 0; k < BLOCK_N_WEIGHTS; k++) {
        int32_t v = e[k];
        v -= (v > 0 ? v + below : v) >> shift;
        e[k] = clip(v, -limit, limit);
    }
}

INLINE int32_t largest(const int32_t *e) {
    int32_t most = 0;
    for (int32_t k = 0; k < BLOCK_N_WEIGHTS; k++)
        most = magnitude(e[k]) > most ? magnitude(e[k]) : most;
    return most;
}

INLINE uint32_t move_along_eligibility(int32_t *head, int16_t *w, const int32_t *e, int32_t n, int32_t e_shift, int32_t q,
                                       int32_t shift, uint32_t r) {
    int32_t limit = head[LIMIT], saturated = 0, below = (1 << e_shift) - 1;
    uint32_t stride = STRIDE * head[STOCHASTIC];
    if (shift < 0)
        shift = 0;
    for (int32_t k = 0; k < n; k++) {
        int32_t factor = (e[k] + (e[k] >> 31 & below)) >> e_shift, by = (r + k * stride) & 0x1fffffff;
        int32_t v = w[k] - ((factor * q + (by >> (29 - shift))) >> shift), clipped = clip(v, -limit, limit);
        saturated += clipped != v;
        w[k] = clipped;
    }
    head[SATURATED] += saturated;
    return r + n * stride;
}

// `frac`: fraction bits of an eligibility beside those of the layer's inputs.
INLINE void learn(int32_t *head, uint16_t *mem, int32_t frac) {
    int32_t *e = head + BLOCK_ELIGIBILITY_AT;
    int16_t *w = (int16_t *)mem;
    int32_t s = magnitude_shift(magnitude(head[DELTA]), 1 << 15);
    int32_t q = head[SIGN] * to_zero(head[DELTA], s) * head[RATE];
    int32_t q_shift = magnitude_shift(magnitude(q), 1 << 14);
    int32_t e_shift = magnitude_shift(largest(e), 1 << 15);
    int32_t base = head[RATE_SHIFT] + frac - s - q_shift - e_shift + (BLOCK_ESTIMATOR == TWO_SIDED ? 2 : 0);
    uint32_t r = threshold(head);
    q = to_zero(q, q_shift);
    EACH_LAYER(k) {
        int32_t n = (LAYER[k].n_in + 1) * LAYER[k].n_out, shift = base + LAYER[k].input_frac, rate = q;
        if (shift > 29) {
            rate = round_by(q, shift - 29 > 29 ? 29 : shift - 29, threshold(head));
            shift = 29;
        }
        r = move_along_eligibility(head, w, e, n, e_shift, rate, shift, r);
        e += n;
        w += n;
    }
}

INLINE void end_with(int32_t *head, uint16_t *mem, int32_t frac) {
    if (close_trial(head)) {
        learn(head, mem, frac);
        head[CHECK] = fold_words(head[CHECK], mem, BLOCK_N_WEIGHTS);
    }
    seal(head);
}
