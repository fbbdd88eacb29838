"""The linear teacher in integers, measured in the units of its law: inputs of variance 1, y = W x, C = |y - y*|**2 / 2.

A sensor word's standard deviation is a quarter of 1.0. With weights as they are, the network's outputs are a quarter of
the law's and its costs a sixteenth: a node's perturbation and the noise are scaled accordingly.
"""

import numpy as np

from laws.formulas import Law, Rule, linear_law
from laws.integers import NODE, WEIGHT, Floats, Learner, experiment_text, over_seeds

FRAC = 14  # fraction bits of a weight
PART = 0.25  # an input's standard deviation, of 1.0
COST_SHIFT = 2
NAMES: dict[Rule, str] = {"node": NODE, "weight": WEIGHT}


def coin_moments() -> tuple[float, float]:
    """Return variance (1 if nothing clipped) and kurtosis of an input word: 64 coins, (heads - 32) / 4, clipped.

    Unclipped: 1 and 3 - 2 / 64.
    """
    heads = np.arange(65)
    log_choose = np.concatenate(([0.0], np.cumsum(np.log((64 - heads[:-1]) / (heads[:-1] + 1)))))
    p = np.exp(log_choose - 64 * np.log(2.0))
    x = np.clip((heads - 32) * 2048, -32767, 32767) / 8192
    variance = float(p @ x**2)
    return variance, float(p @ x**4) / variance**2


def word_law(rule: Rule, n: int, m: int, sigma: float, noise: float = 0.0) -> Law:
    """Return the law for the board's inputs and the perturbation that `amplitude` really is."""
    variance, kurtosis = coin_moments()
    return linear_law(rule, n, m, sigma=sigma, noise=noise, variance=variance, kurtosis=kurtosis)


def word_sigma(rule: Rule, sigma: float, frac: int = FRAC) -> float:
    """Return sigma as whole words have it."""
    lsb = 2.0**-frac if rule == "weight" else 2.0**-12 / PART
    return round(sigma / lsb) * lsb


def teacher_errors(
    rule: Rule,
    n: int,
    m: int,
    eta: float,
    seeds: range,
    updates: int,
    *,
    start: float,
    sigma: float = 0.1,
    noise: float = 0.0,
    rounding: str = "stochastic",
    frac: int = FRAC,
) -> tuple[Floats, float]:
    """Return E before the first and after every update, float64[seeds, updates + 1], and the rate really used.

    Args:
        rule: "node" or "weight"; two-sided.
        n: inputs.
        m: outputs.
        eta: the rate, of the law.
        seeds: of experiments.
        updates: a run.
        start: mean of E_0 over teachers; the weights start at 0.
        sigma: the perturbation's size, of the law.
        noise: standard deviation of every measured cost, of the law.
        rounding: of the update.
        frac: fraction bits of a weight.
    """
    size = word_sigma(rule, sigma, frac)
    # dw = -eta (C- - C+) e / sigma, with C in the law's units and e = xi, or xi x; the words' cost is C PART**2, in
    # counts of 2**(COST_SHIFT - 25), their input x PART.
    unit = size * 2.0**-frac / 2.0 ** (COST_SHIFT - 25) * PART**2 * (PART if rule == "node" else 1.0)
    text, rate = experiment_text(
        layers=[n, m],
        activations=["identity"],
        weight_frac=frac,
        bias=False,
        rule=NAMES[rule],
        amplitude=size if rule == "weight" else size * PART,
        rate=eta / unit,
        estimator="two_sided",
        rounding=rounding,
        plant={
            "name": "linear_teacher",
            "deviation": PART,
            "teacher": float(np.sqrt(2 * start / (n * m))),
            "noise": noise * PART**2,
            "cost_shift": COST_SHIFT,
        },
    )

    def run(one: Learner) -> Floats:
        distances = np.empty(updates + 1)
        one.loops.teacher_curve(*one.buffers, 2, distances)
        return distances * 2.0 ** (-2 * frac - 1)

    return np.array(over_seeds(text, seeds, run)), rate * unit
