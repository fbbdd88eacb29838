"""Learning over a bad wire: it goes on or stops cleanly, no wrong value is taken, and what is lost is counted alike."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from bad_wire import Loop, Outcome, Task, learn_over, truth
from bench_faults import bad_board

from link_wire import BoardInThread
from subsong.bridge import Bridge
from subsong.errors import PortError
from subsong_device import frames
from subsong_hil.faulty_wire import FROM_BOARD, RATES, TO_BOARD, Faults, FaultyWire, Passage

pytest_plugins = ["subsong_hil.fixtures"]

TIMEOUT_S = 0.02
PATIENCE_S = 10.0


class BadLine:
    """The wire between a board in a thread and its host. Whoever pulls the plug leaves the host without a port."""

    def __init__(self, board: BoardInThread, seed: int) -> None:
        self.passages: list[Passage] = []
        self.to_board = FaultyWire(Faults(), seed, TO_BOARD, self.passages.append)
        self.from_board = FaultyWire(Faults(), seed, FROM_BOARD, self.passages.append)
        self.unplugged = False
        self._board = board
        board.port.harm = lambda data: self._send(self.to_board, board.port.line, data)
        board.wire.harm = lambda data: self._send(self.from_board, board.wire.line, data)
        self._read = board.port.read_available
        board.port.read_available = self._receive  # type: ignore[method-assign]

    def _send(self, wire: FaultyWire, line: socket.socket, data: bytes) -> bytes:
        for piece in wire.feed(data):
            time.sleep(piece.pause_s)
            self.unplugged |= piece.disconnect
            if not self.unplugged:
                line.sendall(piece.data)
        return b""

    def _receive(self, timeout_s: float) -> bytes:
        if self.unplugged:
            raise PortError("port fake: vanished")
        return self._read(min(timeout_s, 0.1))


@contextmanager
def bad_line(seed: int = 1) -> Iterator[tuple[BadLine, Bridge]]:
    board = BoardInThread()
    line = BadLine(board, seed)
    with board:
        bridge = Bridge(board.port, timeout_s=TIMEOUT_S, patience_s=PATIENCE_S)
        bridge.hello()
        yield line, bridge


@pytest.fixture(scope="module")
def task() -> Task:
    return Task(steps=8)


@pytest.fixture(scope="module")
def loop() -> Loop:
    return Loop(steps=20)


def faults(**rates: Any) -> Faults:
    return Faults(**rates, stall_s=0.003, delay_s=0.003)


def check(outcome: Outcome) -> None:
    assert outcome.stopped == ""
    assert outcome.wrong == 0
    assert outcome.refused == outcome.damaged
    assert outcome.resync <= 1
    assert outcome.lost[0] == outcome.lost[1]
    assert 0 <= outcome.steps_lost <= outcome.lost[0]


MENDED = tuple(fault for fault in RATES if fault != "disconnect")


@pytest.mark.parametrize("rate", [0.01, pytest.param(0.1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("fault", MENDED)
def test_learning_goes_on(task: Task, loop: Loop, fault: str, rate: float) -> None:
    for what, trials in ((loop, 4), (task, 30)):
        with bad_line() as (line, bridge):
            outcome = learn_over(line, line.passages, bridge, what, trials, faults(**{fault: rate}))
            check(outcome)
            assert outcome.struck > 0


def test_learning_goes_on_over_a_wire_that_does_everything(task: Task, loop: Loop) -> None:
    for what, trials in ((loop, 3), (task, 20)):
        with bad_line(2) as (line, bridge):
            outcome = learn_over(line, line.passages, bridge, what, trials, faults(**dict.fromkeys(MENDED, 0.01)))
            check(outcome)
            assert outcome.struck > 10


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["duplicate", "reorder"])
def test_the_greeting_may_come_twice_or_late(fault: str) -> None:
    for seed in range(4):
        board = BoardInThread()
        line = BadLine(board, seed)
        line.from_board.faults = faults(**{fault: 0.5})
        with board:
            bridge = Bridge(board.port, timeout_s=TIMEOUT_S)
            bridge.hello(1.0)
            bridge.settle()
            line.from_board.faults = Faults()
            bridge.settle()


@pytest.mark.parametrize("fault", ["disconnect", "half_open"])
def test_where_learning_cannot_go_on_it_stops_with_an_error_of_the_link(task: Task, fault: str) -> None:
    with bad_line() as (line, bridge):
        bridge._exchange.patience_s = 0.3
        rates = {fault: 0.02} if fault == "disconnect" else {fault: 1.0}
        outcome = learn_over(line, line.passages, bridge, task, 30, faults(**rates))
        assert ("vanished" if fault == "disconnect" else "fell silent") in outcome.stopped
        assert outcome.wrong == 0


@pytest.mark.slow
@pytest.mark.parametrize("rate", [1e-4, 1e-3, 1e-2])
def test_learning_goes_on_behind_the_proxy(board_flash: Path, task: Task, loop: Loop, rate: float) -> None:
    """The firmware under MicroPython, and every fault that leaves the port where it is."""
    (board_flash / "lib").symlink_to(Path(str(resources.files("subsong_device"))).parent, target_is_directory=True)
    for what, trials in ((loop, 10), (task, 600)):
        passages: list[Passage] = []
        with bad_board(3, passages) as (proxy, bridge):
            outcome = learn_over(proxy, passages, bridge, what, trials, faults(**dict.fromkeys(MENDED, rate)))
            check(outcome)
            assert outcome.frames > trials * what.steps


def test_what_truly_passed_is_counted() -> None:
    """By hand: a delimiter that is lost, the frame that it is fused with, one that was split, one that is lost."""

    def passage(number: int, true: bytes, fault: str = "", sent: bytes | None = None) -> Passage:
        return Passage(TO_BOARD, number, true, fault, true if sent is None else sent)

    wires = [frames.encode(frames.STOP, number, b"") for number in range(7)]
    passages = [
        passage(0, wires[0]),
        passage(1, wires[1], "drop_bytes", wires[1][:-1]),
        passage(2, wires[2]),
        passage(3, wires[3]),
        passage(4, wires[4], "insert", wires[4][:3] + b"\0" + wires[4][3:]),
        passage(5, wires[5], "drop", b""),
        passage(6, wires[6], "flip", wires[6][:4] + b"\0" + wires[6][5:]),
    ]
    seen = truth(passages, TO_BOARD)
    assert (seen.frames, seen.struck, seen.damaged, seen.resync) == (7, 4, 5, 1)
    unread = [passage(number, wire, "", wire[:-1]) for number, wire in enumerate(wires[:3])]
    assert truth(unread, TO_BOARD).resync == 3
    assert truth(passages, FROM_BOARD).frames == 0


def test_a_lie_with_a_sound_crc_is_seen(task: Task) -> None:
    """The control: were a wrong value taken, the judge would say so."""
    with bad_line() as (line, bridge):
        deframer = frames.Deframer(frames.body_lengths(False, task.block.n_sensors, task.block.n_actuators))

        def lie(data: bytes) -> bytes:
            told = b""
            for wire, kind, seq, payload in deframer.feed(data):
                altered = payload[:-1] + bytes([payload[-1] ^ 1])
                told += frames.encode(kind, seq, altered) if kind == frames.T_STEP else wire
            return told

        line._board.wire.harm = lie
        assert learn_over(line, line.passages, bridge, task, 5, Faults()).wrong == 5 * task.steps
