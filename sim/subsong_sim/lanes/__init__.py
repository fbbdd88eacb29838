"""Many runs in one register: the firmware's kernels as vector code, one lane a run.

A board executes a kernel for its one learner. Here a kernel is executed for L learners at once, each in its own lane of
the processor's vector registers: the same operations on the same words, so the same results, bit for bit. A run by
itself is one lane. The code is specialised to what the blocks have in common by their structure, compiled once, and
kept.
"""

import ast
import ctypes
from collections.abc import Callable, Collection, Mapping
from functools import cache, lru_cache
from importlib import resources
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from subsong_sim.lanes import native
from subsong_sim.lanes.common import IN_STEP, fixed_words, frozen_words, shared_words, tables_of
from subsong_sim.lanes.emit import METADATA
from subsong_sim.lanes.entry import Variant, entry, parameters
from subsong_sim.lanes.flow import Word
from subsong_sim.lanes.loops import TooLong
from subsong_sim.lanes.plant import plant_text
from subsong_sim.lanes.words import Table, Varies
from subsong_sim.lanes.writer import Writer
from subsong_sim.loader import LEARNER_KERNELS, Source, learner_and_loops

LANES = 16
# Blocks of so many runs, in bytes, stay near the processor; beyond, every step would fetch them from afar.
NEAR = 1 << 21
CODES = 64  # a process keeps so many at hand


class LaneCode:
    """Machine code of a learner's kernels, L runs side by side; keep it while its functions run.

    Attributes:
        lanes: L.
        begin, act, end: addresses of `int32 begin(int32 *head, uint16 *mem, uint32 active)` and so on; 0 with a task.
        task_trials: address of `int32 task_trials(int32 *head, uint16 *mem, uint16 *task, uint16 *x, uint16 *u,
            int32 *ends, int32 trials, int32 steps, int32 evaluate, uint32 active)`; 0 without a task. Trial n leaves
            STEPS, TOTAL, BASELINE, CHECK, SATURATED and its last cost at ends[6 * n ..].
        functions: by name all that was asked for, to be called from Python with addresses and numbers, `active` last.

    Buffers are interleaved: word i of run k lies at [i * L + k]; each buffer begins at a multiple of 64 bytes. Bit k of
    `active` says whether run k takes part; with one lane it is not asked.
    """

    def __init__(self, lanes: int, engine: Any, signatures: dict[str, list[tuple[str, str]]]) -> None:
        self.lanes, self._engine = lanes, engine
        address = {name: engine.get_function_address(name) for name in signatures}
        self.begin, self.act, self.end = (address.get(name, 0) for name in LEARNER_KERNELS)
        self.task_trials = address.get("task_trials", 0)
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
    names = ("task_trials",) if tasks is not None else LEARNER_KERNELS
    tables, shared = (tables_of(heads, mems), shared_words(tasks)) if lanes > 1 else ({}, {})
    known = (tuple(each.items()) for each in (frozen_words(heads, tasks), tables, shared))
    return _code(rule, names, lanes, *known)


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
    words = frozen_words(head[None], None if task is None else task[None])
    return _code(rule, names, 1, tuple(words.items()))


@lru_cache(maxsize=CODES)
def _code(
    rule: str,
    names: tuple[str, ...],
    lanes: int,
    frozen: tuple[tuple[Word, int], ...],
    tables: tuple[tuple[str, Table], ...] = (),
    shared: tuple[tuple[str, int], ...] = (),
) -> LaneCode:
    """Return the code of some functions, this process's, the cache's, or made now."""
    source = learner_and_loops(rule)
    path = native.kept(repr((_text(rule), names, lanes, sorted(frozen), tables, shared)).encode())
    code = native.found(path)
    if code is None:
        alike = IN_STEP if lanes > 1 else ()
        text = module_text(source, names, dict(frozen), lanes, alike, dict(tables), dict(shared))
        code = native.translate(text, path, unrolling=lanes > 1)
    return LaneCode(lanes, native.load(code), {name: parameters(source.functions[name]) for name in names})


def module_text(
    source: Source,
    names: tuple[str, ...],
    words: Mapping[Word, int],
    lanes: int,
    alike: Collection[Word] = (),
    tables: Mapping[str, Table] = MappingProxyType({}),
    shared: Mapping[str, int] = MappingProxyType({}),
) -> str:
    """Return the IR of kernels for L runs side by side.

    Args:
        source: kernels, joined.
        names: of those that are called from outside.
        words: frozen ones, alike in all runs.
        lanes: L.
        alike: words that should be the same in all runs that take part; whether they are is asked at each call.
        tables: 16-bit words of a buffer that no kernel changes, the same in all runs.
        shared: for each buffer, the index from which on words are the same in all runs, and few kernels change them.
    """
    frozen, alike, shared, unroll = dict(words), set(alike), dict(shared), True
    while True:
        known: dict[str, Any] = {
            "frozen": frozen,
            "fixed": fixed_words(frozen),
            "alike": alike,
            "tables": tables,
            "shared": shared,
        }
        try:
            parts = [_kernel_text(source, kernel, lanes, unroll=unroll, **known) for kernel in names]
        except Varies as e:
            if frozen.pop(e.word, None) is None:
                if e.word in alike:
                    alike.discard(e.word)
                else:
                    del shared[e.word[0]]
        except TooLong:
            unroll = False
        else:
            needs = {need for each in parts for need in each.needs}
            tail = f"attributes #0 = {{ {native.ATTRIBUTES} }}"
            constants = [table.text(f"{buffer}_table") for buffer, table in tables.items()]
            plant = [plant_text()] if "plant_stretch" in names else []
            return "\n".join([*sorted(needs), *constants, *(each.text for each in parts), *plant, tail, METADATA, ""])


class _Part(NamedTuple):
    """A kernel's functions, and the intrinsics that they call."""

    text: str
    needs: set[str]


def _kernel_text(source: Source, kernel: str, lanes: int, *, alike: Collection[Word], **known: Any) -> _Part:
    """Write a kernel for an evaluation and for a trial that learns, for all runs and for some."""
    function = source.functions[kernel]
    evaluations = (0, 1) if any(name == "evaluate" for name, _ in parameters(function)) else (None,)
    variants: dict[Variant, str] = {}
    texts: list[str] = []
    needs: set[str] = set()
    leans: set[Word] = set()

    def write(evaluate: int | None, *, everybody: bool, alike: Collection[Word]) -> None:
        writer = Writer(source, lanes, alike=alike, **known)
        variant = Variant(evaluate, everybody, bool(alike))
        variants[variant] = f"{kernel}_{len(variants)}"
        arguments = {} if evaluate is None else {"evaluate": evaluate}
        texts.append(writer.function(kernel, variants[variant], arguments, everybody=everybody))
        needs.update(writer.needs)
        leans.update(writer.read_alike)

    for evaluate in evaluations:
        # An evaluation is rare: one that asks who takes part serves all.
        for everybody in (True,) if lanes == 1 else (False,) if evaluate else (True, False):
            write(evaluate, everybody=everybody, alike=alike)
    if leans:
        write(None, everybody=False, alike=())
    return _Part("\n".join([*texts, entry(function, variants, sorted(leans), lanes)]), needs)


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
