"""A bad wire between a host and a board: a pseudo-terminal of its own, behind it the board's port.

    with Proxy("unix", Faults(flip=1e-3), seed=1) as proxy:
        open_port(proxy.path)           # or: subsong run experiment.toml --port PATH
        proxy.disconnect()              # the port vanishes; what the board says meanwhile is lost
        proxy.reconnect()               # and is back: proxy.path has another name now

Without faults it changes nothing. Faults strike whole frames of the link; the text of a REPL passes as it is.
"""

import fcntl
import math
import os
import select
import struct
import termios
import threading
import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Self

from subsong.errors import PortError
from subsong.ports import SLOWDOWN_MARK, Port, open_port
from subsong_hil.announced import Notice
from subsong_hil.board import set_raw
from subsong_hil.faulty_wire import FROM_BOARD, TO_BOARD, Faults, FaultyWire, Passage, Piece

LOOK_S = 0.05  # between two looks whether the proxy was closed
HOLD_S = 0.1  # a frame's bytes follow each other sooner, even through a USB hub; times the board's slowdown
BULK = 65536
INTERRUPT = b"\x03"


class _Terminal:
    """A raw pseudo-terminal, from whose size its opener learns of the board's slowdown."""

    def __init__(self, slowdown: float, ring: int) -> None:
        self.master, self.slave = os.openpty()  # the slave stays open: without any, the master reads an error
        set_raw(self.slave)
        if slowdown > 1.0 or ring:
            size = struct.pack("HHHH", ring, 0, math.ceil(slowdown), SLOWDOWN_MARK)
            fcntl.ioctl(self.slave, termios.TIOCSWINSZ, size)
        os.set_blocking(self.master, False)
        self.path = os.ttyname(self.slave)

    def close(self) -> None:
        os.close(self.master)
        os.close(self.slave)


class Proxy:
    """A serial port that leads to another one, over a wire that does harm.

    Args:
        port: what lies behind: a path, socket://HOST:PORT, or an emulated board's name, which is started.
        faults: of both directions.
        from_board: of what the board says, where that differs.
        seed: fixes which frame meets which fault.
        on_frame: told of every frame, as it came and as it went; from two threads.
        on_path: told of the path, at the start and whenever it is another one.

    Attributes:
        path: of the port, for any tool; "" while it is away.
        to_board, from_board: the wire's two directions, with their counts; their faults may be replaced at any time.
        silent: while it is set, the port is half open: what either side writes vanishes.
        error: why the board's port is gone; None while it is there.
    """

    def __init__(
        self,
        port: str,
        faults: Faults | None = None,
        *,
        from_board: Faults | None = None,
        seed: int = 0,
        on_frame: Callable[[Passage], None] | None = None,
        on_path: Callable[[str], None] | None = None,
    ) -> None:
        faults = faults or Faults()
        self.to_board = FaultyWire(faults, seed, TO_BOARD, on_frame)
        self.from_board = FaultyWire(from_board or faults, seed, FROM_BOARD, on_frame)
        self.silent = False
        self.error: PortError | None = None
        self.path = ""
        self._name = port
        self._on_path = on_path
        self._notice = Notice()  # for a host that looks for its board
        self._lock = threading.RLock()
        self._terminal: _Terminal | None = None
        self._next: _Terminal | None = None  # made before the old one is closed, so that its name is another
        self._threads: list[threading.Thread] = []
        self._back: threading.Timer | None = None
        self._closing = threading.Event()
        self._ended = threading.Event()

    @property
    def counts(self) -> dict[str, Counter[str]]:
        """What was done to frames so far, by direction."""
        return {TO_BOARD: self.to_board.counts, FROM_BOARD: self.from_board.counts}

    def start(self) -> Self:
        """Open the port behind and make the one in front.

        Raises:
            PortError: the port behind cannot be opened, or the board cannot start.
        """
        self._port: Port = open_port(self._name)
        self._hold_s = HOLD_S * self._port.slowdown
        self._next = _Terminal(self._port.slowdown, self._port.ring)
        self.reconnect()
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._carry_in, self._carry_out)]
        for thread in self._threads:
            thread.start()
        return self

    def disconnect(self) -> None:
        """Pull the plug: the port's path is gone, and whoever has it open reads an error. The board notices nothing."""
        with self._lock:
            if self._terminal is None:
                return
            self._next = _Terminal(self._port.slowdown, self._port.ring)
            self._terminal.close()
            self._terminal = None
            self.path = ""
            self._notice.show("")

    def reconnect(self) -> None:
        """Plug in again: the port is back under another name."""
        with self._lock:
            if self._next is None:
                return
            self._terminal, self._next = self._next, None
            self.path = self._terminal.path
            self._notice.show(self.path)
        if self._on_path is not None:
            self._on_path(self.path)

    def wait(self) -> None:
        """Wait until the port behind is gone.

        Raises:
            PortError: it is.
        """
        self._ended.wait()
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        """Take the port away, and switch off the board that was started for it. May be called twice."""
        if self._closing.is_set():
            return
        self._closing.set()
        for thread in self._threads:
            thread.join()
        if self._back is not None:
            self._back.cancel()
            self._back.join()
        with self._lock:
            for terminal in (self._terminal, self._next):
                if terminal is not None:
                    terminal.close()
            self._terminal = self._next = None
            self.path = ""
            self._notice.show("")
        self._port.close()
        self._ended.set()

    # ------------------------------------------------------------------------------------------ from host to board

    def _carry_in(self) -> None:
        wire, terminal = self.to_board, self._terminal
        while not self._closing.is_set():
            data = self._read_terminal(self._hold_s if wire.waiting else LOOK_S)
            if self._terminal is not terminal:
                terminal = self._terminal
                wire.reset()
            if not data:
                self._to_port(wire.flush())
                continue
            if INTERRUPT in data and b"\0" not in data and self._port.board is not None:
                # As Port.interrupt, which the host cannot call: to a board that is a process the byte alone says
                # nothing. No frame comes without its delimiter.
                self._port.board.interrupt()
            for piece in wire.feed(data):
                if not self._ready_for(piece):
                    break
                self._to_port(piece.data)

    def _read_terminal(self, timeout_s: float) -> bytes:
        """Return what the host wrote; b"" if nothing came in time."""
        terminal = self._terminal
        if terminal is None:
            time.sleep(LOOK_S)
            return b""
        poller = select.poll()
        with self._lock:
            if terminal is not self._terminal:
                return b""
            poller.register(terminal.master, select.POLLIN)
        poller.poll(timeout_s * 1000)
        with self._lock:
            if terminal is not self._terminal:
                return b""
            try:
                return os.read(terminal.master, BULK)
            except BlockingIOError:
                return b""

    def _to_port(self, data: bytes) -> None:
        if data and not self.silent and self.error is None:
            try:
                self._port.write(data)
            except PortError as error:
                self._lose_board(error)

    # ------------------------------------------------------------------------------------------ from board to host

    def _carry_out(self) -> None:
        wire, terminal = self.from_board, self._terminal
        poller = select.poll()
        poller.register(self._port.serial.fileno(), select.POLLIN)
        while not self._closing.is_set():
            arrived = poller.poll(1000 * (self._hold_s if wire.waiting else LOOK_S))
            with self._lock:  # what comes while nobody is there to hear it is lost, and nothing else
                try:
                    data = self._port.read_available(0) if arrived else b""
                except PortError as error:
                    self._lose_board(error)
                    return
                if self._terminal is not terminal:
                    terminal = self._terminal
                    wire.reset()
            if terminal is None:
                continue
            if not data:
                self._to_terminal(wire.flush())
                continue
            for piece in wire.feed(data):
                if not self._ready_for(piece):
                    break
                self._to_terminal(piece.data)

    def _to_terminal(self, data: bytes) -> None:
        """Write it all, however long the host takes to read; lose it if the port goes away meanwhile."""
        terminal = self._terminal
        while data and terminal is not None and not self.silent and not self._closing.is_set():
            with self._lock:
                if terminal is not self._terminal:
                    return
                try:
                    data = data[os.write(terminal.master, data) :]
                except BlockingIOError:
                    pass
                else:
                    continue
            self._closing.wait(0.001)

    # ------------------------------------------------------------------------------------------ both

    def _ready_for(self, piece: Piece) -> bool:
        """Wait as long as a piece must; return False if it pulls the plug, and what follows is lost."""
        if piece.pause_s:
            self._closing.wait(piece.pause_s)
        if piece.disconnect:
            self.disconnect()
            # In a thread of its own: what comes meanwhile is lost, and must be read for that.
            self._back = threading.Timer(self.to_board.faults.away_s, self.reconnect)
            self._back.daemon = True
            self._back.start()
        return not piece.disconnect

    def _lose_board(self, error: PortError) -> None:
        with self._lock:
            self.error = self.error or error
            self.disconnect()
        self._ended.set()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
