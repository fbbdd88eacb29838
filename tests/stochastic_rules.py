"""Learners of the rules whose chance is in units and synapses, as their tests drive them."""

import math
import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from subsong.block import Block, build_block
from subsong.experiment import parse_experiment
from subsong_device import layout
from subsong_sim.engines import LocalLearner

Array = np.ndarray[Any, np.dtype[np.float64]]


def block_of(
    rule: str,
    estimator: str,
    layers: Sequence[int],
    activations: Sequence[str],
    *,
    recurrent: Sequence[bool] = (),
    steps: int = 16,
    init: float = 0.5,
    seed: int = 1,
    weight_frac: int = 11,
    **learner: int,
) -> Block:
    """Build a block; `learner` are further keys of [learner]."""
    keys = {"rate": 1, "rate_shift": 12, **learner}
    text = f"""
seed = {seed}
[network]
layers = {list(layers)}
activations = [{", ".join(f'"{name}"' for name in activations)}]
recurrent = [{", ".join(str(bool(flag)).lower() for flag in recurrent)}]
weight_frac = {weight_frac}
init = {init}
[learner]
rule = "{rule}"
estimator = "{estimator}"
{chr(10).join(f"{key} = {value}" for key, value in keys.items())}
[plant]
kind = "gymnasium"
id = "None-v0"
[run]
trials = 1
steps = {steps}
"""
    return build_block(parse_experiment(text, "test"))


def learner_of(*args: Any, engine: str = "native", **keys: Any) -> LocalLearner:
    """Return a learner of block_of's block."""
    block = block_of(*args, **keys)
    return LocalLearner(block.rule, block.head, block.mem, engine)


def weights(learner: LocalLearner) -> Array:
    """Return the weights in LSBs."""
    return np.array(learner.mem[: int(learner.head[layout.N_WEIGHTS])]).astype(np.int16).astype(np.float64)


def eligibility(learner: LocalLearner) -> Array:
    """Return the eligibilities, as they are held."""
    at = int(learner.head[layout.ELIGIBILITY_AT])
    return np.array(learner.head[at : at + int(learner.head[layout.N_WEIGHTS])], dtype=np.float64)


def unit_words(learner: LocalLearner, n: int) -> list[int]:
    """Return the first n words that the rule keeps for its units, signed."""
    at = int(learner.head[layout.UNITS_AT])
    return [(int(w) ^ 0x8000) - 0x8000 for w in learner.mem[at : at + n]]


def z_scores(samples: Array) -> Array:
    """Return mean over standard error, column by column; 0 where nothing ever varied from 0."""
    error = samples.std(axis=0, ddof=1) / math.sqrt(len(samples))
    return np.divide(samples.mean(axis=0), error, out=np.zeros_like(error), where=error > 0)


def played(block: Block, engine: str, trials: int = 6, steps: int = 5) -> list[Any]:
    """Play trials with random words and costs, evaluations among them; return all that came of them."""
    learner = LocalLearner(block.rule, block.head, block.mem, engine)
    rng = random.Random(3)
    found: list[Any] = []
    for trial in range(trials):
        learner.begin(trial, trial % 3 == 2)
        cost = 0
        for _ in range(steps):
            found.append(list(learner.act(cost, [rng.randint(-32768, 32767) for _ in range(block.n_sensors)])))
            cost = rng.randint(-(2**20), 2**20)
        found.append(learner.end(cost))
        found.append(learner.state())
    return found
