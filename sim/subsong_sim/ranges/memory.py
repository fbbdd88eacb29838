"""Loads and stores of the range checker: what lies where, and what a word may hold."""

from subsong_sim.ranges.operators import signed
from subsong_sim.ranges.regions import Content, Region, fresh, store, word_at
from subsong_sim.ranges.state import State
from subsong_sim.ranges.values import (
    INT32_HIGH,
    INT32_LOW,
    WORD,
    Entry,
    Form,
    Interval,
    Loaded,
    Masked,
    Symbol,
    Value,
    hull,
    sub,
    unknown,
)

INT16 = (-0x8000, 0x7FFF)


class Memory:
    """The buffers that kernels work on.

    Args:
        widths: bits of a buffer's words, by its name.
        regions: words that are not told apart; all others named in the state's cells are.
        names: what a cell is called, for messages.
    """

    def __init__(self, widths: dict[str, int], regions: list[Region]) -> None:
        self.widths = widths
        self.regions = regions

    def anything(self, buffer: str) -> Value:
        """Return a word of which nothing is known."""
        return unknown(0, WORD) if self.widths[buffer] == 16 else unknown(INT32_LOW, INT32_HIGH)

    def find(self, state: State, buffer: str, at: Value) -> Region | str | None:
        """Return the region that an index lies in, None where it is cells that are told apart; or what is wrong."""
        low, high = state.interval(at)
        if (buffer, low) in state.cells and (low == high or self._all_cells(state, buffer, low, high)):
            return None
        own = [r for r in self.regions if r.buffer == buffer]
        for r in own:
            if r.start <= low and high < r.end:
                return r
        for r in own:
            if state.proves(sub(at, r.start)) and state.proves(sub(r.end - 1, at)):
                return r
        where = ", ".join(f"{r.name} {r.start}..{r.end - 1}" for r in own)
        span = str(low) if low == high else f"{low}..{high}"
        has = where or "single words only"
        return f"is element {span} of {buffer}, which has {has}: keep the index within one region"

    def _all_cells(self, state: State, buffer: str, low: int, high: int) -> bool:
        return high - low < 4096 and all((buffer, i) in state.cells for i in range(low, high + 1))

    def load(self, state: State, buffer: str, region: Region | None, at: Value) -> Value:
        """Return the word at an index that `find` found good."""
        if region is None:
            low, high = state.interval(at)
            if low == high:
                return state.known(state.cells[buffer, low])
            interval = state.interval(state.cells[buffer, low])
            for i in range(low + 1, high + 1):
                interval = hull(interval, state.interval(state.cells[buffer, i]))
            return unknown(*interval)
        if region.data is not None:
            low, high = state.reach(at)
            words = region.data[max(low - region.start, 0) : high - region.start + 1]
            entry = sub(at, region.start)
            return unknown(min(words), max(words), Entry(region.data, entry) if isinstance(entry, Form) else None)
        content = state.contents[region.name]
        low, high = word_at(state, content, at) if content.outside else content.interval()
        if content.bound is not None:
            # What no word's magnitude exceeds, as it is known by now.
            most = state.of(content.bound)[1]
            low, high = max(low, -most), min(high, most)
        if region.width == 32:
            symbol = Symbol(low, high, Loaded(region.name, at, content.version))
            state.loads = (*state.loads, symbol)
            return Form(0, ((symbol, 1),))
        word = unknown(low, high)
        return word if low >= 0 else unknown(0, WORD, Masked(word, WORD))

    def store(self, state: State, buffer: str, region: Region | None, at: Value, value: Value) -> str:
        """Write a word; return what is wrong with that, "" if nothing is."""
        interval, problem = state.reach(value), ""
        if self.widths[buffer] == 16:
            interval, problem = _as_word(state, value, interval)
        if region is None:
            low, high = state.interval(at)
            for i in range(low, high + 1):
                old = state.cells[buffer, i]
                state.cells[buffer, i] = value if low == high else unknown(*hull(interval, state.interval(old)))
        elif region.data is not None:
            return f"writes into {region.name}, which never changes"
        else:
            content: Content = state.contents[region.name]
            state.contents[region.name] = store(state, content, at, value, interval)
        return problem

    def declare(self, state: State, buffer: str, index: int, interval: Interval) -> None:
        """Say what a cell may hold."""
        state.cells[buffer, index] = unknown(*interval)

    def refresh(self, state: State, name: str, interval: Interval) -> None:
        """Let a region hold anything in an interval, from here on."""
        (region,) = (r for r in self.regions if r.name == name)
        state.contents[name] = fresh(region, interval)


def _as_word(state: State, value: Value, interval: Interval) -> tuple[Interval, str]:
    """Return the int16 that a stored word stands for, and what is wrong with the word."""
    low, high = interval
    if low < 0 or high > WORD:
        return INT16, f"is given {low}..{high}, which is no word of 16 bits: mask it with 0xFFFF"
    inside = signed(state, value)
    if inside is not None:
        return state.reach(inside), ""
    s = value.symbol if isinstance(value, Form) else None
    if s is not None and isinstance(s.origin, Masked) and s.origin.mask == WORD:
        low, high = state.reach(s.origin.form)
        if low < INT16[0] or high > WORD:
            return INT16, f"is given the low 16 bits of {low}..{high}: clip it to int16 first"
    return INT16, ""
