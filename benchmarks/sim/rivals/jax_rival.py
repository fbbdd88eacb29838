"""Subsong's learners as JAX's documentation would have them: one seed's program, then jit and vmap over seeds."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from problem import EPISODE, FORCE, GRAVITY, LENGTH, MASS, MASS_POLE, START, TAU, THETA_LIMIT, X_LIMIT, Problem, serve

ACTIVATIONS = {"identity": lambda g: g, "tanh": jnp.tanh, "logistic": jax.nn.sigmoid}
Params = list[jax.Array]


def init(problem: Problem, key: jax.Array) -> Params:
    """Return weights, [units, inputs + 1] a layer."""
    shapes = [(m, n + 1) for n, m in zip(problem.layers[:-1], problem.layers[1:], strict=True)]
    keys = jax.random.split(key, len(shapes))
    return [
        jax.random.uniform(k, shape, minval=-problem.init, maxval=problem.init)
        for k, shape in zip(keys, shapes, strict=True)
    ]


def signs_like(key: jax.Array, shapes: list[tuple[int, ...]]) -> Params:
    """Return random signs of these shapes."""
    keys = jax.random.split(key, len(shapes))
    return [jax.random.rademacher(k, shape, jnp.float32) for k, shape in zip(keys, shapes, strict=True)]


def drive(w: jax.Array, x: jax.Array) -> jax.Array:
    """Return the drives of a layer, [patterns, units]."""
    return x @ w[:, :-1].T + w[:, -1]


def outer(e: jax.Array, x: jax.Array) -> jax.Array:
    """Return the sum over patterns of e times the inputs and 1."""
    return jnp.concatenate([e.T @ x, e.sum(0)[:, None]], axis=1)


def outputs(problem: Problem, w: Params, x: jax.Array) -> jax.Array:
    """Return the network's outputs, [patterns, outputs]."""
    for weights, name in zip(w, problem.activations, strict=True):
        x = ACTIVATIONS[name](drive(weights, x))
    return x


def reinforce(problem: Problem, w: Params, x: jax.Array, key: jax.Array | None) -> tuple[jax.Array, Params]:
    """Return states of the last layer, drawn or the more probable ones, and eligibilities."""
    eligibilities = []
    for weights, name in zip(w, problem.activations, strict=True):
        p = jax.nn.sigmoid(drive(weights, x))
        if key is None:
            state = (p > 0.5).astype(jnp.float32)
        else:
            key, k = jax.random.split(key)
            state = jax.random.bernoulli(k, p).astype(jnp.float32)
        eligibilities.append(outer(state - p, x))
        x = 2 * state - 1 if name == "tanh" else state
    return x, eligibilities


def perturbed(problem: Problem, w: Params, x: jax.Array, xis: Params, amplitude: float) -> tuple[jax.Array, Params]:
    """Return outputs with every drive perturbed, and eligibilities."""
    eligibilities = []
    for weights, xi, name in zip(w, xis, problem.activations, strict=True):
        eligibilities.append(outer(xi, x))
        x = ACTIVATIONS[name](drive(weights, x) + amplitude * xi)
    return x, eligibilities


def update(problem: Problem, w: Params, baseline: jax.Array, key: jax.Array, x: jax.Array, y: jax.Array) -> Any:
    """Return weights and baseline after an update of one seed."""

    def error(out: jax.Array) -> jax.Array:
        return jnp.sum((out - y) ** 2)

    a = problem.amplitude
    if problem.rule == "weight_perturbation":
        eligibilities = signs_like(key, [v.shape for v in w])
        up, down = (
            error(outputs(problem, [v + s * a * e for v, e in zip(w, eligibilities, strict=True)], x)) for s in (1, -1)
        )
        delta = (up - down) / 2
    elif problem.rule == "node_perturbation" and problem.pair == 2:
        xis = signs_like(key, [(len(x), v.shape[0]) for v in w])
        (up, e), (down, f) = (perturbed(problem, w, x, xis, s * a) for s in (1, -1))
        delta = (error(up) - error(down)) / 2
        eligibilities = [(g + h) / 2 for g, h in zip(e, f, strict=True)]
    else:
        if problem.rule == "node_perturbation":
            out, eligibilities = perturbed(problem, w, x, signs_like(key, [(len(x), v.shape[0]) for v in w]), a)
        else:
            out, eligibilities = reinforce(problem, w, x, key)
        cost = error(out)
        baseline = jnp.where(jnp.isnan(baseline), cost, baseline)
        delta = cost - baseline
        baseline = baseline + problem.baseline * delta
    return [v - problem.eta * delta * e for v, e in zip(w, eligibilities, strict=True)], baseline


class Patterns:
    """Networks that learn a table of patterns."""

    def __init__(self, problem: Problem, seeds: int) -> None:
        self.problem, self.seeds = problem, seeds
        keys = jax.random.split(jax.random.key(1), seeds)
        w = jax.vmap(partial(init, problem))(keys)
        self.state = w, jnp.full(seeds, jnp.nan), jax.vmap(jax.random.split, out_axes=1)(keys)[1], jnp.zeros(seeds, int)
        table, targets = jnp.asarray(problem.x), jnp.asarray(problem.y)

        def learn(state: Any, n: int) -> Any:
            def body(_: int, state: Any) -> Any:
                w, baseline, key, at = state
                key, k = jax.random.split(key)
                x, y = (table[at][None], targets[at][None]) if problem.shown == 1 else (table, targets)
                w, baseline = update(problem, w, baseline, k, x, y)
                return w, baseline, key, (at + problem.stride) % len(table)

            return jax.lax.fori_loop(0, n, body, state)

        self.learn = jax.jit(jax.vmap(learn, in_axes=(0, None)))

    def advance(self, n: int) -> tuple[int, int]:
        """Learn on by n updates."""
        self.state = jax.block_until_ready(self.learn(self.state, n))
        trials = n * self.problem.pair * self.seeds
        return trials * self.problem.shown, trials

    def cost(self) -> float:
        """Return the mean cost of an output."""
        x, y = self.problem.sample()

        def of(w: Params) -> jax.Array:
            out = (
                reinforce(self.problem, w, x, None)[0]
                if self.problem.rule == "reinforce"
                else outputs(self.problem, w, x)
            )
            return jnp.mean((out - y) ** 2)

        return float(jax.vmap(of)(self.state[0]).mean())


def plant(state: jax.Array, right: jax.Array) -> jax.Array:
    """Return the cart's state a step later."""
    x, v, theta, spin = state
    force = jnp.where(right, FORCE, -FORCE)
    cos, sin = jnp.cos(theta), jnp.sin(theta)
    temp = (force + MASS_POLE * LENGTH * spin**2 * sin) / MASS
    turn = (GRAVITY * sin - cos * temp) / (LENGTH * (4 / 3 - MASS_POLE * cos**2 / MASS))
    push = temp - MASS_POLE * LENGTH * turn * cos / MASS
    return jnp.stack([x + TAU * v, v + TAU * push, theta + TAU * spin, spin + TAU * turn])


def episode(problem: Problem, w: jax.Array, amplitude: float, start: jax.Array, key: jax.Array) -> tuple[Any, Any]:
    """Run a trial of one seed with a linear policy, its drive perturbed by `amplitude`.

    Returns:
        The trial's length and the eligibility of the weights.
    """
    ranges = jnp.array(problem.ranges)

    def step(carry: Any) -> Any:
        state, t, e, key = carry
        x = jnp.append(jnp.clip(state / ranges, -1, 1), 1.0)
        g = w @ x
        if amplitude:
            key, k = jax.random.split(key)
            xi = jax.random.rademacher(k, (), jnp.float32)
            g, e = g + amplitude * xi, e + xi * x
        return plant(state, g >= 0), t + 1, e, key

    def up(carry: Any) -> Any:
        state, t, _e, _key = carry
        return (jnp.abs(state[0]) <= X_LIMIT) & (jnp.abs(state[2]) <= THETA_LIMIT) & (t < EPISODE)

    _state, t, e, _key = jax.lax.while_loop(up, step, (start, 0, jnp.zeros(5), key))
    return t, e


class CartPoles:
    """Carts with linear policies; all wait for the last pole to fall."""

    def __init__(self, problem: Problem, seeds: int) -> None:
        self.problem, self.seeds = problem, seeds
        keys = jax.random.split(jax.random.key(1), seeds)
        self.state = jax.vmap(partial(init, problem))(keys)[0][:, 0], jnp.full(seeds, jnp.nan), keys

        def body(_: int, carry: Any) -> Any:
            w, baseline, key, steps = carry
            key, k, draw = jax.random.split(key, 3)
            start = jax.random.uniform(k, (4,), minval=-START, maxval=START)
            if problem.rule == "weight_perturbation":
                e = jax.random.rademacher(draw, (5,), jnp.float32)
                xi = problem.amplitude * e
                up, down = (episode(problem, w + s * xi, 0.0, start, draw)[0] for s in (1, -1))
                delta = (down - up) / 2  # a step costs -1
                steps = steps + up + down
            else:
                t, e = episode(problem, w, problem.amplitude, start, draw)
                cost = -t.astype(jnp.float32)
                baseline = jnp.where(jnp.isnan(baseline), cost, baseline)
                delta = cost - baseline
                baseline = baseline + problem.baseline * delta
                steps = steps + t
            return w - problem.eta * delta * e, baseline, key, steps

        def learn(state: Any, n: int) -> Any:
            return jax.lax.fori_loop(0, n, body, (*state, 0))

        self.learn = jax.jit(jax.vmap(learn, in_axes=(0, None)))

    def advance(self, n: int) -> tuple[int, int]:
        """Learn on by n / 100 updates."""
        n = max(1, n // 100)
        *state, steps = jax.block_until_ready(self.learn(self.state, n))
        self.state = tuple(state)
        return int(steps.sum()), n * self.problem.pair * self.seeds

    def cost(self) -> float:
        """Return nothing: the length of trials says it."""
        return 0.0


if __name__ == "__main__":
    serve(lambda p, seeds: (CartPoles if p.cartpole else Patterns)(p, seeds), f"JAX {jax.__version__}")
