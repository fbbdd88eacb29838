"""The small firmware under the same fire: whole frames with any fields, on kernels that watch every access."""

import random
import struct
from collections import Counter
from functools import cache
from typing import Any

import pytest

from frames_fuzzer import ALLOWED, EDGES
from guarded_kernels import OutOfBounds, Words, guarded
from subsong.small_firmware import session_image
from subsong_device import faults, frames
from subsong_device.small import words
from subsong_sim.loader import PACKAGE, gather

SHAPE = (0, frames.TASK, 2, 1, 56, 281, 21, 2000)
MOST = (0xFF, 0xFF, 0xFFFF, 0xFFFF, *(4 * [0xFFFFFFFF]))
FORMATS = {kind: form.replace("D", f"{words.CHUNK}s") for kind, _, form, _ in frames.TABLE if kind < 0x80}


KINDS = [kind for kind in FORMATS if kind <= frames.STOP and kind != frames.CLOSE]


@cache
def kernels() -> Any:
    return guarded(gather(f"{PACKAGE}.small.link", ("take", "command", "make_frame")))


def fields(kind: int, draw: random.Random) -> bytes:
    """Return a payload of edges; of OPEN, what fits in most fields."""
    if kind == frames.HELLO:
        return struct.pack("<I", frames.schema())
    if kind == frames.OPEN:
        shape = list(SHAPE)
        if draw.random() < 0.4:
            shape[draw.randrange(8)] = draw.choice(EDGES)
        return struct.pack("<BBHHIIII", *(v & most for v, most in zip(shape, MOST, strict=True)))
    form = FORMATS[kind].replace("S", "2h")
    values: list[int | bytes] = []
    for code in form.replace(f"{words.CHUNK}s", "s").replace("2h", "hh"):
        value = draw.choice((*range(4), *range(4), draw.randrange(600), draw.choice(EDGES)))
        values.append(bytes(words.CHUNK) if code == "s" else fitting(value, code))
    return struct.pack("<" + form, *values)


def fitting(value: int, code: str) -> int:
    """Return what a field of a struct format takes of a value."""
    bits = 8 * struct.calcsize("<" + code)
    value &= (1 << bits) - 1
    return value - (1 << bits) if code in "ih" and value >> (bits - 1) else value


def judge(action: int, payload: bytes, s: Words, open_now: list[int]) -> None:
    """Hold an accepted command against the ranges of docs/protocol.md."""
    sizes = (4 * open_now[0], 2 * open_now[1], 2 * open_now[2])
    if action == frames.OPEN:
        rule, mode, n, m, *regions, deadman = struct.unpack("<BBHHIIII", payload)
        assert rule < 2
        assert mode < 2
        assert min(n, m, regions[0] - 47, regions[1]) > 0
        assert 4 * regions[0] + 2 * regions[1] + 2 * regions[2] <= 4 * s[words.ARENA_WORD]
        assert (regions[2] > 0) == (mode == frames.TASK)
        assert frames.MIN_DEADMAN_MS <= deadman <= frames.MAX_DEADMAN_MS
        open_now[:] = regions
    elif action == frames.WRITE:
        region, offset, count = struct.unpack_from("<BIB", payload)
        assert region < 3
        assert 0 < count <= words.CHUNK
        assert offset + count <= sizes[region]
    elif action == frames.READ:
        region, offset = struct.unpack("<BI", payload)
        assert region < 3
        assert offset < sizes[region]
    elif action == frames.RUN:
        first, trials, steps, evaluate = struct.unpack("<IIHB", payload)
        assert trials > 0
        assert first + trials <= 1 << 30
        assert 0 < steps <= frames.MAX_STEPS
        assert evaluate < 2


def new_session() -> Words:
    image = session_image()
    s = Words("i", list(struct.unpack(f"<{len(image) // 4}i", image)))
    s[words.ARENA_WORD] = 1200
    return s


def attack(seed: int, count: int) -> Counter[int]:
    """Send so many frames; return how often each command was accepted."""
    draw = random.Random(seed)
    made, s = kernels(), new_session()
    rx, tx = (Words("B", [0] * (words.LONGEST + 1)) for _ in range(2))
    told: Counter[int] = Counter()
    open_now = [0, 0, 0]
    for _ in range(count):
        kind = frames.CLOSE if draw.random() < 0.02 else draw.choice(KINDS)
        payload = fields(kind, draw)
        wire = frames.encode(kind, s[words.NEXT_SEQ] if draw.random() < 0.9 else draw.getrandbits(16), payload)
        if draw.random() < 0.05:
            wire = draw.randbytes(draw.randrange(90)) + b"\0"
        elif draw.random() < 0.05:
            wire = wire[: draw.randrange(len(wire))] + b"\0" + wire
        s[words.TAKEN], s[words.GOT] = 0, len(wire)
        data = Words("B", list(wire))
        while made["take"](s, rx, data):
            before = s[words.PHASE_NOW]
            action = made["command"](s, rx)
            made["make_frame"](s, tx, words.ROW_HELLO)
            if action in (0, kind) and s[words.FAULT] == faults.OK:
                told[kind] += 1
                assert before in ALLOWED[kind]
                judge(kind, payload, s, open_now)
                if kind == frames.SEAL:
                    s[words.PHASE_NOW] = faults.READY  # the block is good
                elif kind == frames.RUN:
                    s[words.PHASE_NOW] = faults.READY  # and was run
                elif kind == frames.CLOSE:
                    s, open_now = new_session(), [0, 0, 0]
    return told


def test_no_frame_makes_the_small_firmware_leave_its_buffers() -> None:
    told: Counter[int] = Counter()
    for seed in range(12):
        told += attack(seed, 80)
    assert min(told[kind] for kind in (frames.OPEN, frames.WRITE, frames.READ, frames.SEAL, frames.RUN)) > 3


def test_a_buffer_that_is_too_short_is_noticed() -> None:
    s = new_session()
    s[words.TAKEN], s[words.GOT] = 0, words.LONGEST
    with pytest.raises(OutOfBounds):
        kernels()["take"](s, Words("B", [0] * 8), Words("B", [1] * words.LONGEST))
