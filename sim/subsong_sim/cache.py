"""Where everything lies that can be made again: compiled kernels, the flash of embedded boards."""

import os
import tempfile
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder of everything that can be made again: $SUBSONG_CACHE, or subsong under the user's cache."""
    chosen = os.environ.get("SUBSONG_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "subsong"


def keep(path: Path, data: bytes) -> None:
    """Write a file of the cache, whole or not at all; where it cannot be written, it is made again the next time."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        with os.fdopen(fd, "wb") as f:
            f.write(data)
        Path(temporary).replace(path)
    except OSError:
        return
