"""What kernels joined for CUDA import: numba.cuda, and its words of 32 bits.

On a GPU `int32` and `uint32` are Numba's own conversions. Numba's CUDA simulator (NUMBA_ENABLE_CUDASIM=1) runs a kernel
as plain Python, where NumPy's conversions raise on a value out of range; there these two wrap it, to the same bits.
"""

from typing import Any

import numba
from numba import config as numba_config
from numba import cuda as numba_cuda

cuda: Any = numba_cuda
config: Any = numba_config
SIMULATED = bool(config.ENABLE_CUDASIM)
# That few runs leave a GPU idle is in docs/cuda.md; nobody needs a warning at every launch.
config.CUDA_LOW_OCCUPANCY_WARNINGS = 0


def _wrap_int32(value: Any) -> int:
    return ((int(value) + 0x80000000) & 0xFFFFFFFF) - 0x80000000


def _wrap_uint32(value: Any) -> int:
    return int(value) & 0xFFFFFFFF


int32: Any = _wrap_int32 if SIMULATED else numba.int32
uint32: Any = _wrap_uint32 if SIMULATED else numba.uint32
device: Any = cuda.jit(device=True)
kernel: Any = cuda.jit(cache=True)
