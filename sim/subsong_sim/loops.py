"""Trial loops for the simulator. Not imported: the loader joins this file to a learner's kernels and compiles both.

Here `begin`, `act`, `end` are the learner's kernels and `task_*` the on-board task's, as on the board; the order
of calls is the firmware's own (subsong_device.loop_trial, task_run). The imports below are for readers and linters:
joined, the names are the chosen rule's.
"""

import numpy as np
from numba import int32, int64

from subsong_device.layout import BASELINE, CHECK, COST, COST_LIMIT, EVALUATE, SATURATED, STEPS, TOTAL
from subsong_device.learners.weight_perturbation import act, begin, end
from subsong_device.tasks import task_begin, task_cost, task_sense
from subsong_sim.address import call


def task_trial(head, mem, task, x, u, steps, evaluate, xs, us, costs):
    """Run one trial of an on-board task.

    Args:
        head, mem, task, x, u: kernel buffers.
        steps: int, steps of the trial.
        evaluate: 0 or 1.
        xs, us: uint16[steps, n_sensors], uint16[steps, n_actuators]; written. With no rows, nothing is kept.
        costs: int32[steps], the cost that each act() saw; written.

    Returns:
        The cost that end() saw.
    """
    keep = xs.shape[0] > 0
    head[EVALUATE] = evaluate
    task_begin(head, task)
    begin(head, mem)
    cost = int32(0)
    for t in range(steps):
        task_sense(task, x)
        head[COST] = cost
        if keep:
            costs[t] = cost
            for j in range(x.size):
                xs[t, j] = x[j]
        act(head, mem, x, u)
        if keep:
            for j in range(u.size):
                us[t, j] = u[j]
        cost = task_cost(task, u)
    head[COST] = cost
    end(head, mem)
    return cost


def task_stretch(head, mem, task, x, u, steps, evaluate, xs, us, costs, ends):
    """Run one trial for each row of `ends`, int32[n, 6]: STEPS, TOTAL, BASELINE, CHECK, SATURATED, last cost; written.

    The other arguments are task_trial's, the logs with n * steps rows or none.
    """
    keep = steps if xs.shape[0] > 0 else 0
    for n in range(ends.shape[0]):
        a = n * keep
        b = a + keep
        ends[n, 5] = task_trial(head, mem, task, x, u, steps, evaluate, xs[a:b], us[a:b], costs[a:b])
        summarise(head, ends[n])
    return 0


def summarise(head, end):
    """Copy what a trial left in head to int32[6]."""
    end[0] = head[STEPS]
    end[1] = head[TOTAL]
    end[2] = head[BASELINE]
    end[3] = head[CHECK]
    end[4] = head[SATURATED]


def task_trials(head, mem, task, x, u, steps, trials, every, stop):
    """Run up to `trials` learning trials; after every `every` of them evaluate, and stop at a total of at most `stop`.

    Returns:
        (trials run, total of the last evaluation).
    """
    none = xs_none()
    costs = costs_none()
    total = int32(COST_LIMIT)
    for n in range(trials):
        task_trial(head, mem, task, x, u, steps, 0, none, none, costs)
        if (n + 1) % every == 0:
            task_trial(head, mem, task, x, u, steps, 1, none, none, costs)
            total = head[TOTAL]
            if total <= stop:
                return n + 1, total
    return trials, total


def plant_trial(head, mem, x, u, plant, seed, steps, evaluate, xs, us, costs):
    """Run one trial on a compiled plant.

    Args:
        head, mem, x, u: kernel buffers.
        plant: (addresses, settings, state, told): int64[3], float64[n], float64[m] of a compiled plant, which see
            (subsong_sim.plants.compiled), and int32[3]. told[1] is left alone, or what its functions say is not a
            number, and told[2] the step: the trial is broken off.
        seed: of the plant's reset.
        steps: int, at most this many.
        evaluate: 0 or 1.
        xs, us, costs: as in task_trial.

    Returns:
        The cost that end() saw.
    """
    addresses, settings, state, told = plant
    keep = xs.shape[0] > 0
    state_at, settings_at = int64(state.ctypes.data), int64(settings.ctypes.data)
    x_at, u_at, cost_at = int64(x.ctypes.data), int64(u.ctypes.data), int64(told.ctypes.data)
    call(addresses[0], (int32(seed), state_at, settings_at))
    head[EVALUATE] = evaluate
    begin(head, mem)
    told[0] = 0
    for t in range(steps):
        said = call(addresses[1], (state_at, settings_at, x_at, int32(1)))
        if said != 0:
            told[1], told[2] = said, t
            return told[0]
        head[COST] = told[0]
        if keep:
            costs[t] = told[0]
            for j in range(x.size):
                xs[t, j] = x[j]
        act(head, mem, x, u)
        if keep:
            for j in range(u.size):
                us[t, j] = u[j]
        said = call(addresses[2], (state_at, settings_at, u_at, int32(1), cost_at))
        if said < 0:
            told[1], told[2] = said, t + 1
            return told[0]
        if said > 0:
            break
    head[COST] = told[0]
    end(head, mem)
    return told[0]


def plant_stretch(head, mem, x, u, plant, seeds, steps, evaluate, xs, us, costs, ends):
    """Run one trial for each of `seeds`, uint32[n]; `ends` as in task_stretch, else plant_trial's.

    Returns:
        How many trials were not broken off.
    """
    keep = steps if xs.shape[0] > 0 else 0
    told = plant[3]
    for n in range(ends.shape[0]):
        a = n * keep
        b = a + keep
        ends[n, 5] = plant_trial(head, mem, x, u, plant, seeds[n], steps, evaluate, xs[a:b], us[a:b], costs[a:b])
        if told[1] != 0:
            return n
        summarise(head, ends[n])
    return ends.shape[0]


def plant_trials(head, mem, x, u, plant, seeds, pair, tests, steps, every, stop, least):
    """Learn until an evaluation over all `tests` has a mean cost of at most `stop` counts.

    Args:
        head, mem, x, u, plant, steps: as in plant_trial.
        seeds: uint32[n], reset of each pair of trials.
        pair: 1, or 2 where two trials share a reset.
        tests: uint32[m], resets of the evaluation episodes.
        every: learning trials between evaluations.
        stop: float, counts.
        least: the least total of an episode, counts.

    Returns:
        (trials run, mean cost of the last evaluation).
    """
    none = xs_none()
    costs = costs_none()
    mean = 0.0
    for n in range(seeds.shape[0] * pair):
        plant_trial(head, mem, x, u, plant, seeds[n // pair], steps, 0, none, none, costs)
        if (n + 1) % every == 0:
            sum_of_totals = 0
            for k in range(tests.shape[0]):
                plant_trial(head, mem, x, u, plant, tests[k], steps, 1, none, none, costs)
                sum_of_totals += head[TOTAL]
                # Early out: the episodes that remain can no longer bring the mean down to `stop`.
                if sum_of_totals + (tests.shape[0] - 1 - k) * least > stop * tests.shape[0]:
                    break
            mean = sum_of_totals / tests.shape[0]
            if mean <= stop:
                return n + 1, mean
    return seeds.shape[0] * pair, mean


def replay_trial(head, mem, x, u, xs, costs, last_cost, evaluate, us):
    """Re-execute a recorded trial.

    Args:
        head, mem, x, u: kernel buffers.
        xs: uint16[steps, n_sensors], the recorded sensor words.
        costs: int32[steps], the recorded cost that each act() saw.
        last_cost: int, the cost that end() saw.
        evaluate: 0 or 1.
        us: uint16[steps, n_actuators]; written: the actuator words computed now.

    Returns:
        0.
    """
    head[EVALUATE] = evaluate
    begin(head, mem)
    for t in range(xs.shape[0]):
        for j in range(x.size):
            x[j] = xs[t, j]
        head[COST] = costs[t]
        act(head, mem, x, u)
        for j in range(u.size):
            us[t, j] = u[j]
    head[COST] = last_cost
    end(head, mem)
    return 0


def xs_none():
    """Return an empty uint16[0, 0]."""
    return np.empty((0, 0), np.uint16)


def costs_none():
    """Return an empty int32[0]."""
    return np.empty(0, np.int32)
