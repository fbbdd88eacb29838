"""Subsong's learners as a NumPy user writes them: arrays over seeds, the seeds last, one process a core.

All seeds see the same patterns, so that the first layer of them all is one product of matrices.
"""

from functools import partial
from typing import Any

import numpy as np
from problem import (
    EPISODE,
    FORCE,
    GRAVITY,
    LENGTH,
    MASS,
    MASS_POLE,
    START,
    TAU,
    THETA_LIMIT,
    X_LIMIT,
    Floats,
    Problem,
    Processes,
    Run,
    serve,
)


def signs(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Return random signs."""
    n = int(np.prod(shape))
    bits = np.unpackbits(np.frombuffer(rng.bytes((n + 7) // 8), np.uint8), count=n)
    s = bits.astype(np.float32).reshape(shape)
    s *= 2
    s -= 1
    return s


def activate(name: str, g: Floats) -> Floats:
    """Apply an activation in place."""
    if name == "identity":
        return g
    if name == "logistic":
        g *= 0.5
    np.tanh(g, out=g)
    if name == "logistic":
        g *= 0.5
        g += 0.5
    return g


def drive(w: Floats, x: Floats) -> Floats:
    """Return [patterns, units, seeds] of weights [inputs + 1, units, seeds] and inputs, the seeds' own or not."""
    units, seeds = w.shape[1:]
    if x.ndim == 2:
        g = (x @ w[:-1].reshape(-1, units * seeds)).reshape(-1, units, seeds)
    elif seeds < 32:
        g = np.matmul(x.transpose(2, 0, 1), w[:-1].transpose(2, 0, 1)).transpose(1, 2, 0)
    else:
        g = np.einsum("pjs,jis->pis", x, w[:-1])
    g += w[-1]
    return g


def outer(e: Floats, x: Floats) -> Floats:
    """Return the sum over patterns of a factor of every unit times every input, the bias's last."""
    units, seeds = e.shape[1:]
    out = np.empty((x.shape[1] + 1, units, seeds), np.float32)
    if x.ndim == 2:
        np.matmul(x.T, e.reshape(-1, units * seeds), out=out[:-1].reshape(-1, units * seeds))
    elif seeds < 32:
        out[:-1] = np.matmul(x.transpose(2, 1, 0), e.transpose(2, 0, 1)).transpose(1, 2, 0)
    else:
        np.einsum("pjs,pis->jis", x, e, out=out[:-1])
    e.sum(0, out=out[-1])
    return out


class Patterns:
    """Networks that learn a table of patterns."""

    def __init__(self, problem: Problem, seeds: int, seed: int) -> None:
        self.problem, self.seeds, self.at = problem, seeds, 0
        self.rng = np.random.Generator(np.random.SFC64(seed))
        shapes = [(n + 1, m, seeds) for n, m in zip(problem.layers[:-1], problem.layers[1:], strict=True)]
        self.w = [self.rng.uniform(-problem.init, problem.init, shape).astype(np.float32) for shape in shapes]
        self.baseline: Floats | None = None
        self.update = {
            "weight_perturbation": self.weight_perturbation,
            "node_perturbation": self.node_perturbation,
            "reinforce": self.reinforce,
        }[problem.rule]

    def error(self, y: Floats, target: Floats) -> Floats:
        """Return the squared error of a trial, float32[seeds]."""
        y -= target[:, :, None]
        return np.einsum("pis,pis->s", y, y)

    def outputs(self, w: list[Floats], x: Floats) -> Floats:
        """Return the outputs for patterns x."""
        for weights, name in zip(w, self.problem.activations, strict=True):
            x = activate(name, drive(weights, x))
        return x

    def surprise(self, cost: Floats) -> Floats:
        """Return eta (C - b), and let the baseline follow."""
        if self.baseline is None:
            self.baseline = cost.copy()
        delta = cost - self.baseline
        self.baseline += self.problem.baseline * delta
        delta *= self.problem.eta
        return delta

    def move(self, step: Floats, eligibilities: list[Floats]) -> None:
        """Move the weights."""
        for w, e in zip(self.w, eligibilities, strict=True):
            np.subtract(w, np.multiply(e, step, out=e), out=w)

    def weight_perturbation(self, x: Floats, target: Floats) -> None:
        """Perturb all weights, this way and that."""
        a = self.problem.amplitude
        xis = [signs(self.rng, w.shape) for w in self.w]
        up = self.error(self.outputs([w + a * xi for w, xi in zip(self.w, xis, strict=True)], x), target)
        down = self.error(self.outputs([w - a * xi for w, xi in zip(self.w, xis, strict=True)], x), target)
        step = self.problem.eta / 2 * (up - down)
        self.move(step, xis)

    def perturbed(self, x: Floats, target: Floats, xis: list[Floats], amplitude: float) -> tuple[Floats, list[Floats]]:
        """Return the cost with every drive perturbed, and the eligibilities."""
        eligibilities = []
        for w, xi, name in zip(self.w, xis, self.problem.activations, strict=True):
            g = drive(w, x)
            g += amplitude * xi
            eligibilities.append(outer(xi, x))
            x = activate(name, g)
        return self.error(x, target), eligibilities

    def node_perturbation(self, x: Floats, target: Floats) -> None:
        """Perturb all drives."""
        a = self.problem.amplitude
        xis = [signs(self.rng, (len(x), w.shape[1], self.seeds)) for w in self.w]
        cost, eligibilities = self.perturbed(x, target, xis, a)
        if self.problem.pair == 2:
            other, others = self.perturbed(x, target, xis, -a)
            eligibilities = [np.add(e, f, out=e) for e, f in zip(eligibilities, others, strict=True)]
            step = self.problem.eta / 4 * (cost - other)
        else:
            step = self.surprise(cost)
        self.move(step, eligibilities)

    def reinforce(self, x: Floats, target: Floats) -> None:
        """Let every unit draw its state."""
        eligibilities = []
        for w, name in zip(self.w, self.problem.activations, strict=True):
            p = activate("logistic", drive(w, x))
            state = (self.rng.random(p.shape, np.float32) < p).astype(np.float32)
            eligibilities.append(outer(state - p, x))
            x = 2 * state - 1 if name == "tanh" else state
        step = self.surprise(self.error(x, target))
        self.move(step, eligibilities)

    def advance(self, n: int) -> tuple[int, int]:
        """Learn on by n updates."""
        p = self.problem
        for _ in range(n):
            if p.shown == 1:
                self.update(p.x[self.at : self.at + 1], p.y[self.at : self.at + 1])
                self.at = (self.at + p.stride) % len(p.x)
            else:
                self.update(p.x, p.y)
        trials = n * p.pair * self.seeds
        return trials * p.shown, trials

    def cost(self) -> float:
        """Return the mean cost of an output."""
        x, target = self.problem.sample()
        if self.problem.rule == "reinforce":
            y: Floats = x
            for w, name in zip(self.w, self.problem.activations, strict=True):
                state = (drive(w, y) > 0).astype(np.float32)
                y = 2 * state - 1 if name == "tanh" else state
        else:
            y = self.outputs(self.w, x)
        return float(self.error(y, target).mean()) / target.size


class CartPoles:
    """Carts with linear policies, each of which begins its next trial when its pole has fallen."""

    def __init__(self, problem: Problem, seeds: int, seed: int) -> None:
        self.problem, self.seeds = problem, seeds
        self.rng = rng = np.random.Generator(np.random.SFC64(seed))
        self.w = rng.uniform(-problem.init, problem.init, (5, seeds)).astype(np.float32)
        self.range = np.array(problem.ranges, np.float32)[:, None]
        self.start = self.starts(seeds)
        self.state = self.start.copy()
        self.t = np.zeros(seeds, np.float32)
        self.sign = np.ones(seeds, np.float32)
        self.first = np.zeros(seeds, np.float32)
        self.baseline = np.full(seeds, np.nan, np.float32)
        self.weights = problem.rule == "weight_perturbation"
        self.xi = signs(rng, (5, seeds))
        self.e = np.zeros((5, seeds), np.float32)

    def starts(self, n: int) -> Floats:
        """Draw starting states."""
        return (self.rng.random((4, n), np.float32) - 0.5) * (2 * START)

    def step(self) -> int:
        """Advance every cart by a step.

        Returns:
            Trials that ended.
        """
        p = self.problem
        state = self.state
        sensors = np.ones((5, self.seeds), np.float32)
        np.divide(state, self.range, out=sensors[:4])
        np.clip(sensors, -1, 1, out=sensors)
        if self.weights:
            g = np.einsum("js,js->s", sensors, self.w + p.amplitude * (self.sign * self.xi))
        else:
            xi = signs(self.rng, (self.seeds,))
            g = np.einsum("js,js->s", sensors, self.w)
            g += p.amplitude * xi
            sensors *= xi
            self.e += sensors
        force = np.where(g >= 0, np.float32(FORCE), np.float32(-FORCE))
        _x, v, theta, spin = state
        cos, sin = np.cos(theta), np.sin(theta)
        temp = (force + (MASS_POLE * LENGTH) * spin * spin * sin) / MASS
        turn = (GRAVITY * sin - cos * temp) / (LENGTH * (4 / 3 - (MASS_POLE / MASS) * cos * cos))
        push = temp - (MASS_POLE * LENGTH / MASS) * turn * cos
        state[0] += TAU * v
        v += TAU * push
        state[2] += TAU * spin
        spin += TAU * turn
        self.t += 1
        over = (np.abs(state[0]) > X_LIMIT) | (np.abs(theta) > THETA_LIMIT) | (self.t >= EPISODE)
        done = np.flatnonzero(over)
        if len(done):
            self.end(done)
        return len(done)

    def end(self, done: Any) -> None:
        """End the trials of these seeds: learn where an update is due, and go to the start."""
        p = self.problem
        cost = -self.t[done]
        if p.pair == 2:
            due = self.sign[done] < 0
            at = done[due]
            step = p.eta / 2 * (self.first[at] - cost[due])
            self.first[done] = cost
            self.sign[done] *= -1
        else:
            at = done
            b = self.baseline[at]
            b = np.where(np.isnan(b), cost, b)
            step = p.eta * (cost - b)
            self.baseline[at] = b + p.baseline * (cost - b)
        self.w[:, at] -= step * (self.xi if self.weights else self.e)[:, at]
        if self.weights:
            self.xi[:, at] = signs(self.rng, (5, len(at)))
        else:
            self.e[:, at] = 0
        self.start[:, at] = self.starts(len(at))
        self.state[:, done] = self.start[:, done]
        self.t[done] = 0

    def advance(self, n: int) -> tuple[int, int]:
        """Learn on by n steps."""
        return n * self.seeds, sum(self.step() for _ in range(n))

    def cost(self) -> float:
        """Return nothing: the length of trials says it."""
        return 0.0


def begin(problem: Problem, seeds: int, seed: int) -> Run:
    """Begin a run."""
    return (CartPoles if problem.cartpole else Patterns)(problem, seeds, seed)


if __name__ == "__main__":
    serve(partial(Processes, begin), f"NumPy {np.__version__}")
