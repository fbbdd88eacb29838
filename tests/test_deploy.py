"""Deploying to a real MicroPython: what is copied, what is refused, and what starts."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from subsong import deploy as deploy_module
from subsong import packed as packed_module
from subsong.deploy import deploy, device_info, start_firmware, stop_firmware, verify_firmware
from subsong.errors import BoardError, FirmwareError
from subsong.firmware import Firmware, Manifest, build_firmware, firmware_of, load_firmware
from subsong.ports import Port, open_port
from subsong.profile import named_profile
from subsong.repl import Repl
from subsong_device import faults, frames
from subsong_device.layout import ARITHMETIC_VERSION

pytest_plugins = ["subsong_hil.fixtures"]

DEADLINE_S = 30.0
PREPARE = b"def prepare():\n    pass\n"


@pytest.fixture
def small(tmp_path: Path) -> Firmware:
    """A firmware of three files, quicker to copy than the real one, that serves by printing."""
    folder = tmp_path / "small"
    (folder / "learners").mkdir(parents=True)
    (folder / "__init__.py").write_bytes(b"")
    (folder / "main.py").write_bytes(PREPARE + b"def serve():\n    print('serving')\n")
    (folder / "learners" / "one.py").write_bytes(b"# " + b"x" * 3000 + b"\n")
    (folder / "learners" / "notes.txt").write_bytes(b"not firmware")
    return load_firmware(folder)


def target(flash: Path) -> Path:
    return flash / "lib" / "subsong_device"


def held(flash: Path) -> dict[str, bytes]:
    root = target(flash)
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def alter(firmware: Firmware, path: str, content: bytes | None, folder: Path) -> Firmware:
    """Return the firmware with a file changed, or without it."""
    for name, source in firmware.sources.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(source)
    if content is None:
        (folder / path).unlink()
    else:
        (folder / path).write_bytes(content)
    return load_firmware(folder)


# ------------------------------------------------------------------------------------------ manifest


def test_the_firmware_of_this_installation() -> None:
    profile = named_profile("unix")
    firmware = build_firmware(profile)
    paths = [file.path for file in firmware.manifest.files]
    assert paths == sorted(paths)
    assert {"__init__.py", "main.py", "layout.py", "learners/weight_perturbation.py", "known_answers.bin"} <= set(paths)
    assert firmware.manifest.arithmetic == ARITHMETIC_VERSION
    assert not [path for path in paths if path.startswith(("machine/", "viper/", "small/"))]
    build_firmware.cache_clear()
    assert build_firmware(profile) == firmware


@pytest.mark.slow
def test_the_firmware_of_a_pico_has_its_kernels_for_every_tier() -> None:
    profile = named_profile("pico")
    firmware = build_firmware(profile)
    modules = {*frames.RULES, "tasks"}
    for folder in ("machine", "viper"):
        assert {f"{folder}/{module}.mpy" for module in modules} <= set(firmware.sources)
    assert set(firmware.manifest.kernels) == {"armv6m", "viper"}
    assert set(firmware.manifest.kernels["armv6m"]) == modules
    said: dict[str, object] = {}
    exec(firmware.sources["profile.py"], said)
    assert (said["NAME"], said["TIERS"]) == ("pico", (2, 1, 0))
    build_firmware.cache_clear()
    assert build_firmware(profile) == firmware
    assert build_firmware(profile.model_copy(update={"tiers": (2, 0)})).manifest.digest != firmware.manifest.digest
    text = build_firmware(profile.model_copy(update={"kernels": "text"}))
    assert {f"{folder}/{module}.py" for module in modules for folder in ("machine", "viper")} <= set(text.sources)
    assert text.manifest.kernels == firmware.manifest.kernels


def test_a_manifest_survives_the_board(small: Firmware) -> None:
    text = small.manifest.to_json()
    assert b"\n" not in text
    assert Manifest.from_json(text) == small.manifest


@pytest.mark.parametrize(
    "text",
    [b"", b"{}", b"[]", b"null", b"\xff", b'{"files": 3}', b'{"files": [{"path": "a"}]}'],
)
def test_a_damaged_manifest_is_none(text: bytes) -> None:
    assert Manifest.from_json(text) is None


def test_a_manifest_cut_or_contradicting_itself_is_none(small: Firmware) -> None:
    text = small.manifest.to_json()
    assert all(Manifest.from_json(text[:n]) is None for n in range(len(text)))
    data = json.loads(text)
    data["files"][0]["size"] += 1
    assert Manifest.from_json(json.dumps(data).encode()) is None


# ------------------------------------------------------------------------------------------ deploy


def test_deploying_copies_exactly_the_firmware(board_flash: Path, unix_port: Port, small: Firmware) -> None:
    seen: list[tuple[str, int, int]] = []
    report = deploy(unix_port, small, lambda *done: seen.append(done))
    assert held(board_flash) == {**small.sources, "manifest.json": small.manifest.to_json()}
    assert report.copied == tuple(small.sources)
    assert report.target == "lib/subsong_device"
    total = sum(map(len, small.sources.values()))
    assert report.copied_bytes == total
    assert seen[-1] == (report.copied[-1], total, total)
    assert verify_firmware(unix_port, small) == small.manifest


def test_deploying_twice_copies_nothing(board_flash: Path, unix_port: Port, small: Firmware) -> None:
    deploy(unix_port, small)
    before = {path: path.stat().st_mtime_ns for path in target(board_flash).rglob("*")}
    report = deploy(unix_port, small)
    assert (report.copied, report.deleted, report.unchanged, report.copied_bytes) == ((), (), 3, 0)
    assert {path: path.stat().st_mtime_ns for path in target(board_flash).rglob("*")} == before


def test_what_was_deployed_serves_the_next_process(board_cache: Path, small: Firmware) -> None:
    with open_port("unix") as port:
        deploy(port, small)
    with open_port("unix") as port:
        verify_firmware(port, small)
        assert deploy(port, small).copied == ()


def test_an_update_copies_what_differs_and_deletes_what_is_stale(
    board_flash: Path, unix_port: Port, small: Firmware, tmp_path: Path
) -> None:
    old = tmp_path / "old"
    for name, source in {
        **small.sources,
        "gone/deep/er.py": b"pass\n",
        "gone/a.py": b"",
        "main.py": b"# old\n",
    }.items():
        (old / name).parent.mkdir(parents=True, exist_ok=True)
        (old / name).write_bytes(source)
    deploy(unix_port, load_firmware(old))
    (target(board_flash) / "main.mpy").write_bytes(b"M")
    report = deploy(unix_port, small)
    assert report.copied == ("main.py",)
    assert report.deleted == ("gone/a.py", "gone/deep/er.py", "main.mpy")
    assert held(board_flash) == {**small.sources, "manifest.json": small.manifest.to_json()}
    assert not (target(board_flash) / "gone").exists()


def test_another_version_of_the_same_files_copies_nothing_but_the_manifest(unix_port: Port, small: Firmware) -> None:
    renamed = Firmware(Manifest("9.9.9", small.manifest.arithmetic, small.manifest.files), small.sources)
    deploy(unix_port, renamed)
    verify_firmware(unix_port, small)  # the digest decides
    assert deploy(unix_port, small).copied == ()


def fill(repl: Repl, name: str) -> None:
    """Have the flash refuse to write files whose paths end so, as littlefs does when full."""
    repl.run(
        "import builtins\n_open = open\n"
        f"def full(p, m='r'):\n if p.endswith({name!r}) and 'w' in m:\n  raise OSError(28)\n return _open(p, m)"
    )
    repl.run("builtins.open = full")


def test_a_full_flash_is_one_error(unix_port: Port, small: Firmware) -> None:
    with Repl(unix_port) as repl:
        fill(repl, "")
        with pytest.raises(BoardError, match=r"while writing lib/subsong_device/__init__\.py: its flash is full"):
            deploy_module.deploy_over(repl, small)


# ------------------------------------------------------------------------------------------ packed files

BROKEN_DEFLATE = """
import sys
class Broken:
 ZLIB = 1
 def DeflateIO(*_):
  raise MemoryError
sys.modules["deflate"] = Broken
"""


@pytest.fixture
def large(small: Firmware) -> Firmware:
    """A firmware with a file that goes packed."""
    return firmware_of({**small.sources, "large.py": b"value = 12345\n" * 500})


@pytest.mark.parametrize(
    "before", ["", "import sys\nsys.modules['deflate'] = None", BROKEN_DEFLATE], ids=["packed", "no deflate", "no room"]
)
def test_a_file_that_compresses_arrives_whole(
    unix_port: Port, board_flash: Path, large: Firmware, before: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    plain = packed_module.write_file

    def noted(repl: Repl, path: str, content: bytes) -> None:
        sent.append(path)
        plain(repl, path, content)

    for module in (packed_module, deploy_module):
        monkeypatch.setattr(module, "write_file", noted)
    with Repl(unix_port) as repl:
        repl.run(before)
        deploy_module.deploy_over(repl, large)
    assert held(board_flash) == {**large.sources, "manifest.json": large.manifest.to_json()}
    names = {Path(path).name for path in sent}
    assert ("packed" in names, "large.py" in names) == (before in ("", BROKEN_DEFLATE), before != "")


def test_what_cannot_be_unpacked_is_one_error_and_the_next_deploy_mends_it(
    unix_port: Port, board_flash: Path, large: Firmware
) -> None:
    with Repl(unix_port) as repl:
        fill(repl, "large.py")
        with pytest.raises(BoardError, match=r"while writing lib/subsong_device/large\.py: its flash is full"):
            deploy_module.deploy_over(repl, large)
        repl.run("builtins.open = _open")
    (target(board_flash) / "packed").write_bytes(b"of a deploy that was cut short")
    assert deploy(unix_port, large).deleted == ("packed",)
    assert held(board_flash) == {**large.sources, "manifest.json": large.manifest.to_json()}


@pytest.mark.slow
def test_a_deploy_killed_at_any_point_shows(board_cache: Path, board_flash: Path, small: Firmware) -> None:
    """The host is killed after each file in turn; what is left is refused, and the next deploy mends it."""
    code = (
        "import os, sys, pathlib\n"
        "from subsong.deploy import deploy\nfrom subsong.firmware import load_firmware\n"
        "from subsong.ports import open_port\n"
        "def die(path, done, total):\n    if path == sys.argv[2]:\n        os.kill(os.getpid(), 9)\n"
        "deploy(open_port('unix'), load_firmware(pathlib.Path(sys.argv[1])), die)\n"
    )
    folder = board_cache.parent / "small"
    for path in small.sources:
        killed = subprocess.run(
            [sys.executable, "-c", code, str(folder), path],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            check=False,
        )
        assert killed.returncode == -signal.SIGKILL
        with open_port("unix") as port:
            with pytest.raises(FirmwareError, match=r"incomplete.*subsong deploy --port unix"):
                verify_firmware(port, small)
            deploy(port, small)
            verify_firmware(port, small)
        (target(board_flash) / path).unlink()
        for later in list(small.sources)[list(small.sources).index(path) + 1 :]:
            (target(board_flash) / later).unlink()


# ------------------------------------------------------------------------------------------ verify


def test_a_board_without_the_firmware(unix_port: Port, small: Firmware) -> None:
    with pytest.raises(
        FirmwareError, match=r"port unix: the board is without the firmware: subsong deploy --port unix"
    ):
        verify_firmware(unix_port, small)


@pytest.mark.parametrize("content", [b"# other\n", None])
def test_firmware_of_another_version_names_both(
    unix_port: Port, small: Firmware, tmp_path: Path, content: bytes | None
) -> None:
    other = alter(small, "learners/one.py", content, tmp_path / "other")
    deploy(unix_port, other)
    expected = f"holds firmware .*{other.manifest.digest[:8]}.*needs .*{small.manifest.digest[:8]}.*subsong deploy"
    with pytest.raises(FirmwareError, match=expected):
        verify_firmware(unix_port, small)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda root: (root / "main.py").write_bytes(b"# changed\n"),
            "main.py of the firmware on the board is altered",
        ),
        (lambda root: (root / "main.py").unlink(), "main.py of the firmware on the board is missing"),
        (lambda root: (root / "extra.py").write_bytes(b""), "extra.py of the firmware on the board does not belong"),
        (lambda root: (root / "manifest.json").unlink(), "incomplete"),
        (lambda root: (root / "manifest.json").write_bytes(b"{"), "manifest of the firmware on the board is damaged"),
    ],
    ids=["altered", "missing", "extra", "no-manifest", "bad-manifest"],
)
def test_altered_firmware_is_named_and_mended(
    board_flash: Path, unix_port: Port, small: Firmware, change: object, message: str
) -> None:
    deploy(unix_port, small)
    assert callable(change)
    change(target(board_flash))
    with pytest.raises(FirmwareError, match=f"{message}.*subsong deploy --port unix"):
        verify_firmware(unix_port, small)
    deploy(unix_port, small)
    verify_firmware(unix_port, small)


@pytest.mark.parametrize("shadow", ["subsong_device/__init__.py", "subsong_device.py", "subsong_device.mpy"])
def test_a_copy_that_imports_would_take_first_is_refused(
    board_flash: Path, unix_port: Port, small: Firmware, shadow: str
) -> None:
    deploy(unix_port, small)
    path = board_flash / shadow
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"")
    for attempt in (verify_firmware, deploy):
        with pytest.raises(FirmwareError, match="would be imported instead of lib/subsong_device; remove it"):
            attempt(unix_port, small)


# ------------------------------------------------------------------------------------------ start and stop


def read_frames(port: Port, wanted: int) -> list[tuple[int, bytes]]:
    """Read frames until one of the wanted type came."""
    deframer = frames.Deframer(frames.body_lengths(False))
    found: list[tuple[int, bytes]] = []
    until = time.monotonic() + DEADLINE_S
    while not found or found[-1][0] != wanted:
        assert time.monotonic() < until, found
        found += [(kind, payload) for _, kind, _, payload in deframer.feed(port.read_available(1.0))]
    return found


def test_the_real_firmware_says_hello_and_leaves_on_close(deployed_port: Port) -> None:
    verify_firmware(deployed_port)
    for _ in range(2):  # a second session in the same process, where nothing was reset
        start_firmware(deployed_port)
        read_frames(deployed_port, frames.R_HELLO)
        schema = frames.schema()
        deployed_port.write(frames.encode(frames.HELLO, 1, schema.to_bytes(4, "little")))
        read_frames(deployed_port, frames.R_HELLO)
        deployed_port.write(frames.encode(frames.CLOSE, 2, b""))
        read_frames(deployed_port, frames.ACK)
        stop_firmware(deployed_port)
        deployed_port.reset_input()
        deployed_port.write(b"40+2\r")
        text = b""
        while b"42" not in text:
            part = deployed_port.read_available(DEADLINE_S)
            assert part
            text += part


def test_a_link_that_its_host_left_is_closed(deployed_port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next host finds a board that listens to frames, its Ctrl-C off, in the middle of one."""
    monkeypatch.setattr("subsong.repl.FIRST_ANSWER_S", 0.1)
    start_firmware(deployed_port)
    read_frames(deployed_port, frames.R_HELLO)
    deployed_port.write(frames.encode(frames.HELLO, 1, frames.schema().to_bytes(4, "little")))
    read_frames(deployed_port, frames.R_HELLO)
    deployed_port.write(frames.encode(frames.READ, 2, bytes(5))[:7])
    info = device_info(deployed_port)
    assert info.name == "micropython"


def test_redeployed_firmware_is_the_one_that_starts(unix_port: Port, small: Firmware, tmp_path: Path) -> None:
    deploy(unix_port, small)
    start_firmware(unix_port)
    stop_firmware(unix_port)
    deploy(unix_port, alter(small, "main.py", PREPARE + b"def serve():\n    print('newer')\n", tmp_path / "new"))
    start_firmware(unix_port)
    text = b""
    while b"newer" not in text:
        part = unix_port.read_available(DEADLINE_S)
        assert part, text
        text += part


@pytest.mark.parametrize(
    ("source", "message"),
    [(b"raise ValueError('no luck')\n", "ValueError: no luck"), (b"def serve(:\n", "SyntaxError")],
)
def test_firmware_that_does_not_load_carries_the_boards_traceback(
    unix_port: Port, small: Firmware, tmp_path: Path, source: bytes, message: str
) -> None:
    deploy(unix_port, alter(small, "main.py", source, tmp_path / "broken"))
    with pytest.raises(FirmwareError, match=f"(?s){message}.*subsong deploy --port unix"):
        start_firmware(unix_port)


def test_firmware_that_finds_no_memory_is_not_to_be_deployed_again(
    unix_port: Port, small: Firmware, tmp_path: Path
) -> None:
    deploy(unix_port, alter(small, "main.py", b"raise MemoryError('no room')\n", tmp_path / "broken"))
    with pytest.raises(BoardError, match=r"heap is too small \(running code: MemoryError: no room\)") as caught:
        start_firmware(unix_port)
    assert caught.value.code == faults.NO_MEMORY


def test_a_board_says_what_it_is(unix_port: Port) -> None:
    info = device_info(unix_port)
    assert (info.name, info.platform, info.unique_id) == ("micropython", "linux", "")
    assert info.version.split(".")[0] == "1"
    assert info.heap_free > 100_000
    assert json.loads(json.dumps(info.as_dict()))["machine"] == info.machine
