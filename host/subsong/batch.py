"""Many experiments at once: those alike in rule and shape share compiled lanes, whatever else differs.

simulate_many   what subsong.session.simulate gives for each, number for number
"""

import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

import numpy as np

from subsong.block import Block, build_block, stream_seed
from subsong.console import Progress, SilentProgress
from subsong.errors import EngineError, ExperimentError, SubsongError
from subsong.experiment import Experiment
from subsong.experiment_tasks import TaskPlant
from subsong.findings import constant_cost
from subsong.rules import PAIRS
from subsong.session import RunResult, check_cost, evaluation_seeds, local_plant, physical, require_model, simulate
from subsong_device import layout

if TYPE_CHECKING:
    from subsong_sim.batch import Batch, Plants
    from subsong_sim.cuda import CudaBatch


class _Job(NamedTuple):
    """A run: its number, what it learns, and its compiled plant where it has one."""

    run: int
    experiment: Experiment
    block: Block
    plant: Any

    @property
    def compiled(self) -> bool:
        """Whether learner and plant are compiled."""
        return self.plant is not None or isinstance(self.experiment.plant, TaskPlant)

    @property
    def kind(self) -> tuple[object, ...]:
        """What runs have in common that share lanes: the rule, the shapes, and what kernels branch on."""
        block = self.block
        head = np.frombuffer(block.head, "<i4")
        layers = head[layout.LAYERS_AT : head[layout.ELIGIBILITY_AT]].tobytes()
        task = block.task and (block.task[:2], self.experiment.steps(False), self.experiment.steps(True))
        return block.rule, len(block.head), len(block.mem), len(block.task), layers, int(head[layout.ESTIMATOR]), task


def simulate_many(
    experiments: Sequence[Experiment],
    *,
    mismatch: bool = False,
    threads: int | None = None,
    device: Literal["cpu", "cuda"] = "cpu",
    costs: bool = True,
    mems: Sequence[bytes] | None = None,
    progress: Progress | None = None,
) -> list[RunResult]:
    """Learn many times on this computer with the firmware's kernels, many runs in one compiled call.

    Plants that are not compiled (Gymnasium's, but for CartPole), and those with delays and the like, run one after
    another.

    Args:
        experiments: what to learn; those alike in rule, network, estimator and task run side by side.
        mismatch: learn on the plant that a board would meet.
        threads: at most; None: as many as Numba has.
        device: "cuda": an NVIDIA GPU, which runs on-board tasks alone (docs/cuda.md).
        costs: keep every learning trial's cost, 32 bytes; else `costs` of the results stay empty.
        mems: the memory that each learner begins with, weights learned elsewhere; None: its experiment's own.
        progress: told how far all are, in learning trials.

    Returns:
        A result for each, in order: what `simulate(experiment, out=None, mismatch=mismatch)` returns, but for
        `seconds`, a run's share of what all that ran together took.

    Raises:
        PlantError, EngineError, ExperimentError: what `simulate` would, behind "run K: ", K counted from 0.
    """
    if device not in ("cpu", "cuda"):
        raise EngineError(f'device: is "{device}" (allowed: "cpu", "cuda")')
    if threads is not None and threads < 1:
        raise EngineError(f"threads: is {threads} (allowed: 1 or more)")
    progress = progress or SilentProgress()
    results = [RunResult(None) for _ in experiments]
    groups: dict[tuple[object, ...], list[_Job]] = {}
    singles = []
    if device == "cuda":
        require_cuda(experiments)
    for run, experiment in enumerate(experiments):
        job = _job(run, experiment, mismatch, mems[run] if mems else None)
        if job.compiled:
            groups.setdefault(job.kind, []).append(job)
        else:
            singles.append(job)
    progress.start("compiling kernels (kept for the next time)")
    batches = [_batch(jobs, threads, device) for jobs in groups.values()]
    progress.start("learning", sum(experiment.run.trials for experiment in experiments))
    for jobs, batch in zip(groups.values(), batches, strict=True):
        _learn(jobs, batch, results, progress, costs=costs)
    for job in singles:
        with _named(job.run):
            results[job.run] = simulate(job.experiment, out=None, mismatch=mismatch, mem=job.block.mem)
        progress.advance(job.experiment.run.trials)
    progress.finish()
    return results


@contextmanager
def _named(run: int) -> Iterator[None]:
    """Put the number of the run before what it raises."""
    try:
        yield
    except SubsongError as error:
        error.args = (f"run {run}: {error}", *error.args[1:])
        raise


def _job(run: int, experiment: Experiment, mismatch: bool, mem: bytes | None) -> _Job:
    """Build a run's block and plant."""
    with _named(run):
        require_model(experiment)
        block = build_block(experiment).holding(mem)
        if isinstance(experiment.plant, TaskPlant):
            return _Job(run, experiment, block, None)
        plant = local_plant(experiment, mismatch, compiled=True)
        if hasattr(plant, "functions"):
            return _Job(run, experiment, block, plant)
        plant.close()
        return _Job(run, experiment, block, None)


def require_cuda(experiments: Sequence[Experiment] = ()) -> None:
    """Raise EngineError where there is no GPU, ExperimentError where a plant is none for it."""
    from subsong_sim.cuda import cuda_problem

    problem = cuda_problem()
    if problem is not None:
        raise EngineError(problem)
    for run, experiment in enumerate(experiments):
        if not isinstance(experiment.plant, TaskPlant):
            raise ExperimentError(
                f'run {run}: plant.kind: is "{experiment.plant.kind}" (allowed under CUDA: "task"); '
                "run it without CUDA, on the processor"
            )


def _batch(jobs: list[_Job], threads: int | None, device: str) -> "Batch | CudaBatch":
    """Compile kernels for a group of runs, and lay its memory out."""
    from subsong_sim.batch import PLAN, Batch
    from subsong_sim.lanes import compile_lanes

    blocks = [job.block for job in jobs]
    heads = _rows([block.head for block in blocks], "<i4", np.int32)
    mems = _rows([block.mem for block in blocks], "<u2", np.uint16)
    tasks = _rows([block.task for block in blocks], "<u2", np.uint16) if blocks[0].task else None
    plan = np.array([_plan(job) for job in jobs], PLAN)
    ends = blocks[0].n_sensors, blocks[0].n_actuators
    if device == "cuda":
        from subsong_sim.cuda import CudaBatch

        return CudaBatch(blocks[0].rule, heads, mems, cast("Any", tasks), ends, plan)
    code = compile_lanes(blocks[0].rule, heads, mems, tasks)
    plants = None if tasks is not None else _plants(jobs)
    return Batch(code, heads, mems, tasks, ends, plan, plants, threads)


def _rows(words: list[bytes], file: str, memory: type[np.integer[Any]]) -> Any:
    """Return little-endian words of many runs as an array, [runs, words]."""
    return np.array([np.frombuffer(each, file) for each in words], memory)


def _plan(job: _Job) -> tuple[int, ...]:
    """Return a run's row of PLAN."""
    experiment, plant, run = job.experiment, job.plant, job.experiment.run
    return (
        run.trials,
        run.evaluate_every,
        len(evaluation_seeds(experiment)),
        2 if experiment.learner.estimator in PAIRS else 1,
        _stop_total(experiment),
        experiment.steps(False) if plant is None else min(run.steps, plant.episode_steps),
        experiment.steps(True),
    )


def _stop_total(experiment: Experiment) -> int:
    """Return the greatest sum of an evaluation's totals whose mean cost, in floating point, ends the run."""
    from subsong_sim.batch import NEVER

    if experiment.run.stop_cost is None:
        return NEVER
    episodes = len(evaluation_seeds(experiment))
    most = layout.COST_LIMIT * episodes
    sums = range(-most, most + 1)
    enough = bisect_right(
        sums, experiment.run.stop_cost, key=lambda total: physical(experiment, total, True) / episodes
    )
    return sums[enough - 1] if enough else NEVER


def _plants(jobs: list[_Job]) -> "Plants":
    from subsong_sim.batch import Plants

    rows = [evaluation_seeds(job.experiment) for job in jobs]
    tests = np.zeros((len(jobs), max(map(len, rows))), np.uint32)
    for row, seeds in zip(tests, rows, strict=True):
        row[: len(seeds)] = seeds

    @lru_cache(maxsize=len(jobs))
    def drawn(seed: int, first: int, last: int) -> Any:
        return np.array([stream_seed(seed, "plant", pair) for pair in range(first, last)], np.uint32)

    return Plants(
        [job.plant for job in jobs], tests, lambda run, first, last: drawn(jobs[run].experiment.seed, first, last)
    )


def _learn(
    jobs: list[_Job], batch: "Batch | CudaBatch", results: list[RunResult], progress: Progress, *, costs: bool
) -> None:
    """Run a group, and fill its results in."""
    began = time.monotonic()
    told = 0
    known = [0] * len(jobs)
    extremes = [(layout.COST_LIMIT, -layout.COST_LIMIT)] * len(jobs)
    for ends in batch.run():
        rows = ends[..., 1].reshape(-1, ends.shape[2])[: len(jobs)]
        for k, (job, course, totals) in enumerate(zip(jobs, batch.course, rows, strict=True)):
            with _named(job.run):
                if course["broken"]:
                    from subsong_sim.plants.base import not_a_number

                    what = (int(course[key]) for key in ("broken", "broken_step", "reset"))
                    raise not_a_number(job.plant.name, *what)
                if course["failed"] >= 0:
                    check_cost(job.experiment, int(course["failed"]), int(course["failed_total"]))
            learned = totals[: course["trials"] - known[k]]
            known[k] = int(course["trials"])
            if len(learned):
                least, most = extremes[k]
                extremes[k] = min(least, int(learned.min())), max(most, int(learned.max()))
            if costs:
                results[job.run].costs += _costs(job.experiment, learned, False).tolist()
        done = int(batch.course["trials"].sum())
        progress.advance(done - told)
        told = done
    seconds = (time.monotonic() - began) / len(jobs)
    for job, course, sums, head, mem, ends in zip(
        jobs, batch.course, batch.totals, *batch.blocks(), extremes, strict=True
    ):
        result = results[job.run]
        result.trials, result.numbered, result.steps = (int(course[key]) for key in ("trials", "numbered", "steps"))
        result.counters = {"saturated_words": int(course["saturated"])}
        flat = constant_cost(result.trials, *(physical(job.experiment, total) for total in ends))
        result.warnings = [flat] if flat else []
        result.seconds = seconds
        means = _costs(job.experiment, sums[: course["evaluations"]], True) / len(evaluation_seeds(job.experiment))
        every = job.experiment.run.evaluate_every or result.trials
        result.evaluations = [(min(k * every, result.trials), mean) for k, mean in enumerate(means.tolist(), 1)]
        result.final = result.evaluations[-1][1]
        if course["stopped"]:
            result.stopped = f"an evaluation reached {result.final:.6g}"
        result.state = head.astype("<i4").tobytes(), mem.astype("<u2").tobytes()


def _costs(experiment: Experiment, totals: Any, evaluate: bool) -> Any:
    """Return `physical` of each of many totals: the same operations in the same order, element by element."""
    return physical(experiment, cast("int", totals.astype(np.int64)), evaluate)
