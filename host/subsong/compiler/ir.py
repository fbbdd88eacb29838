"""Kernels to LLVM IR: one function a kernel that the board calls, with what it calls set in where it is called.

Every value is an i32 that wraps, every load of 8 or 16 bits is zero-extended. Locals live in stack slots; LLVM's first
pass turns them into registers. Each instruction carries the file and line of its statement, so that what a target
cannot take is found again in the source.

Python decides the order: values left to right, an augmented assignment's target before its value, range's bounds once;
a loop's variable is set at the head of each turn and keeps its last value.
"""

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field

from subsong.compiler.places import Places, quoted
from subsong.compiler.syntax import parameters, sharing, shifted
from subsong.errors import CompileError
from subsong_sim.loader import Source

_WIDTHS = {"ptr8": "i8", "ptr16": "i16", "ptr32": "i32"}
_OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.BitAnd: "and",
    ast.BitOr: "or",
    ast.BitXor: "xor",
    ast.LShift: "shl",
    ast.RShift: "ashr",
}
_COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Eq: "eq",
    ast.NotEq: "ne",
    ast.Lt: "slt",
    ast.LtE: "sle",
    ast.Gt: "sgt",
    ast.GtE: "sge",
}
# no-builtins: a loop that clears a buffer stays a loop, and no call of memset. no-jump-tables: no table in .rodata.
_ATTRIBUTES = 'nounwind "no-builtins" "no-jump-tables"="true"'


@dataclass
class _Scope:
    """The names of one kernel where it is set in: slots of its locals, its buffers (pointer and element type)."""

    file: str
    slots: dict[str, str] = field(default_factory=dict)
    buffers: dict[str, tuple[str, str]] = field(default_factory=dict)
    shifted: dict[tuple[str, str], str] = field(default_factory=dict)


def ir_text(source: Source, name: str) -> str:
    """Return the IR of one kernel with everything that it calls.

    Args:
        source: what the loader gathered; it has been held against the dialect.
        name: of the kernel.
    """
    places = Places()
    shared = sharing(source)
    # The root comes first: its entry is the code's first byte.
    waiting, functions = [name], dict[str, list[str]]()
    for each in waiting:
        if each not in functions:
            writer = _Writer(source, each, places)
            functions[each] = writer.function("" if each == name else "internal ", "" if each in shared else "noalias ")
            waiting += writer.called
    lines = [line for function in functions.values() for line in function]
    return "\n".join([*lines, f"attributes #0 = {{ {_ATTRIBUTES} }}", *places.metadata()]) + "\n"


class _Writer:
    """Writes one IR function; `body` collects its instructions, `called` the kernels that it calls."""

    def __init__(self, source: Source, name: str, places: Places) -> None:
        self.source = source
        self.name = name
        self.called: list[str] = []
        self.constants: Mapping[str, int] = source.constants
        self.slots: list[str] = []
        self.body: list[str] = []
        self.count = 0
        self.places = places
        self.place = 0

    def function(self, linkage: str, buffers: str) -> list[str]:
        """Return the function's lines.

        Args:
            linkage: of the function.
            buffers: attributes of its buffers.
        """
        function = self.source.functions[self.name]
        subprogram = self.places.function(self.name, self.source.files[self.name], function.lineno)
        scope = _Scope(self.source.files[self.name])
        self.at(scope, function)
        signature = []
        for number, (name, kind) in enumerate(parameters(function)):
            if kind == "int":
                signature.append(f"i32 %p{number}")
                self.put(self.slot(scope, name), f"%p{number}")
            else:
                signature.append(f"ptr {buffers}%p{number}")
                scope.buffers[name] = (f"%p{number}", _WIDTHS[kind])
        *body, last = function.body
        self.block(body, scope)
        assert isinstance(last, ast.Return) and last.value is not None
        self.at(scope, last)
        self.emit(f"ret i32 {self.value(last.value, scope)}")
        head = f"define {linkage}i32 @{quoted(self.name)}({', '.join(signature)}) #0 !dbg !{subprogram} {{"
        return [head, *self.slots, *self.body, "}"]

    # ------------------------------------------------------------------------------------------ instructions

    def new(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}{self.count}"

    def emit(self, instruction: str) -> None:
        self.body.append(f"  {instruction}, !dbg !{self.place}")

    def result(self, instruction: str) -> str:
        name = self.new("%v")
        self.emit(f"{name} = {instruction}")
        return name

    def label(self, name: str) -> None:
        self.body.append(f"{name}:")

    def jump(self, name: str) -> None:
        self.emit(f"br label %{name}")

    def branch(self, comparison: str, a: str, b: str, yes: str, no: str) -> None:
        test = self.result(f"icmp {comparison} i32 {a}, {b}")
        self.emit(f"br i1 {test}, label %{yes}, label %{no}")

    def slot(self, scope: _Scope, name: str) -> str:
        if name not in scope.slots:
            scope.slots[name] = self.hidden()
        return scope.slots[name]

    def hidden(self) -> str:
        """Return a new slot."""
        name = self.new("%s")
        self.slots.append(f"  {name} = alloca i32")
        return name

    def put(self, slot: str, value: str) -> None:
        self.emit(f"store i32 {value}, ptr {slot}")

    def get(self, slot: str) -> str:
        return self.result(f"load i32, ptr {slot}")

    # ------------------------------------------------------------------------------------------ statements

    def block(self, body: list[ast.stmt], scope: _Scope) -> None:
        for node in body:
            self.statement(node, scope)

    def statement(self, node: ast.stmt, scope: _Scope) -> None:
        self.at(scope, node)
        if isinstance(node, ast.Assign):
            value = self.value(node.value, scope)
            target = node.targets[0]
            if isinstance(target, ast.Name):
                self.put(self.slot(scope, target.id), value)
            elif isinstance(target, ast.Subscript):
                self.store(*self.element(target, scope), value)
        elif isinstance(node, ast.AugAssign):
            operation = _OPERATORS[type(node.op)]
            if isinstance(node.target, ast.Name):
                slot = self.slot(scope, node.target.id)
                old = self.get(slot)
                self.put(slot, self.result(f"{operation} i32 {old}, {self.value(node.value, scope)}"))
            elif isinstance(node.target, ast.Subscript):
                place = self.element(node.target, scope)
                old = self.load(*place)
                self.store(*place, self.result(f"{operation} i32 {old}, {self.value(node.value, scope)}"))
        elif isinstance(node, ast.If):
            self.choice(node, scope)
        elif isinstance(node, ast.While):
            self.turns(node, scope)
        elif isinstance(node, ast.For):
            self.loop(node, scope)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            self.value(node.value, scope)
        elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            raise self.refuse(node, scope, f"{type(node).__name__} is not in the dialect")

    def choice(self, node: ast.If, scope: _Scope) -> None:
        yes, no, end = self.new("then"), self.new("else"), self.new("end")
        self.condition(node.test, scope, yes, no)
        self.label(yes)
        self.block(node.body, scope)
        self.jump(end)
        self.label(no)
        self.block(node.orelse, scope)
        self.jump(end)
        self.label(end)

    def turns(self, node: ast.While, scope: _Scope) -> None:
        test, body, end = self.new("test"), self.new("body"), self.new("end")
        self.jump(test)
        self.label(test)
        self.condition(node.test, scope, body, end)
        self.label(body)
        self.block(node.body, scope)
        self.at(scope, node)
        self.jump(test)
        self.label(end)

    def loop(self, node: ast.For, scope: _Scope) -> None:
        """Write `for NAME in range(...)`: the turns are counted beside the variable, which the body may change."""
        assert isinstance(node.iter, ast.Call) and isinstance(node.target, ast.Name)
        bounds = [self.value(a, scope) for a in node.iter.args[:2]]
        start, stop = bounds if len(bounds) == 2 else ("0", bounds[0])
        step = 1
        if len(node.iter.args) == 3:
            literal = node.iter.args[2]
            assert isinstance(literal, ast.Constant) and isinstance(literal.value, int)
            step = literal.value
        counter, variable = self.hidden(), self.slot(scope, node.target.id)
        body, more, end = self.new("body"), self.new("more"), self.new("end")
        halved = [name for name in shifted(node) if name in scope.slots] if (start, step) == ("0", 1) else []
        for name in halved:
            scope.shifted[name, node.target.id] = self.hidden()
            self.put(scope.shifted[name, node.target.id], self.get(scope.slots[name]))
        self.put(counter, start)
        self.branch("slt", start, stop, body, end)
        self.label(body)
        self.put(variable, self.get(counter))
        self.block(node.body, scope)
        self.at(scope, node)
        for name in halved:
            slot = scope.shifted[name, node.target.id]
            self.put(slot, self.result(f"ashr i32 {self.get(slot)}, 1"))
        now = self.get(counter)
        if step == 1:
            # Below its bound, the counter has a successor.
            following = self.result(f"add nsw i32 {now}, 1")
            self.put(counter, following)
            self.branch("slt", following, stop, body, end)
            self.body.append(f"{more}:\n  unreachable")
        else:
            # What is left is in 1..2**32 - 1: where it is no more than a step, the sum could leave 32 bits.
            left = self.result(f"sub i32 {stop}, {now}")
            self.branch("ugt", left, str(step), more, end)
            self.label(more)
            self.put(counter, self.result(f"add nsw i32 {now}, {step}"))
            self.jump(body)
        self.label(end)
        for name in halved:
            del scope.shifted[name, node.target.id]

    # ------------------------------------------------------------------------------------------ values

    def value(self, node: ast.expr, scope: _Scope) -> str:
        if isinstance(node, ast.Constant):
            return str(node.value)
        if isinstance(node, ast.Name):
            # A local of a constant's name shadows nothing: the dialect refuses the assignment.
            if node.id in scope.slots:
                return self.get(scope.slots[node.id])
            return str(self.constants[node.id])
        if isinstance(node, ast.BinOp):
            names = (node.left, node.right)
            if isinstance(node.op, ast.RShift) and isinstance(names[0], ast.Name) and isinstance(names[1], ast.Name):
                slot = scope.shifted.get((names[0].id, names[1].id))
                if slot is not None:
                    return self.get(slot)
            left = self.value(node.left, scope)
            right = self.value(node.right, scope)
            return self.result(f"{_OPERATORS[type(node.op)]} i32 {left}, {right}")
        if isinstance(node, ast.Subscript):
            return self.load(*self.element(node, scope))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            return self.call(node, node.func.id, scope)
        raise self.refuse(node, scope, f"{type(node).__name__} is not in the dialect")

    def call(self, node: ast.Call, name: str, scope: _Scope) -> str:
        arguments = []
        for (_, kind), argument in zip(parameters(self.source.functions[name]), node.args, strict=True):
            if kind == "int":
                arguments.append(f"i32 {self.value(argument, scope)}")
            else:
                assert isinstance(argument, ast.Name)
                arguments.append(f"ptr {scope.buffers[argument.id][0]}")
        self.called.append(name)
        return self.result(f"call i32 @{quoted(name)}({', '.join(arguments)})")

    def element(self, node: ast.Subscript, scope: _Scope) -> tuple[str, str]:
        """Return the address and the type of a buffer's element."""
        assert isinstance(node.value, ast.Name)
        buffer, width = scope.buffers[node.value.id]
        index = self.value(node.slice, scope)
        return self.result(f"getelementptr inbounds {width}, ptr {buffer}, i32 {index}"), width

    def load(self, address: str, width: str) -> str:
        value = self.result(f"load {width}, ptr {address}")
        return value if width == "i32" else self.result(f"zext {width} {value} to i32")

    def store(self, address: str, width: str, value: str) -> None:
        if width != "i32":
            value = self.result(f"trunc i32 {value} to {width}")
        self.emit(f"store {width} {value}, ptr {address}")

    def condition(self, node: ast.expr, scope: _Scope, yes: str, no: str) -> None:
        if isinstance(node, ast.BoolOp):
            *first, last = node.values
            for part in first:
                following = self.new("next")
                if isinstance(node.op, ast.And):
                    self.condition(part, scope, following, no)
                else:
                    self.condition(part, scope, yes, following)
                self.label(following)
            self.condition(last, scope, yes, no)
        elif isinstance(node, ast.Compare):
            left = self.value(node.left, scope)
            right = self.value(node.comparators[0], scope)
            self.branch(_COMPARISONS[type(node.ops[0])], left, right, yes, no)
        else:
            raise self.refuse(node, scope, f"{type(node).__name__} is not in the dialect")

    # ------------------------------------------------------------------------------------------ places

    def at(self, scope: _Scope, node: ast.stmt) -> None:
        """Let the instructions that follow belong to a statement."""
        self.place = self.places.number(self.name, scope.file, node.lineno)

    def refuse(self, node: ast.AST, scope: _Scope, problem: str) -> CompileError:
        return CompileError(f"{scope.file}:{getattr(node, 'lineno', 0)}: {problem}")
