"""The verbs that read run logs: replay, compare, draw, recover and export."""

from pathlib import Path

import click

from subsong import console
from subsong.cli.app import DIFFERENT, OK, Verb
from subsong.cli.options import json_option, show_json

_LOG = click.Path(path_type=Path)


@click.command(
    cls=Verb,
    short_help="Re-execute a run bit for bit.",
    examples=[
        (
            "subsong replay runs/cartpole-run-20260101-120000.mcap",
            "the first difference is named: trial, word, both values",
        ),
        ("subsong replay run.mcap --json && echo equal", "in a script: exit code 1 says that something differs"),
    ],
)
@click.argument("log", type=_LOG)
@json_option
def replay(log: Path, as_json: bool) -> int:
    """Feed a log's sensor and cost words to the simulator and check the state after every trial.

    No difference means that the board computed what the simulator computes, every bit of it: whatever learning did
    differently on hardware, the plant did. Exit code 1 where something differs.
    """
    from subsong.replay import replay as re_execute

    with console.progress(quiet=as_json) as progress:
        result = re_execute(log, progress=progress)
    if as_json:
        show_json(vars(result))
    else:
        holes = f"{result.holes}, each bridged by the board's next snapshot" if result.holes else ""
        console.last_screen(
            f"{log}: {'equal, bit for bit' if result.difference is None else 'DIFFERENT'}",
            [
                ("begins with", result.begins),
                ("trials", f"{result.checked:,} of {result.trials:,} checked"),
                ("holes", holes),
                ("skipped", f"{result.skipped:,} trials that the log does not hold whole" if result.skipped else ""),
                ("difference", result.difference or ""),
            ],
        )
    return OK if result.difference is None else DIFFERENT


@click.command(
    cls=Verb,
    short_help="Compare software with hardware learning.",
    examples=[
        ("subsong compare sim.mcap run.mcap -o report.html", "one run a side; the report says that it is only one"),
        (
            "subsong compare runs/cartpole-*.mcap -o report.html",
            "many seeds: intervals, and a verdict that means something",
        ),
        (
            "subsong compare runs/wp-*.mcap vs runs/np-*.mcap",
            "two rules, or two settings, on one plant: the first set against the second",
        ),
        (
            'subsong compare *.mcap --exclude run3.mcap "the belt slipped"',
            "left out of the statistics, and the page says why",
        ),
    ],
)
@click.argument("logs", nargs=-1, required=True)
@click.option(
    "-o", "--out", type=_LOG, default=Path("report.html"), show_default=True, help="The report: one HTML file."
)
@click.option(
    "--margin",
    type=click.FloatRange(min=0, min_open=True),
    help="The largest difference in mean cost that does not matter, chosen before looking: tests equivalence.  "
    "[default: the experiment's run.margin]",
)
@click.option(
    "--label", "labels", multiple=True, metavar="TEXT", help="What to call a side; twice, the first side first."
)
@click.option(
    "--exclude",
    multiple=True,
    type=(_LOG, str),
    metavar="LOG REASON",
    help="Count this log in no statistic; the page says why. Any number of times.",
)
@click.option(
    "--episodes",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="Evaluation episodes in every cell of the transfer table.",
)
@json_option
def compare(
    logs: tuple[str, ...],
    out: Path,
    margin: float | None,
    labels: tuple[str, ...],
    exclude: tuple[tuple[Path, str], ...],
    episodes: int,
    as_json: bool,
) -> int:
    """Set software learning against hardware learning, in one self-contained HTML page.

    Each log says by itself whether it comes from the simulator or from a board; name any number of both. With "vs"
    between them, the logs before it are set against those behind it, whatever they are. Exit code 1 where a board
    computed something else than the simulator, or where learning is different despite a margin.
    """
    from subsong.compare import VERSUS
    from subsong.compare import compare as set_against

    sets = [logs]
    if VERSUS in logs:
        at = logs.index(VERSUS)
        sets = [logs[:at], logs[at + 1 :]]
        if not all(sets) or VERSUS in sets[1]:
            raise click.UsageError(f'"{VERSUS}" stands once, between two sets of logs: LOGS... {VERSUS} LOGS...')
    if len(labels) not in {0, 2}:
        raise click.UsageError("--label names both sides or none: give it twice, the first side first")
    if any(not reason.strip() for _, reason in exclude):
        raise click.UsageError("--exclude LOG REASON: the reason is empty; say why the run does not count")
    with console.progress(quiet=as_json) as progress:
        result = set_against(
            sets[0],
            out,
            against=sets[-1] if len(sets) > 1 else (),
            labels=labels,
            exclude=exclude,
            margin=margin,
            episodes=episodes,
            progress=progress,
        )
    if as_json:
        show_json(result.to_json())
    else:
        console.show([*result.verdict, f"report: {result.path}"])
    return DIFFERENT if result.negative else OK


@click.command(
    cls=Verb,
    short_help="Draw a run: its curve, first and last trials.",
    examples=[
        ("subsong draw run.mcap", "how it learned, what it did at first and at last: into run.png"),
        ("subsong draw song.mcap -o song.png", "what a songbird sang: its spikes, its song against the template"),
    ],
)
@click.argument("log", type=_LOG)
@click.option("-o", "--out", type=_LOG, help="The picture, a PNG.  [default: NAME.png]")
@json_option
def draw(log: Path, out: Path | None, as_json: bool) -> None:
    """Draw a run from its log: its learning curve, and its first and last trials, word by word.

    Of a rule whose units spike, the first trials are played again to see every spike; the last ones go on from the
    run's last state. A song gets a picture of its own. Needs matplotlib (pip install matplotlib); LOG may come from a
    board or the simulator.
    """
    from subsong.drawing import draw as make

    with console.progress(quiet=as_json) as progress:
        path = make(log, out, progress)
    if as_json:
        show_json({"path": path})
    else:
        console.show([f"picture: {path}"])


@click.command(
    cls=Verb,
    short_help="Repair a log that was cut off.",
    examples=[("subsong recover runs/cartpole-run-20260101-120000.mcap.partial", "after a crash or a power cut")],
)
@click.argument("log", type=_LOG)
@click.option("-o", "--out", type=_LOG, help="The repaired log.  [default: NAME.mcap for NAME.mcap.partial]")
@json_option
def recover(log: Path, out: Path | None, as_json: bool) -> None:
    """Read a log that was cut at any byte and write a whole one, indexed, from what is there.

    LOG itself is left as it is. Every record that reached the disk whole is kept; the new log says what was lost.
    """
    from subsong.runlog import read_run
    from subsong.runlog import recover as repair

    with console.progress(quiet=as_json) as progress:
        progress.start("recovering", 100)
        done = 0

        def move(share: float) -> None:
            nonlocal done
            progress.advance(round(100 * share) - done)
            done = round(100 * share)

        path = repair(log, out, progress=move)
        run = read_run(path)
        trials = len(run.summaries())
    lost = [event.text for event in run.events if event.kind == "recovered"]
    if as_json:
        show_json({"path": path, "written": path != log, "trials": trials, "lost": lost})
    elif path == log:
        console.show([f"{log}: is whole, {trials:,} trials; nothing to recover"])
    else:
        console.show([f"recovered {trials:,} trials: {path}", *lost])


@click.command(
    cls=Verb,
    short_help="Write the learned policy.",
    examples=[
        ("subsong export run.mcap", "run.policy.json: the weights that the run ended with"),
        ("subsong deploy --port a0 --policy run.policy.json", "and a board that runs them without a host"),
    ],
)
@click.argument("log", type=_LOG)
@click.option("-o", "--out", type=_LOG, help="The policy, JSON.  [default: NAME.policy.json]")
@json_option
def export(log: Path, out: Path | None, as_json: bool) -> None:
    """Write the policy that a run learned: its weights, and what they mean.

    `subsong deploy --policy` puts it on a board, to run without a host. LOG may come from a board or the simulator.
    """
    from subsong.policy import export_policy

    path = export_policy(log, out)
    if as_json:
        show_json({"path": path})
    else:
        console.show([f"policy: {path}"])
