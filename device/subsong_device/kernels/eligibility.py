"""Eligibility: what each weight is held responsible for, one int32 a weight, and the update along it.

Every rule but weight perturbation adds (a factor of the unit) times (the weight's input) to it, step after step. The
factor has zero mean given all that came before, so a cost that does not depend on it moves nothing on average.
"""

from subsong_device.kernels.random import draw, threshold
from subsong_device.kernels.update import (
    absolute,
    joint_magnitude,
    magnitude_shift,
    move_along_eligibility,
    shift_to_zero,
)
from subsong_device.layout import (
    DELTA,
    EACH_STEP,
    ELIGIBILITY_AT,
    ESTIMATOR,
    INPUT_FRAC,
    LAYER_WORDS,
    LAYERS_AT,
    N_IN,
    N_LAYERS,
    N_OUT,
    N_WEIGHTS,
    PERTURBATION,
    RATE,
    RATE_SHIFT,
    SIGN,
    SIGNALS_AT,
    SIGNS_AT,
    TRACE_SHIFT,
    TWO_SIDED,
    UNITS_AT,
)

ELIGIBILITY_LIMIT = 0x3FFF8000  # a step adds at most 2**15


def clear(head: ptr32) -> int:
    """Set every eligibility to 0.

    Scaling and overflow: assignments only.
    """
    e = head[ELIGIBILITY_AT]
    for k in range(head[N_WEIGHTS]):
        head[e + k] = 0
    return 0


def fade(head: ptr32) -> int:
    """Under EACH_STEP, take 2**-TRACE_SHIFT of every eligibility off it, rounded away from zero: it ends at 0.

    Scaling and overflow: |e| + 2**14 stays below 2**31; what is left is clipped to 2**30 - 2**15.
    """
    if head[ESTIMATOR] == EACH_STEP:
        shift = head[TRACE_SHIFT]
        below = (1 << shift) - 1
        at = head[ELIGIBILITY_AT]
        for k in range(at, at + head[N_WEIGHTS]):
            e = head[k]
            if e > 0:
                e -= (e + below) >> shift
            else:
                e -= e >> shift
            if e > ELIGIBILITY_LIMIT:
                e = ELIGIBILITY_LIMIT
            elif e < 0 - ELIGIBILITY_LIMIT:
                e = 0 - ELIGIBILITY_LIMIT
            head[k] = e
    return 0


def count_sign_words(head: ptr32) -> int:
    """Return the number of words of signs, layer after layer, sixteen units a word.

    Scaling and overflow: at most as many as units; with a deterministic code at most 1024.
    """
    n = 0
    layer = LAYERS_AT
    for _k in range(head[N_LAYERS]):
        n += (head[layer + N_OUT] + 15) >> 4
        layer += LAYER_WORDS
    return n


def draw_signs(head: ptr32, mem: ptr16) -> int:
    """Draw a random sign for every unit, first layer first, sixteen a word.

    Scaling and overflow: offsets only.
    """
    at = head[SIGNS_AT]
    for k in range(count_sign_words(head)):
        mem[at + k] = draw(head, PERTURBATION)
    return 0


def accumulate_signs(head: ptr32, mem: ptr16) -> int:
    """Add xi_i x_j to every eligibility e_ij, xi_i the unit's sign; a bias sees the input 1.0.

    Scaling and overflow: one input, at most 2**15, is added to each eligibility; at most 2 * 16384 times, or to one
    that fade has clipped.
    """
    e = head[ELIGIBILITY_AT]
    at = head[SIGNS_AT]
    signal = head[SIGNALS_AT]
    layer = LAYERS_AT
    for _k in range(head[N_LAYERS]):
        n_in = head[layer + N_IN]
        one = 1 << head[layer + INPUT_FRAC]
        bits = 0
        for i in range(head[layer + N_OUT]):
            if (i & 15) == 0:
                bits = mem[at]
                at += 1
            xi = ((bits & 1) << 1) - 1
            bits = bits >> 1
            for j in range(signal, signal + n_in):
                head[e] += xi * ((mem[j] ^ 0x8000) - 0x8000)
                e += 1
            head[e] += xi * one
            e += 1
        signal += n_in
        layer += LAYER_WORDS
    return 0


def accumulate_factors(head: ptr32, mem: ptr16, shift: int) -> int:
    """Add factor_i * (x_j * 2**-shift) to every eligibility e_ij; a bias sees the input 1.0.

    Args:
        head: layer rows, the eligibility.
        mem: signals; a factor of each unit at UNITS_AT, int16, 1 LSB = 2**-15.
        shift: of the input, rounded, before it is multiplied, so that what has zero mean keeps it; 0..15.

    Scaling and overflow: shift is such that 2**(30 - shift) times the steps that an eligibility lasts is at most 2**30.
    """
    e = head[ELIGIBILITY_AT]
    at = head[UNITS_AT]
    half = (1 << shift) >> 1  # 1.0 is the word 32767: rounded, it is the bias's 1.0
    signal = head[SIGNALS_AT]
    layer = LAYERS_AT
    for _k in range(head[N_LAYERS]):
        n_in = head[layer + N_IN]
        one = (1 << head[layer + INPUT_FRAC]) >> shift
        for _i in range(head[layer + N_OUT]):
            factor = (mem[at] ^ 0x8000) - 0x8000
            at += 1
            for j in range(n_in):
                head[e + j] += factor * (((mem[signal + j] ^ 0x8000) - 0x8000 + half) >> shift)
            e += n_in
            head[e] += factor * one
            e += 1
        signal += n_in
        layer += LAYER_WORDS
    return 0


def learn(head: ptr32, mem: ptr16, frac: int) -> int:
    """Move every weight against the cost along its eligibility: w -= rate * 2**-RATE_SHIFT * DELTA * e.

    Args:
        head: DELTA, RATE, RATE_SHIFT, SIGN; the eligibility.
        mem: weights (changed).
        frac: fraction bits of an eligibility beside those of the layer's inputs, 0..15.

    Scaling and overflow: delta, rate * delta and the eligibility are each a mantissa and an exponent, so that products
    stay below 2**29; the exponents join the shift. A shift above 29 comes off the rate, rounded stochastically.
    """
    delta = head[DELTA]
    s = magnitude_shift(absolute(delta), 0x8000)
    q = head[SIGN] * shift_to_zero(delta, s) * head[RATE]
    q_shift = magnitude_shift(absolute(q), 0x4000)
    q = shift_to_zero(q, q_shift)
    at = head[ELIGIBILITY_AT]
    e_shift = magnitude_shift(joint_magnitude(head, at, head[N_WEIGHTS]), 0x8000)
    base = head[RATE_SHIFT] + frac - s - q_shift - e_shift
    if head[ESTIMATOR] == TWO_SIDED:
        base += 2
    r = threshold(head)
    w = 0
    layer = LAYERS_AT
    for _k in range(head[N_LAYERS]):
        n = (head[layer + N_IN] + 1) * head[layer + N_OUT]
        shift = base + head[layer + INPUT_FRAC]
        rate = q
        if shift > 29:
            excess = shift - 29
            if excess > 29:  # a step below 2**-28 of an LSB, whatever it is
                excess = 29
            # Its own threshold: sharing r with the weights' rounding would correlate the two and bias the product.
            rate = (q + (threshold(head) >> (29 - excess))) >> excess
            shift = 29
        r = move_along_eligibility(head, mem, at, w, n, e_shift, rate, shift, r)
        at += n
        w += n
        layer += LAYER_WORDS
    return 0
