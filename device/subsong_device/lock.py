"""A board's key: with one, it takes signed experiments alone, and no counter twice. docs/security.md: what it is worth.

    subsong.key     id of the key u32 | key, 32 bytes                       everything little-endian
    subsong.count   the last counter that was accepted u32 | its CRC-32

An experiment is signed by HMAC-SHA256 over LABEL, the link's schema, the counter, OPEN's payload, and every byte of the
three regions, whose lengths OPEN's payload says.
"""

import os
from errno import ENOENT
from hashlib import sha256
from struct import pack, unpack

from subsong_device.faults import FLASH, UNSIGNED, Fault
from subsong_device.frames import crc32, schema

KEY, COUNT, NEW = "subsong.key", "subsong.count", "subsong.count.new"
KEY_BYTES = 32
NEVER = 0xFFFFFFFF  # a counter above which there is none: nothing is accepted
LABEL = b"subsong experiment 1\0"
_BLOCK = 64  # bytes of a block of SHA-256
_MISSING, _DAMAGED = -1, -2


def sign(key: bytes, counter: int, opened: bytes, regions: tuple[bytes, bytes, bytes]) -> bytes:
    """Return the signature of an experiment, 32 bytes.

    Args:
        key: KEY_BYTES bytes.
        counter: above the last one that the board accepted.
        opened: OPEN's payload.
        regions: head, mem, task as bytes; hashed where they lie.
    """
    rest = _BLOCK - len(key)
    inner = sha256(bytes([byte ^ 0x36 for byte in key]) + b"\x36" * rest)
    inner.update(LABEL + pack("<II", schema(), counter) + opened)
    for region in regions:
        inner.update(region)
    return sha256(bytes([byte ^ 0x5C for byte in key]) + b"\x5c" * rest + inner.digest()).digest()


def same(a: bytes, b: bytes) -> bool:
    """Whether two signatures are equal, in a time that does not tell where they differ."""
    difference = len(a) ^ len(b)
    for x, y in zip(a, b):
        difference |= x ^ y
    return difference == 0


class Lock:
    """The key of a board that has one, and the counter that it keeps on its flash.

    Attributes:
        board: id of the key.
        counter: the last one that was accepted; NEVER if the key or the counter cannot be read.
    """

    def __init__(self):
        self.board = 0
        self._key = b""
        self.counter = NEVER
        try:
            with open(KEY, "rb") as file:
                data = file.read(4 + KEY_BYTES + 1)
            if len(data) == 4 + KEY_BYTES:
                self.board = unpack("<I", data[:4])[0]
                self._key = data[4:]
                self.counter = read_counter()
        except OSError:
            self.counter = NEVER

    def expected(self):
        """Return the least counter that it would accept; NEVER if none."""
        return min(self.counter + 1, NEVER)

    def accept(self, counter, mac, opened, regions):
        """Accept an experiment: from then on its counter, and whatever is below, is spent.

        Raises:
            Fault: UNSIGNED; or FLASH, where the counter cannot be kept.
        """
        if not self.counter < counter < NEVER or not same(mac, sign(self._key, counter, opened, regions)):
            raise Fault(UNSIGNED, self.expected())
        try:
            write_counter(counter)
        except OSError as error:
            raise Fault(FLASH, error.errno or 0)
        self.counter = counter


def write_counter(counter):
    """Keep a counter; at any moment the old or the new one is whole. Raises OSError."""
    words = pack("<I", counter)
    with open(NEW, "wb") as file:
        file.write(words + pack("<I", crc32(words)))
    _rename()
    if hasattr(os, "sync"):
        os.sync()


def read_counter():
    """Return the counter on the flash, after finishing a rename that a cut of power left undone; NEVER if it is lost.

    A new file that is damaged was cut before its counter was accepted. The counter itself is never cut: damaged, it may
    have been any, and nobody knows what is spent.
    """
    counter = _read(COUNT)
    new = _read(NEW)
    if counter != _DAMAGED and new > counter:
        _rename()
        return new
    return counter if counter >= 0 else NEVER


def _rename():
    try:
        os.rename(NEW, COUNT)
    except OSError:  # FAT: no rename onto a file that is there
        os.remove(COUNT)
        os.rename(NEW, COUNT)


def _read(path):
    try:
        with open(path, "rb") as file:
            data = file.read(9)
    except OSError as error:
        return _MISSING if error.errno == ENOENT else _DAMAGED
    if len(data) != 8 or crc32(data[:4]) != unpack("<I", data[4:])[0]:
        return _DAMAGED
    return unpack("<I", data[:4])[0]
