"""A soak: learning for a million steps over a bad wire, and what grows meanwhile.

`make bench-soak`; QUICK=1 for a fiftieth. CartPole is learned on the unix board, every frame logged, through the proxy
of subsong_hil with every fault of a wire that stays plugged in; at the end the log is replayed. What must not grow is
looked at between stretches of trials: the board's heap after a collection, both processes' resident memory, and the
descriptors that they hold. The exit status is 1 where something grew, or a word was lost that replay needed.
"""

import os
import platform
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from figures import example

from subsong.block import Block, build_block
from subsong.bridge import Bridge
from subsong.console import SilentProgress
from subsong.deploy import deploy, leave_link, start_firmware
from subsong.experiment import Experiment
from subsong.ports import Port, open_port
from subsong.replay import replay
from subsong.session import RunResult, learn, recording, run_header
from subsong_hil.faulty_wire import Faults
from subsong_hil.proxy import Proxy
from subsong_hil.unix import UnixBoard
from subsong_sim.learner import Ended
from subsong_sim.plants import make_plant
from subsong_sim.trials import PlantTrials

QUICK = os.environ.get("QUICK", "0") not in ("", "0")
STEPS = 20_000 if QUICK else 1_000_000
LOOKS = 10
RATE = 4e-4 if QUICK else 1e-4  # of each fault, a frame and direction
FAULTS = Faults(
    flip=RATE, drop_bytes=RATE, drop=RATE, duplicate=RATE, reorder=RATE, insert=RATE, stall=RATE, delay=RATE
)
GROWTH = 1.02  # of memory, from the second look on


class Look(NamedTuple):
    """What there was at one moment: steps done, bytes of heap, of memory, descriptors, bytes of log."""

    steps: int
    heap_free: int
    board_memory: int
    host_memory: int
    board_files: int
    host_files: int
    log: int


class Watched:
    """A run's trials, with a look between two of them whenever it is due.

    Attributes:
        looks: what was seen.
    """

    def __init__(self, trials: PlantTrials, bridge: Bridge, board: UnixBoard, log: Path) -> None:
        self.looks: list[Look] = []
        self._trials, self._bridge, self._board, self._log = trials, bridge, board, log
        self._steps = 0

    def run(self, first: int, seeds: Sequence[int], evaluate: bool) -> Iterator[Ended | None]:
        """Do the trials' own `run`; after the last look, raise Enough."""
        for ended in self._trials.run(first, seeds, evaluate):
            yield ended
            self._steps += ended.summary.steps if ended is not None else 0
            if self._steps >= len(self.looks) * STEPS // LOOKS:
                self.looks.append(self._look())
                print(f"{self._steps:>9,} steps", file=sys.stderr)
            if self._steps >= STEPS:
                raise Enough

    def state(self) -> tuple[bytes, bytes]:
        """Return the learner's head and mem."""
        return self._trials.state()

    def _look(self) -> Look:
        board, host = self._board.pid, os.getpid()
        assert board is not None, "the board has gone"
        return Look(
            self._steps,
            self._bridge.greet().heap_free,
            memory(board),
            memory(host),
            files(board),
            files(host),
            self._log.stat().st_size,
        )


class Enough(Exception):
    """The steps are done."""


def memory(pid: int) -> int:
    """Return a process's resident memory, bytes."""
    found = re.search(r"VmRSS:\s*(\d+)", Path(f"/proc/{pid}/status").read_text("ascii"))
    assert found, "no process, or no Linux"
    return 1024 * int(found[1])


def files(pid: int) -> int:
    """Return how many descriptors a process holds."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def soak(folder: Path) -> list[str]:
    """Learn through the bad wire, print what was seen, and return what is wrong."""
    experiment = example("cartpole", "weight_perturbation", 1)
    run = experiment.run.model_copy(update={"trials": 10_000_000, "stop_cost": None, "evaluate_every": 0})
    experiment = experiment.model_copy(update={"run": run})
    block, log = build_block(experiment), folder / "soak.mcap"
    with UnixBoard(folder / "flash") as board:
        with open_port(board.path) as port:
            deploy(port)
        with Proxy(board.path, seed=1) as proxy, open_port(proxy.path) as port:
            result, bridge, watched = learned(experiment, block, port, proxy, board, log)
    took = replay(log)
    last = watched.looks[-1]
    print(f"{last.steps:,} learning steps in {result.seconds:,.0f} s, {result.steps / result.seconds:,.0f} a second")
    for way, counts in proxy.counts.items():
        print(f"faults, {way.replace('_', ' ')}: {', '.join(f'{n} {fault}' for fault, n in sorted(counts.items()))}")
    print("mended: " + ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in vars(bridge.counters).items()))
    size = log.stat().st_size
    print(f"log: {last.log / last.steps:.0f} bytes a step recorded, {size / last.steps:.0f} closed")
    print(f"replayed: {took.checked:,} of {took.trials:,} trials, {took.difference or 'no difference'}\n")
    print("| steps | board heap free | board memory | host memory | board files | host files | log |")
    print("|---" * len(last) + "|")
    for look in watched.looks:
        print("| " + " | ".join(f"{value:,}" for value in look) + " |")
    unchecked = took.trials - took.checked
    skipped = [f"{unchecked} trials could not be replayed"] if unchecked else []
    return complaints(watched.looks) + skipped + ([took.difference] if took.difference else [])


def learned(
    experiment: Experiment, block: Block, port: Port, proxy: Proxy, board: UnixBoard, log: Path
) -> tuple[RunResult, Bridge, Watched]:
    """Learn until Enough; return the result, the bridge with its counters, and the looks."""
    start_firmware(port)
    plant = make_plant(experiment.plant_spec(), experiment.mismatch(), compiled=True)
    header = run_header(experiment, block, "board", True, plant.description, {"engine": "unix"}, {})
    with recording(log, header) as recorder:
        bridge = Bridge(port, on_frame=recorder.frame)
        bridge.hello()
        proxy.to_board.faults = proxy.from_board.faults = FAULTS
        bridge.open(block, experiment.run.deadman_ms)
        recorder.state("initial", block.head, block.mem)
        watched = Watched(PlantTrials(bridge, plant, experiment.run.steps), bridge, board, recorder.partial)
        result = RunResult(log)
        try:
            learn(experiment, watched, result, SilentProgress())
        except Enough:
            recorder.state("final", *watched.state())
        proxy.to_board.faults = proxy.from_board.faults = Faults()
        leave_link(port, bridge)
        began = time.perf_counter()
        recorder.close()
        print(f"the log was closed in {time.perf_counter() - began:.0f} s", file=sys.stderr)
    return result, bridge, watched


def complaints(looks: Sequence[Look]) -> list[str]:
    """Return what grew between the second look (imports and buffers are done then) and the last."""
    early, last = looks[1], looks[-1]
    found = []
    if last.heap_free < early.heap_free:
        found.append(f"the board's free heap went from {early.heap_free} to {last.heap_free} bytes")
    for name, growth in (("board_memory", GROWTH), ("host_memory", GROWTH), ("board_files", 1), ("host_files", 1)):
        before, after = getattr(early, name), getattr(last, name)
        if after > growth * before:
            found.append(f"{name} went from {before} to {after}")
    return found


def main() -> int:
    """Soak and print; return the exit status."""
    print(f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        wrong = soak(Path(folder))
    for line in wrong:
        print(f"WRONG: {line}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
