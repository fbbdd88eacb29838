"""Subsong's learners in JAX by someone who wants speed on a processor above all.

In place of vmap the seeds are the last axis of every array, small layers are written out as sums so that XLA fuses
them, random signs are bits of xorshift words, and carts that have fallen begin again without waiting for others.
"""

from typing import Any

import jax
import jax.numpy as jnp
from problem import EPISODE, FORCE, GRAVITY, LENGTH, MASS, MASS_POLE, START, TAU, THETA_LIMIT, X_LIMIT, Problem, serve

ACTIVATIONS = {"identity": lambda g: g, "tanh": jnp.tanh, "logistic": lambda g: 0.5 + 0.5 * jnp.tanh(0.5 * g)}
# Up to so many inputs a layer is written out.
WRITTEN_OUT = 16
Arrays = list[jax.Array]


def xorshift(s: jax.Array) -> jax.Array:
    """Return the next words of xorshift32."""
    s = s ^ (s << 13)
    s = s ^ (s >> 17)
    return s ^ (s << 5)


def signs(words: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Return as many random signs, one a bit of words [n, seeds]; the last axis of the shape is the seeds'."""
    bits = words[:, None, :] << jnp.arange(32, dtype=jnp.uint32)[:, None]
    bits = bits.reshape(-1, shape[-1])[: _size(shape[:-1])]
    one = jnp.uint32(0x3F800000)  # 1.0
    return jax.lax.bitcast_convert_type((bits & jnp.uint32(0x80000000)) | one, jnp.float32).reshape(shape)


def uniform(words: jax.Array) -> jax.Array:
    """Return numbers in 0..1."""
    return (words >> 8).astype(jnp.float32) * 2.0**-24


def _size(shape: tuple[int, ...]) -> int:
    n = 1
    for length in shape:
        n *= length
    return n


def drive(w: jax.Array, x: jax.Array) -> jax.Array:
    """Return [patterns, units, seeds] of weights [inputs + 1, units, seeds] and inputs, the seeds' own or not."""
    n, units, seeds = w.shape
    if n <= WRITTEN_OUT:
        g = w[-1]
        for j in range(n - 1):
            g = g + w[j] * (x[:, j, None, None] if x.ndim == 2 else x[:, j, None, :])
        return g
    if x.ndim == 2:
        return (x @ w[:-1].reshape(n - 1, -1)).reshape(len(x), units, seeds) + w[-1]
    return jnp.einsum("pjs,jis->pis", x, w[:-1]) + w[-1]


def outer(e: jax.Array, x: jax.Array) -> jax.Array:
    """Return the sum over patterns of a factor of every unit times every input and 1."""
    patterns, units, seeds = e.shape
    if x.shape[1] < WRITTEN_OUT:
        x = x[:, :, None] if x.ndim == 2 else x
        rows = [sum(e[p] * x[p, j] for p in range(patterns)) for j in range(x.shape[1])]
        return jnp.stack([*rows, sum(e[p] for p in range(patterns))])
    if x.ndim == 2:
        body = (x.T @ e.reshape(patterns, -1)).reshape(-1, units, seeds)
    else:
        body = jnp.einsum("pis,pjs->jis", e, x)
    return jnp.concatenate([body, e.sum(0)[None]])


class Patterns:
    """Networks that learn a table of patterns."""

    def __init__(self, problem: Problem, seeds: int) -> None:
        self.problem, self.seeds = problem, seeds
        shapes = [(n + 1, m, seeds) for n, m in zip(problem.layers[:-1], problem.layers[1:], strict=True)]
        self.shapes = {
            "weight_perturbation": shapes,
            "node_perturbation": [(problem.shown, shape[1], seeds) for shape in shapes],
            "reinforce": [(problem.shown, shape[1], seeds) for shape in shapes],
        }[problem.rule]
        keys = iter(jax.random.split(jax.random.key(1), 2 * len(shapes)))
        w = [jax.random.uniform(next(keys), shape, minval=-problem.init, maxval=problem.init) for shape in shapes]
        share = 1 if problem.rule == "reinforce" else 32
        words = [jax.random.bits(next(keys), (-(-_size(s[:-1]) // share), seeds), jnp.uint32) | 1 for s in self.shapes]
        self.state = w, jnp.full(seeds, jnp.nan), words, jnp.int32(0)
        table, targets = jnp.asarray(problem.x), jnp.asarray(problem.y)

        def body(_: int, state: Any) -> Any:
            w, baseline, words, at = state
            words = [xorshift(word) for word in words]
            x, y = (table[at][None], targets[at][None]) if problem.shown == 1 else (table, targets)
            delta, baseline, e = self.update(w, baseline, words, x, y[:, :, None])
            w = [v - (problem.eta * delta) * f for v, f in zip(w, e, strict=True)]
            return w, baseline, words, (at + problem.stride) % len(table)

        self.learn = jax.jit(lambda state, n: jax.lax.fori_loop(0, n, body, state), donate_argnums=0)

    def update(self, w: Arrays, baseline: jax.Array, words: Arrays, x: jax.Array, y: jax.Array) -> Any:
        """Return by what the cost differs from its baseline, the baseline, and eligibilities."""
        p = self.problem
        if p.rule == "reinforce":
            out, e = self.bernoulli(w, words, x)
            cost = jnp.sum((out - y) ** 2, (0, 1))
        else:
            xis = [signs(word, shape) for word, shape in zip(words, self.shapes, strict=True)]
            trial = self.weights if p.rule == "weight_perturbation" else self.nodes
            out, e = trial(w, xis, x, p.amplitude)
            cost = jnp.sum((out - y) ** 2, (0, 1))
            if p.pair == 2:
                out, f = trial(w, xis, x, -p.amplitude)
                other = jnp.sum((out - y) ** 2, (0, 1))
                mean = e if p.rule == "weight_perturbation" else [(g + h) / 2 for g, h in zip(e, f, strict=True)]
                return (cost - other) / 2, baseline, mean
        baseline = jnp.where(jnp.isnan(baseline), cost, baseline)
        return cost - baseline, baseline + p.baseline * (cost - baseline), e

    def weights(self, w: Arrays, xis: Arrays, x: jax.Array, amplitude: float) -> Any:
        """Return outputs with every weight perturbed, and its sign."""
        return self.outputs([v + amplitude * xi for v, xi in zip(w, xis, strict=True)], x), xis

    def nodes(self, w: Arrays, xis: Arrays, x: jax.Array, amplitude: float) -> Any:
        """Return outputs with every drive perturbed, and eligibilities."""
        e = []
        for v, xi, name in zip(w, xis, self.problem.activations, strict=True):
            e.append(outer(xi, x))
            x = ACTIVATIONS[name](drive(v, x) + amplitude * xi)
        return x, e

    def bernoulli(self, w: Arrays, words: Arrays, x: jax.Array) -> Any:
        """Return drawn states of the last layer, and eligibilities."""
        e = []
        for v, word, shape, name in zip(w, words, self.shapes, self.problem.activations, strict=True):
            p = ACTIVATIONS["logistic"](drive(v, x))
            state = (uniform(word).reshape(shape) < p).astype(jnp.float32)
            e.append(outer(state - p, x))
            x = 2 * state - 1 if name == "tanh" else state
        return x, e

    def outputs(self, w: Arrays, x: jax.Array) -> jax.Array:
        """Return the network's outputs, [patterns, outputs, seeds]; of REINFORCE the more probable ones."""
        for v, name in zip(w, self.problem.activations, strict=True):
            g = drive(v, x)
            x = ACTIVATIONS[name](g)
            if self.problem.rule == "reinforce":
                x = jnp.where(g > 0, 1.0, -1.0 if name == "tanh" else 0.0)
        return x

    def advance(self, n: int) -> tuple[int, int]:
        """Learn on by n updates."""
        self.state = jax.block_until_ready(self.learn(self.state, n))
        trials = n * self.problem.pair * self.seeds
        return trials * self.problem.shown, trials

    def cost(self) -> float:
        """Return the mean cost of an output."""
        x, y = self.problem.sample()
        return float(jnp.mean((self.outputs(self.state[0], jnp.asarray(x)) - y[:, :, None]) ** 2))


class CartPoles:
    """Carts with linear policies, each of which begins its next trial when its pole has fallen."""

    def __init__(self, problem: Problem, seeds: int) -> None:
        self.problem, self.seeds = problem, seeds
        keys = jax.random.split(jax.random.key(1), 3)
        zeros = jnp.zeros(seeds)
        start = tuple(jax.random.uniform(keys[0], (4, seeds), minval=-START, maxval=START))
        w = tuple(jax.random.uniform(keys[1], (5, seeds), minval=-problem.init, maxval=problem.init))
        words = jax.random.bits(keys[2], (seeds,), jnp.uint32) | 1
        # What perturbs weights, or the eligibility of perturbed drives.
        e = tuple(zeros + 1 for _ in range(5)) if problem.rule == "weight_perturbation" else (zeros,) * 5
        self.state = start, start, w, e, zeros + 1, zeros, zeros + jnp.nan, zeros, words, jnp.zeros(seeds, int)

        self.learn = jax.jit(lambda state, n: jax.lax.fori_loop(0, n, lambda _, s: self.step(s), state))

    def step(self, carry: Any) -> Any:
        """Advance every cart by a step, and end the trials that are over."""
        p = self.problem
        state, start, w, e, sign, first, baseline, t, words, trials = carry
        inputs = [jnp.clip(s * (1 / r), -1.0, 1.0) for s, r in zip(state, p.ranges, strict=True)] + [1.0]
        words = xorshift(words)
        if p.rule == "weight_perturbation":
            a = p.amplitude * sign
            g = sum((v + a * xi) * x for v, xi, x in zip(w, e, inputs, strict=True))
        else:
            xi = jnp.where(words >> 31 != 0, 1.0, -1.0)
            g = sum(v * x for v, x in zip(w, inputs, strict=True)) + p.amplitude * xi
            e = tuple(f + xi * x for f, x in zip(e, inputs, strict=True))
        x, v, theta, spin = state
        force = jnp.where(g >= 0, FORCE, -FORCE)
        cos, sin = jnp.cos(theta), jnp.sin(theta)
        temp = (force + MASS_POLE * LENGTH * spin * spin * sin) * (1 / MASS)
        turn = (GRAVITY * sin - cos * temp) / (LENGTH * (4 / 3 - MASS_POLE / MASS * cos * cos))
        push = temp - MASS_POLE * LENGTH / MASS * turn * cos
        state = x + TAU * v, v + TAU * push, theta + TAU * spin, spin + TAU * turn
        t = t + 1
        over = (jnp.abs(state[0]) > X_LIMIT) | (jnp.abs(state[2]) > THETA_LIMIT) | (t >= EPISODE)
        cost = -t
        if p.pair == 2:
            due = over & (sign < 0)
            delta = (first - cost) / 2
            first, sign = jnp.where(over, cost, first), jnp.where(over, -sign, sign)
        else:
            due = over
            baseline = jnp.where(over & jnp.isnan(baseline), cost, baseline)
            delta = cost - baseline
            baseline = jnp.where(over, baseline + p.baseline * delta, baseline)
        step = jnp.where(due, p.eta * delta, 0.0)
        w = tuple(v - step * f for v, f in zip(w, e, strict=True))
        words, start, e = self.begin(due, words, start, e)
        state = tuple(jnp.where(over, s, v) for s, v in zip(start, state, strict=True))
        return state, start, w, e, sign, first, baseline, jnp.where(over, 0.0, t), words, trials + over

    def begin(self, due: jax.Array, words: jax.Array, start: Any, e: Any) -> Any:
        """Draw what a trial begins with, where one is due."""
        more = xorshift(words)
        last = xorshift(more)
        halves = [more & 0xFFFF, more >> 16, last & 0xFFFF, last >> 16]
        drawn = [half.astype(jnp.float32) * (2 * START / 65536) - START for half in halves]
        if self.problem.rule == "weight_perturbation":
            fresh = [jnp.where((words >> (27 + k)) & 1 != 0, 1.0, -1.0) for k in range(5)]
        else:
            fresh = [jnp.float32(0.0)] * 5
        start = tuple(jnp.where(due, s, old) for s, old in zip(drawn, start, strict=True))
        return last, start, tuple(jnp.where(due, f, old) for f, old in zip(fresh, e, strict=True))

    def advance(self, n: int) -> tuple[int, int]:
        """Learn on by n steps."""
        before = int(self.state[-1].sum())
        self.state = jax.block_until_ready(self.learn(self.state, n))
        return n * self.seeds, int(self.state[-1].sum()) - before

    def cost(self) -> float:
        """Return nothing: the length of trials says it."""
        return 0.0


if __name__ == "__main__":
    serve(lambda p, seeds: (CartPoles if p.cartpole else Patterns)(p, seeds), f"JAX {jax.__version__}")
