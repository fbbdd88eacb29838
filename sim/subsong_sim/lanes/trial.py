"""A trial of an on-board task, in the kernel dialect: the order of calls is the firmware's own (task_run).

Not imported: subsong_sim.lanes sets the learner's kernels and the task's in where they are called. The imports are for
readers and linters; the names are the chosen rule's.
"""

from subsong_device.layout import COST, EVALUATE
from subsong_device.learners.weight_perturbation import act, begin, end
from subsong_device.tasks import task_begin, task_cost, task_sense


def task_trial(
    head: ptr32, mem: ptr16, task: ptr16, x: ptr16, u: ptr16, costs: ptr32, steps: int, evaluate: int
) -> int:
    """Run one trial; costs[0] is the cost that end() saw."""
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
    costs[0] = cost
    return 0
