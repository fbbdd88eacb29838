"""The demonstration: `make demo`, or `subsong demo`.

A board (genuine MicroPython in a process of its own, behind a serial port) takes the firmware over its REPL and learns
to balance a cart-pole that differs from the one in the book; the simulator learns the same experiments on the one in
the book; every log of the board is replayed bit for bit; a page for each rule compares the two.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from subsong import console
from subsong.compare import CompareResult, compare
from subsong.console import Progress
from subsong.experiment import Experiment, parse_experiment
from subsong.experiment_text import example_text, with_learner

RULES = ("weight_perturbation", "node_perturbation")
SEEDS = (1, 2, 3)
PORT = "unix"


@dataclass
class Chapter:
    """One rule: its runs on either side, and what they came to."""

    rule: str
    software: list[Path] = field(default_factory=list)
    hardware: list[Path] = field(default_factory=list)
    software_trials: list[int] = field(default_factory=list)
    hardware_trials: list[int] = field(default_factory=list)
    steps: int = 0
    seconds: float = 0.0
    replayed: int = 0
    differences: list[str] = field(default_factory=list)
    report: CompareResult | None = None


def main(seeds: Sequence[int] = SEEDS) -> int:
    """Run the demonstration; return 0, or 1 where replay found a difference.

    Args:
        seeds: of the runs on either side; fewer than three say little of other runs.
    """
    began = time.monotonic()
    folder = Path("runs") / f"demo-{time.strftime('%Y%m%d-%H%M%S')}"
    folder.mkdir(parents=True)
    with console.progress() as progress:
        _deploy(progress)
        chapters = [_chapter(rule, seeds, folder, progress) for rule in RULES]
    _last_screen(chapters, seeds, time.monotonic() - began)
    return int(any(chapter.differences for chapter in chapters))


def _deploy(progress: Progress) -> None:
    from subsong.deploy import deploy
    from subsong.ports import open_port

    progress.start("sending the firmware to the board over its REPL")
    with open_port(PORT) as port:
        report = deploy(port)
    copied = f"{len(report.copied)} files copied" if report.copied else "nothing to copy"
    progress.note(
        f"the board holds firmware {report.manifest.label}, hashed there: {copied}, {report.unchanged} unchanged"
    )


def _chapter(rule: str, seeds: Sequence[int], folder: Path, progress: Progress) -> Chapter:
    from subsong.board_session import run_on_board
    from subsong.replay import replay
    from subsong.session import simulate

    chapter = Chapter(rule)
    for seed in seeds:
        experiment = _experiment(rule, seed)
        progress.note(f"{rule}, seed {seed}: in the simulator on the nominal plant, then on the board on another one")
        out = folder / f"{rule}-{seed}-sim.mcap"
        result = simulate(experiment, out=out, progress=progress)
        chapter.software.append(out)
        chapter.software_trials.append(result.trials)
        out = folder / f"{rule}-{seed}-board.mcap"
        result = run_on_board(experiment, port=PORT, out=out, progress=progress)
        chapter.hardware.append(out)
        chapter.hardware_trials.append(result.trials)
        chapter.steps += result.steps
        chapter.seconds += result.seconds
        replayed = replay(out, progress)
        chapter.replayed += replayed.checked
        if replayed.difference is not None:
            chapter.differences.append(f"{out}: {replayed.difference}")
    progress.note(f"{rule}: comparing")
    chapter.report = compare([*chapter.software, *chapter.hardware], folder / f"{rule}.html", progress=progress)
    return chapter


def _experiment(rule: str, seed: int) -> Experiment:
    return parse_experiment(with_learner(example_text("cartpole"), rule), "the example cartpole").with_seed(seed)


def _last_screen(chapters: list[Chapter], seeds: Sequence[int], seconds: float) -> None:
    lines = [
        "",
        f"Subsong's demonstration, {seconds:.0f} s: a board learned to balance a cart-pole that nobody modelled.",
        "",
    ]
    for chapter in chapters:
        assert chapter.report is not None
        equal = "; ".join(chapter.differences) or f"{chapter.replayed:,} trials replayed bit for bit, no difference"
        simulated, learned = (", ".join(map(str, t)) for t in (chapter.software_trials, chapter.hardware_trials))
        rate = f"{chapter.steps / chapter.seconds:,.0f} a second"
        lines += [
            f"  {chapter.rule}, seeds {', '.join(map(str, seeds))}",
            f"    trials to solve  {simulated} in the simulator, {learned} on the board",
            f"    on the board     {chapter.steps:,} steps, {rate}, every frame logged",
            f"    arithmetic       {equal}",
            *(f"    {weights} weights {_row(chapter.report, weights)}" for weights in ("software", "hardware")),
            f"    report           {chapter.report.path}",
            "",
        ]
    lines.append("Steps an episode, of 500: the mean over evaluation episodes of each side's weights on each plant.")
    console.show(lines)


def _row(report: CompareResult, weights: str) -> str:
    """Return a row of the transfer table, as steps an episode (CartPole's cost is minus one a step)."""
    row = report.transfer["weights"][weights]
    return ", ".join(f"{-row[plant]['mean']:.0f} on the {plant} plant" for plant in ("nominal", "mismatched"))


if __name__ == "__main__":
    raise SystemExit(main())
