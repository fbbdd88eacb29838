"""The C reference for this computer: benchmarks/sim/c, compiled for one block's structure."""

import ctypes
import os
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from sim.cases import Runs
from subsong.errors import SubsongError
from subsong_device import layout

FLAGS = ("-O3", "-march=native", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function")
HERE = Path(__file__).parent / "c"
# Words of head that a learner never changes and that make its structure.
STRUCTURE = (
    "ESTIMATOR",
    "N_LAYERS",
    "N_WEIGHTS",
    "SIGNALS_AT",
    "SIGNS_AT",
    "TABLE_AT",
    "ELIGIBILITY_AT",
    "UNITS_AT",
)


class BenchError(SubsongError):
    """The benchmark cannot run here."""


def compiler() -> str:
    """Return the C compiler's name: $CC, or cc."""
    return os.environ.get("CC") or "cc"


def _run(*command: str) -> str:
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError as e:
        raise BenchError(f"{command[0]}: there is no such C compiler; install one (sudo apt-get install gcc)") from e
    except subprocess.CalledProcessError as e:
        raise BenchError(f"{' '.join(command)}: {e.stderr.strip()}") from e
    return done.stdout


@cache
def version() -> str:
    """Return the compiler's first line about itself."""
    return _run(compiler(), "--version").splitlines()[0]


def header(head: np.ndarray) -> str:
    """Return block.h: the structure of a block, as constants.

    Args:
        head: int32 words of the block.
    """
    names = [f"#define {name} {value}" for name, value in vars(layout).items() if name.isupper()]
    names += [f"#define BLOCK_{name} {head[getattr(layout, name)]}" for name in STRUCTURE]
    layers = head[layout.LAYERS_AT :][: head[layout.N_LAYERS] * layout.LAYER_WORDS].reshape(-1, layout.LAYER_WORDS)
    names.append(f"#define BLOCK_N_SENSORS {layers[0, layout.N_IN] - layers[0, layout.RECURRENT]}")
    names.append(f"#define BLOCK_N_ACTUATORS {layers[-1, layout.N_OUT]}")
    names.append(f"#define BLOCK_MOST_INPUTS {layers[:, layout.N_IN].max()}")
    rows = ", ".join("{" + ", ".join(map(str, row)) + "}" for row in layers)
    return "\n".join([*names, f"#define LAYERS {rows}", ""])


def library(source: str, block: str = "") -> ctypes.CDLL:
    """Compile a file of benchmarks/sim/c and load it.

    Args:
        source: its name, without its suffix.
        block: block.h, where it includes that.

    Raises:
        BenchError: no compiler.
    """
    with tempfile.TemporaryDirectory(prefix="subsong-sim-") as folder:
        Path(folder, "block.h").write_text(block, encoding="utf-8")
        path = Path(folder, f"{source}.so")
        _run(compiler(), *FLAGS, "-shared", "-fPIC", f"-I{folder}", "-o", str(path), str(HERE / f"{source}.c"))
        return ctypes.CDLL(str(path))


class Reference:
    """A rule in C, for blocks of one structure.

    Args:
        rule: name of its file in benchmarks/sim/c, without its suffix.
        head: int32 words of such a block.

    Raises:
        BenchError: no compiler.
    """

    def __init__(self, rule: str, head: np.ndarray) -> None:
        self._stretch = library(rule, header(head)).stretch

    def stretch(self, runs: Runs, run: int, trials: int, steps: int, *, evaluate: bool = False) -> None:
        """Run trials of one run. Other threads go on meanwhile."""
        buffers = (runs.heads, runs.mems, runs.tasks, runs.xs, runs.us)
        self._stretch(*(ctypes.c_void_p(b[run].ctypes.data) for b in buffers), trials, steps, int(evaluate))
