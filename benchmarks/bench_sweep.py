"""Sweeps: how much faster with more workers, and what a run costs as seeds, weights and steps grow.

`make bench-sweep`; QUICK=1 for less. XOR by weight perturbation, trials fixed and no goal, so that every run is as long
as any other. What is compared is timed in turn, round after round, and the best of each counts, since whatever else the
machine does only adds to it. Processes are started and kernels compiled before anything is timed.
"""

import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import distributed
import joblib
import numba

from subsong.experiment_text import example_text, parse_toml
from subsong.sweep.grid import Setting, grid, parse_varied
from subsong.sweep.work import GROUP, Chunk, chunks, compute
from subsong.sweep.workers import workers

QUICK = os.environ.get("QUICK", "0") not in ("", "0")
ROUNDS = 3 if QUICK else 7
TRIALS = 20_000 if QUICK else 100_000
XOR = parse_toml(example_text("xor"), "xor")


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


def speed_up() -> None:
    """Print how many times faster the same sweep is with more workers."""
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
    print(
        f"\n{len(varied) * len(seeds)} runs of {TRIALS} trials; workers, speed-up over one process without any executor"
    )
    print(f"{'workers':>8}{'joblib':>9}{'Dask':>9}{'each joblib':>13}{'each Dask':>11}")
    alone = found["joblib", 1]
    for count in counts:
        ratios = [alone / found[name, count] for name in ("joblib", "Dask")]
        print(f"{count:>8}{ratios[0]:>9.2f}{ratios[1]:>9.2f}{ratios[0] / count:>13.2f}{ratios[1] / count:>11.2f}")


# ------------------------------------------------------------------------------------------------ growth


def one(setting: Setting, seeds: int) -> Chunk:
    """Return a chunk of a setting under the first so many seeds, uncut."""
    return Chunk(
        setting.digest, setting.label, setting.experiment.to_toml(), tuple(range(1, 1 + seeds)), mismatch=False
    )


def growth(title: str, unit: str, sizes: Sequence[tuple[str, float, Chunk]]) -> None:
    """Print what a unit of work costs as there are more of them, against the first: 1.00 is linear."""
    found = best({name: lambda chunk=chunk: compute(chunk) for name, _, chunk in sizes})
    first = found[sizes[0][0]] / sizes[0][1]
    print(f"\n{title}")
    print(f"{'':>16}{unit:>14}{'ms':>9}{'times':>9}{'cost, times':>13}{'cost a unit':>13}")
    for name, size, _ in sizes:
        times, cost = size / sizes[0][1], found[name] / found[sizes[0][0]]
        unit_cost = found[name] / size / first
        print(f"{name:>16}{size:>14,.0f}{1e3 * found[name]:>9.1f}{times:>9.1f}{cost:>13.1f}{unit_cost:>13.2f}")


def weights(hidden: int) -> int:
    """Return the weights and biases of 2-hidden-1."""
    return 3 * hidden + hidden + 1


def main() -> None:
    load = f"load average {os.getloadavg()[0]:.1f}"
    machine = f"{platform.machine()}, {joblib.cpu_count()} cores, {load}"
    versions = f"python {platform.python_version()}, numba {numba.__version__}, joblib {joblib.__version__}"
    print(f"{machine}; {versions}, distributed {distributed.__version__}; best of {ROUNDS} rounds")
    speed_up()
    (plain,) = settings()
    counts = [GROUP * 4**k for k in range(3 if QUICK else 4)]
    growth("seeds: one process, 2-4-1", "runs", [(f"{n} seeds", n, one(plain, n)) for n in counts])
    lengths = [TRIALS // 4 * 4**k for k in range(3)]
    long = [settings(trials=n)[0] for n in lengths]
    growth(
        "steps: 16 seeds, 2-4-1",
        "steps a run",
        [(f"{n} trials", 4 * n, one(each, 16)) for n, each in zip(lengths, long, strict=True)],
    )
    hidden = [4, 16, 64, 256] if QUICK else [4, 16, 64, 256, 1024]
    wide = settings("network.layers=" + ",".join(f"[2,{n},1]" for n in hidden), trials=TRIALS // 4)
    growth(
        "weights: 16 seeds, 2-H-1",
        "weights",
        [(f"2-{n}-1", weights(n), one(each, 16)) for n, each in zip(hidden, wide, strict=True)],
    )


if __name__ == "__main__":
    main()
