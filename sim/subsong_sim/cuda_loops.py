"""The kernel of a batch on a GPU. Not imported: the loader joins this file to a rule's kernels and `loops.task_trial`.

One thread is one run, with its whole schedule. Buffers are [words, runs]: the threads of a warp read the same word of
neighbouring runs, which then lie side by side.
"""

from numba import cuda

from subsong_device.layout import SATURATED, TOTAL
from subsong_sim.loops import task_trial


def task_runs(heads, mems, tasks, xs, us, schedule, stops, progress, totals, evaluations, saturated, stretch):
    """Run up to `stretch` more learning trials of every run, and the evaluations that are due.

    Args:
        heads, mems, tasks, xs, us: int32 and uint16[words, runs], kernel buffers; changed.
        schedule: int32[5, runs]: learning trials, steps of one, learning trials between evaluations (0: only at the
            end), episodes of an evaluation, steps of one.
        stops: int64[runs], a run ends where the totals of an evaluation sum to at most this.
        progress: int32[3, runs]: learning trials done, evaluations done, 1 where the run has ended; changed.
        totals: int32[trials, runs], of each learning trial; written.
        evaluations: int32[episodes, runs], the total of each, evaluation after evaluation; written.
        saturated: int64[runs], words clipped in all trials; changed.
        stretch: int.
    """
    k = cuda.grid(1)
    if k >= heads.shape[1]:
        return
    head, mem, task, x, u = heads[:, k], mems[:, k], tasks[:, k], xs[:, k], us[:, k]
    trials, steps, every = schedule[0, k], schedule[1, k], schedule[2, k]
    episodes, evaluate_steps = schedule[3, k], schedule[4, k]
    # Nothing is logged: logs without rows, of the right types.
    words, costs = xs[:0], totals[:0, k]
    for _n in range(stretch):
        if progress[2, k] != 0:
            return
        task_trial(head, mem, task, x, u, steps, 0, words, words, costs)
        n = progress[0, k] + 1
        totals[n - 1, k] = head[TOTAL]
        saturated[k] += head[SATURATED]
        progress[0, k] = n
        due = every > 0 and n % every == 0
        if due or n == trials:
            done = progress[1, k]
            summed = 0
            for i in range(episodes):
                task_trial(head, mem, task, x, u, evaluate_steps, 1, words, words, costs)
                summed += head[TOTAL]
                evaluations[done * episodes + i, k] = head[TOTAL]
                saturated[k] += head[SATURATED]
            progress[1, k] = done + 1
            if n == trials or summed <= stops[k]:
                progress[2, k] = 1
