"""A board with a key: it takes signed experiments alone, each once, whatever is cut, altered or played again."""

import hashlib
import hmac
import os
import stat
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from itertools import product
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from link_wire import BoardInThread
from subsong.bridge import Bridge
from subsong.deploy import start_firmware, stop_firmware
from subsong.errors import BoardError, FirmwareError
from subsong.keys import key_of, key_path, remove_key, set_key
from subsong.ports import Port, open_port
from subsong_device import faults, frames, lock
from subsong_device.faults import Fault
from subsong_hil.unix import find_micropython
from test_bridge import DEADMAN_MS, XOR, altered, block_of

pytest_plugins = ["subsong_hil.fixtures"]

BOARD, SECRET = 0x1234ABCD, bytes(range(100, 132))
BLOCK = block_of(XOR)
REGIONS = (BLOCK.head, BLOCK.mem, BLOCK.task)
SHAPE = (0, frames.TASK, 2, 1, len(BLOCK.head) // 4, len(BLOCK.mem) // 2, len(BLOCK.task) // 2, DEADMAN_MS)
OPENED = struct.pack(frames.formats()[frames.OPEN], *SHAPE)
SEAL = tuple(map(crc32, REGIONS))


@pytest.fixture(autouse=True)
def flash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A board's flash with a key on it, and the same key on this computer."""
    folder = tmp_path / "flash"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SUBSONG_KEYS", str(tmp_path / "keys"))
    (folder / lock.KEY).write_bytes(struct.pack("<I", BOARD) + SECRET)
    lock.write_counter(6)
    key_path(BOARD).parent.mkdir()
    key_path(BOARD).write_text(SECRET.hex())
    return folder


@contextmanager
def served() -> Iterator[Bridge]:
    with BoardInThread() as board:
        bridge = Bridge(board.port, timeout_s=5.0)
        bridge.hello()
        yield bridge


def ask(bridge: Bridge) -> dict[str, int]:
    """Return what STATUS says."""
    wire = frames.encode(frames.ASK, 0, b"")
    bridge._exchange.write(wire)
    names = next(row[3] for row in frames.TABLE if row[0] == frames.STATUS).split()
    return dict(zip(names, bridge._exchange.await_reply(wire, frames.ASK, 0, (), frames.STATUS), strict=True))


def prepare(bridge: Bridge) -> Callable[..., Any]:
    """OPEN and WRITE the experiment; return what sends a command."""
    command = bridge._exchange.command
    command(frames.OPEN, *SHAPE)
    bridge._exchange.reopen(2, 1)
    for region, data in enumerate(REGIONS):
        for at in range(0, len(data), frames.CHUNK):
            command(frames.WRITE, region, at, len(data[at : at + frames.CHUNK]), data[at : at + frames.CHUNK])
    return command


def refused(command: Callable[..., Any], *fields: Any) -> None:
    with pytest.raises(BoardError) as raised:
        command(*fields)
    assert raised.value.code == faults.UNSIGNED


# ------------------------------------------------------------------------------------------------- what is signed


def test_the_signature_is_the_hmac_that_the_page_says() -> None:
    said = b"subsong experiment 1\0" + struct.pack("<II", frames.schema(), 7) + OPENED + b"".join(REGIONS)
    assert lock.sign(SECRET, 7, OPENED, REGIONS) == hmac.digest(SECRET, said, hashlib.sha256)


def test_micropython_signs_alike(tmp_path: Path) -> None:
    program = find_micropython()
    assert program is not None
    device = Path(str(resources.files("subsong_device"))).parent
    regions = (bytes(range(200)), b"", b"\1" * 1000)
    code = (
        "from subsong_device.lock import same, sign; from binascii import hexlify; "
        f"s = sign({SECRET!r}, 7, {OPENED!r}, {regions!r}); print(hexlify(s).decode(), same(s, bytes(32)), same(s, s))"
    )
    env = {**os.environ, "MICROPYPATH": f"{device}:.frozen"}
    said = subprocess.run([str(program), "-c", code], env=env, capture_output=True, text=True, check=True).stdout
    assert said.split() == [lock.sign(SECRET, 7, OPENED, regions).hex(), "False", "True"]


def test_a_locked_board_says_so_and_takes_what_is_signed() -> None:
    for counter in (7, 8):
        with served() as bridge:
            assert ask(bridge) | {"session": 0, "state": 0, "expected": 0} == {
                "board": BOARD, "session": 0, "flags": frames.LOCKED, "state": 0, "expected": 0, "counter": counter - 1,
            }  # fmt: skip
            bridge.open(BLOCK, DEADMAN_MS)
            assert bridge.run_task(0, 3, 4).trials == 3
            assert ask(bridge)["counter"] == lock.read_counter() == counter


def test_a_board_without_a_key_takes_everything_and_no_signature(flash: Path) -> None:
    (flash / lock.KEY).unlink()
    with served() as bridge:
        assert ask(bridge)["flags"] == 0
        bridge.open(BLOCK, DEADMAN_MS)
        with pytest.raises(BoardError, match="not allowed"):
            bridge._exchange.command(frames.SIGN, 7, bytes(32))


# ------------------------------------------------------------------------------------------------- what is refused


def flipped(data: bytes, bit: int) -> bytes:
    return bytes(b ^ (1 << (bit & 7)) * (i == bit >> 3) for i, b in enumerate(data))


@pytest.mark.parametrize(
    "wrong",
    ["no signature", "another key", "a bit of it", "spent counter", "last counter", "no counter", "OPEN", *range(3)],
)
def test_what_is_not_signed_is_refused_and_spends_nothing(wrong: str | int) -> None:
    regions = [flipped(data, 9) if wrong == i else data for i, data in enumerate(REGIONS)]
    opened = OPENED[:-4] + struct.pack("<I", DEADMAN_MS + 1) if wrong == "OPEN" else OPENED
    counter = {"spent counter": 5, "last counter": 6, "no counter": lock.NEVER}.get(str(wrong), 7)
    mac = lock.sign(bytes(32) if wrong == "another key" else SECRET, counter, opened, tuple(regions))
    with served() as bridge:
        command = prepare(bridge)
        if wrong != "no signature":
            refused(command, frames.SIGN, counter, flipped(mac, 255) if wrong == "a bit of it" else mac)
        refused(command, frames.SEAL, *SEAL)
        refused(command, frames.LOAD, 1)
        assert ask(bridge)["counter"] == lock.read_counter() == 6
        command(frames.SIGN, 7, lock.sign(SECRET, 7, OPENED, REGIONS))
        command(frames.SEAL, *SEAL)


@pytest.mark.parametrize("between", ["WRITE", "READ", "OPEN", "HELLO", "LOAD", "refused"])
def test_nothing_may_come_between_signature_and_seal(between: str) -> None:
    """A forged CRC is no way around it: the very bytes that were signed are sealed, or none."""
    with served() as bridge:
        command = prepare(bridge)
        command(frames.SIGN, 7, lock.sign(SECRET, 7, OPENED, REGIONS))
        if between == "WRITE":
            command(frames.WRITE, 1, 0, 16, BLOCK.mem[:16])
        elif between == "READ":
            command(frames.READ, 0, 0, reply=frames.DATA)
        elif between == "OPEN":
            prepare(bridge)
        elif between == "HELLO":
            command(frames.HELLO, frames.schema(), reply=frames.R_HELLO)
        elif between == "LOAD":
            refused(command, frames.LOAD, 1)
        else:
            with pytest.raises(BoardError):
                command(frames.WRITE, 9, 0, 16, BLOCK.mem[:16])
        refused(command, frames.SEAL, *SEAL)
        assert ask(bridge)["counter"] == 7


def test_what_was_recorded_cannot_be_played_again() -> None:
    sent: list[bytes] = []
    with BoardInThread() as board:
        bridge = Bridge(board.port, lambda to_board, wire, _: sent.append(wire) if to_board else None, timeout_s=5.0)
        bridge.hello()
        bridge.open(BLOCK, DEADMAN_MS)
    codes: list[tuple[int, int]] = []
    deframer = frames.Deframer(frames.body_lengths(False))
    with BoardInThread() as board:
        board.wire.harm = lambda wire: codes.extend(
            struct.unpack("<BI", payload) for _, kind, _, payload in deframer.feed(wire) if kind == frames.ACK
        ) or wire  # fmt: skip
        for wire in sent:
            board.port.write(wire)
        board.port.write(frames.encode(frames.HELLO, 1, bytes(4)) + frames.encode(frames.CLOSE, 2, b""))
        board.join()
    assert codes.count((faults.UNSIGNED, 8)) == 3  # SEAL, SIGN, SEAL
    assert lock.read_counter() == 7


def test_a_repeated_signature_has_its_reply_repeated() -> None:
    with served() as bridge:
        prepare(bridge)
        exchange, fields = bridge._exchange, (7, lock.sign(SECRET, 7, OPENED, REGIONS))
        wire = frames.encode(frames.SIGN, exchange.next_seq(), struct.pack(exchange.formats[frames.SIGN], *fields))
        for _ in range(3):
            exchange.write(wire)
            assert exchange.await_reply(wire, frames.SIGN, exchange._seq, fields, frames.ACK) == (faults.OK, 0)
        exchange.command(frames.SEAL, *SEAL)


# ------------------------------------------------------------------------------------------------- the counter


@pytest.mark.parametrize("renames", [True, False], ids=["littlefs", "FAT"])
def test_the_counter_never_goes_back_wherever_the_power_is_cut(
    flash: Path, monkeypatch: pytest.MonkeyPatch, renames: bool
) -> None:
    """After every byte of the new file, and after each step of its renaming; then again in the middle of that."""
    rename, removed = os.rename, os.remove
    cuts = {"left": 0}

    def step(does: Callable[..., None], *paths: str) -> None:
        if does is rename and not renames and Path(paths[1]).exists():
            raise OSError(17, "exists")
        if cuts["left"] == 0:
            raise KeyboardInterrupt  # the power
        cuts["left"] -= 1
        does(*paths)

    monkeypatch.setattr(lock.os, "rename", lambda *paths: step(rename, *paths))
    monkeypatch.setattr(lock.os, "remove", lambda *paths: step(removed, *paths))
    words = struct.pack("<I", 7)
    whole = words + struct.pack("<I", crc32(words))
    for written, steps, more in product(range(9), range(3), range(3)):
        cuts["left"] = 9
        for path in flash.glob("subsong.count*"):
            path.unlink()
        lock.write_counter(6)
        (flash / lock.NEW).write_bytes(whole[:written])
        for cuts["left"] in (steps, more, 9):
            try:
                seen = lock.read_counter()
            except KeyboardInterrupt:
                continue
            assert seen == (7 if written == 8 else 6)
        assert lock.read_counter() == (7 if written == 8 else 6)
    (flash / lock.NEW).unlink(missing_ok=True)
    cuts["left"] = 0
    with pytest.raises(KeyboardInterrupt):
        lock.write_counter(8)
    cuts["left"] = 9
    assert lock.read_counter() == 8


@pytest.mark.parametrize(
    ("name", "content"),
    [(lock.COUNT, b""), (lock.COUNT, bytes(8)), (lock.COUNT, None), (lock.KEY, b""), (lock.KEY, bytes(35)),
     (lock.KEY, bytes(37)), (lock.COUNT, struct.pack("<II", lock.NEVER - 1, crc32(struct.pack("<I", lock.NEVER - 1))))],
)  # fmt: skip
def test_a_board_that_lost_its_counter_or_key_takes_nothing(flash: Path, name: str, content: bytes | None) -> None:
    if content is None:
        (flash / name).unlink()
    else:
        (flash / name).write_bytes(content)
    with served() as bridge:
        command = prepare(bridge)
        for counter in (7, lock.NEVER - 1, lock.NEVER):
            refused(command, frames.SIGN, counter, lock.sign(SECRET, counter, OPENED, REGIONS))
        refused(command, frames.SEAL, *SEAL)
        with pytest.raises(BoardError, match=r"lost the counter of its signed experiments.*subsong key --replace"):
            bridge.open(BLOCK, DEADMAN_MS)


def test_a_counter_that_cannot_be_kept_is_not_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_counter: int) -> None:
        raise OSError(28, "full")

    keeper = lock.Lock()
    monkeypatch.setattr(lock, "write_counter", full)
    with pytest.raises(Fault) as raised:
        keeper.accept(7, lock.sign(SECRET, 7, OPENED, REGIONS), OPENED, REGIONS)
    assert (raised.value.code, raised.value.detail, keeper.counter) == (faults.FLASH, 28, 6)


# ------------------------------------------------------------------------------------------------- the host


def test_a_host_without_the_key_says_where_it_belongs() -> None:
    key_path(BOARD).unlink()
    with served() as bridge, pytest.raises(BoardError, match=r"its key is not on this computer: copy .*1234abcd\.key"):
        bridge.open(BLOCK, DEADMAN_MS)


@pytest.mark.parametrize("text", ["", "no hex", "ab" * 31])
def test_a_damaged_key_is_none(text: str) -> None:
    key_path(BOARD).write_text(text)
    assert key_of(BOARD) is None


def test_a_host_with_another_key_is_told() -> None:
    key_path(BOARD).write_text("00" * 32)
    with served() as bridge, pytest.raises(BoardError, match=r"refuses the signature: .*1234abcd\.key is not its key"):
        bridge.open(BLOCK, DEADMAN_MS)


def test_a_signed_block_is_checked_like_any_other() -> None:
    with served() as bridge, pytest.raises(BoardError, match="contradicts itself"):
        bridge.open(altered(BLOCK, 13, 0), DEADMAN_MS)


@pytest.mark.slow
def test_a_key_is_set_replaced_and_removed_over_the_repl(deployed_flash: Path) -> None:
    with open_port("unix") as port:
        (deployed_flash / "run.0").write_bytes(b"of an experiment that nobody signed")
        report = set_key(port)
        assert report.path is not None
        assert not report.replaced
        assert stat.S_IMODE(report.path.stat().st_mode) == 0o600
        assert not (deployed_flash / "run.0").exists()
        learn(port)
        with pytest.raises(BoardError, match="has a key already; --replace"):
            set_key(port)
        first = report.path.read_text()
        learn(port)
        again = set_key(port, replace=True)
        assert (again.board, again.replaced, again.path) == (report.board, True, report.path)
        assert report.path.read_text() != first
        learn(port)
        assert (deployed_flash / lock.COUNT).read_bytes()[:4] == struct.pack("<I", 3)
        assert {path.name for path in report.path.parent.iterdir()} == {"1234abcd.key", report.path.name}
        assert remove_key(port).board == report.board
        assert not report.path.exists()
        learn(port)
        assert remove_key(port).board == ""


def learn(port: Port) -> None:
    """Open an experiment on the board's own firmware, and let it learn."""
    start_firmware(port)
    bridge = Bridge(port)
    try:
        bridge.hello()
        bridge.open(BLOCK, DEADMAN_MS)
        assert bridge.run_task(0, 2, 4).trials == 2
    finally:
        bridge.close()
        stop_firmware(port)


def test_a_board_without_the_firmware_gets_no_key(unix_port: Port) -> None:
    with pytest.raises(FirmwareError, match="no firmware on the board that knows keys"):
        set_key(unix_port)
