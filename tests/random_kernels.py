"""Draws kernels from the whole dialect, and executes them as docs/arithmetic.md says: Python, every value an int32."""

import random
import types
from array import array
from typing import Any

from subsong_sim.loader import Source, render

LOW = -(2**31)
WORDS = 8
PARAMETERS = "w: ptr16, d: ptr32, b: ptr8, n: int"
_OPERATORS = ("+", "-", "*", "&", "|", "^", "+", "-")
_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
_LITERALS = (0, 1, 2, 7, 15, 16, 255, 256, 4095, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x12345678, 0x3FFFFFFF)


class Author:
    """Writes kernels; the same seed writes the same ones."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.callees: list[str] = []
        self.whiles = 0

    def module(self, kernels: int) -> str:
        """Return a file of kernels k0.., each of which may call those before it."""
        text = ['"""Drawn."""\n']
        for number in range(kernels):
            self.whiles = 0
            body = self.block(3, self.rng.randint(3, 6), 1)
            first = [f"    v{k} = {self.value(0)}" for k in range(4)] + ["    i0 = 0", "    i1 = 0", "    i2 = 0"]
            first += [f"    c{k} = 0" for k in range(self.whiles)]
            lines = "\n".join([*first, *body])
            text.append(f"\n\ndef k{number}({PARAMETERS}) -> int:\n{lines}\n    return {self.value(2)}\n")
            self.callees = [f"k{number}"]
        return "".join(text)

    def value(self, depth: int) -> str:
        """Return an expression; at depth 0 of literals and parameters only."""
        pick = self.rng.random()
        if depth == 0 or pick < 0.15:
            return str(self.rng.choice(_LITERALS)) if pick < 0.5 else "n"
        if pick < 0.35:
            return self.rng.choice(("v0", "v1", "v2", "v3", "i0", "i1"))
        if pick < 0.5:
            return self.element(depth - 1)
        if pick < 0.6:
            load = self.element(depth - 1)
            return f"(({load} ^ 0x8000) - 0x8000)"
        if pick < 0.72:
            amount = str(self.rng.randint(0, 31)) if pick < 0.66 else f"({self.value(depth - 1)} & 31)"
            return f"({self.value(depth - 1)} {self.rng.choice(('<<', '>>'))} {amount})"
        return f"({self.value(depth - 1)} {self.rng.choice(_OPERATORS)} {self.value(depth - 1)})"

    def element(self, depth: int) -> str:
        index = str(self.rng.randrange(WORDS)) if self.rng.random() < 0.4 else f"{self.value(depth)} & {WORDS - 1}"
        return f"{self.rng.choice('wdb')}[{index}]"

    def condition(self, depth: int) -> str:
        parts = [
            f"{self.value(depth)} {self.rng.choice(_COMPARISONS)} {self.value(depth)}"
            for _ in range(self.rng.choice((1, 1, 2, 3)))
        ]
        text = parts[0]
        for part in parts[1:]:
            text = f"({text} {self.rng.choice(('and', 'or'))} {part})"
        return text

    def block(self, depth: int, statements: int, indent: int, nesting: int = 0) -> list[str]:
        lines: list[str] = []
        for _ in range(statements):
            lines += self.statement(depth, indent, nesting)
        return lines

    def statement(self, depth: int, indent: int, nesting: int) -> list[str]:
        pad = "    " * indent
        pick = self.rng.random()
        inner = self.rng.randint(1, 3)
        if pick < 0.3 or nesting > 2:
            target = self.rng.choice(("v0", "v1", "v2", "v3", self.element(1)))
            assign = self.rng.choice(("=", "=", "+=", "-=", "*=", "&=", "|=", "^="))
            return [f"{pad}{target} {assign} {self.value(depth)}"]
        if pick < 0.4:
            return [f"{pad}v{self.rng.randrange(4)} {self.rng.choice(('<<=', '>>='))} {self.value(1)} & 31"]
        if pick < 0.5 and self.callees:
            call = f"{self.rng.choice(self.callees)}(w, d, b, {self.value(1)})"
            return [f"{pad}{self.rng.choice(('', 'v0 = ', 'v1 += ', 'd[3] ^= '))}{call}"]
        if pick < 0.7:
            lines = [f"{pad}if {self.condition(2)}:", *self.block(depth - 1, inner, indent + 1, nesting + 1)]
            if self.rng.random() < 0.5:
                lines += [f"{pad}elif {self.condition(1)}:", *self.block(depth - 1, 1, indent + 1, nesting + 1)]
            if self.rng.random() < 0.5:
                lines += [f"{pad}else:", *self.block(depth - 1, inner, indent + 1, nesting + 1)]
            return lines
        if pick < 0.85:
            bounds = self.rng.choice(
                (
                    f"{self.value(1)} & 7",
                    f"{self.value(1)} & 3, {self.value(1)} & 7",
                    f"0 - ({self.value(1)} & 7), {self.value(1)} & 7, {self.rng.choice((2, 3, 5))}",
                )
            )
            return [
                f"{pad}for i{nesting} in range({bounds}):",
                *self.block(depth - 1, inner, indent + 1, nesting + 1),
            ]
        counter = f"c{self.whiles}"
        self.whiles += 1
        return [
            f"{pad}{counter} = {self.value(1)} & 7",
            f"{pad}while {counter} > 0 and {self.condition(1)}:",
            *self.block(depth - 1, inner, indent + 1, nesting + 1),
            f"{pad}    {counter} -= 1",
        ]


def reference(source: Source) -> types.ModuleType:
    """Return kernels whose every operation wraps at 32 bits, executed by CPython."""
    text = render(source, "numba").replace("from numba import int32, njit, uint32\n", "")
    module = types.ModuleType("reference")
    namespace: dict[str, Any] = vars(module)
    namespace["int32"] = lambda value: ((value - LOW) & 0xFFFFFFFF) + LOW
    namespace["uint32"] = lambda value: value
    namespace["njit"] = lambda **_: lambda function: function
    exec(compile(text, "reference.py", "exec"), namespace)
    return module


class Words(array):  # type: ignore[type-arg]  # array's own arguments stay as they are
    """A buffer that keeps the low bits of what is stored, as machine code does."""

    def __setitem__(self, index: Any, value: Any) -> None:
        if self.typecode != "i":
            value &= (1 << 8 * self.itemsize) - 1
        super().__setitem__(index, value)


def buffers(seed: int) -> tuple[Words, Words, Words]:
    """Return w, d and b with words at their ends and drawn ones."""
    rng = random.Random(seed)
    w = [rng.choice((0, 1, 0x7FFF, 0x8000, 0xFFFF, rng.randrange(65536))) for _ in range(WORDS)]
    d = [rng.choice((LOW, -1, 0, 1, 2**31 - 1, rng.randint(LOW, 2**31 - 1))) for _ in range(WORDS)]
    b = [rng.choice((0, 1, 127, 128, 255)) for _ in range(WORDS)]
    return Words("H", w), Words("i", d), Words("B", b)
