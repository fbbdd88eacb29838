"""Runs trials on this computer: a learner and its plant, one call a trial, in compiled loops where there is one.

Every way of running gives the same words; they differ in speed alone.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from subsong_device import layout
from subsong_sim import loader
from subsong_sim.engines import LocalLearner, make_buffer, task_kernels
from subsong_sim.learner import Ended, Learner, StepHook, TrialSummary
from subsong_sim.plants.base import Plant, make_safe, not_a_number


def plant_trial(
    learner: Learner, plant: Plant, trial: int, seed: int, steps: int, evaluate: bool, hook: StepHook | None = None
) -> Ended:
    """Run one trial of any learner, local or on a board, on any plant.

    Args:
        learner: begin, act, end.
        plant: reset by this function, and safe when it is left.
        trial: the trial's number.
        seed: of the plant's reset, 0..2**32-1.
        steps: at most; 1..16384.
        evaluate: an unperturbed trial that changes no state.
        hook: told of every step.
    """
    cost = 0
    try:
        plant.reset(seed)
        learner.begin(trial, evaluate)
        for step in range(steps):
            x = plant.sense()
            u = learner.act(cost, x)
            if hook is not None:
                hook(trial, step, cost, x, u)
            plant.actuate(u)
            cost = plant.cost()
            if plant.done:
                break
    finally:
        make_safe(plant)
    return Ended(learner.end(cost), cost)


class PlantTrials:
    """Trials of a learner on a plant, step by step in Python.

    Args:
        learner: local or on a board.
        plant: any.
        steps: of a trial, at most.
        hook: told of every step; None where somebody else keeps them.
    """

    def __init__(self, learner: Learner, plant: Plant, steps: int, hook: StepHook | None = None) -> None:
        self.learner, self.plant, self.steps, self.hook = learner, plant, steps, hook

    def run(self, first: int, seeds: Sequence[int], evaluate: bool) -> Iterator[Ended]:
        """Run a trial for each seed of the plant's reset, numbered from `first`."""
        for trial, seed in enumerate(seeds, first):
            yield plant_trial(self.learner, self.plant, trial, seed, self.steps, evaluate, self.hook)

    def state(self) -> tuple[bytes, bytes]:
        """Return the learner's head and mem."""
        return self.learner.state()


class TaskTrials:
    """Trials of an on-board task, step by step in Python (engine "cpython") or compiled ("numba").

    Args:
        learner: the learner's block on this computer.
        task: the task's block, little-endian uint16 words.
        steps: of a trial.
        engine: "numba" or "cpython", the learner's.
        rule: the learner's rule.
        hook: told of every step.
        evaluate_steps: of an evaluation; 0: as many as of a trial.
    """

    def __init__(
        self,
        learner: LocalLearner,
        task: bytes,
        steps: int,
        engine: str,
        rule: str,
        hook: StepHook | None = None,
        evaluate_steps: int = 0,
    ) -> None:
        self.learner, self.hook = learner, hook
        self.steps = (steps, evaluate_steps or steps)
        self.task = make_buffer(task, "H", engine)
        self.kernels = task_kernels(engine)
        self.loops: Any = loader.load_loops(rule) if engine == "numba" else None
        if self.loops is not None:
            # Compile now, for no trial: the first one is then as fast as the second.
            self._compiled(_Stretch(0, steps, learner, logged=False), False)

    def run(self, first: int, seeds: Sequence[int], evaluate: bool) -> Iterator[Ended]:
        """Run len(seeds) trials, numbered from `first`; a task draws nothing from the seeds."""
        if self.loops is None:
            for trial in range(first, first + len(seeds)):
                yield self._interpreted(trial, evaluate)
            return
        stretch = _Stretch(len(seeds), self.steps[evaluate], self.learner, logged=self.hook is not None)
        self._compiled(stretch, evaluate)
        yield from stretch.tell(first, evaluate, self.hook)

    def _compiled(self, stretch: "_Stretch", evaluate: bool) -> None:
        head, mem, x, u = self.learner.buffers
        self.loops.task_stretch(head, mem, self.task, x, u, stretch.steps, int(evaluate), *stretch.arrays)

    def _interpreted(self, trial: int, evaluate: bool) -> Ended:
        learner = self.learner
        learner.head[layout.EVALUATE] = int(evaluate)
        self.kernels.task_begin(learner.head, self.task)
        learner.begin(trial, evaluate)
        cost = 0
        for step in range(self.steps[evaluate]):
            self.kernels.task_sense(self.task, learner.x)
            x = [_signed(word) for word in learner.x]
            u = learner.act(cost, x)
            if self.hook is not None:
                self.hook(trial, step, cost, x, u)
            cost = int(self.kernels.task_cost(self.task, learner.u))
        return Ended(learner.end(cost), cost)

    def state(self) -> tuple[bytes, bytes]:
        """Return the learner's head and mem."""
        return self.learner.state()


class CompiledPlantTrials:
    """Trials on a compiled plant, a stretch of them in one call.

    Args:
        learner: the learner's block, engine "numba".
        plant: subsong_sim.plants.simulated.SimulatedPlant or subsong_sim.plants.cartpole.NumbaCartPole.
        steps: of a trial, at most; the plant's own limit holds too.
        rule: the learner's rule.
        hook: told of every step.
    """

    def __init__(self, learner: LocalLearner, plant: Any, steps: int, rule: str, hook: StepHook | None = None) -> None:
        self.learner, self.plant, self.hook = learner, plant, hook
        self.steps = min(steps, plant.episode_steps)
        self.loops: Any = loader.load_loops(rule)
        # Compile now, for no trial: the first one is then as fast as the second.
        self._compiled(_Stretch(0, self.steps, learner, logged=False), [], False)

    def run(self, first: int, seeds: Sequence[int], evaluate: bool) -> Iterator[Ended]:
        """Run a trial for each seed of the plant's reset, numbered from `first`.

        Raises:
            PlantError: the plant has left what its equations can compute; the trials before it have ended.
        """
        stretch = _Stretch(len(seeds), self.steps, self.learner, logged=self.hook is not None)
        done, what, step = self._compiled(stretch, seeds, evaluate)
        yield from stretch.tell(first, evaluate, self.hook, done)
        if what:
            raise not_a_number(self.plant.name, what, step, seeds[done])

    def _compiled(self, stretch: "_Stretch", seeds: Sequence[int], evaluate: bool) -> tuple[int, int, int]:
        told = np.zeros(3, np.int32)
        plant = compiled_plant(self.plant, told)
        resets = np.array(seeds, np.uint32)
        buffers = self.learner.buffers
        done = self.loops.plant_stretch(*buffers, plant, resets, self.steps, int(evaluate), *stretch.arrays)
        return int(done), int(told[1]), int(told[2])

    def state(self) -> tuple[bytes, bytes]:
        """Return the learner's head and mem."""
        return self.learner.state()


def compiled_plant(plant: Any, told: Any) -> tuple[Any, ...]:
    """Return a compiled plant as loops.plant_trial takes it, with a state of its own.

    Args:
        plant: as for CompiledPlantTrials.
        told: int32[3], zeros.
    """
    return np.array(plant.functions.addresses, np.int64), plant.settings, np.zeros(plant.state_words), told


class _Stretch:
    """What n compiled trials write down: their steps, if anybody wants them, and their ends."""

    def __init__(self, n: int, steps: int, learner: LocalLearner, *, logged: bool) -> None:
        rows = n * steps if logged else 0
        self.steps = steps
        self.xs = np.empty((rows, learner.n_sensors), np.uint16)
        self.us = np.empty((rows, learner.n_actuators), np.uint16)
        self.costs = np.empty(rows, np.int32)
        self.ends = np.empty((n, 6), np.int32)
        self.arrays = (self.xs, self.us, self.costs, self.ends)

    def tell(self, first: int, evaluate: bool, hook: StepHook | None, done: int | None = None) -> Iterator[Ended]:
        """Tell the hook of every step, and yield the ends, of the first `done` trials or of all."""
        for n, (steps, total, baseline, check, saturated, last_cost) in enumerate(self.ends[:done].tolist()):
            trial = first + n
            if hook is not None:
                at = slice(n * self.steps, n * self.steps + steps)
                xs = self.xs[at].view(np.int16).tolist()
                us = self.us[at].view(np.int16).tolist()
                for step, (cost, x, u) in enumerate(zip(self.costs[at].tolist(), xs, us, strict=True)):
                    hook(trial, step, cost, x, u)
            yield Ended(TrialSummary(trial, evaluate, steps, total, baseline, check, saturated, 0), last_cost)


def _signed(word: int) -> int:
    return (int(word) ^ 0x8000) - 0x8000
