"""What the range checker guesses of a loop's turns, and what follows from a guess for any number of them."""

from dataclasses import dataclass, field
from typing import NamedTuple

from subsong_sim.ranges.regions import Content, Effect, Footprint
from subsong_sim.ranges.state import Cell, State
from subsong_sim.ranges.values import Interval, Symbol, Value, hull

Variable = str | Cell


class Kind(NamedTuple):
    """What a turn does to a variable.

    Attributes:
        step: adds exactly this; None: something else.
        added: adds something within this interval; None: something else.
        within: whatever it does, this holds before and after; None: not known.
    """

    step: int | None = None
    added: Interval | None = None
    within: Interval | None = None


class Change(NamedTuple):
    """What a turn does to a region: see Effect; `apart`: no word is written in two turns."""

    added: Interval | None
    written: Interval | None
    apart: bool


class Done(NamedTuple):
    """Where turns have written in a region: from a variable's value before the loop, plus `offset`, on.

    Attributes:
        stride: words a turn; 0: up to what the variable has risen to, plus `offset`.
    """

    variable: Variable
    offset: int
    stride: int


@dataclass
class Guess:
    """What a turn does; nothing, to what is not named."""

    kinds: dict[Variable, Kind] = field(default_factory=dict)
    changes: dict[str, Change] = field(default_factory=dict)
    done: dict[str, Done | None] = field(default_factory=dict)
    settled: set[Variable] = field(default_factory=set)  # known to be no accumulator

    def copy(self) -> "Guess":
        """Return an equal guess."""
        return Guess(dict(self.kinds), dict(self.changes), dict(self.done), set(self.settled))


@dataclass
class Head:
    """Any number of turns after the beginning.

    Attributes:
        state: where the next turn begins.
        k: how many turns there have been.
        values: of the variables.
        turn: the number's symbol.
        marks: what is not known of a variable's value.
    """

    state: State
    k: Value
    values: dict[Variable, Value]
    turn: Symbol
    marks: dict[Variable, Value]


def read(state: State, variable: Variable) -> Value:
    """Return a variable's value."""
    return state.locals[variable] if isinstance(variable, str) else state.cells[variable]


def write(state: State, variable: Variable, value: Value) -> None:
    """Give a variable a value."""
    if isinstance(variable, str):
        state.locals[variable] = value
    else:
        state.cells[variable] = value


def effect_since(content: Content, begun: Content) -> Effect | None:
    """Return what was done to a region since a piece of program began."""
    if content.token == begun.token:
        return content.effect
    everywhere = (Footprint(content.region.start, content.region.end - 1),)
    return Effect(None, content.interval(), everywhere, (), content.interval())


def after_turns(base: Interval, change: Change, n: int) -> Interval:
    """Return an interval of a region's words after at most n turns."""
    if n <= 0:
        return base
    n = min(n, 1) if change.apart else n
    result = base
    if change.added is not None:
        low, high = times(change.added, 0, n)
        result = hull(result, (base[0] + low, base[1] + high))
    if change.written is not None:
        low, high = times(change.added, 0, n) if change.added is not None else (0, 0)
        result = hull(result, (change.written[0] + low, change.written[1] + high))
    return result


def times(added: Interval, least: int, most: int) -> Interval:
    """Return what between `least` and `most` turns add up to."""
    most = max(most, least)
    return min(added[0] * least, added[0] * most), max(added[1] * least, added[1] * most)


def whole(intervals: list[Interval]) -> Interval:
    """Return the smallest interval that holds all of some."""
    return min(a for a, _ in intervals), max(b for _, b in intervals)


def widest(intervals: list[Interval]) -> Interval | None:
    """Return the smallest interval that holds all of these, if there are any."""
    result = None
    for interval in intervals:
        result = interval if result is None else hull(result, interval)
    return result


def intervals(states: list[State], variable: Variable) -> list[Interval]:
    """Return what a variable is in each of these states."""
    return [s.interval(read(s, variable)) for s in states]


def inside(a: Interval, b: Interval) -> bool:
    """Tell whether one interval lies within another."""
    return b[0] <= a[0] and a[1] <= b[1]
