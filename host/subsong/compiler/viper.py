"""The viper tier: MicroPython source of one module, a @micropython.viper function for each kernel that a board calls.

Generated from the kernels' syntax tree, so that no shipped emitter's fault is met:

    calls box their arguments                          kernels are inlined (inline.py); nothing is called but range,
                                                       and what would make a loop too long
    names of constants are looked up while running     literals
    1.26 and 1.27 shift an index that is a bare local  `w[i + 0]`: the index is computed in a register of its own
      in place
    before 1.29, -x and ~x overwrite x                 never there; the dialect writes `0 - x`, and a folded literal
                                                       is never negative
    a long jump with a condition is refused            a long `if` becomes several with the same flag; a long loop is
                                                       `while 1`, left by a short `if`
    a longer loop is refused                           a function in it becomes one of its own, and is called: the one
                                                       without which the loop is shortest
    a comparison is no int                             a condition alone; one with zero is left out: `while n:`

32-bit boards only: on the 64-bit unix port viper's words are 64 bits and nothing wraps.
"""

import ast
import sys
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from subsong.compiler.inline import __file__ as inline_file
from subsong.compiler.inline import assign, inline, load, stored_names, walk
from subsong.compiler.kept import kept

if TYPE_CHECKING:
    from subsong_sim.loader import Source

# A jump reaches 2 KB on Cortex-M0, one with a condition on Xtensa, too; firmware before 1.27 refuses what it cannot
# reach ("native method too big", "bccz out of range"). On them a node of the tree is 3.5 and 4 bytes.
LONGEST_BLOCK = 400
LONGEST_LOOP = 490  # before faults are avoided, which makes it a fifth longer at most
REGISTERS = 3  # locals that the emitter keeps in registers, parameters first (source text; a .mpy file has one fewer)


def viper_module(module: str, called: tuple[str, ...]) -> str:
    """Return the MicroPython source of a kernel module for the viper tier; the same source gives the same text.

    Args:
        module: such as "subsong_device.learners.weight_perturbation", or the path of a file of kernels, ending in .py.
        called: the kernels in it that a board calls.

    Raises:
        EngineError: a file is missing or breaks the dialect.
    """
    from subsong_sim.loader import gather

    source = gather(module, called)
    origin = Path(module).name if module.endswith(".py") else module
    what = {
        "origin": origin,
        "called": called,
        "constants": source.constants,
        "functions": {name: ast.dump(function) for name, function in source.functions.items()},
        "by": [Path(file).read_text(encoding="utf-8") for file in (__file__, inline_file)],
        "python": sys.version_info[:2],
    }
    return kept(what, lambda: [_text(origin, source, called).encode()])[0].decode()


def _text(origin: str, source: "Source", called: tuple[str, ...]) -> str:
    parts = [f"# Generated from {origin} by subsong.compiler.viper: edit that.\n"]
    apart = functions_apart(source, called)
    for name in (*apart, *called):
        function = _avoid_faults(inline(source, name, apart))
        parts.append(f"\n\n@micropython.viper\n{ast.unparse(ast.fix_missing_locations(function))}\n")
    return "".join(parts)


def functions_apart(source: "Source", called: tuple[str, ...]) -> tuple[str, ...]:
    """Return the functions that are not inlined, since a loop around them would be too long."""
    apart: tuple[str, ...] = ()
    for name in called:
        while (longest := _longest_loop(source, name, apart)) > LONGEST_LOOP:
            left = {
                each: rest
                for each in sorted(source.functions.keys() - {*called, *apart})
                if (rest := _longest_loop(source, name, (*apart, each))) < longest
                and _longest_loop(source, each, apart) <= LONGEST_LOOP
            }
            if not left:
                break  # one function's own loop: firmware that has no room for it says so
            apart += (min(left, key=lambda each: left[each]),)
    return apart


def _longest_loop(source: "Source", name: str, apart: Collection[str]) -> int:
    function = inline(source, name, apart)
    return max((size(n.body) for n in walk(function) if isinstance(n, (ast.For, ast.While))), default=0)


def _avoid_faults(function: ast.FunctionDef) -> ast.FunctionDef:
    function.body = _Loops(function).block(function.body)
    function.body = [_Rewrite().visit(node) for node in _Shorten(function).block(function.body)]
    free = max(0, REGISTERS - len(function.args.args))
    # The first locals that the text names get the registers.
    function.body[:0] = [assign(name, ast.Constant(0)) for name in _hottest(function)[:free]]
    return function


def size(nodes: Iterable[ast.AST]) -> int:
    """Count the statements and expressions of a block, those inside others included."""
    return sum(isinstance(n, (ast.stmt, ast.expr)) for top in nodes for n in walk(top))


class _Loops:
    """Turns `for i in range(...)` into `while`, whose counter viper keeps once, not a second time on the stack.

    Not where the body sets the counter, or something after the loop reads it: there Python's `for` knows better.
    """

    def __init__(self, function: ast.FunctionDef) -> None:
        self._taken = {*stored_names([function]), *(p.arg for p in function.args.args)}
        loops = [node for node in walk(function) if isinstance(node, ast.For)]
        # Asked of all before the first is changed.
        self._plain = [node for node in loops if _is_plain(node, function, loops)]

    def block(self, body: Sequence[ast.stmt]) -> list[ast.stmt]:
        out: list[ast.stmt] = []
        for node in body:
            if isinstance(node, (ast.If, ast.For, ast.While)):
                node.body, node.orelse = self.block(node.body), self.block(node.orelse)
            out += self._counted(node) if isinstance(node, ast.For) and node in self._plain else [node]
        return out

    def _counted(self, node: ast.For) -> list[ast.stmt]:
        assert isinstance(node.iter, ast.Call) and isinstance(node.target, ast.Name)
        counter = node.target.id
        *start, end = node.iter.args
        out: list[ast.stmt] = []
        if not isinstance(end, ast.Constant) and (_name(end) is None or _name(end) in stored_names(node.body)):
            # Python asks once for the end.
            name = _fresh("end", self._taken)
            out.append(assign(name, end))
            end = load(name)
        more = ast.AugAssign(ast.Name(counter, ast.Store()), ast.Add(), ast.Constant(1))
        turn = ast.While(ast.Compare(load(counter), [ast.Lt()], [end]), [*node.body, more], [])
        return [*out, assign(counter, start[0] if start else ast.Constant(0)), turn]


def _is_plain(node: ast.For, function: ast.FunctionDef, loops: Sequence[ast.For]) -> bool:
    """Return whether a loop's counter goes up by one, is set by loops alone, and read inside their bodies alone."""
    assert isinstance(node.iter, ast.Call) and isinstance(node.target, ast.Name)
    counter = node.target.id
    inside = sum(_reads(s, counter) for loop in loops if _name(loop.target) == counter for s in loop.body)
    alone = counter not in stored_names(node.body) and inside == _reads(function, counter)
    return len(node.iter.args) < 3 and alone


def _name(node: ast.expr) -> str | None:
    return node.id if isinstance(node, ast.Name) else None


def _reads(node: ast.AST, name: str) -> int:
    return sum(isinstance(n, ast.Name) and n.id == name and isinstance(n.ctx, ast.Load) for n in walk(node))


def _fresh(base: str, taken: set[str]) -> str:
    """Return base_1, base_2 and so on, and take it."""
    n = 1
    while f"{base}_{n}" in taken:
        n += 1
    taken.add(f"{base}_{n}")
    return f"{base}_{n}"


class _Shorten:
    """Makes jumps with a condition short enough.

    A long `if` becomes several with the same condition, a long `while` one that is left by a short `if`.
    """

    def __init__(self, function: ast.FunctionDef) -> None:
        self._taken = {*stored_names([function]), *(p.arg for p in function.args.args)}

    def block(self, body: Sequence[ast.stmt]) -> list[ast.stmt]:
        out: list[ast.stmt] = []
        for node in body:
            if isinstance(node, (ast.If, ast.For, ast.While)):
                node.body, node.orelse = self.block(node.body), self.block(node.orelse)
            if isinstance(node, ast.If) and max(size(node.body), size(node.orelse)) > LONGEST_BLOCK:
                out += self._parts(node)
            elif isinstance(node, ast.While) and size(node.body) > LONGEST_BLOCK:
                out.append(_long(node.test, node.body))
            else:
                out.append(node)
        return out

    def _parts(self, node: ast.If) -> list[ast.stmt]:
        # The condition is asked once: the body may change what it looks at.
        flag = _fresh("chosen", self._taken)
        ask = ast.If(node.test, [assign(flag, ast.Constant(1))], [])
        out: list[ast.stmt] = [assign(flag, ast.Constant(0)), ask]
        for body, operator in ((node.body, ast.NotEq()), (node.orelse, ast.Eq())):
            part: list[ast.stmt] = []
            for statement in body:
                if part and size(part) + size([statement]) > LONGEST_BLOCK:
                    out.append(_if(flag, operator, part))
                    part = []
                part.append(statement)
            if part:
                out.append(_if(flag, operator, part))
        return out


def _if(flag: str, operator: ast.cmpop, body: list[ast.stmt]) -> ast.stmt:
    test = ast.Compare(load(flag), [operator], [ast.Constant(0)])
    return ast.If(test, body, []) if size(body) <= LONGEST_BLOCK else _long(test, [*body, ast.Break()])


def _long(test: ast.expr, body: list[ast.stmt]) -> ast.stmt:
    """Return `while test: body` with one condition, which jumps over a `break`."""
    leave = ast.If(ast.UnaryOp(ast.Not(), test), [ast.Break()], [])
    return ast.While(ast.Constant(1), [leave, *body], [])


def _hottest(function: ast.FunctionDef) -> list[str]:
    """Return the locals, most used first: a use counts eight times as much in every loop around it."""
    parameters = [p.arg for p in function.args.args]
    heat = {name: 0 for name in stored_names(function.body) if name not in parameters}

    def count(node: ast.AST, weight: int) -> None:
        if isinstance(node, ast.Name) and node.id in heat:
            heat[node.id] += weight
        inside = weight * 8 if isinstance(node, (ast.For, ast.While)) else weight
        for child in ast.iter_child_nodes(node):
            count(child, inside)

    count(function, 1)
    return sorted(heat, key=lambda name: -heat[name])


class _Rewrite(ast.NodeTransformer):
    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.slice, ast.Name | ast.Subscript):
            node.slice = ast.BinOp(node.slice, ast.Add(), ast.Constant(0))
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.comparators[0], ast.Constant) and node.comparators[0].value == 0:
            if isinstance(node.ops[0], ast.NotEq):
                return node.left
            if isinstance(node.ops[0], ast.Eq):
                return ast.UnaryOp(ast.Not(), node.left)
        return node
