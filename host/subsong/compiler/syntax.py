"""What the compiler reads off a kernel's syntax tree before it writes any IR."""

import ast

from subsong_sim.loader import Source


def parameters(function: ast.FunctionDef) -> tuple[tuple[str, str], ...]:
    """Return the names and kinds (ptr8, ptr16, ptr32, int) of a kernel's parameters."""
    return tuple((p.arg, p.annotation.id) for p in function.args.args if isinstance(p.annotation, ast.Name))


def shifted(loop: ast.For) -> list[str]:
    """Return the names that a loop shifts right by its counter and changes neither: these are shifted by 1 a turn.

    LLVM knows no such recurrence. Out of a word of signs, a bit then costs a Cortex-M0+ two instructions, not four.
    """
    assert isinstance(loop.target, ast.Name)
    nodes = [node for statement in loop.body for node in ast.walk(statement)]
    stored = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    found = {
        node.left.id
        for node in nodes
        if isinstance(node, ast.BinOp)
        and isinstance(node.op, ast.RShift)
        and isinstance(node.left, ast.Name)
        and isinstance(node.right, ast.Name)
        and node.right.id == loop.target.id
    }
    return sorted(found - stored - {loop.target.id}) if loop.target.id not in stored else []


def sharing(source: Source) -> set[str]:
    """Return the kernels two of whose buffers may be one: a call hands it over twice, to them or to a caller of theirs.

    The buffers of all others are distinct objects, as a board's caller warrants: a store to one leaves the rest alone.
    """
    found: set[str] = set()
    before = -1
    while len(found) > before:
        before = len(found)
        for caller, function in source.functions.items():
            for node in ast.walk(function):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in source.functions:
                    pairs = zip(parameters(source.functions[node.func.id]), node.args, strict=True)
                    names = [a.id for (_, kind), a in pairs if kind != "int" and isinstance(a, ast.Name)]
                    if caller in found or len(set(names)) < len(names):
                        found.add(node.func.id)
    return found
