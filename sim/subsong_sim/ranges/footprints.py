"""Where the turns of a loop write: whether two ever write the same word, and whether together they write all."""

from typing import NamedTuple

from subsong_sim.ranges.regions import Content, Effect, Footprint
from subsong_sim.ranges.state import State
from subsong_sim.ranges.values import Form, Symbol, Value, add, put, sub, symbols


class Reach(NamedTuple):
    """Where a turn writes; no two turns meet.

    Attributes:
        low: the lowest index, in terms of the turn's number, or as an offset to what rises.
        turn: the number's symbol.
        stride: by how much `low` rises a turn, and how many words from there on a turn writes at most; 0 where it is
            what `rising` rises by.
        rising: the value, before the turn, of a variable that rises past all that a turn writes; None: the number.
        full: a turn writes all of these words, whatever happens.
    """

    low: Value
    turn: Symbol
    stride: int
    rising: Value | None
    full: bool

    def total(self, first: Value, last: Value, runs: bool) -> tuple[tuple[Footprint, ...], tuple[Footprint, ...]]:
        """Return where all turns may write, and where they must.

        Args:
            first: what rises before the first turn; with `rising` None it is 0.
            last: what has risen after the last turn; with `rising` None the number of turns.
            runs: there is a turn.
        """
        if self.rising is None:
            all_ = Footprint(put(self.low, self.turn, 0), add(put(self.low, self.turn, add(last, -1)), self.stride - 1))
        else:
            all_ = Footprint(add(first, self.low), add(add(last, self.low), -1))
        return (all_,), (all_,) if self.full and (runs or self.rising is not None) else ()


def reach_of(
    name: str, turn: Symbol, outs: list[State], begun: Content, rising: list[tuple[Value, list[Value]]]
) -> Reach | None:
    """Return where a turn writes in a region; None where two turns may meet, or nobody can tell.

    Args:
        name: the region's.
        turn: the turn's number; symbols older than it are the same in every turn.
        outs: the states after a turn, on every way.
        begun: the region before it.
        rising: variables that never fall, each before the turn and after it on every way.
    """
    effects: list[tuple[State, Effect]] = []
    skipped = False
    for o in outs:
        content = o.contents[name]
        if content.token != begun.token:
            return None
        if content.effect is None:
            skipped = True
        else:
            effects.append((o, content.effect))
    if not effects:
        return None
    for low in dict.fromkeys(f.low for f in effects[0][1].may):
        found = _by_number(low, turn, effects)
        if found is None and not skipped:
            for before, after in rising:
                found = found or _by_rising(low, turn, effects, before, after)
        if found is not None:
            return found._replace(full=found.full and not skipped)
    return None


def _older(v: Value, than: Symbol) -> bool:
    return all(s.serial < than.serial for s in symbols(v))


def _by_number(low: Value, turn: Symbol, effects: list[tuple[State, Effect]]) -> Reach | None:
    if turn.high == 0:
        spans = [sub(f.high, low) for _, e in effects for f in e.may]
        stride = max((x for x in spans if isinstance(x, int)), default=-1) + 1
        if stride < 1 or not _older(low, turn):
            return None
    elif isinstance(low, Form):
        stride = next((c for s, c in low.terms if s is turn), 0)
    else:
        return None
    if stride < 1 or not _older(put(low, turn, 0), turn):
        return None
    top = add(low, stride - 1)
    for o, e in effects:
        if not all(o.proves(sub(f.low, low)) and o.proves(sub(top, f.high)) for f in e.may):
            return None
    full = all(any(_same(o, f.low, low) and _same(o, f.high, top) for f in e.must) for o, e in effects)
    return Reach(low, turn, stride, None, full)


def _by_rising(
    low: Value, turn: Symbol, effects: list[tuple[State, Effect]], before: Value, after: list[Value]
) -> Reach | None:
    offset = sub(low, before)
    if not _older(offset, turn):
        return None
    full = True
    for (o, e), then in zip(effects, after, strict=True):
        end = add(add(then, offset), -1)
        if not all(o.proves(sub(f.low, low)) and o.proves(sub(end, f.high)) for f in e.may):
            return None
        full = full and any(_same(o, f.low, low) and _same(o, f.high, end) for f in e.must)
    return Reach(offset, turn, 0, before, full)


def _same(o: State, a: Value, b: Value) -> bool:
    return o.interval(sub(a, b)) == (0, 0)
