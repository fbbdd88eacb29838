"""Activity difference: its eligibility has no mean, its mean update is the one in docs/rules.md, and it learns."""

import itertools
import math
import random
from typing import Any

import numpy as np
import pytest

from cases import Setup
from codes_setup import block_of, experiment_of
from subsong.block import build_block
from subsong.compare.records import cost_lsb
from subsong.errors import ExperimentError
from subsong.experiment import parse_experiment
from subsong.experiment_text import example_text
from subsong.session import simulate
from subsong_device import layout
from subsong_sim.engines import LocalLearner
from subsong_sim.trials import TaskTrials

Array = np.ndarray[Any, np.dtype[np.float64]]
BASE = Setup(rule="activity_difference", estimator="perturbed_pair")


def setup_of(**more: Any) -> Setup:
    return Setup(**{**vars(BASE), **more})


def learner_of(setup: Setup, engine: str = "native") -> LocalLearner:
    block = block_of(setup)
    return LocalLearner(block.rule, block.head, block.mem, engine)


def signed(words: Any) -> Array:
    return np.asarray(words, dtype=np.uint16).astype(np.int16).astype(np.float64)


def weights(learner: LocalLearner) -> Array:
    return signed(learner.mem[: int(learner.head[layout.N_WEIGHTS])])


def z_scores(samples: Array) -> Array:
    return samples.mean(axis=0) / (samples.std(axis=0, ddof=1) / math.sqrt(len(samples)))


class Observed:
    """What 2,000 pairs left, whose second pass costs about 3,000 counts more, whatever the units did."""

    def __init__(self) -> None:
        setup = setup_of(layers=(2, 3, 2), activations=("tanh", "identity"), amplitude=900, rate=40, rate_shift=13)
        learner = learner_of(setup)
        rng = random.Random(3)
        at, n = int(learner.head[layout.SIGNALS_AT]), setup.n_weights
        eligibility, naive, moves = [], [], []
        for k in range(2000):
            before = weights(learner)
            signals = []
            for extra in (0, 3000):
                learner.begin(k, False)
                # Sensors that are noisy, too.
                learner.act(0, [rng.randint(4000, 24000) for _ in range(2)])
                signals.append(signed(learner.mem[at : at + 7]))
                if extra:
                    e = int(learner.head[layout.ELIGIBILITY_AT])
                    eligibility.append(np.array(learner.head[e : e + n], dtype=np.float64))
                learner.end(extra + rng.randint(-300, 300))
            moves.append(weights(learner) - before)
            one, two = signals
            # Of the weights behind the hidden layer, had the second pass's inputs alone been taken.
            naive.append(np.outer((two - one)[5:], two[2:5]).reshape(-1))
            learner.mem[:n] = before.astype(np.int16).astype(np.uint16)
        self.eligibility, self.naive, self.moves = np.array(eligibility), np.array(naive), np.array(moves)


@pytest.fixture(scope="module")
def observed() -> Observed:
    return Observed()


def test_its_eligibility_has_zero_mean_where_one_with_the_second_passs_inputs_has_not(observed: Observed) -> None:
    assert np.abs(z_scores(observed.eligibility)).max() < 4
    assert np.abs(z_scores(observed.naive)).max() > 10


def test_a_cost_that_ignores_the_units_moves_nothing_on_average(observed: Observed) -> None:
    assert np.abs(observed.moves).mean() > 0.5
    assert np.abs(z_scores(observed.moves)).max() < 4


def test_exchanged_passes_give_the_opposite_eligibility() -> None:
    """To the bit, at words and drives up to their limits."""
    rng = random.Random(4)
    several = 0
    for n in range(40):
        setup = setup_of(
            layers=(2, 3, 2),
            activations=(("tanh", "identity"), ("identity", "hard_tanh"))[n % 2],
            amplitude=16384,
            init=(32767, 3000)[n // 2 % 2],
            seed=n,
            rate_shift=29,
        )
        x = [[rng.choice((-32768, 32767, rng.randint(-32768, 32767))) for _ in range(2)] for _ in range(2)]
        found = []
        for order in ((0, 1), (1, 0)):
            learner = learner_of(setup, "cpython")
            at = int(learner.head[layout.ELIGIBILITY_AT])
            for k in order:
                learner.begin(k, False)
                learner.head[layout.PERTURBATION], learner.head[layout.PERTURBATION + 1] = 100 * n + 7, 31 + k
                learner.act(0, x[k])
                eligibility = list(learner.head[at:])
                learner.end(0)
            found.append(eligibility)
        assert found[0] == [-e for e in found[1]]
        assert max(map(abs, found[0])) <= 2**30
        several += sum(e != 0 for e in found[0]) > 3
    assert several > 10


def test_it_never_reads_the_perturbation() -> None:
    """With the signs overwritten as soon as the units have run, it does the same."""
    setup = setup_of(layers=(3, 4, 2), activations=("tanh", "identity"), rate=900, rate_shift=9)
    learner, blinded = learner_of(setup, "cpython"), learner_of(setup, "cpython")
    signs = int(blinded.head[layout.SIGNS_AT])
    for n in range(20):
        for each in (learner, blinded):
            each.begin(n, False)
            u = each.act(0, (9000, -30000, 20000))
            if each is blinded:
                each.mem[signs] = each.mem[signs + 1] = 0x5A5A
            each.end(u[0] * 5)
        assert (weights(learner) == weights(blinded)).all()
    assert (weights(learner) != weights(learner_of(setup, "cpython"))).any()


# ------------------------------------------------------------------------------------------------- the mean update


class Linear:
    """A network 2-2-2 of identity units, whose cost is the sum of its outputs' squares, 1 count = 2**-12."""

    def __init__(self) -> None:
        self.setup = setup_of(
            layers=(2, 2, 2), activations=("identity",) * 2, amplitude=400, rate=3000, rate_shift=21, init=2500, seed=9
        )
        block = self.setup.block()
        w = signed(np.frombuffer(block.mem, "<u2")[:12]) / 2**11
        self.first, self.second = w[:6].reshape(2, 3), w[6:].reshape(2, 3)
        self.x = (24000, -12000)

    def cost(self, u: Array) -> float:
        return float((u * 2**12) @ (u * 2**12)) / 2**12

    def passed(self, signs: tuple[int, ...]) -> tuple[Array, Array, float]:
        """Return the hidden units' and the output's activity, and the cost, of a pass."""
        a = self.setup.amplitude / 2**12
        h = self.first @ [*(v / 2**15 for v in self.x), 1] + a * np.array(signs[:2])
        u = self.second @ [*h, 1] + a * np.array(signs[2:])
        return h, u, self.cost(u)

    def mean_update(self) -> Array:
        """Return -eta <(C2 - C1) (h(2) - h(1)) x>, over all perturbations of both passes; LSBs of a weight."""
        passes = [self.passed(signs) for signs in itertools.product((-1, 1), repeat=4)]
        x = [*(v / 2**15 for v in self.x), 1.0]
        total = np.zeros(12)
        for (h1, u1, c1), (h2, u2, c2) in itertools.product(passes, repeat=2):
            inputs = [*(h1 + h2) / 2, 1.0]
            e = [np.outer(h2 - h1, x).reshape(-1), np.outer(u2 - u1, inputs).reshape(-1)]
            total -= (c2 - c1) * np.concatenate(e)
        return total / 256 * self.setup.rate * 2.0**-self.setup.rate_shift

    def law(self) -> Array:
        """Return what docs/rules.md says of it: -eta 2 sigma**2 P G x, G the cost's gradient with respect to drives."""
        h, u, _ = self.passed((0, 0, 0, 0))
        g2 = 2 * 2**12 * u
        j = self.second[:, :2]
        g1 = j.T @ g2
        p2 = np.eye(2) + j @ j.T
        x = [*(v / 2**15 for v in self.x), 1.0]
        sigma = self.setup.amplitude / 2**12
        e = np.concatenate([np.outer(g1, x).reshape(-1), np.outer(p2 @ g2, [*h, 1.0]).reshape(-1)])
        return -2 * sigma**2 * e * self.setup.rate * 2.0**-self.setup.rate_shift


def test_the_mean_update_is_the_gradient_seen_through_the_units_covariance() -> None:
    """By enumeration equal to the law of docs/rules.md, but for the input's own share; and the kernels' mean is it."""
    linear = Linear()
    expected = linear.mean_update()
    law = linear.law()
    # Weights between units: the input varies with the unit that it drives, of which the law knows the mean alone.
    assert np.abs(expected - law).max() < 0.1 * np.abs(law).max()
    assert np.allclose(expected[:6], law[:6], rtol=1e-9)
    learner = learner_of(linear.setup)
    before = learner.mem[:12].copy()
    start = weights(learner)
    moves = []
    for n in range(6000):
        for k in range(2):
            learner.begin(2 * n + k, False)
            u = np.array(learner.act(0, linear.x)) / 2**12
            learner.end(round(linear.cost(u)))
        moves.append(weights(learner) - start)
        learner.mem[:12] = before
    error = np.std(moves, axis=0, ddof=1) / math.sqrt(len(moves))
    assert np.abs((np.mean(moves, axis=0) - expected) / error).max() < 4
    assert np.abs(expected / error).max() > 20


# ------------------------------------------------------------------------------------------------- learning, limits


@pytest.mark.slow
def test_it_learns_xor_from_where_a_learner_without_a_rate_stays() -> None:
    setup = setup_of(
        layers=(2, 4, 1), activations=("tanh", "logistic"), amplitude=819, rate=3, rate_shift=15, init=2253
    )

    def error_after(setup: Setup, trials: int) -> float:
        block = build_block(experiment_of(setup, {}, "xor"))
        learner = LocalLearner(block.rule, block.head, block.mem)
        xor = TaskTrials(learner, block.task, 1, evaluate_steps=4)
        list(xor.run(0, [0] * trials, False))
        (evaluated,) = xor.run(trials, [0], True)
        assert evaluated.summary.steps == 4
        return evaluated.summary.total / 2**24 / 4

    assert error_after(setup, 60_000) < 0.04
    assert error_after(Setup(**{**vars(setup), "rate": 1, "rate_shift": 29, "rounding": "nearest"}), 60_000) > 0.1


def test_an_evaluation_may_be_longer_than_a_trial() -> None:
    """Its mean cost is that of all its steps, in the run and in its log's curve; a plant's is as long as a trial."""
    text = example_text("activity_difference").replace("trials = 100000", "trials = 4").replace("= 1000 ", "= 2 ")
    experiment = parse_experiment(text, "test")
    result = simulate(experiment, out=None, engine="cpython")
    assert (result.trials, result.steps, len(result.evaluations)) == (4, 4 + 2 * 4, 2)
    assert cost_lsb(experiment) == 4 * cost_lsb(experiment, evaluate=True) == 2.0**-24
    assert all(0.1 < mean < 0.6 for _, mean in result.evaluations)
    with pytest.raises(ExperimentError, match=r"run.evaluate_steps: belongs to what the board plays"):
        parse_experiment(example_text("cartpole").replace("[run]", "[run]\nevaluate_steps = 3"), "test")


def test_a_trial_is_one_step() -> None:
    with pytest.raises(ExperimentError, match=r"run.steps: 2 steps for activity_difference \(allowed: at most 1\)"):
        experiment_of(BASE, {}, steps=2)
    with pytest.raises(ExperimentError, match=r'"two_sided" is none of activity_difference'):
        experiment_of(setup_of(estimator="two_sided"), {})
    with pytest.raises(ExperimentError, match='"perturbed_pair" is none of node_perturbation'):
        experiment_of(setup_of(rule="node_perturbation"), {})
