"""The linear-quadratic regulator in float64: the exact optimum, the exact cost of any gain, and both rules' learning.

x' = A x + B u + w, w ~ N(0, I), u = K x, average cost <x Q x + u R u>, with A = [[1.01, .01, 0], [.01, 1.01, .01],
[0, .01, 1.01]], B = I, Q = .001 I, R = I: slightly unstable at K = 0.

Source: Dean et al., "On the sample complexity of the linear quadratic regulator", Found. Comput. Math. 20 (2020).
"""

import numba
import numpy as np
from numpy.typing import NDArray

from laws.draws import normals, signs, stream
from laws.formulas import Rule

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
    """Return J(K): trace((Q + K' R K) S), S the stationary covariance; inf where the loop is unstable or not finite."""
    loop = A + gain
    if not np.all(np.isfinite(loop)) or np.max(np.abs(np.linalg.eigvals(loop))) >= 1.0:
        return float("inf")
    # S = loop S loop' + I as one linear system.
    covariance = np.linalg.solve(np.eye(9) - np.kron(loop, loop), np.eye(3).ravel()).reshape(3, 3)
    return float(np.trace((Q + gain.T @ R @ gain) @ covariance))


def learn(
    rule: Rule,
    seeds: int,
    schedule: tuple[tuple[int, float], ...],
    *,
    sigma: float,
    steps: int,
    begin: float,
    first_seed: int = 1,
) -> Floats:
    """Return the gains learned from K = 0, float64[seeds, 3, 3]: two-sided, random signs, a pair in the same noise.

    dK = -eta (C - b) e / sigma, C the mean cost of a step, e = xi, or the sum over t of xi x, the mean of both trials.

    Args:
        rule: "node" (an actuator) or "weight" (a gain).
        seeds: runs.
        schedule: updates and eta, one pair after the other.
        sigma: of the perturbation.
        steps: of a trial.
        begin: standard deviation of the initial state.
        first_seed: of the runs.
    """
    gains = np.zeros((seeds, 3, 3))
    etas = np.concatenate([np.full(updates, eta) for updates, eta in schedule])
    _learn(A, rule == "weight", etas, sigma, steps, begin, first_seed, gains)
    return gains


@numba.njit
def _trial(a, gain, plant, begin, steps, xi, amount, traces):
    """Return the mean cost of a trial; the noise comes from the state `plant`, amount * xi[t] is added to u."""
    x = np.empty(3)
    u = np.empty(3)
    w = np.empty(3)
    normals(plant, x)
    x *= begin
    total = 0.0
    for t in range(steps):
        for i in range(3):
            u[i] = gain[i, 0] * x[0] + gain[i, 1] * x[1] + gain[i, 2] * x[2]
            if amount != 0.0:
                u[i] += amount * xi[3 * t + i]
                for j in range(3):
                    traces[i, j] += xi[3 * t + i] * x[j]
            total += 0.001 * x[i] * x[i] + u[i] * u[i]
        normals(plant, w)
        for i in range(3):
            w[i] += a[i, 0] * x[0] + a[i, 1] * x[1] + a[i, 2] * x[2] + u[i]
        x[:] = w
    return total / steps


@numba.njit(parallel=True)
def _learn(a, weight, etas, sigma, steps, begin, first_seed, gains):
    for run in numba.prange(gains.shape[0]):
        state = stream(first_seed + run, 5)
        plant = stream(first_seed + run, 6)
        again = plant.copy()
        k = np.zeros((3, 3))
        xi = np.empty(9 if weight else 3 * steps)
        e = np.empty((3, 3))
        for t in range(etas.size):
            signs(state, xi)
            again[0] = plant[0]
            e[:] = 0.0
            if weight:
                e[:] = xi.reshape(3, 3)
                plus = _trial(a, k + sigma * e, plant, begin, steps, xi, 0.0, e)
                minus = _trial(a, k - sigma * e, again, begin, steps, xi, 0.0, e)
            else:
                plus = _trial(a, k, plant, begin, steps, xi, sigma, e)
                minus = _trial(a, k, again, begin, steps, xi, -sigma, e)
                e *= 0.5
            k -= etas[t] * (plus - minus) / (2.0 * sigma) * e
        gains[run] = k
