"""A run on a board: the learner is there, the host plays the plant or, for a task, listens; every frame is logged."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from subsong.block import build_block
from subsong.bridge import Bridge
from subsong.console import Progress, SilentProgress
from subsong.deploy import leave_link, start_firmware
from subsong.errors import LinkError, PortError
from subsong.experiment import Experiment, GymnasiumPlant
from subsong.experiment_plant import BoardPlant
from subsong.firmware import target_of
from subsong.plant_file import plant_digest
from subsong.ports import Port, open_port
from subsong.profile import TIERS
from subsong.remembered import note
from subsong.runlog import Recorder
from subsong.session import RunResult, Trials, check_shape, learn, recording, run_header, share
from subsong.small_firmware import require_fit
from subsong.verify import Verified, verify_board
from subsong_sim.learner import Ended, TrialSummary


class BoardTask:
    """Trials that a board runs by itself.

    Args:
        bridge: open, with a task block.
        steps: of a trial.
        recorder: keeps the state after a hole in the telemetry, so that replay can go on from there.
        evaluate_steps: of an evaluation; 0: as many as of a trial.
    """

    def __init__(self, bridge: Bridge, steps: int, recorder: Recorder, evaluate_steps: int = 0) -> None:
        self.bridge, self.recorder = bridge, recorder
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
        done = self.bridge.run_task(first, len(seeds), steps, evaluate, on_trial=on_trial, on_snapshot=on_snapshot)
        last = first + done.trials - 1
        if done.holes and last not in snapshots:
            # The hole may have swallowed the last trial, after which no snapshot comes: ask for the state itself.
            self.recorder.state(f"trial-{last:06d}", *self.bridge.state())
        for trial in range(first, last + 1):
            yield ends.get(trial)

    def state(self) -> tuple[bytes, bytes]:
        """Return the learner's head and mem."""
        return self.bridge.state()


class _Frames:
    """Takes frames for a recorder that does not exist yet: its header says what the first frames tell."""

    def __init__(self) -> None:
        self._held: list[tuple[bool, bytes, int]] = []
        self._recorder: Recorder | None = None

    def __call__(self, to_board: bool, wire: bytes, t_ns: int) -> None:
        if self._recorder is not None:
            self._recorder.frame(to_board, wire, t_ns)
        else:
            self._held.append((to_board, wire, t_ns))

    def record(self, recorder: Recorder) -> None:
        for frame in self._held:
            recorder.frame(*frame)
        self._held.clear()
        self._recorder = recorder


def run_on_board(experiment: Experiment, *, port: str, out: Path, progress: Progress | None = None) -> RunResult:
    """Learn on a board.

    The firmware on the board is verified by hashes first. The plant is the experiment's with its [plant.mismatch].

    Args:
        experiment: what to learn.
        port: a0, /dev/..., socket://..., or an emulated board's name.
        out: the log.
        progress: told how far it is.

    Raises:
        PortError, FirmwareError, BoardError, LinkError, PlantError, ExperimentError, LogError: the log is closed, and
            as far as the run went it is readable.
    """
    progress = progress or SilentProgress()
    plant = _plant(experiment)
    try:
        progress.start("verifying the firmware on the board")
        with open_port(port) as opened:
            return run_over(experiment, opened, plant, out, progress)
    finally:
        if plant is not None:
            plant.close()


def _plant(experiment: Experiment) -> Any:
    """Return the plant that the host plays, or None for a task or a plant that the board has."""
    if not isinstance(experiment.plant, GymnasiumPlant):
        return None
    from subsong_sim.plants import make_plant

    plant = make_plant(experiment.plant_spec(), experiment.mismatch())
    check_shape(experiment, plant)
    return plant


def run_over(
    experiment: Experiment,
    port: Port,
    plant: Any,
    out: Path,
    progress: Progress | None = None,
    held: Verified | None = None,
) -> RunResult:
    """Do `run_on_board` over a port that is open, and stays so.

    Args:
        experiment: what to learn.
        port: open.
        plant: that the host plays; None for a task, or a plant that the board has.
        out: the log.
        progress: told how far it is.
        held: what the firmware on the board was proven to be, by one who had the port ever since; None: prove it now.
    """
    from subsong_sim.trials import PlantTrials

    progress = progress or SilentProgress()
    block = build_block(experiment)
    held = held or verify_board(port)
    if held.profile.firmware == "small":
        require_fit(port.name, held.profile.name, block)
    board = held.device.as_dict()
    described = experiment.plant.title
    if isinstance(experiment.plant, BoardPlant):
        described += f", sha256 {plant_digest(port)}"
    frames = _Frames()
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
    task = plant is None
    header = run_header(
        experiment,
        block,
        "board",
        mismatch=experiment.mismatch() is not None,
        plant=plant.description if plant is not None else described,
        engine=board,
        manifest=held.manifest.as_dict(),
    )
    with recording(out, header) as recorder:
        frames.record(recorder)
        silent = False
        try:
            bridge.open(block, experiment.run.deadman_ms)
            recorder.state("initial", block.head, block.mem)
            steps = experiment.run.steps
            evaluate_steps = experiment.run.evaluate_steps
            trials: Trials = (
                BoardTask(bridge, steps, recorder, evaluate_steps) if task else PlantTrials(bridge, plant, steps)
            )
            learn(experiment, trials, result, progress)
            recorder.state("final", *trials.state())
        except (LinkError, PortError):
            silent = True  # nobody is there to be told goodbye
            raise
        finally:
            if not silent:
                leave_link(port, bridge)
            result.counters |= vars(bridge.counters)
        progress.start("closing the log", 100)
        recorder.close(share(progress))
        progress.finish()
    return result
