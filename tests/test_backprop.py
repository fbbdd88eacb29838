"""Back-propagation through a model: exact where the model is right, misled where it is not, and words in the end."""

from typing import Any

import numpy as np
import pytest

from cases import Setup
from subsong.block import build_block
from subsong.experiment import Experiment, parse_experiment
from subsong.experiment_text import example_text
from subsong_device import layout
from subsong_sim.controls.backprop import Linear, Model, Network, Targets, descend, evaluate, gradient
from subsong_sim.engines import LocalLearner
from subsong_sim.trials import TaskTrials

Array = np.ndarray[Any, np.dtype[np.float64]]
KINDS = ("identity", "hard_tanh", "tanh", "logistic")


def network_of(
    layers: list[int], activations: list[str], recurrent: list[bool] | None = None, seed: int = 1
) -> Network:
    """Return the network of a block with random weights."""
    network = Network.of_block(*block_of(layers, activations, recurrent))
    rng = np.random.default_rng(1)
    network.weights = rng.uniform(-0.8, 0.8, network.weights.size)
    return network


def block_of(layers: list[int], activations: list[str], recurrent: list[bool] | None = None) -> tuple[bytes, bytes]:
    """Return head and mem."""
    tables = parse_experiment(Setup().toml(), "f").model_dump(exclude_none=True)
    tables["network"] |= {"layers": layers, "activations": activations, "recurrent": recurrent or [], "init": 0.5}
    block = build_block(Experiment.model_validate(tables))
    return block.head, block.mem


def differences(network: Network, model: Model, steps: int) -> Array:
    """Return the slope by central differences."""
    weights, h = network.weights, 1e-6
    slope = np.zeros_like(weights)
    for k in range(len(weights)):
        ends = []
        for sign in (1, -1):
            moved = weights.copy()
            moved[k] += sign * h
            network.weights = moved
            ends.append(evaluate(network, model, steps))
        slope[k] = (ends[0] - ends[1]) / (2 * h)
    network.weights = weights
    return slope


def check(network: Network, model: Model, steps: int) -> None:
    """Hold the gradient against differences."""
    cost, slope = gradient(network, model, steps)
    assert cost == pytest.approx(evaluate(network, model, steps), rel=1e-12)
    expected = differences(network, model, steps)
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(slope, expected, rtol=2e-6, atol=2e-8)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("recurrent", [[False, False], [True, False], [True, True]])
def test_the_gradient_is_that_of_the_cost(kind: str, recurrent: list[bool]) -> None:
    """Through layers and steps, every activation, some steps weighted more than others and some not at all."""
    rng = np.random.default_rng(2)
    network = network_of([3, 4, 2], [kind, kind], recurrent)
    model = Targets(rng.uniform(-1, 1, (5, 6, 3)), rng.uniform(-1, 1, (5, 6, 2)), np.array([0, 1, 0, 0, 2, 1.0]))
    check(network, model, 6)


def plant(a: Array, starts: Array, noise: Array, q: float = 0.001) -> Linear:
    """Return the plant of the LQR task, or one with another A, or another cost of its state."""
    return Linear(a, np.eye(3), q * np.eye(3), np.eye(3), starts, noise, sense_gain=1 / 8)


A = np.array([[1.01, 0.01, 0], [0.01, 1.01, 0.01], [0, 0.01, 1.01]])


@pytest.mark.parametrize("recurrent", [False, True])
def test_the_gradient_goes_through_a_plant_in_closed_loop(recurrent: bool) -> None:
    rng = np.random.default_rng(3)
    model = plant(A, rng.normal(size=(6, 3)), rng.normal(size=(6, 8, 3)))
    check(network_of([3, 4, 3], ["tanh", "identity"], [recurrent, False]), model, 8)


def test_a_drive_that_saturates_passes_no_gradient() -> None:
    network = network_of([1, 1], ["identity"])
    network.weights = np.array([9.0, 0.0])
    model = Targets(np.ones((1, 1, 1)), np.zeros((1, 1, 1)))
    assert evaluate(network, model, 1) == 64
    assert (gradient(network, model, 1)[1] == 0).all()


# ------------------------------------------------------------------------------------------------- words


@pytest.mark.parametrize("rule", ["weight_perturbation", "node_perturbation", "hebb"])
def test_a_block_that_is_read_and_written_is_the_same(rule: str) -> None:
    text = example_text("hebb").replace('"hebb"', f'"{rule}"')
    if rule == "weight_perturbation":
        text = text.replace('"each_step"', '"two_sided"').replace("trace_shift", "#")
    block = build_block(parse_experiment(text, "f"))
    network = Network.of_block(block.head, block.mem)
    assert network.weight_frac == 11
    assert network.into_block(block.mem) == block.mem
    network.weights = network.weights + 0.4 * 2.0**-11
    assert network.into_block(block.mem) == block.mem
    network.weights = np.full_like(network.weights, -99.0)
    head = np.frombuffer(block.head, "<i4")
    words = np.frombuffer(network.into_block(block.mem), "<i2")[: head[layout.N_WEIGHTS]]
    assert (words == -head[layout.LIMIT]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_float_network_is_the_kernels(kind: str) -> None:
    """Step after step of a recurrent network, to the bits that words have."""
    head, mem = block_of([3, 4, 2], [kind, "identity"], [True, False])
    network = Network.of_block(head, mem)
    learner = LocalLearner("weight_perturbation", head, mem, "cpython")
    learner.begin(0, True)
    rng = np.random.default_rng(4)
    passes: list[Any] = []
    for _ in range(5):
        x = rng.integers(-32767, 32768, 3)
        u = np.array(learner.act(0, x.tolist())) / 4096
        passes = network.step(x[None] / 32768, passes)
        np.testing.assert_allclose(u, passes[-1].y[0], atol=0.01 if kind == "identity" else 0.003)


def test_exclusive_or_is_learned_and_survives_its_words() -> None:
    """From a seed's own initial weights to the kernels' evaluation of what they became."""
    experiment = parse_experiment(example_text("xor"), "xor")
    block = build_block(experiment)
    network = Network.of_block(block.head, block.mem)
    inputs = np.array([[0, 0], [0, 1], [1, 0], [1, 1.0]])[:, None] * (32767 / 32768)
    model = Targets(inputs, np.array([0, 1, 1, 0.0])[:, None, None])
    costs = descend(network, model, 1, updates=500, stop=0.005)
    assert costs[0] > 0.2
    assert costs[-1] <= 0.005
    learner = LocalLearner(block.rule, block.head, network.into_block(block.mem), "cpython")
    (ended,) = TaskTrials(learner, block.task, 4).run(0, [0], True)
    assert ended.summary.total / 2**26 == pytest.approx(costs[-1], rel=0.05)


# ------------------------------------------------------------------------------------------------- right and wrong


def average_cost(gain: Array, q: float) -> float:
    """Return the exact mean cost of a step, v = gain s, unit noise; infinite where the loop is unstable."""
    loop = A + gain
    if np.abs(np.linalg.eigvals(loop)).max() >= 1:
        return np.inf
    covariance = np.linalg.solve(np.eye(9) - np.kron(loop, loop), np.eye(3).ravel()).reshape(3, 3)
    return float(np.trace((q * np.eye(3) + gain.T @ gain) @ covariance))


def best_gain(a: Array, q: float) -> Array:
    """Return the optimal gain, by Riccati's equation."""
    p = np.eye(3)
    for _ in range(5000):
        k = np.linalg.solve(np.eye(3) + p, p @ a)
        p = q * np.eye(3) + a.T @ p @ (a - k)
    return -k


def test_a_right_model_finds_the_optimum_and_a_wrong_one_does_not() -> None:
    """LQR: Riccati's cost to a thousandth. Believing the plant to lose 20 % a step, the best for such a plant.

    The mean cost of a step under unit noise is the cost, without noise, of all steps that follow unit vectors. The
    state's cost is 50 times the task's, so that looking 40 steps ahead is enough.
    """
    assert average_cost(best_gain(A, 0.001), 0.001) == pytest.approx(0.137287, rel=1e-5)
    q = 0.05
    optimum = average_cost(best_gain(A, q), q)
    starts = np.concatenate([np.eye(3), -np.eye(3)])

    def learned(believed: Array) -> float:
        network = Network.of_block(*block_of([3, 3], ["identity"]))
        network.weights = np.zeros(12)
        descend(network, plant(believed, starts, np.zeros((6, 40, 3)), q), 40, updates=60)
        network.weights = np.rint(network.weights * 2**11) / 2**11
        return average_cost(network.layers[0].weights[:, :3] / 8, q)

    assert learned(A) < 1.001 * optimum
    wrong = A - 0.2 * np.eye(3)
    assert learned(wrong) == pytest.approx(average_cost(best_gain(wrong, q), q), rel=0.01)
    assert learned(wrong) > 1.3 * optimum
