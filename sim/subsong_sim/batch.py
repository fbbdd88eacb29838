"""Many runs in one compiled call: whole schedules side by side, in lanes of one register and on all cores.

Blocks of one rule and shape are interleaved in groups of a few runs, word i of all lanes side by side and 64-byte
aligned; subsong_sim.lanes compiles the kernels for such groups, and batch_loops has the schedule. Run k of a batch has
the words of the single run.
"""

import hashlib
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from types import ModuleType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from subsong_sim import loader
from subsong_sim.engines import ALIGNED, aligned_zeros

NEVER = -(2**63)  # PLAN's stop of a run that nothing stops

# How much of the schedule is done in one call: what is kept of it has some 30 MB then, and takes seconds.
MAX_ENDS = 1 << 20
END_WORDS = 6  # of what a trial leaves: STEPS, TOTAL, BASELINE, CHECK, SATURATED, last cost
MAX_WORDS = 1 << 34

PLAN = np.dtype(
    [(name, np.int64) for name in (
        "trials", "every", "episodes", "pair", "stop", "steps", "evaluate_steps",
    )]
)  # fmt: skip
"""What a run is to do.

trials, every, episodes: run.trials, evaluate_every and evaluate_episodes. pair: how many learning trials share a reset.
stop: an evaluation whose totals sum to at most this ends the run. steps: of a trial, at most. evaluate_steps: of a
task's evaluation. steps and evaluate_steps of a task are the same for all runs.
"""

COURSE = np.dtype(
    [(name, np.int64) for name in (
        "alive", "trials", "numbered", "steps", "saturated", "evaluations", "stopped", "failed", "failed_total",
        "sum", "broken", "broken_step",
    )] + [("reset", np.uint32)]
)  # fmt: skip
"""How far a run is.

trials: learning trials. numbered: trials, evaluations included; steps, saturated: theirs. evaluations: how many there
were. stopped: 1 once an evaluation was good enough. failed: number of the trial whose cost was clipped, failed_total
its cost; -1 where none was. sum: of the totals of the evaluation that is under way. broken: what was
not a number (plants.base.not_a_number), which ended the run at broken_step of its episode; 0: nothing. reset: of this
trial.
"""


class Code(Protocol):
    """Compiled kernels, as subsong_sim.lanes.compile_lanes returns them: lanes, and addresses of C functions."""

    lanes: int
    begin: int
    act: int
    end: int
    task_trials: int


def interleave(rows: NDArray[Any], lanes: int) -> NDArray[Any]:
    """Return runs' words in groups of lanes.

    Args:
        rows: [runs, words], any integers.
        lanes: runs side by side.

    Returns:
        [groups, words or more, lanes], each group 64-byte aligned; the last group's missing lanes hold the last run's
        words.
    """
    runs, words = rows.shape
    groups = -(-runs // lanes)
    made = _aligned(groups, words, lanes, rows.dtype)
    made[:, :words] = _filled(rows, groups * lanes).reshape(groups, lanes, words).transpose(0, 2, 1)
    return made


def rows_of(interleaved: NDArray[Any], runs: int, words: int) -> NDArray[Any]:
    """Return the words of each run, [runs, words]: what `interleave` was given."""
    groups, _, lanes = interleaved.shape
    return interleaved[:, :words].transpose(0, 2, 1).reshape(groups * lanes, words)[:runs]


def room_for(trials: int, groups: int, lanes: int) -> NDArray[np.int32]:
    """Return where trials leave what they leave, [groups, trials or a few more, END_WORDS, lanes], groups aligned."""
    at_once = ALIGNED // math.gcd(ALIGNED, END_WORDS * lanes * np.dtype(np.int32).itemsize)
    trials = -(-trials // at_once) * at_once
    return _aligned(groups, trials * END_WORDS, lanes, np.int32).reshape(groups, trials, END_WORDS, lanes)


def _filled(rows: NDArray[Any], n: int) -> NDArray[Any]:
    """Return n rows, the last one again and again."""
    return np.concatenate([rows, np.repeat(rows[-1:], n - len(rows), axis=0)])


def _aligned(groups: int, words: int, lanes: int, dtype: Any) -> NDArray[Any]:
    """Return zeros, [groups, words or more, lanes], contiguous, of which every group is 64-byte aligned."""
    size = np.dtype(dtype).itemsize
    at_once = ALIGNED // math.gcd(ALIGNED, lanes * size)
    words = -(-words // at_once) * at_once
    return aligned_zeros(groups * words * lanes, dtype).reshape(groups, words, lanes)


@dataclass
class Plants:
    """Each run's compiled plant, runs differing as they like.

    Attributes:
        plants: subsong_sim.plants.simulated.SimulatedPlant or subsong_sim.plants.cartpole.NumbaCartPole, one a run.
        tests: uint32[runs, episodes], reset seeds of an evaluation.
        seeds: returns uint32[last - first]: the reset seeds of a run's pairs `first` to `last` - 1.
    """

    plants: Sequence[Any]
    tests: NDArray[np.uint32]
    seeds: Callable[[int, int, int], NDArray[np.uint32]]

    def addresses(self) -> NDArray[np.int64]:
        """Return the addresses of each run's functions, int64[runs, 3]."""
        return np.array([plant.functions.addresses for plant in self.plants], np.int64)

    def settings(self) -> NDArray[np.float64]:
        """Return each run's settings, float64[runs, n], zeros behind those of plants that have fewer."""
        rows = np.zeros((len(self.plants), max(plant.settings.size for plant in self.plants)))
        for row, plant in zip(rows, self.plants, strict=True):
            row[: plant.settings.size] = plant.settings
        return rows

    def state_words(self) -> int:
        """Return the length of the longest state."""
        return max(int(plant.state_words) for plant in self.plants)


@dataclass
class Batch:
    """Runs of one rule and shape.

    Attributes:
        code: the kernels.
        heads: int32[runs, H].
        mems: uint16[runs, M].
        tasks: uint16[runs, T], or None where there are `plants`.
        ends: how many sensors and actuators there are.
        plan: PLAN[runs].
        plants: where there is no task.
        threads: at most; None: as many as Numba has.
        course: COURSE[runs], how far each run is.
        totals: int64[runs, evaluations], the sum of the totals of each evaluation's episodes.
    """

    code: Code
    heads: NDArray[np.int32]
    mems: NDArray[np.uint16]
    tasks: NDArray[np.uint16] | None
    ends: tuple[int, int]
    plan: NDArray[Any]
    plants: Plants | None = None
    threads: int | None = None
    course: NDArray[Any] = field(init=False)
    totals: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        tasks = np.zeros((self.runs, 0), np.uint16) if self.tasks is None else self.tasks
        self._blocks = [interleave(rows, self.code.lanes) for rows in (self.heads, self.mems, tasks)]
        groups = len(self._blocks[0])
        self._blocks += [_aligned(groups, n, self.code.lanes, np.uint16) for n in self.ends]
        self._blocks.append(_aligned(groups, END_WORDS, self.code.lanes, np.int32))
        self._course = np.zeros(groups * self.code.lanes, COURSE)
        self._course["failed"] = -1
        self._course["alive"][: self.runs] = 1
        own = [np.zeros((self.runs, 3), np.int64), np.zeros((self.runs, 1)), np.zeros((self.runs, 1))]
        if self.plants is not None:
            own = [self.plants.addresses(), self.plants.settings(), np.zeros((self.runs, self.plants.state_words()))]
        self._plants = [_filled(rows, groups * self.code.lanes) for rows in own]
        self._plan = _filled(self.plan, groups * self.code.lanes)
        every = np.where(self.plan["every"] > 0, self.plan["every"], self.plan["trials"])
        self._totals = np.zeros((groups * self.code.lanes, int((self.plan["trials"] // every).max()) + 1), np.int64)
        self.course, self.totals = self._course[: self.runs], self._totals[: self.runs]

    @property
    def runs(self) -> int:
        """How many runs there are."""
        return len(self.heads)

    def run(self, stretch: int | None = None) -> Iterator[NDArray[np.int32]]:
        """Run all schedules, some trials of every run in a call.

        Args:
            stretch: how many, an even number; as many as take seconds.

        Yields:
            int32[groups, lanes, trials, 6] of the learning trials of a call: STEPS, TOTAL, BASELINE, CHECK, SATURATED,
            last cost; run k is lane k % lanes of group k // lanes. Of a run that ended in it, those up to its end
            (`course`) are to be read, and of all before the next call, which writes there again.
        """
        longest = int(self.plan["trials"].max())
        stretch = min(stretch or self._stretch(), longest)
        groups, _, lanes = self._blocks[0].shape
        log = room_for(stretch, groups, lanes)
        for first in range(0, longest, stretch):
            if not self.course["alive"].any():
                return
            last = min(first + stretch, longest)
            self._call(first, last, log)
            yield log[:, : last - first].transpose(0, 3, 1, 2)

    def blocks(self) -> tuple[NDArray[np.int32], NDArray[np.uint16]]:
        """Return heads and mems as they are now, int32[runs, H] and uint16[runs, M]."""
        head, mem = self._blocks[:2]
        return rows_of(head, self.runs, self.heads.shape[1]), rows_of(mem, self.runs, self.mems.shape[1])

    def _stretch(self) -> int:
        words: int = self.runs * int(self.plan["steps"].max()) * (self.heads.shape[1] + self.mems.shape[1])
        return max(1, min(MAX_ENDS // self.runs, MAX_WORDS // words) // 2) * 2

    def _call(self, first: int, last: int, log: NDArray[np.int32]) -> None:
        seeds, tests = self._resets(first, last)
        code = (self.code.begin, self.code.act, self.code.end, self.code.task_trials)
        with _threads(self.threads):
            _loops().learn(
                code,
                *self._blocks,
                self._plan,
                self._course,
                *self._plants,
                seeds,
                tests,
                first,
                last,
                log,
                self._totals,
            )

    def _resets(self, first: int, last: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
        plants = self.plants
        if plants is None:
            nothing = np.zeros((len(self._course), 0), np.uint32)
            return nothing, nothing
        seeds = np.zeros((len(self._course), last - first), np.uint32)
        for run in np.flatnonzero(self.course["alive"]).tolist():
            pair = int(self.plan["pair"][run])
            part = plants.seeds(run, first // pair, -(-last // pair))
            seeds[run, : len(part)] = part
        return seeds, _filled(plants.tests, len(seeds))


@cache
def _loops() -> ModuleType:
    """Return batch_loops, kept under the hash of its text and of all that is compiled into it."""
    here = resources.files(__package__)
    linked = [here / "address.py", resources.files(loader.PACKAGE) / "layout.py"]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in linked)).hexdigest()
    text = (here / "batch_loops.py").read_text(encoding="utf-8")
    return loader.import_text("batch_loops", f"{text}\n# linked: {digest}\n")


_one_at_a_time = threading.Lock()  # Numba's own thread pool takes one caller


@contextmanager
def _threads(n: int | None) -> Iterator[None]:
    """Have at most n threads, all of Numba's for None, while this lasts."""
    import numba

    config: Any = numba.config
    with _one_at_a_time:
        if config.THREADING_LAYER == "default":
            # The one layer that is there wherever Numba is, and works in a process that was forked.
            config.THREADING_LAYER = "workqueue"
        before = numba.get_num_threads()
        numba.set_num_threads(min(n or before, config.NUMBA_NUM_THREADS))
        try:
            yield
        finally:
            numba.set_num_threads(before)
