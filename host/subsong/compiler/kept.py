"""Keeps in the cache folder what is compiled, under the hash of all that it is made of."""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from subsong_sim.cache import cache_folder


def kept(what: object, make: Callable[[], list[bytes]]) -> list[bytes]:
    """Return what was made before of the same things, or make it.

    Args:
        what: everything that decides what is made, as JSON can say it.
        make: makes it.
    """
    path = cache_folder() / "compiled" / f"{hashlib.sha256(json.dumps(what).encode()).hexdigest()}.json"
    found = _read(path)
    if found is None:
        found = make()
        _write(path, found)
    return found


def _read(path: Path) -> list[bytes] | None:
    """Return what is in the cache; nothing where that was cut or altered."""
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
        codes = [bytes.fromhex(code) for code in entry["codes"]]
        return codes if entry["sha256"] == _sum(codes) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(path: Path, codes: list[bytes]) -> None:
    """Write to the cache, whole or not at all; where it cannot be written, the next call compiles again."""
    text = json.dumps({"codes": [code.hex() for code in codes], "sha256": _sum(codes)})
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        with os.fdopen(fd, "w", encoding="utf-8") as f:
            f.write(text)
        Path(temporary).replace(path)
    except OSError:
        return


def _sum(codes: list[bytes]) -> str:
    return hashlib.sha256(json.dumps([code.hex() for code in codes]).encode()).hexdigest()
