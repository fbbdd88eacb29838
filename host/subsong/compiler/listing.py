"""What LLVM made of kernels, instruction by instruction, each run of them under the line that it comes from."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from subsong.compiler.ir import ir_text
from subsong.compiler.kernels import compile_kernels, target_of, translate_source
from subsong_sim.loader import gather

_FILE = re.compile(r'\s*\.file\s+(\d+)\s+(?:"([^"]*)"\s+)?"([^"]*)"')
_PLACE = re.compile(r"\s*\.loc\s+(\d+)\s+(\d+)")
_FUNCTION = re.compile(r'"?([^.\s"]+)"?:')
# Of all directives, these alone put something into the code.
_KEPT = ("\t.long", "\t.short", "\t.byte")


def listing(module: str, called: tuple[str, ...], target: str) -> str:
    """Return the assembly of kernels, and the bytes of each.

    Args:
        module: as compile_kernels takes it.
        called: names of the kernels.
        target: armv6m, armv7em or rv32imc.

    Raises:
        EngineError, CompileError: as compile_kernels does.
    """
    compiled = compile_kernels(module, called, target)
    source = gather(module, called)
    texts = [ir_text(source, name) for name in called]
    made = translate_source(source, called, texts, target_of(target))
    lines = []
    for kernel, (_, assembly) in zip(compiled.kernels, made, strict=True):
        lines += [f"# {kernel.name}({', '.join(kernel.parameters)}): {len(kernel.code)} bytes of {target}"]
        lines += [*_instructions(assembly), ""]
    return "\n".join([*lines, f"# {sum(len(k.code) for k in compiled.kernels)} bytes in all"]) + "\n"


def _instructions(assembly: str) -> Iterator[str]:
    files: dict[str, Path] = {}
    last, inside = "", False
    for line in assembly.splitlines():
        if found := _FILE.match(line):
            files[found[1]] = Path(found[2] or "", found[3])
        elif line.startswith(".Lfunc_begin"):
            inside = True
        elif line.startswith(".Lfunc_end"):
            inside = False
        elif found := _PLACE.match(line):
            file, number = files[found[1]], int(found[2])
            place = f"# {file.name}:{number}: {_source_line(file, number)}"
            if number and place != last:
                yield place
                last = place
        elif inside and line.startswith((".LBB", ".LCPI")):
            yield line.split("@")[0].split("#")[0].rstrip()
        elif inside and line.startswith("\t") and (not line.startswith("\t.") or line.startswith(_KEPT)):
            yield line.split("@ ")[0].rstrip().expandtabs(8)
        elif found := _FUNCTION.match(line):
            yield f"{found[1]}:"


@cache
def _text(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines()


def _source_line(file: Path, number: int) -> str:
    lines = _text(file)
    return lines[number - 1].strip() if number <= len(lines) else ""
