"""Loops that watch the integer learner. Not imported: laws.integers joins them to a rule's kernels and compiles both.

Trials are subsong_sim.loops's: the order of calls is the firmware's own. The imports below are for readers and linters:
joined, the names are the chosen rule's.
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
)
from subsong_sim.loops import logged_trial


def run_trial(head, mem, task, x, u, steps, evaluate):
    """Run one trial; nothing is logged."""
    return logged_trial(head, mem, task, x, u, x, u, head, 0, 0, steps, evaluate)


def teacher_distance(mem, task):
    """Return |w - w*|**2, squared weight LSBs, without the bias words: mem and task as in subsong_sim.loops."""
    n = task[TASK_INPUTS]
    m = task[TASK_OUTPUTS]
    teacher = TEACHER_DATA + m
    total = 0.0
    for i in range(m):
        for j in range(n):
            w = np.float64(np.int16(mem[i * (n + 1) + j]))
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
    for t in range(distances.size):
        if t > 0:
            for _k in range(pair):
                run_trial(head, mem, task, x, u, 1, 0)
        distances[t] = teacher_distance(mem, task)
    return 0


def unperturbed_curve(head, mem, task, x, u, steps, totals):
    """Learn against unperturbed trials; write each one's total, of the weights before each update.

    Args:
        head, mem, task, x, u: kernel buffers.
        steps: of a trial.
        totals: float64[updates]; written, counts.
    """
    for t in range(totals.size):
        run_trial(head, mem, task, x, u, steps, 0)
        totals[t] = head[TOTAL]
        run_trial(head, mem, task, x, u, steps, 0)
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
    for _k in range(trials):
        run_trial(head, mem, task, x, u, steps, 0)
    total = 0.0
    for _k in range(episodes):
        run_trial(head, mem, task, x, u, look_steps, 1)
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
    right = 0
    # The first evaluation begins with image 0, and each goes a stride further.
    letter = 0
    for _k in range(LETTERS_IMAGES):
        run_trial(head, mem, task, x, u, 0, 1)
        letter = task[TASK_NEXT] // 11034
        run_trial(head, mem, task, x, u, 1, 1)
        best = 0
        for i in range(1, 4):
            if np.int16(u[i]) > np.int16(u[best]):
                best = i
        if best == letter:
            right += 1
    return right
