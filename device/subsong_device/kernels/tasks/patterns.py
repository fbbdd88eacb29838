"""A table of patterns and targets: XOR, parity, and whatever fits into words."""

from subsong_device.kernels.tasks.common import squared_error
from subsong_device.layout import (
    EVALUATE,
    PHASE,
    TASK_COUNT,
    TASK_DATA,
    TASK_EVALUATING,
    TASK_INPUTS,
    TASK_NEXT,
    TASK_OUTPUTS,
    TASK_RESUME,
    TASK_START,
)


def patterns_begin(head: ptr32, task: ptr16) -> int:
    """Go to the pattern that the trial begins with.

    Evaluations that follow each other begin with the first and go on. A trial that learns goes on where the last of its
    kind ended; the second trial of a pair begins where the first began.

    Scaling and overflow: assignments only.
    """
    if head[EVALUATE] != 0:
        if task[TASK_EVALUATING] == 0:
            task[TASK_RESUME] = task[TASK_NEXT]
            task[TASK_EVALUATING] = 1
            task[TASK_NEXT] = 0
    else:
        if task[TASK_EVALUATING] != 0:
            task[TASK_NEXT] = task[TASK_RESUME]
            task[TASK_EVALUATING] = 0
        if head[PHASE] == 0:
            task[TASK_START] = task[TASK_NEXT]
        else:
            task[TASK_NEXT] = task[TASK_START]
    return 0


def patterns_sense(task: ptr16, x: ptr16) -> int:
    """Write the current pattern's input words to x.

    Scaling and overflow: offsets are below the length of the block.
    """
    n = task[TASK_INPUTS]
    at = TASK_DATA + task[TASK_NEXT] * (n + task[TASK_OUTPUTS])
    for j in range(n):
        x[j] = task[at + j]
    return 0


def patterns_cost(task: ptr16, u: ptr16) -> int:
    """Return the squared error of the output words u on the current pattern, and go to the next.

    Scaling and overflow: those of squared_error.
    """
    n = task[TASK_INPUTS]
    cost = squared_error(task, u, TASK_DATA + task[TASK_NEXT] * (n + task[TASK_OUTPUTS]) + n)
    following = task[TASK_NEXT] + 1
    if following >= task[TASK_COUNT]:
        following = 0
    task[TASK_NEXT] = following
    return cost
