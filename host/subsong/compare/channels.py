"""What a run's sensor and actuator words made of their 16 bits, and trials kept to be predicted."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log2
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from subsong.experiment import Experiment
from subsong.session import schedule

if TYPE_CHECKING:
    from subsong.runlog.records import Event, RunHeader, Trial

Words = NDArray[np.int16]

SAMPLED = 20  # trials of a run that are predicted, evenly over the run
_WORDS = 1 << 16
_SHOW_A_CONVERTER = 16  # different words
_END = 32767  # sensors' words reach from -32767 to here


@dataclass(frozen=True)
class Use:
    """What one channel's words were.

    Attributes:
        words: how many.
        clipped: how many stood at an end of the range: within half a `step` of it, where a coarse converter ends.
        low, high: the least and the greatest.
        distinct: different ones.
        step: the smallest difference between two different ones, counts; 0 with fewer than two.
    """

    words: int
    clipped: int
    low: int
    high: int
    distinct: int
    step: int

    @property
    def bits(self) -> int:
        """How many bits over the whole range tell words `step` apart; 0 where all words were one."""
        return 16 - round(log2(self.step)) if self.step else 0

    def to_json(self) -> dict[str, Any]:
        """Return the figures of the report's table."""
        return {**vars(self), "share_clipped": self.clipped / self.words, "bits": self.bits}


def together(uses: Sequence[Use]) -> Use:
    """Join what one channel's words were in several runs; `distinct` is that of the run that had most."""
    return Use(
        sum(use.words for use in uses),
        sum(use.clipped for use in uses),
        min(use.low for use in uses),
        max(use.high for use in uses),
        max(use.distinct for use in uses),
        min((use.step for use in uses if use.step), default=0),
    )


@dataclass(frozen=True)
class Sample:
    """One whole trial of a log.

    Attributes:
        seed: that the plant was reset with.
        x: sensor words, shape (steps, sensors).
        u: actuator words, shape (steps, actuators).
    """

    seed: int
    x: Words
    u: Words


@dataclass(frozen=True)
class Channels:
    """What a log's words were.

    Attributes:
        sensors: one a sensor; none where the log holds no step.
        actuators: one an actuator.
        samples: whole trials, evenly over the run.
    """

    sensors: tuple[Use, ...] = ()
    actuators: tuple[Use, ...] = ()
    samples: tuple[Sample, ...] = ()


class _Tally:
    """Counts words by value, a row a channel."""

    def __init__(self, channels: int) -> None:
        self._counts = np.zeros((channels, _WORDS), np.int32)

    def add(self, words: Words) -> None:
        for channel, counts in enumerate(self._counts):
            np.add.at(counts, words[:, channel].astype(np.int64) + 32768, 1)

    def uses(self) -> tuple[Use, ...]:
        return tuple(self._use(counts) for counts in self._counts)

    @staticmethod
    def _use(counts: NDArray[np.int32]) -> Use:
        seen = np.flatnonzero(counts) - 32768
        # The ends hold whatever lies beyond them: their distance to the next word says nothing of the resolution.
        inside = seen[np.abs(seen) < _END]
        gaps = np.diff(inside if len(inside) > 1 else seen)
        step = int(gaps.min()) if len(gaps) else 0
        # The outermost words of a coarse converter lie half a step within the range; a few words show no converter.
        end = _END - (step // 2 if len(seen) >= _SHOW_A_CONVERTER else 0)
        at_ends = int(counts[np.abs(np.arange(_WORDS) - 32768) >= end].sum())
        return Use(int(counts.sum()), at_ends, int(seen[0]), int(seen[-1]), len(seen), step)


def read_channels(
    trials: "Iterable[Trial]",
    header: "RunHeader",
    experiment: Experiment,
    events: "Iterable[Event]",
    numbers: Sequence[int],
) -> Channels:
    """Go through a log's steps.

    Args:
        trials: of the log, in order.
        header: of the log.
        experiment: that it holds.
        events: of the log: a board that went back to a checkpoint says where the schedule went on.
        numbers: of the trials that have an end.
    """
    chosen = {numbers[i] for i in np.linspace(0, len(numbers) - 1, SAMPLED).astype(int)} if numbers else set()
    seeds = _seeds(header, experiment, events, chosen)
    sensors, actuators = _Tally(header.n_sensors), _Tally(header.n_actuators)
    samples: list[Sample] = []
    any_step = False
    for trial in trials:
        if not trial.steps:
            continue
        x, u = (np.array([step[at] for step in trial.steps], np.int16) for at in (3, 4))
        sensors.add(x)
        actuators.add(u)
        any_step = True
        evaluate, seed = seeds.get(trial.number, (None, 0))
        if trial.whole and trial.evaluate is evaluate:
            samples.append(Sample(seed, x, u))
    if not any_step:
        return Channels()
    return Channels(sensors.uses(), actuators.uses(), tuple(samples))


def _seeds(
    header: "RunHeader", experiment: Experiment, events: "Iterable[Event]", numbers: set[int]
) -> dict[int, tuple[bool, int]]:
    """Return (whether it is an evaluation, reset seed) of each of the trials that are asked for."""
    begins = [(header.first_trial, header.learned)]
    for event in events:
        trial, learned = event.fields.get("trial"), event.fields.get("trials")
        if event.kind == "reconnected" and isinstance(trial, int) and isinstance(learned, int):
            begins.append((trial, learned))
    found: dict[int, tuple[bool, int]] = {}
    for first, learned in begins:
        # What a later stretch numbers as well was never run by this one.
        found = {number: said for number, said in found.items() if number < first}
        last = max(numbers, default=-1)
        for number, said in zip(range(first, last + 1), schedule(experiment, learned), strict=False):
            if number in numbers:
                found[number] = said
    return found
