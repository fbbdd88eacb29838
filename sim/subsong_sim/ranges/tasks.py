"""What an on-board task's block may hold between two calls of its kernels: one row a kind, and what all kinds have.

A row says which words behind the header stay as the host wrote them, which change and are told apart, and which are
regions: words that change and are not told apart.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from subsong_device import layout
from subsong_device.task_check import TASK_KINDS
from subsong_sim.ranges.memory import INT16
from subsong_sim.ranges.regions import Region
from subsong_sim.ranges.values import WORD, Interval

WORDS = (0, WORD)


class Task:
    """A task's block.

    Args:
        words: 16-bit words, as the host builds them.
    """

    def __init__(self, words: tuple[int, ...]) -> None:
        self.words = words
        self.n_in, self.n_out = words[layout.TASK_INPUTS], words[layout.TASK_OUTPUTS]
        self.count = words[layout.TASK_COUNT]
        self.name = TASK_KINDS[words[layout.TASK_KIND]]
        self.kind = KINDS[self.name]

    @property
    def shape(self) -> str:
        """The task in words, for messages."""
        return f"task {self.name}, {self.n_in} inputs, {self.n_out} outputs, count {self.count}"

    def cells(self) -> dict[int, tuple[str, Interval]]:
        """Return name and interval of the words that change and are told apart, by index."""
        place = (0, max(self.count - 1, 0))
        header = {"TASK_NEXT": place, "TASK_START": place, "TASK_RESUME": place, "TASK_EVALUATING": (0, 1)}
        found = {getattr(layout, name): (name, interval) for name, interval in header.items()}
        return found | dict(self.kind.state(self))

    def regions(self) -> list[Region]:
        """Return the regions whose words are not told apart."""
        x, u = Region("x", "x", 0, self.n_in, 16, INT16), Region("u", "u", 0, self.n_out, 16, INT16)
        return [r for r in (*self.kind.regions(self), x, u) if r.start < r.end]

    def fixed(self, name: str, start: int, n: int) -> Region:
        """Return words of the block that never change, as a region."""
        return Region(name, "task", start, start + n, 16, INT16, self.words[start : start + n])


State = Iterator[tuple[int, tuple[str, Interval]]]


class Kind(NamedTuple):
    """What a kind of task keeps behind the header.

    Attributes:
        regions: returns its regions of the block.
        state: yields name and interval of its words that change and are told apart, by index.
    """

    regions: Callable[[Task], list[Region]]
    state: Callable[[Task], State] = lambda _task: iter(())


def _streams(_task: Task) -> State:
    for at in range(layout.TASK_STREAM, layout.TASK_OWN):
        yield at, ("TASK_STREAM", WORDS)


def _patterns(task: Task) -> list[Region]:
    return [task.fixed("patterns", layout.TASK_DATA, task.count * (task.n_in + task.n_out))]


def _extended(task: Task) -> list[Region]:
    return [task.fixed("steps", layout.EXTENDED_DATA, task.count * (task.n_in + task.n_out))]


def _letters(task: Task) -> list[Region]:
    return [task.fixed("letters", layout.LETTERS_DATA, 36)]


def _teacher(task: Task) -> list[Region]:
    targets = layout.TEACHER_DATA
    weights = targets + task.n_out
    return [
        Region("targets", "task", targets, weights, 16, INT16),
        task.fixed("teacher", weights, task.n_in * task.n_out),
    ]


def _teacher_state(task: Task) -> State:
    yield from _streams(task)
    for at in range(2):
        yield layout.TEACHER_NOISE + at, ("TEACHER_NOISE", WORDS)


def _lqr(task: Task) -> list[Region]:
    n = task.n_in
    matrix = layout.LQR_STATE + 2 * n
    return [
        Region("states", "task", layout.LQR_STATE, matrix, 16, INT16),
        task.fixed("matrix", matrix, n * n),
        Region("new states", "task", matrix + n * n, matrix + n * n + 2 * n, 16, INT16),
    ]


def _match_state(task: Task) -> State:
    yield from _streams(task)
    yield layout.MATCH_CUE, ("MATCH_CUE", (0, task.n_in - 1))
    yield layout.MATCH_PROBE, ("MATCH_PROBE", (0, task.n_in - 1))


def _match(_task: Task) -> list[Region]:
    return [Region("target", "task", layout.MATCH_TARGET, layout.MATCH_TARGET + 1, 16, INT16)]


def _sequence_state(task: Task) -> State:
    yield from _streams(task)
    yield layout.SEQUENCE_CHOICE, ("SEQUENCE_CHOICE", (0, task.n_in - 1))


def _sequence(task: Task) -> list[Region]:
    n = task.n_in * (task.count - task.words[layout.SEQUENCE_CUE_STEPS]) * task.n_out
    return [task.fixed("sequences", layout.SEQUENCE_DATA, n)]


def _song_state(task: Task) -> State:
    # Behind the last step nothing is sung any more.
    yield layout.TASK_NEXT, ("TASK_NEXT", (0, task.count))
    yield layout.SONG_RING, ("SONG_RING", (0, max(task.words[layout.SONG_DELAY] - 1, 0)))


def _song(task: Task) -> list[Region]:
    song = layout.SONG_TEMPLATE + task.count * task.n_out
    costs = song + task.n_out
    return [
        task.fixed("template", layout.SONG_TEMPLATE, task.count * task.n_out),
        Region("song", "task", song, costs, 16, INT16),
        Region("costs", "task", costs, costs + 2 * task.words[layout.SONG_DELAY], 16, INT16),
    ]


KINDS: Mapping[str, Kind] = {
    "patterns": Kind(_patterns),
    "linear_teacher": Kind(_teacher, _teacher_state),
    "letters": Kind(_letters),
    "extended": Kind(_extended),
    "lqr": Kind(_lqr, _streams),
    "delayed_match": Kind(_match, _match_state),
    "sequence": Kind(_sequence, _sequence_state),
    "song": Kind(_song, _song_state),
}
