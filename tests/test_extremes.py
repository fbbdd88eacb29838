"""Every engine against the oracle where words, costs, rates and shifts stand at their limits."""

import random
from collections.abc import Iterable
from dataclasses import replace
from itertools import product

import pytest

from cases import (
    ACTIVATIONS,
    COMBINATIONS,
    COST_LIMIT,
    FIRST,
    RULES,
    Engine,
    Setup,
    Step,
    Trial,
    assert_equal,
    case_of,
    head_words,
    oracle_engine,
    suited,
)
from oracle_parts import Stream, sign_of
from subsong.rules import BY_NAME
from subsong_device import layout

# ------------------------------------------------------------------------------------------------- at the extremes


def worst_trials(n_sensors: int) -> list[Trial]:
    """Return trials whose words and costs stand at their limits, an evaluation among them."""
    low, high = (-32768,) * n_sensors, (32767,) * n_sensors
    swing = tuple((-32768, 32767)[j & 1] for j in range(n_sensors))
    return [
        Trial(False, (Step(0, low), Step(COST_LIMIT, high), Step(COST_LIMIT, swing)), COST_LIMIT),
        Trial(False, (Step(0, low), Step(-COST_LIMIT, low)), -COST_LIMIT),
        Trial(True, (Step(COST_LIMIT, high),), -COST_LIMIT),
        Trial(False, (Step(0, high), Step(-COST_LIMIT, swing)), -COST_LIMIT),
        Trial(False, (Step(-COST_LIMIT, high),) * 2, COST_LIMIT),
        Trial(False, (Step(1, high),), -1),
        Trial(False, (Step(1, low),), 0),
    ]


SHAPES = {
    "1": (1, 1),
    "2": (2, 1),
    "3": (3, 2),
    "15": (15, 15),
    "16": (16, 16),
    "17": (17, 17),
    "255": (255, 1),
    "256": (256, 1),
    "4095": (1, 4095, 1),
}
# What MicroPython needs a second for is in the long version only.
FAN_INS = [pytest.param(name, marks=pytest.mark.slow) if name == "4095" else name for name in SHAPES]


RATES = [(1, 29), (16383, 0)]
MOST = {"tick_shift": 5}  # more are no more extreme, and take CPython seconds
OTHERS = RULES[len(FIRST) :]
FIRST_COMBINATIONS = [each for each in COMBINATIONS if each[0] in FIRST]
OTHER_COMBINATIONS = [each for each in COMBINATIONS if each[0] in OTHERS]


@pytest.mark.parametrize("rule", FIRST)
@pytest.mark.parametrize("fan_in", FAN_INS)
@pytest.mark.parametrize(("rate", "rate_shift"), RATES)
def test_extremes_are_computed_alike(engine: Engine, rule: str, fan_in: str, rate: int, rate_shift: int) -> None:
    play_extremes(engine, rule, fan_in, rate, rate_shift)


@pytest.mark.slow
@pytest.mark.parametrize("rule", OTHERS)
def test_extremes_of_the_other_rules_are_computed_alike(engine_of_all_rules: Engine, rule: str) -> None:
    for fan_in, rate in product(("1", "17", "256"), RATES):
        play_extremes(engine_of_all_rules, rule, fan_in, *rate)


def play_extremes(engine: Engine, rule: str, fan_in: str, rate: int, rate_shift: int) -> None:
    layers = SHAPES[fan_in]
    setup = Setup(
        rule=rule,
        estimator=BY_NAME[rule].estimators[0],
        layers=layers,
        activations=("identity",) * (len(layers) - 1),
        weight_frac=14 if fan_in == "4095" else 8,
        amplitude=BY_NAME[rule].amplitude,
        rate=rate,
        rate_shift=rate_shift,
    )
    setup = suited(setup)
    setup = replace(setup, weights=tuple((-setup.limit, setup.limit)[k % 3 > 0] for k in range(setup.n_weights)))
    case = case_of(setup, worst_trials(layers[0]))
    assert_equal(case, oracle_engine(case), engine(case))


@pytest.mark.parametrize(("rule", "estimator"), FIRST_COMBINATIONS)
@pytest.mark.parametrize("activations", [("identity", "identity"), ("hard_tanh", "tanh")])
def test_recurrent_extremes_are_computed_alike(
    engine: Engine, rule: str, estimator: str, activations: tuple[str, ...]
) -> None:
    """Both layers hear themselves, and their outputs run into the limits of their formats."""
    play_recurrent_extremes(engine, rule, estimator, activations, highest=False)


@pytest.mark.slow
@pytest.mark.parametrize(("rule", "estimator"), OTHER_COMBINATIONS)
def test_recurrent_extremes_of_the_other_rules_are_computed_alike(
    engine_of_all_rules: Engine, rule: str, estimator: str
) -> None:
    """With their own numbers at either end, too."""
    for highest in (False, True):
        play_recurrent_extremes(engine_of_all_rules, rule, estimator, ("tanh", "identity"), highest)


@pytest.mark.parametrize("rule", [rule for rule in RULES if BY_NAME[rule].spiking])
def test_synapses_that_fill_up_are_computed_alike(engine_of_all_rules: Engine, rule: str) -> None:
    """A unit that fires in most steps, spikes worth half of all, synapses that forget next to nothing."""
    options = {"leak_shift": 1, "synapse_shift": 14, "spike_shift": 1, "refractory": 0}
    setup = Setup(rule, "each_step", (1, 2), ("integrate_fire",), weight_frac=8, weights=(32767,) * 4, options=options)
    setup = replace(setup, amplitude=1, rate_shift=29)
    case = case_of(setup, [Trial(evaluate, (Step(0, (32767,)),) * 8, 0) for evaluate in (False, True)])
    expected = oracle_engine(case)
    assert expected[0].u[-1] == [32767, 32767]
    assert_equal(case, expected, engine_of_all_rules(case))


def play_recurrent_extremes(
    engine: Engine, rule: str, estimator: str, activations: tuple[str, ...], highest: bool
) -> None:
    setup = Setup(
        rule=rule,
        estimator=estimator,
        layers=(2, 17, 3),
        activations=activations,
        weight_frac=8,
        amplitude=BY_NAME[rule].amplitude,
        rate=16383,
        rate_shift=3,
        recurrent=(True, True),
        options={
            key: min(option.high, MOST.get(key, option.high)) if highest else option.low
            for key, option in BY_NAME[rule].options
        },
    )
    setup = suited(setup)
    setup = replace(setup, weights=tuple((-setup.limit, setup.limit)[k % 3 > 0] for k in range(setup.n_weights)))
    case = case_of(setup, worst_trials(2))
    assert_equal(case, oracle_engine(case), engine(case))


@pytest.mark.slow
@pytest.mark.parametrize(("rule", "estimator"), FIRST_COMBINATIONS)
@pytest.mark.parametrize("rounding", ["stochastic", "nearest"])
def test_every_size_of_difference_and_rate_is_computed_alike(
    engine: Engine, rule: str, estimator: str, rounding: str
) -> None:
    """delta over all signs, powers of two and their neighbours; rates and shifts at their ends."""
    play_differences(engine, rule, estimator, rounding, range(29))


@pytest.mark.slow
@pytest.mark.parametrize(("rule", "estimator"), OTHER_COMBINATIONS)
def test_sizes_of_difference_and_rate_are_computed_alike_by_the_other_rules(
    engine_of_all_rules: Engine, rule: str, estimator: str
) -> None:
    play_differences(engine_of_all_rules, rule, estimator, "stochastic", (0, 14, 15, 28))


def play_differences(engine: Engine, rule: str, estimator: str, rounding: str, powers: Iterable[int]) -> None:
    sizes = sorted({min(2**k + d, COST_LIMIT) for k in powers for d in (-1, 0, 1)})
    trials: list[Trial] = []
    for t in [sign * size for size in sizes for sign in (1, -1)]:
        trials += [Trial(False, (Step(0, (30000, -20000)),), 0), Trial(False, (Step(0, (-32768, 32767)),), t)]
    for t in (-COST_LIMIT, COST_LIMIT):
        trials += [Trial(False, (Step(0, (1, 2)),), -t), Trial(False, (Step(0, (3, 4)),), t)]
    for rate, rate_shift in ((1, 29), (16383, 0), (16383, 29), (257, 13)):
        setup = Setup(
            rule=rule,
            estimator=estimator,
            rounding=rounding,
            rate=rate,
            rate_shift=rate_shift,
            baseline_shift=1,
            amplitude=3,
        )
        case = case_of(suited(setup), trials)
        assert_equal(case, oracle_engine(case), engine(case))


ELIGIBILITIES = (0, 1, 16383, 16384, 32766, 32767, 32768, 32769, 65535, 65536, 2**29, 2**30 - 1, 2**30)


@pytest.mark.parametrize("trace_shift", [0, 1, 7, 14])
def test_every_size_of_eligibility_fades_alike(engine: Engine, trace_shift: int) -> None:
    """A step within a trial, before which the eligibility is one that we choose: it fades, and the step adds to it."""
    setup = Setup("node_perturbation", "each_step", (2, 1, 1), ("identity",) * 2, options={"trace_shift": trace_shift})
    at = layout.LAYERS_AT + 2 * layout.LAYER_WORDS
    opened = oracle_engine(case_of(setup, [Trial(False, (Step(0, (0, 0)),), 0)]))[0]
    for largest in (*ELIGIBILITIES, 2**30 - 2**15, 2**30 - 2**15 + 1):
        state = dict(enumerate(head_words(opened.head)[: layout.LAYERS_AT]))
        for k, e in enumerate((largest, -(largest // 2), 1, -largest, -1)):
            state[at + k] = e
        case = case_of(replace(setup, head=state), [Trial(False, (Step(5, (32767, -32768)),), 3)])
        learner, other = engine, oracle_engine
        assert_equal(case, other(case), learner(case))


@pytest.mark.parametrize(("rate", "rate_shift"), [(1, 10), (16383, 29)])
def test_every_size_of_eligibility_is_computed_alike(engine: Engine, rate: int, rate_shift: int) -> None:
    """A pair's second trial begins with an eligibility that we choose, and takes no step."""
    setup = Setup(
        rule="node_perturbation", layers=(2, 1, 1), activations=("identity",) * 2, rate=rate, rate_shift=rate_shift
    )
    built = setup.block()
    stream = head_words(built.head)[layout.PERTURBATION : layout.PERTURBATION + 2]
    at = layout.LAYERS_AT + 2 * layout.LAYER_WORDS
    for largest, delta in product(ELIGIBILITIES, (1, 16383, 32767, 32769, 2**20 + 5)):
        state = {layout.PHASE: 1, layout.REWIND: stream[0], layout.REWIND + 1: stream[1]}
        for k, e in enumerate((largest, -(largest // 2), 1, -largest, largest // 3)):
            state[at + k] = e
        case = case_of(replace(setup, head=state), [Trial(False, (), delta)])
        assert_equal(case, oracle_engine(case), engine(case))


@pytest.mark.parametrize("delta", [16383, 9999, -12345, 5001])
def test_rates_below_every_shift_are_computed_alike(engine: Engine, delta: int) -> None:
    """Where the shift exceeds 29 the rate is rounded first: a difference of one shows in one of 2**14 weights."""
    setup = Setup(rule="node_perturbation", layers=(255, 64), rate=1, rate_shift=29)
    built = setup.block()
    stream = head_words(built.head)[layout.PERTURBATION : layout.PERTURBATION + 2]
    state = {layout.PHASE: 1, layout.REWIND: stream[0], layout.REWIND + 1: stream[1]}
    at = layout.LAYERS_AT + layout.LAYER_WORDS
    rng = random.Random(delta)
    for k in range(setup.n_weights):
        state[at + k] = rng.choice((-1, 1)) * rng.randint(2**29, 2**30)
    case = case_of(replace(setup, head=state), [Trial(False, (), delta)])
    assert_equal(case, oracle_engine(case), engine(case))


DRIVES = [-32770, -32769, -32768, -32767, -4097, -4096, -4095, -1, 0, 4095, 4096, 4097, 32766, 32767, 32768, 32769]


@pytest.mark.parametrize("perturbed", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_drives_at_the_ends_are_computed_alike(engine: Engine, activation: str, perturbed: bool) -> None:
    """One unit whose drive is exactly that, with or without its perturbation."""
    setup = Setup(
        rule="node_perturbation", layers=(1, 1), activations=(activation,), weight_frac=8, amplitude=5, rate_shift=29
    )
    h = head_words(setup.block().head)
    xi = sign_of([Stream(*h[layout.PERTURBATION : layout.PERTURBATION + 2]).draw()], 0)
    # In this format 1 LSB of the bias drives by 16, and the word x, with the weight 1.0, by x / 8.
    for drive in DRIVES:
        bias, rest = divmod(drive - (setup.amplitude * xi if perturbed else 0), 16)
        case = case_of(replace(setup, weights=(256, bias)), [Trial(not perturbed, (Step(0, (8 * rest,)),), 0)])
        expected = oracle_engine(case)
        clipped = max(-32768, min(32767, drive))
        assert head_words(expected[0].head)[layout.SATURATED] == int(clipped != drive)
        assert activation != "identity" or expected[0].u == [[clipped]]
        assert_equal(case, expected, engine(case))
