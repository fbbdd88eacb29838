"""The `pico` board: genuine Raspberry Pi Pico firmware on an emulated RP2040, behind a serial port.

    with PicoBoard() as board:
        serial.Serial(board.path)       # or: mpremote connect PATH

It boots the official MicroPython image, its flash persists, soft reset, Ctrl-C (0x03), Ctrl-D and machine.reset() do
what they do on hardware; only the port does not vanish during a reset. docs/emulated.md says what it cannot show.
"""

import importlib.util
import os
import signal
import sys
from pathlib import Path

from subsong.errors import PortError
from subsong_hil.board import ProcessBoard
from subsong_hil.images import describe, image

EMULATOR = "rp2040py"
INSTALL = "pip install rp2040py"
SLOWDOWN = 5.0  # 1 to 6 by what it does, on a core to itself; while the board waits, its clock is slowed by just this
FLASH_FILE = "flash.img"


class PicoBoard(ProcessBoard):
    """A Raspberry Pi Pico made of one rp2040py process.

    Args:
        flash: the folder that keeps `flash.img`, the board's files (littlefs, the last 1408 KB of the flash); by
            default `boards/pico` of `cache_folder()`.
        heap: no choice here: the firmware decides.
        boot: let main.py run. Off by default: it is stopped by Ctrl-C, and GP22 is held low until the prompt.
        firmware: a MicroPython version or the path of a UF2; by default $SUBSONG_PICO_FIRMWARE, else the newest known.
    """

    name = "pico"
    available = "genuine Raspberry Pi Pico firmware on an emulated RP2040; nothing to plug in"
    slowdown = SLOWDOWN
    start_timeout_s = 60.0  # the first one on a machine compiles the core
    death_signal = signal.SIGTERM  # it saves its flash, then ends

    def __init__(
        self, flash: Path | None = None, heap: str | None = None, boot: bool = False, firmware: str | None = None
    ) -> None:
        super().__init__(flash, heap, boot)
        self.firmware = firmware

    @staticmethod
    def missing() -> str | None:
        """Return what is missing for this board to start, with the command that brings it; None if nothing is."""
        if os.name != "posix":
            return "needs pseudo-terminals: Linux or macOS"
        return None if importlib.util.find_spec(EMULATOR) else f"needs rp2040py: {INSTALL}"

    def command(self) -> list[str]:
        """Return the emulator's command line; its firmware is fetched where it is not here yet.

        Raises:
            PortError: the firmware cannot be had, or a heap was asked for.
        """
        if self.heap is not None:
            raise PortError("the pico board's heap has the size that its firmware gives it; leave it out")
        firmware = image(self.name, self.firmware)
        self.details = describe(self.name, firmware)
        command = [sys.executable, "-P", "-m", "subsong_hil.pico_worker", str(firmware), str(self.flash / FLASH_FILE)]
        return command + (["--boot"] if self.boot else []) + ["--watch", str(self.watched)]
