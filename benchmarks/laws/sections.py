"""The figures of docs/laws.md, a function each: rows, and curves for the plots."""

import os
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from laws import criteria, long, lqr, networks, reference, tasks, teacher
from laws.fit import best_rate, floor, loss, slope
from laws.formulas import Rule, rounding_floor
from laws.rows import Row, interval, mean, median, number, share

QUICK = os.environ.get("QUICK", "0") not in ("", "0")
RULES: tuple[Rule, Rule] = ("node", "weight")
TITLES: dict[Rule, str] = {"node": "node perturbation", "weight": "weight perturbation"}
N, M = 10, 2
SIZES, OUTPUTS = (4, 8, 16, 32, 64), (1, 2, 4, 8)


class Section(NamedTuple):
    """What a figure came to.

    Attributes:
        rows: of the main table.
        others: further tables: title, headers, rows of cells.
        curves: for plots; lists of numbers by name.
    """

    rows: list[Row]
    others: list[tuple[str, list[str], list[list[str]]]]
    curves: dict[str, Any]


def _seeds(full: int, quick: int, first: int = 1) -> range:
    return range(first, first + (quick if QUICK else full))


def _thin(curve: Any, points: int = 200) -> list[list[float]]:
    """Return a curve at no more than so many places: where, and what."""
    at = np.unique(np.linspace(0, len(curve) - 1, points).round().astype(int))
    return [at.tolist(), np.asarray(curve)[at].tolist()]


def decay() -> Section:
    """Return how fast the linear teacher is learned."""
    rows, curves = [], {}
    for rule in RULES:
        updates, seeds = (400, _seeds(400, 100)) if rule == "node" else (3000, _seeds(400, 60))
        law = teacher.word_law(rule, N, M, teacher.word_sigma(rule, 0.1))
        words, eta = teacher.teacher_errors(rule, N, M, law.eta_opt, seeds, updates, start=1.0)
        reals = reference.linear_teacher(rule, N, M, eta, len(seeds), updates, inputs="coins", start=1.0)
        exact = law.loss(eta)
        least = 100 * rounding_floor(N, M, 2.0**-teacher.FRAC, exact)
        found = loss(words, least=least)
        aim = 1 / 24 if rule == "node" else 1 / 240
        rows.append(
            Row(
                f"linear teacher, {TITLES[rule]}: 1 - a",
                f"N = {N}, M = {M}, two-sided, sigma .1, eta {eta:.5g}; {updates} updates",
                len(seeds),
                exact,
                found,
                loss(reals, least=least),
                f"{aim:.5f} ± 2 %",
                found.within(aim, 0.02),
            )
        )
        curves[rule] = {"words": _thin(words.mean(axis=0)), "reals": _thin(reals.mean(axis=0)), "loss": exact}
    return Section(rows, [], curves)


def residual() -> Section:
    """Return what measurement noise leaves of the error."""
    rows = []
    for rule in RULES:
        updates, seeds = (600, _seeds(200, 100)) if rule == "node" else (6000, _seeds(100, 40))
        burn = 120 if rule == "node" else 1200
        law = teacher.word_law(rule, N, M, teacher.word_sigma(rule, 0.1), 0.05)
        start = law.floor(law.eta_opt)
        words, eta = teacher.teacher_errors(rule, N, M, law.eta_opt, seeds, updates, start=start, noise=0.05)
        reals = reference.linear_teacher(rule, N, M, eta, len(seeds), updates, inputs="coins", noise=0.05, start=start)
        found = floor(words, burn)
        aim = 0.0521 if rule == "node" else 0.0052
        rows.append(
            Row(
                f"linear teacher, {TITLES[rule]}, measurement noise: E_inf",
                f"as above, s = .05; E of updates {burn} to {updates}, from the floor",
                len(seeds),
                law.floor(eta),
                found,
                floor(reals, burn),
                f"{aim} ± 10 %",
                found.within(aim, 0.1),
            )
        )
    return Section(rows, [], {})


def scaling() -> Section:
    """Return how the optimal rate depends on N and M."""
    rows, curves = [], {}
    for rule in RULES:
        updates, seeds = (300, 150) if rule == "node" else (800, 150)
        if QUICK:
            seeds = 20
        found: dict[tuple[int, int], dict[str, tuple[float, float]]] = {}
        for m in OUTPUTS:
            for n in SIZES:
                law = teacher.word_law(rule, n, m, teacher.word_sigma(rule, 0.1))
                start = min(n * m * 0.35**2 / 2, 2.0)
                least = 100 * rounding_floor(n, m, 2.0**-teacher.FRAC, law.loss(law.eta_opt))
                etas, words, reals = [], [], []
                for i, rate in enumerate((0.5, 1.0, 1.5)):
                    first = 1 + 1000 * i
                    errors, eta = teacher.teacher_errors(
                        rule, n, m, rate * law.eta_opt, range(first, first + seeds), updates, start=start
                    )
                    etas.append(eta)
                    words.append(loss(errors, least=least))
                    errors = reference.linear_teacher(
                        rule, n, m, eta, seeds, updates, inputs="coins", start=start, first_seed=first
                    )
                    reals.append(loss(errors, least=least))
                found[n, m] = {"words": best_rate(np.array(etas), words), "reals": best_rate(np.array(etas), reals)}
        curves[rule] = [[n, m, *found[n, m]["words"]] for n, m in found]
        for axis, across, along in (("N", OUTPUTS, SIZES), ("M", SIZES, OUTPUTS)):
            for fixed in across:
                places = [(k, fixed) if axis == "N" else (fixed, k) for k in along]
                rows.append(_slope_row(rule, axis, fixed, places, found, seeds, updates))
    return Section(rows, [], curves)


def _slope_row(
    rule: Rule,
    axis: str,
    fixed: int,
    places: list[tuple[int, int]],
    found: dict[tuple[int, int], dict[str, tuple[float, float]]],
    seeds: int,
    updates: int,
) -> Row:
    sizes = np.array([n if axis == "N" else m for n, m in places], float)
    laws = np.array([teacher.word_law(rule, n, m, 0.1).eta_opt for n, m in places])
    slopes = {}
    for side in ("words", "reals"):
        rates, errors = np.array([found[place][side] for place in places]).T
        slopes[side] = slope(sizes, rates, errors)
    rates, errors = np.array([found[place]["words"] for place in places]).T
    exact = slope(sizes, laws, laws * errors / rates).value
    value, low, high = slopes["words"]
    # Eighteen slopes are looked at: 95 % intervals of all of them hold the law less than half the time. Three widths.
    half = (high - low) / 2 * 3.0 / 1.96
    return Row(
        f"linear teacher, {TITLES[rule]}: slope of log eta_opt in log {axis}",
        f"{'M' if axis == 'N' else 'N'} = {fixed}, {axis} = {', '.join(str(int(s)) for s in sizes)}; "
        f"eta_opt of 1 - a at .5, 1, 1.5 of the law's, {updates} updates",
        seeds,
        exact,
        slopes["words"],
        slopes["reals"],
        "the law, within three standard errors",
        abs(value - exact) <= half,
    )


def extended() -> Section:
    """Return the laws of the temporally extended task."""
    rows, curves = [], {}
    for rule in RULES:
        for size, rest in ((0.002, 0.0), (0.04, 0.0), (0.002, 2.0)):
            law = long.long_law(rule, size, rest)
            falls = size < 0.04 and rest == 0.0
            seeds, updates, burn = (_seeds(40, 4), 900, 0) if falls else (_seeds(16, 4), 3000, 1000)
            if QUICK:
                updates, burn = updates // 3, burn // 3
            start = 4.0 if falls else law.floor(long.ETA) - rest
            words, eta = long.long_errors(rule, seeds, updates, size=size, start=start, rest=rest)
            inputs, targets = long.long_courses(start, rest)
            many = max(4, len(seeds) // 2)
            sigma = long.word_sigma(rule, size)
            reals = reference.extended(rule, inputs, targets, eta, many, updates, sigma=sigma, code="signs")
            what = f"extended task, {TITLES[rule]}"
            setting = f"M = 10, N = T = 100, N_eff = 50, sigma_eff {size}, E_opt = {rest:g}; {updates} updates"
            if falls:
                least = 100 * law.floor(eta)
                found = loss(words, least=least)
                aim, reached = 1 / 502, loss(reals, least=least)
                curves[rule] = {"words": _thin(words.mean(axis=0)), "reals": _thin(reals.mean(axis=0)),
                                "loss": law.loss(eta)}  # fmt: skip
                rows.append(
                    Row(f"{what}: 1 - a", setting, len(seeds), law.loss(eta), found, reached, "1/502 ± 5 %",
                        found.within(aim, 0.05))
                )  # fmt: skip
            else:
                found = floor(words, burn)
                aim = {("node", 0.0): 2.004, ("weight", 0.0): 1.008, ("node", 2.0): 3.99, ("weight", 2.0): 2.0}[
                    rule, rest
                ]
                rows.append(
                    Row(f"{what}: E_inf", f"{setting}, {burn} not counted", len(seeds), law.floor(eta), found,
                        floor(reals, burn), f"{aim} ± 5 %", found.within(aim, 0.05))
                )  # fmt: skip
    return Section(rows, [], curves)


def xor() -> Section:
    """Return how XOR is learned, one pattern a trial."""
    rows, curves = [], {}
    task = networks.xor_task()
    seeds, updates = _seeds(200, 40), 20_000 if QUICK else 200_000
    for hidden, frac in ((4, 11), (2, 11), (2, 12)):
        for rule in RULES:
            mgd = networks.mgd_rate(5.0, task, hidden)
            eta = mgd if rule == "weight" else 1.0
            words = tasks.xor(rule, hidden, eta, seeds, updates, sigma=0.05, frac=frac)
            found = networks.train(
                rule, task, hidden, eta, len(seeds), updates, sigma=0.05, stop=0.04, look=10, in_turn=True, first_seed=1
            ).updates
            reals = np.where(found < 0, np.inf, found.astype(float))
            what = f"XOR 2-{hidden}-1, {TITLES[rule]}"
            setting = (
                f"logistic, one pattern a trial, against an unperturbed one; eta {eta:.3g}, sigma .05, "
                f"weights in +-{2 ** (15 - frac)}; {updates:,} updates"
            )
            aim = {(4, "weight"): 1.0, (4, "node"): 0.995, (2, "weight"): 0.775, (2, "node"): 0.782}[hidden, rule]
            part = share(int(np.isfinite(words).sum()), len(words))
            rows.append(
                Row(f"{what}: share solved", setting, len(words), None, part,
                    share(int(np.isfinite(reals).sum()), len(reals)), f"{100 * aim:g} %", part.value >= aim)
            )  # fmt: skip
            middle = median(words)
            held = ("2,000", middle.value <= 2000) if hidden == 4 else ("", None)
            rows.append(Row(f"{what}: median updates", "of all seeds", len(words), None, middle, median(reals), *held))
            curves[f"2-{hidden}-1, {TITLES[rule]}, weights in +-{2 ** (15 - frac)}"] = [
                sorted(words.tolist()), sorted(reals.tolist())
            ]  # fmt: skip
    return Section(rows, [], curves)


def bounds() -> Section:
    """Return what the bounds of weights do to XOR 2-2-1: float64, without and with the words' bounds."""
    task, seeds, updates = networks.xor_task(), 20 if QUICK else 100, 10_000 if QUICK else 100_000
    cells = []
    for rule in RULES:
        eta = networks.mgd_rate(5.0, task, 2) if rule == "weight" else 1.0
        for limit in (np.inf, 16.0, 8.0):
            found = networks.train(
                rule, task, 2, eta, seeds, updates, sigma=0.05, stop=0.04, look=10, in_turn=True, limit=limit,
                first_seed=1,
            ).updates  # fmt: skip
            spent = np.where(found < 0, np.inf, found.astype(float))
            part = share(int(np.isfinite(spent).sum()), seeds)
            cells.append(
                [TITLES[rule], f"{limit:g}" if limit < np.inf else "none", str(seeds), interval(part),
                 interval(median(spent))]
            )  # fmt: skip
    headers = ["rule", "bound of weights", "seeds", "solved", "median updates, of all"]
    return Section([], [(f"XOR 2-2-1 in float64, weights bounded; {updates:,} updates", headers, cells)], {})


LQR = {
    "weight": tasks.Lqr("weight", 0.005, 100, 3.9, 12, ((2000, 4e-5), (1000, 1e-5))),
    "node": tasks.Lqr("node", 0.2, 100, 3.9, 12, ((3000, 5e-6), (8000, 1e-5), (6000, 2.5e-6))),
}


def regulator() -> Section:
    """Return how near the learned gain comes to the optimal one."""
    rows = []
    best, _ = lqr.optimum()
    seeds = _seeds(40, 4)
    for rule in RULES:
        setting = LQR[rule]
        ratios = tasks.lqr(setting, seeds)
        gains = lqr.learn(
            rule, len(seeds), setting.schedule, sigma=setting.sigma, steps=setting.steps, begin=setting.start
        )
        reals = np.array([lqr.average_cost(gain) / best for gain in gains])
        rates = ", then ".join(f"{n} updates at eta {eta:g}" for n, eta in setting.schedule)
        worst = float(ratios.max())
        held = reals[np.isfinite(reals)]
        lost = f"; {len(reals) - len(held)} of {len(reals)} diverge there" if len(held) < len(reals) else ""
        rows.append(
            Row(
                f"LQR, {TITLES[rule]}: J / J*, median",
                f"two-sided, trials of 100 steps, sigma {setting.sigma}; {rates}; worst seed "
                f"{number(worst)}, in float64 {number(float(held.max()))}{lost}",
                len(ratios),
                1.0,
                median(ratios),
                median(reals),
                "1.05, every seed",
                worst <= 1.05,
            )
        )
    return Section(rows, [], {})


def letters() -> Section:
    """Return how well the letters are told apart."""
    rows = []
    seeds = _seeds(4, 1)
    for rule in RULES:
        samples, eta, late = (2_000_000, 0.02, 1.0) if rule == "node" else (4_000_000, 0.002, 0.25)
        sigma = 0.05
        if QUICK:
            samples //= 40
        words = tasks.letters(rule, eta, seeds, samples, sigma=sigma, late=late)
        reals = networks.train(
            rule, networks.letters_task(), 4, eta, len(seeds), samples,
            sigma=sigma, init=0.2, first_seed=1, late=late,
        ).accuracy  # fmt: skip
        aim = 0.982 if rule == "node" else 0.954
        found = mean(words)
        rows.append(
            Row(
                f"7x7-A surrogate, {TITLES[rule]}: accuracy, mean",
                f"49-4-4, logistic, eta {eta:.4g}{'' if late == 1 else f', {eta * late:.4g} in the second half'}, "
                f"sigma {sigma}, 1 LSB = 2**-11; {samples:,} samples; median {np.median(words):.4f}, "
                f"float64 {np.median(reals):.4f}",
                len(words),
                None,
                found,
                mean(reals),
                f"{100 * aim:g} %",
                found.value >= aim,
            )
        )
    return Section(rows, [], {})


def rounding() -> Section:
    """Return what stochastic rounding buys, and what gathering updates does."""
    cells = []
    seeds = _seeds(20, 10)
    for rule in RULES:
        for frac in (9, 11, 14):
            for rate, constants in ((1.0, 20), (1 / 16, 12)):
                law = teacher.word_law(rule, N, M, teacher.word_sigma(rule, 0.1, frac))
                updates = int(constants / law.loss(rate * law.eta_opt))
                ends = {}
                for kind in ("stochastic", "nearest"):
                    e, eta = teacher.teacher_errors(
                        rule, N, M, rate * law.eta_opt, seeds, updates, start=1.0, frac=frac, rounding=kind
                    )
                    ends[kind] = mean(e[:, -updates // 4 :].mean(axis=1))
                a = rounding_floor(N, M, 2.0**-frac, law.loss(eta))
                cells.append(
                    [f"linear teacher, {TITLES[rule]}", f"1 LSB = 2**-{frac}, eta_opt" + (" / 16" if rate < 1 else ""),
                     str(len(seeds)), interval(ends["stochastic"]), interval(ends["nearest"]), number(a)]
                )  # fmt: skip
    headers = ["task", "setting", "seeds", "stochastic", "nearest", "at most, by rounding alone"]
    tables = [("Error E left, of 1 at the start: stochastic rounding, and to nearest", headers, cells)]
    few, samples = _seeds(3, 1), 50_000 if QUICK else 250_000
    more = []
    for kind, tau in (("nearest", 1), ("stochastic", 1), ("stochastic", 16)):
        got = tasks.letters("weight", 1 / 864, few, samples, sigma=0.02, frac=11, tau=tau, rounding=kind)
        more.append([kind, str(tau), str(len(few)), interval(mean(got))])
    reals = networks.train(
        "weight", networks.letters_task(), 4, 1 / 864, len(few), samples, sigma=0.02, init=0.2, first_seed=1
    ).accuracy
    more.append(["none: float64", "1", str(len(few)), interval(mean(reals))])
    headers = ["rounding", "tau", "seeds", "accuracy"]
    tables.append((f"7x7-A surrogate, weight perturbation, after {samples:,} samples", headers, more))
    return Section([], tables, {})


TRIALS = "Trials to the criterion"


def criterion(case: criteria.Case) -> Section:
    """Return how many trials a rule takes on a task."""
    n, trials = (2, criteria.limit(case) // 10) if QUICK else (case.seeds, criteria.limit(case))
    got = criteria.spent(case, range(1, n + 1), trials)
    solved = share(int(np.isfinite(got).sum()), n)
    few = max(1, n // 5)
    control = "none: it has no rate"
    if criteria.has_control(case):
        other = criteria.spent(case, range(1, few + 1), trials, learning=False)
        control = f"{int(np.isfinite(other).sum())} of {few}"
    cells = [
        case.rule,
        case.task,
        case.settings,
        str(n),
        f"{trials:,}",
        f"{100 * solved.value:.0f} % [{100 * solved.low:.0f}, {100 * solved.high:.0f}]",
        interval(median(got)),
        control,
    ]
    headers = ["rule", "task", "settings", "seeds", "trials at most", "reached", "median trials", "control reached"]
    return Section([], [(TRIALS, headers, [cells])], {})


# The examples whose curves are drawn, and trials of each.
COURSES = {
    "xor": 2_000,
    "parity": 20_000,
    "linear_teacher": 4_000,
    "letters": 100_000,
    "extended": 10_000,
    "lqr": 16_000,
    "delayed_match": 40_000,
    "sequence": 20_000,
    "reinforce": 8_000,
    "conductance_perturbation": 4_000,
    "hedonistic_synapse": 1_500,
    "stochastic_spiking": 2_000,
}


def courses() -> Section:
    """Return how shipped examples learn."""
    curves = {}
    for name, trials in COURSES.items():
        case = next(each for each in criteria.CASES if each.example == name and not each.learner)
        seeds = _seeds(5 if name == "letters" else 20, 2)
        got = criteria.course(case, seeds, trials // 20 if QUICK else trials, 11 if QUICK else 41)
        low, middle, high = np.quantile(got.costs, (0.1, 0.5, 0.9), axis=0)
        curves[f"{case.task}: {case.rule.replace('_', ' ')}"] = {
            "trials": got.trials.tolist(), "low": low.tolist(), "median": middle.tolist(), "high": high.tolist(),
            "stop": got.stop, "seeds": len(seeds),
        }  # fmt: skip
    return Section([], [], curves)


SECTIONS: dict[str, Callable[[], Section]] = {
    f.__name__: f for f in (decay, residual, scaling, extended, xor, bounds, regulator, letters, rounding, courses)
}
for _case in criteria.CASES:
    SECTIONS[f"{_case.rule}:{_case.example}"] = partial(criterion, _case)
