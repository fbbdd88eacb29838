"""One set of numbers on many plants: `make bench-plants`, QUICK=1 for a few seeds of the plants that take seconds.

Every experiment is subsong.defaults.default_experiment's: its plant's name, how many trials it may take, hidden units
where a linear policy cannot do it, and the motor's friction and backlash. A run has solved its plant once an
evaluation's mean cost reaches the criterion, and stops there; behind a "goal" it makes all its trials, and the last
cost is what it came to. Run whole, it writes its table into docs/no-tuning.md; `python benchmarks/bench_plants.py
PLANT ...` prints some rows.
"""

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import gymnasium
import numba
from joblib import Parallel, delayed
from plants.references import Policy, best_linear, mean_cost, optimal_lqr

from subsong.batch import simulate_many
from subsong.defaults import default_experiment, plant_named
from subsong.experiment import Experiment, from_tables
from subsong.session import RunResult, simulate

QUICK = os.environ.get("QUICK", "0") not in ("", "0")
SEEDS = range(1, 4 if QUICK else 21)
WORKERS = os.cpu_count() or 1
BEGIN, END = "<!-- bench-plants -->", "<!-- end -->"
COLUMNS = (
    "plant",
    "network",
    "criterion",
    "solved",
    "trials, median",
    "most",
    "last cost: median, least to most",
    "published",
    "s",
)


@dataclass(frozen=True)
class Row:
    """One plant.

    Attributes:
        plant: its name.
        trials: that a run may take.
        criterion: the mean cost of an episode that solves it; with a reference, a multiple of that policy's cost.
        published: what others report, and by what.
        hidden: units of hidden layers.
        parameters: of the plant.
        reference: makes a policy with the plant at hand; its cost is taken on each seed's own evaluations.
        goal: the criterion ends no run.
        looks: evaluations of a run, and episodes of each.
        slow: takes minutes.
    """

    plant: str
    trials: int
    criterion: float
    published: str = "-"
    hidden: tuple[int, ...] = ()
    parameters: tuple[tuple[str, float], ...] = ()
    reference: Callable[[Experiment], Policy] | None = None
    goal: bool = False
    looks: tuple[int, int] = (50, 20)
    slow: bool = False


BACKLASH = (("backlash", 0.05), ("coulomb", 0.002), ("dead_band", 0.6))
ROWS = (
    Row("CartPole-v1", 1000, -500, "-475 after a median of 28 trials: ARS-V1, step and deviation .05"),
    Row("pendulum", 20_000, 170, "212 +- 160 after 10,000: ARS, tuned; 151: best of any kind", (16, 16), goal=True),
    Row("lqr", 10_000, 1.1, "1.05 to 1.06, ARS", reference=optimal_lqr),
    Row("dc_motor", 4000, 1.2, parameters=BACKLASH, reference=best_linear),
    Row("rc", 2000, 1.2, reference=best_linear),
    Row("heater", 4000, 1.2, reference=best_linear),
    Row("InvertedPendulum-v5", 1000, -950, slow=True),
    Row("Acrobot-v1", 600, 100, looks=(20, 10), slow=True),
    Row("Swimmer-v5", 600, -300, "-325 after 427 trials: ARS, tuned", goal=True, looks=(10, 5), slow=True),
)


def experiment_of(row: Row) -> Experiment:
    """Return a row's experiment, which nothing stops."""
    plant = plant_named(row.plant)
    if row.parameters:
        plant["parameters"] = dict(row.parameters)
    tables = default_experiment(plant, hidden=row.hidden, trials=row.trials).model_dump(exclude_none=True)
    times, episodes = row.looks
    tables["run"] |= {"evaluate_every": max(2, row.trials // times // 2 * 2), "evaluate_episodes": episodes}
    tables["run"].pop("stop_cost", None)
    return from_tables(tables, row.plant)


def stopping(experiment: Experiment, cost: float) -> Experiment:
    """Return the experiment, which an evaluation of this mean cost ends."""
    tables = experiment.model_dump(exclude_none=True)
    return from_tables({**tables, "run": {**tables["run"], "stop_cost": cost}}, experiment.plant.title)


def learn(runs: list[Experiment]) -> list[RunResult]:
    """Learn under every seed."""
    if runs[0].plant.kind == "simulated" or runs[0].plant.title == "CartPole-v1":
        return simulate_many(runs, costs=False)
    results: list[RunResult] = Parallel(n_jobs=WORKERS)(delayed(simulate)(run, out=None) for run in runs)
    return results


def line(row: Row) -> str:
    """Return a row of the table."""
    began = time.monotonic()
    experiment = experiment_of(row)
    runs = [experiment.with_seed(seed) for seed in SEEDS]
    policy = row.reference(experiment) if row.reference else None
    units = [mean_cost(run, policy) if policy else 1.0 for run in runs]
    limits = [row.criterion * unit for unit in units]
    results = learn(runs if row.goal else [stopping(*each) for each in zip(runs, limits, strict=True)])
    spent = []
    for result, limit in zip(results, limits, strict=True):
        spent += [trials for trials, cost in result.evaluations if cost <= limit][:1]
    last = sorted(result.evaluations[-1][1] / unit for result, unit in zip(results, units, strict=True))
    cells = (
        row.plant + (", backlash, friction, dead band" if row.parameters else ""),
        "-".join(str(n) for n in experiment.network.layers),
        f"{row.criterion:g}{' of the reference' if policy else ''}{' (goal)' if row.goal else ''}",
        f"{len(spent)} of {len(results)}",
        f"{statistics.median(spent):,.0f}" if spent else "-",
        f"{max(spent):,}" if len(spent) == len(results) else f"more than {row.trials:,}",
        f"{statistics.median(last):.4g}, {last[0]:.4g} to {last[-1]:.4g}",
        row.published,
        f"{time.monotonic() - began:.0f}",
    )
    return f"| {' | '.join(cells)} |"


def write(table: list[str]) -> None:
    """Put the table into the document, between its marks."""
    document = Path(__file__).parents[1] / "docs" / "no-tuning.md"
    before, _, rest = document.read_text(encoding="utf-8").partition(BEGIN)
    document.write_text("\n".join([f"{before}{BEGIN}", *table, END]) + rest.partition(END)[2], encoding="utf-8")


def main() -> None:
    """Print the table, or the rows that are named."""
    names = sys.argv[1:]
    if unknown := set(names) - {row.plant for row in ROWS}:
        sys.exit(f"no row of {', '.join(sorted(unknown))}; there are {', '.join(row.plant for row in ROWS)}")
    rows = [row for row in ROWS if (row.plant in names if names else not (QUICK and row.slow))]
    versions = f"Python {platform.python_version()}, Numba {numba.__version__}, Gymnasium {gymnasium.__version__}"
    table = [
        f"{len(SEEDS)} seeds; {versions}, {platform.machine()}, {WORKERS} cores",
        "",
        f"| {' | '.join(COLUMNS)} |",
        f"|{'---|' * len(COLUMNS)}",
    ]
    print("\n".join(table))
    for row in rows:
        table.append(line(row))
        print(table[-1], flush=True)
    if rows == list(ROWS) and not QUICK:
        write(table)


if __name__ == "__main__":
    main()
