"""Dynamic perturbation of conductances: dw_ij = -eta (C - b) integral of (xi_i - <xi_i>) s_j.

The units are integrate-and-fire neurons. Beside its plastic synapses each has an empiric one, whose activation xi_i
jumps at random and so perturbs its conductance. What a plastic synapse is held responsible for, its eligibility, is the
fluctuation of the empiric synapse of the same neuron times its own activation s_j: no weight and no spike of the
neuron enters it.

    begin   units at rest; clear the eligibility (once a pair)
    act     2**TICK_SHIFT times: draw xi; g_i += sigma xi_i; integrate and fire; e_ij += xi_i s_j
    end     w_ij -= eta (C - b) e_ij

Here xi is +-1 about its mean, anew each tick; sigma is the conductance of the empiric synapse, and its mean is taken to
be part of the bias. An eligibility is the mean over a step's ticks, summed over the steps.

Source: Fiete & Seung, "Gradient learning in spiking neural networks by dynamic perturbation of conductances", PRL 97,
048104 (2006); the integer form is docs/arithmetic.md's.
"""

from subsong_device.kernels.checksum import fold_words
from subsong_device.kernels.eligibility import clear, draw_signs, fade, learn
from subsong_device.kernels.integrate_fire import accumulate_empiric, rest_units, tick
from subsong_device.kernels.trial import actuate, close_trial, open_trial, seal, sense
from subsong_device.layout import AMPLITUDE, CHECK, N_WEIGHTS, SIGN, SIGNALS_AT, TICK_SHIFT


def begin(head: ptr32, mem: ptr16) -> int:
    """Bring the units to rest and clear the eligibility; the second trial of a two-sided pair adds to the first one's.

    Scaling and overflow: assignments only.
    """
    sign = open_trial(head)
    rest_units(head, mem)
    if sign > 0:
        clear(head)
    return 0


def act(head: ptr32, mem: ptr16, x: ptr16, u: ptr16) -> int:
    """Map sensor words x to actuator words u over 2**TICK_SHIFT ticks, and accumulate the eligibility.

    The eligibility takes xi as drawn, without the trial's sign; the update applies that.

    Scaling and overflow: a step adds at most 2**15 to an eligibility, a pair at most 2 * 16384 times: |e_ij| <= 2**30.
    """
    if sense(head, mem, x) != 0:
        learn(head, mem, 0)
    sign = head[SIGN]
    shift = head[TICK_SHIFT]
    at = head[SIGNALS_AT]
    if sign != 0:
        fade(head)
    for _t in range(1 << shift):
        if sign != 0:
            draw_signs(head, mem)
        at = tick(head, mem, sign * head[AMPLITUDE])
        if sign != 0:
            accumulate_empiric(head, mem, shift)
    return actuate(head, mem, at, u)


def end(head: ptr32, mem: ptr16) -> int:
    """Where an update is due, move every weight against the cost along its eligibility.

    Scaling and overflow: those of kernels.eligibility.learn.
    """
    if close_trial(head) != 0:
        learn(head, mem, 0)
        head[CHECK] = fold_words(head[CHECK], mem, 0, head[N_WEIGHTS])
    seal(head)
    return 0
