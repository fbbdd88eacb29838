"""Subsong's learners as a PyTorch user writes them: tensors over seeds, the seeds last, in place, without gradients.

One process a core with one thread each: the tensors are too small to be shared out. torch.compile is left out: on a
processor it takes half a minute a program, and the steps are not faster. Signs are bits of random words: bernoulli_()
takes several times as long.
"""

import math
from functools import partial
from itertools import pairwise

import torch
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
    Problem,
    Processes,
    Run,
    serve,
)
from torch import Tensor

ACTIVATIONS = {"identity": lambda g: g, "tanh": torch.tanh_, "logistic": torch.sigmoid_}


PLACES = torch.arange(32, dtype=torch.int32)
# Up to so many inputs, a layer is a sum of products.
FEW = 16


def signs(*shape: int) -> Tensor:
    """Return random signs."""
    n = math.prod(shape)
    words = torch.randint(-(2**31), 2**31, (-(-n // 32),), dtype=torch.int32)
    return ((words >> PLACES[:, None]) & 1).view(-1)[:n].view(shape).float().mul_(2).sub_(1)


def uniform(limit: float, *shape: int) -> Tensor:
    """Return numbers in +-limit."""
    return torch.empty(shape).uniform_(-limit, limit)


def drive(w: Tensor, x: Tensor) -> Tensor:
    """Return [patterns, units, seeds] of weights [inputs + 1, units, seeds] and inputs, the seeds' own or not."""
    if x.dim() == 2:
        return (x @ w[:-1].flatten(1)).unflatten(1, w.shape[1:]).add_(w[-1])
    if x.shape[1] <= FEW:
        return (x[:, :, None] * w[:-1]).sum(1).add_(w[-1])
    return torch.einsum("pjs,jis->pis", x, w[:-1]).add_(w[-1])


def outer(e: Tensor, x: Tensor) -> Tensor:
    """Return the sum over patterns of a factor of every unit times every input and 1."""
    if x.dim() == 2:
        body = (x.T @ e.flatten(1)).unflatten(1, e.shape[1:])
    elif x.shape[1] <= FEW:
        body = (x[:, :, None] * e[:, None]).sum(0)
    else:
        body = torch.einsum("pis,pjs->jis", e, x)
    return torch.cat([body, e.sum(0, keepdim=True)])


class Patterns:
    """Networks that learn a table of patterns."""

    def __init__(self, problem: Problem, seeds: int) -> None:
        self.problem, self.seeds, self.at = problem, seeds, 0
        self.x, self.y = torch.from_numpy(problem.x), torch.from_numpy(problem.y)
        self.w = [uniform(problem.init, n + 1, m, seeds) for n, m in pairwise(problem.layers)]
        self.baseline: Tensor | None = None
        self.update = getattr(self, problem.rule)

    def outputs(self, w: list[Tensor], x: Tensor) -> Tensor:
        """Return the network's outputs."""
        for v, name in zip(w, self.problem.activations, strict=True):
            x = ACTIVATIONS[name](drive(v, x))
        return x

    def surprise(self, cost: Tensor) -> Tensor:
        """Return by what the cost differs from the baseline, and let that follow."""
        if self.baseline is None:
            self.baseline = cost.clone()
        delta = cost - self.baseline
        self.baseline.add_(delta, alpha=self.problem.baseline)
        return delta

    def move(self, delta: Tensor, eligibilities: list[Tensor]) -> None:
        """Move the weights."""
        step = delta * -self.problem.eta
        for w, e in zip(self.w, eligibilities, strict=True):
            w.addcmul_(e, step)

    def weight_perturbation(self, x: Tensor, y: Tensor) -> None:
        """Perturb all weights, this way and that."""
        a = self.problem.amplitude
        xis = [signs(*w.shape) for w in self.w]
        up = error(self.outputs([w.add(xi, alpha=a) for w, xi in zip(self.w, xis, strict=True)], x), y)
        down = error(self.outputs([w.sub(xi, alpha=a) for w, xi in zip(self.w, xis, strict=True)], x), y)
        self.move((up - down) / 2, xis)

    def perturbed(self, x: Tensor, y: Tensor, xis: list[Tensor], amplitude: float) -> tuple[Tensor, list[Tensor]]:
        """Return the cost with every drive perturbed, and eligibilities."""
        eligibilities = []
        for w, xi, name in zip(self.w, xis, self.problem.activations, strict=True):
            eligibilities.append(outer(xi, x))
            x = ACTIVATIONS[name](drive(w, x).add_(xi, alpha=amplitude))
        return error(x, y), eligibilities

    def node_perturbation(self, x: Tensor, y: Tensor) -> None:
        """Perturb all drives."""
        a = self.problem.amplitude
        xis = [signs(len(x), w.shape[1], self.seeds) for w in self.w]
        cost, eligibilities = self.perturbed(x, y, xis, a)
        if self.problem.pair == 1:
            self.move(self.surprise(cost), eligibilities)
            return
        other, others = self.perturbed(x, y, xis, -a)
        self.move((cost - other) / 4, [e.add_(f) for e, f in zip(eligibilities, others, strict=True)])

    def reinforce(self, x: Tensor, y: Tensor) -> None:
        """Let every unit draw its state."""
        eligibilities = []
        for w, name in zip(self.w, self.problem.activations, strict=True):
            p = drive(w, x).sigmoid_()
            state = torch.bernoulli(p)
            eligibilities.append(outer(state - p, x))
            x = 2 * state - 1 if name == "tanh" else state
        self.move(self.surprise(error(x, y)), eligibilities)

    def advance(self, n: int) -> tuple[int, int]:
        """Learn on by n updates."""
        p = self.problem
        with torch.no_grad():
            for _ in range(n):
                if p.shown == 1:
                    self.update(self.x[self.at : self.at + 1], self.y[self.at : self.at + 1])
                    self.at = (self.at + p.stride) % len(self.x)
                else:
                    self.update(self.x, self.y)
        trials = n * p.pair * self.seeds
        return trials * p.shown, trials

    def cost(self) -> float:
        """Return the mean cost of an output."""
        x, target = (torch.from_numpy(each) for each in self.problem.sample())
        y = x
        for w, name in zip(self.w, self.problem.activations, strict=True):
            g = drive(w, y)
            if self.problem.rule == "reinforce":
                y = torch.where(g > 0, 1.0, -1.0 if name == "tanh" else 0.0)
            else:
                y = ACTIVATIONS[name](g)
        return float(error(y, target).mean()) / target.numel()


def error(y: Tensor, target: Tensor) -> Tensor:
    """Return a trial's squared error, of every seed."""
    return (y - target[:, :, None]).square_().sum((0, 1))


class CartPoles:
    """Carts with linear policies, each of which begins its next trial when its pole has fallen."""

    def __init__(self, problem: Problem, seeds: int) -> None:
        self.problem, self.seeds = problem, seeds
        self.weights = problem.rule == "weight_perturbation"
        self.w = uniform(problem.init, 5, seeds)
        self.range = torch.tensor(problem.ranges)[:, None]
        self.start = uniform(START, 4, seeds)
        self.state = self.start.clone()
        self.t, self.first, self.sign = torch.zeros(seeds), torch.zeros(seeds), torch.ones(seeds)
        self.baseline = torch.full((seeds,), torch.nan)
        self.xi, self.e = signs(5, seeds), torch.zeros(5, seeds)
        self.x = torch.ones(5, seeds)

    def step(self) -> int:
        """Advance every cart by a step.

        Returns:
            Trials that ended.
        """
        p, state, x = self.problem, self.state, self.x
        torch.div(state, self.range, out=x[:4]).clamp_(-1, 1)
        if self.weights:
            g = (x * torch.addcmul(self.w, self.xi, self.sign, value=p.amplitude)).sum(0)
        else:
            xi = signs(self.seeds)
            g = (x * self.w).sum(0).add_(xi, alpha=p.amplitude)
            self.e.addcmul_(x, xi)
        force = torch.where(g >= 0, FORCE, -FORCE)
        _x, v, theta, spin = state
        cos, sin = theta.cos(), theta.sin()
        temp = torch.addcmul(force, spin * spin, sin, value=MASS_POLE * LENGTH).div_(MASS)
        turn = (GRAVITY * sin - cos * temp) / (LENGTH * (4 / 3 - (MASS_POLE / MASS) * cos * cos))
        push = torch.addcmul(temp, turn, cos, value=-MASS_POLE * LENGTH / MASS)
        state[0].add_(v, alpha=TAU)
        v.add_(push, alpha=TAU)
        state[2].add_(spin, alpha=TAU)
        spin.add_(turn, alpha=TAU)
        self.t += 1
        over = (state[0].abs() > X_LIMIT) | (theta.abs() > THETA_LIMIT) | (self.t >= EPISODE)
        done = over.nonzero().squeeze(1)
        if len(done):
            self.end(done)
        return len(done)

    def end(self, done: Tensor) -> None:
        """End the trials of these seeds: learn where an update is due, and go to the start."""
        p = self.problem
        cost = -self.t[done]
        if p.pair == 2:
            due = self.sign[done] < 0
            at = done[due]
            delta = (self.first[at] - cost[due]) / 2
            self.first[done] = cost
            self.sign[done] *= -1
        else:
            at = done
            b = self.baseline[at]
            b = torch.where(b.isnan(), cost, b)
            delta = cost - b
            self.baseline[at] = b + p.baseline * delta
        self.w[:, at] -= p.eta * delta * (self.xi if self.weights else self.e)[:, at]
        if self.weights:
            self.xi[:, at] = signs(5, len(at))
        else:
            self.e[:, at] = 0
        self.start[:, at] = uniform(START, 4, len(at))
        self.state[:, done] = self.start[:, done]
        self.t[done] = 0

    def advance(self, n: int) -> tuple[int, int]:
        """Learn on by n steps."""
        with torch.no_grad():
            return n * self.seeds, sum(self.step() for _ in range(n))

    def cost(self) -> float:
        """Return nothing: the length of trials says it."""
        return 0.0


def begin(problem: Problem, seeds: int, seed: int) -> Run:
    """Begin a run, in one thread."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    return (CartPoles if problem.cartpole else Patterns)(problem, seeds)


if __name__ == "__main__":
    serve(partial(Processes, begin), f"PyTorch {torch.__version__}")
