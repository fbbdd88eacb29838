"""An emulated Raspberry Pi Pico: rp2040py's chip with genuine firmware, driven batch by batch, its USB told the truth.

    machine = PicoMachine(Path("RPI_PICO-20250415-v1.25.0.uf2"), None, print)
    while not machine.at_rest_ns:
        machine.run()

What differs from rp2040py's own devices, measured on 1.25.0:

- Its host answers every USB OUT transfer at once, with nothing if nothing is typed, so that the firmware serves USB
  interrupts without end: 10,000 passes of a loop take 145 ms of device time. Here the transfer waits until there is
  something to send, as on a bus: 47 ms.
- It has no start-of-frame ticks, for 16 of which the firmware keeps its first words back. Here it has.
- It jumps over the time in which the chip waits. Here the caller passes that time (`pass_time`), so that the chip's
  time-outs are not over before the host could say a word, and an idle board costs no processor.
- Its core is compiled, but each access to memory goes through Python's look-up of attributes. Here ordinary
  instructions do not (`thumb.py`): 20 times quicker, and the state is the same to the last bit and nanosecond.
"""

import dataclasses
import math
import time
from collections.abc import Callable
from pathlib import Path

from rp2040py.boards import BOARDS, FlashLayout
from rp2040py.clock.clock import IClock
from rp2040py.device import MicroPythonDevice
from rp2040py.execute_batch import execute_batch
from rp2040py.memory_map import FLASH_START_ADDRESS
from rp2040py.peripherals.usb import INTE, INTF, INTR_DEV_SOF, SOF_RD, RPUSBController

from subsong_hil.pico_core import OrdinaryCore, has_memory
from subsong_hil.thumb import CYCLE_NS

# Where MicroPython's RPI_PICO keeps its files: the last 1408 KB of 2 MB (MICROPY_HW_FLASH_STORAGE_BYTES).
FILES_AT = 0xA0000
FILES_END = 0x200000
BLOCK = 4096
LOOK_NS = 100_000.0  # of device time, between two looks whether the chip waits
ONE_BY_ONE = 1  # instructions between two looks at the alarms: exact time
FRAME_NS = 1e6
BATCH_S = 0.005  # of the host's time, in `run`
INPUT_ROOM = 512  # bytes taken ahead of the USB transfers that carry them


class PicoMachine:
    """A Pico that was powered up. It runs only inside `run`.

    Args:
        firmware: a MicroPython UF2 for RPI_PICO.
        files: the part of the flash that holds files, `FILES_END - FILES_AT` bytes; None: erased.
        on_output: called with what the board sends over USB.

    Attributes:
        connected: whether the firmware has taken its USB configuration since the last reset.
        at_rest_ns: how long the chip will do nothing unless spoken to, ns: 0 if it is at work, inf for ever.
    """

    def __init__(self, firmware: Path, files: bytes | None, on_output: Callable[[bytes], None]) -> None:
        layout = FlashLayout(FILES_AT, (FILES_END - FILES_AT) // BLOCK, BLOCK)
        self._device = MicroPythonDevice(board=dataclasses.replace(BOARDS["pico"], image=firmware, layout=layout))
        self._mcu = self._device.mcu
        self._clock = self._mcu.clock
        self._simulator = self._device.simulator
        if files is not None:
            self._mcu.flash[FILES_AT:FILES_END] = files
        self._input = bytearray()
        self._asked: tuple[int, int] | None = None  # the endpoint and size of an OUT transfer that waits
        self.connected = False
        self.at_rest_ns = 0.0
        usb = self._mcu.usb_ctrl
        assert usb.on_endpoint_read is not None  # the device's CDC host put them there
        assert usb.on_reset is not None
        self._answer_control, self._forget_host = usb.on_endpoint_read, usb.on_reset
        usb.on_endpoint_read, usb.on_reset = self._on_out_transfer, self._on_usb_reset
        _give_frames(usb, self._clock)
        self._device.cdc.on_device_connected = self._on_connected
        self._device.cdc.on_serial_data = lambda data: on_output(bytes(data))
        self._ordinary = OrdinaryCore(self._mcu) if has_memory(self._mcu) else None
        self._look = self._clock.create_alarm(self._on_look)
        self._mcu.core.pc = FLASH_START_ADDRESS

    @property
    def nanos(self) -> float:
        """Device time since power-up, ns."""
        return float(self._clock.nanos)

    @property
    def room(self) -> int:
        """How many bytes `send` takes now."""
        return INPUT_ROOM - len(self._input) if self.connected else 0

    def send(self, data: bytes) -> None:
        """Send bytes over USB, at most `room` of them."""
        self._input += data
        self._answer()

    def hold_pin(self, number: int, low: bool) -> None:
        """Connect a GPIO to ground, or let go of it."""
        if low:
            self._mcu.gpio[number].set_input_value(False)
        else:
            self._mcu.gpio[number].release_input()

    def run(self) -> None:
        """Execute for at most 5 ms of the host's time, or until the chip waits."""
        self.at_rest_ns = 0.0
        self._look.schedule(LOOK_NS)
        self._simulator.stopped = False
        if self._ordinary is not None and self._pio_stopped():
            self._execute(self._ordinary)
        else:
            execute_batch(self._simulator, ONE_BY_ONE)
        if self._mcu.core.waiting:
            self._look.cancel()
            self.at_rest_ns = self._clock.nanos_to_next_alarm if self._clock.has_scheduled_alarm else math.inf

    def _execute(self, ordinary: OrdinaryCore) -> None:
        """Do what rp2040py's execute_batch does, quicker, as long as the chip's PIO is off."""
        core, clock, simulator = self._mcu.core, self._clock, self._simulator
        until = time.perf_counter() + BATCH_S
        while not simulator.stopped and self._pio_stopped() and time.perf_counter() < until:
            nanos = clock.nanos_to_next_alarm
            if core.waiting:
                clock.tick(nanos)
                continue
            if not core.interrupts_updated:
                took = ordinary.run(nanos)
                clock.tick(took)
                if took >= nanos:
                    continue  # an alarm has gone off
            clock.tick(core.execute_instruction() * CYCLE_NS)

    def _pio_stopped(self) -> bool:
        first, second = self._mcu.pio
        return bool(first.stopped and second.stopped)

    def pass_time(self, nanos: float) -> None:
        """Let time pass while the chip waits, at most until it has something to do."""
        nanos = min(nanos, self.at_rest_ns)
        self.at_rest_ns -= nanos
        self._clock.tick(nanos)

    def files(self) -> bytes:
        """Return the part of the flash that holds files, as it would be after a power cut now."""
        return bytes(self._mcu.flash[FILES_AT:FILES_END])

    def _on_look(self) -> None:
        if self._mcu.core.waiting:
            self._simulator.stopped = True
        else:
            self._look.schedule(LOOK_NS)

    def _on_connected(self) -> None:
        self.connected = True

    def _on_usb_reset(self) -> None:
        self.connected = False
        self._asked = None
        self._input.clear()
        self._forget_host()

    def _on_out_transfer(self, endpoint: int, size: int) -> None:
        if endpoint == 0:
            self._answer_control(endpoint, size)
        else:
            self._asked = (endpoint, size)
            self._answer()

    def _answer(self) -> None:
        if self._asked is not None and self._input:
            endpoint, size = self._asked
            self._asked = None
            self.at_rest_ns = 0.0
            self._mcu.usb_ctrl.endpoint_read_done(endpoint, bytes(self._input[:size]))
            del self._input[:size]


def _give_frames(usb: RPUSBController, clock: IClock) -> None:
    """Interrupt the firmware at the start of each frame, every millisecond, while it asks for that.

    Reading the frame's number takes the interrupt back, as in the RP2040's data sheet (4.1.2.6).
    """
    read, write = usb.read_uint32, usb.write_uint32

    def on_frame() -> None:
        if read(INTE) & INTR_DEV_SOF:
            write(INTF, read(INTF) | INTR_DEV_SOF)
            alarm.schedule(FRAME_NS)

    def on_write(offset: int, value: int) -> None:
        before = read(INTE)
        write(offset, value)
        if offset == INTE and value & INTR_DEV_SOF & ~before:
            alarm.schedule(FRAME_NS)

    def on_read(offset: int) -> int:
        if offset == SOF_RD:
            write(INTF, read(INTF) & ~INTR_DEV_SOF)
        return int(read(offset))

    alarm = clock.create_alarm(on_frame)
    usb.read_uint32, usb.write_uint32 = on_read, on_write  # type: ignore[method-assign]  # the bus calls what it finds
