"""Inlining on the syntax tree: a kernel and all that it calls become one function without calls or named constants.

Functions that are to stay apart stay calls.

What Python evaluates first stays first. A call inside an expression is hoisted before it; a load that stood to its left
is then kept in a local, since the callee may store there. A call in the second half of an `and` or `or`, or in a loop's
condition, runs when, and as often as, Python would run it. A callee's locals are renamed apart, and free again after
the statement that called it, so that a long function has few locals.
"""

import ast
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from operator import add, and_, eq, ge, gt, le, lshift, lt, mul, ne, or_, rshift, sub, xor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from subsong_sim.loader import Source

LARGEST_LITERAL = 0x3FFFFFFF
_POINTERS = frozenset({"ptr8", "ptr16", "ptr32"})
_ARITHMETIC: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: add,
    ast.Sub: sub,
    ast.Mult: mul,
    ast.BitAnd: and_,
    ast.BitOr: or_,
    ast.BitXor: xor,
    ast.LShift: lshift,
    ast.RShift: rshift,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[int, int], bool]] = {
    ast.Eq: eq,
    ast.NotEq: ne,
    ast.Lt: lt,
    ast.LtE: le,
    ast.Gt: gt,
    ast.GtE: ge,
}
Scope = Mapping[str, ast.expr]  # what a name of the source stands for: a name, a constant, an expression without loads


def inline(source: "Source", name: str, apart: Collection[str] = ()) -> ast.FunctionDef:
    """Return kernel `name` with every call inlined and every constant a literal; its docstring is dropped.

    Args:
        source: what subsong_sim.loader.gather returns, hence checked against the dialect.
        name: a kernel in it.
        apart: functions in it that stay calls, `local = int(function(...))`.
    """
    return _Inliner(source, apart).kernel(name)


# ------------------------------------------------------------------------------------------------- asking the tree


def body_of(function: ast.FunctionDef) -> list[ast.stmt]:
    """Return a function's statements without its docstring."""
    return function.body[1:] if ast.get_docstring(function, clean=False) is not None else function.body


def walk(top: ast.AST) -> list[ast.AST]:
    """Return the nodes that ast.walk yields, in its order but twice as quickly; names' contexts are left out."""
    found = [top]
    for node in found:
        for field in node._fields:
            value = getattr(node, field, None)
            if isinstance(value, list):
                found += [each for each in value if isinstance(each, ast.AST)]
            elif isinstance(value, ast.AST) and field != "ctx":
                found.append(value)
    return found


def stored_names(nodes: Iterable[ast.AST]) -> dict[str, None]:
    """Return the names that are assigned to, in order."""
    found: dict[str, None] = {}
    for top in nodes:
        for node in walk(top):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found[node.id] = None
    return found


def _given(nodes: Iterable[ast.stmt]) -> set[str]:
    """Return the names that an assignment, and not a loop, gives a value."""
    found: set[str] = set()
    for top in nodes:
        for node in walk(top):
            if isinstance(node, ast.Assign):
                found |= {t.id for t in node.targets if isinstance(t, ast.Name)}
            elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
                found.add(node.target.id)
    return found


def _read(nodes: Iterable[ast.stmt]) -> set[str]:
    return {n.id for top in nodes for n in walk(top) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}


def _without(body: Sequence[ast.stmt], unread: Collection[str]) -> list[ast.stmt]:
    """Return a block without the assignments to locals that nothing reads, whose values have no effect."""
    kept: list[ast.stmt] = []
    for node in body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(node, (ast.Assign, ast.AugAssign)) and isinstance(target, ast.Name) and target.id in unread:
            if _calls([node.value]):
                kept.append(ast.Expr(node.value))
            continue
        if isinstance(node, (ast.If, ast.While, ast.For)):
            node.body = _without(node.body, unread) or [ast.Pass()]
            node.orelse = _without(node.orelse, unread)
        kept.append(node)
    return kept


def _mentions(node: ast.expr, name: str) -> bool:
    return any(isinstance(n, ast.Name) and n.id == name for n in walk(node))


def _loads(node: ast.expr) -> bool:
    return any(isinstance(n, ast.Subscript) for n in walk(node))


def _stores(nodes: Iterable[ast.stmt]) -> bool:
    """Return whether any statement writes to a buffer, or calls what may."""
    nodes = list(nodes)
    stores = (isinstance(n, ast.Subscript) and isinstance(n.ctx, ast.Store) for top in nodes for n in walk(top))
    return any(stores) or _calls(nodes)


def _calls(nodes: Iterable[ast.AST]) -> bool:
    calls = (n for top in nodes for n in walk(top) if isinstance(n, ast.Call))
    return any(isinstance(n.func, ast.Name) and n.func.id != "range" for n in calls)


def _uses(nodes: Iterable[ast.stmt], name: str) -> int:
    """Count how often a name may be read: a loop counts twice."""
    count = 0
    for top in nodes:
        for node in walk(top):
            if isinstance(node, (ast.For, ast.While)) and _mentions_anywhere(node, name):
                count += 2
            elif isinstance(node, ast.Name) and node.id == name:
                count += 1
    return count


def _mentions_anywhere(node: ast.AST, name: str) -> bool:
    return any(isinstance(n, ast.Name) and n.id == name for n in walk(node))


# ------------------------------------------------------------------------------------------------- making the tree


def load(name: str) -> ast.Name:
    """Return a name that is read."""
    return ast.Name(name, ast.Load())


def assign(name: str, value: ast.expr) -> ast.Assign:
    """Return `name = value`."""
    return ast.Assign([ast.Name(name, ast.Store())], value, lineno=0)


def _binary(left: ast.expr, op: ast.operator, right: ast.expr) -> ast.expr:
    """Return `left op right`, folded where the result is a literal of the dialect or one side alone."""
    if isinstance(left, ast.Constant) and isinstance(right, ast.Constant):
        assert isinstance(left.value, int) and isinstance(right.value, int)
        result = _ARITHMETIC[type(op)](left.value, right.value)
        if 0 <= result <= LARGEST_LITERAL:
            return ast.Constant(result)
    if isinstance(op, (ast.Add, ast.Sub, ast.LShift, ast.RShift)) and _is(right, 0):
        return left
    if isinstance(op, ast.Add) and _is(left, 0):
        return right
    return ast.BinOp(left, op, right)


def _is(node: ast.expr, value: int) -> bool:
    return isinstance(node, ast.Constant) and node.value == value


def _truth(condition: ast.expr) -> bool | None:
    """Return what a comparison of two literals says; None for any other condition."""
    if isinstance(condition, ast.Compare):
        left, right = condition.left, condition.comparators[0]
        if isinstance(left, ast.Constant) and isinstance(right, ast.Constant):
            assert isinstance(left.value, int) and isinstance(right.value, int)
            return _COMPARISONS[type(condition.ops[0])](left.value, right.value)
    return None


def _not_zero(name: str) -> ast.expr:
    return ast.Compare(load(name), [ast.NotEq()], [ast.Constant(0)])


class _Names:
    """Hands out names that are not in use: the one asked for, or name_2, name_3 and so on."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._used = dict.fromkeys(taken)

    def take(self, name: str, avoid: Iterable[str] = ()) -> str:
        chosen, n = name, 1
        while chosen in self._used or chosen in avoid:
            n += 1
            chosen = f"{name}_{n}"
        self._used[chosen] = None
        return chosen

    def mark(self) -> int:
        return len(self._used)

    def release(self, mark: int) -> None:
        """Free what was taken since the mark."""
        for name in list(self._used)[mark:]:
            del self._used[name]


class _Inliner:
    """Rewrites one kernel; `out` is where an expression's hoisted statements go."""

    def __init__(self, source: "Source", apart: Collection[str]) -> None:
        self._functions = source.functions
        self._apart = apart
        self._constants: Scope = {name: ast.Constant(value) for name, value in source.constants.items()}
        self._names = _Names(())

    def kernel(self, name: str) -> ast.FunctionDef:
        function = self._functions[name]
        parameters = [p.arg for p in function.args.args]
        body = body_of(function)
        own = dict.fromkeys([*parameters, *stored_names(body)])
        self._names = _Names(own)
        scope = {**self._constants, **{n: load(n) for n in own}}
        statements = self._block(body[:-1], scope)
        last = body[-1]
        assert isinstance(last, ast.Return) and last.value is not None
        result = self._value(last.value, scope, statements)
        statements.append(ast.Return(result))
        while unread := _given(statements) - _read(statements):
            statements = _without(statements, unread)
        arguments = ast.arguments(
            [], [ast.arg(p.arg, p.annotation) for p in function.args.args], None, [], [], None, []
        )
        return ast.FunctionDef(name, arguments, statements, [], function.returns, lineno=0)

    # -- statements

    def _block(self, body: Sequence[ast.stmt], scope: Scope) -> list[ast.stmt]:
        out: list[ast.stmt] = []
        for node in body:
            mark = self._names.mark()
            self._statement(node, scope, out)
            self._names.release(mark)
        return out

    def _statement(self, node: ast.stmt, scope: Scope, out: list[ast.stmt]) -> None:
        if isinstance(node, ast.Assign):
            self._assign(node, scope, out)
        elif isinstance(node, ast.AugAssign):
            self._augmented(node, scope, out)
        elif isinstance(node, ast.If):
            condition = self._condition(node.test, scope, out)
            truth = _truth(condition)
            if truth is not None:
                out += self._block(node.body if truth else node.orelse, scope)
                return
            body, orelse = self._block(node.body, scope), self._block(node.orelse, scope)
            out.append(ast.If(condition, body or [ast.Pass()], orelse))
        elif isinstance(node, ast.While):
            self._while(node, scope, out)
        elif isinstance(node, ast.For):
            assert isinstance(node.iter, ast.Call) and isinstance(node.target, ast.Name)
            limits = self._values(node.iter.args, scope, out)
            body = self._block(node.body, scope)
            out.append(
                ast.For(
                    _target(node.target, scope), ast.Call(load("range"), limits, []), body or [ast.Pass()], [], lineno=0
                )
            )
        else:
            assert isinstance(node, ast.Expr)
            self._value(node.value, scope, out)  # what is left of it is without effect

    def _assign(self, node: ast.Assign, scope: Scope, out: list[ast.stmt]) -> None:
        target = node.targets[0]
        if isinstance(target, ast.Subscript):
            value, index = self._values([node.value, target.slice], scope, out)
            out.append(ast.Assign([_element(target, index, scope, ast.Store())], value, lineno=0))
            return
        assert isinstance(target, ast.Name)
        name = _target(target, scope).id
        if isinstance(node.value, ast.Call):
            value = self._call(node.value, scope, out, name)
        else:
            value = self._value(node.value, scope, out)
        if not (isinstance(value, ast.Name) and value.id == name):
            out.append(assign(name, value))

    def _augmented(self, node: ast.AugAssign, scope: Scope, out: list[ast.stmt]) -> None:
        if isinstance(node.target, ast.Name):
            # The callee of a hoisted call cannot change this local.
            value = self._value(node.value, scope, out)
            out.append(ast.AugAssign(_target(node.target, scope), node.op, value))
            return
        target = node.target
        assert isinstance(target, ast.Subscript)
        # Python takes the index and the element before the value.
        index = self._value(target.slice, scope, out)
        before = [index, _element(target, index, scope, ast.Load())]
        hoisted: list[ast.stmt] = []
        value = self._value(node.value, scope, hoisted)
        index, element = self._kept(before, hoisted, out)
        out += hoisted
        new = _binary(element, node.op, value)
        out.append(ast.Assign([_element(target, index, scope, ast.Store())], new, lineno=0))

    def _while(self, node: ast.While, scope: Scope, out: list[ast.stmt]) -> None:
        hoisted: list[ast.stmt] = []
        going = self._names.take("going") if _calls([node.test]) else ""
        condition = self._condition(node.test, scope, hoisted)
        body = self._block(node.body, scope)
        if not hoisted:
            if _truth(condition) is not False:
                out.append(ast.While(condition, body or [ast.Pass()], []))
            return
        stop: list[ast.stmt] = [assign(going, ast.Constant(0))]
        turn = [*hoisted, ast.If(condition, body or [ast.Pass()], stop)]
        out += [assign(going, ast.Constant(1)), ast.While(_not_zero(going), turn, [])]

    # -- conditions

    def _condition(self, node: ast.expr, scope: Scope, out: list[ast.stmt]) -> ast.expr:
        if isinstance(node, ast.BoolOp):
            return self._joined(node.op, node.values, scope, out)
        assert isinstance(node, ast.Compare)
        left, right = self._values([node.left, node.comparators[0]], scope, out)
        return ast.Compare(left, node.ops, [right])

    def _joined(self, op: ast.boolop, operands: Sequence[ast.expr], scope: Scope, out: list[ast.stmt]) -> ast.expr:
        """Join conditions; those from the first hoisted statement on are asked inside an `if`, which sets a flag."""
        first = self._condition(operands[0], scope, out)
        parts = [first]
        for n, operand in enumerate(operands[1:], 1):
            if _calls([operand]):
                asked = parts[0] if len(parts) == 1 else ast.BoolOp(op, parts)
                met = self._names.take("met")
                yes: list[ast.stmt] = [assign(met, ast.Constant(1))]
                rest: list[ast.stmt] = []
                last = self._joined(op, operands[n:], scope, rest)
                rest.append(ast.If(last, yes, []))
                out.append(assign(met, ast.Constant(0)))
                out.append(ast.If(asked, rest, []) if isinstance(op, ast.And) else ast.If(asked, yes, rest))
                return _not_zero(met)
            parts.append(self._condition(operand, scope, out))
        return parts[0] if len(parts) == 1 else ast.BoolOp(op, parts)

    # -- values

    def _values(self, nodes: Sequence[ast.expr], scope: Scope, out: list[ast.stmt]) -> list[ast.expr]:
        """Rewrite expressions that Python evaluates one after another."""
        done: list[ast.expr] = []
        for node in nodes:
            hoisted: list[ast.stmt] = []
            value = self._value(node, scope, hoisted)
            done = [*self._kept(done, hoisted, out), value]
            out += hoisted
        return done

    def _kept(self, values: list[ast.expr], hoisted: list[ast.stmt], out: list[ast.stmt]) -> list[ast.expr]:
        """Return the values, those that the hoisted statements might change taken to locals before them."""
        if not _stores(hoisted):
            return values
        # Not names that are free again before the hoisted statements end.
        inside = stored_names(hoisted)
        kept = [load(self._names.take("kept", inside)) if _loads(value) else value for value in values]
        out += [assign(k.id, v) for k, v in zip(kept, values, strict=True) if isinstance(k, ast.Name) and k is not v]
        return kept

    def _value(self, node: ast.expr, scope: Scope, out: list[ast.stmt]) -> ast.expr:
        if isinstance(node, ast.Constant):
            return node
        if isinstance(node, ast.Name):
            return scope[node.id]
        if isinstance(node, ast.BinOp):
            left, right = self._values([node.left, node.right], scope, out)
            return _binary(left, node.op, right)
        if isinstance(node, ast.Subscript):
            return _element(node, self._value(node.slice, scope, out), scope, ast.Load())
        assert isinstance(node, ast.Call)
        return self._call(node, scope, out, None)

    def _call(self, node: ast.Call, scope: Scope, out: list[ast.stmt], target: str | None) -> ast.expr:
        """Append a callee's statements to `out`; return what it returns, in terms of its renamed locals.

        Args:
            node: the call.
            scope: the caller's.
            out: where statements go.
            target: the local that the result is assigned to and nothing else; the callee may work in it.
        """
        assert isinstance(node.func, ast.Name)
        function = self._functions[node.func.id]
        body = body_of(function)
        changed = stored_names(body)
        arguments = self._values(node.args, scope, out)
        if node.func.id in self._apart:
            name = target or self._names.take("result")
            out.append(assign(name, ast.Call(load("int"), [ast.Call(load(node.func.id), arguments, [])], [])))
            return load(name)
        result = body[-1].value if isinstance(body[-1], ast.Return) else None
        # The name of the callee's that becomes the target: the one it returns, else one that starts as the target.
        worker = None
        if target is not None:
            others = [p.arg for p, a in zip(function.args.args, arguments, strict=True) if _mentions(a, target)]
            if isinstance(result, ast.Name) and result.id in changed and set(others) <= {result.id}:
                worker = result.id
            elif len(others) == 1 and others[0] in changed:
                worker = others[0]
        quiet = not _stores(body)
        inner: dict[str, ast.expr] = {**self._constants}
        for p, a in zip(function.args.args, arguments, strict=True):
            pointer = isinstance(p.annotation, ast.Name) and p.annotation.id in _POINTERS
            simple = isinstance(a, (ast.Name, ast.Constant))
            once = _uses(body, p.arg) <= 1 and (quiet or not _loads(a))
            if pointer or (p.arg not in changed and (simple or once)):
                inner[p.arg] = a
                continue
            name = target if target is not None and p.arg == worker else self._names.take(p.arg)
            if not (isinstance(a, ast.Name) and a.id == name):
                out.append(assign(name, a))
            inner[p.arg] = load(name)
        for local in changed:
            if local not in inner:
                inner[local] = load(target if target is not None and local == worker else self._names.take(local))
        out += self._block(body[:-1], inner)
        assert result is not None
        return self._value(result, inner, out)


def _target(node: ast.Name, scope: Scope) -> ast.Name:
    name = scope[node.id]
    assert isinstance(name, ast.Name)
    return ast.Name(name.id, ast.Store())


def _element(node: ast.Subscript, index: ast.expr, scope: Scope, context: ast.expr_context) -> ast.Subscript:
    assert isinstance(node.value, ast.Name)
    buffer = scope[node.value.id]
    assert isinstance(buffer, ast.Name)
    return ast.Subscript(load(buffer.id), index, context)
