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

PLAN = np.dtype(
    [(name, np.int64) for name in ("trials", "steps", "every", "episodes", "evaluate_steps", "stop")],
)
"""What a run does.

    trials          learning trials, at least 1
    steps           of a learning trial
    every           learning trials between evaluations, 0 for none; without regard to it there is one at the end
    episodes        of an evaluation, at least 1
    evaluate_steps  of an episode
    stop            the run stops where the totals of an evaluation's episodes, `every` trials after the last, sum to at
                    most this, counts
"""
COURSE = np.dtype(
    [
        (name, np.int64)
        for name in ("done", "numbered", "evaluations", "steps", "saturated", "stopped", "failed", "ended")
    ]
)
"""How far a run is.

    done            learning trials
    numbered        trials, episodes of evaluations counted
    evaluations     of all their episodes
    steps           calls of act()
    saturated       words clipped at their limits
    stopped         1: an evaluation reached PLAN's stop
    failed          1: the last trial's cost did not fit its 28 bits, and the run ended there
    ended           1: nothing is left to do
"""


class TaskRuns(NamedTuple):
    """What runs came to.

    Attributes:
        heads, mems, tasks: int32, uint16, uint16[runs, words]: the blocks as the runs left them.
        course: COURSE[runs].
        totals: int32[runs, n], of each learning trial, counts; 0 behind a run's last.
        evaluations: int64[runs, n], the sum of each evaluation's totals; 0 behind a run's last.
    """

    heads: NDArray[np.int32]
    mems: NDArray[np.uint16]
    tasks: NDArray[np.uint16]
    course: NDArray[np.void]
    totals: NDArray[np.int32]
    evaluations: NDArray[np.int64]


_ELSEWHERE = "or run without it, on the processor"
_NO_GPU = f"CUDA is off: no NVIDIA GPU with a driver was found; install the driver (nvidia-smi tests it), {_ELSEWHERE}"
_NO_COMPILER = (
    "CUDA is off: numba-cuda, which compiles for NVIDIA GPUs, is not installed; "
    f"pip install 'subsong[cuda]', {_ELSEWHERE}"
)
_REFUSED = (
    "CUDA is off: the NVIDIA driver does not run what numba-cuda compiles ({}); "
    f"update the driver, or install the numba-cuda of the CUDA version that nvidia-smi shows, {_ELSEWHERE}"
)


@cache
def cuda_problem() -> str | None:
    """Say in one sentence why this computer runs nothing under CUDA, and what to do; None where it does."""
    try:
        from subsong_sim.cuda_words import SIMULATED, cuda
    except ImportError:  # a Numba without a CUDA of its own
        return _NO_COMPILER
    if SIMULATED:
        return None
    try:
        if cuda.cuda_error() is not None:
            return _NO_GPU
        if not cuda.is_available():
            return _NO_COMPILER
        cuda.jit(_probe)[1, 1](cuda.to_device(np.zeros(1, np.int32)))
        cuda.synchronize()
    except Exception as error:  # noqa: BLE001 - driver, compiler and linker each raise their own
        return _REFUSED.format((str(error).strip() or repr(error)).splitlines()[0])
    return None


def _probe(a: Any) -> None:
    a[0] = 1


def run_tasks(
    rule: str,
    heads: NDArray[np.int32],
    mems: NDArray[np.uint16],
    tasks: NDArray[np.uint16],
    plan: NDArray[np.void],
    *,
    stretch: int = 0,
) -> TaskRuns:
    """Run many learners of one rule and shape on their on-board tasks, on a GPU.

    Args:
        rule: of all.
        heads: int32[runs, words], their blocks; not changed.
        mems: uint16[runs, words].
        tasks: uint16[runs, words].
        plan: PLAN[runs].
        stretch: trials a launch; 0: as many as take a fraction of a second. The results do not depend on it.

    Raises:
        EngineError: there is no GPU that would run this, or it has too little memory.
    """
    problem = cuda_problem()
    if problem is not None:
        raise EngineError(problem)
    from subsong_sim.cuda_words import cuda

    runs = len(heads)
    sensors, actuators = _ends(heads[0])
    every = np.where(plan["every"] > 0, plan["every"], plan["trials"])
    arrays = [
        *(np.ascontiguousarray(words.T) for words in (heads, mems, tasks)),
        *(np.zeros((n, runs), np.uint16) for n in (sensors, actuators)),
        plan,
        np.zeros(runs, COURSE),
        np.zeros(runs, np.int32),
        np.zeros((plan["trials"].max(), runs), np.int32),
        np.zeros((((plan["trials"] + every - 1) // every).max(), runs), np.int64),
    ]
    needed, free = sum(a.nbytes for a in arrays), cuda.current_context().get_memory_info().free
    if needed > free:
        raise EngineError(
            f"CUDA: {runs} runs take {needed >> 20} MiB of the GPU's memory, of which {free >> 20} are free; "
            "ask for fewer at a time"
        )
    buffers = [cuda.to_device(a) for a in arrays]
    kernel = loader.load_cuda(rule).task_runs[-(-runs // THREADS), THREADS]
    longest = int(max(plan["steps"].max(), plan["evaluate_steps"].max()))
    stretch = stretch or max(1, LAUNCH_WORDS // (longest * (heads.shape[1] + mems.shape[1])))
    course = arrays[6]
    while not course["ended"].all():
        kernel(*buffers, stretch)
        course = buffers[6].copy_to_host()
    head, mem, task, totals, sums = (np.ascontiguousarray(buffers[i].copy_to_host().T) for i in (0, 1, 2, 8, 9))
    return TaskRuns(head, mem, task, course, totals, sums)


def _ends(head: NDArray[np.int32]) -> tuple[int, int]:
    """Return how many sensor and actuator words a block's network has."""
    first = head[layout.LAYERS_AT :]
    last = head[layout.LAYERS_AT + (int(head[layout.N_LAYERS]) - 1) * layout.LAYER_WORDS :]
    return int(first[layout.N_IN] - first[layout.RECURRENT]), int(last[layout.N_OUT])
