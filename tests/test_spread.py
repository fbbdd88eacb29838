"""The cost difference over its own running spread, against exact fractions; and what it makes a learner indifferent to."""

import random
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases import Setup, Step, Trial, case_of, cpython_engine, head_words, suited, weights_of
from learning import shortened
from subsong.block import build_block
from subsong.experiment import parse_experiment
from subsong.rules import BY_NAME, PAIRS
from subsong.session import simulate
from subsong_device import layout
from subsong_sim.engines import learner_kernels

KERNELS = learner_kernels("node_perturbation", "cpython")
RATED = tuple((rule.name, estimator) for rule in BY_NAME.values() if rule.rated for estimator in rule.estimators)
MOST = 2**29
ANNEALED_LSB = 2**28


def head_of(shift: int, anneal: int = 0) -> list[int]:
    """Return scalars as a block begins with them."""
    head = [0] * layout.LAYERS_AT
    head[layout.SPREAD_SHIFT], head[layout.ANNEAL] = shift, anneal
    head[layout.SPREAD_FRAC], head[layout.ANNEALED] = layout.MOST_SPREAD_FRAC, layout.ONE_RATE
    return head


def normalised(head: list[int], deltas: Sequence[int]) -> list[int]:
    """Return what differences become, one after the other."""
    found = []
    for delta in deltas:
        head[layout.DELTA] = delta
        KERNELS.normalise(head)
        found.append(head[layout.DELTA])
    return found


@given(m=st.integers(0, MOST), s=st.one_of(st.integers(0, MOST), st.integers(0, 9)))
def test_the_ratio_is_exact_to_its_last_bit(m: int, s: int) -> None:
    exact = min(Fraction(m, s), 2) * 4096 if s else 0
    assert KERNELS.ratio(m, s) == exact // 1


@given(
    shift=st.integers(1, 15),
    deltas=st.lists(st.integers(-MOST, MOST).filter(lambda d: abs(d) >= 64), min_size=1, max_size=30),
)
def test_a_difference_is_counted_in_running_means_of_such_differences(shift: int, deltas: list[int]) -> None:
    """The spread is the mean to 2**-12 of itself, and a difference is within an LSB or two of its exact ratio to it."""
    head, spread = head_of(shift), Fraction(abs(deltas[0]))
    for delta in deltas:
        [z] = normalised(head, [delta])
        exact = min(Fraction(4096 * abs(delta)) / spread, Fraction(8192))
        assert abs(abs(z) - exact) <= 3
        assert z == 0 or (z > 0) == (delta > 0)
        spread += (abs(delta) - spread) / 2**shift
        kept = Fraction(head[layout.SPREAD], 2 ** head[layout.SPREAD_FRAC])
        assert abs(kept - spread) <= spread / 4096


@given(deltas=st.lists(st.integers(-999, 999), max_size=20), shift=st.integers(1, 15), by=st.integers(0, 19))
def test_differences_times_a_power_of_two_give_the_same_words(deltas: list[int], shift: int, by: int) -> None:
    """As long as the spread is a count or more, which it is no longer after enough differences of 0."""
    steady = [500, *(delta or 1 for delta in deltas)]
    small, large = head_of(shift, 12345), head_of(shift, 12345)
    assert normalised(small, steady) == normalised(large, [delta << by for delta in steady])
    assert small[layout.SPREAD] == large[layout.SPREAD]
    assert small[layout.SPREAD_FRAC] - large[layout.SPREAD_FRAC] == by


@given(zeros=st.integers(0, 400), shift=st.integers(1, 3))
def test_differences_of_zero_are_zero_and_the_next_one_counts(zeros: int, shift: int) -> None:
    """However long nothing differed: what was a spread is forgotten in the end, and the first that differs is one."""
    head = head_of(shift)
    assert normalised(head, [0] * zeros) == [0] * zeros
    assert normalised(head, [-77, *[0] * zeros]) == [-4096] + [0] * zeros
    [after] = normalised(head, [1])
    assert after == (4096 if head_is_new(zeros, shift) else min(8192, after))
    assert after > 0


def head_is_new(zeros: int, shift: int) -> bool:
    """Whether so many zeros have taken a spread of 77 counts to nothing."""
    head = head_of(shift)
    normalised(head, [77, *[0] * zeros])
    return head[layout.SPREAD] == 0


@given(updates=st.integers(1, 300), more=st.integers(0, 5))
def test_the_rate_falls_to_a_sixteenth_and_stays(updates: int, more: int) -> None:
    head = head_of(5, max(ANNEALED_LSB // updates, 1))
    factors = []
    for _ in range(updates + more):
        factors.append(head[layout.ANNEALED])
        normalised(head, [1000])
    exact = [max(ANNEALED_LSB - k * (ANNEALED_LSB // updates), ANNEALED_LSB // 16) for k in range(updates + more)]
    assert factors == exact
    assert head[layout.ANNEALED] == ANNEALED_LSB // 16


def played(setup: Setup, by: int, seed: int, zero: bool = False) -> list[tuple[list[int], list[list[int]]]]:
    """Return the weights and actuator words of some trials, whose costs are times 2**by, or all alike."""
    rng = random.Random(seed)

    def cost() -> int:
        return 0 if zero else rng.randint(-4096, 4096) << by

    def trial() -> Trial:
        steps = tuple(
            Step(cost(), tuple(rng.randint(-32768, 32767) for _ in range(setup.layers[0]))) for _ in range(n_steps)
        )
        return Trial(False, steps, cost())

    n_steps = min(3, BY_NAME[setup.rule].most_steps)
    case = case_of(setup, [trial() for _ in range(12)])
    return [(weights_of(answer.head, answer.mem), answer.u) for answer in cpython_engine(case)]


def setup_of(rule: str, estimator: str) -> Setup:
    """Return a normalised learner whose weights move."""
    setup = Setup(
        rule=rule,
        estimator=estimator,
        layers=(3, 4, 2),
        activations=("tanh", "identity"),
        amplitude=300,
        rate=3000,
        rate_shift=13,
        spread_shift=3,
        head={layout.ANNEAL: 2**24},
        seed=3,
        steps=min(3, BY_NAME[rule].most_steps),
    )
    return suited(replace(setup, amplitude=setup.amplitude if BY_NAME[rule].perturbs else 0))


@pytest.mark.parametrize(("rule", "estimator"), [each for each in RATED if each[1] in PAIRS])
def test_the_scale_of_costs_moves_no_weight_otherwise(rule: str, estimator: str) -> None:
    """A pair's difference scales exactly; a running baseline's is rounded to a count, whatever that is worth."""
    setup = setup_of(rule, estimator)
    trials = played(setup, 0, 1)
    assert trials[-1][0] != trials[0][0]
    assert all(played(setup, by, 1) == trials for by in (3, 13))
    plain = replace(setup, spread_shift=0, head={}, rate_shift=20)
    assert played(plain, 13, 1) != played(plain, 0, 1)


@pytest.mark.parametrize(("rule", "estimator"), RATED)
def test_costs_that_never_vary_move_no_weight(rule: str, estimator: str) -> None:
    trials = played(setup_of(rule, estimator), 0, 2, zero=True)
    start = setup_of(rule, estimator).block()
    # Weights that are perturbed for a trial are back after it, unless an update is to come in the pair's second.
    assert trials[-1][0] == weights_of(start.head, start.mem)


@pytest.mark.parametrize(
    ("estimator", "updates"), [("two_sided", 5), ("unperturbed_trial", 5), ("running_baseline", 11), ("each_step", 44)]
)
def test_the_experiment_says_over_how_many_updates_the_rate_falls(estimator: str, updates: int) -> None:
    text = shortened("xor", "node_perturbation", trials=11).to_toml()
    text = text.replace('estimator = "running_baseline"', f'estimator = "{estimator}"')
    text = text.replace("anneal = false", "anneal = true").replace("spread_shift = 0", "spread_shift = 4")
    experiment = parse_experiment(text, "test")
    assert head_words(build_block(experiment).head)[layout.ANNEAL] == ANNEALED_LSB // updates
    state = simulate(experiment).state
    assert state is not None
    head = head_words(state[0])
    assert head[layout.SPREAD] > 0
    # The first cost of all is a running baseline's first value, and no update.
    left = 1 if estimator in ("running_baseline", "each_step") else 0
    ended = max(ANNEALED_LSB - (updates - left) * (ANNEALED_LSB // updates), ANNEALED_LSB // 16)
    assert head[layout.ANNEALED] == ended
