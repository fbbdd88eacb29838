"""Writes kernels as vector code: L runs side by side, specialised to what is known of their blocks.

The kernels are executed here, statement by statement, on numbers where they are known and on registers where they are
not. What the block's structure decides (layers, offsets, the estimator, the task's kind) is decided now: one side of a
condition is left out, a short loop is written turn by turn. What the runs decide each for itself is computed under a
mask.
"""

import ast
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from subsong_sim.errors import EngineError
from subsong_sim.lanes.course import Course, Follower, cycles, stored
from subsong_sim.lanes.emit import WIDTHS, Emitter
from subsong_sim.lanes.values import ARITHMETIC, COMPARISONS, Condition, Register, Value, int32
from subsong_sim.loader import Source

Word = tuple[str, int]  # buffer, index
Memory = dict[Word, Value]
UNROLLED = {True: 8, False: 4}  # turns of a loop that is written turn by turn: with many runs, with one
# A branch around a few statements costs more than they do.
SHORT = 6


class Thawed(Exception):  # noqa: N818 - no error: the writer begins anew
    """A kernel stores to a word that was taken for constant."""

    def __init__(self, word: Word) -> None:
        super().__init__(word)
        self.word = word


@dataclass
class _Scope:
    """A kernel where it is set in: its locals' values, its buffers (parameter of the entry, width)."""

    file: str
    env: dict[str, Value] = field(default_factory=dict)
    buffers: dict[str, tuple[str, int]] = field(default_factory=dict)


class Writer(Emitter):
    """Writes one function.

    Args:
        source: kernels, joined.
        lanes: runs side by side.
        frozen: words that no kernel changes, and are the same in all runs.
        fixed: for each buffer, the index from which on a store to an index that is not known may go.
    """

    def __init__(self, source: Source, lanes: int, frozen: Mapping[Word, int], fixed: Mapping[str, int]) -> None:
        super().__init__(lanes)
        self.source, self.frozen, self.fixed = source, frozen, fixed
        self.memory: Memory = {}
        self.facts: dict[int, int] = {}
        self._base: str | None = None

    def function(self, kernel: str, name: str, arguments: Mapping[str, int], *, everybody: bool) -> str:
        """Return the text of an internal function that executes a kernel.

        Args:
            kernel: its name in the source.
            name: of the function; it takes the kernel's parameters and, as i32 %active, a bit for each run.
            arguments: of the kernel's numbers, those that are known.
            everybody: all runs take part, whatever %active says.

        Raises:
            Thawed: the kernel stores to a frozen word.
            EngineError: what the writer cannot write, with file and line.
        """
        function = self.source.functions[kernel]
        scope = _Scope(self.source.files.get(kernel, kernel))
        for parameter, kind in parameters(function):
            if kind == "int":
                scope.env[parameter] = arguments.get(parameter, Register(f"%{parameter}", varying=False))
            else:
                scope.buffers[parameter] = (parameter, WIDTHS[kind])
        if self.lanes > 1 and not everybody:
            bits = self.result(f"trunc i32 %active to i{self.lanes}")
            self._base = self.mask = self.result(f"bitcast i{self.lanes} {bits} to {self.type(True, 'i1')}")
        *body, last = function.body
        self.block(body, scope)
        assert isinstance(last, ast.Return) and last.value is not None
        self.value(last.value, scope)  # nobody wants it, but it may be a call
        self.emit("ret i32 0")
        return "\n".join([f"define internal i32 @{name}({signature(function)}) #0 {{", "entry:", *self.lines, "}"])

    # ------------------------------------------------------------------------------------------ statements

    def block(self, body: Iterable[ast.stmt], scope: _Scope) -> None:
        for node in body:
            self.statement(node, scope)

    def statement(self, node: ast.stmt, scope: _Scope) -> None:
        if isinstance(node, ast.Assign | ast.AugAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name):
                scope.env[target.id] = self.assigned(node, target, scope)
            else:
                assert isinstance(target, ast.Subscript)
                self.assign_word(node, target, scope)
        elif isinstance(node, ast.If):
            self.choice(node, scope)
        elif isinstance(node, ast.For | ast.While):
            self.loop(node, scope)
        elif isinstance(node, ast.Expr):
            if isinstance(node.value, ast.Call):
                self.value(node.value, scope)
        else:
            raise refuse(node, scope, f"{type(node).__name__} is not in the dialect")

    def assigned(self, node: ast.Assign | ast.AugAssign, target: ast.Name, scope: _Scope) -> Value:
        fact = self.facts.get(id(node))
        if fact is not None:
            return fact
        if isinstance(node, ast.Assign):
            return self.value(node.value, scope)
        old = scope.env[target.id]
        return self.operation(node.op, old, self.value(node.value, scope))

    def assign_word(self, node: ast.Assign | ast.AugAssign, target: ast.Subscript, scope: _Scope) -> None:
        if isinstance(node, ast.Assign):
            value = self.value(node.value, scope)
            index = self.value(target.slice, scope)
        else:
            index = self.value(target.slice, scope)
            old = self.word(target, index, scope)
            value = self.operation(node.op, old, self.value(node.value, scope))
        assert isinstance(target.value, ast.Name)
        buffer, width = scope.buffers[target.value.id]
        if isinstance(index, int) and (buffer, index) in self.frozen:
            raise Thawed((buffer, index))
        self.store(buffer, width, index, value)
        if not isinstance(index, int):
            limit = self.fixed.get(buffer, 0)
            for word in [w for w in self.memory if w[0] == buffer and w[1] >= limit]:
                del self.memory[word]
            return
        if width != 32:
            value = self.operation(ast.BitAnd(), value, (1 << width) - 1)
        word = buffer, index
        if self.mask == self._base:
            self.memory[word] = value
        elif word in self.memory:
            assert self.mask is not None
            self.memory[word] = self.select(self.mask, value, self.memory[word])

    def choice(self, node: ast.If, scope: _Scope) -> None:
        fact = self.facts.get(id(node))
        condition = bool(fact) if fact is not None else self.condition(node.test, scope)
        if isinstance(condition, bool):
            self.block(node.body if condition else node.orelse, scope)
        elif condition.varying:
            mask = self.narrowed(condition)
            others = self.narrowed(self.opposite(condition)) if node.orelse else ""
            self.masked(node.body, mask, scope)
            if node.orelse:
                self.masked(node.orelse, others, scope)
        else:
            yes, no, end = (self.new(p) for p in ("then", "else", "end"))
            self.branch(condition.name, yes, no)
            arms = [
                self.arm(label, scope, lambda body=body: self.block(body, scope))
                for label, body in ((yes, node.body), (no, node.orelse))
            ]
            self.join(arms, end, scope)

    def masked(self, body: list[ast.stmt], mask: str, scope: _Scope) -> None:
        """Execute statements in the runs of a mask, and not at all where there are none."""
        changed = stored(body)

        def run() -> None:
            old, outer, self.mask = dict(scope.env), self.mask, mask
            self.block(body, scope)
            self.mask = outer
            for name in changed & scope.env.keys():
                if name in old:
                    scope.env[name] = self.select(mask, scope.env[name], old[name])

        nodes = [n for top in body for n in ast.walk(top)]
        if not any(isinstance(n, ast.For | ast.While | ast.Call) for n in nodes) and len(body) <= SHORT:
            run()
            return
        for name in changed - scope.env.keys():
            # Only runs of this mask will read it.
            scope.env[name] = 0
        yes, end = self.new("some"), self.new("end")
        around = _Arm([], self.label, dict(scope.env), dict(self.memory))
        self.branch(self.any(mask), yes, end)
        self.join([self.arm(yes, scope, run), around], end, scope)

    def arm(self, label: str, scope: _Scope, run: Callable[[], None]) -> "_Arm":
        """Write one side of a branch apart; the state is afterwards what it was before."""
        lines, env, memory, before = self.lines, dict(scope.env), dict(self.memory), self.label
        self.lines = []
        self.start(label)
        run()
        written = _Arm(self.lines, self.label, scope.env, self.memory)
        self.lines, scope.env, self.memory, self.label = lines, env, memory, before
        return written

    def join(self, arms: list["_Arm"], end: str, scope: _Scope) -> None:
        """Let two sides of a branch meet: what differs becomes one register.

        A side without lines is the block from which the branch came.
        """
        first, second = arms
        merged: dict[str, tuple[Value, Value]] = {}
        env = {}
        for name, a in first.env.items():
            if name in second.env:
                b = second.env[name]
                env[name] = a
                if a != b:
                    merged[name] = a, b
        varying = {name: any(isinstance(v, Register) and v.varying for v in pair) for name, pair in merged.items()}
        texts = []
        here = self.lines
        for n, side in enumerate(arms):
            # A row made of one register is made at the side's end; the branch is in the way where a side is no block.
            branch = [] if side.lines else [here.pop()]
            self.lines = side.lines or here
            texts.append({name: self.text(pair[n], varying[name]) for name, pair in merged.items()})
            if side.lines:
                self.jump(end)
            here += branch
        self.lines = here
        for side in arms:
            self.lines += side.lines
        self.start(end)
        for name in merged:
            sides = ", ".join(f"[ {t[name]}, %{s.label} ]" for t, s in zip(texts, arms, strict=True))
            env[name] = Register(self.result(f"phi {self.type(varying[name])} {sides}"), varying[name])
        scope.env = env
        self.memory = {word: v for word, v in first.memory.items() if second.memory.get(word) == v}

    # ------------------------------------------------------------------------------------------ loops

    def loop(self, node: ast.For | ast.While, scope: _Scope) -> None:
        span, bounds = None, tuple[Value, Value, int]()
        if isinstance(node, ast.For):
            bounds = self.bounds(node, scope)
            if isinstance(bounds[0], int) and isinstance(bounds[1], int):
                span = range(bounds[0], bounds[1], bounds[2])
                if not span:
                    return
        known = {name: v for name, v in scope.env.items() if isinstance(v, int)}
        if isinstance(node, ast.While) or span is not None:

            def load(word: ast.Subscript, index: int) -> int | None:
                assert isinstance(word.value, ast.Name)
                return self.frozen.get((scope.buffers[word.value.id][0], index))

            constants = {k: v for k, v in self.source.constants.items() if k not in scope.env}
            course = Follower(constants, load).follow(node, known, span)
            if course is not None:
                self.known_loop(node, course, scope)
                return
        if isinstance(node, ast.While):
            self.repeat(
                scope, stored(node.body), lambda: self.condition(node.test, scope), lambda: self.block(node.body, scope)
            )
            return
        assert isinstance(node.target, ast.Name)
        variable, counter = node.target.id, self.new("%counter")
        scope.env[counter] = bounds[0]

        def turn() -> None:
            scope.env[variable] = scope.env[counter]
            self.block(node.body, scope)
            scope.env[counter] = self.operation(ast.Add(), scope.env[counter], bounds[2])

        changed = stored(node.body) | {counter}
        scope.env.setdefault(variable, 0)
        self.repeat(scope, changed | {variable}, lambda: self.compared(ast.Lt(), scope.env[counter], bounds[1]), turn)
        del scope.env[counter]

    def bounds(self, node: ast.For, scope: _Scope) -> tuple[Value, Value, int]:
        assert isinstance(node.iter, ast.Call)
        values = [self.value(a, scope) for a in node.iter.args]
        if len(values) == 1:
            return 0, values[0], 1
        step = values[2] if len(values) == 3 else 1
        assert isinstance(step, int), "range's step is a literal"
        return values[0], values[1], step

    def known_loop(self, node: ast.For | ast.While, course: Course, scope: _Scope) -> None:
        """Write a loop whose course is known: turn by turn, or as a loop of steady turns, the last one apart."""
        turns = course.turns
        steady = 0
        if turns > UNROLLED[self.lanes > 1]:
            lines, facts = course.steady(turns)
            fewer = course.steady(turns - 1)
            steady = turns
            if len(fewer[0]) + len(fewer[1]) > len(lines) + len(facts):
                steady, (lines, facts) = turns - 1, fewer
            self.steady_loop(node, steady, lines, facts, scope)
            scope.env.update(course.heads[steady])
        for t in range(steady, turns):
            scope.env.update(course.heads[t])
            self.block(node.body, scope)
        scope.env.update(course.heads[turns])

    def steady_loop(
        self,
        node: ast.For | ast.While,
        turns: int,
        lines: Mapping[str, tuple[int, int]],
        facts: Mapping[int, int],
        scope: _Scope,
    ) -> None:
        """Write turns that differ only in what goes up by equal steps, or around a circle."""
        counter = self.new("%counter")
        scope.env[counter] = 0
        outer, self.facts = self.facts, {**self.facts, **facts}
        circles = {}
        if self.lanes == 1:
            # Many runs take the turns one after the other, and have no use for it.
            for name, (by, mask) in cycles(node.body).items():
                if isinstance(start := scope.env[name], Register):
                    circles[name] = _Circle(start, self.value(by, scope), self.value(mask, scope))
                    del scope.env[name]

        def turn() -> None:
            t = scope.env[counter]
            for name, (first, step) in lines.items():
                scope.env[name] = first if step == 0 else self.line(t, first, step)
            for name, circle in circles.items():
                scope.env[name] = self.later(circle, t)
            self.block(node.body, scope)
            assert isinstance(t, Register)
            scope.env[counter] = Register(self.result(f"add nuw nsw i32 {t.name}, 1"), varying=False)

        changed = stored(node.body) - lines.keys() | {counter}
        for name in lines:
            # At the head of a turn it is what its line says.
            scope.env.pop(name, None)
        self.repeat(scope, changed, lambda: self.compared(ast.Lt(), scope.env[counter], turns), turn)
        self.facts = outer
        del scope.env[counter]
        for name, circle in circles.items():
            scope.env[name] = self.around(circle, turns)

    def around(self, circle: "_Circle", t: Value) -> Value:
        way = self.operation(ast.Mult(), t, circle.step)
        return self.operation(ast.BitAnd(), self.operation(ast.Add(), circle.start, way), circle.mask)

    def later(self, circle: "_Circle", t: Value) -> Value:
        """Return what a name is at the head of turn t: at the first it is what it was, masked or not."""
        first = self.compare("eq", t, 0)
        there = self.text(self.around(circle, t), False)
        return Register(self.result(f"select i1 {first.name}, i32 {circle.start.name}, i32 {there}"), varying=False)

    def line(self, t: Value, first: int, step: int) -> Register:
        """Return first + step * t, which does not leave 32 bits."""
        value = self.text(t, False)
        if step != 1:
            value = self.result(f"mul nsw i32 {value}, {step}")
        return Register(value if first == 0 else self.result(f"add nsw i32 {value}, {first}"), varying=False)

    def repeat(self, scope: _Scope, changed: set[str], test: Callable[[], Condition], turn: Callable[[], None]) -> None:
        """Write a loop: what it changes is a register at its head, for each run its own where a turn makes it so."""
        carried = sorted(changed & scope.env.keys())
        rows = {name: isinstance(v := scope.env[name], Register) and v.varying for name in carried}
        lost: set[Word] = set()
        length, before, env, memory = len(self.lines), self.label, dict(scope.env), dict(self.memory)
        while not self._turned(scope, carried, rows, lost, test, turn):
            del self.lines[length:]
            self.label, scope.env, self.memory = before, dict(env), dict(memory)

    def _turned(
        self,
        scope: _Scope,
        carried: list[str],
        rows: dict[str, bool],
        lost: set[Word],
        test: Callable[[], Condition],
        turn: Callable[[], None],
    ) -> bool:
        """Write the loop once; False if what it took for uniform, or for unchanged, is not: both are noted."""
        head, body, end = (self.new(p) for p in ("head", "turn", "end"))
        texts = {name: [f"[ {self.text(scope.env[name], rows[name])}, %{self.label} ]"] for name in carried}
        self.jump(head)
        self.start(head)
        at = len(self.lines)
        registers = {name: Register(self.new("%at"), rows[name]) for name in carried}
        self.lines += [""] * len(carried)
        scope.env.update(registers)
        self.memory = {word: v for word, v in self.memory.items() if word not in lost}
        condition = test()
        left = dict(scope.env), dict(self.memory)
        outer, narrowed = self.mask, None
        if isinstance(condition, Register) and condition.varying:
            narrowed = self.narrowed(condition)
            self.branch(self.any(narrowed), body, end)
            self.mask = narrowed
        else:
            self.branch(self.test_text(condition, False), body, end)
        self.start(body)
        turn()
        self.mask = outer
        if narrowed is not None:
            for name in carried:
                scope.env[name] = self.select(narrowed, scope.env[name], registers[name])
        changed = {word for word, v in left[1].items() if self.memory.get(word) != v} - lost
        became = [
            name for name in carried if not rows[name] and isinstance(v := scope.env[name], Register) and v.varying
        ]
        if changed or became:
            lost |= changed
            rows.update(dict.fromkeys(became, True))
            return False
        for name in carried:
            texts[name].append(f"[ {self.text(scope.env[name], rows[name])}, %{self.label} ]")
        for n, name in enumerate(carried):
            self.lines[at + n] = f"  {registers[name].name} = phi {self.type(rows[name])} {', '.join(texts[name])}"
        self.jump(head)
        self.start(end)
        scope.env, self.memory = left
        return True

    # ------------------------------------------------------------------------------------------ values

    def operation(self, op: ast.operator, a: Value, b: Value) -> Value:
        name, function = ARITHMETIC[type(op)]
        if isinstance(a, int) and isinstance(b, int):
            return int32(function(a, b))
        return self.binary(name, a, b)

    def compared(self, op: ast.cmpop, a: Value, b: Value) -> Condition:
        name, function = COMPARISONS[type(op)]
        if isinstance(a, int) and isinstance(b, int):
            return function(a, b)
        return self.compare(name, a, b)

    def value(self, node: ast.expr, scope: _Scope) -> Value:
        if isinstance(node, ast.Constant):
            assert isinstance(node.value, int)
            return node.value
        if isinstance(node, ast.Name):
            return scope.env[node.id] if node.id in scope.env else self.source.constants[node.id]
        if isinstance(node, ast.BinOp):
            left = self.value(node.left, scope)
            return self.operation(node.op, left, self.value(node.right, scope))
        if isinstance(node, ast.Subscript):
            return self.word(node, self.value(node.slice, scope), scope)
        if isinstance(node, ast.Call):
            return self.call(node, scope)
        raise refuse(node, scope, f"{type(node).__name__} is not in the dialect")

    def word(self, node: ast.Subscript, index: Value, scope: _Scope) -> Value:
        assert isinstance(node.value, ast.Name)
        buffer, width = scope.buffers[node.value.id]
        if isinstance(index, int):
            word = buffer, index
            if word in self.frozen:
                return self.frozen[word]
            if word not in self.memory:
                self.memory[word] = self.load(buffer, width, index)
            return self.memory[word]
        return self.load(buffer, width, index)

    def condition(self, node: ast.expr, scope: _Scope) -> Condition:
        if isinstance(node, ast.Compare):
            left = self.value(node.left, scope)
            return self.compared(node.ops[0], left, self.value(node.comparators[0], scope))
        if not isinstance(node, ast.BoolOp):
            raise refuse(node, scope, f"{type(node).__name__} is not in the dialect")
        both = isinstance(node.op, ast.And)
        whole: Condition = both
        for part in node.values:
            if isinstance(whole, bool):
                if whole is not both:
                    return whole
                whole = self.condition(part, scope)
                continue
            for n in ast.walk(part):
                if isinstance(n, ast.Call) or (
                    isinstance(n, ast.Subscript) and not isinstance(self.value(n.slice, scope), int)
                ):
                    raise refuse(part, scope, "a batch cannot ask this behind `and` or `or`; nest two `if`s")
            second = self.condition(part, scope)
            if not isinstance(second, bool):
                whole = self.joined(whole, second, both)
            elif second is not both:
                whole = second
        return whole

    def call(self, node: ast.Call, scope: _Scope) -> Value:
        assert isinstance(node.func, ast.Name)
        function = self.source.functions[node.func.id]
        inner = _Scope(self.source.files.get(node.func.id, node.func.id))
        for (name, kind), argument in zip(parameters(function), node.args, strict=True):
            if kind == "int":
                inner.env[name] = self.value(argument, scope)
            else:
                assert isinstance(argument, ast.Name)
                inner.buffers[name] = scope.buffers[argument.id]
        *body, last = function.body
        self.block(body, inner)
        assert isinstance(last, ast.Return) and last.value is not None
        return self.value(last.value, inner)


class _Circle(NamedTuple):
    """What a name is at the loop's head, by how much it goes on each turn, and what of it is kept."""

    start: Register
    step: Value
    mask: Value


@dataclass
class _Arm:
    """One side of a branch: its lines, the block it ends in, and the state there."""

    lines: list[str]
    label: str
    env: dict[str, Value]
    memory: Memory


def parameters(function: ast.FunctionDef) -> list[tuple[str, str]]:
    """Return the names and kinds (ptr8, ptr16, ptr32, int) of a kernel's parameters."""
    return [(p.arg, p.annotation.id) for p in function.args.args if isinstance(p.annotation, ast.Name)]


def signature(function: ast.FunctionDef) -> str:
    """Return the parameters of a kernel's function, the active runs' bits last."""
    kinds = {"int": "i32"}
    own = [f"{kinds.get(kind, 'ptr noalias')} %{name}" for name, kind in parameters(function)]
    return ", ".join([*own, "i32 %active"])


def refuse(node: ast.AST, scope: _Scope, problem: str) -> EngineError:
    """Return the error that names a place in the source."""
    return EngineError(f"{scope.file}:{getattr(node, 'lineno', 0)}: {problem}")
