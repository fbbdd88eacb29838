"""The link's frames: one case table through both parsers, on CPython and on MicroPython; all damage is refused."""

import json
import os
import random
import subprocess
import zlib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import link_wire  # noqa: F401  # gives CPython MicroPython's clock
from frames_worker import answer
from fuzz_frames import agreed
from subsong_device import frames
from subsong_hil.unix import find_micropython

DEVICE = Path(str(resources.files("subsong_device"))).parent
# Bytes on the wire around the sizes of USB packets and FIFOs, and where COBS blocks end.
WIRE_LENGTHS = (9, 10, 62, 63, 64, 65, 66, 127, 128, 129, 253, 254, 255, 256, 257, 258, 511, 512, 513, 1033)
TO_BOARD = frames.body_lengths(True, 4, 2)
FROM_BOARD = frames.body_lengths(False, 4, 2)


def slow_cobs(body: bytes) -> bytes:
    """COBS as its inventors describe it (Cheshire & Baker 1999), byte by byte."""
    out = bytearray()
    block = bytearray()
    for i, byte in enumerate(body):
        if byte:
            block.append(byte)
        if not byte or len(block) == 254:
            out += bytes([len(block) + 1]) + block
            block.clear()
            if byte and i + 1 == len(body):
                return bytes(out) + b"\0"  # a full block at the end needs no successor
    return bytes(out + bytes([len(block) + 1]) + block) + b"\0"


def payloads(n: int) -> list[bytes]:
    """Payloads of n bytes: no zeros, all zeros, few, many."""
    draw = random.Random(n)
    return [
        bytes(n),
        b"\xff" * n,
        bytes(draw.randrange(1, 256) for _ in range(n)),
        bytes(draw.choice((0, 0, 1, 255)) for _ in range(n)),
        draw.randbytes(n),
    ]


def payload_of(size: int) -> int:
    """Return the bytes of the longest payload whose frame never exceeds `size` on the wire."""
    return max(n for n in range(size) if frames.wire_length(n + frames.OVERHEAD) <= size)


def corpus() -> Iterator[tuple[dict[int, int], bytes]]:
    """(lengths of the direction, frame) for every type of frame, and for every size that is dangerous."""
    draw = random.Random(1)
    for lengths in (TO_BOARD, FROM_BOARD):
        for kind, body in lengths.items():
            yield lengths, frames.encode(kind, draw.randrange(0x10000), draw.randbytes(body - frames.OVERHEAD))
            yield lengths, frames.encode(kind, 1, bytes(body - frames.OVERHEAD))
    for size in WIRE_LENGTHS:
        n = payload_of(size)
        for payload in payloads(n)[1:]:
            yield {frames.STEP: n + frames.OVERHEAD}, frames.encode(frames.STEP, 0xABCD, payload)


CORPUS = list(corpus())
SMALL = [(lengths, wire) for lengths, wire in CORPUS if len(wire) <= 70]


def cut(lengths: dict[int, int], stream: bytes, size: int = 7) -> list[object]:
    """Return what both parsers make of a stream on CPython, asserting that it is the same."""
    deframed, received = answer(json.dumps(job(lengths, stream, size)))
    assert deframed == received
    return deframed


def job(lengths: dict[int, int], stream: bytes, size: int) -> dict[str, object]:
    return {"lengths": list(lengths.items()), "stream": stream.hex(), "cut": size}


def read(wire: bytes) -> tuple[int, int, bytes]:
    """Return type, seq and payload of a frame that is known to be whole, without the code under test."""
    body = bytearray()
    at = 0
    while wire[at]:
        code = wire[at]
        body += wire[at + 1 : at + code]
        at += code
        if code < 255 and wire[at]:
            body.append(0)
    assert zlib.crc32(body[:-4]) == int.from_bytes(body[-4:], "little")
    return body[0], body[1] | body[2] << 8, bytes(body[3:-4])


# ------------------------------------------------------------------------------------------------ coding


def test_schema_is_the_documented_one() -> None:
    """Whoever changes the table changes the protocol: boards must be redeployed, and docs/protocol.md rewritten."""
    assert frames.schema() == 0xCBECE498
    text = (Path(__file__).parents[1] / "docs" / "protocol.md").read_text()
    assert f"{frames.schema():08x}" in text
    for kind, name, _, names in frames.TABLE:
        row = next((line for line in text.splitlines() if line.startswith(f"| `0x{kind:02x}` | {name} |")), "")
        assert row, f"docs/protocol.md has no row for 0x{kind:02x} {name}"
        for field in names.split():
            assert f"{field} " in row, f"docs/protocol.md, {name}: {field}"


def test_schema_sees_every_part_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {frames.schema()}
    row = frames.TABLE[0]
    for changed in ((0x1F, *row[1:]), (row[0], "HULLO", *row[2:]), (*row[:2], "H", row[3]), (*row[:3], "scheme")):
        monkeypatch.setattr(frames, "TABLE", (changed, *frames.TABLE[1:]))
        seen.add(frames.schema())
    assert len(seen) == 5


def test_types_tell_the_direction_and_are_never_zero() -> None:
    kinds = [row[0] for row in frames.TABLE]
    assert len(set(kinds)) == len(kinds)
    assert set(TO_BOARD) == {k for k in kinds if 0 < k < 0x80}
    assert set(FROM_BOARD) == {k for k in kinds if 0x80 <= k < 0x100}


def test_the_longest_step_fits_the_longest_payload() -> None:
    for n_sensors in (1, 252, 504):
        lengths = {
            **frames.body_lengths(True, n_sensors, 505 - n_sensors),
            **frames.body_lengths(False, n_sensors, 505 - n_sensors),
        }
        assert max(lengths.values()) <= frames.MAX_PAYLOAD + frames.OVERHEAD


@given(st.binary(max_size=600))
def test_crc_is_zlibs(data: bytes) -> None:
    crc = frames.crc32(data)
    assert crc == zlib.crc32(data) == frames.crc32_slow(data)
    assert frames.crc32(data + crc.to_bytes(4, "little")) == frames.RESIDUE


@given(st.lists(st.sampled_from([0, 1, 255]), max_size=700).map(bytes) | st.binary(max_size=700))
def test_encode_is_cobs(payload: bytes) -> None:
    wire = frames.encode(0x15, 0x1234, payload)
    body = b"\x15\x34\x12" + payload
    body += zlib.crc32(body).to_bytes(4, "little")
    assert wire == slow_cobs(body)
    assert len(wire) <= frames.wire_length(len(body))
    assert len(body) >= 254 or len(wire) == frames.wire_length(len(body))


@pytest.mark.parametrize("size", WIRE_LENGTHS)
def test_frames_of_every_length_come_through(size: int) -> None:
    n = payload_of(size)
    lengths = {frames.STEP: n + frames.OVERHEAD}
    longest = 0
    for payload in payloads(n):
        wire = frames.encode(frames.STEP, 0x707, payload)
        longest = max(longest, len(wire))
        for chunk in (1, 63, 64, 65, 4096):
            assert cut(lengths, wire * 3, chunk) == [[[frames.STEP, 0x707, payload.hex()]] * 3, 0]
    assert longest == frames.wire_length(n + frames.OVERHEAD) in (size, size - 1)


# ------------------------------------------------------------------------------------------------ damage


def damaged_streams(wire: bytes) -> Iterator[bytes]:
    """Yield every single-bit flip and every truncation of a frame."""
    for i in range(len(wire)):
        for bit in range(8):
            yield wire[:i] + bytes([wire[i] ^ 1 << bit]) + wire[i + 1 :]
    for i in range(1, len(wire) - 1):
        yield wire[:i]
        yield wire[:i] + b"\0"
        yield wire[i:]
        yield wire[:i] + wire[i + 1 :]
    yield wire[:-1]


def sentinel(lengths: dict[int, int]) -> bytes:
    kind, body = next(iter(lengths.items()))
    return frames.encode(kind, 0x5A5A, b"\x77" * (body - frames.OVERHEAD))


def check_refused(lengths: dict[int, int], wire: bytes, damaged: bytes) -> None:
    """A damaged frame is dropped and counted, and the frame after the next delimiter is read."""
    after = sentinel(lengths)
    deframer = frames.Deframer(lengths)
    found = [f[1:] for f in deframer.feed(damaged + b"\0" + after) if f[1]]
    if damaged == wire[:-1]:
        assert found == [read(wire), read(after)]  # only the delimiter was missing
        return
    assert found == [read(after)], damaged.hex()
    assert deframer.damaged >= 1 or not damaged.strip(b"\0")


def test_every_flip_and_truncation_is_refused() -> None:
    for lengths, wire in SMALL:
        for damaged in damaged_streams(wire):
            check_refused(lengths, wire, damaged)


@pytest.mark.slow
def test_every_flip_and_truncation_of_long_frames_is_refused() -> None:
    for lengths, wire in CORPUS:
        if len(wire) > 70:
            for damaged in damaged_streams(wire):
                check_refused(lengths, wire, damaged)


def test_long_frames_refuse_a_sample_of_flips() -> None:
    draw = random.Random(2)
    for lengths, wire in CORPUS:
        if len(wire) > 70:
            for damaged in draw.sample(list(damaged_streams(wire)), 60):
                check_refused(lengths, wire, damaged)


def test_bursts_are_refused() -> None:
    """Short bursts, which got through exact lengths with a CRC-16 2 times in 3 million."""
    draw = random.Random(3)
    for _ in range(20000):
        lengths, wire = draw.choice(SMALL)
        at = draw.randrange(8 * (len(wire) - 1))
        burst = draw.randrange(1, 1 << draw.randrange(2, 25)) << at
        bits = int.from_bytes(wire, "little") ^ burst
        damaged = bits.to_bytes(len(wire) + 4, "little")[: len(wire)]
        if damaged != wire:
            found = [f[1:] for f in frames.Deframer(lengths).feed(damaged + b"\0") if f[1]]
            assert found in ([], [read(wire)]), damaged.hex()
            assert found == [] or damaged[:-1] == wire[:-1]  # only the delimiter was hit


def test_another_type_length_or_direction_is_refused() -> None:
    step = frames.encode(frames.STEP, 1, bytes(TO_BOARD[frames.STEP] - frames.OVERHEAD))
    assert cut(TO_BOARD, step)[1] == 0
    assert cut(FROM_BOARD, step) == [[], 1]
    assert cut(TO_BOARD, frames.encode(0x77, 1, bytes(4))) == [[], 1]
    for n in (-1, 1):
        wrong = frames.encode(frames.STEP, 1, bytes(TO_BOARD[frames.STEP] - frames.OVERHEAD + n))
        assert cut(TO_BOARD, wrong + bytes(9)) == [[], 1]


@given(st.binary(max_size=400), st.integers(1, 50))
def test_garbage_never_raises(garbage: bytes, size: int) -> None:
    after = sentinel(TO_BOARD)
    found, damaged = cut(TO_BOARD, garbage + bytes(200) + after + bytes(200), size)  # type: ignore[misc]
    kind, seq, payload = read(after)
    assert found == [[kind, seq, payload.hex()]]
    assert damaged == sum(1 for segment in garbage.split(b"\0") if segment)


@given(
    st.lists(st.sampled_from(SMALL[:24]).map(lambda case: case[1]) | st.binary(max_size=12), max_size=8), st.randoms()
)
def test_both_parsers_agree_on_any_mixture(parts: list[bytes], draw: random.Random) -> None:
    stream = bytearray(b"".join(parts))
    for _ in range(draw.randrange(3)):
        if stream:
            stream[draw.randrange(len(stream))] ^= 1 << draw.randrange(8)
    cut(TO_BOARD, bytes(stream) + bytes(200))


def test_an_endless_segment_is_counted_once_and_its_bytes_are_kept() -> None:
    deframer = frames.Deframer(TO_BOARD)
    kept = b"".join(wire for _ in range(50) for wire, *_ in deframer.feed(b"\x55" * 100))
    assert deframer.damaged == 1
    assert len(kept) + len(deframer.tail) == 5000
    assert [f[1] for f in deframer.feed(b"\0" + sentinel(TO_BOARD))][-1] != 0
    assert deframer.damaged == 1
    assert len(deframer.tail) == 0


# ------------------------------------------------------------------------------------------------ MicroPython


@pytest.mark.slow
def test_micropython_agrees_on_the_whole_case_table() -> None:
    """One process, both parsers: the corpus whole, and a sample of its damage."""
    draw = random.Random(4)
    streams = [(lengths, wire * 2 + bytes(9)) for lengths, wire in CORPUS]
    for lengths, wire in CORPUS:
        after = b"\0" + sentinel(lengths) + bytes(len(wire) + 40)
        streams += [(lengths, damaged + after) for damaged in draw.sample(list(damaged_streams(wire)), 4)]
    streams += [(TO_BOARD, draw.randbytes(draw.randrange(300)) + bytes(200)) for _ in range(200)]
    jobs = [job(lengths, stream, draw.choice((1, 5, 64, 999))) for lengths, stream in streams]
    program = find_micropython()
    assert program is not None
    done = subprocess.run(
        [str(program), "-X", "heapsize=1M", str(Path(__file__).with_name("frames_worker.py"))],
        input="".join(json.dumps(j) + "\n" for j in jobs),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "MICROPYPATH": f"{DEVICE}:.frozen"},
    )
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(jobs)
    for asked, (deframed, received) in zip(jobs, answers, strict=True):
        assert deframed == received, asked
        assert [deframed, received] == answer(json.dumps(asked)), asked


@pytest.mark.slow
def test_parsers_agree_on_whatever_is_drawn() -> None:
    """A look at what tests/fuzz_frames.py does for ten million segments."""
    found, refused = list(agreed(seed=1, inputs=10000))[-1]
    assert found > 1000
    assert refused > 10000
