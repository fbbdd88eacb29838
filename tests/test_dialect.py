"""Every rule of the kernel dialect refuses a sample, at its line; the whole firmware passes, and runs unchanged."""

import ast
from importlib import resources
from pathlib import Path

import pytest

from subsong_sim import dialect, loader
from subsong_sim.engines import LEARNER_KERNELS, RULES, TASK_KERNELS, learner_kernels
from subsong_sim.errors import EngineError

FINE = """
from subsong_device.layout import COST

LIMIT = 0x3FFFFFFF


def helper(mem: ptr16, at: int, a: int, b: int, c: int) -> int:
    \"\"\"A helper may take more than four.\"\"\"
    return mem[at] + a - b * c


def kernel(head: ptr32, mem: ptr16, bytes_: ptr8, n: int) -> int:
    x = 0
    y = n
    for i in range(0, n, 2):
        x += helper(mem, i, head[COST], 0 - y, LIMIT)
        mem[i] = x & 0xFFFF
        head[i] -= 1
        if x > 31 and y != n or bytes_[i] <= 1:
            y = x << 31
        elif x == 0:
            y = x ^ (y | 5)
        else:
            y = x >> n
    while y >= 8:
        y = y >> 1
    helper(mem, 0, x, y, 1)
    return (x ^ 0x8000) - 0x8000
"""


def found(text: str, called: tuple[str, ...] = ("kernel",)) -> list[dialect.Violation]:
    """Return the violations in a module of kernels."""
    tree = ast.parse(text)
    kernels = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    return dialect.violations(tree, "sample.py", kernels, {"COST", "LIMIT"}, called)


def test_everything_the_dialect_allows_is_allowed() -> None:
    assert found(FINE) == []


# Bodies of `kernel(head: ptr32, mem: ptr16, n: int)`, where x and y have values and `other(head: ptr32, at: int)` is a
# kernel, under the rule that each breaks on its first line.
BODIES = {
    "operator FloorDiv is not in the dialect": ["x = n // 2", "x //= 2"],
    "operator Mod is not in the dialect": ["x = n % 2", "x %= 2"],
    "operator Div is not in the dialect": ["x = n / 2"],
    "operator Pow is not in the dialect": ["x = n ** 2"],
    "operator MatMult is not in the dialect": ["x @= 2"],
    "unary USub: viper's overwrites its operand; write 0 - x": ["x = -n", "mem[0] = x * -1", "mem[-1] = 0"],
    "unary Invert": ["x = ~n"],
    "unary UAdd": ["x = +n"],
    "unary Not": ["x = not n"],
    "shift amounts are 0..31": ["x = n << 32", "x = n >> 99", "x >>= 40"],
    "literals are 0..0x3fffffff": ["x = 0x40000000", "if n > 0x7fffffff: x = 1"],
    "1.0 is not an integer": ["x = 1.0"],
    "True is not an integer": ["x = True"],
    "'a' is not an integer": ["x = 'a'"],
    "None is not an integer": ["x = None"],
    "a comparison is a condition, not a value": ["x = n < 2", "x = n and y", "mem[n < 2] = 1", "x = 1 + (n == 2)"],
    "one comparison of two values at a time": ["if 0 < n < 3: x = 1", "if n is y: x = 1", "if n in y: x = 1"],
    "a condition is a comparison, or comparisons joined by and/or": [
        "if n: x = 1",
        "while n & 1: x = 1",
        "if not n > 1: x = 1",
        "if n > 1 and n: x = 1",
        "while True: x = 1",
    ],
    "one return, at the end": ["return x", "if n > 0: return x"],
    "one target an assignment": ["x = y = 1"],
    "assign to a name or to an element of a buffer": ["x, y = 1, 2", "x.y = 1"],
    "Tuple is not in the dialect": ["x = 1, 2"],
    "Pass is not in the dialect": ["pass", "if n > 0: pass"],
    "Break is not in the dialect": ["for i in range(n): break"],
    "Continue is not in the dialect": ["for i in range(n): continue"],
    "Assert is not in the dialect": ["assert n > 0"],
    "Raise is not in the dialect": ["raise n"],
    "Delete is not in the dialect": ["del x"],
    "Global is not in the dialect": ["global x"],
    "Try is not in the dialect": ["try: x = 1\n  finally: x = 2"],
    "With is not in the dialect": ["with n: x = 1"],
    "Import is not in the dialect": ["import math"],
    "AnnAssign is not in the dialect": ["x: int = 1"],
    "FunctionDef is not in the dialect": ["def inner(): return 1"],
    "Expr is not in the dialect": ["x", "'a second docstring'"],
    "IfExp is not in the dialect": ["x = 1 if n > 0 else 2"],
    "NamedExpr is not in the dialect": ["x = (y := 1)"],
    "Lambda is not in the dialect": ["x = lambda: 1"],
    "List is not in the dialect": ["x = [1]"],
    "Attribute is not in the dialect": ["x = n.real"],
    "JoinedStr is not in the dialect": ["x = f'{n}'"],
    "Slice is not in the dialect": ["x = mem[0:2]"],
    "Starred is not in the dialect": ["x = other(head, *n)"],
    "for iterates over range(...)": ["for i in mem: x = 1", "for i in enumerate(mem): x = 1"],
    "range takes one to three values": ["for i in range(): x = 1", "for i in range(3, stop=3): x = 1"],
    "range's step is a literal, and not 0": ["for i in range(0, 9, n): x = 1", "for i in range(0, 9, 0): x = 1"],
    "for counts in a name": ["for mem[0] in range(3): x = 1"],
    "no call in the index of an augmented assignment": ["mem[other(head, 0)] += 1"],
    "for has no else": ["for i in range(3): x = 1\n  else: x = 2"],
    "while has no else": ["while x < 3: x = 4\n  else: x = 2"],
    "z is no parameter, local or constant": ["x = z", "z += 1"],
    "mem is a buffer, not a value": ["x = mem", "x = mem + 1"],
    "head is a buffer, not a value": ["x = other(head, head)"],
    "mem is a buffer, a constant or a kernel: it is not assigned to": ["mem = 1", "mem += 1"],
    "LIMIT is a buffer, a constant or a kernel": ["LIMIT = 1"],
    "other is a buffer, a constant or a kernel": ["for other in range(3): x = 1"],
    "only buffer parameters are subscripted": ["x = y[0]", "y[0] = 1", "x = other(head, 0)[0]"],
    "only kernels are called": ["x = int(n < 1)", "x = min(n, 1)", "head.append(1)"],
    "no keyword arguments": ["x = other(head, at=1)"],
    "other takes 2 arguments, here are 1": ["x = other(head)"],
    "other takes 2 arguments, here are 3": ["x = other(head, 1, 2)"],
    "other takes a whole ptr32 buffer for head": ["x = other(mem, 1)", "x = other(n, 1)", "x = other(head[0], 1)"],
}


@pytest.mark.parametrize(("rule", "body"), [(rule, body) for rule, bodies in BODIES.items() for body in bodies])
def test_a_broken_rule_is_named_with_its_line(rule: str, body: str) -> None:
    text = f"def kernel(head: ptr32, mem: ptr16, n: int) -> int:\n  x = 0; y = 0\n  {body}\n  return x\n"
    broken = found(text + "def other(head: ptr32, at: int) -> int:\n  return head[at]\n")
    assert any(v.line == 3 and v.rule.startswith(rule) for v in broken), broken
    assert all(str(v) == f"sample.py:{v.line}: {v.rule}" for v in broken)
    assert {v.line for v in broken} <= {3, 3 + body.count("\n")}, broken


NO_VALUE = "z has no value on some way here"


@pytest.mark.parametrize(
    "body",
    [
        "if n > 0:\n    z = 1",
        "if n > 0:\n    z = 1\n  else:\n    x = 1",
        "for i in range(n):\n    z = i",
        "for z in range(n):\n    x = 1",
        "while x < n:\n    z = 1\n    x = z",
        "if n > 0:\n    z = 1\n    x = z\n  elif n < 0:\n    z = 2",
    ],
)
def test_a_name_has_a_value_on_every_way_to_its_use(body: str) -> None:
    text = f"def kernel(n: int) -> int:\n  x = 0\n  {body}\n  return z\n"
    lines = text.count("\n")
    assert [(v.line, v.rule.startswith(NO_VALUE)) for v in found(text)] == [(lines, True)]


@pytest.mark.parametrize(
    "body",
    [
        "if n > 0:\n    z = 1\n  else:\n    z = 2",
        "if n > 0:\n    z = 1\n  elif n < 0:\n    z = 3\n  else:\n    z = 2",
        "z = 0\n  for i in range(n):\n    z += i",
        "z = 0\n  while z < n:\n    y = z + 1\n    z = y",
    ],
)
def test_a_value_from_every_branch_is_a_value(body: str) -> None:
    assert found(f"def kernel(n: int) -> int:\n  {body}\n  return z\n") == []


# The rule, the line it is broken on, the module.
MODULES = [
    ("no decorators", 2, "@njit\ndef kernel(n: int) -> int:\n  return n\n"),
    ("positional parameters without defaults only", 1, "def kernel(n: int = 1) -> int:\n  return n\n"),
    ("positional parameters without", 1, "def kernel(*n: int) -> int:\n  return 1\n"),
    ("positional parameters", 1, "def kernel(*, n: int) -> int:\n  return 1\n"),
    ("positional", 1, "def kernel(n: int, /) -> int:\n  return n\n"),
    (
        "a kernel that the board calls takes at most four parameters",
        1,
        "def kernel(a: int, b: int, c: int, d: int, e: int) -> int:\n  return a\n",
    ),
    ("parameter n is annotated ptr8, ptr16, ptr32 or int", 1, "def kernel(n) -> int:\n  return n\n"),
    ("parameter n is annotated", 1, "def kernel(n: float) -> int:\n  return n\n"),
    ("parameter n is", 1, "def kernel(n: 'int') -> int:\n  return n\n"),
    ("a kernel returns int", 1, "def kernel(n: int):\n  return n\n"),
    ("a kernel returns int", 1, "def kernel(n: int) -> bool:\n  return n\n"),
    ("a kernel ends with one return of a value", 1, "def kernel(n: int) -> int:\n  n = 1\n"),
    ("a kernel ends with one return", 1, "def kernel(n: int) -> int:\n  return\n"),
    ("a kernel ends", 1, 'def kernel(n: int) -> int:\n  "Nothing else."\n'),
    ("kernel calls itself", 1, "def kernel(n: int) -> int:\n  return kernel(n)\n"),
    (
        "helper calls itself, directly or through others",
        3,
        "def kernel(n: int) -> int:\n  return helper(n)\ndef helper(n: int) -> int:\n  return kernel(n)\n",
    ),
    ("a module's constant is a plain integer literal", 1, "A = -1\n"),
    ("a module's constant is", 1, "A = 1 + 1\n"),
    ("a module's constant", 1, "A = True\n"),
    ("literals are 0..0x3fffffff", 1, "A = 0x7FFFFFFF\n"),
    ("a kernel imports kernels and constants only", 1, "from math import sin\n"),
    ("Import outside a kernel", 1, "import array\n"),
    ("ClassDef outside a kernel", 2, "A = 1\nclass B:\n  pass\n"),
    ("Expr outside a kernel", 1, "print(1)\n"),
    ("AsyncFunctionDef outside a kernel", 1, "async def kernel(n: int) -> int:\n  return n\n"),
]


@pytest.mark.parametrize(("rule", "line", "text"), MODULES)
def test_a_broken_rule_of_the_module_is_named_with_its_line(rule: str, line: int, text: str) -> None:
    assert any(v.rule.startswith(rule) and v.line == line for v in found(text)), found(text)


def test_violations_come_in_order_of_lines_and_all_at_once() -> None:
    text = "def kernel(n: int) -> int:\n  x = -n\n  y = n // 2\n  return x % y\n"
    with pytest.raises(EngineError) as error:
        dialect.require(found(text))
    lines = str(error.value).splitlines()
    assert lines[0] == "not the kernel dialect (see docs/arithmetic.md):"
    assert [line.split(": ")[0] for line in lines[1:]] == ["  sample.py:2", "  sample.py:3", "  sample.py:4"]
    dialect.require([])


# ------------------------------------------------------------------------------------------------- the firmware

FOLDER = Path(str(resources.files(loader.PACKAGE)))
KERNELS = ["layout", *(f"kernels.{path.stem}" for path in (FOLDER / "kernels").glob("*.py") if path.stem != "__init__")]


def test_the_whole_firmware_passes() -> None:
    for rule in RULES:
        gathered = loader.gather(f"{loader.PACKAGE}.learners.{rule}", LEARNER_KERNELS)
        assert set(LEARNER_KERNELS) <= set(gathered.functions)
    assert set(TASK_KERNELS) <= set(loader.gather(f"{loader.PACKAGE}.tasks", TASK_KERNELS).functions)
    for module in KERNELS:
        loader.gather(f"{loader.PACKAGE}.{module}", ())


def test_no_learner_is_left_out() -> None:
    assert {p.stem for p in (FOLDER / "learners").glob("*.py")} - {"__init__"} == set(RULES)


def test_the_joined_module_is_the_firmwares_text() -> None:
    """For CPython nothing changes but the annotations; a traceback's lines can be read."""
    module = learner_kernels("weight_perturbation", "cpython")
    assert module.__file__ is not None
    joined = {n.name: n for n in ast.parse(Path(module.__file__).read_text()).body if isinstance(n, ast.FunctionDef)}
    gathered = loader.gather(f"{loader.PACKAGE}.learners.weight_perturbation", LEARNER_KERNELS)
    assert set(joined) == set(gathered.functions)
    for name, function in gathered.functions.items():
        assert ast.unparse(joined[name].body) == ast.unparse(function.body)
