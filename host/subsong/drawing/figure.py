"""The picture of any run: its learning curve; below, the first trials that learned beside the last ones."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from subsong.console import Progress
from subsong.drawing import parts
from subsong.drawing.columns import Column, column, read_ends
from subsong.drawing.observe import SPIKING, Played, play, states
from subsong.experiment import Experiment
from subsong.experiment_tasks import TaskPlant
from subsong.rules import BY_NAME
from subsong.session import physical

if TYPE_CHECKING:
    from subsong.runlog import Run

STEPS = 64  # of a column, about: as many whole trials as it takes
TICKS = 512  # of a column's raster, about: more would be a grey area
LONGEST = 8  # times as many steps are shown of a trial that is longer
COLOURS = 128  # so that a single dot keeps its own
LSB = {"identity": 2.0**-12}  # of actuator words, by the last layer's activation
WORD_LSB = 2.0**-15  # of any other, and of sensor words


def make(run: "Run", experiment: Experiment, progress: Progress) -> bytes:
    """Return the picture of a run, PNG.

    Raises:
        LogError: no trial that learned is whole.
        ReplayError: the rule's units spike, and the log is of another arithmetic.
    """
    import matplotlib as mpl

    rule = run.header.rule
    ticks = 2**experiment.learner.tick_shift if rule == "conductance_perturbation" else 1
    steps = max(1, min(STEPS, TICKS // ticks))
    ends = read_ends(run, steps, progress)
    columns = [column(trials, LONGEST * steps) for trials in (ends.first, ends.last)]
    played: list[Played | None] = []
    if rule in SPIKING:
        progress.start("playing trials again", 2)
        for state, shown in zip(states(run, experiment), columns, strict=True):
            played.append(None if state is None else play(rule, state, shown.trials))
            progress.advance()
    progress.start("drawing")
    with mpl.rc_context(parts.STYLE):
        return parts.png(_figure(run, experiment, columns, played), COLOURS)


def _figure(run: "Run", experiment: Experiment, columns: Sequence[Column], played: Sequence[Played | None]) -> Any:
    spiking = [] if not played else ["spikes"]
    rows = ["sensors", *spiking, "actuators", "costs"]
    units = sum(experiment.network.layers[1:])
    heights = {"sensors": 1.0, "spikes": min(max(units / 14, 0.6), 2.4), "actuators": 1.0, "costs": 0.8}
    ratios = [1.4, *(heights[row] for row in rows)]
    figure = parts.new_figure(0.6 + 1.3 * sum(ratios))
    grid = figure.add_gridspec(len(ratios), 2, height_ratios=ratios)
    figure.suptitle(_name(run, experiment), x=0.01, ha="left", fontsize=11)
    _curve(figure.add_subplot(grid[0, :]), run, experiment)
    lsb = LSB.get(experiment.network.activations[-1], WORD_LSB)
    sides: list[dict[str, Any]] = []
    for side, shown in enumerate(columns):
        # What is drawn to scale has the same scale on both sides.
        axes = {
            row: figure.add_subplot(grid[1 + k, side], sharey=sides[0][row] if sides and row != "spikes" else None)
            for k, row in enumerate(rows)
        }
        sides.append(axes)
        axes["sensors"].set_title(_title(shown, side), fontsize=11, loc="left")
        if played:
            _spikes(axes["spikes"], played[side], experiment, len(shown.costs), side)
        for row, axis in axes.items():
            # Of trials of one step, every step is one.
            for edge in shown.edges if len(shown.trials) < len(shown.costs) else ():
                axis.axvline(edge, color=parts.PALE, linewidth=0.6, zorder=0.5)
            axis.set_xlim(0, len(shown.costs))
            axis.xaxis.get_major_locator().set_params(integer=True)
            axis.tick_params(labelbottom=row == "costs")
        axes["costs"].set_xlabel("step")
    for row, words, unit in (
        ("sensors", [shown.sensors for shown in columns], WORD_LSB),
        ("actuators", [shown.actuators for shown in columns], lsb),
    ):
        parts.over_steps([axes[row] for axes in sides], [each * unit for each in words])
        sides[0][row].set_ylabel(row)
    costs = [shown.costs[:, None] * physical(experiment, 1) for shown in columns]
    parts.over_steps([axes["costs"] for axes in sides], costs)
    sides[0]["costs"].set_ylabel("cost,\nstep by step")
    figure.align_ylabels([axes[row] for axes in sides[:1] for row in rows])
    return figure


def _name(run: "Run", experiment: Experiment) -> str:
    """Return what learned what, and where."""
    header, plant = run.header, experiment.plant
    task = f"the {plant.title}" if isinstance(plant, TaskPlant) else plant.title
    mismatched = ", mismatched" if header.mismatch and experiment.mismatch() is not None else ""
    where = "on a board" if header.source == "board" else "in the simulator"
    return f"{BY_NAME[header.rule].title}: {task}{mismatched}, seed {header.seed}, {where}"


def _title(shown: Column, side: int) -> str:
    """Return which trials a column shows."""
    which = ("first", "last")[side]
    n = len(shown.trials)
    name = f"The {which} trial" if n == 1 else f"The {which} {n} trials"
    return f"{name}: the first {len(shown.costs)} steps" if shown.cut else name


def _curve(axis: Any, run: "Run", experiment: Experiment) -> None:
    """Draw how the run learned, and where it was to stop."""
    costs = parts.learning_curve(axis, parts.curve_of(run, experiment), "learning", "without perturbation")
    stop = experiment.run.stop_cost
    if stop is not None:
        axis.axhline(stop, color=parts.INK, linewidth=1.2, linestyle=":", label="stop_cost")
        costs = np.append(costs, stop)
    parts.logarithmic(axis, costs)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set_xlabel("learning trials")
    axis.set_ylabel("cost of a trial")
    axis.legend(loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0, fontsize=8, frameon=False, ncols=3)


def _spikes(axis: Any, played: Played | None, experiment: Experiment, steps: int, side: int) -> None:
    """Draw which unit fired when, layer under layer, and say how that is known."""
    if played is None:
        axis.set_yticks([])
        axis.text(0.5, 0.5, "spikes unknown: the log has no last state", ha="center", transform=axis.transAxes)
        return
    spikes = np.concatenate(played.layers, axis=1)
    at = (np.arange(len(spikes)) + 0.5) * steps / len(spikes)
    parts.raster(axis, spikes, at, (parts.FIRST, parts.LAST)[side], float(np.clip(320 / len(spikes), 0.5, 1.6)))
    parts.bands(axis, [layer.shape[1] for layer in played.layers], _layers_that_spike(experiment), 8)
    if side:
        how = "spikes, going on from the run's last state: a continuation"
    elif played.exact:
        how = "spikes, played again from the run's first state"
    else:
        how = "spikes, played from the first state: not exact, the log lacks trials"
    axis.set_title(how, fontsize=8, loc="left", color=parts.GREY)


def _layers_that_spike(experiment: Experiment) -> list[str]:
    """Return what the layers are called that have spikes: of integrate-and-fire rules, others are fixed pools."""
    kinds, pools = experiment.network.activations, BY_NAME[experiment.learner.rule].spiking
    hidden = len(kinds) - 1
    names = [f"hidden {k + 1}" if hidden > 1 else "hidden" for k in range(hidden)] + ["output"]
    return [name for name, kind in zip(names, kinds, strict=True) if kind == "integrate_fire" or not pools]
