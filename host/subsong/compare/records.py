"""One record a log: what `compare` needs of it, and which logs may stand beside one another."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from subsong.compare.curves import Curve, read_curve
from subsong.compare.gap import Link, read_link
from subsong.compare.transfer import State
from subsong.errors import ExperimentError, LogError
from subsong.experiment import Experiment, parse_experiment
from subsong.findings import Pace, read_pace
from subsong_sim.learner import TrialSummary

if TYPE_CHECKING:
    from subsong.runlog.records import Event, Frame, RunHeader

Side = Literal["software", "hardware"]
SIDES: tuple[Side, ...] = ("software", "hardware")


class LoggedRun(Protocol):
    """A run log that has been read; `subsong.runlog.Run` is one."""

    @property
    def header(self) -> "RunHeader":
        """What the log says of its run."""
        ...

    @property
    def states(self) -> Mapping[str, State]:
        """The learner's buffers (head, mem) by label."""
        ...

    @property
    def events(self) -> "Sequence[Event]":
        """Retries, holes, exclusions, errors."""
        ...

    @property
    def complete(self) -> bool:
        """True where the log was closed by the run that wrote it."""
        ...

    def summaries(self) -> Sequence[TrialSummary]:
        """Return what end() returned for every trial that has an end."""
        ...

    def frames(self) -> "Iterable[Frame]":
        """Yield the raw frames in order."""
        ...


@dataclass(frozen=True)
class Record:
    """One log.

    Attributes:
        path: of the log.
        side: "software" for a simulator's log, "hardware" for a board's.
        header: as recorded.
        experiment: as recorded, validated.
        curve: how it learned.
        initial, final: (head, mem), or None where the log lacks them.
        unfinished: trials without an end: they are on no curve.
        complete: False for a log that was recovered or cut.
        link: what the link did; None for a simulator's log.
        pace: how a plant in real time kept its time; None where it had all it wanted.
        identity: equal for logs of the same run.
    """

    path: Path
    side: Side
    header: "RunHeader"
    experiment: Experiment
    curve: Curve
    initial: State | None
    final: State | None
    unfinished: int
    complete: bool
    link: Link | None
    pace: Pace | None
    identity: str

    @property
    def usable(self) -> bool:
        """True where the run may count in the statistics: it is there from its beginning to its final weights."""
        return self.complete and self.final is not None and not self.header.continues

    @property
    def own_plant(self) -> Literal["nominal", "mismatched"]:
        """The plant that it learned on: the nominal one, too, where the experiment declares no other."""
        return "mismatched" if self.header.mismatch and declares_mismatch(self.experiment) else "nominal"


def cost_lsb(experiment: Experiment, evaluate: bool = False) -> float:
    """Return the physical cost of one count: the plant's cost_lsb, or a task's share of a mean squared error."""
    from subsong.session import physical

    return physical(experiment, 1, evaluate)


def declares_mismatch(experiment: Experiment) -> bool:
    """Tell whether the experiment has a plant besides the nominal one."""
    return experiment.mismatch() is not None


def read_record(path: Path, run: LoggedRun) -> Record:
    """Take from a run what compare needs.

    Raises:
        LogError: its experiment does not parse, or is not the one that its digest names.
    """
    header = run.header
    try:
        experiment = parse_experiment(header.experiment_toml, f"the experiment in {path}")
    except ExperimentError as error:
        raise LogError(
            f"{path}: the experiment it holds is none that this version reads:\n{error}\n"
            "Compare it with the version of Subsong that wrote it."
        ) from error
    if experiment.digest != header.experiment_digest:
        raise LogError(f"{path}: its experiment is not the one that its header's digest names: the log was altered.")
    curve = read_curve(run.summaries(), cost_lsb(experiment), cost_lsb(experiment, evaluate=True))
    states = run.states
    link = read_link(run.frames(), run.events, curve.dropped) if header.source == "board" else None
    # Not the time: bit for bit the same run twice, copied or repeated on a plant without chance, says nothing new.
    identity = hashlib.sha256(repr((header.source, header.seed, header.mismatch)).encode())
    for part in (*states.get("initial", ()), curve.cost.tobytes(), curve.step.tobytes(), *states.get("final", ())):
        identity.update(part)
    return Record(
        path=path,
        side="hardware" if header.source == "board" else "software",
        header=header,
        experiment=experiment,
        curve=curve,
        initial=states.get("initial"),
        final=states.get("final"),
        unfinished=sum(event.kind == "unfinished" for event in run.events),
        complete=run.complete,
        link=link,
        pace=read_pace(run.events),
        identity=identity.hexdigest(),
    )


def check_comparable(records: Sequence[Record]) -> None:
    """Refuse to compare different experiments. Seeds may differ: that is what makes several runs several.

    Raises:
        ExperimentError: naming both logs and every key that differs; or runs of one side that learned on two plants.
    """
    first = records[0]
    for side in SIDES:
        plants: dict[str, Path] = {record.own_plant: record.path for record in records if record.side == side}
        if len(plants) > 1:
            raise ExperimentError(
                f"the {side} runs learned on two plants: {plants['nominal']} on the nominal one, "
                f"{plants['mismatched']} on the mismatched one. They are no repetitions of one another: compare one "
                f"kind of {side} run at a time."
            )
    for other in records[1:]:
        if first.experiment.with_seed(0).digest == other.experiment.with_seed(0).digest:
            continue
        one, two = flatten(first.experiment.model_dump()), flatten(other.experiment.model_dump())
        lines = [
            f"  {key}: {one.get(key, 'not set')} against {two.get(key, 'not set')}"
            for key in sorted({*one, *two} - {"seed"})
            if one.get(key) != two.get(key)
        ]
        raise ExperimentError(
            f"{first.path} and {other.path} are runs of different experiments; compare runs that differ in their seed "
            "only:\n" + "\n".join(lines)
        )


def flatten(table: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested tables as dotted keys and text, leaving out what is not set."""
    flat: dict[str, str] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        elif value is not None:
            flat[prefix + key] = _plain(value)
    return flat


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_plain(item) for item in value) + "]"
    return f"{value:.12g}" if isinstance(value, float) else str(value)
