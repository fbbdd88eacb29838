"""Short experiments, and ports that do what cables do, for tests of whole runs."""

import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest

from subsong import board_session
from subsong.console import SilentProgress
from subsong.errors import LinkError, PortError
from subsong.experiment import Experiment, parse_experiment
from subsong.experiment_text import example_named, example_text, with_learner
from subsong.ports import Port, open_port
from subsong.rules import BY_NAME

RULES = ("weight_perturbation", "node_perturbation")


def shortened(name: str, rule: str = RULES[0], **keys: object) -> Experiment:
    """Return a shipped example with some keys of [run] set."""
    lines = []
    run = {"trials": 8, "evaluate_every": 4, "evaluate_episodes": 2, "steps": 4 if name == "xor" else 60, **keys}
    for line in with_learner(example_text(name), rule).splitlines():
        key = line.split(" = ")[0]
        if key == "stop_cost":
            continue
        lines.append(f"{key} = {run.pop(key)}" if key in run else line)
    assert not run
    return parse_experiment("\n".join(lines), "test")


def example_of(rule: str) -> Experiment:
    """Return a shipped example of a rule, perturbed by chance; cartpole and xor hold numbers of two rules."""
    found = example_named(rule)
    assert found is not None
    experiment = parse_experiment(found[1], found[0])
    chance = {"code": "random"} if "code" in dict(BY_NAME[rule].options) else {}
    return experiment.model_copy(update={"learner": experiment.learner.model_copy(update=chance)})


def short_example(rule: str, trials: int, steps: int) -> Experiment:
    """Return a rule's example on the board, of few trials and at most so many steps."""
    experiment = example_of(rule)
    fewest = min(experiment.run.steps, steps, BY_NAME[rule].most_steps)
    run = {"trials": trials, "steps": fewest, "evaluate_every": trials, "evaluate_episodes": 1, "stop_cost": None}
    return experiment.model_copy(update={"run": experiment.run.model_copy(update=run)})


PENDULUM = """
[network]
layers = [3, 5, 1]
activations = ["tanh", "hard_tanh"]
init = 0.5
[learner]
rule = "node_perturbation"
estimator = "unperturbed_trial"
amplitude = 0.2
rate = 1
rate_shift = 8
[plant]
kind = "gymnasium"
id = "Pendulum-v1"
cost_lsb = 0.01
[plant.mismatch]
actuator_lag = 0.5
actuator_deadband = 0.05
sensor_noise = 0.01
[run]
trials = 6
steps = 40
evaluate_every = 3
evaluate_episodes = 1
"""


class FaultyPort:
    """A port between which and the board something happens, told by a function of every read.

    Args:
        port: the real one.
        mangle: takes the bytes of a read, and returns what arrives.

    Attributes:
        armed: whether anything happens at all.
    """

    def __init__(self, port: Port, mangle: Callable[[bytes], bytes]) -> None:
        self._port, self._mangle = port, mangle
        self.armed = False

    def read_available(self, timeout_s: float) -> bytes:
        """Read, mangled."""
        data = self._port.read_available(timeout_s)
        return self._mangle(data) if self.armed else data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)

    def __enter__(self) -> Self:
        self._port.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._port.__exit__(*error)


def flip_bits(monkeypatch: pytest.MonkeyPatch, every: int, seed: int = 1) -> None:
    """Make runs on a board see one bit flipped in every `every`-th read, once learning has begun."""
    bits = random.Random(seed)
    ports: list[FaultyPort] = []
    count = 0
    learn = board_session.learn

    def mangle(data: bytes) -> bytes:
        nonlocal count
        count += bool(data)
        if not data or count % every:
            return data
        altered = bytearray(data)
        altered[bits.randrange(len(data))] ^= 1 << bits.randrange(8)
        return bytes(altered)

    def opened(name: str) -> Any:
        ports.append(FaultyPort(open_port(name), mangle))
        return ports[-1]

    def learning(*args: Any, **options: Any) -> None:
        ports[-1].armed = True
        learn(*args, **options)

    monkeypatch.setattr(board_session, "open_port", opened)
    monkeypatch.setattr(board_session, "learn", learning)


class _Killer(SilentProgress):
    """Ends the board's process after so many learning trials."""

    pid = 0

    def __init__(self, trials: int, number: signal.Signals) -> None:
        self.left, self.number = trials, number

    def advance(self, n: int = 1) -> None:
        self.left -= n
        if self.left <= 0 < self.left + n:
            os.kill(self.pid, self.number)

    def watch(self, name: str) -> Port:
        """Open a port and remember its board."""
        port = open_port(name)
        assert port.board is not None
        assert port.board.pid is not None
        self.pid = port.board.pid
        return port


def cut_off(
    experiment: Experiment,
    out: Path,
    trials: int,
    port: str = "unix",
    number: signal.Signals = signal.SIGKILL,
    resume: Path | None = None,
) -> None:
    """Run on an emulated board that ends after so many learning trials: there is one error, which names the port."""
    killer = _Killer(trials, number)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(board_session, "open_port", killer.watch)
        with pytest.raises((LinkError, PortError), match=port):
            board_session.run_on_board(experiment, port=port, out=out, progress=killer, resume=resume)
