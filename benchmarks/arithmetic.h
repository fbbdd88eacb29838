// The arithmetic of docs/arithmetic.md in C that no loop runs through: random numbers, checksum, estimators, exponents.
// Both C references are built on it, the board's (board/) and the host's (sim/c).
//
// Nothing is shared with the kernels but the layout of the block; the benchmarks pass it as macros of layout.py's names.
// WORD(NAME) is a word of head that the host writes once: on the board head[NAME], here a constant.

#include <stdint.h>

enum { WORD_MAX = 32767, WORD_MIN = -32768, STRIDE = 331804471 };

typedef struct {
    int32_t n_in, n_out, activation, product_shift, bias_shift, drive_shift, input_frac, own;
} layer_t;

// Random numbers

static uint32_t draw(int32_t *stream) {
    uint32_t a = stream[0], b = stream[1];
    uint32_t t = (uint16_t)(a ^ (a << 5));
    t ^= t >> 3;
    t ^= b ^ (b >> 1);
    stream[0] = b;
    stream[1] = t;
    return t;
}

static int32_t threshold(int32_t *head) {
    if (!head[STOCHASTIC])
        return 1 << 28;
    uint32_t high = draw(head + ROUNDING);
    uint32_t low = draw(head + ROUNDING);
    return (high & 0x1fff) << 16 | low;
}

static int32_t round_by(int32_t p, int32_t n, int32_t r) { return n > 0 ? (p + (r >> (29 - n))) >> n : p; }

// Checksum

static uint32_t fold(uint32_t c, uint32_t v) {
    c = ((c & 0x1fffff) << 7 | c >> 21) ^ v;
    return (c + ((c & 0x3fff) << 14)) & 0xfffffff;
}

static uint32_t fold_int(uint32_t c, int32_t v) { return fold(fold(c, v & 0xffff), (uint32_t)v >> 16); }

// Network

static int32_t tanh_word(const uint16_t *table, int32_t g) {
    g += 32768;
    int32_t low = table[g >> 8], high = table[(g >> 8) + 1];
    return low + (((high - low) * (g & 255) + 128) >> 8) - 32768;
}

static int32_t activate(const uint16_t *table, int32_t kind, int32_t g) {
    if (kind == IDENTITY)
        return g;
    if (kind == HARD_TANH)
        return g >= ONE_DRIVE ? WORD_MAX : g <= -ONE_DRIVE ? -WORD_MAX : g << 3;
    if (kind == LOGISTIC)
        return 16384 + (tanh_word(table, g >> 1) >> 1);
    return tanh_word(table, g);
}

// Trial

static void rewind_signs(int32_t *head) {
    head[PERTURBATION] = head[REWIND];
    head[PERTURBATION + 1] = head[REWIND + 1];
}

static int32_t open_trial(int32_t *head) {
    int32_t sign = 1;
    head[STEPS] = head[TOTAL] = head[SATURATED] = head[CHECK] = 0;
    if (head[EVALUATE] || (WORD(ESTIMATOR) == UNPERTURBED_TRIAL && head[PHASE] == 0)) {
        sign = 0;
    } else if (WORD(ESTIMATOR) == TWO_SIDED && head[PHASE] == 1) {
        sign = -1;
        rewind_signs(head);
    } else {
        head[REWIND] = head[PERTURBATION];
        head[REWIND + 1] = head[PERTURBATION + 1];
    }
    head[SIGN] = sign;
    return sign;
}

static void observe(int32_t *head) {
    int32_t total = head[TOTAL] + head[COST];
    if (total > COST_LIMIT)
        total = COST_LIMIT;
    else if (total < -COST_LIMIT)
        total = -COST_LIMIT;
    head[TOTAL] = total;
    head[CHECK] = fold_int(head[CHECK], head[COST]);
}

// Against the running baseline, which follows.
static int32_t compare(int32_t *head, int32_t cost) {
    int32_t delta = cost - head[BASELINE], shift = head[BASELINE_SHIFT], r = delta + head[REMAINDER];
    head[DELTA] = delta;
    if (!head[STARTED]) {
        head[STARTED] = 1;
        head[BASELINE] = cost;
        return 0;
    }
    head[BASELINE] += r >> shift;
    head[REMAINDER] = r & ((1 << shift) - 1);
    return 1;
}

static int32_t close_trial(int32_t *head) {
    observe(head);
    if (head[EVALUATE])
        return 0;
    if (WORD(ESTIMATOR) == RUNNING_BASELINE || WORD(ESTIMATOR) == EACH_STEP)
        return compare(head, WORD(ESTIMATOR) == EACH_STEP ? head[COST] : head[TOTAL]);
    int32_t second = head[PHASE];
    head[DELTA] = head[TOTAL] - head[BASELINE];
    head[PHASE] = !second;
    if (!second)
        head[BASELINE] = head[TOTAL];
    return second;
}

static void seal(int32_t *head) {
    uint32_t c = fold_int(head[CHECK], head[STEPS]);
    c = fold_int(c, head[TOTAL]);
    c = fold_int(c, head[BASELINE]);
    c = fold_int(c, head[REMAINDER]);
    c = fold_int(c, head[SATURATED]);
    for (int32_t i = PERTURBATION; i < ROUNDING + 2; i++)
        c = fold_int(c, head[i]);
    head[CHECK] = c;
}

// Update

static int32_t magnitude(int32_t v) { return v < 0 ? -v : v; }

static int32_t to_zero(int32_t v, int32_t s) { return v < 0 ? -(-v >> s) : v >> s; }

static int32_t magnitude_shift(int32_t v, int32_t limit) {
    int32_t s = 0;
    while (v >> s >= limit)
        s++;
    return s;
}

// Weight perturbation's step along every sign.
static int32_t rounded_step(int32_t *head, int32_t shift, int32_t r) {
    int32_t e = magnitude_shift(magnitude(head[DELTA]), 1 << 15);
    int32_t p = to_zero(head[DELTA], e) * head[RATE];
    int32_t n = shift - e;
    if (n > 29) {
        p = to_zero(p, n - 29);
        n = 29;
    }
    p = round_by(p, n, r);
    return p > 65535 ? 65535 : p < -65535 ? -65535 : p;
}
