"""Integrate-and-fire units, and the rule that perturbs their conductances."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cases import head_words, weights_of
from subsong.block import Block, build_block
from subsong.errors import ExperimentError
from subsong.experiment import Experiment, parse_experiment
from subsong.experiment_text import example_text
from subsong.session import simulate
from subsong_device import layout
from subsong_sim import loader
from subsong_sim.engines import LocalLearner

RULES = ("conductance_perturbation", "songbird")


def toml(rule: str, **keys: str) -> str:
    """Return an experiment of a spiking rule."""
    given = {
        "layers": "[3, 4, 2]",
        "activations": '["integrate_fire", "integrate_fire"]' if rule == RULES[0] else '["integrate_fire", "identity"]',
        "estimator": '"each_step"',
        "rate": "1",
        "rate_shift": "14",
        "amplitude": "1.0",
        "init": "6.0",
        **keys,
    }
    network = "\n".join(f"{k} = {given.pop(k)}" for k in ("layers", "activations", "init", "recurrent") if k in given)
    learner = "\n".join(f"{k} = {v}" for k, v in given.items())
    return f"""
[network]
{network}
[learner]
rule = "{rule}"
{learner}
[plant]
kind = "gymnasium"
id = "None-v0"
[run]
trials = 1
steps = 1
"""


def block_of(rule: str, **keys: str) -> Block:
    """Build a block of a spiking rule."""
    return build_block(parse_experiment(toml(rule, **keys), "test"))


# ---------------------------------------------------------------------------------------------------- units


def float_rate(g: float, leak_shift: int, refractory: int, ticks: int) -> float:
    """Return spikes a tick of the same unit in float64."""
    v, wait, spikes = 0.0, 0, 0
    reversal = 4.0 if g > 0 else -1.0
    for _ in range(ticks):
        if wait:
            wait -= 1
            continue
        v = max(v + (abs(g) * (reversal - v) - v) / 2**leak_shift, -1.0)
        if v >= 1.0:
            v, wait, spikes = 0.0, refractory, spikes + 1
    return spikes / ticks


def integer_rate(fire: Any, g: int, leak_shift: int, refractory: int, ticks: int) -> float:
    """Return spikes a tick of the kernel's unit; g: conductance word."""
    head, mem = [0] * layout.LAYERS_AT, [0] * 4
    head[layout.LEAK_SHIFT], head[layout.SYNAPSE_SHIFT] = leak_shift, 0
    head[layout.SPIKE_SHIFT], head[layout.REFRACTORY] = 1, refractory
    spikes = 0
    for _ in range(ticks):
        mem[0] = g & 0xFFFF
        fire(head, mem, 0, 1, 1)
        # Synapses that forget within a tick: an activation is a spike.
        assert mem[0] in (0, 16384)
        spikes += mem[0] != 0
    return spikes / ticks


@pytest.mark.parametrize("leak_shift", [2, 4, 6])
@pytest.mark.parametrize("refractory", [0, 3])
def test_the_rate_of_a_unit_is_that_of_the_same_unit_in_float64(leak_shift: int, refractory: int) -> None:
    fire = loader.load("subsong_device.kernels.integrate_fire", (), "cpython").fire
    ticks = 600
    tolerance = (2 ** (leak_shift - 1) + 1) / 3  # conductance LSBs: docs/arithmetic.md says why
    rates = set()
    for g in (-32768, -4096, -1, 0, 1000, *range(1340, 1410, 7), *range(1500, 32767, 1201), 32767):
        got = integer_rate(fire, g, leak_shift, refractory, ticks)
        rates.add(got)
        slow, fast = ((g + d) / 4096 for d in (-tolerance, tolerance))
        assert float_rate(slow, leak_shift, refractory, ticks) <= got <= float_rate(fast, leak_shift, refractory, ticks)
    assert min(rates) == 0.0 and max(rates) > 0.15


def test_a_unit_never_leaves_its_range() -> None:
    fire = loader.load("subsong_device.kernels.integrate_fire", (), "cpython").fire
    rng = np.random.default_rng(1)
    for leak_shift in (1, 2, 12):
        head, mem = [0] * layout.LAYERS_AT, [0] * 4
        head[layout.LEAK_SHIFT], head[layout.SYNAPSE_SHIFT] = leak_shift, 14
        head[layout.SPIKE_SHIFT] = 1
        for g in rng.choice([-32768, 32767, 0, 1365, -5000], 500):
            mem[0] = int(g) & 0xFFFF
            fire(head, mem, 0, 1, 1)
            assert -4096 <= ((mem[1] ^ 0x8000) - 0x8000) < 4096
            assert 0 <= mem[2] <= 32767 and mem[0] == mem[2]


def test_an_activation_fades_to_nothing() -> None:
    fire = loader.load("subsong_device.kernels.integrate_fire", (), "cpython").fire
    head, mem = [0] * layout.LAYERS_AT, [0, 0, 32767, 0]
    head[layout.LEAK_SHIFT], head[layout.SYNAPSE_SHIFT], head[layout.SPIKE_SHIFT] = 3, 5, 2
    for _ in range(600):
        mem[0] = 0
        fire(head, mem, 0, 1, 1)
    assert mem == [0, 0, 0, 0]


# ---------------------------------------------------------------------------------------------- eligibility

NETWORKS = {
    "layers": (RULES[0], {}),
    "recurrent": (RULES[0], {"layers": "[3, 4]", "activations": '["integrate_fire"]', "recurrent": "[true]"}),
    "ticks": (RULES[0], {"tick_shift": "3", "recurrent": "[true, false]"}),
    "song": (RULES[1], {"lman_shift": "1"}),
}


def play(learner: LocalLearner, trials: int, steps: int, cost: Any, evaluate: bool = False) -> None:
    """Play trials with inputs that repeat, and costs that cost(step) gives."""
    for n in range(trials):
        learner.begin(n, evaluate)
        for t in range(steps):
            learner.act(cost(t), [20000, -15000 * (t & 1), 32767 * ((t >> 1) & 1)])
        learner.end(cost(steps))


def eligibility_of(learner: LocalLearner, n: int) -> NDArray[np.int64]:
    """Return the eligibility."""
    at = int(learner.head[layout.ELIGIBILITY_AT])
    return np.array(learner.head[at : at + n], np.int64)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_an_eligibility_has_zero_mean(name: str) -> None:
    rule, keys = NETWORKS[name]
    block = block_of(rule, **{**keys, "estimator": '"running_baseline"'})
    learner = LocalLearner(rule, block.head, block.mem)
    n = int(learner.head[layout.N_WEIGHTS])
    found = []
    for _ in range(500):
        play(learner, 1, 8, lambda _: 0)
        found.append(eligibility_of(learner, n))
    e = np.array(found)
    spread = e.std(axis=0)
    z = e.mean(axis=0) / np.maximum(spread, 1e-9) * len(e) ** 0.5
    assert (spread > 0).sum() >= n - 10, "of neurons that burst, at least"
    assert np.abs(z).max() < 4.5


@pytest.mark.parametrize("name", NETWORKS)
def test_a_cost_that_does_not_depend_on_the_perturbation_moves_nothing_on_average(name: str) -> None:
    rule, keys = NETWORKS[name]
    block = block_of(rule, **{**keys, "rate": "4000", "rate_shift": "19"})
    start = np.array(weights_of(block.head, block.mem))
    rng = np.random.default_rng(7)
    moved = []
    for k in range(120):
        head = np.frombuffer(block.head, "<i4").copy()
        words = rng.integers(1, 65536, 4)
        head[layout.PERTURBATION : layout.PERTURBATION + 2] = words[:2]
        head[layout.ROUNDING : layout.ROUNDING + 2] = words[2:]
        learner = LocalLearner(rule, head.tobytes(), block.mem)
        play(learner, 2, 12, lambda t, k=k: 40 * ((t * t + k) % 7) + 100)
        moved.append(np.array(weights_of(*learner.state())) - start)
    d = np.array(moved)
    assert d.std() > 1.0, "weights do move"
    z = d.mean(axis=0) / np.maximum(d.std(axis=0), 1e-9) * len(d) ** 0.5
    assert np.abs(z[d.std(axis=0) > 0]).max() < 4.5


def test_the_songbird_does_not_learn_its_motor_pools() -> None:
    block = block_of("songbird", layers="[3, 5, 2]", rate="16383", rate_shift="8")
    before = weights_of(block.head, block.mem)
    learner = LocalLearner("songbird", block.head, block.mem, "cpython")
    play(learner, 2, 12, lambda t: 100 * t)
    after = weights_of(*learner.state())
    assert before[20:] == after[20:]
    assert before[:20] != after[:20]
    # Pools of unit 0: RA neurons 0, 2, 4; of unit 1: 1 and 3. Push, pull, push.
    assert before[20:] == [2048, 0, -4096, 0, 2048, 0, 0, 4096, 0, -4096, 0, 0]


def test_an_evaluation_perturbs_and_changes_nothing() -> None:
    for rule in RULES:
        block = block_of(rule)
        learner = LocalLearner(rule, block.head, block.mem, "cpython")
        play(learner, 1, 10, lambda t: 300 * t)
        head, mem = learner.state()
        us = []
        for _ in range(2):
            learner.begin(1, True)
            us.append([learner.act(5, [30000, 30000, 30000]) for _ in range(10)])
            learner.end(5)
        again_head, again_mem = learner.state()
        assert us[0] == us[1]
        assert weights_of(head, mem) == weights_of(again_head, again_mem)
        for at in (layout.BASELINE, layout.PERTURBATION, layout.PERTURBATION + 1, layout.ROUNDING):
            assert head_words(head)[at] == head_words(again_head)[at]


# -------------------------------------------------------------------------------------------------- engines


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("estimator", ["running_baseline", "unperturbed_trial", "two_sided", "each_step"])
def test_native_code_agrees_with_python(rule: str, estimator: str) -> None:
    other = {"tick_shift": "2", "recurrent": "[true, false]"} if rule == RULES[0] else {"lman_shift": "2"}
    block = block_of(rule, estimator=f'"{estimator}"', layers="[3, 17, 2]", **other)
    learners = [LocalLearner(rule, block.head, block.mem, engine) for engine in ("cpython", "native")]
    for n in range(5):
        for learner in learners:
            learner.begin(n, n == 2)
        for t in range(9):
            x = [20000 - 3000 * t, 32767 * (t & 1), -9000 * t % 32768]
            assert learners[0].act(1000 * t * n, x) == learners[1].act(1000 * t * n, x)
        assert learners[0].end(77 * n) == learners[1].end(77 * n)
        assert learners[0].state() == learners[1].state()
    assert weights_of(*learners[0].state()) != weights_of(block.head, block.mem)


def test_what_a_rule_cannot_learn_is_refused() -> None:
    wrong = {
        '"integrate_fire" is none of node_perturbation': toml(
            "node_perturbation", activations='["integrate_fire", "tanh"]'
        ),
        "there is none": toml(RULES[0], activations='["tanh", "tanh"]'),
        "driven by sensors alone": toml(RULES[1], activations='["integrate_fire", "integrate_fire"]'),
        "no recurrent layer": toml(RULES[1], recurrent="[true, false]"),
        "with songbird": toml(RULES[0], lman_shift="1"),
    }
    for message, text in wrong.items():
        with pytest.raises(ExperimentError, match=message):
            parse_experiment(text, "test")


# ------------------------------------------------------------------------------------------------- learning


def xor(seed: int, **run: int) -> Experiment:
    """Return the shipped example with another seed."""
    experiment = parse_experiment(example_text("conductance_perturbation"), "test").with_seed(seed)
    return experiment.model_copy(update={"run": experiment.run.model_copy(update=run)})


@pytest.mark.slow
def test_spiking_units_learn_exclusive_or_and_those_that_learn_next_to_nothing_do_not() -> None:
    solved, control = [], []
    for seed in range(1, 7):
        experiment = xor(seed, trials=6000)
        solved.append(simulate(experiment, out=None).final)
        still = experiment.learner.model_copy(update={"rate": 1, "rate_shift": 29})
        control.append(simulate(experiment.model_copy(update={"learner": still}), out=None).final)
    assert sum(final is not None and final <= 0.04 for final in solved) >= 4
    assert all(final is not None and final > 0.1 for final in control)
