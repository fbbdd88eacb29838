"""Everything that a comparison finds, as plain values: the report only draws it and `words` only says it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from subsong.compare.counting import Exclusion, Margin, Options, choose_margin, holes, sort_out, warnings
from subsong.compare.gap import Arithmetic, Replay, check_arithmetic
from subsong.compare.judgement import Judgement, judge
from subsong.compare.model import Nominal, OpenLoop, foretell
from subsong.compare.records import SIDES, Record, Side, cost_lsb, declares_mismatch
from subsong.compare.resolution import Resolution, resolve
from subsong.compare.sides import Sides, judge_sides
from subsong.compare.split import Part, split
from subsong.compare.transfer import Evaluate, State, Table, Weights, fill
from subsong.console import Progress
from subsong.experiment import Experiment
from subsong.experiment_tasks import TaskPlant

Basis = Literal["own", "nominal", "mismatched"]


@dataclass(frozen=True)
class Analysis:
    """What was compared and what came out.

    Attributes:
        sides: who is set against whom.
        records: one a run, duplicates left out.
        counted: by side, the records that count in the statistics.
        arithmetic: by index in `records`, of boards' logs only.
        table: the transfer table.
        split: the gap as a sum; none where software did not learn on the nominal plant and hardware on the mismatched,
            or the table lacks a cell.
        resolution: what the words' resolution costs.
        model: by side, how well the nominal model foretells its sensors.
        judgements: the scores of both sides, each on its "own" plant, or both on one.
        margin: of the equivalence test.
        excluded: what counts in no statistic, and why.
        notes: what a reader should know besides, in sentences.
        options: what was asked for.
    """

    sides: Sides
    records: tuple[Record, ...]
    counted: dict[Side, tuple[Record, ...]]
    arithmetic: dict[int, Arithmetic]
    table: Table
    split: tuple[Part, ...]
    resolution: Resolution
    model: dict[Side, OpenLoop]
    judgements: dict[Basis, Judgement]
    margin: Margin
    excluded: tuple[Exclusion, ...]
    notes: tuple[str, ...]
    options: Options

    @property
    def experiment(self) -> Experiment:
        """The experiment; of two sets that differ in it, the first's. The plant is the same in both."""
        return self.sides.experiments[self.records[0].side]

    def label(self, side: Side) -> str:
        """Return what a side is called within a sentence."""
        return self.sides.labels[side]

    def counts(self, record: Record) -> bool:
        """Tell whether a run counts in the statistics."""
        return any(record is each for each in self.counted[record.side])

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
    options: Options,
    *,
    evaluate: Evaluate,
    replay: Replay,
    nominal: Nominal,
    progress: Progress,
) -> Analysis:
    """Compare runs that have been read.

    Args:
        records: at least one.
        options: what is asked for.
        evaluate: runs weights on a plant.
        replay: executes a log again.
        nominal: makes the nominal plant.
        progress: what takes long is reported here.

    Raises:
        ExperimentError: the runs cannot be compared, or a log to be excluded is none of them.
    """
    sides = judge_sides(records, apart=bool(options.against), labels=options.labels)
    kept, excluded, counted = sort_out(records, options.exclude)
    arithmetic = {
        index: check_arithmetic(record.path, replay, progress)
        for index, record in enumerate(kept)
        if record.header.source == "board"
    }
    margin = choose_margin(sides, options.margin)
    notes = [*warnings(kept, counted, sides, margin), *holes(kept, arithmetic)]
    experiment = kept[0].experiment
    lsb = cost_lsb(experiment, evaluate=True)
    # Without chance in it, every episode of a task would cost the same.
    once = isinstance(experiment.plant, TaskPlant) and not experiment.plant.varied
    episodes = 1 if once else options.episodes
    states = _states(counted)
    table = fill(
        states,
        evaluate,
        cost_lsb=lsb,
        has_mismatch=declares_mismatch(experiment),
        episodes=episodes,
        progress=progress,
    )
    plants = [each[0].own_plant for side in SIDES if (each := counted[side])]
    parts: tuple[Part, ...] = ()
    if plants == ["nominal", "mismatched"]:
        parts = split(states["software"], table, evaluate, cost_lsb=lsb, progress=progress)
    resolution = resolve(
        kept,
        sides.experiments["software"],
        [state for _, state in states["software"]],
        evaluate,
        cost_lsb=lsb,
        episodes=episodes,
        progress=progress,
    )
    model = {side: _foretold(kept, side, nominal, progress) for side in SIDES}
    progress.finish()
    bases: list[Basis] = ["own", *table.plants]
    judgements = {
        basis: judge(
            _scores(table, counted["software"], basis),
            _scores(table, counted["hardware"], basis),
            margin=margin.value,
        )
        for basis in bases
    }
    return Analysis(
        sides, tuple(kept), counted, arithmetic, table, parts, resolution, model, judgements, margin, excluded,
        tuple(notes), options,
    )  # fmt: skip


def _states(counted: Mapping[Side, Sequence[Record]]) -> dict[Weights, list[tuple[Experiment, State]]]:
    """Return the weights of the transfer table's rows; each different start once."""
    states: dict[Weights, list[tuple[Experiment, State]]] = {"untrained": [], "software": [], "hardware": []}
    starts: list[tuple[str, State]] = []
    for side in SIDES:
        for record in counted[side]:
            start = (record.experiment.learner.rule, record.initial)
            if record.initial is not None and start not in starts:
                starts.append((record.experiment.learner.rule, record.initial))
                states["untrained"].append((record.experiment, record.initial))
            if record.final is not None:
                states[side].append((record.experiment, record.final))
    return states


def _foretold(records: Sequence[Record], side: Side, nominal: Nominal, progress: Progress) -> OpenLoop:
    mine = [record for record in records if record.side == side]
    samples = [sample for record in mine for sample in record.channels.samples]
    experiment = mine[0].experiment if mine else records[0].experiment
    # The simulator's own logs were played by the compiled plant, where there is one; a board's by the other.
    compiled = bool(mine) and mine[0].header.source == "sim"
    return foretell(experiment, samples, nominal, compiled=compiled, progress=progress)


def _scores(table: Table, records: Sequence[Record], basis: Basis) -> list[float]:
    """Return one score a run; from the log's own last evaluation where the plant cannot be simulated here."""
    if not records:
        return []
    cell = table.cell(records[0].side, records[0].own_plant if basis == "own" else basis)
    if cell is not None:
        return [float(score) for score in cell.scores]
    logged = [record.curve.evaluations[-1].mean for record in records if record.curve.evaluations]
    return logged if basis == "own" and len(logged) == len(records) else []
