"""Sweeps: how much faster with more workers, and what a run costs as seeds, weights and steps grow."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import distributed
import joblib

from sim.report import QUICK
from subsong.experiment_text import example_text, parse_toml
from subsong.sweep.grid import Setting, grid, parse_varied
from subsong.sweep.work import GROUP, Chunk, chunks, compute
from subsong.sweep.workers import workers

ROUNDS = 3 if QUICK else 7
TRIALS = 20_000 if QUICK else 100_000
XOR = parse_toml(example_text("xor"), "xor")

ABOUT = f"""\
XOR by weight perturbation, trials fixed and no goal, so that every run is as long as any other. What is compared is
timed in turn, and the best of {ROUNDS} rounds counts. Processes are started and kernels compiled before."""


def settings(*vary: str, trials: int = TRIALS) -> list[Setting]:
    """Return XOR under what is varied, so many trials long."""
    run = {"trials": trials, "steps": 4, "evaluate_every": 0, "evaluate_episodes": 1}
    return grid(XOR | {"run": run}, "xor", parse_varied(vary))


def best(runs: Mapping[Any, Callable[[], object]]) -> dict[Any, float]:
    """Return the seconds of each, the best of ROUNDS, timed in turn; each runs once before."""
    for run in runs.values():
        run()
    found = dict.fromkeys(runs, float("inf"))
    for _ in range(ROUNDS):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            found[name] = min(found[name], time.perf_counter() - began)
    return found


# ------------------------------------------------------------------------------------------------ workers


@contextmanager
def dask(count: int) -> Iterator[str]:
    """Start a scheduler and so many worker processes; yield the scheduler's address."""
    with distributed.LocalCluster(
        n_workers=count, threads_per_worker=1, processes=True, dashboard_address=":0", silence_logs=50
    ) as cluster:
        yield cluster.scheduler_address


def speed_up() -> tuple[str, dict[int, tuple[float, float]]]:
    """Return what is timed, and by the number of workers how many times as fast as one process joblib and Dask are."""
    cores = joblib.cpu_count()
    counts = sorted({1, *(2**k for k in range(1, 8) if 2**k < cores), cores})
    varied, seeds = settings("learner.rate_shift=12:15"), range(1, 1 + GROUP * (4 if QUICK else 16))
    runs: dict[tuple[str, int], Callable[[], object]] = {}
    with ExitStack() as stack:
        for count in counts:
            work = chunks([(each, seeds) for each in varied], count, mismatch=False)
            here = stack.enter_context(workers(count, None))
            there = stack.enter_context(workers(None, stack.enter_context(dask(count))))
            for name, who in (("joblib", here), ("Dask", there)):
                runs[name, count] = lambda who=who, work=work: list(who.compute(work))
        found = best(runs)
    alone = found["joblib", 1]
    about = f"{len(varied) * len(seeds)} runs of {TRIALS} trials; times as fast as one process without any executor"
    return about, {count: (alone / found["joblib", count], alone / found["Dask", count]) for count in counts}


# ------------------------------------------------------------------------------------------------ growth


def one(setting: Setting, seeds: int) -> Chunk:
    """Return a chunk of a setting under the first so many seeds, uncut."""
    return Chunk(
        setting.digest, setting.label, setting.experiment.to_toml(), tuple(range(1, 1 + seeds)), mismatch=False
    )


class Growth(NamedTuple):
    """What a unit of work costs as there are more of them.

    Attributes:
        title: what stays as it is.
        unit: what there is more of.
        sizes: how many of them, by name.
        seconds: what they take, by the same names.
    """

    title: str
    unit: str
    sizes: dict[str, float]
    seconds: dict[str, float]

    def lines(self) -> Iterator[str]:
        """Yield a table: times as many, and times the cost; 1.00 a unit is linear."""
        sizes, seconds = list(self.sizes.values()), [self.seconds[name] for name in self.sizes]
        yield f"| {self.title} | {self.unit} | ms | times | cost, times | cost a unit |"
        yield "|---|---|---|---|---|---|"
        for name, size, took in zip(self.sizes, sizes, seconds, strict=True):
            times, cost = size / sizes[0], took / seconds[0]
            yield f"| {name} | {size:,.0f} | {1e3 * took:.1f} | {times:.1f} | {cost:.1f} | {cost / times:.2f} |"


def growth(title: str, unit: str, sizes: Sequence[tuple[str, float, Chunk]]) -> Growth:
    """Time units of work of several sizes."""
    seconds = best({name: lambda chunk=chunk: compute(chunk) for name, _, chunk in sizes})
    return Growth(title, unit, {name: size for name, size, _ in sizes}, seconds)


def weights(hidden: int) -> int:
    """Return the weights and biases of 2-hidden-1."""
    return 3 * hidden + hidden + 1


def growths() -> Iterator[Growth]:
    """Time more seeds, longer runs, larger networks."""
    (plain,) = settings()
    counts = [GROUP * 4**k for k in range(3 if QUICK else 4)]
    yield growth("one process, 2-4-1", "runs", [(f"{n} seeds", n, one(plain, n)) for n in counts])
    lengths = [TRIALS // 4 * 4**k for k in range(3)]
    long = [settings(trials=n)[0] for n in lengths]
    steps = [(f"{n} trials", 4.0 * n, one(each, 16)) for n, each in zip(lengths, long, strict=True)]
    yield growth("16 seeds, 2-4-1", "steps a run", steps)
    hidden = [4, 16, 64, 256] if QUICK else [4, 16, 64, 256, 1024]
    wide = settings("network.layers=" + ",".join(f"[2,{n},1]" for n in hidden), trials=TRIALS // 4)
    networks = [(f"2-{n}-1", float(weights(n)), one(each, 16)) for n, each in zip(hidden, wide, strict=True)]
    yield growth("16 seeds, 2-H-1", "weights", networks)


def section(picture: Path | None = None) -> Iterator[str]:
    """Yield the lines of the tables; draw them, where a picture is named."""
    yield ABOUT
    yield ""
    about, workers_of = speed_up()
    yield about
    yield ""
    yield "| workers | joblib | Dask | each, joblib | each, Dask |"
    yield "|---|---|---|---|---|"
    for count, ratios in workers_of.items():
        yield f"| {count} | {' | '.join(f'{ratio:.2f}' for ratio in (*ratios, *(r / count for r in ratios)))} |"
    found = []
    for each in growths():
        found.append(each)
        yield ""
        yield from each.lines()
    if picture is not None:
        draw(workers_of, found, picture)


def draw(workers_of: dict[int, tuple[float, float]], found: Sequence[Growth], picture: Path) -> None:
    """Draw the tables' curves, what is linear in grey."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 1 + len(found), figsize=(13, 3.2), layout="constrained")
    counts = list(workers_of)
    axes[0].plot(counts, counts, color="0.7", label="linear")
    for n, name in enumerate(("joblib", "Dask")):
        axes[0].plot(counts, [ratios[n] for ratios in workers_of.values()], marker="o", label=name)
    axes[0].set(xlabel="workers", ylabel="times as fast as one process", xticks=counts, ylim=(0, None))
    axes[0].legend(frameon=False)
    for each, axis in zip(found, axes[1:], strict=True):
        sizes, took = list(each.sizes.values()), [each.seconds[name] for name in each.sizes]
        axis.loglog(sizes, [took[-1] * size / sizes[-1] for size in sizes], color="0.7")
        axis.loglog(sizes, took, marker="o")
        axis.set(xlabel=each.unit, ylabel="seconds", title=each.title)
    figure.savefig(picture, dpi=110)
    plt.close(figure)
