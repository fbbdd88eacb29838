"""A run in which nothing moves: the learner acts on what the sensors say, and its words are shown, not put out.

On the board's own plant the guard calls neither reset() nor actuate() (subsong_device.plant_guard); what would have
gone out is computed here from the learner's words, by the guard's rule. Nothing is logged, what is learned is dropped.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from subsong.block import Block, build_block, stream_seed
from subsong.bridge import Bridge
from subsong.console import Progress, SilentProgress
from subsong.deploy import leave_link, start_firmware
from subsong.errors import LinkError, PortError
from subsong.experiment import Experiment
from subsong.experiment_plant import BoardPlant
from subsong.ports import Port, open_port
from subsong.session import local_plant
from subsong.small_firmware import require_fit
from subsong.timing import Timing, TimingTotal
from subsong.verify import verify_board
from subsong_device.plant_check import DRY

TRIALS = 2  # both of a pair
MOST_MS = 10_000  # of a trial
STILL_STEPS = 40  # of a trial in the loop, where the sensors say the same in every step
SHOWN = 8  # steps of the first trial


@dataclass
class Channel:
    """The words of one actuator.

    Attributes:
        low, high: what may go out.
        slew: by how much a word may differ from the last one.
        safe: the word at which slew begins.
        asked: lowest and highest word of the learner.
        out: lowest and highest word that would have gone out.
        clipped: words that the range would have cut.
        slewed: words that the slew limit would have cut.
    """

    low: int = -32768
    high: int = 32767
    slew: int = 65535
    safe: int = 0
    asked: tuple[int, int] | None = None
    out: tuple[int, int] | None = None
    clipped: int = 0
    slewed: int = 0
    _now: int = field(default=0, repr=False)

    def begin(self) -> None:
        """Begin a trial."""
        self._now = self.safe

    def take(self, word: int) -> int:
        """Take a word of the learner; return what the guard would have put out, and count."""
        held = min(max(word, self.low), self.high)
        out = min(max(held, self._now - self.slew), self._now + self.slew)
        self.clipped += held != word
        self.slewed += out != held
        self._now = out
        self.asked, self.out = spread(self.asked, word), spread(self.out, out)
        return out


@dataclass
class DryRun:
    """What a run would have done.

    Attributes:
        trials: how many there were.
        steps: how many, over all of them.
        sensors: lowest and highest word of each.
        actuators: what was asked of each.
        cost: lowest and highest cost of a step, counts; None where nothing says.
        shown: of the first steps: number, sensor words, the learner's words, what would have gone out.
        timing: how well the period was kept.
    """

    actuators: list[Channel]
    trials: int = 0
    steps: int = 0
    sensors: list[tuple[int, int]] = field(default_factory=list)
    cost: tuple[int, int] | None = None
    shown: list[tuple[int, list[int], list[int], list[int]]] = field(default_factory=list)
    timing: TimingTotal = field(default_factory=TimingTotal)

    def take(self, _trial: int, step: int, cost: int, x: Sequence[int], u: Sequence[int]) -> None:
        """Take a step: its number, the cost of the one before, the sensor and the learner's words."""
        if step == 0:
            self.trials += 1
            for channel in self.actuators:
                channel.begin()
        else:
            self.cost = spread(self.cost, cost)
        out = [channel.take(word) for channel, word in zip(self.actuators, u, strict=True)]
        seen = self.sensors or [(word, word) for word in x]
        self.sensors = [spread(old, word) for old, word in zip(seen, x, strict=True)]
        if self.trials == 1 and step < SHOWN:
            self.shown.append((step, list(x), list(u), out))
        self.steps += 1


def spread(seen: tuple[int, int] | None, value: int) -> tuple[int, int]:
    """Return the lowest and the highest of what was seen and one value more."""
    return (min(seen[0], value), max(seen[1], value)) if seen else (value, value)


def dry_run(experiment: Experiment, *, port: str, progress: Progress | None = None) -> DryRun:
    """Run two trials, and move nothing.

    Args:
        experiment: what would be learned; a task, which has nothing that could move, runs as ever.
        port: as for a run.
        progress: told how far it is.

    Raises:
        PortError, FirmwareError, BoardError, LinkError, PlantError, ExperimentError.
    """
    progress = progress or SilentProgress()
    progress.start("verifying the firmware on the board")
    with open_port(port) as opened:
        return dry_run_over(experiment, opened, progress)


def dry_run_over(experiment: Experiment, port: Port, progress: Progress) -> DryRun:
    """Do `dry_run` over a port that is open, and stays so."""
    block = build_block(experiment)
    held = verify_board(port)
    if held.profile.firmware == "small":
        require_fit(port.name, held.profile.name, block)
    n_actuators, steps = experiment.network.layers[-1], experiment.run.steps
    if isinstance(experiment.plant, BoardPlant):
        channels = [Channel(*limits) for limits in experiment.plant.actuators(n_actuators)]
        block = _dry(block)
        if experiment.plant.period_ms:
            steps = min(steps, max(1, int(MOST_MS / experiment.plant.period_ms)))
    else:
        channels = [Channel() for _ in range(n_actuators)]
    found = DryRun(channels)

    def on_timing(timing: Timing) -> None:
        found.timing = found.timing.plus(timing)

    start_firmware(port)
    bridge = Bridge(port)
    silent = False
    try:
        bridge.hello()
        bridge.open(block, experiment.run.deadman_ms)
        progress.start("a dry run", TRIALS)
        if block.task:
            bridge.run_task(0, TRIALS, steps, on_step=found.take, on_timing=on_timing)
        else:
            _in_the_loop(experiment, bridge, steps, found)
        progress.finish()
    except (LinkError, PortError):
        silent = True  # nobody is there to be told goodbye
        raise
    finally:
        if not silent and port.connected:
            leave_link(port, bridge)
    return found


def _dry(block: Block) -> Block:
    """Return a block whose guard moves nothing."""
    task = bytearray(block.task)
    task[2 * DRY] = 1
    return replace(block, task=bytes(task))


def _in_the_loop(experiment: Experiment, bridge: Bridge, steps: int, found: DryRun) -> None:
    """Let the board act on what the host's plant senses where it stands after a reset."""
    plant: Any = local_plant(experiment, mismatch=True, compiled=False)
    try:
        for trial in range(TRIALS):
            plant.reset(stream_seed(experiment.seed, "plant", 0))
            bridge.begin(trial, evaluate=False)
            for step in range(min(steps, STILL_STEPS)):
                x = list(plant.sense())
                found.take(trial, step, 0, x, bridge.act(0, x))
            bridge.end(0)
    finally:
        plant.close()
