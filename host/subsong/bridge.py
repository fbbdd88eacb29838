"""The host's end of the link: a board as a learner, or as a runner of tasks.

    bridge = Bridge(port, on_frame=recorder.frame)
    bridge.hello()                     # the firmware serves: `subsong_device.main.serve()` was started at the REPL
    bridge.open(block)
    bridge.begin(0, evaluate=False)    # plant in the loop: begin, act, act, ..., end, as subsong_sim.learner.Learner
    bridge.close()

Everything is retried and counted (`counters`); an exception means that the conversation is over.
"""

import re
import struct
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import NamedTuple, Protocol, Self
from zlib import crc32

from subsong.errors import BoardError, FirmwareError, LinkError, LinkLost, PlantError, PortError, SchemaMismatch
from subsong.exchange import Exchange, LinkCounters, LinkPort, OnFrame
from subsong.link_faults import redeploy
from subsong.reconnect import Reconnect, Status
from subsong.task_stream import Listeners, OnHole, OnSnapshot, OnStep, OnTiming, OnTrial, TaskResult, TaskStream
from subsong_device import faults, frames, layout
from subsong_device.plant_check import PLANT
from subsong_sim.learner import TrialSummary

TIMEOUT_S = 1.0
PATIENCE_S = 10.0
GOODBYE_S = 2.0  # a board that does not hear CLOSE leaves by its dead-man time
# A traceback and, behind its last line, the prompt of either REPL.
_FAILED_START = re.compile(rb"Traceback \(most recent call last\):[^\x04]*?\n(\w[^\r\n\x04]*)\r?\n(?:\x04|>>> )")


class LearnerBlock(Protocol):
    """What OPEN and WRITE need of a learner; subsong.block.Block is one."""

    @property
    def rule(self) -> str:
        """Name of the rule, in frames.RULES."""

    @property
    def head(self) -> bytes:
        """Little-endian int32 words."""

    @property
    def mem(self) -> bytes:
        """Little-endian uint16 words."""

    @property
    def task(self) -> bytes:
        """Little-endian uint16 words of the task or of the guard on the board; empty for a plant in the loop."""

    @property
    def n_sensors(self) -> int:
        """Inputs of the network."""

    @property
    def n_actuators(self) -> int:
        """Outputs of the network."""


class Greeting(NamedTuple):
    """What a board says of itself.

    Attributes:
        schema: of the link.
        arithmetic: version of the kernels' arithmetic.
        tier: what executes them: 0 bytecode, 1 viper, 2 machine code.
        chunk: bytes of a region in one frame.
        heap_free: bytes.
        dropped: frames it has refused so far.
    """

    schema: int
    arithmetic: int
    tier: int
    chunk: int
    heap_free: int
    dropped: int


class Checkpoint(NamedTuple):
    """What a board keeps on its flash, or a run goes on from.

    Attributes:
        saves: how many came before this one on the board, other runs' included.
        trial: number of the last trial, evaluations counted.
        trials: learning trials so far.
    """

    saves: int
    trial: int
    trials: int


class Bridge:
    """A board whose firmware serves the link.

    Args:
        port: an open port, such as subsong.ports.Port.
        on_frame: called with (to_board, bytes on the wire, ns since the epoch) for every frame in either direction,
            damaged ones included. A received ACT is handed on when the next command is under way, not later than `end`.
        timeout_s: a command is sent again after so long (or a quarter of the dead-man time, if that is less).
        patience_s: silence after which the board is given up.

    All times are multiplied by the port's slowdown, if it has one: the board's own clock is so much slower.
    """

    def __init__(
        self,
        port: LinkPort,
        on_frame: OnFrame | None = None,
        timeout_s: float = TIMEOUT_S,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._port = port
        self._slowdown: float = getattr(port, "slowdown", 1.0)
        self._timeout_s = timeout_s
        self._exchange = Exchange(port, on_frame, timeout_s * self._slowdown, patience_s * self._slowdown)
        self._block: LearnerBlock | None = None
        self._stream: TaskStream | None = None
        self._trial = self._step = 0

    @property
    def counters(self) -> LinkCounters:
        """What was mended so far."""
        return self._exchange.counters

    # ------------------------------------------------------------------------------------------ opening

    def hello(self, timeout_s: float = 10.0) -> Greeting:
        """Wait for the board to say that Ctrl-C is off and it listens; greet it.

        Raises:
            SchemaMismatch: it speaks another version of the link.
            FirmwareError: it has no firmware, or kernels of another arithmetic.
            LinkLost: it says nothing.
            PortError: the port vanished.
        """
        self._await_greeting(timeout_s * self._slowdown)
        greeting = self.greet()
        self._exchange.greeted = True
        self._check(greeting.schema)
        if greeting.arithmetic != layout.ARITHMETIC_VERSION:
            raise FirmwareError(
                f"port {self._port.name}: the board's kernels have arithmetic version {greeting.arithmetic}, "
                f"this Subsong {layout.ARITHMETIC_VERSION}; {redeploy(self._port.name)}"
            )
        if not frames.MIN_CHUNK <= greeting.chunk <= frames.CHUNK:
            raise FirmwareError(
                f"port {self._port.name}: the board takes {greeting.chunk} bytes of a region in a frame, the link "
                f"allows {frames.MIN_CHUNK} to {frames.CHUNK}; {redeploy(self._port.name)}"
            )
        self._exchange.chunk = greeting.chunk
        self._exchange.counters.refused_by_board = greeting.dropped
        return greeting

    def greet(self) -> Greeting:
        """Greet the board, before OPEN or between trials, and return what it says. Raises as `act`."""
        return Greeting(*self._exchange.command(frames.HELLO, frames.schema(), reply=frames.R_HELLO))

    def settle(self) -> None:
        """Bring the counters up to date: ask what the board has refused; what is on its way from it comes before."""
        self._exchange.counters.refused_by_board = self.greet().dropped

    def _await_greeting(self, timeout_s: float) -> None:
        """Wait for the HELLO that the board sends by itself, whatever its REPL printed before."""
        said = b""
        exchange = self._exchange
        began = time.monotonic()
        while (left := began + timeout_s - time.monotonic()) > 0:
            data = self._port.read_available(min(left, timeout_s / 4))
            said += data
            exchange.take(data)
            while (frame := exchange.next_taken()) is not None:
                if frame.kind == frames.R_HELLO:
                    exchange.counters.damaged = 0  # what came before it was the REPL's text
                    return
            self._refuse_foreign(said)
            if not data and time.monotonic() - began > timeout_s / 2:
                # It may have been lost. At a prompt our question does no harm: it holds no Ctrl-C and no line.
                exchange.write(frames.encode(frames.HELLO, exchange.next_seq(), frames.schema().to_bytes(4, "little")))
        text = said.replace(b"\0", b"").decode("ascii", "replace").strip()
        hint = f"; it said: {text[-200:]!r}" if text else ""
        raise LinkLost(
            f"port {self._port.name}: the board's firmware did not say hello within {timeout_s:g} s{hint}. "
            f"Reset the board; if that does not help, {redeploy(self._port.name)}"
        )

    def _refuse_foreign(self, said: bytes) -> None:
        """Raise if what a board said is a traceback, or a HELLO in another version's form."""
        if found := _FAILED_START.search(said):
            text = found[1].decode("ascii", "replace").strip()
            if text.startswith("MemoryError"):
                raise BoardError(
                    f"port {self._port.name}: the board's heap is too small for the firmware ({text}); free some, or "
                    "take a board with more"
                )
            raise FirmwareError(
                f"port {self._port.name}: the firmware did not start: {text}; {redeploy(self._port.name)}"
            )
        for segment in said.split(b"\0")[:-1]:
            buf = bytearray(segment)
            body = frames.unstuff(buf, len(buf)) if len(buf) > frames.SHORTEST + 3 else 0
            if body > 0 and buf[1] == frames.R_HELLO and crc32(memoryview(buf)[1 : body + 1]) == frames.RESIDUE:
                self._check(int.from_bytes(buf[frames.PAYLOAD_AT : frames.PAYLOAD_AT + 4], "little"))

    def _check(self, schema: int) -> None:
        if schema != frames.schema():
            # Every version's HELLO and CLOSE look the same: let the board go back to its REPL at once.
            self._exchange.write(frames.encode(frames.HELLO, 1, bytes(4)))
            self._exchange.write(frames.encode(frames.CLOSE, 2, b""))
            raise SchemaMismatch(
                f"port {self._port.name}: the board speaks link schema {schema:08x}, this Subsong "
                f"{frames.schema():08x}: its firmware is of another version; {redeploy(self._port.name)}"
            )

    def open(self, block: LearnerBlock, deadman_ms: int = 2000) -> None:
        """Give the board its learner, and with a task block its task.

        Args:
            block: the learner's initial memory; the board is in task mode if it has a task, or drives its own plant.
            deadman_ms: silence after which the board leaves the link, and after which outputs are safe.

        Raises:
            BoardError: no memory, a field out of range, no plant.py that it could drive, or a board with a key takes no
                experiment that is signed here.
            FirmwareError: the rule's kernels are not on the board.
            LinkLost, PortError: as everywhere.
        """
        exchange = self._exchange
        self._block = block
        mode = frames.TASK if block.task else frames.IN_THE_LOOP
        if block.task[:2] == PLANT.to_bytes(2, "little"):
            mode = frames.PLANT
        sizes = (len(block.head) // 4, len(block.mem) // 2, len(block.task) // 2)
        shape = (frames.RULES.index(block.rule), mode, block.n_sensors, block.n_actuators)
        opening = (*shape, *sizes, deadman_ms)
        exchange.command(frames.OPEN, *opening)
        exchange.telemetry.clear()  # what a run that failed has left
        exchange.reopen(block.n_sensors, block.n_actuators)
        exchange.timeout_s = min(self._timeout_s, deadman_ms / 4000) * self._slowdown
        regions = (block.head, block.mem, block.task)
        for region, data in enumerate(regions):
            for offset in range(0, len(data), exchange.chunk):
                piece = data[offset : offset + exchange.chunk]
                exchange.command(frames.WRITE, region, offset, len(piece), piece)
        seal = tuple(map(crc32, regions))
        code, _ = exchange.command(frames.SEAL, *seal, allowed=faults.UNSIGNED)
        if code == faults.UNSIGNED:
            from subsong.keys import sign

            sign(exchange, struct.pack(exchange.formats[frames.OPEN], *opening), regions)
            exchange.command(frames.SEAL, *seal)
        self._take_step = exchange.make_step(block.n_sensors, block.n_actuators)
        self._stream = TaskStream(exchange, block, deadman_ms * self._slowdown)

    def outlive(self, reconnect: Reconnect) -> Status:
        """Ask the board who it is; when its port vanishes from now on, look for it and go on.

        Returns:
            What it says of itself.

        Raises:
            LinkLost, PortError: as everywhere, and LinkLost from now on where the board is not found again.
        """
        return self._exchange.outlive(reconnect)

    # ------------------------------------------------------------------------------------------ plant in the loop

    def begin(self, trial: int, evaluate: bool) -> None:
        """Begin trial number `trial`; with `evaluate`, unperturbed. Raises as `act`."""
        self._exchange.command(frames.BEGIN, trial, evaluate)
        self._trial = trial
        self._step = 0

    def act(self, cost: int, x: Sequence[int]) -> Sequence[int]:
        """Take the last step's cost (0 at first) and n_sensors int16 words; return n_actuators int16 words.

        Raises:
            PlantError: a word or the cost is out of its range, or there are too few or too many words.
            BoardError: the board refused, or a kernel failed.
            LinkLost: the board fell silent, or left because it heard nothing for the dead-man time.
            PortError: the port vanished.
        """
        try:
            fields = self._take_step(self._trial, self._step, cost, x)
        except struct.error as error:
            raise PlantError(self._bad_step(cost, x)) from error
        if fields[1] != self._step or fields[0] != self._trial:
            raise LinkLost(
                f"port {self._port.name}: the board answered step {fields[1]} of trial {fields[0]}, asked was step "
                f"{self._step} of trial {self._trial}; start the run again"
            )
        self._step += 1
        return fields[2:]

    def _bad_step(self, cost: int, x: Sequence[int]) -> str:
        n = self._block.n_sensors if self._block else 0
        if len(x) != n:
            return f"the plant sensed {len(x)} words, the network has {n} inputs; make network.layers[0] = {len(x)}"
        return f"the plant's words are out of range: cost {cost} (int32), sensors {list(x)} (int16)"

    def end(self, cost: int) -> TrialSummary:
        """Take the last cost, let the board update, and return the trial's summary. Raises as `act`."""
        trial, evaluate, *rest = self._exchange.command(frames.END, self._trial, cost, reply=frames.TRIAL)
        summary = TrialSummary(trial, bool(evaluate), *rest)
        self._exchange.counters.refused_by_board = summary.dropped
        return summary

    def state(self) -> tuple[bytes, bytes]:
        """Return head (little-endian int32) and mem (little-endian uint16), read between trials."""
        assert self._block is not None, "open() first"
        sizes = (len(self._block.head), len(self._block.mem))
        head, mem = (b"".join(self._read(region, size)) for region, size in enumerate(sizes))
        return head, mem

    def _read(self, region: int, size: int) -> Iterator[bytes]:
        for offset in range(0, size, self._exchange.chunk):
            _, _, count, data = self._exchange.command(frames.READ, region, offset, reply=frames.DATA)
            yield data[:count]

    # ------------------------------------------------------------------------------------------ checkpoints

    def save(self, run: int, trial: int, trials: int) -> None:
        """Let the board write its state to flash, between trials; the slot of its last save stays until that is done.

        Args:
            run: which run this is, 0 to 2**32 - 1: `load` asks for it.
            trial: number of the last trial.
            trials: learning trials so far.

        Raises:
            BoardError: the flash is full, or broken; the last save is still there. LinkLost, PortError: as `act`.
        """
        self._exchange.command(frames.SAVE, run, trial, trials)

    def load(self, run: int) -> Checkpoint | None:
        """Let the board go on from the newest checkpoint of a run, in place of the state that `open` gave it.

        Returns:
            What `save` said of it; None where the board has none of this run and this shape: it is as it was then.

        Raises:
            BoardError: the flash cannot be read; `open` again. LinkLost, PortError: as `act`.
        """
        fields = self._exchange.command(frames.LOAD, run, reply=frames.CHECKPOINT, allowed=faults.NO_CHECKPOINT)
        return Checkpoint(*fields) if len(fields) == len(Checkpoint._fields) else None

    # ------------------------------------------------------------------------------------------ tasks on the board

    def run_task(
        self,
        first: int,
        trials: int,
        steps: int,
        evaluate: bool = False,
        on_step: OnStep | None = None,
        on_trial: OnTrial | None = None,
        on_snapshot: OnSnapshot | None = None,
        on_hole: OnHole | None = None,
        on_timing: OnTiming | None = None,
    ) -> TaskResult:
        """Let the board run trials of its task, and take its telemetry.

        Args:
            first: number of the first trial.
            trials: how many, unless `stop` is called from one of the functions below.
            steps: of each trial.
            evaluate: unperturbed, without learning.
            on_step: called with (trial, step, cost that act saw, sensor words, actuator words).
            on_trial: called with (TrialSummary, cost that end saw).
            on_snapshot: called with (trial, head, mem): the state after that trial, sent because telemetry was lost.
            on_hole: called with (number of the first telemetry frame lost, how many).
            on_timing: called with the Timing of each trial on the board's own plant.

        Raises:
            BoardError: a kernel failed. LinkLost, PortError: as `act`.
        """
        assert self._stream is not None, "open() first"
        listeners = Listeners(on_step, on_trial, on_snapshot, on_hole, on_timing)
        return self._stream.run((first, trials, steps, evaluate), listeners)

    def stop(self) -> None:
        """End the task's run after the trial that is on."""
        if self._stream is not None:
            self._stream.stop()

    # ------------------------------------------------------------------------------------------ closing

    def close(self) -> bool:
        """Let the board go back to its REPL; return whether it said that it does. Raises nothing of the link's."""
        exchange = self._exchange
        exchange.give_up()
        exchange.patience_s = min(exchange.patience_s, GOODBYE_S * self._slowdown)
        try:
            exchange.command(frames.CLOSE)
        except (LinkError, PortError, BoardError):
            return False
        finally:
            exchange.flush_log()
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
