"""The controls that search: what they keep, what they take back, and that they learn where nothing is left to luck."""

import random

import numpy as np
import pytest

from cases import Setup, weights_of
from subsong.errors import ExperimentError
from subsong.experiment import Experiment, parse_experiment
from subsong.experiment_text import example_text
from subsong.rules import TABLE
from subsong.session import simulate
from subsong_device import layout
from subsong_sim.engines import LocalLearner

SEARCHES = ("keep_if_better", "run_and_tumble")
AMPLITUDE = 200


class Search:
    """A learner by search, trials of one step, and what each did to the weights.

    Attributes:
        clipped: weights that the last trial's end clipped.
    """

    def __init__(self, rule: str, init: int = 1000) -> None:
        setup = Setup(layers=(3, 4, 2), activations=("tanh", "identity"), amplitude=AMPLITUDE, init=init, seed=3)
        block = setup.block()  # weight perturbation's, whose memory is the same
        self.learner = LocalLearner(rule, block.head, block.mem, "cpython")
        self.learner.head[layout.ESTIMATOR] = layout.BEST_SO_FAR
        self.trial = self.clipped = 0

    def weights(self) -> np.ndarray:
        """Return the weights, LSBs."""
        return np.array(weights_of(*self.learner.state()))

    def play(self, cost: int, evaluate: bool = False) -> np.ndarray:
        """Play a trial that costs so much; return its perturbation, LSBs."""
        before = self.weights()
        self.learner.begin(self.trial, evaluate)
        self.learner.act(0, (100, -200, 300))
        perturbation: np.ndarray = self.weights() - before
        drives = self.learner.head[layout.SATURATED]
        self.learner.end(cost)
        self.clipped = self.learner.head[layout.SATURATED] - drives
        self.trial += 1
        return perturbation


@pytest.mark.parametrize("rule", SEARCHES)
def test_a_step_is_kept_only_if_the_cost_is_the_least_so_far(rule: str) -> None:
    """Word for word: a step that is taken back leaves no trace in any weight, and no memory of its cost."""
    search = Search(rule)
    rng = random.Random(1)
    best, kept = None, 0
    for _ in range(200):
        before = search.weights()
        cost = rng.randint(-(10**6), 10**6) if rng.random() < 0.9 else rng.choice([best or 0, (best or 0) - 1])
        perturbation = search.play(cost)
        assert (np.abs(perturbation) == AMPLITUDE).all()
        better = best is None or cost < best
        kept += better
        best = cost if better else best
        assert (search.weights() == before + perturbation * better).all()
        assert search.learner.head[layout.BASELINE] == best
    assert 3 < kept < 60


def test_a_run_goes_on_along_its_direction_and_a_tumble_takes_another() -> None:
    search = Search("run_and_tumble")
    first = search.play(100)
    assert (search.play(90) == first).all()
    assert (search.play(80) == first).all()
    search.play(0, evaluate=True)
    assert (search.play(80) == first).all(), "an evaluation is no part of the run, and 80 is no better than 80"
    second = search.play(79)
    assert (second != first).any()
    assert (search.play(78) == second).all()


def test_keep_if_better_takes_another_direction_whatever_came_of_the_last() -> None:
    search = Search("keep_if_better")
    steps = [search.play(cost) for cost in (100, 90, 95, 80, 70)]
    assert len(np.unique(np.array(steps), axis=0)) == len(steps)


@pytest.mark.parametrize("rule", SEARCHES)
def test_what_is_kept_stays_within_the_limits_and_what_is_taken_back_is_the_same(rule: str) -> None:
    """At the limit a kept step is clipped, and counted; then taking back is still exact."""
    search = Search(rule)
    limit = search.learner.head[layout.LIMIT]
    assert limit == 32767 - AMPLITUDE
    n = search.learner.head[layout.N_WEIGHTS]
    for k in range(n):
        search.learner.mem[k] = limit if k % 2 else -limit & 0xFFFF
    before = search.weights()
    perturbation = search.play(100)
    assert (search.weights() == np.clip(before + perturbation, -limit, limit)).all()
    outward = int((np.abs(before + perturbation) > limit).sum())
    assert 0 < outward == search.clipped
    before = search.weights()
    search.play(200)
    assert (search.weights() == before).all()
    assert search.clipped == 0


@pytest.mark.parametrize("rule", SEARCHES)
def test_search_learns_exclusive_or_where_no_cost_is_left_to_luck(rule: str) -> None:
    """Five seeds, beside the same trials without a step that counts."""
    for seed in range(1, 6):
        experiment = parse_experiment(example_text(rule), rule).with_seed(seed)
        learned = simulate(experiment, out=None, engine="cpython")
        assert learned.final is not None and learned.final <= 0.04
        assert learned.trials <= 2000
    tables = experiment.model_dump()
    tables["learner"]["amplitude"] = 2.0**-11  # one LSB: there is no way to go
    tables["run"]["trials"] = 400
    control = simulate(Experiment.model_validate(tables), out=None, engine="cpython")
    assert control.final is not None and control.final > 0.1


@pytest.mark.parametrize("rule", SEARCHES)
def test_a_search_has_no_rate_and_one_estimator(rule: str) -> None:
    text = example_text(rule)
    experiment = parse_experiment(text, rule)
    assert experiment.learner.estimator == "best_so_far"
    assert "rate" not in experiment.to_toml()
    for key in ("rate = 1", "rate_shift = 0", 'estimator = "two_sided"'):
        with pytest.raises(ExperimentError, match=key.split(" = ")[0]):
            parse_experiment(text.replace("amplitude =", f"{key}\namplitude =", 1), rule)
    assert {each.name for each in TABLE if not each.rated} == set(SEARCHES)
