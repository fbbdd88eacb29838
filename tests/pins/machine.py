"""A fake of MicroPython's `machine`: as much of it as drivers need, and on its pins the plant that `wiring` names.

An RP2's pins and ADC: 12 bits, the last of which is noise. Time is clock.py's. Runs under MicroPython and CPython.
"""

import time

import plants
from wiring import PLANT

PINS = 30
ADC_PINS = (26, 27, 28, 29)
plant = plants.NAMED.get(PLANT, plants.Plant)()
handlers = {}  # of interrupts, by pin
moved_us = 0
noise = 1


def move():
    """Let the plant move up to now."""
    global moved_us
    before, moved_us = moved_us, time.now_us
    plant.advance((moved_us - before) / 1e6)


def interrupt(pin, level):
    handler = handlers.get(pin)
    if handler is not None:
        handler(pin)


plant.on_level = interrupt
time.sleepers.append(move)


class Pin:
    IN, OUT, PULL_UP, PULL_DOWN, IRQ_FALLING, IRQ_RISING = 0, 1, 1, 2, 4, 8

    def __init__(self, number, mode=-1, pull=-1, *, value=None):
        if not 0 <= number < PINS:
            raise ValueError("invalid pin")
        self.number = number
        if value is not None:
            self.value(value)

    def value(self, level=None):
        if level is None:
            return plant.level.get(self.number, 0)
        move()
        plant.level[self.number] = int(level)
        return None

    def irq(self, handler=None, trigger=0, hard=False):
        handlers[self.number] = handler


class PWM:
    def __init__(self, pin, freq=0, duty_u16=0):
        self._pin = pin.number
        self.freq(freq)
        self.duty_u16(duty_u16)

    def freq(self, hz):
        plant.hz[self._pin] = hz

    def duty_u16(self, duty=None):
        if duty is None:
            return round(65535 * plant.duty[self._pin])
        if not 0 <= duty <= 65535:
            raise ValueError("duty_u16 must be from 0 to 65535")
        move()
        plant.duty[self._pin] = duty / 65535
        plant.driven |= duty > 0
        return None


class ADC:
    def __init__(self, pin):
        if pin.number not in ADC_PINS:
            raise ValueError("Pin doesn't have ADC capabilities")
        self._pin = pin.number

    def read_u16(self):
        global noise
        move()
        noise = (noise * 25173 + 13849) & 0xFFFF
        bit = noise >> 15 if plant.noisy else 0
        raw = min(max(int(4095 * plant.voltage(self._pin)) + bit, 0), 4095)
        return raw << 4 | raw >> 8
