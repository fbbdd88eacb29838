"""What a kernel computes with while it is written as vector code: numbers known now, or registers of LLVM's."""

import ast
from collections.abc import Callable
from operator import add, and_, lshift, mul, or_, rshift, sub, xor
from typing import NamedTuple


class Register(NamedTuple):
    """An i32 of LLVM's: one for all runs, or (`varying`) one for each. A condition is an i1 of either kind."""

    name: str
    varying: bool


Value = int | Register
Condition = bool | Register

ARITHMETIC: dict[type[ast.operator], tuple[str, Callable[[int, int], int]]] = {
    ast.Add: ("add", add),
    ast.Sub: ("sub", sub),
    ast.Mult: ("mul", mul),
    ast.BitAnd: ("and", and_),
    ast.BitOr: ("or", or_),
    ast.BitXor: ("xor", xor),
    ast.LShift: ("shl", lshift),
    ast.RShift: ("ashr", rshift),
}
COMPARISONS: dict[type[ast.cmpop], tuple[str, Callable[[int, int], bool]]] = {
    ast.Eq: ("eq", lambda a, b: a == b),
    ast.NotEq: ("ne", lambda a, b: a != b),
    ast.Lt: ("slt", lambda a, b: a < b),
    ast.LtE: ("sle", lambda a, b: a <= b),
    ast.Gt: ("sgt", lambda a, b: a > b),
    ast.GtE: ("sge", lambda a, b: a >= b),
}


def int32(value: int) -> int:
    """Return value modulo 2**32 as a signed 32-bit number: what a board's register keeps of it."""
    return ((value + 0x80000000) & 0xFFFFFFFF) - 0x80000000
