"""Batches of runs on an NVIDIA GPU: the firmware's own kernels under numba.cuda, one thread a run. docs/cuda.md.

A run gives the same words as on the processor: its arithmetic is integers of 32 bits, and it shares nothing with its
neighbours. That holds for on-board tasks. The compiled CartPole stays on the processor: a GPU's sine and cosine differ
from a C library's in the last bit, and a run in which one sensor word differs is another run.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from subsong_device import layout
from subsong_sim import loader
from subsong_sim.errors import EngineError

THREADS = 32  # of a block: one warp, so that few runs already spread over all multiprocessors
# A launch is over in a fraction of a second: a driver with a screen to serve ends what takes some seconds.
LAUNCH_WORDS = 1 << 22
NEVER = -(1 << 62)  # a Schedule's `stop` that no evaluation reaches


class Schedule(NamedTuple):
    """What every run does; each is one number for all, or an array with one for each run.

    Attributes:
        trials: learning trials, at least 1.
        steps: of a learning trial.
        every: learning trials between evaluations; 0: there is one, at the end. One ends every run.
        episodes: of an evaluation, at least 1.
        evaluate_steps: of an episode.
        stop: a run ends with the evaluation whose episodes' totals sum to at most this, counts.
    """

    trials: Any
    steps: Any
    every: Any
    episodes: Any
    evaluate_steps: Any
    stop: Any = NEVER


class TaskRuns(NamedTuple):
    """What runs came to.

    Attributes:
        heads, mems, tasks: int32, uint16, uint16[runs, words]: the blocks as the runs left them.
        trials: int32[runs], learning trials done.
        totals: int32[runs, n], of each learning trial, counts; 0 behind a run's last.
        evaluated: int32[runs], evaluations done.
        evaluations: int32[runs, n], totals of their episodes, one evaluation behind the other; 0 behind the last.
        saturated: int64[runs], words clipped at their limits, evaluations included.
    """

    heads: NDArray[np.int32]
    mems: NDArray[np.uint16]
    tasks: NDArray[np.uint16]
    trials: NDArray[np.int32]
    totals: NDArray[np.int32]
    evaluated: NDArray[np.int32]
    evaluations: NDArray[np.int32]
    saturated: NDArray[np.int64]


@cache
def cuda_problem() -> str | None:
    """Say in one sentence why this computer runs nothing under CUDA, and what to do; None where it does."""
    try:
        from subsong_sim.cuda_words import SIMULATED, cuda
    except ImportError:  # a Numba without a CUDA of its own
        return _NOT_INSTALLED
    if SIMULATED:
        return None
    if cuda.cuda_error() is not None:
        return (
            "CUDA is off: no NVIDIA GPU with a driver was found (nvidia-smi lists them); run without it, on the processor"
        )
    if not cuda.is_available():  # a driver, but no compiler
        return _NOT_INSTALLED
    try:
        cuda.jit(_probe)[1, 1](cuda.to_device(np.zeros(1, np.int32)))
        cuda.synchronize()
    except Exception as error:  # noqa: BLE001 - driver, linker and compiler each raise their own
        line = (str(error).strip() or repr(error)).splitlines()[0]
        return (
            f"CUDA is off: the NVIDIA driver does not run what numba-cuda compiles ({line}); update the driver, "
            "or install the numba-cuda for its CUDA version, which nvidia-smi shows"
        )
    return None


_NOT_INSTALLED = (
    "CUDA is off: numba-cuda, which compiles for NVIDIA GPUs, is not installed; pip install 'subsong[cuda]', or run "
    "without it, on the processor"
)


def _probe(a: Any) -> None:
    a[0] = 1


def run_tasks(
    rule: str,
    heads: NDArray[np.int32],
    mems: NDArray[np.uint16],
    tasks: NDArray[np.uint16],
    schedule: Schedule,
    *,
    stretch: int = 0,
) -> TaskRuns:
    """Run the schedules of many learners of one rule and shape on their on-board tasks, on a GPU.

    Args:
        rule: of all.
        heads: int32[runs, words], their blocks; not changed.
        mems: uint16[runs, words].
        tasks: uint16[runs, words].
        schedule: may differ between runs.
        stretch: learning trials a launch; 0: as many as take a fraction of a second. The results do not depend on it.

    Raises:
        EngineError: there is no GPU that would run this, or it has too little memory.
    """
    problem = cuda_problem()
    if problem is not None:
        raise EngineError(problem)
    from subsong_sim.cuda_words import cuda

    runs = len(heads)
    stops = np.broadcast_to(np.asarray(schedule.stop, np.int64), runs)
    plan = np.stack([np.broadcast_to(np.asarray(part, np.int32), runs) for part in schedule[:5]])
    trials, steps, every, episodes, _ = plan
    evaluations = np.where(every > 0, -(-trials // np.maximum(every, 1)), 1) * episodes
    sensors, actuators = _ends(heads[0])
    inputs = [heads.T, mems.T, tasks.T, np.zeros((sensors, runs), np.uint16), np.zeros((actuators, runs), np.uint16)]
    inputs += [plan, stops, np.zeros((3, runs), np.int32), np.zeros((trials.max(), runs), np.int32)]
    inputs += [np.zeros((evaluations.max(), runs), np.int32), np.zeros(runs, np.int64)]
    free, needed = cuda.current_context().get_memory_info().free, sum(a.nbytes for a in inputs)
    if needed > free:
        raise EngineError(
            f"CUDA: {runs} runs take {needed >> 20} MiB and the GPU has {free >> 20} free; ask for fewer runs at a time"
        )
    buffers = [cuda.to_device(np.ascontiguousarray(a)) for a in inputs]
    kernel = loader.load_cuda(rule).task_runs[-(-runs // THREADS), THREADS]
    stretch = stretch or max(1, LAUNCH_WORDS // int(steps.max() * (heads.shape[1] + mems.shape[1])))
    for _ in range(-(-int(trials.max()) // stretch)):
        kernel(*buffers, stretch)
        progress = buffers[7].copy_to_host()
        if progress[2].all():
            break
    head, mem, task = (np.ascontiguousarray(a.copy_to_host().T) for a in buffers[:3])
    totals, evaluated = (np.ascontiguousarray(a.copy_to_host().T) for a in buffers[8:10])
    return TaskRuns(head, mem, task, progress[0], totals, progress[1], evaluated, buffers[10].copy_to_host())


def _ends(head: NDArray[np.int32]) -> tuple[int, int]:
    """Return how many sensor and actuator words a block's network has."""
    first = head[layout.LAYERS_AT :]
    last = head[layout.LAYERS_AT + (int(head[layout.N_LAYERS]) - 1) * layout.LAYER_WORDS :]
    return int(first[layout.N_IN] - first[layout.RECURRENT]), int(last[layout.N_OUT])
