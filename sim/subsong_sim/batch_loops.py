"""The schedule of many runs under Numba. Not imported: `batch` has the loader keep this file's text and compile it.

Lane `lane` of group g is run g * lanes + lane. What belongs to a run is a row of an array; what the kernels take is
interleaved, word i of all lanes side by side (subsong_sim.lanes). The kernels are called by address, so that one
compilation serves every rule, shape and plant. A mask has a bit for each lane; whoever is not in it is left as it is.
"""

from collections import namedtuple

from numba import int32, int64, njit, prange

from subsong_device.layout import BASELINE, CHECK, COST, COST_LIMIT, EVALUATE, SATURATED, STEPS, TOTAL
from subsong_sim.address import call

# What a group works on. code: addresses of begin, act, end and task_trials, the last 0 without a task. head..u:
# interleaved. ends: what a trial leaves, [6, lanes]. plan, course: of each lane. addresses..states: of each lane's
# compiled plant.
Group = namedtuple("Group", "code head mem task x u ends plan course addresses settings states")  # noqa: PYI024

# A literal would have its own compilation.
LEARN, ASSESS = int64(0), int64(1)
# So many trials of a group are counted while what they left is still near the processor.
AT_ONCE = 64

# Called from compiled code alone.
inner = njit(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)


@njit(parallel=True, cache=True, nogil=True, error_model="numpy")
def learn(
    code, head, mem, task, x, u, ends, plan, course,
    addresses, settings, states, seeds, tests, first, last, log, totals,
):  # fmt: skip
    """Run learning trials `first` to `last` - 1 of every run that is alive, and the evaluations due behind them.

    Args:
        code: (begin, act, end, task_trials), addresses; the last 0 where there is no task.
        head, mem, task, x, u, ends: [groups, words, lanes], as kernels take them; of `ends` six words.
        plan, course: batch.PLAN[runs], batch.COURSE[runs]; `course` is written.
        addresses, settings: int64[runs, 3], float64[runs, n] of each run's compiled plant (plants.compiled).
        states: float64[runs, m], its own; written.
        seeds: uint32[runs, pairs], resets from the pair of trial `first` on; uint32[runs, 0] for a task.
        tests: uint32[runs, episodes], resets of an evaluation; likewise.
        first, last: int.
        log: int32[groups, n, 6, lanes], what trials left, n at least last - first; written.
        totals: int64[runs, evaluations], the sum of an evaluation's totals; written.
    """
    lanes = head.shape[2]
    for g in prange(head.shape[0]):
        a = g * lanes
        b = a + lanes
        blocks = (head[g], mem[g], task[g], x[g], u[g], ends[g])
        plant = (addresses[a:b], settings[a:b], states[a:b])
        group = Group(code, *blocks, plan[a:b], course[a:b], *plant)
        _learn(group, seeds[a:b], tests[a:b], first, last, log[g], totals[a:b])


@inner
def _learn(group, seeds, tests, first, last, log, totals):
    plan, course = group.plan, group.course
    n = first
    while n < last:
        active = int64(0)
        until = min(last, n + AT_ONCE)
        for lane in range(plan.size):
            if course[lane].alive:
                active |= 1 << lane
                until = min(until, _next(plan[lane], n))
                course[lane].trials -= course[lane].numbered
                if seeds.shape[1] > 0:
                    until = n + 1
                    course[lane].reset = seeds[lane, n // plan[lane].pair - first // plan[lane].pair]
        if active == 0:
            return
        _run(group, LEARN, active, log[n - first : until - first])
        n = until
        due = int64(0)
        for lane in range(plan.size):
            if active >> lane & 1:
                course[lane].trials += course[lane].numbered
                if course[lane].alive and (n == plan[lane].trials or _marked(plan[lane], n)):
                    due |= 1 << lane
        if due != 0:
            _assess(group, tests, due, totals)
        for lane in range(plan.size):
            if n == plan[lane].trials:
                course[lane].alive = 0


@inner
def _next(plan, trials):
    """Return after how many trials something is due, the next time."""
    if plan.every > 0:
        return min(plan.trials, trials + plan.every - trials % plan.every)
    return plan.trials


@inner
def _marked(plan, trials):
    """Return whether run.evaluate_every asks for an evaluation here."""
    return plan.every > 0 and trials % plan.every == 0


@inner
def _assess(group, tests, due, totals):
    """Evaluate the lanes of `due`, and stop those that are good enough."""
    plan, course = group.plan, group.course
    for lane in range(plan.size):
        course[lane].sum = 0
    episode = 0
    while True:
        active = int64(0)
        for lane in range(plan.size):
            if due >> lane & 1 and course[lane].alive and episode < plan[lane].episodes:
                active |= 1 << lane
                if tests.shape[1] > 0:
                    course[lane].reset = tests[lane, episode]
        if active == 0:
            break
        log = group.ends.reshape((1, *group.ends.shape))
        _run(group, ASSESS, active, log)
        for lane in range(plan.size):
            if active >> lane & 1:
                course[lane].sum += log[0, 1, lane]
        episode += 1
    for lane in range(plan.size):
        if due >> lane & 1 and course[lane].alive:
            totals[lane, course[lane].evaluations] = course[lane].sum
            course[lane].evaluations += 1
            if course[lane].sum <= plan[lane].stop and _marked(plan[lane], course[lane].trials):
                course[lane].stopped = 1
                course[lane].alive = 0


@inner
def _run(group, evaluate, active, log):
    """Run len(log) trials of every active lane and count them; one whose cost was clipped, or whose plant broke, ends.

    On a task the lanes go on together: what such a lane does behind the trial that ended it is not counted.
    """
    course = group.course
    if group.code[3] != 0:
        plan = group.plan[0]
        _task(group, plan.evaluate_steps if evaluate else plan.steps, evaluate, active, log)
    else:
        _plant(group, evaluate, active, log)
    for lane in range(course.size):
        if active >> lane & 1:
            _count(course[lane], log[:, :, lane])


@inner
def _count(course, log):
    """Count a lane's trials, int32[trials, 6] of them."""
    trials, steps, saturated = log.shape[0], int64(0), int64(0)
    for n in range(log.shape[0]):
        steps += log[n, 0]
        saturated += log[n, 4]
        if abs(log[n, 1]) >= COST_LIMIT:
            trials = n + 1
            course.failed = course.numbered + n
            course.failed_total = log[n, 1]
            course.alive = 0
            break
    course.numbered += trials
    course.steps += steps
    course.saturated += saturated
    if course.broken != 0:
        course.alive = 0


@inner
def _task(group, steps, evaluate, active, log):
    call(
        group.code[3],
        (
            int64(group.head.ctypes.data),
            int64(group.mem.ctypes.data),
            int64(group.task.ctypes.data),
            int64(group.x.ctypes.data),
            int64(group.u.ctypes.data),
            int64(log.ctypes.data),
            int32(log.shape[0]),
            int32(steps),
            int32(evaluate),
            int32(active),
        ),
    )


@inner
def _plant(group, evaluate, active, log):
    """Run a trial of every active lane on its own plant; who ends early waits for the rest."""
    begin, act, end, _ = group.code
    head, plan, course, plants = group.head, group.plan, group.course, group.addresses
    costs = log[0, 5]
    head_at, mem_at = int64(head.ctypes.data), int64(group.mem.ctypes.data)
    x_at, u_at, costs_at = int64(group.x.ctypes.data), int64(group.u.ctypes.data), int64(costs.ctypes.data)
    state_at, state_bytes = int64(group.states.ctypes.data), group.states.strides[0]
    settings_at, settings_bytes = int64(group.settings.ctypes.data), group.settings.strides[0]
    lanes = int32(plan.size)
    for lane in range(plan.size):
        if active >> lane & 1:
            own = (state_at + lane * state_bytes, settings_at + lane * settings_bytes)
            call(plants[lane, 0], (int32(course[lane].reset), own[0], own[1]))
            head[EVALUATE, lane] = evaluate
            costs[lane] = 0
    call(begin, (head_at, mem_at, int32(active)))
    running = active
    step = 0
    while running != 0:
        for lane in range(plan.size):
            if running >> lane & 1:
                own = (state_at + lane * state_bytes, settings_at + lane * settings_bytes)
                said = call(plants[lane, 1], (own[0], own[1], x_at + 2 * lane, lanes))
                if said != 0:
                    course[lane].broken, course[lane].broken_step = said, step
                    running &= ~(1 << lane)
                head[COST, lane] = costs[lane]
        call(act, (head_at, mem_at, x_at, u_at, int32(running)))
        step += 1
        for lane in range(plan.size):
            if running >> lane & 1:
                own = (state_at + lane * state_bytes, settings_at + lane * settings_bytes)
                said = call(plants[lane, 2], (own[0], own[1], u_at + 2 * lane, lanes, costs_at + 4 * lane))
                if said < 0:
                    course[lane].broken, course[lane].broken_step = said, step
                if said != 0 or step >= plan[lane].steps:
                    running &= ~(1 << lane)
    for lane in range(plan.size):
        if active >> lane & 1:
            head[COST, lane] = costs[lane]
    call(end, (head_at, mem_at, int32(active)))
    for lane in range(plan.size):
        log[0, 0, lane] = head[STEPS, lane]
        log[0, 1, lane] = head[TOTAL, lane]
        log[0, 2, lane] = head[BASELINE, lane]
        log[0, 3, lane] = head[CHECK, lane]
        log[0, 4, lane] = head[SATURATED, lane]
