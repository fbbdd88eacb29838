"""`subsong boards`: what is plugged in, with a port or without, what is known of it, and what to do next."""

import json
import os
import tty
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from learning import shortened
from subsong import boards, repl
from subsong.board_session import run_on_board
from subsong.boards import BoardEntry, list_boards, probe, serial_entry, usb_identity
from subsong.cli import subsong
from subsong.device import ask_device, device_info
from subsong.first_flash import escape, install
from subsong.plugged_in import Drive, UsbDevice, drives, usb_devices
from subsong.ports import PresentPort, open_port
from subsong.profile import load_profiles
from subsong.remembered import Known, key_of, note, recall, remember
from subsong.repl import Repl
from subsong_hil.unix import UnixBoard

pytest_plugins = ["subsong_hil.fixtures"]

PICO = PresentPort("/dev/ttyACM0", 0x2E8A, 0x0005, "Board in FS mode", "e66")
PICO_UF2 = "UF2 Bootloader v3.0\r\nModel: Raspberry Pi RP2\r\nBoard-ID: RPI-RP2\r\n"
PICO2_UF2 = "UF2 Bootloader v1.0\r\nModel: Raspberry Pi RP2350\r\nBoard-ID: RP2350\r\n"
MICROBIT_ID = "9900000051864e45003b200a00000032000000009796990b"
DETAILS = f"# DAPLink Firmware - see https://mbed.com/daplink\r\nUnique ID: {MICROBIT_ID}\r\nHIC ID: 97969901\r\n"
BOOT_OUT = "Adafruit CircuitPython 9.2.1 on 2024-11-20; Raspberry Pi Pico with rp2040\r\nBoard ID:pico\r\nUID:E661\r\n"
PICO_PAGE = "https://micropython.org/download/RPI_PICO/"


@pytest.fixture(autouse=True)
def _own_cache(board_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What other tests and the user's own boards left in the cache is none of ours."""
    monkeypatch.delenv("SUBSONG_PORT", raising=False)


def invoke(*args: str) -> Any:
    return CliRunner().invoke(subsong, args)


class Machine:
    """A folder that stands for /sys, /proc/self/mounts and where drives are mounted."""

    def __init__(self, root: Path) -> None:
        self.sys, self.mounts, self.media = root / "sys", root / "mounts", root / "media"
        (self.sys / "bus" / "usb" / "devices").mkdir(parents=True)
        (self.sys / "class" / "block").mkdir(parents=True)
        self.mounts.write_text("proc /proc proc rw 0 0\n")

    def plug_in(self, place: str, vid: str, pid: str, serial: str = "", blocks: tuple[str, ...] = ()) -> None:
        """Add a USB device as sysfs has it: folders below the bus, links to them elsewhere."""
        folder = self.sys / "devices" / "pci0" / place
        folder.mkdir(parents=True)
        for name, text in {"idVendor": vid, "idProduct": pid, "product": "RP2 Boot", "serial": serial}.items():
            (folder / name).write_text(text + "\n")
        (self.sys / "bus" / "usb" / "devices" / place).symlink_to(folder)
        for block in blocks:
            disk = folder / f"{place}:1.0" / "host0" / "block" / block
            disk.mkdir(parents=True)
            (self.sys / "class" / "block" / block).symlink_to(disk)

    def mount(self, device: str, name: str, files: dict[str, str], kind: str = "vfat") -> Path:
        """Mount a drive, its path escaped in the table as the kernel does."""
        path = self.media / "user" / name
        path.mkdir(parents=True)
        for file, text in files.items():
            (path / file).write_text(text)
        with self.mounts.open("a") as table:
            table.write(f"{device} {str(path).replace(' ', chr(92) + '040')} {kind} rw,nosuid 0 0\n")
        return path

    def entries(self, *ports: PresentPort) -> list[BoardEntry]:
        """Return what `subsong boards` lists there, without the emulated boards."""
        found = list_boards(ports, usb_devices(self.sys), drives(self.mounts, (self.media,)))
        return [entry for entry in found if entry.kind != "emulated"]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "machine")


# ------------------------------------------------------------------------------------------------ without a port


def test_a_pico_in_bootsel_is_told_which_file_goes_to_which_drive(machine: Machine) -> None:
    machine.plug_in("1-2", "2e8a", "0003", "E0C9", ("sda", "sda1"))
    drive = machine.mount("/dev/sda1", "RPI-RP2", {"INFO_UF2.TXT": PICO_UF2})
    (entry,) = machine.entries()
    assert (entry.kind, entry.port, entry.usable, entry.profile, entry.drive) == (
        "bootloader", "", False, "pico", str(drive),
    )  # fmt: skip
    assert "RP2040 in its bootloader" in entry.description
    assert PICO_PAGE in entry.hint and str(drive) in entry.hint
    assert PICO_PAGE in entry.steps[0]
    assert entry.steps[1:] == (f"cp FILE.uf2 {drive}/", "subsong boards")


def test_a_drive_that_is_not_mounted_is_mounted_first(machine: Machine) -> None:
    machine.plug_in("1-2", "2e8a", "000f", "E0C9", ("sdb", "sdb1"))
    (entry,) = machine.entries()
    assert entry.profile == "pico2"
    assert entry.drive == ""
    assert "udisksctl mount -b /dev/sdb1" in entry.steps


def test_without_a_drive_in_sight_the_file_manager_is_asked(machine: Machine) -> None:
    machine.plug_in("1-2", "2e8a", "0003")
    (entry,) = machine.entries()
    assert any("file manager" in step for step in entry.steps)


def test_two_picos_in_bootsel_keep_their_drives_apart(machine: Machine) -> None:
    machine.plug_in("1-1", "2e8a", "0003", "A", ("sda", "sda1"))
    machine.plug_in("1-2", "2e8a", "0003", "B", ("sdb", "sdb1"))
    second = machine.mount("/dev/sdb1", "RPI-RP2", {"INFO_UF2.TXT": PICO_UF2})
    first = machine.mount("/dev/sda1", "RPI-RP21", {"INFO_UF2.TXT": PICO_UF2})
    assert [entry.drive for entry in machine.entries()] == [str(first), str(second)]


def test_where_there_is_no_sysfs_the_drive_alone_tells(machine: Machine) -> None:
    machine.mounts.unlink()
    path = machine.media / "RP2350"
    path.mkdir(parents=True)
    (path / "INFO_UF2.TXT").write_text(PICO2_UF2)
    assert drives(machine.mounts, (machine.media,)) == [Drive(path, "uf2", "Raspberry Pi RP2350", "RP2350")]
    (entry,) = machine.entries()
    assert (entry.profile, entry.drive) == ("pico2", str(path))
    assert "Raspberry Pi RP2350 in its bootloader" in entry.description


def test_another_uf2_board_gets_the_page_of_all_boards(machine: Machine) -> None:
    machine.mount("/dev/sdc", "FTHRBOOT", {"INFO_UF2.TXT": "UF2 Bootloader\nModel: Feather nRF52840\nBoard-ID: X-1\n"})
    (entry,) = machine.entries()
    assert entry.description == "Feather nRF52840 in its bootloader"
    assert entry.profile == "generic"
    assert "https://micropython.org/download/" in entry.hint


def test_a_mounts_path_with_blanks_is_read_and_quoted(machine: Machine) -> None:
    drive = machine.mount("/dev/sda1", "MY PICO", {"INFO_UF2.TXT": PICO_UF2})
    (entry,) = machine.entries()
    assert entry.drive == str(drive)
    assert f"cp FILE.uf2 '{drive}'/" in entry.steps


def test_drives_that_are_no_fat_are_not_looked_at(machine: Machine) -> None:
    machine.mount("server:/home", "HOME", {"INFO_UF2.TXT": PICO_UF2}, kind="nfs4")
    assert machine.entries() == []


def test_ordinary_drives_hubs_and_damaged_entries_are_no_boards(machine: Machine) -> None:
    machine.plug_in("usb1", "1d6b", "0002")
    machine.plug_in("1-3", "zzzz", "0003")
    machine.plug_in("1-4", "", "")
    machine.mount("/dev/sdd1", "PHOTOS", {"holiday.jpg": "x"})
    machine.mount("/dev/sde1", "NOTES", {"DETAILS.TXT": "milk, eggs\n"})
    assert [device.vid for device in usb_devices(machine.sys)] == [0x1D6B]
    assert machine.entries() == []


def test_a_machine_without_sysfs_and_mounts_has_nothing_plugged_in(tmp_path: Path) -> None:
    assert usb_devices(tmp_path / "no") == []
    assert drives(tmp_path / "no", (tmp_path / "nor this",)) == []


# ------------------------------------------------------------------------------------------------ with a port


def test_boards_lists_the_emulated_and_the_plugged_in() -> None:
    other = PresentPort("/dev/ttyUSB0", 0x1A86, 0x7523, "", "")
    entries = list_boards([PICO, other], [], [])
    assert ("unix", "emulated", True) in [(e.port, e.kind, e.usable) for e in entries]
    assert [(e.port, e.kind, e.usable) for e in entries if e.kind != "emulated"] == [
        ("/dev/ttyACM0", "serial", True),
        ("/dev/ttyUSB0", "serial", True),
    ]
    assert "Pico" in entries[-2].description
    assert entries[-2].as_dict()["hint"] == "subsong deploy --port /dev/ttyACM0"
    assert {e.port: e.profile for e in entries}["unix"] == "unix"


def test_a_board_with_a_port_is_listed_once(machine: Machine) -> None:
    """An STM32 whose bootloader has both a serial port and an entry in sysfs."""
    machine.plug_in("1-1", "0483", "df11", "S")
    assert [e.kind for e in machine.entries()] == ["bootloader"]
    assert [e.kind for e in machine.entries(PresentPort("/dev/ttyACM0", 0x0483, 0xDF11, "", "S"))] == ["serial"]


def test_a_board_in_its_bootloader_is_not_usable() -> None:
    entry = serial_entry(PresentPort("/dev/ttyACM0", 0x2E8A, 0x0003, "", ""))
    assert not entry.usable
    assert PICO_PAGE in entry.hint


def test_an_unknown_device_may_still_be_a_board() -> None:
    entry = serial_entry(PresentPort("/dev/ttyACM0", 0x1234, 0x0003, "Thing", ""))
    assert entry.usable
    assert entry.description == "Thing"
    assert "not a board that Subsong knows" in entry.hint


def test_an_exact_usb_identity_goes_before_its_vendor() -> None:
    exact, vendor = usb_identity(0x303A, 0x1001), usb_identity(0x303A, 0x9999)
    assert exact is not None and vendor is not None
    assert exact[1].title != vendor[1].title == "Espressif"
    assert usb_identity(None, None) is None


@pytest.mark.parametrize(("pid", "what"), [(0x000A, "the Pico's C SDK"), (0x000B, "CircuitPython")])
def test_a_board_without_micropython_is_told_how_to_get_it(pid: int, what: str) -> None:
    entry = serial_entry(PresentPort("/dev/ttyACM0", 0x2E8A, pid, "Pico", "E66"))
    assert not entry.usable
    assert what in entry.hint and "no MicroPython" in entry.hint
    assert "BOOTSEL" in entry.steps[0]


def test_circuitpythons_drive_gives_its_board_away(machine: Machine) -> None:
    machine.mount("/dev/sda1", "CIRCUITPY", {"boot_out.txt": BOOT_OUT})
    (entry,) = machine.entries(PresentPort("/dev/ttyACM0", 0x239A, 0x80F4, "Pico", "E661"))
    assert not entry.usable
    assert "runs CircuitPython (Raspberry Pi Pico with rp2040), no MicroPython" in entry.hint
    assert any(PICO_PAGE in step for step in entry.steps)


def test_a_microbits_drive_belongs_to_its_port(machine: Machine) -> None:
    drive = machine.mount("/dev/sda", "MICROBIT", {"DETAILS.TXT": DETAILS + "Daplink Mode: Interface\r\n"})
    port = PresentPort("/dev/ttyACM0", 0x0D28, 0x0204, "BBC micro:bit CMSIS-DAP", MICROBIT_ID)
    (entry,) = machine.entries(port)
    assert entry.usable
    assert entry.drive == str(drive)


def test_a_microbit_whose_debugger_waits_for_firmware_is_told_to_replug(machine: Machine) -> None:
    machine.mount("/dev/sda", "MAINTENANCE", {"DETAILS.TXT": DETAILS + "Daplink Mode: Bootloader\r\n"})
    port = PresentPort("/dev/ttyACM0", 0x0D28, 0x0204, "BBC micro:bit CMSIS-DAP", MICROBIT_ID)
    (entry,) = machine.entries(port)
    assert not entry.usable
    assert "without pressing reset" in entry.hint


# ------------------------------------------------------------------------------------------------ what to do


@pytest.mark.parametrize("name", sorted(load_profiles()))
def test_every_profile_says_how_to_install_and_how_to_escape(name: str) -> None:
    profile = load_profiles()[name]
    steps = install(profile, "/dev/ttyACM0")
    assert any(profile.micropython.page in step for step in steps)
    assert steps[-1] == "subsong boards"
    ways = escape(profile, "/dev/ttyACM0")
    assert "touch :SKIP" in ways[0] and "rm :main.py" in ways[1]
    assert any(step.startswith("if nothing answers: ") for step in ways[2:])
    assert (f"pin {profile.pins.skip} low" in ways[0]) == (profile.pins.skip is not None)


# ------------------------------------------------------------------------------------------------ memory


def test_what_is_remembered_of_a_board_is_shown_without_opening_it() -> None:
    remember(key_of(PICO), micropython="1.25.0", machine="Raspberry Pi Pico with RP2040", profile="pico", tier=2)
    entry = serial_entry(replace(PICO, path="/dev/ttyACM7"))  # the same board on another port
    assert entry.tier == "machine code"
    assert entry.description.endswith("MicroPython 1.25.0 on Raspberry Pi Pico with RP2040")
    assert not entry.probed
    assert serial_entry(replace(PICO, serial_number="another")).tier == ""


def test_what_is_learned_later_is_added(tmp_path: Path) -> None:
    folder = tmp_path / "known"
    assert remember("a", folder, micropython="1.25.0", tier=1)
    assert remember("a", folder, firmware="0.1.0", digest="abc")
    known = recall("a", folder)
    assert known is not None and known.when
    assert replace(known, when="") == Known("", micropython="1.25.0", firmware="0.1.0", digest="abc", tier=1)
    assert [path.name for path in folder.iterdir()] == ["a.json"]


def test_a_port_without_a_usb_number_is_remembered_by_its_name() -> None:
    assert note("/dev/ttyNOTHING", tier=0)
    known = recall("/dev/ttyNOTHING")
    assert known is not None and known.tier == 0
    assert key_of(replace(PICO, serial_number="")) == PICO.path
    assert key_of(PICO) == "2e8a-0005-e66"


@pytest.mark.parametrize(
    "damage",
    [
        b"", b"\xff\xfe", b"[]", b"null", b"{}", b'{"format": 1, "key": "a", "known": null}',
        b'{"format": 9, "key": "a", "known": {}}', b'{"format": 1, "key": "a", "known": {"tier": 1}}',
        b'{"format": 1, "key": "b", "known": {}}',
    ],
)  # fmt: skip
def test_a_damaged_memory_is_no_memory_and_is_mended(tmp_path: Path, damage: bytes) -> None:
    remember("a", tmp_path, tier=1)
    (tmp_path / "a.json").write_bytes(damage)
    assert recall("a", tmp_path) is None
    remember("a", tmp_path, tier=2)
    known = recall("a", tmp_path)
    assert known is not None and known.tier == 2


def test_a_memory_of_the_wrong_types_is_none(tmp_path: Path) -> None:
    remember("a", tmp_path, tier=1)
    text = (tmp_path / "a.json").read_text()
    (tmp_path / "a.json").write_text(text.replace('"tier": 1', '"tier": "1"'))
    assert recall("a", tmp_path) is None


def test_names_that_are_no_file_names_are_kept_apart(tmp_path: Path) -> None:
    remember("socket://a:1", tmp_path, tier=1)
    assert recall("socket:/a:1", tmp_path) is None  # the same file, another key


def test_a_memory_that_cannot_be_written_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert not remember("a", tmp_path / "file" / "known", tier=1)


@pytest.mark.slow
def test_a_deploy_and_a_run_are_remembered(tmp_path: Path) -> None:
    def unix() -> BoardEntry:
        return next(entry for entry in list_boards([], [], []) if entry.port == "unix")

    assert unix().known is None
    assert unix().hint == "subsong deploy --port unix"
    deployed = invoke("deploy", "--port", "unix")
    assert deployed.exit_code == 0, deployed.stderr
    known = unix().known
    assert known is not None and len(known.digest) == 64 and unix().tier == ""
    run_on_board(shortened("xor"), port="unix", out=tmp_path / "run.mcap")
    assert unix().tier == "bytecode"
    assert unix().hint == "subsong run cartpole --port unix"
    after = unix().known
    assert after is not None and after.digest == known.digest and after.profile == "unix"


# ------------------------------------------------------------------------------------------------ asking


@pytest.fixture
def board(board_flash: Path) -> Iterator[PresentPort]:
    """A real MicroPython behind a pty, under a Pico's USB identity."""
    with UnixBoard(board_flash) as running:
        yield PresentPort(running.path, 0x2E8A, 0x0005, "Pico", "e66")


def test_a_probe_tells_micropython_profile_firmware_and_tier(deployed_flash: Path, board: PresentPort) -> None:
    entry = probe(serial_entry(board), board)
    assert entry.probed and entry.usable
    assert (entry.profile, entry.tier, entry.hint) == ("unix", "bytecode", f"subsong run cartpole --port {board.path}")
    assert entry.known is not None
    assert entry.known.micropython.startswith("1.") and len(entry.known.digest) == 64
    later = serial_entry(board)
    assert later.known == entry.known and later.tier == "bytecode" and not later.probed
    with open_port(board.path) as port, Repl(port) as at_prompt:
        assert at_prompt.run("print(6 * 7)").strip() == "42"


def test_a_board_without_the_firmware_is_told_to_deploy(board: PresentPort) -> None:
    entry = probe(serial_entry(board), board)
    assert entry.usable
    assert entry.hint == f"the board is without the firmware: subsong deploy --port {board.path}"
    assert entry.tier == ""


def test_a_port_where_nobody_answers_says_what_may_be_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repl, "PATIENCE_S", 0.1)
    monkeypatch.setattr(repl, "FIRST_ANSWER_S", 0.1)
    master, slave = os.openpty()
    tty.setraw(slave)
    try:
        port = PresentPort(os.ttyname(slave), 0x2E8A, 0x0005, "Pico", "e66")
        entry = probe(serial_entry(port), port)
    finally:
        os.close(master)
        os.close(slave)
    assert entry.probed and not entry.usable
    assert entry.hint.startswith("no MicroPython prompt")
    text = "\n".join(entry.steps)
    assert "GP22 low" in text and "flash_nuke.uf2" in text and PICO_PAGE in text and "BOOTSEL" in text


def test_a_port_that_another_program_holds_is_said_to_be_busy(board: PresentPort) -> None:
    with open_port(board.path):
        entry = probe(serial_entry(board), board)
    assert not entry.usable
    assert "another program has it open" in entry.hint


@pytest.mark.parametrize(
    ("altered", "usable", "words"),
    [
        ({"version": "1.20.0", "platform": "rp2", "machine": "Raspberry Pi Pico with RP2040", "mpy": 4 << 10}, False,
         "no board profile covers it"),
        ({"name": "circuitpython", "version": "9.2.1"}, False, "runs circuitpython 9.2.1"),
        ({"mpy": 15 << 10, "platform": "new", "machine": "New Board"}, True, "architecture 15 of MicroPython"),
        ({"version": "1.99.0"}, True, "newer than the newest tested"),
    ],
    ids=["too old", "circuitpython", "architecture unknown", "newer than tested"],
)  # fmt: skip
def test_a_probe_judges_what_answers(
    monkeypatch: pytest.MonkeyPatch, board: PresentPort, altered: dict[str, Any], usable: bool, words: str
) -> None:
    """The answer is a real board's, altered in one thing."""
    monkeypatch.setattr(boards, "device_info", lambda port: replace(device_info(port), **altered))
    entry = probe(serial_entry(board), board)
    assert entry.usable == usable
    assert words in "\n".join((entry.hint, *entry.remarks))
    assert usable or any(PICO_PAGE in step for step in entry.steps)


# ------------------------------------------------------------------------------------------------ the command


def test_the_command_opens_no_port_unless_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(boards, "open_port", opened.append)
    monkeypatch.setattr(boards, "present_ports", lambda: [PICO])
    result = invoke("boards")
    assert result.exit_code == 0
    assert "/dev/ttyACM0" in result.stdout and PICO_PAGE in result.stdout
    assert opened == []


def test_a_probed_port_is_told_before_it_is_opened(board: PresentPort) -> None:
    result = invoke("boards", "--probe", "--port", board.path)
    assert result.exit_code == 0
    assert f"asking {board.path}; what runs there is stopped" in result.stderr
    assert f"subsong deploy --port {board.path}" in result.stdout


def test_json_carries_everything(board: PresentPort) -> None:
    result = invoke("boards", "--json", "--probe", "--port", board.path)
    assert result.exit_code == 0 and result.stderr == ""
    told = json.loads(result.stdout)
    entry = next(each for each in told["boards"] if each["port"] == board.path)
    assert entry["probed"] and entry["known"]["micropython"].startswith("1.") and entry["profile"] == "unix"
    pico = next(each for each in told["profiles"] if each["profile"] == "pico")
    assert pico["tiers"] == ["machine code", "viper", "bytecode"] and pico["page"] == PICO_PAGE


def test_a_port_to_ask_goes_with_probe() -> None:
    result = invoke("boards", "--port", "a0")
    assert result.exit_code == 2
    assert "--port goes with --probe" in result.stderr


def test_steps_are_shown_below_the_table(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.plug_in("1-2", "2e8a", "0003", "E0C9", ("sda", "sda1"))
    monkeypatch.setattr(boards, "usb_devices", lambda: usb_devices(machine.sys))
    result = invoke("boards")
    assert "  2. udisksctl mount -b /dev/sda1\n" in result.stdout


def test_usb_devices_carry_what_sysfs_says(machine: Machine) -> None:
    machine.plug_in("1-2.4", "2e8a", "0003", "E0C9", ("sdb1", "sdb"))
    assert usb_devices(machine.sys) == [
        UsbDevice(0x2E8A, 0x0003, "RP2 Boot", "E0C9", "1-2.4", ("/dev/sdb1", "/dev/sdb"))
    ]


@pytest.mark.parametrize(("module", "verb"), [("deploy", "deploy"), ("verify", "run")])
def test_deploy_and_run_refuse_another_interpreter(
    monkeypatch: pytest.MonkeyPatch, deployed_flash: Path, module: str, verb: str
) -> None:
    place = f"subsong.{module}.ask_device"
    monkeypatch.setattr(place, lambda at: replace(ask_device(at), name="circuitpython", version="9.2.1"))
    result = invoke(verb, *(["xor"] if verb == "run" else []), "--port", "unix")
    assert result.exit_code == 3
    (error,) = [line for line in result.stderr.splitlines() if line.startswith("subsong: error:")]
    assert "port unix: the board runs circuitpython 9.2.1, and the firmware needs MicroPython" in error
    assert error.endswith("`subsong boards --probe --port unix` says how to put it there")
