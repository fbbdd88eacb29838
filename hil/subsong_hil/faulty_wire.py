"""What a bad wire does to frames: seeded faults, one direction, bytes in and bytes out. proxy.py has the plumbing.

    wire = FaultyWire(Faults(flip=1e-3), seed=1, way=TO_BOARD)
    for piece in wire.feed(data): ...       # pieces to send, some after a pause

Delimiters (0x00) cut frames, and every frame has its fault drawn, by its number in this direction: how the bytes were
chunked changes nothing. Text is not struck: what comes before the first delimiter, and what stays without one when
`flush` says that nothing follows, such as a REPL's prompt.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, fields
from random import Random
from typing import NamedTuple

TO_BOARD, FROM_BOARD = "to board", "from board"
LONGEST = 2048  # bytes without a delimiter that are certainly no frame; the link's longest has 1033
RATES = (
    "flip", "drop_bytes", "drop", "duplicate", "reorder", "insert", "stall", "delay", "half_open", "disconnect"
)  # fmt: skip


@dataclass(frozen=True)
class Faults:
    """How often each fault strikes a frame, as a probability; at most one strikes a frame, so they sum to 1 at most.

    Attributes:
        flip: one bit is flipped.
        drop_bytes: 1 to 8 bytes in a row are lost, the delimiter perhaps among them.
        drop: the whole frame is lost.
        duplicate: it comes twice.
        reorder: it comes after the next frame.
        insert: 1 to 8 bytes come in between.
        stall: it comes in two parts, with `stall_s` between them.
        delay: it comes `delay_s` late, and so does what follows.
        half_open: it and the next frames vanish, `half_open_frames` in all.
        disconnect: the port vanishes with the frame, and is back under another name after `away_s`.

    Raises:
        ValueError: a rate is no probability, or the sum exceeds 1.
    """

    flip: float = 0.0
    drop_bytes: float = 0.0
    drop: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    insert: float = 0.0
    stall: float = 0.0
    delay: float = 0.0
    half_open: float = 0.0
    disconnect: float = 0.0
    stall_s: float = 0.05
    delay_s: float = 0.02
    half_open_frames: int = 3
    away_s: float = 0.5

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) < 0:
                raise ValueError(f"{field.name} is {getattr(self, field.name)}, allowed is 0 or more")
        if sum(self.rates().values()) > 1.0:
            raise ValueError("the rates of all faults together exceed 1; at most one fault strikes a frame")

    def rates(self) -> dict[str, float]:
        """Return {fault: rate}."""
        return {name: getattr(self, name) for name in RATES}


class Piece(NamedTuple):
    """What is to be sent next.

    Attributes:
        data: bytes.
        pause_s: to wait before.
        disconnect: lose the port before.
    """

    data: bytes
    pause_s: float = 0.0
    disconnect: bool = False


class Passage(NamedTuple):
    """A frame that came by.

    Attributes:
        way: TO_BOARD or FROM_BOARD.
        number: of the frame in this direction, from 0.
        true: as it came, with its delimiter.
        fault: what struck it; "" if nothing did.
        sent: what went on in its place; a frame that was reordered is in the passage of the next one.
    """

    way: str
    number: int
    true: bytes
    fault: str
    sent: bytes


class FaultyWire:
    """One direction of a bad wire.

    Args:
        faults: may be replaced at any time, by `Faults()` for a sound wire; frames are counted all the same.
        seed: fixes what happens to which frame.
        way: TO_BOARD or FROM_BOARD; each direction has its own draws.
        on_frame: told of every frame, as it came and as it went.

    Attributes:
        faults: as above.
        counts: frames seen, as "frames", and struck, by fault.
    """

    def __init__(self, faults: Faults, seed: int, way: str, on_frame: Callable[[Passage], None] | None = None) -> None:
        self.faults = faults
        self.counts: Counter[str] = Counter({"frames": 0, **dict.fromkeys(RATES, 0)})
        self._way = way
        self._on_frame = on_frame
        self._draw = Random(f"{seed} {way}")
        self._late = b""  # a frame that waits for the next one
        self._vanishing = 0  # frames that vanish because the port is half open
        self.reset()

    @property
    def waiting(self) -> bool:
        """Whether bytes wait for their delimiter."""
        return bool(self._tail)

    def reset(self) -> None:
        """Begin anew, as behind a port that was opened: with text."""
        self._tail = b""
        self._text = True

    def flush(self) -> bytes:
        """Return what waits for a delimiter that does not come: it was text. Between frames this changes nothing."""
        text, self._tail = self._tail, b""
        self._text = self._text or bool(text)
        return text

    def feed(self, data: bytes) -> list[Piece]:
        """Take bytes as they come; return what goes on."""
        out: list[Piece] = []
        if self._text:
            end = data.find(b"\0") + 1
            if not end:
                return [Piece(data)]
            self._text = False
            out.append(Piece(data[:end]))
            data = data[end:]
        *segments, self._tail = (self._tail + data).split(b"\0")
        for segment in segments:
            out += self._frame(segment + b"\0") if segment else [Piece(b"\0")]
        if len(self._tail) > LONGEST:
            out.append(Piece(self.flush()))
        return _joined(out)

    def _frame(self, wire: bytes) -> list[Piece]:
        # As many draws for every frame, so that its fault depends on its number alone.
        which, where, what = self._draw.random(), self._draw.random(), self._draw.getrandbits(64)
        fault = ""
        for name, rate in self.faults.rates().items():
            if which < rate:
                fault = name
                break
            which -= rate
        late, self._late = self._late, b""
        if self._vanishing:
            self._vanishing -= 1
            fault = "half_open"
            pieces = []
        else:
            pieces = self._strike(wire, fault, int(where * len(wire)), what)
        if late:
            pieces.append(Piece(late))
        if self._on_frame is not None:
            sent = b"".join(piece.data for piece in pieces)
            self._on_frame(Passage(self._way, self.counts["frames"], wire, fault, sent))
        self.counts["frames"] += 1
        if fault:
            self.counts[fault] += 1
        return pieces

    def _strike(self, wire: bytes, fault: str, at: int, what: int) -> list[Piece]:
        some = 1 + (what & 7)
        match fault:
            case "flip":
                struck = wire[:at] + bytes([wire[at] ^ 1 << (what & 7)]) + wire[at + 1 :]
            case "drop_bytes":
                struck = wire[:at] + wire[at + some :]
            case "duplicate":
                struck = wire * 2
            case "insert":
                struck = wire[:at] + (what >> 3).to_bytes(8, "little")[:some] + wire[at:]
            case "stall":
                return [Piece(wire[:at]), Piece(wire[at:], self.faults.stall_s)]
            case "delay":
                return [Piece(wire, self.faults.delay_s)]
            case "disconnect":
                return [Piece(b"", disconnect=True)]
            case "drop" | "reorder" | "half_open":
                struck = b""
                if fault == "reorder":
                    self._late = wire
                if fault == "half_open":
                    self._vanishing = max(0, self.faults.half_open_frames - 1)
            case _:
                struck = wire
        return [Piece(struck)]


def _joined(pieces: list[Piece]) -> list[Piece]:
    """Join what follows without a pause."""
    out: list[Piece] = []
    for piece in pieces:
        if out and not piece.pause_s and not piece.disconnect:
            out[-1] = out[-1]._replace(data=out[-1].data + piece.data)
        else:
            out.append(piece)
    return [piece for piece in out if piece.data or piece.disconnect]
