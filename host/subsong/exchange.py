"""Numbered commands over a port: each is sent until its reply comes, and everything that goes wrong is counted."""

import struct
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol
from zlib import crc32

from subsong.errors import LinkLost, PortVanished, SubsongError
from subsong.link_faults import fault_error
from subsong.reconnect import ASK, Reconnect, Status
from subsong_device import faults, frames

OnFrame = Callable[[bool, bytes, int], None]
StepFunction = Callable[[int, int, int, Sequence[int]], tuple[Any, ...]]
SETTLE_S = 0.02  # after a damaged frame the rest of what broke it may still come; then the command is sent again
_NAMES = {kind: name for kind, name, _, _ in frames.TABLE}
_HEADS = [bytes((n + 1,)) for n in range(254)]  # COBS codes
TELEMETRY = frozenset((frames.T_STEP, frames.T_TRIAL, frames.T_SNAP, frames.T_DONE, frames.T_TIME))


class LinkPort(Protocol):
    """What the link asks of a port; subsong.ports.Port is one."""

    @property
    def name(self) -> str:
        """What the user calls it."""

    def read_available(self, timeout_s: float) -> bytes:
        """Wait for a first byte, then return all that has come; b"" if none came."""

    def write(self, data: bytes) -> None:
        """Write all of it."""


@dataclass
class LinkCounters:
    """What went wrong on the wire and was mended.

    Attributes:
        retries: commands sent again.
        damaged: frames from the board that were refused.
        stale: replies to no open command, as a second one to what was sent again; telemetry that came twice or late.
        reconnects: times that the port vanished and the board was found again.
        holes: gaps in the telemetry's numbers.
        lost: telemetry frames in them.
        refused_by_board: frames that the board refused, by its own count.
    """

    retries: int = 0
    damaged: int = 0
    stale: int = 0
    reconnects: int = 0
    holes: int = 0
    lost: int = 0
    refused_by_board: int = 0


class Frame(NamedTuple):
    """A whole frame from the board; type 0: one that is damaged."""

    kind: int
    seq: int
    payload: bytes


_DAMAGED = Frame(0, 0, b"")


class Exchange:
    """One command at a time, over a port.

    Args:
        port: an open port.
        on_frame: called with (to_board, bytes on the wire, ns since the epoch) for every frame, damaged ones included.
        timeout_s: a command without a reply is sent again after so long.
        patience_s: silence after which the board is given up.

    Attributes:
        counters: what was mended.
        telemetry: numbered frames that came and were not taken yet.
        unanswered: bytes that came since a command was last sent.
        chunk: bytes of a region in one frame, as the board's HELLO says.
        greeted: whether the board has answered a HELLO: one that it says by itself is news from then on.
    """

    def __init__(self, port: LinkPort, on_frame: OnFrame | None, timeout_s: float, patience_s: float) -> None:
        self.port = port
        self.counters = LinkCounters()
        self.timeout_s = timeout_s
        self.patience_s = patience_s
        self.telemetry: deque[Frame] = deque()
        self.chunk = frames.CHUNK
        self.greeted = False
        self.deframer = frames.Deframer(frames.body_lengths(False))
        self.formats: dict[int, str] = frames.formats()
        self._on_frame = on_frame
        self._frames: deque[Frame] = deque()
        self._unlogged: tuple[bool, bytes, int] | None = None
        self._seq = 0
        self._reconnect: Reconnect | None = None
        self.heard = time.monotonic()
        self.unanswered = 0

    def reopen(self, n_sensors: int, n_actuators: int) -> None:
        """Take the words of a step, which fix the lengths of STEP, ACT and T_STEP."""
        self.formats = frames.formats(n_sensors, n_actuators, self.chunk)
        self.deframer.lengths = frames.body_lengths(False, n_sensors, n_actuators, self.chunk)

    def next_seq(self) -> int:
        """Return the number of the next command; 0 is no command's."""
        self._seq = self._seq + 1 if self._seq != 0xFFFF else 1
        return self._seq

    def ask(self) -> Status:
        """Ask the board who it is, which changes nothing. Raises as `command`."""
        self.write(ASK)
        return Status(*self.await_reply(ASK, frames.ASK, 0, (), frames.STATUS))

    def outlive(self, reconnect: Reconnect) -> Status:
        """Ask the board who it is; when the port vanishes from now on, look for it and go on. Raises as `command`."""
        reconnect.status = self.ask()
        self._reconnect = reconnect
        return reconnect.status

    def give_up(self) -> None:
        """From now on, a port that vanishes stays away: PortVanished."""
        self._reconnect = None

    def _find_again(self, error: PortVanished, waiting: int) -> None:
        """Look for the board of a port that vanished.

        Args:
            error: how it vanished.
            waiting: type of the command whose reply has not come, or 0.

        Raises:
            PortVanished: nobody is to look for it. LinkLost: it is not found.
        """
        reconnect = self._reconnect
        if reconnect is None:
            raise error
        self.flush_log()
        found = reconnect.find(error)
        self.counters.reconnects += 1
        reconnect.told(found, _NAMES.get(waiting, ""), self._seq)
        self.deframer.tail = b""  # of a frame whose rest is lost
        if self._on_frame is not None:
            self._on_frame(True, ASK, time.time_ns())
        self.take(found.said)
        self.unanswered = frames.WINDOW  # of a run, the board may have sent that much, and wait for a word
        self.heard = time.monotonic()

    def command(self, kind: int, *values: object, reply: int = frames.ACK, allowed: int = faults.OK) -> tuple[Any, ...]:
        """Send a command until it is answered; return the reply's fields.

        Args:
            kind: type of the frame.
            values: its fields.
            reply: type of the answer.
            allowed: a fault that is an answer, too.

        Raises:
            BoardError, FirmwareError, SchemaMismatch: the board refused it.
            LinkLost: no reply.
            PortError: the port vanished.
        """
        seq = self.next_seq()
        wire = frames.encode(kind, seq, struct.pack(self.formats[kind], *values))
        self.write(wire)
        return self.await_reply(wire, kind, seq, values, reply, allowed)

    def await_reply(
        self,
        wire: bytes,
        kind: int,
        seq: int,
        values: tuple[object, ...],
        reply: int,
        allowed: int = faults.OK,
    ) -> tuple[Any, ...]:
        """Wait for the reply to a command that was sent once; send it again as often as it takes."""
        now = time.monotonic()
        self.heard = now
        resend_at = now + self.timeout_s
        asked = 1
        while True:
            frame = self.receive(resend_at - now, kind)
            now = time.monotonic()
            if frame is not None and frame.kind:
                if frame.kind in TELEMETRY:
                    self.telemetry.append(frame)
                elif frame.seq == seq and (frame.kind == reply or (frame.kind == frames.ACK and seq)):
                    fields = struct.unpack(self.formats[frame.kind], frame.payload)
                    if frame.kind == frames.ACK and fields[0] not in (faults.OK, allowed):
                        raise fault_error(self.port.name, kind, values, *fields)
                    return fields
                else:
                    self.stale(frame)
            elif frame is not None:
                resend_at = min(resend_at, now + SETTLE_S)
            if now >= resend_at:
                if now - self.heard >= self.patience_s:
                    raise self.lost(f"asked {asked} times")
                self.counters.retries += 1
                asked += 1
                self.write(wire)
                resend_at = now + self.timeout_s

    def receive(self, timeout_s: float, waiting: int = 0) -> Frame | None:
        """Return the next frame, damaged ones included; None if none came in time.

        After the port vanished and the board was found again, a damaged frame is what there is in place of all that was
        lost: whoever waits for a reply sends its command again.

        Args:
            timeout_s: how long to wait.
            waiting: type of the command that waits for its reply, if one does.

        Raises:
            LinkLost: the board said that it leaves.
            BoardError: a kernel failed in a run.
            PortError: the port vanished.
        """
        until = time.monotonic() + timeout_s
        while not self._frames:
            left = max(0.0, until - time.monotonic())
            try:
                data = self.port.read_available(left)
            except PortVanished as error:
                self._find_again(error, waiting)
                return _DAMAGED
            if not data and left <= 0.0:
                return None
            self.take(data)
        frame = self._frames.popleft()
        if frame.kind:
            self.heard = time.monotonic()
        return frame

    def next_taken(self) -> Frame | None:
        """Return the next frame that take() has cut; None if there is none."""
        return self._frames.popleft() if self._frames else None

    def next_telemetry(self, timeout_s: float) -> Frame | None:
        """Return the next numbered frame; None if none came in time, or a damaged one did."""
        if self.telemetry:
            return self.telemetry.popleft()
        frame = self.receive(timeout_s)
        if frame is not None and frame.kind and frame.kind not in TELEMETRY:
            self.stale(frame)
        return frame if frame is not None and frame.kind in TELEMETRY else None

    def take(self, data: bytes) -> None:
        """Cut what came into frames."""
        t_ns = time.time_ns()
        self.unanswered += len(data)
        for wire, kind, seq, payload in self.deframer.feed(data):
            self._log_received(wire, t_ns)
            self.counters.damaged += not kind
            self._frames.append(Frame(kind, seq, payload))

    def stale(self, frame: Frame) -> None:
        """Count a frame that nobody waits for.

        Raises:
            SubsongError: the board speaks by itself: it leaves, a kernel failed, or it was restarted.
        """
        if frame.kind == frames.STATUS:
            return  # to a question that was asked more than once
        if frame.seq == 0 and (self.greeted or frame.kind != frames.R_HELLO):
            raise self._spontaneous(frame)
        self.counters.stale += 1

    def _spontaneous(self, frame: Frame) -> SubsongError:
        name = self.port.name
        if frame.kind == frames.R_HELLO:
            return LinkLost(f"port {name}: the board was restarted; its learner is gone. Start the run again")
        if frame.kind != frames.ACK:
            return LinkLost(f"port {name}: a reply of type 0x{frame.kind:02x} without a number; start the run again")
        code, detail = struct.unpack(self.formats[frames.ACK], frame.payload)
        if code == faults.DEADMAN:
            return LinkLost(
                f"port {name}: the board heard nothing for {detail} ms and left the link; if the plant or this "
                "computer needs longer, raise run.deadman_ms"
            )
        return fault_error(name, 0, (), code, detail)

    def lost(self, asked: str) -> LinkLost:
        """Return the error for a silent board."""
        c = self.counters
        return LinkLost(
            f"port {self.port.name}: the board fell silent ({asked}, nothing valid for {self.patience_s:g} s; "
            f"{c.damaged} damaged frames before). Is it powered, is the cable sound? Reset it and start the run again"
        )

    # ------------------------------------------------------------------------------------------ bytes and the log

    def write(self, wire: bytes) -> None:
        """Send a frame's bytes."""
        t_ns = time.time_ns()
        self.unanswered = 0
        sent = False
        while not sent:
            try:
                self.port.write(wire)
                sent = True
            except PortVanished as error:
                self._find_again(error, wire[1])
                t_ns = time.time_ns()
            finally:
                self.flush_log()  # after the write: the board works meanwhile
        if self._on_frame is not None:
            self._on_frame(True, wire, t_ns)

    def _log_received(self, wire: bytes, t_ns: int) -> None:
        if self._on_frame is not None:
            self.flush_log()
            self._on_frame(False, wire, t_ns)

    def flush_log(self) -> None:
        """Hand on the reply whose logging waits for the next command."""
        if self._unlogged is not None and self._on_frame is not None:
            unlogged = self._unlogged
            self._unlogged = None
            self._on_frame(*unlogged)

    # ------------------------------------------------------------------------------------------ the path of a step

    def make_step(self, n_sensors: int, n_actuators: int) -> StepFunction:
        """Return a function that does what `command` does, for STEP: one write and one read where nothing goes wrong.

        It takes (trial, step, cost, sensor words) and returns ACT's fields: trial, step, actuator words. COBS and CRC
        are in line, as frames.stuff and frames.open_frame have them: 4 us a step on the host instead of 8 through
        `command`. It raises struct.error for a word that is out of range, besides what `command` raises.
        """
        make_body = struct.Struct(f"<BHIHi{n_sensors}h").pack
        make_crc = struct.Struct("<I").pack
        parse = struct.Struct(f"<IH{n_actuators}h").unpack_from
        size = frames.wire_length(frames.body_lengths(False, n_sensors, n_actuators)[frames.ACT])
        end = size - 1
        port, deframer, queued, on_frame, now = self.port, self.deframer, self._frames, self._on_frame, time.time_ns
        kind, answer, residue, payload_at = frames.STEP, frames.ACT, frames.RESIDUE, frames.PAYLOAD_AT

        def step(trial: int, number: int, cost: int, x: Sequence[int]) -> tuple[Any, ...]:
            seq = self._seq + 1 if self._seq != 0xFFFF else 1
            body = make_body(kind, seq, trial, number, cost, *x)
            body += make_crc(crc32(body))
            if len(body) < 254:
                wire = b"".join([_HEADS[len(part)] + part for part in body.split(b"\0")]) + b"\0"
            else:  # it may have runs of 254 bytes without a zero
                wire = frames.encode(kind, seq, body[3:-4])
            self._seq = seq
            t_ns = now()
            try:
                try:
                    port.write(wire)
                finally:
                    unlogged = self._unlogged
                    if unlogged is not None:
                        self._unlogged = None
                        on_frame(*unlogged)  # type: ignore[misc]  # there is none unlogged where nobody logs
                if on_frame is not None:
                    on_frame(True, wire, t_ns)
                data = port.read_available(self.timeout_s)
            except PortVanished as error:
                self._find_again(error, kind)
                data = b""
            if len(data) == size and data.find(0) == end and not deframer.tail and not queued:
                buf = bytearray(data)
                p = 0
                while p < end:
                    code = buf[p]
                    buf[p] = 0
                    p += code
                if p == end and buf[1] == answer and crc32(memoryview(buf)[1:end]) == residue:
                    if buf[2] | buf[3] << 8 == seq:
                        if on_frame is not None:
                            self._unlogged = (False, data, now())
                        return parse(buf, payload_at)
            if not data:
                self.counters.retries += 1
                self.write(wire)
            self.take(data)
            return self.await_reply(wire, kind, seq, (trial, number, cost, x), answer)

        return step
