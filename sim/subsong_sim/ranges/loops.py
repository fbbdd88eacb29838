"""Loops of the range checker: run turn by turn where that is short, judged by one turn for all where it is not.

One turn for all: guess what a turn does to every variable and region (adds a constant, adds something within an
interval, leaves it within an interval), run a turn from a state in which any number of turns has done so, and see
whether it does no more. The guess is then true of all turns, by induction; else it is widened, and tried again.
"""

import ast
from collections.abc import Callable

from subsong_sim.ranges.induction import Turns, induce
from subsong_sim.ranges.interpreter import Frame, Interpreter, Sink
from subsong_sim.ranges.state import State, merge
from subsong_sim.ranges.values import Value, add, scale, sub, unknown

SHORT = 3  # turns that are simply run, of a loop that calls nothing and holds no `for`; of any other a single one
UNROLLED = 64  # turns that are run one by one where one turn cannot be judged for all
OUTER = 4096  # the same for a loop whose turns set the lengths of inner loops
PERIOD = 16  # sixteen signs a word: some loops do something special every sixteenth turn
WHILES = 40  # turns of a while that counts; an int32 has 31 bits
MOST = 64  # ways apart while a counting loop runs


def run_loop(machine: Interpreter, node: ast.For | ast.While, state: State, frame: Frame) -> list[State]:
    """Run a loop; return the states after it."""
    facts = frame.facts
    wanted = facts.at_head[id(node)]
    for name in facts.assigned[id(node)] - wanted:
        state.locals.pop(name, None)
    if isinstance(node, ast.While):
        return _while(machine, node, state, frame)
    assert isinstance(node.iter, ast.Call)
    ways: list[tuple[State, list[Value]]] = [(state, [])]
    for argument in node.iter.args:
        ways = [(s, [*given, v]) for w, given in ways for s, v in machine.values(argument, w, frame)]
    return [after for s, given in ways for after in _for(machine, node, given, s, frame)]


def _for(machine: Interpreter, node: ast.For, arguments: list[Value], state: State, frame: Frame) -> list[State]:
    facts = frame.facts
    assert isinstance(node.target, ast.Name)
    target, wanted = node.target.id, facts.at_head[id(node)]
    start = arguments[0] if len(arguments) > 1 else 0
    step = arguments[2] if len(arguments) > 2 else 1
    assert isinstance(step, int)
    n = _turns(state, start, arguments[1] if len(arguments) > 1 else arguments[0], step)

    def turn(s: State, k: Value) -> list[State]:
        s.locals[target] = add(start, scale(k, step))
        return machine.block(node.body, [s], frame)

    def enter(s: State, k: Value) -> list[State]:
        return [s] if s.assume(sub(add(n, k, -1), 1)) else []

    loop = Turns(
        id(node),
        turn,
        enter,
        lambda s: [s],
        n,
        (facts.assigned[id(node)] & wanted) - {target},
        lambda what: machine.fail(node.iter, frame, what),
        facts.indices,
    )
    plain = not any(isinstance(each, ast.Call) for statement in node.body for each in ast.walk(statement))
    return run_turns(machine, loop, state, id(node) in facts.lengths, SHORT if plain else 1)


def _turns(state: State, start: Value, stop: Value, step: int) -> Value:
    distance = add(sub(stop, start), step - 1)
    if step == 1:
        n: Value = distance
    elif isinstance(distance, int):
        n = distance // step
    else:
        low, high = state.interval(distance)
        n = unknown(low // step, high // step)
    low, high = state.reach(n)
    return n if low >= 0 else unknown(0, max(high, 0))


def run_turns(machine: Interpreter, loop: Turns, state: State, outer: bool = False, short: int = SHORT) -> list[State]:
    """Run a loop whose number of turns is known beforehand, if only within an interval.

    Up to `short` turns are simply run.
    """
    n = loop.n
    assert n is not None
    if isinstance(n, int):
        if n <= 0:
            return [state]
        if n <= short and not outer:
            return _short(machine, loop, state, n)
        if n <= (OUTER if outer else 1):
            return _one_by_one(loop, state, 0, n)
    plans: list[Callable[[State], list[State]]] = [lambda s: [induce(machine, loop, s)]]
    if isinstance(n, int):
        plans.append(lambda s: _by_period(machine, loop, s, n))
        if n <= UNROLLED:
            plans.append(lambda s: _one_by_one(loop, s, 0, n))
    return _first_that_proves(machine, loop, plans, state)


def _short(machine: Interpreter, loop: Turns, state: State, n: int) -> list[State]:
    """Run a few turns one by one; judge them by one if that, and nothing else, finds what bounds a region."""
    before = state.copy()
    after = _one_by_one(loop, state, 0, n)
    read = n > 1 and all(s.loads != before.loads for s in after)
    if read and all(s.contents[name].version == c.version for s in after for name, c in before.contents.items()):
        outside = machine.sink
        sink = machine.sink = Sink(set(outside.hopeless))
        try:
            induced = induce(machine, loop, before.copy())
        finally:
            machine.sink = outside
        if any(induced.contents[name].bound is not c.bound for name, c in before.contents.items()):
            outside.add(sink)
            return [induced]
    return after


def _first_that_proves(
    machine: Interpreter, loop: Turns, plans: list[Callable[[State], list[State]]], state: State
) -> list[State]:
    """Run a loop by the first plan that leaves nothing unproved, and every index exact; else by the best."""
    outside, key = machine.sink, loop.key
    order = list(range(len(plans)))
    last = machine.remembered.get(("plan", key))
    if isinstance(last, int) and last < len(plans):
        order.insert(0, order.pop(last))
    if key in outside.hopeless:
        order = order[:1]
    best: tuple[list[State], Sink] | None = None
    least = 0, 0
    for i in order:
        machine.sink = Sink(set(outside.hopeless))
        try:
            after = plans[i](state.copy())
        finally:
            sink, machine.sink = machine.sink, outside
        doubts = len(sink.violations), sum(_blurred(state, s, loop.indices) for s in after)
        if best is None or doubts < least:
            best, least = (after, sink), doubts
            machine.remembered["plan", key] = i
        if not any(doubts):
            break
    assert best is not None
    if best[1].violations:
        outside.hopeless.add(key)
    outside.add(best[1])
    return best[0]


def _blurred(before: State, after: State, names: frozenset[str]) -> int:
    """Return how many of these were one number before a loop, and are an interval after it."""
    was = [name for name, v in before.locals.items() if name in names and isinstance(v, int)]
    return sum(not isinstance(after.known(after.locals[name]), int) for name in was if name in after.locals)


def _one_by_one(loop: Turns, state: State, first: int, n: int) -> list[State]:
    states = [state]
    for k in range(first, n):
        states = [after for s in states for after in loop.turn(s, k)]
    return states


def _by_period(machine: Interpreter, loop: Turns, state: State, n: int) -> list[State]:
    """Judge sixteen turns as one; run the rest one by one."""

    def turn(s: State, k: Value) -> list[State]:
        states = [s]
        for r in range(PERIOD):
            states = [after for s in states for after in loop.turn(s, add(scale(k, PERIOD), r))]
        return states

    whole = n // PERIOD
    if whole > 1:

        def enter(s: State, k: Value) -> list[State]:
            return [s] if s.assume(sub(whole - 1, k)) else []

        state = induce(machine, Turns(-loop.key, turn, enter, loop.leave, whole, loop.assigned, loop.fail), state)
    elif whole:
        return _one_by_one(loop, state, 0, n)
    return _one_by_one(loop, state, whole * PERIOD, n)


def _while(machine: Interpreter, node: ast.While, state: State, frame: Frame) -> list[State]:
    facts = frame.facts
    assigned = facts.assigned[id(node)]
    if assigned <= facts.keys:
        return _counting(machine, node, state, frame)

    def turn(s: State, _k: Value) -> list[State]:
        return machine.block(node.body, [s], frame)

    def enter(s: State, _k: Value) -> list[State]:
        return machine.branch(node.test, s, frame)[0]

    def leave(s: State) -> list[State]:
        return machine.branch(node.test, s, frame)[1]

    loop = Turns(
        id(node),
        turn,
        enter,
        leave,
        None,
        assigned & facts.at_head[id(node)],
        lambda what: machine.fail(node.test, frame, what),
    )
    return [induce(machine, loop, state)]


def _counting(machine: Interpreter, node: ast.While, state: State, frame: Frame) -> list[State]:
    """Run a while turn by turn, every number of turns a way of its own."""
    going, done = [state], []
    for _ in range(WHILES):
        ways = [machine.branch(node.test, s, frame) for s in going]
        done += [s for _, no in ways for s in no]
        going = [s for yes, _ in ways for s in yes]
        if not going:
            break
        going = merge(machine.block(node.body, going, frame), frame.facts.keys, MOST)
    else:
        machine.fail(node.test, frame, f"is not proved to end this loop within {WHILES} turns")
        done += going
    return done
