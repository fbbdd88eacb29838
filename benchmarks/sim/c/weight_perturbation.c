#include "network.h"

// Sixteen weights, or fewer, by the signs of one word.
INLINE int32_t move_block(int16_t *w, uint32_t bits, int32_t n, int32_t amount, int32_t limit) {
    int32_t saturated = 0;
    KEEP_LOOP for (int32_t k = 0; k < n; k++) {
        int32_t v = w[k] + (bits >> k & 1 ? amount : -amount), clipped = clip(v, -limit, limit);
        saturated += clipped != v;
        w[k] = clipped;
    }
    return saturated;
}

INLINE void move_along_signs(int32_t *head, uint16_t *mem, int32_t amount, int32_t limit) {
    int16_t *w = (int16_t *)mem;
    int32_t stream[] = {head[PERTURBATION], head[PERTURBATION + 1]}, saturated = 0, n = BLOCK_N_WEIGHTS;
    for (; n >= 16; n -= 16, w += 16)
        saturated += move_block(w, draw(stream), 16, amount, limit);
    if (n > 0)
        saturated += move_block(w, draw(stream), n, amount, limit);
    head[PERTURBATION] = stream[0];
    head[PERTURBATION + 1] = stream[1];
    head[SATURATED] += saturated;
}

INLINE void perturb_block(uint16_t *w, uint32_t bits, int32_t n, uint16_t amount) {
    KEEP_LOOP for (int32_t k = 0; k < n; k++)
        w[k] += bits >> k & 1 ? amount : -amount;
}

// Within +-LIMIT, which leaves room for it.
INLINE void perturb_along_signs(int32_t *head, uint16_t *mem, int32_t amount) {
    uint16_t *w = mem;
    int32_t stream[] = {head[PERTURBATION], head[PERTURBATION + 1]}, n = BLOCK_N_WEIGHTS;
    for (; n >= 16; n -= 16, w += 16)
        perturb_block(w, draw(stream), 16, amount);
    if (n > 0)
        perturb_block(w, draw(stream), n, amount);
    head[PERTURBATION] = stream[0];
    head[PERTURBATION + 1] = stream[1];
}

INLINE void begin(int32_t *head, uint16_t *mem) {
    int32_t sign = open_trial(head);
    rest(mem);
    if (sign)
        perturb_along_signs(head, mem, sign * head[AMPLITUDE]);
}

INLINE void act(int32_t *head, uint16_t *mem, const uint16_t *x, uint16_t *u) {
    sense(head, mem, x);
    actuate(head, forward(head, mem, 0), u);
}

INLINE void end(int32_t *head, uint16_t *mem) {
    int32_t due = close_trial(head), sign = head[SIGN], move = 0;
    if (due)
        move = rounded_step(head, head[RATE_SHIFT] + (BLOCK_ESTIMATOR == TWO_SIDED), threshold(head));
    if (sign) {
        rewind_signs(head);
        move_along_signs(head, mem, -sign * (head[AMPLITUDE] + move), head[LIMIT]);
    }
    if (due)
        head[CHECK] = fold_words(head[CHECK], mem, BLOCK_N_WEIGHTS);
    seal(head);
}

#include "stretch.h"
