"""What pictures are made of: curves, rasters, words over steps, and how all of it becomes a PNG."""

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from subsong.compare.curves import Curve, read_curve
from subsong.drawing.columns import Floats
from subsong.drawing.observe import Spikes
from subsong.experiment import Experiment
from subsong.session import physical

if TYPE_CHECKING:
    from subsong.runlog import Run

INK, PALE, FIRST, LAST = "#222222", "#b9b4a7", "#c8553d", "#2a6f97"
GREY = "#77736a"
CHANNELS = ("#222222", "#c98b2b", "#4f9d69", "#8d6a9f", "#7fb2cf", "#b5838d")  # more words than these are an image
STYLE: Any = {
    "font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": INK, "text.color": INK,
    "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK,
}  # fmt: skip
MOST_BLOCKS, FEW_BLOCKS, BLOCK = 100, 20, 10


def curve_of(run: "Run", experiment: Experiment) -> Curve:
    """Return how a run learned, in physical costs."""
    return read_curve(run.summaries(), physical(experiment, 1), physical(experiment, 1, evaluate=True))


def new_figure(height: float) -> Any:
    """Return an empty figure, 10 inches wide; call it, and whatever draws on it, within matplotlib's STYLE."""
    from matplotlib.figure import Figure

    return Figure(figsize=(10, height), layout="constrained")


def png(figure: Any, colours: int) -> bytes:
    """Return a figure as a PNG with so many colours."""
    from PIL import Image  # matplotlib needs it, too

    drawn, packed = BytesIO(), BytesIO()
    figure.savefig(drawn, format="png", dpi=100)
    Image.open(drawn).convert("RGB").quantize(colours).save(packed, format="png", optimize=True)
    return packed.getvalue()


def learning_curve(axis: Any, curve: Curve, learning: str, evaluation: str) -> Floats:
    """Draw the cost of trials that learned, median and 10 % to 90 % of blocks, and of evaluations, over trials.

    Returns:
        Every cost drawn.
    """
    n = len(curve.cost)
    blocks = np.array_split(np.arange(n), min(max(n // BLOCK, min(n, FEW_BLOCKS)), MOST_BLOCKS))
    middle = [block.mean() for block in blocks]
    low, median, high = np.array([np.quantile(curve.cost[block], (0.1, 0.5, 0.9)) for block in blocks]).T
    looked = [each.trial for each in curve.evaluations], [each.mean for each in curve.evaluations]
    axis.fill_between(middle, low, high, color=FIRST, alpha=0.2, linewidth=0)
    axis.plot(
        middle, median, color=FIRST, linewidth=1.2, marker=_dot(middle), label=f"{learning}: median, 10 % to 90 %"
    )
    if looked[0]:
        dot = _dot(looked[0])  # at the axis's end, of which it would be cut in half
        axis.plot(*looked, color=LAST, linewidth=1.8, marker=dot, clip_on=not dot, label=evaluation)
    axis.set_xlim(0, n)
    return np.concatenate([low, high, looked[1]])


def _dot(points: Sequence[float]) -> str:
    """Return the marker that shows what is no line yet."""
    return "." if len(points) < 3 else ""


def logarithmic(axis: Any, costs: Floats) -> None:
    """Make the costs' axis logarithmic where they are positive over more than a decade."""
    from matplotlib.ticker import LogLocator, NullFormatter

    if not 0 < 10 * costs.min() < costs.max():
        return
    decades = np.log10(costs.max() / costs.min())
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2.5 else (1,)))
    axis.yaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_minor_formatter(NullFormatter())


def raster(axis: Any, spikes: Spikes, at: Floats, colour: str, width: float = 1.3) -> None:
    """Draw a line a spike, the first unit at the top.

    Args:
        axis: to draw on.
        spikes: shape (ticks, units).
        at: where on the axis each tick is.
        colour: of the lines.
        width: of a line, points.
    """
    axis.eventplot([at[unit] for unit in spikes.T], colors=colour, linelengths=0.8, linewidths=width)
    axis.set_ylim(spikes.shape[1] - 0.4, -0.6)
    axis.set_yticks([])


def bands(axis: Any, sizes: Sequence[int], names: Sequence[str], fontsize: float) -> None:
    """Separate a raster's units by lines, sizes[k] of them called names[k]."""
    edges = np.cumsum(sizes)
    for edge in edges[:-1]:
        axis.axhline(edge - 0.5, color=PALE, linewidth=0.6)
    axis.set_yticks(edges - np.array(sizes) / 2 - 0.5, names, fontsize=fontsize)
    axis.tick_params(axis="y", length=0)


def over_steps(axes: Sequence[Any], words: Sequence[Floats]) -> None:
    """Draw words over steps, to one scale: a line a channel; an image, where those would be many, or all on or off.

    Args:
        axes: one beside the other, which share y.
        words: for each, shape (steps, channels).
    """
    channels = words[0].shape[1]
    values = np.unique(np.concatenate(words))
    if channels > len(CHANNELS) or (channels > 1 and len(values) <= 2):
        limit = max(1e-9, *np.abs(values))
        for axis, each in zip(axes, words, strict=True):
            axis.imshow(
                each.T, cmap="RdGy", vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest",
                extent=(0, len(each), channels + 0.5, 0.5),
            )  # fmt: skip
            axis.set_yticks([1, channels])
        return
    for axis, each in zip(axes, words, strict=True):
        width = 1.2 if len(each) <= 128 else 0.7
        for k in range(channels):
            axis.stairs(each[:, k], baseline=None, color=CHANNELS[k], linewidth=width, label=f"{k + 1}")
    margin = 0.08 * (values[-1] - values[0]) or 1.0
    axes[0].set_ylim(values[0] - margin, values[-1] + margin)
    if channels > 1:
        axes[-1].legend(
            loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0, fontsize=7, frameon=False, ncols=channels,
            handlelength=1, columnspacing=1,
        )  # fmt: skip
