"""Loops whose course the structure decides: turn by turn, or as steady turns in which most is known."""

import ast
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from subsong_sim.lanes.course import Course, cycles, stored, sums, weighed
from subsong_sim.lanes.flow import Flow, Scope
from subsong_sim.lanes.products import FUNCTION, NEEDS, SHORTEST, available, products
from subsong_sim.lanes.values import Register, Value, int32

# Turns of a loop that is written turn by turn: with many runs, with one. With one, LLVM would make vectors of a loop of
# nine turns, the ninth by a mask of one lane; and LLVM 22.1 then stores two 16-bit words for that one.
UNROLLED = {True: 8, False: 15}
LONGEST = 30_000  # instructions of a function, those that were written anew included


class Circle(NamedTuple):
    """What a name is at the loop's head, by how much it goes on each turn, and what of it is kept."""

    start: Register
    step: Value
    mask: Value


class TooLong(Exception):
    """Loops within loops, written turn by turn, fill the memory: the writer begins anew and leaves them loops."""


class Loops(Flow):
    """Writes loops of a known course.

    Args:
        lanes: runs side by side.
        unroll: short loops are written turn by turn.

    Attributes:
        facts: what statements of the loops around have as their value in every turn, by the statement's id.
    """

    def __init__(self, lanes: int, *, unroll: bool) -> None:
        super().__init__(lanes)
        self.facts: dict[int, int] = {}
        self._unroll = unroll
        self._unrolled = UNROLLED[lanes > 1] if unroll else 2  # steady turns are at least two

    @abstractmethod
    def _block(self, body: Iterable[ast.stmt], scope: Scope) -> None:
        """Write statements."""

    @abstractmethod
    def _value(self, node: ast.expr, scope: Scope) -> Value:
        """Write an expression."""

    def _known_loop(self, node: ast.For | ast.While, course: Course, scope: Scope) -> None:
        """Write a loop whose course is known: turn by turn, or as a loop of steady turns, the last one apart."""
        turns = course.turns
        if self.lanes == 1 and turns >= SHORTEST and self._is_products(node, course, scope):
            scope.env.update(course.heads[turns])
            return
        steady = 0
        if turns > self._unrolled:
            lines, facts = course.steady(turns)
            fewer = course.steady(turns - 1)
            steady = turns
            if len(fewer[0]) + len(fewer[1]) > len(lines) + len(facts):
                steady, (lines, facts) = turns - 1, fewer
            # What is no longer known behind them is carried from turn to turn.
            lines = {name: line for name, line in lines.items() if name in course.heads[steady]}
            self._steady_loop(node, steady, lines, facts, scope)
            scope.env.update(course.heads[steady])
        for t in range(steady, turns):
            if self._unroll and self.count > LONGEST:
                raise TooLong
            scope.env.update(course.heads[t])
            self._block(node.body, scope)
        scope.env.update(course.heads[turns])

    def _is_products(self, node: ast.For | ast.While, course: Course, scope: Scope) -> bool:
        """Write a loop as one call, if it is a weighted sum and the processor has an instruction for that."""
        found = products(node) if available() else None
        if found is None or not isinstance(node, ast.For):
            return False
        assert isinstance(node.target, ast.Name)
        first = course.heads[0][node.target.id]
        buffers = [scope.buffers[buffer] for buffer, _ in found.words]
        if course.heads[1][node.target.id] != first + 1 or any(width != 16 for _, width in buffers):
            return False
        pointers = []
        for (buffer, width), (_, offset) in zip(buffers, found.words, strict=True):
            index = self.operation(ast.Add(), self._value(offset, scope), first)
            pointers.append(f"ptr {self._address(buffer, width, index)}")
        shift = self.text(self._value(found.shift, scope), False)
        self.needs |= NEEDS | {FUNCTION}
        total = self.result(f"call i32 @products({', '.join(pointers)}, i32 {course.turns}, i32 {shift})")
        register = Register(total, varying=False)
        scope.env[found.total] = self.operation(ast.Add(), scope.env[found.total], register)
        return True

    def _steady_loop(
        self,
        node: ast.For | ast.While,
        turns: int,
        lines: Mapping[str, tuple[int, int]],
        facts: Mapping[int, int],
        scope: Scope,
    ) -> None:
        """Write turns that differ only in what goes up by equal steps, or around a circle."""
        counter, left = self.new("%counter"), self.new("%left")
        scope.env[counter] = 0
        outer, self.facts = self.facts, {**self.facts, **facts}
        circles: dict[str, Circle] = {}
        starts: dict[str, Register] = {}
        body = node.body
        if self.lanes == 1:
            # Many runs take the turns one after the other, and have no use for it.
            for name, (by, mask) in cycles(node).items():
                if isinstance(start := scope.env[name], Register):
                    circles[name] = Circle(start, self._value(by, scope), self._value(mask, scope))
                    del scope.env[name]
            body, orders = weighed(node, left)
            for name, inner in orders.items():
                before = self.operation(ast.Mult(), scope.env[inner], turns)
                scope.env[name] = self.operation(ast.Add(), scope.env[name], before)
            # From 0 on, so that no turn waits for what was before the loop.
            starts = {name: value for name in sums(node) if isinstance(value := scope.env[name], Register)}
            scope.env.update(dict.fromkeys(starts, 0))

        def turn() -> None:
            t = scope.env[counter]
            for name, (first, step) in lines.items():
                scope.env[name] = first if step == 0 else self._line(t, first, step, turns)
            for name, circle in circles.items():
                scope.env[name] = self._later(circle, t)
            if body is not node.body:
                scope.env[left] = self.operation(ast.Sub(), turns, t)
            self._block(body, scope)
            assert isinstance(t, Register)
            scope.env[counter] = Register(self.result(f"add nuw nsw i32 {t.name}, 1"), varying=False)

        changed = stored(node.body) - lines.keys() | {counter}
        for name in lines:
            # At the head of a turn it is what its line says.
            scope.env.pop(name, None)
        self._repeat(node, scope, changed, lambda: self.compared(ast.Lt(), scope.env[counter], turns), turn)
        for name, start in starts.items():
            scope.env[name] = self.operation(ast.Add(), scope.env[name], start)
        self.facts = outer
        del scope.env[counter]
        for name, circle in circles.items():
            scope.env[name] = self._around(circle, turns)

    def _around(self, circle: Circle, t: Value) -> Value:
        way = self.operation(ast.Mult(), t, circle.step)
        return self.operation(ast.BitAnd(), self.operation(ast.Add(), circle.start, way), circle.mask)

    def _later(self, circle: Circle, t: Value) -> Value:
        """Return what a name is at the head of turn t: at the first it is what it was, masked or not."""
        first = self.compare("eq", t, 0)
        there = self.text(self._around(circle, t), False)
        return Register(self.result(f"select i1 {first.name}, i32 {circle.start.name}, i32 {there}"), varying=False)

    def _line(self, t: Value, first: int, step: int, turns: int) -> Register:
        """Return first + step * t, modulo 2**32; t is below `turns`."""
        value = self.text(t, False)
        within = "nsw " if all(int32(end) == end for end in (step * turns, first + step * turns)) else ""
        if step != 1:
            value = self.result(f"mul {within}i32 {value}, {int32(step)}")
        return Register(value if first == 0 else self.result(f"add {within}i32 {value}, {first}"), varying=False)
