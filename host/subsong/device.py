"""What a board says about itself, over its REPL."""

import ast
import re
from dataclasses import asdict, dataclass, fields
from typing import Any

from subsong.errors import BoardError
from subsong.ports import Port
from subsong.repl import Repl

DEVICE = """
import sys, gc
i = sys.implementation
d = {"name": i.name, "version": ".".join(str(n) for n in i.version if n != ""), "build": getattr(i, "_build", ""),
     "machine": getattr(i, "_machine", ""), "platform": sys.platform, "mpy": getattr(i, "_mpy", 0), "unique_id": ""}
try:
    from machine import unique_id
    from binascii import hexlify
    d["unique_id"] = hexlify(unique_id()).decode()
except (ImportError, AttributeError):
    pass
gc.collect()
d["heap_free"] = gc.mem_free()
print(d)
"""


LONGEST = 4096  # characters of an account that makes sense


@dataclass(frozen=True)
class DeviceInfo:
    """What a board says about itself: `heap_free` in bytes, `unique_id` in hex or empty, `mpy` its .mpy version."""

    name: str
    version: str
    build: str
    machine: str
    platform: str
    mpy: int
    heap_free: int
    unique_id: str

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON's types."""
        return asdict(self)


def device_info(port: Port) -> DeviceInfo:
    """Ask the board what it is.

    Raises:
        BoardError: no MicroPython answers, or one without what it takes to tell.
        PortError: the port failed.
    """
    with Repl(port) as repl:
        return ask_device(repl)


def ask_device(repl: Repl) -> DeviceInfo:
    """Do `device_info` in a REPL that is open."""
    output = repl.run(DEVICE).strip()
    try:
        device = DeviceInfo(**ast.literal_eval(output[:LONGEST]))
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        device = None
    if device is None or not _makes_sense(device):
        raise BoardError(f"port {repl.port.name}: the board's account of itself is garbled: {output[:200]!r}")
    return device


def _makes_sense(device: DeviceInfo) -> bool:
    """Return whether every field is what it should be: a board may say anything."""
    typed = all(type(getattr(device, each.name)) is each.type for each in fields(device))
    return typed and re.match(r"\d{1,4}(\.\d{1,4})*(\.|$)", device.version) is not None and len(device.version) < 40
