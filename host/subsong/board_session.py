"""A run on a board: the learner is there, the host plays the plant or, for a task, listens; every frame is logged."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from subsong.block import build_block
from subsong.bridge import Bridge, Checkpoint, LearnerBlock
from subsong.console import Progress, SilentProgress
from subsong.deploy import leave_link, start_firmware
from subsong.errors import BoardError, ExperimentError, LinkError, LinkLost, LogError, PortError
from subsong.experiment import Experiment
from subsong.experiment_plant import BoardPlant
from subsong.experiment_tasks import TaskPlant
from subsong.findings import Findings
from subsong.firmware import target_of
from subsong.plant_file import plant_digest
from subsong.ports import Port, open_port
from subsong.profile import TIERS
from subsong.reconnect import RECONNECT_S, Found, Reconnect
from subsong.recovery import Back, HeldFrames, Recovery
from subsong.remembered import note
from subsong.runlog import Recorder, read_run
from subsong.session import RunResult, Trials, learn, local_plant, recording, require_recordable, run_header, share
from subsong.small_firmware import require_fit
from subsong.task_stream import OnTiming
from subsong.timing import Timing
from subsong.verify import Verified, verify_board
from subsong_device import faults
from subsong_sim.learner import Ended, TrialSummary

MOST_RETURNS = 10  # to the same checkpoint


class BoardTask:
    """Trials that a board runs by itself.

    Args:
        bridge: open, with a task block.
        steps: of a trial.
        recorder: keeps the state after a hole in the telemetry, so that replay can go on from there.
        evaluate_steps: of an evaluation; 0: as many as of a trial.
        on_timing: told how well each trial on the board's own plant kept its period.
    """

    def __init__(
        self,
        bridge: Bridge,
        steps: int,
        recorder: Recorder,
        evaluate_steps: int = 0,
        on_timing: OnTiming | None = None,
    ) -> None:
        self.bridge, self.recorder, self._on_timing = bridge, recorder, on_timing
        self.steps = (steps, evaluate_steps or steps)

    def run(self, first: int, seeds: Sequence[int], evaluate: bool) -> Iterator[Ended | None]:
        """Let the board run len(seeds) trials, numbered from `first`; None for one whose end the link lost."""
        ends: dict[int, Ended] = {}
        snapshots: set[int] = set()

        def on_trial(summary: TrialSummary, last_cost: int) -> None:
            ends[summary.trial] = Ended(summary, last_cost)

        def on_snapshot(trial: int, _head: bytes, _mem: bytes) -> None:
            snapshots.add(trial)

        steps = self.steps[evaluate]
        done = self.bridge.run_task(
            first,
            len(seeds),
            steps,
            evaluate,
            on_trial=on_trial,
            on_snapshot=on_snapshot,
            on_timing=self._on_timing,
        )
        last = first + done.trials - 1
        if done.holes and last not in snapshots:
            # The hole may have swallowed the last trial, after which no snapshot comes: ask for the state itself.
            self.recorder.state(f"trial-{last:06d}", *self.bridge.state())
        for trial in range(first, last + 1):
            yield ends.get(trial)

    def state(self) -> tuple[bytes, bytes]:
        """Return the learner's head and mem."""
        return self.bridge.state()


def run_on_board(
    experiment: Experiment,
    *,
    port: str,
    out: Path,
    progress: Progress | None = None,
    reconnect_s: float = RECONNECT_S,
    resume: Path | None = None,
) -> RunResult:
    """Learn on a board.

    The firmware on the board is verified by hashes first. The plant is the experiment's with its [plant.mismatch].

    Args:
        experiment: what to learn.
        port: a0, /dev/..., socket://..., or an emulated board's name.
        out: the log.
        progress: told how far it is.
        reconnect_s: how long to look for a board whose port vanished, seconds; 0: the run ends.
        resume: the log of an interrupted run: the board goes on from its newest checkpoint of that run.

    Raises:
        PortError, FirmwareError, BoardError, LinkError, PlantError, ExperimentError, LogError: the log is closed, and
            as far as the run went it is readable. Where no log can be written, the board is not touched.
    """
    progress = progress or SilentProgress()
    require_recordable(out)
    plant = _plant(experiment)
    try:
        progress.start("verifying the firmware on the board")
        with open_port(port) as opened:
            return run_over(experiment, opened, plant, out, progress, reconnect_s=reconnect_s, resume=resume)
    finally:
        if plant is not None:
            plant.close()


def _note_return(recorder: Recorder, found: Found, waiting: str, number: int) -> None:
    """Record that the port vanished and the board was found again."""
    executed = bool(waiting) and found.status.expected != number
    what = "no command was under way"
    if waiting:
        what = f"{waiting} {number} is sent again: " + (
            "the board has executed it, and repeats its reply" if executed else "the board never had it"
        )
    where = f"{found.seconds:.1f} s later the same board is at {found.now}, in its session"
    recorder.event(
        "reconnected",
        f"Port {found.was} vanished; {where}; {what}.",
        was=found.was,
        now=found.now,
        session="same",
        ms=round(found.seconds * 1000),
        command=waiting,
        number=number if waiting else None,
        executed=executed,
    )


def _plant(experiment: Experiment) -> Any:
    """Return the plant that the host plays, or None for a task or a plant that the board has."""
    if isinstance(experiment.plant, TaskPlant | BoardPlant):
        return None
    return local_plant(experiment, mismatch=True, compiled=False)


def run_over(
    experiment: Experiment,
    port: Port,
    plant: Any,
    out: Path,
    progress: Progress | None = None,
    held: Verified | None = None,
    reconnect_s: float = RECONNECT_S,
    resume: Path | None = None,
) -> RunResult:
    """Do `run_on_board` over a port that is open, and stays so.

    Args:
        experiment: what to learn.
        port: open.
        plant: that the host plays; None for a task, or a plant that the board has.
        out: the log.
        progress: told how far it is.
        held: what the firmware on the board was proven to be, by one who had the port ever since; None: prove it now.
        reconnect_s: as for `run_on_board`.
        resume: as for `run_on_board`.
    """
    progress = progress or SilentProgress()
    block = build_block(experiment)
    before = None if resume is None else interrupted(resume, experiment)
    held = held or verify_board(port)
    if held.profile.firmware == "small":
        require_fit(port.name, held.profile.name, block)
        if experiment.run.checkpoint_every or before:
            raise BoardError(
                f"port {port.name}: {held.profile.name} keeps no checkpoints; set run.checkpoint_every = 0, or take "
                "another board"
            )
    board = held.device.as_dict()
    described = experiment.plant.title
    if isinstance(experiment.plant, BoardPlant):
        described += f", sha256 {plant_digest(port)}"
    frames = HeldFrames()
    failed = start_firmware(port)
    bridge = Bridge(port, on_frame=frames)
    greeting = bridge.hello()
    target = target_of(held.profile, greeting.tier)
    result = RunResult(out, tier=TIERS[greeting.tier], failed=failed)
    board |= {
        "port": port.describe(),
        "profile": held.profile.name,
        "tier": TIERS[greeting.tier],
        "target": target,
        "kernels": dict(held.manifest.kernels.get(target, {})),
        "failed_tiers": list(failed),
        "heap_free": greeting.heap_free,
    }
    note(
        port.name,
        micropython=held.device.version,
        machine=held.device.machine or held.device.platform,
        profile=held.profile.name,
        firmware=held.manifest.label,
        digest=held.manifest.digest,
        tier=greeting.tier,
    )
    after = None if before is None else _at_checkpoint(bridge, port, block, experiment, before)
    header = run_header(
        experiment,
        block,
        "board",
        mismatch=experiment.mismatch() is not None,
        plant=plant.description if plant is not None else described,
        engine=board,
        manifest=held.manifest.as_dict(),
        continues=continuation(before, after) if before and after else None,
    )
    try:
        recorder = recording(out, header)
    except LogError:
        leave_link(port, bridge)
        raise
    with recorder:
        silent = False
        findings = Findings(plant, recorder)
        deadman_ms = experiment.run.deadman_ms
        reconnect = Reconnect(port, reconnect_s, deadman_ms / 1000, lambda *found: _note_return(recorder, *found))
        recovery = Recovery(port, bridge, held, block, deadman_ms, recorder, reconnect)
        try:
            frames.record(recorder)
            if held.profile.firmware != "small":  # which cannot say who it is
                bridge.outlive(reconnect)
            if after is None:
                bridge.open(block, deadman_ms)
                recorder.state("initial", block.head, block.mem)
            else:
                recorder.state("initial", *bridge.state())
            learn_on(recovery, experiment, plant, recorder, result, progress, after, findings.ended)
            recovery.bridge.settle()
        except (LinkError, PortError):
            silent = True  # nobody is there to be told goodbye
            raise
        finally:
            if not silent and port.connected:
                leave_link(port, recovery.bridge)
            result.counters |= recovery.counters
            result.pace, result.warnings = findings.close(result.costs)
        progress.start("closing the log", 100)
        recorder.close(share(progress))
        progress.finish()
    return result


class Interrupted(NamedTuple):
    """A run to go on with: its identity, and the name of its latest log."""

    run: int
    log: str


def interrupted(log: Path, experiment: Experiment) -> Interrupted:
    """Read which run a log is of.

    Raises:
        LogError: it cannot be read. ExperimentError: it is not this experiment's, or not a board's.
    """
    header = read_run(log).header
    if header.source != "board" or header.experiment_digest != experiment.digest:
        what = "the simulator's" if header.source != "board" else "of another experiment or seed"
        raise ExperimentError(f"{log}: is {what}; --resume takes the log of this experiment's own run on a board")
    return Interrupted(header.run, log.name)


def _at_checkpoint(
    bridge: Bridge, port: Port, block: LearnerBlock, experiment: Experiment, before: Interrupted
) -> Checkpoint:
    """Give the board its learner, and let it load its newest checkpoint of a run; where it cannot, leave the link."""
    try:
        bridge.open(block, experiment.run.deadman_ms)
        after = bridge.load(before.run)
    except BoardError:
        leave_link(port, bridge)
        raise
    if after is None:
        leave_link(port, bridge)
        raise BoardError(
            f"port {port.name}: the board has no checkpoint of the run in {before.log}; is it the same board, and was "
            "run.checkpoint_every above 0? If not, start the run from its beginning: leave --resume out"
        )
    return after


def continuation(before: Interrupted, after: Checkpoint) -> dict[str, Any]:
    """Return what a log says that goes on from a checkpoint (RunHeader.continues)."""
    return {"log": before.log, "run": before.run, **after._asdict()}


def learn_on(
    recovery: Recovery,
    experiment: Experiment,
    plant: Any,
    recorder: Recorder,
    result: RunResult,
    progress: Progress,
    after: Checkpoint | None = None,
    on_end: Callable[[Ended], None] | None = None,
) -> None:
    """Run the experiment's schedule on a board that has its learner, and record the final state.

    Where the board leaves its session and has a checkpoint, the schedule goes on behind that.

    Args:
        recovery: has the board, between trials.
        experiment: what to learn, and how often the board keeps a checkpoint.
        plant: that the host plays; None for a task.
        recorder: of the run; its header names the run that checkpoints belong to.
        result: filled in.
        progress: told how far it is.
        after: the checkpoint whose state the board has (`Bridge.load`): the schedule goes on behind it. None: it
            begins. A checkpoint that fails is counted, and an event of the log; learning goes on.
        on_end: told of every trial's end.

    Raises:
        BoardError, LinkError, PortError, PlantError, LogError.
    """
    from subsong_sim.trials import PlantTrials

    run, steps = recorder.header.run, experiment.run.steps
    told: dict[int, tuple[int, int]] = {}  # number of a checkpoint's last trial -> costs and evaluations until then
    if after is not None:
        told[after.trial] = (0, 0)
    returns: Counter[int] = Counter()

    def keep(trial: int, learned: int) -> None:
        told[trial] = (len(result.costs), len(result.evaluations))
        try:
            recovery.bridge.save(run, trial, learned)
        except BoardError as error:
            if error.code != faults.FLASH:
                raise
            # Learning is worth more than its checkpoints, of which the last one is still there.
            recorder.event("checkpoint", str(error), trial=trial)
            result.counters["failed_checkpoints"] = result.counters.get("failed_checkpoints", 0) + 1

    def on_timing(timing: Timing) -> None:
        result.timing = result.timing.plus(timing)

    first = None
    lost: tuple[Back, LinkLost] | None = None
    while True:
        bridge = recovery.bridge
        trials: Trials = (
            BoardTask(bridge, steps, recorder, experiment.run.evaluate_steps, on_timing)
            if plant is None
            else PlantTrials(bridge, plant, steps)
        )
        try:
            if lost is not None:
                first = _note_going_back(bridge, recorder, result.numbered, *lost)
                lost = None
            learn(experiment, trials, result, progress, on_end, after=after, first=first, keep=keep)
            recorder.state("final", *trials.state())
        except LinkLost as error:
            if not told:
                raise LinkLost(
                    f"{error}. The board has no checkpoint to go back to (run.checkpoint_every): what it learned is in "
                    f"{recorder.path} alone, as far as it came"
                ) from error
            if not recovery.patience_s:
                raise
            if after is not None and returns[after.trial] == MOST_RETURNS:
                raise LinkLost(
                    f"{error}; from the checkpoint after trial {after.trial} it has not come to the next one in "
                    f"{MOST_RETURNS} tries. Look for the cause, or lower run.checkpoint_every"
                ) from error
            progress.note(f"{error}; looking for its checkpoint")
            back = recovery.go_back(run, error)
            after = back.checkpoint
            returns[after.trial] += 1
            lost = back, error
            costs, evaluations = told.get(after.trial, (0, 0))
            del result.costs[costs:], result.evaluations[evaluations:]
        else:
            return


def _note_going_back(bridge: Bridge, recorder: Recorder, number: int, back: Back, error: LinkLost) -> int:
    """Record that the learner went back to a checkpoint; return the number of the next trial.

    The log's numbers go on: `number`, which no trial has, is given to the checkpoint's state, and replay goes on there.
    """
    after = back.checkpoint
    state = bridge.state()
    where = f"{back.seconds:.1f} s later the same board is at {back.now}, in a new session"
    whence = f"from its checkpoint after trial {after.trial}: what it learned since is lost"
    recorder.event(
        "reconnected",
        f"The session was lost ({error}); {where}; it goes on as trial {number + 1} {whence}.",
        was=back.was,
        now=back.now,
        session="new",
        ms=round(back.seconds * 1000),
        checkpoint=after.trial,
        trials=after.trials,
        trial=number + 1,
    )
    recorder.state(f"trial-{number:06d}", *state)
    return number + 1
