"""Sizes of effects: how far two sides lie apart in standard deviations of a run, and how far they would have to.

Hedges' g is the difference of means in pooled standard deviations, corrected for few runs (Hedges 1981). Its interval
is the true difference's, from the noncentral t, as in Cumming & Finch 2001: exact for normal costs of equal spread, and
so without g's correction, which is one of bias. Cliff's delta, which knows no normal costs, is 2 p - 1 with p the
probability of improvement.
"""

from dataclasses import dataclass
from math import exp, isfinite, lgamma, sqrt

import numpy as np
from numpy.typing import ArrayLike

from subsong.compare.statistics import LEVEL, Interval, comparable

POWER = 0.8
_LIKELY = 4000


@dataclass(frozen=True)
class Effect:
    """A standardised difference, hardware minus software.

    Attributes:
        g: Hedges' g.
        interval: of the true standardised difference.
    """

    g: float
    interval: Interval


def hedges(software: ArrayLike, hardware: ArrayLike, *, level: float = LEVEL) -> Effect | None:
    """Return Hedges' g.

    Args:
        software: costs, shape (n,).
        hardware: costs, shape (m,).
        level: of the interval.

    Returns:
        None where a side has fewer than two runs, or where no side has any spread that float64 can square.
    """
    sides = comparable(software, hardware)
    if sides is None:
        return None
    one, two = sides
    n, m = len(one), len(two)
    freedom = n + m - 2
    pooled = sqrt((float(one.var()) * n + float(two.var()) * m) / freedom)
    if pooled == 0.0 or not isfinite(pooled):
        return None
    d = float(two.mean() - one.mean()) / pooled
    per_error = sqrt((n + m) / (n * m))
    tail = (1.0 - level) / 2.0
    low, high = (_noncentrality_of(d / per_error, freedom, share) for share in (1.0 - tail, tail))
    return Effect(_correction(freedom) * d, Interval(low * per_error, high * per_error, level))


def _correction(freedom: float) -> float:
    """Return Hedges' exact factor, gamma(f / 2) / (sqrt(f / 2) gamma((f - 1) / 2)), of 2 degrees of freedom or more."""
    return exp(lgamma(freedom / 2) - lgamma((freedom - 1) / 2)) / sqrt(freedom / 2)


def _noncentrality_of(t: float, freedom: float, share: float) -> float:
    """Return the noncentrality at which P(T <= t) is `share`, to about four digits, at any t.

    P(T <= t) is the mean of Phi(t s - noncentrality) over s = sqrt(chi2 / freedom), taken at equally likely values of
    s: scipy's nct.cdf is NaN at large t.
    """
    from scipy import optimize, special

    s = np.sqrt(2.0 * special.gammaincinv(freedom / 2.0, (np.arange(_LIKELY) + 0.5) / _LIKELY) / freedom)

    def beyond(reach: float) -> float:
        return float(special.ndtr(t * s - reach).mean()) - share

    ends = sorted((t * float(s[0]), t * float(s[-1])))
    return float(optimize.brentq(beyond, ends[0] - 9.0, ends[1] + 9.0, xtol=1e-10))


def noncentrality(freedom: float, *, power: float = POWER, alpha: float = 1.0 - LEVEL) -> float:
    """Return how many standard errors a true difference must measure to be shown with probability `power`.

    Exact for normal costs, by the noncentral t of the two-sided test at `alpha` (Cohen 1988).
    """
    from scipy import optimize, stats

    critical = float(stats.t.ppf(1.0 - alpha / 2.0, freedom))

    def shortfall(reach: float) -> float:
        # The far tail by symmetry, sf(t; -nc), since scipy's nct.cdf(-t; nc) is NaN at some arguments.
        shown = stats.nct.sf(critical, freedom, reach) + stats.nct.sf(critical, freedom, -reach)
        return float(shown) - power

    return float(optimize.brentq(shortfall, 0.0, 2.0 * (critical + 4.0), xtol=1e-10))


def smallest_detectable_effect(n: int, m: int, *, power: float = POWER, alpha: float = 1.0 - LEVEL) -> float | None:
    """Return the smallest true difference that n runs against m would show with probability `power`, for planning.

    Args:
        n: software runs.
        m: hardware runs.
        power: probability of showing it.
        alpha: of the two-sided test.

    Returns:
        The difference in standard deviations of one run, taken as equal on both sides; None where a side has fewer than
        two runs.
    """
    if min(n, m) < 2:
        return None
    return noncentrality(n + m - 2, power=power, alpha=alpha) / sqrt(n * m / (n + m))
