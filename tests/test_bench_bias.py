"""The model-bias experiment: gradients through simulated plants, and what holds without bias (`make bench-bias`)."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bias import document, judging
from bias.cases import CASES, Case
from bias.learning import Measured, cost, descend_one, learned, measure
from bias.sweep import Tried

from subsong.block import build_block
from subsong.compare.statistics import Interval
from subsong.errors import ExperimentError
from subsong.session import evaluation_seeds
from subsong_sim.controls import slopes
from subsong_sim.controls.backprop import Network, evaluate, gradient
from subsong_sim.controls.simulated import Simulated, full_output
from subsong_sim.plants.models import model

Array = np.ndarray[Any, np.dtype[np.float64]]
SEEDS = (1, 2)


def tiny(name: str) -> Case:
    """Return a case that takes no time."""
    case = CASES[name]
    tables = case.experiment(1)
    text = case.text.replace(f"trials = {tables.run.trials}", "trials = 40")
    return case._replace(
        text=text.replace(f"evaluate_every = {tables.run.evaluate_every}", "evaluate_every = 20"),
        horizons=(10,),
        episodes=4,
        updates=10,
    )


def parts(name: str, seeds: list[int]) -> tuple[Network, Simulated]:
    """Return the network of a case's first seed, and the nominal model."""
    block = build_block(CASES[name].experiment(1))
    network = Network.of_block(block.head, block.mem)
    return network, Simulated(name, np.array(list(model(name).PARAMETERS.values())), seeds, full_output(network))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lqr", "dc_motor"])
def test_the_gradient_is_that_of_the_closed_loop(name: str) -> None:
    """Through noise that is drawn by a counter in the state, and through a gear without play."""
    network, plant = parts(name, [3, 1 << 31, (1 << 32) - 1])
    network.weights = np.random.default_rng(1).uniform(-0.5, 0.5, network.weights.size)
    total, slope = gradient(network, plant, 80)
    assert total == pytest.approx(evaluate(network, plant, 80), rel=1e-12)
    weights, h = network.weights, 1e-6
    expected = np.zeros_like(weights)
    for k in range(len(weights)):
        ends = []
        for sign in (1, -1):
            network.weights = weights + sign * h * (np.arange(len(weights)) == k)
            ends.append(evaluate(network, plant, 80))
        expected[k] = (ends[0] - ends[1]) / (2 * h)
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(slope, expected, rtol=1e-5, atol=1e-5 * float(np.abs(expected).max()))


def test_an_episode_that_the_plant_ends_costs_nothing_more_and_has_no_slope(monkeypatch: pytest.MonkeyPatch) -> None:
    """The text that is compiled, uncompiled, on a pendulum that ends beyond 0.5 rad/s."""
    monkeypatch.setattr(slopes, "_step", slopes._step.py_func)
    monkeypatch.setattr(slopes, "done", lambda state, _: abs(state[1]) > 0.5)
    p = np.array(list(model("pendulum").PARAMETERS.values()))
    actuators = np.array([[-2.0, 2.0, 1.0]])
    states, u = np.array([[0.1, 0.0, 1.0], [2.0, 0.4, 1.0], [2.0, 0.4, 0.0]]), np.full((3, 1), 0.25)
    after, costs = states.copy(), np.zeros(3)
    slopes.act_all.py_func(after, u, p, actuators, costs)
    assert after[:, 2].tolist() == [1, 0, 0]
    assert after[2].tolist() == states[2].tolist()
    assert costs == pytest.approx([0.1**2 + 0.001 * 0.5**2, 2**2 + 0.1 * 0.4**2 + 0.001 * 0.5**2, 0])
    d_states, d_u = np.zeros((3, 3)), np.zeros((3, 1))
    slopes.act_back.py_func(states, u, p, actuators, np.ones((3, 3)), d_states, d_u)
    assert (d_states[:2, :2] != 0).all()
    assert (d_u[:2] != 0).all()
    assert d_states[2].tolist() == [0, 0, 0]
    assert d_u[2] == 0


@pytest.mark.slow
def test_the_model_costs_what_the_plant_in_words_costs() -> None:
    """Real numbers against the kernels' integers, in the same episodes: sensors and actuators are mapped alike."""
    case = CASES["dc_motor"]
    experiment = case.experiment(1)
    mem = descend_one(case._replace(updates=20), 1)
    network, plant = parts("dc_motor", evaluation_seeds(experiment))
    before = evaluate(network, plant, experiment.run.steps)
    assert cost(experiment) == pytest.approx(before, rel=0.01)
    network = Network.of_block(build_block(experiment).head, mem)
    after = evaluate(network, plant, experiment.run.steps)
    assert after < before / 100
    assert cost(experiment, mem) == pytest.approx(after, rel=0.01)


@pytest.mark.slow
def test_without_bias_model_and_plant_are_one_and_the_same_run(tmp_path: Path) -> None:
    case = tiny("dc_motor")
    found = measure(case, [0.0, 1.0], SEEDS)
    assert [course[-1][1] for course in found.on_plant[0]] == found.on_model[0]
    assert [course[-1][1] for course in found.on_plant[1]] != found.on_model[1]
    experiments = [case.experiment(seed) for seed in SEEDS]
    nominal, true = (learned(experiments, mismatch=mismatch) for mismatch in (False, True))
    for experiment, one, other, course in zip(experiments, nominal, true, found.on_plant[0], strict=True):
        assert one.state == other.state
        assert one.evaluations == other.evaluations == course[1:]
        assert cost(experiment, one.state[1]) == one.final
        assert course[0] == (0, cost(experiment))
    for rows, courses in (
        (found.through_model, found.tuned_through_model),
        (found.on_model, found.tuned_on_model),
        (found.untrained, found.on_plant),
    ):
        assert [[course[0][1] for course in row] for row in courses] == rows
    assert measure(case, [0.0, 1.0], SEEDS) == found
    judged = judging.judge(found)
    assert judged.lost["on_model"][0] == judging.Centre(0, Interval(0, 0, 0.95))
    written = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        sweeps = {"dc_motor": [Tried(0.1, 7, 5.0, 30.0)]}
        document.write(folder, {"dc_motor": judged}, sweeps, found.severities, len(SEEDS), "command\n")
        written.append([(folder / "docs" / name).read_bytes() for name in ("bias.md", "images/bias.svg")])
    assert written[0] == written[1]
    assert b"| 0.1, 2^-7 | 5, 30 |" in written[0][0]


def test_bias_grows_from_none() -> None:
    for name, case in CASES.items():
        nominal = model(name).PARAMETERS | case.experiment(1).plant_spec().parameters
        assert case.true(0) == {key: nominal[key] for key in case.severe}
        assert case.true(1) == pytest.approx(dict(case.severe))
        assert case.experiment(5, 0.25).mismatch().parameters == case.true(0.25)


def test_software_stops_where_it_loses_for_good() -> None:
    def lost(*lows: float) -> list[judging.Centre]:
        return [judging.Centre(low + 1, Interval(low, low + 2, 0.95)) for low in lows]

    assert judging.limit([0, 0.5, 1], lost(-1, 1, 1)) == 0.5
    assert judging.limit([0, 0.5, 1], lost(1, -1, 1)) == 1
    assert judging.limit([0, 0.5, 1], lost(1, 1, 0)) is None
    assert judging.limit([0, 1], [judging.Centre(9, None)] * 2) is None


def test_trials_are_counted_until_hardwares_cost_is_near() -> None:
    scratch = [(0, 99.0), (10, 30.0), (20, 20.0)]
    tuned = [(0, 22.0), (10, 20.0)], [(0, 23.0), (10, 25.0)]
    found = Measured([0.5], [[99.0]], [[22.0]], [[23.0]], [[scratch]], [[tuned[0]]], [[tuned[1]]])
    judged = judging.judge(found)
    assert judged.trials == {"untrained": [[20]], "through_model": [[0]], "on_model": [[math.inf]]}
    assert judged.lost["through_model"] == [judging.Centre(2, None)]
    assert document.spent([0, 100, 1200, math.inf]) == "100 (0 .. 1,200)"


def test_another_networks_weights_are_refused() -> None:
    block = build_block(CASES["lqr"].experiment(1))
    with pytest.raises(ExperimentError, match="take weights of the same network and rule"):
        build_block(CASES["pendulum"].experiment(1)).holding(block.mem)
