"""Ordinary instructions of a Cortex-M0+, compiled: 20 times quicker than rp2040py's own core.

An instruction is ordinary if it reads and writes registers, flags and memory, and of what is around them only what
needs no Python: the SIO's divider and spin locks, the timer's count, PRIMASK where no interrupt waits for it. What is
computed here is what rp2040py's core computes, cycles and its deviations from ARM's included: tests/test_pico_core.py
compares the two.

Every value is an int64; registers and words of memory are in 0..2**32-1. All is in one file, since Numba compiles anew
what it has in its cache when that file has changed, and no other.
"""

import numpy as np
from numba import carray, cfunc, njit

CYCLE_NS = 8.0  # at 125 MHz
MASK = 0xFFFFFFFF
ROM_BYTES, FLASH_BYTES, RAM_BYTES = 0x4000, 0x1000000, 0x42000
FLASH, RAM = 0x10, 0x20  # an address's top byte; the ROM is at 0
SIO_PAGE = 0xD0000  # an address's top 20 bits
TIMER_HIGH, TIMER_LOW = 0x40054024, 0x40054028  # us
STR, STRH, STRB, LDRSB, LDR, LDRH, LDRB, LDRSH = range(8)
SP, LR, PC = 13, 14, 15
DIVIDEND, DIVISOR, QUOTIENT, REMAINDER, STATUS, LOCKS = range(6)  # the SIO's words here
SIO_WORDS = 6
inlined = njit(forceinline=True)


@inlined
def _word(at, rom, flash, ram):
    """Return the aligned word of memory that holds the byte at an address; -1 if none does."""
    top = at >> 24
    if top == RAM:
        if at & 0xFFFFFF < RAM_BYTES:
            return int(ram[(at & 0xFFFFFF) >> 2])
    elif top == FLASH:
        return int(flash[(at & 0xFFFFFF) >> 2])
    elif at < ROM_BYTES:
        return int(rom[at >> 2])
    return -1


@inlined
def _signed(value):
    return ((value & MASK) ^ 0x80000000) - 0x80000000


@inlined
def _add(a, b):
    """Return the sum and the flags n, z, c, v; b is at most 2**32."""
    total = a + b
    result = total & MASK
    return result, result >> 31, int(result == 0), int(total != result), int(_signed(total) != _signed(a) + _signed(b))


@inlined
def _subtract(a, b):
    """Return the difference and the flags n, z, c, v; b is at most 2**32."""
    result = (a - b) & MASK
    return result, result >> 31, int(result == 0), int(a >= b), ((a ^ b) & (a ^ result) & MASK) >> 31


@inlined
def _holds(condition, n, z, c, v):
    """Return whether a branch's condition holds; the lowest bit negates the others."""
    which = condition >> 1
    if which == 0:
        true = z
    elif which == 1:
        true = c
    elif which == 2:
        true = n
    elif which == 3:
        true = v
    elif which == 4:
        true = c & (z ^ 1)
    elif which == 5:
        true = n ^ v ^ 1
    else:
        true = (n ^ v ^ 1) & (z ^ 1)
    return true != condition & 1


@inlined
def _several(op, r, rom, flash, ram):
    """Execute PUSH, POP, STM or LDM; return its cycles, 0 if it is not ordinary."""
    low = op & 0xFF
    stack = op >> 12 == 0xB
    load = op >> 11 & 1
    extra = op >> 8 & 1 if stack else 0  # LR or PC
    count = extra
    for i in range(8):
        count += low >> i & 1
    base = SP if stack else op >> 8 & 7
    at = (r[base] - 4 * count) & MASK if stack and not load else r[base]
    if count == 0 or at & 3 or _word(at, rom, flash, ram) < 0:
        return 0
    end = at + 4 * count
    if _word(end - 4, rom, flash, ram) < 0 or (not load and at >> 24 != RAM):
        return 0
    if load and extra and _word(end - 4, rom, flash, ram) >> 28 == 0xF:
        return 0  # perhaps the return of an exception
    cycles = 1 + count - extra
    for i in range(8):
        if low >> i & 1:
            if load:
                r[i] = _word(at, rom, flash, ram)
            else:
                ram[(at & 0xFFFFFF) >> 2] = r[i]
            at += 4
    if extra and load:
        r[PC] = _word(at, rom, flash, ram) & ~1
        cycles += 2
    elif extra:
        ram[(at & 0xFFFFFF) >> 2] = r[LR]
    if stack:
        r[SP] = (end if load else end - 4 * count) & MASK & ~3
    elif not low >> base & 1:
        r[base] = end & MASK
    return cycles


@inlined
def _divide(sio, signed):
    """Compute quotient and remainder, as the RP2040's divider: towards 0."""
    dividend, divisor = sio[DIVIDEND], sio[DIVISOR]
    if divisor == 0:
        sio[QUOTIENT], sio[REMAINDER] = MASK if dividend else 1, dividend
    else:
        if signed:
            dividend, divisor = _signed(dividend), _signed(divisor)
        quotient = abs(dividend) // abs(divisor)
        if (dividend < 0) != (divisor < 0):
            quotient = -quotient
        sio[QUOTIENT], sio[REMAINDER] = quotient & MASK, (dividend - quotient * divisor) & MASK


@inlined
def _access_sio(load, rt, offset, r, sio):
    """Execute a load or a store of the SIO's divider or a spin lock, or a load of CPUID; return its cycles or 0."""
    if offset & 3:
        return 0
    word = (offset - 0x60) // 4  # dividend and divisor, unsigned; both, signed; quotient, remainder, status
    field = word & 1 if word < 4 else word - 2
    if offset == 0 and load:
        r[rt] = 0  # there is one core
    elif 0x60 <= offset <= 0x78 and load:
        r[rt] = sio[field]
        if field == QUOTIENT:
            sio[STATUS] &= ~2
    elif 0x60 <= offset < 0x78:
        sio[field] = r[rt]
        sio[STATUS] = 3
        if word < 4:
            _divide(sio, word >> 1)
    elif 0x100 <= offset < 0x180:
        lock = 1 << ((offset - 0x100) // 4)
        if load:
            r[rt] = lock & ~sio[LOCKS]
            sio[LOCKS] |= lock
        else:
            sio[LOCKS] &= ~lock
    else:
        return 0
    return 1


@inlined
def _access(kind, rt, at, r, sio, rom, flash, ram):
    """Execute a load or a store; return its cycles, 0 if it is not ordinary."""
    if at >> 12 == SIO_PAGE and kind in (LDR, STR):
        return _access_sio(kind == LDR, rt, at & 0xFFF, r, sio)
    word = _word(at, rom, flash, ram)
    size = 3 if kind in (STR, LDR) else 1 if kind in (STRH, LDRH, LDRSH) else 0
    if word < 0 or at & size:
        return 0
    shift = (at & 3) * 8
    if kind >= LDRSB:
        value = word >> shift
        if kind == LDRH:
            value &= 0xFFFF
        elif kind == LDRB:
            value &= 0xFF
        elif kind == LDRSB:
            value = ((value & 0xFF) ^ 0x80) - 0x80
        elif kind == LDRSH:
            value = ((value & 0xFFFF) ^ 0x8000) - 0x8000
        r[rt] = value & MASK
    elif at >> 24 == RAM:
        mask = MASK if kind == STR else (0xFFFF if kind == STRH else 0xFF) << shift
        ram[(at & 0xFFFFFF) >> 2] = (word & ~mask) | (r[rt] << shift & mask)
    else:
        return 0
    return 2


@inlined
def _shift(which, value, count, c):
    """Return a value shifted by a register's lowest byte (LSL, LSR, ASR, ROR), and the carry."""
    before = (count - 1) & 31
    if which == 0:
        result = value << count & MASK if count < 32 else 0
        if count:
            c = value >> ((32 - count) & 31) & 1
    elif which == 1:
        result = value >> count if count < 32 else 0
        c = value >> before & 1 if count <= 32 else 0
    elif which == 2:
        count = min(count, 32)
        result = _signed(value) >> count & MASK
        c = value >> ((count - 1) & 31) & 1
    else:
        count &= 31
        result = (value >> count | value << (32 - count)) & MASK
        c = result >> 31
    return result, c


@inlined
def _high_registers(op, r, in_handler):
    """Execute ADD, MOV, BX or BLX of any two registers; return its cycles, 0 if it is not ordinary."""
    source, target = op >> 3 & 15, op >> 4 & 8 | op & 7
    value = r[source]
    if op >> 8 & 3 == 3:
        linking = op & 0x80
        if op & 7 or (source == LR if linking else in_handler and value >> 28 == 0xF):
            return 0  # no instruction; rp2040py's BLX LR goes to the new LR; perhaps the return of an exception
        if linking:
            r[LR] = r[PC] | 1
        r[PC] = value & ~1
        return 2
    if source == PC:
        value += 2
    if op >> 8 & 3 == 0:
        value += r[target] + (2 if target == PC else 0)
    value &= MASK
    if target == PC:
        value &= ~1
    elif target == SP:
        value &= ~3
    r[target] = value
    return 2 if target == PC else 1


@inlined
def _wide(op, second, r, primask, quiet):
    """Execute BL, a barrier, MRS or MSR of PRIMASK; return its cycles, 0 if it is not ordinary, and PRIMASK."""
    cycles, after = 3, (r[PC] + 2) & MASK
    if second >> 14 == 3 and second & 0x1000:  # BL
        s = op >> 10 & 1
        i1, i2 = 1 - (s ^ second >> 13 & 1), 1 - (s ^ second >> 11 & 1)
        r[LR] = after | 1
        after += (i1 << 23 | i2 << 22 | (op & 0x3FF) << 12 | (second & 0x7FF) << 1) - (s << 24)
    elif op == 0xF3BF and second >> 4 in (0x8F4, 0x8F5, 0x8F6):  # DSB, DMB, ISB
        pass
    elif op == 0xF3EF and second & 0xF0FF == 0x8010 and second >> 8 & 15 < SP:
        r[second >> 8 & 15] = primask
    elif op >> 4 == 0xF38 and op & 15 < SP and second == 0x8810 and quiet:
        primask = r[op & 15] & 1
    else:
        cycles, after = 0, r[PC]
    r[PC] = after & MASK
    return cycles, primask


_ADDRESSES = ", ".join(["voidptr"] * 6)


@cfunc(f"int64({_ADDRESSES}, int64, int64, int64, int64, float64, float64)", cache=True)
def _run(
    registers_at, rom_at, flash_at, ram_at, sio_at, scratch_at, apsr, primask, in_handler, quiet, timer_ns, nanos
):  # fmt: skip
    """Execute ordinary instructions until one is not, or until they have taken so many ns, by the last of them.

    Args:
        registers_at: address of uint32[16], r0..r12, SP, LR, PC.
        rom_at, flash_at, ram_at: addresses of the memories' words.
        sio_at: address of int64[SIO_WORDS].
        scratch_at: address of int64[16], of no meaning between calls.
        apsr: the flags, N in bit 31, Z, C, V.
        primask: whether interrupts are off.
        in_handler: whether an exception is served: then a jump to 0xF....... returns from it.
        quiet: whether no interrupt is pending.
        timer_ns: what the timer has counted.
        nanos: to run.

    Returns:
        cycles << 6 | apsr >> 28 << 2 | primask << 1 | whether there was a SEV.
    """
    registers = carray(registers_at, (16,), np.uint32)
    rom = carray(rom_at, (ROM_BYTES // 4,), np.uint32)
    flash = carray(flash_at, (FLASH_BYTES // 4,), np.uint32)
    ram = carray(ram_at, (RAM_BYTES // 4,), np.uint32)
    sio = carray(sio_at, (SIO_WORDS,), np.int64)
    r = carray(scratch_at, (16,), np.int64)
    for i in range(16):
        r[i] = registers[i]
    n, z, c, v = apsr >> 31 & 1, apsr >> 30 & 1, apsr >> 29 & 1, apsr >> 28 & 1
    cycles = event = 0
    while cycles * CYCLE_NS < nanos:
        before = r[PC]
        pc = before & ~1
        op = _word(pc, rom, flash, ram) >> (pc & 2) * 8 & 0xFFFF  # 0xFFFF, which is no instruction, outside of memory
        r[PC] = (before + 2) & MASK
        rd, rm, r8 = op & 7, op >> 3 & 7, op >> 8 & 7
        imm8, top, took = op & 0xFF, op >> 11, 1
        if top <= 2:  # LSL, LSR, ASR by a number
            count = op >> 6 & 31
            if op >> 6:
                result, c = _shift(top, r[rm], count or 32, c)
            else:
                result = r[rm]
            r[rd] = result
            n, z = result >> 31, int(result == 0)
        elif top == 3:  # ADD, SUB of three operands
            operand = op >> 6 & 7
            if not op & 0x400:
                operand = r[operand]
            if op & 0x200:
                r[rd], n, z, c, v = _subtract(r[rm], operand)
            else:
                r[rd], n, z, c, v = _add(r[rm], operand)
        elif top == 4:  # MOV
            r[r8] = imm8
            n, z = 0, int(imm8 == 0)
        elif top == 5:  # CMP
            _, n, z, c, v = _subtract(r[r8], imm8)
        elif top == 6:  # ADD
            r[r8], n, z, c, v = _add(r[r8], imm8)
        elif top == 7:  # SUB
            r[r8], n, z, c, v = _subtract(r[r8], imm8)
        elif top == 8 and op < 0x4400:
            which, a, b = op >> 6 & 15, r[rd], r[rm]
            if which in (2, 3, 4, 7):  # LSL, LSR, ASR, ROR
                result, c = _shift(min(which - 2, 3), a, b & 0xFF, c)
            elif which == 5:  # ADC
                result, n, z, c, v = _add(b, a + c)
            elif which == 6:  # SBC
                result, n, z, c, v = _subtract(a, b + 1 - c)
            elif which == 9:  # RSB
                result, n, z, c, v = _subtract(0, b)
            elif which == 10:  # CMP
                result, n, z, c, v = _subtract(a, b)
            elif which == 11:  # CMN
                result, n, z, c, v = _add(a, b)
            elif which in (0, 8):  # AND, TST
                result = a & b
            elif which == 1:  # EOR
                result = a ^ b
            elif which == 12:  # ORR
                result = a | b
            elif which == 13:  # MUL
                result = a * b & MASK
            elif which == 14:  # BIC
                result = a & ~b
            else:  # MVN
                result = ~b & MASK
            n, z = result >> 31, int(result == 0)
            if which not in (8, 10, 11):
                r[rd] = result
        elif op >> 8 == 0x45:  # CMP of any two registers
            _, n, z, c, v = _subtract(r[op >> 4 & 8 | rd], r[op >> 3 & 15])
        elif top == 8:
            took = _high_registers(op, r, in_handler)
        elif top <= 19:  # loads and stores
            load = top & 1
            kind, rt, at = LDR if load else STR, rd, r[rm]
            if top == 9:
                rt, at = r8, ((r[PC] + 2) & ~3) + imm8 * 4
            elif top <= 11:
                kind, at = op >> 9 & 7, at + r[op >> 6 & 7]
            elif top <= 13:
                at += (op >> 6 & 31) * 4
            elif top <= 15:
                kind, at = LDRB if load else STRB, at + (op >> 6 & 31)
            elif top <= 17:
                kind, at = LDRH if load else STRH, at + (op >> 6 & 31) * 2
            else:
                rt, at = r8, r[SP] + imm8 * 4
            at &= MASK
            if kind == LDR and at in (TIMER_LOW, TIMER_HIGH):
                micros = int((timer_ns + cycles * CYCLE_NS) / 1000)
                r[rt] = micros >> 32 if at == TIMER_HIGH else micros & MASK
                took = 4
            else:
                took = _access(kind, rt, at, r, sio, rom, flash, ram)
        elif top == 20:  # ADR
            r[r8] = ((pc & ~3) + 4 + imm8 * 4) & MASK
        elif top == 21:  # ADD to SP
            r[r8] = (r[SP] + imm8 * 4) & MASK
        elif op >> 8 == 0xB0:  # SP plus or minus a number
            offset = (op & 0x7F) * 4
            r[SP] = (r[SP] - offset if op & 0x80 else r[SP] + offset) & MASK & ~3
        elif op >> 8 == 0xB2:  # SXTH, SXTB, UXTH, UXTB
            value = r[rm] & (0xFF if op & 0x40 else 0xFFFF)
            sign = 0 if op & 0x80 else 0x80 if op & 0x40 else 0x8000
            r[rd] = ((value ^ sign) - sign) & MASK
        elif op >> 6 == 0x2E8:  # REV
            value = r[rm]
            r[rd] = (value & 0xFF) << 24 | (value & 0xFF00) << 8 | value >> 8 & 0xFF00 | value >> 24
        elif op >> 9 in (0x5A, 0x5E) or top in (24, 25):
            took = _several(op, r, rom, flash, ram)
        elif 0xD000 <= op < 0xDE00:  # B, with a condition
            if _holds(op >> 8 & 15, n, z, c, v):
                r[PC] = (r[PC] + 2 + ((imm8 ^ 0x80) - 0x80) * 2) & MASK
                took = 2
        elif top == 28:  # B
            r[PC] = (r[PC] + 2 + (((op & 0x7FF) ^ 0x400) - 0x400) * 2) & MASK
            took = 2
        elif top == 30:
            second = max(_word(pc + 2, rom, flash, ram), 0) >> (pc + 2 & 2) * 8 & 0xFFFF
            took, primask = _wide(op, second, r, primask, quiet)
        elif op == 0xB672 or (op == 0xB662 and quiet):  # CPSID, CPSIE
            primask = op >> 4 & 1
        elif op == 0xBF40:  # SEV
            event = 1
        elif op != 0xBF00:  # NOP
            took = 0
        if took == 0:
            r[PC] = before
            break
        cycles += took
    for i in range(16):
        registers[i] = r[i]
    return cycles << 6 | n << 5 | z << 4 | c << 3 | v << 2 | primask << 1 | event


run_ordinary = _run.ctypes
