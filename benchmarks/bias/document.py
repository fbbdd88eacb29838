"""docs/bias.md and its figure, from finished runs."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from laws.rows import interval, number, table

from bias.cases import CASES
from bias.judging import NEAR, SOFTWARE, Centre, Judged
from bias.sweep import SEEDS, Tried

WAYS = {
    "through_model": "back-propagation through the model",
    "on_model": "perturbation on the model",
    "on_plant": "perturbation on the plant",
}
COLOURS = {"through_model": "C1", "on_model": "C0", "on_plant": "C3"}

INTRODUCTION = """# Where software learning stops being hardware learning

Written by `make bench-bias`. A plant is simulated twice: as its model has it, and as it is, wrong by a *severity* from
0, where both are the same, to 1. Three policies of the same network, from the same initial weights, are judged on the
true plant, without perturbation, by the firmware's integer kernels and in the same episodes:

- **through the model**: weights learned by back-propagation through time through the nominal model, in float64
  (`subsong_sim.controls`), then rounded to the words of a block. It sees every derivative of the model.
- **on the model**: by perturbation on the nominal model, with the firmware's kernels. It sees a cost a trial.
- **on the plant**: likewise on the true plant, as a board would.

A figure is the interquartile mean over {seeds} seeds of the mean cost of an episode, with its 95 % bootstrap interval
(`subsong.compare.statistics`). *Lost* is what software's weights cost more than those that the same seed learned on the
plant, in the same episodes: **bold** where the whole interval lies above 0, *slanted* where it lies below, for then
software was better, as back-propagation is to be where its model is right.

![Cost, loss and trials on the true plant, over the bias of the model](images/bias.svg)

Upper row: cost on the true plant. Middle: what software's weights lose, per cent of what learning on the plant ends at;
dotted, where software learning has stopped being hardware learning. Lower: learning trials on the true plant, from
either software's weights and from initial ones, until near the final cost of the latter; the dashed line is the length
of a run. Bands are intervals, of trials the quartiles.
"""

LIMITS = """Software learning stops being hardware learning at the severity from which on the whole interval of what is
lost lies above 0: between that severity and the one before it, that is.

"""

SWEEP = """Amplitude and rate of perturbation are chosen by hand from this sweep: the final cost of learning on the true
plant, at severity 0 and at 1, interquartile mean over {seeds} other seeds. Perturbation on the model has the same.
Horizons and starts of back-propagation are chosen by hand at severity 0.
"""

TUNED = """Fine-tuning is learning on the true plant that begins with software's weights. What is counted is learning
trials until an evaluation is within {near:.0f} % of what the same seed ends at when it begins with initial weights.
There is one every {every} trials, and one before the first: 0 is a policy that needs none. Medians over seeds, and
quartiles; *never* is longer than the run, {trials:,} trials.
"""


def write(
    root: Path,
    judged: Mapping[str, Judged],
    sweeps: Mapping[str, Sequence[Tried]],
    severities: Sequence[float],
    seeds: int,
    command: str,
) -> None:
    """Write docs/bias.md and docs/images/bias.svg."""
    draw(root / "docs" / "images" / "bias.svg", judged, severities)
    parts = [INTRODUCTION.format(seeds=seeds), command, verdicts(judged)]
    for name, each in judged.items():
        parts += section(name, each, severities)
    parts.append(settings(sweeps))
    (root / "docs" / "bias.md").write_text("\n".join(parts), encoding="utf-8")


def verdicts(judged: Mapping[str, Judged]) -> str:
    """Return the table of the severities at which software learning stops being hardware learning."""
    rows = []
    for name, each in judged.items():
        ends = [
            f"from {severity:g} on" if severity is not None else "not up to the greatest"
            for severity in each.limits.values()
        ]
        rows.append([name, *ends, *(loss(lost[0]) for lost in each.lost.values())])
    headers = [f"{what} {WAYS[way]}" for what in ("loses:", "lost without bias:") for way in SOFTWARE]
    return LIMITS + table(["plant", *headers], rows)


def section(name: str, judged: Judged, severities: Sequence[float]) -> Iterator[str]:
    """Yield a plant's part of the document."""
    case = CASES[name]
    run = case.experiment(1).run
    yield f"## {name}\n"
    moved = [f"`{key}` {case.true(0.0)[key]:g} to {value:g}" for key, value in case.severe.items()]
    yield f"From severity 0 to 1, in the units of [plants.md](plants.md): {', '.join(moved)}.\n"
    rows = []
    for k, severity in enumerate(severities):
        costs = [cell(judged.costs[way][k]) for way in ("untrained", *WAYS)]
        rows.append([f"{severity:g}", *costs, *(loss(each[k]) for each in judged.lost.values())])
    yield table(["severity", "untrained", *WAYS.values(), "lost: through the model", "lost: on the model"], rows)
    yield TUNED.format(near=100 * (NEAR - 1), every=run.evaluate_every, trials=run.trials)
    ends = judged.costs["on_plant"], *judged.tuned.values()
    rows = [
        [
            f"{severity:g}",
            *(spent(judged.trials[way][k]) for way in judged.trials),
            *(cell(each[k]) for each in ends),
        ]
        for k, severity in enumerate(severities)
    ]
    began = ("initial weights", "weights through the model", "weights on the model")
    yield table(
        ["severity", *(f"{what} from {each}" for what in ("trials", "cost at the end,") for each in began)], rows
    )


def settings(sweeps: Mapping[str, Sequence[Tried]]) -> str:
    """Return the learners' settings, and the sweep that they are from."""
    rows = []
    for name, case in CASES.items():
        experiment = case.experiment(1)
        network, learner, run = experiment.network, experiment.learner, experiment.run
        rows.append(
            [
                name,
                "-".join(map(str, network.layers)) + ", " + ", ".join(network.activations),
                f"{network.init:g}",
                f"{learner.rule}, amplitude {learner.amplitude:g}, rate {learner.rate} / 2^{learner.rate_shift}",
                f"{run.trials:,} of {run.steps} steps, two an update",
                f"{case.updates} updates each at horizons {', '.join(map(str, case.horizons))}; {case.episodes} starts",
            ]
        )
    headers = ["plant", "network", "initial weights within", "perturbation", "trials", "back-propagation, Rprop"]
    chosen = "## Settings\n\nThey are in `benchmarks/bias/cases.py`.\n\n" + table(headers, rows)
    rows = [
        [
            f"{one.amplitude:g}, 2^-{one.rate_shift}",
            *(f"{number(e.unbiased)}, {number(e.severe)}" for e in (one, *others)),
        ]
        for one, *others in zip(*sweeps.values(), strict=True)
    ]
    return f"{chosen}\n{SWEEP.format(seeds=len(SEEDS))}\n{table(['amplitude, rate', *sweeps], rows)}"


def cell(centre: Centre) -> str:
    """Return a value with its interval, where there is one."""
    if centre.interval is None:
        return number(centre.value)
    return interval((centre.value, centre.interval.low, centre.interval.high))


def loss(lost: Centre) -> str:
    """Return what software loses, in bold where it certainly does, slanted where it certainly gains."""
    text = cell(lost)
    if lost.interval is None or lost.interval.low <= 0 <= lost.interval.high:
        return text
    return f"**{text}**" if lost.value > 0 else f"*{text}*"


def spent(trials: Sequence[float]) -> str:
    """Return the median of trials, and quartiles, all of them values that occur."""
    low, middle, high = (f"{value:,.0f}" if math.isfinite(value) else "never" for value in quartiles(trials))
    return f"{middle} ({low} .. {high})"


def quartiles(trials: Sequence[float]) -> Sequence[float]:
    """Return lower quartile, median and upper quartile, no values in between: some may be infinite."""
    return [float(value) for value in np.quantile(trials, (0.25, 0.5, 0.75), method="inverted_cdf")]


def draw(path: Path, judged: Mapping[str, Judged], severities: Sequence[float]) -> None:
    """Draw a column for each plant: cost, what software loses, and trials, over severity."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams.update({"svg.hashsalt": "bias", "svg.fonttype": "none"})
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(3, len(judged), figsize=(3.4 * len(judged), 7.2), layout="constrained", squeeze=False)
    for column, (name, each) in enumerate(judged.items()):
        costs, lost, trials = axes[:, column]
        costs.set_title(name, fontsize=10)
        costs.set_yscale("log")
        lost.set_yscale("symlog", linthresh=10)
        lost.axhline(0, color="0.6", lw=1)
        hardware = each.costs["on_plant"]
        for way, colour in COLOURS.items():
            _band(costs, severities, each.costs[way], colour)
        for way, centres in each.lost.items():
            shares = [percent(*pair) for pair in zip(centres, hardware, strict=True)]
            _band(lost, severities, shares, COLOURS[way])
            if each.limits[way] is not None:
                lost.axvline(each.limits[way], color=COLOURS[way], ls=":", lw=1.5)
        _trials(trials, each, severities, CASES[name].experiment(1).run.trials)
    labels = ("cost on the true plant", "lost by software, % of hardware's", "trials until near hardware's")
    for axis, label in zip(axes[:, 0], labels, strict=True):
        axis.set_ylabel(label, fontsize=8)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(which="both", labelsize=7)
    for axis in axes[-1]:
        axis.set_xlabel("severity of the model's bias", fontsize=8)
    figure.legend(axes[0, 0].lines, WAYS.values(), loc="outside upper center", ncols=3, fontsize=8, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)


def percent(lost: Centre, hardware: Centre) -> Centre:
    """Return what is lost as a part of hardware's cost."""
    scale = 100 / hardware.value
    interval = lost.interval and lost.interval._replace(low=scale * lost.interval.low, high=scale * lost.interval.high)
    return Centre(scale * lost.value, interval)


def _band(axis: Any, severities: Sequence[float], centres: Sequence[Centre], colour: str) -> None:
    axis.plot(severities, [each.value for each in centres], color=colour, lw=1.5, marker=".")
    low, high = zip(*((each.interval or (each.value, each.value))[:2] for each in centres), strict=True)
    axis.fill_between(severities, low, high, color=colour, alpha=0.2, lw=0)


def _trials(axis: Any, judged: Judged, severities: Sequence[float], most: int) -> None:
    """Draw medians and quartiles; what is never near lies on the line of the run's length."""
    for way, rows in judged.trials.items():
        low, middle, high = np.minimum(np.array([quartiles(row) for row in rows]).T, most)
        colour = COLOURS["on_plant" if way == "untrained" else way]
        axis.plot(severities, middle, color=colour, lw=1.5, marker=".")
        axis.fill_between(severities, low, high, color=colour, alpha=0.2, lw=0)
    axis.axhline(most, color="0.7", ls="--", lw=1)
