"""What a person sees while something takes long, and the last screen.

Progress goes to stderr, results to stdout: a pipe gets results alone. rich is imported only for a terminal.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress as RichBars

_REDRAW_S = 0.1
_SPARKS = "▁▂▃▄▅▆▇█"


class Progress(Protocol):
    """How whatever takes long says how far it is. Stages follow one another: `start` ends the stage before."""

    def start(self, label: str, total: int | None = None) -> None:
        """Begin a stage of `total` units; None where nobody knows."""
        ...

    def advance(self, n: int = 1) -> None:
        """Report `n` more units done."""
        ...

    def note(self, text: str) -> None:
        """Say one line that stays on the screen."""
        ...

    def finish(self) -> None:
        """End the last stage. A second call changes nothing."""
        ...


class SilentProgress:
    """Says nothing: `--json`, `--quiet`, tests."""

    def start(self, label: str, total: int | None = None) -> None:
        """Do nothing."""

    def advance(self, n: int = 1) -> None:
        """Do nothing."""

    def note(self, text: str) -> None:
        """Do nothing."""

    def finish(self) -> None:
        """Do nothing."""


class PlainProgress:
    """One line when a stage that counts has ended, for logs and pipes."""

    def __init__(self) -> None:
        self._label: str | None = None
        self._done, self._since = 0, 0.0

    def start(self, label: str, total: int | None = None) -> None:  # noqa: ARG002 - a finished stage is told by what it did
        """Begin a stage."""
        self.finish()
        self._label, self._done, self._since = label, 0, time.monotonic()

    def advance(self, n: int = 1) -> None:
        """Count."""
        self._done += n

    def note(self, text: str) -> None:
        """Print the line."""
        complain(text)

    def finish(self) -> None:
        """Print the stage's line, unless nothing was done: an error says more."""
        if self._label is not None and self._done:
            complain(f"{self._label}: {self._done} in {time.monotonic() - self._since:.1f} s")
        self._label = None


class BarProgress:
    """Bars on a terminal."""

    def __init__(self) -> None:
        self._bars: RichBars | None = None
        self._pending, self._drawn = 0, 0.0

    def start(self, label: str, total: int | None = None) -> None:
        """Begin a stage with a bar of its own."""
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self.finish()
        columns = [MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(compact=True)]
        text = TextColumn("{task.description:<24}", markup=False)
        self._bars = Progress(text, BarColumn(), *columns, console=Console(stderr=True))
        self._bars.add_task(plain(label), total=total)
        self._bars.start()

    def advance(self, n: int = 1) -> None:
        """Move the bar; the screen follows at most ten times a second, since this may be called for every step."""
        self._pending += n
        now = time.monotonic()
        if now - self._drawn >= _REDRAW_S:
            self._drawn = now
            self._flush()

    def note(self, text: str) -> None:
        """Print the line above the bar."""
        if self._bars is None:
            complain(text)
        else:
            self._bars.console.print(plain(text), markup=False, highlight=False)

    def finish(self) -> None:
        """Leave the bar on the screen as it stands, and give the cursor back."""
        if self._bars is not None:
            self._flush()
            self._bars.stop()
            self._bars = None

    def _flush(self) -> None:
        if self._bars is not None:
            self._bars.advance(self._bars.task_ids[0], self._pending)
            self._pending = 0


@contextmanager
def progress(quiet: bool = False) -> Iterator[Progress]:
    """Yield the progress that suits stderr, and finish it on every way out.

    Args:
        quiet: say nothing at all.
    """
    chosen: Progress = SilentProgress() if quiet else BarProgress() if sys.stderr.isatty() else PlainProgress()
    try:
        yield chosen
    finally:
        chosen.finish()


def plain(text: str) -> str:
    """Return text with what would command a terminal, or disguise what stands beside it, shown as its code point.

    A board, a log or a USB device may call itself anything: what they say is printed, and never obeyed.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\u{ord(c):04x}" for c in text.replace("\r\n", "\n"))


def complain(text: str) -> None:
    """Print one line to stderr, after the program's name."""
    sys.stderr.write(f"subsong: {plain(text)}\n")
    sys.stderr.flush()


def last_screen(title: str, rows: Sequence[tuple[str, str]], then: str = "") -> None:
    """Print what happened: a title, aligned rows, and what one might do next.

    Args:
        title: one line.
        rows: name and value; a row without a value is left out.
        then: a command to try next.
    """
    rows = [(name, value) for name, value in rows if value]
    width = max((len(name) for name, _ in rows), default=0)
    lines = [title, *(f"  {name:<{width}}  {value}" for name, value in rows)]
    show([*lines, "", f"  next: {then}"] if then else lines)


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under headers, columns aligned."""
    cells = [list(headers), *(list(row) for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(headers))]
    show(["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells])


def show(lines: Sequence[str]) -> None:
    """Print results to stdout, in whatever encoding it has."""
    text = plain("\n".join(lines)) + "\n"
    encoding = sys.stdout.encoding or "ascii"
    sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
    sys.stdout.flush()


def sparkline(values: Sequence[float], width: int = 40) -> str:
    """Draw a curve in one line of text; "" for fewer than two values."""
    if len(values) < 2:
        return ""
    edges = [i * len(values) // min(width, len(values)) for i in range(min(width, len(values)) + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, high = min(means), max(means)
    if low == high:
        return _SPARKS[0] * len(means)
    return "".join(_SPARKS[round((mean - low) / (high - low) * (len(_SPARKS) - 1))] for mean in means)
