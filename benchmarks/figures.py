"""What the learners are held to, each figure a function of a rule and seeds; tests and bench_figures.py share them."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from subsong.block import build_block, stream_seed
from subsong.experiment import Experiment, parse_experiment
from subsong.experiment_text import example_text, with_learner
from subsong_sim import loader
from subsong_sim.engines import LocalLearner, make_buffer

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


def prepared(experiment: Experiment) -> tuple[Any, LocalLearner, bytes, int]:
    """Return the rule's compiled loops, the learner, the task's block, and how many trials make an update."""
    block = build_block(experiment)
    pair = 1 if experiment.learner.estimator == "running_baseline" else 2
    return loader.load_loops(block.rule), LocalLearner(block.rule, block.head, block.mem), block.task, pair


def xor(rule: str, seeds: Sequence[int], learning: bool = True) -> Figure:
    """XOR 2-4-1 as shipped: presentations (four a training trial) until the unperturbed network's MSE is small enough.

    It is looked at after every update, which no presentation is counted for.
    """
    spent, last = [], []
    for seed in seeds:
        loops, learner, task, pair = prepared(example("xor", rule, seed, learning))
        stop = int(XOR_MSE * 4 * 2**24)
        trials, total = loops.task_trials(
            learner.head,
            learner.mem,
            make_buffer(task, "H", "numba"),
            learner.x,
            learner.u,
            4,
            XOR_LIMIT // 4,
            pair,
            stop,
        )
        spent.append(trials * 4 if total <= stop else np.inf)
        last.append(total / (4 * 2**24))
    return Figure(np.array(spent), np.array(last))


def cartpole(rule: str, seeds: Sequence[int], learning: bool = True, limit: int = CARTPOLE_LIMIT) -> Figure:
    """CartPole-v1, linear policy as shipped, nominal: training episodes until the mean of 100 evaluation episodes.

    The policy is evaluated after every update; evaluation episodes are not counted.
    """
    from subsong_sim.plants import make_plant
    from subsong_sim.trials import compiled_plant

    spent, last = [], []
    for seed in seeds:
        experiment = example("cartpole", rule, seed, learning)
        loops, learner, _task, pair = prepared(experiment)
        plant: Any = make_plant(experiment.plant_spec(), compiled=True)
        seeds_of = {"plant": limit // pair, "evaluation": TESTS}
        resets, tests = (
            np.array([stream_seed(seed, name, i) for i in range(n)], np.uint32) for name, n in seeds_of.items()
        )
        own = compiled_plant(plant, np.zeros(3, np.int32))
        trials, mean = loops.plant_trials(*learner.buffers, own, resets, pair, tests, 500, pair, -CARTPOLE_MEAN, -500)
        spent.append(trials if mean <= -CARTPOLE_MEAN else np.inf)
        last.append(-mean)
    return Figure(np.array(spent, dtype=float), np.array(last))
