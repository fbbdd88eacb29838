"""Loops that watch the integer learner. Not imported: laws.integers joins them to a rule's kernels and compiles both.

`task_trial` is subsong_sim.loops's: the order of calls is the firmware's own, and the last cost goes to a word that
nobody reads. The imports below are for readers and linters: joined, the names are the chosen rule's.
"""

import numpy as np

from subsong_device.layout import (
    COST_LIMIT,
    LETTERS_IMAGES,
    TASK_INPUTS,
    TASK_NEXT,
    TASK_OUTPUTS,
    TEACHER_DATA,
    TOTAL,
    WEIGHTS_AT,
)
from subsong_sim.loops import task_trial


def teacher_distance(head, mem, task):
    """Return |w - w*|**2, squared weight LSBs, without the bias words: mem and task as in subsong_sim.loops."""
    n = task[TASK_INPUTS]
    m = task[TASK_OUTPUTS]
    at = head[WEIGHTS_AT]
    teacher = TEACHER_DATA + m
    total = 0.0
    for i in range(m):
        for j in range(n):
            w = np.float64(np.int16(mem[at + i * (n + 1) + j]))
            d = w - np.float64(np.int16(task[teacher + i * n + j]))
            total += d * d
    return total


def teacher_curve(head, mem, task, x, u, pair, distances):
    """Learn a linear teacher; write the distance before the first and after every update.

    Args:
        head, mem, task, x, u: kernel buffers.
        pair: trials of an update.
        distances: float64[updates + 1]; written.
    """
    cost = np.empty(1, np.int32)
    for t in range(distances.size):
        if t > 0:
            for _k in range(pair):
                task_trial(head, mem, task, x, u, cost, 1, 0)
        distances[t] = teacher_distance(head, mem, task)
    return 0


def unperturbed_curve(head, mem, task, x, u, steps, totals):
    """Learn against unperturbed trials; write each one's total, of the weights before each update.

    Args:
        head, mem, task, x, u: kernel buffers.
        steps: of a trial.
        totals: float64[updates]; written, counts.
    """
    cost = np.empty(1, np.int32)
    for t in range(totals.size):
        task_trial(head, mem, task, x, u, cost, steps, 0)
        totals[t] = head[TOTAL]
        task_trial(head, mem, task, x, u, cost, steps, 0)
    return 0


def learn_and_look(head, mem, task, x, u, steps, trials, look_steps, episodes):
    """Learn for so many trials, then evaluate.

    Args:
        head, mem, task, x, u: kernel buffers.
        steps: of a trial that learns.
        trials: that learn; 0 only evaluates.
        look_steps: steps of an evaluation trial.
        episodes: such trials.

    Returns:
        The sum of the evaluation's costs, counts.
    """
    cost = np.empty(1, np.int32)
    for _k in range(trials):
        task_trial(head, mem, task, x, u, cost, steps, 0)
    total = 0.0
    for _k in range(episodes):
        task_trial(head, mem, task, x, u, cost, look_steps, 1)
        total += head[TOTAL]
    return total


def until(head, mem, task, x, u, steps, trials, every, look_steps, episodes, stop):
    """Learn until an evaluation is good enough.

    Args:
        head, mem, task, x, u, steps, look_steps, episodes: as for learn_and_look.
        trials: at most so many.
        every: trials between evaluations.
        stop: float, counts of an evaluation's sum.

    Returns:
        (trials run, sum of the last evaluation).
    """
    total = np.float64(COST_LIMIT) * episodes
    done = 0
    while done < trials:
        total = learn_and_look(head, mem, task, x, u, steps, every, look_steps, episodes)
        done += every
        if total <= stop:
            break
    return done, total


def course(head, mem, task, x, u, steps, every, look_steps, episodes, totals):
    """Learn, and write an evaluation before the first trial and after every few.

    Args:
        head, mem, task, x, u, steps, look_steps, episodes: as for learn_and_look.
        every: trials between evaluations.
        totals: float64[evaluations]; written, counts.
    """
    for t in range(totals.size):
        totals[t] = learn_and_look(head, mem, task, x, u, steps, every * min(t, 1), look_steps, episodes)
    return 0


def letters_right(head, mem, task, x, u):
    """Return how many of all images the unperturbed network classifies rightly."""
    cost = np.empty(1, np.int32)
    right = 0
    # The first evaluation begins with image 0, and each goes a stride further.
    letter = 0
    for _k in range(LETTERS_IMAGES):
        task_trial(head, mem, task, x, u, cost, 0, 1)
        letter = task[TASK_NEXT] // 11034
        task_trial(head, mem, task, x, u, cost, 1, 1)
        best = 0
        for i in range(1, 4):
            if np.int16(u[i]) > np.int16(u[best]):
                best = i
        if best == letter:
            right += 1
    return right
