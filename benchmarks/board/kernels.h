// The arithmetic of docs/arithmetic.md in C, as one writes it for a Cortex-M0+: what compiled kernels are measured against.

#define WORD(name) head[name]

#include "../arithmetic.h"

static layer_t *layers(int32_t *head) { return (layer_t *)(head + LAYERS_AT); }

// Checksum

static uint32_t fold_words(uint32_t c, const uint16_t *words, int32_t n) {
    while (n > 0) {
        int32_t block = n < 16 ? n : 16;
        uint32_t sum = 0;
        for (int32_t k = 0; k < block; k++)
            sum += (k + 1) * words[k];
        c = fold(c, sum);
        words += block;
        n -= block;
    }
    return c;
}

// Network

// Not inlined: in forward's midst gcc keeps the sum on the stack, and the loop takes half as long again.
__attribute__((noinline)) static int32_t dot(const int16_t *w, const int16_t *x, int32_t n, int32_t shift) {
    int32_t sum = 0;
    for (int32_t j = 0; j < n; j++)
        sum += w[j] * x[j] >> shift;
    return sum;
}

static inline int16_t *forward_words(int32_t *head, uint16_t *mem, int32_t amount) {
    const int16_t *weight = (const int16_t *)mem;
    int16_t *signal = (int16_t *)mem + head[SIGNALS_AT];
    const uint16_t *table = mem + head[TABLE_AT];
    const uint16_t *sign = mem + head[SIGNS_AT];
    const layer_t *layer = layers(head);
    int32_t n_layers = head[N_LAYERS], saturated = head[SATURATED];
    for (int32_t k = 0; k < n_layers; k++, layer++) {
        int32_t n_in = layer->n_in, n_out = layer->n_out, shift = layer->product_shift;
        int32_t one = layer->bias_shift == NO_BIAS ? 0 : 1 << layer->bias_shift;
        int16_t *output = signal + n_in;
        uint32_t bits = 0;
        for (int32_t i = 0; i < layer->own; i++)
            output[i - layer->own] = output[i];
        for (int32_t i = 0; i < n_out; i++) {
            int32_t g = dot(weight, signal, n_in, shift);
            g = (g + weight[n_in] * one) >> layer->drive_shift;
            weight += n_in + 1;
            if (amount) {
                if (i % 16 == 0)
                    bits = *sign++;
                g += bits & 1 ? amount : -amount;
                bits >>= 1;
            }
            if (g > WORD_MAX) {
                g = WORD_MAX;
                saturated++;
            } else if (g < WORD_MIN) {
                g = WORD_MIN;
                saturated++;
            }
            output[i] = activate(table, layer->activation, g);
        }
        signal = output;
    }
    head[SATURATED] = saturated;
    return signal;
}

// Recurrent layers' outputs: there is no step before a trial's first.
static void rest(int32_t *head, uint16_t *mem) {
    uint16_t *output = mem + head[SIGNALS_AT];
    const layer_t *layer = layers(head);
    int32_t n_layers = head[N_LAYERS];
    for (int32_t k = 0; k < n_layers; k++, layer++) {
        output += layer->n_in;
        for (int32_t i = 0; i < layer->own; i++)
            output[i] = 0;
    }
}

// Trial

// Whether the last step's cost calls for an update.
static inline int32_t sense(int32_t *head, uint16_t *mem, const uint16_t *x) {
    uint16_t *signal = mem + head[SIGNALS_AT];
    int32_t n = layers(head)->n_in - layers(head)->own, due = 0;
    observe(head);
    if (head[ESTIMATOR] == EACH_STEP && !head[EVALUATE] && head[STEPS] > 0)
        due = compare(head, head[COST]);
    for (int32_t j = 0; j < n; j++)
        signal[j] = x[j];
    head[CHECK] = fold_words(head[CHECK], x, n);
    return due;
}

static inline void actuate(int32_t *head, const int16_t *output, uint16_t *u) {
    int32_t n_out = layers(head)[head[N_LAYERS] - 1].n_out;
    for (int32_t i = 0; i < n_out; i++)
        u[i] = output[i];
    head[CHECK] = fold_words(head[CHECK], u, n_out);
    head[STEPS]++;
}
