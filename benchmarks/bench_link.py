"""Steps a second of learning with the plant in the loop on the unix board, against a bare echo of equal frames.

    python benchmarks/bench_link.py          QUICK=1 for a short version

The echo is pyserial's `write` and `read(n)` against three lines of MicroPython, its frames as long as a STEP and an
ACT. A learning step is all that `subsong run` does for one: the mismatched CartPole of the example `cartpole`, link,
learner in bytecode, both raw frames logged. Both boards are up all the time and take turns of some tens of
milliseconds, so that whatever else this machine does meets both alike.
"""

import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import serial

from subsong.block import build_block
from subsong.bridge import Bridge
from subsong.deploy import deploy, start_firmware
from subsong.experiment import Experiment, parse_experiment
from subsong.experiment_text import example_text
from subsong.ports import Port, open_port
from subsong.repl import Repl
from subsong.runlog import Recorder
from subsong.session import run_header
from subsong_device import frames
from subsong_hil.unix import UnixBoard
from subsong_sim.plants import make_plant
from subsong_sim.trials import plant_trial

QUICK = os.environ.get("QUICK", "0") not in ("", "0")
ROUNDS = 40 if QUICK else 300
HELD_TO = 0.5
TURN_STEPS = 400  # of either side in a round, about

ECHO = """
import sys
a, b, o = sys.stdin.buffer, bytearray({n_in}), memoryview(bytearray({n_out}))
while True:
    a.readinto(b)
    sys.stdout.buffer.write(o)
"""


@contextmanager
def echo(folder: Path, n_in: int, n_out: int) -> Iterator[Callable[[], float]]:
    """Yield a function that exchanges TURN_STEPS frames and returns seconds a step."""
    with UnixBoard(folder / "echo") as board:
        # Port and Repl only start the program; the echo itself is pyserial as everybody uses it.
        with Port(board.path, serial.Serial(board.path)) as port:
            repl = Repl(port)
            repl.__enter__()
            repl.launch(ECHO.format(n_in=n_in, n_out=n_out))
        with serial.Serial(board.path, timeout=5.0) as line:
            frame = bytes(range(1, n_in)) + b"\0"

            def turn() -> float:
                began = time.perf_counter()
                for _ in range(TURN_STEPS):
                    line.write(frame)
                    line.read(n_out)
                return (time.perf_counter() - began) / TURN_STEPS

            turn()
            yield turn


@contextmanager
def learning(folder: Path, experiment: Experiment) -> Iterator[tuple[Callable[[], float], Bridge]]:
    """Yield a function that learns for about TURN_STEPS steps and returns seconds a step; and the bridge."""
    os.environ["SUBSONG_CACHE"] = str(folder / "learning")
    block = build_block(experiment)
    plant = make_plant(experiment.plant_spec(), experiment.mismatch())
    header = run_header(experiment, block, "board", True, plant.description, {}, {})
    with open_port("unix") as port, Recorder(folder / "bench.mcap", header) as recorder:
        deploy(port)
        start_firmware(port)
        bridge = Bridge(port, on_frame=recorder.frame)
        bridge.hello()
        bridge.open(block, deadman_ms=60_000)
        trial = 0

        def turn() -> float:
            nonlocal trial
            steps = 0
            began = time.perf_counter()
            while steps < TURN_STEPS:
                steps += plant_trial(bridge, plant, trial, trial // 2, TURN_STEPS, False).summary.steps
                trial += 1
            return (time.perf_counter() - began) / steps

        turn()
        yield turn, bridge
        bridge.close()
        plant.close()


def main() -> int:
    """Print the ratio; return 1 where it is below HELD_TO."""
    experiment = parse_experiment(example_text("cartpole"), "cartpole")
    block = build_block(experiment)
    n_in, n_out = (
        frames.wire_length(frames.body_lengths(to_board, block.n_sensors, block.n_actuators)[kind])
        for to_board, kind in ((True, frames.STEP), (False, frames.ACT))
    )
    with (
        tempfile.TemporaryDirectory() as name,
        echo(Path(name), n_in, n_out) as echo_turn,
        learning(Path(name), experiment) as (learn_turn, bridge),
    ):
        # The order alternates, so that neither always follows the other.
        pairs = []
        for k in range(ROUNDS):
            turns = (echo_turn, learn_turn) if k % 2 else (learn_turn, echo_turn)
            first, second = turns[0](), turns[1]()
            pairs.append((first, second) if k % 2 else (second, first))
        counters = bridge.counters
    echoes, steps = zip(*pairs, strict=True)
    ratio = sum(echoes) / sum(steps)
    versions = f"Python {platform.python_version()}, pyserial {serial.__version__}"
    print(f"{versions}, {os.cpu_count()} cores, {platform.machine()}")
    print(f"{ROUNDS} rounds of {TURN_STEPS} steps a side; frames of {n_in} bytes to the board, {n_out} back")
    for what, values in (("echo", echoes), ("learning", steps)):
        low, middle, high = (1e6 * v for v in statistics.quantiles(values, n=4))
        total = sum(values) / len(values)
        print(f"{what:9} {1 / total:8,.0f} steps/s   {middle:6.1f} us a step (quartiles {low:.1f} to {high:.1f})")
    print(f"ratio     {ratio:8.2f} of the echo's rate over all rounds; median of rounds {_median_ratio(pairs):.2f}")
    print(f"link      {counters}")
    return 0


def _median_ratio(pairs: list[tuple[float, float]]) -> float:
    return statistics.median(a / b for a, b in pairs)


if __name__ == "__main__":
    sys.exit(main())
