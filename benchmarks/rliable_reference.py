"""What rliable says of scores, for ours to agree with: `make golden-rliable` writes tests/golden/rliable.json with it.

rliable (Agarwal et al. 2021) brings 485 MB along, so it runs in an environment of its own, and only its answers are
kept. It draws its resamples from NumPy's global generator, whose stream NumPy promises never to change: whoever seeds
one alike has the same draws, and then every end of every interval must agree. Its scores are maximised, ours are costs.

    python benchmarks/rliable_reference.py OUT
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
from rliable import library, metrics

REPS = 400
LEVEL = 0.95
# Runs of either side; the draw of their costs.
CASES = {
    "few": (3, 4, "normal"),
    "unequal": (5, 11, "normal"),
    "ties": (10, 10, "ceiling"),
    "many": (20, 17, "skewed"),
    "same": (6, 6, "same"),
}


def costs(kind: str, n: int, rng: np.random.Generator) -> list[float]:
    if kind == "ceiling":
        return np.minimum(rng.normal(-480.0, 30.0, n), -500.0 * (rng.random(n) < 0.6)).round().tolist()
    if kind == "skewed":
        return rng.gamma(2.0, 50.0, n).tolist()
    return rng.normal(-100.0, 25.0, n).tolist()


def answer(name: str) -> dict:
    n, m, kind = CASES[name]
    rng = np.random.default_rng(sum(name.encode()))
    software = costs(kind, n, rng)
    hardware = software if kind == "same" else costs(kind, m, rng)
    one, two = (np.array(side)[:, None] for side in (software, hardware))
    seed = n * m

    def iqm(scores: np.ndarray) -> np.ndarray:
        return np.array([metrics.aggregate_iqm(scores)])

    def improvement(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        # A cost that is lower in hardware is a score that is higher there: P(-hardware > -software).
        return np.array([metrics.probability_of_improvement(-y, -x)])

    found = {"software": software, "hardware": hardware, "seed": seed}
    for what, scores, function in (("iqm", one, iqm), ("improvement", [one, two], improvement)):
        np.random.seed(seed)  # noqa: NPY002  # the generator that rliable draws from
        points, intervals = library.get_interval_estimates(
            {"x": scores}, function, reps=REPS, confidence_interval_size=LEVEL
        )
        found[what] = float(points["x"][0])
        found[f"{what}_interval"] = intervals["x"][:, 0].tolist()
    return found


if __name__ == "__main__":
    text = json.dumps(
        {
            "made_by": f"rliable {version('rliable')}, benchmarks/rliable_reference.py",
            "resamples": REPS,
            "level": LEVEL,
            "cases": {name: answer(name) for name in CASES},
        },
        indent=1,
    )
    Path(sys.argv[1]).write_text(text + "\n", encoding="utf-8")
