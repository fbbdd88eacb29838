"""The report's account of itself: which runs, on what, what was left out, and how to make them again."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from subsong.compare.analysis import Analysis
from subsong.compare.markup import Child, Markup, join, tag
from subsong.compare.records import SIDES, Record, flatten
from subsong.compare.sections import NAMES, figure, right, table

_SHOWN = 3  # different values of one key, before the rest are only counted


def runs(analysis: Analysis) -> Markup:
    """List the runs."""
    rows = []
    for index, record in enumerate(analysis.records):
        check = analysis.arithmetic.get(index)
        replayed = "" if check is None else {True: "equal", False: "differs", None: "not checked"}[check.equal]
        last = record.curve.evaluations[-1].mean if record.curve.evaluations else None
        steps = int(record.curve.step[-1]) if len(record.curve.step) else 0
        cells = [
            tag("td", str(record.path), class_="path"),
            tag("td", NAMES[record.side], class_=f"{record.side}-ink"),
            tag("td", record.own_plant),
            tag("td", str(record.header.seed), class_="figure"),
            tag("td", f"{len(record.curve.cost):,}", class_="figure"),
            tag("td", f"{steps:,}", class_="figure"),
            tag("td", figure(last), class_="figure"),
            tag("td", replayed),
            tag("td", "yes" if record.usable else "no"),
        ]
        rows.append(tag("tr", cells))
    headers: list[Child] = [
        "Log",
        "Side",
        "Plant",
        right("Seed"),
        right("Trials"),
        right("Steps"),
        right("Last evaluation"),
        "Replay",
        "Counts",
    ]
    return tag("section", tag("h2", "Runs"), table(headers, rows, label="Runs"))


def compared(analysis: Analysis) -> Markup:
    """Say what was compared: experiment, plants, boards, firmware."""
    return tag(
        "section",
        tag("h2", "What was compared"),
        _plants(analysis),
        [_machine(analysis, side) for side in SIDES],
        _experiment(analysis),
    )


def _plants(analysis: Analysis) -> Markup:
    plant = analysis.experiment.plant.model_dump(exclude={"mismatch"})
    nominal = flatten(plant)
    mismatch = {}
    if (declared := getattr(analysis.experiment.plant, "mismatch", None)) is not None:
        mismatch = flatten(declared.model_dump(exclude_defaults=True))
    rows = [
        tag(
            "tr",
            tag("th", key, scope="row"),
            tag("td", nominal.get(key, "the environment's own" if key.startswith("parameters.") else "none")),
            tag("td", mismatch.get(key, "as nominal")),
        )
        for key in [*nominal, *(key for key in mismatch if key not in nominal)]
    ]
    described = sorted({(record.own_plant, record.header.plant) for record in analysis.records})
    words = [tag("p", f"{NAMES[name]}, as recorded: {text}", class_="note") for name, text in described]
    if not mismatch:
        return join((words, _list(nominal)))
    return join((words, table(["Parameter", "Nominal plant", "Mismatched plant"], rows, label="Plants")))


def _machine(analysis: Analysis, side: str) -> Markup:
    records = [record for record in analysis.records if record.side == side]
    if not records:
        return Markup()
    dates = [_date(time) for time in sorted({record.header.started_ns for record in records})]
    facts = {"recorded": dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"}
    facts |= _gather([{"arithmetic version": str(record.header.arithmetic)} for record in records])
    facts |= _gather([flatten(record.header.engine) for record in records])
    manifest = _gather([flatten(record.header.manifest) for record in records])
    more = tag("details", tag("summary", f"Firmware manifest, {len(manifest)} entries"), _list(manifest))
    title = "Software runs" if side == "software" else "Hardware runs"
    return join((tag("h3", title, class_=f"{side}-ink"), _list(facts), more if manifest else None))


def _gather(tables: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Join the values that runs have under each key, each value once."""
    found: dict[str, list[str]] = {}
    for each in tables:
        for key, value in each.items():
            values = found.setdefault(key.replace("_", " "), [])
            if value and value not in values:
                values.append(value)
    shown = {
        key: values[:_SHOWN] + [f"and {len(values) - _SHOWN} more"] * (len(values) > _SHOWN)
        for key, values in found.items()
    }
    return {key: "; ".join(values) for key, values in shown.items() if values}


def _date(time_ns: int) -> str:
    try:
        return datetime.fromtimestamp(time_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, ValueError, OSError):
        return "unknown"


def _experiment(analysis: Analysis) -> Markup:
    return join(
        (
            tag("h3", "Experiment"),
            _list({"digest": analysis.experiment.digest, "seeds": _seeds(analysis)}),
            tag("details", tag("summary", "The experiment file"), tag("pre", analysis.experiment.to_toml())),
        )
    )


def _seeds(analysis: Analysis) -> str:
    return ", ".join(str(seed) for seed in sorted({record.header.seed for record in analysis.records}))


def _list(items: Mapping[str, str]) -> Markup:
    return tag("dl", [(tag("dt", key), tag("dd", value)) for key, value in items.items()])


def notes(analysis: Analysis) -> Markup:
    """Say what was left out."""
    body = (
        tag("ul", [tag("li", note) for note in analysis.notes], class_="notes")
        if analysis.notes
        else tag("p", "Nothing was left out.")
    )
    return tag("section", tag("h2", "Left out, and to keep in mind"), body)


def reproduce(commands: Sequence[str], analysis: Analysis) -> Markup:
    """Say how to make the page again, and the runs behind it."""
    again = dict.fromkeys(_again(record) for record in analysis.records)
    return tag(
        "section",
        tag("h2", "How to reproduce"),
        tag("p", "From the logs: every line gives the same result each time."),
        tag("pre", "\n".join(commands)),
        tag(
            "p",
            "From the experiment: save the file above as experiment.toml. A simulated run comes out the same, bit for "
            "bit; a board's run does on a plant that does.",
        ),
        tag("pre", "\n".join(again)),
    )


def _again(record: Record) -> str:
    seed = f"--seed {record.header.seed}"
    if record.side == "hardware":
        return f"subsong run experiment.toml {seed} --port PORT"
    return f"subsong sim experiment.toml {seed}" + " --mismatch" * (record.own_plant == "mismatched")
