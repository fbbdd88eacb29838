"""The picture of a songbird's run: RA's spikes and the song against the template, first and last."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from subsong import song
from subsong.compare.curves import Curve
from subsong.console import Progress
from subsong.drawing import parts
from subsong.drawing.columns import Ends, Floats, read_ends
from subsong.drawing.observe import Spikes, State, play
from subsong.drawing.parts import FIRST, INK, LAST, PALE
from subsong.experiment import Experiment
from subsong.experiment_tasks import SongPlant
from subsong_device.layout import ARITHMETIC_VERSION

if TYPE_CHECKING:
    from subsong.runlog import Run, Trial

RENDITIONS = 12  # songs with LMAN, drawn thin
COLOURS = 64


class Rendition(NamedTuple):
    """One song.

    Attributes:
        hvc: which neuron bursts, shape (steps, neurons).
        spikes: which RA neuron fires, shape (steps, neurons).
        heard: the song, shape (steps, channels).
    """

    hvc: Spikes
    spikes: Spikes
    heard: Floats


def is_sung(run: "Run", experiment: Experiment) -> bool:
    """Tell whether a log is a songbird's, run to its end: of any other there is the picture of any run."""
    return (
        isinstance(experiment.plant, SongPlant)
        and experiment.learner.rule == "songbird"
        and experiment.network.activations == ("integrate_fire", "identity")
        and run.arithmetic == ARITHMETIC_VERSION
        and {"initial", "final"} <= set(run.states)
        and any(summary.evaluate for summary in run.summaries())
    )


def make(run: "Run", experiment: Experiment, progress: Progress) -> bytes:
    """Return the picture of a songbird's run, PNG.

    Raises:
        LogError: no trial that learned is whole.
    """
    import matplotlib as mpl

    ends = read_ends(run, RENDITIONS * experiment.run.steps, progress)
    progress.start("drawing")
    with mpl.rc_context(parts.STYLE):
        return parts.png(_figure(run, experiment, ends), COLOURS)


def heard(motor: Iterable[Iterable[int]]) -> Floats:
    """Return the song that motor words make, as the task's muscles do (kernels/tasks/song.py)."""
    rows, y = [], [0] * song.MUSCLES
    for u in list(motor)[: song.STEPS]:
        y = [a + ((b - a + ((1 << song.MUSCLE_SHIFT) >> 1)) >> song.MUSCLE_SHIFT) for a, b in zip(y, u, strict=True)]
        rows.append(y)
    return np.array(rows) / 4096


def rendition(state: State, trial: "Trial") -> Rendition:
    """Play a song again, from the state before it."""
    played = play("songbird", state, [trial])
    hvc = np.array([step.x for step in trial.steps[: song.STEPS]]) > 0
    return Rendition(hvc, played.layers[0][: song.STEPS], heard(played.motor))


def _figure(run: "Run", experiment: Experiment, ends: Ends) -> Any:
    curve = parts.curve_of(run, experiment)
    first = rendition(run.states["initial"], ends.first[0])
    assert ends.evaluation is not None
    # An evaluation changes no state, so the last state is the one before the last of them, too.
    last = rendition(run.states["final"], ends.evaluation)
    figure = parts.new_figure(8.2)
    grid = figure.add_gridspec(5, 2, height_ratios=[0.8, 1.5, 1.2, 1.2, 1.1])
    titles = ("The first songs: babbling", f"After {len(curve.cost):,} songs, without LMAN")
    template = np.array(song.song_template())
    limit = 1.6 * np.abs(template).max()
    steps = np.arange(song.STEPS, dtype=float)
    for column, (sung, colour, thin) in enumerate(((first, FIRST, ends.first), (last, LAST, ends.last))):
        axes = [figure.add_subplot(grid[row, column]) for row in range(4)]
        parts.raster(axes[0], sung.hvc, steps, INK)
        # RA by pools: those that push and those that pull each muscle.
        pools = [_pool(sung.spikes.shape[1], i, side) for i in range(song.MUSCLES) for side in (0, 1)]
        parts.raster(axes[1], sung.spikes[:, [n for pool in pools for n in pool]], steps, colour)
        parts.bands(axes[1], [len(pool) for pool in pools], ["push 1", "pull 1", "push 2", "pull 2"], 7)
        axes[0].set_ylabel("HVC" if column == 0 else "")
        axes[1].set_ylabel("RA" if column == 0 else "")
        for channel, axis in enumerate(axes[2:]):
            axis.plot(template[:, channel], color=PALE, linewidth=5, solid_capstyle="round", label="template")
            for k, trial in enumerate(thin):
                line = heard(step.u for step in trial.steps)[:, channel]
                axis.plot(line, color=colour, alpha=0.3, linewidth=0.7, label="" if k else "with LMAN")
            if column == 1:
                axis.plot(sung.heard[:, channel], color=colour, linewidth=1.8, label="without LMAN")
            axis.set_ylim(-limit, limit)
            axis.set_yticks([-0.3, 0, 0.3])
            axis.set_ylabel(f"muscle {channel + 1}" if column == 0 else "")
        for axis in axes:
            axis.set_xlim(0, song.STEPS)
            axis.tick_params(labelbottom=axis is axes[-1])
        axes[0].set_title(titles[column], fontsize=11, loc="left")
        axes[-1].set_xlabel("step of the song")
        axes[2].legend(loc="upper right", fontsize=8, frameon=False, ncols=3)
    _curve(figure.add_subplot(grid[4, :]), experiment, curve, template)
    return figure


def _pool(n: int, muscle: int, side: int) -> range:
    """Return the neurons, of n, that push (side 0) or pull (1) a muscle: subsong.block.fix_pools."""
    return range(muscle + side * song.MUSCLES, n, 2 * song.MUSCLES)


def _curve(axis: Any, experiment: Experiment, curve: Curve, template: Floats) -> None:
    """Draw the mean squared error of every song, over the songs learned."""
    parts.learning_curve(axis, curve, "with LMAN", "without LMAN")
    silence = float(np.square(template).sum() / (experiment.run.steps * song.MUSCLES))
    axis.axhline(silence, color=PALE, linewidth=2, linestyle="--", label="silence")
    axis.set_yscale("log")
    axis.set_xlabel("songs")
    axis.set_ylabel("squared error")
    low = min(each.mean for each in curve.evaluations)
    axis.set_ylim(0.4 * low, 1.5 * silence)
    axis.set_yticks([tick for tick in (0.001, 0.002, 0.005, 0.01, 0.02) if tick > 0.4 * low])
    axis.yaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_minor_formatter("")
    axis.legend(loc="lower left", fontsize=8, frameon=False, ncols=3)
