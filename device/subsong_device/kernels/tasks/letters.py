"""Four letters in a field of 7 x 7 pixels, shifted, with up to two pixels flipped: 44,136 images, none of them stored.

Image 1226 * (9 * glyph + 3 * down + right) + flips; flips 0 is the clean glyph, then come single pixels, then pairs.
"""

from subsong_device.kernels.tasks.common import scaled_error
from subsong_device.layout import (
    LETTERS_COST_SHIFT,
    LETTERS_DATA,
    LETTERS_IMAGES,
    LETTERS_STRIDE,
    TASK_NEXT,
)


def letters_place(task: ptr16) -> int:
    """Return image NEXT's 9 * glyph + 3 * down + right, its number divided by 1226.

    Scaling and overflow: 22067 * 13685 is below 2**29; for every number of an image the quotient is exact.
    """
    return ((task[TASK_NEXT] >> 1) * 13685) >> 23


def letters_sense(task: ptr16, x: ptr16) -> int:
    """Draw image NEXT into x: 49 pixels, row after row, 32767 or 0.

    Scaling and overflow: numbers below 44136; pixels below 49.
    """
    place = letters_place(task)
    flips = task[TASK_NEXT] - place * 1226
    glyph = 0
    for _k in range(3):
        if place >= 9:
            place -= 9
            glyph += 5
    down = (place * 11) >> 5
    right = place - 3 * down
    for j in range(49):
        x[j] = 0
    at = LETTERS_DATA + 16 + glyph
    pixel = 7 * down + right
    for i in range(5):
        bits = task[at + i]
        for j in range(5):
            if ((bits >> (4 - j)) & 1) != 0:
                x[pixel + j] = 0x7FFF
        pixel += 7
    if flips > 49:
        # A pair (first, second), first < second, first after first.
        rest = flips - 50
        first = 0
        n = 48
        for _k in range(47):
            if rest >= n:
                rest -= n
                n -= 1
                first += 1
        x[first] = x[first] ^ 0x7FFF
        second = first + 1 + rest
        x[second] = x[second] ^ 0x7FFF
    elif flips > 0:
        x[flips - 1] = x[flips - 1] ^ 0x7FFF
    return 0


def letters_cost(task: ptr16, u: ptr16) -> int:
    """Return the squared error of the output words u against image NEXT's letter, and go on by the stride.

    Returns:
        Counts of 2**-24 * 2**LETTERS_COST_SHIFT, in 0..2**28.

    Scaling and overflow: those of scaled_error; two numbers of images are below 2**17.
    """
    place = letters_place(task)
    at = LETTERS_DATA
    for _k in range(3):
        if place >= 9:
            place -= 9
            at += 4
    cost = scaled_error(task, u, at, task[LETTERS_COST_SHIFT])
    following = task[TASK_NEXT] + task[LETTERS_STRIDE]
    if following >= LETTERS_IMAGES:
        following -= LETTERS_IMAGES
    task[TASK_NEXT] = following
    return cost
