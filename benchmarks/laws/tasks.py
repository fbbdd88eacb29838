"""XOR, the letters and LQR in integers, with the settings of the float64 references in networks.py and lqr.py."""

from typing import NamedTuple

import numpy as np

from laws.formulas import Rule
from laws.integers import Floats, Learner, experiment_text, over_seeds
from laws.lqr import average_cost, optimum
from laws.teacher import NAMES
from subsong_device.layout import LETTERS_IMAGES

COST_LSB = 2.0**-24
XOR_MSE = 0.04
LETTERS_COST_SHIFT = 4


def word_sigma(rule: Rule, sigma: float, frac: int) -> float:
    """Return a perturbation as whole words have it: weights of `frac` fraction bits, drives of 12."""
    lsb = 2.0**-frac if rule == "weight" else 2.0**-12
    return round(sigma / lsb) * lsb


def xor(
    rule: Rule,
    hidden: int,
    eta: float,
    seeds: range,
    updates: int,
    *,
    sigma: float,
    frac: int = 11,
    init: float = 1.0,
    rounding: str = "stochastic",
    every: int = 10,
) -> Floats:
    """Return updates until the mean squared error is below .04, float64[seeds]; inf where it never was.

    One pattern a trial, in turn, each against an unperturbed trial of the same pattern; logistic units.

    Args:
        rule: "node" or "weight".
        hidden: units of the hidden layer.
        eta: the rate.
        seeds: of experiments.
        updates: at most; each is two presentations.
        sigma: the perturbation's size.
        frac: fraction bits of a weight.
        init: initial weights and biases are uniform in +-init.
        rounding: of the update.
        every: updates between looks.
    """
    size = word_sigma(rule, sigma, frac)
    text, _ = experiment_text(
        layers=[2, hidden, 1],
        activations=["logistic", "logistic"],
        weight_frac=frac,
        init=init,
        rule=NAMES[rule],
        amplitude=size,
        rate=eta * COST_LSB / (size * 2.0**-frac),
        estimator="unperturbed_trial",
        rounding=rounding,
        plant={"name": "xor"},
    )
    stop = XOR_MSE * 4 / COST_LSB

    def run(one: Learner) -> float:
        trials, total = one.loops.until(*one.buffers, 1, 2 * updates, 2 * every, 4, 1, stop)
        return float(trials) / 2 if total <= stop else np.inf

    return np.array(over_seeds(text, seeds, run))


def letters(
    rule: Rule,
    eta: float,
    seeds: range,
    samples: int,
    *,
    sigma: float,
    frac: int = 11,
    init: float = 0.2,
    rounding: str = "stochastic",
    tau: int = 1,
    late: float = 1.0,
) -> Floats:
    """Return the share of all 44,136 images that are classified rightly in the end, float64[seeds].

    Args:
        rule: "node" or "weight"; 49-4-4, logistic units.
        eta: the rate, for a cost that is summed over outputs.
        seeds: of experiments.
        samples: updates, each of two presentations of one image.
        sigma: the perturbation's size.
        frac: fraction bits of a weight.
        init: initial weights and biases are uniform in +-init.
        rounding: of the update.
        tau: updates that are gathered, with 12 more fraction bits, before the weights move.
        late: what the rate is multiplied by in the second half of the samples.
    """
    size = word_sigma(rule, sigma, frac)
    texts = [
        experiment_text(
            layers=[49, 4, 4],
            activations=["logistic", "logistic"],
            weight_frac=frac,
            init=init,
            rule=NAMES[rule],
            amplitude=size,
            rate=rate * COST_LSB * 2.0**LETTERS_COST_SHIFT / (size * 2.0**-frac),
            estimator="unperturbed_trial",
            rounding=rounding,
            tau=tau,
            plant={"name": "letters", "cost_shift": LETTERS_COST_SHIFT},
        )[0]
        for rate in (eta, eta * late)
    ]
    rates = [_rate(text) for text in texts]

    def run(one: Learner) -> float:
        for mantissa, shift in rates:
            one.set_rate(mantissa, shift)
            one.loops.until(*one.buffers, 1, samples, samples, 1, 1, -1.0)  # half of them, of two presentations
        return float(one.loops.letters_right(*one.buffers)) / LETTERS_IMAGES

    return np.array(over_seeds(texts[0], seeds, run))


class Lqr(NamedTuple):
    """Settings of an integer LQR run.

    Attributes:
        rule: "node" or "weight"; two-sided.
        sigma: of a gain, or of an actuator.
        steps: of a trial.
        start: standard deviation of the initial state.
        frac: fraction bits of a weight.
        schedule: updates and eta, one pair after the other.
    """

    rule: Rule
    sigma: float
    steps: int
    start: float
    frac: int
    schedule: tuple[tuple[int, float], ...]


def lqr(setting: Lqr, seeds: range, rounding: str = "stochastic") -> Floats:
    """Return J(K) / J* of the learned integer gain K, exactly, float64[seeds]; K = 0 at first, no bias.

    eta is that of dK = -eta (C - b) e / sigma, e = xi or the sum over t of xi x, C the mean cost of a step. A state
    word's 1.0 is 64, hence K = W / 64, and the input that a word of eligibility counts is x / 64.
    """
    rule = setting.rule
    frac = setting.frac
    size = word_sigma(rule, setting.sigma * (64 if rule == "weight" else 1), frac)
    count = 2.0**-16 / setting.steps
    unit = size * 2.0**-frac / count / 64**2
    best, _ = optimum()
    texts = [
        experiment_text(
            layers=[3, 3],
            activations=["identity"],
            weight_frac=frac,
            bias=False,
            rule=NAMES[rule],
            amplitude=size,
            rate=eta / unit,
            estimator="two_sided",
            rounding=rounding,
            steps=setting.steps,
            plant={"name": "lqr", "start": setting.start},
        )[0]
        for _, eta in setting.schedule
    ]
    rates = [_rate(text) for text in texts]

    def run(one: Learner) -> float:
        for (updates, _), (mantissa, shift) in zip(setting.schedule, rates, strict=True):
            one.set_rate(mantissa, shift)
            one.loops.until(*one.buffers, setting.steps, 2 * updates, 2 * updates, 1, 1, -1.0)
        gain = one.weights(frac).reshape(3, 4)[:, :3] / 64
        return average_cost(gain) / best

    return np.array(over_seeds(texts[0], seeds, run))


def _rate(text: str) -> tuple[int, int]:
    from subsong.experiment import parse_experiment

    learner = parse_experiment(text, "lqr").learner
    return learner.rate, learner.rate_shift
