"""A linear teacher: random inputs, the outputs of a fixed layer as targets, measurement noise if wanted."""

from subsong_device.kernels.tasks.common import scaled_error
from subsong_device.kernels.tasks.streams import coins, task_draw
from subsong_device.layout import (
    COST_LIMIT,
    TASK_EVALUATING,
    TASK_INPUTS,
    TASK_OUTPUTS,
    TASK_STREAM,
    TEACHER_COST_SHIFT,
    TEACHER_DATA,
    TEACHER_DRIVE_SHIFT,
    TEACHER_NOISE,
    TEACHER_NOISE_SHIFT,
    TEACHER_NOISE_SIZE,
    TEACHER_PRODUCT_SHIFT,
    TEACHER_SIGNS,
    TEACHER_UNIT,
)


def teacher_sense(task: ptr16, x: ptr16) -> int:
    """Draw the step's inputs, and compute its targets as a layer of the network would.

    Scaling and overflow: an input is at most 32 units of 8192, below 2**18 before it is clipped to 32767. Products are
    shifted before they are summed, as in kernels/network.py: sums stay below 2**30.
    """
    n = task[TASK_INPUTS]
    unit = task[TEACHER_UNIT]
    bits = 0
    for j in range(n):
        if task[TEACHER_SIGNS] != 0:
            if (j & 15) == 0:
                bits = task_draw(task, TASK_STREAM)
            v = (((bits & 1) << 1) - 1) * (unit << 2)
            bits = bits >> 1
        else:
            v = coins(task, TASK_STREAM) * unit
        if v > 0x7FFF:
            v = 0x7FFF
        elif v < 0 - 0x7FFF:
            v = 0 - 0x7FFF
        x[j] = v & 0xFFFF
    outputs = task[TASK_OUTPUTS]
    product_shift = task[TEACHER_PRODUCT_SHIFT]
    at = TEACHER_DATA + outputs
    for i in range(outputs):
        g = 0
        for j in range(n):
            g += (((task[at + j] ^ 0x8000) - 0x8000) * ((x[j] ^ 0x8000) - 0x8000)) >> product_shift
        at += n
        g = g >> task[TEACHER_DRIVE_SHIFT]
        if g > 0x7FFF:
            g = 0x7FFF
        elif g < 0 - 0x8000:
            g = 0 - 0x8000
        task[TEACHER_DATA + i] = g & 0xFFFF
    return 0


def teacher_cost(task: ptr16, u: ptr16) -> int:
    """Return half the squared error of the output words u; learning sees it with measurement noise.

    Returns:
        Counts of 2**-25 * 2**TEACHER_COST_SHIFT, in +-2**28: the noise may bring it below 0.

    Scaling and overflow: those of scaled_error; noise is below 2**5 * 2**15 * 2**8 = 2**28.
    """
    cost = scaled_error(task, u, TEACHER_DATA, task[TEACHER_COST_SHIFT])
    if task[TEACHER_NOISE_SIZE] != 0 and task[TASK_EVALUATING] == 0:
        cost += (coins(task, TEACHER_NOISE) * task[TEACHER_NOISE_SIZE]) << task[TEACHER_NOISE_SHIFT]
        if cost > COST_LIMIT:
            cost = COST_LIMIT
        elif cost < 0 - COST_LIMIT:
            cost = 0 - COST_LIMIT
    return cost
