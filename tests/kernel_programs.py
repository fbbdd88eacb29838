"""Made-up kernels in the dialect, for the inliner: helpers with side effects, called wherever a value may stand."""

import random

HELPERS = """
def take(m: ptr16, a: int) -> int:
    old = m[0]
    m[0] = (old * 5 + a) & 0xFFF
    return old


def half(a: int) -> int:
    if a > 40:
        a = a >> 1
    else:
        a += 1
    return a


def both(m: ptr16, a: int, b: int) -> int:
    s = 0
    for k in range(take(m, a) & 3, half(b) & 7):
        s += k * (a & 3) + take(m, k)
    a = (a ^ s) & 0xFFF
    return (a + m[2]) & 0xFFF


def plain(a: int, b: int) -> int:
    return (a - b) & 0xFFF


def peek(m: ptr16, at: int) -> int:
    return m[at & 7]


def twice(m: ptr16, a: int) -> int:
    a = half(a)
    m[a & 7] = (m[a & 7] + both(m, a, m[1])) & 0xFFF
    return half(plain(a, peek(m, a + 1)))
"""
LOCALS = ("p", "q", "s", "a")
OPERATORS = ("+", "-", "&", "|", "^", "*")
COMPARISONS = ("<", "<=", "==", "!=", ">", ">=")


class _Writer:
    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.ticks = 0

    def value(self, depth: int) -> str:
        pick = self.rng.randrange(12 if depth else 4)
        if pick < 2:
            return self.rng.choice(LOCALS)
        if pick == 2:
            return str(self.rng.randrange(9))
        if pick == 3:
            return f"m[{self.rng.randrange(8)}]"
        if pick == 4:
            return f"m[{self.value(depth - 1)} & 7]"
        if pick < 8:
            # Masked, so that nothing grows beyond what the dialect allows.
            return f"(({self.value(depth - 1)} {self.rng.choice(OPERATORS)} {self.value(depth - 1)}) & 0xFFF)"
        return self.call(depth - 1)

    def call(self, depth: int) -> str:
        name = self.rng.choice(("take", "half", "both", "plain", "peek", "twice"))
        values = {"take": 1, "half": 1, "both": 2, "plain": 2, "peek": 1, "twice": 1}[name]
        arguments = [self.value(depth) for _ in range(values)]
        return f"{name}({', '.join(arguments if name in ('half', 'plain') else ['m', *arguments])})"

    def condition(self, depth: int) -> str:
        if depth and self.rng.random() < 0.4:
            word = self.rng.choice((" and ", " or "))
            parts = [self.condition(depth - 1) for _ in range(self.rng.randint(2, 3))]
            return "(" + word.join(parts) + ")"
        return f"{self.value(2)} {self.rng.choice(COMPARISONS)} {self.value(2)}"

    def block(self, depth: int, indent: str) -> list[str]:
        return [line for _ in range(self.rng.randint(1, 4)) for line in self.statement(depth, indent)]

    def statement(self, depth: int, indent: str) -> list[str]:
        pick = self.rng.randrange(10 if depth else 6)
        if pick < 2:
            return [f"{indent}{self.rng.choice(LOCALS)} = {self.value(3)}"]
        if pick == 2:
            name = self.rng.choice(LOCALS)
            return [f"{indent}{name} += {self.value(2)}", f"{indent}{name} = {name} & 0xFFF"]
        if pick == 3:
            return [f"{indent}m[{self.value(2)} & 7] = {self.value(2)} & 0xFFF"]
        if pick == 4:
            # The dialect has no call in this index.
            index = self.rng.choice((*LOCALS, "m[p & 7]", f"m[{self.rng.randrange(8)}]"))
            return [f"{indent}m[{index} & 7] ^= {self.value(2)} & 0xFFF"]
        if pick == 5:
            return [f"{indent}{self.call(2)}"]
        inner = indent + "    "
        if pick < 8:
            lines = [f"{indent}if {self.condition(2)}:", *self.block(depth - 1, inner)]
            if self.rng.random() < 0.5:
                lines += [f"{indent}elif {self.condition(1)}:", *self.block(depth - 1, inner)]
            if self.rng.random() < 0.5:
                lines += [f"{indent}else:", *self.block(depth - 1, inner)]
            return lines
        self.ticks += 1
        tick = f"t{self.ticks}"
        if pick == 8:
            lines = [f"{indent}for {tick} in range({self.value(2)} & 1, {self.value(2)} & 3):"]
            return [*lines, *self.block(depth - 1, inner), f"{inner}p = (p + {tick}) & 0xFFF"]
        lines = [f"{indent}{tick} = 0", f"{indent}while {tick} < 3 and {self.condition(1)}:", f"{inner}{tick} += 1"]
        return [*lines, *self.block(depth - 1, inner)]


def program(rng: random.Random) -> str:
    """Return the text of a kernel module whose kernel `top(m, a, b)` calls the others; m has eight words."""
    writer = _Writer(rng)
    lines = ["def top(m: ptr16, a: int, b: int) -> int:", "    p = b", "    q = 1", "    s = 2"]
    for _ in range(6):
        lines += writer.statement(2, "    ")
    lines.append(f"    return {writer.value(3)}")
    return "\n".join([HELPERS, "", *lines, ""])
