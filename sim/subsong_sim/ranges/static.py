"""What the range checker reads off a kernel's text: which names still matter, and which tell ways apart."""

import ast
from collections.abc import Iterable
from typing import NamedTuple

POINTERS = ("ptr8", "ptr16", "ptr32")


class Facts(NamedTuple):
    """What is known of a kernel from its text.

    Attributes:
        pointers: its buffer parameters.
        parameters: all parameters, in order.
        keys: names whose integers tell ways through the kernel apart: what calls returned, counters, constants.
        live: the names read after a statement, by its id.
        at_head: the names read by a loop's next turn or after the loop, by its id.
        assigned: the names that a loop assigns to, by its id.
        indices: the names that an index is made of, here or, as the result of a kernel of head alone, elsewhere.
        twice: the names by which a statement shifts more than once, by the statement's id: one value for all of them.
        loops: it has a loop, or calls a kernel that has.
        lengths: the loops whose turns give inner loops, or kernels with loops, other lengths; by id.
    """

    pointers: frozenset[str]
    parameters: tuple[str, ...]
    keys: frozenset[str]
    live: dict[int, frozenset[str]]
    at_head: dict[int, frozenset[str]]
    assigned: dict[int, frozenset[str]]
    indices: frozenset[str]
    twice: dict[int, frozenset[str]]
    loops: bool
    lengths: frozenset[int]


def study(function: ast.FunctionDef, looping: Iterable[str]) -> Facts:
    """Return what a kernel's text says.

    Args:
        function: the kernel.
        looping: the names of the kernels, gathered before this one, that have loops.
    """
    pointers, parameters = set(), []
    for p in function.args.args:
        parameters.append(p.arg)
        if isinstance(p.annotation, ast.Name) and p.annotation.id in POINTERS:
            pointers.add(p.arg)
    scan = _Liveness()
    scan.block(function.body, frozenset())
    return Facts(
        frozenset(pointers),
        tuple(parameters),
        _keys(function),
        scan.live,
        scan.at_head,
        scan.assigned,
        _indices(function),
        {id(node): names for node in ast.walk(function) if isinstance(node, ast.Assign) and (names := _twice(node))},
        any(_repeats(node, frozenset(looping)) for node in ast.walk(function)),
        frozenset(_lengths(function, scan.assigned, frozenset(looping))),
    )


def _indices(function: ast.FunctionDef) -> frozenset[str]:
    found = {name for n in ast.walk(function) if isinstance(n, ast.Subscript) for name in reads(n.slice)}
    last = function.body[-1]
    if len(function.args.args) == 1 and isinstance(last, ast.Return) and last.value is not None:
        found |= reads(last.value)  # a number of units, or of words
    return frozenset(found)


def _repeats(node: ast.AST, looping: frozenset[str]) -> bool:
    called = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
    return isinstance(node, (ast.For, ast.While)) or called in looping


def _twice(statement: ast.Assign) -> frozenset[str]:
    once: set[str] = set()
    twice: set[str] = set()
    for node in ast.walk(statement.value):
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.LShift, ast.RShift)):
            names = reads(node.right)
            twice |= once & names
            once |= names
    return frozenset(twice)


def _lengths(function: ast.FunctionDef, assigned: dict[int, frozenset[str]], looping: frozenset[str]) -> Iterable[int]:
    for loop in ast.walk(function):
        if isinstance(loop, ast.For) and isinstance(loop.target, ast.Name):
            changing = assigned[id(loop)] - {loop.target.id}
            inner = [node for statement in loop.body for node in ast.walk(statement) if _repeats(node, looping)]
            headers = [node.iter if isinstance(node, ast.For) else node for node in inner]
            if any(reads(header) & changing for header in headers if not isinstance(header, ast.While)):
                yield id(loop)


def reads(node: ast.AST) -> frozenset[str]:
    """Return the names read anywhere in a node."""
    return frozenset(n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load))


def _written(node: ast.stmt) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


class _Liveness:
    """Backwards over a kernel, statement by statement."""

    def __init__(self) -> None:
        self.live: dict[int, frozenset[str]] = {}
        self.at_head: dict[int, frozenset[str]] = {}
        self.assigned: dict[int, frozenset[str]] = {}

    def block(self, body: list[ast.stmt], after: frozenset[str]) -> frozenset[str]:
        for node in reversed(body):
            self.live[id(node)] = after
            after = self.before(node, after)
        return after

    def before(self, node: ast.stmt, after: frozenset[str]) -> frozenset[str]:
        if isinstance(node, ast.Assign):
            target = node.targets[0]
            if isinstance(target, ast.Name):
                return (after - {target.id}) | reads(node.value)
            return after | reads(node)
        if isinstance(node, ast.AugAssign):
            name = {node.target.id} if isinstance(node.target, ast.Name) else set()
            return after | reads(node) | name
        if isinstance(node, ast.If):
            return reads(node.test) | self.block(node.body, after) | self.block(node.orelse, after)
        if isinstance(node, (ast.For, ast.While)):
            self.assigned[id(node)] = frozenset(_written(node))
            header = reads(node.iter) if isinstance(node, ast.For) else reads(node.test)
            counter = node.target if isinstance(node, ast.For) else None
            counters = frozenset({counter.id} if isinstance(counter, ast.Name) else ())
            again = after if isinstance(node, ast.For) else after | header
            while True:
                head = again | (self.block(node.body, again) - counters)
                if head == again:
                    break
                again = head
            self.at_head[id(node)] = head
            return head | header
        return after | reads(node)


def _constant(node: ast.expr) -> bool:
    return not any(isinstance(n, (ast.Name, ast.Subscript, ast.Call)) for n in ast.walk(node))


def _keys(function: ast.FunctionDef) -> frozenset[str]:
    """Return the names whose integers are few and mean something.

    These are only ever given constants and what a kernel returns; those that also take steps of a constant count if
    they are what the kernel returns, or all that a while changes; but not what the turns of a `for` count.
    """
    given: set[str] = set()
    stepped: set[str] = set()
    others: set[str] = set()
    counting: set[str] = set()
    tallies = {name for node in ast.walk(function) if isinstance(node, ast.For) for name in _stepped(node)}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            fine = _constant(node.value) or isinstance(node.value, ast.Call)
            (given if fine else others).add(node.targets[0].id)
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            (stepped if _constant(node.value) else others).add(node.target.id)
        elif isinstance(node, ast.For) and isinstance(node.target, ast.Name):
            others.add(node.target.id)
        elif isinstance(node, ast.While) and len(names := _written(node)) == 1:
            counting |= names
        elif isinstance(node, ast.Return) and isinstance(node.value, ast.Name):
            counting.add(node.value.id)
    # What a `for` counts matters all the same where it is an index by itself.
    indices = {n.slice.id for n in ast.walk(function) if isinstance(n, ast.Subscript) and isinstance(n.slice, ast.Name)}
    return frozenset((given - others) - (stepped - ((counting - tallies) | indices)))


def _stepped(loop: ast.For) -> set[str]:
    steps = (n for n in ast.walk(loop) if isinstance(n, ast.AugAssign))
    return {n.target.id for n in steps if isinstance(n.target, ast.Name)}
