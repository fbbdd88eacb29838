"""The compiled trial loops against the oracle, which plays the same trials step by step."""

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import pytest

from cases import FIRST, RULES, Setup, suited
from oracle import Oracle
from subsong.block import Block, build_block
from subsong.experiment import parse_experiment
from subsong_sim.engines import LocalLearner
from subsong_sim.plants.cartpole import NumbaCartPole
from subsong_sim.plants.simulated import SimulatedPlant
from subsong_sim.plants.spec import PlantSpec
from subsong_sim.trials import CompiledPlantTrials, Ended, StepHook, TaskTrials, plant_trial
from task_models import Model, model

ROUNDS = ((0, 6, False), (6, 2, True), (8, 3, False))  # first trial, how many, evaluations


class Seen(NamedTuple):
    """One call of the hook."""

    trial: int
    step: int
    cost: int
    x: tuple[int, ...]
    u: tuple[int, ...]


class Notes(list[Seen]):
    """A hook that keeps what it is told."""

    def __call__(self, trial: int, step: int, cost: int, x: Sequence[int], u: Sequence[int]) -> None:
        self.append(Seen(trial, step, cost, tuple(x), tuple(u)))


def xor_block(rule: str) -> Block:
    """Return the block of XOR."""
    setup = Setup(rule=rule, layers=(2, 4, 1), activations=("tanh", "logistic"), rate_shift=14, init=4000)
    return build_block(parse_experiment(suited(setup).toml("xor"), "xor"))


NUMBA = [pytest.param("numba", rule, marks=pytest.mark.slow) for rule in FIRST]


@pytest.mark.parametrize(("engine_name", "rule"), [*product(("native", "cpython"), RULES), *NUMBA])
def test_task_trials_are_the_oracles(engine_name: str, rule: str) -> None:
    block = xor_block(rule)
    notes, expected = Notes(), Notes()
    learner = LocalLearner(rule, block.head, block.mem, engine_name)
    trials = TaskTrials(learner, block.task, 5, notes)
    oracle, task = Oracle.of(rule, block.head, block.mem), model(block.task)
    for first, n, evaluate in ROUNDS:
        ended = list(trials.run(first, [0] * n, evaluate))
        assert ended == [task_trial(oracle, task, trial, evaluate, expected) for trial in range(first, first + n)]
        assert notes == expected
        assert trials.state() == oracle.state()


def task_trial(oracle: Oracle, task: Model, trial: int, evaluate: bool, hook: StepHook) -> Ended:
    """Play a trial of five steps."""
    task.begin(evaluate, oracle.phase)
    oracle.begin(trial, evaluate)
    cost = 0
    for step in range(5):
        x = task.sense()
        u = oracle.act(cost, x)
        hook(trial, step, cost, x, u)
        cost = task.cost(u)
    return Ended(oracle.end(cost), cost)


CARTPOLE = PlantSpec(id="CartPole-v1", sensor_range=((-2.4, 2.4), (-3.0, 3.0), (-0.21, 0.21), (-3.0, 3.0)))
LINEAR = PlantSpec(kind="simulated", name="lqr", cost_lsb=0.01)


@pytest.mark.parametrize("rule", FIRST)
@pytest.mark.parametrize("spec", [CARTPOLE, LINEAR], ids=["cartpole", "lqr"])
def test_trials_on_compiled_plants_are_the_oracles(rule: str, spec: PlantSpec) -> None:
    """The same words at every step, the plant's float64 included."""
    make = NumbaCartPole if spec is CARTPOLE else SimulatedPlant
    plant = make(spec)
    layers = plant.n_sensors, plant.n_actuators
    block = Setup(rule=rule, layers=layers, rate_shift=3, init=3000).block()
    notes, expected = Notes(), Notes()
    trials = CompiledPlantTrials(LocalLearner(rule, block.head, block.mem), make(spec), 60, notes)
    oracle = Oracle.of(rule, block.head, block.mem)
    for first, n, evaluate in ROUNDS:
        seeds = [7 * trial for trial in range(first, first + n)]
        ended = list(trials.run(first, seeds, evaluate))
        assert ended == [
            plant_trial(oracle, plant, trial, seed, 60, evaluate, expected)
            for trial, seed in zip(range(first, first + n), seeds, strict=True)
        ]
        assert notes == expected
        assert trials.state() == oracle.state()
    assert len({seen.u for seen in notes}) > 10
