"""One turn for all: what a loop does, by a guess that one turn from any state which the guess allows confirms."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from subsong_sim.ranges.footprints import Reach, reach_of
from subsong_sim.ranges.greatest import greatest
from subsong_sim.ranges.guess import (
    Change,
    Done,
    Guess,
    Head,
    Kind,
    Variable,
    after_turns,
    effect_since,
    inside,
    intervals,
    read,
    times,
    whole,
    widest,
    write,
)
from subsong_sim.ranges.interpreter import Interpreter, Sink
from subsong_sim.ranges.regions import Effect, Footprint, fresh, outside_of, sequence
from subsong_sim.ranges.state import State, join
from subsong_sim.ranges.values import (
    INT32_HIGH,
    INT32_LOW,
    Form,
    Interval,
    Symbol,
    Value,
    add,
    hull,
    meet,
    put,
    scale,
    sub,
    symbols,
    unknown,
)

ATTEMPTS = 16
PATIENT = 4  # attempts before an interval that still grows is widened to one of these
WIDE = (0, 1, 255, 32767, 65535, 2**24 - 1, 2**28, 2**29, 2**30, INT32_HIGH)
ENDLESS = INT32_HIGH


@dataclass
class Turns:
    """A loop, as it is judged.

    Attributes:
        key: names the loop.
        turn: runs one turn, its number given, from the beginning of the body.
        enter: returns the states in which the turn of this number begins; the condition of a while.
        leave: returns the states in which there is no further turn.
        n: how many turns; None: a while.
        assigned: the locals that a turn may assign to, as far as a later turn or what follows reads them.
        fail: notes what cannot be proved of the loop itself.
        indices: the names that an index is made of: better one number than an interval.
    """

    key: int
    turn: Callable[[State, Value], list[State]]
    enter: Callable[[State, Value], list[State]]
    leave: Callable[[State], list[State]]
    n: Value | None
    assigned: frozenset[str]
    fail: Callable[[str], None]
    indices: frozenset[str] = frozenset()


class _Induction:
    """One loop, being judged."""

    def __init__(self, machine: Interpreter, loop: Turns, state: State) -> None:
        self.machine, self.loop, self.state = machine, loop, state
        self.guess = Guess()
        self.names = [name for name in loop.assigned if name in state.locals]
        self.outs: list[State] = []
        self.top = self._top()

    def _top(self) -> int:
        n = self.loop.n
        return ENDLESS if n is None else max(self.state.interval(n)[1] - 1, 0)

    def _place(self) -> tuple[object, ...]:
        """Return what tells this loop from others of the same text."""
        n = self.loop.n
        numbers = tuple((name, v) for name, v in self.state.locals.items() if isinstance(v, int))
        return None if n is None else self.state.interval(n), numbers

    # ------------------------------------------------------------------------------------------- a turn

    def head(self, top: int) -> Head:
        """Return a state in which up to `top` turns have been."""
        s = self.state.copy()
        turn = Symbol(0, top)
        k: Value = Form(0, ((turn, 1),)) if top else 0
        values: dict[Variable, Value] = {}
        marks: dict[Variable, Value] = {}
        for variable, kind in self.guess.kinds.items():
            before = read(s, variable)
            low, high = self.state.interval(before)
            if not top:
                value, marks[variable] = before, 0
            elif kind.step is not None:
                value = add(before, k, kind.step)
            elif kind.added is not None:
                added = unknown(*times(kind.added, 0, top))
                marks[variable] = added
                value = add(before, added)
                facts = [sub(added, scale(k, kind.added[0])), sub(scale(k, kind.added[1]), added)]
                if kind.within is not None:
                    facts += [sub(value, kind.within[0]), sub(kind.within[1], value)]
                for f in facts:
                    s.assume(f)
            else:
                assert kind.within is not None
                value = marks[variable] = unknown(*hull((low, high), kind.within))
            values[variable] = value
            write(s, variable, value)
        for name, content in s.contents.items():
            change = self.guess.changes.get(name)
            base = content.interval()
            if change is None:
                s.contents[name] = fresh(content.region, base, content.bound)
            else:
                s.contents[name] = fresh(content.region, after_turns(base, change, top))
            done = self._written(name, k, values)
            if done is not None:
                s.contents[name] = s.contents[name]._replace(outside=outside_of(s, content, done))
        s.loads = ()
        return Head(s, k, values, turn, marks)

    def _written(self, name: str, k: Value, values: dict[Variable, Value]) -> tuple[Footprint, ...] | None:
        """Return where k turns have written in a region; None: nobody knows."""
        done = self.guess.done.get(name)
        if name not in self.guess.changes or k == 0:
            return ()
        if done is None or not (done.stride or done.variable in values):
            return None
        first = add(read(self.state, done.variable), done.offset)
        last = add(first, k, done.stride) if done.stride else add(values[done.variable], done.offset)
        return (Footprint(first, add(last, -1)),)

    def _done(self, head: Head, where: Reach | None) -> Done | None:
        """Say in terms of a variable where turns write."""
        if where is None:
            return None
        if where.rising is not None:
            variable = next(v for v, h in head.values.items() if h == where.rising)
            return Done(variable, where.low, 0) if isinstance(where.low, int) else None
        low = put(where.low, where.turn, 0)
        for variable in (*self.names, *self.state.locals):
            before = self.state.locals[variable]
            offset = sub(low, before)
            if isinstance(offset, int):
                return Done(variable, offset, where.stride)
        return None

    def attempt(self) -> tuple[Head, Sink]:
        """Run a turn from any state that the guess allows."""
        outside = self.machine.sink
        sink = self.machine.sink = Sink(set(outside.hopeless))
        try:
            head = self.head(self.top)
            entered = self.loop.enter(head.state.copy(), head.k)
            if self.loop.n is None:
                # The condition bounds the number of turns, as far as the variables tell it.
                top = max((s.reach(head.k, 2)[1] for s in entered), default=0)
                if top < self.top:
                    self.top = top
                    head = self.head(top)
                    entered = self.loop.enter(head.state.copy(), head.k)
            self.outs = [after for s in entered for after in self.loop.turn(s, s.known(head.k))]
        finally:
            self.machine.sink = outside
        return head, sink

    def first(self) -> None:
        """Guess from the first turn."""
        outside = self.machine.sink
        self.machine.sink = Sink(set(outside.hopeless))
        try:
            s = self.state.copy()
            for name, content in s.contents.items():
                begun = fresh(content.region, content.interval(), content.bound)
                s.contents[name] = begun._replace(outside=content.outside)
            s.loads = ()
            head = s.copy()
            outs = [after for t in self.loop.enter(s, 0) for after in self.loop.turn(t, 0)]
        finally:
            self.machine.sink = outside
        self.outs = outs
        if not outs:
            return
        changed: list[Variable] = [
            c for c, v in head.cells.items() if any(o.cells[c] is not v and o.cells[c] != v for o in outs)
        ]
        variables: list[Variable] = [*self.names, *changed]
        for variable in variables:
            before = read(head, variable)
            steps = {sub(read(o, variable), before) for o in outs}
            step = next(iter(steps))
            if len(steps) == 1 and isinstance(step, int):
                self.guess.kinds[variable] = Kind(step=step)
            else:
                self.guess.kinds[variable] = Kind(within=widest([head.interval(before), *intervals(outs, variable)]))
        self._changes(Head(head, 0, {}, Symbol(0, 0), {}), outs, 0)

    # ------------------------------------------------------------------------------------------- judging

    def confirmed(self, head: Head, number: int) -> bool:
        """Tell whether the turn did no more than was guessed; else guess more."""
        outs, same = self.outs, True
        # While nothing bounds a while's turns, what they add up to says nothing: look for what bounds them first.
        boundless = self.loop.n is None and self.top >= ENDLESS and number < PATIENT
        for cell, before in head.state.cells.items():
            after = [o.cells[cell] for o in outs]
            if cell not in self.guess.kinds and any(v is not before and v != before for v in after):
                self.guess.kinds[cell] = Kind(within=widest([head.state.interval(before), *intervals(outs, cell)]))
                same = False
        for variable, before in head.values.items():
            if boundless and self.guess.kinds[variable].added is not None:
                same = False
                continue
            better = self._kind(head, variable, before, number)
            if better != self.guess.kinds[variable]:
                self.guess.kinds[variable] = better
                same = False
        return self._changes(head, outs, number) and same

    def _kind(self, head: Head, variable: Variable, before: Value, number: int) -> Kind:
        kind = self.guess.kinds[variable]
        steps = [(o, o.known(sub(read(o, variable), before))) for o in self.outs]
        if kind.step is not None:
            if all(d == kind.step for _, d in steps):
                return kind
            exact = all(isinstance(d, int) for _, d in steps)
            return Kind(added=whole([o.interval(d) for o, d in steps])) if exact else Kind(within=self._span(variable))
        (symbol,) = symbols(head.marks[variable]) or (None,)  # None: there has been no turn yet, and it is known
        adds = symbol is not None and all(symbol not in symbols(d) for _, d in steps)
        adds = adds and variable not in self.guess.settled
        if kind.added is not None:
            added = whole([kind.added, *(o.reach(d) for o, d in steps)])
            if not adds and added != kind.added:
                self.guess.settled.add(variable)
                return Kind(within=self._span(variable))
            leaves = kind.within is not None and not inside(self._span(variable), kind.within)
            return Kind(added=added) if added != kind.added or leaves else kind
        assert kind.within is not None
        if steps and variable not in self.guess.settled:
            moved = whole([o.reach(d) for o, d in steps])
            if adds or (self.loop.n is None and (moved[0] > 0 or moved[1] < 0)):
                return Kind(added=moved)
        span = self._span(variable)
        if inside(span, kind.within):
            return kind
        low, high = hull(span, kind.within)
        if number > PATIENT:
            low = low if low == kind.within[0] else max((-w - 1 for w in WIDE if -w - 1 <= low), default=INT32_LOW)
            high = high if high == kind.within[1] else min((w for w in WIDE if w >= high), default=INT32_HIGH)
        return Kind(within=(low, high))

    def _span(self, variable: Variable) -> Interval:
        """Return an interval of a variable before the loop and after any turn."""
        intervals = [o.reach(read(o, variable)) for o in self.outs]
        return whole([self.state.interval(read(self.state, variable)), *intervals])

    def _changes(self, head: Head, outs: Iterable[State], number: int) -> bool:
        """Tell whether regions were changed as guessed; else guess more."""
        same = True
        for name, content in head.state.contents.items():
            effects = [e for o in outs if (e := effect_since(o.contents[name], content)) is not None]
            if not effects:
                continue
            added = widest([e.added for e in effects if e.added is not None])
            written = widest([e.written for e in effects if e.written is not None])
            where = self.footprints(head, name)
            apart = where is not None
            done = self._done(head, where) if content.region.told and number <= PATIENT else None
            if done != self.guess.done.get(name):
                self.guess.done[name] = done
                same = False
            old = self.guess.changes.get(name)
            new = Change(added, written, apart)
            if old is not None:
                both = [x for x in (old.added, added) if x], [x for x in (old.written, written) if x]
                new = Change(widest(both[0]), widest(both[1]), old.apart and apart)
                if number and new.written not in (None, old.written):
                    # What still grows may well go on to what the region is declared to hold.
                    new = new._replace(written=widest([new.written, content.region.declared]))
            if new != old:
                self.guess.changes[name] = new
                same = False
        return same

    def footprints(self, head: Head, name: str) -> Reach | None:
        """Return where the turns write in a region, if no two of them write the same word."""
        rising = [
            (v, read_of)
            for variable, kind in self.guess.kinds.items()
            if kind.added is not None and kind.added[0] >= 0 and variable in head.values
            for v, read_of in [(head.values[variable], [read(o, variable) for o in self.outs])]
        ]
        return reach_of(name, head.turn, self.outs, head.state.contents[name], rising)

    # ------------------------------------------------------------------------------------------- afterwards

    def narrowed(self) -> bool:
        """Bound what a while adds to by what its turns leave; tell whether that says more."""
        more = False
        for variable, kind in self.guess.kinds.items():
            if kind.added is not None and kind.within is None:
                self.guess.kinds[variable] = kind._replace(within=self._span(variable))
                more = True
        return more

    def after(self, head: Head) -> State:
        """Return the state after the loop."""
        n, outs = self.loop.n, self.outs
        low, high = (0, self.top + 1) if n is None else self.state.interval(n)
        final = self.head(self.top + 1)
        s, last = (final.state, final.values) if n is None else (self.state.copy(), {})
        for variable, kind in self.guess.kinds.items():
            before = read(self.state, variable)
            if kind.step is not None:
                if n is not None:
                    write(s, variable, add(before, n, kind.step))
                continue
            a, b = self._span(variable) if low <= 0 else whole([o.reach(read(o, variable)) for o in outs])
            if n is None:
                value = last[variable]
            elif kind.added is not None:
                value = add(before, unknown(*times(kind.added, low, high)))
            else:
                value = unknown(a, b)
            s.assume(sub(value, a))
            s.assume(sub(b, value))
            write(s, variable, value)
        if n is not None:
            self._regions(head, s, n)
            return s
        found = self.loop.leave(s)
        for t in found:
            self._regions(head, t, t.known(final.k))
        return join(found) if found else s

    def _regions(self, head: Head, s: State, turns: Value) -> None:
        low, high = s.interval(turns)
        for name, content in self.state.contents.items():
            change = self.guess.changes.get(name)
            if change is None:
                n = self.loop.n
                bound = None if n is None else greatest(self.guess, head, self.outs, s, content, n)
                s.contents[name] = content._replace(bound=bound or content.bound)
                continue
            where = self.footprints(head, name) if change.apart else None
            everywhere = (Footprint(content.region.start, content.region.end - 1),)
            may: tuple[Footprint, ...] = everywhere
            must: tuple[Footprint, ...] = ()
            if where is not None:
                may, must = where.total(self._from(where), self._to(where, s, turns), low > 0)
            added = change.added if change.apart or change.added is None else times(change.added, 1, high)
            written = change.written
            if written and change.added and not change.apart:
                more = times(change.added, 0, high)
                written = written[0] + more[0], written[1] + more[1]
            left = self._left(head, name)
            effect = Effect(added, None if written is None else meet(written, left), may, must, left)
            whole = sequence(self.state, content.effect, effect, content.region)
            s.contents[name] = fresh(content.region, (0, 0))._replace(
                base=content.base,
                effect=whole,
                token=content.token,
                outside=outside_of(s, content, may, left if must == may else None),
            )

    def _left(self, head: Head, name: str) -> Interval:
        """Return an interval of all words that a turn wrote: of any turn, so of all."""
        effects = [effect_since(o.contents[name], head.state.contents[name]) for o in self.outs]
        return whole([e.left for e in effects if e is not None] or [self.state.contents[name].interval()])

    def _from(self, where: Reach) -> Value:
        if where.rising is None:
            return 0
        return next(read(self.state, v) for v, h in self._heads.items() if h == where.rising)

    def _to(self, where: Reach, s: State, turns: Value) -> Value:
        """Return the number of turns, or the last value of what rises."""
        if where.rising is None:
            return turns
        return s.known(next(read(s, v) for v, h in self._heads.items() if h == where.rising))

    @property
    def _heads(self) -> dict[Variable, Value]:
        return self._last_head.values

    def judge(self) -> State:
        """Guess until a turn confirms it; return the state after the loop."""
        key = "guess", self.loop.key, self._place()
        last = self.machine.remembered.get(key)
        if isinstance(last, Guess):
            # What was true of this loop the last time is most often true again: a turn will tell.
            self.guess = last.copy()
            head, sink = self.attempt()
            self._last_head = head
            if self.confirmed(head, 0) and not sink.violations:
                self.machine.sink.add(sink)
                return self.after(head)
            self.guess, self.top = Guess(), self._top()
        self.first()
        narrowed = self.loop.n is not None
        head, sink = self.attempt()
        for number in range(ATTEMPTS):
            if number:
                head, sink = self.attempt()
            self._last_head = head
            if not self.confirmed(head, number):
                if self.loop.n is None:
                    self.top = ENDLESS
                continue
            if narrowed or not self.narrowed():
                break
            narrowed = True
        else:
            self.loop.fail("is a loop of which no turn can be taken for all: make it simpler")
        self.machine.remembered[key] = self.guess.copy()
        self.machine.sink.add(sink)
        if self.top >= ENDLESS and self.loop.n is None and self.outs:
            self.loop.fail("is not proved to end this loop")
        return self.after(head)


def induce(machine: Interpreter, loop: Turns, state: State) -> State:
    """Return the state after a loop, judged by one turn."""
    return _Induction(machine, loop, state).judge()
