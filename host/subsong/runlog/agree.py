"""Two accounts of one run, side by side: what the channels say, and what the raw frames say again.

Both are sequences of steps and ends of trials, in the order of the run. They are equal unless a record was altered,
so the walk compares JSON bytes, and looks for where both go on together only after a difference.
"""

import contextlib
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import NamedTuple

from subsong.runlog.codec import parse_ended, parse_event, parse_step, parse_timing
from subsong.runlog.container import EVENT, STEP, TIMING, TRIAL, Message
from subsong.runlog.finish import Encoder
from subsong.runlog.records import Disagreement, Event, Record, RunHeader, Step
from subsong.timing import Timing
from subsong_sim.learner import Ended

_AHEAD = 16  # records that the search looks ahead


class Settled(NamedTuple):
    """A record that both accounts have passed (the raw frames' where there is one), and how they differ."""

    record: Step | Ended | None
    disagreement: Disagreement | None


class _Logged(NamedTuple):
    record: Step | Ended | None  # None: cannot be read
    topic: str


class Agreement:
    """Pairs records of the raw frames with those of the channels, as both come in."""

    def __init__(self, header: RunHeader) -> None:
        self._encode = Encoder(header).encode
        self._header = header
        self._raw: deque[Step | Ended] = deque()
        self._logged: deque[_Logged] = deque()
        self._last: Step | Ended | None = None  # the last record settled
        self._events: Counter[tuple[str, int | None]] = Counter()  # the frames' less the channel's
        self._timings: Counter[Timing] = Counter()  # likewise

    def raw(self, records: Iterable[Record]) -> None:
        """Take what the next frame completes."""
        for record in records:
            if isinstance(record, Step | Ended):
                self._raw.append(record)
            elif isinstance(record, Event) and record.kind != "link":  # its counts change with every damaged frame
                self._events[record.text, record.fields.get("trial")] += 1
            elif isinstance(record, Timing):
                self._timings[record] += 1

    def logged(self, message: Message) -> None:
        """Take the next message of a decoded channel."""
        if message.topic == EVENT:
            with contextlib.suppress(ValueError):  # the reader of events tells of those that cannot be read
                event = parse_event(message.data)
                if event.derived and event.kind != "link":
                    self._events[event.text, event.fields.get("trial")] -= 1
        elif message.topic == TIMING:
            with contextlib.suppress(ValueError):  # the reader of timings tells of those that cannot be read
                timing = parse_timing(message.data)
                if timing.clock == "board":
                    self._timings[timing] -= 1
        elif message.topic in {STEP, TRIAL}:
            if self._raw and not self._logged and self._encode(self._raw[0]) == (message.topic, message.data):
                self._logged.append(_Logged(self._raw[0], message.topic))  # nearly always: no need to parse
            else:
                self._logged.append(_Logged(parse_message(message, self._header), message.topic))

    def settle(self) -> Iterator[Settled]:
        """Yield what can be told already."""
        yield from self._settle(_AHEAD)

    def finish(self) -> Iterator[Settled]:
        """Yield the rest at the end of the log, and then what the events have differently."""
        yield from self._settle(0)
        for (text, trial), count in self._events.items():
            if count > 0:
                yield Settled(None, Disagreement(trial, None, f"Not so when the log was closed: {text}"))
            elif count < 0:
                yield Settled(
                    None, Disagreement(trial, None, f"The raw frames do not show what channel /event says: {text}")
                )

        for timing, count in self._timings.items():
            if count:
                which = "the raw frames say so, and channel /timing does not"
                if count < 0:
                    which = "channel /timing says so, and no intact raw frames do"
                yield Settled(None, Disagreement(timing.trial, None, f"The timing of trial {timing.trial}: {which}."))

    def _settle(self, ahead: int) -> Iterator[Settled]:
        """Settle all but `ahead` records, which the search for agreement may need to see behind a difference."""
        raw, logged = self._raw, self._logged
        while raw or logged:
            if raw and logged and raw[0] == logged[0].record:
                logged.popleft()
                yield self._settled(raw.popleft(), None)
            elif ahead and (len(raw) <= ahead or len(logged) <= ahead):
                return
            else:
                yield from self._differ(*self._meet())

    def _meet(self) -> tuple[int, int]:
        """Return how many records to leave behind on either side until both agree again."""
        raw, logged = self._raw, self._logged
        for total in range(1, 2 * _AHEAD):
            for i in range(max(0, total - _AHEAD), min(total, _AHEAD) + 1):
                j = total - i
                if i < len(raw) and j < len(logged) and raw[i] == logged[j].record:
                    return i, j
        return min(1, len(raw)), min(1, len(logged))

    def _differ(self, n_raw: int, n_logged: int) -> Iterator[Settled]:
        raw, logged = self._raw, self._logged
        for _ in range(min(n_raw, n_logged)):
            record = raw.popleft()
            yield self._settled(record, _note(record, _difference(record, logged.popleft())))
        for _ in range(n_raw - n_logged):
            record = raw.popleft()
            yield self._settled(record, _note(record, f"the raw frames hold it, and channel {_topic(record)} does not"))
        for _ in range(n_logged - n_raw):
            entry = logged.popleft()
            what = "a record that cannot be read" if entry.record is None else "it"
            note = _note(entry.record, f"channel {entry.topic} has {what}, and no intact raw frames say so")
            yield self._settled(entry.record if self._fills_a_gap(entry.record) else None, note)

    def _settled(self, record: Step | Ended | None, note: Disagreement | None) -> Settled:
        self._last = record or self._last
        return Settled(record, note)

    def _fills_a_gap(self, record: Step | Ended | None) -> bool:
        """Tell whether a record that only the channel has comes next: the frames that said it are damaged since."""
        if record is None or any(_key(each) == _key(record) for each in islice(self._raw, _AHEAD)):
            return False
        trial, step = _key(record)
        last, at = _key(self._last) if self._last is not None else (None, None)
        if at is None:  # before everything, or behind the end of a trial
            return step == 0
        return trial == last and (step is None or step == at + 1)


def parse_message(message: Message, header: RunHeader) -> Step | Ended | None:
    """Read a message of /step or /trial; None where it cannot be read."""
    try:
        if message.topic == STEP:
            return parse_step(message.data, header.n_sensors, header.n_actuators)
        return parse_ended(message.data)
    except ValueError:
        return None


def _difference(raw: Step | Ended, entry: _Logged) -> str:
    logged = entry.record
    if logged is None:
        return f"its record in channel {entry.topic} cannot be read"
    if type(logged) is not type(raw):
        return f"channel {entry.topic} has {_name(logged)} in its place"
    return "; ".join(
        f"{name} is {ours} in the raw frames and {theirs} in channel {entry.topic}"
        for (name, ours), (_, theirs) in zip(_fields(raw), _fields(logged), strict=True)
        if ours != theirs
    )


def _fields(record: Step | Ended) -> Iterator[tuple[str, object]]:
    if isinstance(record, Step):
        words = (
            (f"{name} word {i}", word)
            for name, all_ in (("sensor", record.x), ("actuator", record.u))
            for i, word in enumerate(all_)
        )
        return chain((("trial", record.trial), ("step", record.step), ("cost", record.cost)), words)
    return chain(zip(record.summary._fields, record.summary, strict=True), [("last cost", record.last_cost)])


def _name(record: Step | Ended) -> str:
    trial, step = _key(record)
    return f"the end of trial {trial}" if step is None else f"step {step} of trial {trial}"


def _topic(record: Step | Ended) -> str:
    return "/step" if isinstance(record, Step) else "/trial"


def _key(record: Step | Ended) -> tuple[int, int | None]:
    """Return trial and step, or trial and None for its end."""
    return (record.trial, record.step) if isinstance(record, Step) else (record.summary.trial, None)


def _note(record: Step | Ended | None, text: str) -> Disagreement:
    if record is None:
        return Disagreement(None, None, f"{text[0].upper()}{text[1:]}.")
    name = _name(record)
    return Disagreement(*_key(record), f"{name[0].upper()}{name[1:]}: {text}.")
