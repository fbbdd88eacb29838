"""Compiled kernels under unicorn: the words of an architecture that no emulated board here runs, on bare memory.

Each buffer ends where its memory ends, or begins where it begins, from one call to the next: what reaches beyond it
stops the emulation. After each call the registers that belong to the caller, and the stack pointer, are as before.

As a Cortex-M0, unicorn executes Thumb-2 as well: that armv6m's words are its own, the emulated Pico and micro:bit show.
"""

from array import array
from collections.abc import Callable
from functools import cache
from typing import Any

import unicorn
from unicorn import arm_const as arm
from unicorn import riscv_const as riscv

from cases import Answer, Case, play
from subsong.compiler import Compiled, compile_kernels
from subsong_sim.engines import LocalLearner
from subsong_sim.loader import LEARNER_KERNELS, PACKAGE, TASK_KERNELS

PAGE = 0x1000
CODE, STACK, RETURN, BUFFERS = 0x10000, 0x2000_0000, 0x0800_0000, 0x3000_0000
APART = 0x100_0000
# The RP2's stack for a thread is 4 KB; a kernel has one page.
STACK_BYTES = PAGE


class Machine:
    """One emulated processor with a module's kernels in its memory: `machine.begin(head, mem)` as on any engine."""

    def __init__(self, compiled: Compiled) -> None:
        self.target = compiled.target
        self.thumb = compiled.target != "rv32imc"
        if self.thumb:
            self.uc = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
            model = arm.UC_CPU_ARM_CORTEX_M0 if compiled.target == "armv6m" else arm.UC_CPU_ARM_CORTEX_M4
            self.uc.ctl_set_cpu_model(model)
            self.arguments = [getattr(arm, f"UC_ARM_REG_R{n}") for n in range(4)]
            self.saved = [getattr(arm, f"UC_ARM_REG_R{n}") for n in range(4, 12)]
            self.sp, self.link = arm.UC_ARM_REG_SP, arm.UC_ARM_REG_LR
        else:
            self.uc = unicorn.Uc(unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV32)
            self.arguments = [getattr(riscv, f"UC_RISCV_REG_A{n}") for n in range(4)]
            self.saved = [getattr(riscv, f"UC_RISCV_REG_{n}") for n in ("GP", "TP", *(f"S{n}" for n in range(12)))]
            self.sp, self.link = riscv.UC_RISCV_REG_SP, riscv.UC_RISCV_REG_RA
        self.uc.mem_map(STACK - STACK_BYTES, STACK_BYTES)
        self.uc.mem_map(RETURN, PAGE, unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC)
        self.entries: dict[str, int] = {}
        self.calls = 0
        self.mapped: dict[int, int] = {}
        address = CODE
        for kernel in compiled.kernels:
            size = _pages(len(kernel.code))
            self.uc.mem_map(address, size, unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC)
            self.uc.mem_write(address, kernel.code)
            self.entries[kernel.name] = address
            address += size + PAGE

    def __getattr__(self, name: str) -> Callable[..., int]:
        if name.startswith("_") or name not in self.entries:
            raise AttributeError(name)
        return lambda *arguments: self.call(name, *arguments)

    def call(self, name: str, *arguments: "array[int] | bytearray | int") -> int:
        """Call a kernel as the inline assembler does; return its int32.

        Raises:
            AssertionError: it reached outside its buffers, or did not preserve what is the caller's.
        """
        self.calls += 1
        places: list[tuple[int, Any]] = []
        words = []
        for number, argument in enumerate(arguments):
            if isinstance(argument, int):
                words.append(argument & 0xFFFFFFFF)
            else:
                address = self.place(number, bytes(argument))
                places.append((address, argument))
                words.append(address)
        kept = [(register, 0x1357_9000 + 4 * n) for n, register in enumerate(self.saved)] + [(self.sp, STACK)]
        given = list(zip(self.arguments, words, strict=False))
        self.uc.reg_write_batch([*kept, *given, (self.link, RETURN | self.thumb)])
        try:
            self.uc.emu_start(self.entries[name] | self.thumb, RETURN)
        except unicorn.UcError as e:
            raise AssertionError(f"{self.target} {name}: {e}") from e
        *now, result = self.uc.reg_read_batch([*(register for register, _ in kept), self.arguments[0]])
        assert now == [value for _, value in kept], f"{self.target} {name}: lost its caller's registers or stack"
        for address, argument in places:
            if len(argument):
                memoryview(argument).cast("B")[:] = self.uc.mem_read(address, len(memoryview(argument).cast("B")))
        return int(((result & 0xFFFFFFFF) ^ 0x8000_0000) - 0x8000_0000)

    def place(self, number: int, content: bytes) -> int:
        """Write a buffer against the upper or the lower end of memory of its own; return its address."""
        base, size = BUFFERS + number * APART, _pages(len(content))
        if self.mapped.get(base) != size:
            if base in self.mapped:
                self.uc.mem_unmap(base, self.mapped[base])
            self.uc.mem_map(base, size)
            self.mapped[base] = size
        address = base + size - len(content) if self.calls & 1 else base
        self.uc.mem_write(address, content)
        return address


def _pages(size: int) -> int:
    return max(1, (size + PAGE - 1) // PAGE) * PAGE


@cache
def machine(module: str, called: tuple[str, ...], target: str) -> Machine:
    """Return the processor that holds a module's kernels; one for the test session."""
    return Machine(compile_kernels(module, called, target))


def tasks_machine(target: str) -> Machine:
    """Return the processor that holds the tasks' kernels."""
    return machine(f"{PACKAGE}.tasks", TASK_KERNELS, target)


class _UnicornLearner(LocalLearner):
    def __init__(self, case: Case, target: str) -> None:
        super().__init__(case.rule, case.head, case.mem, "cpython")
        self.kernels = machine(f"{PACKAGE}.learners.{case.rule}", LEARNER_KERNELS, target)


def unicorn_engine(target: str) -> Callable[[Case], list[Answer]]:
    """Return the engine of a target."""
    return lambda case: play(_UnicornLearner(case, target), case.trials)
