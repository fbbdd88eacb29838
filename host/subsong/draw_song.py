"""Draws what a songbird learned from the log of a run: RA's spikes and its song against the template, first and last.

    subsong sim song -o song.mcap
    python -m subsong.draw_song song.mcap docs/images/song.png

The song is what the log's motor words say; the spikes are not in the log, but its sensor words are: the kernels play
them again. Needs matplotlib: pip install matplotlib.
"""

import sys
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from subsong import song
from subsong.errors import LogError, SubsongError
from subsong.experiment import Experiment, parse_experiment
from subsong.experiment_tasks import SongPlant
from subsong_device import layout

if TYPE_CHECKING:
    from subsong.runlog import Run, Trial

Floats = NDArray[np.float64]
RENDITIONS = 12  # songs with LMAN, drawn thin
INK, TEMPLATE, FIRST, LAST = "#222222", "#b9b4a7", "#c8553d", "#2a6f97"


class Rendition(NamedTuple):
    """One song.

    Attributes:
        hvc: steps, neurons: 1 where one bursts.
        spikes: steps, RA neurons: 1 where one fires.
        heard: steps, channels: the song.
    """

    hvc: Floats
    spikes: Floats
    heard: Floats


def heard(motor: Iterable[Iterable[int]]) -> Floats:
    """Return the song that motor words make, as the task's muscles do (kernels/tasks/song.py)."""
    rows, y = [], [0] * song.MUSCLES
    for u in list(motor)[: song.STEPS]:
        y = [a + ((b - a + ((1 << song.MUSCLE_SHIFT) >> 1)) >> song.MUSCLE_SHIFT) for a, b in zip(y, u, strict=True)]
        rows.append(y)
    return np.array(rows) / 4096


def rendition(state: tuple[bytes, bytes], trial: "Trial", rule: str) -> Rendition:
    """Play a trial's sensor words and costs again, from the state before it, and look at every unit's activation."""
    from subsong_sim.engines import LocalLearner

    learner = LocalLearner(rule, *state)
    n = int(learner.head[layout.LAYERS_AT + layout.N_OUT])
    first = int(learner.head[layout.UNITS_AT]) + 1
    fading = int(learner.head[layout.SYNAPSE_SHIFT])
    before = np.zeros(n, np.int64)
    spikes, motor = [], []
    learner.begin(trial.number, bool(trial.evaluate))
    for step in trial.steps[: song.STEPS]:
        motor.append(learner.act(step.cost, step.x))
        now = np.array(learner.mem[first : first + layout.SPIKING_WORDS * n : layout.SPIKING_WORDS], np.int64)
        # Without a spike an activation does nothing but fade.
        spikes.append(now > before - ((before + (1 << fading) - 1) >> fading))
        before = now
    hvc = np.array([step.x for step in trial.steps[: song.STEPS]]) > 0
    return Rendition(hvc.astype(float), np.array(spikes).astype(float), heard(motor))


def draw(path: Path, out: Path) -> None:
    """Draw a run's log to an image.

    Raises:
        LogError: the log cannot be read, holds no song, or is not whole.
        SubsongError: there is no matplotlib.
    """
    from subsong.runlog import read_run

    run = read_run(path)
    experiment = parse_experiment(run.header.experiment_toml, str(path))
    if not isinstance(experiment.plant, SongPlant):
        raise LogError(f"{path}: is no log of the task song; `subsong sim song -o song.mcap` makes one")
    if not {"initial", "final"} <= set(run.states):
        raise LogError(f"{path}: has no first or last state; run it to its end")
    trials = [trial for trial in run.iter_trials() if trial.whole]
    try:
        import matplotlib as mpl
    except ImportError:
        raise SubsongError("drawing needs matplotlib: pip install matplotlib") from None
    mpl.use("Agg")
    from PIL import Image  # matplotlib needs it, too

    buffer = BytesIO()
    _figure(run, experiment, trials).savefig(buffer, format="png", dpi=100)
    Image.open(buffer).convert("RGB").quantize(64).save(out, format="png", optimize=True)


def _figure(run: "Run", experiment: Experiment, trials: "list[Trial]") -> Any:
    from matplotlib import pyplot as plt

    evaluations = [trial for trial in trials if trial.evaluate]
    learning = [trial for trial in trials if not trial.evaluate]
    rule = run.header.rule
    first = rendition(run.states["initial"], learning[0], rule)
    last = rendition(run.states["final"], evaluations[-1], rule)
    plt.rcParams.update({
        "font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": INK,
        "text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK,
    })  # fmt: skip
    figure = plt.figure(figsize=(10, 8.2), layout="constrained")
    grid = figure.add_gridspec(5, 2, height_ratios=[0.8, 1.5, 1.2, 1.2, 1.1])
    titles = ("The first songs: babbling", f"After {len(learning):,} songs, without LMAN")
    thin = learning[:RENDITIONS], learning[-RENDITIONS:]
    template = np.array(song.song_template())
    limit = 1.6 * np.abs(template).max()
    for column, (sung, colour) in enumerate(((first, FIRST), (last, LAST))):
        axes = [figure.add_subplot(grid[row, column]) for row in range(4)]
        _raster(axes[0], sung.hvc.T, INK)
        # RA by pools: those that push and those that pull each muscle.
        order = [n for i in range(song.MUSCLES) for side in (0, 1) for n in _pool(sung.spikes.shape[1], i, side)]
        _raster(axes[1], sung.spikes.T[order], colour)
        edges = np.cumsum([len(_pool(len(order), i, side)) for i in range(song.MUSCLES) for side in (0, 1)])
        for edge in edges[:-1]:
            axes[1].axhline(edge - 0.5, color=TEMPLATE, linewidth=0.6)
        axes[1].set_yticks(edges - edges[0] / 2 - 0.5, ["push 1", "pull 1", "push 2", "pull 2"], fontsize=7)
        axes[1].tick_params(axis="y", length=0)
        axes[0].set_ylabel("HVC" if column == 0 else "")
        axes[1].set_ylabel("RA" if column == 0 else "")
        for channel, axis in enumerate(axes[2:]):
            axis.plot(template[:, channel], color=TEMPLATE, linewidth=5, solid_capstyle="round", label="template")
            for k, trial in enumerate(thin[column]):
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
    _curve(figure.add_subplot(grid[4, :]), experiment, trials, template)
    return figure


def _pool(n: int, muscle: int, side: int) -> range:
    """Return the neurons, of n, that push (side 0) or pull (1) a muscle: subsong.block.fix_pools."""
    return range(muscle + side * song.MUSCLES, n, 2 * song.MUSCLES)


def _raster(axis: Any, units: Floats, colour: str) -> None:
    axis.eventplot([np.flatnonzero(unit) for unit in units], colors=colour, linelengths=0.8, linewidths=1.3)
    axis.set_ylim(len(units) - 0.4, -0.6)
    axis.set_yticks([])


def _curve(axis: Any, experiment: Experiment, trials: "list[Trial]", template: Floats) -> None:
    """Draw the mean squared error of every song, over the songs learned."""
    from subsong.session import physical

    costs: dict[bool, list[tuple[int, float]]] = {False: [], True: []}
    for trial in trials:
        assert trial.summary is not None
        costs[bool(trial.evaluate)].append((len(costs[False]), physical(experiment, trial.summary.total)))
    count, babbled = np.array(costs[False]).T
    width = max(len(count) // 100, 1)
    whole = len(count) // width * width
    block = babbled[:whole].reshape(-1, width)
    middle = count[:whole].reshape(-1, width).mean(axis=1)
    low, median, high = np.quantile(block, (0.1, 0.5, 0.9), axis=1)
    axis.fill_between(middle, low, high, color=FIRST, alpha=0.2, linewidth=0)
    axis.plot(middle, median, color=FIRST, linewidth=1.2, label="with LMAN: median, 10 % to 90 %")
    axis.plot(*np.array(costs[True]).T, color=LAST, linewidth=1.8, label="without LMAN")
    silence = float(np.square(template).sum() / (experiment.run.steps * song.MUSCLES))
    axis.axhline(silence, color=TEMPLATE, linewidth=2, linestyle="--", label="silence")
    axis.set_yscale("log")
    axis.set_xlim(0, len(count))
    axis.set_xlabel("songs")
    axis.set_ylabel("squared error")
    low = min(cost for _, cost in costs[True])
    axis.set_ylim(0.4 * low, 1.5 * silence)
    axis.set_yticks([tick for tick in (0.001, 0.002, 0.005, 0.01, 0.02) if tick > 0.4 * low])
    axis.yaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_minor_formatter("")
    axis.legend(loc="lower left", fontsize=8, frameon=False, ncols=3)


def main() -> None:
    """Draw the log that the command line names to the image that it names."""
    if len(sys.argv) != 3:
        sys.exit("usage: python -m subsong.draw_song LOG IMAGE")
    try:
        draw(Path(sys.argv[1]), Path(sys.argv[2]))
    except SubsongError as error:
        sys.exit(f"subsong: error: {error}")


if __name__ == "__main__":
    main()
