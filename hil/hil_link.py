"""The link: frames whole at the lengths where USB drivers have failed, and how fast they go.

The board answers every frame with the same body, through the firmware's own receiver and framing. Times are printed;
what is judged is that every frame comes back as it was sent.
"""

import random
import statistics
import time

from subsong.ports import Port
from subsong.repl import PATIENCE_S, Repl
from subsong_device import frames
from subsong_hil.suite import BoardUnderTest

# USB packets have 64 bytes (512 at high speed), receive rings 63 to 512: a byte to either side of each.
WIRE_LENGTHS = (24, 63, 64, 65, 127, 128, 512)
KINDS = {frames.HELLO + i: length - 2 for i, length in enumerate(WIRE_LENGTHS)}  # a type for each: {type: body}
FLOOD, LAST = 0x7E, 0x7F  # answer by so many frames of 512 bytes as the number says; be done
LENGTHS = {**KINDS, FLOOD: frames.OVERHEAD, LAST: frames.OVERHEAD}

ECHO = f"""
import micropython
from subsong_device import frames
from subsong_device.link import Console, Receiver
def echo(silence_ms):
    wire = Console()
    rx = Receiver(wire)
    rx.set_lengths({LENGTHS!r})
    out = bytearray(514)
    view = memoryview(out)
    micropython.kbd_intr(-1)
    try:
        wire.write(b"\\0")
        kind = rx.receive(silence_ms)
        while kind and kind != {LAST}:
            if kind == {FLOOD}:
                for i in range(rx.words[1]):
                    out[1:] = bytes(513)
                    out[1] = {frames.HELLO + len(WIRE_LENGTHS) - 1}
                    out[2] = i
                    wire.write(view[:frames.seal_frame(out, 510)])
            else:
                n = rx.lengths[kind]
                out[1:n + 1] = rx.view[1:n + 1]
                wire.write(view[:frames.seal_frame(out, n)])
            kind = rx.receive(silence_ms)
    finally:
        micropython.kbd_intr(3)
    print("damaged", rx.damaged)
"""


class Wire:
    """The host's end of the echo."""

    def __init__(self, port: Port) -> None:
        self.port = port
        self.ahead = b""

    def read(self, n: int) -> bytes:
        """Read n bytes, fewer after a long silence."""
        while len(self.ahead) < n:
            data = self.port.read_available(PATIENCE_S * self.port.slowdown)
            if not data:
                break
            self.ahead += data
        part, self.ahead = self.ahead[:n], self.ahead[n:]
        return part

    def echo(self, frame: bytes) -> float:
        """Send a frame, check what comes back, and return the seconds that it took."""
        began = time.perf_counter()
        self.port.write(frame)
        answer = self.read(len(frame))
        took = time.perf_counter() - began
        assert answer == frame, f"a frame of {len(frame)} bytes came back as {answer!r}, sent as {frame!r}"
        return took


def frame_of(kind: int, rng: random.Random, seq: int) -> bytes:
    """Return a frame of a type's exact length: any bytes, Ctrl-C among them, a zero in every 200."""
    n = KINDS[kind] - frames.OVERHEAD
    payload = bytearray(rng.choice((3, 255, rng.randrange(256))) for _ in range(n))
    payload[100::200] = bytes(len(payload[100::200]))
    wire = frames.encode(kind, seq, bytes(payload))
    assert len(wire) == KINDS[kind] + 2
    return wire


def test_frames_come_back_whole_at_every_length(full_board: BoardUnderTest) -> None:
    board = full_board
    rng = random.Random(1)
    silence_ms = 10_000
    repl = Repl(board.port, soft_reset=False)
    repl.__enter__()
    repl.run(ECHO)
    repl.launch(f"echo({silence_ms})")
    wire = Wire(board.port)
    assert wire.read(1) == b"\0"

    seq = 0
    for _ in range(board.pick(20, 2)):
        for kind in KINDS:
            seq += 1
            wire.echo(frame_of(kind, rng, seq))
    board.note("frames", f"{seq} of {', '.join(map(str, WIRE_LENGTHS))} bytes came back as they were sent")

    shortest, longest = min(KINDS), max(KINDS)
    trips_us = sorted(1e6 * wire.echo(frame_of(shortest, rng, k + 1)) for k in range(board.pick(500, 20)))
    board.note(
        "round trip",
        f"median {statistics.median(trips_us):,.0f} us, 95 % {trips_us[len(trips_us) * 95 // 100]:,.0f} us, most "
        f"{trips_us[-1]:,.0f} us, over {len(trips_us)} frames of {WIRE_LENGTHS[0]} bytes",
    )
    n = board.pick(100, 3)
    took = sum(wire.echo(frame_of(longest, rng, k + 1)) for k in range(n))
    board.note("there and back", f"{n * WIRE_LENGTHS[-1] / took / 1000:,.1f} kB/s each way, frames of 512 bytes")

    n = board.pick(200, 16)
    began = time.perf_counter()
    wire.port.write(frames.encode(FLOOD, n, b""))
    flood = wire.read(512 * n)
    took = time.perf_counter() - began
    longest_body = {longest: KINDS[longest]}
    received = frames.Deframer(longest_body).feed(flood)
    assert [(kind, number & 0xFF) for _, kind, number, _ in received] == [(longest, i & 0xFF) for i in range(n)]
    board.note("from the board", f"{len(flood) / took / 1000:,.1f} kB/s, {n} frames of 512 bytes, none lost")

    wire.port.write(frames.encode(LAST, 1, b""))
    ended = b"damaged 0"
    said = wire.read(len(ended))
    assert said == ended, f"{said!r}: the board counted damaged frames"
    with Repl(board.port, soft_reset=False):  # whatever is left of the raw REPL's answer goes, and the prompt is there
        pass
