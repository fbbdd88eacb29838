"""Stochastic spiking: dw_ij = -eta (C - b) sum over t of phi_i(t) (S_i(t) - p_i(t)) h_j(t).

A unit spikes in a step, S_i = 1, with probability p_i = f(u_i), f the logistic function times a highest rate, u the
drive. Its output h_i is its spike train, filtered exponentially. A weight is held responsible for the spikes that came
beyond expectation, times the presynaptic train; phi = f'/f is what is left to the highest rate.

    begin   silence the network; clear the eligibility
    act     draw S_i; filter; e_ij += phi_i (S_i - p_i) h_j
    end     w_ij -= eta (C - b) e_ij

Sources: Xie & Seung 2004; the integer form is docs/arithmetic.md's.
"""

from subsong_device.kernels.checksum import fold_words
from subsong_device.kernels.eligibility import clear, fade, learn
from subsong_device.kernels.network import rest
from subsong_device.kernels.spiking import accumulate_scores, forward_spiking, silence
from subsong_device.kernels.trial import actuate, close_trial, open_trial, seal, sense
from subsong_device.layout import CHECK, INPUT_SHIFT, N_WEIGHTS, SIGN


def begin(head: ptr32, mem: ptr16) -> int:
    """Silence the network and clear the eligibility.

    Scaling and overflow: assignments only.
    """
    sign = open_trial(head)
    rest(head, mem)
    silence(head, mem)
    if sign != 0:
        clear(head)
    return 0


def act(head: ptr32, mem: ptr16, x: ptr16, u: ptr16) -> int:
    """Map sensor words x to actuator words u, every unit's spike drawn, and accumulate the eligibility.

    Scaling and overflow: a step adds at most 32767 * 2**(15 - INPUT_SHIFT) to an eligibility, and the host chose
    INPUT_SHIFT so that the steps of a trial, or the 2**TRACE_SHIFT steps that a trace lasts, stay below 2**30.
    """
    if sense(head, mem, x) != 0:
        learn(head, mem, 15 - head[INPUT_SHIFT])
    at = forward_spiking(head, mem)
    if head[SIGN] != 0:
        fade(head)
        accumulate_scores(head, mem)
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
