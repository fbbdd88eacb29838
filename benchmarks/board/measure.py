"""Runs on the board, sent there by bench_board.py: cycles of kernels by the core's own counter, SysTick."""

import gc
import time
from array import array
from binascii import crc32, unhexlify

import machine

CONTROL, RELOAD, COUNT = 0xE000E010, 0xE000E014, 0xE000E018
WRAP = 1 << 24
MHZ = 125


def bytecode_2(a, b):
    return 0


def bytecode_3(a, b, c):
    return 0


def bytecode_4(a, b, c, d):
    return 0


@micropython.viper
def viper_2(a: ptr32, b: ptr16) -> int:
    return 0


@micropython.viper
def viper_3(a: ptr32, b: ptr16, c: int) -> int:
    return 0


@micropython.viper
def viper_4(a: ptr32, b: ptr16, c: ptr16, d: ptr16) -> int:
    return 0


@micropython.asm_thumb
def machine_2(r0, r1):
    mov(r0, 0)


@micropython.asm_thumb
def machine_3(r0, r1, r2):
    mov(r0, 0)


@micropython.asm_thumb
def machine_4(r0, r1, r2, r3):
    mov(r0, 0)


# What calls cost by themselves, by engine and number of arguments.
MACHINE = (machine_2, machine_3, machine_4)
EMPTY = {
    "bytecode": (bytecode_2, bytecode_3, bytecode_4),
    "viper": (viper_2, viper_3, viper_4),
    "machine code": MACHINE,
    "C": MACHINE,
}


def elapsed(f, a, n):
    """Return the cycles that f takes of the first n arguments in a, the call and reading the counter included."""
    count = machine.mem32
    p, q, r, s = a
    rough = time.ticks_us()
    if n == 4:
        began = count[COUNT]
        f(p, q, r, s)
        ended = count[COUNT]
    elif n == 3:
        began = count[COUNT]
        f(p, q, r)
        ended = count[COUNT]
    else:
        began = count[COUNT]
        f(p, q)
        ended = count[COUNT]
    rough = time.ticks_diff(time.ticks_us(), rough) * MHZ
    cycles = (began - ended) % WRAP
    # The counter wraps every 134 ms; the microseconds say how often it did.
    return cycles + (rough - cycles + WRAP // 2) // WRAP * WRAP


def measure(engine, namespace, script, rounds, head, mem, x, u):
    """Play a script of kernels on a block; print each call's cycles, net of the call, the call's own, and what it left.

    Args:
        engine: key of EMPTY.
        namespace: the kernels by name.
        script: (name, what it takes, words of head to set before, whether to measure) for each call; it takes head, mem
            and, of "xu", both buffers, of "a", the amount 0.
        rounds: calls of which the quickest counts, all from the same state: an interrupt may fall into one.
        head: int32 words of the block, in hexadecimal; likewise the 16-bit words.
        mem: of the block.
        x: sensor words.
        u: actuator words.
    """
    machine.mem32[RELOAD] = WRAP - 1
    machine.mem32[COUNT] = 0
    machine.mem32[CONTROL] = 5
    buffers = [array(t, unhexlify(b)) for t, b in (("i", head), ("H", mem), ("H", x), ("H", u))]
    for name, takes, settings, measured in script:
        for at, value in settings:
            buffers[0][at] = value
        state = [array(t, b) for t, b in zip("iHHH", buffers)]
        arguments = buffers if takes == "xu" else buffers[:2] + [0, 0]
        n = 2 + len(takes)
        call = least = 0
        for number in range(rounds if measured else 1):
            for buffer, words in zip(buffers, state):
                buffer[:] = words
            gc.collect()
            own = elapsed(EMPTY[engine][n - 2], arguments, n)
            taken = elapsed(namespace[name], arguments, n)
            call = min(call, own) if number else own
            least = min(least, taken) if number else taken
        left = 0
        for buffer in buffers:
            left = crc32(buffer, left)
        print(name, least - call, call, left)
