"""The verbs that learn: sim and run."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from subsong import console
from subsong.cli.app import Verb
from subsong.cli.options import experiment_options, load, log_path, plain_fields, port_option, show_json, telling_where

if TYPE_CHECKING:
    from subsong.dry_run import DryRun
    from subsong.experiment import Experiment
    from subsong.session import RunResult


@click.command(
    cls=Verb,
    short_help="Learn in the simulator.",
    examples=[
        ("subsong sim cartpole", "the example that ships with Subsong"),
        ("subsong sim mine.toml --mismatch", "what would a board meet? the plant as [plant.mismatch] has it"),
        ("subsong sim mine.toml --seed 7 -o runs/seed7.mcap", "another seed, for a comparison of many runs"),
    ],
)
@experiment_options
@click.option("--mismatch", is_flag=True, help="Apply [plant.mismatch]: learn on the plant that the board will meet.")
@click.option(
    "--engine",
    type=click.Choice(["native", "numba", "cpython"]),
    default="native",
    show_default=True,
    help="What executes the firmware's kernels: cpython is slow and good for debugging them.",
)
@click.option("--no-log", is_flag=True, help="Write no run log.")
def sim(
    experiment: str, out: Path | None, seed: int | None, as_json: bool, mismatch: bool, engine: str, no_log: bool
) -> None:
    """Learn in the simulator, with the firmware's own arithmetic, and log the run.

    The simulator runs the firmware's kernels, not a model of them, on the nominal plant: what a board learns
    differently, it learns because its plant differs. EXPERIMENT is a file, or the name of an example: xor, cartpole.
    """
    if no_log and out:
        raise click.UsageError("--no-log and --out exclude each other")
    loaded, name = load(experiment, seed)
    # After the file is known to be good: this brings what executes it.
    from subsong.session import simulate

    path = None if no_log else out or log_path(name, "sim")
    with console.progress(quiet=as_json) as progress, telling_where(path):
        result = simulate(loaded, out=path, mismatch=mismatch, engine=engine, progress=progress)
    _show(
        result,
        loaded,
        f"{name}: learned in the simulator, on the {'mismatched' if mismatch else 'nominal'} plant",
        as_json,
    )


@click.command(
    cls=Verb,
    short_help="Learn on a board.",
    examples=[
        ("subsong run cartpole --port unix", "nothing plugged in: an embedded board, a MicroPython process of its own"),
        ("subsong deploy --port a0 && subsong run mine.toml --port a0", "a real board; the firmware goes there once"),
        (
            "subsong run mine.toml --port a0 --resume runs/mine.mcap",
            "go on with a run that was cut off, from the board's last checkpoint (run.checkpoint_every)",
        ),
        ("subsong run mine.toml --port a0 --dry-run", "before the first run: nothing moves, its words are shown"),
        ("subsong run mine.toml --port a0 --authority 0.2", "the first run: words stay near the safe ones"),
    ],
)
@experiment_options
@port_option
@click.option(
    "--reconnect",
    "reconnect_s",
    type=click.FloatRange(0, 3600),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="Look for a board whose port vanished for so long, then go on; 0: end the run.",
)
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    metavar="LOG",
    help="Go on with the run of this log (.partial or closed) from the board's newest checkpoint of it.",
)
@click.option(
    "--authority",
    type=click.FloatRange(0, 1, min_open=True),
    metavar="SHARE",
    help="Let the board's own plant go only so far from its safe words, of 1: replaces plant.authority.",
)
@click.option("--dry-run", "dry", is_flag=True, help="Move nothing, log nothing: show what two trials would put out.")
def run(
    experiment: str,
    out: Path | None,
    seed: int | None,
    as_json: bool,
    port: str,
    reconnect_s: float,
    resume: Path | None,
    authority: float | None,
    dry: bool,
) -> None:
    """Learn on a board, every frame of the link logged.

    The board draws the perturbations and updates the weights; the host plays the plant, mismatch included, or, for a
    task, only listens. EXPERIMENT is a file, or the name of an example: xor, cartpole.
    """
    if dry and (out or resume):
        raise click.UsageError("--dry-run writes no log and goes on with none: leave --out and --resume out")
    loaded, name = load(experiment, seed)
    if authority is not None:
        loaded = loaded.with_authority(authority)
    if dry:
        from subsong.dry_run import dry_run

        with console.progress(quiet=as_json) as progress:
            found = dry_run(loaded, port=port, progress=progress)
        again = f"subsong run {experiment} --port {port}"
        _show_dry(found, loaded, f"{name}: a dry run on the board at {port}", again, as_json)
        return
    from subsong.board_session import run_on_board

    path = out or log_path(name, "run")
    with console.progress(quiet=as_json) as progress, telling_where(path):
        result = run_on_board(loaded, port=port, out=path, progress=progress, reconnect_s=reconnect_s, resume=resume)
    _show(result, loaded, f"{name}: learned on the board at {port}", as_json)


def _show_dry(found: "DryRun", experiment: "Experiment", title: str, again: str, as_json: bool) -> None:
    if as_json:
        show_json({"experiment": experiment.digest, "seed": experiment.seed, **plain_fields(found)})
        return
    board = experiment.plant.kind == "board"
    rows = [("trials", f"{found.trials}, {found.steps:,} steps; nothing moved, nothing is kept")]
    rows += [(f"sensor {i}", f"{low:,} to {high:,}") for i, (low, high) in enumerate(found.sensors)]
    for i, each in enumerate(found.actuators):
        if each.asked and each.out:
            out = f"; {each.out[0]:,} to {each.out[1]:,} would have gone out" if board else ""
            cut = f"; the range cut {each.clipped:,} words, the slew limit {each.slewed:,}" if board else ""
            rows.append((f"actuator {i}", f"the learner asked for {each.asked[0]:,} to {each.asked[1]:,}{out}{cut}"))
    rows.append(("cost", f"{found.cost[0]:,} to {found.cost[1]:,} a step" if found.cost else ""))
    rows.append(("timing", str(found.timing)))
    console.last_screen(title, rows)
    console.show([""])
    headers = ("step", "sensor words", "the learner's", "would have gone out")[: 4 if board else 3]
    rows_ = [(step, *(" ".join(map(str, words)) for words in all_)) for step, *all_ in found.shown]
    console.table(headers, [[str(cell) for cell in row[: len(headers)]] for row in rows_])
    console.show(["", f"  next: {again}{' --authority 0.2' if board else ''}"])


def _evaluations(evaluations: "list[tuple[int, float]]") -> str:
    means = [f"{mean:.6g} after {trials:,} trials" for trials, mean in evaluations]
    return f"mean cost {', '.join(means[:1] + means[1:][-1:])}" if means else ""


def _show(result: "RunResult", experiment: "Experiment", title: str, as_json: bool) -> None:
    if as_json:
        show_json({"experiment": experiment.digest, "seed": experiment.seed, **plain_fields(result)})
        return
    rate = f", {result.steps / result.seconds:,.0f} steps a second" if result.seconds else ""
    counters = ", ".join(f"{value} {name.replace('_', ' ')}" for name, value in result.counters.items() if value)
    console.last_screen(
        title,
        [
            ("rule", f"{experiment.learner.rule}, {experiment.learner.estimator}, seed {experiment.seed}"),
            ("kernels", "; ".join((result.tier, *result.failed)) if result.tier else ""),
            ("resumed", f"after {result.resumed:,} trials, from the board's checkpoint" if result.resumed else ""),
            ("trials", f"{result.trials:,} of at most {experiment.run.trials:,}: {result.stopped}"),
            ("steps", f"{result.steps:,} in {result.seconds:.1f} s{rate}"),
            ("cost, trial by trial", console.sparkline(result.costs)),
            ("timing", str(result.timing)),
            ("evaluated", _evaluations(result.evaluations)),
            ("on time", str(result.pace or "")),
            ("counted", counters),
            *(("warning", warning) for warning in result.warnings),
            ("log", str(result.path or "")),
        ],
        then=f"subsong replay {result.path}" if result.path else "",
    )
