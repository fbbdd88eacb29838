"""What is timed: networks, rules, and a task of a few random patterns, as blocks that the host builds."""

import struct
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from subsong.block import build_block
from subsong.experiment import Experiment, parse_experiment
from subsong_device import layout

RULES = ("weight_perturbation", "node_perturbation", "reinforce")
NETWORKS = ((4, 8, 1), (49, 4, 4), (64, 64, 8), (784, 64, 10))
# Patterns, one a step; a trial shows them all.
STEPS = 4
ESTIMATORS = {
    "weight_perturbation": "two_sided",
    "node_perturbation": "running_baseline",
    "reinforce": "running_baseline",
}


@dataclass(frozen=True)
class Case:
    """A learner and its task; `blocks` makes as many runs of it as are wanted, which differ in their seed.

    Attributes:
        rule: of the learner.
        layers: units, inputs first.
        estimator: "" for the rule's of ESTIMATORS.
        activations: one a layer; none: tanh within, logistic at the end.
    """

    rule: str
    layers: tuple[int, ...]
    estimator: str = ""
    activations: tuple[str, ...] = ()
    recurrent: tuple[bool, ...] = ()

    @property
    def name(self) -> str:
        """Such as "4-8-1, weight perturbation"."""
        return f"{'-'.join(map(str, self.layers))}, {self.rule.replace('_', ' ')}"

    @property
    def synapses(self) -> int:
        """Weights, biases included, of a network without recurrent layers."""
        return sum((n_in + 1) * n_out for n_in, n_out in pairwise(self.layers))

    def experiment(self, seed: int) -> Experiment:
        """Return the experiment, whose plant nobody makes: no shipped task has these shapes.

        The link's frames have no room for the largest network, so its layers come in afterwards.
        """
        few = (2,) * len(self.layers)
        experiment = parse_experiment(self._toml(few, seed), self.name)
        return experiment.model_copy(update={"network": experiment.network.model_copy(update={"layers": self.layers})})

    def _toml(self, layers: tuple[int, ...], seed: int) -> str:
        activations = self.activations or ("tanh",) * (len(self.layers) - 2) + ("logistic",)
        amplitude = {"weight_perturbation": "amplitude = 0.1", "node_perturbation": "amplitude = 0.4"}
        return f"""
seed = {seed}
[network]
layers = {list(layers)}
activations = [{", ".join(f'"{name}"' for name in activations)}]
recurrent = [{", ".join(str(each).lower() for each in self.recurrent)}]
init = 0.5
[learner]
rule = "{self.rule}"
{amplitude.get(self.rule, "")}
rate = 1
rate_shift = {12 if self.rule == "weight_perturbation" else 18}
estimator = "{self.estimator or ESTIMATORS[self.rule]}"
[plant]
kind = "gymnasium"
id = "None-v0"
[run]
trials = 1
steps = {STEPS}
"""

    def task(self) -> bytes:
        """Return the block of the task "patterns": random inputs and targets, 0 or 1."""
        n, m = self.layers[0], self.layers[-1]
        words = np.random.default_rng(1).integers(0, 2, (STEPS, n + m)) * 32767
        # 1 LSB of an error is 2**-12 of an output of 15 fraction bits; a bit less where several outputs fill a total.
        shift = 3 + (m * STEPS > 16)
        return struct.pack("<9H", layout.PATTERNS, n, m, shift, 0, 0, 0, 0, STEPS) + words.astype("<u2").tobytes()


@dataclass
class Runs:
    """Runs of a case, each with memory of its own.

    Attributes:
        heads: int32[runs, words].
        mems: uint16[runs, words].
        tasks: uint16[runs, words].
        xs: uint16[runs, inputs]; us: uint16[runs, outputs].
    """

    heads: np.ndarray
    mems: np.ndarray
    tasks: np.ndarray
    xs: np.ndarray
    us: np.ndarray

    def copy(self) -> "Runs":
        """Return the same words elsewhere."""
        return Runs(*(a.copy() for a in (self.heads, self.mems, self.tasks, self.xs, self.us)))


def runs_of(case: Case, runs: int) -> Runs:
    """Return runs of a case, as they begin, with the seeds 1, 2, .."""
    blocks = [build_block(case.experiment(seed)) for seed in range(1, runs + 1)]
    return Runs(
        np.stack([np.frombuffer(block.head, "<i4") for block in blocks]).astype(np.int32),
        np.stack([np.frombuffer(block.mem, "<u2") for block in blocks]).astype(np.uint16),
        np.stack([np.frombuffer(case.task(), "<u2")] * runs).astype(np.uint16),
        np.zeros((runs, case.layers[0]), np.uint16),
        np.zeros((runs, case.layers[-1]), np.uint16),
    )
