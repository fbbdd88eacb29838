"""Perturbation codes: balanced over their period, indifferent to what does not depend on them, and learning."""

import random
from itertools import product

import numpy as np
import pytest

from cases import Case, Engine, Setup, Step, Trial, assert_equal, cpython_engine
from codes_setup import block_of, case, experiment_of
from subsong.block import Block, build_block
from subsong.errors import ExperimentError
from subsong_device import block as device_block
from subsong_device import frames, layout
from subsong_device.faults import Fault
from subsong_sim.engines import LocalLearner
from subsong_sim.trials import TaskTrials

WP, NP = "weight_perturbation", "node_perturbation"
WALSH, ONE = '"walsh_hadamard"', '"one_at_a_time"'
CODES = (WALSH, ONE)


def learner_of(block: Block, engine: str = "cpython") -> LocalLearner:
    return LocalLearner(block.rule, block.head, block.mem, engine)


def weights(learner: LocalLearner) -> list[int]:
    return [(int(w) ^ 0x8000) - 0x8000 for w in learner.mem[: int(learner.head[layout.N_WEIGHTS])]]


def play(learner: LocalLearner, n: int, costs: tuple[int, ...], x: tuple[int, ...], evaluate: bool = False) -> None:
    """Play a trial that sees x in every step; costs are those of its steps."""
    learner.begin(n, evaluate)
    last = 0
    for cost in costs:
        learner.act(last, x)
        last = cost
    learner.end(last)


def least_power_above(n: int) -> int:
    return 1 << n.bit_length()


# ------------------------------------------------------------------------------------------------- balance


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("layers", [(1, 1), (2, 1), (4, 3), (5, 3), (6, 5)])
def test_every_weight_has_plus_as_often_as_minus(code: str, layers: tuple[int, int]) -> None:
    """Over exactly the period on the page; and Walsh-Hadamard's signs of two weights are orthogonal."""
    setup = Setup(estimator="unperturbed_trial", layers=layers, amplitude=100, rate_shift=29, init=0, seed=3)
    learner = learner_of(block_of(setup, code=code))
    n = setup.n_weights
    period = 2 * n if code == ONE else least_power_above(n)
    rows = []
    for k in range(period):
        assert learner.head[layout.CODE_STEP] == k
        play(learner, 2 * k, (0,), (0,) * layers[0])
        play(learner, 999, (0,), (0,) * layers[0], evaluate=True)  # between the trials of a pair, and no row
        learner.begin(2 * k + 1, False)
        rows.append(np.array(weights(learner)) // 100)
        learner.act(0, (0,) * layers[0])
        learner.end(0)
    assert learner.head[layout.CODE_STEP] == 0
    signs = np.array(rows)
    assert (signs.sum(axis=0) == 0).all()
    product_of_two = signs.T @ signs
    assert (product_of_two == np.eye(n) * (2 if code == ONE else period)).all()
    assert weights(learner) == [0] * n


@pytest.mark.parametrize("code", CODES)
def test_every_unit_has_plus_as_often_as_minus_in_every_step(code: str) -> None:
    """Units of three layers, three steps a trial: all (unit, step) are told apart; a pair's trials are opposite."""
    setup = Setup(
        rule=NP, layers=(1, 3, 17, 2), activations=("identity",) * 3, amplitude=100, rate_shift=29, init=0, seed=3
    )
    learner = learner_of(block_of(setup, code=code))
    units, words, steps = 22, 4, 3
    period = 2 * units * steps if code == ONE else least_power_above(16 * words * steps)
    rows = []
    for k in range(period):
        trials = []
        for _ in range(2):
            learner.begin(k, False)
            seen = []
            for _ in range(steps):
                learner.act(0, (0,))
                # With weights of 0 the units' outputs are what was added to their drives.
                at = int(learner.head[layout.SIGNALS_AT])
                seen += [((int(v) ^ 0x8000) - 0x8000) // 100 for v in learner.mem[at + 1 : at + 1 + units]]
            learner.end(0)
            trials.append(np.array(seen))
        assert (trials[0] == -trials[1]).all()
        rows.append(trials[0])
    assert learner.head[layout.CODE_STEP] == 0
    signs = np.array(rows)
    assert (signs.sum(axis=0) == 0).all()
    assert (signs.T @ signs == np.eye(units * steps) * (2 if code == ONE else period)).all()


@pytest.mark.parametrize(("rule", "code"), list(product((WP, NP), CODES)))
@pytest.mark.parametrize("estimator", ["unperturbed_trial", "two_sided", "running_baseline"])
def test_over_a_period_a_cost_that_ignores_the_perturbation_moves_nothing(rule: str, code: str, estimator: str) -> None:
    """Exactly nothing: every second trial costs 8 counts more, updates are whole LSBs. Within a period they do move."""
    setup = Setup(rule=rule, estimator=estimator, layers=(2, 3), rate=3, rate_shift=0, seed=5, baseline_shift=15)
    learner = learner_of(block_of(setup, code=code))
    before = weights(learner)
    trials = 0
    moved = False
    if estimator == "running_baseline":
        play(learner, 0, (0,), (16384, -16384))
    while True:
        costs = (8,) if estimator == "running_baseline" else (0, 8)
        for cost in costs:
            play(learner, trials, (cost,), (16384, -16384))
            trials += 1
        # As if the baseline were never to follow: what is tested is the code.
        if estimator == "running_baseline":
            learner.head[layout.BASELINE] = learner.head[layout.REMAINDER] = 0
        moved = moved or weights(learner) != before
        if learner.head[layout.CODE_STEP] == 0:
            break
    assert moved
    assert weights(learner) == before


# ------------------------------------------------------------------------------------------------- engines


def mixed_cases() -> list[Case]:
    """Return cases of every code, with and without a velocity, and of two passes."""
    rng = random.Random(8)
    cases = []
    keys = [
        {"code": code, "tau": tau, "momentum_shift": shift}
        for code, (tau, shift) in product(('"random"', *CODES), ((1, 0), (3, 0), (1, 2), (2, 10)))
    ]
    for n, (rule, options) in enumerate(product((WP, NP), keys)):
        estimators = ["running_baseline", "unperturbed_trial", "two_sided"] + ["each_step"] * (rule == NP)
        setup = Setup(
            rule=rule,
            estimator=estimators[n % len(estimators)],
            layers=((3, 2), (2, 17, 2), (4, 5, 3))[n % 3],
            activations=((("tanh",), ("tanh", "identity"), ("hard_tanh", "logistic"))[n % 3]),
            rounding=("stochastic", "nearest")[n % 5 == 0],
            rate=rng.choice((1, 77, 16383)),
            rate_shift=rng.choice((0, 9, 20, 29)),
            amplitude=rng.choice((1, 300, 4096)),
            seed=n,
            init=32767 if n % 4 == 0 else 1000,
        )
        cases.append(case(setup, trials_for(rng, setup, 4), **options))
    for n in range(6):
        setup = Setup(
            rule="activity_difference",
            estimator="perturbed_pair",
            layers=((3, 2), (2, 17, 2))[n % 2],
            activations=((("identity",), ("tanh", "identity"))[n % 2]),
            amplitude=rng.choice((1, 300, 16384)),
            rate=rng.choice((1, 16383)),
            rate_shift=rng.choice((0, 12, 29)),
            init=32767 if n % 3 == 0 else 1000,
            seed=n,
        )
        cases.append(case(setup, trials_for(rng, setup, 2)))
    return cases


def trials_for(rng: random.Random, setup: Setup, most: int) -> tuple[Trial, ...]:
    scale = rng.choice((1, 3000, 2**28))

    def step() -> Step:
        words = tuple(rng.choice((-32768, 32767, rng.randint(-32768, 32767))) for _ in range(setup.layers[0]))
        return Step(rng.randint(-scale, scale), words)

    return tuple(
        Trial(rng.random() < 0.2, tuple(step() for _ in range(rng.randint(0, most))), rng.randint(-scale, scale))
        for _ in range(12)
    )


@pytest.mark.slow
def test_every_engine_does_what_cpython_does(engine: Engine) -> None:
    for each in mixed_cases():
        assert_equal(each, cpython_engine(each), engine(each))


# ------------------------------------------------------------------------------------------------- the checksum


def check_of(learner: LocalLearner) -> int:
    play(learner, 9, (5, -3), (100, -200))
    return int(learner.head[layout.CHECK])


@pytest.mark.parametrize("rule", [WP, NP])
def test_one_altered_bit_of_the_row_alters_the_checksum(rule: str) -> None:
    block = block_of(Setup(rule=rule, estimator="running_baseline", rate_shift=8), code=WALSH)
    before = check_of(learner_of(block))
    for bit in range(29):
        learner = learner_of(block)
        learner.head[layout.CODE_STEP] ^= 1 << bit
        assert check_of(learner) != before


# ------------------------------------------------------------------------------------------------- learning


@pytest.mark.slow
@pytest.mark.parametrize(("rule", "code"), list(product((WP, NP), ('"random"', *CODES))))
def test_each_code_learns_xor_from_where_a_learner_without_a_rate_stays(rule: str, code: str) -> None:
    setup = Setup(
        rule=rule,
        layers=(2, 4, 1),
        activations=("tanh", "logistic"),
        amplitude=410 if rule == NP else 100,
        # One at a time there is no noise from all the others, and each has its turn the more seldom.
        rate=16 if code == ONE else 2,
        rate_shift=17 if rule == NP else 13,
        init=2200,
        seed=6,
    )

    def error_after(setup: Setup, trials: int) -> float:
        block = build_block(experiment_of(setup, {"code": code}, "xor", 4))
        xor = TaskTrials(learner_of(block, "native"), block.task, 4)
        error = 1.0
        for first in range(0, trials, 4000):
            list(xor.run(first, [0] * 4000, False))
            (evaluated,) = xor.run(first, [0], True)
            error = evaluated.summary.total / 2**24 / 4
            if error < 0.04:
                break
        return error

    assert error_after(setup, 400_000) < 0.04
    control = Setup(**{**vars(setup), "rate": 1, "rate_shift": 29, "rounding": "nearest"})
    assert error_after(control, 8_000) > 0.1


# ------------------------------------------------------------------------------------------------- host and board


def test_the_experiment_file_says_which_code() -> None:
    made = experiment_of(Setup(), {"code": WALSH, "tau": 7, "momentum_shift": 2})
    head = build_block(made).head
    words = [int.from_bytes(head[4 * at : 4 * at + 4], "little") for at in range(layout.OWN, layout.OWN + 5)]
    assert words == [layout.WALSH_HADAMARD, 0, 7, 0, 2]
    with pytest.raises(ExperimentError, match=r'got the text .hadamard.*"random" or "walsh_hadamard"'):
        experiment_of(Setup(), {"code": '"hadamard"'})
    with pytest.raises(ExperimentError, match=r"learner.code: activity_difference has no such key"):
        experiment_of(Setup(rule="activity_difference", estimator="perturbed_pair"), {"code": WALSH})
    with pytest.raises(ExperimentError, match=r"learner.code: .*1024 words"):
        experiment_of(Setup(rule=NP, layers=(1,) * 1026, activations=("identity",) * 1025), {"code": ONE})


@pytest.mark.parametrize(
    ("rule", "word", "value"),
    [
        (WP, layout.CODE, 3),
        (WP, layout.CODE, -1),
        (WP, layout.CODE_STEP, -1),
        (WP, layout.CODE_STEP, 6),
        (NP, layout.CODE_STEP, 0x20000000),
        (WP, layout.TAU, 0),
        (WP, layout.TAU, 32768),
        (NP, layout.WAITING, -1),
        (NP, layout.MOMENTUM_SHIFT, 11),
        (WP, layout.ELIGIBILITY_AT, 49),
        (NP, layout.ELIGIBILITY_AT, 49),
    ],
)
def test_the_board_refuses_a_block_that_would_lead_outside(rule: str, word: int, value: int) -> None:
    block = block_of(Setup(rule=rule), code=ONE, tau=2)
    head = [int.from_bytes(block.head[k : k + 4], "little", signed=True) for k in range(0, len(block.head), 4)]
    number = frames.RULES.index(rule)
    device_block.check_block(number, head, len(block.mem) // 2, 2, 1)
    head[word] = value
    with pytest.raises(Fault) as refused:
        device_block.check_block(number, head, len(block.mem) // 2, 2, 1)
    assert refused.value.detail == word
