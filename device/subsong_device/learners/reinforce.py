"""REINFORCE with Bernoulli-logistic units: dw_ij = -eta (C - b) sum over t of (s_i(t) - p_i(t)) x_j(t).

Every unit draws its own state: s_i(t) = 1 with probability p_i(t) = f(g_i(t)), f the logistic function, g the drive.
Chance is in the units themselves, and nothing is perturbed beside them. (s - p) x is the derivative of ln P(s) by the
weight, so its sum over all units and steps is that of the log-probability of the whole network's trajectory, and that
times the cost is, on average, the gradient of the expected cost.

    begin   clear the eligibility
    act     draw s_i; e_ij += (s_i - p_i) x_j
    end     w_ij -= eta (C - b) e_ij

Recurrent layers need no other rule: own states of the step before are inputs, x_j(t) = s_j(t-1). Rewards that come late
find what caused them under "each_step", where the eligibility fades. An evaluation draws nothing: every unit takes its
more probable state.

Sources: Williams 1992, sections 4 and 7; the integer form is docs/arithmetic.md's.
"""

from subsong_device.kernels.bernoulli import forward_bernoulli
from subsong_device.kernels.checksum import fold_words
from subsong_device.kernels.eligibility import accumulate_factors, clear, fade, learn
from subsong_device.kernels.network import rest
from subsong_device.kernels.trial import actuate, close_trial, open_trial, seal, sense
from subsong_device.layout import CHECK, INPUT_SHIFT, N_WEIGHTS, SIGN


def begin(head: ptr32, mem: ptr16) -> int:
    """Clear the eligibility.

    Scaling and overflow: assignments only.
    """
    sign = open_trial(head)
    rest(head, mem)
    if sign != 0:
        clear(head)
    return 0


def act(head: ptr32, mem: ptr16, x: ptr16, u: ptr16) -> int:
    """Map sensor words x to actuator words u, every unit's state drawn, and accumulate the eligibility.

    Scaling and overflow: a step adds at most 32757 * 2**(15 - INPUT_SHIFT) to an eligibility, and the host chose
    INPUT_SHIFT so that the steps of a trial, or the 2**TRACE_SHIFT steps that a trace lasts, stay below 2**30.
    """
    if sense(head, mem, x) != 0:
        learn(head, mem, 15 - head[INPUT_SHIFT])
    at = forward_bernoulli(head, mem)
    if head[SIGN] != 0:
        fade(head)
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
