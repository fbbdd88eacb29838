"""Many runs in one register: the firmware's kernels as vector code, one lane a run.

A board executes a kernel for its one learner. Here a kernel is executed for L learners at once, each in its own lane of
the processor's vector registers: the same operations on the same words, so the same results, bit for bit. The code is
specialised to what the blocks have in common by their structure, compiled once, and kept.
"""

import ast
import ctypes
from collections.abc import Callable
from functools import cache, lru_cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subsong_device import layout
from subsong_sim.errors import EngineError
from subsong_sim.lanes import native
from subsong_sim.lanes.flow import Word
from subsong_sim.lanes.loops import TooLong
from subsong_sim.lanes.plant import plant_text
from subsong_sim.lanes.writer import Thawed, Writer, parameters, signature
from subsong_sim.loader import LEARNER_KERNELS, Source, learner_and_loops

LANES = 16
# Blocks of so many runs, in bytes, stay near the processor; beyond, every step would fetch them from afar.
NEAR = 1 << 21
CODES = 64  # a process keeps so many at hand
# What a search varies: numbers that decide no course. Code is made for any of them, not for one.
SETTINGS = frozenset(
    {
        layout.AMPLITUDE,
        layout.RATE,
        layout.RATE_SHIFT,
        layout.BASELINE_SHIFT,
        layout.LIMIT,
        layout.TRACE_SHIFT,
        layout.ANNEAL,
    }
)
# What every trial changes.
STATE = frozenset(
    {
        *range(layout.ESTIMATOR),
        *range(layout.PHASE, layout.ROUNDING + 2),
        layout.CODE_STEP,
        layout.WAITING,
        *range(layout.SPREAD, layout.ANNEALED + 1),
    }
)


class LaneCode:
    """Machine code of a learner's kernels, L runs side by side; keep it while its functions run.

    Attributes:
        lanes: L.
        begin, act, end: addresses of `int32 begin(int32 *head, uint16 *mem, uint32 active)` and so on; 0 with a task.
        task_trial: address of `int32 task_trial(int32 *head, uint16 *mem, uint16 *task, uint16 *x, uint16 *u,
            int32 *costs, int32 steps, int32 evaluate, uint32 active)`; 0 without a task.
        functions: by name all that was asked for, to be called from Python with addresses and numbers, `active` last.

    Buffers are interleaved: word i of run k lies at [i * L + k]; each buffer begins at a multiple of 64 bytes. Bit k of
    `active` says whether run k takes part.
    """

    def __init__(self, lanes: int, engine: Any, signatures: dict[str, list[tuple[str, str]]]) -> None:
        self.lanes, self._engine = lanes, engine
        address = {name: engine.get_function_address(name) for name in signatures}
        self.begin, self.act, self.end = (address.get(name, 0) for name in LEARNER_KERNELS)
        self.task_trial = address.get("task_trial", 0)
        self.functions: dict[str, Callable[..., int]] = {}
        for name, taken in signatures.items():
            kinds = [ctypes.c_int32 if kind == "int" else ctypes.c_void_p for _, kind in taken]
            self.functions[name] = ctypes.CFUNCTYPE(ctypes.c_int32, *kinds, ctypes.c_uint32)(address[name])


def lanes_for(heads: NDArray[np.int32], mems: NDArray[np.uint16]) -> int:
    """Return how many runs of a shape are best executed side by side: 16, or 1 where their blocks are large.

    Args:
        heads: int32[runs, H].
        mems: uint16[runs, M].
    """
    size = LANES * (heads.itemsize * heads.shape[1] + mems.itemsize * mems.shape[1])
    return LANES if size <= NEAR else 1


def compile_lanes(
    rule: str,
    heads: NDArray[np.int32],
    mems: NDArray[np.uint16],
    tasks: NDArray[np.uint16] | None,
    lanes: int | None = None,
) -> LaneCode:
    """Return machine code for runs of one shape.

    Args:
        rule: such as "weight_perturbation".
        heads: int32[runs, H].
        mems: uint16[runs, M].
        tasks: uint16[runs, T], the on-board task's block; None: the plant is elsewhere.
        lanes: runs side by side: 16, or 1 for scalar code; None: what lanes_for says.

    Raises:
        EngineError: the runs have not as many layers, or a kernel is outside the dialect.
    """
    lanes = lanes_for(heads, mems) if lanes is None else lanes
    names = ("task_trial",) if tasks is not None else LEARNER_KERNELS
    return _code(rule, names, tuple(frozen_words(heads, tasks).items()), lanes)


def compile_one(
    rule: str, names: tuple[str, ...], head: NDArray[np.int32], task: NDArray[np.uint16] | None = None
) -> LaneCode:
    """Return machine code for one learner, as its block is now; settings may change later, its structure may not.

    Args:
        rule: such as "weight_perturbation".
        names: begin, act, end, or loops of subsong_sim.loops.
        head: int32[H].
        task: uint16[T], the on-board task's block, for functions that take one.

    Raises:
        EngineError: a kernel is outside the dialect.
    """
    return _code(rule, names, tuple(frozen_words(head[None], None if task is None else task[None]).items()), 1)


@lru_cache(maxsize=CODES)
def _code(rule: str, names: tuple[str, ...], frozen: tuple[tuple[Word, int], ...], lanes: int) -> LaneCode:
    """Return the code of some functions, this process's, the cache's, or made now."""
    words = dict(frozen)
    source = learner_and_loops(rule)
    what = _text(rule), names, sorted(frozen), sorted(fixed_words(words).items()), lanes
    path = native.kept(repr(what).encode())
    code = native.found(path)
    if code is None:
        code = native.translate(module_text(source, names, words, lanes), path)
    return LaneCode(lanes, native.load(code), {name: parameters(source.functions[name]) for name in names})


def frozen_words(heads: NDArray[np.int32], tasks: NDArray[np.uint16] | None) -> dict[Word, int]:
    """Return the words that kernels read, do not change, and find alike in all runs, by (buffer, index).

    Raises:
        EngineError: the runs have not as many layers.
    """
    layers = heads[:, layout.N_LAYERS]
    if (layers != layers[0]).any():
        raise EngineError("the runs of a batch must have as many layers; make a batch of each")
    end = rows_end(int(layers[0]))
    same = (heads == heads[0]).all(axis=0)
    words = {("head", i): int(heads[0, i]) for i in range(end) if i not in SETTINGS | STATE and same[i]}
    if tasks is not None:
        alike = (tasks == tasks[0]).all(axis=0)
        words |= {("task", i): int(tasks[0, i]) for i in range(min(layout.TASK_DATA, tasks.shape[1])) if alike[i]}
    return words


def fixed_words(words: dict[Word, int]) -> dict[str, int]:
    """Return where the words begin, in each buffer, to which kernels compute an index: arrays, behind the scalars."""
    layers = words.get(("head", layout.N_LAYERS))
    return {} if layers is None else {"head": rows_end(layers), "task": layout.TASK_DATA}


def rows_end(layers: int) -> int:
    """Return the index in head behind the layers' rows: arrays begin there."""
    return layout.LAYERS_AT + layers * layout.LAYER_WORDS


def module_text(source: Source, names: tuple[str, ...], words: dict[Word, int], lanes: int) -> str:
    """Return the IR of kernels for L runs side by side."""
    words, unroll = dict(words), True
    while True:
        try:
            return _module_text(source, names, words, lanes, unroll=unroll)
        except Thawed as e:
            del words[e.word]
        except TooLong:
            unroll = False


def _module_text(source: Source, names: tuple[str, ...], words: dict[Word, int], lanes: int, *, unroll: bool) -> str:
    fixed = fixed_words(words)
    needs: set[str] = set()
    parts = []
    for kernel in names:
        function = source.functions[kernel]
        evaluations = (0, 1) if any(name == "evaluate" for name, _ in parameters(function)) else (None,)
        variants = {}
        for evaluate in evaluations:
            # An evaluation is rare: one that asks who takes part serves all.
            for everybody in (True,) if lanes == 1 else (False,) if evaluate else (True, False):
                writer = Writer(source, lanes, words, fixed, unroll=unroll)
                name = f"{kernel}_{evaluate or 0}_{'all' if everybody else 'some'}"
                known = {} if evaluate is None else {"evaluate": evaluate}
                parts.append(writer.function(kernel, name, known, everybody=everybody))
                variants[evaluate or 0, everybody] = name
                needs |= writer.needs
        parts.append(_entry(function, variants, lanes))
    if "plant_stretch" in names:
        parts.append(plant_text())
    return "\n".join([*sorted(needs), *parts, f"attributes #0 = {{ {native.ATTRIBUTES} }}", ""])


def _entry(function: ast.FunctionDef, variants: dict[tuple[int, bool], str], lanes: int) -> str:
    """Return the function that chooses among variants: an evaluation or not, all runs or some."""
    arguments = ", ".join(
        [*(f"{'i32' if kind == 'int' else 'ptr'} %{name}" for name, kind in parameters(function)), "i32 %active"]
    )
    lines = [f"define i32 @{function.name}({signature(function)}) #0 {{"]
    lines += [f"  %all = icmp eq i32 %active, {(1 << lanes) - 1}" if lanes > 1 else "  %all = icmp eq i32 0, 0"]
    evaluations = sorted({evaluate for evaluate, _ in variants})
    if len(evaluations) == 2:
        lines += ["  %learns = icmp eq i32 %evaluate, 0", "  br i1 %learns, label %e0, label %e1"]
    else:
        lines += ["  br label %e0"]
    for evaluate in evaluations:
        lines += [f"e{evaluate}:", f"  br i1 %all, label %e{evaluate}all, label %e{evaluate}some"]
        for everybody, label in ((True, "all"), (False, "some")):
            name = variants.get((evaluate, everybody)) or variants[evaluate, not everybody]
            lines += [f"e{evaluate}{label}:", f"  %r{evaluate}{label} = call i32 @{name}({arguments})"]
            lines += [f"  ret i32 %r{evaluate}{label}"]
    return "\n".join([*lines, "}"])


@cache
def _text(rule: str) -> str:
    """Return what code depends on, beside the processor and the blocks: the kernels, and this package."""
    source = learner_and_loops(rule)
    functions = [
        (name, parameters(function), [ast.dump(n) for n in function.body if not _is_prose(n)])
        for name, function in source.functions.items()
    ]
    own = [
        each.read_text(encoding="utf-8") for each in resources.files(__name__).iterdir() if each.name.endswith(".py")
    ]
    return repr((sorted(own), functions, source.constants))


def _is_prose(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
