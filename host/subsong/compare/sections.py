"""The report's tables and texts, section by section."""

from collections.abc import Mapping, Sequence

from subsong.compare.analysis import Analysis
from subsong.compare.judgement import Judgement
from subsong.compare.markup import Child, Markup, number, pretty, tag
from subsong.compare.parts import gap
from subsong.compare.records import SIDES, Side
from subsong.compare.statistics import FEW_RUNS, Interval
from subsong.compare.transfer import WEIGHTS, PlantName, Weights
from subsong.compare.words import PLACE, pvalue, rounding, signed


def subject(analysis: Analysis) -> str:
    """Name the experiment: its plant and its rule; of two rules, the sides."""
    plant, sides = analysis.experiment.plant, analysis.sides
    name = plant.name if plant.kind == "task" else plant.title
    rules = {sides.experiments[side].learner.rule for side in SIDES}
    what = (
        rules.pop().replace("_", " ")
        if len(rules) == 1
        else f"{sides.labels['software']} or {sides.labels['hardware']}"
    )
    return f"{name}, {what}"


def figure(value: float | None, digits: int = 4) -> str:
    """Write a figure as the page shows it."""
    return pretty(number(value, digits))


def table(
    headers: Sequence[Child],
    rows: Sequence[Markup | None],
    *,
    caption: str = "",
    class_: str | None = None,
    label: str = "",
) -> Markup:
    """Build a table that scrolls inside itself on a narrow screen."""
    top = tag(
        "thead", tag("tr", [item if isinstance(item, Markup) else tag("th", item, scope="col") for item in headers])
    )
    whole = tag("table", tag("caption", caption) if caption else None, top, tag("tbody", rows), class_=class_)
    return tag("div", whole, class_="scroll", tabindex="0", role="region", aria_label=label or caption)


def right(text: Child) -> Markup:
    """Head a column of figures."""
    return tag("th", text, scope="col", class_="figure")


def transfer(analysis: Analysis, source: Markup) -> Markup:
    """Show every set of weights on every plant."""
    grid, rows = analysis.table, []
    for weights in WEIGHTS:
        cells = [_cell(analysis, weights, plant) for plant in grid.plants]
        label = f"{analysis.sides.title(weights)} weights"
        rows.append(tag("tr", tag("th", label, scope="row", class_=f"{weights}-ink"), cells))
    where = "on either plant" if len(grid.plants) > 1 else "on the plant"
    count = f"{grid.episodes} evaluation {'episode' if grid.episodes == 1 else 'episodes'}"
    lead = (
        f"What each set of weights costs {where}, without perturbation or learning, under the firmware's own "
        f"arithmetic. Every cell is the mean of the same {count} a run; ± is the standard deviation over the "
        "episodes of one run, which says nothing about other runs. Shaded: the plant that the weights were learned "
        "on."
    )
    headers: list[Child] = ["Weights", *(tag("th", f"{plant.title()} plant", scope="col") for plant in grid.plants)]
    return tag(
        "section",
        tag("h2", "Transfer"),
        tag("p", lead, class_="note"),
        table(headers, rows, class_="transfer", label="Transfer table"),
        source,
    )


def _cell(analysis: Analysis, weights: Weights, plant: PlantName) -> Markup:
    cell = analysis.table.cell(weights, plant)
    if cell is None:
        why = analysis.table.missing.get((weights, plant), "")
        return tag("td", tag("span", f"not evaluated: {why}", class_="missing"))
    own = weights != "untrained" and analysis.own_plant(weights) == plant
    over = "" if cell.over_episodes is None else f"± {figure(cell.over_episodes, 2)}"
    several = f"{len(cell.costs)} {'starts' if weights == 'untrained' else 'runs'}" if len(cell.costs) > 1 else ""
    below = ", ".join(filter(None, (over, several)))
    return tag("td", figure(cell.mean), tag("small", below), class_="big own" if own else "big")


def gap_table(analysis: Analysis, source: Markup) -> Markup:
    """Split the gap between software and hardware into its parts."""
    rows = [
        tag(
            "tr",
            tag("th", part.name, scope="row"),
            tag("td", tag("span", pretty(part.finding), class_=None if part.state == "open" else part.state)),
            tag("td", pretty(part.text)),
        )
        for part in gap(analysis)
    ]
    return tag(
        "section",
        tag("h2", "The gap, part by part"),
        table(["Part", "Found", "How it is known"], rows, class_="gap", label="The gap"),
        source,
    )


def gap_sum(analysis: Analysis, source: Markup) -> Markup:
    """Show the terms that the gap is the sum of."""
    if not analysis.split:
        return Markup()
    one, two = analysis.label("software"), analysis.label("hardware")
    begin = analysis.split[0].cost - analysis.split[0].change
    rows = [_term(f"{analysis.sides.title('software')} weights, nominal plant", "", None, begin)]
    for part in analysis.split:
        words = f"{two} weights in place of {one} weights" if part.name == "learning" else ", ".join(part.keys)
        rows.append(_term(part.name.title(), words, part.change, part.cost))
    end = analysis.split[-1].cost
    rows.append(_term("The whole gap", f"{two} weights, mismatched plant", end - begin, end))
    count = f"{analysis.table.episodes} evaluation {'episode' if analysis.table.episodes == 1 else 'episodes'}"
    lead = (
        f"The {one} weights meet what the experiment declares under plant.mismatch part by part, each on top of those "
        f"above it, over the {count} of the transfer table; then the {two} weights take their place. The changes add "
        "up exactly; they are of these runs, and where runs are few, of chance as well."
    )
    headers: list[Child] = ["Part", "What it is", right("Change"), right("Cost so far")]
    return tag(
        "section",
        tag("h2", "The gap as a sum"),
        tag("p", lead, class_="note"),
        table(headers, rows, class_="sum", label="The gap as a sum"),
        source,
    )


def _term(name: str, words: str, change: float | None, cost: float) -> Markup:
    shown = "" if change is None else pretty(signed(change))
    cells = [tag("td", text, class_="figure") for text in (shown, figure(cost))]
    return tag("tr", tag("th", name, scope="row"), tag("td", words), cells)


def statistics(analysis: Analysis, source: Markup) -> Markup:
    """Show what the scores of both sides support."""
    bases, margin = list(analysis.judgements), analysis.margin
    one, two = analysis.sides.title("software"), analysis.sides.title("hardware")
    found = [analysis.judgements[basis] for basis in bases]
    rows: list[Markup | None] = [
        _row(f"{one} runs, {two[:1].lower()}{two[1:]} runs", [f"{j.runs[0]}, {j.runs[1]}" for j in found]),
        _row(f"{one}, interquartile mean", [_with(j.software, j.software_interval) for j in found]),
        _row(f"{two}, interquartile mean", [_with(j.hardware, j.hardware_interval) for j in found]),
        _row("Difference of interquartile means", [_with(j.gap, j.gap_interval, sign=True) for j in found]),
        _row(
            "Difference of means (Welch)",
            [_with(j.difference, j.welch.interval, sign=True) if j.welch else "" for j in found],
        ),
        _row("p, no difference", [pvalue(j.p) for j in found]),
        _row("Probability of improvement", [_improvement(j) for j in found]),
        _row(
            "Effect size (Hedges' g)",
            [_with(j.effect.g, j.effect.interval, sign=True) if j.effect else "" for j in found],
        ),
        _row(
            "Smallest effect that so many runs show",
            [figure(j.detectable_effect, 2) if j.effect else "" for j in found],
        ),
        _row(
            "The same in units of cost",
            [figure(j.detectable, 2) if j.detectable else "" for j in found],
        ),
        _row(
            f"Equivalence within ±{number(margin.value)} (TOST)" if margin.value is not None else "Equivalence (TOST)",
            [
                f"p {pvalue(j.equivalence.p, '= ')}"
                if j.equivalence
                else "no margin declared"
                if j.welch and margin.value is None
                else ""
                for j in found
            ],
        ),
        _row("Verdict", [tag("strong", j.verdict) for j in found]),
    ]
    lead = (
        f"One score a run: the mean cost of its final weights in the transfer table. Differences are "
        f"{analysis.label('hardware')} minus {analysis.label('software')}; intervals in brackets are 95% over runs. "
        f"The probability of improvement is that of a {analysis.label('hardware')} run ending with the lower cost. "
        "Effects are in standard deviations of a run; the smallest is what a test at 5% finds four times in five."
    )
    if margin.value is not None:
        lead += f" The margin of {number(margin.value)} was declared by {margin.where}."
    warning = _warning(*found[0].runs, analysis.sides.labels)
    headers: list[Child] = ["", *(tag("th", PLACE[basis], scope="col") for basis in bases)]
    return tag(
        "section",
        tag("h2", "Statistics"),
        tag("p", tag("strong", warning)) if warning else None,
        tag("p", lead, class_="note"),
        table(headers, rows, label="Statistics"),
        source,
    )


def _warning(n: int, m: int, labels: Mapping[Side, str]) -> str:
    """Say what so few runs cannot tell."""
    if min(n, m) == 0:
        return "A side has no run that counts: there is nothing to compare."
    if n == m == 1:
        return (
            "One run a side: nothing can be said about other runs, so there are no intervals here and the verdict "
            "is inconclusive."
        )
    if min(n, m) == 1:
        side = labels["software" if n == 1 else "hardware"]
        return f"One {side} run: nothing can be said about other {side} runs, so the verdict is inconclusive."
    if min(n, m) < FEW_RUNS:
        return (
            f"Fewer than {FEW_RUNS} runs a side: bootstrap intervals are narrower than they say (docs/compare.md has "
            "the measurement). Trust Welch's interval before them."
        )
    return ""


def _row(name: str, cells: Sequence[Child]) -> Markup | None:
    """Build a row, or nothing where no cell says anything."""
    if not any(cells):
        return None
    return tag("tr", tag("th", name, scope="row"), [tag("td", cell) for cell in cells])


def _with(value: float | None, interval: Interval | None, *, sign: bool = False, places: int | None = None) -> str:
    """Write a figure and its interval, no finer than the interval warrants."""
    if value is None:
        return ""
    if places is None and interval is not None:
        places = rounding(interval)
    text = pretty(("+" if sign and value > 0 else "") + number(value, places=places))
    if interval is None:
        return text
    if places is None:
        return f"{text} [no spread]"
    return pretty(f"{text} [{number(interval.low, places=places)}, {number(interval.high, places=places)}]")


def _improvement(judgement: Judgement) -> str:
    """Write a probability, saying so where it is 0 or 1: resampling cannot tell how far from certain that is."""
    if judgement.improvement in {0.0, 1.0}:
        n, m = judgement.runs
        return f"{judgement.improvement:.0f} [{'none' if judgement.improvement == 0.0 else 'all'} of the {n * m} pairs]"
    return _with(judgement.improvement, judgement.improvement_interval, places=2)
