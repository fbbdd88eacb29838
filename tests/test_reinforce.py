"""REINFORCE: its eligibility has zero mean and is the gradient of the log-probability; it learns, a memory too."""

import itertools
import math
import random
import struct
from typing import Any

import numpy as np
import pytest

from stochastic_rules import block_of, eligibility, learner_of, played, unit_words, weights, z_scores
from subsong.errors import ExperimentError
from subsong.experiment import parse_experiment
from subsong_device import layout
from subsong_sim.engines import LocalLearner
from subsong_sim.loader import load
from subsong_sim.trials import TaskTrials

KERNELS = load("subsong_device.kernels.bernoulli", (), "cpython")


# ------------------------------------------------------------------------------------------------- zero mean


@pytest.mark.parametrize("p", [11, 12, 1000, 16383, 16384, 20000, 32755, 32756])
def test_the_factor_has_mean_zero_over_all_words_exactly(p: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every word that the generator may give, once each: the factors sum to 0, to the last bit."""
    word = 0
    monkeypatch.setattr(KERNELS, "draw", lambda *_: word)
    head = [0] * layout.LAYERS_AT
    head[layout.SIGN] = 1
    total, ones = 0, 0
    for word in range(1 << 16):  # noqa: B007 - the patched draw reads it
        mem = [p, 0]
        KERNELS.draw_states(head, mem, 0, 1, 0, 1)
        total += (mem[1] ^ 0x8000) - 0x8000
        ones += mem[0] == 0x7FFF
        assert mem[0] in (0, 0x7FFF)
    assert total == 0
    assert ones == 2 * p


def test_every_drive_has_a_probability_whose_factors_are_words() -> None:
    """Over all 65,536 drives: 11..32756."""
    from subsong.block import tanh_table
    from subsong_sim.engines import make_buffer

    network = load("subsong_device.kernels.network", (), "numba")
    mem = make_buffer(struct.pack(f"<{257 + 65536}H", *tanh_table(), *range(65536)), "H", "numba")
    network.activate(mem, 0, layout.LOGISTIC, 257, 65536)
    assert (int(mem[257:].min()), int(mem[257:].max())) == (11, 32756)


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ["running_baseline", "each_step"])
@pytest.mark.parametrize("recurrent", [False, True])
def test_a_cost_independent_of_the_states_moves_nothing_on_average(estimator: str, recurrent: bool) -> None:
    """Nor has the eligibility a mean, while the sum of s x, without the expectation, has one."""
    learner = learner_of("reinforce", estimator, [3, 2], ["logistic"], recurrent=[recurrent], rate=300, rate_shift=16)
    rng = random.Random(2)
    moves, hebb, sums = [], [], []
    for trial in range(2000):
        before = weights(learner)
        total = np.zeros(len(before))
        learner.begin(trial, False)
        cost = 0
        last = np.zeros(2)
        for _ in range(4):
            x = [rng.randint(-8000, 24000) for _ in range(3)]
            u = np.array(learner.act(cost, x), float)
            inputs = [*x, *(last if recurrent else []), 32768]
            total += np.outer(u, inputs).reshape(-1) / 32768
            last = u
            cost = 2000 + rng.randint(-300, 300)
        sums.append(eligibility(learner))
        learner.end(cost)
        moves.append(weights(learner) - before)
        hebb.append(total)
        learner.mem[: len(before)] = before.astype(np.int16).astype(np.uint16)
    assert np.abs(np.array(moves)).mean() > 0.2  # it does move
    assert np.abs(z_scores(np.array(moves))).max() < 4
    assert np.abs(z_scores(np.array(sums))).max() < 4
    assert np.abs(z_scores(np.array(hebb))).max() > 15


# ------------------------------------------------------------------------------------------------- the gradient


def test_the_eligibility_is_the_derivative_of_the_trajectorys_log_probability() -> None:
    """For a recurrent network over three steps, against differences in float64, whatever states were drawn."""
    learner = learner_of("reinforce", "running_baseline", [2, 3], ["tanh"], recurrent=[True], steps=3, init=1.0)
    inputs = [(30000, -12000), (-5000, 20000), (9000, 9000)]
    w = weights(learner).reshape(3, 6) / 2**11

    def log_probability(w: Any, states: list[list[int]]) -> float:
        total, last = 0.0, [0.0] * 3
        for x, s in zip(inputs, states, strict=True):
            g = w @ np.array([*(v / 32768 for v in x), *last, 1.0])
            total -= sum(math.log1p(math.exp(-d if on > 0 else d)) for d, on in zip(g, s, strict=True))
            last = [v / 32768 for v in s]
        return total

    for trial in range(20):
        learner.begin(trial, False)
        states = [list(learner.act(0, x)) for x in inputs]
        assert {v for s in states for v in s} <= {-32767, 32767}
        e = eligibility(learner) * 2.0 ** (int(learner.head[layout.INPUT_SHIFT]) - 30)
        slope = np.zeros((3, 6))
        for i, j in itertools.product(range(3), range(6)):
            step = np.zeros((3, 6))
            step[i, j] = 1e-5
            slope[i, j] = (log_probability(w + step, states) - log_probability(w - step, states)) / 2e-5
        assert np.abs(e - slope.reshape(-1)).max() < 3e-3
        learner.end(0)


# ------------------------------------------------------------------------------------------------- evaluations, engines


def test_an_evaluation_takes_the_more_probable_states_and_changes_nothing() -> None:
    learner = learner_of("reinforce", "each_step", [2, 3, 2], ["tanh", "logistic"], init=2.0, engine="cpython")
    for trial in range(3):
        learner.begin(trial, False)
        for cost in (0, 500, 20):
            learner.act(cost, (9000, -20000))
        learner.end(7)
    head, mem = learner.state()
    answers = []
    for _ in range(2):
        learner.begin(3, True)
        u = learner.act(0, (20000, -3000))
        assert set(u) <= {0, 32767}
        answers.append((u, learner.end(123).checksum))
    assert answers[0] == answers[1]
    after, mem_after = learner.state()
    kept = [*range(layout.BASELINE, layout.BASELINE + 1), *range(layout.PHASE, layout.REMAINDER + 1)]
    kept += range(layout.PERTURBATION, layout.ROUNDING + 2)
    h, h_after = (struct.unpack(f"<{len(v) // 4}i", v) for v in (head, after))
    assert [h[i] for i in kept] == [h_after[i] for i in kept]
    n = h[layout.N_WEIGHTS]
    assert mem[: 2 * n] == mem_after[: 2 * n]
    assert h[h[layout.ELIGIBILITY_AT] :] == h_after[h[layout.ELIGIBILITY_AT] :]
    # A state of 1 leaves 2**15 - p, one of 0 leaves -p: the more probable leaves the smaller.
    assert all(abs(v) <= 16384 for v in unit_words(learner, 5))


@pytest.mark.parametrize("estimator", ["running_baseline", "each_step"])
def test_native_code_agrees_with_python(estimator: str) -> None:
    for recurrent in ([False, False], [True, True]):
        block = block_of("reinforce", estimator, [2, 5, 2], ["tanh", "logistic"], recurrent=recurrent, init=1.0)
        assert played(block, "cpython") == played(block, "native")


# ------------------------------------------------------------------------------------------------- learning

XOR = """
seed = {seed}
[network]
layers = [2, 8, 1]
activations = ["tanh", "logistic"]
init = 3
[learner]
rule = "reinforce"
estimator = "{estimator}"
rate = {rate}
rate_shift = {rate_shift}
baseline_shift = 4
trace_shift = 0
[plant]
kind = "task"
name = "xor"
[run]
trials = 1
steps = 4
"""


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ["running_baseline", "each_step"])
def test_it_learns_exclusive_or(estimator: str) -> None:
    """In most of 20 seeds; the control, at a rate next to nothing, in those whose initial weights happen to do it."""

    def solved(rate_shift: int) -> int:
        found = 0
        for seed in range(1, 21):
            text = XOR.format(seed=seed, estimator=estimator, rate=1, rate_shift=rate_shift)
            from subsong.block import build_block

            block = build_block(parse_experiment(text, "xor"))
            learner = LocalLearner(block.rule, block.head, block.mem)
            trials = TaskTrials(learner, block.task, 4)
            for n in range(100):
                list(trials.run(100 * n, [0] * 100, False))
                (ended,) = trials.run(0, [0], True)
                if ended.summary.total < 2**22:
                    found += 1
                    break
        return found

    learned, control = solved(17), solved(29)
    assert learned >= 12
    assert control <= 4


def remembered(seed: int, rate_shift: int, trials: int) -> float:
    """Learn to say, after a delay, which of two cues came first; return the errors of the last 500 trials."""
    learner = learner_of(
        "reinforce", "running_baseline", [2, 4], ["tanh"], recurrent=[True], steps=4, init=0.5, rate=1,
        rate_shift=rate_shift, baseline_shift=4, seed=seed,
    )  # fmt: skip
    rng = random.Random(seed)
    wrong = []
    for trial in range(trials):
        cue = rng.choice((-1, 1))
        learner.begin(trial, False)
        u: Any = None
        for step in range(4):  # the cue is there in the first step only
            u = learner.act(0, (32767 * cue if step == 0 else 0, 32767 if step == 3 else 0))
        error = int((u[0] > 0) != (cue > 0))
        wrong.append(error)
        learner.end(error << 20)
    return sum(wrong[-500:]) / 500


@pytest.mark.slow
def test_a_recurrent_network_learns_to_remember() -> None:
    """One bit over three steps without input: below 10 % of errors in most seeds, where the control guesses."""
    errors = [remembered(seed, 12, 6000) for seed in range(5)]
    assert sorted(errors)[3] < 0.1, errors
    assert min(remembered(seed, 29, 1000) for seed in range(5)) > 0.3


# ------------------------------------------------------------------------------------------------- the experiment file


def test_it_takes_no_amplitude_and_only_units_with_two_states() -> None:
    text = XOR.format(seed=1, estimator="each_step", rate=1, rate_shift=9)
    for old, new, said in (
        ("rate = 1", "rate = 1\namplitude = 0.1", "learner.amplitude: reinforce has none"),
        ('"tanh", "logistic"', '"tanh", "identity"', 'network.activations[1]: "identity" is none of reinforce\'s'),
        ('"each_step"', '"two_sided"', 'learner.estimator: "two_sided" is none of reinforce\'s'),
    ):
        with pytest.raises(ExperimentError) as caught:
            parse_experiment(text.replace(old, new, 1), "f")
        assert said in str(caught.value)
