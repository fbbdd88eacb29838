"""The process that writes a recording's file, so that the host, which hands records over in a pipe, waits for no disk.

It ends when nobody is left who could hand anything over, and not before: no key and no signal but SIGKILL ends it, so
a host that is killed loses nothing that it had handed over. It is started by path, with -I -S, and imports nothing
but the standard library: its first read comes some 15 ms after its start.

    stdin    MCAP records; FLUSH among them asks to write and seal what came before, and to say so
    stdout   the file, open and locked
    stderr   FLUSHED for each FLUSH; at the end, if so, why nothing can be written any more
"""

import os
import signal
import struct
import sys
import time
import zlib

RECORD = struct.Struct("<BQ")  # opcode, length
SEAL_OPCODE = 0x80
SEAL_PREFIX = RECORD.pack(SEAL_OPCODE, 16) + b"subsong."
SEAL_BODY = struct.Struct("<II")  # CRC-32 and number of the bytes since the last seal
FLUSH = RECORD.pack(SEAL_OPCODE, 0)
FLUSHED = b"\0"

_SEAL_NS = 250_000_000
_SEAL_BYTES = 256 * 1024
_READ_BYTES = 64 * 1024
_PAUSE_S = 0.005  # what comes meanwhile is written at once: no frame has to wake a process


def write_all(file: int, data: bytes | bytearray) -> None:
    """Hand bytes to the operating system, all of them.

    Raises:
        OSError: the disk is full: it takes a part first, and refuses the rest.
    """
    at = os.write(file, data)
    while at < len(data):
        at += os.write(file, data[at:])


class Sealed:
    """A file that gets a seal at least every quarter of a second or 256 KiB, always between two records."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._crc = self._covered = 0  # of what is not sealed yet
        self._due = time.monotonic_ns() + _SEAL_NS

    def write(self, records: bytes | bytearray) -> None:
        """Write whole records."""
        if records:
            write_all(self._file, records)
            self._crc = zlib.crc32(records, self._crc)
            self._covered += len(records)
            if self._covered > _SEAL_BYTES or time.monotonic_ns() > self._due:
                self.seal()

    def seal(self) -> None:
        """Vouch for what was written since the last seal."""
        if self._covered:
            write_all(self._file, SEAL_PREFIX + SEAL_BODY.pack(self._crc, self._covered))
        self._crc = self._covered = 0
        self._due = time.monotonic_ns() + _SEAL_NS


def write_from(pipe: int, file: int, status: int) -> None:
    """Write what comes through a pipe, until its other end is closed.

    Raises:
        OSError: the disk is full. Behind a half-written record nothing follows.
    """
    sealed, rest = Sealed(file), bytearray()
    while data := os.read(pipe, _READ_BYTES):
        rest += data
        start, at, asked = 0, 0, False
        while at + RECORD.size <= len(rest):
            opcode, length = RECORD.unpack_from(rest, at)
            after = at + RECORD.size + length
            if after > len(rest):
                break
            if opcode == SEAL_OPCODE:
                sealed.write(rest[start:at])
                sealed.seal()
                os.write(status, FLUSHED)
                start, asked = after, True
            at = after
        sealed.write(rest[start:at])
        del rest[:at]
        if not asked and len(data) < _READ_BYTES:
            time.sleep(_PAUSE_S)
    sealed.seal()
    if rest:  # the host was killed amid a record that is larger than a pipe takes at once
        write_all(file, rest)


def main() -> int:
    """Write standard input to standard output; return the exit code."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    try:
        write_from(0, 1, 2)
    except OSError as error:
        os.write(2, (error.strerror or str(error)).encode())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
