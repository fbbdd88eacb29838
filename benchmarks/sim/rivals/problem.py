"""What a rival is asked to learn, and how it is timed. A rival is a program of its own: a question in, JSON out.

    python numpy_rival.py < question.json

Rivals run in an environment without Subsong: this file needs NumPy alone.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

# Settings that keep old builds of OpenBLAS right make new ones slow. Cores are NumPy's rival's own to share out.
for _name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(_name, None)
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np  # noqa: E402 - it reads the settings above

Floats = np.ndarray[Any, np.dtype[np.float32]]
# CartPole-v1's numbers: Gymnasium's.
GRAVITY, MASS_POLE, MASS, LENGTH, FORCE, TAU = 9.8, 0.1, 1.1, 0.5, 10.0, 0.02
X_LIMIT, THETA_LIMIT, START, EPISODE = 2.4, 24 * np.pi / 360, 0.05, 500


@dataclass(frozen=True)
class Problem:
    """A network, a rule and a task, in real units.

    Attributes:
        name: of the task.
        rule: "weight_perturbation", "node_perturbation" or "reinforce".
        estimator: "two_sided", where two trials make an update, or "running_baseline".
        layers: units, inputs first; each layer behind them has biases.
        activations: "identity", "tanh" or "logistic", one a layer behind the inputs.
        amplitude: of the perturbation.
        eta: a weight moves by -eta * (cost - baseline) * eligibility.
        baseline: what part of the difference the running baseline moves by.
        init: initial weights are uniform in +-init.
        trials: of the whole learning task.
        ranges: of CartPole's sensors: +-range is +-1 at the network's input, and what lies beyond is clipped.
        shown: patterns a trial, all of them or one.
        stride: from one trial's pattern to the next's, modulo their number, where a trial shows one.
        x, y: float32[patterns, inputs], float32[patterns, outputs]; empty for CartPole. A trial's cost is the sum of
            squared errors over its patterns and outputs; on CartPole it is -1 a step.
    """

    name: str
    rule: str
    estimator: str
    layers: tuple[int, ...]
    activations: tuple[str, ...]
    amplitude: float
    eta: float
    baseline: float
    init: float
    trials: int
    ranges: tuple[float, ...]
    shown: int
    stride: int
    x: Floats
    y: Floats

    @property
    def cartpole(self) -> bool:
        """Whether the task is CartPole."""
        return not len(self.x)

    @property
    def pair(self) -> int:
        """Trials an update."""
        return 2 if self.estimator == "two_sided" else 1

    def sample(self) -> tuple[Floats, Floats]:
        """Return the patterns that an evaluation looks at: all, or 512 of them, spread."""
        at = np.arange(min(len(self.x), 512)) * self.stride % len(self.x)
        return self.x[at], self.y[at]


class Run(Protocol):
    """Many seeds of a problem that are learning, side by side."""

    def advance(self, n: int) -> tuple[int, int]:
        """Learn on: n updates of every seed, on CartPole n steps or what takes about as long.

        Returns:
            Learning steps and trials done, the sum over seeds.
        """
        ...

    def cost(self) -> float:
        """Return the mean cost of an output of the unperturbed networks; unused on CartPole."""
        ...


Make = Callable[[Problem, int], Run]


_runs: list[Run] = []


def _begin(make: Callable[[Problem, int, int], Run], problem: Problem, seeds: int, seed: int) -> None:
    _runs.append(make(problem, seeds, seed))


def _advance(n: int) -> tuple[int, int]:
    return _runs[0].advance(n)


def _cost() -> float:
    return _runs[0].cost()


class Processes:
    """The seeds of a run, shared out to a process a core: for what computes small arrays in one thread.

    Args:
        make: begins a run of so many seeds from a seed of its generator.
        problem: what to learn.
        seeds: of all processes.
    """

    def __init__(self, make: Callable[[Problem, int, int], Run], problem: Problem, seeds: int) -> None:
        share = max(1, seeds // (os.cpu_count() or 1))
        # Pools of one process each: a process keeps its seeds.
        self.pools = [ProcessPoolExecutor(1) for _ in range(seeds // share)]
        for future in [pool.submit(_begin, make, problem, share, k) for k, pool in enumerate(self.pools)]:
            future.result()

    def advance(self, n: int) -> tuple[int, int]:
        """Learn on in every process."""
        done = [future.result() for future in [pool.submit(_advance, n) for pool in self.pools]]
        return sum(steps for steps, _ in done), sum(trials for _, trials in done)

    def cost(self) -> float:
        """Return the mean of the processes."""
        return float(np.mean([pool.submit(_cost).result() for pool in self.pools]))


def _speed(run: Run, seconds: float) -> float:
    """Return learning steps a second, the best of eight stretches of about `seconds` in all."""
    n = 1
    run.advance(n)  # compiles
    while True:
        began = time.perf_counter()
        steps, _trials = run.advance(n)
        took = time.perf_counter() - began
        if took > seconds / 12:
            break
        n = min(8 * n, 1 + int(n * seconds / 8 / max(took, 1e-6)))
    best = steps / took
    for _ in range(7):
        began = time.perf_counter()
        steps, _trials = run.advance(n)
        best = max(best, steps / (time.perf_counter() - began))
    return best


def _learn(problem: Problem, run: Run, seeds: int) -> tuple[float, float, float]:
    """Run the whole learning task.

    Returns:
        Costs before and after (on CartPole minus the mean length of trials at the beginning and in the end), and the
        steps that a seed took.
    """
    n = 250 if problem.cartpole else max(1, problem.trials // problem.pair // 8)
    first = 0.0 if problem.cartpole else run.cost()
    steps = trials = 0
    last = first
    while trials < problem.trials * seeds:
        s, t = run.advance(n)
        steps, trials = steps + s, trials + t
        if problem.cartpole:
            last = -s / max(t, 1)
            first, n = first or last, 2500
    return first, last if problem.cartpole else run.cost(), steps / trials * problem.trials


def serve(make: Make, versions: str) -> None:
    """Answer the question on standard input.

    Args:
        make: begins a run.
        versions: of the framework.
    """
    question = json.load(sys.stdin)
    with np.load(question["data"]) as data:
        problem = Problem(**question["problem"], x=data["x"], y=data["y"])
    counts = question["seeds"]
    speeds = [_speed(make(problem, seeds), question["seconds"]) for seeds in counts]
    best = int(np.argmax(speeds))
    seeds = question["learn"]
    before, after, task_steps = _learn(problem, make(problem, seeds), seeds)
    answer = {"versions": versions, "seeds": counts[best], "steps_per_s": speeds[best]}
    answer |= {"seeds_per_s": speeds[best] / task_steps, "before": before, "after": after, "task_steps": task_steps}
    json.dump(answer | {"speeds": dict(zip(map(str, counts), speeds, strict=True))}, sys.stdout)
