"""Tasks that the board sets itself, so that learning needs no plant. Each kind is a file in kernels/tasks."""

from subsong_device.kernels.tasks.delayed_match import match_begin, match_cost, match_sense
from subsong_device.kernels.tasks.extended import extended_begin, extended_cost, extended_sense
from subsong_device.kernels.tasks.letters import letters_cost, letters_sense
from subsong_device.kernels.tasks.linear_teacher import teacher_cost, teacher_sense
from subsong_device.kernels.tasks.lqr import lqr_begin, lqr_cost, lqr_sense
from subsong_device.kernels.tasks.patterns import patterns_begin, patterns_cost, patterns_sense
from subsong_device.kernels.tasks.sequence import sequence_begin, sequence_cost, sequence_sense
from subsong_device.kernels.tasks.song import song_begin, song_cost, song_sense
from subsong_device.kernels.tasks.streams import stream_begin
from subsong_device.layout import (
    DELAYED_MATCH,
    EXTENDED,
    LETTERS,
    LINEAR_TEACHER,
    LQR,
    PATTERNS,
    SEQUENCE,
    SONG,
    TASK_KIND,
)


def task_begin(head: ptr32, task: ptr16) -> int:
    """Begin a trial, which the learner has not begun yet: head[EVALUATE] and head[PHASE] say which.

    Scaling and overflow: those of the kind.
    """
    kind = task[TASK_KIND]
    if kind == PATTERNS or kind == LETTERS:  # noqa: SIM109 - the dialect has no `in`
        patterns_begin(head, task)
    elif kind == LINEAR_TEACHER:
        stream_begin(head, task)
    elif kind == EXTENDED:
        extended_begin(task)
    elif kind == LQR:
        lqr_begin(head, task)
    elif kind == DELAYED_MATCH:
        match_begin(head, task)
    elif kind == SEQUENCE:
        sequence_begin(head, task)
    elif kind == SONG:
        song_begin(task)
    return 0


def task_sense(task: ptr16, x: ptr16) -> int:
    """Write the step's sensor words to x.

    Scaling and overflow: those of the kind.
    """
    kind = task[TASK_KIND]
    if kind == PATTERNS:
        patterns_sense(task, x)
    elif kind == LINEAR_TEACHER:
        teacher_sense(task, x)
    elif kind == LETTERS:
        letters_sense(task, x)
    elif kind == EXTENDED:
        extended_sense(task, x)
    elif kind == LQR:
        lqr_sense(task, x)
    elif kind == DELAYED_MATCH:
        match_sense(task, x)
    elif kind == SEQUENCE:
        sequence_sense(task, x)
    elif kind == SONG:
        song_sense(task, x)
    return 0


def task_cost(task: ptr16, u: ptr16) -> int:
    """Take the step's actuator words; return its cost, and go on.

    Returns:
        Counts, in +-2**28: what one stands for is the kind's.

    Scaling and overflow: those of the kind.
    """
    kind = task[TASK_KIND]
    cost = 0
    if kind == PATTERNS:
        cost = patterns_cost(task, u)
    elif kind == LINEAR_TEACHER:
        cost = teacher_cost(task, u)
    elif kind == LETTERS:
        cost = letters_cost(task, u)
    elif kind == EXTENDED:
        cost = extended_cost(task, u)
    elif kind == LQR:
        cost = lqr_cost(task, u)
    elif kind == DELAYED_MATCH:
        cost = match_cost(task, u)
    elif kind == SEQUENCE:
        cost = sequence_cost(task, u)
    elif kind == SONG:
        cost = song_cost(task, u)
    return cost
