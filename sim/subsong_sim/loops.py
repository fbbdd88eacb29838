"""Trials on this computer, in the kernel dialect: the order of calls is the firmware's own (loop_trial, task_run).

Not imported: the loader joins this file to a learner's kernels and the tasks', for whoever compiles them. The imports
are for readers and linters; the names are the chosen rule's. `plant_start`, `plant_sense` and `plant_step` are C
functions of a compiled plant (subsong_sim.plants.compiled), which subsong_sim.lanes calls by their addresses.

A log has a row for each step: the words that act() saw and gave, and the cost that it saw. With `keep` 0 nothing is
written there. `ends` has six words for each trial: STEPS, TOTAL, BASELINE, CHECK, SATURATED, the last cost.
"""

from subsong_device.layout import (
    BASELINE,
    CHECK,
    COST,
    EVALUATE,
    LAYER_WORDS,
    LAYERS_AT,
    N_IN,
    N_LAYERS,
    N_OUT,
    RECURRENT,
    SATURATED,
    STEPS,
    TOTAL,
)
from subsong_device.learners.weight_perturbation import act, begin, end
from subsong_device.tasks import task_begin, task_cost, task_sense


def task_trials(
    head: ptr32, mem: ptr16, task: ptr16, x: ptr16, u: ptr16, ends: ptr32, trials: int, steps: int, evaluate: int
) -> int:
    """Run so many trials of an on-board task, without a log."""
    return task_stretch(head, mem, task, x, u, x, u, ends, ends, 0, trials, steps, evaluate)


def task_stretch(
    head: ptr32, mem: ptr16, task: ptr16, x: ptr16, u: ptr16, xs: ptr16, us: ptr16, costs: ptr32, ends: ptr32,
    keep: int, trials: int, steps: int, evaluate: int,
) -> int:  # fmt: skip
    """Run so many trials of an on-board task."""
    for n in range(trials):
        cost = logged_trial(head, mem, task, x, u, xs, us, costs, keep, n * steps, steps, evaluate)
        summarise(head, cost, ends, 6 * n)
    return 0


def logged_trial(
    head: ptr32, mem: ptr16, task: ptr16, x: ptr16, u: ptr16, xs: ptr16, us: ptr16, costs: ptr32,
    keep: int, row: int, steps: int, evaluate: int,
) -> int:  # fmt: skip
    """Run one trial of an on-board task, logged from a row on; return the cost that end() saw."""
    head[EVALUATE] = evaluate
    task_begin(head, task)
    begin(head, mem)
    cost = 0
    for t in range(steps):
        task_sense(task, x)
        head[COST] = cost
        act(head, mem, x, u)
        if keep != 0:
            log_step(head, x, u, cost, xs, us, costs, row + t)
        cost = task_cost(task, u)
    head[COST] = cost
    end(head, mem)
    return cost


def plant_stretch(
    head: ptr32, mem: ptr16, plant: ptr32, x: ptr16, u: ptr16, told: ptr32, xs: ptr16, us: ptr16, costs: ptr32,
    ends: ptr32, seeds: ptr32, keep: int, trials: int, steps: int, evaluate: int,
) -> int:  # fmt: skip
    """Run a trial on a compiled plant for each of so many seeds, until one is broken off.

    Args:
        head, mem, x, u: kernel buffers.
        plant: five pointers: its functions, state and settings.
        told: written. [0]: the last cost. [1]: 0, or what the plant says is not a number. [2]: the step where it
            was. [3]: the trials that were not broken off.
        xs, us, costs, ends: the log.
        seeds: of the plant's resets.
        keep: 1 to log.
        trials: as many as there are seeds.
        steps: of a trial, at most.
        evaluate: 0 or 1.
    """
    n = 0
    told[1] = 0
    while told[1] == 0 and n < trials:
        plant_trial(head, mem, plant, x, u, told, xs, us, costs, seeds[n], keep, n * steps, steps, evaluate)
        if told[1] == 0:
            summarise(head, told[0], ends, 6 * n)
            n += 1
    told[3] = n
    return 0


def plant_trial(
    head: ptr32, mem: ptr16, plant: ptr32, x: ptr16, u: ptr16, told: ptr32, xs: ptr16, us: ptr16, costs: ptr32,
    seed: int, keep: int, row: int, steps: int, evaluate: int,
) -> int:  # fmt: skip
    """Run one trial on a compiled plant, logged from a row on; told[:3] as in plant_stretch."""
    plant_start(plant, seed)
    head[EVALUATE] = evaluate
    begin(head, mem)
    told[0] = 0
    broken = 0
    over = 0
    t = 0
    while broken == 0 and over == 0 and t < steps:
        broken = plant_sense(plant, x)
        if broken == 0:
            head[COST] = told[0]
            act(head, mem, x, u)
            if keep != 0:
                log_step(head, x, u, told[0], xs, us, costs, row + t)
            t += 1
            over = plant_step(plant, u, told)
            if over < 0:
                broken = over
    if broken == 0:
        head[COST] = told[0]
        end(head, mem)
    told[1] = broken
    told[2] = t
    return 0


def log_step(head: ptr32, x: ptr16, u: ptr16, cost: int, xs: ptr16, us: ptr16, costs: ptr32, row: int) -> int:
    """Write a step's row."""
    n = head[LAYERS_AT + N_IN] - head[LAYERS_AT + RECURRENT]
    for j in range(n):
        xs[row * n + j] = x[j]
    m = head[LAYERS_AT + (head[N_LAYERS] - 1) * LAYER_WORDS + N_OUT]
    for j in range(m):
        us[row * m + j] = u[j]
    costs[row] = cost
    return 0


def summarise(head: ptr32, cost: int, ends: ptr32, at: int) -> int:
    """Write what a trial left in head, and its last cost."""
    ends[at] = head[STEPS]
    ends[at + 1] = head[TOTAL]
    ends[at + 2] = head[BASELINE]
    ends[at + 3] = head[CHECK]
    ends[at + 4] = head[SATURATED]
    ends[at + 5] = cost
    return 0
