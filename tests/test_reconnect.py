"""A cable that is pulled while a board learns: the host finds the board again by its session, wherever it is."""

import os
import struct
import subprocess
import sys
import threading
import tty
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self, cast

import pytest
import serial

from learning import shortened
from link_wire import BoardInThread
from subsong import board_session, ports
from subsong.block import build_block
from subsong.board_session import learn_on, run_on_board
from subsong.bridge import Bridge, Checkpoint
from subsong.console import SilentProgress
from subsong.errors import LinkLost, PortVanished
from subsong.ports import Port, PresentPort
from subsong.reconnect import ASK
from subsong.recovery import Back, Recovery
from subsong.repl import Repl
from subsong.replay import replay
from subsong.runlog import Recorder, Run, RunHeader, read_run
from subsong.runlog.decode import Decoder
from subsong.runlog.records import Frame
from subsong.session import RunResult, simulate
from subsong_device import faults, frames
from subsong_hil.announced import Notice, announced
from subsong_hil.proxy import Proxy
from subsong_sim.engines import LocalLearner

pytest_plugins = ["subsong_hil.fixtures"]

AWAY_S = 0.3
SOME = 2000  # bytes of telemetry that are lost at least
LONG_S = 60.0  # patience where the board does come back: a busy machine is no failure


@pytest.fixture
def proxy(deployed_flash: Path) -> Iterator[Proxy]:  # the flash of the board behind it
    with Proxy("unix") as proxy:
        yield proxy


class Puller(SilentProgress):
    """Pulls the plug in a later trial, within a frame to the board or while bytes come from it; plugs it in again.

    Args:
        proxy: that has the plug.
        monkeypatch: puts this between the host and its port.
        call: of `write`, or of `read_available` from a RUN on, the number at which to pull, from the third trial on.
        written: bytes of the frame that the board still gets; None: pull before a read, when telemetry has come.
        away_s: None: for good.

    Attributes:
        path: of the port, when the plug was pulled.
    """

    def __init__(
        self, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, call: int, written: int | None, away_s: float | None
    ) -> None:
        self.proxy, self.call, self.written, self.away_s = proxy, call, written, away_s
        self.trials = 0
        self.path = ""
        self.passed = threading.Condition()
        self.prompt = threading.Event()
        self.said = b""
        self.to_board = self.from_board = 0  # bytes behind the proxy
        self.taken = -1  # of from_board, those that the host has read; none is counted before a RUN
        write, read = Port.write, Port.read_available

        def on_write(port: Port, data: bytes) -> None:
            if port.name == self.proxy.path and data[1:2] == bytes([frames.RUN]):
                self.taken = self.from_board
            if written is not None and self.due(port):
                to_board, from_board = self.to_board, self.from_board
                write(port, data[:written])
                if written >= len(data):
                    self.wait(lambda: self.from_board > from_board)
                self.wait(lambda: self.to_board >= to_board + min(written, len(data)))
                self.pull()
                if written >= len(data):  # its reply may still be readable while the proxy's thread holds the terminal
                    raise PortVanished(f"port {port.name}: pulled")
            write(port, data)
            if port.board is not None:
                self.count(len(data), 0)

        def on_read(port: Port, timeout_s: float) -> bytes:
            if written is None and self.taken >= 0 and self.due(port):
                self.wait(lambda: self.from_board > self.taken + SOME)
                self.pull()
            data = read(port, timeout_s)
            if port.name == self.proxy.path and self.taken >= 0:
                self.taken += len(data)
            if port.board is not None:
                self.count(0, len(data))
                self.said = (self.said + data)[-2:]
                if self.said == b"\x04>":
                    self.prompt.set()
            return data

        monkeypatch.setattr(Port, "write", on_write)
        monkeypatch.setattr(Port, "read_available", on_read)

    def count(self, to_board: int, from_board: int) -> None:
        with self.passed:
            self.to_board += to_board
            self.from_board += from_board
            self.passed.notify()

    def wait(self, until: Callable[[], bool]) -> None:
        with self.passed:
            assert self.passed.wait_for(until, LONG_S)

    def advance(self, n: int = 1) -> None:
        self.trials += n

    def due(self, port: Port) -> bool:
        if self.path or self.trials < 2 or port.name != self.proxy.path:
            return False
        self.call -= 1
        return self.call == 0

    def pull(self) -> None:
        self.path = self.proxy.path
        self.proxy.disconnect()
        if self.away_s is not None:
            threading.Timer(self.away_s, self.back).start()

    def back(self) -> None:
        self.proxy.reconnect()


class DeadMan(Puller):
    """Plugs it in again when the board has left the link for its prompt."""

    def pull(self) -> None:
        self.prompt.clear()
        super().pull()

    def back(self) -> None:
        assert self.prompt.wait(LONG_S)
        super().back()


class PowerCut(Puller):
    """Cuts the board's power, too."""

    def back(self) -> None:
        self.proxy.close()
        self.proxy.__init__("unix")  # type: ignore[misc]
        self.proxy.start()


class Decoy:
    """A port, announced as another proxy's, behind which another board is in a session of its own.

    Attributes:
        heard: all that was written to it.
    """

    def __init__(self) -> None:
        self.heard = b""
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self._notice = Notice()
        self._notice.show(os.ttyname(self._slave))
        self._thread = threading.Thread(target=self._answer)

    def _answer(self) -> None:
        status = frames.encode(frames.STATUS, 0, struct.pack(frames.formats()[frames.STATUS], 0, 1, 0, 3, 7, 0))
        while data := os.read(self._master, 4096).replace(b"end", b""):
            self.heard += data
            os.write(self._master, status * data.count(ASK))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._notice.show("")
        os.write(self._slave, b"end")
        self._thread.join()
        os.close(self._master)
        os.close(self._slave)


def without_counts(run: Run) -> list[Any]:
    """Return every word of a run; `dropped` is the wire's doing."""
    return [(t.number, t.steps, t.summary and t.summary._replace(dropped=0)) for t in run.iter_trials()]


def reconnection(log: Path, puller: Puller, elsewhere: bool = True) -> tuple[Run, dict[str, Any]]:
    """Return a log in which the board came back once, and the fields of the event that says so."""
    run = read_run(log)
    (event,) = [event for event in run.events if event.kind == "reconnected"]
    assert not event.derived
    assert not elsewhere or puller.path != puller.proxy.path
    assert (event.fields["was"], event.fields["now"]) == (puller.path, puller.proxy.path)
    assert "error" not in [event.kind for event in run.events]
    return run, event.fields


@pytest.mark.slow
@pytest.mark.parametrize("written", [0, 12, 64])
def test_a_cable_pulled_amid_steps_changes_no_word(
    proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    """Before, within or after a frame."""
    experiment = shortened("cartpole", trials=4, evaluate_every=0, deadman_ms=60000)
    log, reference = tmp_path / "run.mcap", tmp_path / "sim.mcap"
    puller = Puller(proxy, monkeypatch, 7, written, AWAY_S)
    with Decoy() as decoy:
        result = run_on_board(experiment, port=proxy.path, out=log, progress=puller, reconnect_s=LONG_S)
    run, fields = reconnection(log, puller)
    assert (fields["session"], fields["command"]) == ("same", "STEP")
    assert fields["executed"] == (written == 64)
    assert fields["ms"] > 0
    assert result.counters["reconnects"] == 1
    assert result.counters["refused_by_board"] == (written == 12)
    assert decoy.heard == ASK  # asked once, and left alone
    simulate(experiment, out=reference, mismatch=True)
    assert run.states == read_run(reference).states
    assert without_counts(run) == without_counts(read_run(reference))
    replayed = replay(log)
    assert (replayed.difference, replayed.holes, replayed.skipped) == (None, 0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("call", [1, 2])
def test_a_cable_pulled_amid_telemetry_leaves_a_hole_and_changes_no_word(
    proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    experiment = shortened("xor", trials=300, evaluate_every=0, deadman_ms=60000)
    log, reference = tmp_path / "run.mcap", tmp_path / "sim.mcap"
    puller = Puller(proxy, monkeypatch, call, None, AWAY_S)
    result = run_on_board(experiment, port=proxy.path, out=log, progress=puller, reconnect_s=LONG_S)
    run, _ = reconnection(log, puller)
    assert "hole" in [event.kind for event in run.events]
    assert result.trials == 300
    assert result.counters["lost"] > 0
    simulate(experiment, out=reference)
    assert run.states["final"] == read_run(reference).states["final"]
    truth = {number: (steps, summary) for number, steps, summary in without_counts(read_run(reference))}
    for trial in run.iter_trials():
        if trial.whole:
            assert trial.summary is not None
            assert (trial.steps, trial.summary._replace(dropped=0)) == truth[trial.number]
    replayed = replay(log)
    assert replayed.difference is None
    assert replayed.holes > 0
    assert replayed.checked + replayed.skipped == replayed.trials


def ends_in_an_error(log: Path) -> None:
    """Demand that a log is closed, ends in one error, and replays."""
    assert [event.kind for event in read_run(log).events if event.kind in ("error", "reconnected")] == ["error"]
    replayed = replay(log)
    assert replayed.difference is None
    assert replayed.checked >= 2


@pytest.mark.slow
@pytest.mark.parametrize(("name", "written"), [("cartpole", 0), ("cartpole", 64), ("xor", None)])
def test_a_board_that_stays_away_ends_the_run_with_a_readable_log(
    proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, written: int | None
) -> None:
    log = tmp_path / "run.mcap"
    puller = Puller(proxy, monkeypatch, 1, written, None)
    experiment = shortened(name, trials=200, evaluate_every=0, deadman_ms=60000)
    with pytest.raises(
        LinkLost, match=r"vanished, and within 0\.5 s the board was not found.*no checkpoint.*run\.mcap alone"
    ):
        run_on_board(experiment, port=proxy.path, out=log, progress=puller, reconnect_s=0.5)
    ends_in_an_error(log)


@pytest.mark.slow
def test_a_board_that_left_the_link_without_a_checkpoint_ends_the_run(
    proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "run.mcap"
    puller = DeadMan(proxy, monkeypatch, 7, 0, 0.0)
    with pytest.raises(LinkLost, match=r"within 3 s the board was not found again in its session.*no checkpoint"):
        run_on_board(
            shortened("cartpole", deadman_ms=2000), port=proxy.path, out=log, progress=puller, reconnect_s=LONG_S
        )
    ends_in_an_error(log)


@pytest.mark.slow
def test_ctrl_c_ends_the_search(proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_port: Port) -> list[str]:
        raise KeyboardInterrupt

    log = tmp_path / "run.mcap"
    puller = Puller(proxy, monkeypatch, 1, 0, None)
    monkeypatch.setattr(Port, "places", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_on_board(shortened("cartpole"), port=proxy.path, out=log, progress=puller, reconnect_s=LONG_S)
    ends_in_an_error(log)


@pytest.mark.slow
def test_with_no_patience_a_port_that_vanishes_ends_the_run_at_once(
    proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    puller = Puller(proxy, monkeypatch, 1, 0, AWAY_S)
    with pytest.raises(PortVanished, match="is the board still plugged in"):
        run_on_board(shortened("cartpole"), port=proxy.path, out=tmp_path / "run.mcap", progress=puller, reconnect_s=0)
    assert "reconnected" not in [event.kind for event in read_run(tmp_path / "run.mcap").events]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "written", "cut"), [("cartpole", 0, DeadMan), ("cartpole", 64, PowerCut), ("xor", None, DeadMan)]
)
def test_a_board_that_left_the_link_goes_on_from_its_checkpoint(
    proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, written: int | None, cut: type[Puller]
) -> None:
    trials = 6 if name == "cartpole" else 300
    experiment = shortened(name, trials=trials, evaluate_every=0, deadman_ms=2000)
    run_keys = experiment.run.model_copy(update={"checkpoint_every": trials // 3})
    experiment = experiment.model_copy(update={"run": run_keys})
    log, reference = tmp_path / "run.mcap", tmp_path / "sim.mcap"
    puller = cut(proxy, monkeypatch, 7 if written is not None else 2, written, 0.0)
    puller.trials = 2 - experiment.run.checkpoint_every  # the first checkpoint is there
    result = run_on_board(experiment, port=proxy.path, out=log, progress=puller, reconnect_s=LONG_S)
    run, fields = reconnection(log, puller, cut is not PowerCut)
    assert fields["session"] == "new"
    assert fields["trials"] == experiment.run.checkpoint_every
    simulated = simulate(experiment, out=reference, mismatch=True)
    truth = read_run(reference)
    assert run.states["final"] == truth.states["final"]
    assert (result.costs, result.evaluations) == (simulated.costs, simulated.evaluations)
    # From the event on every trial is the undisturbed run's, and the numbers have only grown.
    words = [steps for _, steps, _ in without_counts(truth)][fields["checkpoint"] + 1 :]
    assert len(words) > 0
    tail = [
        [step._replace(trial=0) for step in steps]
        for number, steps, _ in without_counts(run)
        if number >= fields["trial"]
    ]
    assert tail == [[step._replace(trial=0) for step in steps] for steps in words]
    numbers = [trial.number for trial in run.iter_trials()]
    assert numbers == sorted(set(numbers))
    replayed = replay(log)
    assert (replayed.difference, replayed.holes) == (None, 1)
    assert replayed.checked == replayed.trials - replayed.skipped
    assert replayed.skipped <= 1


def test_a_checkpoint_from_which_there_is_no_way_on_is_given_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def lose(*_: object, **__: object) -> None:
        raise LinkLost("gone")

    monkeypatch.setattr(board_session, "learn", lose)
    experiment, checkpoint = shortened("xor"), Checkpoint(0, 3, 4)
    block = build_block(experiment)
    recovery = SimpleNamespace(
        bridge=SimpleNamespace(state=lambda: (block.head, block.mem)),
        patience_s=1.0,
        go_back=lambda _run, _error: Back(checkpoint, "a", "b", 0.1),
    )
    header = RunHeader("board", "", "", 1, block.rule, 2, 1, 1, False, "")
    with (
        Recorder(tmp_path / "run.mcap", header) as recorder,
        pytest.raises(LinkLost, match=r"gone; from the checkpoint after trial 3 .* in 10 tries"),
    ):
        learn_on(cast("Recovery", recovery), experiment, None, recorder, RunResult(None), SilentProgress(), checkpoint)
    assert [event.kind for event in read_run(tmp_path / "run.mcap").events].count("reconnected") == 10


def test_asking_who_a_board_is_changes_nothing() -> None:
    block = build_block(shortened("cartpole"))
    local = LocalLearner(block.rule, block.head, block.mem, "cpython")
    logged: list[Frame] = []
    with BoardInThread() as board:

        def on_frame(to_board: bool, wire: bytes, t_ns: int) -> None:
            logged.append(Frame(len(logged), to_board, wire, t_ns))

        bridge = Bridge(board.port, on_frame=on_frame, timeout_s=LONG_S)
        bridge.hello()
        exchange = bridge._exchange
        statuses = [exchange.ask()]
        bridge.open(block, 60000)
        statuses.append(exchange.ask())
        for learner in (bridge, local):
            learner.begin(0, False)
        for step in range(5):
            exchange.write(ASK)  # whose answer nobody takes before the next command
            statuses.append(exchange.ask())
            assert list(bridge.act(step, [1, 2, 3, 4])) == local.act(step, [1, 2, 3, 4])
            assert statuses[-1].expected == exchange._seq
        assert bridge.end(7) == local.end(7)
        assert bridge.state() == local.state()
        bridge.close()
    assert {(status.board, status.session) for status in statuses} == {(0, board.session._number)}
    assert [status.state for status in statuses] == [faults.GREETED, faults.READY, *[faults.IN_TRIAL] * 5]
    assert (bridge.counters.retries, bridge.counters.stale) == (0, 0)
    decoder = Decoder(RunHeader("board", "", "", 1, block.rule, block.n_sensors, block.n_actuators, 1, False, ""))
    records = [record for frame in logged for record in decoder.feed(frame)]
    assert (decoder.counts.repeated, decoder.counts.late) == (0, 0)
    assert len(records) == 5 + 1


def test_no_byte_of_the_question_is_a_key_that_a_prompt_obeys(unix_port: Port) -> None:
    assert ASK.hex(" ") == "08 1c 34 20 39 50 39 6a 00"  # docs/protocol.md
    assert all(0x20 <= byte < 0x7F for byte in ASK[2:-1])
    unix_port.write(ASK)
    with Repl(unix_port) as repl:
        assert repl.run("print(6 * 7)").strip() == "42"


USB = PresentPort("/dev/ttyACM0", 0x2E8A, 0x0005, "Board in FS mode", "e660583883724a32")
HERE = replace(USB, path="/dev/null")  # a name that exists


@pytest.mark.parametrize(
    ("was", "present", "expected"),
    [
        (USB, [replace(USB, path="/dev/ttyACM1")], ["/dev/ttyACM1"]),
        (USB, [replace(USB, path="/dev/ttyACM1", serial_number="e660583883000000")], []),
        (USB, [replace(USB, path="/dev/ttyACM1", pid=0x000A)], []),
        (HERE, [HERE, replace(USB, path="/dev/ttyACM1")], ["/dev/null", "/dev/ttyACM1"]),
        (HERE, [replace(HERE, serial_number="e660583883000000")], []),
        (USB, [], []),
        (
            replace(USB, serial_number=""),
            [replace(USB, path=f"/dev/ttyUSB{n}", serial_number=number) for n, number in enumerate(("", "1", ""))],
            ["/dev/ttyUSB0", "/dev/ttyUSB2"],
        ),
    ],
    ids=["another name", "another board", "another kind", "its own name", "its name is another's", "gone", "no number"],
)
def test_on_usb_a_board_is_looked_for_where_its_like_is(
    monkeypatch: pytest.MonkeyPatch, was: PresentPort, present: list[PresentPort], expected: list[str]
) -> None:
    monkeypatch.setattr(ports, "present_ports", lambda: [was])
    with Port(was.path, serial.serial_for_url("loop://")) as port:
        monkeypatch.setattr(ports, "present_ports", lambda: present)
        assert port.places() == expected


def test_on_the_network_a_board_is_where_it_was() -> None:
    with Port("socket://10.0.0.7:4000", serial.serial_for_url("loop://")) as port:
        assert port.places() == [port.name]


def test_a_free_pseudo_terminal_is_whoevers_opens_it_next(board_cache: Path) -> None:
    master, slave = os.openpty()
    try:
        port = Port(os.ttyname(slave), serial.serial_for_url("loop://"))
        assert port.places() == []
        notice = Notice()
        notice.show(port.name)
        assert port.places() == [port.name]
        notice.show("")
    finally:
        os.close(master)
        os.close(slave)


def test_a_proxy_that_was_killed_announces_nothing(board_cache: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    notice = Notice()
    notice.show("/dev/null")
    folder = board_cache / "ports"
    stale, other = folder / f"{ended.pid}-0", folder / "README"
    for file in (stale, other):
        file.write_text("/dev/null")
    assert announced() == ["/dev/null"]
    assert not stale.exists()
    assert other.exists()
    notice.show("/etc/passwd")
    assert announced() == []
    notice.show("")
    assert announced() == []
    assert [file.name for file in folder.iterdir()] == ["README"]
