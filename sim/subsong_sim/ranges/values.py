"""Values of the range checker: an integer, or a linear form over symbols, each of which has an interval.

A linear form is an equality, so what two values have in common survives: r - ((r >> k) << k) is seen to be the
remainder that it is, and an offset keeps its distance from the counter that moves it.
"""

from collections.abc import Iterable
from itertools import count
from typing import NamedTuple

INT32_LOW, INT32_HIGH = -(2**31), 2**31 - 1
WORD = 0xFFFF

_serial = count()


class Shifted(NamedTuple):
    """The origin of a symbol that is form >> by, towards minus infinity."""

    form: "Form"
    by: int


class Masked(NamedTuple):
    """The origin of a symbol that is form & mask."""

    form: "Value"
    mask: int


class AtLeast(NamedTuple):
    """The origin of a symbol that is no smaller than any of these: a | b of two numbers that are not negative."""

    forms: tuple["Value", ...]


class Entry(NamedTuple):
    """The origin of a symbol that is an entry of a table: words that never change."""

    words: tuple[int, ...]
    at: "Form"


class Product(NamedTuple):
    """The origin of a symbol that is a product of `form`, which is not negative, and something within an interval."""

    form: "Value"
    low: int
    high: int


class Loaded(NamedTuple):
    """The origin of a symbol that was loaded from a region whose cells are not told apart."""

    region: str
    at: "Value"
    version: int


class Quotient(NamedTuple):
    """The origin of a symbol that is number >> by, for a number that is not negative and a `by` that is not known."""

    number: int
    by: "Form"


Origin = Quotient | Shifted | Masked | AtLeast | Entry | Product | Loaded | None


class Symbol:
    """An unknown integer, in low..high.

    Attributes:
        origin: how it came about, where that says more than its interval.
        shifted: the symbols of itself >> by.
    """

    __slots__ = ("high", "low", "origin", "serial", "shifted")

    def __init__(self, low: int, high: int, origin: Origin = None) -> None:
        self.low, self.high, self.origin = low, high, origin
        self.serial = next(_serial)
        self.shifted: dict[int, Symbol] = {}


class Form:
    """constant + the sum of factor * symbol; at least one symbol, in order of age, no factor 0."""

    __slots__ = ("_hash", "constant", "terms")

    def __init__(self, constant: int, terms: tuple[tuple[Symbol, int], ...]) -> None:
        self.constant, self.terms = constant, terms
        self._hash: int | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Form) and self.constant == other.constant and self.terms == other.terms

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash((self.constant, self.terms))
        return self._hash

    @property
    def symbol(self) -> Symbol | None:
        """The symbol, where the form is one and nothing else."""
        if self.constant == 0 and len(self.terms) == 1 and self.terms[0][1] == 1:
            return self.terms[0][0]
        return None


Value = int | Form
Interval = tuple[int, int]


def unknown(low: int, high: int, origin: Origin = None) -> Value:
    """Return a new symbol's value; an integer where the interval leaves no choice."""
    return low if low == high else Form(0, ((Symbol(low, high, origin), 1),))


def _form(constant: int, terms: Iterable[tuple[Symbol, int]]) -> Value:
    kept = tuple(term for term in terms if term[1])
    return Form(constant, kept) if kept else constant


def scale(a: Value, factor: int) -> Value:
    """Return a * factor."""
    if isinstance(a, int):
        return a * factor
    if factor == 1:
        return a
    return _form(a.constant * factor, ((s, c * factor) for s, c in a.terms))


def add(a: Value, b: Value, factor: int = 1) -> Value:
    """Return a + factor * b."""
    if isinstance(b, int):
        if isinstance(a, int):
            return a + factor * b
        return Form(a.constant + factor * b, a.terms)
    if isinstance(a, int):
        scaled = scale(b, factor)
        return a + scaled if isinstance(scaled, int) else Form(a + scaled.constant, scaled.terms)
    terms = dict(a.terms)
    for s, c in b.terms:
        terms[s] = terms.get(s, 0) + factor * c
    ordered = sorted(terms.items(), key=_age) if len(terms) > 1 else terms.items()
    return _form(a.constant + factor * b.constant, ordered)


def _age(term: tuple[Symbol, int]) -> int:
    return term[0].serial


def sub(a: Value, b: Value) -> Value:
    """Return a - b."""
    return add(a, b, -1)


def put(a: Value, symbol: Symbol, value: Value) -> Value:
    """Return a with a value in a symbol's place."""
    if isinstance(a, int):
        return a
    for s, c in a.terms:
        if s is symbol:
            rest = _form(a.constant, (term for term in a.terms if term[0] is not symbol))
            return add(rest, value, c)
    return a


def symbols(a: Value) -> tuple[Symbol, ...]:
    """Return the symbols of a value."""
    return () if isinstance(a, int) else tuple(s for s, _ in a.terms)


def hull(a: Interval, b: Interval) -> Interval:
    """Return the smallest interval that holds both."""
    return min(a[0], b[0]), max(a[1], b[1])


def meet(a: Interval, b: Interval) -> Interval:
    """Return what two intervals of the same thing have in common; the first, where that is nothing."""
    low, high = max(a[0], b[0]), min(a[1], b[1])
    return (low, high) if low <= high else a
