"""Kernels with one thing wrong: an operator, a number or a line of their source, or a bit of their code."""

import ast
import copy
import types
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

from unicorn import arm_const, riscv_const

from subsong.compiler import Compiled
from subsong.known_answers import CASES, answers_of
from subsong_device import answers
from subsong_device.frames import RULES
from subsong_sim.loader import Source, _Int32
from unicorn_engine import Machine

_OPERATORS: dict[type[ast.operator], tuple[type[ast.operator], ...]] = {
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Add,),
    ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,),
    ast.BitXor: (ast.BitOr,),
    ast.LShift: (ast.RShift,),
    ast.RShift: (ast.LShift,),
}
_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
}


def _changes(function: ast.FunctionDef) -> Iterator[tuple[ast.AST, str, Any, str]]:
    """Yield (node, field, other value, what) for every change of a function."""
    for node in ast.walk(function):
        for name in ("body", "orelse"):
            block = getattr(node, name, None)
            if isinstance(block, list):
                yield from ((node, name, *change) for change in _without(block, may_be_empty=name == "orelse"))
        yield from ((node, *change) for change in _other(node) if not _is_result(function, node))


def _without(block: list[ast.stmt], may_be_empty: bool) -> Iterator[tuple[list[ast.stmt], str]]:
    """Yield a block without each of its statements."""
    for at, statement in enumerate(block):
        text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        rest = [*block[:at], *block[at + 1 :]]
        if not text and not isinstance(statement, ast.Return) and (rest or may_be_empty):
            yield rest, f"without {ast.unparse(statement).splitlines()[0]}"


def _other(node: ast.AST) -> Iterator[tuple[str, Any, str]]:
    """Yield (field, other value, what) for every operator and number that a node has."""
    if isinstance(node, (ast.BinOp, ast.AugAssign)):
        for operator in _OPERATORS[type(node.op)]:
            yield "op", operator(), f"{type(node.op).__name__} to {operator.__name__}"
    elif isinstance(node, ast.Compare):
        for comparison in _COMPARISONS[type(node.ops[0])]:
            yield "ops", [comparison()], f"{type(node.ops[0]).__name__} to {comparison.__name__}"
    elif isinstance(node, ast.BoolOp):
        yield "op", ast.Or() if isinstance(node.op, ast.And) else ast.And(), "and/or"
    elif isinstance(node, ast.Constant) and type(node.value) is int:
        for value in sorted({node.value + 1, node.value - 1, node.value ^ 0x100} - {-1}):
            yield "value", value, f"{node.value} to {value}"


def _is_result(function: ast.FunctionDef, node: ast.AST) -> bool:
    """Return whether a number is what a kernel returns, which nobody reads."""
    return any(isinstance(each, ast.Return) and each.value is node for each in function.body)


@cache
def cases_of(rule: int) -> bytes:
    """Return the file with the cases of one rule, or of the tasks, only."""
    names = {None: answers.TASKS} | {name: n for n, name in enumerate(RULES)}
    return answers_of(tuple(case for case in CASES if names[getattr(case, "rule", None)] == rule))


def int32(value: int) -> int:
    """Wrap as a board's registers do."""
    return ((value + 0x80000000) & 0xFFFFFFFF) - 0x80000000


def uint32(value: int) -> int:
    """Return an index; one below 0 is out of every buffer."""
    if value < 0:
        raise IndexError(value)
    return value


def reached(source: Source, called: tuple[str, ...]) -> set[str]:
    """Return the functions that the called ones call, themselves included."""
    found: set[str] = set()
    left = list(called)
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            names = (node.id for node in ast.walk(source.functions[name]) if isinstance(node, ast.Name))
            left += [each for each in names if each in source.functions]
    return found


def mutants(source: Source, called: tuple[str, ...], every: int) -> Iterator[tuple[str, types.SimpleNamespace]]:
    """Yield what is wrong, and a module of kernels in int32 arithmetic with just that wrong.

    Args:
        source: the kernels.
        called: those that a board calls.
        every: of changed operators and numbers, one in so many; of lines left out, all.
    """
    names = reached(source, called)
    tree = [copy.deepcopy(function) for name, function in source.functions.items() if name in names]
    for function in tree:
        for each in function.args.args:
            each.annotation = None
        function.returns = None
    sound = {function.name: _compiled(function) for function in tree}
    number = 0
    for function in tree:
        for node, field, value, what in list(_changes(function)):
            number += 1
            if number % every and not what.startswith("without"):
                continue
            before = getattr(node, field)
            setattr(node, field, value)
            scope: dict[str, Any] = {"int32": int32, "uint32": uint32, **source.constants}
            for name, code in sound.items():
                exec(code if name != function.name else _compiled(function), scope)
            setattr(node, field, before)
            yield f"{function.name}:{getattr(node, 'lineno', 0)}: {what}", types.SimpleNamespace(**scope)


def _compiled(function: ast.FunctionDef) -> types.CodeType:
    wrapped = copy.deepcopy(function)
    wrapped.body = [_Int32().visit(statement) for statement in wrapped.body]
    return compile(ast.fix_missing_locations(ast.Module([wrapped], [])), "mutant", "exec")


class Bounded:
    """A processor that gives up on a kernel that does not return."""

    INSTRUCTIONS = 300_000

    def __init__(self, machine: Machine) -> None:
        self.uc = machine.uc
        self.pc = arm_const.UC_ARM_REG_PC if machine.thumb else riscv_const.UC_RISCV_REG_PC

    def __getattr__(self, name: str) -> Any:
        return getattr(self.uc, name)

    def emu_start(self, begin: int, until: int) -> None:
        self.uc.emu_start(begin, until, count=self.INSTRUCTIONS)
        assert self.uc.reg_read(self.pc) == until, "it runs on and on"


def with_a_bit_flipped(compiled: Compiled, at: int) -> tuple[str, Compiled]:
    """Return a module's code with its bit number `at` flipped, and where that is."""
    flipped = list(compiled.kernels)
    for number, kernel in enumerate(flipped):
        if at < 8 * len(kernel.code):
            code = bytearray(kernel.code)
            code[at >> 3] ^= 1 << (at & 7)
            flipped[number] = replace(kernel, code=bytes(code))
            return f"{kernel.name}+{at >> 3}, bit {at & 7}", replace(compiled, kernels=tuple(flipped))
        at -= 8 * len(kernel.code)
    raise IndexError(at)


def right(machine: Machine, data: bytes) -> bool:
    """Return whether a processor gives every answer of a file with one rule's cases."""
    played = answers.play(data, lambda _rule: (machine, machine))
    return all(got == expected for _, _, got, expected in played)
