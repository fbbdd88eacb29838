"""The report's tables and texts, section by section."""

from collections.abc import Mapping, Sequence

from subsong.compare.analysis import Analysis
from subsong.compare.judgement import Judgement
from subsong.compare.markup import Child, Markup, number, pretty, tag
from subsong.compare.model import HORIZONS
from subsong.compare.parts import gap
from subsong.compare.records import SIDES, Side
from subsong.compare.statistics import FEW_RUNS, Interval
from subsong.compare.transfer import WEIGHTS, PlantName, Weights
from subsong.compare.words import PLACE, percent, pvalue, rounding


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


def model(analysis: Analysis, source: Markup) -> Markup:
    """Show how well the nominal model foretells each sensor."""
    shown = [(side, found) for side in SIDES if (found := analysis.model[side]).trials]
    if not shown:
        return Markup()
    off = [found for _, found in shown if not found.exact]
    horizons = [step for step in HORIZONS if any(found.at(step) is not None for found in off)]
    rows: list[Markup | None] = []
    for side, found in shown:
        if found.exact:
            head = tag("th", analysis.sides.title(side), scope="row", class_=f"{side}-ink")
            text = f"every word of every sensor, {int(found.reached.sum()):,} steps"
            rows.append(tag("tr", head, tag("td", text, colspan=len(horizons) + 1)))
            continue
        ends = [found.at(step) for step in horizons]
        for sensor in range(found.squares.shape[1]):
            cells = [
                _error(
                    None if end is None else float(end[sensor]), None if end is None else found.physical(end)[sensor]
                )
                for end in [*ends, found.whole()]
            ]
            head = tag("th", f"{analysis.sides.title(side)}, sensor {sensor}", scope="row", class_=f"{side}-ink")
            rows.append(tag("tr", head, cells))
    trials = " and ".join(f"{found.trials} {analysis.label(side)}" for side, found in shown)
    lead = (
        f"Open loop: the nominal model is reset with the seed of a recorded trial and given its actuator words; its "
        f"sensor words are set against the recorded ones, over {trials} trials. RMS error as a share of the sensor's "
        "range, and below in its physical unit."
    )
    ended = sum(found.ended for _, found in shown)
    if ended:
        lead += f" In {ended} of them the model's episode was over first; the rest of those was not foretold."
    headers: list[Child] = [
        "",
        *(right(f"{step} steps" if step > 1 else "1 step") for step in horizons),
        right("Whole trials"),
    ]
    return tag(
        "section",
        tag("h2", "What the nominal model foretells"),
        tag("p", lead, class_="note"),
        table(headers, rows, class_="errors", label="Errors of the nominal model"),
        source,
    )


def _error(share: float | None, physical: float | None) -> Markup:
    if share is None:
        return tag("td", "", class_="figure")
    below = None if physical is None else tag("small", figure(physical, 2))
    return tag("td", percent(share), below, class_="figure")


def resolution(analysis: Analysis, source: Markup) -> Markup:
    """Show what the words made of their 16 bits, and what coarser sensors cost."""
    found = analysis.resolution
    rows: list[Markup | None] = []
    for side in SIDES:
        for what, uses in (("sensor", found.sensors[side]), ("actuator", found.actuators[side])):
            for channel, use in enumerate(uses):
                head = tag("th", f"{analysis.sides.title(side)}, {what} {channel}", scope="row", class_=f"{side}-ink")
                texts = (
                    f"{use.low:,} to {use.high:,}",
                    percent(use.clipped / use.words),
                    f"{use.distinct:,}",
                    f"{use.step:,}" if use.step else "-",
                    f"{use.bits}",
                )
                rows.append(tag("tr", head, [tag("td", pretty(text), class_="figure") for text in texts]))
    if not rows:
        return Markup()
    headers: list[Child] = ["", *(right(each) for each in ("Words", "At an end", "Different", "Smallest step", "Bits"))]
    lead = (
        "What the words of all runs made of their range, -32,767 to 32,767. At an end: clipped, or just there. "
        "Smallest step: between two different words inside the range; bits: how many tell words so far apart."
    )
    costs = None
    if len(found.costs):
        heads: list[Child] = ["Bits of every sensor", *(right(str(bits)) for bits in found.bits)]
        means = [tag("td", figure(float(row.mean())), class_="figure") for row in found.costs]
        label = f"{analysis.sides.title('software')} weights, cost on the nominal plant"
        costs = table(
            heads, [tag("tr", tag("th", label, scope="row"), means)], class_="figures", label="Coarser sensors"
        )
    return tag(
        "section",
        tag("h2", "Words and their resolution"),
        tag("p", pretty(lead), class_="note"),
        table(headers, rows, class_="figures", label="Words"),
        costs,
        source,
    )


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
