"""Weight perturbation: dw = -eta (C - b) xi.

Every weight carries one random sign xi, constant over a trial. The perturbation is added to the weights themselves, so
a step costs what an unperturbed step costs; it is taken back, and the update made, in one pass when the trial ends. The
signs are drawn again rather than kept: beside its weights the rule needs no memory.

    begin   draw xi; w += sigma xi
    act     measure: the plain network
    end     w -= sigma xi + eta (C - b) xi

The signs may also be a code's, and the updates be gathered in a velocity before the weights move.

Sources: Barto, Sutton & Anderson 1983; Williams 1992; Seung 2003; McCaughan et al. 2023; the integer form is
docs/arithmetic.md's.
"""

from subsong_device.kernels.checksum import fold_words
from subsong_device.kernels.codes import move_along_code, next_row, perturb_along_code, seal_row
from subsong_device.kernels.network import forward, rest
from subsong_device.kernels.random import threshold
from subsong_device.kernels.trial import actuate, close_trial, open_trial, rewind, seal, sense
from subsong_device.kernels.update import rounded_step
from subsong_device.kernels.velocity import (
    fold_velocity,
    move_along_velocity,
    push_along_code,
    seal_velocity,
    velocity_at,
    velocity_step,
)
from subsong_device.layout import (
    AMPLITUDE,
    CHECK,
    ELIGIBILITY_AT,
    ESTIMATOR,
    LIMIT,
    N_WEIGHTS,
    RATE_SHIFT,
    SIGN,
    TWO_SIDED,
)


def begin(head: ptr32, mem: ptr16) -> int:
    """Draw this trial's signs and perturb the weights by +-AMPLITUDE.

    Scaling and overflow: |w| + AMPLITUDE <= 32767.
    """
    sign = open_trial(head)
    rest(head, mem)
    if sign != 0:
        # The weights lie within +-LIMIT = 32767 - AMPLITUDE: nothing clips, so end() can take the perturbation back.
        perturb_along_code(head, mem, sign * head[AMPLITUDE])
    return 0


def act(head: ptr32, mem: ptr16, x: ptr16, u: ptr16) -> int:
    """Map sensor words x to actuator words u with the perturbed weights.

    Scaling and overflow: those of kernels.network.forward.
    """
    sense(head, mem, x)
    at = forward(head, mem, 0)
    return actuate(head, mem, at, u)


def end(head: ptr32, mem: ptr16) -> int:
    """Take the perturbation back and, where an update is due, move against the cost.

    In the second trial of a two-sided pair the sign is -1 and the baseline is the first trial's cost:
    (C- - C+) / 2 along -xi.

    Scaling and overflow: |step| <= 65535 and AMPLITUDE <= 4096, so every move is below 2**17.
    """
    due = close_trial(head)
    sign = head[SIGN]
    velocity = velocity_at(head, head[ELIGIBILITY_AT])
    move = 0
    if due != 0 and velocity == 0:
        shift = head[RATE_SHIFT]
        if head[ESTIMATOR] == TWO_SIDED:
            shift += 1
        move = rounded_step(head, shift, threshold(head))
    if sign != 0:
        rewind(head)
        move_along_code(head, mem, 0 - sign * (head[AMPLITUDE] + move), head[LIMIT])
    if due != 0:
        if velocity != 0:
            rewind(head)
            push_along_code(head, velocity, sign * velocity_step(head))
            move_along_velocity(head, mem, velocity)
            fold_velocity(head, velocity)
        head[CHECK] = fold_words(head[CHECK], mem, 0, head[N_WEIGHTS])
        next_row(head, head[N_WEIGHTS])
    seal_row(head)
    seal_velocity(head, velocity)
    seal(head)
    return 0
