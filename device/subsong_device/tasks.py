"""Tasks that the board sets itself: a table of patterns and targets, so that learning needs no plant."""

from subsong_device.layout import (
    COST_LIMIT,
    TASK_DATA,
    TASK_ERROR_SHIFT,
    TASK_INPUTS,
    TASK_NEXT,
    TASK_OUTPUTS,
    TASK_PATTERNS,
)


def task_begin(task: ptr16) -> int:
    """Return to the first pattern.

    Scaling and overflow: assignments only.
    """
    task[TASK_NEXT] = 0
    return 0


def task_sense(task: ptr16, x: ptr16) -> int:
    """Write the current pattern's input words to x.

    Scaling and overflow: offsets are below the length of the block.
    """
    n = task[TASK_INPUTS]
    at = TASK_DATA + task[TASK_NEXT] * (n + task[TASK_OUTPUTS])
    for j in range(n):
        x[j] = task[at + j]
    return 0


def task_cost(task: ptr16, u: ptr16) -> int:
    """Return the squared error of the output words u on the current pattern, and go to the next.

    Returns:
        Counts of 2**-24, at most 2**28: the sum over outputs of ((u - target) >> TASK_ERROR_SHIFT) squared, which
        brings an error to 1 LSB = 2**-12.

    Scaling and overflow: an error is below 2**16, shifted by 3 below 2**13 (by 0, from 1 LSB = 2**-12, below 2**16 and
    clipped to 2**14), squared at most 2**28, and the sum saturates at 2**28 after every term: at most 2**29.
    """
    n = task[TASK_OUTPUTS]
    at = TASK_DATA + task[TASK_NEXT] * (task[TASK_INPUTS] + n) + task[TASK_INPUTS]
    shift = task[TASK_ERROR_SHIFT]
    cost = 0
    for i in range(n):
        e = (((u[i] ^ 0x8000) - 0x8000) - ((task[at + i] ^ 0x8000) - 0x8000)) >> shift
        if e > 0x4000:
            e = 0x4000
        elif e < 0 - 0x4000:
            e = 0 - 0x4000
        cost += e * e
        if cost > COST_LIMIT:
            cost = COST_LIMIT
    following = task[TASK_NEXT] + 1
    if following >= task[TASK_PATTERNS]:
        following = 0
    task[TASK_NEXT] = following
    return cost
