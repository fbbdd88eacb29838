"""The emulated Pico: genuine firmware through every verb of the command line, and every way of losing the board."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from learning import cut_off
from subsong.boards import list_boards
from subsong.cli import subsong
from subsong.deploy import deploy, read_file, write_file
from subsong.errors import BoardError, FirmwareError, PortError
from subsong.experiment import parse_experiment
from subsong.experiment_text import example_text
from subsong.firmware import Firmware, load_firmware
from subsong.ports import Port, open_port
from subsong.repl import Repl
from subsong.runlog import read_run
from subsong.session import simulate
from subsong.verify import verify_firmware
from subsong_hil import images, pico
from subsong_hil.pico import FLASH_FILE, PicoBoard

pytest_plugins = ["subsong_hil.fixtures"]
# One process for all of them, the first to begin (conftest.py): they share a flash that takes long to deploy.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("pico")]

DEADLINE_S = 120.0  # of emulations on a busy machine
SIZES = (0, 1, 63, 64, 65, 127, 128, 512, 16384)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory, pico_firmware: Path) -> Iterator[Port]:
    """One board for the tests that leave nothing behind."""
    flash = tmp_path_factory.mktemp("shared") / "flash"
    with PicoBoard(flash, firmware=str(pico_firmware)) as shared, open_port(shared.path) as opened:
        yield opened


def run_cli(*args: str) -> Result:
    return CliRunner().invoke(subsong, args)


def succeed(*args: str) -> dict[str, object]:
    done = run_cli(*args, "--json")
    assert done.exit_code == 0, done.output
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def content(size: int) -> bytes:
    """Bytes that do not repeat with a power of two: of all values, in large files letters, which go quicker."""
    return bytes((i * 151 + (i >> 8)) & 0xFF if size < 1000 else 64 + (i * 23 + (i >> 6)) % 59 for i in range(size))


def read_until(port: Port, wanted: bytes) -> None:
    said = b""
    while wanted not in said:
        part = port.read_available(DEADLINE_S)
        assert part, said
        said += part


# ------------------------------------------------------------------------------------------ a board at its prompt


def test_it_boots_the_official_firmware_on_an_rp2040(port: Port) -> None:
    with Repl(port) as repl:
        said = repl.run("import sys, os\nprint(sys.platform, os.uname().release, os.uname().machine)")
        heap = int(repl.run("import gc\ngc.collect()\nprint(gc.mem_free())"))
    assert said.strip() == "rp2 1.25.0 Raspberry Pi Pico with RP2040"
    assert 230_000 < heap < 250_000


def test_a_port_opened_by_path_knows_the_boards_slowdown(port: Port) -> None:
    assert (port.board, port.slowdown) == (None, PicoBoard.slowdown)


def test_files_of_every_size_survive_mpremotes_transfer_and_a_restart(pico_flash: Path) -> None:
    for round_trip in range(2):
        with open_port("pico") as port, Repl(port) as repl:
            for size in SIZES:
                if round_trip == 0:
                    write_file(repl, f"f{size}", content(size))
                else:
                    assert read_file(repl, f"f{size}") == content(size), size


def launch(port: Port, program: str) -> None:
    """Start a program and leave it running."""
    repl = Repl(port)
    repl.__enter__()
    repl.launch(program)


def test_ctrl_c_stops_a_loop_and_a_sleep(port: Port) -> None:
    for program in ("while True: pass", "import time\ntime.sleep(1000)"):
        launch(port, program)
        with Repl(port) as repl:
            assert repl.run("print(6 * 7)").strip() == "42"


def test_a_soft_reset_forgets_what_ran(port: Port) -> None:
    with Repl(port) as repl:
        repl.run("kept = 1")
    with Repl(port, soft_reset=False) as repl:
        assert repl.run("print('kept' in globals())").strip() == "True"
    with Repl(port) as repl:
        assert repl.run("print('kept' in globals())").strip() == "False"


def test_a_board_that_restarts_is_one_error_and_comes_back(port: Port) -> None:
    with pytest.raises(BoardError, match="prompt was lost while running code: the board restarted"), Repl(port) as repl:
        repl.run("import machine\nmachine.reset()")
    with Repl(port) as repl:
        assert repl.run("import machine\nprint(machine.reset_cause() == machine.WDT_RESET)").strip() == "True"


def test_other_tools_find_an_ordinary_serial_port(pico_flash: Path, tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-m", "subsong_hil", "pico"], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        path = server.stdout.readline().strip()
        (tmp_path / "local").write_bytes(content(300))
        steps = f"cp {tmp_path}/local :remote + cp :remote {tmp_path}/back + soft-reset + eval 6*7"
        done = subprocess.run(
            [sys.executable, "-m", "mpremote", "connect", path, *steps.split()],
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        server.send_signal(signal.SIGINT)
        assert server.wait(DEADLINE_S) == 0
    assert done.stdout.splitlines()[-1:] == ["42"], done.stderr
    assert (tmp_path / "back").read_bytes() == content(300)
    assert (pico_flash / FLASH_FILE).exists()


def test_an_idle_board_costs_no_processor(port: Port, pico_flash: Path) -> None:
    with PicoBoard() as idle:
        with open_port(idle.path) as opened, Repl(opened) as repl:
            repl.run("pass")
        before, began = processor_s(idle.pid), time.monotonic()
        with Repl(port) as repl:  # the other board works meanwhile
            repl.run("for _ in range(200000): pass")
        assert time.monotonic() - began > 0.5
        assert processor_s(idle.pid) - before < 0.1


def processor_s(pid: int | None) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_main_py_runs_where_the_board_boots_and_not_where_it_is_held(pico_flash: Path) -> None:
    with open_port("pico") as port, Repl(port) as repl:
        write_file(repl, "main.py", b"print('main began')\nwhile True: pass\n")
    with PicoBoard(boot=True) as booted, open_port(booted.path) as port:
        read_until(port, b"main began")
    with open_port("pico") as port:  # held: main.py was stopped
        assert port.read_available(0) == b""
        port.write(b"6*7\r")
        read_until(port, b"42\r\n>>> ")


# ------------------------------------------------------------------------------------------ every verb


def shortened(name: str, folder: Path) -> str:
    """Write an example with fewer and shorter trials; return its path."""
    text = example_text(name)
    for key, value in (("trials", 8), ("steps", 4 if name == "xor" else 12), ("evaluate_every", 4)):
        text, found = re.subn(rf"^{key} = \d+", f"{key} = {value}", text, flags=re.MULTILINE)
        assert found == 1, key
    text = re.sub(r"^evaluate_episodes = \d+", "evaluate_episodes = 1", text, flags=re.MULTILINE)
    path = folder / f"{name}.toml"
    path.write_text(text)
    return str(path)


def test_a_run_that_the_power_cut_goes_on_and_replays_bit_for_bit(pico_deployed: Path, tmp_path: Path) -> None:
    """SIGTERM cuts the power: the emulator keeps its flash as it is then. The rest is the simulator's, bit for bit.

    The plant is in the loop. Tasks of the board's own are run by the suite for real boards (test_hil.py).
    """
    file = Path(shortened("cartpole", tmp_path))
    file.write_text(file.read_text().replace("[run]\n", "[run]\ncheckpoint_every = 2\n"))
    experiment = parse_experiment(file.read_text(), "test")
    cut, rest = tmp_path / "cut.mcap", tmp_path / "rest.mcap"
    cut_off(experiment, cut, 7, "pico", signal.SIGTERM)
    run = succeed("run", str(file), "--port", "pico", "-o", str(rest), "--resume", str(cut))
    assert (run["trials"], run["resumed"], run["tier"]) == (8, 6, "machine code")
    simulate(experiment, out=tmp_path / "sim.mcap", mismatch=True)
    assert read_run(rest).states["final"] == read_run(tmp_path / "sim.mcap").states["final"]
    again = succeed("replay", str(rest))
    assert (again["difference"], again["holes"], again["skipped"]) == (None, 0, 0)
    assert again["checked"] == again["trials"] != 0


def test_a_policy_starts_at_power_on_and_not_where_the_board_is_held(pico_deployed: Path, tmp_path: Path) -> None:
    log, policy = (tmp_path / name for name in ("xor.mcap", "xor.policy.json"))
    for verb in (("sim", shortened("xor", tmp_path), "-o", str(log)), ("export", str(log), "-o", str(policy))):
        assert run_cli(*verb).exit_code == 0
    told = succeed("deploy", "--port", "pico", "--policy", str(policy))
    assert (told["copied"], told["deleted"]) == ([], []), "the firmware was there"
    written = told["policy"]
    assert isinstance(written, dict)
    assert (written["copied"], written["skip_pin"]) == (["policy.bin", "main.py"], "GP22")
    with PicoBoard(boot=True) as booted, open_port(booted.path) as port:
        read_until(port, b"policy: weight_perturbation, frozen; Ctrl-C stops it")
        port.write(b"\x03")
        read_until(port, b"policy: stopped")
    with open_port("pico") as port:
        port.write(b"6*7\r")
        read_until(port, b"6*7\r\n42\r\n>>> ")


def test_the_board_is_listed() -> None:
    entry = next(entry for entry in list_boards() if entry.port == "pico")
    assert (entry.kind, entry.usable, entry.hint) == ("emulated", True, "subsong deploy --port pico")


# ------------------------------------------------------------------------------------------ ends


@pytest.fixture
def small(tmp_path: Path) -> Firmware:
    """A firmware of four files, quicker to copy than the real one."""
    folder = tmp_path / "small"
    folder.mkdir()
    for name in ("__init__.py", "main.py", "one.py", "two.py"):
        (folder / name).write_bytes(b"# " + name.encode() * 100 + b"\n")
    return load_firmware(folder)


def test_a_board_that_restarts_amid_a_deploy_is_one_error_and_the_next_deploy_mends_it(
    pico_port: Port, small: Firmware
) -> None:
    done: list[str] = []

    def restart(path: str, *_: int) -> None:
        done.append(path)
        if len(done) == 2:
            pico_port.write(b"import machine; machine.reset()\x04")

    with pytest.raises(BoardError, match=r"prompt was lost while .*: the board restarted; start the command again"):
        deploy(pico_port, small, restart)
    with pytest.raises(FirmwareError, match=r"incomplete \(a deploy was interrupted\): subsong deploy --port pico"):
        verify_firmware(pico_port, small)
    assert len(deploy(pico_port, small).copied) == 2
    assert verify_firmware(pico_port, small) == small.manifest


def test_a_power_cut_amid_a_deploy_leaves_a_flash_that_the_next_deploy_mends(pico_flash: Path, small: Firmware) -> None:
    with open_port("pico") as port:

        def cut(*_: object) -> None:
            assert port.board is not None
            assert port.board.pid is not None
            os.kill(port.board.pid, signal.SIGKILL)

        with pytest.raises(PortError, match="port pico: the emulated board's process ended with status -9; start the"):
            deploy(port, small, cut)
    with open_port("pico") as port:
        assert len(deploy(port, small).copied) >= 3
        assert verify_firmware(port, small) == small.manifest


def runs(pid: int) -> bool:
    """Whether a process runs; a zombie (nobody reaps orphans in some containers) does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


def test_killing_the_host_ends_the_board_and_keeps_its_files(pico_flash: Path) -> None:
    code = (
        "import sys\nfrom subsong.ports import open_port\nfrom subsong.repl import Repl\nport = open_port('pico')\n"
        "with Repl(port) as repl:\n    repl.run(\"open('kept', 'w').close()\")\n    repl.launch('while True: pass')\n"
        "    print(port.board.pid, flush=True)\n    sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as host:
        assert host.stdout is not None
        child = int(host.stdout.readline())
        assert runs(child)
        host.kill()
    with open_port("pico") as port, Repl(port) as repl:  # waits for the lock, which the board held until it ended
        assert repl.run("import os\nprint(os.listdir())").strip() == "['kept']"
    assert not runs(child)


def test_two_hosts_do_not_share_the_board(pico_port: Port) -> None:
    with pytest.raises(PortError, match=f"the pico board is busy: its flash .* is in use by process {os.getpid()}"):
        open_port("pico")
    assert pico_port.read_available(0) == b""


# ------------------------------------------------------------------------------------------ what cannot start


def refusal() -> str:
    with pytest.raises(PortError) as caught:
        open_port("pico")
    return str(caught.value)


def test_without_rp2040py_the_error_has_the_pip_line(pico_flash: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pico, "EMULATOR", "rp2040py_that_is_not_there")
    assert refusal() == "the pico board cannot start: it needs rp2040py: pip install rp2040py"


def test_an_unknown_version_does_not_start(pico_flash: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUBSONG_PICO_FIRMWARE", "1.2.3")
    assert "'1.2.3' is no version that is known here (1.25.0, 1.24.1)" in refusal()


def test_a_flash_file_of_another_size_is_one_error(pico_flash: Path) -> None:
    (pico_flash / FLASH_FILE).write_bytes(b"short")
    assert refusal() == (
        "the pico board cannot start: its process ended with status 1: "
        f"{pico_flash / FLASH_FILE} has 5 bytes instead of 1441792; delete it"
    )


def test_a_firmware_that_is_no_micropython_is_one_error(
    pico_flash: Path, pico_firmware: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = tmp_path / "cut.uf2"
    cut.write_bytes(pico_firmware.read_bytes()[: 512 * 40])
    monkeypatch.setenv(images.variable("pico"), str(cut))
    monkeypatch.setattr(PicoBoard, "start_timeout_s", 2.0)
    assert refusal().startswith("the pico board cannot start: its firmware printed no prompt")


def test_a_heap_is_refused(pico_flash: Path) -> None:
    with pytest.raises(PortError, match="heap has the size that its firmware gives it"):
        PicoBoard(heap="64K").start()
