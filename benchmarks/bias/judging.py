"""Interquartile means, their intervals, and the severity at which software learning stops being hardware learning."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from bias.learning import Course, Measured
from subsong.compare.statistics import Interval, interquartile_mean, interval_of

NEAR = 1.1
"""How near hardware's final cost is near enough: this many times."""

SOFTWARE = ("through_model", "on_model")


class Centre(NamedTuple):
    """An interquartile mean over seeds, and its 95 % bootstrap interval; None under two seeds."""

    value: float
    interval: Interval | None


class Judged(NamedTuple):
    """What a plant's runs say, each list one a severity.

    Attributes:
        costs: way: centres of the final cost.
        lost: way of software: centres of what it costs more than hardware, seed by seed: both have begun with the same
            weights, and are evaluated in the same episodes.
        trials: way that learning on the true plant begins with: [severity][seed] learning trials until an evaluation
            is NEAR what the seed's learning from initial weights ends at; infinite where none is.
        tuned: way of software: centres of the final cost of learning that begins with its weights.
        limits: way of software: the severity from which on it costs more than hardware, beyond the interval; None where
            it does not at the greatest.
    """

    costs: dict[str, list[Centre]]
    lost: dict[str, list[Centre]]
    trials: dict[str, list[list[float]]]
    tuned: dict[str, list[Centre]]
    limits: dict[str, float | None]


def judge(found: Measured) -> Judged:
    """Judge a plant's runs."""
    hardware = finals(found.on_plant)
    ways = {
        "untrained": found.untrained,
        "through_model": found.through_model,
        "on_model": found.on_model,
        "on_plant": hardware,
    }
    lost = {name: list(map(lost_by, ways[name], hardware)) for name in SOFTWARE}
    courses = {
        "untrained": found.on_plant,
        "through_model": found.tuned_through_model,
        "on_model": found.tuned_on_model,
    }
    trials = {
        name: [
            [until(course, NEAR * end) for course, end in zip(row, ends, strict=True)]
            for row, ends in zip(rows, hardware, strict=True)
        ]
        for name, rows in courses.items()
    }
    return Judged(
        {name: list(map(centre, rows)) for name, rows in ways.items()},
        lost,
        trials,
        {name: list(map(centre, finals(courses[name]))) for name in SOFTWARE},
        {name: limit(found.severities, rows) for name, rows in lost.items()},
    )


def finals(courses: Sequence[Sequence[Course]]) -> list[list[float]]:
    """Return the last cost of each course."""
    return [[course[-1][1] for course in row] for row in courses]


def lost_by(software: Sequence[float], hardware: Sequence[float]) -> Centre:
    """Return the centre of what software costs more, seed by seed."""
    return centre([one - other for one, other in zip(software, hardware, strict=True)])


def centre(values: Sequence[float]) -> Centre:
    """Return the interquartile mean over seeds."""
    return Centre(float(interquartile_mean(values)), interval_of([values], interquartile_mean))


def until(course: Course, bar: float) -> float:
    """Return the learning trials until the first evaluation of at most `bar`; infinite where there is none."""
    return next((float(trials) for trials, cost in course if cost <= bar), math.inf)


def limit(severities: Sequence[float], lost: Sequence[Centre]) -> float | None:
    """Return the least severity from which on every interval of what software loses lies above 0."""
    found = None
    for severity, (_, interval) in zip(reversed(severities), reversed(lost), strict=True):
        if interval is None or interval.low <= 0:
            break
        found = severity
    return found
