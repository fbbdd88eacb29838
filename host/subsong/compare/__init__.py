"""Software learning against hardware learning: any number of run logs in, one HTML page and a verdict out.

    records     what is needed of each log, and whether the logs may stand beside one another
    gap         arithmetic (by replay), link, timing
    transfer    every set of weights on every plant
    statistics  what few runs support, and what they do not
    analysis    all of it together, as values
    words       the same in sentences
    report      the same as a page (curves, figures, sections, markup)

docs/compare.md explains every figure.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from subsong.errors import LogError

if TYPE_CHECKING:
    from subsong.compare.analysis import Analysis
    from subsong.compare.gap import Replay, ReplayResult
    from subsong.compare.records import LoggedRun
    from subsong.compare.transfer import Evaluate
    from subsong.console import Progress

__all__ = ["CompareResult", "compare"]

EPISODES = 100


@dataclass(frozen=True)
class CompareResult:
    """What a comparison found.

    Attributes:
        path: of the report.
        verdict: what was found, one sentence or two a line.
        arithmetic_equal: False when a board's log differs from its replay, True when all are equal, None otherwise.
        transfer: the transfer table: "weights" by row, then by plant: mean physical cost and the runs' scores.
        learning: each side on its own plant: "inconclusive", "alike", "equivalent" or "different".
        details: everything else for a script: statistics, gap, runs, notes.
    """

    path: Path
    verdict: list[str]
    arithmetic_equal: bool | None
    transfer: dict[str, Any]
    learning: str
    details: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return it all as what JSON can hold."""
        return {
            "path": str(self.path),
            "verdict": self.verdict,
            "arithmetic_equal": self.arithmetic_equal,
            "learning": self.learning,
            "transfer": self.transfer,
            **self.details,
        }


def compare(
    logs: Sequence[str | Path],
    out: str | Path,
    *,
    margin: float | None = None,
    episodes: int = EPISODES,
    first_seed: int = 0,
    seed: int = 0,
    progress: "Progress | None" = None,
    read: "Callable[[Path], LoggedRun] | None" = None,
    evaluate: "Evaluate | None" = None,
    replay: "Replay | None" = None,
) -> CompareResult:
    """Compare runs and write the report.

    Args:
        logs: run logs, each software or hardware by its own header; runs of one experiment, whose seeds may differ.
        out: the report, one HTML file; replaced whole if it is there.
        margin: the largest difference in mean cost that does not matter, physical units, chosen before looking; None
            leaves equivalence untested.
        episodes: evaluation episodes in every cell of the transfer table.
        first_seed: of those episodes.
        seed: of the bootstrap.
        progress: told how far it is.
        read: reads a log (`subsong.runlog.read_run`).
        evaluate: runs weights on a plant (`subsong.session.evaluate`).
        replay: executes a log again (`subsong.replay.replay`).

    Raises:
        LogError: a log cannot be read, or the report cannot be written.
        ExperimentError: the logs are of different experiments.
        ValueError: no log, a margin that is not positive, or no episode.
    """
    from subsong.compare.analysis import analyse
    from subsong.compare.records import read_record
    from subsong.compare.report import render
    from subsong.console import SilentProgress

    if not logs:
        raise ValueError("name at least one log")
    if episodes < 1 or (margin is not None and not margin > 0):
        raise ValueError("episodes must be at least 1, and the margin above 0")
    paths, target = [Path(log) for log in logs], Path(out)
    if any(target.resolve() == path.resolve() for path in paths):
        raise LogError(f"{target} is one of the logs: give the report another name.")
    if not target.parent.is_dir():
        raise LogError(f"{target.parent}: there is no such folder for the report; make it, or name another with -o.")
    shown = progress or SilentProgress()
    open_log = read or _read
    shown.start("reading logs", len(paths))
    records = []
    for path in paths:
        records.append(read_record(path, open_log(path)))
        shown.advance()
    analysis = analyse(
        records,
        evaluate=evaluate or _evaluate(),
        replay=replay or _replay,
        margin=margin,
        episodes=episodes,
        first_seed=first_seed,
        seed=seed,
        progress=shown,
    )
    _write(target, render(analysis, target))
    return _result(analysis, target)


def _read(path: Path) -> "LoggedRun":
    from subsong.runlog import read_run

    return read_run(path)


def _evaluate() -> "Evaluate":
    from subsong.session import evaluate

    return evaluate


def _replay(path: Path, progress: "Progress") -> "ReplayResult":
    from subsong.replay import replay

    return replay(path, progress=progress)


def _write(target: Path, page: str) -> None:
    """Write the page beside its place, then move it there: never half a report."""
    part = target.with_name(target.name + ".partial")
    try:
        part.write_text(page, encoding="utf-8")
        part.replace(target)
    except OSError as error:
        raise LogError(
            f"cannot write the report {target}: {error.strerror or error}. Name another place with -o."
        ) from error


def _result(analysis: "Analysis", target: Path) -> CompareResult:
    from subsong.compare.analysis import judgement_json
    from subsong.compare.markup import clean
    from subsong.compare.words import gap, verdicts

    return CompareResult(
        path=target,
        verdict=[" ".join(clean(str(statement)).split()) for statement in verdicts(analysis)],
        arithmetic_equal=analysis.arithmetic_equal,
        transfer=analysis.table.to_json(),
        learning=analysis.judgements["own"].verdict,
        details={
            "statistics": {basis: judgement_json(judgement) for basis, judgement in analysis.judgements.items()},
            "gap": [{"part": part.name, "finding": part.finding, "text": part.text} for part in gap(analysis)],
            "runs": [
                {
                    "path": str(record.path),
                    "side": record.side,
                    "seed": record.header.seed,
                    "plant": record.own_plant,
                    "trials": len(record.curve.cost),
                    "complete": record.complete,
                    "counts": record.usable,
                    "replay_equal": analysis.arithmetic[index].equal if index in analysis.arithmetic else None,
                }
                for index, record in enumerate(analysis.records)
            ],
            "notes": list(analysis.notes),
            "margin": analysis.margin,
        },
    )
