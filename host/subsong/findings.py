"""What a run's user should know of its plant: which steps came late, and whether there was anything to learn from.

From a cost that never varies nothing can be learned. A run on a plant that is played for it ends all the same, with a
warning (`constant_cost`): a longer search may yet find a reward that is rare, and it wears nothing out. One on the
board's own plant ends (`FlatCost`): that moves for nothing, and what it measures is likely broken.

Time is kept by whoever steps the plant, and each measures what it can. The host measures by how much its steps miss
their deadlines (`Pace`); a board also what a step takes, and when it begins (`subsong.timing`).
"""

import math
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

from subsong.errors import PlantError
from subsong.runlog import Recorder
from subsong.runlog.records import Event
from subsong_sim.learner import Ended, TrialSummary
from subsong_sim.plants.clock import LATE_NS, clock_of

FEWEST_COSTS = 10  # fewer trials may well cost the same
FLAT_TRIALS = 32  # learning trials of a board's own plant, every one perturbed, that cost the same to the last count


@dataclass(frozen=True)
class Pace:
    """How a run in real time kept its time, over all its steps. A step is late when it ends 0.1 ms after its deadline.

    Attributes:
        period_ms: from one deadline to the next.
        steps: evaluations included.
        late: how many of them.
        median_us, p99_us, worst_us: by how much steps missed their deadlines, the punctual ones included.
    """

    period_ms: int
    steps: int
    late: int
    median_us: int
    p99_us: int
    worst_us: int

    def __str__(self) -> str:
        return (
            f"{self.late:,} of {self.steps:,} steps of {self.period_ms} ms were late, the worst by "
            f"{self.worst_us / 1000:.3g} ms (median {self.median_us} us, 99th percentile {self.p99_us} us)"
        )


def read_pace(events: Iterable[Event]) -> Pace | None:
    """Return what a log's events say of a run's pace; None where it had none, or where that cannot be read."""
    names = [field.name for field in fields(Pace)]
    for event in events:
        if event.kind == "pace" and all(type(event.fields.get(name)) is int for name in names):
            return Pace(*(event.fields[name] for name in names))
    return None


class Findings:
    """Looks at a run's trials as they end, and tells its log and its result.

    Args:
        plant: that the host plays; None for a task, or a plant that the board has.
        recorder: of the run; None where it has no log.
    """

    def __init__(self, plant: Any, recorder: Recorder | None) -> None:
        self._plant, self._clock, self._recorder = plant, clock_of(plant), recorder

    def ended(self, ended: Ended) -> None:
        """Record which of a trial's steps were late."""
        self._tell(f"Trial {ended.summary.trial}", trial=ended.summary.trial)

    def pace(self) -> Pace | None:
        """Return how the time was kept so far; None without a clock, or before its first step."""
        if self._clock is None or not self._clock.lateness_us:
            return None
        ordered = sorted(self._clock.lateness_us)
        late = len(ordered) - bisect_left(ordered, LATE_NS // 1000)
        median, p99, worst = (ordered[math.ceil(share * (len(ordered) - 1))] for share in (0.5, 0.99, 1.0))
        return Pace(self._clock.period_ms, len(ordered), late, median, p99, worst)

    def close(self, costs: list[float]) -> tuple[Pace | None, list[str]]:
        """Record what there is to say at a run's end, or where it was cut off, and return it.

        Args:
            costs: of the learning trials.

        Returns:
            How the time was kept, and warnings, a sentence each.
        """
        self._tell("The trial that was cut off")
        pace, warnings = self.pace(), []
        if pace is not None:
            self._event("pace", f"{pace}.", **asdict(pace))
            if 2 * pace.late > pace.steps:
                warnings.append(
                    f"more than half of the steps were late: a step takes more than {pace.period_ms} ms here. "
                    "Raise period_ms, or leave the machine to it"
                )
        if costs and (flat := constant_cost(len(costs), min(costs), max(costs))):
            warnings.append(flat)
            self._event("constant_cost", f"{flat}.", trials=len(costs), cost=costs[0])
        if text := _complaint(self._plant):
            warnings.append(text)
            self._event("complaint", f"{text}.")
        return pace, warnings

    def _tell(self, which: str, **fields: int) -> None:
        if self._clock is None or not self._clock.late:
            return
        late, self._clock.late = self._clock.late, []
        worst = max(us for _, us in late)
        text = f"{which} had {len(late)} late step{'s' * (len(late) > 1)}, the worst by {worst / 1000:.3g} ms."
        self._event("late", text, **fields, steps=[list(each) for each in late])

    def _event(self, kind: str, text: str, **fields: Any) -> None:
        if self._recorder is not None:
            self._recorder.event(kind, text, **fields)


def _complaint(plant: Any) -> str:
    """Return what the environment's own simulator warned of, if it did."""
    while plant is not None:
        if steps := getattr(plant, "complaints", 0):
            return f"the simulator warned in {steps:,} step{'s' * (steps > 1)}, first: {plant.complaint.rstrip('. ')}"
        plant = getattr(plant, "plant", None)
    return ""


def constant_cost(trials: int, least: float, most: float) -> str:
    """Return the warning of learning trials that cost exactly the same; "" where they do not, or are few.

    Args:
        trials: how many.
        least: physical cost of the cheapest.
        most: of the dearest.
    """
    if trials < FEWEST_COSTS or least != most:
        return ""
    return (
        f"every one of {trials:,} trials cost exactly {least:.6g}: nothing can be learned from that. "
        "Does the cost depend on the actuators? Raise learner.amplitude, or lower plant.cost_lsb"
    )


class FlatCost:
    """Looks at the learning trials of a board's own plant until one differs from the first."""

    def __init__(self) -> None:
        self._first: tuple[int, int] | None = None
        self._same = 0
        self._varies = False

    def take(self, summary: TrialSummary) -> None:
        """Take a learning trial's end.

        Raises:
            PlantError: this many trials had one cost, and one number of steps.
        """
        if self._varies:
            return
        cost = (summary.total, summary.steps)
        self._first = self._first or cost
        self._varies = cost != self._first
        self._same += 1
        if not self._varies and self._same == FLAT_TRIALS:
            raise PlantError(
                f"trial {summary.trial}: each of the first {FLAT_TRIALS} learning trials cost {summary.total} counts "
                f"in {summary.steps} steps, and from a cost that never varies nothing can be learned; let cost() in "
                "plant.py count finer, and look at the sensor that it reads"
            )
