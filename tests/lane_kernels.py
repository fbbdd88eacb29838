"""What subsong_sim.lanes.compile_lanes returns, made of code for one run: lane by lane, through Python."""

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subsong_device import layout
from subsong_sim.lanes import compile_lanes
from subsong_sim.trials import addresses

Words = NDArray[Any]
# What each kernel takes: buffers, and how many numbers.
TAKES = {
    "begin": (("head", "mem"), 0),
    "act": (("head", "mem", "x", "u"), 0),
    "end": (("head", "mem"), 0),
    "task_trials": (("head", "mem", "task", "x", "u", "ends"), 3),
}


class SingleLanes:
    """Kernels that take the interleaved words of many runs apart and run code for one on each.

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
        if tasks is not None:
            self.shapes |= {"task": tasks.shape[1]}
        self._one = compile_lanes(rule, heads, mems, tasks, 1)
        self._functions = {name: self._function(name, *TAKES[name]) for name in self._one.functions}
        address = {name: _address(function) for name, function in self._functions.items()}
        self.begin, self.act, self.end, self.task_trials = (address.get(name, 0) for name in TAKES)

    def _function(self, kernel: str, names: tuple[str, ...], numbers: int) -> Any:
        """Return a C function of pointers, int32s and a mask."""

        def lane_by_lane(*arguments: Any) -> int:
            *rest, mask = arguments
            if len(names) > 2:
                self.masks.append(mask)
            if numbers:
                self.shapes["ends"] = 6 * rest[len(names)]
            buffers = [self._buffer(name, at) for name, at in zip(names, rest, strict=False)]
            for lane in range(self.lanes):
                if mask >> lane & 1:
                    own = [np.ascontiguousarray(buffer[:, lane]) for buffer in buffers]
                    self._one.functions[kernel](*addresses(*own), *rest[len(names) :], 1)
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
