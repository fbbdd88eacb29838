"""The verb that runs one experiment under many settings and seeds: sweep."""

import contextlib
import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import click

from subsong import console
from subsong.cli.app import Verb
from subsong.cli.options import find, json_option, show_json

if TYPE_CHECKING:
    from subsong.sweep import Outcome

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(
    cls=Verb,
    short_help="Learn under many settings and seeds.",
    examples=[
        ("subsong sweep xor --vary learner.rate_shift=9:15 --seeds 200", "which rate? 7 settings, 200 seeds each"),
        (
            "subsong sweep cartpole --vary plant.parameters.friction_cart=0,0.1 --vary learner.rate_shift=4:9",
            "every combination, on every core; again, and it computes only what is missing",
        ),
        (
            "subsong sweep xor --vary learner.amplitude=0.02:0.5 --vary learner.rate_shift=9:15 --search 50",
            "let Optuna look for the best; --search 100 goes on from there",
        ),
        (
            "subsong sweep mine.toml --vary learner.tau=1,2,4 --dask tcp://10.0.0.1:8786",
            "on the workers of a Dask cluster",
        ),
    ],
)
@click.argument("experiment")
@click.option(
    "--vary",
    multiple=True,
    metavar="KEY=VALUES",
    help="A key of the experiment file and its values: 4:9 (both included), 4:16:4, 0.1:0.5:0.1, or A,B,C. "
    "Give it again for more keys: every combination is run.",
)
@click.option(
    "--seeds",
    type=click.IntRange(1, 10_000_000),
    default=20,
    show_default=True,
    help="Runs of each setting, from --seed on.",
)
@click.option("--seed", type=int, help="The first seed, in place of the experiment's.")
@click.option("--mismatch", is_flag=True, help="Apply [plant.mismatch]: learn on the plant that the board will meet.")
@click.option("-j", "--jobs", type=click.IntRange(1), metavar="N", help="Processes.  [default: one a core]")
@click.option("--dask", metavar="ADDRESS", help="Compute on the cluster of this Dask scheduler: tcp://HOST:8786.")
@click.option(
    "--cuda", is_flag=True, help="Learn on an NVIDIA GPU, where the plant is an on-board task: the runs are the same."
)
@click.option(
    "--search",
    "tries",
    type=click.IntRange(1),
    metavar="N",
    help="Search among the values with Optuna, N tries in all.",
)
@click.option("-o", "--out", type=_FILE, help="The table, SQLite.  [default: runs/NAME-sweep.db]")
@click.option("--figure", type=_FILE, help="The picture, an SVG.  [default: beside the table]")
@click.option("--best", type=_FILE, metavar="FILE", help="Write the experiment under the best setting.")
@json_option
def sweep(
    experiment: str,
    vary: tuple[str, ...],
    seeds: int,
    seed: int | None,
    mismatch: bool,
    jobs: int | None,
    dask: str | None,
    cuda: bool,
    tries: int | None,
    out: Path | None,
    figure: Path | None,
    best: Path | None,
    as_json: bool,
) -> None:
    """Learn in the simulator under many settings, each under many seeds, and keep every run in one table.

    What the table has is not computed again: a sweep that was stopped, or is to have more seeds or values, goes on
    from there. docs/sweep.md explains table, figure and search. EXPERIMENT is a file, or the name of an example: xor,
    cartpole.
    """
    if jobs and dask:
        raise click.UsageError("--jobs and --dask exclude each other: a cluster has the workers that it has")
    if cuda and (jobs or dask):
        raise click.UsageError("--cuda: the GPU does all the work; leave --jobs and --dask away")
    if figure and figure.suffix.lower() != ".svg":
        raise click.UsageError(f"--figure {figure}: pictures of sweeps are SVG files; give it a name that ends in .svg")
    if figure and not vary:
        raise click.UsageError("--figure: nothing varies that could be drawn; name a key with --vary")
    text, where, name = find(experiment)
    path = out or Path("runs") / f"{name}-sweep.db"
    picture = (figure or path.with_suffix(".svg")) if vary else None
    file = Path(experiment) if Path(experiment).exists() else None
    _keep_apart({"experiment": file, "table": path, "picture": picture, "best experiment": best})
    from subsong.experiment_text import parse_toml
    from subsong.sweep import Plan
    from subsong.sweep import sweep as run

    tables = parse_toml(text, where) | ({} if seed is None else {"seed": seed})
    with console.progress(quiet=as_json) as progress:
        plan = Plan(tables, where, vary, seeds, mismatch, tries, cuda)
        outcome = run(plan, path, jobs=jobs, scheduler=dask, progress=progress)
    if picture:
        _draw(outcome, picture, f"{name}: {seeds:,} seed{'s' if seeds > 1 else ''} a setting")
    if best:
        _write(best, _best(outcome))
    if as_json:
        settings = [summary.to_json() for summary in outcome.summaries]
        counts = {"computed": outcome.computed, "present": outcome.present}
        show_json({"table": path, "figure": picture, "best": best, **counts, "settings": settings})
    else:
        _show(outcome, name, path, picture, best)


def _best(outcome: "Outcome") -> str:
    from subsong.sweep.summary import best_first

    return best_first(outcome.summaries)[0].setting.experiment.to_toml()


def _keep_apart(files: dict[str, Path | None]) -> None:
    """Refuse two that are one file: the later would overwrite the earlier."""
    for (one, first), (other, second) in itertools.combinations(files.items(), 2):
        if first and second and _same(first, second):
            raise click.UsageError(f"{second}: would be both the {one} and the {other}; choose another name for one")


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve() or (one.exists() and other.exists() and one.samefile(other))


def _draw(outcome: "Outcome", picture: Path, title: str) -> None:
    from subsong.sweep.figure import draw

    _write(picture, draw(outcome, title))


def _write(path: Path, text: str) -> None:
    """Write a file beside its place, then move it there: never half of it."""
    part = path.with_name(path.name + ".partial")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):  # it may not even have come to be
            part.unlink()
        raise OSError(error.errno, error.strerror, str(path)) from None


def _show(outcome: "Outcome", name: str, path: Path, picture: Path | None, best: Path | None) -> None:
    from subsong.sweep.figure import listing

    headers, rows = listing(outcome)
    console.table(headers, rows)
    total = len(outcome.summaries)
    more = f", the best {len(rows)} above" if len(rows) < total else ""
    console.last_screen(
        f"{name}: {total:,} setting{'s' if total > 1 else ''}{more}",
        [
            ("runs", f"{outcome.computed:,} computed, {outcome.present:,} from the table"),
            ("tries", f"{len(outcome.scores):,}" if outcome.scores else ""),
            ("table", f"{path}: the view `results` has a row a run"),
            ("figure", str(picture or "")),
            ("best", str(best or "")),
        ],
        then=f"subsong sim {best}" if best else "",
    )
