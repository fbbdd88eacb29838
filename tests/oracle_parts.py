"""The pieces of docs/arithmetic.md: numbers, random numbers, the checksum, the network. oracle_base.py plays trials.

Slow, in unbounded integers, written from that page alone. `within` states a range in passing: every run proves ranges.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from subsong_device import layout

HOT = 2**30  # what small integers of 32-bit boards, and the page's shifts, lean on
COST = 2**28
GOLDEN = 331804471  # 2**29 times the golden section, nearly

# ------------------------------------------------------------------------------------------------- numbers


def within(v: int, limit: int) -> int:
    """Return v, having asserted that it lies in -limit..limit."""
    assert -limit <= v <= limit, f"{v} leaves +-{limit}"
    return v


def clip(v: int, limit: int) -> int:
    """Bring v into -limit..limit."""
    return max(-limit, min(limit, v))


def tz(v: int, s: int) -> int:
    """Shift v by s bits towards zero."""
    return v >> s if v >= 0 else -((-v) >> s)


def least_shift(v: int, bits: int) -> int:
    """Return the least s with (|v| >> s) < 2**bits."""
    return next(s for s in range(32) if abs(v) >> s < 2**bits)


def rounded(p: int, n: int, threshold: int) -> int:
    """Round p * 2**-n by a threshold: its mean over all 2**29 thresholds is p * 2**-n."""
    assert 0 <= n <= 29
    assert 0 <= threshold < 2**29
    within(p, 2**29)
    return p if n == 0 else within(p + (threshold >> (29 - n)), HOT) >> n


def faded(v: int, s: int) -> int:
    """Take 2**-s of v off it, rounded away from zero: it fades to nothing."""
    return v - (within(v + 2**s - 1, 2**31 - 1) >> s if v > 0 else v >> s)


def signed(word: int) -> int:
    """Read a 16-bit word as two's complement."""
    assert 0 <= word <= 0xFFFF
    return word - 0x10000 if word >= 0x8000 else word


def unsigned(v: int) -> int:
    """Write an int16 as a 16-bit word."""
    assert -0x8000 <= v <= 0x7FFF
    return v & 0xFFFF


# ------------------------------------------------------------------------------------------------- random numbers


@dataclass
class Stream:
    """Marsaglia's two-word xorshift."""

    a: int
    b: int

    def draw(self) -> int:
        """Return the next word, 0..65535."""
        assert (self.a, self.b) != (0, 0)
        t = (self.a ^ (self.a << 5)) & 0xFFFF
        t ^= t >> 3
        self.a, self.b = self.b, self.b ^ (self.b >> 1) ^ t
        return self.b

    def copy(self) -> Self:
        """Note this place."""
        return type(self)(self.a, self.b)


def sign_of(words: Sequence[int], k: int) -> int:
    """Return the k-th sign of these words: +1 or -1."""
    return 1 if words[k >> 4] >> (k & 15) & 1 else -1


def sign_words(stream: Stream, n: int) -> list[int]:
    """Draw the words that hold n signs."""
    return [stream.draw() for _ in range((n + 15) // 16)]


# ------------------------------------------------------------------------------------------------- checksum


def fold(c: int, v: int) -> int:
    """Fold v into the 28-bit checksum c: one-to-one in each."""
    assert 0 <= c < 2**28
    assert 0 <= v < 2**28
    c = (((c & 0x1FFFFF) << 7) | (c >> 21)) ^ v
    return within(c + ((c & 0x3FFF) << 14), HOT) & 0xFFFFFFF


def fold_int32(c: int, v: int) -> int:
    """Fold an int32: its low half, then its high half."""
    within(v, 2**31)
    return fold(fold(c, v & 0xFFFF), v >> 16 & 0xFFFF)


def fold_words(c: int, words: Sequence[int]) -> int:
    """Fold a run of words (0..65535) in blocks of sixteen."""
    for k in range(0, len(words), 16):
        c = fold(c, sum((j + 1) * word for j, word in enumerate(words[k : k + 16])))
    return c


def fold_int32s(c: int, values: Sequence[int]) -> int:
    """Fold a run of int32 in blocks of sixteen: their low halves, then their high halves."""
    for k in range(0, len(values), 16):
        block = [within(v, 2**31 - 1) for v in values[k : k + 16]]
        c = fold(c, sum((j + 1) * (v & 0xFFFF) for j, v in enumerate(block)))
        c = fold(c, sum((j + 1) * (v >> 16 & 0xFFFF) for j, v in enumerate(block)))
    return c


# ------------------------------------------------------------------------------------------------- network


@dataclass
class Layer:
    """One row of the head, and where its weights and outputs lie."""

    n_in: int
    n_out: int
    activation: int
    product_shift: int
    bias_shift: int
    drive_shift: int
    input_frac: int
    own: int  # of a recurrent layer: how many of its inputs are its own outputs of the step before

    def assert_formats(self, weight_frac: int) -> None:
        """Assert the shifts that the page derives from fan-in and formats."""
        assert self.own in (0, self.n_out)
        s = next(s for s in range(32) if 2**s >= self.n_in + 1)
        assert self.product_shift == s
        assert self.bias_shift in (self.input_frac - s, 31)
        assert self.input_frac >= s
        assert self.drive_shift == weight_frac + self.input_frac - s - 12 >= 0

    def drive(self, weights: Sequence[int], x: Sequence[int]) -> int:
        """Return a unit's drive before perturbation and saturation; weights are its own, bias last."""
        total = 0
        for w, x_j in zip(weights[:-1], x, strict=True):
            total = within(total + (within(w * x_j, HOT) >> self.product_shift), HOT)
        bias = 0 if self.bias_shift == 31 else within(weights[-1] << self.bias_shift, HOT)
        return within(total + bias, HOT) >> self.drive_shift

    def output(self, g: int, table: Sequence[int]) -> int:
        """Return the unit's output word for a drive of 1 LSB = 2**-12."""
        if self.activation == layout.IDENTITY:
            return g
        if self.activation == layout.HARD_TANH:
            return 32767 if g >= 4096 else -32767 if g <= -4096 else within(g << 3, 32767)
        if self.activation == layout.TANH:
            return within(tanh(g, table), 32767)
        assert self.activation == layout.LOGISTIC
        return logistic(g, table)


def tanh(g: int, table: Sequence[int]) -> int:
    """Interpolate tanh: 1 LSB = 2**-12 in, 2**-15 out."""
    v = g + 32768
    i = v >> 8
    return table[i] + ((within((table[i + 1] - table[i]) * (v & 255), HOT) + 128) >> 8) - 32768


def logistic(g: int, table: Sequence[int]) -> int:
    """Return the logistic function: 1 LSB = 2**-12 in, 2**-15 out."""
    return within(16384 + (tanh(g >> 1, table) >> 1), 32767)


TABLE = [round(32767 * math.tanh((i - 128) / 16)) + 32768 for i in range(257)]
