"""Loops: of a known course, turn by turn or as steady turns in which most is known; and over what the runs decide."""

import ast
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from functools import partial
from typing import NamedTuple

from subsong_sim.lanes.course import Course, SumOfSums, cycles, stored, sum_of_sums, sums
from subsong_sim.lanes.flow import Flow, Scope
from subsong_sim.lanes.products import (
    BLOCK,
    PRODUCTS,
    SHORTEST,
    WEIGHED,
    Products,
    Routine,
    downwards,
    products,
)
from subsong_sim.lanes.values import Register, Value, int32

# Turns of a loop that is written turn by turn: with many runs, with one. With one, LLVM would make vectors of a loop of
# nine turns, the ninth by a mask of one lane; and LLVM 22.1 then stores two 16-bit words for that one.
UNROLLED = {True: 8, False: 15}
LONGEST = 30_000  # instructions of a function, those that were written anew included


class Circle(NamedTuple):
    """The name that counts how far another has come, by how much that goes on each turn, and what of it is kept."""

    way: str
    step: Value
    mask: Value


class TooLong(Exception):
    """Loops within loops, written turn by turn, fill the memory: the writer begins anew and leaves them loops."""


class Loops(Flow):
    """Writes loops of a known course, and over ranges.

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
        if self.lanes == 1 and turns > 1 and self._is_sum(node, course, scope):
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

    def _counted(self, node: ast.For, bounds: tuple[Value, Value, int], scope: Scope) -> None:
        """Write a loop over a range whose ends are not known."""
        start, stop, step = bounds
        assert isinstance(node.target, ast.Name)
        variable, counter = node.target.id, self.new("%counter")
        scope.env[counter] = start
        scope.env.setdefault(variable, 0)

        def turn() -> None:
            scope.env[variable] = scope.env[counter]
            self._block(node.body, scope)
            scope.env[counter] = self.operation(ast.Add(), scope.env[counter], step)

        changed = stored(node.body) | {counter, variable}
        self._repeat(node, scope, changed, lambda: self.compared(ast.Lt(), scope.env[counter], stop), turn)
        del scope.env[counter]

    def _is_sum(self, node: ast.For | ast.While, course: Course, scope: Scope) -> bool:
        """Write a loop as a call, if it is a weighted sum and the processor has an instruction for that."""
        if not (isinstance(node, ast.For) and isinstance(node.target, ast.Name)):
            return False
        first, second = (course.heads[t][node.target.id] for t in (0, 1))
        if second != first + 1:
            return False
        if course.turns >= SHORTEST and PRODUCTS.available() and (product := products(node)):
            return self._products(product, first, course.turns, scope)
        if course.turns == BLOCK and WEIGHED.available() and (found := sum_of_sums(node)):
            words = downwards(found.value, node.target.id)
            return words is not None and self._weighed(found, words, first + BLOCK - 1, scope)
        return False

    def _products(self, found: Products, first: int, turns: int, scope: Scope) -> bool:
        """Write a layer's weighted sum, of words of 16 bits."""
        buffers = [scope.buffers[buffer] for buffer, _ in found.words]
        if any(width != 16 for _, width in buffers):
            return False
        pointers = []
        for (buffer, width), (_, offset) in zip(buffers, found.words, strict=True):
            index = self.operation(ast.Add(), self._value(offset, scope), first)
            pointers.append(f"ptr {self._address(buffer, width, index)}")
        shift = self.text(self._value(found.shift, scope), False)
        total = self._routine(PRODUCTS, f"@products({', '.join(pointers)}, i32 {turns}, i32 {shift})")
        scope.env[found.total] = self.operation(ast.Add(), scope.env[found.total], total)
        return True

    def _weighed(self, found: SumOfSums, words: tuple[str, ast.expr], last: int, scope: Scope) -> bool:
        """Write the sum of the sums of a block's words, of 16 bits; the last turn's is the first in memory."""
        buffer, width = scope.buffers[words[0]]
        if width != 16:
            return False
        index = self.operation(ast.Sub(), self._value(words[1], scope), last)
        pointer = f"ptr {self._address(buffer, width, index)}"
        before = self.operation(ast.Mult(), scope.env[found.inner], BLOCK)
        scope.env[found.outer] = self.operation(ast.Add(), scope.env[found.outer], before)
        for name, weights in ((found.inner, (1,) * BLOCK), (found.outer, tuple(range(1, BLOCK + 1)))):
            row = ", ".join(f"i16 {weight}" for weight in weights)
            total = self._routine(WEIGHED, f"@weighed({pointer}, <{BLOCK} x i16> <{row}>, i32 {sum(weights)})")
            scope.env[name] = self.operation(ast.Add(), scope.env[name], total)
        return True

    def _routine(self, routine: Routine, call: str) -> Register:
        self.needs |= routine.needs
        return Register(self.result(f"call i32 {call}"), varying=False)

    def _steady_loop(
        self,
        node: ast.For | ast.While,
        turns: int,
        lines: Mapping[str, tuple[int, int]],
        facts: Mapping[int, int],
        scope: Scope,
    ) -> None:
        """Write turns that differ only in what goes up by equal steps, or around a circle."""
        around: dict[str, Circle] = {}
        begun: Register | None = None
        # Many runs take the turns one after the other, and have no use for it.
        for name, (by, kept) in cycles(node).items() if self.lanes == 1 else ():
            if isinstance(start := scope.env[name], Register):
                around[name] = Circle(self.new("%way"), self._value(by, scope), mask := self._value(kept, scope))
                on = self.compare("eq", self.operation(ast.BitAnd(), start, mask), start)
                begun = on if begun is None else self.joined(begun, on, True)
        write = partial(self._turns, node, turns, lines, facts, scope)
        if begun is None:
            write({})
        else:
            self._choose(begun.name, [lambda: write(around), lambda: write({})], scope)

    def _turns(
        self,
        node: ast.For | ast.While,
        turns: int,
        lines: Mapping[str, tuple[int, int]],
        facts: Mapping[int, int],
        scope: Scope,
        circles: Mapping[str, Circle],
    ) -> None:
        """Write the turns, of which names go around circles that they are on when the first begins."""
        counter, left = self.new("%counter"), self.new("%left")
        scope.env[counter] = 0
        outer, self.facts = self.facts, {**self.facts, **facts}
        starts: dict[str, Register] = {}
        body = node.body
        for name, circle in circles.items():
            scope.env[circle.way] = scope.env.pop(name)
        if self.lanes == 1:
            if (found := sum_of_sums(node)) is not None:
                body = found.body(left)
                before = self.operation(ast.Mult(), scope.env[found.inner], turns)
                scope.env[found.outer] = self.operation(ast.Add(), scope.env[found.outer], before)
            # From 0 on, so that no turn waits for what was before the loop.
            starts = {name: value for name in sums(node) if isinstance(value := scope.env[name], Register)}
            scope.env.update(dict.fromkeys(starts, 0))

        def turn() -> None:
            t = scope.env[counter]
            for name, (first, step) in lines.items():
                scope.env[name] = first if step == 0 else self._line(t, first, step, turns)
            for name, circle in circles.items():
                scope.env[name] = self.operation(ast.BitAnd(), scope.env[circle.way], circle.mask)
            if body is not node.body:
                scope.env[left] = self.operation(ast.Sub(), turns, t)
            self._block(body, scope)
            for circle in circles.values():
                scope.env[circle.way] = self.operation(ast.Add(), scope.env[circle.way], circle.step)
            assert isinstance(t, Register)
            scope.env[counter] = Register(self.result(f"add nuw nsw i32 {t.name}, 1"), varying=False)

        changed = stored(node.body) - lines.keys() | {counter} | {circle.way for circle in circles.values()}
        for name in lines:
            # At the head of a turn it is what its line says.
            scope.env.pop(name, None)
        self._repeat(node, scope, changed, lambda: self.compared(ast.Lt(), scope.env[counter], turns), turn)
        for name, start in starts.items():
            scope.env[name] = self.operation(ast.Add(), scope.env[name], start)
        self.facts = outer
        del scope.env[counter]
        for name, circle in circles.items():
            scope.env[name] = self.operation(ast.BitAnd(), scope.env.pop(circle.way), circle.mask)

    def _line(self, t: Value, first: int, step: int, turns: int) -> Register:
        """Return first + step * t, modulo 2**32; t is below `turns`."""
        value = self.text(t, False)
        within = "nsw " if all(int32(end) == end for end in (step * turns, first + step * turns)) else ""
        if step != 1:
            value = self.result(f"mul {within}i32 {value}, {int32(step)}")
        return Register(value if first == 0 else self.result(f"add {within}i32 {value}, {first}"), varying=False)
