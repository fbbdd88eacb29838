"""Against what a user would pick instead: NumPy, PyTorch and JAX learn the same tasks in float32, on the same cores."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from figures import example

from subsong.block import build_block
from subsong.experiment import Experiment, parse_experiment
from subsong.experiment_text import example_text
from subsong_device import layout
from subsong_sim import loader
from subsong_sim.engines import LocalLearner, make_buffer

HERE = Path(__file__).parent / "rivals"
ROOT = Path(__file__).parents[2]
# The environment that `make bench-rivals` makes; the project's own stays small.
PYTHON = ROOT / ".venv-rivals" / "bin" / "python"
RIVALS = ("numpy_rival", "torch_rival", "jax_rival", "jax_batched_rival")


@dataclass(frozen=True)
class Task:
    """A learning task, for Subsong and its rivals.

    Attributes:
        name: as printed.
        experiment: of Subsong's side; its seed is replaced.
        trials: of the whole task.
        x, y: patterns of 0 and 1, [patterns, inputs], and their targets; empty for CartPole.
        block: on-board task that takes the place of the experiment's own; none: it has one.
        count: what one count of cost is.
    """

    name: str
    experiment: Experiment
    trials: int
    x: np.ndarray
    y: np.ndarray
    block: bytes
    count: float

    @property
    def weights(self) -> int:
        """Weights, biases included."""
        layers = self.experiment.network.layers
        return sum((n + 1) * m for n, m in zip(layers[:-1], layers[1:], strict=True))

    def problem(self) -> dict[str, Any]:
        """Return the task in real units, as rivals/problem.py has it, without its patterns."""
        network, learner, run = self.experiment.network, self.experiment.learner, self.experiment.run
        ranges = getattr(self.experiment.plant, "sensor_range", None) or ()
        return {
            "name": self.name,
            "rule": learner.rule,
            "estimator": learner.estimator,
            "layers": network.layers,
            "activations": network.activations,
            "amplitude": learner.amplitude or 0.0,
            "eta": learner.rate * 2.0 ** -(learner.rate_shift + network.weight_frac) / self.count,
            "baseline": 2.0**-learner.baseline_shift,
            "init": network.init,
            "trials": self.trials,
            "ranges": [high for _low, high in ranges],
            "shown": 1 if run.steps == 1 else len(self.x),
            "stride": getattr(self.experiment.plant, "stride", 1),
        }
