"""Rows of the tables: what was measured, in words and in float64, against what is exact."""

import math
from typing import NamedTuple

import numpy as np

from laws.fit import Interval
from laws.integers import Floats


class Row(NamedTuple):
    """One figure.

    Attributes:
        what: is measured.
        setting: under which numbers.
        seeds: how many, of the words' figure.
        exact: the law's value for just this setting; None where there is none.
        words: of the integer learner: value, and the ends of its 95 % interval.
        reals: of the same rule with float64 weights; None where there is none.
        held_to: the target, in words.
        met: whether the integer learner met it; None where there is no target.
    """

    what: str
    setting: str
    seeds: int
    exact: float | None
    words: tuple[float, float, float]
    reals: tuple[float, float, float] | None
    held_to: str = ""
    met: bool | None = None

    def cells(self) -> list[str]:
        """Return the row's cells for a table."""
        return [
            self.what,
            self.setting,
            str(self.seeds),
            number(self.exact),
            interval(self.words),
            interval(self.reals),
            penalty(self.words, self.reals),
            self.held_to,
            {True: "yes", False: "**no**", None: ""}[self.met],
        ]


HEADERS = ["what", "setting", "seeds", "exact", "16-bit words", "float64", "words against float64", "held to", "met"]


def number(value: float | None) -> str:
    """Return a number with four digits; nothing for None."""
    if value is None:
        return ""
    return "never" if math.isinf(value) else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def interval(value: tuple[float, float, float] | None) -> str:
    """Return a value with the ends of its interval."""
    return "" if value is None else f"{number(value[0])} [{number(value[1])}, {number(value[2])}]"


def penalty(words: tuple[float, float, float], reals: tuple[float, float, float] | None) -> str:
    """Return how far the words' figure is from the float64 one, in per cent, with an interval from both."""
    if reals is None or not all(map(math.isfinite, (*words, *reals))) or min(words[0], reals[0]) <= 0:
        return ""
    ratio = words[0] / reals[0]
    spread = ratio * math.hypot((words[2] - words[1]) / 2 / words[0], (reals[2] - reals[1]) / 2 / reals[0])
    return f"{100 * (ratio - 1):+.1f} ± {100 * spread:.1f} %"


def share(hits: int, n: int) -> Interval:
    """Return hits / n with its 95 % interval (Wilson 1927)."""
    z = 1.96
    p = hits / n
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return Interval(p, min(p, centre - half), max(p, centre + half))


def median(values: Floats) -> Interval:
    """Return the median with its 95 % interval, from order statistics: distribution-free, and inf may occur."""
    v = np.sort(values)
    n = len(v)
    low = max(0, math.floor(n / 2 - 0.98 * math.sqrt(n)))
    high = min(n - 1, math.ceil(n / 2 + 0.98 * math.sqrt(n)))
    return Interval(float(v[(n - 1) // 2]), float(v[low]), float(v[high]))


def mean(values: Floats) -> Interval:
    """Return the mean with its 95 % interval, resampled over seeds."""
    random = np.random.default_rng(0)
    means = values[random.integers(0, len(values), (4000, len(values)))].mean(axis=1)
    return Interval(float(values.mean()), *map(float, np.percentile(means, (2.5, 97.5))))


def table(headers: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(headers) + " |", "|---" * len(headers) + "|"]
    return "\n".join(lines + ["| " + " | ".join(cells) + " |" for cells in rows]) + "\n"
