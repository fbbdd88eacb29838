"""Emulated boards: real MicroPython on the host, behind a serial port.

`BOARDS` is all that the host package looks at (`subsong.ports`); a new board is one entry here.
"""

from collections.abc import Mapping

from subsong_hil.board import ProcessBoard
from subsong_hil.unix import UnixBoard

__all__ = ["BOARDS", "ProcessBoard", "UnixBoard"]

BOARDS: Mapping[str, type[ProcessBoard]] = {"unix": UnixBoard}
