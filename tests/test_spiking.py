"""Stochastic spiking and hedonistic synapses: eligibilities of zero mean, gradients, evaluations, engines, learning."""

import itertools
import math
import random
import struct
from typing import Any

import numpy as np
import pytest

from stochastic_rules import Array, block_of, eligibility, learner_of, played, unit_words, weights, z_scores
from subsong.block import build_block
from subsong.errors import ExperimentError
from subsong.experiment import parse_experiment
from subsong_device import layout
from subsong_sim.engines import LocalLearner
from subsong_sim.loader import load
from subsong_sim.trials import TaskTrials

KERNELS = load("subsong_device.kernels.spiking", (), "cpython")
RULES = ("stochastic_spiking", "hedonistic_synapse")
ESTIMATORS = ("running_baseline", "each_step")


def strengths(learner: LocalLearner) -> Array:
    """Return the strengths of the synapses, 1 LSB = 2**-12."""
    at, n = int(learner.head[layout.SYNAPSES_AT]), int(learner.head[layout.N_WEIGHTS])
    return np.array(learner.mem[at : at + n]).astype(np.int16).astype(np.float64)


# ------------------------------------------------------------------------------------------------- zero mean


@pytest.mark.parametrize("f", [11, 1000, 16384, 32756])
@pytest.mark.parametrize("peak_shift", [0, 3, 10])
def test_the_factor_of_a_spike_has_mean_zero_over_all_words_exactly(
    f: int, peak_shift: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    word = 0
    monkeypatch.setattr(KERNELS, "draw", lambda *_: word)
    head = [0] * layout.LAYERS_AT
    head[layout.SIGN], head[layout.PEAK_SHIFT], head[layout.FILTER_SHIFT], head[layout.SPIKE] = 1, peak_shift, 2, 9000
    total = spikes = 0
    for word in range(1 << 16):  # noqa: B007 - the patched draw reads it
        mem = [f, 0, 0, 0]
        KERNELS.draw_spikes(head, mem, 0, 1, 1)
        total += (mem[2] ^ 0x8000) - 0x8000
        spikes += mem[0] == 9000
        assert mem[3] == 32768 - f
    assert total == 0
    assert spikes == 2 * (f >> peak_shift)


@pytest.mark.parametrize("q", [-32768, -9000, 0, 1, 3000, 32767])
def test_what_a_synapse_notes_has_mean_zero_over_all_words_exactly(q: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """And it releases with the probability of its q, to the last bit."""
    word = 0
    monkeypatch.setattr(KERNELS, "draw", lambda *_: word)
    learner = learner_of("hedonistic_synapse", "running_baseline", [1, 1], ["logistic"], engine="cpython")
    head, mem = list(learner.head), list(learner.mem)
    head[layout.SIGN] = 1
    e, signal = head[layout.ELIGIBILITY_AT], head[layout.SIGNALS_AT]
    mem[0] = q & 0xFFFF
    mem[head[layout.SYNAPSES_AT] : head[layout.SYNAPSES_AT] + 2] = [100, 0]
    mem[signal] = 0x7FFF
    total = released = 0
    for word in range(1 << 16):  # noqa: B007
        head[e] = 0
        released += KERNELS.release(head, mem, layout.LAYERS_AT, signal, 0, 7) == 107
        total += head[e]
    assert total == 0
    assert abs(released / 65536 - 1 / (1 + math.exp(-max(-8.0, min(8.0, q / 2**11))))) < 3e-4
    head[e] = 0
    mem[signal] = 0
    KERNELS.release(head, mem, layout.LAYERS_AT, signal, 0, 7)
    assert head[e] == 0  # no spike, nothing to answer for


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_cost_independent_of_chance_moves_nothing_on_average(rule: str, estimator: str) -> None:
    """Nor has the eligibility a mean, while a sum of inputs times outputs, without the expectation, has one."""
    keys = {"peak_shift": 1} if rule == "stochastic_spiking" else {"leak_shift": 1, "threshold": 300}
    learner = learner_of(rule, estimator, [3, 2], ["logistic"], rate=2000, rate_shift=16, filter_shift=1, **keys)
    rng = random.Random(2)
    moves, sums, hebb = [], [], []
    for trial in range(2000):
        before = weights(learner)
        learner.begin(trial, False)
        cost, correlation = 0, np.zeros(len(before))
        for _ in range(6):
            x = [rng.randint(-8000, 24000) for _ in range(3)]
            u = np.array(learner.act(cost, x), float)
            correlation += np.outer(u, [*x, 32768]).reshape(-1)
            cost = 2000 + rng.randint(-300, 300)
        sums.append(eligibility(learner))
        learner.end(cost)
        moves.append(weights(learner) - before)
        hebb.append(correlation)
        learner.mem[: len(before)] = before.astype(np.int16).astype(np.uint16)
    assert np.abs(np.array(moves)).mean() > 0.2  # it does move
    assert np.abs(z_scores(np.array(moves))).max() < 4
    assert np.abs(z_scores(np.array(sums))).max() < 4
    assert np.abs(z_scores(np.array(hebb))).max() > 15


# ------------------------------------------------------------------------------------------------- the gradient


def test_the_score_of_a_spike_is_the_derivative_of_its_log_probability_but_for_one_minus_p() -> None:
    """A recurrent network over four steps: the sum of each step's derivative times (1 - p), in float64."""
    learner = learner_of(
        "stochastic_spiking", "running_baseline", [2, 3], ["logistic"], recurrent=[True], steps=4, init=1.0,
        peak_shift=1, filter_shift=1,
    )  # fmt: skip
    inputs = [(30000, -12000), (-5000, 20000), (9000, 9000), (20000, 0)]
    w = weights(learner).reshape(3, 6) / 2**11
    spikes_seen = 0
    for trial in range(20):
        learner.begin(trial, False)
        expected, last = np.zeros((3, 6)), np.zeros(3)
        for x in inputs:
            h = np.array(learner.act(0, x), float)
            spikes = h > np.maximum(0, last - np.ceil(last / 2))
            spikes_seen += int(spikes.sum())
            z = np.array([*(v / 32768 for v in x), *(last / 32768), 1.0])
            f = 1 / (1 + np.exp(-(w @ z)))
            p = f / 2
            # d ln P(S) / du is (1 - f) on a spike and -p (1 - f) / (1 - p) otherwise; times 1 - p:
            expected += np.outer((1 - f) * (spikes - p), z)
            last = h
        e = eligibility(learner) * 2.0 ** (int(learner.head[layout.INPUT_SHIFT]) - 30)
        assert np.abs(e - expected.reshape(-1)).max() < 3e-3
        learner.end(0)
    assert 30 < spikes_seen < 210


def test_synapses_follow_the_gradient_of_the_expected_cost() -> None:
    """One unit, one step, cost 1 for a spike: <C e>, drawn, against the derivative over all 16 outcomes, exact."""
    learner = learner_of(
        "hedonistic_synapse", "running_baseline", [3, 1], ["logistic"], init=1.0, seed=5, threshold=2000, leak_shift=1,
        filter_shift=0,
    )  # fmt: skip
    strength = strengths(learner)
    p = 1 / (1 + np.exp(-weights(learner) / 2**11))
    assert min(strength) < 0 < max(strength)
    gradient = np.zeros(4)
    for outcome in itertools.product((0, 1), repeat=4):
        chance = np.prod([p[j] if on else 1 - p[j] for j, on in enumerate(outcome)])
        if strength @ np.array(outcome) >= 2000:
            gradient += chance * (np.array(outcome) - p)
    samples = []
    for trial in range(4000):
        learner.begin(trial, False)
        (u,) = learner.act(0, (32767, 32767, 32767))
        samples.append(eligibility(learner) / 32768 * (u > 0))
        learner.end(0)
    found = np.array(samples)
    error = found.std(axis=0, ddof=1) / math.sqrt(len(found))
    assert np.abs(gradient).max() > 0.02
    assert (np.abs(found.mean(axis=0) - gradient) < 4 * error + 1e-3).all()


# ------------------------------------------------------------------------------------------------- blocks, evaluations


def test_strengths_are_drawn_with_both_signs_and_stay_as_they_are() -> None:
    block = block_of("hedonistic_synapse", "each_step", [4, 20, 2], ["logistic"] * 2, strength=3000, rate=16383)
    learner = LocalLearner(block.rule, block.head, block.mem, "cpython")
    drawn = strengths(learner)
    assert np.abs(drawn).max() <= 3000
    assert abs(drawn.mean()) < 600 and drawn.std() > 1500
    other = block_of("hedonistic_synapse", "each_step", [4, 20, 2], ["logistic"] * 2, strength=3000, seed=2)
    assert (strengths(LocalLearner(other.rule, other.head, other.mem, "cpython")) != drawn).any()
    for trial in range(3):
        learner.begin(trial, False)
        for cost in (0, 2**27, 5):
            learner.act(cost, (32767, 0, 9000, -5))
        learner.end(2**26)
    assert (strengths(learner) == drawn).all()


@pytest.mark.parametrize("rule", RULES)
def test_an_evaluation_draws_nothing_and_changes_nothing(rule: str) -> None:
    learner = learner_of(rule, "each_step", [2, 6, 2], ["logistic"] * 2, init=2.0, engine="cpython", filter_shift=1)
    for trial in range(3):
        learner.begin(trial, False)
        for cost in (0, 500, 20):
            learner.act(cost, (32767, 20000))
        learner.end(7)
    head, mem = learner.state()
    answers = []
    for _ in range(2):
        learner.begin(3, True)
        answers.append(([list(learner.act(9, (32767, 30000))) for _ in range(4)], learner.end(123).checksum))
    assert answers[0] == answers[1]
    after, mem_after = learner.state()
    kept = [layout.BASELINE, *range(layout.PHASE, layout.REMAINDER + 1), *range(layout.PERTURBATION, layout.OWN + 5)]
    h, h_after = (struct.unpack(f"<{len(v) // 4}i", v) for v in (head, after))
    assert [h[i] for i in kept] == [h_after[i] for i in kept]
    n = h[layout.N_WEIGHTS]
    assert mem[: 2 * n] == mem_after[: 2 * n]
    assert h[h[layout.ELIGIBILITY_AT] :] == h_after[h[layout.ELIGIBILITY_AT] :]


def test_a_spike_rate_is_what_an_evaluation_puts_out() -> None:
    """The train in the long run of drawn spikes, and the evaluation's, which adds the mean in every step."""
    learner = learner_of(
        "stochastic_spiking", "running_baseline", [1, 3], ["logistic"], init=2.0, filter_shift=5, peak_shift=1
    )
    means = []
    for evaluate, trials in ((False, 40), (True, 1)):
        h = []
        for trial in range(trials):
            learner.begin(trial, evaluate)
            h += [list(learner.act(0, (15000,))) for _ in range(400)][200:]
            learner.end(0)
        means.append(np.array(h).mean(axis=0) / 32768)
    drawn, expected = means
    assert np.abs(drawn - expected).max() < 0.03
    assert expected.max() - expected.min() > 0.2
    assert max(unit_words(learner, 9)) > 0


def test_a_silent_network_fires_at_its_threshold() -> None:
    """One unit whose synapses always release: it integrates, leaks, fires, and starts again from 0."""
    learner = learner_of(
        "hedonistic_synapse", "running_baseline", [1, 1], ["logistic"], threshold=1000, leak_shift=1, filter_shift=0,
        engine="cpython",
    )  # fmt: skip
    head, mem = learner.head, learner.mem
    mem[0] = mem[1] = 32767
    mem[head[layout.SYNAPSES_AT]], mem[head[layout.SYNAPSES_AT] + 1] = 600, (-60) & 0xFFFF
    learner.begin(0, True)
    trains, potentials = [], []
    for _ in range(6):
        trains.append(learner.act(0, (32767,))[0] > 0)
        potentials += unit_words(learner, 1)
    # 540 a step, less what never quite certain synapses withhold; half of a potential leaks.
    assert [abs(v - w) < 8 for v, w in zip(potentials, (540, 810, 945, 0, 540, 810), strict=True)] == [True] * 6
    assert trains == [False, False, False, True, False, False]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_native_code_agrees_with_python(rule: str, estimator: str) -> None:
    block = block_of(rule, estimator, [2, 5, 2], ["logistic"] * 2, init=1.0, filter_shift=1)
    assert played(block, "cpython") == played(block, "native")
    block = block_of(rule, estimator, [2, 5, 2], ["logistic"] * 2, recurrent=[True, True], init=1.0)
    assert played(block, "cpython") == played(block, "native")


# ------------------------------------------------------------------------------------------------- learning

XOR = """
seed = {seed}
[network]
layers = [2, {hidden}, 1]
activations = ["logistic", "logistic"]
init = {init}
[learner]
rule = "{rule}"
estimator = "{estimator}"
rate = 1
rate_shift = {rate_shift}
baseline_shift = {baseline_shift}
trace_shift = {trace_shift}
{more}
[plant]
kind = "task"
name = "xor"
hold = 16
[run]
trials = 1
steps = 64
"""
SPIKING = "peak_shift = 1\nfilter_shift = 2"
RELEASING = "leak_shift = 1\nfilter_shift = 2\nstrength = 12000"


def solved(rule: str, estimator: str, rate_shift: int, seeds: int, stretches: int) -> int:
    """Return for how many seeds the mean squared error of the four patterns, 16 steps each, falls below 0.1."""
    found = 0
    hidden, more = (10, SPIKING) if rule == "stochastic_spiking" else (24, RELEASING)
    each = estimator == "each_step"
    for seed in range(1, seeds + 1):
        text = XOR.format(
            seed=seed, rule=rule, estimator=estimator, rate_shift=rate_shift, hidden=hidden, more=more,
            baseline_shift=8 if each else 4, trace_shift=3, init=1.0 if rule == "stochastic_spiking" else 0.5,
        )  # fmt: skip
        experiment = parse_experiment(text, "xor")
        block = build_block(experiment)
        learner = LocalLearner(block.rule, block.head, block.mem)
        trials = TaskTrials(learner, block.task, 64)
        for _ in range(stretches):
            list(trials.run(0, [0] * 100, False))
            (ended,) = trials.run(0, [0], True)
            assert experiment.plant.kind == "task"
            if experiment.plant.cost(ended.summary.total, 64, 1) < 0.1:
                found += 1
                break
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("rule", "rate_shift"), [("stochastic_spiking", 15), ("hedonistic_synapse", 15)])
def test_it_learns_exclusive_or(rule: str, rate_shift: int) -> None:
    """Where the control, at a rate next to nothing, does not: a network that knows nothing has about 0.25."""
    assert solved(rule, "each_step", rate_shift, 6, 30) >= 5
    assert solved(rule, "each_step", 29, 6, 3) == 0


# ------------------------------------------------------------------------------------------------- the experiment file


def test_what_a_rule_does_not_have_is_refused() -> None:
    keys: dict[str, Any] = {"seed": 1, "estimator": "each_step", "rate_shift": 9, "baseline_shift": 3, "trace_shift": 3}
    text = XOR.format(rule="hedonistic_synapse", hidden=3, init=1, more="threshold = 9", **keys)
    for old, new, said in (
        ("rate = 1", "rate = 1\namplitude = 0.1", "learner.amplitude: hedonistic_synapse has none"),
        ("threshold = 9", "peak_shift = 3", "learner.peak_shift: hedonistic_synapse has no such key"),
        ('["logistic", "logistic"]', '["tanh", "logistic"]', "network.activations[0]"),
    ):
        with pytest.raises(ExperimentError) as caught:
            parse_experiment(text.replace(old, new, 1), "f")
        assert said in str(caught.value)
