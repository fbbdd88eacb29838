"""Compiles kernels for one target and keeps the result: deploy asks each time, LLVM answers once."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.metadata import version

from subsong.compiler.image import code_of
from subsong.compiler.ir import ir_text
from subsong.compiler.kept import kept
from subsong.compiler.llvm import COMPACT, OPTIONS, PLAIN_LOOPS, QUICK, Translated, translate
from subsong.compiler.settled import Settled, settle
from subsong.compiler.syntax import parameters
from subsong.compiler.targets import TARGETS, Target
from subsong.errors import CompileError
from subsong_sim.loader import Source, gather

# Raised when this package makes other words of the same IR.
_VERSION = 2
EVERYTHING = Settled()


@dataclass(frozen=True)
class Kernel:
    """One kernel as machine code.

    Attributes:
        name: what the board calls it.
        parameters: names, in order: registers r0.. or a0.. hold them, buffers as their addresses.
        code: position-independent, entry at offset 0, an even number of bytes; the result is in r0 or a0. It must begin
            at a multiple of 4.
    """

    name: str
    parameters: tuple[str, ...]
    code: bytes


@dataclass(frozen=True)
class Compiled:
    """A module's kernels for one target.

    Attributes:
        module: such as "subsong_device.learners.weight_perturbation", or a file's path.
        target: a key of TARGETS.
        kernels: in the order asked for.
        digest: sha256, in hex, of target, names and code: equal digests are equal words.
    """

    module: str
    target: str
    kernels: tuple[Kernel, ...]
    digest: str


def target_of(name: str) -> Target:
    """Return a target by its name.

    Raises:
        CompileError: there is none of that name.
    """
    if name not in TARGETS:
        raise CompileError(f"target {name!r}: kernels are compiled for {', '.join(TARGETS)}; choose one of them")
    return TARGETS[name]


@cache
def compile_kernels(
    module: str, called: tuple[str, ...], target: str, known: Settled = EVERYTHING, *, compact: bool = False
) -> Compiled:
    """Compile the kernels of a module that a board calls.

    Args:
        module: such as "subsong_device.learners.weight_perturbation", or the path of a file of kernels, ending in .py.
        called: names of the kernels.
        target: armv6m, armv7em or rv32imc.
        known: of the blocks that the board takes, where it does not take all.
        compact: short code rather than quick code.

    Raises:
        EngineError: the module is missing or breaks the dialect.
        CompileError: no such target or kernel, or the target cannot take one; the message begins with FILE:LINE.
    """
    chosen = replace(target_of(target), compact=compact)
    source = gather(module, called)
    for name in called:
        if name not in source.functions:
            raise CompileError(f"{module}: there is no kernel {name}; it has {', '.join(source.functions) or 'none'}")
    source = settle(source, known)
    codes = compile_source(source, called, chosen)
    kernels = tuple(
        Kernel(name, tuple(p for p, _ in parameters(source.functions[name])), code)
        for name, code in zip(called, codes, strict=True)
    )
    return Compiled(module, target, kernels, _digest(target, kernels))


def compile_source(source: Source, called: tuple[str, ...], target: Target) -> list[bytes]:
    """Return the code of kernels, from the cache where it is there."""
    texts = [ir_text(source, name) for name in called]
    what = {
        "texts": texts,
        "target": asdict(target),
        "options": [*OPTIONS, *PLAIN_LOOPS, QUICK, COMPACT],
        "llvmlite": version("llvmlite"),
        "version": _VERSION,
    }
    return kept(what, lambda: [code for code, _ in translate_source(source, called, texts, target)])


def translate_source(
    source: Source, called: tuple[str, ...], texts: list[str], target: Target
) -> Iterator[tuple[bytes, str]]:
    """Yield the code and the assembly of each kernel, fresh from LLVM.

    Args:
        source: for places in messages.
        called: names of the kernels.
        texts: their IR.
        target: what for.

    Raises:
        CompileError: the target cannot take a kernel.
    """
    for name, text, translated in zip(called, texts, translate(texts, target), strict=True):
        where = f"{source.files[name]}:{source.functions[name].lineno}"
        try:
            yield _code(translated, name, target.name, where), translated.assembly
        except CompileError:
            # What is left of a loop after strength reduction may be a division. Without it, loops stay as written.
            (plain,) = translate([text], replace(target, options=(*target.options, *PLAIN_LOOPS)))
            yield _code(plain, name, target.name, where), plain.assembly


def _code(translated: Translated, name: str, target: str, where: str) -> bytes:
    if translated.problem:
        raise CompileError(
            f"{where}: LLVM gave up on kernel {name} for {target} ({translated.problem}); if it is long, divide it"
            f" into kernels that the board calls one by one"
        )
    return code_of(translated.elf, name, target, where)


def _digest(target: str, kernels: tuple[Kernel, ...]) -> str:
    words = [[kernel.name, kernel.parameters, kernel.code.hex()] for kernel in kernels]
    return hashlib.sha256(json.dumps([target, words]).encode()).hexdigest()
