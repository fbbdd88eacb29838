"""The linear-quadratic regulator in float64: the exact optimum, the exact cost of any gain, and ARS as the reference.

x' = A x + B u + w, w ~ N(0, I), u = K x, average cost <x Q x + u R u>, with A = [[1.01, .01, 0], [.01, 1.01, .01],
[0, .01, 1.01]], B = I, Q = .001 I, R = I: slightly unstable at K = 0.

Sources: Dean et al., "On the sample complexity of the linear quadratic regulator", Found. Comput. Math. 20 (2020);
Mania, Guy & Recht, "Simple random search provides a competitive approach to reinforcement learning", 2018 (ARS-V1).
"""

import numba
import numpy as np
from numpy.typing import NDArray

from laws.draws import normals, signs, stream

Floats = NDArray[np.float64]

A = np.array([[1.01, 0.01, 0.0], [0.01, 1.01, 0.01], [0.0, 0.01, 1.01]])
Q = 0.001 * np.eye(3)
R = np.eye(3)


def optimum() -> tuple[float, Floats]:
    """Return J* and the gain that has it, by iterating the Riccati equation: J* = trace P."""
    p = Q
    for _ in range(10_000):
        gain = -np.linalg.solve(R + p, p @ A)
        p = Q + A.T @ p @ (A + gain)
    return float(np.trace(p)), gain


def average_cost(gain: Floats) -> float:
    """Return J(K): trace((Q + K' R K) S), S the stationary covariance; inf where the loop is unstable."""
    loop = A + gain
    if np.max(np.abs(np.linalg.eigvals(loop))) >= 1.0:
        return float("inf")
    # S = loop S loop' + I as one linear system.
    covariance = np.linalg.solve(np.eye(9) - np.kron(loop, loop), np.eye(3).ravel()).reshape(3, 3)
    return float(np.trace((Q + gain.T @ R @ gain) @ covariance))


def ars(
    seeds: int,
    updates: int,
    *,
    eta: float = 0.02,
    sigma: float = 0.05,
    directions: int = 4,
    steps: int = 200,
    decay: float = 1e9,
    first_seed: int = 0,
    every: int = 10,
) -> Floats:
    """Return the gains on the way from K = 0, float64[seeds, updates // every + 1, 3, 3].

    Two-sided weight perturbation with random signs and common plant noise within a pair. An update is `directions`
    pairs: K -= eta / (1 + t / decay) * mean of (C+ - C-) xi / (standard deviation of the costs), ARS-V1's step.

    Args:
        seeds: runs.
        updates: a run; each is 2 * directions * steps plant steps.
        eta: step size.
        sigma: perturbation of a gain.
        directions: pairs an update.
        steps: of a trial, from x = 0.
        decay: updates after which the step size has halved.
        first_seed: of the runs.
        every: how often a gain is kept.
    """
    gains = np.zeros((seeds, updates // every + 1, 3, 3))
    _ars(A, eta, sigma, directions, steps, decay, first_seed, every, updates, gains)
    return gains


@numba.njit
def _rollout(a, gain, plant, steps):
    """Return the mean cost of a trial from x = 0; the plant's noise is drawn from the state `plant`."""
    x = np.zeros(3)
    u = np.empty(3)
    w = np.empty(3)
    total = 0.0
    for _ in range(steps):
        for i in range(3):
            u[i] = gain[i, 0] * x[0] + gain[i, 1] * x[1] + gain[i, 2] * x[2]
            total += 0.001 * x[i] * x[i]
        for i in range(3):
            total += u[i] * u[i]
        normals(plant, w)
        for i in range(3):
            w[i] += a[i, 0] * x[0] + a[i, 1] * x[1] + a[i, 2] * x[2] + u[i]
        x[:] = w
    return total / steps


@numba.njit(parallel=True)
def _ars(a, eta, sigma, directions, steps, decay, first_seed, every, updates, gains):
    for run in numba.prange(gains.shape[0]):
        state = stream(first_seed + run, 5)
        plant = stream(first_seed + run, 6)
        again = plant.copy()
        k = np.zeros((3, 3))
        xi = np.empty((directions, 9))
        costs = np.empty((directions, 2))
        for t in range(updates):
            signs(state, xi.reshape(-1))
            for d in range(directions):
                shape = xi[d].reshape(3, 3)
                again[0] = plant[0]
                costs[d, 0] = _rollout(a, k + sigma * shape, plant, steps)
                costs[d, 1] = _rollout(a, k - sigma * shape, again, steps)
            spread = np.std(costs) + 1e-300
            for d in range(directions):
                k -= eta / (1.0 + t / decay) / directions * (costs[d, 0] - costs[d, 1]) / spread * xi[d].reshape(3, 3)
            if (t + 1) % every == 0:
                gains[run, (t + 1) // every] = k
