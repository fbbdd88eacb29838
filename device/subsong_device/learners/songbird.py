"""The songbird: dw_ij = -eta (C - b) trace of (LMAN_i - <LMAN_i>) HVC_j.

HVC is a sparse chain: each of its neurons (a sensor) bursts once in the song. RA's integrate-and-fire neurons are
driven by it through plastic synapses, and each by one neuron of LMAN, the empiric synapse, which makes the song vary
from one rendition to the next. RA drives the motor pools through fixed synapses. How good a moment of song was is known
only later, when it has been heard; the eligibility remembers, fading, which HVC synapses were active while LMAN pushed.

    begin   RA at rest; no eligibility
    act     cost of what was heard: w_ij -= eta (C - b) e_ij
            LMAN draws xi, which lasts for 2**LMAN_SHIFT steps; g_i += sigma xi_i; RA fires; motor pools follow
            e_ij -= e_ij 2**-TRACE_SHIFT; e_ij += xi_i HVC_j
    end     as the update in act, for the last cost

That xi lasts is no bias: what HVC does does not depend on LMAN.

Source: Fiete, Fee & Seung, "Model of birdsong learning based on gradient estimation by dynamic perturbation of neural
conductances", J Neurophysiol 98, 2038 (2007); the integer form is docs/arithmetic.md's.
"""

from subsong_device.kernels.checksum import fold_words
from subsong_device.kernels.eligibility import clear, draw_signs, fade, learn
from subsong_device.kernels.integrate_fire import accumulate_empiric, rest_units, tick
from subsong_device.kernels.trial import actuate, close_trial, open_trial, seal, sense
from subsong_device.layout import AMPLITUDE, CHECK, LMAN_SHIFT, N_WEIGHTS, SIGN, STEPS


def begin(head: ptr32, mem: ptr16) -> int:
    """Bring RA to rest and clear the eligibility; the second trial of a two-sided pair adds to the first one's.

    Scaling and overflow: assignments only.
    """
    sign = open_trial(head)
    rest_units(head, mem)
    if sign > 0:
        clear(head)
    return 0


def act(head: ptr32, mem: ptr16, x: ptr16, u: ptr16) -> int:
    """Learn from the cost that came, then sing one step: HVC's activations x in, motor words u out.

    Scaling and overflow: an activation is at most 2**15 and a pair at most 2 * 16384 steps: |e_ij| <= 2**30.
    """
    if sense(head, mem, x) != 0:
        learn(head, mem, 0)
    sign = head[SIGN]
    if sign != 0 and (head[STEPS] & ((1 << head[LMAN_SHIFT]) - 1)) == 0:
        draw_signs(head, mem)
    at = tick(head, mem, sign * head[AMPLITUDE])
    if sign != 0:
        fade(head)
        accumulate_empiric(head, mem, 0)
    return actuate(head, mem, at, u)


def end(head: ptr32, mem: ptr16) -> int:
    """Learn from the last cost, where an update is due.

    Scaling and overflow: those of kernels.eligibility.learn.
    """
    if close_trial(head) != 0:
        learn(head, mem, 0)
        head[CHECK] = fold_words(head[CHECK], mem, 0, head[N_WEIGHTS])
    seal(head)
    return 0
