"""What every emulated board has: a child process behind a pseudo-terminal, a flash folder with a lock, start and stop.

The child has the *master* side of the terminal as its standard input and output; every tool opens the slave side, as
it would open `/dev/ttyACM0`. The slave is raw before the child starts, or the terminal would echo and swallow Ctrl-C.
A new board derives from `ProcessBoard` and says how its child is started (`command`) and when it is ready
(`await_ready`).
"""

import fcntl
import math
import os
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
import tty
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import IO, ClassVar, Self

from subsong.cache import cache_folder
from subsong.errors import PortError
from subsong.ports import SLOWDOWN_MARK

LOCK_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 5.0
WATCH_MS = 50  # between two looks whether a process that says nothing still lives
PROMPT = b">>> "
F_SETSIG = 10  # Linux; CPython's fcntl has no name for it


def _is_gone(pid: str) -> bool:
    """Return whether a process is known to have ended."""
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (ValueError, PermissionError):
        return False
    return False


class ProcessBoard(ABC):
    """A board made of one process. Its flash lies in a folder, so what is deployed outlives the process.

    Args:
        flash: the folder for the board's flash; by default `boards/NAME` of `cache_folder()`.
        heap: size of the heap, for boards that have a choice.
        boot: run `main.py` from the flash before the prompt, as boards do at power-on. Off by default, which is a
            board with its skip pin held: the prompt is there at once.

    Attributes:
        name: what --port calls it.
        available: what `subsong boards` says of it.
        slowdown: the host's patience is multiplied by this: how many times slower than real the board runs.
        ring: bytes that its driver holds for a program that does not read, where they are so few that the host must
            pace itself; else 0.
        details: which firmware it runs, where there is a choice; known once it was started.
        complaints: after `stop`, what the child wrote to its standard error; nothing where that is the console.
    """

    name: ClassVar[str]
    available: ClassVar[str]
    slowdown: float = 1.0
    ring: ClassVar[int] = 0
    death_signal: ClassVar[int] = signal.SIGKILL  # of a child whose parent died
    start_timeout_s: ClassVar[float] = 20.0  # until the first prompt
    stderr_is_console: ClassVar[bool] = False  # else what the child complains of is kept for error messages

    def __init__(self, flash: Path | None = None, heap: str | None = None, boot: bool = False) -> None:
        self.flash = (flash if flash is not None else cache_folder() / "boards" / self.name).absolute()
        self.heap = heap
        self.boot = boot
        self._path = ""
        self._child: subprocess.Popen[bytes] | None = None
        self._fds: list[int] = []
        self._complaints: IO[bytes] | None = None
        self._watched = -1
        self.complaints = b""
        self.details = ""

    # ------------------------------------------------------------------------------------------ what a board says

    @staticmethod
    @abstractmethod
    def missing() -> str | None:
        """Return what is missing for this board to start, with the command that brings it; None if nothing is."""

    @abstractmethod
    def command(self) -> list[str]:
        """Return the child's command line. The board's settings are checked here, and its image is fetched here.

        Raises:
            PortError: a setting is wrong, or the board's firmware cannot be had.
        """

    def environment(self) -> dict[str, str]:
        """Return the child's environment."""
        return dict(os.environ)

    def await_ready(self, slave: int) -> bytes:
        """Read what the board says up to its first prompt; with `boot`, nothing.

        Returns:
            What it said: the board is ready if that ends with `PROMPT`, or with `boot`.
        """
        return b"" if self.boot else self.read_banner(slave)

    # ------------------------------------------------------------------------------------------ what every board does

    @property
    def path(self) -> str:
        """The serial port's path, for any tool."""
        return self._path

    @property
    def pid(self) -> int | None:
        """The process's id; None before `start` and after `stop`."""
        return self._child.pid if self._child else None

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._child is not None and self._child.poll() is None

    @property
    def watched(self) -> int:
        """A descriptor that the child inherits; it reads as ended as soon as the parent is dead."""
        return self._watched

    def wait(self, timeout_s: float) -> int | None:
        """Return the process's exit status (negative: the signal), or None if it still runs after so many seconds."""
        if self._child is None:
            return None
        try:
            return self._child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def start(self) -> Self:
        """Start the process.

        Raises:
            PortError: a program or its firmware is missing, another process uses this flash folder, a setting is
                wrong, or the board does not come to its prompt.
        """
        if self.running:
            return self
        if why := self.missing():
            raise PortError(f"the {self.name} board cannot start: it {why}")
        try:
            self.flash.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PortError(
                f"the {self.name} board's flash {self.flash} cannot be made: {error.strerror}; set SUBSONG_CACHE to a "
                "folder that can be written"
            ) from error
        lock = self._lock()
        self._watched, held = os.pipe()
        master, slave = os.openpty()
        # Our slave stays open: with no slave at all, the child would read an I/O error between two tools' visits.
        self._fds = [lock, held, slave]
        try:
            try:
                set_raw(slave)
                # Every tool of ours that opens the port learns of its patience there, whoever started the board.
                size = struct.pack("HHHH", self.ring, 0, math.ceil(self.slowdown), SLOWDOWN_MARK)
                fcntl.ioctl(slave, termios.TIOCSWINSZ, size)
                self._path = os.ttyname(slave)
                self._spawn(self.command(), master, lock)
            finally:
                os.close(self._watched)
            self._require_prompt(self.await_ready(slave))
        except BaseException:
            self.stop()
            raise
        finally:
            # Only now: with the last master goes what was not read yet, such as the reason why there is no prompt.
            os.close(master)
        return self

    def _spawn(self, command: list[str], master: int, lock: int) -> None:
        if not self.stderr_is_console:
            self._complaints = tempfile.TemporaryFile()  # noqa: SIM115  # closed by stop
        try:
            self._child = subprocess.Popen(
                command,
                stdin=master,
                stdout=master,
                stderr=self._complaints or master,
                cwd=self.flash,
                env=self.environment(),
                pass_fds=(self._watched, lock),
                start_new_session=True,
            )
        except OSError as error:
            raise PortError(f"the {self.name} board cannot start {command[0]}: {error.strerror}") from error
        # When this process dies, however it dies, the pipe's other end closes and the kernel ends the child, even in
        # a loop that never touches its console. (A prctl death signal would follow the thread, not the process.)
        if sys.platform == "linux":
            fcntl.fcntl(self._watched, fcntl.F_SETOWN, self._child.pid)
            fcntl.fcntl(self._watched, F_SETSIG, self.death_signal)
            fcntl.fcntl(self._watched, fcntl.F_SETFL, fcntl.fcntl(self._watched, fcntl.F_GETFL) | os.O_ASYNC)

    def _require_prompt(self, said: bytes) -> None:
        if self.boot or said.endswith(PROMPT):
            return
        status = self.wait(0)
        self.stop()
        text = (said + self.complaints).decode("utf-8", "replace").strip()
        if status is None:
            why = f"its firmware printed no prompt; if a main.py keeps it from that, delete {self.flash}"
        else:
            why = f"its process ended with status {status}"
        raise PortError(f"the {self.name} board cannot start: {why}{text and ': ' + text[-500:]}")

    def read_banner(self, slave: int, timeout_s: float | None = None) -> bytes:
        """Read up to the first prompt, or all there is if the process ends: later the board does what its port says."""
        poller = select.poll()
        poller.register(slave, select.POLLIN)
        said = b""
        until = time.monotonic() + (self.start_timeout_s if timeout_s is None else timeout_s)
        while not said.endswith(PROMPT) and time.monotonic() < until:
            ended = not self.running  # asked before the last look, which then misses nothing
            if poller.poll(0 if ended else WATCH_MS):
                said += os.read(slave, 4096)
            elif ended:
                break
        return said

    def _lock(self) -> int:
        """Take the flash folder's lock. The child inherits it, so that a dying board still counts as busy."""
        path = self.flash.with_name(self.flash.name + ".lock")
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        until = time.monotonic() + LOCK_TIMEOUT_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                holder = os.pread(lock, 32, 0).decode("ascii", "replace").strip()
                # Of a host that was killed, the board follows in a moment.
                if not _is_gone(holder) or time.monotonic() > until:
                    os.close(lock)
                    who = f" by process {holder}" if holder else ""
                    raise PortError(
                        f"the {self.name} board is busy: its flash {self.flash} is in use{who}. "
                        "Stop that one, or set SUBSONG_CACHE to another folder for a second board"
                    ) from None
                time.sleep(0.01)
            except OSError as error:
                os.close(lock)
                raise PortError(f"the {self.name} board cannot lock {path}: {error.strerror}") from error
        os.truncate(lock, 0)
        os.pwrite(lock, b"%d\n" % os.getpid(), 0)
        return lock

    def interrupt(self) -> bool:
        """Press Ctrl-C where the byte 0x03 alone is not enough; return whether a program was stopped by it."""
        return False

    def kill(self) -> None:
        """Cut the power: SIGKILL, and wait until the process is gone. The port stays, dead, until `stop`."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()

    def stop(self) -> None:
        """End the process and release the port and the flash. May be called twice."""
        if self._child is not None and self.running:
            self._child.terminate()
            if self.wait(STOP_TIMEOUT_S) is None:
                self.kill()
        for fd in self._fds:
            os.close(fd)
        self._fds = []
        if self._complaints is not None:
            self._complaints.seek(0)
            self.complaints = self._complaints.read()
            self._complaints.close()
            self._complaints = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def set_raw(slave: int) -> None:
    """Make the terminal a plain pipe of bytes, whatever part of its settings a child turns on again."""
    tty.setraw(slave)
    attributes = termios.tcgetattr(slave)
    attributes[1] = 0  # output flags: an emulator that asks for post-processing must not get CR before LF
    termios.tcsetattr(slave, termios.TCSANOW, attributes)
