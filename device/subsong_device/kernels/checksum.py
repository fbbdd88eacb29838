"""A 28-bit rolling checksum in which one altered word always changes the result."""


def fold(check: int, value: int) -> int:
    """Fold a 28-bit value into a 28-bit checksum.

    One-to-one in `check` for any `value`, and in `value` for any `check`: a single altered value can never cancel.

    Scaling and overflow: rotate left by 7 of 28 bits, xor, multiply by 2**14 + 1 modulo 2**28; all below 2**29.
    """
    check = (((check & 0x1FFFFF) << 7) | (check >> 21)) ^ value
    return (check + ((check & 0x3FFF) << 14)) & 0xFFFFFFF


def fold_int(check: int, value: int) -> int:
    """Fold an int32 as its two 16-bit halves, low half first.

    Scaling and overflow: two halves below 2**16, each folded as above.
    """
    check = fold(check, value & 0xFFFF)
    return fold(check, (value >> 16) & 0xFFFF)


def fold_words(check: int, words: ptr16, start: int, n: int) -> int:
    """Fold words[start : start + n], sixteen at a time: block sum of (k + 1) * word, k = 0..15.

    Scaling and overflow: 136 * 65535 < 2**24. One altered word changes its block's sum, hence the checksum.
    """
    end = start + n
    while start < end:
        block = end - start
        if block > 16:
            block = 16
        start += block
        # From the last word to the first, the sum of the sums so far counts a word as often as its place says.
        last = start - 1
        t = 0
        s = 0
        for k in range(block):
            t += words[last - k]
            s += t
        check = fold(check, s)
    return check
