"""The firmware's session on CPython, in a thread, with a host's port at the other end of a socket that can do harm."""

import select
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from subsong.errors import PortError
from subsong_device import frames
from subsong_sim.engines import learner_kernels, task_kernels

# What MicroPython's time has and CPython's lacks.
time.ticks_ms = lambda: int(time.monotonic() * 1000)  # type: ignore[attr-defined]
time.ticks_us = lambda: int(time.monotonic() * 1000000)  # type: ignore[attr-defined]
time.ticks_add = lambda a, b: a + b  # type: ignore[attr-defined]
time.ticks_diff = lambda a, b: a - b  # type: ignore[attr-defined]

Harm = Callable[[bytes], bytes]


def unharmed(wire: bytes) -> bytes:
    return wire


def kernels(rule: int) -> tuple[Any, Any]:
    return learner_kernels(frames.RULES[rule], "cpython"), task_kernels("cpython")


class BoardWire:
    """What a Session asks of its console. `harm` sees each frame on its way to the host."""

    def __init__(self, line: socket.socket) -> None:
        self.line = line
        self.harm: Harm = unharmed
        self.full = False

    def arrived(self, ms: int) -> list[socket.socket]:
        return select.select([self.line], [], [], max(0, ms) / 1000)[0]

    def wait(self, ms: int) -> bool:
        return bool(self.arrived(ms))

    def room(self, _ms: int) -> bool:
        return not self.full

    def readinto(self, view: memoryview) -> int:
        n = 0
        while n < len(view):
            got = self.line.recv_into(view[n:])
            if not got:
                break
            n += got
        return n

    def write(self, view: bytes) -> int:
        self.line.sendall(self.harm(bytes(view)))
        return len(view)


class HostPort:
    """A port. `harm` sees each frame on its way to the board."""

    def __init__(self, line: socket.socket) -> None:
        self.name = "fake"
        self.line = line
        self.harm: Harm = unharmed

    def read_available(self, timeout_s: float) -> bytes:
        try:
            return self.line.recv(65536) if select.select([self.line], [], [], timeout_s)[0] else b""
        except OSError as error:
            raise PortError(f"port {self.name}: {error}") from error

    def write(self, data: bytes) -> None:
        try:
            self.line.sendall(self.harm(data))
        except OSError as error:
            raise PortError(f"port {self.name}: {error}") from error


class BoardInThread:
    """A board that serves, for as long as the with statement lasts.

    Attributes:
        port: the host's end.
        wire: the board's end.
        session: the firmware's session.
        error: what serve() raised, once it has ended.
    """

    def __init__(self, load: Callable[[int], tuple[Any, Any]] = kernels, deadman_ms: int | None = None) -> None:
        from subsong_device.session import Session

        host, board = socket.socketpair()
        host.settimeout(5.0)  # as a real port's write has one
        self.port, self.wire = HostPort(host), BoardWire(board)
        self.session = Session(self.wire, load)
        if deadman_ms is not None:
            self.session.deadman = deadman_ms
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        try:
            self.session.serve()
        except OSError as error:
            self.error = error

    @property
    def serving(self) -> bool:
        """Whether the board is in the link."""
        return self._thread.is_alive()

    def join(self) -> None:
        """Wait until the board has left the link."""
        self._thread.join(20.0)
        assert not self._thread.is_alive()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.port.line.close()  # ends a session that is still on
        self.join()
        self.wire.line.close()
