"""The C reference of `make bench-board`: the same arithmetic, or its figures mean nothing."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from board import reference
from board.cycles import PARAMETERS, RULES

from cases import ACTIVATIONS, Setup, Step, Trial, assert_equal, case_of, oracle_engine, play
from subsong.rules import BY_NAME
from subsong_sim.engines import LocalLearner
from subsong_sim.loader import LEARNER_KERNELS
from unicorn_engine import Machine

NETWORKS = ((2, 1), (3, 5, 2), (17, 33, 1), (16, 16, 16))


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
def test_the_c_reference_computes_what_the_oracle_computes(rule: str, need_tool: Callable[..., Path]) -> None:
    need_tool(reference.GCC, apt="gcc-arm-none-eabi")
    machine = Machine(reference.compile_reference(rule, LEARNER_KERNELS, PARAMETERS))
    rng = random.Random(3)
    for estimator in BY_NAME[rule].estimators:
        for n, layers in enumerate(NETWORKS):
            options = {"trace_shift": rng.choice((0, 3, 14))} if estimator == "each_step" else {}
            setup = Setup(
                rule=rule,
                estimator=estimator,
                layers=layers,
                activations=tuple(ACTIVATIONS[(n + k) % 4] for k in range(len(layers) - 1)),
                amplitude=rng.choice((1, 200, 4096)),
                rate=rng.choice((1, 16383)),
                rate_shift=rng.choice((0, 4, 17, 29)),
                rounding=rng.choice(("stochastic", "nearest")),
                init=30000,
                seed=n,
                recurrent=tuple((n + k) % 2 == 0 for k in range(len(layers) - 1)) if n != 1 else (),
                bias=tuple((n + k) % 3 > 0 for k in range(len(layers) - 1)),
                options=options,
            )
            words = lambda: tuple(rng.randrange(-32768, 32768) for _ in range(layers[0]))  # noqa: B023, E731
            costs = (0, 5, -(2**28), 2**28, 77777)
            trials = [
                Trial(k == 2, tuple(Step(rng.choice(costs), words()) for _ in range(2)), rng.choice(costs))
                for k in range(4)
            ]
            case = case_of(setup, trials)
            learner = LocalLearner(case.rule, case.head, case.mem, "cpython")
            learner.kernels = machine
            assert_equal(case, oracle_engine(case), play(learner, case.trials))


def test_without_the_compiler_the_benchmark_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    reference.version.cache_clear()
    with pytest.raises(reference.BenchError, match="sudo apt-get install gcc-arm-none-eabi"):
        reference.version()
