"""The bad wire: what it does to frames is fixed by its seed, and nothing else is done to anything."""

import json
import os
import random
import select
import signal
import subprocess
import sys
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from subsong.cli import subsong
from subsong.cli.hil import FAULTS
from subsong.errors import PortError
from subsong.ports import open_port
from subsong.repl import Repl
from subsong_hil.faulty_wire import FROM_BOARD, RATES, TO_BOARD, Faults, FaultyWire, Passage, Piece
from subsong_hil.proxy import Proxy

pytest_plugins = ["subsong_hil.fixtures"]

DRAW = random.Random(1)
FRAMES = [bytes(DRAW.randrange(1, 256) for _ in range(DRAW.randrange(8, 60))) + b"\0" for _ in range(300)]
STREAM = b"text\0" + b"".join(FRAMES)
EVERY = Faults(**dict.fromkeys(RATES, 0.05), stall_s=0.5, delay_s=0.25)  # type: ignore[arg-type]


def passed(
    faults: Faults, stream: bytes = STREAM, chunk: int = 1 << 20, seed: int = 1
) -> tuple[list[Piece], FaultyWire]:
    """Return what goes on of a stream that comes in chunks."""
    wire = FaultyWire(faults, seed, TO_BOARD)
    return [piece for at in range(0, len(stream), chunk) for piece in wire.feed(stream[at : at + chunk])], wire


def sent(pieces: list[Piece]) -> bytes:
    return b"".join(piece.data for piece in pieces)


def only(fault: str, rate: float = 1.0) -> Faults:
    return Faults(**{fault: rate})  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------ faults


def test_without_faults_nothing_changes() -> None:
    for chunk in (1, 7, 1 << 20):
        pieces, wire = passed(Faults(), chunk=chunk)
        assert sent(pieces) == STREAM
        assert all(piece.pause_s == 0 and not piece.disconnect for piece in pieces)
        assert wire.counts["frames"] == len(FRAMES)
        assert sum(wire.counts.values()) == len(FRAMES)


@pytest.mark.parametrize("chunk", [1, 3, 64, 1000])
def test_chunks_change_nothing(chunk: int) -> None:
    whole, wire = passed(EVERY)
    pieces, other = passed(EVERY, chunk=chunk)
    assert sent(pieces) == sent(whole)
    assert [p[1:] for p in pieces if p.pause_s or p.disconnect] == [p[1:] for p in whole if p.pause_s or p.disconnect]
    assert wire.counts == other.counts
    assert all(wire.counts[fault] > 0 for fault in RATES)


def test_a_seed_and_a_direction_fix_what_happens() -> None:
    def struck(seed: int, way: str, stream: bytes) -> list[tuple[int, str]]:
        seen: list[Passage] = []
        FaultyWire(EVERY, seed, way, seen.append).feed(stream)
        return [(p.number, p.fault) for p in seen if p.fault]

    first = struck(1, TO_BOARD, STREAM)
    assert first == struck(1, TO_BOARD, STREAM)
    assert len({tuple(struck(seed, way, STREAM)) for seed in (1, 2) for way in (TO_BOARD, FROM_BOARD)}) == 4
    # Which frame is struck, and by what, does not hang on what the frames hold.
    assert first == struck(1, TO_BOARD, b"\0" + b"\x01\x02\0" * len(FRAMES))


def test_each_fault_does_what_it_says() -> None:
    for fault in RATES:
        seen: list[Passage] = []
        wire = FaultyWire(only(fault), 1, TO_BOARD, seen.append)
        wire.feed(b"\0")
        for frame in FRAMES:
            pieces = wire.feed(frame)
            out = sent(pieces)
            assert seen[-1].true == frame
            assert (seen[-1].fault, seen[-1].sent) == (fault, out)
            if fault == "flip":
                assert len(out) == len(frame)
                assert sum((a ^ b).bit_count() for a, b in zip(out, frame, strict=True)) == 1
            elif fault == "drop_bytes":
                assert 1 <= len(frame) - len(out) <= 8
            elif fault == "insert":
                assert 1 <= len(out) - len(frame) <= 8
            elif fault in ("drop", "half_open"):
                assert pieces == []
            elif fault == "duplicate":
                assert out == frame * 2
            elif fault == "stall":
                assert out == frame
                assert pieces[-1].pause_s == 0.05
            elif fault == "delay":
                assert pieces == [Piece(frame, 0.02)]
            elif fault == "disconnect":
                assert pieces == [Piece(b"", 0.0, True)]
            else:
                assert fault == "reorder"
                assert out == (seen[-2].true if len(seen) > 1 else b"")
        assert wire.counts[fault] == len(FRAMES)


def test_a_frame_out_of_order_comes_after_the_next() -> None:
    wire = FaultyWire(only("reorder"), 1, TO_BOARD)
    assert wire.feed(b"\0a\0") == [Piece(b"\0")]
    wire.faults = Faults()
    assert wire.feed(b"b\0") == [Piece(b"b\0a\0")]


def test_a_half_open_port_lets_so_many_frames_vanish() -> None:
    wire = FaultyWire(Faults(half_open=1.0, half_open_frames=3), 1, TO_BOARD)
    assert wire.feed(b"\0a\0") == [Piece(b"\0")]
    wire.faults = Faults()
    assert sent(wire.feed(b"b\0c\0d\0")) == b"d\0"
    assert wire.counts["half_open"] == 3


def test_rates_are_kept() -> None:
    _, wire = passed(Faults(flip=0.1, drop=0.02), b"\0" + b"\x05\x06\0" * 20000)
    assert abs(wire.counts["flip"] - 2000) < 200  # 4.7 standard deviations
    assert abs(wire.counts["drop"] - 400) < 95


def test_text_is_not_struck() -> None:
    faults = only("drop")
    wire = FaultyWire(faults, 1, TO_BOARD)
    assert wire.feed(b">>> import x\r\n") == [Piece(b">>> import x\r\n")]
    assert wire.feed(b"y\0frame\0>>") == [Piece(b"y\0")]
    assert wire.waiting
    assert wire.flush() == b">>"
    assert wire.feed(b"> ") == [Piece(b"> ")]
    assert not wire.waiting
    # A pause between frames makes no text of the next one.
    wire.feed(b"\0")
    assert wire.flush() == b""
    assert wire.feed(b"frame\0") == []
    # What is longer than any frame is none, either; and what an endless flood holds up has a bound.
    wire.feed(b"\0")
    assert sent(wire.feed(b"x" * 5000)) == b"x" * 5000
    assert wire.counts["frames"] == 2


@pytest.mark.parametrize("rates", [{"flip": -0.1}, {"flip": 0.6, "drop": 0.5}, {"stall_s": -1.0}])
def test_rates_that_are_none_are_refused(rates: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"(flip|stall_s) is -|exceed 1"):
        Faults(**rates)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------ the proxy


@contextmanager
def wired(*args: Faults, **options: object) -> Iterator[tuple[int, Proxy]]:
    """Yield the board's end of a terminal, and a proxy before the other."""
    board, slave = os.openpty()
    tty.setraw(slave)
    try:
        with Proxy(os.ttyname(slave), *args, **options) as proxy:  # type: ignore[arg-type]
            yield board, proxy
    finally:
        os.close(board)
        os.close(slave)


def read(fd: int, n: int) -> bytes:
    data = b""
    while len(data) < n and select.select([fd], [], [], 10.0)[0]:
        data += os.read(fd, n - len(data))
    return data


def read_port(port: object, n: int) -> bytes:
    data = b""
    while len(data) < n:
        more = port.read_available(10.0)  # type: ignore[attr-defined]
        assert more
        data += more
    return data


def test_a_proxy_is_transparent_both_ways() -> None:
    everything = bytes(range(256)) * 40 + STREAM
    with wired() as (board, proxy), open_port(proxy.path) as port:
        for chunk in (b"\x01text\r\n", everything, b"\0" * 9, b"no delimiter"):
            port.write(chunk)
            assert read(board, len(chunk)) == chunk
            os.write(board, chunk[:1000])
            assert read_port(port, len(chunk[:1000])) == chunk[:1000]
        assert proxy.counts[TO_BOARD]["frames"] > len(FRAMES)


def test_the_proxy_strikes_as_its_wires_do() -> None:
    faults = Faults(flip=0.1, drop=0.1, drop_bytes=0.1, duplicate=0.1, insert=0.1, reorder=0.1, half_open=0.02)
    seen: list[Passage] = []
    with wired(faults, seed=5, on_frame=seen.append) as (board, proxy), open_port(proxy.path) as port:
        port.write(STREAM)
        expected = sent(FaultyWire(faults, 5, TO_BOARD).feed(STREAM))
        assert read(board, len(expected)) == expected
        os.write(board, STREAM[:3000])
        expected = sent(FaultyWire(faults, 5, FROM_BOARD).feed(STREAM[:3000]))
        # What lacks its delimiter comes when the wire has been quiet for a while.
        assert read_port(port, len(expected))[: len(expected)] == expected
    assert [p.true for p in seen if p.way == TO_BOARD] == FRAMES


def test_a_plug_that_is_pulled_comes_back_under_another_name() -> None:
    told: list[str] = []
    with wired(on_path=told.append) as (board, proxy):
        first = proxy.path
        with open_port(first) as port:
            proxy.disconnect()
            assert proxy.path == ""
            with pytest.raises(PortError, match="vanished"):
                port.read_available(10.0)
            proxy.disconnect()  # twice is once
            os.write(board, b"nobody hears this")
        while select.select([proxy._port.serial.fileno()], [], [], 0)[0]:  # until it is lost
            pass
        proxy.reconnect()
        assert told == [first, proxy.path]
        assert proxy.path != first
        with open_port(proxy.path) as port:
            port.write(b"again")
            assert read(board, 5) == b"again"
            os.write(board, b"here")
            assert read_port(port, 4) == b"here"


def test_a_plug_falls_out_by_itself() -> None:
    told: list[str] = []
    with wired(Faults(disconnect=1.0, away_s=0.01), from_board=Faults(), on_path=told.append) as (board, proxy):
        with open_port(proxy.path) as port:
            port.write(b"\0frame\0")
            assert read(board, 1) == b"\0"
            with pytest.raises(PortError, match="vanished"):
                port.read_available(10.0)
        while len(told) < 2:
            select.select([], [], [], 0.001)
        with open_port(told[1]) as port:
            port.write(b"text")
            assert read(board, 4) == b"text"
    assert proxy.counts[TO_BOARD]["disconnect"] == 1


def test_a_half_open_port_swallows_what_either_side_says() -> None:
    with wired() as (board, proxy), open_port(proxy.path) as port:
        proxy.silent = True
        port.write(b"lost")
        os.write(board, b"lost")
        assert port.read_available(0.2) == b""
        assert select.select([board], [], [], 0.2)[0] == []
        proxy.silent = False
        port.write(b"heard")
        assert read(board, 5) == b"heard"


def test_a_board_that_goes_takes_the_port_along() -> None:
    board, slave = os.openpty()
    tty.setraw(slave)
    with Proxy(os.ttyname(slave)) as proxy, open_port(proxy.path) as port:
        os.close(board)
        os.close(slave)
        with pytest.raises(PortError, match="vanished"):
            port.read_available(10.0)
        with pytest.raises(PortError, match="vanished"):
            proxy.wait()


def test_ctrl_c_reaches_a_board_that_is_a_process(board_flash: Path) -> None:
    with Proxy("unix") as proxy, open_port(proxy.path) as port:
        repl = Repl(port)
        repl.__enter__()
        repl.launch("while True: pass")
        with Repl(port) as repl:
            assert repl.run("print(6 * 7)").strip() == "42"


def test_patience_is_handed_on() -> None:
    """Whoever opens the proxy learns how slow the board behind is."""
    from subsong_hil.proxy import _Terminal

    slow = _Terminal(14.0, 63)
    try:
        with Proxy(slow.path) as proxy, open_port(proxy.path) as port:
            assert (port.slowdown, port.ring) == (14.0, 63)
    finally:
        slow.close()


def test_a_port_that_is_not_there_is_named() -> None:
    with pytest.raises(PortError, match="/dev/nowhere"):
        Proxy("/dev/nowhere").start()


# ------------------------------------------------------------------------------------------------ subsong hil proxy


def test_the_verb_has_an_option_for_each_fault() -> None:
    assert tuple(name.replace("-", "_") for name in FAULTS) == RATES


def test_the_verb_stands_between_and_says_what_it_did(tmp_path: Path) -> None:
    board, slave = os.openpty()
    tty.setraw(slave)
    record = tmp_path / "frames.jsonl"
    program = "from subsong.cli import main; main()"
    options = ["--port", os.ttyname(slave), "--drop", "0.5", "--seed", "3", "--record", str(record)]
    command = [sys.executable, "-c", program, "hil", "proxy", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        with open_port(child.stdout.readline().strip()) as port:
            port.write(STREAM)
            expected = sent(FaultyWire(Faults(drop=0.5), 3, TO_BOARD).feed(STREAM))
            assert read(board, len(expected)) == expected
        child.send_signal(signal.SIGINT)
        said, _ = child.communicate(timeout=20.0)
    os.close(board)
    os.close(slave)
    assert child.returncode == 0
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    assert [bytes.fromhex(line["true"]) for line in lines] == FRAMES
    dropped = sum(line["fault"] == "drop" for line in lines)
    assert [line.split() for line in said.splitlines()] == [
        ["to", "board", "from", "board"],
        ["frames", str(len(FRAMES)), "0"],
        ["drop", str(dropped), "0"],
    ]


def test_the_verb_refuses_rates_that_are_none() -> None:
    result = CliRunner().invoke(subsong, ["hil", "proxy", "--port", "x", "--drop", "0.7", "--flip", "0.7"])
    assert result.exit_code == 2
    assert "exceed 1" in result.output
