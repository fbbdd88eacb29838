"""Trials to a criterion: every rule on the tasks it fits, as the shipped examples have it, beside next to no rate."""

import re
from typing import NamedTuple

import figures
import numpy as np
from numpy.typing import NDArray

from laws.integers import Floats, Learner, over_seeds
from subsong.experiment import parse_experiment
from subsong.experiment_tasks import TaskPlant
from subsong.experiment_text import example_text, with_learner
from subsong.rules import BY_NAME


class Case(NamedTuple):
    """A rule on a task.

    Attributes:
        rule: what learns.
        task: what is learned, for the table.
        example: the shipped example whose settings hold.
        seeds: how many.
        keys: changes of its keys, as text of the file.
    """

    rule: str
    task: str
    example: str
    seeds: int = 100
    keys: tuple[tuple[str, str], ...] = ()


WEIGHT, NODE = "weight_perturbation", "node_perturbation"
CASES = (
    Case(WEIGHT, "XOR", "xor"),
    Case(NODE, "XOR", "xor"),
    Case("activity_difference", "XOR", "activity_difference"),
    Case("conductance_perturbation", "XOR", "conductance_perturbation", 20),
    Case("reinforce", "XOR", "reinforce"),
    Case("hedonistic_synapse", "XOR, each pattern held", "hedonistic_synapse"),
    Case("stochastic_spiking", "XOR, each pattern held", "stochastic_spiking"),
    Case("keep_if_better", "XOR", "keep_if_better"),
    Case("run_and_tumble", "XOR", "run_and_tumble"),
    Case("hebb", "XOR", "hebb"),
    Case(NODE, "3-bit parity", "parity"),
    Case(NODE, "linear teacher, noisy", "linear_teacher"),
    Case(NODE, "LQR", "lqr"),
    Case(NODE, "delayed match, recurrent", "delayed_match"),
    Case(NODE, "sequence, recurrent", "sequence"),
    Case(NODE, "letters", "letters", 40),
    Case("songbird", "the song", "song", 5, (("evaluate_episodes = 1", "evaluate_episodes = 1\nstop_cost = 0.02"),)),
    Case(WEIGHT, "CartPole", "cartpole"),
    Case(NODE, "CartPole", "cartpole"),
)


def case_text(case: Case, learning: bool) -> str:
    """Return the experiment file of a case; without `learning`, with a rate next to nothing."""
    text = with_learner(example_text(case.example), case.rule)
    for old, new in case.keys:
        if old not in text:
            raise ValueError(f"{case.example}: no {old!r}")
        text = text.replace(old, new)
    if not learning:
        text = re.sub(r"^rate_shift = \d+", "rate_shift = 29", text, flags=re.MULTILINE)
        text = re.sub(r"^rate = \d+", "rate = 1", text, flags=re.MULTILINE)
    return text


def has_control(case: Case) -> bool:
    """Return whether the rule has a rate that can be next to nothing."""
    return BY_NAME[case.rule].rated


def spent(case: Case, seeds: range, learning: bool = True) -> Floats:
    """Return trials until an evaluation met the example's stop_cost, float64[seeds]; inf where none did."""
    if case.example == "cartpole":
        return figures.cartpole(case.rule, seeds, learning).spent
    text = case_text(case, learning)
    experiment = parse_experiment(text, case.example)
    run, plant = experiment.run, experiment.plant
    assert isinstance(plant, TaskPlant)
    assert run.stop_cost is not None
    look = run.evaluate_steps or run.steps
    episodes = run.evaluate_episodes if plant.varied else 1
    stop = run.stop_cost * episodes / plant.cost(1, look, experiment.network.layers[-1])

    def one(learner: Learner) -> float:
        done, total = learner.loops.until(
            *learner.buffers, run.steps, run.trials, run.evaluate_every, look, episodes, stop
        )
        return float(done) if total <= stop else np.inf

    return np.array(over_seeds(text, seeds, one))


class Course(NamedTuple):
    """Learning curves of a shipped example.

    Attributes:
        trials: before each evaluation, int64[looks].
        costs: mean cost of a step, as the experiment file counts it, float64[seeds, looks].
        stop: the example's criterion.
    """

    trials: NDArray[np.int64]
    costs: Floats
    stop: float


def course(case: Case, seeds: range, trials: int, looks: int) -> Course:
    """Return the costs of evaluations all along so many trials, none of which ends them."""
    experiment = parse_experiment(case_text(case, True), case.example)
    run, plant = experiment.run, experiment.plant
    assert isinstance(plant, TaskPlant)
    assert run.stop_cost is not None
    look = run.evaluate_steps or run.steps
    episodes = run.evaluate_episodes if plant.varied else 1
    pair = 2  # so that no evaluation parts one
    every = max(pair, trials // (looks - 1) // pair * pair)

    def one(learner: Learner) -> Floats:
        totals = np.empty(looks)
        learner.loops.course(*learner.buffers, run.steps, every, look, episodes, totals)
        return totals

    costs = np.array(over_seeds(case_text(case, True), seeds, one))
    costs *= plant.cost(1, look, experiment.network.layers[-1]) / episodes
    return Course(np.arange(looks) * every, costs, run.stop_cost)


def limit(case: Case) -> int:
    """Return how many trials a seed had."""
    if case.example == "cartpole":
        return figures.CARTPOLE_LIMIT
    return parse_experiment(case_text(case, True), case.example).run.trials
