"""A learner on this computer: the firmware's kernels as machine code, under Numba, or under CPython for reading along.

native    machine code for this processor, specialised to the block's structure (subsong_sim.lanes); the default
numba     njit on the same functions, for any block: what native code is held against
cpython   as they are
"""

from array import array
from collections.abc import Sequence
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subsong_device import layout
from subsong_device.frames import RULES
from subsong_sim import loader
from subsong_sim.errors import EngineError
from subsong_sim.learner import TrialSummary
from subsong_sim.loader import LEARNER_KERNELS, TASK_KERNELS

ENGINES = ("native", "numba", "cpython")
ALIGNED = 64  # bytes


def learner_kernels(rule: str, engine: str) -> Any:
    """Return the module with begin, act and end of a rule, for "numba" or "cpython".

    Raises:
        EngineError: unknown rule or engine, or a kernel outside the dialect.
    """
    _require_rule(rule)
    return loader.load(f"{loader.PACKAGE}.learners.{rule}", LEARNER_KERNELS, engine)


def _require_rule(rule: str) -> None:
    if rule not in RULES:
        raise EngineError(f"rule {rule!r}: choose one of {', '.join(RULES)}")


def task_kernels(engine: str) -> Any:
    """Return the module with task_begin, task_sense and task_cost, for "numba" or "cpython"."""
    return loader.load(f"{loader.PACKAGE}.tasks", TASK_KERNELS, engine)


def check_kernels() -> None:
    """Hold every kernel of the firmware against the dialect.

    Raises:
        EngineError: names file, line and rule of every violation in the first learner that has any.
    """
    for rule in RULES:
        loader.gather(f"{loader.PACKAGE}.learners.{rule}", LEARNER_KERNELS)
    loader.gather(f"{loader.PACKAGE}.tasks", TASK_KERNELS)


def make_buffer(words: bytes, code: str, engine: str) -> Any:
    """Return a buffer for kernels: array(code) for CPython, a NumPy array for the others, 64-byte aligned.

    Args:
        words: little-endian words.
        code: "i" (int32) or "H" (uint16).
        engine: "native", "numba" or "cpython".
    """
    values = np.frombuffer(words, dtype="<i4" if code == "i" else "<u2")
    if engine == "cpython":
        return array(code, values.tolist())
    made = aligned_zeros(len(values), np.int32 if code == "i" else np.uint16)
    made[:] = values
    return made


def aligned_zeros(n: int, dtype: Any) -> NDArray[Any]:
    """Return n zeros that begin at a multiple of 64 bytes."""
    size = n * np.dtype(dtype).itemsize
    raw = np.zeros(size + ALIGNED, np.uint8)
    start = -raw.ctypes.data % ALIGNED
    made: NDArray[Any] = raw[start : start + size].view(dtype)
    return made


def buffer_bytes(buffer: Any) -> bytes:
    """Return a kernel buffer's words as little-endian bytes."""
    a = np.asarray(buffer)
    return a.astype("<i4" if a.dtype.kind == "i" else "<u2").tobytes()


class LocalLearner:
    """A learner block executed on this computer, one kernel call a step.

    Native code is made, or taken from the cache, at the first call, for the structure that the block has then.

    Args:
        rule: such as "weight_perturbation".
        head: little-endian int32 words.
        mem: little-endian uint16 words.
        engine: "native", "numba" or "cpython".

    Raises:
        EngineError: unknown rule or engine, or a kernel outside the dialect.
    """

    def __init__(self, rule: str, head: bytes, mem: bytes, engine: str = "native") -> None:
        _require_rule(rule)
        if engine not in ENGINES:
            raise EngineError(f"engine {engine!r}: choose {', '.join(ENGINES[:-1])} or {ENGINES[-1]}")
        self.rule, self.engine = rule, engine
        self.head = make_buffer(head, "i", engine)
        self.mem = make_buffer(mem, "H", engine)
        last = layout.LAYERS_AT + (int(self.head[layout.N_LAYERS]) - 1) * layout.LAYER_WORDS
        self.n_sensors = int(self.head[layout.LAYERS_AT + layout.N_IN] - self.head[layout.LAYERS_AT + layout.RECURRENT])
        self.n_actuators = int(self.head[last + layout.N_OUT])
        self.x = make_buffer(bytes(2 * self.n_sensors), "H", engine)
        self.u = make_buffer(bytes(2 * self.n_actuators), "H", engine)
        # Python's own views of the words: several times as fast as NumPy's, word by word.
        self._x, self._u = memoryview(self.x).cast("B").cast("H"), memoryview(self.u).cast("B").cast("h")
        native = engine == "native"
        self._passed = tuple(each.ctypes.data for each in self.buffers) if native else self.buffers
        self._active = (1,) if native else ()
        self._trial = 0

    @cached_property
    def kernels(self) -> Any:
        """What has begin, act and end."""
        if self.engine != "native":
            return learner_kernels(self.rule, self.engine)
        from subsong_sim.lanes import compile_one

        self._code = compile_one(self.rule, LEARNER_KERNELS, self.head)
        return SimpleNamespace(**self._code.functions)

    def begin(self, trial: int, evaluate: bool) -> None:
        """Begin trial number `trial`; with `evaluate`, unperturbed."""
        self._trial = trial
        self.head[layout.EVALUATE] = int(evaluate)
        self.kernels.begin(*self._passed[:2], *self._active)

    def act(self, cost: int, x: Sequence[int]) -> list[int]:
        """Take the last cost and n_sensors int16 words; return n_actuators int16 words."""
        self.head[layout.COST] = cost
        words = self._x
        for i, word in enumerate(x):
            words[i] = word & 0xFFFF
        self.kernels.act(*self._passed, *self._active)
        return self._u.tolist()

    def end(self, cost: int) -> TrialSummary:
        """Take the last cost, update, and return the trial's summary."""
        self.head[layout.COST] = cost
        self.kernels.end(*self._passed[:2], *self._active)
        return summary(self.head, self._trial)

    @property
    def buffers(self) -> tuple[Any, Any, Any, Any]:
        """Return head, mem, x and u, as every kernel loop takes them."""
        return self.head, self.mem, self.x, self.u

    def state(self) -> tuple[bytes, bytes]:
        """Return head and mem as little-endian bytes."""
        return buffer_bytes(self.head), buffer_bytes(self.mem)


def summary(head: Any, trial: int) -> TrialSummary:
    """Read a trial's summary from a head buffer after end()."""
    return TrialSummary(
        trial,
        bool(head[layout.EVALUATE]),
        int(head[layout.STEPS]),
        int(head[layout.TOTAL]),
        int(head[layout.BASELINE]),
        int(head[layout.CHECK]),
        int(head[layout.SATURATED]),
        0,
    )
