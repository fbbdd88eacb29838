"""How long after a cause the outputs are safe, by the clock of an emulated Pico. docs/safety.md has the table."""

import ast
import struct
from pathlib import Path

import pytest

from subsong.block import build_block
from subsong.bridge import Bridge
from subsong.deploy import start_firmware, write_file
from subsong.experiment import Experiment, parse_experiment
from subsong.experiment_text import example_text
from subsong.policy import Policy
from subsong.ports import Port, open_port
from subsong.repl import Repl
from subsong_device import faults, frames
from subsong_device.layout import ARITHMETIC_VERSION
from subsong_hil.pico import SLOWDOWN

pytest_plugins = ["subsong_hil.fixtures"]
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("pico")]

PLANT = Path(__file__).with_name("safe_plant.py")
PATIENCE_S = 600.0
STEP_MS = 20
DEADMAN_MS = 200
SILENCE_S = 0.4 * SLOWDOWN  # 400 ms of a board that waits
SLACK_MS = 5  # a collection of garbage, and the exception's own way
# What the docs declare: case, what it is, ms within which the outputs are safe.
DECLARED = {
    "exception": ("an exception in `actuate()`", SLACK_MS),
    "stuck": ("a stuck sensor, from the reading that proves it", SLACK_MS),
    "range": ("a sensor out of range, likewise", SLACK_MS),
    "hang": (f"`sense()` does not return; `step_limit_ms` = {STEP_MS}", STEP_MS + SLACK_MS),
    "actuate": ("`actuate()` does not return, likewise", STEP_MS + SLACK_MS),
    "mute": ("the link is stalled: telemetry finds no room, from the step's begin", STEP_MS + SLACK_MS),
    "silent": (f"the host is dead; `deadman_ms` = {DEADMAN_MS}, from its last frame", DEADMAN_MS + STEP_MS),
    "ctrl-c": ("Ctrl-C on a policy", SLACK_MS),
}
WITHOUT_LINK = tuple(DECLARED)[:5]
# Runs of TaskRun with everything real but the host and the learner.
ALONE = """
from array import array
from subsong_device import faults, plant_guard as g
from subsong_device.block import Block
from subsong_device.task_run import TaskRun
nothing = lambda *_: None
class Still:
    begin = act = end = staticmethod(nothing)
    damaged = 0
    reserve = write = listen = tell = staticmethod(nothing)
Still.rx = Still
words = {words}
for _ in range({n}):
    block = Block(0, 4, 2, 60, 20, len(words))
    block.task[:] = array("H", words)
    run = TaskRun(Still, g, block, g.Guard(g.load_plant()))
    run.plan(0, 1, 10, 0)
    run.run(Still)
    run.close()
print(faults.NOTES)
"""


def experiment_of(period_ms: int = 0, step_limit_ms: int = STEP_MS) -> Experiment:
    text = example_text("filters").replace("step_limit_ms = 100 ", f"step_limit_ms = {step_limit_ms} ")
    text = text.replace("period_ms = 0 ", f"period_ms = {period_ms} ").replace("stuck_steps = 200", "stuck_steps = 3")
    return parse_experiment(text.replace("[-32000, 32000]", "[-15000, 15000]"), "test")


def notes(repl: Repl) -> dict[str, float]:
    told = repl.run("from subsong_device import faults\nprint(faults.NOTES)")
    return {case: us / 1000 for case, us in ast.literal_eval(told)}


def read_until(port: Port, wanted: bytes) -> None:
    said = b""
    while wanted not in said:
        part = port.read_available(PATIENCE_S)
        assert part, said
        said += part


def run_unheard(port: Port, bridge: Bridge, ends_with: int) -> None:
    """Start a run and say nothing, until the board says unasked why it ends, or no more: then speak."""
    exchange = bridge._exchange
    exchange.write(frames.encode(frames.RUN, exchange.next_seq(), struct.pack("<IIHB", 0, 1, 16384, 0)))
    deframer = frames.Deframer(frames.body_lengths(False, 4, 2))
    heard = 0
    while True:
        part = port.read_available(SILENCE_S if heard > frames.WINDOW // 2 else PATIENCE_S)
        heard += len(part)
        if not part:  # the window is full, and its wait longer than any step may be
            heard = 0
            exchange.write(frames.encode(frames.HELLO, exchange.next_seq(), struct.pack("<I", frames.schema())))
        for _, kind, seq, payload in deframer.feed(part):
            if kind == frames.ACK and seq == 0:
                assert payload[0] == ends_with
                return


def test_outputs_are_safe_within_the_declared_time(pico_deployed: Path) -> None:
    block = build_block(experiment_of())
    words = list(struct.unpack(f"<{len(block.task) // 2}H", block.task))
    took: dict[str, float] = {}
    with open_port("pico") as port:
        with Repl(port) as repl:
            write_file(repl, "plant.py", PLANT.read_bytes())
            write_file(repl, "cases", " ".join(WITHOUT_LINK).encode())
            told = repl.run(ALONE.format(words=words, n=len(WITHOUT_LINK)), 60.0)
            took |= {case: us / 1000 for case, us in ast.literal_eval(told)}

            write_file(repl, "cases", b"mute silent")
        start_firmware(port)
        bridge = Bridge(port)
        bridge.hello()
        bridge.open(block, 60000)
        run_unheard(port, bridge, faults.LATE)
        bridge.open(build_block(experiment_of(period_ms=STEP_MS - 1)), DEADMAN_MS)
        run_unheard(port, bridge, faults.DEADMAN)
        with Repl(port, soft_reset=False) as repl:
            took |= notes(repl)

        slow = build_block(experiment_of(step_limit_ms=8000))
        policy = Policy(
            ARITHMETIC_VERSION, slow.rule, "", "", "", 4, 2, 40, 0, head=slow.head, mem=slow.mem, task=slow.task
        )
        with Repl(port) as repl:
            write_file(repl, "cases", b"ctrl-c")
            write_file(repl, "policy.bin", policy.to_binary())
        # Not left: leaving reads what the board says, "waiting" included.
        Repl(port).__enter__().launch("import subsong_device.policy_main as p\np.main()")
        read_until(port, b"waiting")
        port.write(b"\x03")
        read_until(port, b"policy: stopped")
        with Repl(port, soft_reset=False) as repl:
            took |= notes(repl)
    for case, (what, declared) in DECLARED.items():
        print(f"| {what} | {declared} | {took[case]:.1f} |")
    assert took.keys() == DECLARED.keys()
    late = {case: ms for case, ms in took.items() if not 0 <= ms <= DECLARED[case][1]}
    assert not late
