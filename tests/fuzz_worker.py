"""Runs under MicroPython and under CPython: makes damaged frames from a seed, and cuts them with both parsers.

    python fuzz_worker.py SEED INPUTS BATCH     # prints, for each batch of inputs, what both parsers found in it

An input is one to three parts: a frame as it is, a frame that was harmed, bytes that are none, pieces of two frames.
Each frame that a parser finds goes into its digest: type, number, payload.
"""

import sys
import time
from array import array

from subsong_device import frames
from subsong_device.link import Receiver

if sys.implementation.name != "micropython":
    time.ticks_ms = lambda: 0
    time.ticks_add = lambda a, b: a + b
    time.ticks_diff = lambda a, b: a - b

# Small words and chunks: short frames, hence many. tests/test_frames.py has every length.
LENGTHS = frames.body_lengths(True, 2, 1, frames.MIN_CHUNK)
# No read asks for more than the longest frame, so after so many delimiters nothing waits for what never comes.
QUIET = bytes(frames.wire_length(max(LENGTHS.values())) + 40)


class StreamEnded(Exception):
    pass


class StreamWire:
    """A wire that brings what was put into it."""

    def __init__(self):
        self.stream = b""
        self._at = 0

    def put(self, data):
        self.stream = self.stream[self._at :] + data
        self._at = 0

    def wait(self, _ms):
        return self._at < len(self.stream)

    def readinto(self, view):
        n = len(view)
        if self._at + n > len(self.stream):
            raise StreamEnded  # a real wire would block here until more comes
        view[:] = self.stream[self._at : self._at + n]
        self._at += n
        return n


class Draw:
    """Marsaglia's 32-bit xorshift (13, 17, 5): the same draws on every Python."""

    def __init__(self, seed):
        self._word = seed * 2654435761 & 0xFFFFFFFF or 1

    def __call__(self, n):
        """Return 0..n-1."""
        w = self._word
        w ^= w << 13 & 0xFFFFFFFF
        w ^= w >> 17
        w ^= w << 5 & 0xFFFFFFFF
        self._word = w
        return w % n


class Inputs:
    """Makes inputs."""

    def __init__(self, seed):
        self.draw = draw = Draw(seed)
        self._noise = bytes([draw(256) for _ in range(4096)])
        self._corpus = []
        for kind in sorted(LENGTHS):
            for alphabet in (1, 2, 256):  # no zeros but in the head, many, some
                n = LENGTHS[kind] - frames.OVERHEAD
                payload = bytes([(1 if alphabet == 1 else 0) + draw(alphabet) for _ in range(n)])
                self._corpus.append(frames.encode(kind, draw(0x10000), payload))

    def frame(self):
        return self._corpus[self.draw(len(self._corpus))]

    def noise(self, n):
        at = self.draw(len(self._noise) - n)
        return self._noise[at : at + n]

    def part(self):
        draw = self.draw
        wire = self.frame()
        at = draw(len(wire))
        what = draw(10)
        if what == 0:
            return self.noise(draw(40))
        # What is left of the frame, what comes in between, and what follows.
        cut, between = at, b""
        if what == 1:
            cut, between = at + 1, bytes([wire[at] ^ 1 << draw(8)])
        elif what == 2:
            cut, between = at + 1, self.noise(1)
        elif what == 3:
            cut = len(wire)
        elif what == 4:
            return wire[at:]
        elif what == 5:
            cut = at + 1 + draw(8)
        elif what == 6:
            between = self.noise(1 + draw(8))
        elif what == 7:
            between = b"\0"
        elif what == 8:
            other = self.frame()
            return wire[:at] + other[draw(len(other)) :]
        return wire[:at] + between + wire[cut:]

    def __call__(self):
        data = self.part()
        for _ in range(self.draw(3)):
            data += self.part()
        return data + b"\0"


class Judges:
    """Both parsers, with what each has found so far."""

    def __init__(self):
        self._deframer = frames.Deframer(LENGTHS)
        self._wire = StreamWire()
        self._receiver = Receiver(self._wire)
        self._receiver.set_lengths(LENGTHS)
        self.digests = array("I", [0, 0])
        self.found = array("I", [0, 0])

    @property
    def damaged(self):
        return self._deframer.damaged, self._receiver.damaged

    def _take(self, which, kind, seq, payload):
        digest = self.digests[which]
        self.digests[which] = frames.crc32(payload) ^ (digest << 1 & 0xFFFFFFFF) ^ digest >> 31 ^ seq << 8 ^ kind
        self.found[which] += 1

    def feed(self, data):
        """Give both some bytes."""
        for wire, kind, seq, payload in self._deframer.feed(data):
            if kind:
                self._take(0, kind, seq, payload)
                # One body, one encoding: what is accepted is what a sender would have sent.
                assert frames.encode(kind, seq, payload) == wire
        receiver = self._receiver
        self._wire.put(data)
        try:
            while True:
                kind = receiver.receive(0)
                if kind:
                    payload = receiver.buf[frames.PAYLOAD_AT : LENGTHS[kind] - 3]
                    self._take(1, kind, receiver.words[1], payload)
                elif not self._wire.wait(0):
                    break
        except StreamEnded:
            pass


def batches(seed, inputs, batch):
    """Yield, for each batch, found, damaged and digest of the Deframer, then of the Receiver."""
    make, judges = Inputs(seed), Judges()
    for _ in range(inputs // batch):
        for _ in range(batch):
            judges.feed(make())
        judges.feed(QUIET)
        damaged = judges.damaged
        yield [[judges.found[i], damaged[i], judges.digests[i]] for i in range(2)]


if __name__ == "__main__":
    for line in batches(*[int(word) for word in sys.argv[1:]]):
        print(line)
