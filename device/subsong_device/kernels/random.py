"""Marsaglia's xorshift on a pair of 16-bit words (shifts 5, 3, 1), period 2**32 - 1."""

from subsong_device.layout import ROUNDING, STOCHASTIC


def draw(head: ptr32, stream: int) -> int:
    """Advance the generator whose two words lie at head[stream]; return its next 16-bit word.

    Args:
        head: int32[...]; head[stream], head[stream + 1] in 0..65535, not both 0.
        stream: PERTURBATION or ROUNDING.

    Returns:
        A word in 0..65535; over the period every word but 0 appears 2**16 times, 0 once less.

    Scaling and overflow: every intermediate is below 2**21.
    Source: Marsaglia, "Xorshift RNGs", J. Stat. Softw. 8(14), 2003, section 3 (the two-word form).
    """
    t = head[stream]
    y = head[stream + 1]
    t = (t ^ (t << 5)) & 0xFFFF
    t = t ^ (t >> 3)
    t = (y ^ (y >> 1)) ^ t
    head[stream] = y
    head[stream + 1] = t
    return t


def threshold(head: ptr32) -> int:
    """Return what stochastic rounding adds before its shift: uniform in 0..2**29 - 1, or one half.

    Scaling and overflow: 13 + 16 bits, below 2**29. With head[STOCHASTIC] == 0 nothing is drawn and
    2**28 (one half) returned: rounding to nearest, kept as the control that shows what the randomness buys.
    """
    r = 0x10000000
    if head[STOCHASTIC] != 0:
        high = draw(head, ROUNDING)
        low = draw(head, ROUNDING)
        r = ((high & 0x1FFF) << 16) | low
    return r
