"""The `microbit` board: genuine micro:bit v1 firmware (MicroPython 1.9.2) on QEMU's nRF51, behind a serial port.

    with MicrobitBoard() as board:
        serial.Serial(board.path)

Its flash persists: QEMU writes it to a file before it ends, and begins with that file the next time. A board that is
killed loses what was written since it was started. docs/microbit.md says what it cannot show.
"""

import hashlib
import json
import os
import shutil
import socket
import tempfile
from pathlib import Path
from typing import Any, ClassVar

from subsong.errors import PortError
from subsong_hil.board import PROMPT, ProcessBoard
from subsong_hil.images import describe, image

EMULATOR = "qemu-system-arm"
INSTALL = "sudo apt-get install qemu-system-arm"
FLASH_BYTES = 256 * 1024
MONITOR_S = 5.0
MAIN_RUNS_S = 1.0  # without a prompt for so long, main.py is running


class MicrobitBoard(ProcessBoard):
    """A micro:bit v1 made of one QEMU process.

    Args:
        flash: the folder that keeps the flash, a file for each firmware image; by default `boards/microbit` of
            `cache_folder()`.
        heap: no choice here: the firmware decides.
        boot: let main.py run. Off by default: it is stopped by Ctrl-C.
        firmware: a MicroPython version or the path of a hex file; by default $SUBSONG_MICROBIT_FIRMWARE, else the
            newest known.
    """

    name = "microbit"
    available = "genuine micro:bit v1 firmware on an emulated nRF51; nothing to plug in"
    ring: ClassVar[int] = 63  # and QEMU sends faster than a wire would

    def __init__(
        self, flash: Path | None = None, heap: str | None = None, boot: bool = False, firmware: str | None = None
    ) -> None:
        super().__init__(flash, heap, boot)
        self.firmware = firmware
        self._kept = self.flash
        self._monitor: tempfile.TemporaryDirectory[str] | None = None

    @staticmethod
    def missing() -> str | None:
        """Return what is missing for this board to start, with the command that brings it; None if nothing is."""
        if os.name != "posix":
            return "needs pseudo-terminals: Linux or macOS"
        return None if shutil.which(EMULATOR) else f"needs QEMU: {INSTALL}"

    def command(self) -> list[str]:
        """Return QEMU's command line; the firmware is fetched where it is not here yet.

        Raises:
            PortError: the firmware cannot be had, or a heap was asked for.
        """
        if self.heap is not None:
            raise PortError("the microbit board's heap has the size that its firmware gives it; leave it out")
        firmware = image(self.name, self.firmware)
        self.details = describe(self.name, firmware)
        self._kept = self.flash / f"flash-{hashlib.sha256(firmware.read_bytes()).hexdigest()[:8]}.bin"
        # A short path: the name of a socket has 108 bytes.
        self._monitor = tempfile.TemporaryDirectory(prefix="microbit-")
        path, how = (self._kept, ",addr=0,force-raw=on") if self._kept.exists() else (firmware, "")
        path_of_option = str(path).replace(",", ",,")  # as QEMU quotes a comma
        return [
            *(EMULATOR, "-M", "microbit", "-display", "none", "-monitor", "none"),
            *("-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"),
            *("-qmp", f"unix:{self._monitor.name}/qmp,server=on,wait=off"),
            *("-device", f"loader,file={path_of_option}{how}"),
        ]

    def await_ready(self, slave: int) -> bytes:
        """Read what the board says up to its first prompt, stopping main.py; with `boot`, nothing."""
        if self.boot:
            return b""
        said = self.read_banner(slave, MAIN_RUNS_S)
        if not said.endswith(PROMPT) and self.running:
            os.write(slave, b"\x03")
            said += self.read_banner(slave)
        return said

    def stop(self) -> None:
        """Keep the flash, end the process, and release the port. May be called twice."""
        lost = self._keep_flash(Path(self._monitor.name) / "qmp") if self.running and self._monitor is not None else ""
        super().stop()
        self.complaints += lost.encode()
        if self._monitor is not None:
            self._monitor.cleanup()
            self._monitor = None

    def _keep_flash(self, monitor: Path) -> str:
        """Have QEMU write its flash beside the kept one, which it then replaces; return why not, where it cannot."""
        beside = self._kept.with_suffix(".new")
        try:
            with socket.socket(socket.AF_UNIX) as link:
                link.settimeout(MONITOR_S)
                link.connect(str(monitor))
                with link.makefile("rw", encoding="utf-8") as lines:
                    lines.readline()  # its greeting
                    _ask(lines, "qmp_capabilities")
                    _ask(lines, "stop")
                    _ask(lines, "memsave", val=0, size=FLASH_BYTES, filename=str(beside))
            beside.replace(self._kept)
        except (OSError, ValueError) as error:
            beside.unlink(missing_ok=True)
            return f"the flash was not kept: {error}"
        return ""


def _ask(lines: Any, what: str, **arguments: Any) -> None:
    """Send one command of QEMU's monitor protocol, and wait until it is done.

    Raises:
        ValueError: QEMU refused.
    """
    lines.write(json.dumps({"execute": what, "arguments": arguments}) + "\n")
    lines.flush()
    while line := lines.readline():
        answer = json.loads(line)
        if "return" in answer:
            return
        if "error" in answer:
            raise ValueError(f"{what}: {answer['error']}")
    raise ValueError(f"{what}: QEMU ended")
