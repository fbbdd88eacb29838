"""A recording becomes a closed log: frames decoded into channels, chunked, compressed, indexed, renamed into place."""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mcap.writer import CompressionType, Writer

from subsong.errors import LogError
from subsong.runlog.codec import (
    encode_ended,
    encode_event,
    encode_state,
    encode_timing,
    parse_event,
    parse_state,
    parse_timing,
    step_template,
)
from subsong.runlog.container import (
    EVENT,
    FROM_BOARD,
    HEADER_NAME,
    STATE,
    STEP,
    TIMING,
    TO_BOARD,
    TRIAL,
    Message,
    header_metadata,
)
from subsong.runlog.decode import Decoder
from subsong.runlog.records import Event, Frame, Record, RunHeader, State, Step, dump
from subsong.timing import Timing
from subsong_device import frames
from subsong_sim.learner import Ended

try:
    LIBRARY = f"subsong {version('subsong')}"
except PackageNotFoundError:  # run from a source tree that is not installed
    LIBRARY = "subsong"

# A chunk ends with the first trial's end after so many bytes: damage then costs few trials, and their range is known.
_CHUNK_BYTES = 128 * 1024
_CHUNK_MOST = 1024 * 1024

_INTEGER = {"type": "integer"}
_WORDS = {"type": "array", "items": _INTEGER}
_TEXT = {"type": "string"}
_FLAG = {"type": "boolean"}
_ANY: dict[str, object] = {"type": "object", "properties": {}}  # viewers insist on `properties`
_BASE64 = {"type": "string", "contentEncoding": "base64"}
_COUNTS = ("trial", "steps", "total", "baseline", "checksum", "saturated", "dropped", "last_cost")
_SCHEMAS: dict[str, tuple[str, dict[str, object]]] = {
    STEP: ("subsong.Step", {"trial": _INTEGER, "step": _INTEGER, "cost": _INTEGER, "x": _WORDS, "u": _WORDS}),
    TRIAL: ("subsong.Trial", {**dict.fromkeys(_COUNTS, _INTEGER), "evaluate": _FLAG}),
    STATE: ("subsong.State", {"label": _TEXT, "head": _BASE64, "mem": _BASE64, "crc32": _INTEGER, "derived": _FLAG}),
    EVENT: ("subsong.Event", {"kind": _TEXT, "text": _TEXT, "derived": _FLAG, "fields": _ANY}),
    TIMING: ("subsong.Timing", {**dict.fromkeys(Timing._fields, _INTEGER), "clock": _TEXT}),
}
# The raw channels have a schema, too, since some viewers stop at a channel without one; this one is for people to read.
_WIRE_SCHEMA = (
    "COBS(type u8 | seq u16 | payload | crc32 u32) 0x00, little-endian; type, name, payload (struct; S and A: the run's"
    " sensor and actuator words, int16; D: 128 bytes), fields:\n"
) + "\n".join(f"{kind:02x} {name} {payload} {names}" for kind, name, payload, names in frames.TABLE)

Progress = Callable[[float], None]


def register(writer: Writer, source: str) -> dict[str, int]:
    """Declare the channels of a board's log (all), or of a simulator's (no wire); return their numbers."""
    channels: dict[str, int] = {}
    if source == "board":
        schema_id = writer.register_schema("subsong.Frame", "subsong-link", _WIRE_SCHEMA.encode())
        for topic in (TO_BOARD, FROM_BOARD):
            channels[topic] = writer.register_channel(topic, "subsong-link", schema_id)
    for topic, (name, properties) in _SCHEMAS.items():
        schema = {"type": "object", "properties": properties, "required": sorted(properties)}
        schema_id = writer.register_schema(name, "jsonschema", dump(schema).encode())
        channels[topic] = writer.register_channel(topic, "json", schema_id)
    return channels


class Encoder:
    """Records to (topic, JSON bytes), for a run with so many words a step."""

    def __init__(self, header: RunHeader) -> None:
        self._step = step_template(header.n_sensors, header.n_actuators)

    def encode(self, record: Record) -> tuple[str, bytes]:
        """Return the record's topic and message."""
        match record:
            case Step(trial, step, cost, x, u):
                return STEP, (self._step % (trial, step, cost, *x, *u)).encode()
            case Ended(summary, last_cost):
                return TRIAL, encode_ended(summary, last_cost)
            case State():
                return STATE, encode_state(record)
            case Event():
                return EVENT, encode_event(record)
            case Timing():
                return TIMING, encode_timing(record)


def derive(header: RunHeader, messages: Iterable[Message]) -> Iterator[Message]:
    """Yield a board's messages with everything that its raw frames say, each record behind the frame that completed it.

    What was derived before is dropped and made anew, so that a recovered log agrees with the frames that survived.
    A simulator's messages pass as they are: it has no frames.
    """
    if header.source != "board":
        yield from messages
        return
    decoder, encode, index, t_ns = Decoder(header), Encoder(header).encode, 0, header.started_ns
    for message in messages:
        topic, t_ns = message.topic, message.t_ns
        if topic in {TO_BOARD, FROM_BOARD}:
            yield message._replace(sequence=index & 0xFFFFFFFF)
            for record in decoder.feed(Frame(index, topic == TO_BOARD, message.data, t_ns)):
                kind, data = encode(record)
                yield Message(kind, index & 0xFFFFFFFF, t_ns, data)
            index += 1
        elif topic in {STATE, EVENT, TIMING} and not _derived(message):
            yield message
    for record in decoder.finish():
        kind, data = encode(record)
        yield Message(kind, index & 0xFFFFFFFF, t_ns, data)


def _derived(message: Message) -> bool:
    try:
        if message.topic == TIMING:
            return parse_timing(message.data).clock == "board"
        return (parse_state if message.topic == STATE else parse_event)(message.data).derived
    except ValueError:
        return False  # unreadable, and the host's own: it stays, and the reader says so


def write_closed(
    out: Path,
    header: RunHeader,
    stage: str,
    messages: Iterable[Message],
    *,
    bytes_in: int = 0,
    progress: Progress | None = None,
) -> None:
    """Write a closed log under a passing name, then rename it to `out`.

    Args:
        out: the log's name; nothing stands under it before everything does.
        header: the run's header.
        stage: container.CLOSED or container.RECOVERED.
        messages: in the order in which they shall stand.
        bytes_in: bytes that `messages` will come to, roughly, for `progress`.
        progress: called with 0..1 now and then.

    Raises:
        LogError: the disk is full or the folder cannot be written; `out` does not exist then.
    """
    if out.exists():
        raise LogError(f"Cannot write the run log {out}: it exists already. Choose another name, or move it away.")
    passing = out.with_name(out.name + ".closing")
    try:
        with passing.open("wb") as file:
            _write(
                Writer(file, chunk_size=_CHUNK_MOST, compression=CompressionType.ZSTD, enable_data_crcs=True),
                header,
                stage,
                messages,
                bytes_in,
                progress,
            )
            file.flush()
            os.fsync(file.fileno())
        passing.replace(out)
        sync_folder(out.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            passing.unlink()
        raise LogError(f"Cannot write the run log {out}: {error.strerror or error}.") from error


def _write(
    writer: Writer, header: RunHeader, stage: str, messages: Iterable[Message], bytes_in: int, progress: Progress | None
) -> None:
    writer.start(profile="", library=LIBRARY)
    writer.add_metadata(HEADER_NAME, header_metadata(header, stage))
    writer.add_attachment(0, header.started_ns, "experiment.toml", "application/toml", header.experiment_toml.encode())
    channels = register(writer, header.source)
    chunk = done = 0
    add = writer.add_message
    for topic, sequence, t_ns, data in messages:
        add(channels[topic], t_ns, data, t_ns, sequence)
        chunk += len(data) + 31
        if (topic == TRIAL and chunk > _CHUNK_BYTES) or chunk > _CHUNK_MOST:
            writer.flush()  # type: ignore[no-untyped-call]
            done += chunk
            chunk = 0
            if progress is not None:
                progress(min(1.0, done / max(done, bytes_in)))
    writer.finish()  # type: ignore[no-untyped-call]
    if progress is not None:
        progress(1.0)


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` last through a power cut, where the system has that."""
    with contextlib.suppress(OSError):  # Windows cannot open folders; the rename itself is done
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
