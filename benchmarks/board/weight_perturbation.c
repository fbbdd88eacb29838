#include "kernels.h"

static void move_along_signs(int32_t *head, uint16_t *mem, int32_t amount, int32_t limit) {
    int16_t *w = (int16_t *)mem;
    int32_t n = head[N_WEIGHTS], saturated = head[SATURATED];
    while (n > 0) {
        int32_t block = n < 16 ? n : 16;
        uint32_t bits = draw(head + PERTURBATION);
        for (int32_t k = 0; k < block; k++) {
            int32_t v = bits & 1 ? *w + amount : *w - amount;
            bits >>= 1;
            if (v > limit) {
                v = limit;
                saturated++;
            } else if (v < -limit) {
                v = -limit;
                saturated++;
            }
            *w++ = v;
        }
        n -= block;
    }
    head[SATURATED] = saturated;
}

static void perturb_along_signs(int32_t *head, uint16_t *mem, int32_t amount) {
    int16_t *w = (int16_t *)mem;
    int32_t n = head[N_WEIGHTS];
    while (n > 0) {
        int32_t block = n < 16 ? n : 16;
        uint32_t bits = draw(head + PERTURBATION);
        for (int32_t k = 0; k < block; k++) {
            *w += bits & 1 ? amount : -amount;
            w++;
            bits >>= 1;
        }
        n -= block;
    }
}

int32_t begin(int32_t *head, uint16_t *mem) {
    int32_t sign = open_trial(head);
    rest(head, mem);
    if (sign)
        perturb_along_signs(head, mem, sign * head[AMPLITUDE]);
    return 0;
}

int32_t act(int32_t *head, uint16_t *mem, uint16_t *x, uint16_t *u) {
    sense(head, mem, x);
    actuate(head, forward_words(head, mem, 0), u);
    return 0;
}

int32_t end(int32_t *head, uint16_t *mem) {
    int32_t due = close_trial(head), sign = head[SIGN], move = 0;
    if (due)
        move = rounded_step(head, head[RATE_SHIFT] + (head[ESTIMATOR] == TWO_SIDED), threshold(head));
    if (sign) {
        rewind_signs(head);
        move_along_signs(head, mem, -sign * (head[AMPLITUDE] + move), head[LIMIT]);
    }
    if (due)
        head[CHECK] = fold_words(head[CHECK], mem, head[N_WEIGHTS]);
    seal(head);
    return 0;
}
