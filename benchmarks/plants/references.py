"""What a simulated plant costs under a policy that is made with the plant at hand: linear, in float64, no learning."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from subsong.experiment import Experiment
from subsong.session import evaluation_seeds, local_plant
from subsong_sim.plants.base import WORD_MAX, scale_of
from subsong_sim.plants.models import lqr, parameter_values

Floats = NDArray[np.float64]
STARTS = ((0.0, 1.0), (1.0, 1.0), (0.0, 4.0))  # of the search: every weight, and the simplex's reach


def mean_cost(experiment: Experiment, policy: Callable[[Floats], Floats]) -> float:
    """Return the mean physical cost of an evaluation's episodes.

    Args:
        experiment: its plant is simulated.
        policy: from sensors to actuators, both parts of their half ranges, -1 to 1.
    """
    plant = local_plant(experiment, False, compiled=True)
    total = 0
    seeds = evaluation_seeds(experiment)
    for seed in seeds:
        plant.reset(seed)
        for _ in range(experiment.run.steps):
            u = np.clip(policy(np.array(plant.sense()) / WORD_MAX), -1.0, 1.0)
            plant.actuate(np.rint(u * WORD_MAX).astype(int).tolist())
            total += plant.cost()
            if plant.done:
                break
    return total * experiment.plant.cost_lsb / len(seeds)


def optimal_lqr(experiment: Experiment) -> float:
    """Return the cost of the linear system's optimal control, by Riccati's equation, over the evaluation's episodes."""
    spec = experiment.plant_spec()
    gain = lqr.optimal_gain(np.array(list(parameter_values(spec.name, spec.parameters).values())))
    x = np.array([scale_of(each[2:]).words_per_unit for each in lqr.SENSORS])
    u = np.array([scale_of(each[2:]).words_per_unit for each in lqr.ACTUATORS])
    return mean_cost(experiment, lambda sensors: -(gain @ (sensors * WORD_MAX / x)) * u / WORD_MAX)


def linear_reference(experiment: Experiment) -> float:
    """Return the least cost that Nelder and Mead's search finds for a linear policy, on the evaluation's own episodes.

    The search sees the episodes that it is judged by, and thousands of times: a reference that learning cannot expect
    to reach, which is why criteria are somewhat above it.
    """
    n_in, n_out = experiment.network.layers[0], experiment.network.layers[-1]

    def cost(weights: Floats) -> float:
        rows = weights.reshape(n_out, n_in + 1)
        return mean_cost(experiment, lambda sensors: rows[:, :-1] @ sensors + rows[:, -1])

    found = []
    for first, reach in STARTS:
        weights = np.full(n_out * (n_in + 1), first)
        simplex = np.vstack([weights, weights + reach * np.eye(len(weights))])
        found.append(minimize(cost, weights, method="Nelder-Mead", options={"initial_simplex": simplex, "maxfev": 150}))
    best = min(found, key=lambda each: float(each.fun))
    return float(minimize(cost, best.x, method="Nelder-Mead", options={"maxfev": 150}).fun)
