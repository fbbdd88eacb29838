"""The schedule of many runs under Numba. Not imported: `batch` has the loader keep this file's text and compile it.

Lane `lane` of group g is run g * lanes + lane. What belongs to a run is a row of an array; what the kernels take is
interleaved, word i of all lanes side by side (subsong_sim.lanes). The kernels are called by address, so that one
compilation serves every rule, shape and plant. A mask has a bit for each lane; whoever is not in it is left as it is.
"""

from collections import namedtuple

from llvmlite import ir
from numba import int32, int64, njit, prange, types
from numba.extending import intrinsic

from subsong_device.layout import BASELINE, CHECK, COST, COST_LIMIT, EVALUATE, SATURATED, STEPS, TOTAL
from subsong_sim.plants.cartpole import cartpole_sense, cartpole_step
from subsong_sim.plants.cartpole_start import cartpole_start

# What a group works on. code: addresses of begin, act, end and task_trial, the last 0 without a task. head..u:
# interleaved. costs: each lane's last. plan, course: of each lane. params..words: of each lane's CartPole.
Group = namedtuple("Group", "code head mem task x u costs plan course params scale states words")  # noqa: PYI024

# A literal would have its own compilation.
LEARN, ASSESS = int64(0), int64(1)

# Called from compiled code alone.
inner = njit(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)


@intrinsic
def call(_context, address, arguments):
    """Call the C function at an address, int64; of the arguments int64 are pointers, int32 are as they are."""

    def generate(_target, builder, signature, values):
        where, packed = values
        passed = []
        for i, kind in enumerate(signature.args[1]):
            value = builder.extract_value(packed, i)
            passed.append(builder.inttoptr(value, ir.IntType(8).as_pointer()) if kind == types.int64 else value)
        function = ir.FunctionType(ir.IntType(32), [value.type for value in passed])
        return builder.call(builder.inttoptr(where, function.as_pointer()), passed)

    return types.int32(address, arguments), generate


@njit(parallel=True, cache=True, nogil=True, error_model="numpy")
def learn(
    code, head, mem, task, x, u, costs, plan, course,
    params, scale, states, words, seeds, tests, first, last, ends, totals,
):  # fmt: skip
    """Run learning trials `first` to `last` - 1 of every run that is alive, and the evaluations due behind them.

    Args:
        code: (begin, act, end, task_trial), addresses; the last 0 where there is no task.
        head, mem, task, x, u, costs: [groups, words, lanes], as kernels take them.
        plan, course: batch.PLAN[runs], batch.COURSE[runs]; `course` is written.
        params, scale: float64[runs, 12], float64[runs, 4, 2] of the compiled CartPole.
        states, words: float64[runs, 4], uint16[runs, 4], its own; written.
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
        plant = (params[a:b], scale[a:b], states[a:b], words[a:b])
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
    """Run a trial of every active lane and count it; a lane whose cost was clipped has failed, and ends."""
    head, course = group.head, group.course
    if group.code[3] != 0:
        plan = group.plan[0]
        _task(group, plan.evaluate_steps if evaluate else plan.steps, evaluate, active)
    else:
        _cartpole(group, evaluate, active)
    for lane in range(course.size):
        if active >> lane & 1:
            course[lane].steps += head[STEPS, lane]
            course[lane].saturated += head[SATURATED, lane]
            if abs(head[TOTAL, lane]) >= COST_LIMIT:
                course[lane].failed = course[lane].numbered
                course[lane].failed_total = head[TOTAL, lane]
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
def _cartpole(group, evaluate, active):
    """Run a trial of every active lane on its own CartPole; who ends early waits for the rest."""
    begin, act, end, _ = group.code
    head, x, u, costs = group.head, group.x, group.u, group.costs
    plan, course, states, words = group.plan, group.course, group.states, group.words
    head_at, mem_at = int64(head.ctypes.data), int64(group.mem.ctypes.data)
    x_at, u_at = int64(x.ctypes.data), int64(u.ctypes.data)
    for lane in range(plan.size):
        if active >> lane & 1:
            cartpole_start(course[lane].reset, states[lane])
            head[EVALUATE, lane] = evaluate
            costs[lane] = 0
    call(begin, (head_at, mem_at, int32(active)))
    running = active
    step = 0
    while running != 0:
        for lane in range(plan.size):
            if running >> lane & 1:
                cartpole_sense(states[lane], group.scale[lane], words[lane])
                for j in range(4):
                    x[j, lane] = words[lane, j]
                head[COST, lane] = costs[lane]
        call(act, (head_at, mem_at, x_at, u_at, int32(running)))
        step += 1
        for lane in range(plan.size):
            if running >> lane & 1:
                action = ((int32(u[0, lane]) ^ 0x8000) * 2) >> 16
                done = cartpole_step(states[lane], action, group.params[lane])
                costs[lane] = plan[lane].cost_per_step
                if done or step >= plan[lane].steps:
                    running &= ~(1 << lane)
    for lane in range(plan.size):
        if active >> lane & 1:
            head[COST, lane] = costs[lane]
    call(end, (head_at, mem_at, int32(active)))
