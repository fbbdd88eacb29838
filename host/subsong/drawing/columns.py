"""The trials that a picture shows: the first that learned and the last, one beside the other."""

from collections import deque
from dataclasses import replace
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from subsong.console import Progress
from subsong.errors import LogError

if TYPE_CHECKING:
    from subsong.runlog import Run, Trial

Floats = NDArray[np.float64]


class Ends(NamedTuple):
    """What a log begins and ends with, whole trials only.

    Attributes:
        first, last: trials that learned, at least one, in their order; the same ones where there are few.
        evaluation: the last trial without perturbation; None where there is none.
    """

    first: "list[Trial]"
    last: "list[Trial]"
    evaluation: "Trial | None"


class Column(NamedTuple):
    """Consecutive trials, side by side.

    Attributes:
        trials: the last may be without its end.
        sensors: words, shape (steps, sensors).
        actuators: words, shape (steps, actuators).
        costs: that each step had, counts, shape (steps,).
        edges: steps before each trial but the first.
        cut: whether the trials had more steps.
    """

    trials: "list[Trial]"
    sensors: Floats
    actuators: Floats
    costs: Floats
    edges: list[int]
    cut: bool


def read_ends(run: "Run", steps: int, progress: Progress) -> Ends:
    """Read a log's first and last trials that learned, as many as it takes to have `steps` steps of each.

    Raises:
        LogError: there is none that is whole.
    """
    first: list[Trial] = []
    last: deque[Trial] = deque()
    evaluation = None
    shown_first = shown_last = 0
    progress.start("reading the log", len(run.summaries()))
    for trial in run.iter_trials():
        progress.advance()
        if not trial.whole:
            continue
        if trial.evaluate:
            evaluation = trial
            continue
        if shown_first < steps:
            first.append(trial)
            shown_first += len(trial.steps)
        last.append(trial)
        shown_last += len(trial.steps)
        while shown_last - len(last[0].steps) >= steps:
            shown_last -= len(last.popleft().steps)
    if not first:
        raise LogError(f"{run.path}: holds no whole trial that learned, so there is nothing to draw")
    return Ends(first, list(last), evaluation)


def column(trials: "list[Trial]", longest: int) -> Column:
    """Put trials side by side, and leave off what is beyond `longest` steps."""
    costs: list[int] = []
    shown: list[Trial] = []
    for trial in trials:
        # A step's cost is what the next act() was told, or end().
        assert trial.last_cost is not None
        room = longest - len(costs)
        if room > 0:
            told = [*(step.cost for step in trial.steps[1:]), trial.last_cost]
            costs += told[:room]
            shown.append(trial if len(told) <= room else replace(trial, steps=trial.steps[:room]))
    steps = [step for trial in shown for step in trial.steps]
    return Column(
        shown,
        np.array([step.x for step in steps], float),
        np.array([step.u for step in steps], float),
        np.array(costs, float),
        list(accumulate(len(trial.steps) for trial in shown[:-1])),
        len(steps) < sum(len(trial.steps) for trial in trials),
    )
