"""Trials of an on-board task, in the kernel dialect: the order of calls is the firmware's own (task_run).

Not imported: subsong_sim.lanes sets the learner's kernels and the task's in where they are called. The imports are for
readers and linters; the names are the chosen rule's.
"""

from subsong_device.layout import BASELINE, CHECK, COST, EVALUATE, SATURATED, STEPS, TOTAL
from subsong_device.learners.weight_perturbation import act, begin, end
from subsong_device.tasks import task_begin, task_cost, task_sense


def task_trials(
    head: ptr32, mem: ptr16, task: ptr16, x: ptr16, u: ptr16, ends: ptr32, trials: int, steps: int, evaluate: int
) -> int:
    """Run so many trials; what trial n leaves is ends[6 * n ..]: five words of head, and the cost that end() saw."""
    at = 0
    for _n in range(trials):
        cost = task_trial(head, mem, task, x, u, steps, evaluate)
        ends[at] = head[STEPS]
        ends[at + 1] = head[TOTAL]
        ends[at + 2] = head[BASELINE]
        ends[at + 3] = head[CHECK]
        ends[at + 4] = head[SATURATED]
        ends[at + 5] = cost
        at += 6
    return 0


def task_trial(head: ptr32, mem: ptr16, task: ptr16, x: ptr16, u: ptr16, steps: int, evaluate: int) -> int:
    """Run one trial; return the cost that end() saw."""
    head[EVALUATE] = evaluate
    task_begin(head, task)
    begin(head, mem)
    cost = 0
    for _t in range(steps):
        task_sense(task, x)
        head[COST] = cost
        act(head, mem, x, u)
        cost = task_cost(task, u)
    head[COST] = cost
    end(head, mem)
    return cost
