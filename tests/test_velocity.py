"""Updates gathered before the weights move, and momentum: sums and float64 say what the weights do, within rounding."""

import math
import random

import numpy as np
import pytest

from cases import Setup
from codes_setup import block_of, experiment_of
from subsong.block import Block, build_block
from subsong_device import layout
from subsong_sim.engines import LocalLearner
from subsong_sim.trials import TaskTrials

WP, NP = "weight_perturbation", "node_perturbation"
X = (20000, -9000, 32767)


def learner_of(block: Block, engine: str = "cpython") -> LocalLearner:
    return LocalLearner(block.rule, block.head, block.mem, engine)


def weights(learner: LocalLearner) -> np.ndarray:
    n = int(learner.head[layout.N_WEIGHTS])
    return np.array([(int(w) ^ 0x8000) - 0x8000 for w in learner.mem[:n]], float)


def velocity(learner: LocalLearner) -> np.ndarray:
    n = int(learner.head[layout.N_WEIGHTS])
    return np.array(list(learner.head)[-n:], float) / 2**12


def pair(learner: LocalLearner, n: int, first: int, second: int, x: tuple[int, ...] = X) -> None:
    """Play two trials of one step."""
    for k, cost in enumerate((first, second)):
        learner.begin(2 * n + k, False)
        learner.act(0, x)
        learner.end(cost)


def setup_of(rule: str, **more: object) -> Setup:
    """Return a set-up whose updates are some tenths of an LSB."""
    shift = 13 if rule == WP else 11
    return Setup(**{"rule": rule, "layers": (3, 2), "rate": 5, "rate_shift": shift, "seed": 4, "init": 0, **more})


def exact_updates(setup: Setup, costs: list[tuple[int, int]], code: str) -> np.ndarray:
    """Return, pair by pair, what each weight is to lose: from steps 2**rate_shift as large, taken back each time."""
    fine = Setup(**{**vars(setup), "rate_shift": 0})
    learner = learner_of(block_of(fine, code=code))
    found = []
    for n, (first, second) in enumerate(costs):
        pair(learner, n, first, second)
        found.append(-weights(learner) * 2.0**-setup.rate_shift)
        learner.mem[: fine.n_weights] = type(learner.mem)("H", [0] * fine.n_weights)
    return np.array(found)


def costs_of(n: int, size: int, seed: int) -> list[tuple[int, int]]:
    rng = random.Random(seed)
    return [(rng.randint(-size, size), rng.randint(-size, size)) for _ in range(n)]


@pytest.mark.parametrize("code", ['"random"', '"walsh_hadamard"', '"one_at_a_time"'])
@pytest.mark.parametrize("rule", [WP, NP])
def test_a_move_after_tau_updates_is_their_sum(rule: str, code: str) -> None:
    """Within the roundings: of each update to 2**-12 of an LSB, of the move to one; and nothing moves before."""
    setup, tau = setup_of(rule), 16
    costs = costs_of(3 * tau, 3000, 1)
    exact = exact_updates(setup, costs, code)
    learner = learner_of(block_of(setup, code=code, tau=tau))
    moved = np.zeros(setup.n_weights)
    for n, (first, second) in enumerate(costs):
        before = weights(learner)
        pair(learner, n, first, second)
        assert learner.head[layout.WAITING] == (n + 1) % tau
        gathered = exact[n // tau * tau : n + 1].sum(axis=0)
        if (n + 1) % tau:
            assert (weights(learner) == before).all()
            assert np.abs(velocity(learner) - gathered).max() <= (n % tau + 1) * (2**-12 + 2.0**-setup.rate_shift)
        else:
            assert (velocity(learner) == 0).all()
            moved = before - weights(learner)
            assert np.abs(moved - gathered).max() < 1 + tau * (2**-12 + 2.0**-setup.rate_shift)
    assert np.abs(moved).max() >= 1


@pytest.mark.parametrize("rule", [WP, NP])
def test_gathered_or_not_the_mean_move_is_the_same(rule: str) -> None:
    """Over the seeds of the rounding, updates of less than an LSB: 8 at once move as 8 by themselves do."""
    setup = setup_of(rule)
    costs = costs_of(8, 300, 2)
    exact = exact_updates(setup, costs, '"random"').sum(axis=0)
    rng = np.random.default_rng(3)
    for tau in (1, 8):
        moves = []
        learner = learner_of(block_of(setup, tau=tau))
        start = list(learner.head[layout.PERTURBATION : layout.PERTURBATION + 2])
        for _ in range(400):
            for k in range(2):
                learner.head[layout.PERTURBATION + k] = start[k]
                learner.head[layout.ROUNDING + k] = int(rng.integers(1, 65536))
            learner.mem[: setup.n_weights] = type(learner.mem)("H", [0] * setup.n_weights)
            for n, (first, second) in enumerate(costs):
                pair(learner, n, first, second)
            moves.append(-weights(learner))
        error = np.std(moves, axis=0, ddof=1) / 20 + 1e-9
        assert (np.abs(np.mean(moves, axis=0) - exact) < 4.5 * error + 2**-9).all(), tau


@pytest.mark.parametrize(("tau", "shift"), [(1, 1), (1, 3), (4, 2)])
@pytest.mark.parametrize("rule", [WP, NP])
def test_momentum_follows_its_float64_reference(rule: str, tau: int, shift: int) -> None:
    """w -= v; v -= v * 2**-shift, after every tau updates: without drift, over updates far below and above one LSB."""
    for size in (3, 3000):
        setup = setup_of(rule, layers=(3, 12), activations=("identity",), seed=size)
        n = 240
        costs = costs_of(n, size, 5)
        exact = exact_updates(setup, costs, '"random"')
        learner = learner_of(block_of(setup, tau=tau, momentum_shift=shift))
        w, v = np.zeros(setup.n_weights), np.zeros(setup.n_weights)
        for k, (first, second) in enumerate(costs):
            pair(learner, k, first, second)
            v += exact[k]
            if (k + 1) % tau == 0:
                w -= v
                v -= v * 2.0**-shift
        error = weights(learner) - w
        # Each move is rounded by at most one LSB, of a variance of at most 1/4.
        moves = n / tau
        assert np.abs(error).max() < 4.5 * 0.5 * math.sqrt(moves) + 1e-3 * np.abs(w).max()
        assert abs(error.mean()) < 4.5 * 0.5 * math.sqrt(moves / len(w)) + 1e-3 * np.abs(w).max()
        assert np.abs(velocity(learner) - v).max() < 0.1 + 1e-3 * np.abs(v).max()
    assert np.abs(w).max() > 10


@pytest.mark.parametrize("rule", [WP, NP])
def test_a_cost_that_ignores_the_perturbation_moves_nothing_on_average(rule: str) -> None:
    """With a velocity as without; every pair's second trial costs 900 counts more."""
    setup = setup_of(rule, rate_shift=10 if rule == WP else 11)
    learner = learner_of(block_of(setup, tau=3, momentum_shift=2), "native")
    rng = random.Random(7)
    runs = []
    for _ in range(150):
        learner.mem[: setup.n_weights] = 0
        learner.head[-setup.n_weights :] = 0
        for n in range(12):
            pair(learner, n, rng.randint(-90, 90), 900 + rng.randint(-90, 90), tuple(rng.choices(range(32767), k=3)))
        runs.append(weights(learner))
    moves = np.array(runs)
    z = moves.mean(axis=0) / (moves.std(axis=0, ddof=1) / math.sqrt(len(moves)))
    assert np.abs(moves).mean() > 1
    assert np.abs(z).max() < 4


@pytest.mark.parametrize("rule", [WP, NP])
def test_one_altered_bit_of_what_waits_alters_the_checksum(rule: str) -> None:
    block = block_of(setup_of(rule), tau=5)

    def check(at: int, bit: int) -> int:
        learner = learner_of(block)
        pair(learner, 0, 900, -900)
        value = int(learner.head[at]) & 0xFFFFFFFF ^ bit
        learner.head[at] = value - ((value & 0x80000000) << 1)
        pair(learner, 1, 500, -300)
        return int(learner.head[layout.CHECK])

    n = setup_of(rule).n_weights
    first = len(block.head) // 4 - n
    before = check(first, 0)
    altered = [(layout.WAITING, 1), (layout.WAITING, 2)]
    altered += [(first + k, 1 << bit) for k in range(n) for bit in (0, 1, 7, 12, 15, 16, 20, 26)]
    assert [where for where in altered if check(*where) == before] == []


@pytest.mark.slow
@pytest.mark.parametrize(("tau", "shift", "slower"), [(4, 0, 0), (1, 3, 3), (2, 2, 2)])
@pytest.mark.parametrize("rule", [WP, NP])
def test_it_learns_xor(rule: str, tau: int, shift: int, slower: int) -> None:
    """At the rate of the plain rule, momentum's 2**shift taken off; without a rate nothing is learned."""
    setup = Setup(
        rule=rule,
        layers=(2, 4, 1),
        activations=("tanh", "logistic"),
        amplitude=410 if rule == NP else 100,
        rate=1,
        rate_shift=(17 if rule == NP else 13) + slower,
        init=2200,
        seed=6,
    )

    def error_after(setup: Setup, trials: int) -> float:
        block = build_block(experiment_of(setup, {"tau": tau, "momentum_shift": shift}, "xor", 4))
        xor = TaskTrials(learner_of(block, "native"), block.task, 4)
        error = 1.0
        for first in range(0, trials, 4000):
            list(xor.run(first, [0] * 4000, False))
            (evaluated,) = xor.run(first, [0], True)
            error = evaluated.summary.total / 2**24 / 4
            if error < 0.04:
                break
        return error

    assert error_after(setup, 400_000) < 0.04
    control = Setup(**{**vars(setup), "rate_shift": 29, "rounding": "nearest"})
    assert error_after(control, 8_000) > 0.1
