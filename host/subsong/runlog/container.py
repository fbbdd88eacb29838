"""The MCAP side of a run log: channels, layouts of records, and seals.

While a run is recorded the file is unchunked MCAP, and a *seal* follows at least every quarter of a second: a private
record (opcode 0x80, which MCAP readers skip) with the length and CRC-32 of the bytes since the last one. So a cut
leaves sealed blocks and a tail of less than a block, and damage anywhere is found and confined to its block. A closed
file is chunked, and MCAP's own CRCs (chunks, data section, summary) do the same.

    seal    0x80 | length u64 = 16 | "subsong." | crc32 u32 | bytes covered u32         little-endian
"""

import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from subsong.runlog.records import RunHeader
from subsong.runlog.writer import RECORD, SEAL_BODY, SEAL_PREFIX

FORMAT = 1  # of this file layout; a reader refuses what is newer

MAGIC = b"\x89MCAP0\r\n"
HEADER_NAME = "subsong.header"
RECORDING, CLOSED, RECOVERED = "recording", "closed", "recovered"

TO_BOARD, FROM_BOARD = "/wire/to_board", "/wire/from_board"
STEP, TRIAL, STATE, EVENT, TIMING = "/step", "/trial", "/state", "/event", "/timing"
TOPICS = (TO_BOARD, FROM_BOARD, STEP, TRIAL, STATE, EVENT, TIMING)
CHANNEL = {topic: number for number, topic in enumerate(TOPICS, 1)}  # channel numbers while recording

MESSAGE = struct.Struct("<BQHIQQ")  # opcode, length, channel, sequence, log_time, publish_time
MESSAGE_BYTES = 22  # of a message's content before its data
MESSAGE_HEAD = struct.Struct("<HIQQ")  # of the content alone

SEAL_BYTES = len(SEAL_PREFIX) + SEAL_BODY.size


class Message(NamedTuple):
    """One MCAP message: its topic, sequence number, log time (ns) and bytes."""

    topic: str
    sequence: int
    t_ns: int
    data: bytes


def header_metadata(header: RunHeader, stage: str) -> dict[str, str]:
    """Return the metadata record of a log: format, stage, every field of the header, and a CRC-32 over them all."""
    metadata = {"format": str(FORMAT), "stage": stage, **header.to_metadata()}
    return {**metadata, "crc32": str(metadata_crc(metadata))}


def metadata_crc(metadata: Mapping[str, str]) -> int:
    """Return the CRC-32 over a header's metadata, its own entry excepted."""
    return zlib.crc32(repr(sorted((k, v) for k, v in metadata.items() if k != "crc32")).encode())


def walk(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield (opcode, content start, content end) of the records in data[start:end] as far as they are whole."""
    unpack, at = RECORD.unpack_from, start
    while at + 9 <= end:
        opcode, length = unpack(data, at)
        after = at + 9 + length
        if opcode == 0 or after > end:
            return
        yield opcode, at + 9, after
        at = after
