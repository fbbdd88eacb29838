"""The cost difference in units of its own running spread, so that neither a plant's costs nor their scale set the rate.

    s   running mean of |C - b|             C - b  becomes  a (C - b) / s, at most 2 a either way
    a   falls from 1 to 1/16, by the same amount each update

The spread is a mantissa with fraction bits of its own: costs times a power of two give the same words.

Sources: Mania, Guy & Recht 2018 (steps divided by the standard deviation of the rewards); Spall 1992 (gains that fall).
"""

from subsong_device.kernels.checksum import fold_int
from subsong_device.kernels.update import absolute
from subsong_device.layout import (
    ANNEAL,
    ANNEALED,
    CHECK,
    DELTA,
    LEAST_RATE,
    MOST_SPREAD_FRAC,
    SPREAD,
    SPREAD_FRAC,
    SPREAD_SHIFT,
    SPREAD_TOP,
)


def ratio(m: int, s: int) -> int:
    """Return m / s, 1 LSB = 2**-12, rounded down, at most 2; 0 where s is 0.

    Args:
        m: 0..2**29.
        s: 0..2**29.

    Scaling and overflow: what is left of m is below s after each bit, hence below 2**29, and below 2**30 doubled.
    """
    z = 0
    if s != 0 and (m >> 1) >= s:
        z = 8192
    elif s != 0:
        for _bit in range(13):
            z = z << 1
            if m >= s:
                m -= s
                z += 1
            m = (m & 0x1FFFFFFF) << 1
    return z


def normalise(head: ptr32) -> int:
    """Where SPREAD_SHIFT is not 0, divide head[DELTA] by its running spread, and multiply it by ANNEALED.

    The first difference that is not 0 is one spread. The spread takes a difference in after having measured it.

    Args:
        head: SPREAD_SHIFT, ANNEAL; DELTA in +-2**29, SPREAD, SPREAD_FRAC, ANNEALED (changed).

    Returns:
        0. head[DELTA] is in +-8192 then, 1 LSB = 2**-12 spreads.

    Scaling and overflow: a mantissa is doubled below 2**28 alone, so |delta| and spread are at most 2**29; the spread
    stays between the two; 8192 * 2**12 = 2**25.
    """
    if head[SPREAD_SHIFT] != 0:
        m = absolute(head[DELTA])
        s = head[SPREAD]
        frac = 0
        # To the spread's fraction bits, or to as many as |delta| has room for.
        for _bit in range(head[SPREAD_FRAC]):
            if m < SPREAD_TOP:
                m = m << 1
                frac += 1
            else:
                s = s >> 1
        if s == 0:
            s = m
        z = ratio(m, s)
        s += (m - s) >> head[SPREAD_SHIFT]
        for _bit in range(MOST_SPREAD_FRAC):
            if s != 0 and s < SPREAD_TOP and frac < MOST_SPREAD_FRAC:
                s = s << 1
                frac += 1
        head[SPREAD] = s
        head[SPREAD_FRAC] = frac
        left = head[ANNEALED]
        z = (z * (left >> 16)) >> 12
        left -= head[ANNEAL]
        if left < LEAST_RATE:
            left = LEAST_RATE
        head[ANNEALED] = left
        if head[DELTA] < 0:
            z = 0 - z
        head[DELTA] = z
    return 0


def seal_spread(head: ptr32) -> int:
    """Where SPREAD_SHIFT is not 0, fold the spread and what is left of the rate into the checksum.

    Scaling and overflow: fold_int takes any int32.
    """
    if head[SPREAD_SHIFT] != 0:
        for i in range(SPREAD, ANNEALED + 1):
            head[CHECK] = fold_int(head[CHECK], head[i])
    return 0
