"""The comparison's statistics against closed forms, scipy, and what must hold for any scores."""

import json
from math import comb, sqrt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from subsong.compare.coverage import COSTS, measure
from subsong.compare.effects import hedges, smallest_detectable_effect
from subsong.compare.judgement import judge
from subsong.compare.statistics import (
    bootstrap,
    equivalence,
    interquartile_mean,
    interval_of,
    percentiles,
    probability_of_improvement,
    welch,
)

finite = st.floats(-1e6, 1e6, allow_subnormal=False)
scores = st.lists(finite, min_size=1, max_size=12)
several = st.lists(finite, min_size=2, max_size=12)
spread = st.lists(st.integers(-1000, 1000), min_size=2, max_size=12).filter(lambda values: len(set(values)) > 1)


def middle(values):
    return interquartile_mean(values, axis=1)


# ---------------------------------------------------------------------------------------------- interquartile mean


def test_interquartile_mean_drops_a_quarter_at_either_end():
    assert interquartile_mean([100, 1, 2, 3, 4, 5, 6, -100]) == pytest.approx(3.5)
    assert interquartile_mean([1, 2, 30]) == 11  # fewer than four: nothing to drop
    assert interquartile_mean([0, 10, 20, 1000]) == 15


@given(scores)
def test_interquartile_mean_is_scipys_trimmed_mean(values):
    assert interquartile_mean(values) == pytest.approx(stats.trim_mean(values, 0.25), rel=1e-12, abs=1e-9)


@given(scores, st.randoms())
def test_interquartile_mean_knows_no_order_and_stays_inside(values, random):
    shuffled = list(values)
    random.shuffle(shuffled)
    assert interquartile_mean(shuffled) == interquartile_mean(values)
    assert min(values) - 1e-9 <= interquartile_mean(values) <= max(values) + 1e-9


def test_interquartile_mean_along_an_axis():
    values = np.arange(24.0).reshape(8, 3)
    assert interquartile_mean(values, axis=0).tolist() == [10.5, 11.5, 12.5]


# ---------------------------------------------------------------------------------------------- improvement


def test_probability_of_improvement_counts_pairs_and_halves_ties():
    # Pairs in which hardware is lower: (3,1), (3,2), (2,1); equal: (2,2).
    assert probability_of_improvement([3, 2], [1, 2]) == (3 + 0.5) / 4
    assert probability_of_improvement([5], [5]) == 0.5
    assert probability_of_improvement([1, 2], [3, 4]) == 0


@given(scores, scores)
def test_probability_of_improvement_is_mann_whitneys_u(software, hardware):
    u = stats.mannwhitneyu(software, hardware, alternative="two-sided", method="asymptotic").statistic
    assert probability_of_improvement(software, hardware) == pytest.approx(u / (len(software) * len(hardware)))


@given(scores, scores)
def test_probability_of_improvement_of_the_other_side_is_the_rest(software, hardware):
    assert probability_of_improvement(software, hardware) + probability_of_improvement(hardware, software) == 1


# ---------------------------------------------------------------------------------------------- bootstrap


@pytest.mark.parametrize("n", [2, 5, 10])
def test_bootstrap_is_scipys_with_the_same_draws(n):
    values = np.random.default_rng(3).gamma(2.0, 50.0, n)
    low, high = bootstrap([values], middle, resamples=999, seed=11)
    again = stats.bootstrap(
        (values,),
        lambda sample, axis: interquartile_mean(sample, axis=axis),
        n_resamples=999,
        method="percentile",
        rng=np.random.default_rng(11),
    )
    assert (float(low), float(high)) == pytest.approx(tuple(again.confidence_interval), rel=1e-12)


def test_bootstrap_of_two_strata_is_scipys_with_the_same_draws():
    rng = np.random.default_rng(4)
    one, two = rng.normal(0, 1, 7), rng.normal(1, 2, 9)
    low, high = bootstrap([one, two], lambda a, b: middle(b) - middle(a), resamples=500, seed=2)
    again = stats.bootstrap(
        (one, two),
        lambda a, b, axis: interquartile_mean(b, axis=axis) - interquartile_mean(a, axis=axis),
        n_resamples=500,
        method="percentile",
        rng=np.random.default_rng(2),
    )
    assert (float(low), float(high)) == pytest.approx(tuple(again.confidence_interval), rel=1e-12)


def test_bootstrap_of_two_runs_has_a_closed_form():
    # Resamples of {0, 1} have means 0, 1/2, 1 with probabilities 1/4, 1/2, 1/4: a 95% interval must reach both ends.
    interval = interval_of([[0.0, 1.0]], middle)
    assert interval == (0.0, 1.0, 0.95)


def test_bootstrap_is_the_same_for_the_same_seed_and_whatever_the_chunks(monkeypatch):
    values = np.random.default_rng(1).normal(size=(6, 5))
    first = bootstrap([values], middle, resamples=300, seed=9)
    monkeypatch.setattr("subsong.compare.statistics._CHUNK", 200)
    second = bootstrap([values], middle, resamples=300, seed=9)
    assert np.array_equal(first, second)
    assert not np.array_equal(first, bootstrap([values], middle, resamples=300, seed=10))


def test_one_run_has_no_interval():
    with pytest.raises(ValueError, match="at least two runs"):
        bootstrap([[1.0]], middle)
    assert interval_of([[1.0, 2.0], [3.0]], lambda a, b: middle(b) - middle(a)) is None


# ---------------------------------------------------------------------------------------------- rliable

# Written by rliable itself: `make golden-rliable`.
RLIABLE = json.loads((Path(__file__).parent / "golden" / "rliable.json").read_text(encoding="utf-8"))


def draws_of_rliable(seed, *sizes):
    """Return the runs that rliable's resamples took: it draws side after side, a resample at a time."""
    state = np.random.RandomState(seed)  # the stream that rliable uses, and that NumPy never changes
    rows = [[state.choice(n, (n, 1))[:, 0] for n in sizes] for _ in range(RLIABLE["resamples"])]
    return [np.array(side) for side in zip(*rows, strict=True)]


@pytest.mark.parametrize("case", RLIABLE["cases"].values(), ids=RLIABLE["cases"])
def test_interquartile_means_and_their_intervals_are_rliables(case):
    software = np.array(case["software"])
    assert interquartile_mean(software) == pytest.approx(case["iqm"], rel=1e-12)
    draws = draws_of_rliable(case["seed"], len(software))
    assert percentiles([software], draws, middle, RLIABLE["level"]) == pytest.approx(case["iqm_interval"], rel=1e-12)


@pytest.mark.parametrize("case", RLIABLE["cases"].values(), ids=RLIABLE["cases"])
def test_probabilities_of_improvement_and_their_intervals_are_rliables(case):
    sides = [np.array(case["software"]), np.array(case["hardware"])]
    assert probability_of_improvement(*sides) == pytest.approx(case["improvement"], rel=1e-12)
    draws = draws_of_rliable(case["seed"], *map(len, sides))
    found = percentiles(sides, draws, probability_of_improvement, RLIABLE["level"])
    assert found == pytest.approx(case["improvement_interval"], rel=1e-12)


# ---------------------------------------------------------------------------------------------- effects


def test_hedges_g_is_that_of_a_published_example():
    # Borenstein et al., Introduction to Meta-Analysis (2009), p. 26 to 27: means 103 and 100, deviations 5.5 and 4.5,
    # 50 a side: d = 0.5970, g = 0.5924, standard error of g 0.2028.
    def scores(mean, deviation):
        values = stats.norm.ppf((np.arange(50) + 0.5) / 50)
        return mean + deviation * values / values.std(ddof=1)

    found = hedges(scores(100, 4.5), scores(103, 5.5))
    assert found.g == pytest.approx(0.5924, abs=1e-4)
    # Of d, whose standard error there is 0.2044: the interval is the true difference's.
    assert (found.interval.high - found.interval.low) / (2 * 1.96) == pytest.approx(0.2044, abs=2e-3)


@pytest.mark.parametrize(("n", "m", "shift"), [(2, 2, 1.0), (5, 9, 0.0), (12, 10, -3.0)])
def test_the_interval_of_g_is_that_of_the_noncentral_t(n, m, shift):
    rng = np.random.default_rng(n)
    software, hardware = rng.normal(size=n), rng.normal(shift, 1.0, m)
    found = hedges(software, hardware)
    t = stats.ttest_ind(hardware, software).statistic
    for end, share in zip(found.interval[:2], (0.975, 0.025), strict=True):
        reach = end / sqrt(1 / n + 1 / m)
        assert stats.nct.cdf(t, n + m - 2, reach) == pytest.approx(share, abs=2e-5)


def test_the_interval_of_g_holds_the_true_difference_as_often_as_it_says():
    rng, held = np.random.default_rng(2), 0
    for _ in range(200):
        found = hedges(rng.normal(size=2), rng.normal(1.0, 1.0, 2)).interval
        held += found.low <= 1.0 <= found.high
    # 190 of 200; three standard deviations are 9. Shrunk as g is, it would hold it 174 times.
    assert abs(held - 190) <= 9


@settings(max_examples=30)  # each takes milliseconds
@given(spread, spread, st.sampled_from([0.01, 3.0, 1e4]), st.integers(-1000, 1000))
def test_g_knows_no_units_and_lies_in_its_interval(software, hardware, unit, offset):
    found = hedges(software, hardware)
    moved = hedges(*(unit * np.array(side) + offset for side in (software, hardware)))
    assert moved.g == pytest.approx(found.g, rel=1e-6, abs=1e-6)
    assert found.interval.low <= found.g <= found.interval.high
    other = hedges(hardware, software)
    assert (other.g, other.interval.low) == pytest.approx((-found.g, -found.interval.high), abs=1e-6)


def test_no_spread_has_no_standardised_difference():
    assert hedges([1.0, 1.0], [2.0, 2.0]) is None
    assert hedges([1.0], [2.0, 3.0]) is None


# ---------------------------------------------------------------------------------------------- Welch, margins, power


@given(spread, spread)
def test_welch_is_scipys(software, hardware):
    result = welch(software, hardware)
    again = stats.ttest_ind(hardware, software, equal_var=False)
    assert result.p == pytest.approx(again.pvalue, rel=1e-9, abs=1e-12)
    assert result.freedom == pytest.approx(again.df, rel=1e-9)
    interval = again.confidence_interval(0.95)
    assert result.interval[:2] == pytest.approx((interval.low, interval.high), rel=1e-9, abs=1e-9)


def test_equivalence_is_two_one_sided_tests_of_scipy():
    rng = np.random.default_rng(7)
    software, hardware, margin = rng.normal(0, 1, 12), rng.normal(0.2, 1.5, 15), 1.7
    result = equivalence(software, hardware, margin)
    above = stats.ttest_ind(hardware + margin, software, equal_var=False, alternative="greater").pvalue
    below = stats.ttest_ind(hardware - margin, software, equal_var=False, alternative="less").pvalue
    assert result.p == pytest.approx(max(above, below), rel=1e-9)
    assert result.equivalent == (max(above, below) < 0.05)


@given(several, several, st.floats(1e-3, 1e6))
def test_equivalent_exactly_when_the_90_percent_interval_is_inside(software, hardware, margin):
    result = equivalence(software, hardware, margin)
    if result is None or abs(result.p - 0.05) < 1e-6:
        return
    inside = -margin < result.interval.low and result.interval.high < margin
    assert result.equivalent == inside


@pytest.mark.parametrize("margin", [0.0, -1.0, float("nan")])
def test_a_margin_must_be_positive(margin):
    with pytest.raises(ValueError, match="margin must be positive"):
        equivalence([1, 2], [3, 4], margin)


@pytest.mark.parametrize(
    ("runs", "effect"),
    # R's pwr.t.test (alpha .05 two-sided, power .80): d = .2, .5, .8, 1 take n = 393.41, 63.77, 25.52, 16.71.
    [(394, 0.20), (64, 0.50), (26, 0.80), (17, 1.00)],
)
def test_smallest_detectable_effect_is_that_of_published_tables(runs, effect):
    assert smallest_detectable_effect(runs, runs) <= effect < smallest_detectable_effect(runs - 1, runs - 1)


@pytest.mark.parametrize(("n", "m"), [(2, 2), (2, 30), (5, 5), (10, 7), (1000, 1000)])
def test_smallest_detectable_effect_has_the_power_it_promises(n, m):
    effect = smallest_detectable_effect(n, m)
    assert effect == smallest_detectable_effect(m, n)
    freedom, reach = n + m - 2, effect * sqrt(n * m / (n + m))
    critical = stats.t.ppf(0.975, freedom)
    power = 1 - stats.nct.cdf(critical, freedom, reach) + stats.nct.sf(critical, freedom, -reach)
    assert power == pytest.approx(0.8, abs=1e-6)
    if n >= 1000:  # the normal limit
        assert effect == pytest.approx((stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) * sqrt(2 / n), rel=2e-3)


def test_smallest_detectable_effect_needs_two_runs_a_side():
    assert smallest_detectable_effect(1, 100) is None


# ---------------------------------------------------------------------------------------------- the verdict


@given(finite, finite)
def test_one_run_a_side_is_inconclusive_and_has_no_interval(software, hardware):
    found = judge([software], [hardware], margin=1e9)
    assert (found.verdict, found.why) == ("inconclusive", "one run")
    for name in ("software_interval", "improvement", "gap_interval", "welch", "equivalence", "p", "detectable"):
        assert getattr(found, name) is None
    assert found.difference == hardware - software


@given(several, finite)
def test_one_run_on_either_side_is_inconclusive(many, one):
    assert judge(many, [one], resamples=50).why == "one run"
    assert judge([one], many, resamples=50).why == "one run"
    assert judge(many, [], resamples=50).why == "no runs"


def test_a_difference_that_chance_does_not_make_is_different():
    rng = np.random.default_rng(0)
    found = judge(rng.normal(-480, 5, 10), rng.normal(-300, 30, 10), margin=20.0)
    assert (found.verdict, found.better) == ("different", "software")
    assert found.gap_interval.low > 0
    assert found.improvement == 0


def test_equal_means_within_a_declared_margin_are_equivalent_and_without_one_inconclusive():
    rng = np.random.default_rng(0)
    software, hardware = rng.normal(-480, 5, 20), rng.normal(-480, 5, 20)
    assert judge(software, hardware, margin=15.0).verdict == "equivalent"
    undeclared = judge(software, hardware)
    assert (undeclared.verdict, undeclared.why) == ("inconclusive", "no margin")
    narrow = judge(software, hardware, margin=0.5)
    assert (narrow.verdict, narrow.why) == ("inconclusive", "wide")


def test_a_difference_smaller_than_the_margin_is_equivalent_though_it_is_there():
    software, hardware = np.linspace(-1, 1, 50), np.linspace(-1, 1, 50) + 1
    assert welch(software, hardware).p < 0.001
    assert judge(software, hardware, margin=10.0).verdict == "equivalent"


def test_all_runs_at_the_ceiling_are_alike_and_say_what_may_still_come():
    found = judge([-500.0] * 10, [-500.0] * 12, margin=5.0)
    assert found.verdict == "alike"
    assert found.unseen == pytest.approx(stats.binomtest(0, 10).proportion_ci(0.9, "exact").high)
    assert found.welch is None


def test_without_any_spread_counting_decides():
    found = judge([-500.0] * 4, [-499.0] * 4)
    assert found.p == 2 / comb(8, 4)
    assert (found.verdict, found.better) == ("different", "software")
    assert judge([-500.0] * 3, [-499.0] * 3).why == "no spread"


@pytest.mark.parametrize(
    ("runs", "margin", "verdict"),
    [(4, 20.0, "equivalent"), (4, 1.0, "different"), (2, 20.0, "inconclusive"), (4, 0.5, "different")],
)
def test_without_any_spread_a_margin_is_counted_against_as_well(runs, margin, verdict):
    # 1 / C(8, 4) = 0.014 is under 5%, and so is twice that; 1 / C(4, 2) = 0.17 is not.
    found = judge([-500.0] * runs, [-499.0] * runs, margin=margin)
    assert found.verdict == verdict
    if verdict == "equivalent":
        assert (found.equivalence.p, found.equivalence.equivalent) == (1 / comb(8, 4), True)
        assert found.p == 2 / comb(8, 4)


def test_scores_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="finite"):
        judge([1.0, float("nan")], [1.0, 2.0])


@pytest.mark.slow
def test_no_effect_is_called_different_about_as_rarely_as_promised():
    rng = np.random.default_rng(12)
    wrong = sum(judge(rng.normal(size=6), rng.normal(size=6), resamples=20).verdict == "different" for _ in range(400))
    assert 8 <= wrong <= 32  # 5% of 400 is 20, standard deviation 4.4


def test_spread_that_float64_cannot_square_is_no_spread():
    assert welch([0.0, 0.0], [0.0, 3e-200]) is None
    found = judge([0.0, 0.0], [0.0, 3e-200])
    assert (found.verdict, found.why, found.p) == ("inconclusive", "no spread", None)


def test_the_docs_state_what_runs_can_show():
    text = (Path(__file__).parents[1] / "docs" / "compare.md").read_text(encoding="utf-8")
    head, *_, row = text[text.index("| runs a side | 2 | 3 |") :].split("\n\n", 1)[0].splitlines()
    runs, shown = ([cell.strip() for cell in line.split("|")[2:-1]] for line in (head, row))
    assert shown == [f"{smallest_detectable_effect(int(n), int(n)):.2f}" for n in runs]


def test_welchs_interval_holds_the_truth_as_often_as_promised_and_few_bootstraps_do_not():
    draw = COSTS["normal costs"]
    few, many = (measure(draw, n, experiments=300) for n in (3, 20))
    assert few[0] < 0.85 < many[0]  # why the page warns below ten runs a side
    assert min(few[1], many[1]) > 0.92
