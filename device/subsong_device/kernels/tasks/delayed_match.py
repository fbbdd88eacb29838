"""Delayed match to sample: a cue, a silent delay, a probe; the output says whether they were the same."""

from subsong_device.kernels.tasks.common import scaled_error
from subsong_device.kernels.tasks.streams import stream_begin, task_draw
from subsong_device.layout import (
    MATCH_COST_SHIFT,
    MATCH_CUE,
    MATCH_CUE_STEPS,
    MATCH_OTHER,
    MATCH_PROBE,
    MATCH_PROBE_AT,
    MATCH_RESPONSE_AT,
    MATCH_SAME,
    MATCH_TARGET,
    TASK_COUNT,
    TASK_INPUTS,
    TASK_NEXT,
    TASK_STREAM,
)


def match_begin(head: ptr32, task: ptr16) -> int:
    """Bring the stream to where the trial begins, with the first step of a presentation.

    Scaling and overflow: an assignment.
    """
    stream_begin(head, task)
    task[TASK_NEXT] = 0
    return 0


def match_draw(task: ptr16) -> int:
    """Draw a cue, whether the probe is the same (a coin), and which other one it is if not; all alike likely.

    Scaling and overflow: a word times the number of inputs, at most 504, is below 2**25.
    """
    n = task[TASK_INPUTS]
    word = task_draw(task, TASK_STREAM)
    cue = ((word >> 1) * n) >> 15
    probe = cue + 1 + ((task_draw(task, TASK_STREAM) * (n - 1)) >> 16)
    if probe >= n:
        probe -= n
    target = task[MATCH_OTHER]
    if (word & 1) != 0:
        probe = cue
        target = task[MATCH_SAME]
    task[MATCH_CUE] = cue
    task[MATCH_PROBE] = probe
    task[MATCH_TARGET] = target
    return 0


def match_sense(task: ptr16, x: ptr16) -> int:
    """Write the step's sensor words to x: one input for each cue, 32767 where it or the probe is shown.

    Scaling and overflow: cue and probe are below the number of inputs.
    """
    step = task[TASK_NEXT]
    if step == 0:
        match_draw(task)
    for j in range(task[TASK_INPUTS]):
        x[j] = 0
    if step < task[MATCH_CUE_STEPS]:
        x[task[MATCH_CUE]] = 0x7FFF
    elif step >= task[MATCH_PROBE_AT]:
        x[task[MATCH_PROBE]] = 0x7FFF
    return 0


def match_cost(task: ptr16, u: ptr16) -> int:
    """Return the squared error of the output word u where a response is due, else 0, and go to the next step.

    Returns:
        Counts of 2**-24 * 2**MATCH_COST_SHIFT, in 0..2**28.

    Scaling and overflow: those of scaled_error.
    """
    step = task[TASK_NEXT]
    cost = 0
    if step >= task[MATCH_RESPONSE_AT]:
        cost = scaled_error(task, u, MATCH_TARGET, task[MATCH_COST_SHIFT])
    step += 1
    if step >= task[TASK_COUNT]:
        step = 0
    task[TASK_NEXT] = step
    return cost
