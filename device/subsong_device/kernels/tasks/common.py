"""What several on-board tasks share."""

from subsong_device.layout import COST_LIMIT, TASK_ERROR_SHIFT, TASK_OUTPUTS


def squared_error(task: ptr16, u: ptr16, at: int) -> int:
    """Return the squared error of the output words u against the targets task[at ..].

    Returns:
        Counts of 2**-24, at most 2**28: the sum over outputs of ((u - target) >> TASK_ERROR_SHIFT) squared, which
        brings an error to 1 LSB = 2**-12.

    Scaling and overflow: an error is below 2**16, shifted by 3 below 2**13 (by 0, from 1 LSB = 2**-12, below 2**16 and
    clipped to 2**14), squared at most 2**28, and the sum saturates at 2**28 after every term: at most 2**29.
    """
    shift = task[TASK_ERROR_SHIFT]
    cost = 0
    for i in range(task[TASK_OUTPUTS]):
        e = (((u[i] ^ 0x8000) - 0x8000) - ((task[at + i] ^ 0x8000) - 0x8000)) >> shift
        if e > 0x4000:
            e = 0x4000
        elif e < 0 - 0x4000:
            e = 0 - 0x4000
        cost += e * e
        if cost > COST_LIMIT:
            cost = COST_LIMIT
    return cost


def scaled_error(task: ptr16, u: ptr16, at: int, shift: int) -> int:
    """Return the squared error of the output words u against the targets task[at ..], of another scale.

    Returns:
        Counts of 2**-24 * 2**shift, at most 2**28: the sum over outputs of e squared, shifted right by `shift`, with e
        = (u - target) >> TASK_ERROR_SHIFT clipped to 32767.

    Scaling and overflow: a square is below 2**30 and clipped to 2**28 before it is added; the sum saturates at 2**28
    after every term: at most 2**29.
    """
    error_shift = task[TASK_ERROR_SHIFT]
    cost = 0
    for i in range(task[TASK_OUTPUTS]):
        e = (((u[i] ^ 0x8000) - 0x8000) - ((task[at + i] ^ 0x8000) - 0x8000)) >> error_shift
        if e > 0x7FFF:
            e = 0x7FFF
        elif e < 0 - 0x7FFF:
            e = 0 - 0x7FFF
        term = (e * e) >> shift
        if term > COST_LIMIT:
            term = COST_LIMIT
        cost += term
        if cost > COST_LIMIT:
            cost = COST_LIMIT
    return cost
