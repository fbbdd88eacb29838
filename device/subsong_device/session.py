"""A session of the link: what the board does with the host's frames. docs/protocol.md is the normative text.

The board trusts no field: each is checked before it is used, and a refusal is an ACK with a number of faults.py. A
command is executed exactly once: its number must be the next; the last number again only has its reply repeated.
"""

import time
from errno import ENOENT
from os import stat, urandom
from struct import calcsize, pack, unpack_from

from subsong_device import faults, frames, layout
from subsong_device.block import Block, collect, load_kernels
from subsong_device.checkpoint import Slots, read_regions
from subsong_device.faults import FAILED, GREETED, IN_TRIAL, NEW, OPENED, READY, RUNNING, Fault, need
from subsong_device.frames import ACK, CHUNK, MAX_COST, MAX_STEPS, MAX_TRIAL
from subsong_device.link import Outbox, Receiver, Silence
from subsong_device.loop_trial import LoopTrial
from subsong_device.plant_check import is_plant
from subsong_device.task_run import TaskRun

_NEWS = 4 + 4 + 1 + 4 + 1 + CHUNK
GREETING_MS = 10000  # dead-man time before OPEN sets one
MAX_WORDS = 1 << 24  # of a region, so that its bytes are counted in small integers
_ANY = 0x7F
_GREETED = _ANY & ~(1 << NEW)
_STATES = {  # where a command is allowed, one bit a state
    frames.HELLO: _ANY,
    frames.OPEN: 1 << GREETED | 1 << OPENED | 1 << READY | 1 << IN_TRIAL | 1 << FAILED,
    frames.WRITE: 1 << OPENED | 1 << READY,
    frames.SEAL: 1 << OPENED | 1 << READY,
    frames.BEGIN: 1 << READY,
    frames.STEP: 1 << IN_TRIAL,
    frames.END: 1 << IN_TRIAL,
    frames.RUN: 1 << READY,
    frames.READ: 1 << OPENED | 1 << READY,
    frames.SNAPSHOT: _GREETED,
    frames.CLOSE: _ANY,
    frames.STOP: _GREETED,
    frames.SAVE: 1 << READY,
    frames.LOAD: 1 << OPENED | 1 << READY,
    frames.SIGN: 1 << OPENED | 1 << READY,
}


def board_id():
    """Return what tells this board from others of its kind, 32 bits; 0 where nothing does."""
    try:
        from machine import unique_id
    except ImportError:
        return 0
    return frames.crc32(unique_id())


def find_lock():
    """Return the lock.Lock of a board that has a key, or was cut off while it was given one; None of any other."""
    for name in ("subsong.key", "subsong.key.new"):
        try:
            stat(name)
        except OSError as error:
            if error.errno == ENOENT:
                continue
        from subsong_device.lock import Lock

        return Lock()
    return None


def _plant_run(learner, block):
    """Return what runs trials on the board's own plant. Raises Fault: there is none, or it is not whole."""
    from subsong_device import plant_guard  # what most boards never need

    return TaskRun(learner, plant_guard, block, plant_guard.Guard(plant_guard.load_plant()))


class Session:
    """One conversation with a host, from the first HELLO to CLOSE or the dead-man time.

    Args:
        wire: link.Console, or what behaves like it.
        load: returns (learner, tasks), modules of kernels, for the index of a rule.
        tier: what executes the kernels: 0 bytecode, 1 viper, 2 machine code.
    """

    # None before OPEN, and the last two each in its own mode only; _STATES keeps away whoever needs them.
    _block: Block
    _trial: LoopTrial
    _run: TaskRun
    _failure: Fault  # what ended a run, in the state FAILED alone

    def __init__(self, wire, load=load_kernels, tier=0):
        self.wire = wire
        self.rx = Receiver(wire)
        self._load = load
        self._tier = tier
        self._schema = frames.schema()
        self._lock = find_lock()
        self._board = self._lock.board if self._lock else board_id()
        self._signed = False
        self._number = unpack_from("<I", urandom(4))[0]
        self._formats = frames.formats()
        self._slots = Slots("run")
        self._replies = Outbox(1 + 4 + 1 + CHUNK)
        self._news = Outbox(_NEWS)  # what no command asked for
        self._window = frames.WINDOW
        self._reply = b""
        self._state = NEW
        self._leaving = False
        self.deadman = GREETING_MS
        self.seq = self._kind = self.expected = self._mode = 0
        self._run = None  # type: ignore[assignment]
        self._release()
        self._handlers = {
            frames.HELLO: self._on_hello,
            frames.OPEN: self._on_open,
            frames.WRITE: self._on_write,
            frames.SEAL: self._on_seal,
            frames.BEGIN: self._on_begin,
            frames.STEP: self._on_step,
            frames.END: self._on_end,
            frames.RUN: self._on_run,
            frames.READ: self._on_read,
            frames.SNAPSHOT: self._on_snapshot,
            frames.CLOSE: self._on_close,
            frames.STOP: self._on_stop,
            frames.SAVE: self._on_save,
            frames.LOAD: self._on_load,
            frames.SIGN: self._on_sign,
        }

    def serve(self):
        """Say HELLO and serve the host; return after CLOSE, or after the dead-man time without a frame.

        Raises:
            OSError: the wire is gone.
        """
        self.write(b"\0")  # ends whatever text the console printed before
        self.tell(frames.R_HELLO, *self._greeting())
        self.rx.heard = time.ticks_ms()
        try:
            while not self._leaving:
                self._handle(self._next())
                if self._state == RUNNING:
                    fault = self._run.run(self)
                    self._state = READY
                    if fault is not None:
                        self._failure = fault
                        self._state = FAILED
        except Silence:
            if not self._leaving and self.wire.room(0):
                self.write(self._news.pack(ACK, 0, "<BI", faults.DEADMAN, self.deadman))
        finally:
            self._release()

    def _next(self):
        """Return the type of the next frame that is not a STEP already served. Raises Silence."""
        kind = self._trial.steps(self) if self._state == IN_TRIAL else 0
        if not kind:
            left = self._left()
            kind = self.rx.receive(left) if left > 0 else 0
        if not kind:
            raise Silence
        return kind

    def _left(self):
        """Return the ms until the dead-man time; negative after it."""
        return self.deadman - time.ticks_diff(time.ticks_ms(), self.rx.heard)

    def listen(self):
        """Serve what has come from the host, without waiting: for a run, between its trials.

        Raises:
            Silence: nothing has come for the dead-man time, or the host has closed the link.
        """
        kind = self.rx.receive(0)
        while kind:
            self._handle(kind)
            kind = 0 if self._leaving else self.rx.receive(0)  # what comes after CLOSE is for the prompt
        if self._leaving or self._left() < 0:
            raise Silence

    def reserve(self, n):
        """Wait until the wire takes n bytes more that no command asked for.

        A host that has spoken lately still reads: so it is heard whenever frames.WINDOW bytes are out. Without that, a
        wire whose other end nobody reads would fill up, and a write on it block for ever.

        Raises:
            Silence: the host says nothing or reads nothing for the dead-man time, or it has closed the link.
        """
        self._window -= n
        while self._window < 0:
            self._handle(self._next())
            self.listen()
        # A plant is heard for at every step: so what is left of the dead-man time is known, and it waits no longer.
        if not self.wire.room(max(0, self._left()) if self._mode == frames.PLANT else self.deadman):
            raise Silence

    def tell(self, kind, *fields):
        """Send a frame that no command asked for. Raises as `reserve`."""
        self.reserve(frames.wire_length(calcsize(self._formats[kind]) + frames.OVERHEAD))
        self.write(self._news.pack(kind, 0, self._formats[kind], *fields))

    def write(self, wire):
        """Send a frame's bytes, whatever comes of it."""
        if self.wire.write(wire) != len(wire):
            # The driver gave up (USB, after 500 ms). The frame is lost; a delimiter saves the one after it.
            self.wire.write(b"\0")

    def served(self, kind, expected, reply):
        """Take note of commands that were executed and answered elsewhere.

        Args:
            kind: of the last one.
            expected: the number after its own.
            reply: its reply.
        """
        self._kind = kind
        self.seq = expected - 1 if expected != 1 else 0xFFFF
        self.expected = expected
        self._reply = reply

    def answer(self, wire):
        """Send a reply, and keep it for a host that asks again."""
        self._reply = wire
        self.write(wire)

    # ------------------------------------------------------------------------------------------ commands

    def _handle(self, kind):
        """Execute the command in the receiver's buffer, once, and reply."""
        self._window = frames.WINDOW
        seq = self.rx.words[1]
        if kind == frames.ASK:  # a question changes nothing, and is in no order with commands
            self.write(self._news.pack(frames.STATUS, 0, self._formats[frames.STATUS], *self._status()))
            return
        if kind != frames.HELLO and seq != self.expected:
            if seq == self.seq and kind == self._kind:
                self.write(self._reply)
            else:
                self.write(self._news.pack(ACK, seq, "<BI", faults.SEQUENCE, self.expected))
            return
        self.accept(kind, seq)
        if kind != frames.SEAL:  # a signature is for the block as it lies there: nothing may come between
            self._signed = False
        if not _STATES[kind] >> self._state & 1:
            if self._state == NEW:
                self.fail(faults.SCHEMA, self._schema)
            elif self._state == FAILED:  # what was said of it then may be lost
                self.fail(self._failure.code, self._failure.detail)
            else:
                self.fail(faults.STATE, self._state)
            return
        try:
            self._handlers[kind](*unpack_from(self._formats[kind], self.rx.buf, frames.PAYLOAD_AT))
        except Fault as fault:
            self.fail(fault.code, fault.detail)

    def fail(self, code, detail=0):
        """Refuse the command that was accepted last."""
        if code == faults.LEARNER:
            self._state = FAILED
            self._failure = Fault(code, detail)
        self._respond(ACK, code, detail)

    def accept(self, kind, seq):
        """Take a command's number as the last one; 0 is no command's number."""
        self._kind = kind
        self.seq = seq
        self.expected = seq + 1 if seq != 0xFFFF else 1

    def _respond(self, kind, *fields):
        self.answer(self._replies.pack(kind, self.seq, self._formats[kind], *fields))

    def _done(self):
        self._respond(ACK, faults.OK, 0)

    def _greeting(self):
        if self._state != RUNNING:  # a collection takes 14 ms on a Pico: in a run, what was free before it is said
            self._free = collect()
        return self._schema, layout.ARITHMETIC_VERSION, self._tier, CHUNK, self._free, self.rx.damaged

    def _status(self):
        flags, counter = (frames.LOCKED, self._lock.counter) if self._lock else (0, 0)
        return self._board, self._number, flags, self._state, self.expected, counter

    def _on_hello(self, schema):
        if self._state == NEW and schema == self._schema:
            self._state = GREETED
        self._respond(frames.R_HELLO, *self._greeting())

    def _on_open(self, rule, mode, n_sensors, n_actuators, head_words, mem_words, task_words, deadman_ms):
        need(rule < len(frames.RULES), 0)
        need(mode <= frames.PLANT, 1)
        need(0 < n_sensors < frames.MAX_STEP_WORDS, 2)
        need(0 < n_actuators <= frames.MAX_STEP_WORDS - n_sensors, 3)
        need(layout.LAYERS_AT + layout.LAYER_WORDS <= head_words <= MAX_WORDS, 4)
        need(0 < mem_words <= MAX_WORDS, 5)
        need(task_words <= MAX_WORDS and (task_words > 0) == (mode != frames.IN_THE_LOOP), 6)
        need(frames.MIN_DEADMAN_MS <= deadman_ms <= frames.MAX_DEADMAN_MS, 7)
        self._state = GREETED
        shape = (n_sensors, n_actuators, head_words, mem_words, task_words)
        self._opened = pack(self._formats[frames.OPEN], rule, mode, *shape, deadman_ms)
        self._release()
        collect()
        try:
            learner, tasks = self._load(rule)
            self._block = Block(rule, *shape)
            self.rx.set_lengths(frames.body_lengths(True, n_sensors, n_actuators))
            self._formats = frames.formats(n_sensors, n_actuators)
            if mode == frames.PLANT:
                self._run = _plant_run(learner, self._block)
            elif mode == frames.TASK:
                self._run = TaskRun(learner, tasks, self._block)
            else:
                self._trial = LoopTrial(learner, self._block, self.rx, self.wire)
        except MemoryError:
            self._release()
            raise Fault(faults.NO_MEMORY, collect())
        except ImportError:
            self._release()
            raise Fault(faults.NO_LEARNER, rule)
        except Fault:
            self._release()
            raise
        self._mode = mode
        self.deadman = deadman_ms
        self._state = OPENED
        self._done()

    def _release(self):
        if self._run is not None:
            self._run.close()
        self._block = self._trial = self._run = None  # type: ignore[assignment]

    def _region(self, region, offset, field):
        need(region < 3, field)
        buf = self._block.regions[region]
        need(offset < len(buf), field + 1)
        return buf

    def _on_write(self, region, offset, count, data):
        buf = self._region(region, offset, 0)
        need(0 < count <= CHUNK and count <= len(buf) - offset, 2)
        buf[offset : offset + count] = data[:count]
        self._state = OPENED
        self._done()

    def _on_read(self, region, offset):
        data = bytes(self._region(region, offset, 0)[offset : offset + CHUNK])
        self._respond(frames.DATA, region, offset, len(data), data)

    def _on_seal(self, head, mem, task):
        self._state = OPENED
        if self._lock and not self._signed:
            raise Fault(faults.UNSIGNED, self._lock.expected())
        self._block.seal(head, mem, task)
        self._ready()
        self._done()

    def _ready(self):
        """Take a sealed block. Raises Fault: its task words are a guard's in another mode than 2, or none in that."""
        if is_plant(self._block.task) != (self._mode == frames.PLANT):
            raise Fault(faults.BLOCK, 0x10000 + layout.TASK_KIND)
        self._state = READY

    def _on_begin(self, trial, evaluate):
        if self._trial is None:
            raise Fault(faults.STATE, self._state)
        need(trial <= MAX_TRIAL, 0)
        need(evaluate <= 1, 1)
        self._trial.begin(trial, evaluate)
        self._state = IN_TRIAL
        self._done()

    def _on_step(self, trial, step, cost, *_words):
        need(trial == self._trial.number, 0)
        need(step == self._trial.step < MAX_STEPS, 1)
        need(-MAX_COST <= cost <= MAX_COST, 2)
        self.answer(self._trial.act(self.seq, cost))

    def _on_end(self, trial, cost):
        need(trial == self._trial.number, 0)
        need(-MAX_COST <= cost <= MAX_COST, 1)
        need(self._trial.step > 0, 0)
        summary = self._trial.end(cost)
        self._state = READY
        self._respond(frames.TRIAL, *summary, self.rx.damaged)

    def _on_run(self, first, trials, steps, evaluate):
        if self._run is None:
            raise Fault(faults.STATE, self._state)
        need(first <= MAX_TRIAL, 0)
        need(0 < trials <= MAX_TRIAL + 1 - first, 1)
        need(0 < steps <= MAX_STEPS, 2)
        need(evaluate <= 1, 3)
        self._run.plan(first, trials, steps, evaluate)
        self._state = RUNNING
        self._done()

    def _on_snapshot(self):
        if self._state == FAILED:
            raise self._failure
        if self._state != RUNNING:
            raise Fault(faults.NOT_RUNNING, self._run.number if self._run else 0)
        self._run.snapshot_wanted = True
        self._done()

    def _on_stop(self):
        if self._run:
            self._run.stopping = True
        self._done()

    def _on_save(self, run, trial, trials):
        need(trial <= MAX_TRIAL, 1)
        need(trials <= trial + 1, 2)
        try:
            self._slots.save(self._block, run, 0, self._run.seed if self._run else 0, trial, trials)
        except OSError as error:
            raise Fault(faults.FLASH, error.errno or 0)
        except MemoryError:
            raise Fault(faults.NO_MEMORY, collect())
        finally:
            self.rx.heard = time.ticks_ms()  # however long it took: the board was deaf, not the host silent
        self._done()

    def _on_load(self, run):
        if self._lock and self._state != READY:  # what was opened must be signed, as what is loaded once was
            raise Fault(faults.UNSIGNED, self._lock.expected())
        try:
            found = self._slots.newest(run, self._block)
            if found is None:
                raise Fault(faults.NO_CHECKPOINT)
            path, header = found
            if self._mode == frames.PLANT:
                # The limits of a plant are those that were sealed, not those of an earlier experiment.
                if self._state != READY or header.checks[2] != frames.crc32(self._block.regions[2]):
                    raise Fault(faults.NO_CHECKPOINT)
                self._run.go_on(header.seed)
            self._state = OPENED
            read_regions(path, header, self._block)
        except OSError as error:
            raise Fault(faults.FLASH, error.errno or 0)
        except MemoryError:
            raise Fault(faults.NO_MEMORY, collect())
        finally:
            self.rx.heard = time.ticks_ms()
        self._ready()
        self._respond(frames.CHECKPOINT, header.count, header.trial, header.trials)

    def _on_sign(self, counter, mac):
        if self._lock is None:
            raise Fault(faults.STATE, self._state)
        try:
            self._lock.accept(counter, mac, self._opened, self._block.regions)
        except MemoryError:
            raise Fault(faults.NO_MEMORY, collect())
        finally:
            self.rx.heard = time.ticks_ms()  # however long it took: the board was deaf, not the host silent
        self._signed = True
        self._done()

    def _on_close(self):
        self._leaving = True
        self._done()
