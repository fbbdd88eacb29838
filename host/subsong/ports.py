"""Serial ports by name: real boards, sockets, and emulated boards that are started on the way.

pyserial opens and configures every port. Where there is a file descriptor, bytes then go through poll, os.read and
os.write: an echo of 24 bytes on the unix board takes two thirds of the time that it takes through pyserial.
"""

import errno
import math
import os
import re
import select
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import serial
from serial.tools import list_ports

from subsong.errors import PortError, PortVanished

BAUDRATE = 115200
WRITE_TIMEOUT_S = 5.0
PACE_S = 3e-4  # a byte: three times what a wire at 115200 bits/s takes
MICROBIT_USB = (0x0D28, 0x0204)  # a micro:bit's debugger, behind which lies a UART with a buffer of 63 bytes
SPIN_NS = 200_000  # about two round trips to an embedded board
BULK = 65536
SLOWDOWN_MARK = 0x5B50  # an emulated board's terminal has this height in pixels; width: its slowdown, rows: its ring
SHORT_NAMES = {"a": "/dev/ttyACM", "u": "/dev/ttyUSB", "c": "COM"}
NAMES_HELP = (
    "unix (a MicroPython process), pico and microbit (emulated boards), auto, a0 u0 c0 (ttyACM0, ttyUSB0, COM0), "
    "/dev/..., socket://HOST:PORT"
)


class EmulatedBoard(Protocol):
    """What a port asks of the emulated board behind it (subsong_hil)."""

    @property
    def details(self) -> str:
        """Which firmware it runs, where there is a choice."""

    @property
    def complaints(self) -> bytes:
        """What its process wrote to its standard error, once it is stopped."""

    @property
    def path(self) -> str:
        """The serial port's path."""

    @property
    def pid(self) -> int | None:
        """Its process."""

    def start(self) -> Self:
        """Power up."""

    def wait(self, timeout_s: float) -> int | None:
        """Return the exit status of its process, None if it still runs after so many seconds."""

    def interrupt(self) -> bool:
        """Press Ctrl-C; return whether a program ran."""

    def stop(self) -> None:
        """Power down and release the port."""


@dataclass(frozen=True)
class PresentPort:
    """A serial port of this machine; vid and pid are None where it is not on USB."""

    path: str
    vid: int | None
    pid: int | None
    product: str
    serial_number: str


# The three functions below are the only places where the host package imports subsong_hil.


def emulated_boards() -> Mapping[str, Any]:
    """Return the emulated boards' classes by name."""
    if os.name != "posix":
        return {}
    from subsong_hil import BOARDS

    return BOARDS


def proxied_ports() -> list[str]:
    """Return the paths of ports that lie before another one's board, of running proxies (subsong_hil.proxy)."""
    if os.name != "posix":
        return []
    from subsong_hil import announced

    return announced()


def faulty_port(port: str, rates: Mapping[str, Any], **options: Any) -> Any:
    """Return a port that leads to another one over a wire that does harm, not started yet.

    Args:
        port: see `NAMES_HELP`.
        rates: fields of subsong_hil.faulty_wire.Faults: by fault, a probability for each frame.
        options: of subsong_hil.proxy.Proxy, which this returns.

    Raises:
        PortError: this system has no pseudo-terminals.
        ValueError: the rates are none.
    """
    if os.name != "posix":
        raise PortError("the proxy needs pseudo-terminals: Linux or macOS")
    from subsong_hil.faulty_wire import Faults
    from subsong_hil.proxy import Proxy

    return Proxy(port, Faults(**rates), **options)


def present_ports() -> list[PresentPort]:
    """Return this machine's serial ports that something is plugged into, sorted by path.

    Built-in ports without a USB identity (/dev/ttyS0) are left out: nobody can say whether anything is there.
    """
    found = [
        PresentPort(p.device, p.vid, p.pid, p.product or p.description or "", p.serial_number or "")
        for p in list_ports.comports()
        if p.vid is not None
    ]
    return sorted(found, key=lambda port: port.path)


def expand_name(name: str) -> str:
    """Return the path or URL that a port's name stands for; emulated boards' names stay as they are.

    Raises:
        PortError: `auto`, with no port or more than one plugged in.
    """
    if short := re.fullmatch(r"([auc])(\d{1,3})", name):
        return SHORT_NAMES[short[1]] + short[2]
    if name != "auto":
        return name
    found = present_ports()
    if len(found) == 1:
        return found[0].path
    if not found:
        raise PortError("port auto: no board is plugged in; with none at all, use --port unix")
    raise PortError(f"port auto: more than one board is plugged in; name one of {_listed(found)}")


def open_port(name: str, baudrate: int = BAUDRATE) -> "Port":
    """Open a port, starting the emulated board if the name is one's.

    Args:
        name: see `NAMES_HELP`.
        baudrate: bits/s; without meaning on USB and emulated boards.

    Raises:
        PortError: the port is missing, busy, not permitted, or the emulated board cannot start.
    """
    classes = emulated_boards()
    if name in classes:
        board = classes[name]().start()
        try:
            return Port(name, _open_serial(board.path, baudrate), board)
        except BaseException:
            board.stop()
            raise
    path = expand_name(name)
    if "/" not in path and not path.upper().startswith("COM"):
        raise PortError(f"port {name}: no such name; allowed: {NAMES_HELP}")
    return Port(path, _open_serial(path, baudrate))


def _open_serial(path: str, baudrate: int) -> serial.SerialBase:
    options: dict[str, Any] = {"baudrate": baudrate, "timeout": 1.0, "write_timeout": WRITE_TIMEOUT_S}
    if "://" not in path:
        options["exclusive"] = True  # an advisory lock: pyserial, mpremote and we keep out of each other's way
    try:
        port = serial.serial_for_url(path, do_not_open=True, **options)
        port.open()
    except (
        OSError,
        ValueError,
        TypeError,
    ) as error:  # SerialException is an OSError; TypeError: a socket:// without port
        if path.startswith("socket://") and not re.fullmatch(r"socket://.+:\d+(\?.*)?", path):
            raise PortError(f"port {path}: a socket is named socket://HOST:PORT") from error
        raise _open_error(path, error) from error
    if os.name == "posix" and _is_plugged_tty(path):
        _exclusive(port, True)
    return port


def _is_plugged_tty(path: str) -> bool:
    """Return whether TIOCEXCL is safe: on a pseudo-terminal it would outlive us, as its launcher keeps it open."""
    return path.startswith("/dev/") and not os.path.realpath(path).startswith("/dev/pts/")


def _exclusive(port: serial.SerialBase, on: bool) -> None:
    """Refuse (or allow again) every further open of the tty, also by tools that know no advisory locks."""
    import fcntl
    import termios

    try:
        fcntl.ioctl(port.fileno(), termios.TIOCEXCL if on else termios.TIOCNXCL)
    except OSError as error:
        # Not a tty, or gone since: the advisory lock is held either way, and reading will tell what is wrong.
        if error.errno not in (errno.ENOTTY, errno.EINVAL, errno.EIO, errno.ENODEV, errno.ENXIO, errno.EBADF):
            raise


def _open_error(path: str, error: Exception) -> PortError:
    number = error.errno if isinstance(error, OSError) else None
    text = str(error)
    if number == errno.ENOENT or "FileNotFoundError" in text:
        found = present_ports()
        present = f"plugged in: {_listed(found)}" if found else "nothing is plugged in; use --port unix to run without"
        return PortError(f"port {path}: there is no such port; {present}")
    if number in (errno.EACCES, errno.EPERM) or "PermissionError" in text:
        return PortError(
            f"port {path}: permission denied; on Linux join its group (sudo usermod -aG dialout $USER) and log in "
            "again, on Windows close the program that has it open"
        )
    if number in (errno.EBUSY, errno.EAGAIN) or "exclusively lock" in text:
        return PortError(f"port {path}: busy, another program has it open (terminal, IDE, mpremote); close that one")
    if "://" in path:
        return PortError(f"port {path}: cannot connect: {text}")
    return PortError(f"port {path}: cannot be opened as a serial port: {text}")


def _listed(found: list[PresentPort]) -> str:
    return ", ".join(f"{port.path} ({port.product})" if port.product else port.path for port in found)


class Port:
    """An open port. Reads take whatever waits; every failure is a PortError.

    Attributes:
        name: what the user would pass to --port to open it again.
        serial: the pyserial object, for tools that want one.
        board: the emulated board that was started for this port, or None.
        usb: what it is on USB; None elsewhere.
        slowdown: how many times slower than real the board runs: every time-out on it is multiplied by this.
        ring: bytes that the board's driver holds, where that is so few that longer writes must be paced; else 0.
    """

    def __init__(self, name: str, serial_port: serial.SerialBase, board: EmulatedBoard | None = None) -> None:
        self.board = board
        self._closed = False
        self._unread = b""
        self.usb = _usb_of(name)
        self._attach(name, serial_port)

    def _attach(self, name: str, serial_port: serial.SerialBase) -> None:
        self.name = name
        self.serial = serial_port
        self._fd = _descriptor(serial_port)
        self.slowdown, self.ring = (1.0, 0) if self._fd is None else _emulated(self._fd)
        if self.usb is not None and (self.usb.vid, self.usb.pid) == MICROBIT_USB:
            self.ring = self.ring or 63
        self._readable: Callable[[float], list[tuple[int, int]]] | None = None
        if self._fd is not None:
            poller = select.poll()
            poller.register(self._fd, select.POLLIN)
            self._readable = poller.poll

    @property
    def connected(self) -> bool:
        """Whether there is anything behind the name: neither closed nor let go of since it vanished."""
        return bool(self.serial.is_open)

    def read_available(self, timeout_s: float) -> bytes:
        """Wait for a first byte, then return all that has come.

        Args:
            timeout_s: seconds to wait; 0 only looks.

        Returns:
            At least one byte, or b"" if the time ran out.

        Raises:
            PortVanished: the port vanished. PortError: it is closed.
        """
        if self._unread:
            data, self._unread = self._unread, b""
            return data
        readable = self._readable
        if readable is None:
            return self._read_serial(timeout_s)
        try:
            if not (timeout_s > 0 and self._spin(readable)) and not readable(math.ceil(timeout_s * 1000)):
                return b""
            data = os.read(self._fd, BULK)  # type: ignore[arg-type]  # a descriptor wherever there is a poller
        except BlockingIOError:  # another reader of the same descriptor was faster
            return b""
        except (OSError, ValueError, TypeError) as error:
            raise self._vanished(error) from error
        if not data:
            raise self._vanished(None)
        return data

    def _spin(self, readable: Callable[[float], list[tuple[int, int]]]) -> bool:
        """Look for a byte for SPIN_NS without sleeping; return whether one has come.

        An embedded board answers sooner than a processor that fell asleep wakes up. Yielding lets it run where both
        share a processor.
        """
        until = time.perf_counter_ns() + SPIN_NS
        while not readable(0):
            if time.perf_counter_ns() > until:
                return False
            os.sched_yield()
        return True

    def unread(self, data: bytes) -> None:
        """Put back what was read too far; the next read returns it."""
        self._unread += data

    def _read_serial(self, timeout_s: float) -> bytes:
        port = self.serial
        try:
            port.timeout = timeout_s
            first: bytes = port.read(1)
            if first:
                port.timeout = 0
                first += port.read(BULK)
        except (OSError, TypeError) as error:  # pyserial raises TypeError on a port that another thread closed
            raise self._vanished(error) from error
        return first

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write all of it.

        Raises:
            PortVanished: the port vanished.
            PortError: it took nothing for `WRITE_TIMEOUT_S` (times the board's slowdown), or is closed.
        """
        if 0 < self.ring < len(data):
            self._write_paced(memoryview(data))
            return
        try:
            if self._fd is None:
                self.serial.write(data)
            else:
                try:
                    sent = os.write(self._fd, data)
                except BlockingIOError:
                    sent = 0
                if sent != len(data):
                    self._write_rest(memoryview(data)[sent:])
        except serial.SerialTimeoutException as error:
            raise self._stuck() from error
        except (OSError, TypeError) as error:
            raise self._vanished(error) from error

    def _write_paced(self, data: memoryview) -> None:
        """Write in pieces that the driver holds, as slowly as a wire would: an emulator does not pace itself."""
        piece = self.ring // 2
        for at in range(0, len(data), piece):
            self.write(data[at : at + piece])
            time.sleep(piece * PACE_S * self.slowdown)

    def _write_rest(self, rest: memoryview) -> None:
        assert self._fd is not None
        poller = select.poll()
        poller.register(self._fd, select.POLLOUT)
        patience_s = WRITE_TIMEOUT_S * self.slowdown
        until = time.monotonic() + patience_s
        while rest:
            if not poller.poll(max(0.0, until - time.monotonic()) * 1000):
                raise self._stuck()
            try:
                sent = os.write(self._fd, rest)
            except BlockingIOError:
                continue
            rest = rest[sent:]
            until = time.monotonic() + patience_s

    def reset_input(self) -> None:
        """Drop what has come and was not read."""
        self._unread = b""
        try:
            self.serial.reset_input_buffer()
        except (OSError, serial.PortNotOpenError) as error:
            raise self._vanished(error) from error
        while self.read_available(0):
            pass

    def interrupt(self) -> None:
        """Press Ctrl-C: stop the program that the board runs, unless it turned the key off (the link does)."""
        if self.board is not None:
            self.board.interrupt()
        self.write(b"\x03")

    def close(self) -> None:
        """Close the port, and switch off the emulated board that was started for it. May be called twice."""
        if self._closed:
            return
        self._closed = True
        try:
            self.let_go()
        finally:
            if self.board is not None:
                self.board.stop()

    def let_go(self) -> None:
        """Release the name, of a port that vanished: the board that comes back can then have it again."""
        try:
            if self._fd is not None and _is_plugged_tty(self.name):
                _exclusive(self.serial, False)
        finally:
            self._fd = self._readable = None
            self.serial.close()

    def places(self) -> list[str]:
        """Return where the board of a port that vanished may be now, likeliest first: names for `reopen`.

        They are the port's own name, and those of what looks the same on USB, down to the serial number, or, of a
        port that is neither on USB nor on the network, those of proxies. Nothing else is worth a look: opening a port
        resets many a board, and speaking to it may move a motor.
        """
        if self.board is not None:  # it was started for this port, and is gone with it
            return []
        if "://" in self.name:
            return [self.name]
        taken: set[str] = set()
        if self.usb is None:
            alike = proxied_ports()
        else:
            present = present_ports()
            alike = [port.path for port in present if _looks(port) == _looks(self.usb)]
            taken = {port.path for port in present}.difference(alike)
        own = Path(self.name).exists() and os.path.realpath(self.name) not in taken
        if self.name.startswith("/dev/pts/"):  # a free one is the next terminal's, whoever opens it
            own = False
        if own or self.name in alike:
            return [self.name] + [path for path in alike if path != self.name]
        return alike

    def reopen(self, name: str) -> None:
        """Go on under a name of `places`, after `let_go`.

        Raises:
            PortError: as `open_port`; the port is then still without one.
        """
        serial_port = _open_serial(name, self.serial.baudrate)
        self._unread = b""
        self._attach(name, serial_port)

    def describe(self) -> str:
        """Say in a few words what the port is: for logs and the console."""
        if self.board is not None:
            details = f"{self.board.details}, " if self.board.details else ""
            return f"{self.name}: emulated board, {details}process {self.board.pid} behind {self.board.path}"
        return self.name

    def _stuck(self) -> PortError:
        return PortError(
            f"port {self.name}: the board took nothing for {WRITE_TIMEOUT_S * self.slowdown:g} s; reset it, then start "
            "again"
        )

    def _vanished(self, error: BaseException | None) -> PortError:
        if self._closed:
            return PortError(f"port {self.name}: closed")
        if self.board is not None:
            status = self.board.wait(1.0)  # its port closes just before its status can be read
            ended = "closed its port" if status is None else f"ended with status {status}"
            self.board.stop()
            last = self.board.complaints.decode("utf-8", "replace").strip().rpartition("\n")[2]
            why = f" ({last})" if last else ""
            return PortVanished(
                f"port {self.name}: the emulated board's process {ended}{why}; start the command again, a run "
                "that keeps checkpoints with --resume and its log"
            )
        why = f" ({error})" if error is not None and str(error) else ""
        return PortVanished(f"port {self.name}: vanished{why}; is the board still plugged in and powered?")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _emulated(fd: int) -> tuple[float, int]:
    """Return slowdown and ring of the board behind a terminal, whoever started it; 1 and 0 of everything else."""
    import fcntl
    import termios

    try:
        ring, _, width, height = struct.unpack("HHHH", fcntl.ioctl(fd, termios.TIOCGWINSZ, bytes(8)))
    except OSError:  # a socket, or a port that vanished just now
        return 1.0, 0
    return (float(width), ring) if height == SLOWDOWN_MARK and width else (1.0, 0)


def _usb_of(path: str) -> PresentPort | None:
    """Return what lies at a path on USB; None where nothing does."""
    found = (port for port in present_ports() if os.path.realpath(port.path) == os.path.realpath(path))
    return next(found, None)


def _looks(port: PresentPort | None) -> tuple[int | None, int | None, str] | None:
    """Return what a port shows of itself on USB besides its path."""
    return None if port is None else (port.vid, port.pid, port.serial_number)


def _descriptor(port: serial.SerialBase) -> int | None:
    """Return the file descriptor that poll and os.read work on; None elsewhere (Windows, loop://, rfc2217://)."""
    if os.name != "posix":
        return None
    try:
        return int(port.fileno())
    except (OSError, AttributeError):  # io.UnsupportedOperation is an OSError
        return None
