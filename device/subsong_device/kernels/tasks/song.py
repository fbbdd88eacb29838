"""A song: HVC's bursts, one neuron after another, and a template of what the motor words should do meanwhile.

What is heard follows the motor words as muscles do, through a low-pass; how far it is from the template is told some
steps later. Every trial sings the song from its beginning; behind its end HVC is silent and nothing costs, but costs of
what was sung still come.
"""

from subsong_device.layout import (
    COST_LIMIT,
    SONG_BURST,
    SONG_CEILING_SHIFT,
    SONG_DELAY,
    SONG_MUSCLE_SHIFT,
    SONG_RING,
    SONG_SPACING,
    SONG_TEMPLATE,
    TASK_COUNT,
    TASK_ERROR_SHIFT,
    TASK_INPUTS,
    TASK_NEXT,
    TASK_OUTPUTS,
)


def song_begin(task: ptr16) -> int:
    """Go to the song's beginning: muscles at rest, no cost on its way.

    Scaling and overflow: assignments only.
    """
    n = task[TASK_OUTPUTS]
    at = SONG_TEMPLATE + task[TASK_COUNT] * n
    for i in range(n + 2 * task[SONG_DELAY]):
        task[at + i] = 0
    task[SONG_RING] = 0
    task[TASK_NEXT] = 0
    return 0


def song_sense(task: ptr16, x: ptr16) -> int:
    """Write HVC's activations to x: 1.0 for a neuron that bursts, else 0.

    Neuron j bursts from step j * SONG_SPACING on, for SONG_BURST steps.

    Scaling and overflow: 505 neurons times a spacing below 2**16 is below 2**25.
    """
    now = task[TASK_NEXT]
    count = task[TASK_COUNT]
    start = 0
    for j in range(task[TASK_INPUTS]):
        x[j] = 0
        since = now - start
        if since >= 0 and since < task[SONG_BURST] and now < count:
            x[j] = 0x7FFF
        start += task[SONG_SPACING]
    return 0


def song_cost(task: ptr16, u: ptr16) -> int:
    """Move the song towards the motor words u, judge it, and return the cost of SONG_DELAY steps before.

    Scaling and overflow: a difference of two int16 and half are below 2**17. An error is as in squared_error: clipped
    to 2**14, squared at most 2**28, and the sum saturates after every term: at most 2**29.
    """
    n = task[TASK_OUTPUTS]
    count = task[TASK_COUNT]
    now = task[TASK_NEXT]
    song = SONG_TEMPLATE + count * n
    muscle = task[SONG_MUSCLE_SHIFT]
    half = (1 << muscle) >> 1
    shift = task[TASK_ERROR_SHIFT]
    ceiling = COST_LIMIT >> task[SONG_CEILING_SHIFT]
    cost = 0
    for i in range(n):
        y = (task[song + i] ^ 0x8000) - 0x8000
        y += (((u[i] ^ 0x8000) - 0x8000) - y + half) >> muscle
        task[song + i] = y & 0xFFFF
        if now < count:
            e = (y - ((task[SONG_TEMPLATE + now * n + i] ^ 0x8000) - 0x8000)) >> shift
            if e > 0x4000:
                e = 0x4000
            elif e < 0 - 0x4000:
                e = 0 - 0x4000
            cost += e * e
            if cost > ceiling:
                cost = ceiling
    if now < count:
        task[TASK_NEXT] = now + 1
    return late(task, song + n, cost)


def late(task: ptr16, at: int, cost: int) -> int:
    """Keep a cost, and return the one of SONG_DELAY steps before; 0 where there was none.

    Args:
        task: SONG_DELAY, SONG_RING (advanced).
        at: offset of the costs on their way: low word, high word.
        cost: 0..2**28.

    Scaling and overflow: two halves of 16 bits, the high one at most 2**12.
    """
    delay = task[SONG_DELAY]
    told = cost
    if delay > 0:
        at += 2 * task[SONG_RING]
        told = ((task[at + 1] & 0x1FFF) << 16) | task[at]
        if told > COST_LIMIT:
            told = COST_LIMIT
        high = cost >> 16
        task[at] = cost - (high << 16)
        task[at + 1] = high
        following = task[SONG_RING] + 1
        if following >= delay:
            following = 0
        task[SONG_RING] = following
    return told
