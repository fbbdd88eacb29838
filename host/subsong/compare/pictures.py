"""The report's pictures: learning curves, scores, errors of the nominal model, the cost of coarser words."""

from typing import Any

import numpy as np

from subsong.compare.analysis import Analysis
from subsong.compare.curves import middle, thin, trailing_mean, window_of
from subsong.compare.figures import Band, Line, Series, Strip, chart, strips
from subsong.compare.markup import Markup, pretty, tag
from subsong.compare.model import OpenLoop
from subsong.compare.records import SIDES, Record
from subsong.compare.statistics import LEVEL
from subsong.compare.transfer import WEIGHTS, Cell, PlantName, Weights


def pictures(analysis: Analysis) -> Markup:
    """Draw whatever there is to draw."""
    drawn = [*_curves(analysis), *_scores(analysis), *_model(analysis), *_resolution(analysis)]
    return tag("section", tag("div", drawn, class_="pictures"), aria_label="Pictures") if drawn else Markup()


def _below(figure: Markup, words: str) -> Markup:
    """Put a picture and what it shows into one box that no page break divides."""
    return tag("div", figure, tag("p", pretty(words), class_="note"), class_="picture")


def _curves(analysis: Analysis) -> list[Markup]:
    learning = [record for record in analysis.records if len(record.curve.cost)]
    if not learning:
        return []
    window = window_of(record.curve for record in learning)
    goal = analysis.experiment.run.stop_cost
    by_trial = chart("by-trial", "Cost by trial", "trials", _series(analysis, window, steps=False), goal=goal)
    lengths = {float(length) for record in learning for length in (record.curve.step[0], *_differences(record))}
    smooth = f"the mean of the last {window} trials" if window > 1 else "each trial's cost"
    several = max(len(analysis.of(side)) for side in SIDES) > 1
    words = (
        f"Markers are evaluations without perturbation. Lines show learning trials, perturbation included: {smooth}."
    )
    words += (
        " Bold: their interquartile mean over runs, with its pointwise 95% interval. Thin: one run each. Dotted: some "
        "run has stopped, and is carried forward at its last evaluation."
        if several
        else " The thin line is every trial as it was."
    )
    if len(lengths) == 1:
        return [_below(by_trial, f"{words} Every trial had {lengths.pop():.0f} steps.")]
    by_step = chart("by-step", "Cost by learning step", "steps", _series(analysis, window, steps=True), goal=goal)
    return [_below(by_trial, words), _below(by_step, "The same against learning steps: trials differ in length.")]


def _differences(record: Record) -> list[float]:
    steps = record.curve.step
    return (steps[1:] - steps[:-1]).tolist()  # type: ignore[no-any-return]


def _series(analysis: Analysis, window: int, *, steps: bool) -> list[Series]:
    """Draw each side: its runs, the middle of several, and the evaluations."""
    found: list[Series] = []
    for side in SIDES:
        mine = [record for record in analysis.of(side) if len(record.curve.cost)]
        if not mine:
            continue
        series = Series(side, analysis.sides.title(side))
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


def _model(analysis: Analysis) -> list[Markup]:
    shown = [(side, found) for side in SIDES if (found := analysis.model[side]).trials]
    off = [found for _, found in shown if not found.exact]
    if not off:
        return []
    # An error of 0 needs no more room than what stands beside it.
    most = max(len(found.growth()[0]) for found in off)
    series = [_errors(side, analysis.sides.title(side), found, most) for side, found in shown]
    figure = chart("model", "Error of the nominal model, % of range", "steps since the reset", series)
    exact = [analysis.label(side) for side, found in shown if found.exact]
    words = (
        "The model is given recorded actuator words, open loop. Thin: RMS error of each sensor over the trials that "
        "last so long. Bold: over all sensors."
    )
    return [_below(figure, words + (f" Of the {' and the '.join(exact)} runs it errs by exactly 0." if exact else ""))]


def _errors(side: str, name: str, found: OpenLoop, most: int) -> Series:
    steps, share = found.growth()
    steps, percent = steps[:most], 100.0 * share[:most]
    each = [Line(*thin(steps, percent[:, sensor])) for sensor in range(percent.shape[1])]
    whole = Line(*thin(steps, np.sqrt((percent**2).mean(axis=1))))
    return Series(side, name, thin=each if len(each) > 1 else [], bold=whole)


def _resolution(analysis: Analysis) -> list[Markup]:
    found = analysis.resolution
    if not len(found.costs):
        return []
    bits = np.array(found.bits, float)
    runs = [Line(bits, found.costs[:, run]) for run in range(found.costs.shape[1])]
    series = Series(
        "software", f"{analysis.sides.title('software')} weights", bold=Line(bits, found.costs.mean(axis=1))
    )
    series.thin = runs if len(runs) > 1 else []
    series.points = list(zip(bits.tolist(), found.costs.mean(axis=1).tolist(), strict=True))
    figure = chart(
        "resolution",
        "Cost with coarser sensors, nominal plant",
        "bits of every sensor",
        [series],
        start=bits[0],
        least=0.1 * abs(float(found.costs[-1].mean())),
    )
    words = (
        f"Final weights, {found.episodes} episodes a run. Words have 16 bits; where the line is flat, fewer would do."
    )
    return [_below(figure, words)]


def _scores(analysis: Analysis) -> list[Markup]:
    groups = [
        (analysis.sides.title(f"{plant} plant"), rows)
        for plant in analysis.table.plants
        if (rows := [row for weights in WEIGHTS if (row := _strip(analysis, weights, plant))])
    ]
    if not groups:
        return []
    figure = strips("Cost of final weights on each plant", groups, "cost")
    words = "Markers are runs, each the mean of its episodes. Bars span the 10th to the 90th percentile of episodes."
    return [_below(figure, words)]


def _strip(analysis: Analysis, weights: Weights, plant: PlantName) -> Strip | None:
    cell: Cell | None = analysis.table.cell(weights, plant)
    if cell is None:
        return None
    low, high = cell.quantiles(0.1, 0.9)
    name = f"{analysis.sides.title(weights)} weights"
    return Strip(weights, name, cell.scores.tolist(), (low, high) if cell.costs.shape[1] > 1 else None)
