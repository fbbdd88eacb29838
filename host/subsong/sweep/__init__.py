"""One experiment under many settings and seeds: on every core, on a cluster, or led by a search.

    grid        what varies, and the experiment under each setting
    work        the unit of work: a setting under a few seeds
    workers     who does it: this process, processes of this machine, a Dask cluster
    table       one SQLite file, one row a run; what is there is never computed again
    summary     what a setting's runs came to
    search      Optuna, where a grid would be too large
    figure      a picture of it all

docs/sweep.md explains it.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from subsong.batch import require_cuda
from subsong.console import Progress, SilentProgress
from subsong.errors import ExperimentError
from subsong.experiment import from_tables
from subsong.sweep.grid import Setting, Vary, grid, parse_varied, setting_of
from subsong.sweep.search import need_optuna, open_study, search
from subsong.sweep.summary import Summary, score, summarise
from subsong.sweep.table import Table
from subsong.sweep.work import check_plants, chunks
from subsong.sweep.workers import Workers, workers

__all__ = ["Outcome", "Plan", "open_study", "sweep"]


@dataclass(frozen=True)
class Plan:
    """What a sweep shall do.

    Attributes:
        tables: the experiment file's.
        where: what to call it in messages.
        vary: KEY=VALUES, as the command line has them.
        seeds: how many runs a setting has, one or more; their seeds begin with the experiment's.
        mismatch: learn on the plant that a board would meet.
        tries: of a search; None: every combination.
        cuda: learn on an NVIDIA GPU; the runs are the same.
    """

    tables: Mapping[str, Any]
    where: str
    vary: Sequence[str]
    seeds: int
    mismatch: bool = False
    tries: int | None = None
    cuda: bool = False


@dataclass(frozen=True)
class Outcome:
    """What a sweep came to.

    Attributes:
        varied: what was varied.
        summaries: of every setting once, in the order of the grid, or of the search's tries.
        scores: of a search's tries.
        computed: runs that were computed now.
        present: runs that the table had already.
    """

    varied: Sequence[Vary]
    summaries: Sequence[Summary]
    scores: Sequence[float]
    computed: int
    present: int


def sweep(
    plan: Plan, path: Path, *, jobs: int | None = None, scheduler: str | None = None, progress: Progress | None = None
) -> Outcome:
    """Run what the table lacks, and sum up the whole.

    Args:
        plan: what to run.
        path: the table; made where it is missing.
        jobs: processes; 1: this one; None: one a core.
        scheduler: the address of a Dask scheduler, in place of this machine's processes.
        progress: told how far it is.

    Raises:
        ExperimentError: the experiment, or a value that it is to have, is wrong.
        TableError: the table cannot be used, or holds another sweep.
        PlantError, EngineError: a plant cannot be made, or from the runs; a note names the setting.
        SubsongError: a worker is lost for good, or what the search, the cluster or the GPU needs is missing.
    """
    base = from_tables(plan.tables, plan.where)
    if plan.cuda:
        require_cuda()
        jobs = 1
    seeds = range(base.seed, base.seed + plan.seeds)
    if seeds[-1] >= 2**32:
        raise ExperimentError(f"{plan.where}: seed: {plan.seeds} seeds from {base.seed} on go beyond 2**32-1")
    varied = parse_varied(plan.vary)
    if not plan.mismatch and any(vary.key.startswith("plant.mismatch") for vary in varied):
        raise ExperimentError("--vary plant.mismatch: the simulator leaves [plant.mismatch] out without --mismatch")
    settings: list[Setting] = []
    if plan.tries is None:
        settings = grid(plan.tables, plan.where, varied)
        check_plants(settings, mismatch=plan.mismatch, cuda=plan.cuda)
    elif varied:
        need_optuna()
    else:
        raise ExperimentError("--search: there is nothing to search; name a key and its values with --vary")
    with Table(path, base, plan.mismatch) as table:
        table.vary([vary.key for vary in varied])
        course = _Course(plan, seeds, table, progress or SilentProgress())
        with course.telling_what_is_kept():
            if plan.tries is None:
                course.run(settings, jobs, scheduler)
            else:
                course.search(varied, plan.tries, jobs, scheduler)
        summaries = [summarise(each, table.runs(each, seeds)) for each in course.settings.values()]
    return Outcome(varied, summaries, course.scores, course.computed, course.present)


class _Course:
    """A sweep under way.

    Attributes:
        settings: by their digests.
        scores: of a search's tries.
        computed: runs that were computed now.
        present: runs that the table had already.
    """

    def __init__(self, plan: Plan, seeds: range, table: Table, progress: Progress) -> None:
        self.plan, self.seeds, self.table, self.progress = plan, seeds, table, progress
        self.settings: dict[str, Setting] = {}
        self.scores: list[float] = []
        self.computed = self.present = 0

    def run(self, settings: Sequence[Setting], jobs: int | None, scheduler: str | None) -> None:
        """Run every setting under every seed."""
        pending = self._enter(settings)
        if self.present:
            self.progress.note(f"{self.present:,} of these runs are in {self.table.path} already")
        if not pending:
            return
        self.progress.start("runs", len(settings) * len(self.seeds))
        self.progress.advance(self.present)
        with self._workers(jobs, scheduler) as who:
            for new in self._compute(pending, who):
                self.progress.advance(new)
        self.progress.finish()

    def search(self, varied: Sequence[Vary], tries: int, jobs: int | None, scheduler: str | None) -> None:
        """Let a search choose the settings."""

        def score_of(values: Mapping[str, Any]) -> float:
            setting = setting_of(self.plan.tables, self.plan.where, values)
            check_plants([setting], mismatch=self.plan.mismatch, cuda=self.plan.cuda)
            for _ in self._compute(self._enter([setting]), who):
                pass
            return score(setting, self.table.runs(setting, self.seeds))

        with self._workers(jobs, scheduler) as who:
            tried = search(varied, self.seeds, tries, self.table, score_of, self.progress)
        settings = [setting_of(self.plan.tables, self.plan.where, values) for values, _ in tried]
        self._enter(settings)
        self.settings = {each.digest: each for each in settings}  # in the order of the tries, whichever are new
        self.scores = [value for _, value in tried]

    @contextmanager
    def _workers(self, jobs: int | None, scheduler: str | None) -> Iterator[Workers]:
        with workers(jobs, scheduler) as who:
            if who.note:
                self.progress.note(who.note)
            yield who

    def _enter(self, settings: Sequence[Setting]) -> list[tuple[Setting, list[int]]]:
        """Enter settings; return those that lack runs, and the seeds that they lack."""
        new = {each.digest: each for each in settings if each.digest not in self.settings}
        self.settings |= new
        self.table.add_settings(list(new.values()))
        pending = [(each, self.table.missing(each, self.seeds)) for each in new.values()]
        self.present += sum(len(self.seeds) - len(missing) for _, missing in pending)
        return [(each, missing) for each, missing in pending if missing]

    def _compute(self, pending: Sequence[tuple[Setting, Sequence[int]]], who: Workers) -> Iterator[int]:
        """Compute what is missing, and enter it; yield, chunk by chunk, how many runs came."""
        for done in who.compute(chunks(pending, who.count, mismatch=self.plan.mismatch, cuda=self.plan.cuda)):
            self.table.add(done)
            self.computed += len(done.runs)
            yield len(done.runs)

    @contextmanager
    def telling_what_is_kept(self) -> Iterator[None]:
        """Where the sweep ends early, say what it has."""
        try:
            yield
        except BaseException:
            if kept := len(self.table):
                self.progress.finish()
                self.progress.note(f"{kept:,} runs are in {self.table.path}; the same command goes on from there")
            raise
