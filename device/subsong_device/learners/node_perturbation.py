"""Node perturbation: dw_ij = -eta (C - b) sum over t of xi_i(t) x_j(t).

Every unit's drive carries a random sign xi_i(t), drawn anew each step. What a weight is held responsible for, its
eligibility, is the sum of its unit's perturbation times its input.

    begin   clear the eligibility (once a pair)
    act     draw xi; g_i += sigma xi_i; e_ij += xi_i x_j
    end     w_ij -= eta (C - b) e_ij

Recurrent layers and rewards that come late need no other rule: own outputs of the step before are inputs x_j, and under
the estimator "each_step" every step's cost moves the weights along an eligibility that fades. The signs may also be a
code's, and the updates be gathered in a velocity before the weights move.

Sources: Williams 1992; Xie & Seung 2004; Fiete & Seung 2006; Oripov et al. 2025; the integer form is
docs/arithmetic.md's.
"""

from subsong_device.kernels.checksum import fold_words
from subsong_device.kernels.codes import lone_sign, seal_row
from subsong_device.kernels.eligibility import accumulate_signs, clear, fade
from subsong_device.kernels.network import forward_lone, rest
from subsong_device.kernels.trial import actuate, close_trial, open_trial, seal, sense
from subsong_device.kernels.unit_codes import accumulate_lone, choose_signs, lone_unit, next_row_of_units
from subsong_device.kernels.velocity import fold_velocity, learn_into, seal_velocity, velocity_at
from subsong_device.layout import AMPLITUDE, CHECK, ELIGIBILITY_AT, N_WEIGHTS, SIGN


def begin(head: ptr32, mem: ptr16) -> int:
    """Clear the eligibility; the second trial of a two-sided pair adds to the first one's.

    Scaling and overflow: assignments only.
    """
    sign = open_trial(head)
    rest(head, mem)
    if sign > 0:
        clear(head)
    return 0


def act(head: ptr32, mem: ptr16, x: ptr16, u: ptr16) -> int:
    """Map sensor words x to actuator words u, every drive perturbed, and accumulate the eligibility.

    The eligibility takes xi as drawn, without the trial's sign; the update applies that.

    Scaling and overflow: an input is at most 2**15 and a pair at most 2 * 16384 steps: |e_ij| <= 2**30.
    """
    if sense(head, mem, x) != 0:
        learn_into(head, mem, velocity_at(head, head[ELIGIBILITY_AT] + head[N_WEIGHTS]))
    sign = head[SIGN]
    unit = 0 - 1
    if sign != 0:
        unit = lone_unit(head)
        if unit >= 0:
            sign = sign * lone_sign(head)
        choose_signs(head, mem)
    at = forward_lone(head, mem, sign * head[AMPLITUDE], unit)
    if sign != 0:
        fade(head)
        if unit >= 0:
            accumulate_lone(head, mem, unit)
        else:
            accumulate_signs(head, mem)
    return actuate(head, mem, at, u)


def end(head: ptr32, mem: ptr16) -> int:
    """Where an update is due, move every weight against the cost along its eligibility.

    Two-sided: the eligibility is the mean of both trials' and the cost half their difference.

    Scaling and overflow: those of kernels.velocity.learn_into.
    """
    velocity = velocity_at(head, head[ELIGIBILITY_AT] + head[N_WEIGHTS])
    if close_trial(head) != 0:
        learn_into(head, mem, velocity)
        if velocity != 0:
            fold_velocity(head, velocity)
        head[CHECK] = fold_words(head[CHECK], mem, 0, head[N_WEIGHTS])
        next_row_of_units(head)
    seal_row(head)
    seal_velocity(head, velocity)
    seal(head)
    return 0
