#include "eligibility.h"

INLINE void begin(int32_t *head, uint16_t *mem) {
    int32_t sign = open_trial(head);
    rest(mem);
    if (sign)
        clear(head);
}

// Probabilities become states; s - p of each unit is kept in its word.
INLINE void draw_states(int32_t *head, int16_t *p, int32_t n, int32_t low, uint16_t *unit) {
    int32_t drawn = head[SIGN];
    for (int32_t i = 0; i < n; i++) {
        int32_t chance = drawn ? (int32_t)(draw(head + PERTURBATION) >> 1) : 0x3fff, one = chance < p[i];
        unit[i] = (one << 15) - p[i];
        p[i] = one ? WORD_MAX : low;
    }
}

INLINE int16_t *forward_bernoulli(int32_t *head, uint16_t *mem) {
    const int16_t *weight = (const int16_t *)mem;
    int16_t *signal = (int16_t *)mem + BLOCK_SIGNALS_AT;
    uint16_t *unit = mem + BLOCK_UNITS_AT;
    int32_t saturated = 0;
    EACH_LAYER(k) {
        layer_t l = LAYER[k];
        recall(l, signal + l.n_in);
        saturated += drives(l, weight, signal, signal + l.n_in, 0, 0);
        weight += (l.n_in + 1) * l.n_out;
        signal += l.n_in;
        for (int32_t i = 0; i < l.n_out; i++)
            signal[i] = activate(mem + BLOCK_TABLE_AT, LOGISTIC, signal[i]);
        draw_states(head, signal, l.n_out, l.activation == TANH ? -WORD_MAX : 0, unit);
        unit += l.n_out;
    }
    head[SATURATED] += saturated;
    return signal;
}

INLINE void accumulate(int32_t *head, const uint16_t *mem, int32_t shift) {
    int32_t *e = head + BLOCK_ELIGIBILITY_AT, half = (1 << shift) >> 1;
    const int16_t *factor = (const int16_t *)mem + BLOCK_UNITS_AT;
    const int16_t *signal = (const int16_t *)mem + BLOCK_SIGNALS_AT;
    EACH_LAYER(k) {
        layer_t l = LAYER[k];
        int16_t x[BLOCK_MOST_INPUTS];
        for (int32_t j = 0; j < l.n_in; j++)
            x[j] = (signal[j] + half) >> shift;
        for (int32_t i = 0; i < l.n_out; i++, e += l.n_in + 1) {
            for (int32_t j = 0; j < l.n_in; j++)
                e[j] += factor[i] * x[j];
            e[l.n_in] += factor[i] * ((1 << l.input_frac) >> shift);
        }
        factor += l.n_out;
        signal += l.n_in;
    }
}

INLINE void act(int32_t *head, uint16_t *mem, const uint16_t *x, uint16_t *u) {
    if (sense(head, mem, x))
        learn(head, mem, 15 - head[INPUT_SHIFT]);
    int16_t *output = forward_bernoulli(head, mem);
    if (head[SIGN]) {
        fade(head);
        accumulate(head, mem, head[INPUT_SHIFT]);
    }
    actuate(head, output, u);
}

INLINE void end(int32_t *head, uint16_t *mem) { end_with(head, mem, 15 - head[INPUT_SHIFT]); }

#include "stretch.h"
