"""The report: one HTML file that needs nothing else, no network and no script, to be read in ten years.

The page may be opened by somebody who did not make the logs. So a Content-Security-Policy allows its own style and
script, by hash, and nothing else; every string goes through `markup`; and the same logs always give the same bytes.
"""

import base64
import hashlib
import shlex
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any

from subsong.compare import provenance, sections
from subsong.compare.analysis import Analysis
from subsong.compare.curves import middle, thin, trailing_mean, window_of
from subsong.compare.figures import Band, Line, Series, chart
from subsong.compare.markup import Markup, pretty, tag
from subsong.compare.records import SIDES, Record
from subsong.compare.statistics import LEVEL
from subsong.compare.words import verdicts

_INK: dict[str, str] = {"good": "good", "bad": "bad", "open": ""}


def render(analysis: Analysis, out: Path) -> str:
    """Return the page.

    Args:
        analysis: what it says.
        out: where it will lie; named in the command that makes it again.
    """
    style, script = _asset("report.css"), _asset("report.js")
    own = f"style-src '{_hash(style)}'; script-src '{_hash(script)}'"
    policy = f"default-src 'none'; {own}; base-uri 'none'; form-action 'none'"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("meta", name="generator", content=f"subsong {_version()}"),
        tag("title", f"Subsong: {sections.subject(analysis)}"),
        tag("style", Markup(style)),
    )
    main = tag(
        "main",
        _top(analysis),
        _curves(analysis),
        sections.transfer(analysis),
        sections.gap_table(analysis),
        sections.statistics(analysis),
        provenance.runs(analysis),
        provenance.compared(analysis),
        provenance.notes(analysis),
        provenance.reproduce(_commands(analysis, out), analysis),
        tag(
            "footer",
            tag(
                "p",
                f"Made by subsong {_version()}. docs/compare.md explains every figure. Interquartile means, "
                "intervals and the probability of improvement follow Agarwal et al. 2021; the equivalence test "
                "follows Schuirmann 1987.",
            ),
        ),
    )
    body = tag("body", main, tag("script", Markup(script)))
    return "<!doctype html>\n" + tag("html", head, body, lang="en") + "\n"


def _top(analysis: Analysis) -> Markup:
    counts = [f"{len(analysis.of(side))} {side} {'run' if len(analysis.of(side)) == 1 else 'runs'}" for side in SIDES]
    found = [
        tag(
            "li",
            tag("span", statement.name, class_="name"),
            tag("span", pretty(statement.finding), class_=f"finding {_INK[statement.state]}".strip()),
            tag("span", pretty(statement.text), class_="text"),
        )
        for statement in verdicts(analysis)
    ]
    return tag(
        "header",
        tag("p", "Subsong comparison: software learning against hardware learning", class_="brand"),
        tag("h1", sections.subject(analysis)),
        tag(
            "p",
            f"{counts[0]} against {counts[1]} of one experiment. Costs are minimised: lower is better.",
            class_="lead",
        ),
        tag("ul", found, class_="verdicts"),
    )


def _curves(analysis: Analysis) -> Markup:
    learning = [record for record in analysis.records if len(record.curve.cost)]
    if not learning:
        return Markup()
    window = window_of(record.curve for record in learning)
    goal = analysis.experiment.run.stop_cost
    by_trial = chart("by-trial", "Cost by trial", "trials", _series(learning, window, steps=False), goal=goal)
    lengths = {float(length) for record in learning for length in (record.curve.step[0], *_differences(record))}
    smooth = f"the mean of the last {window} trials" if window > 1 else "each trial's cost"
    words = (
        f"Markers are evaluations without perturbation. Lines show learning trials, perturbation included: {smooth}. "
        "Where a side has several runs, the bold line is their interquartile mean, the band its pointwise 95% interval "
        "over runs, and each thin line one run; with a single run the thin line is every trial as it was. Dotted, and "
        "without a band: some run has stopped, and is carried forward at its last evaluation."
    )
    if len(lengths) == 1:
        figures = by_trial
        words += f" Every trial had {lengths.pop():.0f} steps."
    else:
        by_step = chart("by-step", "Cost by learning step", "steps", _series(learning, window, steps=True), goal=goal)
        figures = tag("div", by_trial, by_step, class_="pair")
    return tag("section", tag("h2", "Learning curves"), figures, tag("p", words, class_="note"))


def _differences(record: Record) -> list[float]:
    steps = record.curve.step
    return (steps[1:] - steps[:-1]).tolist()  # type: ignore[no-any-return]


def _series(records: Sequence[Record], window: int, *, steps: bool) -> list[Series]:
    """Draw each side: its runs, the middle of several, and the evaluations."""
    found: list[Series] = []
    for side in SIDES:
        mine = [record for record in records if record.side == side]
        if not mine:
            continue
        series = Series(side, sections.NAMES[side])
        lines = [
            (_places(record, steps), trailing_mean(record.curve.cost, window), record.curve.last) for record in mine
        ]
        together = middle(lines, level=LEVEL, seed=0, whole=not steps)
        if together is None:
            x, y, _ = lines[0]
            series.thin = [Line(*thin(x, mine[0].curve.cost))] if window > 1 else []
            series.bold = Line(*thin(x, y))
        else:
            series.thin = [Line(*thin(x, y)) for x, y, _ in lines]
            reached = max(1, int((together.x <= together.all_until).sum()))
            series.band = Band(together.x[:reached], together.low[:reached], together.high[:reached])
            series.bold = Line(together.x[:reached], together.mean[:reached])
            if reached < len(together.x):
                series.carried = Line(together.x[reached - 1 :], together.mean[reached - 1 :])
        series.points = [
            (float(point.step if steps else point.trial), point.mean)
            for record in mine
            for point in record.curve.evaluations
        ]
        series.small = len(mine) > 1
        found.append(series)
    return found


def _places(record: Record, steps: bool) -> Any:
    return record.curve.step if steps else (record.curve.step * 0 + 1).cumsum()


def _commands(analysis: Analysis, out: Path) -> list[str]:
    """Say how to make this page again; names from the command line are quoted for a shell."""
    replays = [f"subsong replay {shlex.quote(str(record.path))}" for record in analysis.of("hardware")]
    logs = " ".join(shlex.quote(str(record.path)) for record in analysis.records)
    margin = "" if analysis.margin is None else f" --margin {analysis.margin:g}"
    return [*replays, f"subsong compare {logs} --episodes {analysis.table.episodes}{margin} -o {shlex.quote(str(out))}"]


def _asset(name: str) -> str:
    return files("subsong.compare").joinpath("assets", name).read_text(encoding="utf-8").strip()


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _version() -> str:
    try:
        return version("subsong")
    except PackageNotFoundError:
        return "(not installed)"
