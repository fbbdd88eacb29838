"""The firmware's kernels as machine code computes them, but for what that would do in silence: each access is watched.

Values wrap to 32 bits, as a board's registers do. An index outside its buffer, or a shift outside 0..31, raises.
"""

import ast
import copy
from typing import Any

from subsong_device import layout
from subsong_sim.engines import LEARNER_KERNELS, TASK_KERNELS
from subsong_sim.loader import PACKAGE, Source, gather


class OutOfBounds(AssertionError):
    """A kernel would have left its buffers, or shifted by what no machine defines."""


class Words:
    """A buffer of n words: "i" int32, "H" uint16, "B" bytes. Nothing wraps around its ends."""

    def __init__(self, code: str, words: list[int]) -> None:
        self.mask = {"i": 0, "H": 0xFFFF, "B": 0xFF}[code]
        self.words = words

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, at: int) -> int:
        if not 0 <= at < len(self.words):
            raise OutOfBounds(f"read of word {at} of {len(self.words)}")
        return self.words[at]

    def __setitem__(self, at: int, value: int) -> None:
        if not 0 <= at < len(self.words):
            raise OutOfBounds(f"write to word {at} of {len(self.words)}")
        self.words[at] = value & self.mask if self.mask else wrapped(value)


def wrapped(value: int) -> int:
    """Return the int32 that is left of a value."""
    return ((value + 0x80000000) & 0xFFFFFFFF) - 0x80000000


def _left(value: int, by: int) -> int:
    if not 0 <= by < 32:
        raise OutOfBounds(f"shift by {by}")
    return wrapped(value << by)


def _right(value: int, by: int) -> int:
    if not 0 <= by < 32:
        raise OutOfBounds(f"shift by {by}")
    return value >> by


class _Registers(ast.NodeTransformer):
    """Keeps every operation within 32 bits, and its shifts within 0..31."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.op, ast.LShift | ast.RShift):
            name = "_left" if isinstance(node.op, ast.LShift) else "_right"
            return ast.Call(ast.Name(name, ast.Load()), [node.left, node.right], [])
        if isinstance(node.op, ast.Add | ast.Sub | ast.Mult):
            return ast.Call(ast.Name("_wrapped", ast.Load()), [node], [])
        return node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.stmt:
        load = copy.deepcopy(node.target)
        load.ctx = ast.Load()  # type: ignore[union-attr]  # the dialect has names and subscripts alone
        value = self.visit(ast.BinOp(load, node.op, node.value))
        return ast.Assign([self.visit(node.target)], value)


def guarded(source: Source) -> Any:
    """Return {name: kernel} of joined kernels."""
    namespace: dict[str, Any] = {**source.constants, "_left": _left, "_right": _right, "_wrapped": wrapped}
    for name, function in source.functions.items():
        body = _Registers().visit(copy.deepcopy(function))
        for p in body.args.args:
            p.annotation = None
        body.returns = None
        module = ast.fix_missing_locations(ast.Module([body], []))
        exec(compile(module, source.files.get(name, name), "exec"), namespace)
    return namespace


def guarded_learner(rule: str) -> Any:
    """Return {name: kernel} with begin, act and end of a rule."""
    return guarded(gather(f"{PACKAGE}.learners.{rule}", LEARNER_KERNELS))


def guarded_tasks() -> Any:
    """Return {name: kernel} with task_begin, task_sense and task_cost."""
    return guarded(gather(f"{PACKAGE}.tasks", TASK_KERNELS))


def play(kernels: Any, head: Words, mem: Words, x: Words, u: Words, draw: Any) -> None:
    """Play an evaluation and two trials, of two steps each, whose words and costs `draw` (random.Random) chooses."""
    for evaluate in (0, 0, 1):
        head[layout.EVALUATE] = evaluate
        kernels["begin"](head, mem)
        for _ in range(2):
            head[layout.COST] = draw.choice((0, 1, -layout.COST_LIMIT, layout.COST_LIMIT))
            for j in range(len(x)):
                x[j] = draw.choice((0, 0x7FFF, 0x8000, 0xFFFF))
            kernels["act"](head, mem, x, u)
        head[layout.COST] = draw.choice((0, -layout.COST_LIMIT, layout.COST_LIMIT))
        kernels["end"](head, mem)


def play_task(kernels: Any, head: Words, task: Words, x: Words, u: Words, draw: Any) -> None:
    """Play trials of a task, as long as its counts take to come round or 40 steps."""
    for evaluate in (0, 0, 1):
        head[layout.EVALUATE] = evaluate
        head[layout.PHASE] = draw.randrange(2)
        kernels["task_begin"](head, task)
        for _ in range(draw.choice((1, 3, 12))):
            kernels["task_sense"](task, x)
            for i in range(len(u)):
                u[i] = draw.choice((0, 0x7FFF, 0x8000, 0xFFFF))
            kernels["task_cost"](task, u)
