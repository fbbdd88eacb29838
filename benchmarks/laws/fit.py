"""From error curves to figures with intervals: the rate of decay, the floor, slopes.

E is heavy-tailed over seeds (the mean is carried by ever rarer runs, the median falls faster), so a line through the
logarithm of a mean curve has no honest error. But given the weights, the law says <E(t+1)> = a E(t) + c, whatever
they are: the ratios E(t+1) / E(t) = a + c / E(t) + martingale differences. Their mean is unbiased for a where c / E is
negligible, and their regression on 1 / E finds both where it is not; no ratio is heavy-tailed, and stopping a run at a
level of E biases nothing as long as sums, not each run's means, are averaged.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
RESAMPLES = 4000


class Interval(NamedTuple):
    """An estimate with its 95 % bootstrap interval over seeds."""

    value: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Return half the interval's width over the value."""
        return (self.high - self.low) / 2 / abs(self.value)

    def within(self, exact: float, tolerance: float) -> bool:
        """Return whether the whole interval, not only the value, lies inside exact * (1 +- tolerance)."""
        edge = abs(exact) * tolerance
        return exact - edge <= self.low and self.high <= exact + edge

    def against(self, exact: float) -> str:
        """Return value over exact, with the interval, in per cent of deviation."""
        v, low, high = (100 * (x / exact - 1) for x in self)
        return f"{v:+.2f} % [{low:+.2f}, {high:+.2f}]"


def _resampled(sums: Floats, figure: Callable[[Floats], Floats], seed: int = 0) -> Interval:
    """Return figure(summed over seeds) with its percentile interval; sums float64[seeds, terms]."""
    random = np.random.default_rng(seed)
    n = len(sums)
    counts = random.multinomial(n, np.full(n, 1.0 / n), size=RESAMPLES)
    values = figure(counts @ sums)
    low, high = np.percentile(values, (2.5, 97.5))
    return Interval(float(figure(sums.sum(axis=0)[None])[0]), float(low), float(high))


def loss(errors: Floats, *, rest: float = 0.0, least: float = 0.0, with_floor: bool = False) -> Interval:
    """Return 1 - a, from the mean of the ratios of successive errors.

    Args:
        errors: float64[seeds, updates + 1], E before the first and after every update.
        rest: error that no weights remove, subtracted first.
        least: a run counts until its E - rest first falls below this. Choose it well above the floor: 100 times for
            1 % of bias, or use `with_floor`.
        with_floor: regress the ratios on 1 / E, so that a floor need not be small.
    """
    e = errors - rest
    alive = np.logical_and.accumulate(e[:, :-1] >= least, axis=1) & (e[:, :-1] > 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = np.where(alive, 1.0 / e[:, :-1], 0.0)
        fall = np.where(alive, 1.0 - e[:, 1:] / e[:, :-1], 0.0)
    n, y = alive.sum(axis=1), fall.sum(axis=1)
    if not with_floor:
        return _resampled(np.stack((n, y), axis=1).astype(float), lambda s: s[:, 1] / s[:, 0])
    x, xx, xy = inverse.sum(axis=1), (inverse**2).sum(axis=1), (inverse * fall).sum(axis=1)
    sums = np.stack((n, y, x, xx, xy), axis=1).astype(float)
    return _resampled(sums, lambda s: (s[:, 1] * s[:, 3] - s[:, 2] * s[:, 4]) / (s[:, 0] * s[:, 3] - s[:, 2] ** 2))


def floor(errors: Floats, burn: int) -> Interval:
    """Return E_inf: the mean of E after `burn` updates (take ten time constants 1 / (1 - a), from near the floor)."""
    means = errors[:, burn:].mean(axis=1)
    return _resampled(np.stack((np.ones_like(means), means), axis=1), lambda s: s[:, 1] / s[:, 0])


def best_rate(etas: Floats, losses: list[Interval]) -> tuple[float, float]:
    """Return the rate at which b eta - k eta**2, fitted to losses, is greatest, and its standard error.

    Args:
        etas: three or more rates, best 0.5, 1 and 1.5 of the expected optimum.
        losses: 1 - a at each.
    """
    y = np.array([v.value for v in losses])
    spread = np.array([(v.high - v.low) / 3.92 for v in losses])
    design = np.stack((etas, -(etas**2)), axis=1) / spread[:, None]
    covariance = np.linalg.inv(design.T @ design)
    b, k = covariance @ design.T @ (y / spread)
    gradient = np.array([1.0 / (2 * k), -b / (2 * k**2)])
    return float(b / (2 * k)), float(np.sqrt(gradient @ covariance @ gradient))


def slope(sizes: Floats, rates: Floats, errors: Floats) -> Interval:
    """Return d log(rate) / d log(size), weighted least squares, with its 95 % interval."""
    x, y, weight = np.log(sizes), np.log(rates), (rates / errors) ** 2
    centre = np.average(x, weights=weight)
    spread = np.sum(weight * (x - centre) ** 2)
    value = float(np.sum(weight * (x - centre) * y) / spread)
    half = float(1.96 / np.sqrt(spread))
    return Interval(value, value - half, value + half)
