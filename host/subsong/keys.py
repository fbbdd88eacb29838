"""Keys of boards that take signed experiments alone: made here, put on the board over its REPL, kept for their owner.

One file a board, `XXXXXXXX.key` by the id that it tells over the link, 32 bytes in hex.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from subsong.device import ask_device
from subsong.errors import BoardError, FirmwareError
from subsong.exchange import Exchange
from subsong.packed import write_file
from subsong.ports import Port
from subsong.repl import Repl
from subsong.small_deploy import is_small
from subsong_device import faults, frames
from subsong_device.lock import KEY, KEY_BYTES, NEVER
from subsong_device.lock import sign as signature

NEW = KEY + ".new"
# Printed: whether the firmware knows keys and SHA-256, and the id of the key that is there ("" for none).
LOOK = f"""
try:
    from subsong_device.lock import KEY
    print("lock")
except ImportError:
    print("")
try:
    with open({KEY!r}, "rb") as f:
        print(int.from_bytes(f.read(4), "little"))
except OSError:
    print("")
"""
# Checkpoints may be of experiments that nobody signed: they go before the key comes. The counter stays, and goes on.
LOCK = f"""
import os
from subsong_device.lock import NEVER, read_counter, write_counter
for name in os.listdir():
    if name in ("run.0", "run.1", "run.new"):
        os.remove(name)
try:
    os.rename({NEW!r}, {KEY!r})
except OSError:
    os.remove({KEY!r})
    os.rename({NEW!r}, {KEY!r})
if read_counter() == NEVER:
    write_counter(0)
"""
UNLOCK = f"import os\nif {KEY!r} in os.listdir():\n os.remove({KEY!r})"


class KeyReport(NamedTuple):
    """What was done about a board's key.

    Attributes:
        board: the id by which its key is kept; "" if it had none.
        path: the file on this computer; None where there is none any more.
        replaced: whether another key was there before.
    """

    board: str
    path: Path | None
    replaced: bool


def keys_folder() -> Path:
    """Return the folder of the keys: $SUBSONG_KEYS, or subsong/keys under the user's configuration."""
    chosen = os.environ.get("SUBSONG_KEYS")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "subsong" / "keys"


def key_path(board: int) -> Path:
    """Return where the key of a board lies, by the board's id."""
    return keys_folder() / f"{board:08x}.key"


def key_of(board: int) -> bytes | None:
    """Return the key of a board; None if it is not on this computer, or its file holds none."""
    try:
        key = bytes.fromhex(key_path(board).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return key if len(key) == KEY_BYTES else None


def set_key(port: Port, replace: bool = False) -> KeyReport:
    """Draw a key and put it on a board: from then on it takes experiments signed with it alone.

    Args:
        port: an open port, the board at its prompt or in any program.
        replace: where the board has a key, put another in its place.

    Raises:
        FirmwareError: the board has no firmware that knows keys.
        BoardError: it has a key already, or cannot keep one; or no MicroPython answers.
        OSError: the key cannot be kept on this computer; the board is as it was.
        PortError: the port failed.
    """
    with Repl(port) as repl:
        if is_small(repl):
            raise FirmwareError(f"port {port.name}: the small firmware has no room for a key; take a larger board")
        knows, _, present = repl.run(LOOK).partition("\n")
        if knows.strip() != "lock":
            raise FirmwareError(
                f"port {port.name}: no firmware on the board that knows keys (or its MicroPython has no SHA-256); "
                f"subsong deploy --port {port.name}, then set the key"
            )
        held = int(present) if present.strip().isdecimal() else None
        if held is not None and not replace:
            raise BoardError(f"port {port.name}: the board has a key already; --replace puts another in its place")
        unique = ask_device(repl).unique_id
        board = crc32(bytes.fromhex(unique)) if unique else held or 1 + secrets.randbelow(NEVER)
        key = secrets.token_bytes(KEY_BYTES)
        with _kept(board, key) as path:
            write_file(repl, NEW, board.to_bytes(4, "little") + key)
            repl.run(LOCK)
    return KeyReport(f"{board:08x}", path, held is not None)


def remove_key(port: Port) -> KeyReport:
    """Take the key off a board, and off this computer: the board takes every experiment again.

    Raises:
        BoardError: no MicroPython answers.
        PortError: the port failed.
    """
    with Repl(port) as repl:
        present = repl.run(LOOK).partition("\n")[2].strip()
        repl.run(UNLOCK)
    if not present.isdecimal():
        return KeyReport("", None, False)
    key_path(int(present)).unlink(missing_ok=True)
    return KeyReport(f"{int(present):08x}", None, True)


@contextmanager
def _kept(board: int, key: bytes) -> Iterator[Path]:
    """Keep a key beside the one that is there, which it replaces once the board has it."""
    path = key_path(board)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(key.hex() + "\n")
        yield path
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def sign(exchange: Exchange, opened: bytes, regions: tuple[bytes, bytes, bytes]) -> None:
    """Sign the experiment that a locked board was given by OPEN and WRITE; SEAL must be the next command.

    Args:
        exchange: with the board.
        opened: OPEN's payload.
        regions: head, mem, task.

    Raises:
        BoardError: the board's key is not here, or is another; or it accepts no counter any more.
        LinkLost, PortError: as everywhere.
    """
    port = exchange.port.name
    status = exchange.ask()
    last = status.counter
    path = key_path(status.board)
    again = f"subsong key --replace --port {port}"
    if last >= NEVER - 1:
        raise BoardError(
            f"port {port}: the board has lost the counter of its signed experiments and takes none; set another key: "
            + again,
            faults.UNSIGNED,
        )
    key = key_of(status.board)
    if key is None:
        raise BoardError(
            f"port {port}: this board takes signed experiments alone, and its key is not on this computer: copy {path} "
            f"from the one that has it, or set another key: {again}",
            faults.UNSIGNED,
        )
    mac = signature(key, last + 1, opened, regions)
    code, _ = exchange.command(frames.SIGN, last + 1, mac, allowed=faults.UNSIGNED)
    if code == faults.UNSIGNED:
        raise BoardError(
            f"port {port}: the board refuses the signature: {path} is not its key, or another program signs for it at "
            f"the same time; start again, or set another key: {again}",
            faults.UNSIGNED,
        )
