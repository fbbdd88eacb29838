"""An emulated Pico within this process, whose pins a test reads and drives."""

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from subsong_hil.pico_machine import PicoMachine

MOST_NS = 60e9  # of device time, for one command
SUPPLY = 4095  # what the converter reads then


class PinnedPico:
    """A Pico at its raw REPL.

    Attributes:
        nanos: device time, ns.
    """

    def __init__(self, firmware: Path) -> None:
        self._said = bytearray()
        self._machine = PicoMachine(firmware, None, self._said.extend)
        self._mcu: Any = self._machine._mcu
        self._convert = self._mcu.adc.on_adc_read
        self._until(b">>> ")
        self._send(b"\x01")
        self._until(b"exit\r\n>")

    @property
    def nanos(self) -> float:
        return self._machine.nanos

    def run(self, code: str) -> str:
        """Run code; return what it printed. Raises AssertionError: it raised an exception."""
        self._send(code.encode() + b"\x04")
        self._until(b"\x04>")
        printed, error, _ = bytes(self._said).removeprefix(b"OK").split(b"\x04")
        self._said.clear()
        assert not error, error.decode()
        return printed.decode()

    def write(self, path: str, content: str) -> None:
        self.run(f"with open({path!r}, 'w') as file:\n file.write({content!r})")

    def duty(self, pin: int) -> float:
        """Return the duty of a pin's PWM, 0 to 1."""
        channel = self._mcu.pwm.channels[pin >> 1 & 7]
        compare = channel.cc >> 16 if pin & 1 else channel.cc & 0xFFFF
        return float(compare / (channel.top + 1))

    def level(self, pin: int) -> int:
        """Return what a pin puts out."""
        return int(self._mcu.gpio[pin].output_value)

    def drive(self, pin: int, level: int) -> None:
        """Put a level on a pin from outside."""
        self._mcu.gpio[pin].set_input_value(bool(level))

    def wire(self, channel: int, voltage: Callable[[], float]) -> None:
        """Have the converter ask for a channel's voltage, a part of the supply."""
        adc = self._mcu.adc

        def read(asked: int) -> None:
            adc.channel_values[channel] = round(SUPPLY * voltage())
            self._convert(asked)

        adc.on_adc_read = read

    def on_duty(self, call: Callable[[], None]) -> None:
        """Call after each change of the PWM's registers."""
        pwm = self._mcu.pwm
        write = pwm.write_uint32

        def on_write(offset: int, value: int) -> None:
            write(offset, value)
            call()

        pwm.write_uint32 = on_write

    def at_intervals(self, us: float, calls: Iterable[Callable[[], None]]) -> None:
        """Call one after the other, so many us of device time apart, while the board does what it does."""
        left = iter(calls)

        def on_time() -> None:
            call = next(left, None)
            if call is not None:
                call()
                alarm.schedule(us * 1000)

        alarm = self._mcu.clock.create_alarm(on_time)
        alarm.schedule(us * 1000)

    def pass_ms(self, ms: float) -> None:
        """Let time pass, at the prompt."""
        end = self.nanos + ms * 1e6
        while self.nanos < end:
            self._go_on(end)

    def _send(self, data: bytes) -> None:
        self._said.clear()
        for i in range(0, len(data), 64):
            while not self._machine.room:
                self._go_on(math.inf)
            self._machine.send(data[i : i + 64])

    def _until(self, end: bytes) -> None:
        most = self.nanos + MOST_NS
        while not self._said.endswith(end):
            assert self.nanos < most, bytes(self._said)
            self._go_on(most)

    def _go_on(self, until: float) -> None:
        if not self._machine.at_rest_ns:
            self._machine.run()
        self._machine.pass_time(min(self._machine.at_rest_ns, 1e6, max(until - self.nanos, 0.0)))
