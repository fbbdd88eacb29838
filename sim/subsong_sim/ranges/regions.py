"""Memory of the range checker: regions of words that are not told apart, and what a piece of program does to them."""

from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from subsong_sim.ranges.values import Form, Interval, Loaded, Symbol, Value, add, hull, meet, sub

if TYPE_CHECKING:
    from subsong_sim.ranges.state import State

_versions = count(1)
ANY = (-0x8000, 0x7FFF)  # a word of 16 bits of which nothing is known
FOOTPRINTS = 8  # kept apart at most
OUTSIDE = 4  # of these at most


class Region(NamedTuple):
    """Words start..end - 1 of a buffer.

    Attributes:
        width: 16 or 32 bits.
        declared: the interval of every word between trials; signed, for words of 16 bits too.
        data: the words themselves, where they never change; the region is then read, never written.
    """

    name: str
    buffer: str
    start: int
    end: int
    width: int
    declared: Interval
    data: tuple[int, ...] | None = None

    @property
    def told(self) -> bool:
        """Whether words written lately are told from the others: to save time, not where all may hold anything."""
        return self.width == 32 or self.declared != ANY


class Footprint(NamedTuple):
    """Words low..high of a region, both included."""

    low: Value
    high: Value


class Effect(NamedTuple):
    """What a piece of program did to a region since it began.

    Attributes:
        added: what it added to words that it only added to; None: none such.
        written: what it wrote into the others; None: none such.
        may: where it wrote, at most.
        must: where it wrote whatever happened.
        left: an interval of all words where it wrote, as they were known when they were written.
    """

    added: Interval | None
    written: Interval | None
    may: tuple[Footprint, ...]
    must: tuple[Footprint, ...]
    left: Interval


Outside = tuple[tuple[Interval, tuple[Footprint, ...]], ...]


class Content(NamedTuple):
    """What the words of a region hold.

    Attributes:
        region: which.
        base: an interval of every word when the present piece of program began.
        effect: what has been done since, None for nothing.
        bound: no word's magnitude exceeds this symbol's value.
        version: another after every write.
        token: names the beginning of the piece.
        outside: intervals of the words outside some footprints: of those that nothing has written lately.
    """

    region: Region
    base: Interval
    effect: Effect | None = None
    bound: Symbol | None = None
    version: int = 0
    token: int = 0
    outside: "Outside" = ()

    def interval(self) -> Interval:
        """Return an interval of every word now."""
        low, high = applied(self.base, self.effect, self.region)
        for interval, written in self.outside:
            if not written:
                low, high = meet((low, high), interval)
        return low, high


def fresh(region: Region, base: Interval, bound: Symbol | None = None) -> Content:
    """Return the content at the beginning of a piece of program."""
    return Content(region, base, None, bound, next(_versions), next(_versions))


def applied(base: Interval, effect: Effect | None, region: Region) -> Interval:
    """Return an interval of every word of a region after an effect."""
    if effect is None:
        return base
    added = None if effect.added is None else _sum(base, effect.added)
    wrote = _hull(added, effect.written)
    touched = effect.left if wrote is None else meet(wrote, effect.left)
    return touched if covers(effect.must, region) else hull(base, touched)


def covers(must: tuple[Footprint, ...], region: Region) -> bool:
    """Tell whether footprints cover a whole region."""
    return any(
        isinstance(f.low, int) and isinstance(f.high, int) and f.low <= region.start and f.high >= region.end - 1
        for f in must
    )


def word_at(state: "State", content: Content, at: Value) -> Interval:
    """Return an interval of one word now: closer than that of all, where it is known not to have been written."""
    low, high = content.interval()
    here = Footprint(at, at)
    for interval, written in content.outside:
        if all(_apart(state, here, f) for f in written):
            low, high = max(low, interval[0]), min(high, interval[1])
    return low, high


def outside_of(state: "State", content: Content, done: tuple[Footprint, ...], left: Interval | None = None) -> Outside:
    """Return what is known of the words that nothing has written, after something has written into `done`.

    Args:
        state: where.
        content: before.
        done: where something may have written.
        left: what it left in these words, if it wrote all of them; None: perhaps not all.
    """
    if not done or not content.region.told:
        return content.outside
    found: list[tuple[Interval, tuple[Footprint, ...]]] = []
    for interval, written in content.outside:
        if left is not None and written and all(f in done for f in written):
            # Both those outside and those within are known.
            found.append((hull(interval, left), ()))
        else:
            found.append((interval, united(state, written, done, False)))
    found = [(interval, written) for interval, written in found if not covers(written, content.region)]
    if not covers(done, content.region) and all(written != done for _, written in found):
        found.append((content.interval(), done))
    return tuple(found[:OUTSIDE])  # the oldest are the closest


def _apart(state: "State", a: Footprint, b: Footprint) -> bool:
    return state.proves(add(sub(b.low, a.high), -1)) or state.proves(add(sub(a.low, b.high), -1))


def united(state: "State", a: tuple[Footprint, ...], b: tuple[Footprint, ...], exact: bool) -> tuple[Footprint, ...]:
    """Return footprints that cover both, neighbours made one.

    Args:
        state: where they are known.
        a: some.
        b: more.
        exact: cover nothing else.
    """
    found = list(a)
    for f in b:
        for i, g in enumerate(found):
            if sub(f.low, g.high) == 1:
                found[i] = Footprint(g.low, f.high)
                break
            if sub(g.low, f.high) == 1:
                found[i] = Footprint(f.low, g.high)
                break
            if state.proves(sub(f.low, g.low)) and state.proves(sub(g.high, f.high)):
                break
        else:
            found.append(f)
    if len(found) <= FOOTPRINTS:
        return tuple(found)
    if exact:
        return tuple(found[-FOOTPRINTS:])
    low = min(state.interval(f.low)[0] for f in found)
    high = max(state.interval(f.high)[1] for f in found)
    return (Footprint(low, high),)


def sequence(state: "State", a: Effect | None, b: Effect, region: Region) -> Effect:
    """Return the effect of a, then b."""
    if a is None:
        return b
    if b.added is None and covers(b.must, region):
        return b
    apart = all(_apart(state, f, g) for f in a.may for g in b.may)
    # Where a left no word as it was, none is there that only b added to.
    alone = None if covers(a.must, region) else b.added
    added, written = _hull(a.added, alone), _hull(a.written, b.written)
    if not apart:
        if a.added is not None and b.added is not None:
            added = _hull(added, _sum(a.added, b.added))
        if a.written is not None and b.added is not None:
            written = _hull(written, _sum(a.written, b.added))
    left = hull(a.left, b.left)
    written = None if written is None else meet(written, left)
    return Effect(added, written, united(state, a.may, b.may, False), united(state, a.must, b.must, True), left)


def _sum(a: Interval, b: Interval) -> Interval:
    return a[0] + b[0], a[1] + b[1]


def _hull(a: Interval | None, b: Interval | None) -> Interval | None:
    if a is None or b is None:
        return b if a is None else a
    return hull(a, b)


def join_contents(a: Content, in_a: "State", b: Content, in_b: "State") -> Content:
    """Return what is true of a region in both states."""
    bound = a.bound
    if a.bound is not b.bound:
        bound = None if a.bound is None or b.bound is None else Symbol(*hull(in_a.of(a.bound), in_b.of(b.bound)))
    if a.token != b.token:
        return fresh(a.region, hull(a.interval(), b.interval()), bound)
    version = a.version if a.version == b.version else next(_versions)
    x, y = a.effect, b.effect
    if x is None or y is None:
        some, here, there = (y, in_b, in_a) if x is None else (x, in_a, in_b)
        effect = None if some is None else some._replace(may=_there(some.may, (), here, there), must=())
    else:
        may = united(in_a, _there(x.may, y.may, in_a, in_b), _there(y.may, x.may, in_b, in_a), False)
        must = tuple(f for f in x.must if f in y.must)
        effect = Effect(_hull(x.added, y.added), _hull(x.written, y.written), may, must, hull(x.left, y.left))
    outside = tuple(each for each in a.outside if each in b.outside)
    for own, here, other, there in ((a, in_a, b, in_b), (b, in_b, a, in_a)):
        apart = [_outside_too(each, here, other, there) for each in own.outside if each not in outside]
        outside += tuple(each for each in apart if each)
    return Content(a.region, hull(a.base, b.base), effect, bound, version, a.token, outside)


def _there(
    own: tuple[Footprint, ...], others: tuple[Footprint, ...], here: "State", there: "State"
) -> tuple[Footprint, ...]:
    """Return where one of two joined ways may have written, for both: numbers, where only one knows the bounds."""
    found = []
    for f in own:
        low, high = here.interval(f.low)[0], here.interval(f.high)[1]
        if f not in others and (there.interval(f.low)[0] < low or there.interval(f.high)[1] > high):
            found.append(Footprint(low, high))
        else:
            found.append(f)
    return tuple(found)


def _outside_too(
    known: tuple[Interval, tuple[Footprint, ...]], here: "State", other: Content, there: "State"
) -> tuple[Interval, tuple[Footprint, ...]] | None:
    """Return what is known of words outside footprints, as far as it is true of another content, too."""
    (low, high), written = known
    a, b = other.interval()
    if low <= a and b <= high:
        # It is true of all words there: only what was written here matters.
        return (low, high), _there(written, (), here, there)
    same = any(low <= a and b <= high and set(w) <= set(written) for (a, b), w in other.outside)
    return known if same else None


def store(state: "State", content: Content, at: Value, value: Value, interval: Interval) -> Content:
    """Return the content after a word was written.

    Args:
        state: where.
        content: before.
        at: the index.
        value: what was written: old word + something is told from a new word.
        interval: of the word, signed.
    """
    here = (Footprint(at, at),)
    effect = Effect(None, interval, here, here, interval)
    if isinstance(value, Form):
        for s, c in value.terms:
            origin = s.origin
            if c == 1 and isinstance(origin, Loaded) and origin.version == content.version:
                if origin.region == content.region.name and state.interval(sub(origin.at, at)) == (0, 0):
                    effect = Effect(state.tight(sub(value, Form(0, ((s, 1),)))), None, here, here, interval)
    whole = sequence(state, content.effect, effect, content.region)
    outside = outside_of(state, content, here, interval)
    return content._replace(effect=whole, bound=None, version=next(_versions), outside=outside)
