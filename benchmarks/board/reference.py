"""The C reference: the same arithmetic, by Debian's arm-none-eabi-gcc, as words that run wherever they lie."""

import subprocess
import tempfile
from functools import cache
from pathlib import Path

from subsong.compiler import Compiled, Kernel, assembler_module
from subsong.errors import SubsongError
from subsong_device import layout

GCC = "arm-none-eabi-gcc"
FLAGS = (
    "-O2",
    "-mcpu=cortex-m0plus",
    "-mthumb",
    "-ffreestanding",
    "-std=c11",
    "-Wall",
    "-Wextra",
    "-Werror",
    # Every kernel takes what its Python counterpart takes; and a file uses some of kernels.h.
    "-Wno-unused-parameter",
    "-Wno-unused-function",
    "-ffunction-sections",
    # Without a C library there is no memset to call, nor libgcc's jump tables.
    "-fno-tree-loop-distribute-patterns",
    "-fno-jump-tables",
)
HERE = Path(__file__).parent
# The kernel at offset 0, what it calls after it.
SCRIPT = """
SECTIONS {{
  .text 0 : {{ *(.text.{kernel}) *(.text .text.*) *(.rodata*) }}
  /DISCARD/ : {{ *(.comment) *(.ARM*) }}
}}
"""


class BenchError(SubsongError):
    """The benchmark cannot run here."""


def _run(*command: str) -> str:
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError as e:
        raise BenchError(
            f"{command[0]} is not installed: sudo apt-get install gcc-arm-none-eabi binutils-arm-none-eabi"
        ) from e
    except subprocess.CalledProcessError as e:
        raise BenchError(f"{' '.join(command)}: {e.stderr.strip()}") from e
    return done.stdout


@cache
def version() -> str:
    """Return the compiler's first line about itself."""
    return _run(GCC, "--version").splitlines()[0]


def _words(source: str, kernel: str, folder: Path) -> bytes:
    """Compile one kernel and what it calls; return its code, which begins with its entry.

    Raises:
        BenchError: no compiler, or code that depends on where it lies.
    """
    script, program, code = folder / "link.ld", folder / "kernel.elf", folder / "kernel.bin"
    script.write_text(SCRIPT.format(kernel=kernel), encoding="utf-8")
    names = [f"-D{name}={value}" for name, value in vars(layout).items() if name.isupper()]
    linking = ("-nostdlib", "-Wl,--gc-sections", "-Wl,--emit-relocs", f"-Wl,-e,{kernel}", f"-Wl,-T,{script}")
    _run(GCC, *FLAGS, *names, *linking, "-o", str(program), str(HERE / f"{source}.c"))
    relocations = _run("arm-none-eabi-readelf", "-r", str(program))
    if "R_ARM_ABS32" in relocations:
        raise BenchError(f"{source}.c, {kernel}: compiled to an absolute address; see\n{relocations}")
    _run("arm-none-eabi-objcopy", "-O", "binary", "-j", ".text", str(program), str(code))
    return code.read_bytes()


def compile_reference(source: str, kernels: tuple[str, ...], parameters: dict[str, tuple[str, ...]]) -> Compiled:
    """Return kernels of benchmarks/board/SOURCE.c for a Cortex-M0+.

    Args:
        source: name of the file, without its suffix.
        kernels: those that the board calls.
        parameters: of each, their names.
    """
    with tempfile.TemporaryDirectory(prefix="subsong-board-") as folder:
        words = tuple(Kernel(name, parameters[name], _words(source, name, Path(folder))) for name in kernels)
    return Compiled(f"{source}.c", "armv6m", words, "")


def reference_module(source: str, kernels: tuple[str, ...], parameters: dict[str, tuple[str, ...]]) -> str:
    """Return compile_reference's kernels as MicroPython source, wrapped as ours are."""
    return assembler_module(compile_reference(source, kernels, parameters))
