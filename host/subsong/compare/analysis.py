"""Everything that a comparison finds, as plain values: the report only draws it and `words` only says it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from subsong.compare.gap import Arithmetic, Replay, check_arithmetic
from subsong.compare.judgement import Judgement, judge
from subsong.compare.records import SIDES, Record, Side, check_comparable, cost_lsb, declares_mismatch
from subsong.compare.transfer import Evaluate, State, Table, Weights, fill
from subsong.console import Progress
from subsong.experiment import Experiment
from subsong.experiment_tasks import TaskPlant

Basis = Literal["own", "nominal", "mismatched"]


@dataclass(frozen=True)
class Analysis:
    """What was compared and what came out.

    Attributes:
        experiment: of the first log; the others differ in their seed at most.
        records: one a run, duplicates left out.
        counted: by side, the records that count in the statistics.
        arithmetic: by index in `records`, hardware only.
        table: the transfer table.
        judgements: the scores of both sides, each on its "own" plant, or both on one.
        margin: the largest difference that does not matter, or None where none was declared.
        notes: what was left out and what a reader should know, in sentences.
    """

    experiment: Experiment
    records: tuple[Record, ...]
    counted: dict[Side, tuple[Record, ...]]
    arithmetic: dict[int, Arithmetic]
    table: Table
    judgements: dict[Basis, Judgement]
    margin: float | None
    notes: tuple[str, ...]

    def of(self, side: Side) -> list[Record]:
        """Return the records of a side, counted or not."""
        return [record for record in self.records if record.side == side]

    @property
    def arithmetic_equal(self) -> bool | None:
        """False when any board log differs from its replay, True when every one is equal, None otherwise."""
        found = {check.equal for check in self.arithmetic.values()}
        if False in found:
            return False
        alike = len({record.header.arithmetic for record in self.records}) == 1
        return True if found == {True} and alike else None

    def own_plant(self, side: Side) -> Literal["nominal", "mismatched"] | None:
        """Return the plant that a side learned on, None where it has no run."""
        records = self.of(side)
        return records[0].own_plant if records else None


def analyse(
    records: Sequence[Record],
    *,
    evaluate: Evaluate,
    replay: Replay,
    margin: float | None,
    episodes: int,
    first_seed: int,
    seed: int,
    progress: Progress,
) -> Analysis:
    """Compare runs that have been read.

    Args:
        records: at least one.
        evaluate: runs weights on a plant.
        replay: executes a log again.
        margin: of the equivalence test, physical cost, or None.
        episodes: of every cell of the transfer table.
        first_seed: of those episodes.
        seed: of the bootstrap.
        progress: what takes long is reported here.

    Raises:
        ExperimentError: the runs are not of one experiment.
    """
    check_comparable(records)
    kept, notes = _distinct(records)
    notes += _warnings(kept)
    counted: dict[Side, tuple[Record, ...]] = {
        side: tuple(record for record in kept if record.side == side and record.usable) for side in SIDES
    }
    arithmetic = {
        index: check_arithmetic(record.path, replay, progress)
        for index, record in enumerate(kept)
        if record.side == "hardware"
    }
    for index, check in arithmetic.items():
        if check.holes:
            notes.append(
                f"{kept[index].path}: {check.holes} {plural(check.holes, 'hole')} in the telemetry; replay went on "
                "from the board's snapshots, and what fell into the holes was not checked."
            )
    experiment = kept[0].experiment
    if isinstance(experiment.plant, TaskPlant) and not experiment.plant.varied:
        episodes = 1  # no chance in it: every episode would cost the same
    states: dict[Weights, list[State]] = {"untrained": [], "software": [], "hardware": []}
    for record in (*counted["software"], *counted["hardware"]):
        if record.initial is not None and record.initial not in states["untrained"]:
            states["untrained"].append(record.initial)
        if record.final is not None:
            states[record.side].append(record.final)
    table = fill(
        experiment,
        states,
        evaluate,
        cost_lsb=cost_lsb(experiment, evaluate=True),
        has_mismatch=declares_mismatch(experiment),
        episodes=episodes,
        first_seed=first_seed,
        progress=progress,
    )
    progress.finish()
    bases: list[Basis] = ["own", *table.plants]
    judgements = {
        basis: judge(
            _scores(table, counted["software"], basis),
            _scores(table, counted["hardware"], basis),
            margin=margin,
            seed=seed,
        )
        for basis in bases
    }
    return Analysis(experiment, tuple(kept), counted, arithmetic, table, judgements, margin, tuple(notes))


def _scores(table: Table, records: Sequence[Record], basis: Basis) -> list[float]:
    """Return one score a run; from the log's own last evaluation where the plant cannot be simulated here."""
    if not records:
        return []
    cell = table.cell(records[0].side, records[0].own_plant if basis == "own" else basis)
    if cell is not None:
        return [float(score) for score in cell.scores]
    logged = [record.curve.evaluations[-1].mean for record in records if record.curve.evaluations]
    return logged if basis == "own" and len(logged) == len(records) else []


def _distinct(records: Sequence[Record]) -> tuple[list[Record], list[str]]:
    """Leave out logs of a run that another log holds already: they are no further evidence."""
    kept: dict[str, Record] = {}
    notes: list[str] = []
    for record in records:
        first = kept.setdefault(record.identity, record)
        if first is not record:
            notes.append(f"{record.path} holds the same run, bit for bit, as {first.path}: counted once.")
    return list(kept.values()), notes


def _warnings(records: Sequence[Record]) -> list[str]:
    notes: list[str] = []
    for record in records:
        if not record.complete:
            notes.append(
                f"{record.path} is incomplete (cut or recovered): its curve is drawn, but it counts in no statistic."
            )
        elif record.final is None:
            notes.append(f"{record.path} holds no final state: its curve is drawn, but it counts in no statistic.")
        elif record.header.continues:
            notes.append(
                f"{record.path} goes on from a checkpoint (of {record.header.continues.get('log')}): its curve is "
                "drawn from there, but it counts in no statistic."
            )
        if record.unfinished:
            count = record.unfinished
            notes.append(f"{record.path}: {count} {plural(count, 'trial')} without an end, on no curve.")
    for side in SIDES:
        seeds = Counter(record.header.seed for record in records if record.side == side)
        notes += [
            f"{times} {side} runs share seed {seed}: they had the same initial weights and perturbations, so their "
            "spread is the plant's alone and narrower than that of independent runs."
            for seed, times in seeds.items()
            if times > 1
        ]
    versions = sorted({record.header.arithmetic for record in records})
    if len(versions) > 1:
        notes.append(
            f"The runs used different versions of the arithmetic ({', '.join(map(str, versions))}): differences "
            "between them may come from that as well."
        )
    return notes


def plural(count: int, one: str, many: str = "") -> str:
    """Return the word that goes with a count."""
    return one if count == 1 else many or one + "s"


def judgement_json(judgement: Judgement) -> dict[str, Any]:
    """Return a judgement for JSON: intervals as [low, high]."""
    welch, test = judgement.welch, judgement.equivalence
    return {
        "runs": {"software": judgement.runs[0], "hardware": judgement.runs[1]},
        "verdict": judgement.verdict,
        "why": judgement.why,
        "software_iqm": judgement.software,
        "software_interval": _pair(judgement.software_interval),
        "hardware_iqm": judgement.hardware,
        "hardware_interval": _pair(judgement.hardware_interval),
        "difference_of_iqm": judgement.gap,
        "difference_of_iqm_interval": _pair(judgement.gap_interval),
        "difference_of_means": judgement.difference,
        "difference_of_means_interval": _pair(welch.interval) if welch else None,
        "p": judgement.p,
        "probability_of_improvement": judgement.improvement,
        "probability_of_improvement_interval": _pair(judgement.improvement_interval),
        "equivalence": {
            "margin": test.margin,
            "p": test.p,
            "interval": _pair(test.interval),
            "equivalent": test.equivalent,
        }
        if test
        else None,
        "smallest_detectable_difference": judgement.detectable,
    }


def _pair(interval: Any) -> list[float] | None:
    return None if interval is None else [interval.low, interval.high]
