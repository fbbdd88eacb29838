"""Clipping, as kernels write it: recognised, it takes a comparison less for each side."""

import ast
from typing import NamedTuple


class Clip(NamedTuple):
    """One of two forms, in which `low` and `high` are numbers or names.

    `if v > high: v = high; n += 1`, `elif v < low: v = low; n += 1`; counted or not.
    `if ((v + 0x8000) >> 16) != 0: n += 1; v = 0x7FFF ^ (v >> 31)`; of any width.
    """

    name: str
    low: ast.expr
    high: ast.expr
    counter: str | None


def clip_of(node: ast.If) -> Clip | None:
    """Return what a statement clips; None where it does anything else."""
    match node.orelse:
        case []:
            return _by_high_bits(node)
        case [ast.If(orelse=[]) as below]:
            above, under = _side(node, ast.Gt), _side(below, ast.Lt)
            if above is not None and under is not None and (above[0], above[2]) == (under[0], under[2]):
                return Clip(above[0], under[1], above[1], above[2])
    return None


def _side(node: ast.If, beyond: type[ast.cmpop]) -> tuple[str, ast.expr, str | None] | None:
    """Return the name that one side clips, its limit, and what counts it."""
    match node:
        case ast.If(
            test=ast.Compare(left=ast.Name(id=name), ops=[op], comparators=[limit]),
            body=[ast.Assign(targets=[ast.Name(id=same)], value=kept), *rest],
        ) if name == same and isinstance(op, beyond) and ast.dump(limit) == ast.dump(kept) and _is_plain(limit):
            match rest:
                case []:
                    return name, limit, None
                case [ast.AugAssign(target=ast.Name(id=counter), op=ast.Add(), value=ast.Constant(value=1))]:
                    if counter not in {name, *(n.id for n in ast.walk(limit) if isinstance(n, ast.Name))}:
                        return name, limit, counter
    return None


def _by_high_bits(node: ast.If) -> Clip | None:
    """Return what the second form clips."""
    match node:
        case ast.If(
            test=ast.Compare(
                left=ast.BinOp(
                    left=ast.BinOp(left=ast.Name(id=name), op=ast.Add(), right=ast.Constant(value=int(half))),
                    op=ast.RShift(),
                    right=ast.Constant(value=int(bits)),
                ),
                ops=[ast.NotEq()],
                comparators=[ast.Constant(value=0)],
            ),
            body=[
                ast.AugAssign(target=ast.Name(id=counter), op=ast.Add(), value=ast.Constant(value=1)),
                ast.Assign(
                    targets=[ast.Name(id=clipped)],
                    value=ast.BinOp(
                        left=ast.Constant(value=int(high)) as most,
                        op=ast.BitXor(),
                        right=ast.BinOp(left=ast.Name(id=of), op=ast.RShift(), right=ast.Constant(value=31)),
                    ),
                ),
            ],
        ) if name == clipped == of != counter and 2 * half == 1 << bits <= 1 << 31 and high == half - 1:
            return Clip(name, ast.Constant(-half), most, counter)
    return None


def _is_plain(limit: ast.expr) -> bool:
    """Return whether a limit may be computed where the kernel would not ask for it."""
    return not any(isinstance(n, ast.Subscript | ast.Call) for n in ast.walk(limit))
