"""An emulated Pico in this process: what a script on it prints, and nothing between it and the core's cycles."""

import asyncio
import dataclasses
from pathlib import Path
from types import TracebackType
from typing import Self

from board.reference import BenchError
from rp2040py.boards import BOARDS
from rp2040py.device import MicroPythonDevice

CLOCK_HZ = 125_000_000
TIMEOUT_S = 300


class Pico:
    """Boots official firmware on an emulated RP2040 and runs scripts on its REPL, one after another.

    Args:
        firmware: UF2 image.
    """

    def __init__(self, firmware: Path) -> None:
        self._runner = asyncio.Runner()
        self._device = MicroPythonDevice(board=dataclasses.replace(BOARDS["pico"], image=firmware))

    def __enter__(self) -> Self:
        self._runner.run(self._device.astart())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._device.stop()
        self._runner.close()

    def run(self, script: str) -> str:
        """Return what a script prints; names that it binds are there for the next one.

        Raises:
            BenchError: it raised; the message is its traceback.
        """
        out, error = self._runner.run(self._device.aexec(script, timeout=TIMEOUT_S))
        if error:
            raise BenchError(f"on the emulated Pico:\n{error.decode()}")
        return out.decode()
