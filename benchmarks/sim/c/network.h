// Layers for the host. The structure is constant: build.py writes block.h, with the words of a block that never change as
// BLOCK_NAME, and its rows of layers as LAYERS. Every loop over layers is unrolled, so that each layer has its own loops.

#include "block.h"
#define WORD(name) BLOCK_##name

#include "../../arithmetic.h"

#define INLINE static inline __attribute__((always_inline))
// Unrolled before it is vectorised, a loop of sixteen is not vectorised.
#define KEEP_LOOP _Pragma("GCC unroll 1")
#define EACH_LAYER(k) _Pragma("GCC unroll 8") for (int32_t k = 0; k < BLOCK_N_LAYERS; k++)

static const layer_t LAYER[] = {LAYERS};

// Checksum

INLINE uint32_t fold_words(uint32_t c, const uint16_t *words, int32_t n) {
    for (; n >= 16; n -= 16, words += 16) {
        uint32_t sum = 0;
        KEEP_LOOP for (uint32_t k = 0; k < 16; k++)
            sum += (k + 1) * words[k];
        c = fold(c, sum);
    }
    if (n > 0) {
        uint32_t sum = 0;
        for (int32_t k = 0; k < n; k++)
            sum += (uint32_t)(k + 1) * words[k];
        c = fold(c, sum);
    }
    return c;
}

// Network

INLINE int32_t clip(int32_t v, int32_t low, int32_t high) { return v > high ? high : v < low ? low : v; }

// Drives of one layer; signs are perturbed by `amount` unless it is 0. Returns how many saturated.
INLINE int32_t drives(layer_t l, const int16_t *restrict w, const int16_t *restrict x, int16_t *restrict output,
                      const uint16_t *restrict sign, int32_t amount) {
    int32_t saturated = 0, one = l.bias_shift == NO_BIAS ? 0 : 1 << l.bias_shift;
    for (int32_t i = 0; i < l.n_out; i++, w += l.n_in + 1) {
        int32_t g = 0;
        for (int32_t j = 0; j < l.n_in; j++)
            g += w[j] * x[j] >> l.product_shift;
        g = (g + w[l.n_in] * one) >> l.drive_shift;
        if (amount)
            g += sign[i >> 4] >> (i & 15) & 1 ? amount : -amount;
        int32_t v = clip(g, WORD_MIN, WORD_MAX);
        saturated += v != g;
        output[i] = v;
    }
    return saturated;
}

// A recurrent layer's own last outputs are among its inputs.
INLINE void recall(layer_t l, int16_t *output) {
    for (int32_t i = 0; i < l.own; i++)
        output[i - l.own] = output[i];
}

INLINE int16_t *forward(int32_t *head, uint16_t *mem, int32_t amount) {
    const int16_t *weight = (const int16_t *)mem;
    const uint16_t *sign = mem + BLOCK_SIGNS_AT;
    int16_t *signal = (int16_t *)mem + BLOCK_SIGNALS_AT;
    int32_t saturated = 0;
    EACH_LAYER(k) {
        layer_t l = LAYER[k];
        recall(l, signal + l.n_in);
        saturated += drives(l, weight, signal, signal + l.n_in, sign, amount);
        weight += (l.n_in + 1) * l.n_out;
        sign += (l.n_out + 15) >> 4;
        signal += l.n_in;
        for (int32_t i = 0; i < l.n_out; i++)
            signal[i] = activate(mem + BLOCK_TABLE_AT, l.activation, signal[i]);
    }
    head[SATURATED] += saturated;
    return signal;
}

INLINE void rest(uint16_t *mem) {
    uint16_t *output = mem + BLOCK_SIGNALS_AT;
    EACH_LAYER(k) {
        output += LAYER[k].n_in;
        for (int32_t i = 0; i < LAYER[k].own; i++)
            output[i] = 0;
    }
}

// Trial

// Whether the last step's cost calls for an update.
INLINE int32_t sense(int32_t *head, uint16_t *mem, const uint16_t *x) {
    enum { N = BLOCK_N_SENSORS };
    int32_t due = 0;
    observe(head);
    if (BLOCK_ESTIMATOR == EACH_STEP && !head[EVALUATE] && head[STEPS] > 0)
        due = compare(head, head[COST]);
    for (int32_t j = 0; j < N; j++)
        mem[BLOCK_SIGNALS_AT + j] = x[j];
    head[CHECK] = fold_words(head[CHECK], x, N);
    return due;
}

INLINE void actuate(int32_t *head, const int16_t *output, uint16_t *u) {
    for (int32_t i = 0; i < BLOCK_N_ACTUATORS; i++)
        u[i] = output[i];
    head[CHECK] = fold_words(head[CHECK], u, BLOCK_N_ACTUATORS);
    head[STEPS]++;
}
