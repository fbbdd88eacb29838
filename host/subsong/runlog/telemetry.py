"""Numbered telemetry of a task that runs on the board: holes, and snapshots put together to states."""

from typing import Any

from subsong.runlog.records import Event, Record, State
from subsong_device import frames

_HEAD, _MEM = frames.HEAD, frames.MEM  # the task's own block, a third region, is no part of a state


class Telemetry:
    """What a session's numbered frames say beyond steps and trials.

    Attributes:
        missing: frames that never came.
        done: False from RUN to T_DONE.
    """

    def __init__(self) -> None:
        self.missing = 0
        self.done = True
        self._next: int | None = None  # the number expected; None before OPEN
        self._bytes: dict[int, int] = {}  # size of each region, from OPEN
        self._trial: int | None = None  # of the snapshot under way
        self._parts: dict[tuple[int, int], bytes] = {}  # (region, offset) -> data

    def command(self, kind: int, fields: tuple[Any, ...]) -> None:
        """Take OPEN (a new session, numbers from 0, sizes of the regions) or RUN."""
        if kind == frames.OPEN:
            self._next, self.done = 0, True
            self._bytes = {_HEAD: 4 * fields[4], _MEM: 2 * fields[5]}
        elif fields[1]:
            self.done = False

    def number(self, number: int, before: int | None, after: int | None) -> list[Record]:
        """Take a frame's number, the trial heard of last and the frame's own trial; return an event for a hole."""
        expected, self._next = self._next, number + 1
        if expected is None or number <= expected:
            return []
        last = number - 1
        self.missing += number - expected
        which = f"Telemetry frame {expected} is" if last == expected else f"Telemetry frames {expected} to {last} are"
        since = "before the first trial" if before is None else f"after trial {before} was last heard of"
        until = "" if after is None else f" and before a frame of trial {after}"
        fields = {"first": expected, "last": last, "missing": number - expected, "trial": before, "next_trial": after}
        return [Event("hole", f"{which} missing, {since}{until}.", fields, derived=True)]

    def snapshot(self, trial: int, region: int, offset: int, count: int, data: bytes) -> list[Record]:
        """Take a part of a snapshot; return the state when it is the last part."""
        out: list[Record] = []
        if trial != self._trial:
            out += self._drop_snapshot()
            self._trial = trial
        if region not in {_HEAD, _MEM} or count > len(data):
            return out
        self._parts[region, offset] = data[:count]
        head, mem = self._region(_HEAD), self._region(_MEM)
        if head is not None and mem is not None:
            out.append(State(f"trial-{trial:06d}", head, mem, derived=True))
            self._trial = None
            self._parts.clear()
        return out

    def _region(self, region: int) -> bytes | None:
        """Return a region without gaps and of the stated size, or None."""
        at, joined = 0, bytearray()
        while (part := self._parts.get((region, at))) and at + len(part) <= self._bytes.get(region, 0):
            joined += part
            at += len(part)
        return bytes(joined) if self._bytes.get(region) == at else None

    def _drop_snapshot(self) -> list[Record]:
        if self._trial is None:
            return []
        trial = self._trial
        self._trial = None
        self._parts.clear()
        text = f"The snapshot after trial {trial} is incomplete: parts of it never came."
        return [Event("snapshot", text, {"trial": trial}, derived=True)]

    def finish(self) -> list[Record]:
        """Return what the end of the log says: a snapshot cut short, telemetry without its last frame."""
        out = self._drop_snapshot()
        if not self.done:
            out.append(
                Event("telemetry", "The board's telemetry ends without its last frame (T_DONE).", {}, derived=True)
            )
        return out
