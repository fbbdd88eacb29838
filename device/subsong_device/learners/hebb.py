"""Reward-modulated Hebb, a control that fails: dw_ij = -eta (C - b) sum over t of y_i(t) x_j(t).

Node perturbation to the last word but one: what multiplies a unit's inputs is its output y_i, perturbation and all, in
place of the perturbation xi_i alone. The correlation with the cost is in it, since y_i follows xi_i; but so is the
output's mean, which has nothing to do with the cost. The eligibility is not of zero mean, and the weights drift.

    begin   clear the eligibility
    act     draw xi; g_i += sigma xi_i; e_ij += y_i x_j
    end     w_ij -= eta (C - b) e_ij

Sources: Hebb 1949; Legenstein, Pecevski & Maass 2008; Frémaux, Sprekeler & Gerstner 2010 (what the mean does); the
integer form is docs/arithmetic.md's.
"""

from subsong_device.kernels.checksum import fold_words
from subsong_device.kernels.eligibility import accumulate_factors, clear, draw_signs, fade, learn
from subsong_device.kernels.network import forward, rest
from subsong_device.kernels.trial import actuate, close_trial, open_trial, seal, sense
from subsong_device.layout import (
    AMPLITUDE,
    CHECK,
    INPUT_SHIFT,
    LAYER_WORDS,
    LAYERS_AT,
    N_IN,
    N_LAYERS,
    N_OUT,
    N_WEIGHTS,
    SIGN,
    SIGNALS_AT,
    UNITS_AT,
)


def take_outputs(head: ptr32, mem: ptr16) -> int:
    """Make every unit's output its factor.

    Scaling and overflow: words are copied.
    """
    unit = head[UNITS_AT]
    signal = head[SIGNALS_AT]
    layer = LAYERS_AT
    for _k in range(head[N_LAYERS]):
        signal += head[layer + N_IN]
        n_out = head[layer + N_OUT]
        for i in range(n_out):
            mem[unit + i] = mem[signal + i]
        unit += n_out
        layer += LAYER_WORDS
    return 0


def begin(head: ptr32, mem: ptr16) -> int:
    """Clear the eligibility.

    Scaling and overflow: assignments only.
    """
    sign = open_trial(head)
    rest(head, mem)
    if sign > 0:
        clear(head)
    return 0


def act(head: ptr32, mem: ptr16, x: ptr16, u: ptr16) -> int:
    """Map sensor words x to actuator words u, every drive perturbed, and accumulate outputs times inputs.

    Scaling and overflow: a factor and an input are at most 2**15 and INPUT_SHIFT comes off the input: those of
    kernels.eligibility.accumulate_factors.
    """
    if sense(head, mem, x) != 0:
        learn(head, mem, 15 - head[INPUT_SHIFT])
    sign = head[SIGN]
    if sign != 0:
        draw_signs(head, mem)
    at = forward(head, mem, sign * head[AMPLITUDE])
    if sign != 0:
        fade(head)
        take_outputs(head, mem)
        accumulate_factors(head, mem, head[INPUT_SHIFT])
    return actuate(head, mem, at, u)


def end(head: ptr32, mem: ptr16) -> int:
    """Where an update is due, move every weight against the cost along its eligibility.

    Scaling and overflow: those of kernels.eligibility.learn.
    """
    if close_trial(head) != 0:
        learn(head, mem, 15 - head[INPUT_SHIFT])
        head[CHECK] = fold_words(head[CHECK], mem, 0, head[N_WEIGHTS])
    seal(head)
    return 0
