"""Trials with the plant in the loop: the host plays the plant, a STEP brings sensor words and takes actuator words."""

import time
from struct import pack_into

from subsong_device import frames
from subsong_device.faults import LEARNER, Fault
from subsong_device.frames import ACT, MAX_COST, MAX_STEPS, RESIDUE, SHORTEST, STEP, crc32
from subsong_device.layout import BASELINE, CHECK, COST, EVALUATE, SATURATED, STEPS, TOTAL
from subsong_device.link import Outbox

_ZERO = b"\0"
# In words: STEP is code and type, seq, trial (2), step, cost (2), x; ACT is code and type, seq, trial (2), step, u.
_X_AT = 7
_U_AT = 5
_ONE_COBS_BLOCK = 255  # bytes on the wire up to which a code never stands for no zero


def summary_of(head, trial):
    """Return TRIAL's fields after end(), all but the last."""
    return trial, head[EVALUATE], head[STEPS], head[TOTAL], head[BASELINE], head[CHECK], head[SATURATED]


class LoopTrial:
    """The trial that is on, and the buffers that its steps go through.

    Args:
        learner: module with begin, act, end. Whatever these raise is a Fault, LEARNER: the link lives on.
        block: the learner's block.Block.
        rx: link.Receiver, its lengths set for the block's words.
        wire: link.Console.

    Attributes:
        number: of the trial; step: of the next step.
    """

    def __init__(self, learner, block, rx, wire):
        self._learner = learner
        self._head = block.head
        self._mem = block.mem
        self._rx = rx
        self._wire = wire
        self._box = box = Outbox(6 + 2 * block.n_actuators)
        # Kernels read sensors where the console put them and write actuators where it takes them: nothing is copied.
        self._x = memoryview(rx.words)[_X_AT : _X_AT + block.n_sensors]
        self._u = memoryview(box.words)[_U_AT : _U_AT + block.n_actuators]
        self.number = self.step = 0
        # What steps() works on; longer frames have another COBS, and act() for them.
        self._size = frames.wire_length(rx.lengths[STEP])
        self._reply = box.view[: frames.wire_length(box.body)]
        self._short = self._size <= _ONE_COBS_BLOCK and len(self._reply) <= _ONE_COBS_BLOCK
        self._first, self._rest = rx.view[:SHORTEST], rx.view[SHORTEST : self._size]
        self._body, self._reply_body = rx.view[1 : self._size - 1], box.view[1 : box.body - 3]

    def begin(self, trial, evaluate):
        """Begin a trial."""
        self.number = trial
        self.step = 0
        self._head[EVALUATE] = evaluate
        try:
            self._learner.begin(self._head, self._mem)
        except Exception:  # noqa: BLE001 - kernels are the user's; see the class
            raise Fault(LEARNER)

    def end(self, cost):
        """End the trial; return TRIAL's fields, all but the last."""
        self._head[COST] = cost
        try:
            self._learner.end(self._head, self._mem)
        except Exception:  # noqa: BLE001
            raise Fault(LEARNER)
        return summary_of(self._head, self.number)

    def act(self, seq, cost):
        """Take a step on the sensor words that lie in the receiver; return the reply's bytes."""
        self._head[COST] = cost
        try:
            self._learner.act(self._head, self._mem, self._x, self._u)
        except Exception:  # noqa: BLE001
            raise Fault(LEARNER)
        words = self._box.words
        words[0] = ACT << 8
        words[1] = seq
        words[2] = self.number & 0xFFFF
        words[3] = self.number >> 16
        words[4] = self.step
        self.step += 1
        return self._box.view[: frames.seal_frame(self._box.buf, self._box.body)]

    def steps(self, session):  # noqa: C901, PLR0912, PLR0915 - one loop: every call in it would be a tenth of its time
        """Serve STEPs while each is whole, the next one, and in range; leave all else to the session.

        This does what the session and act() do, over locals and without allocating, and tells the session about it on
        leaving: 2 us a step beside the kernel and the system calls, instead of 14 (unix board).

        Returns:
            STEP, if one lies decoded in the receiver that the session must judge; 0 if the receiver must go on.
        """
        rx = self._rx
        if not self._short or not rx.idle:
            return 0
        arrived, readinto, write, deadman = self._wire.arrived, self._wire.readinto, self._wire.write, session.deadman
        buf, words, find, first, rest, body = rx.buf, rx.words, rx.buf.find, self._first, self._rest, self._body
        out, out_words, out_find, out_body = self._box.buf, self._box.words, self._box.buf.find, self._reply_body
        reply, crc_at = self._reply, self._box.body - 3
        last, reply_last = self._size - 1, len(reply) - 1
        act, head, mem, x, u = self._learner.act, self._head, self._mem, self._x, self._u
        low, high, step, seq = self.number & 0xFFFF, self.number >> 16, self.step, session.expected
        judge = fault = 0
        heard = 0  # how long ago, once this has ended
        while True:
            for _ in arrived(deadman):
                break
            else:
                heard = deadman
                break
            if readinto(first) != SHORTEST:
                raise OSError("the wire is gone")
            if buf[1] != STEP:
                rx.resume(SHORTEST)
                break
            readinto(rest)
            if find(_ZERO) != last:
                rx.resume(last + 1)
                break
            p = 0  # as frames.unstuff
            while p < last:
                code = buf[p]
                buf[p] = 0
                p += code
            if p != last or crc32(body) != RESIDUE:
                rx.damaged += 1
                break
            cost = words[5] | ((words[6] ^ 0x8000) - 0x8000) << 16
            if words[1] != seq or words[4] != step or words[2] != low or words[3] != high or step >= MAX_STEPS:
                judge = STEP
                break
            if cost > MAX_COST or cost < -MAX_COST:
                judge = STEP
                break
            head[COST] = cost
            try:
                act(head, mem, x, u)
            except Exception:  # noqa: BLE001
                fault = LEARNER
                break
            out_words[0] = ACT << 8
            out_words[1] = seq
            out_words[2] = low
            out_words[3] = high
            out_words[4] = step
            pack_into("<I", out, crc_at, crc32(out_body))
            out[reply_last] = 0
            p = 0  # as frames.stuff
            while p < reply_last:
                q = out_find(_ZERO, p + 1)
                out[p] = q - p
                p = q
            if write(reply) <= reply_last:
                write(_ZERO)  # as Session.write
            step += 1
            seq = seq + 1 if seq != 0xFFFF else 1
        if step > self.step:
            self.step = step
            session.served(STEP, seq, reply)
            rx.heard = time.ticks_add(time.ticks_ms(), -heard)
        elif judge:
            rx.heard = time.ticks_ms()
        if fault:
            session.accept(STEP, seq)
            session.fail(fault)
        return judge
