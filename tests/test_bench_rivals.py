"""The simulator's rivals learn what it learns, or a comparison of speeds means nothing (`make bench-rivals`)."""

import dataclasses
import sys
from pathlib import Path

import pytest
from sim import frameworks

pytestmark = pytest.mark.slow

XOR = frameworks.xor("weight_perturbation", 4000)
XOR_NODES = frameworks.xor("node_perturbation", 4000)
CARTPOLE = frameworks.cartpole("weight_perturbation", 60)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frameworks, "PYTHON", Path(sys.executable))


@pytest.mark.parametrize("task", [XOR, XOR_NODES, CARTPOLE], ids=["weights", "nodes", "cart"])
def test_numpy_learns_as_subsong_does_with_the_same_settings(task: frameworks.Task) -> None:
    reference = frameworks.ours(task, [64], 64, 0.01)
    rival = frameworks.ask("numpy_rival", task, [64], 64, 0.01)
    assert rival is not None
    assert frameworks.learns(rival, reference)
    assert frameworks.learns(reference, rival)


def test_a_rate_next_to_nothing_does_not_pass_for_learning() -> None:
    learner = XOR.experiment.learner.model_copy(update={"rate_shift": 29})
    idle = dataclasses.replace(XOR, experiment=XOR.experiment.model_copy(update={"learner": learner}))
    assert not frameworks.learns(frameworks.ours(idle, [64], 64, 0.01), frameworks.ours(XOR, [64], 64, 0.01))


def test_a_framework_that_is_missing_is_no_answer() -> None:
    assert frameworks.ask("missing_rival", XOR, [1], 1, 0.01) is None


def test_real_units_say_what_words_say() -> None:
    problem = XOR.problem()
    # rate 1, shift 12: LSBs of 2**-11 a count of 2**-24.
    assert problem["eta"] == 2.0
    assert XOR_NODES.problem()["eta"] == 3 / 16
    assert CARTPOLE.problem()["ranges"] == [2.4, 2.0, 0.1, 0.6]
