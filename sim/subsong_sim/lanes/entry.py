"""The function that is called from outside: it chooses among a kernel's variants."""

import ast
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from subsong_sim.lanes.emit import WIDTHS, Emitter
from subsong_sim.lanes.flow import Word
from subsong_sim.lanes.values import Register


class Variant(NamedTuple):
    """What a function takes for granted.

    Attributes:
        evaluate: whether the trial is an evaluation; None: nothing.
        everybody: all runs take part; with one lane nobody asks.
        in_step: certain words are the same in all runs that do.
    """

    evaluate: int | None
    everybody: bool
    in_step: bool


def entry(function: ast.FunctionDef, variants: Mapping[Variant, str], alike: Sequence[Word], lanes: int) -> str:
    """Return the text of a kernel's entry.

    Args:
        function: the kernel.
        variants: names of its functions; with `alike`, the last takes nothing for granted.
        alike: the words that the others need to be the same.
        lanes: runs side by side.
    """
    out = Emitter(lanes)
    arguments = ", ".join(
        [*(f"{'i32' if kind == 'int' else 'ptr'} %{name}" for name, kind in parameters(function)), "i32 %active"]
    )
    *_, general = variants.values()
    if alike:
        out.branch(_in_step(out, function, alike), "chosen", "general")
        out.start("general")
        out.emit(f"ret i32 {out.result(f'call i32 @{general}({arguments})')}")
        out.start("chosen")
    chosen = [variant for variant in variants if variant.in_step or not alike]
    for variant in chosen[:-1]:
        asked = []
        if variant.evaluate is not None:
            asked.append(out.result(f"icmp eq i32 %evaluate, {variant.evaluate}"))
        if variant.everybody and lanes > 1:
            asked.append(out.result(f"icmp eq i32 %active, {(1 << lanes) - 1}"))
        test = asked[0] if len(asked) == 1 else out.result(f"and i1 {', '.join(asked)}")
        yes, no = out.new("yes"), out.new("no")
        out.branch(test, yes, no)
        out.start(yes)
        out.emit(f"ret i32 {out.result(f'call i32 @{variants[variant]}({arguments})')}")
        out.start(no)
    out.emit(f"ret i32 {out.result(f'call i32 @{variants[chosen[-1]]}({arguments})')}")
    return "\n".join([f"define i32 @{function.name}({signature(function)}) #0 {{", "entry:", *out.lines, "}"])


def _in_step(out: Emitter, function: ast.FunctionDef, alike: Sequence[Word]) -> str:
    """Write whether the runs that take part have the same words there; return the i1."""
    widths = {name: WIDTHS[kind] for name, kind in parameters(function) if kind in WIDTHS}
    bits = out.participants()
    first = out.result("call i32 @llvm.cttz.i32(i32 %active, i1 false)")
    first = out.result(f"and i32 {first}, {out.lanes - 1}")
    differ = out.constant(0, "i1")
    kind = out.type(True, "i1")
    for buffer, index in alike:
        lone = out.load_lone(buffer, widths[buffer], index, first)
        other = out.compare("ne", out.load(buffer, widths[buffer], index), Register(lone.name, varying=False))
        differ = out.result(f"or {kind} {differ}, {other.name}")
    differing = out.result(f"and i{out.lanes} {out.bits(differ)}, {bits}")
    return out.result(f"icmp eq i{out.lanes} {differing}, 0")


def parameters(function: ast.FunctionDef) -> list[tuple[str, str]]:
    """Return the names and kinds (ptr8, ptr16, ptr32, int) of a kernel's parameters."""
    return [(p.arg, p.annotation.id) for p in function.args.args if isinstance(p.annotation, ast.Name)]


def signature(function: ast.FunctionDef) -> str:
    """Return the parameters of a kernel's function, the active runs' bits last."""
    kinds = {"int": "i32"}
    own = [f"{kinds.get(kind, 'ptr noalias')} %{name}" for name, kind in parameters(function)]
    return ", ".join([*own, "i32 %active"])
