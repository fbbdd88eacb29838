"""The picture of a sweep, an SVG: one varied key makes curves, two make maps, more the list of the best.

Settings stand side by side in their order, as steps of equal width, whatever their values: a rate and a rule's name are
drawn alike. Of a search, every try's score stands above the list. The picture is as wide as its texts need.
"""

import math
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from subsong.compare.figures import scale
from subsong.compare.markup import Markup, join, number, pretty, tag
from subsong.experiment_text import toml_value
from subsong.sweep import Outcome
from subsong.sweep.summary import Spread, Summary, best_first

WIDTH = 760
LISTED = 12
_LEFT, _RIGHT, _HEAD, _FOOT = 84, 24, 40, 48  # a panel's margins
_CURVE, _CELL, _LINE = 190, 34, 22  # heights: of a curve, at most of a map's row, of a line of text
INK, PALE, BLUE, RED = "#222222", "#d9d5cb", "#2a6f97", "#c8553d"


class Measure(NamedTuple):
    """What is drawn of every setting."""

    name: str
    brief: str
    of: Callable[[Summary], Spread]
    more_is_better: bool


class Axis(NamedTuple):
    """An upright axis: where a value stands, 0 at the low end and 1 at the high end; and the values to label."""

    share: Callable[[float], float]
    ticks: Sequence[float]


@dataclass
class Panel:
    """A part of the picture, and its height."""

    body: Markup
    height: float


def draw(outcome: Outcome, title: str) -> str:
    """Return the picture of a sweep that varied something, as the text of an SVG file."""
    panels = list(_panels(outcome))
    y, parts = 36.0, [_text(_LEFT, 24, title, size=15, weight="bold")]
    for panel in panels:
        parts.append(tag("g", panel.body, transform=f"translate(0 {y:g})"))
        y += panel.height
    left, right = _extent(tag("g", parts))
    background = tag("rect", x=left, width=right - left, height=y, fill="white")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tag(
        "svg",
        background,
        parts,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"{left} 0 {right - left} {y:g}",
        width=right - left,
        height=y,
        font_family="system-ui, sans-serif",
        font_size=12,
        fill=INK,
    )


def measures(summaries: Sequence[Summary]) -> list[Measure]:
    """Return what there is to draw: of runs with a goal, how many reach it and how soon; of others, how they end."""
    if any(each.share is None for each in summaries):
        return [Measure("final cost: median and quartiles", "median final cost", lambda each: each.final_cost, False)]
    return [
        Measure(
            "share of runs that reach stop_cost, 95 % interval",
            "share of runs that reach stop_cost",
            lambda each: _known(each.share),
            True,
        ),
        Measure(
            "trials until then: median and quartiles",
            "median trials until then",
            lambda each: _known(each.trials),
            False,
        ),
    ]


def _known(spread: Spread | None) -> Spread:
    assert spread is not None
    return spread


def _panels(outcome: Outcome) -> Iterator[Panel]:
    if outcome.scores:
        yield _history(outcome.scores)
    elif len(outcome.varied) <= 2:
        make = _curve if len(outcome.varied) == 1 else _map
        yield from (make(outcome, measure) for measure in measures(outcome.summaries))
        return
    yield _list(outcome)


def _curve(outcome: Outcome, measure: Measure) -> Panel:
    """Draw a measure over the values of the one key."""
    key = outcome.varied[0].key
    spreads = [measure.of(each) for each in outcome.summaries]
    up = _unit() if measure.more_is_better else _axis([value for spread in spreads for value in spread])
    places = [_place(i, len(spreads)) for i in range(len(spreads))]

    def y(value: float) -> float:
        return _HEAD + _CURVE * (1 - (up.share(value) if math.isfinite(value) else 1.0))

    whiskers = [
        tag("path", d=f"M{x:.1f} {y(spread.low):.1f}V{y(spread.high):.1f}", stroke=BLUE, stroke_width=5, opacity=0.3)
        for x, spread in zip(places, spreads, strict=True)
        if math.isfinite(spread.low)
    ]
    there = [
        (x, y(spread.middle)) if math.isfinite(spread.middle) else None
        for x, spread in zip(places, spreads, strict=True)
    ]
    labels = _labels([toml_value(each.setting.values[key]) for each in outcome.summaries], places, _HEAD + _CURVE + 18)
    few = "fewer than half did" if any(each.reached for each in outcome.summaries) else "none did"
    body = [
        _heading(measure.name),
        _grid(up) if any(math.isfinite(spread.low) for spread in spreads) else None,
        None if any(there) else _text(_middle(), _HEAD + _CURVE / 2, few, anchor="middle"),
        whiskers,
        _line(there, BLUE),
        [tag("circle", cx=round(each[0], 1), cy=round(each[1], 1), r=4, fill=BLUE) for each in there if each],
        labels,
        _text(_middle(), _HEAD + _CURVE + 38, key, anchor="middle"),
    ]
    return Panel(join(body), _HEAD + _CURVE + _FOOT)


def _map(outcome: Outcome, measure: Measure) -> Panel:
    """Draw a measure's middle over the values of two keys: the first down, the second across."""
    down, across = (vary.key for vary in outcome.varied)
    cells = {
        (toml_value(each.setting.values[down]), toml_value(each.setting.values[across])): measure.of(each).middle
        for each in outcome.summaries
    }
    rows, columns = (list(dict.fromkeys(each)) for each in zip(*cells, strict=True))
    finite = [value for value in cells.values() if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=1.0)
    best = high if measure.more_is_better else low
    outlined = finite.count(best) == 1
    width, height = (WIDTH - _LEFT - _RIGHT) / len(columns), min(_CELL, 480 / len(rows))
    gap = min(1.0, width / 8, height / 8)
    parts: list[Any] = [_heading(measure.brief + (", the best outlined" if outlined else ""))]
    for (row, column), value in cells.items():
        x, y = _LEFT + columns.index(column) * width, _HEAD + rows.index(row) * height
        goodness = _goodness(value, low, high, measure.more_is_better)
        fill = _shade(goodness) if math.isfinite(value) else "#eeeeee"
        said = number(value, 3) if math.isfinite(value) else "-"
        hover = tag("title", f"{down} = {row}, {across} = {column}: {said}")
        edge = {"stroke": RED, "stroke_width": 2.5} if outlined and value == best else {"stroke": "white"}
        parts.append(
            tag(
                "rect",
                hover,
                x=round(x + gap, 2),
                y=round(y + gap, 2),
                width=round(width - 2 * gap, 2),
                height=round(height - 2 * gap, 2),
                fill=fill,
                **edge,
            )
        )
        if width >= _wide(said) + 4 and height >= 16:
            ink = "white" if goodness > 0.55 else INK
            parts.append(_text(x + width / 2, y + height / 2 + 4, pretty(said), anchor="middle", fill=ink))
    bottom = _HEAD + height * len(rows)
    parts += [
        _text(_LEFT - 8, _HEAD + (i + 0.5) * height + 4, pretty(rows[i]), anchor="end")
        for i in range(0, len(rows), math.ceil(12 / height))
    ]
    parts.append(_labels(columns, [_place(i, len(columns)) for i in range(len(columns))], bottom + 18))
    parts.append(_text(_middle(), bottom + 38, f"{across}; down: {down}", anchor="middle"))
    return Panel(join(parts), bottom + _FOOT)


def _goodness(value: float, low: float, high: float, more_is_better: bool) -> float:
    """Return how good a value is among those from low to high, 0 to 1; a share, where all are alike, by itself."""
    if not math.isfinite(value):
        return 0.0
    if high <= low:
        return value if more_is_better else 1.0
    return (value - low if more_is_better else high - value) / (high - low)


def _history(scores: Sequence[float]) -> Panel:
    """Draw every try's score, and the best until then."""
    up = _axis(scores)
    places = [_place(i, len(scores)) for i in range(len(scores))]
    heights = [_HEAD + _CURVE * (1 - up.share(value)) for value in scores]
    best = [max(heights[: i + 1]) for i in range(len(heights))]  # downwards on the page: less is better
    body = [
        _heading("score of every try, and the best until then; less is better"),
        _grid(up),
        _line(list(zip(places, best, strict=True)), RED),
        [tag("circle", cx=round(x, 1), cy=round(y, 1), r=3, fill=BLUE) for x, y in zip(places, heights, strict=True)],
        _labels([str(i + 1) for i in range(len(scores))], places, _HEAD + _CURVE + 18),
        _text(_middle(), _HEAD + _CURVE + 38, "try", anchor="middle"),
    ]
    return Panel(join(body), _HEAD + _CURVE + _FOOT)


def _list(outcome: Outcome) -> Panel:
    """List the best settings."""
    headers, rows = listing(outcome)
    total = len(outcome.summaries)
    parts = [_heading(f"the best {len(rows)} of {total} settings" if len(rows) < total else "settings, the best first")]
    x = float(_LEFT)
    for k, header in enumerate(headers):
        parts.append(_text(x, _HEAD + 4, header, weight="bold"))
        parts += [_text(x, _HEAD + 4 + (i + 1) * _LINE, pretty(row[k])) for i, row in enumerate(rows)]
        x += max(_wide(header, bold=True), *(_wide(row[k]) for row in rows)) + 16
    return Panel(join(parts), _HEAD + (len(rows) + 1) * _LINE + 12)


def listing(outcome: Outcome) -> tuple[list[str], list[list[str]]]:
    """Return headers and rows of the best settings, the best first."""
    keys = [vary.key for vary in outcome.varied]
    goal = all(each.share is not None for each in outcome.summaries)
    figures = [*(["reached", "trials"] if goal else []), "final cost"]
    headers = [*_brief(keys, figures), *figures]
    rows = []
    for each in best_first(outcome.summaries)[:LISTED]:
        reached = [f"{each.reached} of {each.runs}", _spread(_known(each.trials))] if goal else []
        rows.append([*(toml_value(each.setting.values[key]) for key in keys), *reached, _spread(each.final_cost)])
    return headers, rows


def _brief(keys: Sequence[str], taken: Sequence[str]) -> list[str]:
    """Return the last parts of keys, so many of each that no two are alike."""
    parts = [key.split(".") for key in keys]

    def alone(own: Sequence[str], n: int) -> bool:
        return sum(other[-n:] == own[-n:] for other in parts) == 1 and ".".join(own[-n:]) not in taken

    return [".".join(own[-next((n for n in range(1, len(own)) if alone(own, n)), len(own)) :]) for own in parts]


def _spread(spread: Spread) -> str:
    low, middle, high = (number(each, 3) if math.isfinite(each) else "never" for each in spread)
    return middle if low == high else f"{middle} ({low} to {high})"


def _unit() -> Axis:
    share = scale(0.0, 1.0)
    return Axis(share.share, share.ticks)


def _axis(values: Sequence[float]) -> Axis:
    """Return an axis for the finite ones: logarithmic where they are positive and span more than a decade."""
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    if not 0 < 10 * low < high:
        linear = scale(low, high)
        return Axis(linear.share, linear.ticks)
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps = (1, 2, 5) if last - first <= 3 else (1,)
    ticks = [step * 10.0**k for k in range(first, last + 1) for step in steps]
    bottom = max((tick for tick in ticks if tick <= low), default=low)
    top = min(tick for tick in ticks if tick >= high)
    span = math.log10(top / bottom)
    return Axis(lambda value: math.log10(value / bottom) / span, [tick for tick in ticks if bottom <= tick <= top])


def _place(i: int, n: int) -> float:
    return _LEFT + (i + 0.5) * (WIDTH - _LEFT - _RIGHT) / n


def _middle() -> float:
    return (_LEFT + WIDTH - _RIGHT) / 2


def _heading(text: str) -> Markup:
    return _text(_LEFT, 22, text, weight="bold")


def _grid(up: Axis) -> list[Markup]:
    parts = []
    for tick in up.ticks:
        y = _HEAD + _CURVE * (1 - up.share(tick))
        parts.append(tag("path", d=f"M{_LEFT} {y:.1f}H{WIDTH - _RIGHT}", stroke=PALE))
        parts.append(_text(_LEFT - 8, y + 4, pretty(number(tick)), anchor="end"))
    return parts


def _labels(texts: Sequence[str], places: Sequence[float], y: float) -> list[Markup]:
    """Label places, every second or third only where all would not fit."""
    widest = max(map(_wide, texts)) + 10
    room = (WIDTH - _LEFT - _RIGHT) / len(texts)
    every = math.ceil(widest / room)
    return [_text(places[i], y, pretty(texts[i]), anchor="middle") for i in range(0, len(texts), every)]


def _line(points: "Sequence[tuple[float, float] | None]", colour: str) -> Markup:
    """Draw a line through points, broken where one is missing."""
    path, pen = "", "M"
    for point in points:
        path += "" if point is None else f"{pen}{point[0]:.1f} {point[1]:.1f}"
        pen = "M" if point is None else "L"
    return tag("path", d=Markup(path), fill="none", stroke=colour, stroke_width=1.8)


def _shade(goodness: float) -> str:
    """Return a colour from pale to the ink of curves."""
    pale, deep = (0xF1, 0xF4, 0xF6), (0x2A, 0x6F, 0x97)
    return "#" + "".join(f"{round(a + (b - a) * goodness):02x}" for a, b in zip(pale, deep, strict=True))


def _wide(text: str, size: float = 12, *, bold: bool = False) -> float:
    """Return how wide a text is at most, about: fonts differ."""
    return len(text) * size * (0.7 if bold else 0.62)


def _extent(drawn: Markup) -> tuple[int, int]:
    """Return from where to where a drawing reaches, across: the picture's own width, and texts that need more."""
    left, right = 0.0, float(WIDTH)
    for each in ET.fromstring(drawn).iter("text"):  # noqa: S314 - it was made here
        wide = _wide(each.text or "", float(each.attrib["font-size"]), bold="font-weight" in each.attrib)
        start = float(each.attrib["x"]) - {"start": 0.0, "middle": 0.5, "end": 1.0}[each.attrib["text-anchor"]] * wide
        left, right = min(left, start - 8), max(right, start + wide + 8)
    return math.floor(left), math.ceil(right)


def _text(
    x: float,
    y: float,
    text: str,
    *,
    anchor: str = "start",
    size: int = 12,
    weight: str | None = None,
    fill: str | None = None,
) -> Markup:
    return tag(
        "text", text, x=round(x, 1), y=round(y, 1), text_anchor=anchor, font_size=size, font_weight=weight, fill=fill
    )
