"""Software learning against hardware learning: any number of run logs in, one HTML page and a verdict out.

    records     what is needed of each log
    channels    what its words were, and trials kept to be foretold
    sides       who is set against whom, and whether they may be
    counting    which runs count
    gap         arithmetic (by replay), link, timing
    transfer    every set of weights on every plant
    split       the gap as a sum
    resolution  what coarser sensors cost
    model       how well the nominal model foretells the sensors
    statistics, effects, judgement    what few runs support, and what they do not
    analysis    all of it together; values: the same for scripts
    words, parts                      the same in sentences
    report      the same as a page (curves, figures, pictures, sections, measured, provenance, markup)

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
    from subsong.compare.model import Nominal
    from subsong.compare.records import LoggedRun
    from subsong.compare.transfer import Evaluate
    from subsong.console import Progress
    from subsong.experiment import Experiment

__all__ = ["CompareResult", "compare"]

EPISODES = 100
VERSUS = "vs"  # between two sets of logs on a command line


@dataclass(frozen=True)
class CompareResult:
    """What a comparison found.

    Attributes:
        path: of the report.
        verdict: what was found, one sentence or two a line.
        arithmetic_equal: False when a board's log differs from its replay, True when all are equal, None otherwise.
        transfer: the transfer table: "weights" by row, then by plant: mean physical cost and the runs' scores.
        learning: each side on its own plant: "inconclusive", "alike", "equivalent" or "different".
        negative: a board computed something else than the simulator, or learning is different despite a margin.
        details: everything else for a script: statistics, gap, runs, notes.
    """

    path: Path
    verdict: list[str]
    arithmetic_equal: bool | None
    transfer: dict[str, Any]
    learning: str
    negative: bool
    details: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return it all as what JSON can hold."""
        return {
            "path": str(self.path),
            "verdict": self.verdict,
            "arithmetic_equal": self.arithmetic_equal,
            "learning": self.learning,
            "negative": self.negative,
            "transfer": self.transfer,
            **self.details,
        }


def compare(
    logs: Sequence[str | Path],
    out: str | Path,
    *,
    against: Sequence[str | Path] = (),
    labels: Sequence[str] = (),
    exclude: Sequence[tuple[str | Path, str]] = (),
    margin: float | None = None,
    episodes: int = EPISODES,
    progress: "Progress | None" = None,
    read: "Callable[[Path], LoggedRun] | None" = None,
    evaluate: "Evaluate | None" = None,
    replay: "Replay | None" = None,
    nominal: "Nominal | None" = None,
) -> CompareResult:
    """Compare runs and write the report.

    Args:
        logs: run logs, each software or hardware by its own header; runs of one experiment, whose seeds may differ.
        out: the report, one HTML file; replaced whole if it is there.
        against: a second set of logs to set against `logs`, whatever their headers say: `logs` then stand in
            software's place and these in hardware's. What learns may differ between the two sets, the plant may not.
        labels: what to call the two sides; none: what they differ in names them.
        exclude: (log, reason) of logs that shall count in no statistic.
        margin: the largest difference in mean cost that does not matter, physical units, chosen before looking, in
            place of the experiment's run.margin; without either, equivalence is not tested.
        episodes: evaluation episodes in every cell of the transfer table.
        progress: told how far it is.
        read: reads a log (`subsong.runlog.read_run`).
        evaluate: runs weights on a plant (`subsong.session.evaluate`).
        replay: executes a log again (`subsong.replay.replay`).
        nominal: makes the nominal plant (`subsong.session.local_plant`, without its clock).

    Raises:
        LogError: a log cannot be read, or the report cannot be written.
        ExperimentError: the logs are of different experiments, or one to be excluded is not among them.
        ValueError: no log, one label or more than two, a reason without a word, a margin that is not positive, or no
            episode.
    """
    from subsong.compare.analysis import analyse
    from subsong.compare.counting import Exclusion, Options
    from subsong.compare.records import Side, read_record
    from subsong.compare.report import render
    from subsong.console import SilentProgress

    if not logs:
        raise ValueError("name at least one log")
    if episodes < 1 or (margin is not None and not margin > 0):
        raise ValueError("episodes must be at least 1, and the margin above 0")
    if len(labels) not in {0, 2} or not all(reason.strip() for _, reason in exclude):
        raise ValueError("there are two labels or none, and every exclusion has a reason")
    places: list[tuple[Path, Side | None]] = [(Path(log), "software" if against else None) for log in logs]
    places += [(Path(log), "hardware") for log in against]
    target = Path(out)
    if any(target.resolve() == path.resolve() for path, _ in places):
        raise LogError(f"{target} is one of the logs: give the report another name.")
    if not target.parent.is_dir():
        raise LogError(f"{target.parent}: there is no such folder for the report; make it, or name another with -o.")
    shown = progress or SilentProgress()
    open_log = read or _read
    shown.start("reading logs", len(places))
    records = []
    for path, side in places:
        records.append(read_record(path, open_log(path), side))
        shown.advance()
    analysis = analyse(
        records,
        Options(
            tuple(map(Path, logs)),
            tuple(map(Path, against)),
            margin,
            episodes,
            tuple(labels),
            tuple(Exclusion(Path(log), reason) for log, reason in exclude),
        ),
        evaluate=evaluate or _evaluate,
        replay=replay or _replay,
        nominal=nominal or _nominal(),
        progress=shown,
    )
    _write(target, render(analysis, target))
    return _result(analysis, target)


def _read(path: Path) -> "LoggedRun":
    from subsong.runlog import read_run

    return read_run(path)


def _evaluate(experiment: "Experiment", rule: str, head: bytes, mem: bytes, **options: Any) -> list[int]:
    from subsong.compare.model import require_no_import
    from subsong.session import evaluate

    require_no_import(experiment)
    return evaluate(experiment, rule, head, mem, **options)


def _nominal() -> "Nominal":
    from functools import partial

    from subsong.session import local_plant

    return partial(local_plant, in_time=False)


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
    from subsong.compare.markup import clean
    from subsong.compare.values import details
    from subsong.compare.words import verdicts

    learning = analysis.judgements["own"].verdict
    return CompareResult(
        path=target,
        verdict=[" ".join(clean(str(statement)).split()) for statement in verdicts(analysis)],
        arithmetic_equal=analysis.arithmetic_equal,
        transfer=analysis.table.to_json(),
        learning=learning,
        negative=analysis.arithmetic_equal is False or (analysis.margin.value is not None and learning == "different"),
        details=details(analysis),
    )
