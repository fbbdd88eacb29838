"""Interquartile means, their intervals, and the severity at which software learning stops being hardware learning."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bias.learning import Course, Measured
from subsong.compare.statistics import Floats, Interval, interquartile_mean, interval_of

NEAR = 0.1
"""How near hardware's final cost is near enough: a part of what hardware learning gains."""


class Centre(NamedTuple):
    """An interquartile mean over seeds, and its 95 % bootstrap interval; None under two seeds."""

    value: float
    interval: Interval | None


class Judged(NamedTuple):
    """What a plant's runs say, each list one a severity.

    Attributes:
        costs: name of a way: centres.
        lost: way of software: by how much more it costs than hardware, centres.
        bars: the cost that is near enough to hardware's final one.
        trials: where learning begins: [severity][seed] learning trials on the true plant until an evaluation reaches
            the bar; infinite where none does.
        limits: way of software: the severity from which on it costs more than hardware, beyond the interval; None where
            it does not at the greatest.
    """

    costs: dict[str, list[Centre]]
    lost: dict[str, list[Centre]]
    bars: list[float]
    trials: dict[str, list[list[float]]]
    limits: dict[str, float | None]


def judge(found: Measured) -> Judged:
    """Judge a plant's runs."""
    hardware = [[course[-1][1] for course in row] for row in found.on_plant]
    ways = {
        "untrained": found.untrained,
        "through_model": found.through_model,
        "on_model": found.on_model,
        "on_plant": hardware,
    }
    costs = {name: [centre([row]) for row in rows] for name, rows in ways.items()}
    lost = {
        name: [centre(pair) for pair in zip(ways[name], hardware, strict=True)] for name in ("through_model", "on_model")
    }
    bars = [
        after.value + NEAR * max(before.value - after.value, 0.0)
        for before, after in zip(costs["untrained"], costs["on_plant"], strict=True)
    ]
    courses = {
        "untrained": found.on_plant,
        "through_model": found.tuned_through_model,
        "on_model": found.tuned_on_model,
    }
    trials = {
        name: [[until(course, bar) for course in row] for row, bar in zip(rows, bars, strict=True)]
        for name, rows in courses.items()
    }
    return Judged(costs, lost, bars, trials, {name: limit(found.severities, rows) for name, rows in lost.items()})


def centre(strata: Sequence[Sequence[float]]) -> Centre:
    """Return the interquartile mean of one stratum, or by how much the first one's is above the second's."""

    def statistic(*samples: Floats) -> Floats:
        means = [interquartile_mean(sample) for sample in samples]
        return means[0] - means[1] if len(means) == 2 else means[0]

    value = float(statistic(*map(np.asarray, strata)))
    interval = interval_of(strata, lambda *resampled: statistic(*resampled))
    return Centre(value, interval)


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
