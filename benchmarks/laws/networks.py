"""XOR and the 7x7-A letters in float64: sigmoid networks with one hidden layer, one sample an update.

Every update is two presentations of one sample, drawn at random: unperturbed, then perturbed. The cost is the sum over
outputs of (y - y*)**2, and

    dw = -eta (C - C_0) e,    e = xi / sigma (weights)  or  xi_i x_j / sigma (nodes, the perturbed pass's x_j)

MGD's convention divides a rate by the number of parameters: the published eta 5 is `mgd_rate(5, ...)` here.
Source: McCaughan et al., "Multiplexed gradient descent", APL Machine Learning 1, 026118 (2023).
"""

from itertools import combinations
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from laws.draws import below, signs, stream, uniform
from laws.formulas import Rule

Floats = NDArray[np.float64]

GLYPHS = (
    "10001 11001 10101 10011 10001",
    "01110 00100 00100 00100 01110",
    "01111 10000 01110 00001 11110",
    "11111 00100 00100 00100 00100",
)


def xor_task() -> tuple[Floats, Floats]:
    """Return the four patterns float64[4, 2] and targets float64[4, 1], all of 0 and 1."""
    patterns = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    return patterns, np.array([[0.0], [1.0], [1.0], [0.0]])


def letters_task() -> tuple[Floats, Floats]:
    """Return the 7x7-A surrogate: 44,136 images float64[44136, 49] and one-hot targets float64[44136, 4].

    The letters N, I, S, T at the 9 shifts of a 5x5 glyph in a 7x7 field, with every flip of at most 2 pixels.
    """
    flips = [(), *combinations(range(49), 1), *combinations(range(49), 2)]
    masks = np.zeros((len(flips), 49), dtype=bool)
    for row, flip in zip(masks, flips, strict=True):
        row[list(flip)] = True
    images, targets = [], []
    for k, glyph in enumerate(GLYPHS):
        bits = np.array([[c == "1" for c in line] for line in glyph.split()])
        for top in range(3):
            for left in range(3):
                field = np.zeros((7, 7), dtype=bool)
                field[top : top + 5, left : left + 5] = bits
                images.append(field.ravel() ^ masks)
                targets.append(np.tile(np.eye(4)[k], (len(masks), 1)))
    return np.concatenate(images).astype(float), np.concatenate(targets)


class Networks(NamedTuple):
    """What a batch of runs came to.

    Attributes:
        updates: until the criterion, int64[seeds]; -1 where it was not reached.
        mse: mean over patterns and outputs of (y - y*)**2 at the end, float64[seeds].
        accuracy: share of patterns whose largest output is the target's, at the end, float64[seeds].
    """

    updates: NDArray[np.int64]
    mse: Floats
    accuracy: Floats


def parameters(task: tuple[Floats, Floats], hidden: int) -> int:
    """Return how many weights and biases a network for this task has."""
    return int(hidden * (task[0].shape[1] + 1) + task[1].shape[1] * (hidden + 1))


def mgd_rate(eta: float, task: tuple[Floats, Floats], hidden: int) -> float:
    """Return the rate that MGD's authors write as eta."""
    return eta / parameters(task, hidden)


def train(
    rule: Rule,
    task: tuple[Floats, Floats],
    hidden: int,
    eta: float,
    seeds: int,
    updates: int,
    *,
    sigma: float = 0.01,
    init: float = 1.0,
    stop: float = 0.0,
    look: int = 1,
    first_seed: int = 0,
    in_turn: bool = False,
    limit: float = np.inf,
    late: float = 1.0,
) -> Networks:
    """Train a batch of networks, seeds in parallel.

    Args:
        rule: "node" (every unit's drive) or "weight" (every weight and bias).
        task: patterns and targets.
        hidden: units of the hidden layer.
        eta: the rate.
        seeds: runs.
        updates: at most; each is two presentations.
        sigma: size of the random-sign perturbation.
        init: initial weights and biases are uniform in +-init.
        stop: end a run when its mean squared error over all patterns is below this, looked at
        look: every this many updates, and at the end.
        first_seed: of the runs.
        in_turn: patterns come one after the other, as on the board, and not at random.
        limit: weights and biases are kept within +-limit.
        late: what the rate is multiplied by in the second half of the updates.
    """
    patterns, targets = task
    reached = np.full(seeds, -1)
    mse, accuracy = np.empty(seeds), np.empty(seeds)
    _train(
        rule == "weight", patterns, targets, hidden, eta, updates, sigma, init, stop, look, in_turn, limit, late,
        first_seed, reached, mse, accuracy,
    )  # fmt: skip
    return Networks(reached, mse, accuracy)


@numba.njit(fastmath=True)
def _forward(w, x, hidden, xi, amount, h, y):
    """Run the network; amount * xi is added to the drives if amount != 0, hidden units' first."""
    n = x.size
    at = 0
    for i in range(hidden):
        g = w[at + n]
        for j in range(n):
            g += w[at + j] * x[j]
        at += n + 1
        if amount != 0.0:
            g += amount * xi[i]
        h[i] = 1.0 / (1.0 + np.exp(-g))
    for i in range(y.size):
        g = w[at + hidden]
        for j in range(hidden):
            g += w[at + j] * h[j]
        at += hidden + 1
        if amount != 0.0:
            g += amount * xi[hidden + i]
        y[i] = 1.0 / (1.0 + np.exp(-g))


@numba.njit
def _squares(y, target):
    total = 0.0
    for i in range(y.size):
        total += (y[i] - target[i]) ** 2
    return total


@numba.njit
def _judge(w, patterns, targets, hidden, h, y):
    """Return the mean squared error and the share of patterns that are classified rightly."""
    total = 0.0
    right = 0
    for p in range(patterns.shape[0]):
        _forward(w, patterns[p], hidden, h, 0.0, h, y)
        total += _squares(y, targets[p])
        if np.argmax(y) == np.argmax(targets[p]):
            right += 1
    return total / targets.size, right / patterns.shape[0]


@numba.njit(parallel=True)
def _train(
    weight, patterns, targets, hidden, rate, updates, sigma, init, stop, look, in_turn, limit, late, first_seed,
    reached, mse, accuracy,
):  # fmt: skip
    n = patterns.shape[1]
    for run in numba.prange(reached.size):
        state = stream(first_seed + run, 3)
        w = np.empty(hidden * (n + 1) + targets.shape[1] * (hidden + 1))
        for k in range(w.size):
            w[k] = init * (2.0 * uniform(state) - 1.0)
        v = np.empty(w.size)
        h = np.empty(hidden)
        y = np.empty(targets.shape[1])
        xi = np.empty(w.size if weight else hidden + y.size)
        for t in range(updates):
            now = rate if 2 * t < updates else rate * late
            p = t % patterns.shape[0] if in_turn else below(state, patterns.shape[0])
            x = patterns[p]
            signs(state, xi)
            _forward(w, x, hidden, xi, 0.0, h, y)
            cost = _squares(y, targets[p])
            if weight:
                for k in range(w.size):
                    v[k] = w[k] + sigma * xi[k]
                _forward(v, x, hidden, xi, 0.0, h, y)
                step = now * (_squares(y, targets[p]) - cost) / sigma
                for k in range(w.size):
                    w[k] -= step * xi[k]
            else:
                _forward(w, x, hidden, xi, sigma, h, y)
                step = now * (_squares(y, targets[p]) - cost) / sigma
                at = 0
                for i in range(hidden):
                    for j in range(n):
                        w[at + j] -= step * xi[i] * x[j]
                    w[at + n] -= step * xi[i]
                    at += n + 1
                for i in range(y.size):
                    for j in range(hidden):
                        w[at + j] -= step * xi[hidden + i] * h[j]
                    w[at + hidden] -= step * xi[hidden + i]
                    at += hidden + 1
            for k in range(w.size):
                w[k] = min(max(w[k], -limit), limit)
            if stop > 0.0 and (t + 1) % look == 0:
                if _judge(w, patterns, targets, hidden, h, y)[0] < stop:
                    reached[run] = t + 1
                    break
        mse[run], accuracy[run] = _judge(w, patterns, targets, hidden, h, y)
