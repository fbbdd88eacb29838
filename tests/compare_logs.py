"""Run logs in memory for the comparison's tests: a made-up learner with a known cost on either plant."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from subsong.errors import PlantError
from subsong.experiment import Experiment, parse_experiment
from subsong.runlog.records import Event, Frame, RunHeader, Trial
from subsong.timing import Timing
from subsong_sim.learner import TrialSummary

CARTPOLE = """
seed = 1
[network]
layers = [4, 1]
activations = ["identity"]
[learner]
rule = "weight_perturbation"
amplitude = 0.1
rate = 1
rate_shift = 0
[plant]
kind = "gymnasium"
id = "CartPole-v1"
sensor_range = [[-2.4, 2.4], [-3.0, 3.0], [-0.21, 0.21], [-3.0, 3.0]]
cost_lsb = 0.5
[plant.mismatch]
parameters = {force_mag = 8.0, friction_cart = 0.1}
actuator_delay = 1
[run]
trials = 120
steps = 500
stop_cost = -475.0
"""

XOR = """
seed = 1
[network]
layers = [2, 4, 1]
activations = ["tanh", "logistic"]
init = 1.0
[learner]
rule = "weight_perturbation"
amplitude = 0.05
rate = 1
rate_shift = 4
[plant]
kind = "task"
name = "xor"
[run]
trials = 60
steps = 4
"""


@dataclass
class FakeRun:
    """What `read_run` would return."""

    header: RunHeader
    trials: list[TrialSummary]
    states: dict[str, tuple[bytes, bytes]]
    events: list[Event] = field(default_factory=list)
    wire: list[Frame] = field(default_factory=list)
    complete: bool = True
    steps: list[Trial] = field(default_factory=list)
    timings: list[Timing] = field(default_factory=list)

    def summaries(self) -> list[TrialSummary]:
        return self.trials

    def iter_trials(self) -> Iterator[Trial]:
        return iter(self.steps)

    def frames(self) -> Iterator[Frame]:
        return iter(self.wire)


@dataclass(frozen=True)
class FakeReplay:
    trials: int
    checked: int
    holes: int = 0
    skipped: int = 0
    difference: str | None = None


def weights(nominal: float, mismatched: float, seed: int = 0) -> bytes:
    """Return a memory that `evaluate` reads back: mean cost in counts on either plant."""
    return struct.pack("<ddI", nominal, mismatched, seed)


def evaluate(
    experiment: Experiment, rule: str, head: bytes, mem: bytes, *, mismatch: bool, episodes: int, first_seed: int = 0
) -> list[int]:
    """Return the mean that the memory states, and a spread that depends on the episode alone and averages to zero."""
    assert rule == experiment.learner.rule
    mean = struct.unpack("<ddI", mem)[mismatch]
    spread = np.random.default_rng(first_seed).normal(0.0, 20.0, episodes)
    return [round(mean + each) for each in spread - spread.mean()]


def refuse(*_args: object, **_named: object) -> list[int]:
    raise PlantError("this plant is on pins: it cannot be simulated")


def replay_equal(path: Path, progress: object) -> FakeReplay:
    return FakeReplay(trials=120, checked=120)


def make_run(
    source: str,
    seed: int = 1,
    *,
    toml: str = CARTPOLE,
    final: tuple[float, float] = (-980.0, -500.0),
    trials: int = 120,
    evaluate_every: int = 20,
    mismatch: bool | None = None,
    plant: str = "CartPole-v1",
    **header: object,
) -> FakeRun:
    """Make a run whose cost falls from -40 to `final` (counts: nominal, mismatched)."""
    experiment = parse_experiment(toml, "test").with_seed(seed)
    board = source == "board"
    mismatched = board if mismatch is None else mismatch
    rng = np.random.default_rng((seed, board))
    goal = final[mismatched]
    made: list[TrialSummary] = []

    def add(evaluating: bool, total: int, steps: int) -> None:
        checksum = len(made) * 7919 % (1 << 28)
        made.append(TrialSummary(len(made), evaluating, steps, total, 0, checksum, board * (total % 3), 0))

    for k in range(trials):
        reached = goal + (-40 - goal) * np.exp(-4.0 * k / trials)
        cost = min(-9, round(reached * rng.uniform(0.5, 1.05)))
        task = experiment.plant.kind == "task"
        add(False, cost, 4 if task else max(1, min(500, -cost // 2)))
        if (k + 1) % evaluate_every == 0:
            for _ in range(5):
                add(True, round(reached * rng.uniform(0.9, 1.0)), 4 if task else 500)
    values = RunHeader(
        source=source,
        experiment_toml=experiment.to_toml(),
        experiment_digest=experiment.digest,
        seed=seed,
        rule=experiment.learner.rule,
        n_sensors=experiment.network.layers[0],
        n_actuators=experiment.network.layers[-1],
        arithmetic=1,
        mismatch=mismatched,
        plant=plant,
        engine={"board": "unix", "micropython": "1.29.0", "tier": "bytecode"}
        if board
        else {"name": "numba", "numba": "0.68.1"},
        manifest={"link.py": "a" * 64, "learner.py": "b" * 64} if board else {},
        started_ns=1_760_000_000_000_000_000 + seed * 60_000_000_000,
    )
    wire = [Frame(i, i % 2 == 0, b"\x01\x00", 1_760_000_000_000_000_000 + 400_000 * i) for i in range(200 * board)]
    return FakeRun(
        header=replace(values, **header),  # type: ignore[arg-type]
        trials=made,
        states={
            "initial": (b"head", weights(-40, -36, seed)),
            "final": (b"head", weights(*final, seed)),
        },
        wire=wire,
    )


def reader(runs: dict[str, FakeRun]):  # type: ignore[no-untyped-def]
    """Return a `read` that finds runs by the name of their path."""
    return lambda path: runs[path.name]
