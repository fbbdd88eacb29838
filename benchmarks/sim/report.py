"""What every section of `make bench-sim` prints alike: the machine, tables, medians."""

import os
import platform
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

QUICK = os.environ.get("QUICK", "0") not in ("", "0")


def machine() -> str:
    """Return the processor, its cores, and the versions that figures depend on."""
    import llvmlite.binding as llvm

    from sim.reference import FLAGS
    from sim.reference import version as compiler_version

    names = [line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")]
    packages = ", ".join(f"{name} {version(name)}" for name in ("numba", "llvmlite", "numpy"))
    return (
        f"{names[0] if names else platform.machine()} ({llvm.get_host_cpu_name()}), {os.cpu_count()} cores,"
        f" load average {os.getloadavg()[0]:.1f}\n"
        f"Python {platform.python_version()}, {packages}, LLVM {'.'.join(map(str, llvm.llvm_version_info))}\n"
        f"{compiler_version()}, {' '.join(FLAGS[:2])}"
    )


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield a table's lines, its columns aligned."""
    cells = [list(headers), *map(list, rows)]
    widths = [max(len(row[k]) for row in cells) for k in range(len(headers))]
    for n, row in enumerate(cells):
        padded = [
            cell.ljust(w) if k == 0 else cell.rjust(w) for k, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        yield "| " + " | ".join(padded) + " |"
        if n == 0:
            yield "|" + "|".join("-" * (w + 1) + (":" if k else "-") for k, w in enumerate(widths)) + "|"


def quartiles(values: Sequence[float], digits: int = 2) -> str:
    """Return "median (lower quartile .. upper)"."""
    low, middle, high = np.percentile(values, (25, 50, 75))
    return f"{middle:.{digits}f} ({low:.{digits}f}..{high:.{digits}f})"
