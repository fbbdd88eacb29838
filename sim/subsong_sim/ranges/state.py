"""What is known where the range checker stands: locals, memory, intervals of symbols, inequalities between them."""

from collections.abc import Sequence

from subsong_sim.ranges.regions import Content, join_contents
from subsong_sim.ranges.values import (
    AtLeast,
    Entry,
    Form,
    Interval,
    Loaded,
    Masked,
    Product,
    Shifted,
    Symbol,
    Value,
    add,
    hull,
    scale,
    sub,
    symbols,
    unknown,
)

Cell = tuple[str, int]
SHARED = 3  # symbols that two joined sums keep in common at most: the oldest, which loops count by
FACTS = 40  # kept at most: the latest are the ones that matter, and to forget one is always sound


class State:
    """One way to arrive at a place in the program.

    Attributes:
        locals: of the kernel that runs.
        cells: memory words that are told apart, by buffer and index.
        contents: regions of words that are not.
        bounds: what is known about symbols beyond their own intervals.
        loads: symbols loaded from regions since the loop that is being judged began its turn.
    """

    __slots__ = ("_by_symbol", "_facts", "bounds", "cells", "contents", "loads", "locals")

    def __init__(self) -> None:
        self.locals: dict[str, Value] = {}
        self.cells: dict[Cell, Value] = {}
        self.contents: dict[str, Content] = {}
        self.bounds: dict[Symbol, Interval] = {}
        self.facts = ()
        self.loads: tuple[Symbol, ...] = ()

    def copy(self) -> "State":
        """Return an equal state."""
        other = State.__new__(State)
        other.locals, other.cells, other.contents = dict(self.locals), dict(self.cells), dict(self.contents)
        other.bounds, other.loads = dict(self.bounds), self.loads
        # The index goes with the facts: both are replaced, never changed.
        other._facts, other._by_symbol = self._facts, self._by_symbol  # noqa: SLF001
        return other

    @property
    def facts(self) -> tuple[Form, ...]:
        """Linear forms that are not negative."""
        return self._facts

    @facts.setter
    def facts(self, facts: tuple[Form, ...]) -> None:
        self._facts = facts
        self._by_symbol: dict[Symbol, list[Form]] | None = None

    @property
    def by_symbol(self) -> dict[Symbol, list[Form]]:
        """The facts that name a symbol."""
        if self._by_symbol is None:
            self._by_symbol = {}
            for f in self._facts:
                for s, _ in f.terms:
                    self._by_symbol.setdefault(s, []).append(f)
        return self._by_symbol

    def interval(self, v: Value) -> Interval:
        """Return an interval that holds a value, from its symbols' intervals alone."""
        if isinstance(v, int):
            return v, v
        low = high = v.constant
        bounds = self.bounds
        for s, c in v.terms:
            a, b = bounds.get(s) or (s.low, s.high)
            if c >= 0:
                low += c * a
                high += c * b
            else:
                low += c * b
                high += c * a
        return low, high

    def of(self, s: Symbol) -> Interval:
        """Return what is known of a symbol."""
        return self.bounds.get(s) or (s.low, s.high)

    def tight(self, v: Value) -> Interval:
        """Return the interval of a value, where a shifted part is also put back: x >> k is (x - rest) / 2**k."""
        low, high = self.interval(v)
        if isinstance(v, int) or len(v.terms) < 2:
            return low, high
        for s, c in v.terms:
            if isinstance(s.origin, Shifted):
                by = s.origin.by
                whole = add(scale(add(v, Form(0, ((s, c),)), -1), 1 << by), s.origin.form, c)
                a, b = self._by_origins(whole)
                rest = c * ((1 << by) - 1)
                a, b = a - max(rest, 0), b - min(rest, 0)
                low, high = max(low, -(-a >> by)), min(high, b >> by)
        return low, high

    def known(self, v: Value) -> Value:
        """Return the integer that a value must be, or the value."""
        if isinstance(v, int):
            return v
        low, high = self.interval(v)
        return low if low == high else v

    def reach(self, v: Value, depth: int = 1) -> Interval:
        """Return the interval of a value as the facts have it, too; as the sum of up to `depth` facts does."""
        low, high = self.tight(v)
        if isinstance(v, Form) and depth:
            for f in self._about(v):
                # A fact helps where a symbol goes with it.
                less, more = _times(v, f)
                if less:
                    low = max(low, self.reach(add(v, f, -less), depth - 1)[0])
                if more:
                    high = min(high, self.reach(add(v, f, more), depth - 1)[1])
        return low, high

    # ------------------------------------------------------------------------------------------- inequalities

    def _about(self, v: Form) -> list[Form]:
        """Return the facts that share a symbol with a form."""
        found: list[Form] = []
        entries: list[Symbol] = []
        by_symbol = self.by_symbol
        for s, _ in v.terms:
            if s in by_symbol:
                found += [f for f in by_symbol[s] if f not in found] if found else by_symbol[s]
            if s.origin is not None:
                found += _of_origin(s)
                if isinstance(s.origin, Entry):
                    entries.append(s)
        if len(entries) > 1:
            found += [f for s in entries for t in entries if s is not t for f in self._neighbours(s, t)]
        return found

    def _neighbours(self, s: Symbol, t: Symbol) -> list[Form]:
        """Return the facts about two entries of one table."""
        p, q = s.origin, t.origin
        if not (isinstance(p, Entry) and isinstance(q, Entry) and p.words is q.words):
            return []
        apart = sub(q.at, p.at)
        if not isinstance(apart, int):
            return []
        low, high = self.reach(p.at)
        steps = [p.words[i + apart] - p.words[i] for i in range(low, high + 1) if 0 <= i + apart < len(p.words)]
        step = add(Form(0, ((t, 1),)), Form(0, ((s, 1),)), -1)
        return [f for f in (add(step, -min(steps)), sub(max(steps), step)) if isinstance(f, Form)]

    def _by_origins(self, v: Value) -> Interval:
        """Return the interval of a value, as the origins of its symbols bound it, too."""
        low, high = self.interval(v)
        for s in symbols(v):
            for f in _of_origin(s) if isinstance(s.origin, Product) else ():
                less, more = _times(v, f)
                if less:
                    low = max(low, self.interval(add(v, f, -less))[0])
                if more:
                    high = min(high, self.interval(add(v, f, more))[1])
        return low, high

    def proves(self, v: Value, depth: int = 2) -> bool:
        """Tell whether a value is certainly not negative."""
        if self.tight(v)[0] >= 0:
            return True
        if depth and isinstance(v, Form):
            return any(n and self.proves(add(v, f, -n), depth - 1) for f in self._about(v) for n in _times(v, f)[:1])
        return False

    def assume(self, v: Value) -> bool:
        """Take note that a value is not negative; tell whether it can be so at all."""
        if isinstance(v, int):
            return v >= 0
        low, high = self.interval(v)
        if high < 0:
            return False
        if low >= 0:
            return True
        self._note(v)
        waiting = [v]
        for _ in range(24):
            if not waiting:
                break
            more = self._narrow(waiting.pop())
            if more is None:
                return False
            waiting += more
        return True

    def _note(self, v: Form) -> None:
        """Keep the fact that a form is not negative, where its symbols' intervals cannot say as much."""
        if len(v.terms) > 1 and v not in self.facts:
            self.facts = (*self.facts[-FACTS:], v)

    def _narrow(self, v: Form) -> list[Form] | None:
        """Narrow the symbols of a form that is not negative; return what follows, None where that is impossible."""
        low, high = self.interval(v)
        if high < 0:
            return None
        if low >= 0:
            return []
        follows: list[Form] = []
        for s, c in v.terms:
            a, b = self.of(s)
            # The others are at most `high` less this term's greatest.
            if c > 0:
                least = -((high - c * b) // c)
                if least <= a:
                    continue
                a = least
            else:
                most = (high - c * a) // -c
                if most >= b:
                    continue
                b = most
            if a > b:
                return None
            self.bounds[s] = (a, b)
            origin = s.origin
            if isinstance(origin, Shifted):
                by = origin.by
                both = add(origin.form, -(a << by)), sub((b << by) + (1 << by) - 1, origin.form)
                for f in both:
                    if isinstance(f, Form):
                        self._note(f)
                        follows.append(f)
            elif isinstance(origin, AtLeast):
                follows += [f for x in origin.forms if isinstance(f := sub(b, x), Form)]
            follows += [f for f in self.by_symbol.get(s, ()) if f is not v]
        return follows


def _of_origin(s: Symbol) -> list[Form]:
    """Return the facts that a symbol's origin makes."""
    own, origin = Form(0, ((s, 1),)), s.origin
    found: list[Value] = []
    if isinstance(origin, AtLeast):
        found = [sub(own, a) for a in origin.forms]
    elif isinstance(origin, Product):
        found = [add(own, origin.form, -origin.low), sub(scale(origin.form, origin.high), own)]
    return [f for f in found if isinstance(f, Form)]


def _times(v: Value, f: Form) -> tuple[int, int]:
    """Return how many times a fact is to be taken from a value, and added to it, for a symbol to go; 0: none goes."""
    less = more = 0
    if isinstance(v, Form):
        factors = dict(f.terms)
        for s, c in v.terms:
            factor = factors.get(s)
            if factor is not None and c % factor == 0:
                times = c // factor
                if times > 0:
                    less = less or times
                else:
                    more = more or -times
    return less, more


# ------------------------------------------------------------------------------------------------- joining


def merge(states: Sequence[State], keys: frozenset[str], most: int) -> list[State]:
    """Join states that agree on the integers in `keys`; where more than `most` remain, give up keys, oldest first.

    The last key may keep twice as many apart.
    """
    if len(states) < 2:
        return list(states)
    names = [name for name in states[0].locals if name in keys]
    while True:
        groups: dict[tuple[int | None, ...], list[State]] = {}
        for state in states:
            values = (state.locals.get(name) for name in names)
            groups.setdefault(tuple(v if isinstance(v, int) else None for v in values), []).append(state)
        if len(groups) <= (most if len(names) > 1 else 2 * most) or not names:
            return [join(group) for group in groups.values()]
        names = names[1:]


def join(states: Sequence[State]) -> State:
    """Return what is true of all these states."""
    result = states[0]
    for other in states[1:]:
        result = _join(result, other)
    return result


def _join(a: State, b: State) -> State:
    new = State()
    for s, x in a.bounds.items():
        y = b.bounds.get(s)
        if y is not None:
            new.bounds[s] = x if x == y else hull(x, y)
    if a.facts is b.facts:
        new.facts = a.facts
    else:
        theirs = frozenset(b.facts)
        new.facts = tuple(f for f in a.facts if f in theirs)
    new.loads = a.loads if a.loads == b.loads else (*a.loads, *(s for s in b.loads if s not in a.loads))
    news: list[tuple[Value, Value, Value]] = []
    for name, v in a.locals.items():
        if name in b.locals:
            new.locals[name] = _join_values(a, b, v, b.locals[name], news)
    for cell, v in a.cells.items():
        new.cells[cell] = _join_values(a, b, v, b.cells[cell], news)
    for region, content in a.contents.items():
        other = b.contents[region]
        new.contents[region] = content if content is other else join_contents(content, a, other, b)
    common = [f for value, x, y in news for f in _in_common(a, b, value, x, y)]
    if common:
        new.facts = (*new.facts, *common)[-FACTS:]
    return new


def _join_values(a: State, b: State, x: Value, y: Value, news: list[tuple[Value, Value, Value]]) -> Value:
    if x is y or x == y:
        return x
    for value, p, q in news:  # two names of one value stay two names of one value
        if p == x and q == y:
            return value
    low, high = hull(a.reach(x), b.reach(y))
    if isinstance(x, Form) and isinstance(y, Form):
        # What they share stays: h + 1 and h become h + (0 or 1).
        shared = tuple(term for term in x.terms if term in y.terms)[:SHARED]
        if shared:
            part = Form(0, shared)
            rest = hull(a.tight(sub(x, part)), b.tight(sub(y, part)))
            value = add(part, unknown(*rest))
            wide = hull(a.interval(value), b.interval(value))
            if wide[0] >= low and wide[1] <= high:
                news.append((value, x, y))
                return value
    value = unknown(low, high, _join_masked(a, b, x, y, news))
    news.append((value, x, y))
    return value


def _join_masked(a: State, b: State, x: Value, y: Value, news: list[tuple[Value, Value, Value]]) -> Masked | None:
    """Return the origin of two masked values' join: a word that stands for an int16 still does."""
    p, q = (v.symbol if isinstance(v, Form) else None for v in (x, y))
    m, n = p and p.origin, q and q.origin
    if isinstance(m, Masked) and isinstance(n, Masked) and m.mask == n.mask:
        return Masked(_join_values(a, b, m.form, n.form, news), m.mask)
    return None


def _in_common(a: State, b: State, value: Value, x: Value, y: Value) -> list[Form]:
    """Return inequalities between a joined value and what it was joined from: |v| >= v, min(v, w) <= w."""
    candidates: list[Form] = []
    for v in (x, y):
        if isinstance(v, Form) and len(v.terms) <= SHARED:
            candidates.append(Form(0, v.terms))
            candidates += [Form(0, ((s, c),)) for s, _ in v.terms for c in (1, -1)]
    found: list[Form] = []
    candidates = [c for c in dict.fromkeys(candidates) if _linked(a, b, x, c) and _linked(b, a, y, c)]
    span = hull(a.reach(x), b.reach(y)) if candidates else (0, 0)
    for c in candidates:
        low, high = hull(a.reach(sub(x, c)), b.reach(sub(y, c)))
        least, most = hull(a.interval(c), b.interval(c))
        if low > span[0] - most:
            found += [f for f in [add(sub(value, c), -low)] if isinstance(f, Form)]
        if high < span[1] - least:
            found += [f for f in [sub(add(c, high), value)] if isinstance(f, Form)]
    return found


def _linked(a: State, b: State, x: Value, c: Form) -> bool:
    """Tell whether anything in one state connects a value with a candidate, which has a meaning there."""
    own = symbols(x)
    by_symbol = a.by_symbol
    return all(_means(a, x, s) for s, _ in c.terms) and any(
        s in own or s in by_symbol or a.bounds.get(s) != b.bounds.get(s) for s, _ in c.terms
    )


def _means(a: State, x: Value, s: Symbol) -> bool:
    """Tell whether a symbol may be spoken of in a state.

    Where it came about on another way, it stands for nothing here, and what is said of it must hold for any number
    within its interval: one that is bound by its origin could be bound to no number at all.
    """
    return s.origin is None or isinstance(s.origin, Loaded) or s in a.bounds or s in a.by_symbol or s in symbols(x)
