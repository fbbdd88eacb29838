"""What a comparison found, in sentences: the verdicts of the last screen and of the page, and the gap table."""

import math
from collections import Counter
from dataclasses import dataclass
from typing import Literal

from subsong.compare.analysis import Analysis, Basis, plural
from subsong.compare.gap import Arithmetic, Link
from subsong.compare.judgement import Judgement
from subsong.compare.markup import number
from subsong.compare.records import SIDES
from subsong.compare.statistics import Interval

State = Literal["good", "bad", "open"]
_MANY = {
    "command repeated": "commands repeated",
    "late reply": "late replies",
    "telemetry frame missing": "telemetry frames missing",
    "frame refused by the board": "frames refused by the board",
}
PLACE: dict[Basis, str] = {
    "own": "Each on its own plant",
    "nominal": "Both on the nominal plant",
    "mismatched": "Both on the mismatched plant",
}


@dataclass(frozen=True)
class Statement:
    """One finding.

    Attributes:
        name: what it is about.
        finding: in a word or two.
        state: how it is shown: good, bad, or open.
        text: in sentences.
    """

    name: str
    finding: str
    state: State
    text: str

    def __str__(self) -> str:
        return f"{self.name}: {self.finding}. {self.text}"


def verdicts(analysis: Analysis) -> list[Statement]:
    """Say what was found: the arithmetic, the plant, and the learning."""
    found = [_arithmetic(analysis), _plant(analysis), _learning(analysis, "own", "Learning")]
    if "mismatched" in analysis.judgements:
        found.append(_learning(analysis, "mismatched", "Transfer"))
    return found


def gap(analysis: Analysis) -> list[Statement]:
    """Split the gap into its parts."""
    return [_arithmetic(analysis), _link(analysis), _timing(analysis), _saturation(analysis), _rest(analysis)]


def _arithmetic(analysis: Analysis) -> Statement:
    checks = analysis.arithmetic
    if not checks:
        return Statement(
            "Arithmetic", "not checked", "open", "There is no board's log here: only those can be replayed."
        )
    wrong = next(((index, check) for index, check in checks.items() if check.equal is False), None)
    if wrong is not None:
        index, check = wrong
        return Statement("Arithmetic", "differs", "bad", f"{analysis.records[index].path}: {check.difference}")
    unknown = next(((index, check) for index, check in checks.items() if check.equal is None), None)
    if unknown is not None:
        index, check = unknown
        return Statement("Arithmetic", "not checked", "open", f"{analysis.records[index].path}: {check.reason}")
    versions = sorted({record.header.arithmetic for record in analysis.records})
    if len(versions) > 1:
        several = ", ".join(map(str, versions))
        text = f"The runs used versions {several} of the arithmetic: what differs may come from that."
        return Statement("Arithmetic", "not checked", "open", text)
    return Statement("Arithmetic", "no gap", "good", _replayed(list(checks.values())))


def _replayed(checks: list[Arithmetic]) -> str:
    checked, skipped = sum(check.checked for check in checks), sum(check.skipped for check in checks)
    text = (
        f"{checked:,} {plural(checked, 'trial')} of {len(checks)} board {plural(len(checks), 'run')} executed again "
        f"from the recorded words: every actuator word, checksum and state is equal."
    )
    return text + (f" {skipped:,} {plural(skipped, 'trial')} in holes could not be checked." if skipped else "")


def _plant(analysis: Analysis) -> Statement:
    table = analysis.table
    if analysis.experiment.plant.kind == "board":
        return Statement("Plant", "not measured", "open", "The plant is the board's own: nobody has a model of it.")
    if "mismatched" not in table.plants:
        return Statement(
            "Plant", "one plant", "open", "The experiment declares no mismatch: both learned on one plant."
        )
    software, hardware = analysis.own_plant("software"), analysis.own_plant("hardware")
    if software == hardware:
        return Statement("Plant", "one plant", "open", f"Both learned on the {software} plant.")
    if software == "mismatched" or hardware == "nominal":
        text = f"Software learned on the {software or 'other'} plant, hardware on the {hardware or 'other'} one."
        return Statement("Plant", "not split", "open", text)
    before, after = table.mean("software", "nominal"), table.mean("software", "mismatched")
    there = table.mean("hardware", "mismatched")
    if before is None or after is None or there is None:
        why = next(iter(table.missing.values()), "a side has no run that counts")
        return Statement("Plant", "not measured", "open", f"The transfer table is incomplete: {why}.")
    loss, back = after - before, after - there
    if loss == 0:
        moved = f"leaves the cost of the software weights at {number(before)}"
    else:
        verb = "raises" if loss > 0 else "lowers"
        moved = (
            f"{verb} the cost of the software weights by {number(abs(loss))}, from {number(before)} to {number(after)}"
        )
    against = f"{number(abs(back))} {'less' if back > 0 else 'more'} than" if back else "as much as"
    return Statement(
        "Plant",
        f"gap of {signed(there - before)}",
        "open",
        f"The mismatch {moved}. The weights learned on hardware cost {number(there)} on the same plant, {against} "
        f"the software weights there.{_share(loss, back)}",
    )


def _share(loss: float, back: float) -> str:
    """Say how much of a loss was won back, where that is a sensible thing to say."""
    return f" Learning on hardware wins back {back / loss:.0%} of the loss." if loss > 0 and back > 0 else ""


def _learning(analysis: Analysis, basis: Basis, name: str) -> Statement:
    judgement = analysis.judgements[basis]
    finding = {"alike": "alike in every run", "different": f"{judgement.better} is better"}.get(
        judgement.verdict, judgement.verdict
    )
    state: State = "good" if judgement.verdict in {"alike", "equivalent"} else "open"
    return Statement(name, finding, state, f"{PLACE[basis]}: {_reason(judgement)}{_control(analysis, basis)}")


def _control(analysis: Analysis, basis: Basis) -> str:
    """Say so where a side is no better than untrained weights: being alike is then nothing learned."""
    found = []
    for side in SIDES:
        plant = analysis.own_plant(side) if basis == "own" else basis
        learned = analysis.table.mean(side, plant) if plant else None
        untrained = analysis.table.mean("untrained", plant) if plant else None
        if learned is not None and untrained is not None and learned >= untrained:
            found.append(
                f" The {side} weights are no better than untrained ones, which cost {number(untrained)} there."
            )
    return "".join(found)


def _reason(judgement: Judgement) -> str:
    n, m = judgement.runs
    if judgement.why == "no runs":
        sides = [side for side, runs in (("software", n), ("hardware", m)) if not runs]
        return f"no {' and no '.join(sides)} run counts here, so there is nothing to compare."
    if judgement.why == "one run":
        what = f"software {number(judgement.software)}, hardware {number(judgement.hardware)}. "
        if n == m == 1:
            return what + "One run a side: nothing can be said about other runs."
        side = "software" if n == 1 else "hardware"
        return what + f"One {side} run: nothing can be said about other {side} runs."
    runs = f"{n} against {m} runs"
    if judgement.verdict == "alike":
        return (
            f"every one of {runs} ended at {number(judgement.software)}. Up to {judgement.unseen or 0:.0%} of "
            "further runs could still end otherwise (95% limit)."
        )
    if judgement.welch is None:
        return (
            f"{number(judgement.software)} against {number(judgement.hardware)} without any spread in {runs}; by "
            f"counting alone, p {pvalue(judgement.p, '= ')}."
        )
    test = judgement.equivalence
    differs = f"hardware minus software is {between(judgement.welch.difference, judgement.welch.interval)} over {runs}"
    if judgement.verdict == "equivalent" and test is not None:
        return f"{differs}, within the declared margin of {number(test.margin)} (p {pvalue(test.p, '= ')})."
    if judgement.verdict == "different":
        tail = "" if test is None else f"; not shown to lie within the declared margin of {number(test.margin)}"
        return f"{differs} (p {pvalue(judgement.p, '= ')}){tail}."
    tail = f"The smallest difference that runs like these would show is about {number(judgement.detectable, 2)}."
    if test is None:
        tail += " No margin was declared, so equivalence was not tested."
    return f"{differs}: neither a difference nor equivalence is shown. {tail}"


def _links(analysis: Analysis) -> list[Link]:
    return [record.link for record in analysis.records if record.link is not None]


def _link(analysis: Analysis) -> Statement:
    links = _links(analysis)
    if not links:
        return Statement("Link", "none", "open", "No board took part.")
    sent, got = sum(link.to_board for link in links), sum(link.from_board for link in links)
    if not sent + got:
        return Statement("Link", "not recorded", "open", "The log holds no raw frames.")
    totals: Counter[str] = Counter()
    for link in links:
        totals.update(link.lost)
    text = f"{sent:,} {plural(sent, 'frame')} to the board, {got:,} back."
    if not totals:
        return Statement("Link", "nothing lost", "good", text)
    return Statement(
        "Link",
        ", ".join(f"{total:,} {plural(total, name, _MANY.get(name, ''))}" for name, total in totals.items()),
        "open",
        f"{text} Commands are repeated until answered and executed exactly once: a repetition costs time and changes "
        "no weight.",
    )


def _timing(analysis: Analysis) -> Statement:
    if any(record.pace for record in analysis.records):
        return _pace(analysis)
    trips = [link.round_trip_us for link in _links(analysis) if link.round_trip_us]
    if analysis.experiment.plant.kind in ("task", "board"):
        what = "task runs" if analysis.experiment.plant.kind == "task" else "plant is"
        text = f"The {what} on the board: the link carries telemetry only."
    else:
        text = "The plant waits for the board at every step, so time on the wire cannot change a cost."
    if not trips:
        return Statement("Timing", "not recorded", "open", text)
    median, late, longest = (max(values) for values in zip(*trips, strict=True))
    return Statement(
        "Timing",
        "none by construction",
        "good",
        f"{text} Round trip: median {duration(median)}, 99th percentile {duration(late)}, longest {duration(longest)}"
        + (" (the slowest run's)." if len(trips) > 1 else "."),
    )


def _pace(analysis: Analysis) -> Statement:
    found, late = [], 0
    for side in SIDES:
        paces = [record.pace for record in analysis.records if record.side == side and record.pace]
        if paces:
            steps, worst = sum(pace.steps for pace in paces), max(pace.worst_us for pace in paces)
            here = sum(pace.late for pace in paces)
            late += here
            found.append(f"{here:,} of {steps:,} steps in {side}, the worst by {duration(worst)}")
    text = f"Late were {'; '.join(found)}. The plant is stepped late then, and that is not made up for."
    return Statement(
        "Timing", f"{late:,} late {plural(late, 'step')}", "open" if late else "good", f"In real time. {text}"
    )


def _saturation(analysis: Analysis) -> Statement:
    software, hardware = (
        [record.curve.saturated for record in analysis.records if record.side == side]
        for side in ("software", "hardware")
    )
    total = sum(software) + sum(hardware)
    if total == 0:
        return Statement("Saturation", "none", "good", "No drive and no weight reached its limits in any run.")
    return Statement(
        "Saturation",
        f"{total:,} {plural(total, 'word')}",
        "open",
        f"Words clipped at their limits a run: {_mean(software)} in software, {_mean(hardware)} on hardware. "
        "Clipping is part of the arithmetic and replays exactly; unequal counts come from the plant and the seeds.",
    )


def _mean(values: list[int]) -> str:
    return number(sum(values) / len(values)) if values else "no run"


def _rest(analysis: Analysis) -> Statement:
    judgement = analysis.judgements["own"]
    if judgement.difference is None:
        return Statement("Plant", "not measured", "open", "It takes a run that counts on either side.")
    if analysis.own_plant("software") == analysis.own_plant("hardware"):
        text = "Both learned on the same plant: what remains is its own chance, and that of different seeds."
    else:
        text = {
            True: "Everything else is excluded above: what remains is the plant, and chance where runs are few.",
            False: "It cannot be told apart from the arithmetic until that agrees.",
            None: "It is the plant's only if the arithmetic agrees, which was not checked for every run.",
        }[analysis.arithmetic_equal]
    what = f"Hardware minus software, each on its own plant. {text}"
    return Statement("Plant", signed(judgement.difference), "open", what)


def signed(value: float) -> str:
    """Write a difference with its sign."""
    return ("+" if value > 0 else "") + number(value)


def between(value: float, interval: Interval | None) -> str:
    """Write a figure with its interval, no finer than the interval warrants."""
    if interval is None:
        return number(value)
    places = rounding(interval)
    low, high = (number(end, places=places) for end in (interval.low, interval.high))
    return f"{number(value, places=places)} ({interval.level:.0%} interval {low} to {high})"


def rounding(interval: Interval) -> int | None:
    """Return the decimals that show two digits of an interval's width; None for an interval without width."""
    width = interval.high - interval.low
    return max(0, 1 - math.floor(math.log10(width))) if width > 0 else None


def pvalue(value: float | None, relation: str = "") -> str:
    """Write a p value, after an equals sign if that is the `relation` asked for."""
    if value is None:
        return ""
    return "< 0.0001" if value < 1e-4 else f"{relation}{value:.2g}"


def duration(microseconds: float) -> str:
    """Write a time with a unit that suits it."""
    for unit, size in (("s", 1e6), ("ms", 1e3)):
        if microseconds >= size:
            return f"{number(microseconds / size, 3)} {unit}"
    return f"{number(microseconds, 3)} µs"
