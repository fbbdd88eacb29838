"""The three ways to a policy, and what each policy costs on the true plant."""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np

from bias.cases import Case
from subsong.batch import simulate_many
from subsong.block import build_block, stream_seed
from subsong.experiment import Experiment
from subsong.session import RunResult, evaluation_seeds, local_trials, physical
from subsong_sim.controls.backprop import Network, descend
from subsong_sim.controls.simulated import Simulated, full_output
from subsong_sim.plants.models import parameter_values

Course = list[tuple[int, float]]
"""Of one run: learning trials, and the mean cost of an episode then, unperturbed, on the true plant."""


class Measured(NamedTuple):
    """What a plant's runs came to; all costs are means over evaluation episodes on the true plant.

    Attributes:
        severities: of the bias, 0 to 1.
        untrained: [severity][seed]: of the initial weights.
        through_model: [severity][seed]: of weights learned by back-propagation through the nominal model.
        on_model: [severity][seed]: by perturbation on the nominal model.
        on_plant: [severity][seed]: courses of perturbation on the true plant.
        tuned_through_model: [severity][seed]: courses on the true plant that begin with the weights of through_model.
        tuned_on_model: [severity][seed]: likewise, of on_model.
    """

    severities: list[float]
    untrained: list[list[float]]
    through_model: list[list[float]]
    on_model: list[list[float]]
    on_plant: list[list[Course]]
    tuned_through_model: list[list[Course]]
    tuned_on_model: list[list[Course]]


def measure(case: Case, severities: Sequence[float], seeds: Sequence[int], workers: int = 1) -> Measured:
    """Learn in all ways under all seeds, and evaluate on plants of all severities.

    Args:
        case: the plant and its settings.
        severities: of the bias.
        seeds: one a run of each way.
        workers: processes for back-propagation; perturbation has Numba's threads.
    """
    through_model = descended(case, seeds, workers)
    on_model = [result.state[1] for result in learned([case.experiment(seed) for seed in seeds], mismatch=False)]
    true = [[case.experiment(seed, severity) for seed in seeds] for severity in severities]
    starts = [None, through_model, on_model]
    runs = iter(
        learned(
            [experiment for _ in starts for row in true for experiment in row],
            mismatch=True,
            mems=[
                build_block(experiment).mem if mems is None else mems[k]
                for mems in starts
                for row in true
                for k, experiment in enumerate(row)
            ],
        )
    )
    before = [
        [[cost(experiment, None if mems is None else mems[k]) for k, experiment in enumerate(row)] for row in true]
        for mems in starts
    ]
    courses = [[[[(0, first), *next(runs).evaluations] for first in row] for row in rows] for rows in before]
    return Measured(list(severities), *before, *courses)


def learned(
    experiments: Sequence[Experiment], *, mismatch: bool, mems: Sequence[bytes] | None = None
) -> list[RunResult]:
    """Learn by perturbation, with the firmware's kernels, on the nominal or the true plant."""
    return simulate_many(experiments, mismatch=mismatch, mems=mems, costs=False)


def cost(experiment: Experiment, mem: bytes | None = None) -> float:
    """Return the mean cost of weights, unperturbed, over the run's evaluation episodes on the true plant."""
    block = build_block(experiment).holding(mem)
    trials, _ = local_trials(experiment, block, True, "native", None)
    totals = [ended.summary.total for ended in trials.run(0, evaluation_seeds(experiment), True) if ended is not None]
    return physical(experiment, sum(totals), evaluate=True) / len(totals)


def descended(case: Case, seeds: Sequence[int], workers: int = 1) -> list[bytes]:
    """Learn by back-propagation through the nominal model; return each seed's memory, its weights rounded to words."""
    if workers == 1:
        return [descend_one(case, seed) for seed in seeds]
    descend_one(case._replace(updates=1), seeds[0])  # compiled once, and kept, before processes begin
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        return list(pool.map(partial(descend_one, case), seeds))


def descend_one(case: Case, seed: int) -> bytes:
    """Learn through the nominal model, from the initial weights that a learner of this seed has.

    Args:
        case: the plant and its settings.
        seed: of the experiment; the starts of episodes are those of the stream "plant", as a learner meets them.
    """
    experiment = case.experiment(seed)
    block = build_block(experiment)
    network = Network.of_block(block.head, block.mem)
    spec = experiment.plant_spec()
    p = np.array(list(parameter_values(case.name, spec.parameters).values()))
    starts = [stream_seed(seed, "plant", k) for k in range(case.episodes)]
    model = Simulated(case.name, p, starts, full_output(network), spec.sensor_range, spec.actuator_range)
    for steps in case.horizons:
        descend(network, model, steps, case.updates)
    return network.into_block(block.mem)
