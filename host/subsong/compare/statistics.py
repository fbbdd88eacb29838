"""Statistics for few runs: what can be said about runs that nobody made, and what cannot.

One *score* a run (the mean physical cost of its final weights over evaluation episodes; lower is better) and, as a
rule, few runs a side. So: interquartile means with bootstrap intervals and the probability of improvement (Agarwal
et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice"), a Welch interval of the
difference, and two one-sided tests against a margin declared beforehand (Schuirmann 1987). Sizes of effects are in
`effects`.

Every difference is hardware minus software: negative means that hardware ended with the lower cost. Everything
random is drawn from `seed`, so that the same logs give the same page.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite, sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

LEVEL = 0.95
RESAMPLES = 10_000
# Below this many runs a side the bootstrap's intervals are clearly too narrow (docs/compare.md has the measurement).
FEW_RUNS = 10
_CHUNK = 4_000_000  # numbers that a chunk of resamples may hold: bounds memory, never the result


class Interval(NamedTuple):
    """A two-sided interval, physical units of what it is of."""

    low: float
    high: float
    level: float


def interquartile_mean(values: ArrayLike, axis: int = -1) -> Floats:
    """Mean of the middle half: floor(n / 4) of the n values are dropped at either end.

    With fewer than four values nothing is dropped and this is the mean (as in scipy's `trim_mean` and rliable).

    Args:
        values: any shape with at least one value along `axis`.
        axis: the axis of the runs.

    Returns:
        The shape of `values` without `axis`.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64), axis=axis)
    count = ordered.shape[axis]
    cut = count // 4
    kept = np.take(ordered, np.arange(cut, count - cut), axis=axis)
    return np.asarray(kept.mean(axis=axis))


def probability_of_improvement(software: ArrayLike, hardware: ArrayLike) -> Floats:
    """P(hardware < software) + P(hardware = software) / 2 over all pairs: Mann and Whitney's U / (n m), ties shared.

    Args:
        software: costs, shape (..., n).
        hardware: costs, shape (..., m).

    Returns:
        Shape (...): 0.5 where neither side is better, 1 where every hardware run ends below every software run.
    """
    left = np.asarray(software, dtype=np.float64)[..., :, None]
    right = np.asarray(hardware, dtype=np.float64)[..., None, :]
    wins = (right < left) + 0.5 * (right == left)
    return np.asarray(wins.mean(axis=(-2, -1)))


def bootstrap(
    strata: Sequence[ArrayLike],
    statistic: Callable[..., Floats],
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[Floats, Floats]:
    """Percentile bootstrap, stratified: every resample draws as many runs from each stratum as it has.

    Args:
        strata: one array a side, runs along its first axis, shape (n_k, ...).
        statistic: takes one array a stratum, shape (resamples, n_k, ...), and reduces axis 1.
        level: of the interval, in (0, 1).
        resamples: how many.
        seed: of the draws; the same seed gives the same interval.

    Returns:
        Lower and upper ends, each of the statistic's shape without the resamples' axis.

    Raises:
        ValueError: a stratum has fewer than two runs: there is no spread over runs to resample.
    """
    arrays = [np.asarray(stratum, dtype=np.float64) for stratum in strata]
    if any(len(array) < 2 for array in arrays):
        raise ValueError("a bootstrap over runs needs at least two runs in every stratum")
    rng = np.random.default_rng(seed)
    draws = [rng.integers(0, len(array), (resamples, len(array))) for array in arrays]
    return percentiles(arrays, draws, statistic, level)


def percentiles(
    arrays: Sequence[Floats], draws: Sequence[NDArray[Any]], statistic: Callable[..., Floats], level: float
) -> tuple[Floats, Floats]:
    """Return the ends of `bootstrap` for draws that are given.

    Args:
        arrays: as its strata.
        draws: one array a stratum of the runs that each resample takes, shape (resamples, n_k).
        statistic: as there.
        level: as there.
    """
    resamples = len(draws[0])
    size = max(array.size for array in arrays) * max(len(array) for array in arrays)
    step = max(1, _CHUNK // size)
    parts = [
        statistic(*(array[draw[start : start + step]] for array, draw in zip(arrays, draws, strict=True)))
        for start in range(0, resamples, step)
    ]
    values = np.concatenate(parts)
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(values, [tail, 1.0 - tail], axis=0)
    return np.asarray(low), np.asarray(high)


def interval_of(strata: Sequence[ArrayLike], statistic: Callable[..., Floats], **options: Any) -> Interval | None:
    """Give `bootstrap` of a scalar statistic as an Interval, or None where a stratum has fewer than two runs."""
    if any(np.shape(stratum)[0] < 2 for stratum in strata):
        return None
    low, high = bootstrap(strata, statistic, **options)
    return Interval(float(low), float(high), float(options.get("level", LEVEL)))


def comparable(software: ArrayLike, hardware: ArrayLike) -> tuple[Floats, Floats] | None:
    """Return both sides' costs as float64; None where a side has fewer than two runs, or no side has any spread."""
    one, two = np.asarray(software, dtype=np.float64), np.asarray(hardware, dtype=np.float64)
    if min(len(one), len(two)) < 2 or (np.ptp(one) == 0 and np.ptp(two) == 0):
        return None
    return one, two


@dataclass(frozen=True)
class Welch:
    """The difference of two means without assuming equal variances (Welch 1947).

    Attributes:
        difference: mean(hardware) - mean(software).
        error: its standard error.
        freedom: degrees of freedom by Welch and Satterthwaite.
        interval: two-sided, at `interval.level`.
        p: of "no difference", two-sided.
    """

    difference: float
    error: float
    freedom: float
    interval: Interval
    p: float


def welch(software: ArrayLike, hardware: ArrayLike, *, level: float = LEVEL) -> Welch | None:
    """Compare two means.

    Args:
        software: costs, shape (n,).
        hardware: costs, shape (m,).
        level: of the interval.

    Returns:
        None where a side has fewer than two runs, or where no side has any spread that float64 can square: then t does
        not exist.
    """
    from scipy import stats

    sides = comparable(software, hardware)
    if sides is None:
        return None
    one, two = sides
    parts = float(one.var(ddof=1)) / len(one), float(two.var(ddof=1)) / len(two)
    error = sqrt(sum(parts))
    if error == 0.0 or not isfinite(error):  # squares beyond float64
        return None
    share = parts[0] / sum(parts)
    freedom = 1.0 / (share**2 / (len(one) - 1) + (1.0 - share) ** 2 / (len(two) - 1))
    difference = float(two.mean() - one.mean())
    reach = error * float(stats.t.ppf((1.0 + level) / 2.0, freedom))
    p = 2.0 * float(stats.t.sf(abs(difference) / error, freedom))
    return Welch(difference, error, freedom, Interval(difference - reach, difference + reach, level), p)


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided tests (TOST): is the difference smaller than the margin, either way?

    Attributes:
        margin: the largest difference that does not matter, physical cost, declared before looking.
        p: the larger of the two one-sided p values.
        interval: of the difference at 1 - 2 alpha; it lies inside +-margin exactly when p < alpha.
        equivalent: p < alpha.
    """

    margin: float
    p: float
    interval: Interval
    equivalent: bool


def equivalence(
    software: ArrayLike, hardware: ArrayLike, margin: float, *, alpha: float = 1.0 - LEVEL
) -> Equivalence | None:
    """Test both "difference <= -margin" and "difference >= margin" by Welch's t; equivalent when both are rejected.

    Args:
        software: costs, shape (n,).
        hardware: costs, shape (m,).
        margin: positive, physical cost.
        alpha: of either one-sided test.

    Returns:
        None where `welch` gives None.

    Raises:
        ValueError: the margin is not positive.
    """
    from scipy import stats

    if not margin > 0:
        raise ValueError(f"the equivalence margin must be positive, not {margin!r}")
    result = welch(software, hardware, level=1.0 - 2.0 * alpha)
    if result is None:
        return None
    above = float(stats.t.sf((result.difference + margin) / result.error, result.freedom))
    below = float(stats.t.cdf((result.difference - margin) / result.error, result.freedom))
    p = max(above, below)
    return Equivalence(margin, p, result.interval, p < alpha)
