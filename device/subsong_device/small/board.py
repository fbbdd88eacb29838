# The stubs know neither the inline assembler nor the micro:bit's modules, and take kernels for functions of None.
# pyright: reportUndefinedVariable=false, reportCallIssue=false, reportArgumentType=false, reportOperatorIssue=false
# pyright: reportAttributeAccessIssue=false, reportMissingImports=false, reportIndexIssue=false
"""The small firmware's Python: it waits, allocates, and calls the kernels of link.py, of guard.py and of the learner.

Every function costs some 80 bytes of heap beside its code, so there are few of them. Kernels lie in byte arrays: an
inline-assembler module of their size does not compile in 9 KB. Only one kernel of the learner is there at a time.
"""

import gc
import os
from array import array
from struct import pack_into, unpack_from
from time import ticks_diff, ticks_ms

import micropython
from microbit import uart

from subsong_device.small.words import (
    ANSWERS,
    ARENA_BYTES,
    ARENA_WORD,
    BEGIN,
    BLOCK,
    CHECKSUM,
    CHUNK,
    COST_SEEN,
    COUNT,
    DEADMAN,
    DEADMAN_MS,
    DETAIL,
    DONE,
    END,
    FAULT,
    FIELDS,
    GOT,
    HEAP_FREE,
    LEARNER_BYTES,
    LEFT,
    LONGEST,
    NUMBER,
    OF_MODE,
    OF_RULE,
    OFFSET,
    PAYLOAD_AT,
    PHASE_NOW,
    READ,
    READY,
    REFUSE,
    REGION,
    REGION_AT,
    REPEAT,
    ROW_ACK,
    ROW_ACT,
    ROW_DATA,
    ROW_HELLO,
    ROW_T_DONE,
    ROW_T_SNAP,
    ROW_T_STEP,
    ROW_T_TRIAL,
    ROW_TRIAL,
    RUNNING,
    SEAL,
    SENSORS,
    SNAPSHOT_DUE,
    STEP,
    STEP_NOW,
    STOPPING,
    SUMMARY,
    TAKEN,
    TRIAL_NOW,
    WINDOW_LEFT,
    WRITE,
)

# What must be in one piece, while the heap is: head, mem and task, one behind the other; the learner's kernel. All else
# that stays is beside them, so that the kernel of commands, which is long and comes last, finds the rest in one piece.
arena = bytearray(ARENA_BYTES)
learner = bytearray(LEARNER_BYTES)
rx = bytearray(LONGEST + 1)
tx = bytearray(LONGEST + 1)
came = bytearray(LONGEST + 1)


def load(name, into=None):
    """Return a file's bytes, in a buffer that is long enough or in a new one."""
    into = into or bytearray(os.size(name))
    file = open(name, "rb")
    file.readinto(into)
    file.close()
    return into


places = array("i", (0, 0, 0, 0))  # what act takes: head, mem, sensor words, actuator words
s = array("i", load("_session"))


def do(action):
    """Do what a command leaves to do; return the row of its reply."""
    row = ROW_ACK
    a, b, c = s[FIELDS], s[FIELDS + 1], s[FIELDS + 2]
    if action == STEP:
        # Sensor words lie in rx, actuator words go where ACT has them.
        places[2] = address(rx) + (PAYLOAD_AT + 10)
        places[3] = address(tx) + (PAYLOAD_AT + 6)
        pack_into("<i", arena, 0, c)
        call4(learner, places)
        row = ROW_ACT
    elif action == BEGIN:
        kernel("begin", 0, b)
        load(("_w", "_n")[s[OF_RULE]] + "act", learner)
    elif action == END:
        kernel("end", b, unpack_from("<i", arena, 4)[0])
        for c in range(6):
            s[SUMMARY + c] = unpack_from("<i", arena, 4 + 4 * c)[0]
        row = ROW_TRIAL
    elif action == WRITE:
        pack_into(str(c) + "s", arena, s[REGION_AT + a] + b, rx[PAYLOAD_AT + 6 : c + (PAYLOAD_AT + 6)])
    elif action == READ:
        part(a, b, 6)
        row = ROW_DATA
    elif action == SEAL:
        seal()
    else:
        gc.collect()
        s[HEAP_FREE] = gc.mem_free() + len(arena)
        row = ROW_HELLO
    return row


def kernel(name, cost, evaluate):
    """Load a kernel of the learner in the place of the one before, for there is no room for all; call it."""
    places[1] = places[0] + s[REGION_AT + 1]
    pack_into("<ii", arena, 0, cost, evaluate)
    call(load(("_w", "_n")[s[OF_RULE]] + name, learner), arena, places[1], 0)


def seal():
    """Check that the regions hold what the host sent, and that it makes sense: the phase is READY then."""
    check = load("_crc32")
    for region in range(3):
        if (
            call4(check, array("i", (places[0], s[REGION_AT + region], s[REGION_AT + 1 + region], 0)))
            != s[FIELDS + region]
        ):
            s[FAULT] = CHECKSUM
            s[DETAIL] = region
            return
    bad = call(load("_check_block", learner), arena, s, 0)
    if bad < 0 and s[OF_MODE]:
        bad = call(load("_check_task", learner), places[0] + s[REGION_AT + 2], s, 0)
    if bad < 0:
        s[PHASE_NOW] = READY
    else:
        s[FAULT] = BLOCK
        s[DETAIL] = bad


def run():
    """Run the trials that RUN asked for; between two of them, do what the host asks."""
    first, trials, steps, evaluate = s[FIELDS], s[FIELDS + 1], s[FIELDS + 2], s[FIELDS + 3]
    task = places[0] + s[REGION_AT + 2]
    s[DONE] = 0
    while s[DONE] < trials and not s[STOPPING]:
        s[TRIAL_NOW] = first + s[DONE]
        s[FIELDS + 1] = evaluate
        pack_into("<i", arena, 4, evaluate)
        call(load("_task_begin", learner), arena, task, 0)
        do(BEGIN)
        # Where T_STEP has its words.
        cost = 0
        x = places[2] = address(tx) + (PAYLOAD_AT + 14)
        u = places[3] = x + 2 * s[SENSORS]
        for step in range(steps):
            call(kernels[3], task, x, 0)
            pack_into("<i", arena, 0, cost)
            call4(learner, places)
            s[STEP_NOW] = step
            s[COST_SEEN] = cost
            cost = call(kernels[4], task, u, 0)
            tell(ROW_T_STEP)
        s[FIELDS + 1] = s[COST_SEEN] = cost
        do(END)
        tell(ROW_T_TRIAL)
        s[DONE] += 1
        serve(False)
        if s[SNAPSHOT_DUE]:
            s[SNAPSHOT_DUE] = 0
            for region in range(2):
                for offset in range(0, s[REGION_AT + 1 + region] - s[REGION_AT + region], CHUNK):
                    part(region, offset, 14)
                    tell(ROW_T_SNAP)
    s[PHASE_NOW] = READY
    send(ROW_T_DONE)
    s[NUMBER] += 1


def serve(wait):
    """Do what the host asks, waiting for it or not. Raises EOFError if it has left, or is not heard for too long."""
    global heard, reply
    while True:
        late = ticks_diff(ticks_ms(), heard) > s[DEADMAN_MS]
        if s[PHASE_NOW] == LEFT:  # what comes now is for the prompt
            raise EOFError
        if s[TAKEN] == s[GOT] and uart.any():
            s[TAKEN] = 0
            s[GOT] = uart.readinto(came)
        if call(kernels[1], s, rx, came):
            heard = ticks_ms()
            wait = False
            action = call(kernels[0], s, rx, 0)
            if action == REPEAT:
                uart.write(reply)
            elif action == REFUSE:
                send(ROW_ACK)
            else:
                reply = send(do(action) if action else ROW_ACK)
        elif late:
            raise EOFError
        elif not wait:
            return


def part(region, offset, at):
    """Put a part of a region where DATA (at 6) or T_SNAP (at 14) has it."""
    s[REGION] = region
    s[OFFSET] = offset
    offset += s[REGION_AT + region]
    end = min(s[REGION_AT + 1 + region], offset + CHUNK)
    s[COUNT] = end - offset
    pack_into("40s", tx, PAYLOAD_AT + at, arena[offset:end])


def main():
    """Serve the link until the host closes it or falls silent; Ctrl-C is off meanwhile. Once after a restart."""
    global arena, learner
    # The largest first, while the heap is in one piece.
    for name in ("_command", "_take", "_make_frame", "_task_sense", "_task_cost"):
        kernels.append(load(name))
    s[ARENA_WORD] = len(arena)
    places[0] = address(arena)
    micropython.kbd_intr(-1)
    try:
        uart.write(b"\0")
        send(do(0))
        while True:
            serve(True)
            if s[PHASE_NOW] == RUNNING:
                run()
    except EOFError:
        if s[PHASE_NOW] != LEFT:
            s[ANSWERS] = 0
            s[FAULT] = DEADMAN
            s[DETAIL] = s[DEADMAN_MS]
            send(ROW_ACK)
    finally:
        arena = learner = 0  # the prompt could not compile a line without their room
        micropython.kbd_intr(3)


def tell(row):
    """Send a numbered frame. The host is heard whenever a window is out; one that hangs is not flooded."""
    send(row)
    s[NUMBER] += 1
    s[WINDOW_LEFT] -= LONGEST
    while s[WINDOW_LEFT] < 0:
        serve(True)


def send(row):
    """Send a frame of the session's words; return its bytes."""
    wire = tx[: call(kernels[2], s, tx, row)]
    uart.write(wire)
    return wire


@micropython.asm_thumb
def call(r0, r1, r2, r3):
    """Call code (r0, a buffer) with three arguments: numbers, or buffers as their addresses."""
    mov(r4, r0)
    add(r4, 1)
    mov(r0, r1)
    mov(r1, r2)
    mov(r2, r3)
    data(2, 0x47A0)  # blx r4: bit 0 of the address says Thumb


@micropython.asm_thumb
def call4(r0, r1):
    """Call code (r0, a buffer) with the four int32 of an array (r1)."""
    mov(r4, r0)
    add(r4, 1)
    mov(r5, r1)
    ldr(r0, [r5, 0])
    ldr(r1, [r5, 4])
    ldr(r2, [r5, 8])
    ldr(r3, [r5, 12])
    data(2, 0x47A0)


@micropython.asm_thumb
def address(r0):
    """Return a buffer's address; not that of a bytes object, whose words are elsewhere."""


kernels = []  # command, take, make_frame, task_sense, task_cost

reply = b""
heard = ticks_ms()
