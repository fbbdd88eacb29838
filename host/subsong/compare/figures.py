"""Charts as inline SVG that keep their text legible at any width.

A chart's box has no viewBox: gridlines, labels and markers stand at percentages of it, in pixels of their own size.
Only the curves lie in a nested SVG that is stretched to the box, with strokes that do not stretch. So a page needs no
script to draw, prints, and reads the same on a phone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from subsong.compare.curves import Floats
from subsong.compare.markup import Markup, data, join, number, pretty, tag

_UNITS = 1000.0  # the stretched box is this wide and this high
_MARK = 4.5  # half a marker's size, pixels


@dataclass(frozen=True)
class Line:
    """A curve: places and values, each shape (n,)."""

    x: Floats
    y: Floats


@dataclass(frozen=True)
class Band:
    """An interval along a curve: places, lower and upper ends, each shape (n,)."""

    x: Floats
    low: Floats
    high: Floats


@dataclass
class Series:
    """One side of a chart.

    Attributes:
        side: "software", "hardware" or "untrained": colour and marker.
        name: in the legend.
        thin: one a run.
        bold: the line to look at.
        carried: its continuation where some runs have ended.
        band: its interval.
        points: evaluations.
        small: draw the points small, since there are many.
    """

    side: str
    name: str
    thin: list[Line] = field(default_factory=list)
    bold: Line | None = None
    carried: Line | None = None
    band: Band | None = None
    points: list[tuple[float, float]] = field(default_factory=list)
    small: bool = False


@dataclass(frozen=True)
class Scale:
    """A linear axis with its ticks, in the order of their values."""

    low: float
    high: float
    ticks: tuple[float, ...]

    @property
    def labels(self) -> list[str]:
        """Return the ticks as text, with as many digits as it takes to tell them apart."""
        digits = 4
        while digits < 12 and len({number(tick, digits) for tick in self.ticks}) < len(self.ticks):
            digits += 1
        return [pretty(number(tick, digits)) for tick in self.ticks]

    def share(self, value: float) -> float:
        """Return where a value stands: 0 at the low end, 1 at the high end."""
        return (value - self.low) / (self.high - self.low)


def scale(low: float, high: float, *, count: int = 5, tight: bool = False) -> Scale:
    """Choose an axis with about `count` steps of 1, 2 or 5 times a power of ten.

    Args:
        low: the least value that it must show.
        high: the largest; ends that are all but equal are widened.
        count: of steps, about.
        tight: end where the values end, not at the next tick.
    """
    if high - low <= 1e-9 * max(abs(low), abs(high)) + 1e-300:
        # One value, or what float64 can hardly tell from one: make room around it.
        half = abs(high) * 0.05 if abs(high) > 1e-300 else 0.5
        low, high = low - half, high + half
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1.0, 2.0, 5.0, 10.0) if power * factor >= raw * 0.999)
    if tight:
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        return Scale(low, high, tuple(i * step for i in range(first, last + 1)))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return Scale(first * step, last * step, tuple(i * step for i in range(first, last + 1)))


def chart(
    identity: str,
    title: str,
    x_name: str,
    series: Sequence[Series],
    *,
    goal: float | None = None,
    start: float = 0.0,
    least: float = 0.0,
) -> Markup:
    """Draw curves of cost.

    Args:
        identity: of the figure in the page.
        title: above it.
        x_name: what the places count, in the plural.
        series: what to draw; at least one with a line or a point.
        goal: a cost to mark, or None.
        start: the least place that is shown.
        least: span of the costs that is shown at least: small differences are to look small.
    """
    lines = [line for each in series for line in (*each.thin, *filter(None, (each.bold, each.carried)))]
    places = [line.x[-1] for line in lines] + [x for each in series for x, _ in each.points]
    values = [*(line.y.min() for line in lines), *(line.y.max() for line in lines)]
    values += [y for each in series for _, y in each.points] + ([] if goal is None else [goal])
    across = scale(start, float(max(places, default=1.0)) or 1.0, count=6, tight=True)
    low, high = float(min(values, default=0.0)), float(max(values, default=1.0))
    room = max(0.0, least - (high - low)) / 2.0
    up = scale(low - room, high + room)
    drawn = [_series(each, across, up) for each in series]
    plot = tag(
        "svg",
        *(
            tag("line", class_="grid", x1="0", x2="100%", y1=_percent(1 - up.share(t)), y2=_percent(1 - up.share(t)))
            for t in up.ticks
        ),
        None if goal is None else _goal(goal, up),
        tag(
            "svg",
            [curves for curves, _ in drawn],
            viewBox=f"0 0 {_UNITS:g} {_UNITS:g}",
            preserveAspectRatio="none",
            width="100%",
            height="100%",
            class_="curves",
        ),
        [marks for _, marks in drawn],
        tag("line", class_="cross", x1="0", x2="0", y1="0", y2="100%"),
        class_="plot",
        role="img",
        aria_label=f"{title}: {', '.join(each.name for each in series)}; the figures are in the tables of this page",
    )
    hover = {
        "x": [across.low, across.high],
        "name": x_name,
        "series": [_hover(each) for each in series],
    }
    return tag(
        "figure",
        tag("figcaption", title, class_="title"),
        _legend(series, goal),
        tag("div", _labels_up(up), plot, _labels_across(across, x_name), class_="frame"),
        data(f"{identity}-data", hover),
        class_="chart",
        id=identity,
        tabindex="0",
        data_chart=f"{identity}-data",
    )


def _series(each: Series, across: Scale, up: Scale) -> tuple[Markup, Markup]:
    """Draw one series: what lies in the stretched box, and the markers over it."""
    parts: list[Markup] = []
    if each.band is not None:
        there = [(x, y) for x, y in zip(each.band.x, each.band.high, strict=True)]
        back = [(x, y) for x, y in zip(each.band.x[::-1], each.band.low[::-1], strict=True)]
        parts.append(tag("path", class_=f"band {each.side}", d=Markup(_path([*there, *back], across, up) + "Z")))
    parts += [tag("path", class_=f"thin {each.side}", d=_line(line, across, up)) for line in each.thin]
    if each.bold is not None:
        parts.append(tag("path", class_=f"bold {each.side}", d=_line(each.bold, across, up)))
    if each.carried is not None:
        parts.append(tag("path", class_=f"bold carried {each.side}", d=_line(each.carried, across, up)))
    marks = [
        marker(each.side, across.share(x), 1 - up.share(y), kind="small" if each.small else "") for x, y in each.points
    ]
    return join(parts), join(marks)


def marker(side: str, x: float, y: float, *, title: str = "", kind: str = "") -> Markup:
    """Draw a side's marker: a circle for software, a square for hardware, a diamond for untrained weights.

    Args:
        side: whose.
        x: where, as a share of the box's width.
        y: where, as a share of its height, from the top.
        title: shown on hovering.
        kind: a further class.
    """
    label = tag("title", title) if title else None
    look = f"mark {side} {kind}".strip()
    if side == "software":
        return tag("circle", label, class_=look, cx=_percent(x), cy=_percent(y), r=_MARK)
    turn = " rotate(45)" if side == "untrained" else ""
    shape = tag(
        "rect",
        class_=look,
        x=-_MARK * 0.9,
        y=-_MARK * 0.9,
        width=_MARK * 1.8,
        height=_MARK * 1.8,
        transform=turn.strip() or None,
    )
    # An svg of its own stands at a percentage; a transform cannot.
    return tag("svg", label, shape, x=_percent(x), y=_percent(y), class_="at")


def _goal(goal: float, up: Scale) -> Markup:
    return tag(
        "line", class_="goal", x1="0", x2="100%", y1=_percent(1 - up.share(goal)), y2=_percent(1 - up.share(goal))
    )


def _legend(series: Sequence[Series], goal: float | None) -> Markup:
    entries = [
        tag(
            "span",
            tag("svg", marker(each.side, 0.5, 0.5), class_="swatch", aria_hidden="true"),
            tag("span", each.name),
            tag("output", class_="value", data_series=index),
            class_=f"key {each.side}",
        )
        for index, each in enumerate(series)
    ]
    if goal is not None:
        swatch = tag(
            "svg",
            tag("line", class_="goal", x1="0", x2="100%", y1="50%", y2="50%"),
            class_="swatch wide",
            aria_hidden="true",
        )
        entries.append(tag("span", swatch, tag("span", pretty(f"goal {number(goal)}")), class_="key goal"))
    return tag("div", entries, tag("output", class_="value place"), class_="legend")


def _labels_up(up: Scale) -> Markup:
    texts = [
        tag("text", text, x="100%", y=_percent(1 - up.share(t)), dy="0.35em")
        for t, text in zip(up.ticks, up.labels, strict=True)
    ]
    return tag("svg", texts, class_="up", aria_hidden="true")


def _labels_across(across: Scale, name: str) -> Markup:
    texts = [
        tag(
            "text",
            text,
            x=_percent(across.share(t)),
            y="1.1em",
            class_="first" if across.share(t) < 0.02 else "last" if across.share(t) > 0.97 else None,
        )
        for t, text in zip(across.ticks, across.labels, strict=True)
    ]
    return tag("svg", texts, tag("text", name, x="50%", y="2.6em"), class_="across", aria_hidden="true")


def _hover(each: Series) -> dict[str, Any]:
    """Give the figures that the page's script shows under the pointer."""
    line = each.bold or (each.thin[0] if len(each.thin) == 1 else None)
    if line is not None and each.carried is not None:
        line = Line(np.concatenate([line.x, each.carried.x]), np.concatenate([line.y, each.carried.y]))
    pairs = each.points if line is None else zip(line.x.tolist(), line.y.tolist(), strict=True)
    return {"name": each.name, "points": [[float(f"{x:.7g}"), float(f"{y:.5g}")] for x, y in pairs]}


def _line(line: Line, across: Scale, up: Scale) -> Markup:
    return _path(list(zip(line.x, line.y, strict=True)), across, up)


def _path(points: Sequence[tuple[float, float]], across: Scale, up: Scale) -> Markup:
    if len(points) == 1:
        points = [points[0], points[0]]  # a round cap makes a dot of it
    corners = [f"{_UNITS * across.share(x):.1f} {_UNITS * (1 - up.share(y)):.1f}" for x, y in points]
    return Markup("M" + "L".join(corners))


def _percent(share: float) -> str:
    return f"{100 * share:.2f}%"


@dataclass(frozen=True)
class Strip:
    """One row of a strip chart.

    Attributes:
        side: colour and marker.
        label: at its left.
        scores: a marker each.
        whisker: a line behind them, or None.
    """

    side: str
    label: str
    scores: Sequence[float]
    whisker: tuple[float, float] | None


def strips(title: str, groups: Sequence[tuple[str, Sequence[Strip]]], x_name: str) -> Markup:
    """Draw scores on a common axis, one row a set of weights, grouped under headings.

    Args:
        title: above it.
        groups: heading and rows of each.
        x_name: what the axis shows.
    """
    rows = [strip for _, group in groups for strip in group]
    values = [value for strip in rows for value in (*strip.scores, *(strip.whisker or ()))]
    across = scale(min(values, default=0.0), max(values, default=1.0))
    body: list[Markup] = []
    for heading, group in groups:
        body.append(tag("div", heading, class_="group"))
        body += [join((tag("div", strip.label, class_="label"), _strip(strip, across))) for strip in group]
    return tag(
        "figure",
        tag("figcaption", title, class_="title"),
        tag("div", body, tag("div", class_="label"), _labels_across(across, x_name), class_="strips"),
        class_="chart",
    )


def _strip(strip: Strip, across: Scale) -> Markup:
    grid = [
        tag("line", class_="grid", x1=_percent(across.share(t)), x2=_percent(across.share(t)), y1="0", y2="100%")
        for t in across.ticks
    ]
    whisker = None
    if strip.whisker is not None:
        low, high = (_percent(across.share(end)) for end in strip.whisker)
        whisker = tag("line", class_=f"whisker {strip.side}", x1=low, x2=high, y1="50%", y2="50%")
    marks = [
        marker(strip.side, across.share(score), 0.5, title=pretty(number(score)), kind="score")
        for score in strip.scores
    ]
    return tag("svg", grid, whisker, marks, class_="strip", role="img", aria_label=strip.label)
