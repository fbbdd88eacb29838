"""What a comparison found, in sentences: the verdicts of the last screen and of the page."""

import math
from dataclasses import dataclass
from typing import Literal

from subsong.compare.analysis import Analysis, Basis
from subsong.compare.counting import plural
from subsong.compare.gap import Arithmetic
from subsong.compare.judgement import Judgement
from subsong.compare.markup import number
from subsong.compare.records import SIDES
from subsong.compare.statistics import Interval

State = Literal["good", "bad", "open"]
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
    found = [arithmetic(analysis), _plant(analysis), _learning(analysis, "own", "Learning")]
    if "mismatched" in analysis.judgements:
        found.append(_learning(analysis, "mismatched", "Transfer"))
    return found


def arithmetic(analysis: Analysis) -> Statement:
    """Say whether boards computed what the simulator computes."""
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
    one, two = analysis.label("software"), analysis.label("hardware")
    software, hardware = analysis.own_plant("software"), analysis.own_plant("hardware")
    if software == hardware:
        return Statement("Plant", "one plant", "open", f"Both learned on the {software} plant.")
    if software == "mismatched" or hardware == "nominal":
        text = (
            f"The {one} runs learned on the {software or 'other'} plant, the {two} runs on the "
            f"{hardware or 'other'} one."
        )
        return Statement("Plant", "not split", "open", text)
    before, after = table.mean("software", "nominal"), table.mean("software", "mismatched")
    there = table.mean("hardware", "mismatched")
    if before is None or after is None or there is None:
        why = next(iter(table.missing.values()), "a side has no run that counts")
        return Statement("Plant", "not measured", "open", f"The transfer table is incomplete: {why}.")
    loss, back = after - before, after - there
    if loss == 0:
        moved = f"leaves the cost of the {one} weights at {number(before)}"
    else:
        verb = "raises" if loss > 0 else "lowers"
        moved = f"{verb} the cost of the {one} weights by {number(abs(loss))}, from {number(before)} to {number(after)}"
    against = f"{number(abs(back))} {'less' if back > 0 else 'more'} than" if back else "as much as"
    return Statement(
        "Plant",
        f"gap of {signed(there - before)}",
        "open",
        f"The mismatch {moved}. The {two} weights cost {number(there)} on the same plant, {against} the {one} weights "
        f"there.{_share(loss, back)}{_chance(analysis, back)}",
    )


def _share(loss: float, back: float) -> str:
    """Say how much of a loss was won back, where that is a sensible thing to say."""
    return f" Learning there wins back {back / loss:.0%} of the loss." if loss > 0 and back > 0 else ""


def _chance(analysis: Analysis, back: float) -> str:
    """Say so where the runs do not tell what learning changed from chance."""
    open_ = back and analysis.judgements["mismatched"].verdict == "inconclusive"
    return " These runs do not tell that from chance: see Transfer." if open_ else ""


def _learning(analysis: Analysis, basis: Basis, name: str) -> Statement:
    judgement = analysis.judgements[basis]
    finding = {"alike": "alike in every run", "different": f"{analysis.label(judgement.better)} is better"}.get(
        judgement.verdict, judgement.verdict
    )
    state: State = "good" if judgement.verdict in {"alike", "equivalent"} else "open"
    return Statement(name, finding, state, f"{PLACE[basis]}: {_reason(analysis, judgement)}{_control(analysis, basis)}")


def _control(analysis: Analysis, basis: Basis) -> str:
    """Say so where a side is no better than untrained weights: being alike is then nothing learned."""
    found = []
    for side in SIDES:
        plant = analysis.own_plant(side) if basis == "own" else basis
        learned = analysis.table.mean(side, plant) if plant else None
        untrained = analysis.table.mean("untrained", plant) if plant else None
        if learned is not None and untrained is not None and learned >= untrained:
            found.append(
                f" The {analysis.label(side)} weights are no better than untrained ones, which cost "
                f"{number(untrained)} there."
            )
    return "".join(found)


def _reason(analysis: Analysis, judgement: Judgement) -> str:
    n, m = judgement.runs
    one, two = analysis.label("software"), analysis.label("hardware")
    if judgement.why == "no runs":
        sides = [label for label, runs in ((one, n), (two, m)) if not runs]
        return f"no {' and no '.join(sides)} run counts here, so there is nothing to compare."
    if judgement.why == "one run":
        what = f"{one} {number(judgement.software)}, {two} {number(judgement.hardware)}. "
        if n == m == 1:
            return what + "One run a side: nothing can be said about other runs."
        side = one if n == 1 else two
        return what + f"One {side} run: nothing can be said about other {side} runs."
    runs, test = f"{n} against {m} runs", judgement.equivalence
    margin = "" if test is None else f"{number(test.margin)} (declared by {analysis.margin.where})"
    if judgement.verdict == "alike":
        return (
            f"every one of {runs} ended at {number(judgement.software)}. Up to {judgement.unseen or 0:.0%} of "
            "further runs could still end otherwise (95% limit)."
        )
    if judgement.welch is None:
        within = f"within the margin of {margin}, " if judgement.verdict == "equivalent" and test is not None else ""
        p = test.p if within and test is not None else judgement.p
        return (
            f"{number(judgement.software)} against {number(judgement.hardware)} without any spread in {runs}; {within}"
            f"by counting alone, p {pvalue(p, '= ')}."
        )
    differs = f"{two} minus {one} is {between(judgement.welch.difference, judgement.welch.interval)} over {runs}"
    if judgement.verdict == "equivalent" and test is not None:
        return f"{differs}, within the margin of {margin} (p {pvalue(test.p, '= ')})."
    if judgement.verdict == "different":
        tail = "" if test is None else f"; not shown to lie within the margin of {margin}"
        return f"{differs} (p {pvalue(judgement.p, '= ')}){tail}."
    tail = (
        f"The smallest difference that runs like these would show is about {number(judgement.detectable, 2)}, or "
        f"{number(judgement.detectable_effect, 2)} standard deviations of a run."
    )
    if test is None:
        tail += " No margin was declared, so equivalence was not tested."
    return f"{differs}: neither a difference nor equivalence is shown. {tail}"


def signed(value: float) -> str:
    """Write a difference with its sign."""
    return ("+" if value > 0 else "") + number(value)


def percent(share: float) -> str:
    """Write a share with three digits."""
    return f"{number(100.0 * share, 3)}%"


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
