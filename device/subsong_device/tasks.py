"""Tasks that the board sets itself, so that learning needs no plant. Each kind is a file in kernels/tasks."""

from subsong_device.kernels.tasks.patterns import patterns_begin, patterns_cost, patterns_sense
from subsong_device.kernels.tasks.song import song_begin, song_cost, song_sense
from subsong_device.layout import SONG, TASK_KIND


def task_begin(head: ptr32, task: ptr16) -> int:
    """Begin a trial, which the learner has not begun yet: head[EVALUATE] and head[PHASE] say which.

    Scaling and overflow: those of the kind.
    """
    if task[TASK_KIND] == SONG:
        song_begin(task)
    else:
        patterns_begin(head, task)
    return 0


def task_sense(task: ptr16, x: ptr16) -> int:
    """Write the step's sensor words to x.

    Scaling and overflow: those of the kind.
    """
    if task[TASK_KIND] == SONG:
        song_sense(task, x)
    else:
        patterns_sense(task, x)
    return 0


def task_cost(task: ptr16, u: ptr16) -> int:
    """Take the step's actuator words; return its cost, and go on.

    Returns:
        Counts of 2**-24, in 0..2**28.

    Scaling and overflow: those of the kind.
    """
    if task[TASK_KIND] == SONG:
        cost = song_cost(task, u)
    else:
        cost = patterns_cost(task, u)
    return cost
