"""The board's end of the wire: bytes in and out, and frames in buffers that are allocated once.

The words of a frame lie on even addresses, the COBS code and the type sharing the first: a frame is read and written as
an array of 16-bit words, and kernels take their sensor words from the buffer that the console filled.
"""

import sys
import time
from array import array
from struct import calcsize, pack_into

from subsong_device import frames

_ZERO = b"\0"
_PIECE = 256
_AT_ONCE = 32
_SPARE = 64  # reads that may follow when time is up: what has come is taken, and a flood does not hold the board


def shared_buffer(code, n):
    """Return two views of the same n zeros: an array(code) for kernels, and the bytearray under it.

    Args:
        code: "H" or "i".
        n: bytes, whole words.
    """
    if sys.implementation.name != "micropython":
        buf = bytearray(n)
        return memoryview(buf).cast(code), buf
    from uctypes import addressof, bytearray_at

    # Grown by pieces, mostly in place: array(code, bytes(n)) would need the memory twice.
    piece = array(code, bytes(_PIECE))
    rest = array(code, bytes(n % _PIECE))
    words = array(code)
    for _ in range(n // _PIECE):
        words.extend(piece)
    words.extend(rest)
    return words, bytearray_at(addressof(words), n) if n else bytearray(0)


class Silence(Exception):
    """There is no host to speak to: unheard or not reading for the dead-man time, or gone after CLOSE."""


class Console:
    """The wire of a real board: standard input and output, whatever serial port lies behind them.

    Attributes:
        arrived: arrived(ms) waits at most so long, and is an iterable that is empty if nothing came.
        readinto: readinto(buffer) fills it, however long that takes; returns how many bytes.
        write: write(buffer) returns how many bytes the driver took.
    """

    def __init__(self):
        from select import POLLIN, POLLOUT, poll

        # The binary streams: the text streams translate line ends.
        arrived = poll()
        arrived.register(sys.stdin.buffer, POLLIN)
        self._room = poll()
        self._room.register(sys.stdout.buffer, POLLOUT)
        self.arrived = arrived.ipoll
        self.readinto = sys.stdin.buffer.readinto
        self.write = sys.stdout.buffer.write

    def wait(self, ms):
        """Return whether a byte is there, waiting at most so long."""
        for _ in self.arrived(ms):
            return True
        return False

    def room(self, ms):
        """Return whether the host's side takes a byte, waiting at most so long."""
        for _ in self._room.ipoll(ms):
            return True
        return False


class Receiver:
    """Frames from the wire.

    A read blocks until every byte it asked for has come, so each asks for what a whole frame must still bring: its
    first 9 bytes (no frame has fewer), then, from its type, the rest. If a damaged type asks for too much, the host's
    next try brings it: hence no more than 32 bytes at once. After damage it is byte by byte up to the next whole frame,
    polling before each: no read then asks for what nobody sent.

    Attributes:
        words, buf: the frame that receive() returned, decoded: its type at buf[1], its payload at frames.PAYLOAD_AT.
        damaged: segments between delimiters that were no frame.
        heard: time.ticks_ms() of the last frame.
        idle: whether nothing is buffered and the next byte begins a frame.
    """

    def __init__(self, wire):
        self._wait = wire.wait
        self._readinto = wire.readinto
        self.damaged = 0
        self.heard = time.ticks_ms()
        self.buf = bytearray(0)
        self._have = 0
        self._used = 0
        self._synchronised = False
        self._skipping = False
        self.set_lengths(frames.body_lengths(True))

    @property
    def idle(self):
        return self._synchronised and self._have == self._used

    def set_lengths(self, lengths):
        """Take the body lengths of an OPEN. What was read ahead is kept."""
        ahead = self.buf[self._used : self._have]
        size = max(frames.wire_length(max(lengths.values())), len(ahead))
        words, buf = shared_buffer("H", size + (size & 1))
        buf[: len(ahead)] = ahead
        self._have = len(ahead)
        self._used = 0
        self.words, self.buf = words, buf
        self.view = memoryview(buf)
        self.lengths = lengths

    def receive(self, ms):
        """Return the type of the next whole frame, or 0 if none came in so many milliseconds (0: if none is there)."""
        until = time.ticks_add(time.ticks_ms(), ms)
        spare = _SPARE
        while True:
            kind = self._take()
            if kind:
                return kind
            left = time.ticks_diff(until, time.ticks_ms())
            if left <= 0:
                left = 0
                spare -= 1
            if spare < 0 or not self._wait(left):
                return 0
            self._read()

    def resume(self, n):
        """Go on from a reader that found this receiver idle and has put n bytes into its buffer."""
        self._used = 0
        self._have = n

    def _take(self):
        """Return the type of the frame at the buffer's start, if it is whole; drop what is damaged."""
        buf = self.buf
        while True:
            if self._used:
                left = self._have - self._used
                if left:
                    buf[:left] = bytes(buf[self._used : self._have])
                self._have = left
                self._used = 0
            end = buf.find(_ZERO, 0, self._have)
            if end < 0:
                return 0
            self._used = end + 1
            if self._skipping:
                self._skipping = False
                continue
            kind = frames.open_frame(buf, end, self.lengths)
            if kind:
                self._synchronised = self._used == self._have
                self.heard = time.ticks_ms()
                return kind
            if end:
                self.damaged += 1
                self._synchronised = False

    def _read(self):
        """Read what the frame at the buffer's start must still bring; one byte of it is there."""
        have = self._have
        want = frames.SHORTEST - have
        if want <= 0:
            body = self.lengths.get(self.buf[1])
            if body and have < frames.wire_length(body):
                want = min(max(1, body + 2 - have), _AT_ONCE)
            else:  # no delimiter where every frame of this type has ended: skip to the next one
                if not self._skipping:
                    self.damaged += 1
                    self._skipping = True
                    self._synchronised = False
                have = 0
        if not self._synchronised:
            want = 1
        if self._readinto(self.view[have : have + want]) != want:
            raise OSError("the wire is gone")
        self._have = have + want


class Outbox:
    """A buffer for frames on their way out.

    Attributes:
        words, buf: the frame to be, its payload at frames.PAYLOAD_AT; view: the same as a memoryview.
    """

    def __init__(self, payload):
        self.body = payload + frames.OVERHEAD
        size = frames.wire_length(self.body)
        self.words, self.buf = shared_buffer("H", size + (size & 1))
        self.view = memoryview(self.buf)
        # Slices that are there already: a frame that is sent in every step is to leave as little garbage as can be.
        self._covered = self.view[1 : self.body - 3]
        self._wire = self.view[:size]

    def seal(self):
        """Return the bytes on the wire of the frame whose body fills the buffer."""
        pack_into("<I", self.buf, self.body - 3, frames.crc32(self._covered))
        n = frames.stuff(self.buf, self.body)
        return self._wire if n == len(self._wire) else self.view[:n]

    def pack(self, kind, seq, layout, *fields):
        """Write a frame, its payload's fields by struct format; return its bytes on the wire."""
        self.buf[1] = kind
        self.words[1] = seq
        pack_into(layout, self.buf, frames.PAYLOAD_AT, *fields)
        return self.view[: frames.seal_frame(self.buf, calcsize(layout) + frames.OVERHEAD)]
