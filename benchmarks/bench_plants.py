"""One set of numbers on many plants: `make bench-plants`, QUICK=1 for a few seeds of the plants that take seconds.

Every experiment is subsong.defaults.default_experiment's: its plant's name, how many trials it may take, and hidden
units where a linear policy cannot do it. A run has solved its plant once an evaluation's mean reaches the criterion, and
stops there; behind a "goal" it makes all its trials, and the last cost is what it came to. Run whole, it writes the
table into docs/no-tuning.md.
"""

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
EPISODES = 20  # of an evaluation
WORKERS = os.cpu_count() or 1
BEGIN, END = "<!-- bench-plants -->", "<!-- end -->"


@dataclass(frozen=True)
class Row:
    """One plant.

    Attributes:
        plant: its name.
        trials: that a run may take.
        criterion: the mean cost of an episode that solves it; or by how much more than the reference's that may be.
        published: what others report, and by what.
        reference: makes a policy with the plant at hand; each seed's criterion is a multiple of its cost there.
        hidden: units of a hidden layer.
        parameters: of the plant.
        goal: the criterion ends no run.
        slow: takes minutes.
    """

    plant: str
    trials: int
    criterion: float
    published: str
    reference: Callable[[Experiment], Policy] | None = None
    hidden: tuple[int, ...] = ()
    parameters: tuple[tuple[str, float], ...] = ()
    goal: bool = False
    slow: bool = False


COLUMNS = (
    "plant", "network", "criterion, cost", "solved", "episodes, median", "most", "last cost, median (least to most)",
    "published", "s",
)  # fmt: skip
BACKLASH = (("backlash", 0.05), ("coulomb", 0.002), ("dead_band", 0.6))
ROWS = (
    Row("CartPole-v1", 1000, -500.0, "475 after a median of 28 episodes: ARS-V1, its own step and deviation"),
    Row("InvertedPendulum-v5", 1000, -950.0, "", slow=True),
    Row(
        "pendulum", 20_000, 250.0, "-212 +- 160 after 10,000 episodes: ARS, tuned (rl-zoo)", hidden=(16, 16), goal=True
    ),
    Row("Swimmer-v5", 1000, -300.0, "325 after 427 episodes: ARS, tuned", goal=True, slow=True),
    Row("lqr", 10_000, 1.1, "1.05 to 1.06 J*: ARS, tuned", optimal_lqr),
    Row("dc_motor", 4000, 1.2, "", best_linear, parameters=BACKLASH),
    Row("rc", 2000, 1.2, "", best_linear),
    Row("heater", 4000, 1.2, "", best_linear),
    Row("Acrobot-v1", 1000, 100.0, "100 solves it: its registration", slow=True),
    Row("MountainCarContinuous-v0", 1000, -90.0, "-90 solves it: its registration", slow=True),
)


def experiments_of(row: Row) -> list[Experiment]:
    """Return a row's experiment under every seed, its criterion as stop_cost unless that is a goal."""
    table = plant_named(row.plant)
    if row.parameters:
        table["parameters"] = dict(row.parameters)
    made = default_experiment(table, hidden=row.hidden, trials=row.trials)
    tables = made.model_dump(exclude_none=True)
    tables["run"] |= {"evaluate_episodes": EPISODES, "evaluate_every": max(2, row.trials // 50 // 2 * 2)}
    tables["run"].pop("stop_cost", None)
    made = from_tables(tables, row.plant)
    policy = row.reference(made) if row.reference else None
    runs = []
    for seed in SEEDS:
        tables["seed"] = seed
        limit = row.criterion * (mean_cost(made.with_seed(seed), policy) if policy else 1.0)
        runs.append(from_tables({**tables, "run": {**tables["run"], "stop_cost": limit}}, row.plant))
    return runs


def learn(runs: list[Experiment]) -> list[RunResult]:
    """Learn under every seed."""
    if runs[0].plant.kind == "simulated" or runs[0].plant.title == "CartPole-v1":
        return simulate_many(runs, costs=False)
    results: list[RunResult] = Parallel(n_jobs=WORKERS)(delayed(simulate)(run, out=None) for run in runs)
    return results


def line(row: Row) -> str:
    """Return a row of the table."""
    began = time.monotonic()
    runs = experiments_of(row)
    limits = [run.run.stop_cost or 0.0 for run in runs]
    if row.goal:
        runs = [
            from_tables(each.model_dump(exclude_none=True) | {"run": each.run.model_dump(exclude={"stop_cost"})}, "")
            for each in runs
        ]
    results = learn(runs)
    reached = [
        next((trials for trials, cost in each.evaluations if cost <= limit), None)
        for each, limit in zip(results, limits, strict=True)
    ]
    spent = [trials for trials in reached if trials is not None]
    unit = limits if row.reference else [1.0] * len(limits)
    last = sorted(
        (each.final or 0.0) / one * (row.criterion if row.reference else 1.0)
        for each, one in zip(results, unit, strict=True)
    )
    cells = (
        f"{row.plant}{', backlash, friction, dead band' if row.parameters else ''}",
        "-".join(str(n) for n in runs[0].network.layers),
        f"{row.criterion:g}{' of the reference' if row.reference else ''}{' (goal)' if row.goal else ''}",
        f"{len(spent)} of {len(results)}",
        f"{statistics.median(spent):,.0f}" if spent else "-",
        f"{max(spent):,}" if len(spent) == len(results) else f"more than {row.trials:,}",
        f"{statistics.median(last):.4g} ({last[0]:.4g} to {last[-1]:.4g})",
        row.published,
        f"{time.monotonic() - began:.0f}",
    )
    return f"| {' | '.join(cells)} |"


def write(head: list[str], lines: list[str]) -> None:
    """Put the table into the document, between its marks."""
    document = Path(__file__).parents[1] / "docs" / "no-tuning.md"
    before, _, rest = document.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    document.write_text(f"{before}{BEGIN}\n" + "\n".join([*head, *lines]) + f"\n{END}{after}", encoding="utf-8")


def main() -> None:
    """Print the table, or the rows that are named."""
    named: set[str] = set(sys.argv[1:])
    rows: list[Any] = (
        [row for row in ROWS if row.plant in named] if named else [row for row in ROWS if not (QUICK and row.slow)]
    )
    head = [
        f"{len(SEEDS)} seeds; Python {platform.python_version()}, Numba {numba.__version__}, Gymnasium "
        f"{gymnasium.__version__}, {platform.machine()}, {WORKERS} cores",
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|" + "---|" * len(COLUMNS),
    ]
    print("\n".join(head))
    lines = []
    for row in rows:
        lines.append(line(row))
        print(lines[-1], flush=True)
    if rows == list(ROWS) and not QUICK:
        write(head, lines)


if __name__ == "__main__":
    main()
