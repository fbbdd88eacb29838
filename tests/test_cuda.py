"""The kernels under numba.cuda, in its simulator, against the same runs one by one; and a computer without a GPU."""

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cases import RULES, Setup, suited
from subsong.block import build_block
from subsong.console import SilentProgress
from subsong.experiment import Experiment, parse_experiment
from subsong.experiment_text import example_text
from subsong.session import RunResult, learn, local_trials
from subsong_sim import cuda

TASKS = ("parity", "linear_teacher", "letters", "extended", "lqr", "delayed_match", "sequence", "song")
SEEDS = (1, 2, 3)
EDGES = [0, 1, -1, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**32 - 1, 2**32, 2**33 + 5, -(2**62)]
WORKER = Path(__file__).with_name("cuda_worker.py")


def xor(rule: str, seed: int) -> Experiment:
    """Return a short run on XOR, of two evaluations between trials and one behind them."""
    setup = Setup(rule=rule, layers=(2, 3, 1), activations=("tanh", "logistic"), rate_shift=14, init=4000, seed=seed)
    return with_run(parse_experiment(suited(setup).toml("xor"), rule), trials=5, steps=3, evaluate_every=2)


def task(name: str, seed: int) -> Experiment:
    """Return a shipped example on a task of its own, made short; each seed learns for longer than the one before."""
    experiment = parse_experiment(example_text(name), name).with_seed(seed)
    return with_run(experiment, trials=seed, steps=4, evaluate_every=2, evaluate_episodes=2, stop_cost=None)


def stopping(seed: int) -> Experiment:
    """Return a run that stops at its first evaluation, or at none, by its seed."""
    return with_run(xor("node_perturbation", seed), stop_cost=100.0 if seed == 2 else 0.0, evaluate_steps=4)


def with_run(experiment: Experiment, **changes: Any) -> Experiment:
    return experiment.model_copy(update={"run": experiment.run.model_copy(update=changes)})


BATCHES = {
    **{rule: [xor(rule, seed) for seed in SEEDS] for rule in RULES},
    **{name: [task(name, seed) for seed in SEEDS] for name in TASKS},
    "stopping": [stopping(seed) for seed in SEEDS],
}


def packed(experiments: list[Experiment], stretch: int) -> tuple[Any, ...]:
    """Return what run_tasks takes."""
    blocks = [build_block(experiment) for experiment in experiments]
    plan = np.zeros(len(experiments), cuda.PLAN)
    for row, experiment in zip(plan, experiments, strict=True):
        run = experiment.run
        row["trials"], row["steps"], row["every"] = run.trials, run.steps, run.evaluate_every
        row["episodes"] = run.evaluate_episodes if experiment.plant.varied else 1
        row["evaluate_steps"] = run.evaluate_steps or run.steps
        row["stop"] = {None: -(2**62), 0.0: 0, 100.0: 2**40}[run.stop_cost]
    words = [
        np.stack([np.frombuffer(getattr(block, part), dtype) for block in blocks])
        for part, dtype in (("head", "<i4"), ("mem", "<u2"), ("task", "<u2"))
    ]
    return blocks[0].rule, *words, plan, stretch


def run_worker(batches: list[Any], values: list[int], **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, WORKER],
        input=pickle.dumps((batches, values)),
        capture_output=True,
        check=False,
        env={**os.environ, **environment, "PYTHONWARNINGS": "error"},
    )


@pytest.fixture(scope="module")
def simulated() -> tuple[dict[str, cuda.TaskRuns], list[int], list[int]]:
    """Return every batch's runs in the CUDA simulator, and its conversions of EDGES."""
    # Three trials a launch: the stretches of a run must fit together.
    done = run_worker([packed(batch, 3) for batch in BATCHES.values()], EDGES, NUMBA_ENABLE_CUDASIM="1")
    assert done.returncode == 0, done.stderr.decode()
    runs, signed, unsigned = pickle.loads(done.stdout)
    return dict(zip(BATCHES, (cuda.TaskRuns(*each) for each in runs), strict=True)), signed, unsigned


@pytest.mark.xdist_group("cuda")
@pytest.mark.parametrize("name", BATCHES)
def test_a_batch_is_its_runs_one_by_one(name: str, simulated: Any) -> None:
    runs = simulated[0][name]
    for k, experiment in enumerate(BATCHES[name]):
        alone, result, totals = trials_of(experiment), RunResult(None), []
        learn(experiment, alone, result, SilentProgress(), lambda ended, totals=totals: totals.append(ended.summary))
        assert alone.state() == (runs.heads[k].tobytes(), runs.mems[k].tobytes())
        assert alone.task.tobytes() == runs.tasks[k].tobytes()
        learned = [summary.total for summary in totals if not summary.evaluate]
        assert runs.totals[k, : result.trials].tolist() == learned
        assert not runs.totals[k, result.trials :].any()
        evaluated = sum(summary.total for summary in totals if summary.evaluate)
        assert runs.evaluations[k].sum() == evaluated
        assert runs.course[k].tolist() == (
            result.trials,
            result.numbered,
            len(result.evaluations),
            result.steps,
            result.counters["saturated_words"],
            int(result.stopped != "all trials done"),
            0,
            1,
        )


def trials_of(experiment: Experiment) -> Any:
    """Return what runs an experiment's trials one by one, in Python."""
    return local_trials(experiment, build_block(experiment), False, "cpython", None)[0]


@pytest.mark.xdist_group("cuda")
def test_the_simulators_words_wrap_as_the_processors(simulated: Any) -> None:
    values = np.array(EDGES, np.int64)
    assert simulated[1] == values.astype(np.int32).tolist()
    assert simulated[2] == values.astype(np.uint32).tolist()
