"""Moving weights: along random signs (weight perturbation), along an eligibility (node perturbation)."""

from subsong_device.kernels.random import draw
from subsong_device.layout import (
    DELTA,
    LIMIT,
    N_WEIGHTS,
    PERTURBATION,
    RATE,
    SATURATED,
    STOCHASTIC,
)


def magnitude_shift(value: int, limit: int) -> int:
    """Return the least shift s for which (value >> s) < limit; value >= 0.

    Scaling and overflow: value below 2**31; the shift is at most 31.
    """
    s = 0
    while (value >> s) >= limit:
        s += 1
    return s


def shift_to_zero(value: int, s: int) -> int:
    """Shift right towards zero: an odd function of value, so that what has zero mean keeps it.

    Scaling and overflow: |value| below 2**31, s in 0..31; nothing grows.
    """
    if value < 0:
        value = 0 - ((0 - value) >> s)
    else:
        value = value >> s
    return value


def absolute(value: int) -> int:
    """Return |value|.

    Scaling and overflow: |value| below 2**31.
    """
    if value < 0:
        value = 0 - value
    return value


def move_along_signs(head: ptr32, mem: ptr16, amount: int, limit: int) -> int:
    """Add +-amount to every weight, by signs drawn from the perturbation stream, and keep it within +-limit.

    Weight k takes bit k & 15 (1 means +) of the (k >> 4)-th word drawn. Rewound, the same signs come again: perturbing,
    undoing and updating are this one loop, and the signs need no memory.

    Args:
        head: N_WEIGHTS, the perturbation stream (advanced).
        mem: weights (changed).
        amount: weight LSBs, in +-131070.
        limit: 0..32767.

    Returns:
        0. head[SATURATED] grows by the number of clipped weights.

    Scaling and overflow: |w| + |amount| < 2**18.
    """
    at = 0
    end = head[N_WEIGHTS]
    low = 0 - limit
    saturated = 0
    while at < end:
        bits = draw(head, PERTURBATION)
        block = end - at
        if block > 16:
            block = 16
        for k in range(block):
            w = (mem[at + k] ^ 0x8000) - 0x8000
            if ((bits >> k) & 1) != 0:
                w += amount
            else:
                w -= amount
            if w > limit:
                w = limit
                saturated += 1
            elif w < low:
                w = low
                saturated += 1
            mem[at + k] = w & 0xFFFF
        at += block
    head[SATURATED] += saturated
    return 0


def perturb_along_signs(head: ptr32, mem: ptr16, amount: int) -> int:
    """Add +-amount to every weight, by signs drawn as in move_along_signs; weights within +-LIMIT have room for it.

    Args:
        head: as in move_along_signs.
        mem: weights (changed).
        amount: weight LSBs, in +-AMPLITUDE.

    Scaling and overflow: |w| <= LIMIT = 32767 - AMPLITUDE.
    """
    at = 0
    end = head[N_WEIGHTS]
    while at < end:
        bits = draw(head, PERTURBATION)
        block = end - at
        if block > 16:
            block = 16
        for k in range(block):
            w = (mem[at + k] ^ 0x8000) - 0x8000
            if ((bits >> k) & 1) != 0:
                w += amount
            else:
                w -= amount
            mem[at + k] = w & 0xFFFF
        at += block
    return 0


def rounded_step(head: ptr32, shift: int, r: int) -> int:
    """Return rate * delta * 2**-shift as an integer, rounded stochastically by r.

    Args:
        head: RATE in 1..16383, DELTA in +-2**29.
        shift: of the rate (and of the estimator's halving), 0..30.
        r: uniform in 0..2**29 - 1 (kernels.random.threshold).

    Returns:
        Weight LSBs in +-65535; its mean over r is rate * delta * 2**-shift, to the 15 leading bits of delta.

    Scaling and overflow: delta is cut to a mantissa below 2**15 and an exponent; mantissa * rate < 2**29, plus
    r >> (29 - shift) < 2**29: below 2**30. Where the exponent exceeds the shift the step is capped, not wrapped.
    Thresholds have 29 bits: a shift of 30 (two-sided at RATE_SHIFT 29) cuts one bit towards zero first.
    """
    delta = head[DELTA]
    s = magnitude_shift(absolute(delta), 0x8000)
    p = shift_to_zero(delta, s) * head[RATE]
    shift -= s
    if shift > 29:
        p = shift_to_zero(p, shift - 29)
        shift = 29
    if shift > 0:
        p = (p + (r >> (29 - shift))) >> shift
    if p > 65535:
        p = 65535
    elif p < 0 - 65535:
        p = 0 - 65535
    return p


def joint_magnitude(head: ptr32, at: int, n: int) -> int:
    """Return the bitwise or of all |head[at + i]|, i < n: as long, in bits, as the largest of them.

    Scaling and overflow: eligibilities are within +-2**30.
    """
    m = 0
    for i in range(n):
        m = m | absolute(head[at + i])
    return m


def move_along_eligibility(
    head: ptr32, mem: ptr16, e: int, w: int, n: int, e_shift: int, q: int, shift: int, r: int
) -> int:
    """Subtract q * (eligibility >> e_shift) * 2**-shift from n weights, rounded stochastically.

    Weight k rounds by r + k * 331804471 modulo 2**29 (a golden-section sequence with a random start): each threshold
    is uniform, so every weight's update is unbiased, at one draw for all. With head[STOCHASTIC] == 0 every weight
    rounds by the same r, one half: a sequence would be dither, and no control.

    Args:
        head: eligibility, int32, at head[e]; LIMIT, STOCHASTIC.
        mem: weights at mem[w] (changed).
        e: offset of the eligibility.
        w: offset of the weights.
        n: how many.
        e_shift: brings every |eligibility| below 2**15.
        q: rate times delta, a mantissa in +-16383.
        shift: 0..29.
        r: 0..2**29 - 1.

    Returns:
        The next r. head[SATURATED] grows by the number of clipped weights.

    Scaling and overflow: |q| < 2**14 times a mantissa below 2**15 is below 2**29; plus the threshold below 2**30.
    """
    limit = head[LIMIT]
    low = 0 - limit
    stride = 331804471 * head[STOCHASTIC]
    below = (1 << e_shift) - 1
    if shift < 0:
        shift = 0
    drop = 29 - shift
    saturated = 0
    for k in range(n):
        d = head[e + k]
        # Towards zero: what is below zero goes up first.
        d = ((d + ((d >> 31) & below)) >> e_shift) * q
        d = ((mem[w + k] ^ 0x8000) - 0x8000) - ((d + (r >> drop)) >> shift)
        if d > limit:
            d = limit
            saturated += 1
        elif d < low:
            d = low
            saturated += 1
        mem[w + k] = d & 0xFFFF
        r = (r + stride) & 0x1FFFFFFF
    head[SATURATED] += saturated
    return r
