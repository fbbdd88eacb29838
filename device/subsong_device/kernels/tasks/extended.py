"""A task that extends in time: every trial runs through the same inputs and targets.

Source: Zuege, Klos & Memmesheimer, "Weight versus node perturbation learning in temporally extended tasks", Phys. Rev.
X 13, 021006 (2023).
"""

from subsong_device.kernels.tasks.common import scaled_error
from subsong_device.layout import (
    EXTENDED_COST_SHIFT,
    EXTENDED_DATA,
    TASK_COUNT,
    TASK_INPUTS,
    TASK_NEXT,
    TASK_OUTPUTS,
)


def extended_begin(task: ptr16) -> int:
    """Go to the first step.

    Scaling and overflow: an assignment.
    """
    task[TASK_NEXT] = 0
    return 0


def extended_sense(task: ptr16, x: ptr16) -> int:
    """Write the step's input words to x.

    Scaling and overflow: offsets are below the length of the block.
    """
    n = task[TASK_INPUTS]
    at = EXTENDED_DATA + task[TASK_NEXT] * (n + task[TASK_OUTPUTS])
    for j in range(n):
        x[j] = task[at + j]
    return 0


def extended_cost(task: ptr16, u: ptr16) -> int:
    """Return half the squared error of the output words u, and go to the next step.

    Returns:
        Counts of 2**-25 * 2**EXTENDED_COST_SHIFT, in 0..2**28.

    Scaling and overflow: those of scaled_error.
    """
    n = task[TASK_INPUTS]
    at = EXTENDED_DATA + task[TASK_NEXT] * (n + task[TASK_OUTPUTS]) + n
    cost = scaled_error(task, u, at, task[EXTENDED_COST_SHIFT])
    following = task[TASK_NEXT] + 1
    if following >= task[TASK_COUNT]:
        following = 0
    task[TASK_NEXT] = following
    return cost
