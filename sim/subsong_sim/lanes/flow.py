"""Branches and loops of vector code: what is known on either side of them, and what becomes a register."""

import ast
from collections.abc import Callable
from dataclasses import dataclass, field

from subsong_sim.lanes.emit import Emitter
from subsong_sim.lanes.values import Condition, Register, Value

Word = tuple[str, int]  # buffer, index
Memory = dict[Word, Value]


@dataclass
class Scope:
    """A kernel where it is set in: its locals' values, its buffers (parameter of the entry, width)."""

    file: str
    env: dict[str, Value] = field(default_factory=dict)
    buffers: dict[str, tuple[str, int]] = field(default_factory=dict)


@dataclass
class Arm:
    """One side of a branch: its lines, the block it ends in, and the state there."""

    lines: list[str]
    label: str
    env: dict[str, Value]
    memory: Memory


@dataclass
class Found:
    """What a loop turned out to be.

    Attributes:
        varying: names that it makes each run's own.
        lost: words that it changes.
        divides: some runs leave it before others.
    """

    varying: set[str] = field(default_factory=set)
    lost: set[Word] = field(default_factory=set)
    divides: bool = False


class Flow(Emitter):
    """Writes branches and loops, and keeps what is known of memory across them.

    Attributes:
        memory: words whose value is known, or is in a register: what was stored there last, or loaded.
    """

    def __init__(self, lanes: int) -> None:
        super().__init__(lanes)
        self.memory: Memory = {}
        # Where the writer is: the calls it is in. What a loop there turned out to change is not found out again.
        self._calls: list[int] = []
        self._found: dict[tuple[int, ...], Found] = {}

    def _choose(self, test: str, sides: list[Callable[[], None]], scope: Scope) -> None:
        """Write a branch that all runs take alike."""
        labels, end = [self.new("then"), self.new("else")], self.new("end")
        self.branch(test, *labels)
        self._join([self._arm(label, scope, side) for label, side in zip(labels, sides, strict=True)], end, scope)

    def _masked(self, mask: str, changed: set[str], inside: Callable[[], None], scope: Scope, *, guarded: bool) -> None:
        """Write what the runs of a mask do.

        Args:
            mask: of those runs.
            changed: the names that it assigns to.
            inside: writes it.
            scope: of the names.
            guarded: it is left out where the mask has no run.
        """

        def run() -> None:
            old, outer, self.mask = dict(scope.env), self.mask, mask
            inside()
            self.mask = outer
            for name in changed & scope.env.keys():
                if name in old:
                    scope.env[name] = self.select(mask, scope.env[name], old[name])

        if not guarded:
            run()
            return
        for name in changed - scope.env.keys():
            # Only runs of this mask will read it.
            scope.env[name] = 0
        yes, end = self.new("some"), self.new("end")
        around = Arm([], self.label, dict(scope.env), dict(self.memory))
        self.branch(self.any(mask), yes, end)
        self._join([self._arm(yes, scope, run), around], end, scope)

    def _arm(self, label: str, scope: Scope, run: Callable[[], None]) -> Arm:
        """Write one side of a branch apart; the state is afterwards what it was before."""
        lines, env, memory, before = self.lines, dict(scope.env), dict(self.memory), self.label
        self.lines = []
        self.start(label)
        run()
        written = Arm(self.lines, self.label, scope.env, self.memory)
        self.lines, scope.env, self.memory, self.label = lines, env, memory, before
        return written

    def _join(self, arms: list[Arm], end: str, scope: Scope) -> None:
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

    def _repeat(
        self, site: ast.stmt, scope: Scope, changed: set[str], test: Callable[[], Condition], turn: Callable[[], None]
    ) -> None:
        """Write a loop: what it changes is a register at its head, for each run its own where a turn makes it so.

        Args:
            site: the loop.
            scope: of the names.
            changed: the names that it assigns to.
            test: writes its condition.
            turn: writes a turn.
        """
        carried = sorted(changed & scope.env.keys())
        found = self._found.setdefault((*self._calls, id(site)), Found())
        length, before, env, memory = len(self.lines), self.label, dict(scope.env), dict(self.memory)
        outer = self.mask
        while not self._turned(scope, carried, found, test, turn):
            del self.lines[length:]
            self.label, scope.env, self.memory, self.mask = before, dict(env), dict(memory), outer
        self.mask = outer

    def _turned(
        self, scope: Scope, carried: list[str], found: Found, test: Callable[[], Condition], turn: Callable[[], None]
    ) -> bool:
        """Write the loop once; False if what it took for uniform, or for unchanged, is not: `found` then has it."""
        rows = {n: n in found.varying or (isinstance(v := scope.env[n], Register) and v.varying) for n in carried}
        head, body, end = (self.new(p) for p in ("head", "turn", "end"))
        texts = {name: [f"[ {self.text(scope.env[name], rows[name])}, %{self.label} ]"] for name in carried}
        entered = f"[ {self.everybody()}, %{self.label} ]" if found.divides else ""
        self.jump(head)
        self.start(head)
        at = len(self.lines)
        registers = {name: Register(self.new("%at"), rows[name]) for name in carried}
        self.lines += [""] * (len(carried) + 1)
        scope.env.update(registers)
        self.memory = {word: v for word, v in self.memory.items() if word not in found.lost}
        if found.divides:
            # Who has left is not asked again.
            self.mask = self.new("%live")
        condition = test()
        left = dict(scope.env), dict(self.memory)
        live, narrowed = self.mask, ""
        if isinstance(condition, Register) and condition.varying:
            if not found.divides:
                found.divides = True
                return False
            narrowed = self.narrowed(condition)
            self.branch(self.any(narrowed), body, end)
            self.mask = narrowed
        else:
            self.branch(self.test_text(condition, False), body, end)
        self.start(body)
        turn()
        if narrowed:
            for name in carried:
                scope.env[name] = self.select(narrowed, scope.env[name], registers[name])
        changed = {word for word, v in left[1].items() if self.memory.get(word) != v} - found.lost
        became = [
            name for name in carried if not rows[name] and isinstance(v := scope.env[name], Register) and v.varying
        ]
        if changed or became:
            found.lost |= changed
            found.varying.update(became)
            return False
        for name in carried:
            texts[name].append(f"[ {self.text(scope.env[name], rows[name])}, %{self.label} ]")
        for n, name in enumerate(carried):
            self.lines[at + n] = f"  {registers[name].name} = phi {self.type(rows[name])} {', '.join(texts[name])}"
        if found.divides:
            back = f"[ {narrowed or live}, %{self.label} ]"
            self.lines[at + len(carried)] = f"  {live} = phi {self.type(True, 'i1')} {entered}, {back}"
        self.jump(head)
        self.start(end)
        scope.env, self.memory = left
        return True
