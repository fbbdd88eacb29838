"""Measure how often the intervals hold what they promise: `python -m subsong.compare.coverage` prints docs' table.

Runs are drawn from costs whose true values are known, as few a side as people have: normal ones, and ones like
CartPole's, where most runs end near the goal and some do not. An honest 95% interval holds the truth in 95% of such
experiments.
"""

from collections.abc import Callable

import numpy as np

from subsong.compare.statistics import Floats, bootstrap, interquartile_mean, welch
from subsong.console import show

Draw = Callable[[np.random.Generator, int], Floats]
RUNS = (2, 3, 5, 10, 20, 40)


def _normal(rng: np.random.Generator, n: int) -> Floats:
    return rng.normal(size=n)


def _mostly_solved(rng: np.random.Generator, n: int) -> Floats:
    return np.where(rng.random(n) < 0.7, rng.normal(-490.0, 5.0, n), rng.normal(-100.0, 60.0, n))


COSTS: dict[str, Draw] = {"normal costs": _normal, "70% solved": _mostly_solved}


def measure(draw: Draw, n: int, experiments: int, seed: int = 0) -> tuple[float, float]:
    """Return the shares of experiments whose intervals hold the truth.

    Args:
        draw: costs of runs.
        n: runs a side.
        experiments: how many.
        seed: of the costs.

    Returns:
        For the bootstrap interval of the interquartile mean of n runs, and for Welch's interval of the difference of
        two such sides, which is truly zero.
    """
    rng = np.random.default_rng(seed)
    truth = float(interquartile_mean(draw(rng, 1_000_000)))

    def middle(values: Floats) -> Floats:
        return interquartile_mean(values, axis=1)

    held = zero = 0
    for k in range(experiments):
        one, two = draw(rng, n), draw(rng, n)
        low, high = bootstrap([one], middle, resamples=1000, seed=k)
        held += bool(low <= truth <= high)
        difference = welch(one, two)
        zero += difference is not None and difference.interval.low <= 0.0 <= difference.interval.high
    return held / experiments, zero / experiments


def table(experiments: int = 2000) -> list[str]:
    """Return the table, Markdown."""
    found = {name: [measure(draw, n, experiments) for n in RUNS] for name, draw in COSTS.items()}
    rows = ["| runs a side | " + " | ".join(map(str, RUNS)) + " |", "|---" * (len(RUNS) + 1) + "|"]
    for which, what in enumerate(("bootstrap, interquartile mean", "Welch, difference of means")):
        for name, pairs in found.items():
            rows.append(f"| {what}, {name} | " + " | ".join(f"{pair[which]:.0%}" for pair in pairs) + " |")
    return rows


if __name__ == "__main__":
    show(table())
