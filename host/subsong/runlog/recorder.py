"""Recording a run, so that a killed host loses nothing that it had recorded."""

import contextlib
import os
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mcap.writer import Writer

from subsong.errors import LogError
from subsong.runlog.codec import encode_ended, encode_event, encode_state, step_template
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
    TO_BOARD,
    TRIAL,
    header_metadata,
    seal,
)
from subsong.runlog.finish import LIBRARY, Progress, derive, register, write_closed
from subsong.runlog.lock import hold
from subsong.runlog.logfile import LogFile
from subsong.runlog.records import Event, RunHeader, State, Step
from subsong_sim.learner import TrialSummary

_SEAL_NS = 250_000_000
_SEAL_BYTES = 256 * 1024
_BATCH_BYTES = 64 * 1024  # of a simulator's steps
SIM_STEP_NS = 1_000_000  # a simulator has no clock: its log shows one step a millisecond


class Recorder:
    """Writes one run to `path`, through `path` + ".partial" while it is recorded.

    A frame is in the operating system's hands when `frame` returns, and so is a state or an event; a simulator's
    steps are handed over at the end of their trial, or each quarter of a second. So a killed process loses nothing of
    a board's run, and at most the trial under way of a simulator's. (A power cut is another matter: the disk is told
    to hurry on close only, since that takes milliseconds in which a board waits.)

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
        self._crc = self._covered = self._sealed = 0  # of what is not sealed yet; where that begins
        self._due = time.monotonic_ns() + _SEAL_NS
        self._broken = ""  # why nothing can be written any more
        self._outcome: Path | None = None  # what is left on the disk, once this recorder is done
        if self.path.exists():
            raise LogError(f"Cannot record to {self.path}: it exists already. Choose another name or move it away.")
        try:
            self._file = os.open(self.partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        except FileExistsError:
            raise LogError(
                f"Cannot record to {self.path}: {self.partial} is there, from a run under way or one that was killed."
                f" Keep that run with `subsong recover {self.partial}`, or choose another name."
            ) from None
        except OSError as error:
            raise LogError(
                f"Cannot record to {self.path}: {error.strerror or error}. Is the folder there and writable?"
            ) from error
        hold(self._file)
        try:
            self._write(_preamble(self.header))
            self._seal()
        except LogError:
            with contextlib.suppress(OSError):
                self.partial.unlink()
            raise

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
            if self._file >= 0:
                with contextlib.suppress(LogError):  # `_broken` remembers it, and close() says it
                    self._flush()
                    self._count_again()
                    self._seal()
            if self._file >= 0:
                os.close(self._file)
                self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
            return
        try:
            if self._file >= 0:
                self.event("error", f"{type(error).__name__}: {error}".removesuffix(": "))
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
        self._write(head + data)
        if time.monotonic_ns() > self._due or self._covered > _SEAL_BYTES:
            self._seal()

    def _flush(self) -> None:
        batch = bytes(self._batch)
        self._batch.clear()
        self._write(batch)
        if time.monotonic_ns() > self._due or self._covered > _SEAL_BYTES:
            self._seal()

    def _seal(self) -> None:
        """Vouch for what was written since the last seal."""
        if self._covered:
            self._write(seal(self._crc, self._covered))
            self._crc = self._covered = 0
            self._sealed = os.lseek(self._file, 0, os.SEEK_CUR)
        self._due = time.monotonic_ns() + _SEAL_NS

    def _count_again(self) -> None:
        """Count what the last seal shall cover from the file: Ctrl-C may have struck between a write and its count."""
        try:
            with self.partial.open("rb") as file:
                file.seek(self._sealed)
                data = file.read()
        except OSError:
            return  # somebody has removed it, and close() says so
        self._crc, self._covered = zlib.crc32(data), len(data)

    def _write(self, data: bytes) -> None:
        """Hand bytes to the operating system, all of them."""
        if self._file < 0:
            raise LogError(self._broken or f"The run log {self.path} is closed: nothing can be recorded any more.")
        try:
            written = os.write(self._file, data)
            while written < len(data):  # a disk that fills up takes a part first, and refuses the rest
                written += os.write(self._file, data[written:])
        except OSError as error:
            self._broken = (
                f"Cannot write the run log {self.partial}: {error.strerror or error}. What was recorded before is in"
                f" it: make room, then `subsong recover {self.partial}`."
            )
            os.close(self._file)  # behind a half-written record nothing may follow
            self._file = -1
            raise LogError(self._broken) from error
        self._crc = zlib.crc32(data, self._crc)
        self._covered += len(data)


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
