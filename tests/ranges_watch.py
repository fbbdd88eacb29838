"""Kernels under CPython, every expression of which is held against the interval that the range checker gave it."""

import ast
import copy
import struct
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

from cases import Trial, ends_of
from subsong_device import layout
from subsong_sim.loader import Source
from subsong_sim.ranges.interpreter import Place
from subsong_sim.ranges.values import Interval


class Watch:
    """Kernels that note every value outside its interval, and every expression that was said never to run.

    Args:
        source: the kernels.
        seen: the checker's intervals.

    Attributes:
        wrong: what was outside, in words; the first of each place.
        met: how many expressions have run.
        fullest: by place, the share of its interval that has been seen.
    """

    def __init__(self, source: Source, seen: Mapping[Place, Interval]) -> None:
        self.seen = seen
        self.wrong: dict[Place, str] = {}
        self.met: dict[Place, Interval] = {}
        namespace: dict[str, Any] = {**source.constants, "_see": self.see}
        for name, function in source.functions.items():
            body = _Watched(name).visit(copy.deepcopy(function))
            for p in body.args.args:
                p.annotation = None
            body.returns = None
            module = ast.fix_missing_locations(ast.Module([body], []))
            exec(compile(module, source.files.get(name, name), "exec"), namespace)
        self.kernels = namespace

    def see(self, value: int, *place: Any) -> int:
        """Judge a value; hand it on."""
        interval = self.seen.get(place)
        if interval is None:
            self.wrong.setdefault(place, f"{place}: {value}, and was said never to run")
        elif not interval[0] <= value <= interval[1]:
            self.wrong.setdefault(place, f"{place}: {value} is outside {interval[0]}..{interval[1]}")
        low, high = self.met.get(place, (value, value))
        self.met[place] = min(low, value), max(high, value)
        return value

    def play(self, head: bytes, mem: bytes, trials: Sequence[Trial]) -> None:
        """Play trials on a block."""
        h = array("i", struct.unpack(f"<{len(head) // 4}i", head))
        m = array("H", struct.unpack(f"<{len(mem) // 2}H", mem))
        x, u = (array("H", bytes(2 * words)) for words in ends_of(head))
        for trial in trials:
            h[layout.EVALUATE] = int(trial.evaluate)
            self.kernels["begin"](h, m)
            for step in trial.steps:
                h[layout.COST] = step.cost
                for i, word in enumerate(step.x):
                    x[i] = word & 0xFFFF
                self.kernels["act"](h, m, x, u)
            h[layout.COST] = trial.last_cost
            self.kernels["end"](h, m)

    def play_task(self, task: bytes, outputs: Sequence[Sequence[int]], evaluate: int = 0, phase: int = 0) -> None:
        """Take steps of an on-board task."""
        t = array("H", struct.unpack(f"<{len(task) // 2}H", task))
        x, u = array("H", bytes(2 * t[layout.TASK_INPUTS])), array("H", bytes(2 * t[layout.TASK_OUTPUTS]))
        head = array("i", bytes(4 * layout.LAYERS_AT))
        head[layout.EVALUATE], head[layout.PHASE] = evaluate, phase
        self.kernels["task_begin"](head, t)
        for words in outputs:
            self.kernels["task_sense"](t, x)
            for i, word in enumerate(words):
                u[i] = word & 0xFFFF
            self.kernels["task_cost"](t, u)


class _Watched(ast.NodeTransformer):
    """Wraps every operation and every load."""

    def __init__(self, kernel: str) -> None:
        self.kernel = kernel

    def _wrap(self, place: ast.AST, value: ast.expr) -> ast.expr:
        where = [
            self.kernel,
            *(getattr(place, name) for name in ("lineno", "col_offset", "end_lineno", "end_col_offset")),
        ]
        call = ast.Call(ast.Name("_see", ast.Load()), [value, *(ast.Constant(w) for w in where)], [])
        return ast.copy_location(call, place)

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        return self._wrap(node, node)

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        self.generic_visit(node)
        return self._wrap(node, node) if isinstance(node.ctx, ast.Load) else node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.stmt:
        target = node.target
        load: ast.expr
        if isinstance(target, ast.Name):
            load = ast.Name(target.id, ast.Load())
        else:
            assert isinstance(target, ast.Subscript)
            index = copy.deepcopy(target.slice)
            load = self._wrap(target, ast.Subscript(target.value, self.visit(index), ast.Load()))
            target.slice = self.visit(target.slice)
        value = self._wrap(node, ast.BinOp(load, node.op, self.visit(node.value)))
        return ast.copy_location(ast.Assign([target], value), node)
