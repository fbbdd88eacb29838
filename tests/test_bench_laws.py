"""The benchmark against the laws: formulas, estimators, and that its loops are the firmware's (`make bench-laws`)."""

import numpy as np
import pytest
from laws import fit, formulas, integers, lqr, networks, reference, rows, teacher

from subsong.block import build_block
from subsong.experiment import parse_experiment
from subsong_device import layout
from subsong_sim.engines import LocalLearner, make_buffer, task_kernels


@pytest.mark.parametrize(("rule", "k", "floor"), [("node", 24, 0.0521), ("weight", 240, 0.0052)])
def test_the_linear_teachers_law_has_the_published_constants(rule: formulas.Rule, k: float, floor: float) -> None:
    law = formulas.linear_law(rule, 10, 2, noise=0.05)
    assert law.k == k
    assert law.loss(law.eta_opt) == pytest.approx(1 / k)
    assert law.floor(law.eta_opt) == pytest.approx(floor, rel=0.005)
    assert formulas.linear_law(rule, 10, 2, kurtosis=formulas.SIGN_KURTOSIS).k == k / 24 * 20
    assert law.loss(law.eta_max) == pytest.approx(0)


@pytest.mark.parametrize(
    ("rule", "size", "rest", "floor"),
    [("weight", 0.04, 0.0, 1.008), ("node", 0.04, 0.0, 2.004), ("weight", 1e-6, 2.0, 2.0), ("node", 1e-6, 2.0, 3.99)],
)
def test_the_extended_tasks_law_has_the_published_residuals(
    rule: formulas.Rule, size: float, rest: float, floor: float
) -> None:
    sigma = formulas.weight_sigma(size, 100) if rule == "weight" else size
    law = formulas.extended_law(rule, 100, 10, 100, 50, sigma=sigma, rest=rest)
    assert 1 / law.loss(law.eta_opt) == pytest.approx(502)
    assert law.floor(law.eta_opt) == pytest.approx(floor, rel=0.002)


def test_the_estimator_of_the_decay_finds_it_and_its_interval_holds_it() -> None:
    random = np.random.default_rng(0)
    steps = np.log(0.95) - 0.02 + 0.2 * random.standard_normal((200, 300))  # the mean factor is .95, nearly
    errors = np.exp(np.cumsum(np.hstack((np.zeros((200, 1)), steps)), axis=1))
    found = fit.loss(errors)
    assert found.low < 0.05 < found.high
    assert found.half_width < 0.1
    with_floor = errors.copy()
    for t in range(300):
        with_floor[:, t + 1] = with_floor[:, t] * np.exp(steps[:, t]) + 0.001 * random.random(200)
    found = fit.loss(with_floor, with_floor=True)
    assert found.low < 0.05 < found.high


def test_the_estimator_of_the_decay_finds_none_where_nothing_is_learned() -> None:
    found = fit.loss(np.ones((20, 50)))
    assert found.value == 0
    assert not found.within(1 / 24, 0.02)


def test_the_optimal_rate_is_found_from_three() -> None:
    law = formulas.linear_law("node", 10, 2)
    etas = law.eta_opt * np.array([0.5, 1.0, 1.5])
    losses = [fit.Interval(law.loss(eta), law.loss(eta) - 1e-4, law.loss(eta) + 1e-4) for eta in etas]
    assert fit.best_rate(etas, losses)[0] == pytest.approx(law.eta_opt)


@pytest.mark.parametrize("rate", [3.2e-4, 1.0, 2.0**-29, 16383.0])
def test_a_rate_is_a_mantissa_and_a_shift(rate: float) -> None:
    mantissa, shift = integers.mantissa_and_shift(rate)
    assert 1 <= mantissa <= 16383
    assert 0 <= shift <= 29
    assert mantissa * 2.0**-shift == pytest.approx(rate, rel=1e-4)


def test_a_rate_that_no_mantissa_and_shift_make_is_refused() -> None:
    for rate in (1e-10, 16384.0):
        with pytest.raises(ValueError, match="out of range"):
            integers.mantissa_and_shift(rate)


def test_a_share_of_all_has_an_interval_that_ends_there() -> None:
    found = rows.share(100, 100)
    assert (found.value, found.high) == (1, 1)
    assert 0.95 < found.low < 0.97


def test_the_regulators_optimum_is_the_published_one_and_no_gain_beats_it() -> None:
    best, gain = lqr.optimum()
    assert best == pytest.approx(0.137287, abs=1e-6)
    assert lqr.average_cost(gain) == pytest.approx(best)
    assert lqr.average_cost(gain * 1.1) > best
    assert lqr.average_cost(np.zeros((3, 3))) == np.inf


def test_the_surrogate_has_44136_images() -> None:
    images, targets = networks.letters_task()
    assert images.shape == (44136, 49)
    assert targets.sum(axis=0).tolist() == [11034] * 4


def test_inputs_have_the_moments_of_64_coins_clipped() -> None:
    variance, kurtosis = teacher.coin_moments()
    assert variance == pytest.approx(0.99993, abs=1e-5)
    assert kurtosis == pytest.approx(2.9666, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["node", "weight"])
def test_float64_weights_obey_the_law(rule: formulas.Rule) -> None:
    law = formulas.linear_law(rule, 4, 1)
    errors = reference.linear_teacher(rule, 4, 1, law.eta_opt, 200, 300)
    found = fit.loss(errors, least=1e-12)
    assert abs(found.value - law.loss(law.eta_opt)) < found.high - found.low


@pytest.mark.slow
@pytest.mark.parametrize("rule", [integers.NODE, integers.WEIGHT])
def test_the_watched_loop_is_the_kernels_step_by_step(rule: str) -> None:
    text, _ = integers.experiment_text(
        layers=[5, 2],
        activations=["identity"],
        weight_frac=12,
        bias=False,
        rule=rule,
        amplitude=0.1,
        rate=1e-3,
        estimator="two_sided",
        plant={"name": "linear_teacher", "noise": 0.001},
    )
    experiment = parse_experiment(text, "test")
    one = integers.learner(experiment)
    distances = np.empty(9)
    one.loops.teacher_curve(*one.buffers, 2, distances)

    block = build_block(experiment)
    by_hand = LocalLearner(block.rule, block.head, block.mem, "cpython")
    task, kernels = make_buffer(block.task, "H", "cpython"), task_kernels("cpython")
    expected = [_distance(by_hand, task)]
    for trial in range(16):
        by_hand.head[layout.EVALUATE] = 0
        kernels.task_begin(by_hand.head, task)
        by_hand.begin(trial, False)
        kernels.task_sense(task, by_hand.x)
        by_hand.act(0, list(by_hand.x))
        by_hand.end(kernels.task_cost(task, by_hand.u))
        if trial % 2:
            expected.append(_distance(by_hand, task))
    assert distances.tolist() == expected
    assert one.head.tolist() == by_hand.head.tolist()
    assert one.mem.tolist() == by_hand.mem.tolist()
    assert len(set(expected)) > 5


def _distance(one: LocalLearner, task: "object") -> float:
    words = np.array(one.mem[:12], np.uint16).view(np.int16).reshape(2, 6)[:, :5].astype(float)
    wanted = np.array(task, np.uint16)[layout.TEACHER_DATA + 2 :].view(np.int16).reshape(2, 5)
    return float(np.sum((words - wanted) ** 2))
