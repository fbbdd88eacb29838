"""Choice-specific sequences: a cue says which of several sequences the outputs are to go through after it."""

from subsong_device.kernels.tasks.common import scaled_error
from subsong_device.kernels.tasks.streams import stream_begin, task_draw
from subsong_device.layout import (
    SEQUENCE_CHOICE,
    SEQUENCE_COST_SHIFT,
    SEQUENCE_CUE_STEPS,
    SEQUENCE_DATA,
    TASK_COUNT,
    TASK_INPUTS,
    TASK_NEXT,
    TASK_OUTPUTS,
    TASK_STREAM,
)


def sequence_begin(head: ptr32, task: ptr16) -> int:
    """Bring the stream to where the trial begins, with the first step of a presentation.

    Scaling and overflow: an assignment.
    """
    stream_begin(head, task)
    task[TASK_NEXT] = 0
    return 0


def sequence_sense(task: ptr16, x: ptr16) -> int:
    """Write the step's sensor words to x: one input for each choice, 32767 while its cue is shown.

    Scaling and overflow: a word times the number of inputs, at most 504, is below 2**25.
    """
    n = task[TASK_INPUTS]
    if task[TASK_NEXT] == 0:
        task[SEQUENCE_CHOICE] = (task_draw(task, TASK_STREAM) * n) >> 16
    for j in range(n):
        x[j] = 0
    if task[TASK_NEXT] < task[SEQUENCE_CUE_STEPS]:
        x[task[SEQUENCE_CHOICE]] = 0x7FFF
    return 0


def sequence_cost(task: ptr16, u: ptr16) -> int:
    """Return the squared error of the output words u, after the cue, and go to the next step.

    Returns:
        Counts of 2**-24 * 2**SEQUENCE_COST_SHIFT, in 0..2**28.

    Scaling and overflow: those of scaled_error; offsets are below the length of the block.
    """
    step = task[TASK_NEXT]
    cue_steps = task[SEQUENCE_CUE_STEPS]
    cost = 0
    if step >= cue_steps:
        entry = task[SEQUENCE_CHOICE] * (task[TASK_COUNT] - cue_steps) + step - cue_steps
        at = SEQUENCE_DATA + entry * task[TASK_OUTPUTS]
        cost = scaled_error(task, u, at, task[SEQUENCE_COST_SHIFT])
    step += 1
    if step >= task[TASK_COUNT]:
        step = 0
    task[TASK_NEXT] = step
    return cost
