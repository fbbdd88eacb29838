"""Runs trials on this computer: a learner and its plant, one call a trial, in compiled loops where there is one.

Every way of running gives the same words; they differ in speed alone.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subsong_device import layout
from subsong_sim.engines import LocalLearner, make_buffer, task_kernels
from subsong_sim.lanes import compile_one
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
    """Trials of an on-board task: a stretch of them in one call for a native learner, step by step for any other.

    Args:
        learner: the learner's block on this computer.
        task: the task's block, little-endian uint16 words.
        steps: of a trial.
        hook: told of every step.
        evaluate_steps: of an evaluation; 0: as many as of a trial.
    """

    def __init__(
        self, learner: LocalLearner, task: bytes, steps: int, hook: StepHook | None = None, evaluate_steps: int = 0
    ) -> None:
        self.learner, self.hook = learner, hook
        self.steps = (steps, evaluate_steps or steps)
        self.task = make_buffer(task, "H", learner.engine)
        # Compiled now: the first trial is then as fast as the second.
        if learner.engine == "native":
            self._code = compile_one(learner.rule, ("task_stretch",), learner.head, self.task)
        else:
            self._kernels = task_kernels(learner.engine)

    def run(self, first: int, seeds: Sequence[int], evaluate: bool) -> Iterator[Ended]:
        """Run len(seeds) trials, numbered from `first`; a task draws nothing from the seeds."""
        if self.learner.engine != "native":
            for trial in range(first, first + len(seeds)):
                yield self._step_by_step(trial, evaluate)
            return
        stretch = _Stretch(len(seeds), self.steps[evaluate], self.learner, logged=self.hook is not None)
        head, mem, x, u = self.learner.buffers
        buffers = addresses(head, mem, self.task, x, u, *stretch.arrays)
        self._code.functions["task_stretch"](*buffers, *stretch.numbers, int(evaluate), 1)
        yield from stretch.tell(first, evaluate, self.hook)

    def _step_by_step(self, trial: int, evaluate: bool) -> Ended:
        learner, kernels = self.learner, self._kernels
        learner.head[layout.EVALUATE] = int(evaluate)
        kernels.task_begin(learner.head, self.task)
        learner.begin(trial, evaluate)
        cost = 0
        for step in range(self.steps[evaluate]):
            kernels.task_sense(self.task, learner.x)
            x = [_signed(word) for word in learner.x]
            u = learner.act(cost, x)
            if self.hook is not None:
                self.hook(trial, step, cost, x, u)
            cost = int(kernels.task_cost(self.task, learner.u))
        return Ended(learner.end(cost), cost)

    def state(self) -> tuple[bytes, bytes]:
        """Return the learner's head and mem."""
        return self.learner.state()


class CompiledPlantTrials:
    """Trials on a compiled plant, a stretch of them in one call.

    Args:
        learner: the learner's block, native.
        plant: subsong_sim.plants.simulated.SimulatedPlant or subsong_sim.plants.cartpole.NumbaCartPole.
        steps: of a trial, at most; the plant's own limit holds too.
        hook: told of every step.
    """

    def __init__(self, learner: LocalLearner, plant: Any, steps: int, hook: StepHook | None = None) -> None:
        self.learner, self.plant, self.hook = learner, plant, hook
        self.steps = min(steps, plant.episode_steps)
        self._code = compile_one(learner.rule, ("plant_stretch",), learner.head)
        self._state = np.zeros(plant.state_words)
        self._plant = np.array(
            [*plant.functions.addresses, self._state.ctypes.data, plant.settings.ctypes.data], np.uintp
        )

    def run(self, first: int, seeds: Sequence[int], evaluate: bool) -> Iterator[Ended]:
        """Run a trial for each seed of the plant's reset, numbered from `first`.

        Raises:
            PlantError: the plant has left what its equations can compute; the trials before it have ended.
        """
        stretch = _Stretch(len(seeds), self.steps, self.learner, logged=self.hook is not None)
        head, mem, x, u = self.learner.buffers
        told, resets = np.zeros(4, np.int32), np.array(seeds, np.uint32)
        buffers = addresses(head, mem, self._plant, x, u, told, *stretch.arrays, resets)
        self._code.functions["plant_stretch"](*buffers, *stretch.numbers, int(evaluate), 1)
        _, what, step, done = told.tolist()
        yield from stretch.tell(first, evaluate, self.hook, done)
        if what:
            raise not_a_number(self.plant.name, what, step, seeds[done])

    def state(self) -> tuple[bytes, bytes]:
        """Return the learner's head and mem."""
        return self.learner.state()


def addresses(*arrays: NDArray[Any]) -> list[int]:
    """Return where arrays lie, as native code takes them."""
    return [each.ctypes.data for each in arrays]


class _Stretch:
    """What n trials in one call write down: their steps, if anybody wants them, and their ends.

    Attributes:
        arrays, numbers: `xs, us, costs, ends` and `keep, trials, steps` of subsong_sim.loops.
    """

    def __init__(self, n: int, steps: int, learner: LocalLearner, *, logged: bool) -> None:
        rows = n * steps if logged else 0
        self.steps = steps
        self.numbers = int(logged), n, steps
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
