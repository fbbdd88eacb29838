"""Saves on an emulated Pico, watched at its flash chip: every erase and every page, and how long the board took.

The board boots official firmware from a flash that MicroPython's own littlefs made (checkpoint_cuts.py), whose main.py
saves again and again.
"""

import struct
import subprocess
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from subsong.firmware import PACKAGE
from subsong.strip import strip_source
from subsong_hil.pico_machine import FILES_AT, FILES_END, PicoMachine

CUTS = Path(__file__).with_name("checkpoint_cuts.py")
MODULES = ("__init__", "checkpoint", "faults", "frames", "layout")
# A block of checkpoint_cuts.SHAPE; the real one would bring half the firmware, which this board compiles by itself.
MAIN = """
import time
from subsong_device.checkpoint import Slots
from subsong_device.layout import LAYER_WORDS, LAYERS_AT
class block:
    rule, n_sensors, n_actuators = 0, 2, 1
    regions = bytearray(4 * (LAYERS_AT + LAYER_WORDS)), bytearray(2 * 200), bytearray(2 * 5)
slots = Slots("run")
for n in range(1, {saves} + 1):
    for region in block.regions:
        for i in range(len(region)):
            region[i] = (n * 7 + i * n) & 0xFF
    t = time.ticks_us()
    slots.save(block, 0xC0FFEE11, 0, n, n, n)
    print("saved", time.ticks_diff(time.ticks_us(), t))
print("done")
"""
MOST_NS = 20e9  # of device time


class Watched(NamedTuple):
    """What happened.

    Attributes:
        image: a file, the flash's part for files at power-up.
        log: a file of every erase and every page of it since: address and size, 4 bytes each, and the bytes.
        writes: how many those are.
        save_us: device time of each save.
    """

    image: Path
    log: Path
    writes: int
    save_us: list[int]


def watch_saves(firmware: Path, micropython: str, folder: Path, saves: int) -> Watched:
    """Let an emulated Pico save, and write down what its flash chip does."""
    board, image, log = folder / "board", folder / "image", folder / "log"
    (board / PACKAGE).mkdir(parents=True)
    (board / "main.py").write_text(MAIN.format(saves=saves))
    for name in MODULES:
        source = resources.files(PACKAGE).joinpath(f"{name}.py").read_bytes()
        (board / PACKAGE / f"{name}.py").write_bytes(strip_source(source, name))
    run_cuts(micropython, "image", str(board), str(image))
    said = bytearray()
    machine = PicoMachine(firmware, image.read_bytes(), said.extend)
    writes: list[tuple[int, bytes]] = []
    _watch_chip(machine._mcu, writes)
    while b"done" not in said:
        assert machine.nanos < MOST_NS, said
        assert b"Traceback" not in said, said.decode()
        machine.run()
        machine.pass_time(min(machine.at_rest_ns, 1e6))
    log.write_bytes(b"".join(struct.pack("<II", at, len(piece)) + piece for at, piece in writes))
    took = [int(line.split()[1]) for line in said.decode().splitlines() if line.startswith("saved")]
    return Watched(image, log, len(writes), took)


def _watch_chip(mcu: Any, writes: list[tuple[int, bytes]]) -> None:
    """Keep what each command of the flash chip leaves where it erases or programs."""
    apply, flash = mcu.ssi._apply_command, mcu.flash

    def watched() -> None:
        before = bytes(flash[FILES_AT:FILES_END])
        apply()
        after = bytes(flash[FILES_AT:FILES_END])
        if before != after:
            first = next(i for i in range(0, len(after), 256) if before[i : i + 256] != after[i : i + 256])
            last = next(i for i in range(len(after), 0, -256) if before[i - 256 : i] != after[i - 256 : i])
            writes.append((first, after[first:last]))

    mcu.ssi._apply_command = watched


def run_cuts(micropython: str, *arguments: str) -> str:
    """Run checkpoint_cuts.py; return what it said."""
    done = subprocess.run(
        [micropython, "-X", "heapsize=64M", str(CUTS), *arguments],
        env={"MICROPYPATH": str(resources.files(PACKAGE).joinpath(".."))},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout
