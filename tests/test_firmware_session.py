"""The link with a real MicroPython at the other end: the unix board, its console a pseudo-terminal."""

import ast
import contextlib
import random
import struct
from collections.abc import Callable, Iterator
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from cases import FIRST
from subsong.block import build_block
from subsong.bridge import Bridge
from subsong.deploy import leave_link
from subsong.errors import BoardError, FirmwareError, LinkLost, SchemaMismatch
from subsong.ports import Port, open_port
from subsong.repl import Repl
from subsong_device import faults, frames
from subsong_hil.unix import UnixBoard
from test_bridge import PLANT, XOR, DropTelemetry, Harm, Heard, block_of, experiment, local, play, task_trials

pytest_plugins = ["subsong_hil.fixtures"]

DEADMAN_MS = 60000
SERVE = "import subsong_device.main\nsubsong_device.main.serve()"
ANSWER_S = 20.0
RUN_FOR_EVER = struct.pack("<IIHB", 0, 1 << 28, 4, 0)


@pytest.fixture
def firmware(board_flash: Path) -> Path:
    """The board's flash, with the firmware as it lies in the source tree."""
    (board_flash / "lib").symlink_to(Path(str(resources.files("subsong_device"))).parent, target_is_directory=True)
    return board_flash


class HarmfulPort:
    """A port that harms frames: each write is one, and what is read is cut into them."""

    def __init__(self, port: Port) -> None:
        self.port = port
        self.name = port.name
        self.to_board: Callable[[bytes], bytes] = bytes
        self.from_board: Callable[[bytes], bytes] = bytes
        self._tail = b""

    def write(self, data: bytes) -> None:
        self.port.write(self.to_board(data))

    def read_available(self, timeout_s: float) -> bytes:
        *whole, self._tail = (self._tail + self.port.read_available(timeout_s)).split(b"\0")
        return b"".join(self.from_board(part + b"\0") for part in whole)


@pytest.fixture
def port(firmware: Path) -> Iterator[Port]:
    with open_port("unix") as port:
        yield port


def launch(port: Port, code: str = SERVE) -> None:
    """Start code at the raw REPL and leave it to itself."""
    repl = Repl(port)
    repl.__enter__()
    repl.launch(code)


def connect(port: Any, **options: Any) -> Bridge:
    bridge = Bridge(port, **{"timeout_s": ANSWER_S, "patience_s": ANSWER_S, **options})
    bridge.hello(ANSWER_S)
    return bridge


def until_prompt(port: Port) -> bytes:
    """Return what the board says up to the raw REPL's prompt."""
    said = b""
    while not said.endswith(b"\x04>"):
        data = port.read_available(ANSWER_S)
        assert data, said
        said += data
    return said


def board_of(port: Port) -> UnixBoard:
    assert isinstance(port.board, UnixBoard)
    return port.board


def assert_ctrl_c_works(port: Port) -> None:
    """At the prompt, start a loop without an end and stop it by Ctrl-C."""
    repl = Repl(port)
    repl.__enter__()
    repl.launch("print('looping')\nwhile True: pass")
    said = b""
    while b"looping" not in said:
        said += port.read_available(ANSWER_S)
    assert board_of(port).interrupt()
    assert b"KeyboardInterrupt" in until_prompt(port)
    assert board_of(port).running


# ------------------------------------------------------------------------------------------------ learning


@pytest.mark.parametrize("rule", FIRST)
def test_a_real_board_learns_what_this_computer_learns(port: Port, rule: str) -> None:
    launch(port)
    block = block_of(PLANT, rule)
    bridge, reference = connect(port), local(block)
    bridge.open(block, DEADMAN_MS)
    assert play(bridge) == play(reference)
    assert bridge.state() == reference.state()
    assert vars(bridge.counters) == dict.fromkeys(vars(bridge.counters), 0)
    assert bridge.close()


@pytest.mark.slow
@pytest.mark.parametrize("what", ["drop", "flip", "cut", "insert"])
def test_every_command_is_executed_once(port: Port, what: str) -> None:
    launch(port)
    harmful = HarmfulPort(port)
    block = block_of(PLANT, "node_perturbation")
    bridge, reference = connect(harmful, timeout_s=0.05), local(block)
    bridge.open(block, DEADMAN_MS)
    harmful.to_board, harmful.from_board = Harm(what, 8), Harm(what, 8)
    assert play(bridge) == play(reference)
    harmful.to_board = harmful.from_board = bytes
    assert bridge.state() == reference.state()
    assert bridge.counters.retries > 5
    assert bridge.close()
    assert_ctrl_c_works(port)


@pytest.mark.parametrize("n_sensors", [117, 118, 119, 500])
def test_steps_of_any_length(port: Port, n_sensors: int) -> None:
    launch(port)
    block = block_of(PLANT.replace("[3, 2]", f"[{n_sensors}, 2]"))
    bridge, reference = connect(port), local(block)
    bridge.open(block, DEADMAN_MS)
    draw = random.Random(6)
    for learner in (bridge, reference):
        learner.begin(0, False)
    for step in range(3):
        x = [draw.randrange(-32768, 32768) if step else -1 for _ in range(n_sensors)]
        assert list(bridge.act(step, x)) == reference.act(step, x)
    assert bridge.end(1) == reference.end(1)


def test_a_task_with_holes_in_its_telemetry(port: Port) -> None:
    launch(port)
    harmful = HarmfulPort(port)
    block = block_of(XOR)
    expected = task_trials(block, 150, 5)
    bridge, heard = connect(harmful), Heard()
    bridge.open(block, DEADMAN_MS)
    harmful.from_board = DropTelemetry(5, 6, 7, 200)
    result = bridge.run_task(0, 150, 5, **heard.listeners())
    assert result == (150, 2, 4)
    assert heard.holes == [(5, 3), (200, 1)]
    every = {step[:2]: step for trial in expected for step in trial[0]}
    assert all(every[step[:2]] == step for step in heard.steps)
    assert heard.states
    for trial, state in heard.states.items():
        assert state == expected[trial][3]
    assert bridge.state() == expected[-1][3]
    assert bridge.close()


# ------------------------------------------------------------------------------------------------ leaving


def test_close_gives_the_prompt_and_ctrl_c_back(port: Port) -> None:
    launch(port)
    bridge = connect(port)
    assert not board_of(port).interrupt()  # the key is off while the link is up
    bridge.open(block_of(PLANT), DEADMAN_MS)
    assert bridge.close()
    assert_ctrl_c_works(port)


class DeafPort:
    """A port that loses its first writes, as a board does that takes them for the link's."""

    slowdown = 1.0

    def __init__(self, port: Port, lost: int) -> None:
        self.lost = lost
        self._write = port.write
        self.read_available = port.read_available

    def write(self, data: bytes) -> None:
        if self.lost:
            self.lost -= 1
        else:
            self._write(data)


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_board_that_took_the_keys_for_the_links_still_comes_to_its_prompt(port: Port, lost: int) -> None:
    launch(port)
    bridge = connect(port)
    deaf = DeafPort(port, lost)
    assert leave_link(deaf, bridge)  # type: ignore[arg-type]  # as much of a port as it asks for
    assert deaf.lost == 0
    port.write(b"1 + 41\r")
    said = b""
    while not said.endswith(b"42\n>>> "):
        part = port.read_available(ANSWER_S)
        assert part, said
        said += part


@pytest.mark.parametrize("state", ["greeted", "open", "in a trial", "in a run", "noise"])
def test_the_dead_man_gives_the_prompt_and_ctrl_c_back(port: Port, state: str) -> None:
    launch(port, SERVE.replace("\nsub", "\nimport subsong_device.session as s\ns.GREETING_MS = 150\nsub"))
    bridge = connect(port)
    if state != "greeted":
        # Where this machine is so busy that the board leaves early, that is what it says.
        with contextlib.suppress(LinkLost):
            bridge.open(block_of(XOR if state == "in a run" else PLANT), 150)
            if state == "in a trial":
                bridge.begin(0, False)
                bridge.act(0, [1, 2, 3])
            elif state == "in a run":
                exchange = bridge._exchange
                exchange.write(frames.encode(frames.RUN, exchange.next_seq(), RUN_FOR_EVER))
            elif state == "noise":
                port.write(b"\x55\xaa" * 700)
    said = until_prompt(port)
    farewell = frames.encode(frames.ACK, 0, bytes([faults.DEADMAN, 150, 0, 0, 0]))
    assert farewell in said or state != "greeted"
    assert b"Traceback" not in said
    assert_ctrl_c_works(port)


def test_a_board_can_be_served_again(port: Port) -> None:
    block = block_of(PLANT)
    for _ in range(2):
        launch(port)
        bridge, reference = connect(port), local(block)
        bridge.open(block, DEADMAN_MS)
        assert play(bridge) == play(reference)
        assert bridge.close()


def test_an_exception_in_the_session_gives_ctrl_c_back(port: Port) -> None:
    """Not one that a kernel raises, which the link survives, but a mistake in the firmware itself."""
    breaking = "import subsong_device.session as s\ns.Session._on_begin = lambda self, *a: 1 // 0\n"
    launch(port, breaking + SERVE)
    bridge = connect(port, timeout_s=1.0, patience_s=1.0)
    bridge.open(block_of(PLANT), DEADMAN_MS)
    bridge._exchange.write(frames.encode(frames.BEGIN, bridge._exchange.next_seq(), bytes(5)))
    assert b"ZeroDivisionError" in until_prompt(port)
    assert_ctrl_c_works(port)


def test_a_run_stops_after_a_window_that_nobody_answers(port: Port) -> None:
    """What was sent by then fits any buffer on the way: with nobody reading, no write would have blocked."""
    launch(port)
    bridge = connect(port)
    bridge.open(block_of(XOR), 700)
    exchange = bridge._exchange
    exchange.write(frames.encode(frames.RUN, exchange.next_seq(), RUN_FOR_EVER))
    said = until_prompt(port)
    assert frames.WINDOW - 200 < len(said) < frames.WINDOW + 200
    assert_ctrl_c_works(port)


# ------------------------------------------------------------------------------------------------ boards at fault


def test_another_schema_on_the_board(port: Port) -> None:
    launch(port, "import subsong_device.frames as f\nf.CODING_TEXT = 'of another version'\n" + SERVE)
    with pytest.raises(SchemaMismatch, match=r"subsong deploy --port unix"):
        connect(port)
    until_prompt(port)  # it was sent home
    assert_ctrl_c_works(port)


def test_a_board_without_firmware(unix_port: Port) -> None:
    launch(unix_port)
    with pytest.raises(
        FirmwareError, match=r"ImportError: no module named 'subsong_device.*subsong deploy --port unix"
    ):
        connect(unix_port)


def test_a_learner_too_large_for_the_board(firmware: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUBSONG_HEAP", "256K")
    with open_port("unix") as port:
        launch(port)
        bridge = connect(port)
        large = build_block(experiment(PLANT.replace("[3, 2]", "[500, 300, 2]").replace('["hard', '["tanh", "hard')))
        with pytest.raises(BoardError, match=r"it takes \d+ bytes, and \d+ bytes of heap are free") as raised:
            bridge.open(large, DEADMAN_MS)
        assert raised.value.code == faults.NO_MEMORY
        # All of it was freed: what fits, fits, and as often as one likes.
        for _ in range(20):
            bridge.open(block_of(PLANT), DEADMAN_MS)
        free = bridge._exchange.command(frames.HELLO, frames.schema(), reply=frames.R_HELLO)[4]
        with pytest.raises(BoardError) as raised:
            bridge.open(large, DEADMAN_MS)
        assert raised.value.code == faults.NO_MEMORY
        again = bridge._exchange.command(frames.HELLO, frames.schema(), reply=frames.R_HELLO)[4]
        assert again >= free
        bridge.open(block_of(PLANT), DEADMAN_MS)
        assert play(bridge) == play(local(block_of(PLANT)))


# ------------------------------------------------------------------------------------------------ buffers of kernels

BUFFERS = """
from uctypes import addressof
from subsong_device import frames
from subsong_device.block import Block
from subsong_device.link import Receiver
from subsong_device.loop_trial import LoopTrial
from subsong_device.task_run import TaskRun
class Wire:
    wait = readinto = None
block = Block(1, 3, 2, 61, 37, 13)
rx = Receiver(Wire)
rx.set_lengths(frames.body_lengths(True, 3, 2))
for trial in (LoopTrial(None, block, rx, None), TaskRun(None, None, block)):
    buffers = ((block.head, 4), (block.mem, 2), (block.task, 2), (trial._x, 2), (trial._u, 2))
    print([(addressof(words), size * len(words), size) for words, size in buffers])
"""


def test_kernels_are_given_aligned_buffers_that_share_no_byte(port: Port) -> None:
    """The compiler takes every buffer for an object of its own, and loads and stores for aligned."""
    with Repl(port) as repl:
        told = [ast.literal_eval(line) for line in repl.run(BUFFERS).splitlines()]
    assert len(told) == 2
    for spans in told:
        assert [length for _, length, _ in spans] == [244, 74, 26, 6, 4]
        assert all(at % size == 0 for at, _, size in spans)
        spans.sort()
        assert all(at + length <= following for (at, length, _), (following, *_) in pairwise(spans))
