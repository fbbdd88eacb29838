"""The kernel of a batch on a GPU. Not imported: the loader joins this file to a rule's kernels and `loops.task_trial`.

One thread is one run. Buffers are [words, runs]: the threads of a warp read the same word of neighbouring runs, and
those lie side by side. There is one call of a trial, for learning and evaluating, so that threads that learn and
threads that evaluate go through its code together.
"""

from numba import cuda

from subsong_device.layout import COST_LIMIT, SATURATED, STEPS, TOTAL
from subsong_sim.loops import task_trial


def task_runs(heads, mems, tasks, xs, us, plan, course, left, totals, evaluations, trials):
    """Run up to `trials` more trials of every run, learning and evaluating in the order of its plan.

    Args:
        heads, mems, tasks, xs, us: int32 and uint16[words, runs], kernel buffers; changed.
        plan, course: cuda.PLAN[runs], cuda.COURSE[runs]; `course` is changed.
        left: int32[runs], episodes left of the evaluation that the run is in, 0 while it learns; changed.
        totals: int32[n, runs], of each learning trial; written.
        evaluations: int64[n, runs], sums of the totals of an evaluation's episodes, 0 at first; written.
        trials: int, evaluations' episodes counted.
    """
    k = cuda.grid(1)
    if k >= heads.shape[1]:
        return
    head, mem, task, x, u = heads[:, k], mems[:, k], tasks[:, k], xs[:, k], us[:, k]
    mine, run = plan[k], course[k]
    # Nothing is logged: logs without rows, of the right types.
    words, costs = xs[:0], totals[:0, k]
    for _ in range(trials):
        if run.ended != 0:
            return
        evaluate = 1 if left[k] > 0 else 0
        task_trial(
            head, mem, task, x, u, mine.evaluate_steps if evaluate else mine.steps, evaluate, words, words, costs
        )
        total = head[TOTAL]
        run.numbered += 1
        run.steps += head[STEPS]
        run.saturated += head[SATURATED]
        if abs(total) >= COST_LIMIT:
            run.failed = 1
            run.ended = 1
            return
        if evaluate == 0:
            totals[run.done, k] = total
            run.done += 1
            if run.done == mine.trials or (mine.every > 0 and run.done % mine.every == 0):
                left[k] = mine.episodes
        else:
            evaluations[run.evaluations, k] += total
            left[k] -= 1
            if left[k] == 0:
                # Only an evaluation that is due stops a run, not the one that ends it anyway.
                if mine.every > 0 and run.done % mine.every == 0 and evaluations[run.evaluations, k] <= mine.stop:
                    run.stopped = 1
                if run.stopped != 0 or run.done == mine.trials:
                    run.ended = 1
                run.evaluations += 1
