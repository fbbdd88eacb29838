"""A board's REPL over an open port: mpremote's transport as a library, on our reads, with our errors.

    with Repl(port) as repl:
        repl.run("print(1)")

On entry whatever runs on the board is stopped: a program by Ctrl-C, firmware that a killed host left in its link by
that link's own CLOSE. On exit the board is at its friendly prompt.
"""

import errno
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from mpremote.transport import TransportError, TransportExecError
from mpremote.transport_serial import SerialTransport

from subsong.errors import BoardError, PortError
from subsong.ports import Port
from subsong_device import faults, frames

BANNER_END = b'Type "help()" for more information.\r\n>>> '  # in raw mode, only a board that was restarted says it
RAW_PROMPT = b"raw REPL; CTRL-B to exit\r\n"
PATIENCE_S = 10.0  # longest silence of a board that works; all times here are multiplied by the port's slowdown
FIRST_ANSWER_S = 1.0
DISCARD_S = 0.2
# Ends the frame that a session of the link waits for, greets it so that its numbers start anew, and closes it.
LEAVE_LINK: bytes = (
    bytes(frames.wire_length(frames.MAX_PAYLOAD + frames.OVERHEAD))
    + frames.encode(frames.HELLO, 1, bytes(4))
    + frames.encode(frames.CLOSE, 2, b"")
)
HOSTED = ("linux", "darwin", "win32")  # sys.platform of a MicroPython that is a process: a soft reset would end it


class Repl:
    """A board held at its raw REPL.

    Args:
        port: an open port; it stays open.
        soft_reset: on entry, restart MicroPython on real boards, so that nothing a program left behind is in the way
            (main.py does not run then). A process has no soft reset and is left as it is.

    Attributes:
        platform: the board's sys.platform.
        transport: mpremote's, for what `run` does not do.

    Raises:
        BoardError: no MicroPython answers.
        PortError: the port failed.
    """

    def __init__(self, port: Port, soft_reset: bool = True) -> None:
        self.port = port
        self.transport = _Transport(port)
        self.platform = ""
        self._soft_reset = soft_reset

    def __enter__(self) -> Self:
        self._enter()
        self.platform = self.run("import sys\nprint(sys.platform)").strip()
        if self._soft_reset and self.platform not in HOSTED:
            with self.errors("restarting MicroPython"):
                self.transport.restart()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None or not issubclass(kind, PortError):
            self.transport.exit_raw_repl()
        # After an error the board may be anywhere: the next entry sorts that out.
        if kind is None:
            self.transport.read_until(1, b">>> ", timeout=FIRST_ANSWER_S)

    def _enter(self) -> None:
        self.port.write(b"\r\x03")
        if self.transport.enter(FIRST_ANSWER_S):
            return
        # A session of the link may be open, with Ctrl-C off.
        # A small buffer loses what it cannot hold; firmware that reads it never blocks in the middle of a frame.
        self.port.write(LEAVE_LINK[-self.port.ring // 2 :] if self.port.ring else LEAVE_LINK)
        self.port.interrupt()
        if not self.transport.enter(PATIENCE_S):
            raise BoardError(
                f"port {self.port.name}: no MicroPython prompt; is MicroPython on the board? If it is, reset it, "
                "and hold its skip pin where a policy starts by itself; out of a main.py that turns Ctrl-C off, "
                f"`subsong boards --probe --port {self.port.name}` says the ways"
            )

    def run(self, code: str, timeout_s: float = PATIENCE_S) -> str:
        """Run code and return what it printed.

        Args:
            code: MicroPython source.
            timeout_s: the longest silence, seconds; longer on a board that is emulated slower than real.

        Raises:
            BoardError: the code raised; the message ends in the board's traceback.
            PortError: the port failed.
        """
        if 0 < self.port.ring < len(code.encode()) + 1:
            code = self._gather(code)
        with self.errors("running code"):
            output, error = self.transport.exec_raw(code, timeout=timeout_s)
            if error:
                raise TransportExecError(output, error.decode("utf-8", "replace"))
            return bytes(output).decode("utf-8", "replace")

    def _gather(self, code: str) -> str:
        """Send code in parts that a small buffer holds, each of them answered; return what runs it."""
        room = self.port.ring - len("_c+=''") - 1
        self.run("_c=''")
        at = 0
        while at < len(code):
            n = room
            while len(repr(code[at : at + n])) - 2 > room:
                n -= 1
            self.run(f"_c+={code[at : at + n]!r}")
            at += n
        return "exec(_c)"

    def launch(self, code: str) -> None:
        """Start code and return at once: all that it prints is then read from the port."""
        with self.errors("starting code"):
            self.transport.exec_raw_no_follow(code)
        self.port.unread(self.transport.serial.rest())

    @contextmanager
    def errors(self, doing: str) -> Iterator[None]:
        """Turn mpremote's errors into BoardError; `doing` completes "while"."""
        try:
            yield
        except TransportExecError as error:
            text = str(error.error_output).strip()
            if "MemoryError" in text:
                last = text.splitlines()[-1]
                raise BoardError(
                    f"port {self.port.name}: the board's heap is too small ({doing}: {last}); free some, or "
                    "take a board with more",
                    faults.NO_MEMORY,
                ) from error
            raise BoardError(f"port {self.port.name}: the board failed while {doing}:\n{text}") from error
        except TransportError as error:
            raise BoardError(f"port {self.port.name}: the board's prompt was lost while {doing}: {error}") from error
        except OSError as error:  # mpremote's reading of an OSError on the board
            what = "its flash is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
            raise BoardError(f"port {self.port.name}: the board failed while {doing}: {what}") from error


class _Transport(SerialTransport):  # type: ignore[misc]  # mpremote has no annotations
    """mpremote's serial transport on a port that is open already, reading in bulk instead of byte by byte."""

    def __init__(self, port: Port) -> None:  # not calling super's, which would open the port a second time
        self.in_raw_repl = False
        self.use_raw_paste = not port.ring  # which MicroPython 1.9.2 does not know, either
        self.device_name = port.name
        self.mounted = False
        self.is_pty = False
        self.serial: _Stream = _Stream(port)

    def enter(self, timeout_s: float) -> bool:
        """Ask for the raw REPL; return whether it came.

        What was typed before may still be queued on a board that was busy, each Ctrl-A of it good for a banner of its
        own: a word that nobody else says marks the end of them. The prompt sign after it is left for the first exec.
        """
        self.serial.recent = None
        self.serial.discard()
        self.serial.write(b"\r\x01")
        word = secrets.token_hex(4).encode()
        if self._heard(RAW_PROMPT, timeout_s):
            question = b"print('" + word + b"')\x04"
            self.serial.write(question)
            answer = self.read_until(1, word, timeout=timeout_s, timeout_overall=timeout_s)
            if b"MemoryError" in answer:
                # What ran before still fills a small heap: no line compiles until it is gone.
                self.restart()
                self.serial.write(question)
                answer = self.read_until(1, word, timeout=timeout_s, timeout_overall=timeout_s)
            self.in_raw_repl = answer.endswith(word) and self._heard(b"\x04\x04", timeout_s)
            self.serial.recent = b"" if self.in_raw_repl else None
        return self.in_raw_repl

    def exit_raw_repl(self) -> None:
        """Go back to the friendly prompt, which greets with the banner that a restart has, too."""
        self.serial.recent = None
        super().exit_raw_repl()

    def _heard(self, ending: bytes, timeout_s: float) -> bool:
        return self.read_until(1, ending, timeout=timeout_s, timeout_overall=timeout_s).endswith(ending)

    def restart(self) -> None:
        """Soft-reset from the raw REPL into the raw REPL."""
        for key, answer in ((b"\x04", b"soft reboot\r\n"), (b"", RAW_PROMPT)):
            self.serial.write(key)
            if not self._heard(answer, PATIENCE_S):
                raise TransportError("no soft reset")

    def read_until(
        self,
        min_num_bytes: int,  # noqa: ARG002  # mpremote's signature
        ending: bytes,
        timeout: float | None = PATIENCE_S,
        data_consumer: Callable[[bytes], None] | None = None,
        timeout_overall: float | None = None,
    ) -> bytes:
        """Read up to the first `ending`, or as far as silence of `timeout` seconds.

        With a consumer only the last part is returned, which holds the ending if it came.
        """
        slowdown = self.serial.slowdown
        until = None if timeout_overall is None else time.monotonic() + timeout_overall * slowdown
        data = b""
        while True:
            part = self.serial.take(ending)
            if data_consumer is None:
                data += part
            elif part:
                data_consumer(part)
                data = part
            if data.endswith(ending):
                return data
            if (until is not None and time.monotonic() >= until) or not self.serial.fill(timeout):
                return data


class _Stream:
    """As much of pyserial's interface as mpremote uses, over a Port.

    Attributes:
        recent: in the raw REPL, the last bytes that came; None elsewhere.
    """

    def __init__(self, port: Port) -> None:
        self._port = port
        self.slowdown = port.slowdown
        self._buffer = bytearray()
        self.recent: bytes | None = None
        self.write: Callable[[bytes], None] = port.write

    def fill(self, timeout: float | None) -> bool:
        """Wait for bytes; return whether any came. None waits for as long as a working board may be silent.

        Raises:
            TransportError: the board restarted, and says so.
        """
        data = self._port.read_available((PATIENCE_S if timeout is None else timeout) * self.slowdown)
        self._buffer += data
        if self.recent is not None:
            recent = self.recent + data
            if BANNER_END in recent:
                raise TransportError("the board restarted; start the command again")
            self.recent = recent[1 - len(BANNER_END) :]
        return bool(data)

    def take(self, ending: bytes) -> bytes:
        """Take what is there, up to and with `ending`; of what does not hold it, all that cannot begin it."""
        at = self._buffer.find(ending)
        n = at + len(ending) if at >= 0 else max(0, len(self._buffer) - len(ending) + 1)
        part = bytes(self._buffer[:n])
        del self._buffer[:n]
        return part

    def rest(self) -> bytes:
        """Take all that was read ahead."""
        part = bytes(self._buffer)
        self._buffer.clear()
        return part

    def discard(self) -> None:
        """Drop what has come, of a board that never stops talking only what comes in a moment."""
        until = time.monotonic() + DISCARD_S
        while self.fill(0) and time.monotonic() < until:
            pass
        self._buffer.clear()

    def inWaiting(self) -> int:  # noqa: N802  # pyserial's name
        """Return how many bytes wait."""
        self.fill(0)
        return len(self._buffer)

    def read(self, n: int = 1) -> bytes:
        """Read n bytes; fewer after a long silence."""
        while len(self._buffer) < n and self.fill(None):
            pass
        part = bytes(self._buffer[:n])
        del self._buffer[:n]
        return part

    def __getattr__(self, name: str) -> Any:  # whatever else of pyserial a later mpremote asks for
        return getattr(self._port.serial, name)
