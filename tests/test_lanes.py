"""Vector code: whatever a kernel does, every lane leaves what CPython leaves for its run alone."""

import ctypes
from pathlib import Path

import numpy as np
import pytest
from sim.cases import RULES, STEPS, Case, runs_of

from random_kernels import WORDS, Author, Words, buffers, reference
from subsong_sim.lanes import compile_lanes, module_text, native
from subsong_sim.loader import Source, gather, load_loops

CALLED = "k3"
# n comes from memory, so that it is each run's own.
ENTRY = f"""

def entry(w: ptr16, d: ptr32, b: ptr8, n: ptr32) -> int:
    n[0] = {CALLED}(w, d, b, n[0])
    return 0
"""
NUMBERS = (0, 1, -1, 5, 0x7FFF, -32768, 2**31 - 1, -(2**31))


def drawn(folder: Path, seed: int) -> Source:
    path = folder / f"drawn_{seed}.py"
    path.write_text(Author(seed).module(4) + ENTRY, encoding="utf-8")
    return gather(str(path), ("entry",))


def aligned(rows: np.ndarray) -> np.ndarray:
    """Return word i of run k at [i, k], from runs as rows, beginning at a multiple of 64 bytes."""
    whole = np.zeros(rows.nbytes + 64, np.uint8)
    at = -whole.ctypes.data % 64
    lanes = whole[at : at + rows.nbytes].view(rows.dtype).reshape(rows.shape[::-1])
    lanes[:] = rows.T
    return lanes


@pytest.mark.parametrize("lanes", [1, 16])
@pytest.mark.parametrize("seed", range(10))
def test_drawn_kernels_are_computed_alike(tmp_path: Path, seed: int, lanes: int) -> None:
    source = drawn(tmp_path, seed)
    expected = reference(source)
    engine = native.load(native.translate(module_text(source, ("entry",), {}, lanes), tmp_path / "object.o"))
    entry = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 4, ctypes.c_uint32)(
        engine.get_function_address("entry")
    )
    for turn in range(32 // lanes):
        before = [buffers(100 * seed + turn * lanes + lane) for lane in range(lanes)]
        numbers = [Words("i", [NUMBERS[(turn * lanes + lane) % len(NUMBERS)]]) for lane in range(lanes)]
        # The second turn leaves some runs out.
        active = 0xA5E3 if turn % 2 and lanes > 1 else (1 << lanes) - 1
        given = [aligned(np.array([run[which] for run in before])) for which in range(3)] + [aligned(np.array(numbers))]
        entry(*(words.ctypes.data for words in given), active)
        for lane, run in enumerate(before):
            if active >> lane & 1:
                expected.entry(*run, numbers[lane])
            left = [words[:, lane].tolist() for words in given]
            assert left == [list(words) for words in (*run, numbers[lane])], f"run {lane} of turn {turn}, seed {seed}"
    assert all(len(words) == WORDS for words in before[0])


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("inputs", [8, 16])
def test_one_lane_keeps_to_its_weights_where_rows_are_a_word_longer_than_a_vector(rule: str, inputs: int) -> None:
    case = Case(rule, (inputs, inputs, 1))
    runs, loops = runs_of(case, 1), load_loops(rule)
    code = compile_lanes(rule, runs.heads, runs.mems, runs.tasks, 1)
    trial = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 6, ctypes.c_int32, ctypes.c_int32, ctypes.c_uint32)(
        code.task_trial
    )
    given = [
        aligned(rows) for rows in (runs.heads, runs.mems, runs.tasks, runs.xs, runs.us, np.zeros((1, 1), np.int32))
    ]
    alone = [rows[0].copy() for rows in (runs.heads, runs.mems, runs.tasks, runs.xs, runs.us)]
    for _ in range(6):
        trial(*(words.ctypes.data for words in given), STEPS, 0, 1)
        loops.task_trial(*alone, STEPS, 0, loops.xs_none(), loops.xs_none(), loops.costs_none())
    for words, right in zip(given, alone, strict=False):
        assert words[:, 0].tolist() == right.tolist()
