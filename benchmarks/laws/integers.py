"""The integer learner under observation: the firmware's kernels, compiled, one block a seed from build_block."""

import ast
import math
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

from subsong.block import build_block
from subsong.experiment import Experiment, parse_experiment
from subsong_device import layout
from subsong_sim import loader
from subsong_sim.engines import LocalLearner, make_buffer

Floats = NDArray[np.float64]
T = TypeVar("T")
WEIGHT, NODE = "weight_perturbation", "node_perturbation"


class Learner(NamedTuple):
    """A rule's compiled loops and one seed's buffers, in the order in which every loop takes them."""

    loops: ModuleType
    head: Any
    mem: Any
    task: Any
    x: Any
    u: Any

    @property
    def buffers(self) -> tuple[Any, Any, Any, Any, Any]:
        """Return the kernel buffers."""
        return self[1:]

    def set_rate(self, mantissa: int, shift: int) -> None:
        """Go on with another rate: what a board would be told between two runs."""
        self.head[layout.RATE], self.head[layout.RATE_SHIFT] = mantissa, shift

    def weights(self, frac: int) -> Floats:
        """Return all weights and biases in real units."""
        words = self.mem[: int(self.head[layout.N_WEIGHTS])].view(np.int16)
        return np.asarray(words / 2.0**frac)


@cache
def load_loops(rule: str) -> ModuleType:
    """Return a rule's kernels, the tasks', the simulator's loops and those of loops.py, compiled as one module."""
    tree = ast.parse(Path(__file__).with_name("loops.py").read_text(encoding="utf-8"))
    own = [
        f"\n\n@njit(cache=True, nogil=True)\n{ast.unparse(f)}\n" for f in tree.body if isinstance(f, ast.FunctionDef)
    ]
    joined = loader.render(loader.learner_and_loops(rule), "numba")
    return loader.import_text(f"{rule}_laws", f"{joined}\n\nimport numpy as np\n" + "".join(own))


def learner(experiment: Experiment) -> Learner:
    """Return an experiment's learner, at its beginning."""
    block = build_block(experiment)
    local = LocalLearner(block.rule, block.head, block.mem, "numba")
    return Learner(
        load_loops(block.rule), local.head, local.mem, make_buffer(block.task, "H", "numba"), local.x, local.u
    )


def over_seeds(text: str, seeds: Iterable[int], run: Callable[[Learner], T]) -> list[T]:
    """Return run(learner) for an experiment under every seed, in as many threads as Numba may have."""
    experiment = parse_experiment(text, "laws")

    def one(seed: int) -> T:
        return run(learner(experiment.with_seed(seed)))

    first, *others = seeds
    results = [one(first)]  # compiles
    with ThreadPoolExecutor(numba.get_num_threads()) as pool:
        return results + list(pool.map(one, others))


def mantissa_and_shift(rate: float) -> tuple[int, int]:
    """Return the integers nearest to a rate (weight LSBs a count): 1..16383 and 0..29.

    Raises:
        ValueError: it is out of their range.
    """
    shift = min(29, math.floor(math.log2(16383 / rate)))
    mantissa = round(rate * 2.0**shift)
    if shift < 0 or not 1 <= mantissa <= 16383:
        raise ValueError(f"rate {rate}: out of range")
    return mantissa, shift


def experiment_text(
    *,
    layers: list[int],
    activations: list[str],
    rule: str,
    amplitude: float,
    rate: float,
    estimator: str,
    plant: dict[str, object],
    steps: int = 1,
    weight_frac: int = 11,
    init: float = 0.0,
    bias: bool = True,
    rounding: str = "stochastic",
    tau: int = 1,
) -> tuple[str, float]:
    """Return an experiment file and the rate that it holds, as near to `rate` (weight LSBs a count) as integers are."""
    mantissa, shift = mantissa_and_shift(rate)
    with_bias = "" if bias else f"bias = {str([False] * len(activations)).lower()}\n"
    keys = "".join(f"{k} = {repr(v).replace(chr(39), chr(34))}\n" for k, v in plant.items())
    text = (
        f"seed = 1\n[network]\nlayers = {layers}\nactivations = {str(activations).replace(chr(39), chr(34))}\n"
        f"weight_frac = {weight_frac}\ninit = {init}\n{with_bias}"
        f'[learner]\nrule = "{rule}"\namplitude = {amplitude!r}\nrate = {mantissa}\nrate_shift = {shift}\n'
        f'estimator = "{estimator}"\nrounding = "{rounding}"\ntau = {tau}\n'
        f'[plant]\nkind = "task"\n{keys}[run]\ntrials = 1000\nsteps = {steps}\n'
    )
    return text, mantissa * 2.0**-shift
