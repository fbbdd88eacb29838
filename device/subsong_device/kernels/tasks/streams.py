"""Chance in tasks: a stream in the task's block, the same for both trials of a pair; numbers made of coins."""

from subsong_device.layout import (
    EVALUATE,
    PHASE,
    TASK_EVALUATING,
    TASK_LEARNING,
    TASK_REWIND,
    TASK_SEED,
    TASK_STREAM,
)


def task_draw(task: ptr16, at: int) -> int:
    """Advance the generator whose two words lie at task[at]; return its next 16-bit word.

    The learner's generator (kernels/random.py), kept in 16-bit words.

    Scaling and overflow: every intermediate is below 2**21.
    """
    t = task[at]
    y = task[at + 1]
    t = (t ^ (t << 5)) & 0xFFFF
    t = t ^ (t >> 3)
    t = (y ^ (y >> 1)) ^ t
    task[at] = y
    task[at + 1] = t
    return t


def coins(task: ptr16, at: int) -> int:
    """Return the heads among 64 fair coins, four words of a stream, less 32: nearly normal, standard deviation 4.

    Returns:
        -32..32, of mean 0, variance 16 and kurtosis 3 - 2/64.

    Scaling and overflow: words, and sums of at most 64.
    """
    n = 0 - 32
    for _k in range(4):
        v = task_draw(task, at)
        v = (v & 0x5555) + ((v >> 1) & 0x5555)
        v = (v & 0x3333) + ((v >> 2) & 0x3333)
        v = (v & 0x0F0F) + ((v >> 4) & 0x0F0F)
        n += (v & 0x1F) + (v >> 8)
    return n


def copy_stream(task: ptr16, to: int, at: int) -> int:
    """Let the generator at task[to] stand where the one at task[at] does.

    Scaling and overflow: words are copied.
    """
    task[to] = task[at]
    task[to + 1] = task[at + 1]
    return 0


def stream_begin(head: ptr32, task: ptr16) -> int:
    """Bring the stream to where the trial begins.

    Evaluations that follow each other draw from the seed on. A trial that learns goes on where the last of its kind
    ended; the second trial of a pair begins where the first began.

    Scaling and overflow: assignments only.
    """
    if head[EVALUATE] != 0:
        if task[TASK_EVALUATING] == 0:
            copy_stream(task, TASK_LEARNING, TASK_STREAM)
            copy_stream(task, TASK_STREAM, TASK_SEED)
            task[TASK_EVALUATING] = 1
    else:
        if task[TASK_EVALUATING] != 0:
            copy_stream(task, TASK_STREAM, TASK_LEARNING)
            task[TASK_EVALUATING] = 0
        if head[PHASE] == 0:
            copy_stream(task, TASK_REWIND, TASK_STREAM)
        else:
            copy_stream(task, TASK_STREAM, TASK_REWIND)
    return 0
