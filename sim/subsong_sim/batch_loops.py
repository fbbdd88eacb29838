"""The schedule of many runs under Numba. Not imported: `batch` has the loader keep this file's text and compile it.

Lane `lane` of group g is run g * lanes + lane. What belongs to a run is a row of an array; what the kernels take is
interleaved, word i of all lanes side by side (subsong_sim.lanes). The kernels are called by address, so that one
compilation serves every rule, shape and plant. A mask has a bit for each lane; whoever is not in it is left as it is.
"""

from collections import namedtuple

from numba import int32, int64, njit, prange

from subsong_device.layout import BASELINE, CHECK, COST, COST_LIMIT, EVALUATE, SATURATED, STEPS, TOTAL
from subsong_sim.address import call

# What a group works on. code: addresses of begin, act, end and task_trial, the last 0 without a task. head..u:
# interleaved. costs: each lane's last. plan, course: of each lane. addresses..states: of each lane's compiled plant.
Group = namedtuple("Group", "code head mem task x u costs plan course addresses settings states")  # noqa: PYI024

# A literal would have its own compilation.
LEARN, ASSESS = int64(0), int64(1)

# Called from compiled code alone.
inner = njit(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)


@njit(parallel=True, cache=True, nogil=True, error_model="numpy")
def learn(
    code, head, mem, task, x, u, costs, plan, course,
    addresses, settings, states, seeds, tests, first, last, ends, totals,
):  # fmt: skip
    """Run learning trials `first` to `last` - 1 of every run that is alive, and the evaluations due behind them.

    Args:
        code: (begin, act, end, task_trial), addresses; the last 0 where there is no task.
        head, mem, task, x, u, costs: [groups, words, lanes], as kernels take them.
        plan, course: batch.PLAN[runs], batch.COURSE[runs]; `course` is written.
        addresses, settings: int64[runs, 3], float64[runs, n] of each run's compiled plant (plants.compiled).
        states: float64[runs, m], its own; written.
        seeds: uint32[runs, pairs], resets from the pair of trial `first` on; uint32[runs, 0] for a task.
        tests: uint32[runs, episodes], resets of an evaluation; likewise.
        first, last: int.
        ends: int32[runs, last - first, 6], as in loops.task_stretch; written.
        totals: int64[runs, evaluations], the sum of an evaluation's totals; written.
    """
    lanes = head.shape[2]
    for g in prange(head.shape[0]):
        a = g * lanes
        b = a + lanes
        blocks = (head[g], mem[g], task[g], x[g], u[g], costs[g, 0])
        plant = (addresses[a:b], settings[a:b], states[a:b])
        group = Group(code, *blocks, plan[a:b], course[a:b], *plant)
        _learn(group, seeds[a:b], tests[a:b], first, last, ends[a:b], totals[a:b])


@inner
def _learn(group, seeds, tests, first, last, ends, totals):
    plan, course = group.plan, group.course
    for n in range(first, last):
        active = int64(0)
        for lane in range(plan.size):
            if course[lane].alive:
                active |= 1 << lane
                if seeds.shape[1] > 0:
                    course[lane].reset = seeds[lane, n // plan[lane].pair - first // plan[lane].pair]
        if active == 0:
            return
        _trial(group, LEARN, active)
        due = int64(0)
        for lane in range(plan.size):
            if active >> lane & 1:
                _summarise(group, lane, ends[lane, n - first])
                course[lane].trials = n + 1
                if course[lane].alive and (n + 1 == plan[lane].trials or _marked(plan[lane], n + 1)):
                    due |= 1 << lane
        if due != 0:
            _assess(group, tests, due, totals)
        for lane in range(plan.size):
            if n + 1 == plan[lane].trials:
                course[lane].alive = 0


@inner
def _marked(plan, trials):
    """Return whether run.evaluate_every asks for an evaluation here."""
    return plan.every > 0 and trials % plan.every == 0


@inner
def _summarise(group, lane, end):
    end[0] = group.head[STEPS, lane]
    end[1] = group.head[TOTAL, lane]
    end[2] = group.head[BASELINE, lane]
    end[3] = group.head[CHECK, lane]
    end[4] = group.head[SATURATED, lane]
    end[5] = group.costs[lane]


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
        _trial(group, ASSESS, active)
        for lane in range(plan.size):
            if active >> lane & 1:
                course[lane].sum += group.head[TOTAL, lane]
        episode += 1
    for lane in range(plan.size):
        if due >> lane & 1 and course[lane].alive:
            totals[lane, course[lane].evaluations] = course[lane].sum
            course[lane].evaluations += 1
            if course[lane].sum <= plan[lane].stop and _marked(plan[lane], course[lane].trials):
                course[lane].stopped = 1
                course[lane].alive = 0


@inner
def _trial(group, evaluate, active):
    """Run a trial of every active lane and count it; a lane whose cost was clipped, or whose plant broke, has ended."""
    head, course = group.head, group.course
    if group.code[3] != 0:
        plan = group.plan[0]
        _task(group, plan.evaluate_steps if evaluate else plan.steps, evaluate, active)
    else:
        _plant(group, evaluate, active)
    for lane in range(course.size):
        if active >> lane & 1:
            course[lane].steps += head[STEPS, lane]
            course[lane].saturated += head[SATURATED, lane]
            if abs(head[TOTAL, lane]) >= COST_LIMIT:
                course[lane].failed = course[lane].numbered
                course[lane].failed_total = head[TOTAL, lane]
                course[lane].alive = 0
            if course[lane].broken != 0:
                course[lane].alive = 0
            course[lane].numbered += 1


@inner
def _task(group, steps, evaluate, active):
    call(
        group.code[3],
        (
            int64(group.head.ctypes.data),
            int64(group.mem.ctypes.data),
            int64(group.task.ctypes.data),
            int64(group.x.ctypes.data),
            int64(group.u.ctypes.data),
            int64(group.costs.ctypes.data),
            int32(steps),
            int32(evaluate),
            int32(active),
        ),
    )


@inner
def _plant(group, evaluate, active):
    """Run a trial of every active lane on its own plant; who ends early waits for the rest."""
    begin, act, end, _ = group.code
    head, costs, plan, course, plants = group.head, group.costs, group.plan, group.course, group.addresses
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
