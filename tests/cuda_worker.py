"""Runs batches under CUDA for tests/test_cuda.py, which starts it with NUMBA_ENABLE_CUDASIM=1.

From stdin, pickled: the experiments of each batch, and numbers. To stdout: of each batch its results and its runs' task
blocks, or what it raised; the numbers as int32 and as uint32.
"""

import pickle
import sys
from typing import Any

from subsong.batch import simulate_many
from subsong.errors import SubsongError
from subsong_sim import cuda, cuda_words
from subsong_sim.cuda_words import int32, uint32

MADE: list["Kept"] = []


class Kept(cuda.CudaBatch):
    """A batch that can be looked at when it is done."""

    def __post_init__(self) -> None:
        super().__post_init__()
        MADE.append(self)


class Small:
    """What a GPU says of its memory when it is full."""

    free = 1 << 10


def run(experiments: Any) -> Any:
    try:
        results = simulate_many(experiments, device="cuda")
    except SubsongError as error:
        return str(error)
    return results, [row.tobytes() for row in MADE[-1]._gpu.task.copy_to_host().T]


if __name__ == "__main__":
    cuda.CudaBatch = Kept  # type: ignore[misc]
    batches, values = pickle.load(sys.stdin.buffer)
    came_to = {}
    for name, experiments in batches.items():
        # Of some, every trial is a launch of its own.
        cuda.LAUNCH_WORDS = 1 if name == "stopping" else 1 << 22
        came_to[name] = run(experiments)
    type(cuda_words.cuda.current_context()).get_memory_info = lambda _: Small
    came_to["full"] = run(batches["stopping"])
    pickle.dump((came_to, [int32(v) for v in values], [uint32(v) for v in values]), sys.stdout.buffer)
