"""A learner on this computer: the firmware's kernels under Numba, or under CPython for reading along."""

from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np

from subsong_device import layout
from subsong_device.frames import RULES
from subsong_sim import loader
from subsong_sim.errors import EngineError
from subsong_sim.learner import TrialSummary
from subsong_sim.loader import LEARNER_KERNELS, TASK_KERNELS


def learner_kernels(rule: str, engine: str) -> Any:
    """Return the module with begin, act and end of a rule.

    Raises:
        EngineError: unknown rule or engine, or a kernel outside the dialect.
    """
    if rule not in RULES:
        raise EngineError(f"rule {rule!r}: choose one of {', '.join(RULES)}")
    return loader.load(f"{loader.PACKAGE}.learners.{rule}", LEARNER_KERNELS, engine)


def task_kernels(engine: str) -> Any:
    """Return the module with task_begin, task_sense and task_cost."""
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
    """Return a buffer for kernels: array(code) for CPython, a NumPy array over the same bytes for Numba.

    Args:
        words: little-endian words.
        code: "i" (int32) or "H" (uint16).
        engine: "cpython" or "numba".
    """
    values = np.frombuffer(words, dtype="<i4" if code == "i" else "<u2")
    if engine == "numba":
        return values.astype(np.int32 if code == "i" else np.uint16)
    return array(code, values.tolist())


def buffer_bytes(buffer: Any) -> bytes:
    """Return a kernel buffer's words as little-endian bytes."""
    a = np.asarray(buffer)
    return a.astype("<i4" if a.dtype.kind == "i" else "<u2").tobytes()


class LocalLearner:
    """A learner block executed on this computer, one kernel call a step.

    Args:
        rule: such as "weight_perturbation".
        head: little-endian int32 words.
        mem: little-endian uint16 words.
        engine: "numba" or "cpython".
    """

    def __init__(self, rule: str, head: bytes, mem: bytes, engine: str = "numba") -> None:
        self.kernels = learner_kernels(rule, engine)
        self.head = make_buffer(head, "i", engine)
        self.mem = make_buffer(mem, "H", engine)
        last = layout.LAYERS_AT + (int(self.head[layout.N_LAYERS]) - 1) * layout.LAYER_WORDS
        self.n_sensors = int(self.head[layout.LAYERS_AT + layout.N_IN] - self.head[layout.LAYERS_AT + layout.RECURRENT])
        self.n_actuators = int(self.head[last + layout.N_OUT])
        self.x = make_buffer(bytes(2 * self.n_sensors), "H", engine)
        self.u = make_buffer(bytes(2 * self.n_actuators), "H", engine)
        self._trial = 0

    def begin(self, trial: int, evaluate: bool) -> None:
        """Begin trial number `trial`; with `evaluate`, unperturbed."""
        self._trial = trial
        self.head[layout.EVALUATE] = int(evaluate)
        self.kernels.begin(self.head, self.mem)

    def act(self, cost: int, x: Sequence[int]) -> list[int]:
        """Take the last cost and n_sensors int16 words; return n_actuators int16 words."""
        self.head[layout.COST] = cost
        buffer = self.x
        for i, word in enumerate(x):
            buffer[i] = word & 0xFFFF
        self.kernels.act(self.head, self.mem, buffer, self.u)
        return [(int(word) ^ 0x8000) - 0x8000 for word in self.u]

    def end(self, cost: int) -> TrialSummary:
        """Take the last cost, update, and return the trial's summary."""
        self.head[layout.COST] = cost
        self.kernels.end(self.head, self.mem)
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
