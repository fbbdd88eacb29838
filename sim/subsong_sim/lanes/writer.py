"""Writes kernels as vector code: L runs side by side, specialised to what is known of their blocks.

The kernels are executed here, statement by statement, on numbers where they are known and on registers where they are
not. What the block's structure decides (layers, offsets, the estimator, the task's kind) is decided now: one side of a
condition is left out, a short loop is written turn by turn. What the runs decide each for itself is computed under a
mask.
"""

import ast
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from subsong_sim.errors import EngineError
from subsong_sim.lanes.clip import Clip, clip_of
from subsong_sim.lanes.course import Course, Follower, stored
from subsong_sim.lanes.emit import WIDTHS
from subsong_sim.lanes.entry import parameters, signature
from subsong_sim.lanes.flow import Scope
from subsong_sim.lanes.plant import PLANT_CALLS
from subsong_sim.lanes.values import Condition, Register, Value
from subsong_sim.lanes.words import Words
from subsong_sim.loader import Source

# A branch around a few statements costs more than they do.
SHORT = 6


class Writer(Words):
    """Writes one function.

    Args:
        source: kernels, joined.
        lanes, unroll, frozen, fixed, alike, tables: as of Words.
    """

    def __init__(self, source: Source, lanes: int, **known: Any) -> None:
        super().__init__(lanes, **known)
        self.source = source

    def function(self, kernel: str, name: str, arguments: Mapping[str, int], *, everybody: bool) -> str:
        """Return the text of an internal function that executes a kernel.

        Args:
            kernel: its name in the source.
            name: of the function; it takes the kernel's parameters and, as i32 %active, a bit for each run.
            arguments: of the kernel's numbers, those that are known.
            everybody: all runs take part, whatever %active says.

        Raises:
            Varies: a word is not as it was taken for.
            TooLong: with its loops unrolled, it is.
            EngineError: what the writer cannot write, with file and line.
        """
        function = self.source.functions[kernel]
        scope = Scope(self.source.files.get(kernel, kernel))
        for parameter, kind in parameters(function):
            if kind == "int":
                scope.env[parameter] = arguments.get(parameter, Register(f"%{parameter}", varying=False))
            else:
                scope.buffers[parameter] = (parameter, WIDTHS[kind])
        self.begin(everybody=everybody)
        *body, last = function.body
        self._block(body, scope)
        assert isinstance(last, ast.Return) and last.value is not None
        self._value(last.value, scope)  # nobody wants it, but it may be a call
        self.emit("ret i32 0")
        return "\n".join([f"define internal i32 @{name}({signature(function)}) #0 {{", "entry:", *self.lines, "}"])

    # ------------------------------------------------------------------------------------------ statements

    def _block(self, body: Iterable[ast.stmt], scope: Scope) -> None:
        for node in body:
            self._statement(node, scope)

    def _statement(self, node: ast.stmt, scope: Scope) -> None:
        if isinstance(node, ast.Assign | ast.AugAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name):
                scope.env[target.id] = self._assigned(node, target, scope)
            else:
                assert isinstance(target, ast.Subscript)
                self._assign_word(node, target, scope)
        elif isinstance(node, ast.If):
            self._choice(node, scope)
        elif isinstance(node, ast.For | ast.While):
            self._loop(node, scope)
        elif isinstance(node, ast.Expr):
            if isinstance(node.value, ast.Call):
                self._value(node.value, scope)
        else:
            raise refuse(node, scope, f"{type(node).__name__} is not in the dialect")

    def _assigned(self, node: ast.Assign | ast.AugAssign, target: ast.Name, scope: Scope) -> Value:
        fact = self.facts.get(id(node))
        if fact is not None:
            return fact
        if isinstance(node, ast.Assign):
            return self._value(node.value, scope)
        old = scope.env[target.id]
        return self.operation(node.op, old, self._value(node.value, scope))

    def _assign_word(self, node: ast.Assign | ast.AugAssign, target: ast.Subscript, scope: Scope) -> None:
        if isinstance(node, ast.Assign):
            value = self._value(node.value, scope)
            index = self._value(target.slice, scope)
        else:
            index = self._value(target.slice, scope)
            old = self._word(target, index, scope)
            value = self.operation(node.op, old, self._value(node.value, scope))
        assert isinstance(target.value, ast.Name)
        buffer, width = scope.buffers[target.value.id]
        self.write(buffer, width, index, value)

    def _choice(self, node: ast.If, scope: Scope) -> None:
        fact = self.facts.get(id(node))
        condition = bool(fact) if fact is not None else self._condition(node.test, scope)
        if isinstance(condition, bool):
            self._block(node.body if condition else node.orelse, scope)
        elif condition.varying and (clip := clip_of(node)) is not None:
            self._clip(clip, scope)
        elif condition.varying:
            sides = [(self.narrowed(condition), node.body)]
            if node.orelse:
                sides.append((self.narrowed(self.opposite(condition)), node.orelse))
            for mask, body in sides:
                self._masked(mask, stored(body), partial(self._block, body, scope), scope, guarded=is_long(body))
        else:
            self._choose(
                condition.name, [partial(self._block, body, scope) for body in (node.body, node.orelse)], scope
            )

    def _clip(self, clip: Clip, scope: Scope) -> None:
        """Write what runs clip, each for itself; who has another value than before was clipped."""
        value, low, high = scope.env[clip.name], self._value(clip.low, scope), self._value(clip.high, scope)
        below, above = self.compare("slt", value, low), self.compare("sgt", value, high)
        clipped = self.select(self.test_text(below, True), low, value)
        clipped = self.select(self.test_text(above, True), high, clipped)
        scope.env[clip.name] = clipped
        if clip.counter is not None:
            changed = self.number(self.compare("ne", clipped, value))
            scope.env[clip.counter] = self.operation(ast.Add(), scope.env[clip.counter], changed)

    # ------------------------------------------------------------------------------------------ loops

    def _loop(self, node: ast.For | ast.While, scope: Scope) -> None:
        bounds = self._bounds(node, scope) if isinstance(node, ast.For) else None
        course = self._course(node, bounds, scope)
        if course is not None:
            self._known_loop(node, course, scope)
        elif isinstance(node, ast.While):
            condition, body = node.test, node.body
            self._repeat(
                node, scope, stored(body), lambda: self._condition(condition, scope), lambda: self._block(body, scope)
            )
        else:
            assert bounds is not None
            self._counted(node, bounds, scope)

    def _course(
        self, node: ast.For | ast.While, bounds: tuple[Value, Value, int] | None, scope: Scope
    ) -> Course | None:
        """Return a loop's course, where it is known."""
        span = None
        if bounds is not None:
            start, stop, step = bounds
            if not (isinstance(start, int) and isinstance(stop, int)):
                return None
            span = range(start, stop, step)

        def load(word: ast.Subscript, index: int) -> int | None:
            assert isinstance(word.value, ast.Name)
            return self.frozen.get((scope.buffers[word.value.id][0], index))

        known = {name: v for name, v in scope.env.items() if isinstance(v, int)}
        constants = {k: v for k, v in self.source.constants.items() if k not in scope.env}
        return Follower(constants, load).follow(node, known, span)

    def _bounds(self, node: ast.For, scope: Scope) -> tuple[Value, Value, int]:
        assert isinstance(node.iter, ast.Call)
        values = [self._value(a, scope) for a in node.iter.args]
        if len(values) == 1:
            return 0, values[0], 1
        step = values[2] if len(values) == 3 else 1
        assert isinstance(step, int), "range's step is a literal"
        return values[0], values[1], step

    # ------------------------------------------------------------------------------------------ values

    def _value(self, node: ast.expr, scope: Scope) -> Value:
        if isinstance(node, ast.Constant):
            assert isinstance(node.value, int)
            return node.value
        if isinstance(node, ast.Name):
            return scope.env[node.id] if node.id in scope.env else self.source.constants[node.id]
        if isinstance(node, ast.BinOp):
            left = self._value(node.left, scope)
            return self.operation(node.op, left, self._value(node.right, scope))
        if isinstance(node, ast.Subscript):
            return self._word(node, self._value(node.slice, scope), scope)
        if isinstance(node, ast.Call):
            return self._call(node, scope)
        raise refuse(node, scope, f"{type(node).__name__} is not in the dialect")

    def _word(self, node: ast.Subscript, index: Value, scope: Scope) -> Value:
        assert isinstance(node.value, ast.Name)
        buffer, width = scope.buffers[node.value.id]
        return self.read(buffer, width, index)

    def _condition(self, node: ast.expr, scope: Scope) -> Condition:
        if isinstance(node, ast.Compare):
            left = self._value(node.left, scope)
            return self.compared(node.ops[0], left, self._value(node.comparators[0], scope))
        if not isinstance(node, ast.BoolOp):
            raise refuse(node, scope, f"{type(node).__name__} is not in the dialect")
        both = isinstance(node.op, ast.And)
        whole: Condition = both
        for part in node.values:
            if isinstance(whole, bool):
                if whole is not both:
                    return whole
                whole = self._condition(part, scope)
                continue
            second = self._second(whole, part, both, scope)
            if not isinstance(second, bool):
                whole = self.joined(whole, second, both)
            elif second is not both:
                whole = second
        return whole

    def _second(self, first: Register, part: ast.expr, both: bool, scope: Scope) -> Condition:
        """Return what is asked behind `and` or `or`: not asked where the first half decides, if asking could harm."""
        nodes = list(ast.walk(part))
        plain = all(self._is_scalar(n, scope) for n in nodes if isinstance(n, ast.Subscript))
        if plain and not any(isinstance(n, ast.Call) for n in nodes):
            return self._condition(part, scope)
        answer = self.new("%asked")
        scope.env[answer] = 1 - both

        def ask() -> None:
            scope.env[answer] = self.number(self._condition(part, scope))

        open_ = first if both else self.opposite(first)
        if open_.varying:
            self._masked(self.narrowed(open_), {answer}, ask, scope, guarded=True)
        else:
            self._choose(open_.name, [ask, lambda: None], scope)
        return self.compared(ast.NotEq(), scope.env.pop(answer), 0)

    def _is_scalar(self, word: ast.Subscript, scope: Scope) -> bool:
        """Return whether a word is one that every block has."""
        assert isinstance(word.value, ast.Name)
        buffer, _ = scope.buffers[word.value.id]
        if not isinstance(word.slice, ast.Constant | ast.Name):
            return False
        index = self._value(word.slice, scope)
        return isinstance(index, int) and index < self.fixed.get(buffer, 0)

    def _call(self, node: ast.Call, scope: Scope) -> Value:
        assert isinstance(node.func, ast.Name)
        if node.func.id in PLANT_CALLS:
            return self._plant(node.func.id, node.args, scope)
        function = self.source.functions[node.func.id]
        inner = Scope(self.source.files.get(node.func.id, node.func.id))
        for (name, kind), argument in zip(parameters(function), node.args, strict=True):
            if kind == "int":
                inner.env[name] = self._value(argument, scope)
            else:
                assert isinstance(argument, ast.Name)
                inner.buffers[name] = scope.buffers[argument.id]
        *body, last = function.body
        assert isinstance(last, ast.Return) and last.value is not None
        self._calls.append(id(node))
        self._block(body, inner)
        result = self._value(last.value, inner)
        self._calls.pop()
        return result

    def _plant(self, name: str, arguments: list[ast.expr], scope: Scope) -> Register:
        """Call a plant's function, which may change every word of the buffers that it is given."""
        passed = []
        for argument in arguments:
            if isinstance(argument, ast.Name) and argument.id in scope.buffers:
                buffer = scope.buffers[argument.id][0]
                self.memory = {word: value for word, value in self.memory.items() if word[0] != buffer}
                passed.append(f"ptr %{buffer}")
            else:
                passed.append(f"i32 {self.text(self._value(argument, scope), False)}")
        return Register(self.result(f"call i32 @{name}({', '.join(passed)})"), varying=False)


def is_long(body: list[ast.stmt]) -> bool:
    """Return whether statements are worth a branch around them."""
    nodes = (n for top in body for n in ast.walk(top))
    return len(body) > SHORT or any(isinstance(n, ast.For | ast.While | ast.Call) for n in nodes)


def refuse(node: ast.AST, scope: Scope, problem: str) -> EngineError:
    """Return the error that names a place in the source."""
    return EngineError(f"{scope.file}:{getattr(node, 'lineno', 0)}: {problem}")
