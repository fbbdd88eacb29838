"""The temporally extended task in integers, in the units of its law: inputs of mean power 1, C the mean over T.

A sensor word's root mean square is `PART` of 1.0, so the words' weights are 1 / PART times the law's; outputs and costs
are the law's own. E is what the board itself measures in every unperturbed trial.
"""

import numpy as np

from laws.formulas import Law, Rule, extended_law, weight_sigma
from laws.integers import Floats, Learner, experiment_text, over_seeds
from laws.teacher import NAMES
from subsong.experiment import parse_experiment
from subsong.experiment_tasks import ExtendedPlant
from subsong.tasks import extended_courses

N, M, STEPS, LATENT = 100, 10, 100, 50
FRAC = 12  # of a weight: at 14 those of weight perturbation reach +-2 where the inputs do not hold them
PART = 0.125
COST_SHIFT = 7
ETA = LATENT / N / (M * LATENT + 2)


def word_sigma(rule: Rule, size: float) -> float:
    """Return the law's sigma for a perturbation that moves outputs by `size`, as whole words have it."""
    lsb = 2.0**-FRAC * PART if rule == "weight" else 2.0**-12
    return round((weight_sigma(size, N) if rule == "weight" else size) / lsb) * lsb


def long_law(rule: Rule, size: float, rest: float) -> Law:
    """Return the law for random signs of the size that `amplitude` really is."""
    return extended_law(rule, N, M, STEPS, LATENT, sigma=word_sigma(rule, size), rest=rest, code="signs")


def long_errors(
    rule: Rule,
    seeds: range,
    updates: int,
    *,
    size: float,
    start: float,
    rest: float = 0.0,
    eta: float = ETA,
    rounding: str = "stochastic",
) -> tuple[Floats, float]:
    """Return E, E_opt included, before every update, float64[seeds, updates], and the rate really used.

    Args:
        rule: "node" or "weight"; one-sided, against an unperturbed trial.
        seeds: of experiments.
        updates: a run.
        size: sigma_eff, how much the perturbation moves an output.
        start: E_0 - E_opt; the weights start at 0.
        rest: E_opt.
        eta: the rate, of the law.
        rounding: of the update.
    """
    sigma = word_sigma(rule, size)
    count = 2.0 ** (COST_SHIFT - 25) / STEPS
    unit = sigma * 2.0**-FRAC / count * PART ** (1 if rule == "weight" else 2)
    text, rate = _text(rule, sigma / PART if rule == "weight" else sigma, eta / unit, start, rest, rounding)

    def run(one: Learner) -> Floats:
        totals = np.empty(updates)
        one.loops.unperturbed_curve(*one.buffers, STEPS, totals)
        return totals * count

    return np.array(over_seeds(text, seeds, run)), rate * unit


def _text(rule: Rule, amplitude: float, rate: float, start: float, rest: float, rounding: str) -> tuple[str, float]:
    return experiment_text(
        layers=[N, M],
        activations=["identity"],
        weight_frac=FRAC,
        bias=False,
        rule=NAMES[rule],
        amplitude=amplitude,
        rate=rate,
        estimator="unperturbed_trial",
        rounding=rounding,
        steps=STEPS,
        plant={
            "name": "extended",
            "latent": LATENT,
            "deviation": PART,
            "realisable": start,
            "unrealisable": rest,
            "cost_shift": COST_SHIFT,
        },
    )


def long_courses(start: float, rest: float) -> tuple[Floats, Floats]:
    """Return the board's inputs float64[N, T] and targets float64[M, T], of seed 1, before they become words."""
    experiment = parse_experiment(_text("node", 0.1, 0.01, start, rest, "stochastic")[0], "laws")
    assert isinstance(experiment.plant, ExtendedPlant)
    inputs, targets = extended_courses(experiment, experiment.plant)
    return np.ascontiguousarray(inputs.T), np.ascontiguousarray(targets.T)
