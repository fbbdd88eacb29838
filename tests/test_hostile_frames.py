"""Whole frames with any fields, in any order: nothing that a host sends makes the firmware do what the page forbids."""

import os
import struct
import subprocess
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

import frames_fuzzer
from cases import Setup
from subsong_device import block as board_block
from subsong_device import frames, session
from subsong_hil.unix import find_micropython
from test_bridge import DEADMAN_MS, XOR, block_of

Shaped = tuple[tuple[int, ...], bytes, bytes, bytes]


def experiments() -> list[Shaped]:
    """Return OPEN's fields and the regions of a task and of two plants."""
    made = []
    for block in (
        block_of(XOR),
        Setup("node_perturbation", layers=(3, 2), activations=("tanh",)).block(),
        Setup().block(),
    ):
        words = (len(block.head) // 4, len(block.mem) // 2, len(block.task) // 2)
        mode = frames.TASK if block.task else frames.IN_THE_LOOP
        shape = (frames.RULES.index(block.rule), mode, block.n_sensors, block.n_actuators, *words, DEADMAN_MS)
        made.append((shape, block.head, block.mem, block.task))
    return made


@pytest.fixture(autouse=True)
def standing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A clock that stands, and a flash of the test's own: the working directory."""
    monkeypatch.chdir(tmp_path)
    restore = frames_fuzzer.stand_still()
    yield
    restore()


def search(first: int, seeds: int, count: int) -> list[Any]:
    made = experiments()
    return [frames_fuzzer.attack(seed, count, made) for seed in range(first, first + seeds)]


def test_no_frame_makes_the_firmware_do_what_it_must_not() -> None:
    hosts = search(1, 60, 150)
    assert sum(host.calls for host in hosts) > 500
    assert sum(host.accepted for host in hosts) > 3000
    assert any(host.sealed_by and host.session._lock for host in hosts)


@pytest.mark.slow
def test_no_frame_of_25000_makes_the_firmware_do_what_it_must_not() -> None:
    search(10_000, 100, 250)


@pytest.mark.slow
def test_micropython_answers_the_same(tmp_path: Path) -> None:
    program = find_micropython()
    assert program is not None
    flash, blocks = tmp_path / "flash", tmp_path / "blocks"
    flash.mkdir()
    blocks.write_bytes(b"".join(struct.pack("<BBHHIIII", *shape) + b"".join(data) for shape, *data in experiments()))
    device = Path(str(resources.files("subsong_device"))).parent
    command = [str(program), "-X", "heapsize=8M", frames_fuzzer.__file__, "500", "25", "150", str(blocks)]
    env = {**os.environ, "MICROPYPATH": f"{device}:.frozen"}
    done = subprocess.run(command, env=env, cwd=flash, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    here = [f"{host.crc} {host.calls} {host.accepted}" for host in search(500, 25, 150)]
    assert [line.split(" ", 1)[1] for line in done.stdout.splitlines()] == here


# ------------------------------------------------------------------------------------------------- that it would see


def unsealed(self: Any, head: int, mem: int, task: int) -> None:
    self._block.seal(head, mem, task)
    self._state = session.READY
    self._done()


def written_beyond(self: Any, region: int, offset: int, count: int, data: bytes) -> None:
    buf = self._region(region, offset, 0)
    buf[offset : offset + len(data)] = data[: len(buf) - offset]
    self._state = session.OPENED
    self._done()


def kept_sealed(self: Any, region: int, offset: int, count: int, data: bytes) -> None:
    state = self._state
    ON_WRITE(self, region, offset, count, data)
    self._state = state


ON_WRITE = session.Session._on_write


@pytest.mark.parametrize(
    ("owner", "name", "altered"),
    [
        (session.Session, "_on_seal", unsealed),
        (session.Session, "_on_write", written_beyond),
        (session.Session, "_on_write", kept_sealed),
        (session, "need", lambda _condition, _field: None),
        (board_block, "check_block", lambda *_: None),
        (session, "_STATES", dict.fromkeys(session._STATES, 0x7F)),
    ],
)
def test_it_sees_a_firmware_that_is_wrong(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, altered: Any) -> None:
    monkeypatch.setattr(owner, name, altered)
    with pytest.raises(Exception):  # noqa: B017 - an assertion, or what the firmware itself raises
        search(1, 60, 150)
