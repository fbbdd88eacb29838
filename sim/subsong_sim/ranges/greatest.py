"""A loop that looks at every word of a region and keeps what no magnitude exceeds: the greatest, or the or of all."""

from subsong_sim.ranges.footprints import reach_of
from subsong_sim.ranges.guess import Guess, Head, read
from subsong_sim.ranges.regions import Content, Effect, Footprint, covers, sequence
from subsong_sim.ranges.state import State
from subsong_sim.ranges.values import Form, Loaded, Symbol, Value, add, sub


def greatest(guess: Guess, head: Head, outs: list[State], after: State, content: Content, n: Value) -> Symbol | None:
    """Return what no word's magnitude in a region exceeds after a loop; None where the loop is not of that kind.

    The word that a turn looks at is any word, so what the turn proves of it is true of all that the turns look at.

    Args:
        guess: confirmed.
        head: any turn's beginning.
        outs: its ends.
        after: the state after the loop, whose variables are returned.
        content: the region, which no turn writes to.
        n: how many turns.
    """
    if content.region.width != 32 or after.interval(n)[0] <= 0 or not outs or not all(o.loads for o in outs):
        return None
    for variable, before in head.values.items():
        value = read(after, variable)
        if guess.kinds[variable].step is not None or not isinstance(value, Form) or value.symbol is None:
            continue
        if all(_grows(o, read(o, variable), before) for o in outs) and _all_read(head, outs, content, n):
            return value.symbol
    return None


def _grows(o: State, after: Value, before: Value) -> bool:
    loads = [Form(0, ((s, 1),)) for s in o.loads]
    return o.proves(sub(after, before)) and all(o.proves(sub(after, x)) and o.proves(add(after, x)) for x in loads)


def _all_read(head: Head, outs: list[State], content: Content, n: Value) -> bool:
    """Tell whether the turns have read every word of a region."""
    name, begun = content.region.name, head.state.contents[content.region.name]
    seen: list[State] = []
    for o in outs:
        t = o.copy()
        places = [s.origin for s in o.loads if isinstance(s.origin, Loaded)]
        here = [Footprint(p.at, p.at) for p in places if p.region == name]
        if not here:
            return False
        effect: Effect | None = None
        for f in here:
            effect = sequence(t, effect, Effect(None, (0, 0), (f,), (f,), (0, 0)), content.region)
        t.contents[name] = begun._replace(effect=effect)
        seen.append(t)
    where = reach_of(name, head.turn, seen, begun, [])
    return where is not None and covers(where.total(0, n, True)[1], content.region)
