"""The core of the emulated Pico: compiled for what is ordinary (thumb.py), rp2040py's own for all else."""

from typing import Any

import numpy as np
from rp2040py.sio import RPSIO

from subsong_hil.thumb import CYCLE_NS, DIVISOR, MASK, SIO_WORDS, run_ordinary


def _word(index: int) -> property:
    def get(sio: Any) -> int:
        return int(sio.words[index])

    def put(sio: Any, value: float) -> None:
        sio.words[index] = int(value) & MASK

    return property(get, put)


class _SharedSIO(RPSIO):
    """rp2040py's SIO with the state of its divider and of its spin locks in an array."""

    div_dividend, div_divisor, div_quotient, div_remainder, div_csr, spin_lock = map(_word, range(SIO_WORDS))


def has_memory(mcu: Any) -> bool:
    """Return whether a chip's memories are buffers, as they are unless rp2040py is without its compiled modules."""
    return isinstance(mcu.bootrom, memoryview)


class OrdinaryCore:
    """The compiled core of a chip. It shares the memories and the state of rp2040py's.

    Args:
        mcu: a chip that `has_memory`; its SIO keeps part of its state in an array from now on.
    """

    def __init__(self, mcu: Any) -> None:
        self._core, self._clock, self._timer = mcu.core, mcu.clock, mcu.timer
        sio = mcu.sio
        sio.words = np.zeros(SIO_WORDS, np.int64)
        sio.words[DIVISOR] = 1
        sio.__class__ = _SharedSIO
        memories = [np.frombuffer(memory, np.uint32) for memory in (mcu.bootrom, mcu.flash, mcu.sram)]
        self._arrays = [np.asarray(mcu.core.registers), *memories, sio.words, np.zeros(16, np.int64)]
        self._addresses = [array.ctypes.data for array in self._arrays]

    def run(self, nanos: float) -> float:
        """Execute ordinary instructions until one is not, or until they have taken so many ns, by the last of them.

        No interrupt may be due. The clock stands still: the caller has to pass the time.

        Returns:
            What they took, ns.
        """
        core = self._core
        quiet = not (
            core.pending_interrupts & core.enabled_interrupts
            or core.pending_svcall
            or core.pending_pend_sv
            or core.pending_systick
            or core.pending_nmi
        )
        timer_ns = self._clock.nanos - self._timer._epoch_nanos  # noqa: SLF001  # before it divides
        done = run_ordinary(*self._addresses, core.apsr, core.pm, core.current_mode, quiet, timer_ns, nanos)
        if done & 1:
            core.event_registered = True
        core.pm = done & 2
        core.apsr = (done & 0x3C) << 26
        return float((done >> 6) * CYCLE_NS)
