"""Compiled kernels as MicroPython source: inline-assembler functions that are all data.

The compiled function returns to the instruction after the call that leads into it, which jumps to the end, where the
assembler's own epilogue runs. Whatever the emitter puts around the words, they run as they are.
"""

import struct
from collections.abc import Iterator

from subsong.compiler.kernels import Compiled, Kernel
from subsong.compiler.targets import TARGETS

# Halfwords a line: a board parses line after line, and the longest one counts.
_A_LINE = 12


def assembler_module(compiled: Compiled) -> str:
    """Return a module of inline-assembler functions, of the kernels' names, that any stock firmware compiles."""
    target = TARGETS[compiled.target]
    lines = [f"# Subsong's kernels for {compiled.target}, compiled; {compiled.digest[:16]}"]
    for kernel in compiled.kernels:
        names = ", ".join(f"{target.registers}{number}" for number in range(len(kernel.parameters)))
        lines += [f"@micropython.{target.decorator}", f"def {kernel.name}({names}):"]
        lines += [f" {line}" for line in _WRAPPERS[target.decorator](kernel)]
    return "\n".join(["import micropython", *lines]) + "\n"


def _thumb(kernel: Kernel) -> Iterator[str]:
    # bl reaches megabytes, b 2 KB; the link register is of no use any more, since the epilogue returns by the stack.
    yield from ("bl(F)", "bl(END)", "align(4)", "label(F)")
    yield from _data(kernel.code)
    yield "label(END)"


def _riscv(kernel: Kernel) -> Iterator[str]:
    # The assembler saves nothing, not even the return address: a frame of our own keeps it, in words as well, since the
    # assembler's jumps reach 2 KB only.
    frame = struct.pack(
        "<HHIHHI",
        0x1141,  # addi sp, sp, -16
        0xC606,  # sw ra, 12(sp)
        _jal(1, 12),  # to the kernel
        0x40B2,  # lw ra, 12(sp)
        0x0141,  # addi sp, sp, 16
        _jal(0, 4 + len(kernel.code)),  # over it
    )
    yield from _data(frame + kernel.code)


def _jal(link: int, offset: int) -> int:
    """Return RISC-V's `jal`, which reaches 1 MB.

    Args:
        link: the register that takes the return address; 0 for none.
        offset: in bytes, from the instruction itself.
    """
    bits = ((offset >> 20) & 1) << 31 | ((offset >> 1) & 0x3FF) << 21 | ((offset >> 11) & 1) << 20
    return bits | ((offset >> 12) & 0xFF) << 12 | link << 7 | 0x6F


_WRAPPERS = {"asm_thumb": _thumb, "asm_rv32": _riscv}


def _data(code: bytes) -> Iterator[str]:
    words = struct.unpack(f"<{len(code) // 2}H", code)
    for at in range(0, len(words), _A_LINE):
        yield f"data(2,{','.join(f'0x{word:x}' for word in words[at : at + _A_LINE])})"
