"""What a setting's runs came to: how many reached the goal, how soon, how good the rest; and which setting is best."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from subsong.sweep.grid import Setting
from subsong.sweep.work import Run

_Z = 1.959964  # of a normal distribution, between +-_Z lie 95 %


class Spread(NamedTuple):
    """A middle and the interval about it."""

    low: float
    middle: float
    high: float


@dataclass(frozen=True)
class Summary:
    """A setting and its runs in a few numbers.

    Attributes:
        setting: which.
        runs: how many.
        reached: how many reached run.stop_cost; None where there is none to reach.
        share: the share that did, with Wilson's 95 % interval; None likewise.
        trials: quartiles of the trials that it took, runs that never did counting as infinitely many; None likewise.
        final_cost: quartiles of the last evaluation's mean physical cost.
        score: what a search minimises: see `score`.
    """

    setting: Setting
    runs: int
    reached: int | None
    share: Spread | None
    trials: Spread | None
    final_cost: Spread
    score: float

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values; infinite ones are None."""
        spreads = {
            name: None if spread is None else [each if math.isfinite(each) else None for each in spread]
            for name, spread in (("share", self.share), ("trials", self.trials), ("final_cost", self.final_cost))
        }
        return {
            "setting": dict(self.setting.values),
            "runs": self.runs,
            "reached": self.reached,
            **spreads,
            "score": self.score,
        }


def summarise(setting: Setting, runs: Sequence[Run]) -> Summary:
    """Sum up a setting's runs, of which there is at least one."""
    costs = quartiles([run.final_cost for run in runs])
    if setting.experiment.run.stop_cost is None:
        return Summary(setting, len(runs), None, None, None, costs, score(setting, runs))
    spent = [math.inf if run.reached_at is None else float(run.reached_at) for run in runs]
    reached = sum(map(math.isfinite, spent))
    return Summary(
        setting, len(runs), reached, wilson(reached, len(runs)), quartiles(spent), costs, score(setting, runs)
    )


def score(setting: Setting, runs: Sequence[Run]) -> float:
    """Return what makes a setting better than another; less is better.

    Where there is a run.stop_cost: the mean number of trials until it is reached, a run that never does counting twice
    the trials that it was given (PAR2, as those who configure solvers call it). Else the mean final cost.
    """
    run = setting.experiment.run
    if run.stop_cost is None:
        return math.fsum(each.final_cost for each in runs) / len(runs)
    return sum(2 * run.trials if each.reached_at is None else each.reached_at for each in runs) / len(runs)


def best_first(summaries: Iterable[Summary]) -> list[Summary]:
    """Return summaries by score, then as they came."""
    return sorted(summaries, key=lambda each: each.score)


def quartiles(values: Sequence[float]) -> Spread:
    """Return the quartiles, each one of the values, since some may be infinite."""
    ordered = sorted(values)
    return Spread(*(ordered[max(0, math.ceil(share * len(ordered)) - 1)] for share in (0.25, 0.5, 0.75)))


def wilson(hits: int, n: int) -> Spread:
    """Return a share and its 95 % score interval (Wilson, J. Am. Stat. Assoc. 22, 1927)."""
    share, z2 = hits / n, _Z**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    # At 0 and at 1 an end is the share itself, but for rounding.
    return Spread(min(share, max(0.0, centre - half)), share, max(share, min(1.0, centre + half)))
