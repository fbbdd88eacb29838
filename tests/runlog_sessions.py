"""Made-up conversations with a board, frame by frame, and the trials that a log of them must show."""

import random
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from mcap.reader import make_reader
from mcap.writer import Writer

from subsong.runlog import Recorder, RunHeader, Step
from subsong_device import frames
from subsong_sim.learner import Ended, TrialSummary

START_NS = 1_700_000_000_000_000_000
T_NS = 1_000_000  # between frames


def header(source: str = "board", n_sensors: int = 2, n_actuators: int = 1) -> RunHeader:
    return RunHeader(
        source=source,
        experiment_toml='seed = 1\n[plant]\nkind = "gymnasium"  # é\n',
        experiment_digest="0" * 64,
        seed=1,
        rule="weight_perturbation",
        n_sensors=n_sensors,
        n_actuators=n_actuators,
        arithmetic=1,
        mismatch=source == "board",
        plant="CartPole-v1",
        engine={"name": "test", "tier": 0},
        manifest={"kernels.py": "ab" * 32},
        started_ns=START_NS,
    )


@dataclass
class Session:
    """Frames as they pass, in order: (to_board, wire).

    `records` is what must be read from them; `places` has the frame that completes each.
    """

    n_sensors: int = 2
    n_actuators: int = 1
    seed: int = 1
    chunk: int = frames.CHUNK
    wire: list[tuple[bool, bytes]] = field(default_factory=list)
    records: list[Step | Ended] = field(default_factory=list)
    places: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.seq = 0
        self.number = 0
        self.formats = frames.formats(self.n_sensors, self.n_actuators, self.chunk)

    def send(self, to_board: bool, kind: int, *values: object) -> bytes:
        wire = frames.encode(kind, self.seq, struct.pack(self.formats[kind], *values))
        self.wire.append((to_board, wire))
        return wire

    def note(self, record: Step | Ended) -> None:
        self.records.append(record)
        self.places.append(len(self.wire) - 1)

    def ask(self, kind: int, *values: object) -> None:
        self.seq = (self.seq + 1) & 0xFFFF
        self.send(True, kind, *values)

    def words(self, n: int) -> tuple[int, ...]:
        return tuple(
            self.random.choice((-32768, -1, 0, 1, 32767, self.random.randrange(-32768, 32768))) for _ in range(n)
        )

    def cost(self) -> int:
        return self.random.choice((-(1 << 28), 1 << 28, 0, self.random.randrange(-1000, 1000)))

    def open(self, mode: int = frames.IN_THE_LOOP, head: int = 3, mem: int = 4, seq: int = 0) -> "Session":
        self.wire.append((False, frames.encode(frames.R_HELLO, 0, struct.pack("<IHBBII", 1, 1, 0, self.chunk, 99, 0))))
        self.seq = seq
        self.ask(frames.OPEN, 0, mode, self.n_sensors, self.n_actuators, head, mem, 0, 2000)
        self.send(False, frames.ACK, 0, 0)
        return self

    def summary(self, trial: int, evaluate: bool, steps: int) -> TrialSummary:
        r = self.random.randrange
        return TrialSummary(trial, evaluate, steps, self.cost(), self.cost(), r(1 << 28), r(9), r(3))

    def trial(self, trial: int, steps: int, evaluate: bool = False) -> "Session":
        self.ask(frames.BEGIN, trial, evaluate)
        self.send(False, frames.ACK, 0, 0)
        for at in range(steps):
            self.step(trial, at)
        self.end(trial, steps, evaluate)
        return self

    def step(self, trial: int, at: int) -> None:
        step = Step(trial, at, 0 if at == 0 else self.cost(), self.words(self.n_sensors), self.words(self.n_actuators))
        self.ask(frames.STEP, trial, at, step.cost, *step.x)
        self.send(False, frames.ACT, trial, at, *step.u)
        self.note(step)

    def end(self, trial: int, steps: int, evaluate: bool = False) -> None:
        ended = Ended(self.summary(trial, evaluate, steps), self.cost())
        self.ask(frames.END, trial, ended.last_cost)
        self.send(False, frames.TRIAL, *ended.summary)
        self.note(ended)

    # Telemetry of a task on the board.

    def tell(self, kind: int, *values: object) -> None:
        self.send(False, kind, self.number, *values)
        self.number += 1

    def run(self, first: int, trials: int, steps: int, evaluate: bool = False) -> "Session":
        self.ask(frames.RUN, first, trials, steps, evaluate)
        self.send(False, frames.ACK, 0, 0)
        return self

    def task_trial(self, trial: int, steps: int, evaluate: bool = False) -> "Session":
        for at in range(steps):
            step = Step(
                trial, at, 0 if at == 0 else self.cost(), self.words(self.n_sensors), self.words(self.n_actuators)
            )
            self.tell(frames.T_STEP, trial, at, step.cost, *step.x, *step.u)
            self.note(step)
        ended = Ended(self.summary(trial, evaluate, steps), self.cost())
        self.tell(frames.T_TRIAL, *ended.summary, ended.last_cost)
        self.note(ended)
        return self

    def snapshot(self, trial: int, head: bytes, mem: bytes) -> "Session":
        for region, data in ((frames.HEAD, head), (frames.MEM, mem)):
            for at in range(0, len(data), self.chunk):
                part = data[at : at + self.chunk]
                self.tell(frames.T_SNAP, trial, region, at, len(part), part)
        return self

    def done(self, trials: int) -> "Session":
        self.tell(frames.T_DONE, trials)
        return self

    def header(self) -> RunHeader:
        return header(n_sensors=self.n_sensors, n_actuators=self.n_actuators)


def loop_session(trials: int = 3, steps: int = 4, seed: int = 1, first_seq: int = 0) -> Session:
    session = Session(seed=seed).open(seq=first_seq)
    for trial in range(trials):
        session.trial(trial, steps, evaluate=trial == trials - 1 and trials > 1)
    return session


def task_session(trials: int = 3, steps: int = 4, seed: int = 1) -> Session:
    session = Session(seed=seed).open(frames.TASK).run(0, trials, steps)
    for trial in range(trials):
        session.task_trial(trial, steps)
    return session.done(trials)


def record(path: Path, session: Session, *, states: bool = True) -> Recorder:
    """Record a session and leave the recorder open, everything in its file."""
    recorder = Recorder(path, session.header(), clock=lambda: START_NS)
    if states:
        recorder.state("initial", b"\1\0\0\0" * 3, b"\2\0" * 4)
    for at, (to_board, wire) in enumerate(session.wire):
        recorder.frame(to_board, wire, START_NS + at * T_NS)
    if states:
        recorder.state("final", b"\3\0\0\0" * 3, b"\4\0" * 4)
    recorder.flush()
    return recorder


def record_sim(path: Path, trials: int = 3, steps: int = 4, seed: int = 1) -> tuple[Recorder, list[Step | Ended]]:
    """Record a simulator's run and leave the recorder open, everything in its file."""
    session = loop_session(trials, steps, seed)
    recorder = Recorder(path, header("sim"))
    recorder.state("initial", b"\1\0\0\0" * 3, b"\2\0" * 4)
    for each in session.records:
        if isinstance(each, Step):
            recorder.step(each)
        else:
            recorder.trial(each.summary, each.last_cost)
    recorder.state("final", b"\3\0\0\0" * 3, b"\4\0" * 4)
    recorder.flush()
    return recorder, session.records


def records_of(run: object) -> list[Step | Ended]:
    """Return a run's steps and ends, in order."""
    found: list[Step | Ended] = []
    for trial in run.iter_trials():  # type: ignore[attr-defined]
        found += trial.steps
        if trial.summary is not None:
            found.append(Ended(trial.summary, trial.last_cost))
    return found


Message = tuple[str, bytes]
Mutate = Callable[[list[Message]], Iterable[Message]]


def rewrite(path: Path, out: Path, mutate: Mutate, **options: object) -> Path:
    """Write a well-formed copy of a closed log with altered messages, the way any other MCAP tool would.

    `mutate` takes the messages as (topic, data) in file order, and returns as many of the same topics.
    """
    return Copier(path).write(out, mutate, **options)


class Copier:
    """Writes altered copies of one closed log; `messages` are its messages as (topic, data)."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            reader = make_reader(file)
            self._messages = list(reader.iter_messages(log_time_order=False))
            self._metadata = list(reader.iter_metadata())
        self.messages: list[Message] = [(channel.topic, message.data) for _, channel, message in self._messages]

    def flip(self, out: Path, number: int, bit: int) -> Path:
        """Write a copy with one bit of one message flipped."""
        altered = list(self.messages)
        altered[number] = (altered[number][0], flip(altered[number][1], bit))
        return self.write(out, lambda _: altered)

    def write(self, out: Path, mutate: Mutate, **options: object) -> Path:
        altered = list(mutate(list(self.messages)))
        assert [topic for topic, _ in altered] == [topic for topic, _ in self.messages]
        channels: dict[int, int] = {}
        with out.open("wb") as target:
            writer = Writer(target, **options)  # type: ignore[arg-type]
            writer.start()
            for metadata in self._metadata:
                writer.add_metadata(metadata.name, metadata.metadata)
            for (schema, channel, message), (_, data) in zip(self._messages, altered, strict=True):
                if channel.id not in channels:
                    number = writer.register_schema(schema.name, schema.encoding, schema.data) if schema else 0
                    channels[channel.id] = writer.register_channel(channel.topic, channel.message_encoding, number)
                writer.add_message(channels[channel.id], message.log_time, data, message.publish_time)
            writer.finish()
        return out


def flip(data: bytes, bit: int) -> bytes:
    """Return data with one bit flipped."""
    altered = bytearray(data)
    altered[bit >> 3] ^= 1 << (bit & 7)
    return bytes(altered)
