"""Runs batches under CUDA for tests/test_cuda.py, which starts it with NUMBA_ENABLE_CUDASIM=1.

From stdin, pickled: (rule, heads, mems, tasks, plan, stretch) of each batch, and numbers. To stdout: what each batch
came to, and the numbers as int32 and as uint32.
"""

import pickle
import sys

from subsong_sim import cuda
from subsong_sim.cuda_words import int32, uint32

if __name__ == "__main__":
    batches, values = pickle.load(sys.stdin.buffer)
    runs = [tuple(cuda.run_tasks(*batch[:-1], stretch=batch[-1])) for batch in batches]
    pickle.dump((runs, [int32(v) for v in values], [uint32(v) for v in values]), sys.stdout.buffer)
