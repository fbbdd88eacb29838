"""The kernels under numba.cuda, in its simulator, against the same runs one by one; and a computer without a GPU."""

import os
import pickle
import subprocess
import sys
from dataclasses import replace
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
from subsong.session import RunResult, learn, local_trials, simulate

pytestmark = pytest.mark.slow

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


def with_run(experiment: Experiment, **changes: Any) -> Experiment:
    return experiment.model_copy(update={"run": experiment.run.model_copy(update=changes)})


BATCHES = {
    **{rule: [xor(rule, seed) for seed in SEEDS] for rule in RULES},
    **{name: [task(name, seed) for seed in SEEDS[:2]] for name in TASKS},
    "stopping": [stopping(seed) for seed in SEEDS],
    # Of more steps than its cost has room for.
    "clipping": [task("linear_teacher", 1), with_run(task("linear_teacher", 1), trials=4, steps=4)],
    "cartpole": [parse_experiment(example_text("cartpole"), "cartpole")],
}
REFUSED = ("clipping", "cartpole")


class Simulated(NamedTuple):
    """What came out of the CUDA simulator: of every batch results and task blocks, and its conversions of EDGES."""

    came_to: dict[str, Any]
    signed: list[int]
    unsigned: list[int]


@pytest.fixture(scope="module")
def simulated() -> Simulated:
    done = subprocess.run(
        [sys.executable, "-W", "error", WORKER],
        input=pickle.dumps((BATCHES, EDGES)),
        capture_output=True,
        check=False,
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1"},
    )
    assert done.returncode == 0, done.stderr.decode()
    return Simulated(*pickle.loads(done.stdout))


@pytest.mark.xdist_group("cuda")
@pytest.mark.parametrize("name", [name for name in BATCHES if name not in REFUSED])
def test_a_batch_is_its_runs_one_by_one(name: str, simulated: Simulated) -> None:
    results, tasks = simulated.came_to[name]
    for experiment, result, task_words in zip(BATCHES[name], results, tasks, strict=True):
        trials, _ = local_trials(experiment, build_block(experiment), False, "cpython", None)
        alone = RunResult(None)
        learn(experiment, trials, alone, SilentProgress())
        alone.state = trials.state()
        assert replace(result, seconds=0.0) == replace(alone, seconds=0.0)
        assert task_words == trials.task.tobytes()
        stops = name == "stopping" and experiment.seed == 2
        assert (result.stopped != "all trials done") == stops


@pytest.mark.xdist_group("cuda")
def test_a_run_that_fails_fails_as_it_does_alone(simulated: Simulated) -> None:
    with pytest.raises(PlantError, match="does not fit the 28 bits of a cost") as alone:
        simulate(BATCHES["clipping"][1], out=None, engine="cpython")
    assert simulated.came_to["clipping"] == f"run 1: {alone.value}"


@pytest.mark.xdist_group("cuda")
def test_cartpole_stays_on_the_processor(simulated: Simulated) -> None:
    expected = 'run 0: plant.kind: is "gymnasium" (allowed under CUDA: "task"); run it without CUDA, on the processor'
    assert simulated.came_to["cartpole"] == expected


@pytest.mark.xdist_group("cuda")
def test_what_does_not_fit_the_gpus_memory_is_refused(simulated: Simulated) -> None:
    expected = "CUDA: 3 runs take 0 MiB of the GPU's memory, of which 0 are free; run fewer at a time"
    assert simulated.came_to["full"] == expected


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
if not {numba_cuda}:
    sys.modules["numba.cuda"] = None
from subsong.batch import simulate_many
from subsong.errors import EngineError
from subsong_sim.cuda import cuda_problem
print(cuda_problem())
try:
    simulate_many([], device="cuda")
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
