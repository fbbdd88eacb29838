"""A Cortex-M0+ that is compiled: runs of ordinary instructions, fifty times quicker than rp2040py's own core.

An instruction is ordinary if it reads and writes registers, flags and memory, and nothing else: no peripheral, no
exception, no special register. `run_ordinary` executes them until it meets another one, which it leaves, untouched, to
rp2040py's core. What it computes is what that core computes, cycles included, and its deviations from ARM's as well:
tests/test_pico_core.py compares the two over every opcode, and over a boot.

Every value here is an int64; registers and words of memory are in 0..2**32-1.
"""

import numpy as np
from numba import carray, cfunc, njit
from rp2040py.sio import RPSIO

MASK = 0xFFFFFFFF
CYCLE_NS = 8.0  # at 125 MHz
ROM_BYTES = 0x4000
TIMER_HIGH, TIMER_LOW = 0x40054024, 0x40054028  # microseconds
FLASH_BYTES = 0x1000000
RAM_BYTES = 0x42000
FLASH = 0x10  # the address's top byte
RAM = 0x20
STR, STRH, STRB, LDRSB, LDR, LDRH, LDRB, LDRSH = range(8)
SP, LR, PC = 13, 14, 15
DIVIDEND, DIVISOR, QUOTIENT, REMAINDER, STATUS, LOCKS = range(6)  # of the SIO


@njit(forceinline=True)
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


@njit(forceinline=True)
def _signed(value):
    return ((value & MASK) ^ 0x80000000) - 0x80000000


@njit(forceinline=True)
def _add(a, b):
    """Return the sum and the flags n, z, c, v; b is at most 2**32."""
    total = a + b
    result = total & MASK
    return result, result >> 31, int(result == 0), int(total != result), int(_signed(total) != _signed(a) + _signed(b))


@njit(forceinline=True)
def _subtract(a, b):
    """Return the difference and the flags n, z, c, v; b is at most 2**32."""
    result = (a - b) & MASK
    return result, result >> 31, int(result == 0), int(a >= b), ((a ^ b) & (a ^ result) & MASK) >> 31


@njit(forceinline=True)
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


@njit(forceinline=True)
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


@njit(forceinline=True)
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


@njit(forceinline=True)
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


@njit(forceinline=True)
def _access(kind, rt, at, r, sio, rom, flash, ram):
    """Execute a load or a store; return its cycles, 0 if it is not ordinary."""
    if at >> 12 == 0xD0000 and (kind == LDR or kind == STR):
        return _access_sio(kind == LDR, rt, at & 0xFFF, r, sio)
    word = _word(at, rom, flash, ram)
    size = 3 if kind == STR or kind == LDR else 1 if kind == STRH or kind == LDRH or kind == LDRSH else 0
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


@njit(forceinline=True)
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


@cfunc("int64(voidptr, int64, int64, int64, int64, voidptr, voidptr, voidptr, voidptr, voidptr, float64, float64)", cache=True)
def _run_ordinary(registers_at, apsr, primask, in_handler, quiet, rom_at, flash_at, ram_at, sio_at, scratch_at, timer_ns, nanos):
    registers = carray(registers_at, (16,), np.uint32)
    rom = carray(rom_at, (ROM_BYTES // 4,), np.uint32)
    flash = carray(flash_at, (FLASH_BYTES // 4,), np.uint32)
    ram = carray(ram_at, (RAM_BYTES // 4,), np.uint32)
    sio = carray(sio_at, (6,), np.int64)
    r = carray(scratch_at, (16,), np.int64)
    for i in range(16):
        r[i] = registers[i]
    n, z, c, v = apsr >> 31 & 1, apsr >> 30 & 1, apsr >> 29 & 1, apsr >> 28 & 1
    cycles = event = 0
    while cycles * CYCLE_NS < nanos:
        pc = r[PC] & ~1
        op = _word(pc, rom, flash, ram)
        if op < 0:
            break
        op = op >> (pc & 2) * 8 & 0xFFFF
        after = r[PC]
        r[PC] = (after + 2) & MASK
        rd, rm, top = op & 7, op >> 3 & 7, op >> 11
        imm8, r8 = op & 0xFF, op >> 8 & 7
        took = 1
        if top <= 2:  # LSL, LSR, ASR by a number
            count = op >> 6 & 31
            if top == 0 and count == 0:
                result = r[rm]
            else:
                result, c = _shift(top, r[rm], count if count or top == 0 else 32, c)
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
            if which == 2 or which == 3 or which == 4 or which == 7:
                result, c = _shift(min(which - 2, 3), a, b & 0xFF, c)
            elif which == 5:  # ADC
                result, n, z, c, v = _add(a, b + c)
            elif which == 6:  # SBC
                result, n, z, c, v = _subtract(a, b + 1 - c)
            elif which == 9:  # RSB
                result, n, z, c, v = _subtract(0, b)
            elif which == 10:  # CMP
                result, n, z, c, v = _subtract(a, b)
            elif which == 11:  # CMN
                result, n, z, c, v = _add(a, b)
            elif which == 0 or which == 8:  # AND, TST
                result = a & b
            elif which == 1:
                result = a ^ b
            elif which == 12:
                result = a | b
            elif which == 13:
                result = a * b & MASK
            elif which == 14:
                result = a & ~b
            else:
                result = ~b & MASK
            n, z = result >> 31, int(result == 0)
            if which != 8 and which != 10 and which != 11:
                r[rd] = result
        elif top == 8:  # of all registers: ADD, CMP, MOV, BX, BLX
            which, high = op >> 8 & 3, op >> 4 & 8 | rd
            b = r[op >> 3 & 15]
            if which == 1:
                _, n, z, c, v = _subtract(r[high], b)
            elif which == 3:
                linking = op & 0x80
                if rd or (not linking and in_handler and b >> 28 == 0xF):
                    r[PC] = after
                    break
                if linking:
                    r[LR] = r[PC] | 1
                r[PC] = b & ~1
                took = 2
            else:
                if op >> 3 & 15 == PC:
                    b += 2
                if which == 0:
                    b += r[high] + (2 if high == PC else 0)
                b &= MASK
                if high == PC:
                    b &= ~1
                    took = 2
                elif high == SP:
                    b &= ~3
                r[high] = b
        elif top <= 19:  # loads and stores
            if top == 9:
                kind, rt, at = LDR, r8, ((r[PC] + 2) & ~3) + imm8 * 4
            elif top <= 11:
                kind, rt, at = op >> 9 & 7, rd, r[rm] + r[op >> 6 & 7]
            elif top >= 18:
                kind, rt, at = LDR if top & 1 else STR, r8, r[SP] + imm8 * 4
            elif top >= 16:
                kind, rt, at = LDRH if top & 1 else STRH, rd, r[rm] + (op >> 6 & 31) * 2
            elif top >= 14:
                kind, rt, at = LDRB if top & 1 else STRB, rd, r[rm] + (op >> 6 & 31)
            else:
                kind, rt, at = LDR if top & 1 else STR, rd, r[rm] + (op >> 6 & 31) * 4
            at &= MASK
            if kind == LDR and (at == TIMER_LOW or at == TIMER_HIGH):
                micros = int((timer_ns + cycles * CYCLE_NS) / 1000)
                r[rt] = micros >> 32 if at == TIMER_HIGH else micros & MASK
                took = 4
            else:
                took = _access(kind, rt, at, r, sio, rom, flash, ram)
            if took == 0:
                r[PC] = after
                break
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
        elif op >> 9 == 0x5A or op >> 9 == 0x5E or top == 24 or top == 25:
            took = _several(op, r, rom, flash, ram)
            if took == 0:
                r[PC] = after
                break
        elif top == 26 or (top == 27 and op < 0xDE00):  # B, with a condition
            if _holds(op >> 8 & 15, n, z, c, v):
                r[PC] = (r[PC] + 2 + ((imm8 ^ 0x80) - 0x80) * 2) & MASK
                took = 2
        elif top == 28:  # B
            r[PC] = (r[PC] + 2 + (((op & 0x7FF) ^ 0x400) - 0x400) * 2) & MASK
            took = 2
        elif top == 30:  # BL
            low = _word(pc + 2, rom, flash, ram) >> (2 - (pc & 2)) * 8  # negative: no memory
            if op == 0xF3BF and low >> 4 & 0xFFF in (0x8F4, 0x8F5, 0x8F6):  # DSB, DMB, ISB
                r[PC] = (r[PC] + 2) & MASK
                cycles += 3
                continue
            if op == 0xF3EF and low & 0xF0FF == 0x8010 and low >> 8 & 15 < SP:  # MRS Rd, PRIMASK
                r[low >> 8 & 15] = primask
                r[PC] = (r[PC] + 2) & MASK
                cycles += 3
                continue
            if op >> 4 == 0xF38 and op & 15 < SP and low & 0xFFFF == 0x8810 and quiet:  # MSR PRIMASK, Rn
                primask = r[op & 15] & 1
                r[PC] = (r[PC] + 2) & MASK
                cycles += 3
                continue
            if low < 0 or low >> 14 & 3 != 3 or not low & 0x1000:
                r[PC] = after
                break
            s = op >> 10 & 1
            i1, i2 = 1 - (s ^ low >> 13 & 1), 1 - (s ^ low >> 11 & 1)
            offset = (i1 << 23) | (i2 << 22) | (op & 0x3FF) << 12 | (low & 0x7FF) << 1
            r[LR] = (r[PC] + 2) & MASK | 1
            r[PC] = (r[PC] + 2 + offset - (s << 24)) & MASK
            took = 3
        elif op == 0xB672 or (op == 0xB662 and quiet):  # CPSID, CPSIE
            primask = op >> 4 & 1
        elif op == 0xBF40:  # SEV
            event = 1
        elif op != 0xBF00:  # NOP
            r[PC] = after
            break
        cycles += took
    for i in range(16):
        registers[i] = r[i]
    return cycles << 6 | n << 5 | z << 4 | c << 3 | v << 2 | primask << 1 | event


def _field(index):
    return property(
        lambda self: int(self.shared[index]), lambda self, value: self.shared.__setitem__(index, int(value) & MASK)
    )


class _SharedSIO(RPSIO):
    """rp2040py's SIO with the state of its divider and of its spin locks in an array."""

    div_dividend, div_divisor, div_quotient, div_remainder, div_csr, spin_lock = map(_field, range(6))


def ordinary(mcu):
    """Return run(apsr, mode, budget) -> cycles << 4 | apsr >> 28 for a chip."""
    sio = np.array([0, 1, 0, 0, 0, 0])
    mcu.sio.shared = sio
    mcu.sio.__class__ = _SharedSIO
    arrays = [np.asarray(mcu.core.registers)] + [
        np.frombuffer(memory, np.uint32) for memory in (mcu.bootrom, mcu.flash, mcu.sram)
    ] + [sio, np.zeros(16, np.int64)]
    registers, *memories = (each.ctypes.data for each in arrays)
    run, core, clock, timer = _run_ordinary.ctypes, mcu.core, mcu.clock, mcu.timer

    def run_ordinary(nanos, kept=arrays):
        quiet = not (
            core.pending_interrupts & core.enabled_interrupts or core.pending_svcall or core.pending_pend_sv
            or core.pending_systick or core.pending_nmi
        )
        timer_ns = clock.nanos - timer._epoch_nanos
        done = run(registers, core.apsr, core.pm, core.current_mode, quiet, *memories, timer_ns, nanos)
        if done & 1:
            core.event_registered = True
        core.pm = done & 2
        core.apsr = (done & 0x3C) << 26
        return (done >> 6) * CYCLE_NS

    return run_ordinary
