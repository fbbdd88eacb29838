"""The host's end of the pipe to the process that writes a recording (writer.py): nothing here waits for a disk."""

import contextlib
import os
import subprocess
import sys
import time
import weakref
from collections import deque
from pathlib import Path
from typing import NoReturn

from subsong.errors import LogError
from subsong.runlog.writer import FLUSH, FLUSHED
from subsong.runlog.writer import __file__ as program

PIPE_BYTES = 1 << 20  # what a killed host leaves to the writer; the most that Linux gives to everybody
HELD_BYTES = 64 << 20  # kept in memory while the pipe is full: 600,000 steps of CartPole
PIECE_BYTES = 1 << 16  # a call hands over no more of what is held: some 20 us
PATIENCE_S = 30.0  # at the end: how long a disk may take nothing


class Handover:
    """Hands records to a process of its own, which writes them to a file.

    Args:
        file: descriptor of the file, standing where the first record shall.
        name: what the file is called in errors.
        wait: True lets `put` wait for a slow disk, as a simulator can; False keeps what it does not take in memory.

    Attributes:
        broken: why nothing can be handed over any more; "" while all is well.
        process: the one that writes.
    """

    def __init__(self, file: int, name: Path, *, wait: bool) -> None:
        """Start the process.

        Raises:
            LogError: it does not start.
        """
        self.broken = ""
        self._name = name
        self._held: deque[bytearray] = deque()  # what comes behind that which is in the pipe
        self._held_bytes = 0
        try:
            # In a session of its own, where neither Ctrl-C nor a terminal that closes reaches it.
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", program],
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            raise LogError(
                f"Cannot record to {name}: the process that writes it, {sys.executable or 'Python'}, does not start"
                f" ({error.strerror or error})."
            ) from error
        assert self.process.stdin is not None and self.process.stderr is not None
        self._pipe, self._status = self.process.stdin.fileno(), self.process.stderr.fileno()
        self._let_go = weakref.finalize(self, _let_go, self.process)
        if sys.platform != "win32":  # where a pipe always waits
            os.set_blocking(self._pipe, wait)
            os.set_blocking(self._status, False)
        if sys.platform == "linux":
            import fcntl

            with contextlib.suppress(OSError):  # a user with very many pipes gets smaller ones
                fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    def put(self, records: bytes) -> None:
        """Hand over whole records.

        Raises:
            LogError: the disk is full, or has been stalled for HELD_BYTES; or the process was killed.
        """
        if self.broken:
            raise LogError(self.broken)
        if self._held:
            self._hold(records)
            self._push()
            if self._held_bytes > HELD_BYTES:
                self._break(f"its disk is stalled, and {HELD_BYTES >> 20} MiB wait for it in memory")
            return
        try:
            taken = os.write(self._pipe, records)
        except BlockingIOError:
            taken = 0
        except OSError:
            self._ended()
        if taken < len(records):
            self._hold(records[taken:])

    def flush(self) -> None:
        """Wait until everything that was handed over is in the file, and sealed.

        Raises:
            LogError: as `put`; or the disk took nothing for PATIENCE_S.
        """
        self.put(FLUSH)
        self._drain()
        until = time.monotonic() + PATIENCE_S
        while (told := self._told()) is None:
            if time.monotonic() > until:
                self._stalled()
            time.sleep(0.001)
        if told != FLUSHED:
            self._ended(told)

    def close(self) -> None:
        """Hand over what is left, and wait until it is written and the process has ended.

        Raises:
            LogError: as `flush`. A process that waits for its disk then goes on to wait, and writes what it was given.
        """
        try:
            self._drain()
            self._shut()
            if self.process.wait(PATIENCE_S):
                self._ended()
            if self.broken:  # by a disk that was stalled, and is not any more
                raise LogError(self.broken)
        except subprocess.TimeoutExpired:
            self._stalled()
        finally:
            self._let_go.detach()
            _close_pipes(self.process)

    def _hold(self, records: bytes) -> None:
        if not self._held or len(self._held[-1]) > PIECE_BYTES:
            self._held.append(bytearray())
        self._held[-1] += records
        self._held_bytes += len(records)

    def _push(self) -> bool:
        """Hand over a piece of what is held; return whether the pipe took any."""
        piece = self._held[0]
        try:
            taken = os.write(self._pipe, piece)
        except BlockingIOError:
            return False
        except OSError:
            self._ended()
        if taken < len(piece):
            del piece[:taken]
        else:
            self._held.popleft()
        self._held_bytes -= taken
        return True

    def _drain(self) -> None:
        """Hand over all that is held, as long as the pipe takes any."""
        until = time.monotonic() + PATIENCE_S
        while self._held:
            if self._push():
                until = time.monotonic() + PATIENCE_S
            elif time.monotonic() > until:
                self._stalled()
            else:
                time.sleep(0.001)

    def _shut(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def _told(self) -> bytes | None:
        """Return what the process says; b"" if it has ended, None if it says nothing."""
        try:
            return os.read(self._status, 4096)
        except BlockingIOError:
            return None

    def _stalled(self) -> NoReturn:
        self._break(f"its disk is stalled: it has taken nothing for {PATIENCE_S:g} s")

    def _ended(self, told: bytes | None = None) -> NoReturn:
        """Raise what the process, which has ended or is about to, gives as the reason."""
        told = (told or self._told() or b"").strip(FLUSHED)
        last = told.decode("utf-8", "replace").strip().rpartition("\n")[2]
        self._break(last or "the process that writes it was killed")

    def _break(self, why: str) -> NoReturn:
        self.broken = self.broken or (
            f"Cannot write the run log {self._name}: {why}. What was recorded before is in it: put that right, then"
            f" `subsong recover {self._name}`."
        )
        raise LogError(self.broken)


def _close_pipes(process: "subprocess.Popen[bytes]") -> None:
    """Let the process end, as it does by itself when it has written what it was given."""
    for pipe in (process.stdin, process.stderr):
        if pipe is not None:
            pipe.close()


def _let_go(process: "subprocess.Popen[bytes]") -> None:
    """End what nobody has closed."""
    _close_pipes(process)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(PATIENCE_S)
