"""What deploys and runs learned of a board, so that `subsong boards` can tell without opening its port.

One small JSON file a board in the cache folder, `known/KEY.json`. It is a memory, never a proof: every deploy and every
run asks the board itself.
"""

import json
import re
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from subsong.cache import cache_folder
from subsong.ports import PresentPort, present_ports

FORMAT = 1
LONGEST = 120  # characters of a file's name
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)  # what Windows takes for no file


@dataclass(frozen=True)
class Known:
    """What a board said last; empty or None where nobody asked.

    Attributes:
        when: local time, ISO 8601.
        profile: name of its profile.
        machine: as sys.implementation has it.
        micropython: version, "1.25.0".
        firmware: label of the firmware's manifest.
        digest: of that manifest.
        tier: what executes the kernels: 0 bytecode, 1 viper, 2 machine code.
    """

    when: str = ""
    profile: str = ""
    machine: str = ""
    micropython: str = ""
    firmware: str = ""
    digest: str = ""
    tier: int | None = None


def key_of(port: PresentPort) -> str:
    """Return the name under which a board is remembered: by its USB identity and number, else by its port."""
    if port.serial_number and port.vid is not None and port.pid is not None:
        return f"{port.vid:04x}-{port.pid:04x}-{port.serial_number}"
    return port.path


def note(port: str, **learned: Any) -> bool:
    """Do `remember` for the board at a port, by the port's name."""
    present = next((each for each in present_ports() if each.path == port), None)
    return remember(key_of(present) if present else port, **learned)


def recall(key: str, folder: Path | None = None) -> Known | None:
    """Return what is known of a board; None if nothing is, or the file is damaged."""
    try:
        data = json.loads(_path(key, folder).read_bytes())
        if data["format"] != FORMAT or data["key"] != key:
            return None
        known = data["known"]
        kinds = {field.name: (int, type(None)) if field.name == "tier" else str for field in fields(Known)}
        if set(known) != set(kinds) or not all(isinstance(known[name], kinds[name]) for name in kinds):
            return None
        return Known(**known)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remember(key: str, folder: Path | None = None, **learned: Any) -> bool:
    """Note what was learned of a board; what is not given stays as it was.

    Args:
        key: see `key_of`; an emulated board's is its name.
        folder: instead of the cache's.
        learned: fields of `Known`.

    Returns:
        False if it could not be written: no reason to end a run.
    """
    known = asdict(recall(key, folder) or Known()) | learned
    known["when"] = datetime.now().astimezone().isoformat(timespec="seconds")
    path = _path(key, folder)
    text = json.dumps({"format": FORMAT, "key": key, "known": asdict(Known(**known))}, indent=1)
    new = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(text, encoding="utf-8")
        new.replace(path)
    except OSError:
        with suppress(OSError):  # where nothing can be written, nothing is left over
            new.unlink()
        return False
    return True


def _path(key: str, folder: Path | None) -> Path:
    folder = folder if folder is not None else cache_folder() / "known"
    name = re.sub(r"[^A-Za-z0-9.-]+", "_", key)[:LONGEST]
    return folder / ("_" * bool(_DEVICE.match(name)) + name + ".json")
