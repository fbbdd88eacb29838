"""Back-propagation through a model of the plant: the control that needs what a board has not.

Everything is float64 and in real units: a sensor is -1..1, 4096 LSBs of a drive are 1, an output of identity is its
drive. The network is read out of a learner's block, and its weights go back into one, quantised, where the ordinary
kernels evaluate or go on learning them.

    network = Network.of_block(head, mem)
    cost, slope = gradient(network, model, steps)       mean cost of the model's episodes, and dC/dw
    descend(network, model, steps, updates=500)
    mem = network.into_block(mem)

A model is whatever stands between outputs and cost, with derivatives: targets (Targets), or a linear plant in closed
loop (Linear). Where it is the plant, the gradient is exact; where it is not, it is exact for something else.

Sources: Rumelhart, Hinton & Williams 1986; Werbos 1990 (through time); Riedmiller & Braun 1993 (Rprop).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from subsong_device import layout

Floats = NDArray[np.float64]

DRIVE_FRAC, SENSOR_FRAC = 12, 15
DRIVE_LIMIT = 8.0  # a drive is an int16, 1 LSB = 2**-12


# ------------------------------------------------------------------------------------------------- the network


def _logistic(g: Floats) -> Floats:
    return (1 + np.tanh(g / 2)) / 2


# A kind's output, and its slope told from drive and output.
_ACTIVATIONS: dict[int, tuple[Callable[[Floats], Floats], Callable[[Floats, Floats], Floats]]] = {
    layout.IDENTITY: (lambda g: g, lambda g, y: np.ones_like(g)),  # noqa: ARG005 - one shape for all
    layout.HARD_TANH: (lambda g: np.clip(g, -1, 1), lambda g, y: (np.abs(g) < 1).astype(np.float64)),  # noqa: ARG005
    layout.TANH: (np.tanh, lambda g, y: 1 - y * y),  # noqa: ARG005
    layout.LOGISTIC: (_logistic, lambda g, y: y * (1 - y)),  # noqa: ARG005
}


@dataclass
class Layer:
    """A layer.

    Attributes:
        weights: float64[n_out, n_in + 1], a unit's bias last, as in a block.
        kind: layout.IDENTITY and so on.
        own: 0 for a layer that is not recurrent; else its last n_out inputs are its outputs of the step before, times
            this. It is 1 but where words of 15 and of 12 fraction bits stand side by side: an identity layer hears
            itself at an eighth of what the sensors beside it count.
    """

    weights: Floats
    kind: int
    own: float

    @property
    def n_out(self) -> int:
        """Units."""
        return len(self.weights)


class _Pass(NamedTuple):
    """What a layer did in a step: inputs, drives before they saturate, outputs; each float64[episodes, n]."""

    x: Floats
    g: Floats
    y: Floats


@dataclass
class Network:
    """The network of a block, in float64.

    Attributes:
        layers: first to last.
        weight_frac: fraction bits of a weight's word.
        limit: the largest word.
    """

    layers: list[Layer]
    weight_frac: int
    limit: int

    @classmethod
    def of_block(cls, head: bytes, mem: bytes) -> "Network":
        """Read the network out of a learner's block: little-endian int32 and uint16 words."""
        h, m = np.frombuffer(head, "<i4"), np.frombuffer(mem, "<i2")
        at, layers = 0, []
        row = h[layout.LAYERS_AT : layout.LAYERS_AT + layout.LAYER_WORDS]
        # The host chose the drive shift as weight_frac + input fraction - product shift - 12.
        shifts = row[layout.DRIVE_SHIFT] + row[layout.PRODUCT_SHIFT] - row[layout.INPUT_FRAC]
        weight_frac = int(shifts) + DRIVE_FRAC
        for k in range(int(h[layout.N_LAYERS])):
            row = h[layout.LAYERS_AT + k * layout.LAYER_WORDS :][: layout.LAYER_WORDS].tolist()
            n_in, n_out = row[layout.N_IN], row[layout.N_OUT]
            words = m[at : at + (n_in + 1) * n_out].reshape(n_out, n_in + 1)
            frac = DRIVE_FRAC if row[layout.ACTIVATION] == layout.IDENTITY else SENSOR_FRAC
            own = 2.0 ** (frac - row[layout.INPUT_FRAC]) if row[layout.RECURRENT] else 0.0
            layers.append(Layer(words * 2.0**-weight_frac, row[layout.ACTIVATION], own))
            at += words.size
        return cls(layers, weight_frac, int(h[layout.LIMIT]))

    def into_block(self, mem: bytes) -> bytes:
        """Return mem with this network's weights: to the nearest word, clipped to +-LIMIT."""
        m = np.frombuffer(mem, "<i2").copy()
        words = np.clip(np.rint(self.weights * 2.0**self.weight_frac), -self.limit, self.limit)
        m[: words.size] = words
        return m.tobytes()

    @property
    def weights(self) -> Floats:
        """All weights in the order of a block: layer after layer, unit after unit, its bias last."""
        return np.concatenate([layer.weights.ravel() for layer in self.layers])

    @weights.setter
    def weights(self, values: Floats) -> None:
        at = 0
        for layer in self.layers:
            size = layer.weights.size
            layer.weights = values[at : at + size].reshape(layer.weights.shape).copy()
            at += size

    def step(self, sensors: Floats, before: Sequence[_Pass]) -> list[_Pass]:
        """Run one step of all episodes.

        Args:
            sensors: float64[episodes, n].
            before: what the layers did in the step before; nothing at first.
        """
        passes: list[_Pass] = []
        signal = sensors
        for k, layer in enumerate(self.layers):
            own = [layer.own * before[k].y if before else np.zeros((len(signal), layer.n_out))] if layer.own else []
            x = np.concatenate([signal, *own, np.ones((len(signal), 1))], axis=1)
            g = x @ layer.weights.T
            signal = _ACTIVATIONS[layer.kind][0](np.clip(g, -DRIVE_LIMIT, DRIVE_LIMIT))
            passes.append(_Pass(x, g, signal))
        return passes

    def back(self, passes: Sequence[_Pass], d_out: Floats, d_own: list[Floats], slopes: list[Floats]) -> Floats:
        """Go back through one step.

        Args:
            passes: of step().
            d_out: slope of the cost along the last layer's outputs.
            d_own: along each layer's outputs as the next step's inputs; replaced by that along the step before's.
            slopes: of every layer's weights; added to.

        Returns:
            The slope along the sensors.
        """
        d_y = d_out
        for k in reversed(range(len(self.layers))):
            layer, (x, g, y) = self.layers[k], passes[k]
            if layer.own:
                d_y = d_y + d_own[k]
            d_g = d_y * _ACTIVATIONS[layer.kind][1](g, y) * (np.abs(g) < DRIVE_LIMIT)
            slopes[k] += d_g.T @ x
            d_x = d_g @ layer.weights
            n_below = x.shape[1] - 1 - (layer.n_out if layer.own else 0)
            d_own[k] = layer.own * d_x[:, n_below:-1]
            d_y = d_x[:, :n_below]
        return d_y


# ------------------------------------------------------------------------------------------------- models


class Model(Protocol):
    """What lies between outputs and cost, for many episodes at once; a state is float64[episodes, n]."""

    def start(self) -> Floats:
        """Return the states that the episodes begin in."""
        ...

    def sense(self, t: int, state: Floats) -> Floats:
        """Return the sensors, -1..1."""
        ...

    def sense_back(self, t: int, state: Floats, d_sensors: Floats) -> Floats:
        """Return the slope along the state, given that along the sensors."""
        ...

    def act(self, t: int, state: Floats, u: Floats) -> tuple[Floats, Floats]:
        """Take the outputs; return the step's costs, float64[episodes], and the next states."""
        ...

    def act_back(self, t: int, state: Floats, u: Floats, d_next: Floats) -> tuple[Floats, Floats]:
        """Return the slopes of (the step's cost + what lies behind the next state) along the state and along u."""
        ...


@dataclass
class Targets:
    """No plant: inputs are given, and a step costs weight[t] times the squared distance of outputs from targets.

    Patterns, letters and the linear teacher are episodes of one step; temporally extended tasks, and tasks with a
    memory, have more.

    Attributes:
        inputs: float64[episodes, steps, n].
        targets: float64[episodes, steps, m].
        weight: float64[steps]; 1 where left out.
    """

    inputs: Floats
    targets: Floats
    weight: Floats = field(default_factory=lambda: np.zeros(0))

    def start(self) -> Floats:
        """Return states without content."""
        return np.zeros((len(self.inputs), 0))

    def sense(self, t: int, state: Floats) -> Floats:
        """Return the step's inputs."""
        del state
        return self.inputs[:, t]

    def sense_back(self, t: int, state: Floats, d_sensors: Floats) -> Floats:
        """Return nothing: inputs are given."""
        del t, d_sensors
        return np.zeros_like(state)

    def act(self, t: int, state: Floats, u: Floats) -> tuple[Floats, Floats]:
        """Return the squared distances."""
        error = u - self.targets[:, t]
        return self._weight(t) * (error * error).sum(axis=1), state

    def act_back(self, t: int, state: Floats, u: Floats, d_next: Floats) -> tuple[Floats, Floats]:
        """Return twice the distances."""
        del d_next
        return np.zeros_like(state), 2 * self._weight(t) * (u - self.targets[:, t])

    def _weight(self, t: int) -> float:
        return float(self.weight[t]) if len(self.weight) else 1.0


@dataclass
class Linear:
    """A linear plant under quadratic cost: s' = A s + B v + noise, a step costs s'Qs + v'Rv, v = drive * u.

    Attributes:
        a, b, q, r: float64[n, n], [n, m], [n, n], [m, m]; q and r symmetric.
        starts: float64[episodes, n].
        noise: float64[episodes, steps, n]: what chance adds, drawn once, so that a gradient is one of a function.
        sense_gain: sensor words are clipped, states here are not: the sensor is sense_gain * s.
        drive: the plant's input for an output of 1.
    """

    a: Floats
    b: Floats
    q: Floats
    r: Floats
    starts: Floats
    noise: Floats
    sense_gain: float = 1.0
    drive: float = 1.0

    def start(self) -> Floats:
        """Return the states that the episodes begin in."""
        return self.starts

    def sense(self, t: int, state: Floats) -> Floats:
        """Return the state, scaled."""
        del t
        return self.sense_gain * state

    def sense_back(self, t: int, state: Floats, d_sensors: Floats) -> Floats:
        """Return the slope along the state."""
        del t, state
        return self.sense_gain * d_sensors

    def act(self, t: int, state: Floats, u: Floats) -> tuple[Floats, Floats]:
        """Return the quadratic costs and the next states."""
        v = self.drive * u
        costs = np.einsum("ei,ij,ej->e", state, self.q, state) + np.einsum("ei,ij,ej->e", v, self.r, v)
        return costs, state @ self.a.T + v @ self.b.T + self.noise[:, t]

    def act_back(self, t: int, state: Floats, u: Floats, d_next: Floats) -> tuple[Floats, Floats]:
        """Return the slopes along the state and along u."""
        del t
        d_v = 2 * (self.drive * u) @ self.r + d_next @ self.b
        return 2 * state @ self.q + d_next @ self.a, self.drive * d_v


# ------------------------------------------------------------------------------------------------- learning


def evaluate(network: Network, model: Model, steps: int) -> float:
    """Return the mean over the episodes of the cost of all steps."""
    total = 0.0
    state = model.start()
    passes: list[_Pass] = []
    for t in range(steps):
        passes = network.step(model.sense(t, state), passes)
        costs, state = model.act(t, state, passes[-1].y)
        total += float(costs.mean())
    return total


def gradient(network: Network, model: Model, steps: int) -> tuple[float, Floats]:
    """Return evaluate()'s cost and its slope along network.weights, by going through all steps and back."""
    states = [model.start()]
    tape: list[list[_Pass]] = []
    total = 0.0
    for t in range(steps):
        tape.append(network.step(model.sense(t, states[t]), tape[-1] if tape else ()))
        costs, after = model.act(t, states[t], tape[t][-1].y)
        states.append(after)
        total += float(costs.mean())
    slopes = [np.zeros_like(layer.weights) for layer in network.layers]
    d_next = np.zeros_like(states[-1])
    d_own = [np.zeros((len(d_next), layer.n_out if layer.own else 0)) for layer in network.layers]
    for t in reversed(range(steps)):
        d_state, d_u = model.act_back(t, states[t], tape[t][-1].y, d_next)
        d_next = d_state + model.sense_back(t, states[t], network.back(tape[t], d_u, d_own, slopes))
    return total, np.concatenate([slope.ravel() for slope in slopes]) / len(d_next)


def descend(network: Network, model: Model, steps: int, updates: int, stop: float = -np.inf) -> list[float]:
    """Go down the gradient, within the words that weights can be, and leave the best weights that were seen.

    Rprop: every weight has a step of its own, which grows while its slope keeps its sign and is halved when that turns.
    Only signs count, so a loop that is unstable at first, where slopes are huge, needs no other rate than one at rest.

    Args:
        network: changed.
        model: of gradient(); it draws nothing anew, so that every update sees the same function.
        steps: of gradient().
        updates: at most.
        stop: a cost to stop at.

    Returns:
        The cost before every update.
    """
    most = network.limit * 2.0**-network.weight_frac
    costs: list[float] = []
    best, kept = np.inf, network.weights
    step = np.full_like(kept, 0.02)
    before = np.zeros_like(kept)
    for _ in range(updates):
        cost, slope = gradient(network, model, steps)
        costs.append(cost)
        if cost < best:
            best, kept = cost, network.weights
        if cost <= stop:
            break
        turned = slope * before
        step = np.clip(np.where(turned > 0, 1.2 * step, np.where(turned < 0, 0.5 * step, step)), 1e-7, 1.0)
        before = np.where(turned < 0, 0.0, slope)
        network.weights = np.clip(network.weights - np.sign(before) * step, -most, most)
    network.weights = kept
    return costs
