"""Raw wire frames as the log reads them: the firmware's own frame table, compiled for one run's counts of words."""

import struct
from typing import Any

from subsong_device import frames

Parsed = tuple[int, int, bytes]  # type, seq, payload

NAME: dict[int, str] = {kind: name for kind, name, _, _ in frames.TABLE}
REPLY = {
    frames.STEP: frames.ACT,
    frames.END: frames.TRIAL,
    frames.READ: frames.DATA,
    frames.HELLO: frames.R_HELLO,
    frames.LOAD: frames.CHECKPOINT,
}
TELEMETRY = {frames.T_STEP, frames.T_TRIAL, frames.T_SNAP, frames.T_DONE, frames.T_TIME}
_CHUNK_FIELD = 3  # of R_HELLO
_TRIAL_AT = {  # offset of the trial number in a payload
    **dict.fromkeys((frames.BEGIN, frames.STEP, frames.END, frames.ACT, frames.TRIAL), 0),
    **dict.fromkeys((frames.T_STEP, frames.T_TRIAL, frames.T_SNAP, frames.T_TIME), 4),
}


class Formats:
    """The payloads of a run with `n_sensors` and `n_actuators` words a step.

    Frames are to be parsed in their order: the board's HELLO says how long those are that carry regions.
    """

    def __init__(self, n_sensors: int, n_actuators: int) -> None:
        self.n_sensors = n_sensors
        self._n_actuators = n_actuators
        self._take_chunk(frames.CHUNK)

    def _take_chunk(self, chunk: int) -> None:
        shape = (self.n_sensors, self._n_actuators, chunk)
        self._chunk = chunk
        self._lengths: dict[bool, dict[int, int]] = {way: frames.body_lengths(way, *shape) for way in (True, False)}
        self._structs = {kind: struct.Struct(text) for kind, text in frames.formats(*shape).items()}

    def parse(self, wire: bytes, to_board: bool) -> Parsed | None:
        """Return a frame's type, seq and payload; None where COBS, CRC-32, type or length is wrong."""
        segment = wire[:-1] if wire[-1:] == b"\0" else wire
        if 0 in segment:
            return None
        buf, lengths = bytearray(segment), self._lengths[to_board]
        kind = frames.open_frame(buf, len(segment), lengths)
        if not kind:
            return None
        payload = bytes(buf[frames.PAYLOAD_AT : lengths[kind] - 3])
        if kind == frames.R_HELLO:
            chunk = self.unpack(kind, payload)[_CHUNK_FIELD]
            if chunk != self._chunk and frames.MIN_CHUNK <= chunk <= frames.CHUNK:
                self._take_chunk(chunk)
        return kind, buf[2] | buf[3] << 8, payload

    def unpack(self, kind: int, payload: bytes) -> tuple[Any, ...]:
        """Return the fields of a payload that `parse` accepted."""
        return self._structs[kind].unpack(payload)

    def trial_of(self, wire: bytes, to_board: bool) -> int | None:
        """Return the trial that a frame speaks of, or None."""
        parsed = self.parse(wire, to_board)
        at = _TRIAL_AT.get(parsed[0]) if parsed else None
        return None if parsed is None or at is None else int.from_bytes(parsed[2][at : at + 4], "little")
