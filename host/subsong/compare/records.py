"""One record a log: what `compare` needs of it, and which logs may stand beside one another."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from subsong.compare.channels import Channels, read_channels
from subsong.compare.curves import Curve, read_curve
from subsong.compare.gap import Link, Pace, pace_of, read_link
from subsong.compare.transfer import State
from subsong.errors import ExperimentError, LogError
from subsong.experiment import Experiment, parse_experiment
from subsong_sim.learner import TrialSummary

if TYPE_CHECKING:
    from subsong.runlog.records import Event, Frame, RunHeader, Trial
    from subsong.timing import Timing

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
    def timings(self) -> "Sequence[Timing]":
        """How the board kept its own plant's period, trial by trial."""
        ...

    @property
    def complete(self) -> bool:
        """True where the log was closed by the run that wrote it."""
        ...

    def summaries(self) -> Sequence[TrialSummary]:
        """Return what end() returned for every trial that has an end."""
        ...

    def iter_trials(self) -> "Iterable[Trial]":
        """Yield the trials in order, with their steps."""
        ...

    def frames(self) -> "Iterable[Frame]":
        """Yield the raw frames in order."""
        ...


@dataclass(frozen=True)
class Record:
    """One log.

    Attributes:
        path: of the log.
        side: "software" for a simulator's log, "hardware" for a board's, unless the user set two sets apart.
        header: as recorded.
        experiment: as recorded, validated.
        curve: how it learned.
        initial, final: (head, mem), or None where the log lacks them.
        unfinished: trials without an end: they are on no curve.
        complete: False for a log that was recovered or cut.
        channels: what its words were.
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
    channels: Channels
    link: Link | None
    pace: Pace | None
    identity: str

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


def read_record(path: Path, run: LoggedRun, side: Side | None = None) -> Record:
    """Take from a run what compare needs.

    Args:
        path: of its log.
        run: as read.
        side: where the user put it; None: where the log says that it belongs.

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
    summaries = run.summaries()
    curve = read_curve(summaries, cost_lsb(experiment), cost_lsb(experiment, evaluate=True))
    numbers = [summary.trial for summary in summaries]
    states = run.states
    link = read_link(run.frames(), run.events, curve.dropped) if header.source == "board" else None
    # Not the time: bit for bit the same run twice, copied or repeated on a plant without chance, says nothing new.
    identity = hashlib.sha256(repr((header.source, header.experiment_digest, header.seed, header.mismatch)).encode())
    for part in (*states.get("initial", ()), curve.cost.tobytes(), curve.step.tobytes(), *states.get("final", ())):
        identity.update(part)
    return Record(
        path=path,
        side=side or ("hardware" if header.source == "board" else "software"),
        header=header,
        experiment=experiment,
        curve=curve,
        initial=states.get("initial"),
        final=states.get("final"),
        unfinished=sum(event.kind == "unfinished" for event in run.events),
        complete=run.complete,
        channels=read_channels(run.iter_trials(), header, experiment, run.events, numbers),
        link=link,
        pace=pace_of(run.events, run.timings),
        identity=identity.hexdigest(),
    )
