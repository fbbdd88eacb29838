"""The linear-quadratic regulator: a slowly unstable system in noise, whose state and actuation both cost.

x' = A x + u + noise        cost = q |x|**2 + |u|**2
"""

from subsong_device.kernels.tasks.streams import coins, stream_begin
from subsong_device.layout import (
    COST_LIMIT,
    LQR_NOISE,
    LQR_Q,
    LQR_Q_SHIFT,
    LQR_START,
    LQR_STATE,
    TASK_INPUTS,
    TASK_STREAM,
)


def put_state(task: ptr16, at: int, s: int) -> int:
    """Write a state of 1 LSB = 2**-12, clipped to +-262136: a sensor word of 2**-9 and three fraction bits behind it.

    Scaling and overflow: 262136 is 32767 * 8.
    """
    if s > 262136:
        s = 262136
    elif s < 0 - 262136:
        s = 0 - 262136
    task[at] = (s >> 3) & 0xFFFF
    task[at + 1] = s & 7
    return 0


def lqr_begin(head: ptr32, task: ptr16) -> int:
    """Bring the stream to where the trial begins, and draw its initial state.

    Scaling and overflow: 32 * 32767 is below 2**20.
    """
    stream_begin(head, task)
    for i in range(task[TASK_INPUTS]):
        s = 0
        if task[LQR_START] != 0:
            s = coins(task, TASK_STREAM) * task[LQR_START]
        put_state(task, LQR_STATE + 2 * i, s)
    return 0


def lqr_sense(task: ptr16, x: ptr16) -> int:
    """Write the state's sensor words to x.

    Scaling and overflow: words are copied.
    """
    for i in range(task[TASK_INPUTS]):
        x[i] = task[LQR_STATE + 2 * i]
    return 0


def lqr_cost(task: ptr16, u: ptr16) -> int:
    """Return what the state and the actuation u cost, and move the state.

    Returns:
        Counts of 2**-16, in 0..2**28.

    Scaling and overflow: a squared state word is at most 2**30, shifted 2**17 and times LQR_Q below 2**29; with the
    actuation's 2**22 and the sum before at most 2**28, below 2**30. A product of A - I (1 LSB = 2**-18) and a state
    word is at most 2**30, shifted 2**26, and a sum of eight 2**29. A state is below 2**19, what it drifts by below
    2**19, what it is perturbed by below 2**20. All states move at once: until then, new ones wait behind the matrix.
    """
    n = task[TASK_INPUTS]
    matrix = LQR_STATE + 2 * n
    waiting = matrix + n * n
    cost = 0
    for i in range(n):
        at = LQR_STATE + 2 * i
        x = (task[at] ^ 0x8000) - 0x8000
        v = (u[i] ^ 0x8000) - 0x8000
        if v < 0 - 0x7FFF:
            v = 0 - 0x7FFF
        cost += ((((x * x) >> 13) * task[LQR_Q]) >> task[LQR_Q_SHIFT]) + ((v * v) >> 8)
        if cost > COST_LIMIT:
            cost = COST_LIMIT
        drift = 0x400
        for j in range(n):
            a = (task[matrix + j] ^ 0x8000) - 0x8000
            drift += (a * ((task[LQR_STATE + 2 * j] ^ 0x8000) - 0x8000)) >> 4
        matrix += n
        s = (x << 3) + task[at + 1] + (drift >> 11) + v + coins(task, TASK_STREAM) * task[LQR_NOISE]
        put_state(task, waiting + 2 * i, s)
    for i in range(2 * n):
        task[LQR_STATE + i] = task[waiting + i]
    return cost
