"""Where everything lies that can be made again: compiled kernels, the flash of embedded boards."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder of everything that can be made again: $SUBSONG_CACHE, or subsong under the user's cache."""
    chosen = os.environ.get("SUBSONG_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "subsong"
