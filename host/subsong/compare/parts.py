"""The gap between software and hardware, part by part, in sentences."""

from collections import Counter

from subsong.compare.analysis import Analysis
from subsong.compare.counting import plural
from subsong.compare.gap import Link
from subsong.compare.markup import number
from subsong.compare.model import MODELLED, OpenLoop
from subsong.compare.records import SIDES
from subsong.compare.split import Part, PartName
from subsong.compare.words import Statement, arithmetic, duration, percent, signed
from subsong.experiment_plant import BoardPlant

_MANY = {
    "command repeated": "commands repeated",
    "late reply": "late replies",
    "telemetry frame missing": "telemetry frames missing",
    "frame refused by the board": "frames refused by the board",
}


def gap(analysis: Analysis) -> list[Statement]:
    """Split the gap into its parts."""
    makers = (arithmetic, _link, _timing, _saturation, _resolution, _model, _rest)
    return [make(analysis) for make in makers]


def _declared(analysis: Analysis, name: PartName) -> Part | None:
    """Return what a part of the declared mismatch costs, None where it has no such part."""
    return next((part for part in analysis.split if part.name == name), None)


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
    trips = [link.round_trip_us for link in _links(analysis) if link.round_trip_us]
    trip = ""
    if trips:
        median, late, longest = (max(values) for values in zip(*trips, strict=True))
        trip = f" Round trip: median {duration(median)}, 99th percentile {duration(late)}, longest {duration(longest)}"
        trip += " (the slowest run's)." if len(trips) > 1 else "."
    declared = _declared(analysis, "timing")
    if declared is not None:
        trip = (
            f" What the mismatch delays or drops ({', '.join(declared.keys)}) changes the cost of the "
            f"{analysis.label('software')} weights by {signed(declared.change)}.{trip}"
        )
    if any(record.pace for record in analysis.records):
        found, missed = [], 0
        for side in SIDES:
            paces = [record.pace for record in analysis.records if record.side == side and record.pace]
            if paces:
                here, steps = sum(pace.late for pace in paces), sum(pace.steps for pace in paces)
                worst = f", by {duration(max(pace.worst_us for pace in paces))} at most" if here else ""
                found.append(f"{here:,} of {steps:,} steps in {analysis.label(side)}{worst}")
                missed += here
        text = f"The plant goes on by a clock. Late were {'; '.join(found)}.{trip}"
        what = f"{missed:,} late" if missed else "none late"
        return Statement("Timing", what, "open" if missed else "good", text)
    plant = analysis.experiment.plant
    kind = plant.kind
    if kind == "task":
        text, finding = "The task runs on the board: the link carries telemetry only.", "none by construction"
    elif kind in MODELLED:
        text = "The plant waits for the learner at every step, so time on the wire cannot change a cost."
        finding = "none by construction"
    elif isinstance(plant, BoardPlant) and not plant.period_ms:
        text = (
            "The board's plant has no clock (plant.period_ms = 0): a step takes what time it takes, and none is late."
        )
        finding = "no clock"
    else:
        text, finding = "The plant waits for nobody, and no log says how its period was kept.", "not recorded"
    if declared is not None:
        return Statement("Timing", signed(declared.change), "open", text + trip)
    return Statement("Timing", finding, "good" if finding == "none by construction" else "open", text + trip)


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
        f"Words clipped at their limits a run: {_mean(software)} in {analysis.label('software')}, {_mean(hardware)} in "
        f"{analysis.label('hardware')}. "
        "Clipping is part of the arithmetic and replays exactly; unequal counts come from the plant and the seeds.",
    )


def _mean(values: list[int]) -> str:
    return number(sum(values) / len(values)) if values else "no run"


def _resolution(analysis: Analysis) -> Statement:
    found = analysis.resolution
    if analysis.experiment.plant.kind == "task":
        text = "The task's words are made on the board, by the arithmetic: there is no converter."
        return Statement("Quantisation", "none by construction", "good", text)
    one, two = analysis.label("software"), analysis.label("hardware")
    seen = [(side, found.finest(side), found.clipped(side)) for side in SIDES if found.sensors[side]]
    if not seen:
        return Statement("Quantisation", "not recorded", "open", "No log holds a step with its words.")
    resolved = ", ".join(f"{bits} bits in {analysis.label(side)}" for side, bits, _ in seen)
    clipped = ", ".join(f"{percent(share)} in {analysis.label(side)}" for side, _, share in seen if share is not None)
    text = f"The finest sensor shows {resolved}. At an end of their range stood {clipped} of the sensor words."
    if (declared := _declared(analysis, "quantisation")) is not None:
        text += f" The mismatch's sensor_bits change the cost of the {one} weights by {signed(declared.change)}."
        return Statement("Quantisation", signed(declared.change), "open", text)
    price, bits = found.hardware_price, found.finest("hardware")
    if len(seen) == 2 and not found.coarser:
        text += f" The {two} sensors are no coarser, so words cost the one side no more than the other."
        return Statement("Quantisation", "none", "good", text)
    if price is None:
        why = found.reason or f"no {one if seen[0][0] == 'hardware' else two} run holds a step"
        return Statement("Quantisation", "not measured", "open", f"{text} What that costs was not measured: {why}.")
    change = f"{number(abs(price))} {'more' if price > 0 else 'less'} with" if price else "as much with"
    text += f" On the nominal plant the {one} weights cost {change} sensors of {bits} bits {'than' if price else 'as'} "
    text += "with 16."
    return Statement("Quantisation", signed(price), "open", text)


def _model(analysis: Analysis) -> Statement:
    found = analysis.model["hardware"] if analysis.of("hardware") else analysis.model["software"]
    if found.reason:
        return Statement("Model", "not measured", "open", f"Nothing can be foretold: {found.reason}.")
    trials = f"{found.trials} recorded {plural(found.trials, 'trial')}"
    if found.exact:
        text = f"The nominal model, given the actuator words of {trials}, foretells every sensor word of them."
        return Statement("Model", "exact", "good", text)
    first, later = found.at(1), next((step for step in (100, 50, 20, 10, 5, 2) if found.at(step) is not None), None)
    parts = [f"{_worst(found, 1)} of its range after 1 step"] if first is not None else []
    if later is not None:
        parts.append(f"{_worst(found, later)} after {later} steps")
    text = (
        f"The nominal model, reset alike and given the actuator words of {trials}, is off by "
        f"{' and '.join(parts) or 'some'} (RMS, the worst sensor)."
    )
    control = analysis.model["software"]
    if analysis.of("hardware") and control.exact:
        text += f" Of {control.trials} {analysis.label('software')} trials it foretells every word."
    return Statement("Model", f"off by {percent(float(found.whole().max()))}", "open", text)


def _worst(found: OpenLoop, step: int) -> str:
    share = found.at(step)
    return "-" if share is None else percent(float(share.max()))


def _rest(analysis: Analysis) -> Statement:
    judgement = analysis.judgements["own"]
    if judgement.difference is None:
        return Statement("Plant", "not measured", "open", "It takes a run that counts on either side.")
    if analysis.own_plant("software") == analysis.own_plant("hardware"):
        what = "what the two sets differ in, " if analysis.sides.differences else ""
        text = f"Both learned on the same plant: what remains is {what}its own chance, and that of different seeds."
    else:
        text = {
            True: "Everything else is excluded above: what remains is the plant, what its converters resolve included, "
            "and chance where runs are few.",
            False: "It cannot be told apart from the arithmetic until that agrees.",
            None: "It is the plant's only if the arithmetic agrees, which was not checked for every run.",
        }[analysis.arithmetic_equal]
    what = f"{analysis.sides.title('hardware')} minus {analysis.label('software')}, each on its own plant. {text}"
    if analysis.split:
        terms = ", ".join(f"{part.name} {signed(part.change)}" for part in analysis.split)
        what += f" It is the sum of {terms}."
    return Statement("Plant", signed(judgement.difference), "open", what)
