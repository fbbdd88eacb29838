"""Replay: execute a logged run again from its recorded words, and name the first difference.

The recorded sensor words and costs go to the firmware's kernels on this computer, starting from the recorded initial
state; every actuator word, every trial's summary with its checksum, and every recorded state must come out equal, bit
for bit. Then whatever distinguishes a board's learning from the simulator's is the plant.

Who wrote a log does not check it: native code executes what boards, Numba and CPython learned, and Numba what native
code learned.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from subsong.block import build_block
from subsong.console import Progress, SilentProgress
from subsong.errors import ReplayError
from subsong.experiment import parse_experiment
from subsong.runlog import read_run
from subsong_device.layout import (
    ARITHMETIC_VERSION,
    ELIGIBILITY_AT,
    ESTIMATOR,
    LAYER_WORDS,
    LAYERS_AT,
    N_LAYERS,
    TRACE_SHIFT,
    UNITS_AT,
)
from subsong_sim.learner import TrialSummary

if TYPE_CHECKING:
    from subsong.runlog import Run, Trial

State = tuple[bytes, bytes]


@dataclass
class ReplayResult:
    """What replay found.

    Attributes:
        trials: in the log.
        checked: whose every word was equal, or would have been but for the difference.
        holes: stretches that the telemetry lost, after which replay went on from a snapshot.
        difference: the first difference in words: trial, step, both values; None if there is none.
        skipped: trials that could not be executed: in a hole, or cut off at the log's end.
        begins: of a log that goes on from a checkpoint, from what in words; empty where the experiment says what the
            learner began with.
    """

    trials: int = 0
    checked: int = 0
    holes: int = 0
    difference: str | None = None
    skipped: int = 0
    begins: str = ""


def replay(path: Path, progress: Progress | None = None) -> ReplayResult:
    """Execute a logged run again.

    Args:
        path: a run log, whole, recovered or partial.
        progress: told how far it is.

    Raises:
        LogError: the log cannot be read.
        ReplayError: the log is of another arithmetic.
        ExperimentError: the log's experiment is damaged.
    """
    return _replay(path, progress or SilentProgress())[0]


def state_after(path: Path) -> State | None:
    """Return head and mem as they were after the last whole trial of a log, by executing it again.

    Returns:
        None where there is no trial, or none from which on nothing is missing, or where the log does not replay.

    Raises:
        LogError, ReplayError, ExperimentError: as `replay`.
    """
    result, state = _replay(path, SilentProgress())
    return state if result.checked and result.difference is None else None


def _replay(path: Path, progress: Progress) -> tuple[ReplayResult, State | None]:
    """Execute a log again; return what was found, and the state at its end if it is known."""
    run = read_run(path)
    if run.arithmetic != ARITHMETIC_VERSION:
        raise ReplayError(
            f"{path} was recorded with arithmetic version {run.arithmetic}; this Subsong has version "
            f"{ARITHMETIC_VERSION}. Replay it with the Subsong that recorded it."
        )
    experiment = parse_experiment(run.header.experiment_toml, str(path))
    result = ReplayResult()
    states: Mapping[str, State] = run.states
    damaged = run.disagreements()
    block = build_block(experiment)
    # What the experiment's block is, the learner began with: a log that lost its first state is still replayed from it.
    initial = states.get("initial", (block.head, block.mem))
    continues = run.header.continues
    if continues:
        result.begins = (
            f"the board's checkpoint after {continues['trials']} learning trials (trial {continues['trial']}); what "
            f"led there is in {continues.get('log')}, and not checked here"
        )
    if experiment.digest != run.header.experiment_digest:
        result.difference = "the experiment in the log does not have the digest that the log gives it"
    elif continues and "initial" not in states:
        result.difference = "the run goes on from a checkpoint, and the log has lost the state that it began with"
    elif continues:
        result.difference = _first_configured_difference("initial state", (block.head, block.mem), initial)
    else:
        result.difference = _first_state_difference("initial state", (block.head, block.mem), initial)
    if result.difference is None and damaged and damaged[0].trial is None:
        result.difference = str(damaged[0])
    state = None
    if result.difference is None:
        state = _execute(run, (block.head, block.mem), initial, states, result, progress)
    if result.difference is None and damaged:
        # Every trial replays, so what is damaged is a copy that replay does not read.
        result.difference = str(damaged[0])
    return result, state


def _execute(
    run: "Run", fresh: State, initial: State, states: Mapping[str, State], result: ReplayResult, progress: Progress
) -> State | None:
    """Execute trial after trial until the first difference; return the state at the end if it is known.

    Kernels ask no questions about offsets: they are given `initial`, and snapshots that are configured as `fresh` is.
    """
    player = _Player(run, initial)
    lost = False

    def go_on(number: int, snapshot: State) -> bool:
        """Go on behind a trial, if its snapshot is of this learner; note the difference if not."""
        nonlocal player
        result.difference = _first_configured_difference(f"state after trial {number}", fresh, snapshot)
        if result.difference is None:
            player = _Player(run, snapshot)
        return result.difference is None

    expected = run.header.first_trial
    progress.start("replaying", len(run.summaries()))
    for trial in run.iter_trials():
        result.trials += 1
        snapshot = states.get(f"trial-{trial.number:06d}")
        missing = trial.number != expected
        expected = trial.number + 1
        before = states.get(f"trial-{trial.number - 1:06d}")
        if (lost or missing) and before is not None:
            # Nothing of the trial before is there but the state after it: that suffices for this one.
            result.holes += not lost
            lost = missing = False
            if not go_on(trial.number - 1, before):
                return None
        if lost or missing or not trial.whole:
            # Without every word of every trial the state is unknown, until a snapshot gives it.
            result.holes += not lost
            result.skipped += 1
            lost = snapshot is None
            if snapshot is not None and not go_on(trial.number, snapshot):
                return None
            continue
        result.difference = _difference(player, trial)
        if result.difference is None and trial.disagreements:
            result.difference = str(trial.disagreements[0])
        result.checked += 1
        progress.advance()
        if result.difference is None and snapshot is not None:
            result.difference = _first_state_difference(f"state after trial {trial.number}", player.state(), snapshot)
        if result.difference is not None:
            return None
    # What the end of the log cut off is no hole: nothing follows it.
    result.holes -= lost
    if "final" in states and not lost:
        result.difference = _first_state_difference("final state", player.state(), states["final"])
    progress.finish()
    return None if lost else player.state()


class _Player:
    """The kernels at one state, executed by another engine than the run's."""

    def __init__(self, run: "Run", state: State) -> None:
        from subsong_sim.engines import LocalLearner

        engine = "numba" if run.header.engine.get("engine") == "native" else "native"
        self.learner = LocalLearner(run.header.rule, *state, engine)
        self.state = self.learner.state

    def play(self, trial: "Trial") -> tuple[TrialSummary, list[list[int]]]:
        """Return the summary and the actuator words that a trial should have had."""
        self.learner.begin(trial.number, bool(trial.evaluate))
        assert trial.last_cost is not None
        us = [self.learner.act(step.cost, step.x) for step in trial.steps]
        return self.learner.end(trial.last_cost), us


def _difference(player: _Player, trial: "Trial") -> str | None:
    """Execute one trial; return its first difference in words."""
    recorded = trial.summary
    assert recorded is not None
    again, us = player.play(trial)
    for step, u in zip(trial.steps, us, strict=True):
        for i, (there, here) in enumerate(zip(step.u, u, strict=True)):
            if there != here:
                return (
                    f"trial {trial.number}, step {step.step}: actuator word {i} is {there} in the log, {here} in replay"
                )
    for name in TrialSummary._fields:
        there, here = getattr(recorded, name), getattr(again, name)
        if name != "dropped" and there != here:
            what = "a sensor, actuator or cost word of this trial was altered, or the engines differ: " * (
                name == "checksum"
            )
            return f"trial {trial.number}: {what}{name} is {there} in the log, {here} in replay"
    return None


def _first_configured_difference(what: str, fresh: State, later: State) -> str | None:
    """Return the first difference in what no learner changes: sizes, and the words of head that the host writes."""
    for name, mine, logged in zip(("head", "mem"), fresh, later, strict=True):
        if len(mine) != len(logged):
            return f"{what}: {name} has {len(logged)} bytes in the log, the experiment's {len(mine)}"
    n_layers = int.from_bytes(fresh[0][4 * N_LAYERS : 4 * N_LAYERS + 4], "little")
    rows = LAYERS_AT, LAYERS_AT + LAYER_WORDS * n_layers
    for first, end in ((ESTIMATOR, ELIGIBILITY_AT + 1), (UNITS_AT, TRACE_SHIFT + 1), rows):
        at = slice(4 * first, 4 * end)
        if fresh[0][at] != later[0][at]:
            return f"{what}: words {first} to {end - 1} of head are another network's or another rule's"
    return None


def _first_state_difference(what: str, here: State, there: State) -> str | None:
    """Return the first word in which two states differ, or None."""
    for name, mine, logged, width in (("head", here[0], there[0], 4), ("mem", here[1], there[1], 2)):
        if len(mine) != len(logged):
            return f"{what}: {name} has {len(logged) // width} words in the log, {len(mine) // width} in replay"
        for i in range(0, len(mine), width):
            if mine[i : i + width] != logged[i : i + width]:
                values = (int.from_bytes(v[i : i + width], "little", signed=width == 4) for v in (logged, mine))
                return "{}: {}[{}] is {} in the log, {} in replay".format(what, name, i // width, *values)
    return None
