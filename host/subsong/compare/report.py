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

from subsong.compare import VERSUS, measured, provenance, sections
from subsong.compare.analysis import Analysis
from subsong.compare.markup import Markup, pretty, tag
from subsong.compare.pictures import pictures
from subsong.compare.records import SIDES
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
    command = _command(analysis, out)

    def source(key: str, words: str = "These figures") -> Markup:
        short = tag("code", "subsong compare … --json")
        line = (f"{words}: ", short, ", ", tag("code", key))
        return tag("details", tag("summary", line), tag("pre", f"{command} --json"), class_="source")

    main = tag(
        "main",
        _title(analysis),
        pictures(analysis),
        _found(analysis),
        sections.gap_table(analysis, source("gap")),
        sections.gap_sum(analysis, source("split")),
        sections.transfer(analysis, source("transfer")),
        sections.statistics(analysis, source("statistics")),
        measured.model(analysis, source("model")),
        measured.resolution(analysis, source("resolution")),
        provenance.notes(analysis),
        provenance.runs(analysis, source("runs", "These figures, and every evaluation of the curves")),
        provenance.compared(analysis),
        provenance.reproduce([*_replays(analysis), f"{command} --json"], analysis),
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


def _title(analysis: Analysis) -> Markup:
    counts = []
    for side in SIDES:
        count = len(analysis.of(side))
        counts.append(f"{count} {analysis.label(side)} {'run' if count == 1 else 'runs'}")
    of = "of two experiments on one plant" if analysis.sides.differences else "of one experiment"
    brand = f"{analysis.label('software')} against {analysis.label('hardware')}"
    if not analysis.sides.apart:
        brand = "software learning against hardware learning"
    return tag(
        "header",
        tag("p", f"Subsong comparison: {brand}", class_="brand"),
        tag("h1", sections.subject(analysis)),
        tag("p", f"{counts[0]} against {counts[1]} {of}. Costs are minimised: lower is better.", class_="lead"),
    )


def _found(analysis: Analysis) -> Markup:
    found = [
        tag(
            "li",
            tag("span", statement.name, class_="name"),
            tag("span", pretty(statement.finding), class_=f"finding {_INK[statement.state]}".strip()),
            tag("span", pretty(statement.text), class_="text"),
        )
        for statement in verdicts(analysis)
    ]
    return tag("section", tag("h2", "What was found"), tag("ul", found, class_="verdicts"))


def _replays(analysis: Analysis) -> list[str]:
    boards = [record for record in analysis.records if record.header.source == "board"]
    return [f"subsong replay {shlex.quote(str(record.path))}" for record in boards]


def _command(analysis: Analysis, out: Path) -> str:
    """Say how to make this page again; whatever comes from the command line is quoted for a shell."""
    options = analysis.options
    words = ["subsong", "compare", *_paths(options.logs)]
    if options.against:
        words += [VERSUS, *_paths(options.against)]
    for label in options.labels:
        words += ["--label", label]
    for each in options.exclude:
        words += ["--exclude", str(each.path), each.reason]
    words += ["--episodes", str(options.episodes)]
    if options.margin is not None:
        words += ["--margin", f"{options.margin!r}".removesuffix(".0")]
    return shlex.join([*words, "-o", str(out)])


def _paths(logs: Sequence[Path]) -> list[str]:
    """Return paths as a command line takes them: a log of that name is no separator."""
    return [f"./{log}" if str(log) == VERSUS else str(log) for log in logs]


def _asset(name: str) -> str:
    return files("subsong.compare").joinpath("assets", name).read_text(encoding="utf-8").strip()


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _version() -> str:
    try:
        return version("subsong")
    except PackageNotFoundError:
        return "(not installed)"
