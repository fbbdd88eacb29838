"""docs/laws.md and its plots, from finished figures."""

from pathlib import Path
from typing import Any

import numpy as np

from laws.rows import HEADERS, table
from laws.sections import OUTPUTS, RULES, SECTIONS, SIZES, TITLES, TRIALS, Section
from laws.teacher import word_law

INTRODUCTION = """# Laws

Written by `make bench-laws`: what the integer learner does, against what theory says it does, and against the same rule
with float64 weights.

- *16-bit words*: the firmware's kernels, compiled; rules, tasks, random numbers and rounding are the board's, bit for
  bit.
- *float64*: another program (`benchmarks/laws/reference.py`, `networks.py`, `lqr.py`) with real weights and its own
  random numbers.
- *exact*: the law (`benchmarks/laws/formulas.py`) at the very setting: the rate that mantissa and shift make, the size
  that `amplitude` makes, the moments of sums of 64 coins, random signs. The targets, *held to*, are the laws' round
  values.

Brackets are 95 % intervals over seeds, which are 1, 2, ...; where a target has a tolerance the whole interval must lie
within. *Words against float64* is the quantisation penalty: how far the words' figure is from the reals', with both
intervals in its ±. A law's E is the expected cost in the units of its teacher; 1 - a is the part of E that an update
removes.
"""

NOTES = {
    "decay": """\
- Inputs of the linear teacher are sums of 64 coins, of kurtosis 2.97, clipped at four deviations: 1 - a at the optimum
  is .3 % above that of normal inputs.""",
    "extended": """\
- In the extended task the inputs span 50 of 100 directions. Node perturbation moves weights within them; weight
  perturbation moves all, and along the other directions nothing brings them back; docs/arithmetic.md says what comes of
  it.""",
    "xor": """\
- Patterns of XOR come in turn, in both columns (the published setting draws them). The shipped example, all patterns in
  one two-sided trial, is below, under trials to the criterion.""",
    "letters": """\
- The surrogate's float64 runs draw images at random; the board goes through all of them by a stride.""",
}


def write(root: Path, done: dict[str, Section], command: str) -> None:
    """Write docs/laws.md and docs/images/laws-*.png."""
    images = root / "docs" / "images"
    rows = [row for section in done.values() for row in section.rows]
    parts = [INTRODUCTION, command, table(HEADERS, [row.cells() for row in rows])]
    missing = [name for name in SECTIONS if name not in done]
    if missing:
        parts.append(f"Not measured in this run, hence not here: {', '.join(missing)}.\n")
    notes = [note for name, note in NOTES.items() if name in done]
    parts.append("\n".join(["Notes:", "", *notes]) + "\n")
    for name, plot in PLOTS.items():
        if name in done:
            plot(images / f"laws-{name}.png", done[name].curves)
            parts.append(f"![{(plot.__doc__ or '').rstrip('.')}](images/laws-{name}.png)\n")
    tables: dict[str, tuple[list[str], list[list[str]]]] = {}
    for section in done.values():
        for title, headers, cells in section.others:
            tables.setdefault(title, (headers, []))[1].extend(cells)
    parts += [f"## {title}\n\n{table(*contents)}" for title, contents in tables.items()]
    if TRIALS in tables:
        parts.append(CRITERION.format(len(tables[TRIALS][1])))
    (root / "docs" / "laws.md").write_text("\n".join(parts), encoding="utf-8")


CRITERION = """\
The {} pairs are every rule on every task that it fits: keep_if_better and run_and_tumble, which learn from
one bit a trial, fit tasks without chance; activity_difference those whose trials may have one step; rules of spiking
units those whose inputs last; states of REINFORCE's units are two, and its outputs choose; hebb, the control, is shown
on three. Settings are those of the shipped example and what stands beside it, chosen among a dozen.

The criterion is the example's `stop_cost`, looked at every `evaluate_every` trials (evaluations are not counted);
CartPole's is a mean of 475 steps over 100 episodes, looked at after every update. The control has the rate 2**-29, a
fifth of the seeds, and everything else the same. The median is that of all seeds, "never" where fewer than half got
there.
"""


def _axes(rows: int = 1, columns: int = 2, size: tuple[float, float] = (6.4, 3.0)) -> tuple[Any, Any]:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(which="both", labelsize=8)
    return figure, axes if rows > 1 else axes[0]


def _save(figure: Any, path: Path) -> None:
    from matplotlib import pyplot as plt

    figure.savefig(path, dpi=110)
    plt.close(figure)


def _curves(path: Path, curves: dict[str, Any]) -> None:
    figure, axes = _axes()
    for axis, rule in zip(axes, RULES, strict=True):
        c = curves[rule]
        at = np.array(c["words"][0])
        axis.semilogy(at, c["words"][1][0] * (1 - c["loss"]) ** at, "0.7", lw=5, label="law")
        axis.semilogy(*c["reals"], "C1", lw=1, label="float64")
        axis.semilogy(*c["words"], "C0", lw=1, label="16-bit words")
        axis.set_title(TITLES[rule], fontsize=9)
        axis.set_xlabel("updates", fontsize=8)
    axes[0].set_ylabel("E, mean of seeds", fontsize=8)
    axes[0].legend(fontsize=8, frameon=False)
    _save(figure, path)


def decay(path: Path, curves: dict[str, Any]) -> None:
    """The linear teacher: the error falls as its law says."""
    _curves(path, curves)


def extended(path: Path, curves: dict[str, Any]) -> None:
    """The temporally extended task: both rules fall alike."""
    _curves(path, curves)


def scaling(path: Path, curves: dict[str, Any]) -> None:
    """The optimal rate against the number of inputs, for 1, 2, 4 and 8 outputs."""
    figure, axes = _axes()
    for axis, rule in zip(axes, RULES, strict=True):
        for k, m in enumerate(OUTPUTS):
            n, rate, error = np.array([[n, rate, error] for n, m2, rate, error in curves[rule] if m2 == m]).T
            axis.loglog(SIZES, [word_law(rule, size, m, 0.1).eta_opt for size in SIZES], f"C{k}", lw=1)
            axis.errorbar(n, rate, 1.96 * error, fmt=f"oC{k}", ms=3, lw=1, label=f"M = {m}")
        axis.set_title(TITLES[rule], fontsize=9)
        axis.set_xlabel("N", fontsize=8)
        axis.set_xticks(SIZES, [str(n) for n in SIZES])
        axis.minorticks_off()
    axes[0].set_ylabel("optimal rate; lines: the law", fontsize=8)
    axes[0].legend(fontsize=8, frameon=False)
    _save(figure, path)


def xor(path: Path, curves: dict[str, Any]) -> None:
    """XOR: the share of seeds that have solved it; 16-bit words drawn out, float64 dashed."""
    figure, axes = _axes(size=(7.4, 3.0))
    for k, (name, sides) in enumerate(curves.items()):
        axis = axes[0 if name.startswith("2-4") else 1]
        for spent, style in zip(sides, ("-", "--"), strict=True):
            share = np.arange(1, len(spent) + 1) / len(spent)
            finite = np.isfinite(spent)
            label = name.split(", ", 1)[1] if style == "-" else None
            axis.semilogx(np.array(spent)[finite], share[finite], f"C{k}{style}", lw=1, label=label)
    for axis, title in zip(axes, ("2-4-1", "2-2-1"), strict=True):
        axis.set_title(title, fontsize=9)
        axis.set_xlabel("updates", fontsize=8)
        axis.set_ylim(0, 1.02)
        axis.legend(fontsize=6, frameon=False)
    axes[0].set_ylabel("share solved", fontsize=8)
    _save(figure, path)


def courses(path: Path, curves: dict[str, Any]) -> None:
    """The shipped examples, evaluated without perturbation: median and 10 to 90 % of seeds; dotted: `stop_cost`."""
    rows = -(-len(curves) // 4)
    figure, axes = _axes(rows, 4, (9.6, 2.3 * rows))
    for axis, (name, c) in zip(axes.flat, curves.items(), strict=False):
        least = c["stop"] / 100  # of a logarithmic axis
        trials = np.array(c["trials"])
        low, middle, high = (np.maximum(c[key], least) for key in ("low", "median", "high"))
        axis.fill_between(trials, low, high, color="C0", alpha=0.25, lw=0)
        axis.semilogy(trials, middle, "C0", lw=1)
        axis.axhline(c["stop"], color="0.4", ls=":", lw=1)
        task, rule = name.split(": ")
        axis.set_title(f"{task}\n{rule}, {c['seeds']} seeds", fontsize=7)
        axis.set_xlim(0, trials[-1])
        axis.locator_params(axis="x", nbins=4)
    for axis in axes.flat[len(curves) :]:
        axis.set_visible(False)
    for axis in axes.flat[max(0, len(curves) - 4) : len(curves)]:
        axis.set_xlabel("trials", fontsize=7)
    for row in axes:
        row[0].set_ylabel("mean cost of a step", fontsize=7)
    _save(figure, path)


PLOTS = {f.__name__: f for f in (decay, scaling, extended, xor, courses)}
