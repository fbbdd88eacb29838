"""The transfer table: every set of weights on every plant, from the same initial conditions.

Rows are weights (untrained, learned in software, learned on hardware), columns plants (nominal, mismatched). Every cell
sees the same evaluation episodes, so that two cells differ by their weights or their plant and by nothing else. The
weights run under the firmware's own arithmetic, which replay has shown to be the board's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from subsong.compare.curves import Floats
from subsong.console import Progress
from subsong.errors import SubsongError
from subsong.experiment import Experiment, from_tables

Weights = Literal["untrained", "software", "hardware"]
PlantName = Literal["nominal", "mismatched"]
State = tuple[bytes, bytes]

WEIGHTS: tuple[Weights, ...] = ("untrained", "software", "hardware")
PLANTS: tuple[PlantName, ...] = ("nominal", "mismatched")


class Evaluate(Protocol):
    """Run weights without perturbation or learning; `subsong.session.evaluate` is one."""

    def __call__(
        self,
        experiment: Experiment,
        rule: str,
        head: bytes,
        mem: bytes,
        *,
        mismatch: bool,
        episodes: int,
    ) -> list[int]:
        """Return the cost of each episode, counts."""
        ...


@dataclass(frozen=True)
class Cell:
    """One set of weights on one plant.

    Attributes:
        costs: physical cost, shape (runs, episodes).
    """

    costs: Floats

    @property
    def scores(self) -> Floats:
        """Mean over episodes of each run, shape (runs,)."""
        return np.asarray(self.costs.mean(axis=1))

    @property
    def mean(self) -> float:
        """Mean over runs and episodes."""
        return float(self.costs.mean())

    @property
    def over_episodes(self) -> float | None:
        """Standard deviation over the episodes of one run, pooled over runs; None for one episode."""
        if self.costs.shape[1] < 2:
            return None
        return float(np.sqrt(self.costs.var(axis=1, ddof=1).mean()))

    @property
    def over_runs(self) -> float | None:
        """Standard deviation of the runs' scores; None for one run."""
        return float(self.scores.std(ddof=1)) if len(self.costs) > 1 else None

    def quantiles(self, *shares: float) -> list[float]:
        """Quantiles over all runs' episodes."""
        return [float(value) for value in np.quantile(self.costs, shares)]

    def to_json(self) -> dict[str, Any]:
        """Return what the table shows, and the scores behind it."""
        return {
            "mean": self.mean,
            "runs": self.costs.shape[0],
            "episodes": self.costs.shape[1],
            "scores": self.scores.tolist(),
            "deviation_over_episodes": self.over_episodes,
            "deviation_over_runs": self.over_runs,
        }


@dataclass
class Table:
    """The transfer table.

    Attributes:
        episodes: of every cell.
        plants: the columns: both, or "nominal" alone where the experiment declares no mismatch.
        cells: what could be evaluated.
        missing: why a cell could not.
    """

    episodes: int
    plants: tuple[PlantName, ...]
    cells: dict[tuple[Weights, PlantName], Cell] = field(default_factory=dict)
    missing: dict[tuple[Weights, PlantName], str] = field(default_factory=dict)

    def cell(self, weights: Weights, plant: PlantName) -> Cell | None:
        """Return the cell, or None where it could not be evaluated."""
        return self.cells.get((weights, plant))

    def mean(self, weights: Weights, plant: PlantName) -> float | None:
        """Return the cell's mean physical cost, or None."""
        cell = self.cell(weights, plant)
        return None if cell is None else cell.mean

    def to_json(self) -> dict[str, Any]:
        """Return cells by weights, then plant."""
        rows: dict[str, Any] = {
            weights: {
                plant: self.cells[weights, plant].to_json()
                if (weights, plant) in self.cells
                else {"missing": self.missing.get((weights, plant), "")}
                for plant in self.plants
            }
            for weights in WEIGHTS
        }
        return {"episodes": self.episodes, "plants": list(self.plants), "weights": rows}


def with_mismatch(experiment: Experiment, mismatch: Mapping[str, Any]) -> Experiment:
    """Return the experiment with another `[plant.mismatch]`, for a simulation: a real plant's port is left out."""
    tables = experiment.model_dump(exclude_none=True)
    plant = {key: value for key, value in tables["plant"].items() if key != "port"}
    return from_tables({**tables, "plant": {**plant, "mismatch": dict(mismatch)}}, "")


def fill(
    states: Mapping[Weights, Sequence[tuple[Experiment, State]]],
    evaluate: Evaluate,
    *,
    cost_lsb: float,
    has_mismatch: bool,
    episodes: int,
    progress: Progress,
) -> Table:
    """Evaluate every set of weights on every plant.

    Args:
        states: (head, mem) of each run and the experiment that it learned in, by row; a row without any is missing. All
            experiments have one plant.
        evaluate: runs one state on one plant.
        cost_lsb: physical cost of one count.
        has_mismatch: the experiment declares a mismatched plant.
        episodes: of every cell.
        progress: advances by one an evaluation.
    """
    table = Table(episodes, PLANTS if has_mismatch else ("nominal",))
    progress.start("transfer table", len(table.plants) * sum(len(rows) for rows in states.values()))
    for plant in table.plants:
        for weights in WEIGHTS:
            rows = states.get(weights, ())
            costs: list[list[int]] = []
            if not rows:
                table.missing[weights, plant] = "no run" if weights == "untrained" else f"no {weights} run"
            try:
                for experiment, (head, mem) in rows:
                    costs.append(
                        evaluate(
                            experiment,
                            experiment.learner.rule,
                            head,
                            mem,
                            mismatch=plant == "mismatched",
                            episodes=episodes,
                        )
                    )
                    progress.advance()
            except SubsongError as error:
                # A plant that this machine lacks (a missing extra, pins) leaves its cells empty; the rest stands.
                table.missing[weights, plant] = str(error)
                continue
            if costs:
                table.cells[weights, plant] = Cell(np.array(costs, dtype=np.float64) * cost_lsb)
    return table
