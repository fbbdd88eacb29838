"""Emulated boards: real MicroPython on the host, behind a serial port.

`BOARDS` and `announced` are all that the host package looks at (`subsong.ports`); a new board is one entry here.
"""

from collections.abc import Mapping

from subsong_hil.announced import announced
from subsong_hil.board import ProcessBoard
from subsong_hil.microbit import MicrobitBoard
from subsong_hil.pico import PicoBoard
from subsong_hil.unix import UnixBoard

__all__ = ["BOARDS", "MicrobitBoard", "PicoBoard", "ProcessBoard", "UnixBoard", "announced"]

BOARDS: Mapping[str, type[ProcessBoard]] = {"microbit": MicrobitBoard, "pico": PicoBoard, "unix": UnixBoard}
