"""What an operator of the dialect makes of two values."""

import ast
from collections.abc import Callable

from subsong_sim.ranges.state import State
from subsong_sim.ranges.values import (
    WORD,
    AtLeast,
    Form,
    Interval,
    Masked,
    Product,
    Quotient,
    Shifted,
    Symbol,
    Value,
    add,
    meet,
    scale,
    sub,
    unknown,
)

SIGN = 0x8000
CASES = 64  # told apart at most


def operate(state: State, operator: ast.operator, a: Value, b: Value) -> tuple[Value, Interval]:
    """Return a value of `a operator b`, unbounded, and an interval of it; shift amounts are in 0..31."""
    value = _OPERATIONS[type(operator)](state, a, b)
    low, high = state.interval(value)
    if isinstance(value, Form) and len(value.terms) > 1:
        tight = _by_cases(state, value, state.tight(value))
        if tight != (low, high):
            # What is known of the sum and not of its parts would be forgotten with the form.
            return unknown(*tight), tight
    return value, (low, high)


def _by_cases(state: State, v: Form, interval: Interval) -> Interval:
    """Return an interval of a sum in which a number stands beside a quotient of itself that was shifted twice.

    One shift can be put back exactly (State.tight), two cannot; but a quotient that is one of a few numbers says, for
    each of them, where the number is.
    """
    for s, _ in v.terms:
        low, high = state.of(s)
        if not 0 < high - low < CASES or not isinstance(s.origin, Shifted):
            continue
        inner = [t.origin.form for t, _ in s.origin.form.terms if isinstance(t.origin, Shifted)]
        if not any(r is q for form in inner for r, _ in form.terms for q, _ in v.terms):
            continue
        found: list[Interval] = []
        for x in range(low, high + 1):
            one = state.copy()
            if one.assume(Form(-x, ((s, 1),))) and one.assume(Form(x, ((s, -1),))):
                found.append(one.interval(v))
        if found:
            return max(interval[0], min(a for a, _ in found)), min(interval[1], max(b for _, b in found))
    return interval


def _add(_state: State, a: Value, b: Value) -> Value:
    return add(a, b)


def _sub(_state: State, a: Value, b: Value) -> Value:
    return sub(a, b)


def _interval(state: State, v: Value) -> Interval:
    """Return the interval of an operand; of a sum, as the facts have it, too."""
    return state.reach(v) if isinstance(v, Form) and len(v.terms) > 1 else state.interval(v)


def _corners(values: list[int]) -> Interval:
    return min(values), max(values)


def _multiply(state: State, a: Value, b: Value) -> Value:
    if isinstance(a, int):
        a, b = b, a
    if isinstance(b, int):
        if isinstance(a, Form) and len(a.terms) > 1:
            known = _interval(state, a)
            if known != state.interval(a):
                a = unknown(*known)
        return scale(a, b)
    p, q = _interval(state, a), _interval(state, b)
    low, high = _corners([x * y for x in p for y in q])
    if a == b:
        low = 0 if p[0] <= 0 <= p[1] else min(p[0] ** 2, p[1] ** 2)
    if p[0] >= 0:
        return unknown(low, high, Product(a, *q))
    return unknown(low, high, Product(b, *p) if q[0] >= 0 else None)


def _shift_left(state: State, a: Value, b: Value) -> Value:
    if isinstance(b, int):
        return scale(a, 1 << b)
    by, known = _interval(state, b), _interval(state, a)
    low, high = _corners([x << s for x in known for s in by])
    for most in _quotients(state, a, b):
        # What is no larger than number >> b is no larger than the number after << b.
        own = Form(0, ((most, 1),))
        assert isinstance(most.origin, Quotient)
        if state.proves(sub(own, a)):
            high = min(high, most.origin.number)
        if state.proves(add(own, a)):
            low = max(low, -most.origin.number)
    return unknown(low, high)


def _quotients(state: State, a: Value, b: Value) -> list[Symbol]:
    """Return what is known of a value in terms of a number shifted to the right by b."""
    if not isinstance(a, Form):
        return []
    near = [s for q, _ in a.terms for f in state.by_symbol.get(q, ()) for s, _ in f.terms]
    near += [s for s, _ in a.terms]
    return [s for s in dict.fromkeys(near) if isinstance(s.origin, Quotient) and s.origin.by == b]


def _shifted_again(state: State, a: Form, own: Symbol, b: int, interval: Interval) -> Value:
    """Return a symbol shifted to the right: the same one every time."""
    symbol = own.shifted.get(b)
    if symbol is None:
        symbol = own.shifted[b] = Symbol(own.low >> b, own.high >> b, Shifted(a, b))
    low, high = meet(state.of(symbol), interval)
    if (low, high) != (symbol.low, symbol.high):
        state.bounds[symbol] = low, high
    return Form(0, ((symbol, 1),))


def _shift_right(state: State, a: Value, b: Value) -> Value:
    if isinstance(a, int) and isinstance(b, int):
        return a >> b
    if isinstance(b, int) and isinstance(a, Form):
        if b == 0:
            return a
        whole = (1 << b) - 1
        if not a.constant & whole and not any(c & whole for _, c in a.terms):
            return Form(a.constant >> b, tuple((s, c >> b) for s, c in a.terms))
        low, high = _interval(state, a)
        if a.symbol is not None and low >> b < high >> b:
            return _shifted_again(state, a, a.symbol, b, (low >> b, high >> b))
        return unknown(low >> b, high >> b, Shifted(a, b))
    by = _interval(state, b)
    origin = Quotient(a, b) if isinstance(a, int) and a >= 0 and isinstance(b, Form) else None
    return unknown(*_corners([x >> s for x in _interval(state, a) for s in by]), origin)


def _bits(*intervals: Interval) -> int:
    """Return how many bits hold every number of these intervals, sign apart."""
    return max((x if x >= 0 else ~x).bit_length() for interval in intervals for x in interval)


def _and(state: State, a: Value, b: Value) -> Value:
    if isinstance(a, int) and isinstance(b, int):
        return a & b
    if isinstance(a, int):
        a, b = b, a
    p, q = _interval(state, a), _interval(state, b)
    if isinstance(b, int) and b >= 0:
        if (b & (b + 1)) == 0:
            if p[0] >= 0 and p[1] <= b:
                return a
            if isinstance(a, Form) and not any(c & b for _, c in a.terms):
                return a.constant & b
            # Within one stretch of b + 1 the mask takes away a constant.
            if p[0] // (b + 1) == p[1] // (b + 1):
                return add(a, -(p[0] // (b + 1)) * (b + 1))
        return unknown(0, min(b, p[1]) if p[0] >= 0 else b, Masked(a, b))
    if p[0] >= 0 and q[0] >= 0:
        return unknown(0, min(p[1], q[1]))
    if p[0] >= 0 or q[0] >= 0:
        return unknown(0, p[1] if p[0] >= 0 else q[1])
    return unknown(-(1 << _bits(p, q)), (1 << _bits(p, q)) - 1)


def _or(state: State, a: Value, b: Value) -> Value:
    if isinstance(a, int) and isinstance(b, int):
        return a | b
    p, q = _interval(state, a), _interval(state, b)
    top = 1 << _bits(p, q)
    if p[0] >= 0 and q[0] >= 0:
        return unknown(max(p[0], q[0]), top - 1, AtLeast((a, b)))
    if p[1] < 0 or q[1] < 0:
        return unknown(-top, -1)
    return unknown(-top, top - 1)


def _xor(state: State, a: Value, b: Value) -> Value:
    if isinstance(a, int) and isinstance(b, int):
        return a ^ b
    if isinstance(a, int):
        a, b = b, a
    p, q = _interval(state, a), _interval(state, b)
    top = 1 << _bits(p, q)
    if b == SIGN:
        # The first half of (v ^ 0x8000) - 0x8000, which makes an int16 of a word.
        inside = signed(state, a)
        if inside is not None:
            return add(inside, SIGN)
    if b in (0, -1):
        return a if b == 0 else sub(-1, a)
    for x, y in ((a, b), (b, a)):
        if _sign_of(state, y) == x:
            # x where it is not negative, ~x where it is.
            low, high = _interval(state, x)
            return unknown(0, max(high, ~low), AtLeast((x, sub(-1, x))))
    if p[0] >= 0 and q[0] >= 0:
        return unknown(0, top - 1)
    return unknown(-top, top - 1)


def _sign_of(state: State, v: Value) -> Value | None:
    """Return what v is the sign of, -1 or 0; None where it is no sign."""
    s = v.symbol if isinstance(v, Form) else None
    if s is not None and isinstance(s.origin, Shifted) and _interval(state, v) == (-1, 0):
        return s.origin.form
    return None


def signed(state: State, word: Value) -> Value | None:
    """Return the int16 that a word 0..65535 stands for; None where it is not known as one value."""
    low, high = state.interval(word)
    if low >= 0 and high < SIGN:
        return word
    if low >= SIGN and high <= WORD:
        return add(word, -WORD - 1)
    s = word.symbol if isinstance(word, Form) else None
    if s is not None and isinstance(s.origin, Masked) and s.origin.mask == WORD:
        low, high = state.reach(s.origin.form)
        if low >= -SIGN and high < SIGN:
            return s.origin.form
    return None


_OPERATIONS: dict[type[ast.operator], Callable[[State, Value, Value], Value]] = {
    ast.Add: _add,
    ast.Sub: _sub,
    ast.Mult: _multiply,
    ast.LShift: _shift_left,
    ast.RShift: _shift_right,
    ast.BitAnd: _and,
    ast.BitOr: _or,
    ast.BitXor: _xor,
}
