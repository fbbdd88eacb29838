"""What a loop does whose course is known before it runs: how often it turns, and what every turn knows already.

A loop over layers, blocks of sixteen or weights is steered by the block's structure alone. What steers it is executed
here, on numbers; what it does to weights and signals is not looked at.
"""

import ast
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import NamedTuple

from subsong_sim.lanes.values import ARITHMETIC, COMPARISONS, int32

TURNS = 1 << 17  # a loop that turns more often is not followed

Load = Callable[[ast.Subscript, int], int | None]


def stored(nodes: list[ast.stmt]) -> set[str]:
    """Return the names that statements assign to."""
    return {n.id for top in nodes for n in ast.walk(top) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def cycles(node: ast.For | ast.While) -> dict[str, tuple[ast.expr, ast.expr]]:
    """Return the names that each turn of a loop advances as `v = (v + step) & mask`, with step and mask.

    Such a name is known at any turn without those before, if the mask keeps the low bits; LLVM does not see that.
    """
    stores = Counter(n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
    found: dict[str, tuple[ast.expr, ast.expr]] = {}
    for statement in node.body:
        match statement:
            case ast.Assign(
                targets=[ast.Name(id=name)],
                value=ast.BinOp(
                    left=ast.BinOp(left=ast.Name(id=same), op=ast.Add(), right=ast.Name(id=step) as by),
                    op=ast.BitAnd(),
                    right=ast.Constant(value=int(bits)) as mask,
                ),
            ) if same == name and stores[name] == 1 and stores[step] == 0 and bits & (bits + 1) == 0:
                found[name] = by, mask
    return found


def sums(node: ast.For | ast.While) -> set[str]:
    """Return the names that a loop's turns add to and do not read."""
    uses = Counter(n.id for n in ast.walk(node) if isinstance(n, ast.Name))
    added = [n.target for n in ast.walk(node) if isinstance(n, ast.AugAssign) and isinstance(n.op, ast.Add)]
    additions = Counter(target.id for target in added if isinstance(target, ast.Name))
    return {name for name, count in additions.items() if count == uses[name]}


class SumOfSums(NamedTuple):
    """A loop of `inner += value; outer += inner`.

    It adds each value to `outer` as often as there are turns left, and `inner` as it was before as often as there are
    turns; LLVM does not see that.
    """

    inner: str
    outer: str
    value: ast.expr

    def body(self, left: str) -> list[ast.stmt]:
        """Return the body without sums of sums; `left` is the name of the number of turns left, this one included."""
        product = ast.BinOp(self.value, ast.Mult(), ast.Name(left, ast.Load()))
        added = {self.inner: self.value, self.outer: product}
        return [ast.AugAssign(ast.Name(name, ast.Store()), ast.Add(), value) for name, value in added.items()]


def sum_of_sums(node: ast.For | ast.While) -> SumOfSums | None:
    """Return a loop as a sum of sums, if it is one."""
    match node.body:
        case [
            ast.AugAssign(target=ast.Name(id=inner), op=ast.Add(), value=value),
            ast.AugAssign(target=ast.Name(id=outer), op=ast.Add(), value=ast.Name(id=same)),
        ] if inner == same and outer in sums(node):
            uses = Counter(n.id for n in ast.walk(node) if isinstance(n, ast.Name))
            if uses[inner] == 2:
                return SumOfSums(inner, outer, value)
    return None


class Course(NamedTuple):
    """A loop's course.

    Attributes:
        heads: what is known of the names that it changes, at the head of each turn and behind the last.
        facts: the value of each assignment and condition, by the statement's id: one a turn that reached it, None where
            it was not known.
    """

    heads: list[dict[str, int]]
    facts: dict[int, list[int | None]]

    @property
    def turns(self) -> int:
        """Return how often the loop turns."""
        return len(self.heads) - 1

    def steady(self, turns: int) -> tuple[dict[str, tuple[int, int]], dict[int, int]]:
        """Return what the first turns have in common.

        Returns:
            Names that go up by equal steps: (value at the first head, step). Statements with one value in all turns.
        """
        lines = {}
        for name, first in self.heads[0].items():
            values = [head.get(name) for head in self.heads[:turns]]
            second = values[1]
            step = second - first if second is not None else 0
            if all(value == first + step * t for t, value in enumerate(values)):
                lines[name] = first, step
        same = {}
        for key, values in self.facts.items():
            first_value = values[0]
            if first_value is not None and all(value == first_value for value in values[:turns]):
                same[key] = first_value
        return lines, same


class Follower:
    """Executes a loop on what is known.

    Args:
        constants: of the joined kernels.
        load: tells a buffer's word at a known index, where it is known.
    """

    def __init__(self, constants: dict[str, int], load: Load) -> None:
        self.constants, self.load = constants, load
        self._facts: dict[int, list[int | None]] = {}
        self._inside: dict[int, tuple[set[str], list[int]]] = {}

    def follow(self, node: ast.For | ast.While, known: dict[str, int], span: range | None) -> Course | None:
        """Return a loop's course; None where it depends on what is not known.

        Args:
            node: the loop.
            known: the names that have a known value before it.
            span: of a `for`, whose bounds are known.
        """
        changed = stored(node.body)
        self._facts = defaultdict(list)
        known = dict(known)
        heads: list[dict[str, int]] = []
        if isinstance(node, ast.For):
            assert span is not None and isinstance(node.target, ast.Name)
            variable = node.target.id
            if variable in changed:
                return None
            changed = changed | {variable}
            for value in span[:TURNS]:
                known[variable] = value
                heads.append({name: known[name] for name in changed if name in known})
                self._run(node.body, known)
                if not self._known_facts() and not (changed & known.keys()) - {variable}:
                    # Only the variable steers it.
                    heads = [{variable: value} for value in span]
                    break
            if len(heads) != len(span):
                return None
            if span:
                known[variable] = span[-1]
        else:
            while (going := self._truth(node.test, known)) is True:
                heads.append({name: known[name] for name in changed if name in known})
                if len(heads) > TURNS:
                    return None
                self._run(node.body, known)
            if going is None:
                return None
        heads.append({name: known[name] for name in changed if name in known})
        return Course(heads, dict(self._facts))

    def _known_facts(self) -> bool:
        return any(value is not None for values in self._facts.values() for value in values)

    def _run(self, body: list[ast.stmt], known: dict[str, int]) -> None:
        for node in body:
            if isinstance(node, ast.Assign | ast.AugAssign):
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                if not isinstance(target, ast.Name):
                    continue
                value = self._value(node.value, known)
                if isinstance(node, ast.AugAssign):
                    old = known.get(target.id)
                    value = None if value is None or old is None else int32(ARITHMETIC[type(node.op)][1](old, value))
                self._facts[id(node)].append(value)
                if value is None:
                    known.pop(target.id, None)
                else:
                    known[target.id] = value
            elif isinstance(node, ast.If):
                truth = self._truth(node.test, known)
                self._facts[id(node)].append(None if truth is None else int(truth))
                if truth is None:
                    self._forget(node, known)
                else:
                    self._run(node.body if truth else node.orelse, known)
            elif isinstance(node, ast.For | ast.While):
                self._forget(node, known)

    def _forget(self, node: ast.If | ast.For | ast.While, known: dict[str, int]) -> None:
        """Note that what a statement does inside is not known."""
        if id(node) not in self._inside:
            inner = [n for n in ast.walk(node) if isinstance(n, ast.Assign | ast.AugAssign | ast.If) and n is not node]
            self._inside[id(node)] = stored([node]), [id(n) for n in inner]
        names, statements = self._inside[id(node)]
        for name in names:
            known.pop(name, None)
        for statement in statements:
            self._facts[statement].append(None)

    def _value(self, node: ast.expr, known: dict[str, int]) -> int | None:
        if isinstance(node, ast.Constant):
            assert isinstance(node.value, int)
            return node.value
        if isinstance(node, ast.Name):
            return known.get(node.id, self.constants.get(node.id))
        if isinstance(node, ast.BinOp):
            left, right = self._value(node.left, known), self._value(node.right, known)
            return None if left is None or right is None else int32(ARITHMETIC[type(node.op)][1](left, right))
        if isinstance(node, ast.Subscript):
            index = self._value(node.slice, known)
            return None if index is None else self.load(node, index)
        return None

    def _truth(self, node: ast.expr, known: dict[str, int]) -> bool | None:
        if isinstance(node, ast.BoolOp):
            decisive = isinstance(node.op, ast.Or)
            for part in node.values:
                truth = self._truth(part, known)
                if truth is None or truth is decisive:
                    return truth
            return not decisive
        assert isinstance(node, ast.Compare)
        left, right = self._value(node.left, known), self._value(node.comparators[0], known)
        return None if left is None or right is None else COMPARISONS[type(node.ops[0])][1](left, right)
