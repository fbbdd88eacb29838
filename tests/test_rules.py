"""Every rule of the registry, held to what the family rests on: an eligibility of zero mean, and what follows from it.

A new row of subsong.rules.TABLE is covered without a change here: its example experiment says what network it wants.
"""

import itertools
import math
import random
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from cases import Case, Step, Trial, assert_equal, cpython_engine, local_engine
from learning import example_of
from subsong import rules
from subsong.block import Block, build_block
from subsong.experiment import Experiment, parse_experiment
from subsong.experiment_text import example_text
from subsong.rules import TABLE, WEIGHT, Rule
from subsong.session import simulate
from subsong_device import layout
from subsong_sim.engines import LocalLearner

Array = np.ndarray[Any, np.dtype[np.float64]]
BY_NAME = pytest.mark.parametrize("rule", TABLE, ids=lambda rule: rule.name)
DOCUMENT = Path(__file__).parents[1] / "docs" / "rules.md"
FAR, NEAR = 7.0, 4.5  # standard errors: what has a mean lies beyond one, what has none within the other


class Played(NamedTuple):
    """What two trials left behind.

    Attributes:
        eligibility: in its own LSBs, before the second trial's end.
        move: of every weight, LSBs.
    """

    eligibility: Array
    move: Array


class Bench:
    """A learner that always begins anew, from the same words but those of its chance.

    Args:
        rule: of the block.
        block: its words.
        steps: of a trial.
        fall: how much less every step costs than the one before, counts. Costs have nothing to do with perturbations.
    """

    def __init__(self, rule: Rule, block: Block, steps: int, fall: int) -> None:
        self.rule, self.steps, self.fall = rule, steps, fall
        self.learner = LocalLearner(block.rule, block.head, block.mem, "cpython")
        self.head, self.mem = self.learner.head[:], self.learner.mem[:]
        inputs = random.Random(5)
        self.inputs = [[inputs.randint(8000, 32767) for _ in range(block.n_sensors)] for _ in range(steps)]
        self.n_weights = self.head[layout.N_WEIGHTS]
        self.chances = states(300 if self.n_weights < 60 else 100)

    def weights(self) -> Array:
        """Return the weights, LSBs."""
        return np.array(self.learner.mem[: self.n_weights], np.uint16).astype(np.int16).astype(np.float64)

    def play(self, perturbation: tuple[int, int], rounding: tuple[int, int], trials: int = 2) -> Played:
        """Play trials, from given states of the two streams."""
        learner = self.learner
        learner.head[:], learner.mem[:] = self.head, self.mem
        learner.head[layout.PERTURBATION : layout.PERTURBATION + 2] = self.words(perturbation)
        learner.head[layout.ROUNDING : layout.ROUNDING + 2] = self.words(rounding)
        before = self.weights()
        cost = 1 << 27
        eligibility = np.zeros(0)
        for trial in range(trials):
            start = self.weights()
            learner.begin(trial, False)
            for x in self.inputs:
                learner.act(0 if x is self.inputs[0] else cost // self.steps, x)
                cost -= self.fall
            eligibility = self.weights() - start if self.rule.perturbs == WEIGHT else self.eligibility()
            learner.end(cost // self.steps)
        return Played(eligibility, self.weights() - before)

    def words(self, state: tuple[int, int]) -> Any:
        """Return a stream's state as a slice of head."""
        return type(self.head)("i", state)

    def eligibility(self) -> Array:
        """Return the eligibilities."""
        at = self.learner.head[layout.ELIGIBILITY_AT]
        return np.array(self.learner.head[at : at + self.n_weights], float)


def bench(rule: Rule) -> Bench:
    """Return a bench with the network of the rule's example, and costs that make weights move by a few LSBs."""
    experiment = example_of(rule.name)
    block = build_block(experiment)
    steps = min(3, experiment.run.steps)
    of = Bench(rule, block, steps, 1 << 8)
    while np.abs(of.play((1, 2), (3, 4)).move).max() <= 8 and of.fall < 1 << 25:
        of.fall *= 2
    return of


def states(n: int) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Return n states of both streams."""
    rng = random.Random(7)
    return [((rng.randint(1, 65535), rng.randint(0, 65535)), (rng.randint(1, 65535), 9)) for _ in range(n)]


def z_scores(samples: Array) -> Array:
    """Return mean over standard error of every column that varies at all, 0 for one that is always 0."""
    error = samples.std(axis=0, ddof=1) / math.sqrt(len(samples))
    mean: Array = samples.mean(axis=0)
    return np.divide(mean, error, out=np.where(mean == 0, 0.0, np.inf), where=error > 0)


# ------------------------------------------------------------------------------------------------- zero mean


@BY_NAME
def test_the_random_eligibility_has_zero_mean(rule: Rule) -> None:
    """Over chance alone: inputs and costs are always the same. Hebb's has a mean, which shows that the test works."""
    of = bench(rule)
    samples = np.array([of.play(*state).eligibility for state in of.chances])
    assert np.abs(samples).max() > 0
    if rule.zero_mean:
        assert np.abs(z_scores(samples)).max() < NEAR
    else:
        assert np.abs(z_scores(samples)).max() > FAR


@BY_NAME
def test_a_cost_independent_of_the_perturbation_moves_nothing_on_average(rule: Rule) -> None:
    """It falls all the time, whatever is done: every rule moves; but for Hebb, as often this way as that."""
    of = bench(rule)
    moves = np.array([of.play(*state).move for state in of.chances])
    assert np.abs(moves).mean() > 0.1
    if rule.zero_mean:
        assert np.abs(z_scores(moves)).max() < NEAR
    else:
        assert np.abs(z_scores(moves)).max() > FAR


def backwards(word: int) -> int:
    """Return the a for which ((a ^ (a << 5)) & 0xffff) =: t, t ^ (t >> 3) is the word."""
    t = word
    for _ in range(6):
        t = word ^ t >> 3
    a = t
    for _ in range(4):
        a = (t ^ a << 5) & 0xFFFF
    return a


def drawing(first: int, second: int) -> tuple[int, int]:
    """Return the state of a stream whose next two words are these."""
    b = backwards(second ^ first ^ first >> 1)
    return backwards(first ^ b ^ b >> 1), b


def test_any_two_words_can_come_next() -> None:
    from subsong_sim.loader import PACKAGE, load

    draw = load(f"{PACKAGE}.kernels.random", ("draw",), "cpython").draw
    rng = random.Random(1)
    for _ in range(200):
        words = rng.randint(0, 65535), rng.randint(0, 65535)
        stream = list(drawing(*words))
        assert (draw(stream, 0), draw(stream, 0)) == words


def small(rule: Rule) -> Experiment | None:
    """Return an experiment with two units that hear themselves, or with six weights; None where a rule has no such."""
    tables = example_of(rule.name).model_dump(exclude_none=True)
    recurrent = [rule.perturbs != WEIGHT]
    tables["network"] |= {"layers": [2, 2], "activations": ["tanh"], "recurrent": recurrent, "init": 0.5}
    tables["plant"] = {"kind": "gymnasium", "id": "None-v0"}
    tables["run"] |= {"steps": min(2, rule.most_steps), "evaluate_steps": 0}
    try:
        return Experiment.model_validate(tables)
    except ValueError:
        return None


SIGNED = [rule for rule in TABLE if (rule.perturbs == WEIGHT or rule.needs[1] == 1) and small(rule) is not None]


@pytest.mark.parametrize("rule", SIGNED, ids=lambda rule: rule.name)
def test_over_all_signs_there_are_the_eligibility_has_no_mean_at_all(rule: Rule) -> None:
    """Exactly: a layer of two units that hears itself, every pair of words that can be drawn in two steps.

    With weights, six of them, every word that can be drawn in a trial.
    """
    weight = rule.perturbs == WEIGHT
    experiment = small(rule)
    assert experiment is not None
    steps = 1 if weight else experiment.run.steps
    of = Bench(rule, build_block(experiment), steps, 100)
    if weight:
        pairs = [(word, 0) for word in range(64)]
    else:
        pairs = list(itertools.product(range(4), repeat=2))
    trials = 1 if steps == 2 or weight else 2
    samples = np.array([of.play(drawing(*pair), (3, 4), trials).eligibility for pair in pairs])
    assert len(np.unique(samples, axis=0)) > 3
    if rule.zero_mean:
        assert (samples.sum(axis=0) == 0).all()
    else:
        assert (samples.sum(axis=0) != 0).any()


# ------------------------------------------------------------------------------------------------- the registry


@BY_NAME
def test_a_rule_has_an_example_a_section_and_a_row(rule: Rule) -> None:
    experiment = example_of(rule.name)
    assert experiment.learner.estimator in rule.estimators
    assert f"\n## {rule.name}\n" in DOCUMENT.read_text(encoding="utf-8")
    assert [row for row in rules.rows() if row[0] == rule.name]


@BY_NAME
def test_what_other_rules_have_is_no_part_of_an_experiment(rule: Rule) -> None:
    experiment = example_of(rule.name)
    kept = experiment.model_dump()["learner"].keys()
    assert kept & rules.OPTIONS.keys() == dict(rule.options).keys()
    assert ("rate" in kept) == rule.rated
    assert parse_experiment(experiment.to_toml(), "again") == experiment


@BY_NAME
def test_an_example_runs(rule: Rule) -> None:
    """A few trials of the example itself, under CPython."""
    result = simulate(shortened(rule), out=None, engine="cpython")
    assert len(result.costs) == 4
    assert result.evaluations


def case_of_example(rule: Rule) -> Case:
    """Return trials of a rule's example with words and costs of all sizes, an evaluation among them."""
    block = build_block(example_of(rule.name))
    rng = random.Random(3)

    def cost() -> int:
        most = 1 << rng.randint(1, 28)
        return rng.randint(-most, most)

    def words() -> tuple[int, ...]:
        return tuple(rng.choice((-32768, 32767, rng.randint(-32768, 32767))) for _ in range(block.n_sensors))

    trials = []
    for n in range(8):
        steps = tuple(Step(cost() if t else 0, words()) for t in range(min(3, rule.most_steps)))
        trials.append(Trial(n == 3, steps, cost()))
    return Case(block.rule, block.head, block.mem, tuple(trials))


@BY_NAME
def test_micropython_computes_what_cpython_computes(rule: Rule, micropython: Any) -> None:
    case = case_of_example(rule)
    assert_equal(case, cpython_engine(case), micropython(case))


@BY_NAME
@pytest.mark.parametrize("engine", ["native", pytest.param("numba", marks=pytest.mark.slow)])
def test_compilers_compute_what_cpython_computes(engine: str, rule: Rule) -> None:
    case = case_of_example(rule)
    assert_equal(case, cpython_engine(case), local_engine(engine)(case))


def shortened(rule: Rule) -> Experiment:
    """Return a rule's example with four trials."""
    tables = example_of(rule.name).model_dump(exclude_none=True)
    tables["run"] |= {"trials": 4, "evaluate_every": 2, "evaluate_episodes": 1}
    tables["run"].pop("stop_cost", None)
    return Experiment.model_validate(tables)


# ------------------------------------------------------------------------------------------------- Hebb fails


@pytest.mark.slow
def test_hebb_drifts_and_fails_where_node_perturbation_learns() -> None:
    """The same task, network, seeds, amplitude and rate; what multiplies an input is the one difference."""
    text = example_text("hebb")
    for seed in (1, 2, 3):
        results = {}
        for name in ("node_perturbation", "hebb"):
            tables = parse_experiment(text.replace('"hebb"', f'"{name}"'), name).with_seed(seed).model_dump()
            tables["run"] |= {"trials": 1500, "stop_cost": 0.04}
            results[name] = simulate(Experiment.model_validate(tables), out=None, engine="cpython")
        learned, failed = (results[name].final for name in ("node_perturbation", "hebb"))
        assert learned is not None and learned <= 0.04
        # An output that is 0.5 for every pattern errs by 0.25: it has come to know less than nothing.
        assert failed is not None and failed > 0.4
        assert results["hebb"].counters["saturated_words"] > 1000
