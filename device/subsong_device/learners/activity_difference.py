"""Activity difference: dw_ij = -eta (C2 - C1) (h_i(2) - h_i(1)) x_j, from two perturbed passes.

Node perturbation that never reads the perturbation: only what came of it, in the units' outputs h, is observed, so
chance may as well be the hardware's own. What perturbation upstream did to a unit is in its difference, too. Both
passes are perturbed, each anew; a pass is a trial of one step, and x_j is the mean of both passes' inputs.

    begin   clear the eligibility (once a pair)
    act     g_i += sigma xi_i; first pass: note h and x; second: e_ij = (h_i(2) - h_i(1)) (x_j(1) + x_j(2)) / 2
    end     after the second: w_ij -= eta (C2 - C1) e_ij

Sources: Dalm, van Gerven & Ahmad 2023 (activity-based node perturbation); Koenders et al. 2025 (on magnetic tunnel
junctions); the integer form is docs/arithmetic.md's.
"""

from subsong_device.kernels.checksum import fold_words
from subsong_device.kernels.difference import note_activity, take_difference
from subsong_device.kernels.eligibility import clear, draw_signs, learn
from subsong_device.kernels.network import forward, rest
from subsong_device.kernels.trial import actuate, close_trial, open_trial, seal, sense
from subsong_device.layout import AMPLITUDE, CHECK, N_WEIGHTS, PHASE, SIGN, STEPS


def begin(head: ptr32, mem: ptr16) -> int:
    """Clear the eligibility before the first pass of a pair.

    Scaling and overflow: assignments only.
    """
    sign = open_trial(head)
    rest(head, mem)
    if sign != 0 and head[PHASE] == 0:
        clear(head)
    return 0


def act(head: ptr32, mem: ptr16, x: ptr16, u: ptr16) -> int:
    """Map sensor words x to actuator words u, every drive perturbed, and observe the units.

    Further steps of a trial are perturbed and not observed.

    Scaling and overflow: those of kernels.network.forward and kernels.difference.
    """
    sense(head, mem, x)
    sign = head[SIGN]
    if sign != 0:
        draw_signs(head, mem)
    at = forward(head, mem, sign * head[AMPLITUDE])
    if sign != 0 and head[STEPS] == 0:
        if head[PHASE] == 0:
            note_activity(head, mem)
        else:
            take_difference(head, mem)
    return actuate(head, mem, at, u)


def end(head: ptr32, mem: ptr16) -> int:
    """After the second pass, move every weight against the difference of costs along its eligibility.

    Scaling and overflow: those of kernels.eligibility.learn.
    """
    if close_trial(head) != 0:
        learn(head, mem, 12)
        head[CHECK] = fold_words(head[CHECK], mem, 0, head[N_WEIGHTS])
    seal(head)
    return 0
