"""What subsong_sim.lanes.compile_lanes returns, made of the single engine: lane by lane, in Python, through ctypes."""

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subsong_device import layout
from subsong_sim import loader
from subsong_sim.engines import learner_kernels

Words = NDArray[Any]
NONE = np.empty((0, 0), np.uint16)


class SingleLanes:
    """Kernels that take the interleaved words of many runs apart and run the single engine's on each.

    Args:
        rule: name of the learner.
        heads: int32[runs, H].
        mems: uint16[runs, M].
        tasks: uint16[runs, T], or None.
        lanes: how many lie side by side.

    Attributes:
        masks: of the active lanes, one a call of act and task_trials.
    """

    def __init__(self, rule: str, heads: Words, mems: Words, tasks: Words | None, lanes: int = 16) -> None:
        self.lanes = lanes
        self.masks: list[int] = []
        first = heads[0]
        last = layout.LAYERS_AT + (int(first[layout.N_LAYERS]) - 1) * layout.LAYER_WORDS
        inputs = first[layout.LAYERS_AT + layout.N_IN] - first[layout.LAYERS_AT + layout.RECURRENT]
        self.shapes = {"head": heads.shape[1], "mem": mems.shape[1], "x": int(inputs)}
        self.shapes["u"] = int(first[last + layout.N_OUT])
        self.kernels = learner_kernels(rule, "numba")
        self._functions = [
            self._function(self.kernels.begin, ("head", "mem")),
            self._function(self._act, ("head", "mem", "x", "u")),
            self._function(self.kernels.end, ("head", "mem")),
        ]
        self.begin, self.act, self.end = (_address(each) for each in self._functions)
        self.task_trials = 0
        if tasks is not None:
            self.shapes |= {"task": tasks.shape[1]}
            self.loops = loader.load_loops(rule)
            self._functions.append(self._function(self._trials, ("head", "mem", "task", "x", "u", "ends"), 3))
            self.task_trials = _address(self._functions[-1])

    def _act(self, *buffers: Words) -> None:
        self.kernels.act(*buffers)

    def _trials(self, *arguments: Any) -> None:
        *buffers, ends, trials, steps, evaluate = arguments
        rows = ends.reshape(trials, 6)
        self.loops.task_stretch(*buffers, steps, evaluate, NONE, NONE, np.empty(0, np.int32), rows)

    def _function(self, kernel: Callable[..., Any], names: tuple[str, ...], numbers: int = 0) -> Any:
        """Return a C function of pointers, int32s and a mask."""

        def lane_by_lane(*arguments: Any) -> int:
            *rest, mask = arguments
            if len(names) > 2:
                self.masks.append(mask)
            numbers = rest[len(names) :]
            self.shapes["ends"] = 6 * numbers[0] if numbers else 0
            buffers = [self._buffer(name, at) for name, at in zip(names, rest, strict=False)]
            for lane in range(self.lanes):
                if mask >> lane & 1:
                    own = [np.ascontiguousarray(buffer[:, lane]) for buffer in buffers]
                    kernel(*own, *numbers)
                    for buffer, words in zip(buffers, own, strict=True):
                        buffer[:, lane] = words
            return 0

        kinds = [ctypes.c_void_p] * len(names) + [ctypes.c_int32] * numbers + [ctypes.c_uint32]
        return ctypes.CFUNCTYPE(ctypes.c_int32, *kinds)(lane_by_lane)

    def _buffer(self, name: str, at: int) -> Words:
        kind = ctypes.c_int32 if name in ("head", "ends") else ctypes.c_uint16
        assert at % 64 == 0
        words = (kind * (self.shapes[name] * self.lanes)).from_address(at)
        return np.frombuffer(words, kind).reshape(self.shapes[name], self.lanes)


def _address(function: Any) -> int:
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert address is not None
    return address
