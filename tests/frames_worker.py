"""Runs under MicroPython and under CPython: cuts streams into frames with both parsers of the firmware.

Reads lines of JSON {"lengths": [[type, body], ...], "stream": hex, "cut": n}; answers each with
[[[type, seq, payload], ...], damaged] from the Deframer, fed n bytes at a time, and the same from the Receiver.
"""

import json
import sys
import time
from binascii import hexlify, unhexlify

from subsong_device import frames
from subsong_device.link import Receiver


class StreamEnded(Exception):
    pass


class StreamWire:
    """A wire that brings a stream, and nothing after it."""

    def __init__(self, stream):
        self._stream = stream
        self._at = 0

    def wait(self, _ms):
        return self._at < len(self._stream)

    def readinto(self, view):
        n = len(view)
        if self._at + n > len(self._stream):
            raise StreamEnded  # a real wire would block here until the host tries again
        view[:] = self._stream[self._at : self._at + n]
        self._at += n
        return n


def text(data):
    return hexlify(data).decode()


def deframe(lengths, stream, cut):
    deframer = frames.Deframer(lengths)
    found = []
    wires = b""
    for at in range(0, len(stream), cut):
        for wire, kind, seq, payload in deframer.feed(stream[at : at + cut]):
            wires += wire
            if kind:
                found.append([kind, seq, text(payload)])
    # Nothing is lost on the way to a log but the delimiters of empty segments.
    assert wires.replace(b"\0", b"") + deframer.tail == stream.replace(b"\0", b"")
    return [found, deframer.damaged]


def receive(lengths, stream):
    receiver = Receiver(StreamWire(stream))
    receiver.set_lengths(lengths)
    found = []
    try:
        while receiver.idle or receiver._wait(0):
            kind = receiver.receive(0)
            if kind:
                payload = bytes(receiver.buf[frames.PAYLOAD_AT : lengths[kind] - 3])
                found.append([kind, receiver.words[1], text(payload)])
            elif not receiver._wait(0):
                break
    except StreamEnded:
        pass
    return [found, receiver.damaged]


def answer(line):
    job = json.loads(line)
    lengths = dict(job["lengths"])
    stream = unhexlify(job["stream"])
    return [deframe(lengths, stream, job["cut"]), receive(lengths, stream)]


if __name__ == "__main__":
    if sys.implementation.name != "micropython":
        time.ticks_ms = lambda: 0
    for line in sys.stdin:
        print(json.dumps(answer(line)))
