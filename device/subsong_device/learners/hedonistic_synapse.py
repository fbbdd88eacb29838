"""Hedonistic synapses: dq_ij = -eta (C - b) e_ij; e_ij grows by 1 - p_ij on release, by -p_ij on failure.

A synapse whose input spikes releases its transmitter with probability p = f(q), f the logistic function. Strengths are
fixed; what is learned, and lies where other rules have weights, is q. A synapse that released before a cost below
the expected one will release more often, and one that failed will fail more often: it seeks reward by itself, and what
network it is part of, here leaky integrate-and-fire units, does not matter to it.

    begin   silence the network; clear the eligibility
    act     draw releases; integrate, fire; e_ij += release - p_ij
    end     q_ij -= eta (C - b) e_ij

Sources: Seung 2003; the integer form is docs/arithmetic.md's.
"""

from subsong_device.kernels.checksum import fold_words
from subsong_device.kernels.eligibility import clear, fade, learn
from subsong_device.kernels.network import rest
from subsong_device.kernels.spiking import forward_releasing, silence
from subsong_device.kernels.trial import actuate, close_trial, open_trial, seal, sense
from subsong_device.layout import CHECK, N_WEIGHTS, SIGN


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
    """Map sensor words x to actuator words u, every release drawn and noted in the eligibility.

    Scaling and overflow: a step adds at most 2**15 to an eligibility, in 16384 steps 2**29; or to one that fade has
    clipped.
    """
    if sense(head, mem, x) != 0:
        learn(head, mem, 0)
    if head[SIGN] != 0:
        fade(head)
    at = forward_releasing(head, mem)
    return actuate(head, mem, at, u)


def end(head: ptr32, mem: ptr16) -> int:
    """Where an update is due, move every synapse's q against the cost along its eligibility.

    Scaling and overflow: those of kernels.eligibility.learn.
    """
    if close_trial(head) != 0:
        learn(head, mem, 0)
        head[CHECK] = fold_words(head[CHECK], mem, 0, head[N_WEIGHTS])
    seal(head)
    return 0
