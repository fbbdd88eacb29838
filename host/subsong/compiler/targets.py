"""The architectures that kernels are compiled for, under MicroPython's own names."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """One architecture, as LLVM and as MicroPython know it.

    Attributes:
        name: MicroPython's name, what `mpy-cross -march` takes.
        triple: LLVM's.
        cpu: what LLVM tunes for.
        features: LLVM's switches for the instruction set.
        decorator: of an inline-assembler function.
        registers: the first of its parameters; the others follow by number.
        options: LLVM's command-line options for this target.
        compact: short code rather than quick code, for boards with little memory.
    """

    name: str
    triple: str
    cpu: str
    features: str
    decorator: str
    registers: str
    options: tuple[str, ...] = ()
    compact: bool = False


# An `if` that LLVM turns into a choice of values becomes a branch again where there are no conditional moves, and both
# values were computed; where there are, both are. Left a branch: 0.93 of the cycles on armv7em, 0.90 on rv32imc (with
# 1 cycle an instruction and 3 a branch taken).
_BRANCHES = ("-phi-node-folding-threshold=0", "-two-entry-phi-node-folding-threshold=0")
# Eight registers: an arm of an `if` keeps its own last instruction, no register is kept for a constant, loops are
# judged by their instructions first, and what lives shortest gets its register first. Measured over all kernels,
# `make bench-board`.
_FEW_REGISTERS = (
    *_BRANCHES,
    "-simplifycfg-sink-common=false",
    "-disable-constant-hoisting",
    "-lsr-insns-cost",
    "-greedy-reverse-local-assignment",
)

TARGETS = {
    target.name: target
    for target in (
        Target("armv6m", "thumbv6m-none-eabi", "cortex-m0plus", "", "asm_thumb", "r", _FEW_REGISTERS),
        # The processor may lack a floating-point unit, or MicroPython may not save its registers: no kernel uses it.
        Target(
            "armv7em", "thumbv7em-none-eabi", "cortex-m4", "-vfp2sp,-fpregs,+soft-float", "asm_thumb", "r", _BRANCHES
        ),
        Target("rv32imc", "riscv32-unknown-elf", "generic-rv32", "+m,+c", "asm_rv32", "a", _BRANCHES),
    )
}
