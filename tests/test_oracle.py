"""The oracle on worst cases, where its assertions are the test; the golden vectors it wrote; the block it is given."""

import hashlib
import json
import random
from dataclasses import replace
from fractions import Fraction
from itertools import product
from pathlib import Path

import pytest

import make_golden
from cases import (
    COMBINATIONS,
    COST_LIMIT,
    ESTIMATORS,
    FIRST,
    RULES,
    Setup,
    Step,
    Trial,
    assert_equal,
    case_of,
    head_words,
    local_engine,
    mem_words,
    oracle_engine,
    weights_of,
)
from oracle import ORACLES, NodePerturbation, Oracle, WeightPerturbation
from oracle_parts import COST, HOT, TABLE, Layer, Stream, least_shift, tz
from subsong.errors import ExperimentError
from subsong.rules import BY_NAME, STATELESS
from subsong_device import frames, layout

FAN_INS = (1, 2, 3, 15, 16, 255, 256, 2047, 4095)
WEIGHT_FRACS = range(8, 15)


def test_every_rule_has_an_oracle() -> None:
    """Without one a rule is compared with nothing but itself."""
    assert set(ORACLES) == set(frames.RULES)


# ------------------------------------------------------------------------------------------------- golden vectors


@pytest.mark.parametrize("name", make_golden.VECTORS)
def test_golden_vectors_are_the_oracles(name: str) -> None:
    path = make_golden.FOLDER / f"{name}.json"
    expected = path.read_text(encoding="utf-8")
    assert make_golden.text(make_golden.vector(name)) == expected, f"see {make_golden.__file__}"


def test_golden_vectors_cover_what_they_are_named_for() -> None:
    files = {name: json.loads((make_golden.FOLDER / f"{name}.json").read_text()) for name in make_golden.VECTORS}
    for name, content in files.items():
        saturated = sum(row[content["columns"].index("saturated")] for row in content["trials"])
        assert saturated > 20 or "saturated" not in name
        assert content["arithmetic"] == layout.ARITHMETIC_VERSION
    setups = [setup for setup, *_ in make_golden.VECTORS.values()]
    assert {s.rule for s in setups} == set(RULES)
    assert {s.estimator for s in setups} == set(ESTIMATORS)
    assert {(s.rule, s.estimator) for s in setups} >= {each for each in COMBINATIONS if each[0] in FIRST}
    assert any(any(s.recurrent) and not all(s.recurrent) for s in setups)
    assert any(any(s.bias) and not all(s.bias) for s in setups)
    assert {a for s in setups for a in s.activations} == {*STATELESS, "integrate_fire"}
    assert {len(s.activations) for s in setups} == {1, 2, 3}


def test_a_golden_file_that_differs_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert make_golden.main(tmp_path) == 0
    path = tmp_path / "np_saturated.json"
    written = path.read_text()
    path.write_text(written.replace(f'"arithmetic": {layout.ARITHMETIC_VERSION}', '"arithmetic": 0'))
    assert make_golden.main(tmp_path) == 1
    assert "np_saturated.json: DIFFERS" in capsys.readouterr().out
    assert path.read_text() != written
    assert (tmp_path / "np_saturated.new.json").read_text() == written


# ------------------------------------------------------------------------------------------------- drives


def layer_of(fan_in: int, weight_frac: int, input_frac: int) -> Layer | None:
    """Return a layer row by the page's formulas, or None where the page refuses it."""
    s = next(s for s in range(32) if 2**s >= fan_in + 1)
    bias_shift, drive_shift = input_frac - s, weight_frac + input_frac - s - 12
    if min(bias_shift, drive_shift) < 0:
        return None
    return Layer(fan_in, 1, layout.IDENTITY, s, bias_shift, drive_shift, input_frac, 0)


@pytest.mark.parametrize("fan_in", FAN_INS)
def test_drives_stay_in_range_at_their_worst(fan_in: int) -> None:
    """Every product, partial sum and drive, with weights and words at their ends; the oracle asserts the bounds."""
    rng = random.Random(fan_in)
    mixed_w = [rng.choice((-32767, 32767)) for _ in range(fan_in)]
    mixed_x = [rng.choice((-32768, 32767)) for _ in range(fan_in)]
    cases = [
        ([w] * fan_in, bias, [x] * fan_in) for w, bias, x in product((-32767, 32767), (-32767, 32767), (-32768, 32767))
    ]
    cases += [(mixed_w, 32767, [-32768 if w < 0 else 32767 for w in mixed_w]), (mixed_w, -32767, mixed_x)]
    admitted = 0
    for weight_frac, input_frac in product(WEIGHT_FRACS, (15, 12)):
        layer = layer_of(fan_in, weight_frac, input_frac)
        if layer is None:
            continue
        admitted += 1
        layer.assert_formats(weight_frac)
        for weights, bias, x in cases:
            g = layer.drive([*weights, bias], x)
            # A unit's perturbation, too, fits below 2**30: on 32-bit boards nothing here is allocated.
            assert abs(g) + 16384 < HOT
    assert admitted >= 1


def test_a_shift_too_small_is_noticed() -> None:
    """The assertions do fail: one bit less, and the sum of products leaves its range."""
    layer = layer_of(255, 11, 15)
    assert layer is not None
    with pytest.raises(AssertionError, match="leaves"):
        replace(layer, product_shift=layer.product_shift - 1).drive([32767] * 256, [32767] * 255)
    with pytest.raises(AssertionError, match="leaves"):
        replace(layer, bias_shift=16).drive([32767] * 256, [32767] * 255)


@pytest.mark.parametrize("weight_frac", WEIGHT_FRACS)
@pytest.mark.parametrize("after", ["identity", "tanh"])
def test_what_the_page_refuses_is_refused(weight_frac: int, after: str) -> None:
    """The widest layer that the page admits is built, and passes the oracle; one more unit is an error."""
    input_frac = 12 if after == "identity" else 15
    widest = max(n for n in (2**k - 1 for k in range(1, 13)) if layer_of(n, weight_frac, input_frac))
    setup = Setup(layers=(1, widest, 1), activations=(after, "identity"), weight_frac=weight_frac)
    block = setup.block()
    Oracle.of(block.rule, block.head, block.mem)
    with pytest.raises(ExperimentError):
        replace(setup, layers=(1, widest + 1, 1)).block()


# ------------------------------------------------------------------------------------------------- eligibility


def adversarial_trials(head: bytes, steps: int) -> list[Trial]:
    """Return a two-sided pair whose sensor word follows the sign of the perturbation: the eligibility never falls."""
    h = head_words(head)
    stream = Stream(*h[24:26])
    one = tuple(Step(0, (32767 if stream.draw() & 1 else -32768,)) for _ in range(steps))
    return [Trial(False, one, -COST_LIMIT), Trial(False, one, COST_LIMIT)]


@pytest.mark.parametrize("steps", [256, pytest.param(16384, marks=pytest.mark.slow)])
def test_eligibility_stays_within_its_bound(steps: int) -> None:
    """One input, one unit, both trials of a pair: 2 * steps * 32767 at least, 2**30 at most."""
    setup = Setup(rule="node_perturbation", layers=(1, 1), amplitude=1, rate=16383, rate_shift=29)
    block = setup.block()
    case = case_of(setup, adversarial_trials(block.head, steps))
    answers = oracle_engine(case)
    eligibility = head_words(answers[-1].head)[-2]
    assert 2 * steps * 32767 <= eligibility <= 2 * steps * 32768 <= 2**30
    assert_equal(case, answers, local_engine("native")(case))


def update(learner: NodePerturbation, eligibility: list[int], delta: int, sign: int) -> list[int]:
    """Let the oracle update from zero weights with a state that we choose; return the weights."""
    learner.weights = [0] * len(learner.weights)
    learner.eligibility, learner.delta, learner.sign = list(eligibility), delta, sign
    learner._end(update=True)
    return learner.weights


MAGNITUDES = (0, 1, 2, 32767, 32768, 2**29, 2**30 - 1, 2**30)
DELTAS = (0, 1, 32767, 32768, COST - 1, COST, COST + 1, 2 * COST)


@pytest.mark.parametrize("estimator", BY_NAME["node_perturbation"].estimators)
@pytest.mark.parametrize(("rate", "rate_shift"), list(product((1, 16383), (0, 13, 29))))
def test_updates_of_node_perturbation_stay_in_range(estimator: str, rate: int, rate_shift: int) -> None:
    """Every size of eligibility, of difference and of rate; and what descends, descends."""
    setup = Setup(
        rule="node_perturbation",
        estimator=estimator,
        layers=(1, 1, 1),
        activations=("identity", "identity"),
        rate=rate,
        rate_shift=rate_shift,
        init=0,
    )
    block = setup.block()
    learner = NodePerturbation(block.head, block.mem)
    for largest, delta, flip, sign in product(MAGNITUDES, DELTAS, (1, -1), (1, -1)):
        moved = update(learner, [largest, -largest, largest // 2, -1], flip * delta, sign)
        for w, e in zip(moved, (largest, -largest, largest // 2, -1), strict=True):
            # Against cost and eligibility, but for the rounding of one LSB.
            assert w * e * delta * flip * sign <= abs(e * delta)


@pytest.mark.parametrize("estimator", BY_NAME["weight_perturbation"].estimators)
@pytest.mark.parametrize(("rate", "rate_shift"), list(product((1, 16383), (0, 13, 28, 29))))
def test_updates_of_weight_perturbation_stay_in_range(estimator: str, rate: int, rate_shift: int) -> None:
    setup = Setup(estimator=estimator, rate=rate, rate_shift=rate_shift, amplitude=4096, init=32767)
    block = setup.block()
    learner = WeightPerturbation(block.head, block.mem)
    shift = rate_shift + (estimator == "two_sided")
    for delta, flip in product((*DELTAS, *(2**k for k in range(30))), (1, -1)):
        learner.delta = flip * delta
        step = learner._size()
        exact = abs(delta) * rate / 2**shift
        if exact <= 32767 and least_shift(delta, 15) <= shift:
            assert abs(step - flip * exact) <= 1 + exact * 2**-14
        assert abs(step) <= 65535
        for sign in (1, -1):
            learner.sign, learner.rewind = sign, learner.perturbation.copy()
            learner.weights = [learner.limit, -learner.limit, 0]
            learner._begin()
            learner._end(update=True)
            assert all(abs(w) <= learner.limit for w in learner.weights)


@pytest.mark.parametrize("shift", range(1, 16))
def test_running_baselines_stay_in_range(shift: int) -> None:
    for baseline, remainder, total in product((-COST, 0, COST), (0, 2**shift - 1), (-COST, -1, 0, 1, COST)):
        setup = Setup(
            estimator="running_baseline",
            baseline_shift=shift,
            head={layout.STARTED: 1, layout.BASELINE: baseline, layout.REMAINDER: remainder},
        )
        oracle_engine(case_of(setup, [Trial(False, (Step(0, (0, 0)),), total)]))


def test_totals_saturate() -> None:
    for sign in (1, -1):
        steps = tuple(Step(sign * COST, (0, 0)) for _ in range(5))
        answers = oracle_engine(case_of(Setup(), [Trial(False, steps, sign * COST)]))
        assert head_words(answers[0].head)[layout.TOTAL] == sign * COST


def test_tz_and_least_shift() -> None:
    assert [tz(v, 1) for v in (-3, -2, -1, 0, 1, 2, 3)] == [-1, -1, 0, 0, 0, 1, 1]
    assert [least_shift(v, 15) for v in (0, 32767, 32768, -32768, 65535, 65536)] == [0, 0, 1, 1, 1, 2]


# ------------------------------------------------------------------------------------------------- the block


@pytest.mark.parametrize("rule", ["weight_perturbation", "node_perturbation"])
def test_a_block_is_what_the_page_says(rule: str) -> None:
    node = rule == "node_perturbation"
    setup = Setup(
        rule=rule,
        estimator="unperturbed_trial",
        layers=(3, 17, 2),
        activations=("tanh", "identity"),
        weight_frac=12,
        amplitude=99,
        rate=77,
        rate_shift=9,
        baseline_shift=6,
        rounding="nearest",
        init=3000,
        seed=31,
        options={"trace_shift": 9} if node else {},
    )
    block = setup.block()
    n = 4 * 17 + 18 * 2

    def words(stream: str) -> list[int]:
        state = int.from_bytes(hashlib.sha256(f"31/{stream}/0".encode()).digest()[:4], "little") or 1
        return [state & 0xFFFF, state >> 16]

    signs = 2 + 1 if node else 0
    scalars = [0] * 7 + [1, 99, 77, 9, 6, 0, 2, n, 32767 if node else 32767 - 99]
    table = n + 22 + signs
    scalars += [n + 22, table, 59, *([0] * 5), *words("perturbation"), 0, 0, *words("rounding")]
    scalars += [table, table + 257, 9 if node else 0, 0, 0, 1, 0, 0]
    scalars += [0, 0, 0, 28, 2**28]
    rows = [3, 17, layout.TANH, 2, 13, 13, 15, 0, 17, 2, layout.IDENTITY, 5, 10, 10, 15, 0]
    assert head_words(block.head) == scalars + rows + [0] * (n if node else 0)
    assert mem_words(block.mem)[n:] == [0] * (22 + signs) + TABLE
    weights = weights_of(block.head, block.mem)
    assert max(weights) <= 3000
    assert min(weights) >= -3000
    assert len(set(weights)) > n // 2


def test_a_recurrent_layers_block_is_what_the_page_says() -> None:
    """Own outputs are inputs behind those of the layer below: fan-in, shifts, weights and signals count them."""
    setup = Setup(layers=(3, 4, 2), activations=("hard_tanh", "identity"), recurrent=(True, False), init=0)
    block = setup.block()
    n = 8 * 4 + 5 * 2
    assert setup.n_weights == n
    rows = [7, 4, layout.HARD_TANH, 3, 12, 11, 15, 4, 4, 2, layout.IDENTITY, 3, 12, 11, 15, 0]
    assert head_words(block.head)[layout.LAYERS_AT :] == rows
    assert mem_words(block.mem) == [0] * (n + 3 + 4 + 4 + 2)


@pytest.mark.parametrize("layers", [(4, 1), (16, 16, 3), (100, 7)])
def test_weight_perturbation_needs_no_memory_beside_its_weights(layers: tuple[int, ...]) -> None:
    """At most one bit a weight is allowed; the rule draws its signs again and needs none.

    Its block is the weights, one word for each signal, and a head whose size depends on the number of layers alone.
    """
    setup = Setup(layers=layers, activations=("identity",) * (len(layers) - 1))
    block = setup.block()
    assert len(mem_words(block.mem)) == setup.n_weights + sum(layers)
    assert len(head_words(block.head)) == layout.LAYERS_AT + layout.LAYER_WORDS * (len(layers) - 1)


def drawn(stream: Stream, n: int, span: int) -> list[int]:
    """Return n words uniform in +-span, as initial weights and strengths are drawn."""
    return [((stream.draw() * (2 * span + 1)) >> 16) - span for _ in range(n)]


def stream_of(name: str) -> Stream:
    """Return a stream of seed 31, by the page."""
    state = int.from_bytes(hashlib.sha256(f"31/{name}/0".encode()).digest()[:4], "little") or 1
    return Stream(state & 0xFFFF, state >> 16)


def test_initial_weights_and_strengths_are_drawn_as_the_page_says() -> None:
    setup = Setup("hedonistic_synapse", "running_baseline", (3, 2), ("logistic",), init=900, seed=31)
    block = replace(setup, options={"strength": 32767}).block()
    learner = Oracle.of(block.rule, block.head, block.mem)
    assert learner.weights == drawn(stream_of("init"), 8, 900)
    assert learner.synapses == drawn(stream_of("strength"), 8, 32767)


@pytest.mark.parametrize(("n_in", "n_out", "weight_frac"), [(7, 2, 11), (3, 5, 11), (1, 1, 14), (12, 4, 8)])
def test_fixed_pools_are_what_the_page_says(n_in: int, n_out: int, weight_frac: int) -> None:
    """Of the songbird: every n-th unit from i on, the first pushes, the second pulls; either side has the sum 2."""
    setup = Setup("songbird", "each_step", (2, n_in, n_out), ("integrate_fire", "identity"), weight_frac, seed=31)
    block = setup.block()
    weights = Oracle.of(block.rule, block.head, block.mem).weights
    assert weights[: 3 * n_in] == drawn(stream_of("init"), 3 * n_in, setup.init)
    for i in range(n_out):
        row = weights[3 * n_in + i * (n_in + 1) :][: n_in + 1]
        pool = range(i, n_in, n_out)
        expected = [0] * (n_in + 1)
        for side, sign in ((pool[::2], 1), (pool[1::2], -1)):
            for j in side:
                expected[j] = sign * min(round(Fraction(2 * 2**weight_frac, len(side))), 32767)
        assert row == expected


@pytest.mark.parametrize("rule", ["hebb", "reinforce", "stochastic_spiking"])
def test_the_shift_of_inputs_is_what_the_page_says(rule: str) -> None:
    """The least s with 2**s >= steps; of a fading eligibility TRACE_SHIFT, where that is less."""
    units = "logistic"
    for steps, trace_shift in product((1, 2, 3, 4, 5, 1000, 16384), (0, 3, 14)):
        least = next(s for s in range(16) if 2**s >= steps)
        for estimator, expected in (("running_baseline", least), ("each_step", min(least, trace_shift))):
            setup = Setup(rule, estimator, (1, 1), (units,), steps=steps, options={"trace_shift": trace_shift})
            assert head_words(setup.block().head)[layout.INPUT_SHIFT] == expected
