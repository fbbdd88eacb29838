"""What a learner looks like to the loop that drives it, whether Numba, CPython or a board executes it."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol


class TrialSummary(NamedTuple):
    """What one trial left behind.

    Attributes:
        trial: number of the trial, counted from 0 over the run.
        evaluate: True for an unperturbed trial that changes no state.
        steps: number of act() calls.
        total: sum of the trial's costs, counts.
        baseline: what the next trial is compared with, counts: the running baseline, or a pair's first cost.
        checksum: 28-bit checksum over every sensor, actuator and cost word and what the trial changed.
        saturated: words clipped at their limits in this trial (drives, weights).
        dropped: frames the board has refused since its link came up (0 in the simulator).
    """

    trial: int
    evaluate: bool
    steps: int
    total: int
    baseline: int
    checksum: int
    saturated: int
    dropped: int


class Ended(NamedTuple):
    """A trial's end: its summary, and the cost word that end() saw (counts)."""

    summary: TrialSummary
    last_cost: int


StepHook = Callable[[int, int, int, Sequence[int], Sequence[int]], None]
"""Told of each step: trial, step, the cost that act() saw, sensor words, actuator words."""


class Learner(Protocol):
    """A learner as its trial loop sees it. Words are signed int16, costs int32 counts."""

    def begin(self, trial: int, evaluate: bool) -> None:
        """Draw what trial number `trial` perturbs; with `evaluate`, nothing."""
        ...

    def act(self, cost: int, x: Sequence[int]) -> Sequence[int]:
        """Take the last step's cost (0 at first) and the sensor words; return the actuator words."""
        ...

    def end(self, cost: int) -> TrialSummary:
        """Take the last cost, update, and say what the trial was."""
        ...

    def state(self) -> tuple[bytes, bytes]:
        """Return head (little-endian int32) and mem (little-endian uint16) as bytes."""
        ...
