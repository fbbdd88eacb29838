"""Weight perturbation: dw = -eta (C - b) xi.

Every weight carries one random sign xi, constant over a trial. The perturbation is added to the weights themselves, so
a step costs what an unperturbed step costs; it is taken back, and the update made, in one pass when the trial ends. The
signs are drawn again rather than kept: beside its weights the rule needs no memory.

    begin   draw xi; w += sigma xi
    act     measure: the plain network
    end     w -= sigma xi + eta (C - b) xi

Sources: Barto, Sutton & Anderson 1983; Williams 1992; Seung 2003; the integer form is docs/arithmetic.md's.
"""

from subsong_device.kernels.checksum import fold_words
from subsong_device.kernels.network import forward, rest
from subsong_device.kernels.random import threshold
from subsong_device.kernels.trial import actuate, close_trial, open_trial, rewind, seal, sense
from subsong_device.kernels.update import move_along_signs, rounded_step
from subsong_device.layout import AMPLITUDE, CHECK, ESTIMATOR, LIMIT, N_WEIGHTS, RATE_SHIFT, SIGN, TWO_SIDED, WEIGHTS_AT


def begin(head: ptr32, mem: ptr16) -> int:
    """Draw this trial's signs and perturb the weights by +-AMPLITUDE.

    Scaling and overflow: |w| + AMPLITUDE <= 32767.
    """
    sign = open_trial(head)
    rest(head, mem)
    if sign != 0:
        # The weights lie within +-LIMIT = 32767 - AMPLITUDE: nothing clips, so end() can take the perturbation back.
        move_along_signs(head, mem, sign * head[AMPLITUDE], 0x7FFF)
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
    move = 0
    if due != 0:
        shift = head[RATE_SHIFT]
        if head[ESTIMATOR] == TWO_SIDED:
            shift += 1
        move = rounded_step(head, shift, threshold(head))
    if sign != 0:
        rewind(head)
        move_along_signs(head, mem, 0 - sign * (head[AMPLITUDE] + move), head[LIMIT])
    if due != 0:
        head[CHECK] = fold_words(head[CHECK], mem, head[WEIGHTS_AT], head[N_WEIGHTS])
    seal(head)
    return 0
