"""Recording a run, so that a killed host loses nothing that it had recorded."""

import contextlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mcap.writer import Writer

from subsong.errors import LogError
from subsong.runlog.codec import encode_ended, encode_event, encode_state, encode_timing, step_template
from subsong.runlog.container import (
    CHANNEL,
    CLOSED,
    EVENT,
    FROM_BOARD,
    HEADER_NAME,
    MESSAGE,
    MESSAGE_BYTES,
    RECORDING,
    STATE,
    STEP,
    TIMING,
    TO_BOARD,
    TRIAL,
    header_metadata,
)
from subsong.runlog.finish import LIBRARY, Progress, derive, register, write_closed
from subsong.runlog.handover import Handover
from subsong.runlog.lock import hold
from subsong.runlog.logfile import LogFile
from subsong.runlog.records import Event, RunHeader, State, Step
from subsong.runlog.writer import Sealed, write_all
from subsong.timing import Timing
from subsong_sim.learner import TrialSummary

_BATCH_NS = 250_000_000  # of a simulator's steps
_BATCH_BYTES = 64 * 1024
_BEGINNING_BYTES = 64 * 1024  # more than what stands before a run's first frame
SIM_STEP_NS = 1_000_000  # a simulator has no clock: its log shows one step a millisecond


class Recorder:
    """Writes one run to `path`, through `path` + ".partial" while it is recorded.

    A process of its own writes the file. A frame is on its way there, out of this process's hands, when `frame`
    returns, and so is a state or an event; a simulator's steps are handed over at the end of their trial, or each
    quarter of a second. So no disk slows a board's run, and where this process is killed nothing of such a run is lost,
    and at most the trial under way of a simulator's. (A power cut is another matter: the disk is told to hurry on close
    only.)

    What goes wrong on the disk is told by a later call, some milliseconds after it happened: there every LogError
    comes from, whose cause is a disk that is full, or one that has been stalled until 64 MiB wait in memory. (A
    simulator waits for its disk instead.)

    Use it as a context manager: leaving it closes the log, after an exception with an event of kind "error" that says
    what happened. Calls may come from several threads.

    Attributes:
        path: the log's final name.
        partial: its name while it is recorded.
    """

    def __init__(self, path: Path, header: RunHeader, *, clock: Callable[[], int] = time.time_ns) -> None:
        """Create the partial file.

        Args:
            path: final name of the log, NAME.mcap.
            header: what the log says of its run.
            clock: ns since the Unix epoch, for states and events of a board's log.

        Raises:
            LogError: the folder is missing or read-only, the disk is full, or a file stands in the way.
        """
        self.path = Path(path)
        self.partial = self.path.with_name(self.path.name + ".partial")
        self.header = replace(header, started_ns=header.started_ns or time.time_ns())
        self._sim = header.source == "sim"
        self._clock = clock
        self._lock = threading.Lock()
        self._step_text = step_template(header.n_sensors, header.n_actuators)
        self._batch = bytearray()
        self._sequence = self._steps = 0
        self._due = time.monotonic_ns() + _BATCH_NS
        self._broken = ""  # why nothing can be written any more
        self._outcome: Path | None = None  # what is left on the disk, once this recorder is done
        file = _create(self.path)
        try:
            hold(file)
            first = Sealed(file)
            first.write(_preamble(self.header))
            first.seal()
            self._out: Handover | None = Handover(file, self.partial, wait=self._sim)
        except OSError as error:
            self.partial.unlink()
            raise _disk_error(self.partial, error) from error
        except LogError:
            self.partial.unlink()
            raise
        finally:
            os.close(file)

    # -------------------------------------------------------------------------------------------- what is recorded

    def frame(self, to_board: bool, wire: bytes, t_ns: int) -> None:
        """Record a raw wire frame, damaged or not.

        Args:
            to_board: True for a frame that the host sent.
            wire: its bytes on the wire, with or without the delimiter.
            t_ns: when, ns since the Unix epoch (`time.time_ns()`).

        Raises:
            LogError: the disk is full.
        """
        with self._lock:
            self._message(CHANNEL[TO_BOARD] if to_board else CHANNEL[FROM_BOARD], t_ns, wire)

    def step(self, step: Step) -> None:
        """Record a step of a simulator's run.

        Raises:
            LogError: the disk is full.
        """
        trial, number, cost, x, u = step
        data = (self._step_text % (trial, number, cost, *x, *u)).encode()
        with self._lock:
            t_ns = self._sim_time()
            self._steps += 1
            self._sequence += 1
            batch = self._batch
            batch += MESSAGE.pack(5, len(data) + MESSAGE_BYTES, CHANNEL[STEP], self._sequence & 0xFFFFFFFF, t_ns, t_ns)
            batch += data
            if len(batch) > _BATCH_BYTES or time.monotonic_ns() > self._due:
                self._flush()

    def trial(self, summary: TrialSummary, last_cost: int) -> None:
        """Record the end of a trial of a simulator's run, with the cost word that end() saw.

        Raises:
            LogError: the disk is full.
        """
        with self._lock:
            self._message(CHANNEL[TRIAL], self._sim_time(), encode_ended(summary, last_cost))

    def state(self, label: str, head: bytes, mem: bytes) -> None:
        """Record the learner's buffers: "initial", "final", or "trial-000123" (after the end of that trial).

        Raises:
            LogError: the disk is full.
        """
        with self._lock:
            self._message(CHANNEL[STATE], self._now(), encode_state(State(label, bytes(head), bytes(mem))))

    def event(self, kind: str, text: str, **fields: Any) -> None:
        """Record that something happened: a hole, an exclusion, an error; `fields` says it for programs.

        Raises:
            LogError: the disk is full.
        """
        with self._lock:
            self._message(CHANNEL[EVENT], self._now(), encode_event(Event(kind, text, fields)))

    def timing(self, timing: Timing) -> None:
        """Record how well the host kept a trial's control period: clock = "host". A board's own is in its frames.

        Raises:
            LogError: the disk is full.
        """
        with self._lock:
            self._message(CHANNEL[TIMING], self._now(), encode_timing(timing))

    def flush(self) -> None:
        """Wait until everything that was recorded is in the partial file.

        Raises:
            LogError: the disk is full, or takes nothing for half a minute.
        """
        with self._lock:
            self._flush()
            if self._out is not None:
                self._out.flush()

    # -------------------------------------------------------------------------------------------- the end

    def close(self, progress: Progress | None = None) -> Path:
        """Decode, compress and index what was recorded; return the log's final name. Closing twice is harmless.

        Args:
            progress: called with 0..1 now and then.

        Raises:
            LogError: the disk is full; the partial file keeps the run, and `subsong recover` finishes the work.
        """
        if self._outcome is not None:
            return self._outcome
        self._stop()
        if self._broken:
            raise LogError(self._broken)
        try:
            data = self.partial.read_bytes()
        except OSError as error:
            raise LogError(f"Cannot close the run log: {self.partial} cannot be read ({error.strerror}).") from error
        try:
            messages = derive(self.header, _sound(LogFile(data, str(self.partial))).messages())
            write_closed(self.path, self.header, CLOSED, messages, bytes_in=2 * len(data), progress=progress)
        except LogError as error:
            raise LogError(
                f"{error} The run is safe in {self.partial}: put that right, then `subsong recover {self.partial}`."
            ) from error
        self.partial.unlink(missing_ok=True)
        self._outcome = self.path
        return self.path

    def abort(self) -> Path:
        """Stop recording and leave the partial file, which can be read and recovered; return its name.

        After close(), nothing happens; and close() after abort() does nothing either.
        """
        self._stop()
        self._outcome = self._outcome or self.partial
        return self._outcome

    def _stop(self) -> None:
        with self._lock:
            if self._out is None:
                return
            with contextlib.suppress(LogError):  # closing says it again
                self._flush()
            out, self._out = self._out, None
            self._broken = f"Closing the run log was interrupted: `subsong recover {self.partial}` does it."
            try:
                out.close()
            except LogError as error:
                self._broken = str(error)
            else:
                self._broken = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
            return
        if self._out is not None:
            with contextlib.suppress(LogError):  # closing says it again
                self.event("error", f"{type(error).__name__}: {error}".removesuffix(": "))
        try:
            self.close()
        except LogError as second:  # the first error is the one to show
            if str(second) != str(error):
                error.add_note(str(second))

    # -------------------------------------------------------------------------------------------- bytes

    def _now(self) -> int:
        return self._sim_time() if self._sim else self._clock()

    def _sim_time(self) -> int:
        return self.header.started_ns + self._steps * SIM_STEP_NS

    def _message(self, channel: int, t_ns: int, data: bytes) -> None:
        self._sequence += 1
        head = MESSAGE.pack(5, len(data) + MESSAGE_BYTES, channel, self._sequence & 0xFFFFFFFF, t_ns, t_ns)
        if self._batch:
            self._flush()
        self._hand_over(head + data)

    def _flush(self) -> None:
        if self._batch:
            batch = bytes(self._batch)
            self._batch.clear()
            self._hand_over(batch)
        self._due = time.monotonic_ns() + _BATCH_NS

    def _hand_over(self, records: bytes) -> None:
        if self._out is None:
            raise LogError(self._broken or f"The run log {self.path} is closed: nothing can be recorded any more.")
        self._out.put(records)


def require_room(path: Path) -> None:
    """Try whether a log can be begun at `path`, and leave nothing there: what fails should do so before a board runs.

    Raises:
        LogError: what Recorder would raise.
    """
    file = _create(path)
    partial = path.with_name(path.name + ".partial")
    try:
        write_all(file, bytes(_BEGINNING_BYTES))
    except OSError as error:
        raise _disk_error(partial, error) from error
    finally:
        os.close(file)
        partial.unlink()


def _disk_error(partial: Path, error: OSError) -> LogError:
    return LogError(
        f"Cannot write the run log {partial}: {error.strerror or error}. Make room, or choose another disk."
    )


def _create(path: Path) -> int:
    """Create a log's partial file; return its descriptor."""
    partial = path.with_name(path.name + ".partial")
    if path.exists():
        raise LogError(f"Cannot record to {path}: it exists already. Choose another name or move it away.")
    try:
        return os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    except FileExistsError:
        raise LogError(
            f"Cannot record to {path}: {partial} is there, from a run under way or one that was killed."
            f" Keep that run with `subsong recover {partial}`, or choose another name."
        ) from None
    except OSError as error:
        raise LogError(
            f"Cannot record to {path}: {error.strerror or error}. Is the folder there and writable?"
        ) from error


def _sound(log: LogFile) -> LogFile:
    """Return a log that has no problem.

    Raises:
        LogError: somebody else has written to the file, or the disk returns something else than was written.
    """
    if log.problems:
        raise LogError(f"{log.where} has been altered while it was recorded: {log.problems[0].text}.")
    return log


def _preamble(header: RunHeader) -> bytes:
    """Return what stands before the first message: MCAP's header, the run's, schemas and channels."""
    out = BytesIO()
    writer = Writer(out, use_chunking=False)
    writer.start(profile="", library=LIBRARY)
    writer.add_metadata(HEADER_NAME, header_metadata(header, RECORDING))
    register(writer, "board")  # all channels, so that their numbers are CHANNEL's
    writer.flush()  # type: ignore[no-untyped-call]
    return out.getvalue()
