"""The linear tasks in float64: the same rules with real-valued weights, against which integers are measured.

Written from docs/rules.md for speed and independence: nothing here imports the firmware's kernels, and every cost is
evaluated as a board would (two forward passes), never taken from a formula.
"""

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from laws.draws import COINS, NORMAL, SIGN, draw, normals, stream
from laws.formulas import Code, Estimator, Rule

Floats = NDArray[np.float64]
KINDS = {"gaussian": NORMAL, "signs": SIGN, "coins": COINS}


def linear_teacher(
    rule: Rule,
    n: int,
    m: int,
    eta: float,
    seeds: int,
    updates: int,
    *,
    code: Code = "signs",
    estimator: Estimator = "two_sided",
    inputs: str = "gaussian",
    sigma: float = 0.1,
    noise: float = 0.0,
    start: float = 10.0,
    first_seed: int = 0,
) -> Floats:
    """Return E = |W - W*|**2 / 2 before the first and after every update, float64[seeds, updates + 1].

    Args:
        rule: "node" or "weight".
        n: inputs.
        m: outputs.
        eta: the rate.
        seeds: runs, each with its own inputs, perturbations and W - W* (a random direction).
        updates: a run.
        code: the perturbation's distribution.
        estimator: "two_sided" or "unperturbed_trial"; both trials see the same input.
        inputs: "gaussian", "signs" or "coins" (`draws.coins`).
        sigma: the perturbation's size.
        noise: standard deviation added to every measured cost.
        start: E_0.
        first_seed: seeds are first_seed, first_seed + 1, ...
    """
    errors = np.empty((seeds, updates + 1))
    settings = (eta, sigma, noise, start)
    _teach(rule == "weight", n, m, settings, KINDS[code], KINDS[inputs], estimator == "two_sided", first_seed, errors)
    return errors


@numba.njit(parallel=True)
def _teach(weight, n, m, settings, code, inputs, two_sided, first_seed, errors):
    eta, sigma, noise, start = settings
    for run in numba.prange(errors.shape[0]):
        state = stream(first_seed + run, 1)
        d = np.empty(m * n)
        normals(state, d)
        d *= np.sqrt(2.0 * start / max(np.sum(d * d), 1e-300))
        x = np.empty(n)
        xi = np.empty(m * n if weight else m)
        ripple = np.empty(2)
        for t in range(errors.shape[1]):
            errors[run, t] = 0.5 * np.sum(d * d)
            draw(state, x, inputs)
            draw(state, xi, code)
            other = -sigma if two_sided else 0.0
            plus = _cost(weight, n, m, d, x, xi, sigma)
            minus = _cost(weight, n, m, d, x, xi, other)
            if noise > 0.0:
                normals(state, ripple)
                plus += noise * ripple[0]
                minus += noise * ripple[1]
            step = eta * (plus - minus) / (sigma - other) if two_sided else eta * (plus - minus) / sigma
            if weight:
                for k in range(m * n):
                    d[k] -= step * xi[k]
            else:
                for i in range(m):
                    for j in range(n):
                        d[i * n + j] -= step * xi[i] * x[j]


@numba.njit
def _cost(weight, n, m, d, x, xi, amount):
    """Return |(D + amount xi) x|**2 / 2, or |D x + amount xi|**2 / 2."""
    cost = 0.0
    for i in range(m):
        y = 0.0
        if weight:
            for j in range(n):
                y += (d[i * n + j] + amount * xi[i * n + j]) * x[j]
        else:
            for j in range(n):
                y += d[i * n + j] * x[j]
            y += amount * xi[i]
        cost += 0.5 * y * y
    return cost


def extended_task(
    n: int, m: int, steps: int, latent: int, *, start: float, rest: float, seed: int = 0
) -> tuple[Floats, Floats]:
    """Return inputs float64[N, T] and targets float64[M, T] of the temporally extended task.

    The time courses are cosines, exactly orthogonal; `latent` of them, each of power N / N_eff, are mixed into N inputs
    by orthonormal columns. The targets are those of a random teacher with E_0 - E_opt = `start` against zero weights,
    plus cosines that no weights reach, E_opt = `rest`.

    Source: Zuege, Klos & Memmesheimer 2023, section II.
    """
    random = np.random.default_rng(seed)
    phase = np.pi * np.outer(np.arange(steps), np.arange(steps) + 0.5) / steps
    courses = np.cos(phase) * np.sqrt(2.0)
    courses[0] = 1.0  # power 1 each
    mixing, _ = np.linalg.qr(random.standard_normal((n, latent)))
    inputs = np.sqrt(n / latent) * mixing @ courses[:latent]
    reached = random.standard_normal((m, latent)) @ courses[:latent]
    beyond = random.standard_normal((m, steps - latent)) @ courses[latent:]
    targets = np.zeros((m, steps))
    for part, error in ((reached, start), (beyond, rest)):
        targets += part * np.sqrt(2.0 * error * steps / np.sum(part**2))
    return np.ascontiguousarray(inputs), targets


def extended(
    rule: Rule,
    inputs: Floats,
    targets: Floats,
    eta: float,
    seeds: int,
    updates: int,
    *,
    sigma: float,
    code: Code = "gaussian",
    first_seed: int = 0,
    weights: Floats | None = None,
) -> Floats:
    """Return E, E_opt included, of every unperturbed trial, float64[seeds, updates + 1]: one-sided learning.

    Args:
        rule: "weight": one perturbation a trial; "node": one a step.
        inputs: float64[N, T].
        targets: float64[M, T].
        eta: the rate.
        seeds: runs.
        updates: a run; each is an unperturbed and a perturbed trial.
        sigma: of a weight's or of a node's perturbation.
        code: its distribution.
        first_seed: of the runs.
        weights: where all runs start, float64[M, N]; zeros if None.
    """
    errors = np.empty((seeds, updates + 1))
    if weights is None:
        weights = np.zeros((targets.shape[0], inputs.shape[0]))
    _extend(rule == "weight", inputs, targets, weights, eta, sigma, KINDS[code], first_seed, errors)
    return errors


@numba.njit(parallel=True)
def _extend(weight, inputs, targets, weights, eta, sigma, code, first_seed, errors):
    n, steps = inputs.shape
    m = targets.shape[0]
    for run in numba.prange(errors.shape[0]):
        state = stream(first_seed + run, 2)
        w = weights.copy()
        v = np.empty((m, n))
        y = np.empty((m, steps))
        xi = np.empty(m * n if weight else m * steps)
        for t in range(errors.shape[1]):
            cost = _trial_cost(inputs, targets, w, y)
            errors[run, t] = cost
            draw(state, xi, code)
            if weight:
                v[:] = w + sigma * xi.reshape(m, n)
                step = eta * (_trial_cost(inputs, targets, v, y) - cost) / sigma
                w -= step * xi.reshape(m, n)
            else:
                perturbed = 0.0
                for i in range(m):
                    for s in range(steps):
                        gap = y[i, s] + sigma * xi[i * steps + s]
                        perturbed += gap * gap
                step = eta * (perturbed / (2.0 * steps) - cost) / sigma
                for i in range(m):
                    for j in range(n):
                        w[i, j] -= step * _dot(xi[i * steps : (i + 1) * steps], inputs[j])


@numba.njit(fastmath=True)
def _dot(a, b):
    total = 0.0
    for k in range(a.size):
        total += a[k] * b[k]
    return total


@numba.njit(fastmath=True)
def _trial_cost(inputs, targets, w, gap):
    """Return the mean over T of |W x - y*|**2 / 2; leave W x - y* in gap float64[M, T]."""
    n, steps = inputs.shape
    cost = 0.0
    for i in range(targets.shape[0]):
        for t in range(steps):
            gap[i, t] = -targets[i, t]
        for j in range(n):
            weight = w[i, j]
            for t in range(steps):
                gap[i, t] += weight * inputs[j, t]
        for t in range(steps):
            cost += gap[i, t] * gap[i, t]
    return cost / (2.0 * steps)


def solution(inputs: Floats, targets: Floats) -> Floats:
    """Return the weights float64[M, N] of least error: where to start when E_inf alone is wanted."""
    found: Any = np.linalg.lstsq(inputs.T, targets.T, rcond=1e-10)[0].T
    return np.ascontiguousarray(found)
