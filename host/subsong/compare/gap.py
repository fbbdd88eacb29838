"""What lies between learning in software and learning on hardware, part by part.

Arithmetic is settled by replay, not by statistics: the board's own words are executed again, and every checksum
must be equal. Link, saturation and timing are counted. What is left is the plant.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from subsong.console import Progress
from subsong.errors import SubsongError
from subsong.findings import read_pace
from subsong.timing import Timing, TimingTotal

if TYPE_CHECKING:
    from subsong.runlog.records import Event, Frame


class ReplayResult(Protocol):
    """What executing a log again found; `subsong.replay.ReplayResult` is one."""

    @property
    def trials(self) -> int:
        """Trials executed again."""
        ...

    @property
    def checked(self) -> int:
        """Checksums compared."""
        ...

    @property
    def holes(self) -> int:
        """Stretches that the telemetry lost, bridged by a snapshot."""
        ...

    @property
    def skipped(self) -> int:
        """Trials that could not be executed: in a hole, or cut off at the log's end."""
        ...

    @property
    def difference(self) -> str | None:
        """The first difference, or None."""
        ...


Replay = Callable[[Path, Progress], ReplayResult]


@dataclass(frozen=True)
class Arithmetic:
    """Whether one log replays.

    Attributes:
        equal: True, False, or None where it could not be checked.
        trials: in the log.
        checked: executed again, and compared.
        skipped: neither, being in a hole or cut off.
        holes: that replay met.
        difference: the first, where not equal.
        reason: why it could not be checked.
    """

    equal: bool | None
    trials: int = 0
    checked: int = 0
    skipped: int = 0
    holes: int = 0
    difference: str = ""
    reason: str = ""


def check_arithmetic(path: Path, replay: Replay, progress: Progress) -> Arithmetic:
    """Execute a log again and say whether it is the same, bit for bit."""
    try:
        result = replay(path, progress)
    except SubsongError as error:
        return Arithmetic(None, reason=str(error))
    counts = (result.trials, result.checked, result.skipped, result.holes)
    if result.difference is not None:
        return Arithmetic(False, *counts, difference=result.difference)
    if result.checked == 0:
        return Arithmetic(None, *counts, reason="the log holds no trial that can be executed again.")
    return Arithmetic(True, *counts)


@dataclass(frozen=True)
class Link:
    """What the link did during one run.

    Attributes:
        to_board: frames recorded from the host.
        from_board: frames recorded from the board.
        lost: what went wrong, by name, as often as it did; only what did.
        round_trip_us: median, 99th percentile and longest time from a command's first sending to the board's next
            frame, microseconds; None where no such pair was recorded.
    """

    to_board: int
    from_board: int
    lost: dict[str, int]
    round_trip_us: tuple[float, float, float] | None


def read_link(frames: "Iterable[Frame]", events: "Iterable[Event]", dropped: int) -> Link:
    """Count frames, events and round trips.

    Args:
        frames: in the order of the log.
        events: of the log; one of kind "link" brings the decoder's counts.
        dropped: frames refused by the board.
    """
    to_board = from_board = 0
    asked: int | None = None
    trips: list[int] = []
    for frame in frames:
        if frame.to_board:
            to_board += 1
            # A repeated command has waited since its first sending.
            asked = frame.t_ns if asked is None else asked
        else:
            from_board += 1
            if asked is not None and frame.t_ns >= asked:
                trips.append(frame.t_ns - asked)
            asked = None
    times: tuple[float, float, float] | None = None
    if trips:
        median, late, longest = np.quantile(np.array(trips, dtype=np.float64) / 1000.0, [0.5, 0.99, 1.0]).tolist()
        times = (median, late, longest)
    return Link(to_board, from_board, _lost(events, dropped), times)


@dataclass(frozen=True)
class Pace:
    """How a run kept its control period.

    Attributes:
        steps: that had a deadline.
        late: that missed it.
        worst_us: by how much the latest did, microseconds.
    """

    steps: int
    late: int
    worst_us: int


def pace_of(events: "Iterable[Event]", timings: "Iterable[Timing]") -> Pace | None:
    """Return how a run kept its period: by the host's clock, else by the board's; None where nobody kept one."""
    told, total = read_pace(events), TimingTotal.of(timings)
    if told is not None:
        return Pace(told.steps, told.late, told.worst_us)
    worst = max(total.worst_jitter_us, total.longest_step_us - total.period_us)
    return Pace(total.steps, total.late, worst) if total.period_us else None


def _lost(events: "Iterable[Event]", dropped: int) -> dict[str, int]:
    """Name and count what went wrong, leaving out what did not."""
    kinds: Counter[str] = Counter()
    counts: dict[str, object] = {}
    for event in events:
        kinds[event.kind] += 1
        if event.kind == "link":
            counts = event.fields
    found = {
        "command repeated": counts.get("repeated"),
        "damaged frame": counts.get("damaged", kinds["damaged"]),
        "late reply": counts.get("late"),
        "telemetry frame missing": counts.get("missing"),
        "hole": kinds["hole"],
        "fault": kinds["fault"],
        "frame refused by the board": dropped,
    }
    return {name: count for name, count in found.items() if isinstance(count, int) and count > 0}
