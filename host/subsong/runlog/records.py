"""What a run log holds, as plain values.

Channel    record       one message
/step      Step         an act(): the cost it saw, the sensor words, the actuator words
/trial     Ended        a trial's end: its summary and the cost that end() saw
/state     State        the learner's two buffers under a label, base64 with a CRC-32
/event     Event        retries, holes, exclusions, errors
/timing    Timing       how well a trial kept its control period
"""

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from subsong.timing import Timing
from subsong_sim.learner import Ended, TrialSummary

Json = dict[str, Any]

_LATER = ("continues",)  # fields that the first logs did not have, left out where they are empty
_MOST_WORDS = 512  # int16, in a frame's payload of at most 1024 bytes


class Step(NamedTuple):
    """One act() of a trial.

    Attributes:
        trial: number of the trial.
        step: number of the step in its trial, from 0.
        cost: the cost word that act() saw, counts (0 at first).
        x: sensor words, int16, `n_sensors` of them.
        u: actuator words, int16, `n_actuators` of them.
    """

    trial: int
    step: int
    cost: int
    x: tuple[int, ...]
    u: tuple[int, ...]


class State(NamedTuple):
    """The learner's buffers at one moment.

    Attributes:
        label: "initial", "final", or "trial-000123": after the end of that trial.
        head: little-endian int32 words.
        mem: little-endian uint16 words.
        derived: True where it was assembled from the raw frames of a snapshot, False where the host recorded it.
    """

    label: str
    head: bytes
    mem: bytes
    derived: bool = False


class Buffers(NamedTuple):
    """A state without its label: `head, mem = run.states["final"]`."""

    head: bytes
    mem: bytes


class Event(NamedTuple):
    """Something that a reader of the log should know.

    Attributes:
        kind: a word: "hole", "damaged", "unfinished", "error", "recovered", ...
        text: a sentence.
        fields: what the sentence says, for programs; "trial" where one is concerned.
        derived: True where it was read off the raw frames, False where the host recorded it.
    """

    kind: str
    text: str
    fields: Json
    derived: bool = False


Record = Step | Ended | State | Event | Timing


class Frame(NamedTuple):
    """A raw wire frame, as it was sent or received, damaged ones included.

    Attributes:
        number: of the frame in the log, from 0, both directions counted together.
        to_board: True from host to board.
        wire: COBS bytes.
        t_ns: time, ns since the Unix epoch.
    """

    number: int
    to_board: bool
    wire: bytes
    t_ns: int


class Disagreement(NamedTuple):
    """Two records of the same thing differ, or a frame that was intact when the log was closed is not any more.

    Attributes:
        trial: number of the trial concerned; None before the first and where no trial can be named.
        step: number of the step in it, where it is one step.
        text: a sentence that names both.
    """

    trial: int | None
    step: int | None
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(slots=True)
class Trial:
    """One trial as the log has it.

    Attributes:
        number: the trial's number.
        evaluate: True for an unperturbed trial; None where its end was lost and nothing says.
        steps: its steps, in order.
        summary: what end() returned; None for a trial without an end (cut log, hole in the telemetry).
        last_cost: the cost word that end() saw; None with the summary.
        disagreements: what of this trial the decoded channels and the raw frames have differently.
    """

    number: int
    evaluate: bool | None = None
    steps: list[Step] = field(default_factory=list)
    summary: TrialSummary | None = None
    last_cost: int | None = None
    disagreements: list[Disagreement] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """True where nothing of the trial is missing: its end, and every step that the end counted."""
        return (
            self.summary is not None
            and self.summary.steps == len(self.steps)
            and all(step.step == at and step.trial == self.number for at, step in enumerate(self.steps))
        )


@dataclass(frozen=True, slots=True)
class RunHeader:
    """What a log says of its run before the first trial.

    Attributes:
        source: "sim" or "board".
        experiment_toml: the experiment file's text.
        experiment_digest: its digest (`Experiment.digest`).
        seed: the run's seed.
        rule: the learner's rule, "weight_perturbation" or "node_perturbation".
        n_sensors: sensor words a step.
        n_actuators: actuator words a step.
        arithmetic: version of the kernels' arithmetic (`layout.ARITHMETIC_VERSION`).
        mismatch: True where the plant differs from the nominal one.
        plant: the plant's description.
        engine: what executed the kernels: name and versions, or the board, its MicroPython and kernel tier.
        manifest: hashes of the firmware's files; empty for a simulator.
        continues: of a run that went on from a checkpoint, else empty: "log", the name of the log before this one;
            "run", the run's identity; "trial", number of the last trial before the initial state; "trials", learning
            trials until then.
        started_ns: when recording began, ns since the Unix epoch; 0 asks the recorder to fill it in.
    """

    source: str
    experiment_toml: str
    experiment_digest: str
    seed: int
    rule: str
    n_sensors: int
    n_actuators: int
    arithmetic: int
    mismatch: bool
    plant: str
    engine: Json = field(default_factory=dict)
    manifest: Json = field(default_factory=dict)
    continues: Json = field(default_factory=dict)
    started_ns: int = 0

    @property
    def run(self) -> int:
        """The run's identity, 32 bits, under which a board keeps its checkpoints: that of the log it began with."""
        if self.continues:
            return int(self.continues["run"])
        return zlib.crc32(f"{self.experiment_digest} {self.seed} {self.started_ns}".encode())

    @property
    def first_trial(self) -> int:
        """Number of the first trial of this log."""
        return int(self.continues["trial"]) + 1 if self.continues else 0

    @property
    def learned(self) -> int:
        """Learning trials before this log's first one."""
        return int(self.continues["trials"]) if self.continues else 0

    def to_metadata(self) -> dict[str, str]:
        """Return the header as MCAP metadata: text as it is, everything else as JSON."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _LATER or getattr(self, f.name)}
        return {name: value if isinstance(value, str) else dump(value) for name, value in values.items()}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> "RunHeader":
        """Read what `to_metadata` wrote.

        Raises:
            ValueError: a field is missing or of another type.
        """
        values: Json = {}
        for f in fields(cls):
            if f.name not in metadata and f.name in _LATER:
                continue
            if f.name not in metadata:
                raise ValueError(f"no {f.name}")
            value: Any = metadata[f.name]
            kind = f.type if f.type in {int, bool, str} else dict
            if kind is not str:
                value = json.loads(value)
            if type(value) is not kind:
                raise ValueError(f"{f.name} is {type(value).__name__} and not {kind}")
            values[f.name] = value
        if values["source"] not in {"sim", "board"}:
            raise ValueError(f"source is {values['source']!r} and neither 'sim' nor 'board'")
        if not (0 <= values["n_sensors"] <= _MOST_WORDS and 0 <= values["n_actuators"] <= _MOST_WORDS):
            raise ValueError("a step cannot have so many words")
        continues = values.get("continues")
        if continues and any(type(continues.get(name)) is not int for name in ("run", "trial", "trials")):
            raise ValueError("it continues a run, and does not say where")
        return cls(**values)


def dump(value: Any) -> str:
    """Return `value` as compact JSON, keys sorted; what JSON cannot hold becomes its text."""
    try:
        return json.dumps(value, separators=(",", ":"), sort_keys=True, allow_nan=False, default=str)
    except ValueError:  # inf and nan, which other tools' parsers refuse
        return json.dumps(_finite(value), separators=(",", ":"), sort_keys=True, default=str)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return str(value) if isinstance(value, float) and value - value != 0 else value
