// The arithmetic of docs/arithmetic.md in C, as one writes it for a Cortex-M0+: what compiled kernels are measured against.
//
// Nothing is shared with the kernels but the layout of the block; bench_board.py passes it as macros of layout.py's names.

#include <stdint.h>

enum { WORD_MAX = 32767, WORD_MIN = -32768, STRIDE = 331804471 };

typedef struct {
    int32_t n_in, n_out, activation, product_shift, bias_shift, drive_shift, input_frac, own;
} layer_t;

static layer_t *layers(int32_t *head) { return (layer_t *)(head + LAYERS_AT); }

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

// Not inlined: in forward's midst gcc keeps the sum on the stack, and the loop takes half as long again.
__attribute__((noinline)) static int32_t dot(const int16_t *w, const int16_t *x, int32_t n, int32_t shift) {
    int32_t sum = 0;
    for (int32_t j = 0; j < n; j++)
        sum += w[j] * x[j] >> shift;
    return sum;
}

static inline int16_t *forward_words(int32_t *head, uint16_t *mem, int32_t amount) {
    const int16_t *weight = (const int16_t *)mem + head[WEIGHTS_AT];
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

static void rewind_signs(int32_t *head) {
    head[PERTURBATION] = head[REWIND];
    head[PERTURBATION + 1] = head[REWIND + 1];
}

static int32_t open_trial(int32_t *head) {
    int32_t sign = 1;
    head[STEPS] = head[TOTAL] = head[SATURATED] = head[CHECK] = 0;
    if (head[EVALUATE] || (head[ESTIMATOR] == UNPERTURBED_TRIAL && head[PHASE] == 0)) {
        sign = 0;
    } else if (head[ESTIMATOR] == TWO_SIDED && head[PHASE] == 1) {
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

static int32_t close_trial(int32_t *head) {
    observe(head);
    if (head[EVALUATE])
        return 0;
    if (head[ESTIMATOR] == RUNNING_BASELINE || head[ESTIMATOR] == EACH_STEP)
        return compare(head, head[ESTIMATOR] == EACH_STEP ? head[COST] : head[TOTAL]);
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
