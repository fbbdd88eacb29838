"""A log's bytes taken apart: cuts are survived, damage is found and confined."""

import io
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import lz4.frame  # type: ignore[import-untyped]
import zstandard
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, Metadata

from subsong.errors import LogError
from subsong.runlog.container import (
    CHANNEL,
    CLOSED,
    FORMAT,
    FROM_BOARD,
    HEADER_NAME,
    MAGIC,
    MESSAGE_BYTES,
    MESSAGE_HEAD,
    RECORDING,
    RECOVERED,
    SEAL_BYTES,
    TO_BOARD,
    Message,
    metadata_crc,
    walk,
)
from subsong.runlog.records import RunHeader
from subsong.runlog.writer import RECORD, SEAL_BODY, SEAL_PREFIX

# What a recorder writes: anything else in the tail is what is left of a seal.
_WRITTEN = {Opcode.HEADER, Opcode.METADATA, Opcode.SCHEMA, Opcode.CHANNEL, Opcode.MESSAGE}
_CHUNK_LIMIT = 1 << 28  # bytes unpacked: a damaged size must not ask for all memory


class Block(NamedTuple):
    """A stretch of the file that is sound or damaged as one: what a seal covers, a chunk, or loose messages."""

    start: int
    end: int
    chunk: bool
    sound: bool


class Problem(NamedTuple):
    """What is wrong with a file.

    Attributes:
        start: offset of the first byte concerned.
        end: offset after the last one.
        cut: True where the file just ends too early, False for damage.
        text: what is wrong, without the file's name.
        harmless: True where no recorded message can be concerned.
    """

    start: int
    end: int
    cut: bool
    text: str
    harmless: bool = False


class LogFile:
    """A log's bytes, taken apart: header, blocks, and what is wrong with them.

    Attributes:
        where: the file's name, for messages.
        header: the run's header.
        stage: "recording", "closed" or "recovered".
        blocks: in file order.
        problems: in file order; empty for a sound file.
    """

    def __init__(self, data: bytes, where: str) -> None:
        """Take `data` apart.

        Raises:
            LogError: not a run log, of a newer format, or not even the header survives.
        """
        self.where, self._data = where, data
        self.blocks: list[Block] = []
        self.problems: list[Problem] = []
        self._topics: dict[int, str] = {}  # channel number to topic
        if data[:8] != MAGIC:
            what = "is cut within its first bytes" if MAGIC.startswith(data[:8]) else "is not an MCAP file"
            raise LogError(f"{where} {what}: nothing of a run log can be read from it.")
        self.stage, self.header = self._read_header()
        if self.stage == RECORDING:
            self._topics = {number: topic for topic, number in CHANNEL.items()}
            self._take_apart_sealed()
        else:
            self._take_apart_closed()

    # -------------------------------------------------------------------------------------------- header

    def _read_header(self) -> tuple[str, RunHeader]:
        """Find the header's metadata record, wherever in the file it stands."""
        for opcode, start, end in walk(self._data, 8, len(self._data)):
            if opcode != Opcode.METADATA:
                continue
            try:
                record = Metadata.read(_stream(self._data[start:end]))
            except _UNREADABLE:
                continue
            if record.name == HEADER_NAME:
                return self._parse_header(record.metadata)
        raise LogError(
            f"{self.where} holds no readable run header: it is cut or damaged before its first record,"
            " or was not written by Subsong. Nothing can be recovered from it."
        )

    def _parse_header(self, metadata: dict[str, str]) -> tuple[str, RunHeader]:
        """Check format and CRC-32 first: a newer format may have other fields."""
        format_, stage = metadata.get("format", ""), metadata.get("stage", "")
        useless = f"{self.where} has a run header that makes no sense: it is damaged, or was not written by Subsong"
        if not format_.isdecimal():
            raise LogError(f"{useless} (its format is {format_[:9]!r}).")
        if int(format_[:9]) > FORMAT:
            raise LogError(
                f"{self.where} has run log format {format_[:9]}, and this Subsong reads up to {FORMAT}:"
                " a newer Subsong wrote it; upgrade with `pip install -U subsong`."
            )
        if metadata.get("crc32") != str(metadata_crc(metadata)):
            text = "damage in the run's header (its CRC-32 does not match)"
            self.problems.append(Problem(8, 8, False, text, harmless=True))
        if stage not in {RECORDING, CLOSED, RECOVERED}:
            raise LogError(f"{useless} (its stage is {stage[:9]!r}).")
        try:
            return stage, RunHeader.from_metadata(metadata)
        except ValueError as error:
            raise LogError(f"{useless} ({error}).") from error

    # ---------------------------------------------------------------------------------------- while recording: seals

    def _take_apart_sealed(self) -> None:
        data, at = self._data, 0
        while (found := data.find(SEAL_PREFIX, at)) >= 0 and found + SEAL_BYTES <= len(data):
            crc, covered = SEAL_BODY.unpack_from(data, found + len(SEAL_PREFIX))
            start = found - covered
            sealed = at <= start < found and zlib.crc32(memoryview(data)[start:found]) == crc
            if not sealed or start > at:  # with start > at, the seal before this one is damaged, too
                self._damaged_block(at, start if sealed else found)
            if sealed:
                self.blocks.append(Block(start, found, chunk=False, sound=True))
            at = found + SEAL_BYTES
        whole = at
        for opcode, _, after in walk(data, at or 8, len(data)):
            if opcode not in _WRITTEN:
                break
            whole = after
        if whole > at:
            self.blocks.append(Block(at, whole, chunk=False, sound=True))
        if whole < len(data):
            self.problems.append(
                Problem(whole, len(data), True, f"{len(data) - whole} bytes of a cut record at the end")
            )

    def _damaged_block(self, start: int, end: int) -> None:
        self.blocks.append(Block(start, end, chunk=False, sound=False))
        self.problems.append(Problem(start, end, False, f"damage between bytes {start} and {end}"))

    # -------------------------------------------------------------------------------------------- closed: chunks

    def _take_apart_closed(self) -> None:
        """Walk the data section; a chunk is checked by itself, and what lies between chunks by the section's CRC."""
        data, at, data_end = self._data, 8, None
        for opcode, start, end in walk(data, 8, len(data)):
            if opcode == Opcode.CHUNK:
                sound = self._unpack(start, end) is not None
                self.blocks.append(Block(start, end, chunk=True, sound=sound))
                if not sound:
                    self.problems.append(Problem(start, end, False, f"damage in the chunk at byte {start - 9}"))
            elif opcode in {Opcode.MESSAGE, Opcode.CHANNEL}:
                self._loose(start - 9, end)
                if opcode == Opcode.CHANNEL and not self._declare(data[start:end]):
                    self.problems.append(Problem(start, end, False, f"damage in the channel at byte {start - 9}"))
            elif opcode == Opcode.DATA_END:
                data_end = (start, end)
                at = end
                break
            at = end
        if data_end is None:
            cut = data[-8:] != MAGIC
            what = "the file is cut" if cut else "a record's length is damaged, and what follows is lost"
            self.problems.append(Problem(at, len(data), cut, f"after byte {at}, {what}"))
            if data[at : at + 1] == bytes([Opcode.CHUNK]):  # the beginning of a cut chunk may still hold whole frames
                self.blocks.append(Block(at + 9, len(data), chunk=True, sound=False))
            return
        self._check_data_section(*data_end)
        self._check_summary(at)
        for opcode, start, end in walk(data, at, len(data)):  # repeated there, if the first chunk is damaged
            if opcode == Opcode.CHANNEL:
                self._declare(data[start:end])

    def _loose(self, start: int, end: int) -> None:
        """Add a message or channel outside of chunks: other tools may have rewritten the log so."""
        last = self.blocks[-1] if self.blocks else None
        if last is not None and not last.chunk and last.end == start:
            self.blocks[-1] = last._replace(end=end)
        else:
            self.blocks.append(Block(start, end, chunk=False, sound=True))

    def _check_data_section(self, start: int, end: int) -> None:
        stated = int.from_bytes(self._data[start:end], "little")
        odd = end - start != 4
        # 0 says that the writer computed none. A damaged chunk explains a difference already.
        if odd or (
            stated
            and all(block.sound for block in self.blocks)
            and zlib.crc32(memoryview(self._data)[: start - 9]) != stated
        ):
            loose = any(not block.chunk for block in self.blocks)
            text = "damage outside of its chunks (its data section's CRC-32 does not match)"
            self.problems.append(Problem(8, start, False, text, harmless=not loose))

    def _check_summary(self, at: int) -> None:
        data, footer = self._data, len(self._data) - 8 - 29  # opcode, length, 8 + 8 + 4 bytes, and the magic
        if data[-8:] != MAGIC or footer < at or data[footer : footer + 9] != RECORD.pack(Opcode.FOOTER, 20):
            cut = data[-8:] != MAGIC
            text = "it ends before its summary does" if cut else "a damaged footer"
            self.problems.append(Problem(at, len(data), cut, text, harmless=True))
            return
        summary_start, _, stated = struct.unpack_from("<QQI", data, footer + 9)
        wrong = summary_start != (at if footer > at else 0)
        if wrong or (stated and zlib.crc32(memoryview(data)[at : footer + 25]) != stated):
            text = "damage in its summary (the CRC-32 does not match)"
            self.problems.append(Problem(at, len(data), False, text, harmless=True))

    def _unpack(self, start: int, end: int, partly: bool = False) -> bytes | None:
        """Return a chunk's records; None where they are damaged, or with `partly` what can be had of them."""
        try:
            chunk = Chunk.read(_stream(self._data[start:end]))
            if chunk.uncompressed_size > _CHUNK_LIMIT:
                return None
            unpacked = _decompress(chunk.compression, chunk.data, chunk.uncompressed_size)
        except _UNREADABLE:
            return None
        if partly:
            return unpacked
        if len(unpacked) != chunk.uncompressed_size or (
            chunk.uncompressed_crc and zlib.crc32(unpacked) != chunk.uncompressed_crc
        ):
            return None
        return unpacked

    # -------------------------------------------------------------------------------------------- messages

    def messages(self, sound: bool = True) -> Iterator[Message]:
        """Yield the log's messages in file order.

        Args:
            sound: True yields what the sound blocks hold; False yields also the raw frames of damaged ones, which carry
                CRCs of their own, as far as they can be had.
        """
        for block in self.blocks:
            if block.sound:
                yield from self.block_messages(block)
            elif not sound:
                yield from (m for m in self.block_messages(block) if m.topic in {TO_BOARD, FROM_BOARD})

    def block_messages(self, block: Block) -> Iterator[Message]:
        """Yield one block's messages; the channels of a closed log are declared in the blocks before."""
        data, start, end, topics = self._data, block.start, block.end, self._topics
        if block.chunk:
            data = self._unpack(start, end, partly=not block.sound) or b""
            start, end = 0, len(data)
        unpack = MESSAGE_HEAD.unpack_from
        for opcode, at, after in walk(data, start if start or block.chunk else 8, end):
            if opcode == Opcode.MESSAGE and after - at >= MESSAGE_BYTES:
                channel, sequence, t_ns, _ = unpack(data, at)
                topic = topics.get(channel)
                if topic is not None:
                    yield Message(topic, sequence, t_ns, data[at + MESSAGE_BYTES : after])
            elif opcode == Opcode.CHANNEL and self.stage != RECORDING:
                self._declare(data[at:after])

    def _declare(self, content: bytes) -> bool:
        """Take note of a channel; return False where its record cannot be read, which the block's CRC tells."""
        try:
            channel = Channel.read(_stream(content))
        except _UNREADABLE:
            return False
        self._topics[channel.id] = channel.topic
        return True


# What mcap's record readers and the decompressors raise on damaged bytes.
_UNREADABLE = (
    McapError,
    ValueError,
    OverflowError,
    struct.error,
    MemoryError,
    RuntimeError,
    zstandard.ZstdError,
    EOFError,
)


def _stream(data: bytes) -> ReadDataStream:
    return ReadDataStream(io.BytesIO(data))


def _decompress(compression: str, data: bytes, size: int) -> bytes:
    if compression == "zstd":
        return zstandard.ZstdDecompressor().stream_reader(data).read(size + 1)
    if compression == "lz4":
        return lz4.frame.LZ4FrameDecompressor().decompress(data, max_length=size + 1)  # type: ignore[no-any-return]
    if compression:
        raise ValueError(f"unknown compression {compression!r}")
    return data
