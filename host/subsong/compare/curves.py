"""Learning curves: the cost of every trial against trials and against steps, and the middle of several runs.

Costs are physical here (counts times the experiment's `cost_lsb`), lower is better. Only learning trials move a
curve; the unperturbed evaluation trials between them are gathered into points of their own.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from subsong.compare.statistics import bootstrap, interquartile_mean
from subsong_sim.learner import TrialSummary

Floats = NDArray[np.float64]

POINTS = 400  # a drawn curve has at most this many: more than a screen can show
BAND_POINTS = 200
BAND_RESAMPLES = 1000


@dataclass(frozen=True)
class Evaluation:
    """One evaluation between learning trials.

    Attributes:
        trial: learning trials before it.
        step: learning steps before it.
        costs: physical cost of each of its episodes, shape (episodes,).
    """

    trial: int
    step: int
    costs: Floats

    @property
    def mean(self) -> float:
        """Mean physical cost over its episodes."""
        return float(self.costs.mean())


@dataclass(frozen=True)
class Curve:
    """How one run learned.

    Attributes:
        cost: physical cost of every learning trial, shape (trials,).
        step: learning steps up to the end of each, shape (trials,).
        evaluations: in order.
        saturated: words clipped at their limits, over all trials.
        dropped: frames the board had refused by the last trial.
    """

    cost: Floats
    step: Floats
    evaluations: tuple[Evaluation, ...]
    saturated: int
    dropped: int

    @property
    def last(self) -> float:
        """What the run is carried forward at after its end: its last evaluation, else its last trial."""
        return self.evaluations[-1].mean if self.evaluations else float(self.cost[-1])


def read_curve(summaries: Iterable[TrialSummary], cost_lsb: float, evaluation_lsb: float | None = None) -> Curve:
    """Collect a run's trials.

    Args:
        summaries: of the trials that ended, in the order of the log.
        cost_lsb: physical cost of one count.
        evaluation_lsb: the same of an evaluation; None: no other.
    """
    evaluation_lsb = cost_lsb if evaluation_lsb is None else evaluation_lsb
    cost: list[float] = []
    step: list[int] = []
    evaluations: list[Evaluation] = []
    episode: list[float] = []
    saturated = dropped = steps = 0

    def finish() -> None:
        if episode:
            evaluations.append(Evaluation(len(cost), steps, np.array(episode)))
            episode.clear()

    for summary in summaries:
        saturated += summary.saturated
        dropped = max(dropped, summary.dropped)
        if summary.evaluate:
            episode.append(summary.total * evaluation_lsb)
            continue
        finish()
        steps += summary.steps
        cost.append(summary.total * cost_lsb)
        step.append(steps)
    finish()
    return Curve(np.array(cost, float), np.array(step, float), tuple(evaluations), saturated, dropped)


def window_of(curves: Iterable[Curve]) -> int:
    """Trials that a drawn curve's trailing mean spans: a 25th of the longest run, at least 1."""
    return max([1, *(len(curve.cost) // 25 for curve in curves)])


def trailing_mean(values: Floats, window: int) -> Floats:
    """Mean of each value and the up to window - 1 before it.

    Args:
        values: shape (n,).
        window: at least 1.

    Returns:
        Shape (n,).
    """
    if window == 1 or len(values) == 0:
        return values
    total = np.concatenate([[0.0], np.cumsum(values)])
    end = np.arange(1, len(values) + 1)
    start = np.maximum(end - window, 0)
    return np.asarray((total[end] - total[start]) / (end - start))


def thin(x: Floats, y: Floats, points: int = POINTS) -> tuple[Floats, Floats]:
    """Draw fewer points: means of equal stretches, each placed at the stretch's end.

    Args:
        x: shape (n,), rising.
        y: shape (n,).
        points: at most this many.
    """
    if len(x) <= points:
        return x, y
    edges = np.linspace(0, len(x), points + 1).astype(int)
    sums = np.add.reduceat(y, edges[:-1])
    return x[edges[1:] - 1], sums / np.diff(edges)


def at(grid: Floats, x: Floats, y: Floats, before: float, after: float) -> Floats:
    """Read a curve at the grid: the last value at or before each place.

    Args:
        grid: shape (points,), rising.
        x: places of the curve, shape (n,), rising.
        y: its values, shape (n,).
        before: the value before the first place.
        after: the value beyond the last place.
    """
    index = np.searchsorted(x, grid, side="right") - 1
    values = np.where(index < 0, before, y[np.maximum(index, 0)])
    return np.asarray(np.where(grid > x[-1], after, values))


@dataclass(frozen=True)
class Middle:
    """Interquartile mean of several runs along a grid.

    Attributes:
        x: shape (points,).
        mean: shape (points,).
        low, high: ends of the bootstrap interval over runs, pointwise, shape (points,).
        all_until: beyond this x some run had ended and is carried forward at its last value.
    """

    x: Floats
    mean: Floats
    low: Floats
    high: Floats
    all_until: float


def middle(
    curves: list[tuple[Floats, Floats, float]],
    *,
    level: float,
    seed: int,
    points: int = BAND_POINTS,
    whole: bool = False,
) -> Middle | None:
    """Take the interquartile mean over runs at each place, with its bootstrap interval.

    A run that has stopped is carried forward: leaving it out would keep only the runs that found it hard.

    Args:
        curves: (x, y, value after the end) of each run.
        level: of the interval.
        seed: of the bootstrap.
        points: of the grid.
        whole: the places are whole numbers (trials).

    Returns:
        None for fewer than two runs with trials.
    """
    curves = [curve for curve in curves if len(curve[0])]
    if len(curves) < 2:
        return None
    longest = max(float(x[-1]) for x, _, _ in curves)
    # From the last run's first point on, so that every run has a value everywhere.
    first = max(float(x[0]) for x, _, _ in curves)
    grid = np.linspace(first, longest, points)
    if whole:
        grid = np.unique(np.round(grid))
    rows = np.array([at(grid, x, y, float(y[0]), after) for x, y, after in curves])

    def over_runs(values: Floats) -> Floats:
        return interquartile_mean(values, axis=1)

    low, high = bootstrap([rows], over_runs, level=level, resamples=BAND_RESAMPLES, seed=seed)
    return Middle(grid, interquartile_mean(rows, axis=0), low, high, min(float(x[-1]) for x, _, _ in curves))
