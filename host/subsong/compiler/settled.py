"""Kernels for a board that does less: what never happens there is left out before they are compiled."""

import ast
import copy
from collections.abc import Mapping
from typing import NamedTuple

from subsong_sim.loader import Source


class Settled(NamedTuple):
    """What is known of every block that a board takes.

    Attributes:
        words: words of head that are always one number, by their names in layout.py.
        never: names of constants with which nothing there is ever equal.
    """

    words: tuple[tuple[str, int], ...] = ()
    never: tuple[str, ...] = ()


def settle(source: Source, known: Settled) -> Source:
    """Return kernels in which what is known is a number; a compiler leaves out what then cannot happen."""
    if known == Settled():
        return source
    rewrite = _Settle(dict(known.words), frozenset(known.never))
    functions = {name: rewrite.visit(copy.deepcopy(function)) for name, function in source.functions.items()}
    return Source(source.constants, functions, source.files)


class _Settle(ast.NodeTransformer):
    def __init__(self, words: Mapping[str, int], never: frozenset[str]) -> None:
        self._words, self._never = words, never

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        self.generic_visit(node)
        word = node.slice.id if isinstance(node.slice, ast.Name) else ""
        of_head = isinstance(node.value, ast.Name) and node.value.id == "head"
        if of_head and isinstance(node.ctx, ast.Load) and word in self._words:
            return ast.copy_location(ast.Constant(self._words[word]), node)
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        other = node.comparators[0]
        if isinstance(other, ast.Name) and other.id in self._never:
            same = isinstance(node.ops[0], ast.Eq)
            assert same or isinstance(node.ops[0], ast.NotEq), "a number that nothing is equal to has no order"
            never = ast.Compare(ast.Constant(0), [ast.Eq()], [ast.Constant(int(same))])
            return ast.fix_missing_locations(ast.copy_location(never, node))
        self.generic_visit(node)
        return node
