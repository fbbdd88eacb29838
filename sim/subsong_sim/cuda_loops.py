"""The kernel of a batch on a GPU. Not imported: the loader joins this file to a rule's kernels and to loops.py.

One thread is one run. Buffers are [words, runs]: the threads of a warp read the same word of neighbouring runs, and
those lie side by side. There is one call of a trial, for learning and evaluating, so that threads that learn and
threads that evaluate go through its code together.
"""

from numba import cuda, int32

from subsong_device.layout import COST_LIMIT, SATURATED, STEPS, TOTAL
from subsong_sim.loops import logged_trial, summarise


def task_runs(heads, mems, tasks, xs, us, plan, course, left, ends, totals, first, last, budget):
    """Run every run's learning trials up to number `last`, and the evaluations that are due behind them.

    Args:
        heads, mems, tasks, xs, us: int32 and uint16[words, runs], kernel buffers; changed.
        plan, course: batch.PLAN[runs], batch.COURSE[runs]; `course` is changed.
        left: int32[runs], episodes left of the evaluation that a run is in, 0 while it learns; changed.
        ends: int32[n, 6, runs], of the learning trials from `first` on, as in loops.py; written.
        totals: int64[evaluations, runs], the sum of an evaluation's totals, 0 at first; written.
        first, last: int.
        budget: int, trials of a run in this launch at most, evaluations' episodes counted.
    """
    k = cuda.grid(1)
    if k >= heads.shape[1]:
        return
    head, mem, task, x, u = heads[:, k], mems[:, k], tasks[:, k], xs[:, k], us[:, k]
    mine, run = plan[k], course[k]
    # Nothing is logged: logs without rows, of the right types.
    words, costs = xs[:0], heads[:0, k]
    for _ in range(budget):
        evaluate = int32(1) if left[k] > 0 else int32(0)
        if run.alive == 0 or (evaluate == 0 and run.trials >= last):
            return
        steps = mine.evaluate_steps if evaluate != 0 else mine.steps
        cost = logged_trial(head, mem, task, x, u, words, words, costs, 0, 0, steps, evaluate)
        run.steps += head[STEPS]
        run.saturated += head[SATURATED]
        if abs(head[TOTAL]) >= COST_LIMIT:
            run.failed = run.numbered
            run.failed_total = head[TOTAL]
            run.alive = 0
        run.numbered += 1
        if evaluate == 0:
            end = ends[run.trials - first, :, k]
            summarise(head, cost, end, 0)
            run.trials += 1
            if run.trials == mine.trials or (mine.every > 0 and run.trials % mine.every == 0):
                left[k] = mine.episodes
        else:
            totals[run.evaluations, k] += head[TOTAL]
            left[k] -= 1
            if left[k] == 0:
                # Only an evaluation between trials stops a run, not the one at its end.
                if mine.every > 0 and run.trials % mine.every == 0 and totals[run.evaluations, k] <= mine.stop:
                    run.stopped = 1
                run.evaluations += 1
                if run.stopped != 0 or run.trials == mine.trials:
                    run.alive = 0
