"""The process behind `--port pico`: an emulated Pico whose USB serial port is standard input and output.

    python -m subsong_hil.pico_worker FIRMWARE.uf2 FLASH.img [--boot] [--watch FD]

FLASH.img holds the board's files, and is written whole and renamed: whoever kills this process finds what a power cut
a moment ago would have left. It ends cleanly on SIGTERM, and when the other end of the pipe FD is closed.
"""

import argparse
import errno
import os
import select
import signal
import sys
import time
from pathlib import Path

from subsong_hil.board import PROMPT
from subsong_hil.pico import SLOWDOWN
from subsong_hil.pico_machine import FILES_AT, FILES_END, PicoMachine

SAVE_S = 0.2  # between two looks whether the files changed
UNREAD = 65536  # bytes of output that nobody takes, after which the board's time stands still
REST_S = 1.0  # the longest sleep of a board that has nothing to do
KICK_NS = 50e6  # of device time, between two strokes of Ctrl-C on a board that is held
SKIP_PIN = 22  # low at power-on, it keeps a deployed policy from starting
CTRL_C = b"\x03"


class Worker:
    """The board, its terminal and its flash file."""

    def __init__(self, firmware: Path, flash: Path, boot: bool, watch: int | None) -> None:
        self.flash = flash
        self._saved = read_files(flash)
        self._next_save = 0.0
        self._unsent = bytearray()
        self._held = not boot
        self._next_kick = -1.0
        self._watch = [] if watch is None else [watch]
        self._ended = False
        self.machine = PicoMachine(firmware, self._saved, self._unsent.extend)
        if self._held:
            self.machine.hold_pin(SKIP_PIN, low=True)
        # A signal makes the pipe readable, which ends the wait in select.
        wake, ring = os.pipe()
        os.set_blocking(ring, False)
        signal.set_wakeup_fd(ring)
        signal.signal(signal.SIGTERM, self._on_term)
        self._watch.append(wake)
        for fd in (0, 1):
            os.set_blocking(fd, False)

    def _on_term(self, *_: object) -> None:
        self._ended = True

    def serve(self) -> None:
        """Run until the process is told to end."""
        machine = self.machine
        while not self._ended:
            if machine.at_rest_ns <= 0 and len(self._unsent) < UNREAD:
                machine.run()
            if self._held:
                self._hold()
            try:
                self._exchange()
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                self._ended = True  # nobody holds the other side of the terminal any more
            if time.monotonic() >= self._next_save:
                self._save()
        self._save()

    def _hold(self) -> None:
        """Press Ctrl-C until the prompt is there: what main.py began ends, and the terminal sees one clean prompt."""
        machine = self.machine
        if self._unsent.endswith(PROMPT):
            self._held = False
            machine.hold_pin(SKIP_PIN, low=False)
            self._unsent[:] = PROMPT
        elif machine.connected:
            if self._next_kick < 0:
                self._next_kick = machine.nanos + KICK_NS
            first = machine.at_rest_ns > 0 and not self._unsent
            if (first or machine.nanos >= self._next_kick) and machine.room:
                machine.send(CTRL_C)
                self._next_kick = machine.nanos + KICK_NS

    def _exchange(self) -> None:
        """Move bytes between the board and the terminal; where the board waits, wait for bytes or for its time."""
        machine = self.machine
        rest_s = min(machine.at_rest_ns / 1e9 * SLOWDOWN, SAVE_S if time.monotonic() < self._next_save else REST_S)
        if len(self._unsent) >= UNREAD:
            rest_s = REST_S
        readers = self._watch + ([0] if machine.room and not self._held else [])
        writers = [1] if self._unsent and not self._held else []
        began = time.perf_counter()
        readable, writable, _ = select.select(readers, writers, [], rest_s)
        if machine.at_rest_ns > 0:
            machine.pass_time((time.perf_counter() - began) * 1e9 / SLOWDOWN)
        if writable:
            del self._unsent[: os.write(1, self._unsent)]
        if 0 in readable:
            machine.send(os.read(0, machine.room))
        if any(fd in readable for fd in self._watch):
            self._ended = True

    def _save(self) -> None:
        """Write the files if they changed, so that a reader finds the old ones or the new ones."""
        files = self.machine.files()
        if files != self._saved:
            beside = self.flash.with_name(self.flash.name + ".new")
            beside.write_bytes(files)
            beside.replace(self.flash)
            self._saved = files
        self._next_save = time.monotonic() + SAVE_S


def read_files(flash: Path) -> bytes | None:
    """Return the flash file's content; None if there is no file yet."""
    if not flash.exists():
        return None
    files = flash.read_bytes()
    if len(files) != FILES_END - FILES_AT:
        raise ValueError(f"{flash} has {len(files)} bytes instead of {FILES_END - FILES_AT}; delete it")
    return files


def main() -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m subsong_hil.pico_worker")
    parser.add_argument("firmware", type=Path)
    parser.add_argument("flash", type=Path)
    parser.add_argument("--boot", action="store_true", help="let main.py run")
    parser.add_argument("--watch", type=int, help="a descriptor whose end ends the board")
    options = parser.parse_args()
    try:
        Worker(options.firmware, options.flash, options.boot, options.watch).serve()
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
