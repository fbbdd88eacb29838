"""Runs a kernel on intervals: every expression that it meets is proved to fit, or named.

Ways through a kernel are kept apart where a counter or a returned integer tells them apart, and joined elsewhere.
"""

import ast
from collections.abc import Callable, Mapping
from typing import NamedTuple

from subsong_sim.dialect import Violation
from subsong_sim.errors import EngineError
from subsong_sim.loader import Source
from subsong_sim.ranges import operators
from subsong_sim.ranges.memory import Memory
from subsong_sim.ranges.state import State, join, merge
from subsong_sim.ranges.static import Facts, study
from subsong_sim.ranges.values import INT32_HIGH, INT32_LOW, Interval, Value, hull, sub, unknown

WAYS = 32  # kept apart at most, at one place
STATEMENTS = 2_000_000
_SHIFTS = (ast.LShift, ast.RShift)
Place = tuple[str, int, int, int, int]  # kernel, then line and column where an expression begins and ends
Loop = Callable[["Interpreter", "ast.For | ast.While", State, "Frame"], list[State]]


class Frame(NamedTuple):
    """A kernel while it runs.

    Attributes:
        name: the kernel's.
        facts: what its text says.
        buffers: what its buffer parameters are, by their names.
        chain: the kernels that called it, outermost first, and itself.
    """

    name: str
    facts: Facts
    buffers: Mapping[str, str]
    chain: tuple[str, ...]


class Sink:
    """What an attempt finds; dropped with it.

    Attributes:
        violations: by place.
        seen: the interval of every expression met, by place.
        hopeless: loops that no way of running them proves.
    """

    def __init__(self, hopeless: set[int]) -> None:
        self.violations: dict[Place, Violation] = {}
        self.seen: dict[Place, Interval] = {}
        self.hopeless = hopeless

    def add(self, other: "Sink") -> None:
        """Take over what another found."""
        for place, violation in other.violations.items():
            self.violations.setdefault(place, violation)
        for place, interval in other.seen.items():
            mine = self.seen.get(place)
            self.seen[place] = interval if mine is None else hull(mine, interval)
        self.hopeless |= other.hopeless


class Interpreter:
    """Runs kernels of one source on one memory.

    Args:
        source: the kernels.
        memory: its regions, and how words are loaded and stored.
        configuration: in words, for messages.
        loop: runs a loop.
    """

    def __init__(self, source: Source, memory: Memory, configuration: str, loop: Loop) -> None:
        self.source, self.memory, self.configuration, self._loop = source, memory, configuration, loop
        self.facts: dict[str, Facts] = {}
        for name, function in source.functions.items():
            self.facts[name] = study(function, [n for n, f in self.facts.items() if f.loops])
        self.sink = Sink(set())
        self.statements = 0
        self.remembered: dict[object, object] = {}  # how a loop was proved the last time
        self._calls: dict[int, bool] = {}

    # ------------------------------------------------------------------------------------------- findings

    def place(self, node: ast.AST, frame: Frame) -> Place:
        """Return what names an expression."""
        line, column = getattr(node, "lineno", 0), getattr(node, "col_offset", 0)
        return frame.name, line, column, getattr(node, "end_lineno", 0), getattr(node, "end_col_offset", 0)

    def see(self, node: ast.AST, frame: Frame, interval: Interval) -> None:
        """Note an interval of an expression."""
        place = self.place(node, frame)
        mine = self.sink.seen.get(place)
        self.sink.seen[place] = interval if mine is None else hull(mine, interval)

    def fail(self, node: ast.AST, frame: Frame, what: str) -> None:
        """Note what cannot be proved."""
        text = " ".join(ast.unparse(node).split("\n")[0].split()).rstrip(":")
        rule = f"`{text}` {what} (in {' > '.join(frame.chain)}; {self.configuration})"
        place = self.place(node, frame)
        self.sink.violations.setdefault(place, Violation(self.source.files.get(frame.name, ""), place[1], rule))

    def fail_once(self, node: ast.AST, frame: Frame, name: str, what: str) -> None:
        """Note what cannot be proved of one word, where several are left by the same statement."""
        kernel, line, column, end_line, _ = self.place(node, frame)
        rule = f"{name}: {frame.name} {what} (in {' > '.join(frame.chain)}; {self.configuration})"
        violation = Violation(self.source.files.get(frame.name, ""), line, rule)
        self.sink.violations.setdefault((f"{kernel}/{name}", line, column, end_line, 0), violation)

    # ------------------------------------------------------------------------------------------- expressions

    def has_call(self, node: ast.expr) -> bool:
        """Tell whether an expression calls a kernel."""
        found = self._calls.get(id(node))
        if found is None:
            found = self._calls[id(node)] = any(isinstance(n, ast.Call) for n in ast.walk(node))
        return found

    def values(self, node: ast.expr, state: State, frame: Frame) -> list[tuple[State, Value]]:
        """Return the values of an expression, each with the state in which it is that."""
        if not self.has_call(node):
            return [(state, self.value(node, state, frame))]
        if isinstance(node, ast.Call):
            return self.call(node, state, frame)
        if isinstance(node, ast.BinOp):
            return [
                (s, self.operate(node, node.op, a, b, s, frame))
                for r, a in self.values(node.left, state, frame)
                for s, b in self.values(node.right, r, frame)
            ]
        assert isinstance(node, ast.Subscript)
        return [(s, self.load(node, at, s, frame)) for s, at in self.values(node.slice, state, frame)]

    def value(self, node: ast.expr, state: State, frame: Frame) -> Value:
        """Return the value of an expression that calls nothing."""
        if isinstance(node, ast.Name):
            v = state.locals.get(node.id)
            if v is None:
                return self.source.constants[node.id]
            return v if isinstance(v, int) else state.known(v)
        if isinstance(node, ast.Constant):
            assert isinstance(node.value, int)
            return node.value
        if isinstance(node, ast.BinOp):
            a = self.value(node.left, state, frame)
            return self.operate(node, node.op, a, self.value(node.right, state, frame), state, frame)
        assert isinstance(node, ast.Subscript)
        return self.load(node, self.value(node.slice, state, frame), state, frame)

    def operate(self, node: ast.AST, operator: ast.operator, a: Value, b: Value, state: State, frame: Frame) -> Value:
        """Return `a operator b`, proved to be an int32."""
        if isinstance(operator, _SHIFTS):
            low, high = state.interval(b)
            if low < 0 or high > 31:
                if not (state.proves(b) and state.proves(sub(31, b))):
                    self.fail(node, frame, f"shifts by {_span((low, high))}, where processors differ: keep it in 0..31")
                b = unknown(min(max(low, 0), 31), max(min(high, 31), 0))
        value, (low, high) = operators.operate(state, operator, a, b)
        if low < INT32_LOW or high > INT32_HIGH:
            if not (state.proves(sub(value, INT32_LOW)) and state.proves(sub(INT32_HIGH, value))):
                what = "outside int32: clip or shift its operands, or restrict what feeds them"
                self.fail(node, frame, f"can be {_span((low, high))}, {what}")
            low, high = min(max(low, INT32_LOW), INT32_HIGH), max(min(high, INT32_HIGH), INT32_LOW)
            value = unknown(low, high)
        self.see(node, frame, (low, high))
        return value

    def load(self, node: ast.Subscript, at: Value, state: State, frame: Frame) -> Value:
        """Return an element of a buffer."""
        assert isinstance(node.value, ast.Name)
        buffer = frame.buffers[node.value.id]
        region = self.memory.find(state, buffer, at)
        if isinstance(region, str):
            self.fail(node, frame, region)
            value = self.memory.anything(buffer)
        else:
            value = self.memory.load(state, buffer, region, at)
        self.see(node, frame, state.interval(value))
        return value

    def store(self, node: ast.Subscript, at: Value, value: Value, state: State, frame: Frame) -> None:
        """Write an element of a buffer."""
        assert isinstance(node.value, ast.Name)
        buffer = frame.buffers[node.value.id]
        region = self.memory.find(state, buffer, at)
        problem = region if isinstance(region, str) else self.memory.store(state, buffer, region, at, value)
        if problem:
            self.fail(node, frame, problem)

    # ------------------------------------------------------------------------------------------- calls

    def call(self, node: ast.Call, state: State, frame: Frame) -> list[tuple[State, Value]]:
        """Run a kernel that is called; return what it returns, ways apart where an integer tells them apart."""
        assert isinstance(node.func, ast.Name)
        name = node.func.id
        facts = self.facts[name]
        ways: list[tuple[State, dict[str, Value]]] = [(state, {})]
        buffers: dict[str, str] = {}
        for parameter, argument in zip(facts.parameters, node.args, strict=True):
            if parameter in facts.pointers:
                assert isinstance(argument, ast.Name)
                buffers[parameter] = frame.buffers[argument.id]
            else:
                ways = [(s, {**given, parameter: v}) for w, given in ways for s, v in self.values(argument, w, frame)]
        inner = Frame(name, facts, buffers, (*frame.chain, name))
        return [way for s, given in ways for way in self.run(inner, s, given)]

    def run(self, frame: Frame, state: State, given: Mapping[str, Value]) -> list[tuple[State, Value]]:
        """Run a kernel's body; return its values, each with the state that goes with it."""
        outer = state.locals
        ways = self._body(frame, state, given)
        for s in ways:
            s.locals = {"return": s.known(s.locals["return"])}
        results = []
        for s in merge(ways, frozenset({"return"}), WAYS):
            value = s.locals["return"]
            s.locals = dict(outer)
            results.append((s, value))
        return results

    def _body(self, frame: Frame, state: State, given: Mapping[str, Value]) -> list[State]:
        """Run a kernel's statements; what it returns is the local "return"."""
        *body, last = self.source.functions[frame.name].body
        assert isinstance(last, ast.Return) and last.value is not None
        state.locals = dict(given)
        ways = []
        for s in self.block(body, [state], frame):
            for t, value in self.values(last.value, s, frame):
                t.locals = {"return": value}
                ways.append(t)
        return ways

    # ------------------------------------------------------------------------------------------- statements

    def block(self, body: list[ast.stmt], states: list[State], frame: Frame) -> list[State]:
        """Run statements in each of these states; return the states afterwards."""
        for node in body:
            after = [new for state in states for new in self.statement(node, state, frame)]
            if len(after) > 1:
                live = frame.facts.live[id(node)]
                for state in after:
                    state.locals = {name: v for name, v in state.locals.items() if name in live}
                after = merge(after, frame.facts.keys & live, WAYS)
            states = after
        return states

    def statement(self, node: ast.stmt, state: State, frame: Frame) -> list[State]:
        """Run one statement; return the states afterwards."""
        self.statements += 1
        if self.statements > STATEMENTS:
            raise EngineError(f"{frame.name}, {self.configuration}: the range checker gives up; make its loops simpler")
        if isinstance(node, ast.Assign):
            for name in frame.facts.twice.get(id(node), ()):
                ways = _each(state, name)
                if len(ways) > 1:
                    before = state.locals[name]
                    new = join([after for s in ways for after in self.statement(node, s, frame)])
                    if not isinstance(node.targets[0], ast.Name) or node.targets[0].id != name:
                        new.locals[name] = before
                    return [new]
            given = self.values(node.value, state, frame)
            return [new for s, v in given for new in self._assign(node.targets[0], v, s, frame)]
        if isinstance(node, ast.AugAssign):
            return self._augment(node, state, frame)
        if isinstance(node, ast.If):
            yes, no = self.branch(node.test, state, frame)
            return self.block(node.body, yes, frame) + self.block(node.orelse, no, frame)
        if isinstance(node, (ast.For, ast.While)):
            return self._loop(self, node, state, frame)
        assert isinstance(node, ast.Expr)
        if isinstance(node.value, ast.Constant):
            return [state]
        return [join([s for s, _ in self.values(node.value, state, frame)])]

    def _assign(self, target: ast.expr, value: Value, state: State, frame: Frame) -> list[State]:
        if isinstance(target, ast.Name):
            state.locals[target.id] = value
            return [state]
        assert isinstance(target, ast.Subscript)
        ways = self.values(target.slice, state, frame)
        for s, at in ways:
            self.store(target, at, value, s, frame)
        return [s for s, _ in ways]

    def _augment(self, node: ast.AugAssign, state: State, frame: Frame) -> list[State]:
        found = []
        for s, b in self.values(node.value, state, frame):
            if isinstance(node.target, ast.Name):
                a = s.known(s.locals[node.target.id])
                s.locals[node.target.id] = self.operate(node, node.op, a, b, s, frame)
            else:
                assert isinstance(node.target, ast.Subscript)
                at = self.value(node.target.slice, s, frame)
                a = self.load(node.target, at, s, frame)
                self.store(node.target, at, self.operate(node, node.op, a, b, s, frame), s, frame)
            found.append(s)
        return found

    # ------------------------------------------------------------------------------------------- conditions

    def branch(self, test: ast.expr, state: State, frame: Frame) -> tuple[list[State], list[State]]:
        """Return the states in which a condition holds, and those in which it does not."""
        if isinstance(test, ast.BoolOp):
            every = isinstance(test.op, ast.And)
            going, done = [state], []
            for part in test.values:
                ways = [self.branch(part, s, frame) for s in going]
                going = [s for yes, no in ways for s in (yes if every else no)]
                done += [s for yes, no in ways for s in (no if every else yes)]
            return (going, done) if every else (done, going)
        assert isinstance(test, ast.Compare)
        yes: list[State] = []
        no: list[State] = []
        for r, a in self.values(test.left, state, frame):
            for s, b in self.values(test.comparators[0], r, frame):
                _compare(test.ops[0], s, sub(a, b), yes, no)
        return yes, no


def _compare(operator: ast.cmpop, state: State, d: Value, yes: list[State], no: list[State]) -> None:
    """Put a state where it belongs, or a copy on either side, by the sign of a difference."""
    if isinstance(operator, (ast.Gt, ast.GtE)):
        d, operator = sub(0, d), ast.Lt() if isinstance(operator, ast.Gt) else ast.LtE()
    if isinstance(operator, (ast.Lt, ast.LtE)):
        below = sub(-1 if isinstance(operator, ast.Lt) else 0, d)  # not negative where it holds
        other = state.copy()
        if not state.proves(sub(-1, below), 1) and state.assume(below):
            yes.append(state)
        if not other.proves(below, 1) and other.assume(sub(-1, below)):
            no.append(other)
        return
    same, differ = (yes, no) if isinstance(operator, ast.Eq) else (no, yes)
    equal, less, more = state.copy(), state.copy(), state
    if equal.assume(d) and equal.assume(sub(0, d)):
        same.append(equal)
    either = [s for s, v in ((less, sub(-1, d)), (more, sub(d, 1))) if s.assume(v)]
    if len(either) == 2:
        either = [join(either)]
    differ += either


def _each(state: State, name: str) -> list[State]:
    """Return a state for every number that a local may be, if they are few."""
    v = state.locals.get(name, 0)
    low, high = state.interval(v)
    if not 0 < high - low < WAYS:
        return [state]
    found = []
    for x in range(low, high + 1):
        s = state.copy()
        if s.assume(sub(v, x)) and s.assume(sub(x, v)):
            s.locals[name] = x
            found.append(s)
    return found


def _span(interval: Interval) -> str:
    return f"{interval[0]}..{interval[1]}"
