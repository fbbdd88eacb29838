"""A board whose port vanished is found again by its identity: its session of the link, which only it can name.

    bridge.outlive(Reconnect(port, patience_s=30.0, deadman_s=2.0, told=print))

Commands are numbered and executed once, so whoever finds the board sends the outstanding command again, under its old
number, and all goes on. A board that is not ours is asked once who it is, and left alone from then on.
"""

import struct
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from subsong.errors import LinkLost, PortError, PortVanished
from subsong.ports import Port
from subsong_device import frames

RECONNECT_S = 30.0
ANSWER_S = 0.25
LOOK_S = 0.05
LATE_S = 1.0  # how much longer than the dead-man time a board may stay in its session: it looks between trials
# The question's number means nothing, so it is one with which no byte on the wire is a key that a prompt obeys.
ASK = frames.encode(frames.ASK, 0x2034, b"")
_STATUS = frames.formats()[frames.STATUS]
# A cable that was pulled within a frame leaves a board that waits for the rest of it: 32 bytes, or a whole STEP's.
# Delimiters fill that, and are nothing else to anybody. A board that answers is spared them.
_FILLERS = (b"", b"\0" * 32, b"\0" * 1044)


class Status(NamedTuple):
    """A board's answer to ASK: see docs/protocol.md."""

    board: int
    session: int
    flags: int
    state: int
    expected: int
    counter: int


@dataclass(frozen=True)
class Found:
    """A board that was found again.

    Attributes:
        was, now: names of the port.
        seconds: since it was missed.
        status: what it says of itself.
        said: all that it said meanwhile, its status included.
    """

    was: str
    now: str
    seconds: float
    status: Status
    said: bytes


class Reconnect:
    """Looks for the board of a port that vanished.

    Args:
        port: open; it goes on under the name at which the board is found.
        patience_s: how long to look; 0: not at all.
        deadman_s: of the session: a board that heard nothing for longer has left it.
        told: called with (what was found, name of the command that waits for its reply, or "", its number).

    Attributes:
        status: what the board said of itself in its session.
        missed: when the board was missed, by time.monotonic(); None while it is there.
    """

    status: Status

    def __init__(
        self, port: Port, patience_s: float, deadman_s: float, told: Callable[[Found, str, int], None]
    ) -> None:
        self.port, self.patience_s, self.told = port, patience_s, told
        self.missed: float | None = None
        self._session_s = (deadman_s + LATE_S) * port.slowdown

    def find(self, error: PortVanished) -> Found:
        """Find the board of `status`; the port is then open again.

        Raises:
            LinkLost: it is nowhere within `patience_s`, or while its session can last.
            PortVanished: `error`, where nobody is to look.
        """
        port = self.port
        if self.patience_s <= 0 or port.board is not None:
            raise error
        was = port.name
        self.missed = began = time.monotonic()
        seconds = min(self.patience_s, self._session_s)
        foreign: set[str] = set()
        asked: Counter[str] = Counter()
        port.let_go()
        while time.monotonic() < began + seconds:
            places = port.places()
            foreign &= set(places)  # what is gone from a name may come back as another
            for name in places:
                if name in foreign:
                    continue
                try:
                    port.reopen(name)
                    answer = ask_who(port, _FILLERS[min(asked[name], len(_FILLERS) - 1)])
                except PortError:  # not ready yet, gone again, or somebody else's
                    answer = None
                else:
                    asked[name] += 1
                if answer is not None:
                    if self.knows(answer[0]):
                        self.missed = None
                        return Found(was, name, time.monotonic() - began, *answer)
                    foreign.add(name)
                port.let_go()
            time.sleep(LOOK_S)
        port.name = was
        raise LinkLost(
            f"port {was}: vanished, and within {seconds:g} s the board was not found again in its session, under this "
            "name or another"
        ) from error

    def knows(self, status: Status) -> bool:
        """Return whether a board is the one that is looked for, and still in its session."""
        return (status.board, status.session) == (self.status.board, self.status.session)


def ask_who(port: Port, filler: bytes = b"") -> tuple[Status, bytes] | None:
    """Ask who is at a port; return the answer and all that was said meanwhile, None if nobody answers.

    Raises:
        PortError: the port vanished.
    """
    deframer = frames.Deframer(frames.body_lengths(False))  # a STATUS is the same in every session
    said = b""
    until = time.monotonic() + ANSWER_S * port.slowdown
    port.write(filler + ASK)
    while (left := until - time.monotonic()) > 0:
        data = port.read_available(left)
        said += data
        for _, kind, _, payload in deframer.feed(data):
            if kind == frames.STATUS:
                return Status(*struct.unpack(_STATUS, payload)), said
    return None
