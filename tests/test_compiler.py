"""The kernel compiler: every operator and statement as CPython computes it, on all targets, at the ends of int32."""

import random
from array import array
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from random_kernels import reference
from subsong.compiler import TARGETS, Compiled, Kernel, compile_kernels
from subsong.compiler.named import outermost
from subsong_sim.loader import gather
from unicorn_engine import Machine

LOW, HIGH = -(2**31), 2**31 - 1
EDGES = (LOW, LOW + 1, -65537, -65536, -32769, -32768, -256, -2, -1, 0, 1, 2, 31, 255, 32767, 32768, 65535, 65536, HIGH)
Compile = Callable[[str], list[Machine]]
Both = Callable[[str], tuple[Any, list[Machine]]]


def wrap(value: int) -> int:
    return ((value - LOW) & 0xFFFFFFFF) + LOW


@pytest.fixture
def compiled(tmp_path: Path) -> Compile:
    """Return compiled(source): the functions of a file of kernels, on a processor of each target."""

    def build(source: str) -> list[Machine]:
        path = tmp_path / "own_kernels.py"
        path.write_text(source, encoding="utf-8")
        names = outermost(str(path))
        return [Machine(compile_kernels(str(path), names, target)) for target in TARGETS]

    return build


@pytest.fixture
def both(tmp_path: Path, compiled: Compile) -> Both:
    """Return both(source): the kernels under CPython, values wrapped to int32, and on a processor of each target."""

    def build(source: str) -> tuple[Any, list[Machine]]:
        machines = compiled(source)
        return reference(gather(str(tmp_path / "own_kernels.py"), ())), machines

    return build


def operands() -> list[tuple[int, int]]:
    rng = random.Random(1)
    drawn = [(rng.randint(LOW, HIGH), rng.randint(LOW, HIGH)) for _ in range(60)]
    return [*product(EDGES, EDGES), *drawn]


# ------------------------------------------------------------------------------------------------- operators

OPERATORS = {"add": "+", "sub": "-", "mul": "*", "and_": "&", "or_": "|", "xor": "^"}


def test_arithmetic_wraps_at_32_bits(both: Both) -> None:
    source = "".join(f"def {n}(a: int, b: int) -> int:\n    return a {o} b\n\n\n" for n, o in OPERATORS.items())
    python, machines = both(source)
    for name, operator in OPERATORS.items():
        for a, b in operands():
            expected = wrap(getattr(python, name)(a, b))
            for machine in machines:
                assert getattr(machine, name)(a, b) == expected, f"{machine.target}: {a} {operator} {b}"


def test_shifts_floor_and_wrap_for_every_amount(both: Both) -> None:
    shift = "def {}(a: int, n: int) -> int:\n    return a {} n\n\n\n"
    python, machines = both(shift.format("left", "<<") + shift.format("right", ">>"))
    for name, a, n in product(("left", "right"), EDGES, range(32)):
        expected = wrap(getattr(python, name)(a, n))
        for machine in machines:
            assert getattr(machine, name)(a, n) == expected, f"{machine.target}: {name} {a} by {n}"


COMPARISONS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}


def test_comparisons_are_signed(both: Both) -> None:
    source = "".join(
        f"def {n}(a: int, b: int) -> int:\n    r = 0\n    if a {o} b:\n        r = 1\n    return r\n\n\n"
        for n, o in COMPARISONS.items()
    )
    python, machines = both(source)
    for name, comparison in COMPARISONS.items():
        for a, b in operands():
            expected = getattr(python, name)(a, b)
            for machine in machines:
                assert getattr(machine, name)(a, b) == expected, f"{machine.target}: {a} {comparison} {b}"


def test_literals_of_every_size_and_constants_are_themselves(compiled: Compile) -> None:
    literals = (0, 1, 255, 256, 4095, 4096, 65535, 65536, 0x12345678, 0x3FFFFFFF)
    source = "LIMIT = 0x2345678\n\n\ndef limit() -> int:\n    return 0 - LIMIT\n"
    source += "".join(f"\n\ndef literal_{n}() -> int:\n    return {n}\n" for n in literals)
    for machine in compiled(source):
        assert machine.limit() == -0x2345678
        for n in literals:
            assert getattr(machine, f"literal_{n}")() == n


# ------------------------------------------------------------------------------------------------- memory


def test_loads_are_zero_extended_and_stores_truncate(compiled: Compile) -> None:
    source = """
def copy(a: ptr8, b: ptr16, c: ptr32, at: int) -> int:
    b[at] = a[at]
    c[at] = b[at + 1]
    a[at + 1] = c[at + 1]
    b[at + 2] = c[at + 2]
    return (b[at + 1] ^ 0x8000) - 0x8000
"""
    for machine in compiled(source):
        a, b = bytearray([7, 255, 9, 8]), array("H", [1, 2, 0xFFFE, 4, 5])
        c = array("i", [1, 2, -3, -70000, 5])
        assert machine.copy(a, b, c, 1) == -2, machine.target
        assert list(a) == [7, 255, 0xFD, 8]
        assert list(b) == [1, 255, 0xFFFE, -70000 & 0xFFFF, 5]
        assert list(c) == [1, 0xFFFE, -3, -70000, 5]


def test_a_store_is_seen_by_the_next_load(compiled: Compile) -> None:
    source = """
def shift(b: ptr16, n: int) -> int:
    for i in range(n):
        b[i + 1] = b[i] + 1
    b[0] += b[n]
    return b[0]
"""
    for machine in compiled(source):
        b = array("H", [65534, 0, 0, 0])
        assert machine.shift(b, 3) == 65535
        assert list(b) == [65535, 65535, 0, 1]


@pytest.mark.parametrize(("target", "at"), [*product(TARGETS, (4, -1))])
def test_an_access_outside_a_buffer_is_noticed(tmp_path: Path, target: str, at: int) -> None:
    """The engine's own control: buffers lie at an end of their memory, now the lower, now the upper."""
    path = tmp_path / "outside.py"
    path.write_text("def outside(b: ptr16, i: int) -> int:\n    b[i] = 1\n    return b[i]\n", encoding="utf-8")
    machine = Machine(compile_kernels(str(path), ("outside",), target))
    seen = 0
    for _ in range(2):
        try:
            machine.outside(array("H", [0] * 4), at)
        except AssertionError as e:
            seen += "outside" in str(e)
    assert seen == 1


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("armv6m", (0x2400, 0x4770)),  # movs r4, #0
        ("armv7em", (0xB082, 0x4770)),  # sub sp, #8
        ("rv32imc", (0x4401, 0x8082)),  # li s0, 0
    ],
)
def test_what_a_callers_registers_lose_is_noticed(target: str, words: tuple[int, int]) -> None:
    """The engine's own control."""
    code = b"".join(word.to_bytes(2, "little") for word in words)
    machine = Machine(Compiled("", target, (Kernel("broken", (), code),), ""))
    with pytest.raises(AssertionError, match=f"{target} broken: lost its caller's registers or stack"):
        machine.broken()


# ------------------------------------------------------------------------------------------------- statements

RANGES = """
def ends(n: int, start: int, stop: int) -> int:
    k = 77
    turns = 0
    for k in range(start, stop):
        turns += 1
        if turns >= n:
            # What the body does to the variable, and to what the bounds were, changes no turn.
            k = 1000
            stop = 0 - 5
            turns += 100000
    return turns * 16 + (k & 15)


def steps(start: int, stop: int) -> int:
    turns = 0
    for k in range(start, stop, 3):
        turns = turns * 3 + (k & 7)
    return turns


def leaps(start: int, stop: int) -> int:
    turns = 0
    for _k in range(start, stop, 0x3fffffff):
        turns += 1
    return turns


def nested(n: int, m: int) -> int:
    s = 0
    for i in range(n):
        for j in range(i, m, 2):
            s = s * 5 + i + j
    return s
"""


def test_ranges_are_pythons(both: Both) -> None:
    python, machines = both(RANGES)
    near = [(0, 0), (0, 1), (1, 0), (-3, 4), (LOW, LOW + 5), (HIGH - 7, HIGH), (HIGH, LOW), (HIGH, HIGH), (5, 5)]
    wide = [(LOW, HIGH), (-1, HIGH), (0, HIGH), (LOW, 0), (LOW + 1, HIGH - 1), *near]
    for machine in machines:
        for start, stop in near:
            for n in (1, 3, 100):
                assert machine.ends(n, start, stop) == python.ends(n, start, stop), (machine.target, n, start, stop)
            assert machine.steps(start, stop) == python.steps(start, stop), (machine.target, start, stop)
        for start, stop in wide:
            assert machine.leaps(start, stop) == python.leaps(start, stop), (machine.target, start, stop)
        for n, m in product(range(-1, 4), range(-1, 6)):
            assert machine.nested(n, m) == wrap(python.nested(n, m)), (machine.target, n, m)


ORDER = """
def note(log: ptr16, what: int) -> int:
    log[0] += 1
    log[log[0]] = what
    return what


def order(log: ptr16, a: int) -> int:
    x = note(log, 1) + note(log, 2) * note(log, 3)
    log[8 + note(log, 4)] = note(log, 5)
    log[9] += note(log, 6) * note(log, 7)
    if note(log, a) == 3 and note(log, 8) == 8 or note(log, 9) == 0 and note(log, 10) == 0:
        x += 100
    elif note(log, 11) != 11 or note(log, a) > 3:
        x += 200
    else:
        x += 300
    while note(log, 12) > 12 + x:
        x += 1
    for i in range(note(log, 13) - 12, note(log, 14) - 11):
        x += note(log, 15 + i)
    return x - note(log, 20)


def old_value_first(log: ptr16) -> int:
    log[0] = 5
    x = log[0]
    x += note(log, 2)
    log[0] += note(log, 3)
    return x * 100 + log[0]
"""


@pytest.mark.slow
@pytest.mark.parametrize("a", [2, 3, 4])
def test_values_are_computed_in_pythons_order(both: Both, a: int) -> None:
    python, machines = both(ORDER)
    for name, arguments in (("order", (a,)), ("old_value_first", ())):
        log = array("H", [0] * 40)
        expected = getattr(python, name)(log, *arguments), list(log)
        for machine in machines:
            log = array("H", [0] * 40)
            assert (getattr(machine, name)(log, *arguments), list(log)) == expected, machine.target


def test_callees_have_names_of_their_own_and_any_number_of_parameters(both: Both) -> None:
    source = """
def seven(w: ptr16, a: int, b: int, c: int, d: int, e: int, f: int) -> int:
    x = a - b * c
    a = d ^ e
    w[0] += f
    return x * a + w[0]


def outer(v: ptr16, w: ptr16, x: int) -> int:
    a = x + 1
    y = seven(w, x, a, 3, x << 2, 5, 6) + seven(v, a, x, 4, a << 1, 6, 7)
    return y + a * 1000 + x
"""
    python, machines = both(source)
    for x in (-3, 0, 5, 1000):
        v, w = array("H", [1]), array("H", [2])
        expected = python.outer(v, w, x), list(v), list(w)
        for machine in machines:
            v, w = array("H", [1]), array("H", [2])
            assert (machine.outer(v, w, x), list(v), list(w)) == expected, machine.target


def test_one_buffer_may_be_handed_over_twice(both: Both) -> None:
    """What is stored through one name is seen through the other, also two calls further down."""
    source = """
def last(a: ptr16, b: ptr16, n: int) -> int:
    s = 0
    for i in range(n):
        s += b[i]
        a[i + 1] = s & 0xFFFF
        s = s * 3 + b[i + 1]
    return s


def middle(a: ptr16, b: ptr16, n: int) -> int:
    return last(b, a, n) + last(a, b, n) * 7


def outer(a: ptr16, b: ptr16, n: int) -> int:
    return middle(a, a, n) + middle(a, b, n) * 5 + last(b, a, n)
"""
    python, machines = both(source)
    words = [3, 1, 4, 1, 5, 9, 2, 6], [2, 7, 1, 8, 2, 8, 1, 8]
    for n in range(7):
        a, b = (array("H", each) for each in words)
        expected = python.outer(a, b, n), list(a), list(b)
        for machine in machines:
            a, b = (array("H", each) for each in words)
            assert (machine.outer(a, b, n), list(a), list(b)) == expected, (machine.target, n)


def test_shifts_by_a_loops_counter_are_those_written(both: Both) -> None:
    """The compiler turns `bits >> k` into one place a turn, where neither name changes in the loop."""
    source = """
SIGNS = 0x2c35a


def bits(n: int, m: int) -> int:
    s = 0
    k = 3
    for k in range(n):
        s = s * 2 + ((m >> k) & 1)
        if s > 1000000:
            s -= m >> k
        for i in range(k):
            s ^= (m >> i) + (k >> i) + (SIGNS >> i)
        for i in range(2):
            k = k + i
            s += m >> k
    for k in range(5, n):
        s += m >> k
    for k in range(0, n, 2):
        s += m >> k
        m -= 1
    return s + (m >> k)
"""
    python, machines = both(source)
    for n, m in product((0, 1, 2, 9, 29), (0, 1, -1, 0x1234567, -0x7654321)):
        for machine in machines:
            assert machine.bits(n, m) == wrap(python.bits(n, m)), (machine.target, n, m)
