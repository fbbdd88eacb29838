"""Keeps in the cache folder what is compiled, under the hash of all that it is made of."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from subsong_sim.cache import cache_folder, keep


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
        text = json.dumps({"codes": [code.hex() for code in found], "sha256": _sum(found)})
        keep(path, text.encode())
    return found


def _read(path: Path) -> list[bytes] | None:
    """Return what is in the cache; nothing where that was cut or altered."""
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
        codes = [bytes.fromhex(code) for code in entry["codes"]]
        return codes if entry["sha256"] == _sum(codes) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _sum(codes: list[bytes]) -> str:
    return hashlib.sha256(json.dumps([code.hex() for code in codes]).encode()).hexdigest()
