"""What the learners are held to, each figure a function of a rule and seeds; tests and bench_figures.py share them."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from subsong.batch import simulate_many
from subsong.experiment import Experiment, parse_experiment
from subsong.experiment_text import example_text, with_learner
from subsong.rules import PAIRS

XOR_LIMIT = 200_000  # presentations
XOR_MSE = 0.04
CARTPOLE_LIMIT = 2_000  # training episodes
CARTPOLE_MEAN = 475.0
TESTS = 100  # evaluation episodes


class Figure(NamedTuple):
    """What many seeds came to.

    Attributes:
        spent: presentations or training episodes until the criterion, float64[n]; inf where it was not reached.
        last: final criterion (mean squared error, or mean steps an episode), float64[n].
    """

    spent: np.ndarray
    last: np.ndarray

    @property
    def share(self) -> float:
        """Return the share of seeds that reached the criterion."""
        return float(np.isfinite(self.spent).mean())

    @property
    def median(self) -> float:
        """Return the median of what was spent."""
        return float(np.median(self.spent))


def example(name: str, rule: str, seed: int, learning: bool = True) -> Experiment:
    """Return a shipped example under a rule and a seed; without `learning`, the control: a rate next to nothing."""
    text = with_learner(example_text(name), rule)
    if not learning:
        text = re.sub(r"^rate_shift = \d+", "rate_shift = 29", text, flags=re.MULTILINE)
        text = re.sub(r"^rate = \d+", "rate = 1", text, flags=re.MULTILINE)
    return parse_experiment(text, name).with_seed(seed)


def learned(
    name: str, rule: str, seeds: Sequence[int], learning: bool, limit: int, stop: float, episodes: int
) -> Figure:
    """Return what runs came to, evaluated after every update: a mean cost of `stop`, or `limit` trials."""
    experiments = []
    for seed in seeds:
        experiment = example(name, rule, seed, learning)
        update = 2 if experiment.learner.estimator in PAIRS else 1
        run = {"trials": limit, "evaluate_every": update, "evaluate_episodes": episodes, "stop_cost": stop}
        experiments.append(experiment.model_copy(update={"run": experiment.run.model_copy(update=run)}))
    results = simulate_many(experiments, costs=False)
    trials, last = (np.array([getattr(each, name) for each in results], dtype=float) for name in ("trials", "final"))
    return Figure(np.where(last <= stop, trials, np.inf), last)


def xor(rule: str, seeds: Sequence[int], learning: bool = True) -> Figure:
    """XOR 2-4-1 as shipped: presentations (four a training trial) until the unperturbed network's MSE is small enough.

    It is looked at after every update, which no presentation is counted for.
    """
    found = learned("xor", rule, seeds, learning, XOR_LIMIT // 4, XOR_MSE, 1)
    return found._replace(spent=4 * found.spent)


def cartpole(rule: str, seeds: Sequence[int], learning: bool = True, limit: int = CARTPOLE_LIMIT) -> Figure:
    """CartPole-v1, linear policy as shipped, nominal: training episodes until the mean of 100 evaluation episodes.

    The policy is evaluated after every update; evaluation episodes are not counted.
    """
    found = learned("cartpole", rule, seeds, learning, limit, -CARTPOLE_MEAN, TESTS)
    return found._replace(last=-found.last)
