"""The telemetry of a run on the board: numbered frames in, holes found, snapshots asked for and put together."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from struct import unpack
from typing import TYPE_CHECKING, NamedTuple

from subsong.exchange import Exchange, Frame
from subsong.timing import Timing
from subsong_device import faults, frames
from subsong_sim.learner import TrialSummary

if TYPE_CHECKING:
    from subsong.bridge import LearnerBlock

OnStep = Callable[[int, int, int, Sequence[int], Sequence[int]], None]
OnTrial = Callable[[TrialSummary, int], None]
OnSnapshot = Callable[[int, bytes, bytes], None]
OnHole = Callable[[int, int], None]
OnTiming = Callable[[Timing], None]


class TaskResult(NamedTuple):
    """How a run on the board went.

    Attributes:
        trials: trials that it did, by its own count.
        holes: gaps in the telemetry.
        lost: telemetry frames in them.
    """

    trials: int
    holes: int
    lost: int


@dataclass
class _Snapshot:
    """Chunks of a state, as they come."""

    sizes: tuple[int, int]
    trial: int = -1
    chunks: tuple[dict[int, bytes], dict[int, bytes]] = field(default_factory=lambda: ({}, {}))

    def take(self, trial: int, region: int, offset: int, data: bytes) -> tuple[bytes, bytes] | None:
        """Add a chunk; return (head, mem) with the last one."""
        if trial != self.trial:
            self.trial, self.chunks = trial, ({}, {})
        self.chunks[region][offset] = data
        if tuple(sum(map(len, c.values())) for c in self.chunks) != self.sizes:
            return None
        head, mem = (b"".join(c[at] for at in sorted(c)) for c in self.chunks)
        return head, mem


class Listeners(NamedTuple):
    """Who is told of what, each or none; see Bridge.run_task."""

    on_step: OnStep | None = None
    on_trial: OnTrial | None = None
    on_snapshot: OnSnapshot | None = None
    on_hole: OnHole | None = None
    on_timing: OnTiming | None = None


class TaskStream:
    """A session's telemetry.

    Args:
        exchange: the link.
        block: its sizes are a snapshot's.
        deadman_ms: the board leaves if it hears nothing for so long (by the host's clock), so it is spoken to four
            times as often.
    """

    def __init__(self, exchange: Exchange, block: "LearnerBlock", deadman_ms: float) -> None:
        self._exchange = exchange
        self._alive_s = deadman_ms / 4000
        self._n_sensors = block.n_sensors
        self._sizes = (len(block.head), len(block.mem))
        self._number = 0  # of the next telemetry frame, counted over the session
        self._start(0, Listeners())

    def _start(self, first: int, tell: Listeners) -> None:
        self._first = first
        self._tell = tell
        self._snapshot = _Snapshot(self._sizes)
        self._trials = 0
        self._stop = self._stop_asked = False
        self._snapshot_wanted = False
        self._quiet = True  # no telemetry since the board was spoken to
        self._speak_at = time.monotonic() + self._alive_s
        self._over: int | None = None  # frames sent in all, once the board has said that no run is on

    def stop(self) -> None:
        """End the run after the trial that is on."""
        self._stop = True

    def run(self, plan: tuple[int, int, int, bool], tell: Listeners) -> TaskResult:
        """Run (first trial, trials, steps, evaluate); see Bridge.run_task."""
        exchange, counters = self._exchange, self._exchange.counters
        holes, lost = counters.holes, counters.lost
        self._start(plan[0], tell)
        exchange.command(frames.RUN, *plan)
        done = False
        while not done:
            wait = self._speak_at - time.monotonic() if self._over is None else 0.0
            frame = exchange.next_telemetry(max(0.0, wait))
            if frame is not None:
                self._quiet = False
                done = self._take(frame)
            elif self._over is not None:  # all that came is taken, and T_DONE is among what did not
                self._find_hole(self._over)
                self._number = self._over
                if not self._stop_asked:
                    self._trials = plan[1]  # its last one's end may be among what was lost, too
                done = True
            if not done and self._over is None:
                self._speak()
        return TaskResult(self._trials, counters.holes - holes, counters.lost - lost)

    def _take(self, frame: Frame) -> bool:
        """Take a telemetry frame; return whether it is the last."""
        number, *fields = unpack(self._exchange.formats[frame.kind], frame.payload)
        if number < self._number:  # it came twice, or too late: it is counted as lost
            self._exchange.counters.stale += 1
            return False
        self._find_hole(number)
        self._number = number + 1
        tell = self._tell
        if frame.kind == frames.T_STEP:
            if tell.on_step is not None:
                trial, step, cost, *words = fields
                tell.on_step(trial, step, cost, words[: self._n_sensors], words[self._n_sensors :])
        elif frame.kind == frames.T_TRIAL:
            trial, evaluated, *rest, last_cost = fields
            self._trials = trial + 1 - self._first
            if tell.on_trial is not None:
                tell.on_trial(TrialSummary(trial, bool(evaluated), *rest), last_cost)
        elif frame.kind == frames.T_SNAP:
            trial, region, offset, count, data = fields
            state = self._snapshot.take(trial, region, offset, data[:count])
            if state is not None and tell.on_snapshot is not None:
                tell.on_snapshot(trial, *state)
        elif frame.kind == frames.T_TIME:
            if tell.on_timing is not None:
                tell.on_timing(Timing(fields[0], "board", *fields[1:]))
        else:
            self._trials = fields[0]
        return frame.kind == frames.T_DONE

    def _find_hole(self, number: int) -> None:
        """Compare a frame's number with the one expected."""
        lost = number - self._number
        if lost > 0:
            self._exchange.counters.holes += 1
            self._exchange.counters.lost += lost
            self._snapshot_wanted = True
            if self._tell.on_hole is not None:
                self._tell.on_hole(self._number, lost)

    def _speak(self) -> None:
        """Ask for a snapshot after a hole, stop when told to, and at least say that the host is alive."""
        exchange = self._exchange
        # The window opens for what is taken, not for what has merely come: the board runs no further ahead than that.
        taken = not exchange.telemetry and exchange.unanswered > frames.WINDOW // 2
        due = taken or time.monotonic() >= self._speak_at
        if self._snapshot_wanted or (due and self._quiet):
            # Silence may mean that T_DONE was lost: the same question tells.
            self._snapshot_wanted = False
            code, detail = exchange.command(frames.SNAPSHOT, allowed=faults.NOT_RUNNING)
            self._over = detail if code == faults.NOT_RUNNING else None
        elif self._stop and not self._stop_asked:
            self._stop_asked = True
            exchange.command(frames.STOP)
        elif due:
            greeting = exchange.command(frames.HELLO, frames.schema(), reply=frames.R_HELLO)
            exchange.counters.refused_by_board = greeting[-1]
        else:
            return
        self._quiet = True
        self._speak_at = time.monotonic() + self._alive_s
