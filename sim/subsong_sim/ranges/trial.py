"""The proof of a learner's kernels: any trial, from memory as the invariants have it, leaves memory as they have it."""

import struct

from subsong_device import layout
from subsong_sim.dialect import Violation
from subsong_sim.loader import Source
from subsong_sim.ranges.induction import Turns
from subsong_sim.ranges.interpreter import Frame, Interpreter
from subsong_sim.ranges.invariants import BIT, COST, Block
from subsong_sim.ranges.loops import run_loop, run_turns
from subsong_sim.ranges.memory import INT16, Memory
from subsong_sim.ranges.regions import fresh
from subsong_sim.ranges.state import State, join
from subsong_sim.ranges.tasks import Task
from subsong_sim.ranges.values import Value, sub, unknown


def prove_learner(source: Source, block: Block) -> Interpreter:
    """Run every kind of trial on intervals; the machine that did it holds what was found."""
    memory = block.memory()
    machine = Interpreter(source, memory, block.words, run_loop)
    for case in block.cases():
        state = _begin_anew(_call(machine, "begin", ("head", "mem"), block.state(memory, case)))
        # Trials that differ in STARTED alone begin with the same guess.
        steps, number = block.evaluate_steps if case.evaluate else block.steps, 2 * case.evaluate + case.phase
        state = _steps(machine, state, steps, number)
        _observe(state)
        state = _call(machine, "end", ("head", "mem"), state)
        _holds_again(machine, block, state)
    return machine


def _call(machine: Interpreter, name: str, buffers: tuple[str, ...], state: State) -> State:
    facts = machine.facts[name]
    frame = Frame(name, facts, dict(zip(facts.parameters, buffers, strict=True)), (name,))
    return join([s for s, _ in machine.run(frame, state, {})])


def _begin_anew(state: State) -> State:
    for name, content in state.contents.items():
        begun = fresh(content.region, content.interval(), content.bound)
        state.contents[name] = begun._replace(outside=content.outside)
    return state


def _observe(state: State) -> None:
    """A cost comes from outside: any that the link lets through."""
    state.cells["head", layout.COST] = unknown(*COST)


def _steps(machine: Interpreter, state: State, steps: int, number: int) -> State:
    """Run up to so many steps of a trial of the kind of this number."""
    n = unknown(0, steps)

    def turn(s: State, _k: Value) -> list[State]:
        _observe(s)
        content = s.contents.get("x")
        if content is not None:
            s.contents["x"] = content._replace(base=INT16)
        return [_call(machine, "act", ("head", "mem", "x", "u"), s)]

    def enter(s: State, k: Value) -> list[State]:
        return [s] if s.assume(sub(sub(n, k), 1)) else []

    def fail(what: str) -> None:
        machine.fail(source.body[-1], _frame_of(machine, "act"), what)

    source = machine.source.functions["act"]
    (after,) = run_turns(machine, Turns(number, turn, enter, lambda s: [s], n, frozenset(), fail), state)
    return after


def _frame_of(machine: Interpreter, name: str) -> Frame:
    return Frame(name, machine.facts[name], {}, (name,))


def _holds_again(machine: Interpreter, block: Block, state: State) -> None:
    """Note where a trial's end leaves memory outside the invariants."""
    last = machine.source.functions["end"].body[-1]
    frame = _frame_of(machine, "end")
    changed = block.cells()
    for i in range(block.rows_end):
        low, high = state.tight(state.cells["head", i])
        name, declared = changed.get(i, (f"word {i}", (block.head[i], block.head[i])))
        if low < declared[0] or high > declared[1]:
            what = f"leaves head[{name}] in {low}..{high}, not in {declared[0]}..{declared[1]}: clip it"
            machine.fail_once(last, frame, name, what)
    phase = state.interval(state.cells["head", layout.PHASE])[1]
    for name, content in state.contents.items():
        low, high = content.interval()
        declared = block.eligibility(phase) if name == "eligibility" else content.region.declared
        if low < declared[0] or high > declared[1]:
            what = f"leaves {name} in {low}..{high}, not in {declared[0]}..{declared[1]}: clip them"
            machine.fail_once(last, frame, name, what)


# ------------------------------------------------------------------------------------------------- tasks


def prove_task(source: Source, task: bytes) -> Interpreter:
    """Run any number of steps of an on-board task on intervals."""
    words = struct.unpack(f"<{len(task) // 2}H", task)
    block = Task(words)
    regions = block.regions()
    machine = Interpreter(source, Memory({"head": 32, "task": 16, "x": 16, "u": 16}, regions), block.shape, run_loop)
    state = State()
    for name in ("EVALUATE", "PHASE"):
        state.cells["head", getattr(layout, name)] = unknown(*BIT)
    held = {i for r in regions if r.buffer == "task" for i in range(r.start, r.end)}
    for i, word in enumerate(words):
        if i not in held:
            state.cells["task", i] = word
    for i, (_, interval) in block.cells().items():
        state.cells["task", i] = unknown(*interval)
    for region in regions:
        state.contents[region.name] = fresh(region, region.declared)
    for name, buffers in (
        ("task_begin", ("head", "task")),
        ("task_sense", ("task", "x")),
        ("task_cost", ("task", "u")),
    ):
        facts = machine.facts[name]
        frame = Frame(name, facts, dict(zip(facts.parameters, buffers, strict=True)), (name,))
        for s, value in machine.run(frame, state.copy(), {}):
            last = source.functions[name].body[-1]
            low, high = s.interval(value)
            if low < COST[0] or high > COST[1]:
                machine.fail_once(last, frame, "cost", f"returns {low}..{high}, no cost of at most 2**28: clip it")
            for i, (word, declared) in block.cells().items():
                low, high = s.interval(s.cells["task", i])
                if low < declared[0] or high > declared[1]:
                    what = f"leaves task[{word}] in {low}..{high}, not in {declared[0]}..{declared[1]}: clip it"
                    machine.fail_once(last, frame, word, what)
            for region in regions:
                low, high = s.contents[region.name].interval()
                if low < region.declared[0] or high > region.declared[1]:
                    declared = region.declared
                    what = f"leaves {region.name} in {low}..{high}, not in {declared[0]}..{declared[1]}: clip them"
                    machine.fail_once(last, frame, region.name, what)
    return machine


def found_by(machine: Interpreter) -> list[Violation]:
    """Return what a machine could not prove."""
    return sorted(machine.sink.violations.values(), key=lambda v: (v.file, v.line))
