"""The report's sections on what was measured by running something again: the nominal model, and coarser sensors."""

from subsong.compare.analysis import Analysis
from subsong.compare.markup import Child, Markup, pretty, tag
from subsong.compare.model import HORIZONS
from subsong.compare.records import SIDES
from subsong.compare.sections import figure, right, table
from subsong.compare.words import percent


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
