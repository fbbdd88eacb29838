"""The unit of work: one setting under a few seeds, run wherever there is a worker; and what comes back of it."""

import re
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, NamedTuple

from subsong.errors import SubsongError
from subsong.experiment import Experiment, parse_experiment
from subsong.experiment_tasks import TaskPlant
from subsong.session import RunResult, local_plant, require_model
from subsong.sweep.grid import Setting, under
from subsong_device.layout import ARITHMETIC_VERSION

GROUP = 16  # runs that the simulator takes side by side: chunks are made of whole groups
MOST_GROUPS = 8  # of a chunk: what is computed when a sweep is killed is computed again
MOST_SINGLES = 4  # runs of a chunk, where the simulator takes one after another
ON_A_GPU = 1 << 14  # runs of a chunk: a thread each
CHUNKS_EACH = 16  # for every worker, about: so that none waits long for the last
# A Dask worker may have several threads; not every threading layer of Numba bears being entered by two of them.
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class Chunk:
    """One setting under some seeds; plain values, for another process or machine.

    Attributes:
        setting: its digest.
        label: what to call it in messages.
        toml: its experiment, whose seed does not matter.
        seeds: to run it under.
        mismatch: learn on the plant that a board would meet.
        cuda: on an NVIDIA GPU.
    """

    setting: str
    label: str
    toml: str
    seeds: tuple[int, ...]
    mismatch: bool
    cuda: bool = False


class Run(NamedTuple):
    """One run, as the table has it.

    Attributes:
        digest: of the experiment under its seed.
        seed: the seed.
        rule: the learner's.
        trials: learning trials.
        steps: act() calls, evaluations included.
        final_cost: mean physical cost of the last evaluation.
        reached_at: learning trials before the first evaluation at or below run.stop_cost; None: none was.
        stopped: why it ended, and what its user should know.
        evaluations: (learning trials before it, mean physical cost) of every evaluation.
    """

    digest: str
    seed: int
    rule: str
    trials: int
    steps: int
    final_cost: float
    reached_at: int | None
    stopped: str
    evaluations: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Done:
    """What a chunk came to: its runs, the seconds that they took together, and what computed them."""

    chunk: Chunk
    runs: tuple[Run, ...]
    seconds: float
    arithmetic: int
    subsong: str
    numba: str


def chunks(
    pending: Iterable[tuple[Setting, Sequence[int]]], workers: int, *, mismatch: bool, cuda: bool = False
) -> list[Chunk]:
    """Cut what is to do into units of work.

    Args:
        pending: settings, and the seeds that each lacks.
        workers: how many will share them.
        mismatch: as in Chunk.
        cuda: as in Chunk.
    """
    pending = list(pending)
    share = sum(len(seeds) for _, seeds in pending) // (CHUNKS_EACH * workers)

    def size(experiment: Experiment) -> int:
        if cuda:
            return ON_A_GPU
        if _compiled(experiment, mismatch):
            return GROUP * max(1, min(MOST_GROUPS, share // GROUP))
        return max(1, min(MOST_SINGLES, share))

    return [
        Chunk(setting.digest, setting.label, setting.experiment.to_toml(), tuple(seeds[i : i + n]), mismatch, cuda)
        for setting, seeds in pending
        for n in [size(setting.experiment)]
        for i in range(0, len(seeds), n)
    ]


def _compiled(experiment: Experiment, mismatch: bool) -> bool:
    """Whether runs go side by side: whether the plant, too, is compiled."""
    from subsong_sim.plants.cartpole_parameters import EPISODE_STEPS

    plant = experiment.plant
    if isinstance(plant, TaskPlant):
        return True
    changes = experiment.mismatch() if mismatch else None
    compiled = plant.kind == "simulated" or (plant.kind == "gymnasium" and plant.id in EPISODE_STEPS)
    return compiled and not experiment.run.period_ms and not (changes and changes.changed())


def check_plants(settings: Iterable[Setting], *, mismatch: bool, cuda: bool = False) -> None:
    """Make every plant once, so that what is wrong with one is told before anything runs.

    Args:
        settings: those with one plant and network are checked once.
        mismatch: as in Chunk.
        cuda: as in Chunk.

    Raises:
        PlantError: a plant cannot be made; a note names the setting.
        ExperimentError: the network does not fit it, it is on the board alone, or is none for the GPU; likewise.
    """
    from subsong.batch import require_cuda

    seen = set()
    for setting in settings:
        experiment = setting.experiment
        kind = experiment.plant.model_dump_json(), experiment.network.layers[0], experiment.network.layers[-1]
        if kind in seen:
            continue
        seen.add(kind)
        with _telling(setting.label, [experiment.seed]):
            require_model(experiment)
            if cuda:
                require_cuda([experiment])
            if not isinstance(experiment.plant, TaskPlant):
                local_plant(experiment, mismatch, compiled=True).close()


def compute(chunk: Chunk) -> Done:
    """Run a chunk in this process, on one thread or on the GPU.

    Raises:
        SubsongError: the plant, the engine or the experiment does not allow it; a note names the setting.
    """
    import numba

    from subsong.batch import simulate_many

    experiment = parse_experiment(chunk.toml, chunk.label)
    experiments = [under(experiment, seed) for seed in chunk.seeds]
    with _ONE_AT_A_TIME, _telling(chunk.label, chunk.seeds):
        began = time.monotonic()
        device: Literal["cpu", "cuda"] = "cuda" if chunk.cuda else "cpu"
        results = simulate_many(experiments, mismatch=chunk.mismatch, threads=1, device=device, costs=False)
        seconds = time.monotonic() - began
    runs = tuple(_run(*pair) for pair in zip(experiments, results, strict=True))
    return Done(chunk, runs, seconds, ARITHMETIC_VERSION, version(), numba.__version__)


@contextmanager
def _telling(label: str, seeds: Sequence[int]) -> Iterator[None]:
    """Have an error say at which setting and seed it was, in place of the number of the run."""
    try:
        yield
    except SubsongError as error:
        where = [label] if label else []
        if found := re.match(r"run (\d+): ", str(error)):
            where.append(f"seed = {seeds[int(found[1])]}")
            error.args = (str(error)[found.end() :], *error.args[1:])
        if where:
            error.add_note(f"at {', '.join(where)}")
        raise


def _run(experiment: Experiment, result: RunResult) -> Run:
    assert result.final is not None, "the simulator's last look is never lost"
    stop = experiment.run.stop_cost
    reached = (trials for trials, cost in result.evaluations if stop is not None and cost <= stop)
    return Run(
        digest=experiment.digest,
        seed=experiment.seed,
        rule=experiment.learner.rule,
        trials=result.trials,
        steps=result.steps,
        final_cost=result.final,
        reached_at=next(reached, None),
        stopped="; ".join((result.stopped, *result.warnings)),
        evaluations=tuple(result.evaluations),
    )


def version() -> str:
    """Return Subsong's version, "" where it is not installed."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed("subsong")
    except PackageNotFoundError:
        return ""


def checked(results: Iterable[Done]) -> Iterator[Done]:
    """Pass results on; refuse those of another arithmetic.

    Raises:
        SubsongError: a worker has another Subsong.
    """
    for done in results:
        if done.arithmetic != ARITHMETIC_VERSION:
            raise SubsongError(
                f"a worker has arithmetic version {done.arithmetic} (Subsong {done.subsong}), here it is "
                f"{ARITHMETIC_VERSION} (Subsong {version()}): install the same Subsong on every machine"
            )
        yield done
