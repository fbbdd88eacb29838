"""The verdict on the scores of two sides: what they support, and no more.

With one run on a side there is no spread over runs, and everything that leans on one is left out.
"""

from dataclasses import dataclass
from math import comb
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from subsong.compare.effects import Effect, hedges, noncentrality, smallest_detectable_effect
from subsong.compare.statistics import (
    LEVEL,
    RESAMPLES,
    Equivalence,
    Floats,
    Interval,
    Welch,
    equivalence,
    interquartile_mean,
    interval_of,
    probability_of_improvement,
    welch,
)

Verdict = Literal["inconclusive", "alike", "equivalent", "different"]


@dataclass(frozen=True)
class Judgement:
    """All that the scores of two sides support.

    Attributes:
        runs: of software, of hardware.
        verdict: "equivalent": within the margin at 1 - alpha. "different": the interval of the difference leaves out
            zero. "alike": every run of both sides ended with the same cost. "inconclusive": none of these.
        why: one of "one run", "no runs", "no margin", "wide", "no spread", "" ; what made it inconclusive.
        software: interquartile mean of the software scores (None without any); `software_interval` over runs.
        hardware: the same of the hardware scores.
        improvement: probability that a hardware run ends with the lower cost; `improvement_interval` over runs.
        difference: mean of the hardware scores minus mean of the software scores.
        gap: difference of the interquartile means; `gap_interval` over runs.
        welch: difference of means, None where t does not exist.
        equivalence: against the margin, None where none was declared or t does not exist.
        effect: the difference in standard deviations of a run, None where there is no spread.
        p: what "different" was judged by: Welch's, or the exact permutation test's where no side has any spread.
        detectable: smallest true difference that runs like these would show with probability 0.8, physical cost.
        detectable_effect: the same for so many runs of equal spread, standard deviations of a run.
        unseen: "alike" only: share of further runs that may still end otherwise (upper limit at 1 - alpha).
    """

    runs: tuple[int, int]
    verdict: Verdict
    why: str
    software: float | None = None
    software_interval: Interval | None = None
    hardware: float | None = None
    hardware_interval: Interval | None = None
    improvement: float | None = None
    improvement_interval: Interval | None = None
    difference: float | None = None
    gap: float | None = None
    gap_interval: Interval | None = None
    welch: Welch | None = None
    equivalence: Equivalence | None = None
    effect: Effect | None = None
    p: float | None = None
    detectable: float | None = None
    detectable_effect: float | None = None
    unseen: float | None = None

    @property
    def better(self) -> Literal["software", "hardware"]:
        """Name the side with the lower mean cost; meant for the verdict "different"."""
        return "hardware" if (self.difference or 0.0) < 0 else "software"


def judge(
    software: ArrayLike,
    hardware: ArrayLike,
    *,
    margin: float | None = None,
    alpha: float = 1.0 - LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Judgement:
    """Say what the scores of two sides support, and no more.

    Args:
        software: one score a run, physical cost, shape (n,); n may be 0.
        hardware: the same, shape (m,).
        margin: the largest difference that does not matter, or None where none was declared.
        alpha: 1 - the level of every interval and test.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        ValueError: the margin is not positive, or a score is not finite.
    """
    one, two = np.asarray(software, dtype=np.float64), np.asarray(hardware, dtype=np.float64)
    if not (np.isfinite(one).all() and np.isfinite(two).all()):
        raise ValueError("every score must be finite")
    n, m = len(one), len(two)
    level = 1.0 - alpha
    options: dict[str, Any] = {"level": level, "resamples": resamples, "seed": seed}

    def middle(values: Floats) -> Floats:
        return interquartile_mean(values, axis=1)

    def distance(left: Floats, right: Floats) -> Floats:
        return middle(right) - middle(left)

    found: dict[str, Any] = {"runs": (n, m)}
    if n:
        found.update(software=float(interquartile_mean(one)), software_interval=interval_of([one], middle, **options))
    if m:
        found.update(hardware=float(interquartile_mean(two)), hardware_interval=interval_of([two], middle, **options))
    if not (n and m):
        return Judgement(verdict="inconclusive", why="no runs", **found)
    found.update(gap=found["hardware"] - found["software"], difference=float(two.mean() - one.mean()))
    if min(n, m) < 2:
        return Judgement(verdict="inconclusive", why="one run", **found)
    t = welch(one, two, level=level)
    tost = equivalence(one, two, margin, alpha=alpha) if margin is not None else None
    found.update(
        improvement=float(probability_of_improvement(one, two)),
        improvement_interval=interval_of([one, two], probability_of_improvement, **options),
        gap_interval=interval_of([one, two], distance, **options),
        welch=t,
        equivalence=tost,
        effect=hedges(one, two, level=level),
        detectable_effect=smallest_detectable_effect(n, m, alpha=alpha),
        detectable=t.error * noncentrality(t.freedom, alpha=alpha) if t else None,
    )
    if t is None:
        return _without_spread(one, two, found, margin, alpha)
    if tost is not None and tost.equivalent:
        return Judgement(verdict="equivalent", why="", p=t.p, **found)
    if t.p < alpha:
        return Judgement(verdict="different", why="", p=t.p, **found)
    return Judgement(verdict="inconclusive", why="no margin" if margin is None else "wide", p=t.p, **found)


def _without_spread(one: Floats, two: Floats, found: dict[str, Any], margin: float | None, alpha: float) -> Judgement:
    """Judge two sides neither of which has any spread: no t exists, but counting still does."""
    n, m = found["runs"]
    if np.ptp(np.concatenate([one, two])) == 0.0:
        # None of n runs ended otherwise: the exact (Clopper-Pearson) upper limit on the share that would.
        return Judgement(verdict="alike", why="", unseen=1.0 - alpha ** (1.0 / min(n, m)), **found)
    # Where all of one side lie beyond all of the other: the two most extreme of comb(n + m, n) arrangements.
    apart = one.max() < two.min() or two.max() < one.min()
    p = min(1.0, 2.0 / comb(n + m, n)) if apart else None
    # Moved by the margin, up or down, all of one side lie beyond all of the other: the most extreme arrangement.
    if margin is not None and (two + margin).min() > one.max() and (two - margin).max() < one.min():
        found["equivalence"] = _counted(found["difference"], margin, 1.0 / comb(n + m, n), alpha)
        if found["equivalence"].equivalent:
            return Judgement(verdict="equivalent", why="", p=p, **found)
    if p is not None and p < alpha:
        return Judgement(verdict="different", why="", p=p, **found)
    return Judgement(verdict="inconclusive", why="no spread", p=p, **found)


def _counted(difference: float, margin: float, p: float, alpha: float) -> Equivalence:
    return Equivalence(margin, p, Interval(difference, difference, 1.0 - 2.0 * alpha), p < alpha)


def to_json(judgement: Judgement) -> dict[str, Any]:
    """Return a judgement for JSON: intervals as [low, high]."""
    welch, test, effect = judgement.welch, judgement.equivalence, judgement.effect
    return {
        "runs": {"software": judgement.runs[0], "hardware": judgement.runs[1]},
        "verdict": judgement.verdict,
        "why": judgement.why,
        "software_iqm": judgement.software,
        "software_interval": _pair(judgement.software_interval),
        "hardware_iqm": judgement.hardware,
        "hardware_interval": _pair(judgement.hardware_interval),
        "difference_of_iqm": judgement.gap,
        "difference_of_iqm_interval": _pair(judgement.gap_interval),
        "difference_of_means": judgement.difference,
        "difference_of_means_interval": _pair(welch.interval) if welch else None,
        "p": judgement.p,
        "probability_of_improvement": judgement.improvement,
        "probability_of_improvement_interval": _pair(judgement.improvement_interval),
        "cliffs_delta": None if judgement.improvement is None else 2.0 * judgement.improvement - 1.0,
        "hedges_g": effect.g if effect else None,
        "hedges_g_interval": _pair(effect.interval) if effect else None,
        "smallest_detectable_effect": judgement.detectable_effect,
        "equivalence": {
            "margin": test.margin,
            "p": test.p,
            "interval": _pair(test.interval),
            "equivalent": test.equivalent,
        }
        if test
        else None,
        "smallest_detectable_difference": judgement.detectable,
    }


def _pair(interval: Any) -> list[float] | None:
    return None if interval is None else [interval.low, interval.high]
