"""Batches of runs on an NVIDIA GPU: the firmware's own kernels under numba.cuda, one thread a run. docs/cuda.md.

A run gives the same words as on the processor: its arithmetic is integers of 32 bits, and it shares nothing with its
neighbours. That holds for on-board tasks. The compiled CartPole stays on the processor: a GPU's sine and cosine differ
from a C library's in the last bit, and a run in which one sensor word differs is another run.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from subsong_sim import loader
from subsong_sim.batch import COURSE, MAX_ENDS, PLAN
from subsong_sim.errors import EngineError

THREADS = 32  # of a block: one warp, so that few runs already spread over all multiprocessors
# What a launch does for a run, words times steps, to be over in a fraction of a second: a driver that serves a screen,
# too, ends what takes seconds.
LAUNCH_WORDS = 1 << 22

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
    except ValueError as error:  # NUMBA_CUDA_DRIVER names no file
        return _REFUSED.format(error)
    if SIMULATED:
        return None
    try:
        available = cuda.is_available()
        if cuda.cuda_error() is not None:
            return _NO_GPU
        if not available:
            return _NO_COMPILER
        cuda.jit(_probe)[1, 1](cuda.to_device(np.zeros(1, np.int32)))
        cuda.synchronize()
    except Exception as error:  # noqa: BLE001 - driver, compiler and linker each raise their own
        return _REFUSED.format((str(error).strip() or repr(error)).splitlines()[0])
    return None


def _probe(a: Any) -> None:
    a[0] = 1


def aligned(record: np.dtype[np.void]) -> np.dtype[np.void]:
    """Return a record with the same fields, each aligned: a GPU reads others byte by byte."""
    return np.dtype(record.descr, align=True)


class _Buffers(NamedTuple):
    """What the kernel takes, on the GPU, in its order; words of runs lie side by side."""

    head: Any
    mem: Any
    task: Any
    x: Any
    u: Any
    plan: Any
    course: Any
    left: Any
    ends: Any
    totals: Any


@dataclass
class CudaBatch:
    """Runs of one rule and shape on their on-board tasks, on a GPU; to be used as subsong_sim.batch.Batch is.

    Attributes:
        rule: of all.
        heads: int32[runs, H].
        mems: uint16[runs, M].
        tasks: uint16[runs, T].
        ends: how many sensors and actuators there are.
        plan: batch.PLAN[runs].
        course: batch.COURSE[runs], aligned: how far each run is.
        totals: int64[runs, evaluations], the sum of the totals of each evaluation's episodes.

    Raises:
        EngineError: there is no GPU that runs this, or it has too little memory.
    """

    rule: str
    heads: NDArray[np.int32]
    mems: NDArray[np.uint16]
    tasks: NDArray[np.uint16]
    ends: tuple[int, int]
    plan: NDArray[Any]
    course: NDArray[Any] = field(init=False)
    totals: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        problem = cuda_problem()
        if problem is not None:
            raise EngineError(problem)
        runs, trials = len(self.heads), self.plan["trials"]
        self.course = np.zeros(runs, aligned(COURSE))
        self.course["alive"], self.course["failed"] = 1, -1
        every = np.where(self.plan["every"] > 0, self.plan["every"], trials)
        self.totals = np.zeros((runs, int((trials // every).max()) + 1), np.int64)
        longest = int(max(self.plan["steps"].max(), self.plan["evaluate_steps"].max()))
        words = longest * (self.heads.shape[1] + self.mems.shape[1])
        self._budget = max(1, min(MAX_ENDS // runs, LAUNCH_WORDS // words))
        self._gpu = self._upload(
            self.heads.T,
            self.mems.T,
            self.tasks.T,
            *(np.zeros((n, runs), np.uint16) for n in self.ends),
            self.plan.astype(aligned(PLAN)),
            self.course,
            np.zeros(runs, np.int32),
            np.zeros((self._budget, 6, runs), np.int32),
            self.totals.T,
        )
        self._kernel = loader.load_cuda(self.rule).task_runs[-(-runs // THREADS), THREADS]

    def run(self, stretch: int | None = None) -> Iterator[NDArray[np.int32]]:
        """Run all schedules, some trials of every run at a time.

        Args:
            stretch: how many, if there is room for the ends of so many; as many as there is room for.

        Yields:
            int32[1, runs, trials, 6] of some learning trials: STEPS, TOTAL, BASELINE, CHECK, SATURATED, last cost. Of a
            run that ended in it, those up to its end (`course`) are to be read.
        """
        gpu, longest = self._gpu, int(self.plan["trials"].max())
        stretch = min(stretch or longest, self._budget)
        for first in range(0, longest, stretch):
            if not self.course["alive"].any():
                return
            last = min(first + stretch, longest)
            busy = True
            while busy:
                self._kernel(*gpu, first, last, self._budget)
                self.course = gpu.course.copy_to_host()
                unfinished = (self.course["trials"] < last) | (gpu.left.copy_to_host() > 0)
                busy = bool((unfinished & (self.course["alive"] != 0)).any())
            self.totals = gpu.totals.copy_to_host().T
            yield gpu.ends.copy_to_host()[None, : last - first].transpose(0, 3, 1, 2)

    def blocks(self) -> tuple[NDArray[np.int32], NDArray[np.uint16]]:
        """Return heads and mems as they are now, int32[runs, H] and uint16[runs, M]."""
        return self._gpu.head.copy_to_host().T, self._gpu.mem.copy_to_host().T

    def _upload(self, *arrays: NDArray[Any]) -> _Buffers:
        """Copy what the kernel takes to the GPU."""
        from subsong_sim.cuda_words import cuda

        needed, free = sum(each.nbytes for each in arrays), cuda.current_context().get_memory_info().free
        if needed > free:
            raise EngineError(
                f"CUDA: {len(self.heads)} runs take {needed >> 20} MiB of the GPU's memory, of which {free >> 20} are "
                "free; run fewer at a time"
            )
        return _Buffers(*(cuda.to_device(np.ascontiguousarray(each)) for each in arrays))
