"""What was asked for, which runs count in the statistics, and what a reader should know besides."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from subsong.compare.gap import Arithmetic
from subsong.compare.records import SIDES, Record, Side
from subsong.compare.sides import Sides
from subsong.errors import ExperimentError


@dataclass(frozen=True)
class Margin:
    """The largest difference of mean cost that does not matter, and who declared it.

    Attributes:
        value: physical cost; None where nobody did.
        source: "experiment" (run.margin), "option" (--margin), or "" where nobody did.
        declared: by the experiment, whether or not an option overrides it.
    """

    value: float | None
    source: Literal["experiment", "option", ""]
    declared: float | None

    @property
    def where(self) -> str:
        """Say where it was declared."""
        return {"experiment": "run.margin in the experiment", "option": "--margin", "": ""}[self.source]


@dataclass(frozen=True)
class Exclusion:
    """A log that counts in no statistic.

    Attributes:
        path: of the log.
        reason: in a sentence without its end.
    """

    path: Path
    reason: str


@dataclass(frozen=True)
class Options:
    """What a comparison was asked for.

    Attributes:
        logs: as named.
        against: the second of two sets that the user set apart; none where logs say which side is theirs.
        margin: that goes before the experiment's own, physical cost, or None.
        episodes: of every cell of the transfer table.
        labels: what the user calls the sides; none: what they differ in names them.
        exclude: reasons, by log, for leaving it out.
    """

    logs: tuple[Path, ...]
    against: tuple[Path, ...]
    margin: float | None
    episodes: int
    labels: tuple[str, ...] = ()
    exclude: tuple[Exclusion, ...] = ()


def choose_margin(sides: Sides, option: float | None) -> Margin:
    """Return the margin: the option's before the experiment's, and the experiment's only where both sides have it."""
    found = {sides.experiments[side].run.margin for side in SIDES}
    declared = found.pop() if len(found) == 1 else None
    if option is not None:
        return Margin(option, "option", declared)
    return Margin(declared, "experiment" if declared is not None else "", declared)


def sort_out(
    records: Sequence[Record], exclude: Sequence[Exclusion]
) -> tuple[list[Record], tuple[Exclusion, ...], dict[Side, tuple[Record, ...]]]:
    """Return what is drawn, what counts in no statistic and why, and what counts, by side.

    Raises:
        ExperimentError: a log to be excluded is not there.
    """
    reasons = {each.path.resolve(): each.reason for each in exclude}
    missing = reasons.keys() - {record.path.resolve() for record in records}
    if missing:
        raise ExperimentError(f"--exclude {min(missing)}: is none of the logs that are compared")
    kept: dict[str, Record] = {}
    excluded: list[Exclusion] = []
    counted: dict[Side, list[Record]] = {side: [] for side in SIDES}
    for record in records:
        first = kept.setdefault(record.identity, record)
        if first is not record:
            # No further evidence.
            excluded.append(Exclusion(record.path, f"holds the same run, bit for bit, as {first.path}: counted once"))
            continue
        reason = reasons.get(record.path.resolve()) or _unusable(record)
        if reason:
            excluded.append(Exclusion(record.path, f"{reason}: its curve is drawn, but it counts in no statistic"))
        else:
            counted[record.side].append(record)
    return list(kept.values()), tuple(excluded), {side: tuple(counted[side]) for side in SIDES}


def _unusable(record: Record) -> str:
    """Say why a run cannot count; "" where it is there from its beginning to its final weights."""
    if not record.complete:
        return "is incomplete (cut or recovered)"
    if record.final is None:
        return "holds no final state"
    if record.header.continues:
        return f"goes on from a checkpoint (of {record.header.continues.get('log')})"
    return ""


def warnings(
    records: Sequence[Record], counted: Mapping[Side, Sequence[Record]], sides: Sides, margin: Margin
) -> list[str]:
    """Say what a reader should know of the runs, those that count among them, and the margin, a sentence each."""
    notes = [
        f"{record.path}: {record.unfinished} {plural(record.unfinished, 'trial')} without an end, on no curve."
        for record in records
        if record.unfinished
    ]
    for side in SIDES:
        seeds = Counter(record.header.seed for record in counted[side])
        notes += [
            f"{times} {sides.labels[side]} runs share seed {seed}: they had the same initial weights and "
            "perturbations, so their spread is the plant's alone and narrower than that of independent runs."
            for seed, times in seeds.items()
            if times > 1
        ]
    versions = sorted({record.header.arithmetic for record in records})
    if len(versions) > 1:
        notes.append(
            f"The runs used different versions of the arithmetic ({', '.join(map(str, versions))}): differences "
            "between them may come from that as well."
        )
    if margin.source == "option" and margin.declared not in {None, margin.value}:
        notes.append(
            f"The experiment declares a margin of {margin.declared:g} (run.margin); --margin put {margin.value:g} in "
            "its place."
        )
    declared = {sides.experiments[side].run.margin for side in SIDES}
    if len(declared) > 1 and margin.source != "option":
        notes.append("The two sets declare different margins (run.margin), so none was used: name one with --margin.")
    return notes


def holes(records: Sequence[Record], arithmetic: Mapping[int, Arithmetic]) -> list[str]:
    """Say which logs have holes in their telemetry, a sentence each."""
    return [
        f"{records[index].path}: {check.holes} {plural(check.holes, 'hole')} in the telemetry; replay went on from the "
        "board's snapshots, and what fell into the holes was not checked."
        for index, check in arithmetic.items()
        if check.holes
    ]


def plural(count: int, one: str, many: str = "") -> str:
    """Return the word that goes with a count."""
    return one if count == 1 else many or one + "s"
