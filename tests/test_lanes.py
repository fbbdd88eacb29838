"""Vector code: whatever a kernel does, every lane leaves what CPython leaves for its run alone."""

import ctypes
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sim.cases import RULES, STEPS, Case, runs_of

from random_kernels import WORDS, Author, Words, buffers, reference
from subsong_device import layout
from subsong_sim.engines import LocalLearner, buffer_bytes
from subsong_sim.lanes import compile_lanes, compile_one, loops, module_text, native
from subsong_sim.lanes.common import shared_words, tables_of
from subsong_sim.lanes.products import BLOCK, PRODUCTS, SHORTEST, WEIGHED
from subsong_sim.lanes.words import Table
from subsong_sim.loader import Source, gather
from subsong_sim.trials import TaskTrials, addresses

# n comes from memory, so that it is each run's own.
ENTRY = """

def entry(w: ptr16, d: ptr32, b: ptr8, n: ptr32) -> int:
    n[0] = {called}(w, d, b, n[0])
    return 0
"""
NUMBERS = (0, 1, -1, 5, 0x7FFF, -32768, 2**31 - 1, -(2**31))
DEVIOUS = Path(__file__).with_name("devious_kernels.py").read_text(encoding="utf-8")
KNOWN = {("d", 0): 12, ("d", 1): 5, ("d", 5): 3, ("w", 2): 11, ("w", 3): 4}


def aligned(rows: np.ndarray) -> np.ndarray:
    """Return word i of run k at [i, k], from runs as rows, beginning at a multiple of 64 bytes."""
    whole = np.zeros(rows.nbytes + 64, np.uint8)
    at = -whole.ctypes.data % 64
    lanes = whole[at : at + rows.nbytes].view(rows.dtype).reshape(rows.shape[::-1])
    lanes[:] = rows.T
    return lanes


def hold_against_python(
    source: Source, lanes: int, keep: Path, seed: int, known: dict[tuple[str, int], int], **expected_of_runs: Any
) -> None:
    """Execute `entry` for 32 runs, in lanes and by CPython; a second turn leaves some runs out."""
    expected = reference(source)
    text = module_text(source, ("entry",), {} if expected_of_runs else known, lanes, **expected_of_runs)
    engine = native.load(native.translate(text, keep, unrolling=lanes > 1))
    entry = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 4, ctypes.c_uint32)(
        engine.get_function_address("entry")
    )
    for turn in range(32 // lanes):
        before = [buffers(100 * seed + turn * lanes + lane) for lane in range(lanes)]
        for words in before:
            for (buffer, index), value in known.items():
                words["wdb".index(buffer)][index] = value
        numbers = [Words("i", [NUMBERS[(turn * lanes + lane) % len(NUMBERS)]]) for lane in range(lanes)]
        active = 0xA5E3 if turn % 2 and lanes > 1 else (1 << lanes) - 1
        given = [aligned(np.array([run[which] for run in before])) for which in range(3)] + [aligned(np.array(numbers))]
        entry(*(words.ctypes.data for words in given), active)
        for lane, run in enumerate(before):
            if active >> lane & 1:
                expected.entry(*run, numbers[lane])
            left = [words[:, lane].tolist() for words in given]
            assert left == [list(words) for words in (*run, numbers[lane])], f"run {lane} of turn {turn}"


@pytest.mark.slow
@pytest.mark.parametrize("lanes", [1, 16])
@pytest.mark.parametrize("seed", range(10))
def test_drawn_kernels_are_computed_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, lanes: int
) -> None:
    if seed % 2:
        # Drawn loops are short: let them be loops.
        monkeypatch.setattr(loops, "UNROLLED", {True: 2, False: 2})
    path = tmp_path / f"drawn_{seed}.py"
    path.write_text(Author(seed).module(4) + ENTRY.format(called="k3"), encoding="utf-8")
    hold_against_python(gather(str(path), ("entry",)), lanes, tmp_path / "object.o", seed, {})


@pytest.mark.parametrize("lanes", [1, 16])
@pytest.mark.parametrize("kernel", re.findall(r"def (\w{2,})", DEVIOUS))
def test_devious_kernels_are_computed_alike(tmp_path: Path, kernel: str, lanes: int) -> None:
    path = tmp_path / "devious.py"
    path.write_text(DEVIOUS + ENTRY.format(called=kernel), encoding="utf-8")
    known = KNOWN if "known" in kernel else {}
    hold_against_python(gather(str(path), ("entry",)), lanes, tmp_path / "object.o", 1, known)


WEIGHTED_SUM = """
def weighted_sum(w: ptr16, d: ptr32, b: ptr8, n: int) -> int:
    at = 1
    signal = at + {turns}
    shift = d[0]
    for j in range({turns}):
        n += (((w[at + j] ^ 0x8000) - 0x8000) * ((w[signal + j] ^ 0x8000) - 0x8000)) >> shift
    return n
"""
SUM_OF_SUMS = """
def sum_of_sums(w: ptr16, d: ptr32, b: ptr8, n: int) -> int:
    t = d[0]
    last = 2 + {turns}
    for k in range(2, {turns} + 2):
        t += w[last - k]
        n += t
    d[0] = t
    return n
"""


@pytest.mark.parametrize("turns", [31, 32, 33, 63, 64, 100])
def test_a_weighted_sum_of_one_run_is_exact(tmp_path: Path, turns: int) -> None:
    text = hold_a_sum_against_python(WEIGHTED_SUM, "weighted_sum", tmp_path, turns)
    assert ("call i32 @products" in text) == (PRODUCTS.available() and turns >= SHORTEST)


@pytest.mark.parametrize("turns", [15, 16, 17])
def test_a_sum_of_sums_of_one_run_is_exact(tmp_path: Path, turns: int) -> None:
    text = hold_a_sum_against_python(SUM_OF_SUMS, "sum_of_sums", tmp_path, turns)
    assert ("call i32 @weighed" in text) == (WEIGHED.available() and turns == BLOCK)


@pytest.mark.parametrize(
    ("kernel", "name", "turns"), [(WEIGHTED_SUM, "weighted_sum", 33), (SUM_OF_SUMS, "sum_of_sums", 16)]
)
def test_a_processor_without_the_instruction_sums_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel: str, name: str, turns: int
) -> None:
    monkeypatch.setattr(native, "processor", lambda: "plain")
    text = hold_a_sum_against_python(kernel, name, tmp_path, turns)
    assert "@products" not in text and "@weighed" not in text


def test_code_is_kept_for_what_made_it_and_what_it_was_made_for(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = {native.kept(b"kernels"), native.kept(b"others")}
    monkeypatch.setattr("llvmlite.__version__", "0.0")
    paths.add(native.kept(b"kernels"))
    monkeypatch.setattr(native, "processor", lambda: "plain")
    paths.add(native.kept(b"kernels"))
    assert len(paths) == 4


def hold_a_sum_against_python(kernel: str, name: str, folder: Path, turns: int) -> str:
    """Execute a kernel that sums, on words of any size and at the ends of their range; return its IR."""
    path = folder / "sum.py"
    path.write_text(kernel.format(turns=turns) + ENTRY.format(called=name), encoding="utf-8")
    source = gather(str(path), ("entry",))
    text = module_text(source, ("entry",), {}, 1)
    engine = native.load(native.translate(text, folder / "object.o", unrolling=False))
    entry = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 4, ctypes.c_uint32)(
        engine.get_function_address("entry")
    )
    rng = np.random.default_rng(turns)
    n = 2 * turns + 1
    for words in (rng.choice([0, 1, 0x7FFF, 0x8000, 0xFFFF], n), np.full(n, 0xFFFF), rng.integers(0, 65536, n)):
        given = [np.array(each) for each in (words.astype(np.uint16), np.int32([7]), np.uint8([0]), np.int32([-5]))]
        run = [Words(kind, each.tolist()) for kind, each in zip("HiBi", given, strict=True)]
        entry(*(each.ctypes.data for each in given), 1)
        reference(source).entry(*run)
        assert [each.tolist() for each in given] == [list(each) for each in run]
    return text


# d[0] and w[0] are where a run is, w[4:] is a table, b is the same for all.
IN_STEP = """
def steps(w: ptr16, d: ptr32, b: ptr8, n: int) -> int:
    at = d[0] & 3
    if d[0] > 2:
        at = 0
        n += w[0]
    for i in range(3):
        k = 5 + (((w[1 + i] ^ 0x8000) - 0x8000) >> 15)
        n += (w[k + 1] - w[k]) * (w[1 + i] & 7) + w[k]
    n ^= b[at] + b[7]
    d[0] = at + 1
    w[0] = at + 9
    {further}
    d[1] = n
    return n
"""
TABLE = Table(4, (65535, 7, 40000, 3))


@pytest.mark.parametrize("further", ["n += 1", "d[0] += n & 1", "if n > 0:\n        w[0] = 5", "b[3] = n & 255"])
@pytest.mark.parametrize("together", [True, False])
def test_runs_in_step_and_out_of_step_are_computed_alike(tmp_path: Path, further: str, together: bool) -> None:
    path = tmp_path / "in_step.py"
    path.write_text(IN_STEP.format(further=further) + ENTRY.format(called="steps"), encoding="utf-8")
    known = {("w", 4 + i): word for i, word in enumerate(TABLE.words)} | {("b", i): 3 * i for i in range(WORDS)}
    if together:
        known |= {("d", 0): 2, ("w", 0): 77}
    hold_against_python(
        gather(str(path), ("entry",)),
        16,
        tmp_path / "object.o",
        1,
        known,
        alike=[("d", 0), ("w", 0)],
        tables={"w": TABLE},
        shared={"b": 0},
    )


def test_what_runs_have_in_common_is_taken_from_their_own_words() -> None:
    runs = runs_of(Case("weight_perturbation", (4, 8, 1)), 2)
    assert shared_words(runs.tasks) == {"task": layout.TASK_DATA}
    runs.tasks[1, -1] ^= 1
    assert shared_words(runs.tasks) == {}
    at = int(runs.heads[0, layout.TABLE_AT])
    runs.mems[:, at + 5] ^= 1
    assert tables_of(runs.heads, runs.mems) == {
        "mem": Table(at, tuple(runs.mems[0, at : at + layout.TABLE_WORDS].tolist()))
    }
    runs.mems[1, at + 5] ^= 1
    assert tables_of(runs.heads, runs.mems) == {}


@pytest.mark.slow
@pytest.mark.parametrize("alike", [True, False])
def test_another_table_of_tanh_is_looked_up(alike: bool) -> None:
    case = Case("weight_perturbation", (4, 8, 1))
    runs = runs_of(case, 16)
    at = int(runs.heads[0, layout.TABLE_AT])
    changes = np.random.default_rng(1).integers(0, 1000, (1 if alike else 16, layout.TABLE_WORDS))
    runs.mems[:, at : at + layout.TABLE_WORDS] ^= changes.astype(np.uint16)
    code = compile_lanes(case.rule, runs.heads, runs.mems, runs.tasks, 16)
    rows = (runs.heads, runs.mems, runs.tasks, runs.xs, runs.us)
    given = [aligned(each) for each in (*rows, np.zeros((16, 36), np.int32))]
    code.functions["task_trials"](*addresses(*given), 6, STEPS, 0, 0xFFFF)
    for run in (0, 7, 15):
        head, mem, task = (each[run].tobytes() for each in rows[:3])
        alone = TaskTrials(LocalLearner(case.rule, head, mem, "cpython"), task, STEPS)
        list(alone.run(0, [0] * 6, evaluate=False))
        assert [words[:, run].tobytes() for words in given[:2]] == list(alone.state())


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("inputs", [8, 16])
def test_one_lane_keeps_to_its_weights_where_rows_are_a_word_longer_than_a_vector(rule: str, inputs: int) -> None:
    case = Case(rule, (inputs, inputs, 1))
    runs = runs_of(case, 1)
    head, mem, task = (rows.tobytes() for rows in (runs.heads, runs.mems, runs.tasks))
    alone = TaskTrials(LocalLearner(rule, head, mem, "cpython"), task, STEPS)
    list(alone.run(0, [0] * 6, evaluate=False))
    code = compile_lanes(rule, runs.heads, runs.mems, runs.tasks, 1)
    rows = (runs.heads, runs.mems, runs.tasks, runs.xs, runs.us)
    given = [aligned(each) for each in (*rows, np.zeros((1, 36), np.int32))]
    code.functions["task_trials"](*addresses(*given), 6, STEPS, 0, 1)
    assert [words.tobytes() for words in given[:3]] == [*alone.state(), buffer_bytes(alone.task)]


@pytest.mark.parametrize("inputs", [1, 9, 17, 33])
def test_a_log_has_a_row_for_each_step_and_ends_there(inputs: int) -> None:
    case, trials = Case("weight_perturbation", (inputs, inputs)), 3
    runs, rows, spare = runs_of(case, 1), trials * STEPS, 64
    head, mem, task, x, u = (aligned(each)[:, 0] for each in (runs.heads, runs.mems, runs.tasks, runs.xs, runs.us))
    seen: list[tuple[int, list[int], list[int]]] = []
    alone = TaskTrials(
        LocalLearner(case.rule, head.tobytes(), mem.tobytes(), "cpython"),
        task.tobytes(),
        STEPS,
        lambda _trial, _step, cost, xs, us: seen.append((cost, list(xs), list(us))),
    )
    ended = list(alone.run(0, [0] * trials, evaluate=False))
    sizes = rows * inputs, rows * inputs, rows, trials * 6
    kinds = (np.int16, np.int16, np.int32, np.int32)
    log = [np.full(n + spare, 0x5A5A, kind) for n, kind in zip(sizes, kinds, strict=True)]
    code = compile_one(case.rule, ("task_stretch",), head, task)
    code.functions["task_stretch"](*addresses(head, mem, task, x, u, *log), 1, trials, STEPS, 0, 1)
    assert all((each[n:] == 0x5A5A).all() for each, n in zip(log, sizes, strict=True))
    xs, us, costs, ends = (each[:n] for each, n in zip(log, sizes, strict=True))
    words = (each.reshape(rows, inputs).tolist() for each in (xs, us))
    assert list(zip(costs.tolist(), *words, strict=True)) == seen
    assert ends.reshape(trials, 6)[:, 1].tolist() == [each.summary.total for each in ended]
