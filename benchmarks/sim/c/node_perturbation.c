#include "eligibility.h"

INLINE void begin(int32_t *head, uint16_t *mem) {
    int32_t sign = open_trial(head);
    rest(mem);
    if (sign > 0)
        clear(head);
}

INLINE void draw_signs(int32_t *head, uint16_t *mem) {
    uint16_t *word = mem + BLOCK_SIGNS_AT;
    EACH_LAYER(k)
        for (int32_t i = 0; i < LAYER[k].n_out; i += 16)
            *word++ = draw(head + PERTURBATION);
}

INLINE void accumulate(int32_t *head, const uint16_t *mem) {
    int32_t *e = head + BLOCK_ELIGIBILITY_AT;
    const uint16_t *sign = mem + BLOCK_SIGNS_AT;
    const int16_t *signal = (const int16_t *)mem + BLOCK_SIGNALS_AT;
    EACH_LAYER(k) {
        layer_t l = LAYER[k];
        for (int32_t i = 0; i < l.n_out; i++, e += l.n_in + 1) {
            int32_t m = (sign[i >> 4] >> (i & 15) & 1) - 1;  // of sign -: ~x + 1
            for (int32_t j = 0; j < l.n_in; j++)
                e[j] += (signal[j] ^ m) - m;
            e[l.n_in] += ((1 << l.input_frac) ^ m) - m;
        }
        sign += (l.n_out + 15) >> 4;
        signal += l.n_in;
    }
}

INLINE void act(int32_t *head, uint16_t *mem, const uint16_t *x, uint16_t *u) {
    int32_t sign = head[SIGN];
    if (sense(head, mem, x))
        learn(head, mem, 0);
    if (sign)
        draw_signs(head, mem);
    actuate(head, forward(head, mem, sign * head[AMPLITUDE]), u);
    if (sign) {
        fade(head);
        accumulate(head, mem);
    }
}

INLINE void end(int32_t *head, uint16_t *mem) { end_with(head, mem, 0); }

#include "stretch.h"
