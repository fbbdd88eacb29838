"""The C reference of `make bench-sim`: the kernels' words, or its figures mean nothing."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sim.cases import ESTIMATORS, RULES, STEPS, Case, Runs, runs_of
from sim.reference import BenchError, Reference, compiler, version

from subsong.rules import BY_NAME
from subsong_sim.engines import LocalLearner, buffer_bytes
from subsong_sim.trials import TaskTrials

pytestmark = pytest.mark.slow

CASES = [
    *(Case(rule, (4, 8, 1), estimator) for rule in RULES for estimator in BY_NAME[rule].estimators),
    # More units than a word has signs, rows longer than a vector; then a recurrent layer, and one layer alone.
    *(Case(rule, (33, 17, 2)) for rule in RULES),
    *(Case(rule, (3, 5, 2), "", ("tanh", "logistic"), (True, False)) for rule in RULES),
    *(Case(rule, (20, 3), "", ("identity",)) for rule in RULES[:2]),
    *(Case(rule, (2, 4, 3), "", ("hard_tanh", "identity")) for rule in RULES[:2]),
]


def by_the_kernels(case: Case, runs: Runs, plan: list[tuple[int, bool]]) -> tuple[bytes, bytes, bytes]:
    """Return head, mem and the task's words after the plan's trials, under CPython."""
    words = runs.heads[0].tobytes(), runs.mems[0].tobytes()
    learner = LocalLearner(case.rule, *words, "cpython")
    trials = TaskTrials(learner, runs.tasks[0].tobytes(), STEPS)
    for n, evaluate in plan:
        list(trials.run(0, [0] * n, evaluate))
    return *trials.state(), buffer_bytes(trials.task)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}, {case.estimator or ESTIMATORS[case.rule]}")
def test_the_c_reference_leaves_the_words_that_the_kernels_leave(case: Case, need_tool: Callable[..., Path]) -> None:
    need_tool(compiler(), apt="gcc")
    plan = [(5, False), (2, True), (4, False)]
    runs = runs_of(case, 1)
    expected = by_the_kernels(case, runs, plan)
    reference = Reference(case.rule, runs.heads[0])
    for n, evaluate in plan:
        reference.stretch(runs, 0, n, STEPS, evaluate=evaluate)
    assert (runs.heads[0].tobytes(), runs.mems[0].tobytes(), runs.tasks[0].tobytes()) == expected


def test_without_a_compiler_the_benchmark_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    version.cache_clear()
    with pytest.raises(BenchError, match="sudo apt-get install gcc"):
        version()
