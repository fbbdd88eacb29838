"""What a simulated plant costs under a policy that is made with the plant at hand: linear, in float64, no learning."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from subsong.experiment import Experiment
from subsong.session import evaluation_seeds, local_plant
from subsong_sim.plants.base import WORD_MAX, scale_of
from subsong_sim.plants.models import lqr, parameter_values

Floats = NDArray[np.float64]
SEARCHED = 8  # episodes
STARTS = ((0.0, 1.0), (1.0, 1.0), (0.0, 4.0))  # of the search: every weight, and the simplex's reach


Policy = Callable[[Floats], Floats]
"""From sensors to actuators, both in parts of their half ranges, -1 to 1."""


def mean_cost(experiment: Experiment, policy: Policy, episodes: int | None = None) -> float:
    """Return the mean physical cost of an evaluation's episodes, or of its first ones; the plant is simulated."""
    plant = local_plant(experiment, False, compiled=True)
    total = 0
    seeds = evaluation_seeds(experiment)[:episodes]
    for seed in seeds:
        plant.reset(seed)
        for _ in range(experiment.run.steps):
            u = np.clip(policy(np.array(plant.sense()) / WORD_MAX), -1.0, 1.0)
            plant.actuate(np.rint(u * WORD_MAX).astype(int).tolist())
            total += plant.cost()
            if plant.done:
                break
    return total * experiment.plant.cost_lsb / len(seeds)


def optimal_lqr(experiment: Experiment) -> Policy:
    """Return the linear system's optimal control, by Riccati's equation."""
    spec = experiment.plant_spec()
    gain = lqr.optimal_gain(np.array(list(parameter_values(spec.name, spec.parameters).values())))
    x = np.array([scale_of(each[2:]).words_per_unit for each in lqr.SENSORS])
    u = np.array([scale_of(each[2:]).words_per_unit for each in lqr.ACTUATORS])
    return lambda sensors: -(gain @ (sensors * WORD_MAX / x)) * u / WORD_MAX


def best_linear(experiment: Experiment) -> Policy:
    """Return the linear policy that Nelder and Mead's search finds best on SEARCHED of an evaluation's episodes.

    It sees each of them hundreds of times: more than learning has, so criteria are somewhat above its cost.
    """
    n_in, n_out = experiment.network.layers[0], experiment.network.layers[-1]

    def policy(weights: Floats) -> Policy:
        rows = weights.reshape(n_out, n_in + 1)
        return lambda sensors: rows[:, :-1] @ sensors + rows[:, -1]

    def search(first: Floats, **options: object) -> Any:
        cost: Callable[[Floats], float] = lambda weights: mean_cost(experiment, policy(weights), SEARCHED)  # noqa: E731
        return minimize(cost, first, method="Nelder-Mead", options={"maxfev": 150, **options})

    found = []
    for first, reach in STARTS:
        weights = np.full(n_out * (n_in + 1), first)
        found.append(search(weights, initial_simplex=np.vstack([weights, weights + reach * np.eye(len(weights))])))
    return policy(search(min(found, key=lambda each: float(each.fun)).x).x)
