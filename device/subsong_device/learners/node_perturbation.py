"""Node perturbation: dw_ij = -eta (C - b) sum over t of xi_i(t) x_j(t).

Every unit's drive carries a random sign xi_i(t), drawn anew each step. What a weight is held responsible for, its
eligibility, is the sum of its unit's perturbation times its input.

    begin   clear the eligibility (once a pair)
    act     draw xi; g_i += sigma xi_i; e_ij += xi_i x_j
    end     w_ij -= eta (C - b) e_ij

Sources: Williams 1992; Xie & Seung 2004; Fiete & Seung 2006; the integer form is docs/arithmetic.md's.
"""

from subsong_device.kernels.checksum import fold_words
from subsong_device.kernels.random import draw, threshold
from subsong_device.kernels.trial import close_trial, open_trial, seal, step
from subsong_device.kernels.update import absolute, largest, magnitude_shift, move_along_eligibility, shift_to_zero
from subsong_device.layout import (
    AMPLITUDE,
    CHECK,
    DELTA,
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
    TWO_SIDED,
    WEIGHTS_AT,
)


def begin(head: ptr32, mem: ptr16) -> int:
    """Clear the eligibility; the second trial of a two-sided pair adds to the first one's.

    Scaling and overflow: assignments only.
    """
    sign = open_trial(head)
    if sign > 0:
        e = head[ELIGIBILITY_AT]
        for k in range(head[N_WEIGHTS]):
            head[e + k] = 0
    return 0


def act(head: ptr32, mem: ptr16, x: ptr16, u: ptr16) -> int:
    """Map sensor words x to actuator words u, every drive perturbed, and accumulate the eligibility.

    The eligibility takes xi as drawn, without the trial's sign; end() applies that.

    Scaling and overflow: an input is at most 2**15 and a pair at most 2 * 16384 steps: |e_ij| <= 2**30.
    """
    sign = head[SIGN]
    if sign != 0:
        at = head[SIGNS_AT]
        layer = LAYERS_AT
        for _k in range(head[N_LAYERS]):
            for _i in range((head[layer + N_OUT] + 15) >> 4):
                mem[at] = draw(head, PERTURBATION)
                at += 1
            layer += LAYER_WORDS
    step(head, mem, x, u, sign * head[AMPLITUDE])
    if sign != 0:
        accumulate(head, mem)
    return 0


def accumulate(head: ptr32, mem: ptr16) -> int:
    """Add xi_i x_j to every eligibility e_ij; a bias sees the input 1.0.

    Scaling and overflow: one input, at most 2**15, is added to each eligibility; at most 2 * 16384 times.
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
            for j in range(n_in):
                head[e + j] += xi * ((mem[signal + j] ^ 0x8000) - 0x8000)
            e += n_in
            head[e] += xi * one
            e += 1
        signal += n_in
        layer += LAYER_WORDS
    return 0


def end(head: ptr32, mem: ptr16) -> int:
    """Where an update is due, move every weight against the cost along its eligibility.

    Two-sided: the eligibility is the mean of both trials' and the cost half their difference.

    Scaling and overflow: delta, rate * delta and the eligibility are each a mantissa and an exponent, so that products
    stay below 2**29; the exponents join the shift. A shift above 29 comes off the rate, rounded stochastically.
    """
    if close_trial(head) != 0:
        delta = head[DELTA]
        s = magnitude_shift(absolute(delta), 0x8000)
        q = head[SIGN] * shift_to_zero(delta, s) * head[RATE]
        q_shift = magnitude_shift(absolute(q), 0x4000)
        q = shift_to_zero(q, q_shift)
        at = head[ELIGIBILITY_AT]
        e_shift = magnitude_shift(largest(head, at, head[N_WEIGHTS]), 0x8000)
        base = head[RATE_SHIFT] - s - q_shift - e_shift
        if head[ESTIMATOR] == TWO_SIDED:
            base += 2
        r = threshold(head)
        w = head[WEIGHTS_AT]
        layer = LAYERS_AT
        for _k in range(head[N_LAYERS]):
            n = (head[layer + N_IN] + 1) * head[layer + N_OUT]
            shift = base + head[layer + INPUT_FRAC]
            rate = q
            if shift > 29:
                excess = shift - 29
                # Its own threshold: sharing r with the weights' rounding would correlate the two and bias the product.
                rate = (q + (threshold(head) >> (29 - excess))) >> excess
                shift = 29
            r = move_along_eligibility(head, mem, at, w, n, e_shift, rate, shift, r)
            at += n
            w += n
            layer += LAYER_WORDS
        head[CHECK] = fold_words(head[CHECK], mem, head[WEIGHTS_AT], head[N_WEIGHTS])
    seal(head)
    return 0
