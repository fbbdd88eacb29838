"""The compiled core of the emulated Pico against rp2040py's: instructions, and genuine firmware from power-up on."""

import random
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from subsong_hil import pico_machine
from subsong_hil.pico_core import OrdinaryCore
from subsong_hil.pico_machine import PicoMachine
from subsong_hil.thumb import CYCLE_NS

pytest_plugins = ["subsong_hil.fixtures"]
pytestmark = pytest.mark.slow

RAM, RAM_BYTES = 0x20000000, 0x42000
CODE = RAM + 0x20000
SIO = 0xD0000000
# What may be in a register: numbers at every limit, and addresses in and around all that is addressed.
WORDS = (
    *(0, 1, 2, 31, 32, 33, 255, 256, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF9, 0xFFFFFFFE, 0xFFFFFFFF),
    *(RAM - 4, RAM, RAM + 0x123, CODE + 1, RAM + RAM_BYTES - 4, RAM + RAM_BYTES, 0, 0x102, 0x3FFC, 0x4000),
    *(0x10000000, 0x100000F1, 0x10FFFFFC, 0x11000000, 0x40054024, 0x40054028, 0x50100000),
    *(SIO + offset for offset in (0, 0x5C, 0x60, 0x64, 0x68, 0x6C, 0x70, 0x74, 0x78, 0x7C, 0xFC, 0x100, 0x17C, 0x180)),
)
WIDE = (0xF3BF, 0xF3EF, *range(0xF380, 0xF390))  # barriers, MRS, MSR
SECONDS = (0x8F4F, 0x8F5F, 0x8F6F, 0x8010, 0x8310, 0x8810, 0x8809, 0x8014)


class State(NamedTuple):
    registers: list[int]
    apsr: int
    primask: bool
    event: bool
    sio: list[int]
    stored: dict[int, int]  # words of RAM that are not what they were


class Chip:
    """A chip both cores of which execute from the same state."""

    def __init__(self, firmware: Path, words: list[int]) -> None:
        machine = PicoMachine(firmware, None, lambda _: None)
        self.mcu: Any = machine._mcu
        self.core = self.mcu.core
        self.ordinary = OrdinaryCore(self.mcu)
        self.ram = np.frombuffer(self.mcu.sram, np.uint32)
        self.ram[:] = np.resize(np.array(words, np.uint32), len(self.ram))
        self.before = self.ram.tobytes()

    def set(self, opcode: int, second: int) -> None:
        code = (CODE - RAM) // 4
        self.ram[code] = opcode | second << 16
        self.before = self.before[: 4 * code] + self.ram[code].tobytes() + self.before[4 * code + 4 :]

    def put(self, state: State, mode: int) -> None:
        core = self.core
        for i, value in enumerate(state.registers):
            core.registers[i] = value
        core.apsr, core.pm, core.event_registered, core.interrupts_updated = *state[1:4], False
        core.current_mode = mode
        self.mcu.sio.words[:] = state.sio

    def get(self) -> State:
        """Return the state; the RAM's words are again as they were."""
        core = self.core
        stored = {}
        if self.ram.tobytes() != self.before:
            before = np.frombuffer(self.before, np.uint32)
            stored = {int(i): int(self.ram[i]) for i in np.flatnonzero(self.ram != before)}
            self.ram[:] = before
        return State(
            list(core.registers), core.apsr, core.pm, core.event_registered, self.mcu.sio.words.tolist(), stored
        )


def test_instructions_do_what_they_do_on_rp2040pys_core(pico_firmware: Path) -> None:
    rng = random.Random(1)
    words = [*WORDS, *(rng.getrandbits(32) for _ in WORDS), *(RAM + rng.randrange(RAM_BYTES) for _ in WORDS)]
    chip = Chip(pico_firmware, words)
    opcodes = [(opcode, rng.getrandbits(16)) for opcode in rng.sample(range(0x10000), 0x3000)]
    opcodes += [(opcode, second) for opcode in WIDE for second in SECONDS for _ in range(4)]
    # Loads and stores have more in their operands than in their opcode.
    opcodes += [(rng.randrange(0x4000, 0xA000), 0) for _ in range(0x1000)]
    ordinary = 0
    for opcode, second in opcodes:
        chip.set(opcode, second)
        sp = RAM + rng.randrange(0, RAM_BYTES, 4)
        registers = [*rng.choices(words, k=13), sp, rng.choice(words), CODE + rng.randrange(2)]
        sio = [*rng.choices(words, k=4), 3, rng.getrandbits(32)]
        before = State(registers, rng.getrandbits(4) << 28, bool(rng.getrandbits(1)), False, sio, {})
        mode = rng.getrandbits(1)
        chip.put(before, mode)
        took_ns = chip.ordinary.run(1.0)
        after = chip.get()
        if took_ns == 0:
            assert after == before, hex(opcode)
            continue
        ordinary += 1
        chip.put(before, mode)
        assert took_ns == chip.core.execute_instruction() * CYCLE_NS, hex(opcode)
        assert after == chip.get(), (hex(opcode), hex(second), before)
    assert ordinary > len(opcodes) / 2


# Division, floats, hashes, strings, exceptions, machine code, interrupts off and on, a wait, and what the clock says.
PROGRAM = b"""
import machine, micropython, time
@micropython.viper
def turn(n: int) -> int:
    x = 1
    for i in range(n):
        x = (x * 48271 + 11) >> 1
    return x
@micropython.asm_thumb
def twice(r0):
    add(r0, r0, r0)
def f(n):
    d = {}
    for i in range(1, n):
        d[str(i)] = (i * 7919 % 10007 // 3, -i // 7, 355 / i, i ** 0.5, turn(i), twice(i))
        try:
            d[i // (i % 5)] = i << 40
        except ZeroDivisionError:
            machine.enable_irq(machine.disable_irq())
    time.sleep_us(700)
    return sorted(str(v) for v in d.values()), time.ticks_us()
print(f(12))
"""


class OneByOne:
    """Stands in for the compiled core: nothing is ordinary."""

    def run(self, _nanos: float) -> float:
        return 0.0


def played(firmware: Path, one_by_one: bool) -> tuple[bytes, float, list[int], bytes]:
    said = bytearray()
    machine = PicoMachine(firmware, None, said.extend)
    if one_by_one:
        machine._ordinary = OneByOne()  # type: ignore[assignment]

    def wait() -> None:
        while not machine.at_rest_ns:
            machine.run()

    while not said.endswith(b">>> "):
        wait()
        machine.pass_time(1e6)
    for part in (b"\x05", *(PROGRAM[i : i + 64] for i in range(0, len(PROGRAM), 64)), b"\x04"):
        machine.send(part)
        wait()
    while said.count(b">>> ") < 2:
        machine.pass_time(1e6)
        wait()
    return bytes(said), machine.nanos, list(machine._mcu.core.registers), bytes(machine._mcu.sram)


@pytest.fixture
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the chip run until it waits: how much fits into some ms of the host's is another thing each time."""
    monkeypatch.setattr(pico_machine, "BATCH_S", 1e9)


@pytest.mark.usefixtures("_no_pauses")
def test_firmware_boots_and_computes_to_the_same_nanosecond(pico_firmware: Path) -> None:
    said, *state = played(pico_firmware, one_by_one=False)
    assert b"Traceback" not in said
    assert b"(2639, -1, 355.0, 1.0, 24141, 2)" in said, said
    expected, *rest = played(pico_firmware, one_by_one=True)
    assert said == expected
    assert state == rest
