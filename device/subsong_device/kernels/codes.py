"""Perturbation codes: random signs, Walsh-Hadamard, one at a time. docs/arithmetic.md, "Perturbation codes".

A deterministic code numbers what it perturbs k = 0, 1, ..: the weights here, units and steps in unit_codes.py. In row
n it gives each k a sign, or none; every update is made with the next row, and over a period each k has + as often as -.

Sources: Bhatnagar et al. 2003 (Hadamard); McCaughan et al. 2023 (the three codes).
"""

from subsong_device.kernels.checksum import fold_int
from subsong_device.kernels.update import move_along_signs, perturb_along_signs
from subsong_device.layout import (
    CHECK,
    CODE,
    CODE_STEP,
    N_WEIGHTS,
    ONE_AT_A_TIME,
    RANDOM_SIGNS,
    SATURATED,
    WALSH_HADAMARD,
)


def parity(value: int) -> int:
    """Return 1 if an odd number of value's bits are set, else 0; value >= 0.

    Scaling and overflow: nothing grows.
    """
    value = value ^ (value >> 16)
    value = value ^ (value >> 8)
    value = value ^ (value >> 4)
    value = value ^ (value >> 2)
    return (value ^ (value >> 1)) & 1


def walsh_word(row: int, block: int) -> int:
    """Return the signs of k = 16 block .. 16 block + 15 in a row of the code, the least significant bit first.

    k has the sign + where an odd number of bits are set in the row and not in k. Columns of a Hadamard matrix by
    another name: counted down from its last, so that none is its first, which is constant.

    Scaling and overflow: row and block are in 0..2**30 - 1; a word.
    """
    bits = 0
    if (row & 1) != 0:
        bits = 0x5555
    if (row & 2) != 0:
        bits = bits ^ 0x3333
    if (row & 4) != 0:
        bits = bits ^ 0x0F0F
    if (row & 8) != 0:
        bits = bits ^ 0x00FF
    high = row >> 4
    if parity(high - (high & block)) != 0:
        bits = bits ^ 0xFFFF
    return bits


def lone_sign(head: ptr32) -> int:
    """Return the sign of what is perturbed alone: + in even rows, - in odd ones.

    Scaling and overflow: +1 or -1.
    """
    return 1 - ((head[CODE_STEP] & 1) << 1)


def next_row(head: ptr32, n: int) -> int:
    """Go to the code's next row, after an update; n: how many things it tells apart.

    The period is the least power of two above n (Walsh-Hadamard), or 2n: each with + and with - (one at a time).

    Scaling and overflow: n is at most 2**28, so the period is at most 2**29.
    """
    if head[CODE] != RANDOM_SIGNS:
        period = n + n
        if head[CODE] == WALSH_HADAMARD:
            period = 1
            while period <= n:
                period += period
        row = head[CODE_STEP] + 1
        if row >= period:
            row = 0
        head[CODE_STEP] = row
    return 0


def seal_row(head: ptr32) -> int:
    """Fold the row into the checksum, where a code has rows.

    Scaling and overflow: fold_int takes any int32.
    """
    if head[CODE] != RANDOM_SIGNS:
        head[CHECK] = fold_int(head[CHECK], head[CODE_STEP])
    return 0


def move_weight(mem: ptr16, at: int, amount: int, limit: int) -> int:
    """Add amount to one weight and keep it within +-limit.

    Returns:
        1 if it was clipped, else 0.

    Scaling and overflow: |w| + |amount| < 2**18.
    """
    w = ((mem[at] ^ 0x8000) - 0x8000) + amount
    clipped = 0
    if w > limit:
        w = limit
        clipped = 1
    elif w < 0 - limit:
        w = 0 - limit
        clipped = 1
    mem[at] = w & 0xFFFF
    return clipped


def move_along_code(head: ptr32, mem: ptr16, amount: int, limit: int) -> int:
    """Add +-amount to the weights that the code perturbs, by their signs, and keep them within +-limit.

    Args:
        head: CODE, CODE_STEP; what kernels.update.move_along_signs reads.
        mem: weights (changed).
        amount: weight LSBs, in +-131070.
        limit: 0..32767.

    Returns:
        0. head[SATURATED] grows by the number of clipped weights.

    Scaling and overflow: that of move_weight; one at a time, CODE_STEP is below twice the number of weights.
    """
    code = head[CODE]
    if code == RANDOM_SIGNS:
        move_along_signs(head, mem, amount, limit)
    elif code == ONE_AT_A_TIME:
        head[SATURATED] += move_weight(mem, head[CODE_STEP] >> 1, lone_sign(head) * amount, limit)
    else:
        bits = 0
        saturated = 0
        for k in range(head[N_WEIGHTS]):
            if (k & 15) == 0:
                bits = walsh_word(head[CODE_STEP], k >> 4)
            saturated += move_weight(mem, k, (((bits & 1) << 1) - 1) * amount, limit)
            bits = bits >> 1
        head[SATURATED] += saturated
    return 0


def perturb_along_code(head: ptr32, mem: ptr16, amount: int) -> int:
    """Add +-amount to the weights that the code perturbs, by their signs: weights within +-LIMIT have room for it.

    Other codes than random signs go by the loop that clips, and find nothing to clip.

    Scaling and overflow: those of perturb_along_signs and move_along_code.
    """
    if head[CODE] == RANDOM_SIGNS:
        perturb_along_signs(head, mem, amount)
    else:
        move_along_code(head, mem, amount, 0x7FFF)
    return 0
