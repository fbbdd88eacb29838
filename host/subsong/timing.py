"""How well a run kept its control period: the record of a trial, and what a whole run's records come to."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple


class Timing(NamedTuple):
    """How well a trial kept its control period, by the clock of whoever kept it. Times are microseconds.

    Attributes:
        trial: number of the trial.
        clock: "board" for the board's own (T_TIME of the link), "host" where the host keeps the period.
        steps: of the trial.
        period_us: the period; 0: steps followed each other as fast as they came.
        late: steps that were not over when the next one was due.
        jitter_us: from a step's deadline until its sense(), the mean.
        worst_jitter_us: the most.
        step_us: what a step took from its sense() until the next one could begin, the mean.
        longest_step_us: the most.
    """

    trial: int
    clock: Literal["board", "host"]
    steps: int
    period_us: int
    late: int
    jitter_us: int
    worst_jitter_us: int
    step_us: int
    longest_step_us: int


@dataclass(frozen=True, slots=True)
class TimingTotal:
    """How well the trials of a run kept their period. Fields are those of `Timing`, means over every step.

    `str()` says it in a sentence.
    """

    trials: int = 0
    steps: int = 0
    period_us: int = 0
    late: int = 0
    jitter_us: float = 0.0
    worst_jitter_us: int = 0
    step_us: float = 0.0
    longest_step_us: int = 0

    @classmethod
    def of(cls, timings: Iterable[Timing]) -> "TimingTotal":
        """Return what these come to."""
        total = cls()
        for timing in timings:
            total = total.plus(timing)
        return total

    def plus(self, timing: Timing) -> "TimingTotal":
        """Return what it comes to with one trial more."""
        steps = self.steps + timing.steps
        old, new = (self.steps / steps, timing.steps / steps) if steps else (0.0, 0.0)
        return TimingTotal(
            self.trials + 1,
            steps,
            timing.period_us,
            self.late + timing.late,
            old * self.jitter_us + new * timing.jitter_us,
            max(self.worst_jitter_us, timing.worst_jitter_us),
            old * self.step_us + new * timing.step_us,
            max(self.longest_step_us, timing.longest_step_us),
        )

    @property
    def excess_us(self) -> float:
        """By how much the mean step missed the period; 0 where it did not, or there is none."""
        return max(0.0, self.step_us - self.period_us) if self.period_us else 0.0

    def __str__(self) -> str:
        if not self.steps:
            return ""
        mean, longest, period = self.step_us / 1000, self.longest_step_us / 1000, self.period_us / 1000
        if not self.period_us:
            return f"a step took {mean:.3g} ms, {longest:.3g} ms at most"
        jitter = f"jitter {self.jitter_us / 1000:.2g} ms, {self.worst_jitter_us / 1000:.2g} ms at most"
        late = f"{self.late:,} of {self.steps:,} steps were late"
        if self.late:
            late += f", the worst by {max(self.worst_jitter_us, self.longest_step_us - self.period_us) / 1000:.2g} ms"
        if self.excess_us:
            took = f"a step does not fit {period:.4g} ms, by {self.excess_us / 1000:.2g} ms on average"
        else:
            took = f"a step took up to {longest:.3g} of {period:.4g} ms"
        return f"{took}; {late}; {jitter}"
