"""What the learners are as estimators: unbiased, at rest where the cost says nothing, learning below one LSB."""

import math
import random
import struct
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases import ACTIVATIONS, COST_LIMIT, Setup, Step, Trial, case_of
from subsong.block import build_block
from subsong.experiment import parse_experiment
from subsong.rules import BY_NAME
from subsong_device import layout
from subsong_sim.engines import LocalLearner, task_kernels
from subsong_sim.trials import TaskTrials
from task_models import model

Array = np.ndarray[Any, np.dtype[np.float64]]
# The rules from which the others are made; what is true of those alone stands in a file of each.
RULES = ("weight_perturbation", "node_perturbation")
COMBINATIONS = tuple((rule, estimator) for rule in RULES for estimator in BY_NAME[rule].estimators)


def learner_of(setup: Setup) -> LocalLearner:
    """Return a learner."""
    block = setup.block()
    return LocalLearner(block.rule, block.head, block.mem, "numba")


def weights(learner: LocalLearner) -> Array:
    """Return the weights in LSBs."""
    n = int(learner.head[layout.N_WEIGHTS])
    return learner.mem[:n].astype(np.int16).astype(np.float64)


def z_scores(samples: Array) -> Array:
    """Return mean over standard error, column by column."""
    return samples.mean(axis=0) / (samples.std(axis=0, ddof=1) / math.sqrt(len(samples)))


# ------------------------------------------------------------------------------------------------- zero mean


class Pairs(NamedTuple):
    """Many pairs of trials of a linear network, whose cost has nothing to do with what it does.

    Attributes:
        moves: what each pair moved each weight by, LSBs.
        hebb: what reward-modulated Hebb, dw = -eta (C - b) y x, would have moved them by, to some scale.
    """

    moves: Array
    hebb: Array


def indifferent_pairs(rule: str, estimator: str, n: int) -> Pairs:
    """Play n pairs: the second trial of each costs about 3,000 counts more than the first, whatever was perturbed."""
    setup = Setup(
        rule=rule,
        estimator=estimator,
        layers=(3, 2),
        amplitude=300,
        rate=60,
        rate_shift=15 if rule == "weight_perturbation" else 16,
        init=2000,
        seed=11,
    )
    learner = learner_of(setup)
    rng = random.Random(12)
    moves, hebb = [], []
    trial = 0
    for _ in range(n):
        before = weights(learner)
        correlation = np.zeros((2, 4))
        delta = 0.0
        for extra in (0, 3000):
            learner.begin(trial, False)
            cost = 0
            for _ in range(3):
                x = [rng.randint(-8000, 24000) for _ in range(3)]
                u = learner.act(cost, x)
                correlation += np.outer(u, [*x, 32768])
                cost = extra // 3 + rng.randint(-300, 300)
            learner.end(cost)
            delta = float(learner.head[layout.DELTA])
            trial += 1
        moves.append(weights(learner) - before)
        hebb.append(-delta * correlation.reshape(-1))
        learner.mem[: len(before)] = before.astype(np.int16).astype(np.uint16)
    return Pairs(np.array(moves), np.array(hebb))


@pytest.mark.parametrize(("rule", "estimator"), COMBINATIONS)
def test_a_cost_independent_of_the_perturbation_moves_nothing_on_average(rule: str, estimator: str) -> None:
    """While reward-modulated Hebb, from the same words and costs, drifts: its eligibility has a mean."""
    pairs = indifferent_pairs(rule, estimator, 1500)
    assert np.abs(pairs.moves).mean() > 0.5  # it does move
    assert np.abs(z_scores(pairs.moves)).max() < 4
    assert np.abs(z_scores(pairs.hebb)).max() > 20


# ------------------------------------------------------------------------------------------------- the mean update


@pytest.mark.slow
@pytest.mark.parametrize(("rule", "estimator"), [pair for pair in COMBINATIONS if pair[1] != "each_step"])
@pytest.mark.parametrize("delta", [-70001, -40, 3, 12345, 2**27])
def test_the_mean_update_is_the_one_on_the_page(rule: str, estimator: str, delta: int) -> None:
    """Over the seeds of the rounding: dw = -eta (C - b) e, with moves of a fraction of an LSB.

    e is xi for weight perturbation, the sum of xi x for node perturbation; two-sided, of half the difference.
    """
    node = rule == "node_perturbation"
    # Moves of about a third of an LSB: rate * delta * 2**-shift, an eligibility being near 1.
    rate_shift = min(29, max(0, round(math.log2(3 * 1000 * abs(delta)))))
    rate = max(1, round(2**rate_shift / (3 * abs(delta))))
    setup = Setup(
        rule=rule,
        estimator=estimator,
        layers=(2, 1),
        rate=rate,
        rate_shift=rate_shift,
        baseline_shift=15,
        seed=21,
        init=0,
    )
    learner = learner_of(setup)
    rng = np.random.default_rng(22)
    first, second = -(delta // 2), delta - delta // 2
    x = (20000, -9000)
    moves = []
    for n in range(3000):
        learner.head[layout.ROUNDING : layout.ROUNDING + 2] = rng.integers(1, 65536, 2)
        learner.head[layout.PERTURBATION : layout.PERTURBATION + 2] = (7, 9)
        learner.head[layout.STARTED] = 0
        learner.head[layout.REMAINDER] = 0
        learner.mem[:3] = 0
        for cost in (first, second):
            if estimator == "running_baseline" and cost == second:
                # The same draws in the trial that updates, whatever the first one drew.
                learner.head[layout.PERTURBATION : layout.PERTURBATION + 2] = (7, 9)
            learner.begin(2 * n, False)
            learner.act(0, x)
            learner.end(cost)
        moves.append(weights(learner))
    assert learner.head[layout.DELTA] == delta
    xi = signs_of((7, 9), 1 if node else 3)
    factor = xi[0] * np.array([*x, 32768]) / 32768 if node else xi
    halved = 0.5 if estimator == "two_sided" else 1.0
    # In the second trial of a two-sided pair the perturbation is reversed, hence the sign.
    sign = -1 if estimator == "two_sided" else 1
    expected = -sign * rate * 2.0**-rate_shift * delta * halved * factor
    mean = np.mean(moves, axis=0)
    error = np.std(moves, axis=0, ddof=1) / math.sqrt(len(moves)) + 1e-9
    assert (np.abs(mean - expected) < 4 * error + 2**-13 * np.abs(expected)).all(), (mean, expected)
    assert np.abs(expected).max() < 0.5


@pytest.mark.parametrize("trace_shift", [0, 1, 4])
@pytest.mark.parametrize("delta", [-40, 3, 12345])
def test_the_mean_update_of_a_single_step_is_the_one_on_the_page(trace_shift: int, delta: int) -> None:
    """A step's cost moves the weights along what is left of the steps before: of the last all, of the one before less.

    Own outputs of the step before are inputs as any other, and 0 in the first.
    """
    rate_shift = min(29, max(0, round(math.log2(3 * 1000 * abs(delta)))))
    setup = Setup(
        rule="node_perturbation",
        estimator="each_step",
        layers=(2, 1),
        rate=max(1, round(2**rate_shift / (3 * abs(delta)))),
        rate_shift=rate_shift,
        baseline_shift=15,
        init=0,
        recurrent=(True,),
        options={"trace_shift": trace_shift},
    )
    learner = learner_of(setup)
    rng = np.random.default_rng(22)
    x, xi = np.array([20000, -9000]), signs_of((7, 9), 1, words=2)[:, 0]
    moves = []
    for n in range(3000):
        learner.head[layout.ROUNDING : layout.ROUNDING + 2] = rng.integers(1, 65536, 2)
        learner.head[layout.PERTURBATION : layout.PERTURBATION + 2] = (7, 9)
        learner.head[layout.STARTED] = 0
        learner.mem[:4] = 0
        learner.begin(n, False)
        u = [learner.act(cost, x) for cost in (0, -delta)]  # the second cost of all is the first baseline
        learner.end(0)
        moves.append(weights(learner))
    assert learner.head[layout.DELTA] == delta
    # Weights are 0: what comes out is the perturbation itself.
    assert [word for (word,) in u] == [setup.amplitude * sign for sign in xi]
    first, second = (sign * np.array([*x, own, 32768]) / 32768 for sign, own in zip(xi, (0, u[0][0]), strict=True))
    expected = -setup.rate * 2.0**-rate_shift * delta * (first * (1 - 2.0**-trace_shift) + second)
    mean = np.mean(moves, axis=0)
    error = np.std(moves, axis=0, ddof=1) / math.sqrt(len(moves)) + 1e-9
    assert (np.abs(mean - expected) < 4 * error + 2**-12 * np.abs(expected).max()).all(), (mean, expected)


def signs_of(state: tuple[int, int], n: int, words: int = 1) -> Array:
    """Return the first signs of a stream, by the page: of one word, or of the first of so many words each."""
    a, b = state
    drawn = []
    for _ in range(words):
        t = (a ^ (a << 5)) & 0xFFFF
        t ^= t >> 3
        a, b = b, b ^ (b >> 1) ^ t
        drawn.append(b)
    signs = np.array([[2.0 * (word >> k & 1) - 1 for k in range(n)] for word in drawn])
    return signs if words > 1 else signs[0]


# ------------------------------------------------------------------------------------------------- below one LSB


class Descent(NamedTuple):
    """What learning XOR did.

    Attributes:
        error: mean squared error over the four patterns.
        largest_step: of any weight in any update, before rounding; LSBs.
        moved: whether any weight did.
    """

    error: float
    largest_step: float
    moved: bool


def learn_xor(rule: str, rounding: str, trials: int) -> Descent:
    """Learn XOR 2-4-1 from all four patterns in one cost, weights of 1 LSB = 2**-8, until the error is below 0.04."""
    node = rule == "node_perturbation"
    setup = Setup(
        rule=rule,
        rounding=rounding,
        layers=(2, 4, 1),
        activations=("tanh", "logistic"),
        weight_frac=8,
        amplitude=410 if node else 13,
        rate_shift=28 if node else 26,
        init=512,
    )
    block = build_block(parse_experiment(setup.toml("xor"), "xor"))
    learner = LocalLearner(rule, block.head, block.mem)
    xor = TaskTrials(learner, block.task, 4)
    start = weights(learner)
    # Two-sided: half the difference; eligibilities are at most 4, one a step, inputs being at most 1.
    scale = 2.0 ** -(setup.rate_shift + 1) * (4 if node else 1)
    largest = 0.0
    for first in range(0, trials, 2000):
        totals = [ended.summary.total for ended in xor.run(first, [0] * 2000, False)]
        largest = max(largest, np.abs(np.diff(totals)[::2]).max() * scale)
        (evaluated,) = xor.run(first, [0], True)
        error = evaluated.summary.total / 2**24 / 4
        if error < 0.04:
            break
    return Descent(error, largest, bool((weights(learner) != start).any()))


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
def test_weights_learn_from_steps_far_below_one_lsb(rule: str) -> None:
    """No step of any weight reaches a tenth of an LSB: stochastic rounding learns XOR; to nearest, nothing moves."""
    learned = learn_xor(rule, "stochastic", 800_000)
    assert learned.largest_step < 0.1
    assert learned.error < 0.04
    control = learn_xor(rule, "nearest", 20_000)
    assert control.largest_step < 0.1
    assert not control.moved
    assert control.error > 0.1


# ------------------------------------------------------------------------------------------------- what stays as it was

UNTOUCHED = set(range(layout.LAYERS_AT)) - {
    layout.COST,
    layout.EVALUATE,
    layout.STEPS,
    layout.TOTAL,
    layout.CHECK,
    layout.SATURATED,
    layout.SIGN,
}


@settings(max_examples=25)
@given(
    combination=st.sampled_from(COMBINATIONS),
    recurrent=st.booleans(),
    activation=st.sampled_from(ACTIVATIONS),
    before=st.integers(0, 3),
    seed=st.integers(0, 2**32 - 1),
    spread_shift=st.sampled_from((0, 2)),
)
def test_an_evaluation_changes_no_state(
    combination: tuple[str, str], recurrent: bool, activation: str, before: int, seed: int, spread_shift: int
) -> None:
    """Only the scalars that describe the trial, and the signals, are written; learning goes on as if without it."""
    rule, estimator = combination
    setup = Setup(
        rule=rule,
        estimator=estimator,
        layers=(3, 17, 2),
        activations=(activation, "identity"),
        seed=seed,
        rate_shift=9,
        recurrent=(recurrent, False),
        spread_shift=spread_shift,
        head={layout.ANNEAL: 2**25},
    )
    rng = random.Random(seed)
    learner, other = learner_of(setup), learner_of(setup)

    def play(learner: LocalLearner, n: int, evaluate: bool, rng: random.Random) -> None:
        learner.begin(n, evaluate)
        for _ in range(3):
            learner.act(rng.randint(-9999, 9999), [rng.randint(-32768, 32767) for _ in range(3)])
        learner.end(rng.randint(-9999, 9999))

    for n in range(before):
        words = rng.getrandbits(32)
        play(learner, n, False, random.Random(words))
        play(other, n, False, random.Random(words))
    head, mem = learner.head.copy(), learner.mem.copy()
    play(learner, before, True, rng)
    assert all(head[i] == learner.head[i] for i in UNTOUCHED)
    assert (head[layout.LAYERS_AT :] == learner.head[layout.LAYERS_AT :]).all()
    signals = range(int(head[layout.SIGNALS_AT]), int(head[layout.SIGNALS_AT]) + 22 + 17 * recurrent)
    assert all(mem[i] == learner.mem[i] for i in range(len(mem)) if i not in signals)
    play(learner, before, False, random.Random(1))
    play(other, before, False, random.Random(1))
    assert learner.state() == other.state()


@settings(max_examples=50)
@given(
    shift=st.integers(1, 15),
    totals=st.lists(st.integers(-COST_LIMIT, COST_LIMIT), min_size=2, max_size=20),
)
def test_the_running_baseline_loses_no_fraction(shift: int, totals: list[int]) -> None:
    """BASELINE + REMAINDER * 2**-shift moves by exactly (TOTAL - BASELINE) * 2**-shift, trial after trial."""
    block = Setup(estimator="running_baseline", baseline_shift=shift, rate_shift=29).block()
    learner = LocalLearner(block.rule, block.head, block.mem, "cpython")
    exact = Fraction(totals[0])
    for n, total in enumerate(totals):
        if n:
            exact += Fraction(total - math.floor(exact), 2**shift)
        learner.begin(n, False)
        learner.act(0, (1, 2))
        summary = learner.end(total)
        assert summary.baseline + Fraction(int(learner.head[layout.REMAINDER]), 2**shift) == exact


# ------------------------------------------------------------------------------------------------- the checksum


@pytest.mark.parametrize("rule", RULES)
def test_any_altered_bit_of_a_trial_alters_its_checksum(rule: str) -> None:
    """Every bit of every sensor word and of every cost within +-2**28."""
    setup = Setup(rule=rule, layers=(3, 2), rate_shift=8)
    first = Trial(False, (Step(0, (1, 2, 3)), Step(7, (4, 5, 6))), 8)
    steps = (Step(0, (100, -200, 300)), Step(-5, (-32768, 32767, 0)), Step(123456, (7, 8, 9)))
    case = case_of(setup, [first])

    def check(altered: Trial) -> int:
        learner = LocalLearner(case.rule, case.head, case.mem, "cpython")
        for n, trial in enumerate((first, altered)):
            learner.begin(n, trial.evaluate)
            for step in trial.steps:
                learner.act(step.cost, step.x)
            summary = learner.end(trial.last_cost)
        return summary.checksum

    before = check(Trial(False, steps, 99))
    alterations = [Trial(False, steps, 99 ^ 1 << bit) for bit in range(28)]
    for t, step in enumerate(steps):
        others = [Step(step.cost ^ 1 << bit, step.x) for bit in range(28)]
        for j in range(3):
            for bit in range(16):
                (word,) = struct.unpack("<h", struct.pack("<H", (step.x[j] & 0xFFFF) ^ 1 << bit))
                others.append(Step(step.cost, (*step.x[:j], word, *step.x[j + 1 :])))
        alterations += [Trial(False, (*steps[:t], other, *steps[t + 1 :]), 99) for other in others]
    assert len(alterations) == 28 + 3 * (28 + 48)
    assert [n for n, trial in enumerate(alterations) if check(trial) == before] == []


# ------------------------------------------------------------------------------------------------- task costs


@pytest.mark.parametrize("frac", [15, 12])
def test_task_costs_are_squared_errors(frac: int) -> None:
    """To the bits of an error of 2**-12: in 2**-24, up to where an error of 4, or a cost of 16, is clipped."""
    kernels = task_kernels("cpython")
    rng = random.Random(frac)
    for _ in range(300):
        u, targets = ([rng.randint(-32768, 32767) for _ in range(2)] for _ in range(2))
        block = struct.pack("<9H4h", 0, 2, 2, frac - 12, 0, 0, 0, 0, 1, 0, 0, *targets)
        task = list(struct.unpack(f"<{len(block) // 2}H", block))
        cost = kernels.task_cost(task, [word & 0xFFFF for word in u])
        assert cost == model(block).cost(u)
        errors = [min(4.0, abs(p - q) / 2**frac) for p, q in zip(u, targets, strict=True)]
        exact = min(16.0, sum(e * e for e in errors))
        assert abs(cost * 2.0**-24 - exact) <= sum(2 * e + 2**-12 for e in errors) * 2**-12
