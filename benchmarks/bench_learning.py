"""Learning steps a second: the simulator against the same kernels under CPython and on the unix board.

`make bench-learning`; QUICK=1 for less. Every ratio is of one run; the engines are timed in turn, three times, and the
best of each counts.
"""

import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version

import numpy as np
from figures import example

from subsong import session
from subsong.block import build_block
from subsong.board_session import BoardTask
from subsong.bridge import Bridge
from subsong.deploy import deploy, start_firmware
from subsong.experiment import Experiment
from subsong.experiment_loop import GymnasiumPlant
from subsong.ports import open_port
from subsong_sim.engines import LocalLearner, make_buffer
from subsong_sim.lanes import compile_one
from subsong_sim.learner import Ended
from subsong_sim.trials import PlantTrials, addresses

ROUNDS = 1 if os.environ.get("QUICK", "0") not in ("", "0") else 3
RULES = ("weight_perturbation", "node_perturbation")


HEADERS = (
    "experiment, rule",
    "native steps/s",
    "CPython steps/s",
    "unix board steps/s",
    "native / CPython",
    "native / board",
)


def steps_a_second(run: Callable[[int], int], trials: int) -> float:
    """Return steps a second of `run(trials)`, which returns the steps it took."""
    began = time.perf_counter()
    steps = run(trials)
    return steps / (time.perf_counter() - began)


def local(experiment: Experiment, engine: str) -> Callable[[int], int]:
    """Return what runs learning trials on this computer, unlogged."""
    if engine == "native" and not isinstance(experiment.plant, GymnasiumPlant):
        return in_one_call(experiment)
    trials, _plant = session.local_trials(experiment, build_block(experiment), False, engine, None)
    first = [0]

    def run(n: int) -> int:
        ended = list(trials.run(first[0], range(first[0], first[0] + n), False))
        first[0] += n
        return sum(e.summary.steps for e in ended if isinstance(e, Ended))

    return run


def in_one_call(experiment: Experiment) -> Callable[[int], int]:
    """Return what runs trials of a task in one call: four steps are too few to spread the cost of a summary over."""
    block = build_block(experiment)
    learner = LocalLearner(block.rule, block.head, block.mem)
    head, mem, x, u = learner.buffers
    task = make_buffer(block.task, "H", learner.engine)
    code = compile_one(block.rule, ("task_stretch",), head, task)

    def run(n: int) -> int:
        ends = np.empty((n, 6), np.int32)
        code.functions["task_stretch"](*addresses(head, mem, task, x, u, x, u, ends, ends), 0, n, 4, 0, 1)
        return 4 * n

    return run


def on_board(experiment: Experiment, trials: int) -> float:
    """Return the unix board's steps a second, unlogged: the plant in the loop, or the task's telemetry only."""
    with open_port("unix") as port:
        start_firmware(port)
        with Bridge(port) as bridge:
            bridge.hello()
            bridge.open(build_block(experiment), experiment.run.deadman_ms)
            runner: session.Trials
            if isinstance(experiment.plant, GymnasiumPlant):
                from subsong_sim.plants import make_plant

                runner = PlantTrials(bridge, make_plant(experiment.plant_spec(), compiled=True), experiment.run.steps)
            else:
                runner = BoardTask(bridge, experiment.run.steps, _Nowhere())  # type: ignore[arg-type]

            def run(n: int) -> int:
                return sum(e.summary.steps for e in runner.run(0, range(n), False) if e is not None)

            return steps_a_second(run, trials)


class _Nowhere:
    """A recorder for a link without faults."""

    def state(self, *_: object) -> None:
        raise AssertionError("a hole on a pty")


def main() -> None:
    """Print the table."""
    versions = f"Python {platform.python_version()}, llvmlite {version('llvmlite')}"
    print(f"{versions}, {platform.machine()}, {os.cpu_count()} cores")
    print("|", " | ".join(HEADERS), "|")
    print("|---" * len(HEADERS) + "|")
    with open_port("unix") as port:
        deploy(port)
    for name in ("xor", "cartpole"):
        for rule in RULES:
            experiment = example(name, rule, 1)
            many = 20 if name == "cartpole" else 500
            best = dict.fromkeys(("native", "cpython", "board"), 0.0)
            for _ in range(ROUNDS):
                found = {
                    "native": steps_a_second(local(experiment, "native"), many * 100),
                    "cpython": steps_a_second(local(experiment, "cpython"), many),
                    "board": on_board(experiment, many),
                }
                best = {engine: max(best[engine], speed) for engine, speed in found.items()}
            n, c, b = best.values()
            print(f"| {name}, {rule} | {n:,.0f} | {c:,.0f} | {b:,.0f} | {n / c:,.0f} | {n / b:,.0f} |")


if __name__ == "__main__":
    main()
