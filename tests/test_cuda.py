"""The kernels under numba.cuda, in its simulator, against the same runs one by one; and a computer without a GPU."""

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from cases import RULES, Setup, suited
from subsong.block import build_block
from subsong.console import SilentProgress
from subsong.errors import PlantError
from subsong.experiment import Experiment, parse_experiment
from subsong.experiment_text import example_text
from subsong.session import RunResult, learn, local_trials
from subsong_sim import cuda

TASKS = ("parity", "linear_teacher", "letters", "extended", "lqr", "delayed_match", "sequence", "song")
SEEDS = (1, 2, 3)
EDGES = [0, 1, -1, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**32 - 1, 2**32, 2**33 + 5, -(2**62)]
WORKER = Path(__file__).with_name("cuda_worker.py")


def xor(rule: str, seed: int) -> Experiment:
    """Return a short run on XOR, with an evaluation between trials and one behind them."""
    setup = Setup(rule=rule, layers=(2, 3, 1), activations=("tanh", "logistic"), rate_shift=14, init=4000, seed=seed)
    return with_run(parse_experiment(suited(setup).toml("xor"), rule), trials=4, steps=3, evaluate_every=3)


def task(name: str, seed: int) -> Experiment:
    """Return a shipped example on a task of its own, made short; each seed learns for longer than the one before."""
    experiment = parse_experiment(example_text(name), name).with_seed(seed)
    # Whole presentations, where a task has them.
    steps = {"linear_teacher": 1, "delayed_match": 6, "sequence": 9}.get(name, 3)
    return with_run(experiment, trials=seed, steps=steps, evaluate_every=2, evaluate_episodes=2, stop_cost=None)


def stopping(seed: int) -> Experiment:
    """Return a run that stops at its first evaluation, or at none, by its seed."""
    return with_run(xor("node_perturbation", seed), stop_cost=100.0 if seed == 2 else 0.0, evaluate_steps=4)


def clipping(seed: int) -> Experiment:
    """Return a run of more steps than its cost has room for, whether it clips depending on the seed's luck."""
    return with_run(task("linear_teacher", seed), trials=4, steps=4)


def with_run(experiment: Experiment, **changes: Any) -> Experiment:
    return experiment.model_copy(update={"run": experiment.run.model_copy(update=changes)})


BATCHES = {
    **{rule: [xor(rule, seed) for seed in SEEDS] for rule in RULES},
    **{name: [task(name, seed) for seed in SEEDS] for name in TASKS},
    "stopping": [stopping(seed) for seed in SEEDS],
    "clipping": [clipping(seed) for seed in SEEDS],
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


class Simulated(NamedTuple):
    """What came out of the CUDA simulator: every batch's runs, and its conversions of EDGES."""

    runs: dict[str, cuda.TaskRuns]
    signed: list[int]
    unsigned: list[int]


@pytest.fixture(scope="module")
def simulated() -> Simulated:
    # Three trials a launch: the stretches of a run must fit together.
    done = subprocess.run(
        [sys.executable, "-W", "error", WORKER],
        input=pickle.dumps(([packed(batch, 3) for batch in BATCHES.values()], EDGES)),
        capture_output=True,
        check=False,
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1"},
    )
    assert done.returncode == 0, done.stderr.decode()
    runs, signed, unsigned = pickle.loads(done.stdout)
    return Simulated(dict(zip(BATCHES, (cuda.TaskRuns(*each) for each in runs), strict=True)), signed, unsigned)


@pytest.mark.xdist_group("cuda")
@pytest.mark.parametrize("name", BATCHES)
def test_a_batch_is_its_runs_one_by_one(name: str, simulated: Simulated) -> None:
    runs = simulated.runs[name]
    for k, experiment in enumerate(BATCHES[name]):
        alone, result, ends = trials_of(experiment), RunResult(None), []
        failed = ""
        try:
            learn(experiment, alone, result, SilentProgress(), ends.append)
        except PlantError as error:
            failed = str(error)
        assert alone.state() == (runs.heads[k].tobytes(), runs.mems[k].tobytes())
        assert alone.task.tobytes() == runs.tasks[k].tobytes()
        learned = [ended.summary.total for ended in ends if not ended.summary.evaluate]
        assert runs.totals[k, : len(learned)].tolist() == learned
        assert runs.course["failed"][k] == bool(failed)
        if failed:
            # A run that fails has told nobody of its last trial.
            assert failed.startswith(f"trial {runs.course['numbered'][k] - 1}: its cost does not fit")
            continue
        assert not runs.totals[k, result.trials :].any()
        assert runs.evaluations[k].sum() == sum(ended.summary.total for ended in ends if ended.summary.evaluate)
        course = dict(zip(cuda.COURSE.names or (), runs.course[k].tolist(), strict=True))
        assert course == {
            "done": result.trials,
            "numbered": result.numbered,
            "evaluations": len(result.evaluations),
            "steps": result.steps,
            "saturated": result.counters["saturated_words"],
            "stopped": int(result.stopped != "all trials done"),
            "failed": 0,
            "ended": 1,
        }


@pytest.mark.xdist_group("cuda")
def test_the_batches_reach_every_end(simulated: Simulated) -> None:
    assert simulated.runs["stopping"].course["stopped"].tolist() == [0, 1, 0]
    assert set(simulated.runs["clipping"].course["failed"].tolist()) == {0, 1}
    assert simulated.runs["hebb"].course["failed"].tolist() == [0, 0, 0]


def trials_of(experiment: Experiment) -> Any:
    """Return what runs an experiment's trials one by one, in Python."""
    return local_trials(experiment, build_block(experiment), False, "cpython", None)[0]


@pytest.mark.xdist_group("cuda")
def test_the_simulators_words_wrap_as_the_processors(simulated: Simulated) -> None:
    values = np.array(EDGES, np.int64)
    assert simulated.signed == values.astype(np.int32).tolist()
    assert simulated.unsigned == values.astype(np.uint32).tolist()


@pytest.mark.parametrize(
    ("numba_cuda", "sentence"),
    [(True, "no NVIDIA GPU with a driver was found"), (False, "numba-cuda, which compiles for NVIDIA GPUs, is not")],
)
def test_without_a_gpu_it_is_off_with_one_sentence(numba_cuda: bool, sentence: str) -> None:
    program = f"""
import sys
import numpy as np
if not {numba_cuda}:
    sys.modules["numba.cuda"] = None
from subsong_sim import cuda
from subsong_sim.errors import EngineError
print(cuda.cuda_problem())
words = np.zeros((1, 1), np.uint16)
try:
    cuda.run_tasks("hebb", words, words, words, np.zeros(1, cuda.PLAN))
except EngineError as error:
    print(error)
"""
    # Where there is a GPU, it is hidden.
    hidden = {"NUMBA_DISABLE_CUDA": "1", "NUMBA_ENABLE_CUDASIM": "0"}
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={**os.environ, **hidden}
    ).stdout.splitlines()
    assert len(said) == 2 and said[0] == said[1]
    assert said[0].startswith("CUDA is off: ") and sentence in said[0]
