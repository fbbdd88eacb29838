"""The kernel dialect: what every engine computes alike, and the checker that refuses the rest.

docs/arithmetic.md explains each rule by the engine that breaks it.
"""

import ast
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from subsong_sim.errors import EngineError

POINTERS = frozenset({"ptr8", "ptr16", "ptr32"})
LARGEST_LITERAL = 0x3FFFFFFF
_LITERALS = "literals are 0..0x3fffffff: viper's largest on 32-bit boards"
_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.BitAnd, ast.BitOr, ast.BitXor, ast.LShift, ast.RShift)
_COMPARISONS = (ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE)


class Violation(NamedTuple):
    """One broken rule: where, and which."""

    file: str
    line: int
    rule: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.rule}"


def violations(
    tree: ast.Module, file: str, kernels: Mapping[str, ast.FunctionDef], constants: Iterable[str], called: Iterable[str]
) -> list[Violation]:
    """Return every break of the dialect in a module of kernels, in order of lines.

    Args:
        tree: the module's syntax tree.
        file: its name, for the message.
        kernels: all kernels that may be called, by name (imported ones included).
        constants: names of all integer constants in scope.
        called: names of the kernels that a board calls: these take at most four parameters.
    """
    found: list[Violation] = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            checker = _Checker(file, kernels, frozenset(constants))
            checker.function(node, node.name in frozenset(called))
            found += checker.found
        elif isinstance(node, ast.Assign):
            value = node.value
            if not (isinstance(value, ast.Constant) and type(value.value) is int):
                found.append(Violation(file, node.lineno, "a module's constant is a plain integer literal"))
            elif value.value > LARGEST_LITERAL:
                found.append(Violation(file, node.lineno, _LITERALS))
        elif isinstance(node, ast.ImportFrom):
            if not (node.module or "").startswith("subsong_device."):
                found.append(Violation(file, node.lineno, "a kernel imports kernels and constants only"))
        elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            found.append(Violation(file, node.lineno, f"{type(node).__name__} outside a kernel"))
    own = {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef)}
    for name, node in own.items():
        if name in _reached(name, own):
            rule = f"{name} calls itself, directly or through others: calls are inlined"
            found.append(Violation(file, node.lineno, rule))
    return sorted(found, key=lambda v: v.line)


def _reached(name: str, own: Mapping[str, ast.FunctionDef]) -> set[str]:
    """Return the names of the kernels in `own` that a kernel calls, directly or through others."""
    reached: set[str] = set()
    waiting = [name]
    while waiting:
        for node in ast.walk(own[waiting.pop()]):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                callee = node.func.id
                if callee in own and callee not in reached:
                    reached.add(callee)
                    waiting.append(callee)
    return reached


def _kind(parameter: ast.arg) -> str:
    return parameter.annotation.id if isinstance(parameter.annotation, ast.Name) else ""


def require(found: list[Violation]) -> None:
    """Raise EngineError that lists every violation, if there are any."""
    if found:
        raise EngineError("not the kernel dialect (see docs/arithmetic.md):\n" + "\n".join(f"  {v}" for v in found))


class _Checker:
    """Walks one kernel; `found` collects what it breaks.

    `values` are the names that have a value wherever the walk has come from: one that is given in a single branch of an
    `if`, or in a loop that may run no turn, is not among them afterwards.
    """

    def __init__(self, file: str, kernels: Mapping[str, ast.FunctionDef], constants: frozenset[str]) -> None:
        self.file = file
        self.kernels = kernels
        self.constants = constants
        self.pointers: dict[str, str] = {}
        self.values: set[str] = set()
        self.locals: set[str] = set()
        self.found: list[Violation] = []

    def fail(self, node: ast.AST, rule: str) -> None:
        self.found.append(Violation(self.file, getattr(node, "lineno", 0), rule))

    def function(self, node: ast.FunctionDef, called: bool) -> None:
        a = node.args
        if node.decorator_list:
            self.fail(node, "no decorators: the engines add their own")
        if a.defaults or a.kw_defaults or a.kwonlyargs or a.vararg or a.kwarg or a.posonlyargs:
            self.fail(node, "positional parameters without defaults only: viper ignores defaults")
        if called and len(a.args) > 4:
            self.fail(node, "a kernel that the board calls takes at most four parameters: the inline assembler's limit")
        for p in a.args:
            kind = _kind(p)
            if kind in POINTERS:
                self.pointers[p.arg] = kind
            elif kind == "int":
                self.values.add(p.arg)
            else:
                self.fail(p, f"parameter {p.arg} is annotated ptr8, ptr16, ptr32 or int")
        if not (isinstance(node.returns, ast.Name) and node.returns.id == "int"):
            self.fail(node, "a kernel returns int")
        body = node.body
        if isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
            body = body[1:]
        if not body or not isinstance(body[-1], ast.Return) or body[-1].value is None:
            self.fail(node, "a kernel ends with one return of a value")
            last: ast.stmt | None = None
        else:
            last = body[-1]
            body = body[:-1]
        self.block(body)
        if isinstance(last, ast.Return) and last.value is not None:
            self.value(last.value)

    def block(self, body: list[ast.stmt]) -> None:
        for node in body:
            self.statement(node)

    def statement(self, node: ast.stmt) -> None:
        if isinstance(node, ast.Assign):
            self.value(node.value)
            if len(node.targets) != 1:
                self.fail(node, "one target an assignment")
            self.target(node.targets[0])
        elif isinstance(node, ast.AugAssign):
            if not isinstance(node.op, _OPERATORS):
                self.fail(node, f"operator {type(node.op).__name__} is not in the dialect")
            self.shift(node.op, node.value)
            self.value(node.value)
            if isinstance(node.target, ast.Subscript) and any(isinstance(n, ast.Call) for n in ast.walk(node.target)):
                self.fail(node, "no call in the index of an augmented assignment: engines make it once or twice")
            if isinstance(node.target, ast.Name) and node.target.id not in self.pointers:
                self.name(node.target)
            self.target(node.target)
        elif isinstance(node, ast.If):
            self.condition(node.test)
            before = set(self.values)
            self.block(node.body)
            after, self.values = self.values, before
            self.block(node.orelse)
            self.values &= after
        elif isinstance(node, ast.While):
            if node.orelse:
                self.fail(node, "while has no else")
            self.condition(node.test)
            before = set(self.values)
            self.block(node.body)
            self.values = before
        elif isinstance(node, ast.For):
            self.loop(node)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            self.value(node.value)
        elif isinstance(node, ast.Return):
            self.fail(node, "one return, at the end")
        else:
            self.fail(node, f"{type(node).__name__} is not in the dialect")

    def loop(self, node: ast.For) -> None:
        it = node.iter
        if not (isinstance(it, ast.Call) and isinstance(it.func, ast.Name) and it.func.id == "range"):
            self.fail(node, "for iterates over range(...)")
            return
        if it.keywords or not 1 <= len(it.args) <= 3:
            self.fail(node, "range takes one to three values")
        if len(it.args) == 3 and not (isinstance(it.args[2], ast.Constant) and it.args[2].value):
            self.fail(node, "range's step is a literal, and not 0")
        for a in it.args:
            self.value(a)
        if node.orelse:
            self.fail(node, "for has no else")
        if not isinstance(node.target, ast.Name):
            self.fail(node, "for counts in a name")
        before = set(self.values)
        self.target(node.target)
        self.block(node.body)
        self.values = before

    def target(self, node: ast.expr) -> None:
        if isinstance(node, ast.Name):
            if node.id in self.pointers or node.id in self.constants or node.id in self.kernels:
                self.fail(node, f"{node.id} is a buffer, a constant or a kernel: it is not assigned to")
            self.values.add(node.id)
            self.locals.add(node.id)
        elif isinstance(node, ast.Subscript):
            self.subscript(node)
        else:
            self.fail(node, "assign to a name or to an element of a buffer")

    def subscript(self, node: ast.Subscript) -> None:
        if not (isinstance(node.value, ast.Name) and node.value.id in self.pointers):
            self.fail(node, "only buffer parameters are subscripted")
        self.value(node.slice)

    def condition(self, node: ast.expr) -> None:
        if isinstance(node, ast.BoolOp):
            for v in node.values:
                self.condition(v)
        elif isinstance(node, ast.Compare):
            if len(node.ops) != 1 or not isinstance(node.ops[0], _COMPARISONS):
                self.fail(node, "one comparison of two values at a time")
            self.value(node.left)
            for c in node.comparators:
                self.value(c)
        else:
            self.fail(node, "a condition is a comparison, or comparisons joined by and/or")

    def shift(self, op: ast.operator, amount: ast.expr) -> None:
        if isinstance(op, (ast.LShift, ast.RShift)) and isinstance(amount, ast.Constant):
            if type(amount.value) is int and not 0 <= amount.value <= 31:
                self.fail(amount, "shift amounts are 0..31")

    def value(self, node: ast.expr) -> None:
        if isinstance(node, ast.BinOp):
            if not isinstance(node.op, _OPERATORS):
                self.fail(node, f"operator {type(node.op).__name__} is not in the dialect")
            self.shift(node.op, node.right)
            self.value(node.left)
            self.value(node.right)
        elif isinstance(node, ast.Constant):
            if type(node.value) is not int:
                self.fail(node, f"{node.value!r} is not an integer")
            elif not 0 <= node.value <= LARGEST_LITERAL:
                self.fail(node, _LITERALS)
        elif isinstance(node, ast.Name):
            self.name(node)
        elif isinstance(node, ast.Subscript):
            self.subscript(node)
        elif isinstance(node, ast.Call):
            self.call(node)
        elif isinstance(node, ast.UnaryOp):
            self.fail(node, f"unary {type(node.op).__name__}: viper's overwrites its operand; write 0 - x")
        elif isinstance(node, (ast.Compare, ast.BoolOp)):
            self.fail(node, "a comparison is a condition, not a value")
        else:
            self.fail(node, f"{type(node).__name__} is not in the dialect")

    def name(self, node: ast.Name) -> None:
        if node.id in self.pointers:
            self.fail(node, f"{node.id} is a buffer, not a value")
        elif node.id in self.values or node.id in self.constants:
            return
        elif node.id in self.locals:
            self.fail(node, f"{node.id} has no value on some way here: viper would read whatever is there")
        else:
            self.fail(node, f"{node.id} is no parameter, local or constant, or has no value yet")

    def call(self, node: ast.Call) -> None:
        if node.keywords:
            self.fail(node, "no keyword arguments")
        if not (isinstance(node.func, ast.Name) and node.func.id in self.kernels):
            self.fail(node, "only kernels are called")
            return
        parameters = self.kernels[node.func.id].args.args
        if len(node.args) != len(parameters):
            self.fail(node, f"{node.func.id} takes {len(parameters)} arguments, here are {len(node.args)}")
        for p, a in zip(parameters, node.args, strict=False):
            if _kind(p) not in POINTERS:
                self.value(a)
            elif not (isinstance(a, ast.Name) and self.pointers.get(a.id) == _kind(p)):
                self.fail(a, f"{node.func.id} takes a whole {_kind(p)} buffer for {p.arg}: machine code sees its words")
