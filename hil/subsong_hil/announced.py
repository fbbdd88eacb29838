"""Where the ports of proxies are: a host that looks for its board finds there the name under which one came back.

One file for each proxy in `ports/` of `cache_folder()`, named PID-NUMBER, and in it the port's path.
"""

import itertools
import os
from pathlib import Path

from subsong.cache import cache_folder

_NUMBERS = itertools.count()


def _folder() -> Path:
    return cache_folder() / "ports"


class Notice:
    """What one proxy announces. A cache that cannot be written announces nothing: the port works all the same."""

    def __init__(self) -> None:
        self._file = _folder() / f"{os.getpid()}-{next(_NUMBERS)}"

    def show(self, path: str) -> None:
        """Say where the port is now; "": nowhere."""
        try:
            if path:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                self._file.write_text(path, "utf-8")
            else:
                self._file.unlink(missing_ok=True)
        except OSError:
            return


def announced() -> list[str]:
    """Return the paths of all proxies' ports, of this user and under this cache folder."""
    found = []
    folder = _folder()
    for file in sorted(folder.iterdir()) if folder.is_dir() else []:
        try:
            path = file.read_text("utf-8")
            os.kill(int(file.name.partition("-")[0]), 0)
        except ProcessLookupError:  # it was killed
            file.unlink(missing_ok=True)
        except (OSError, ValueError):  # taken down just now, or no notice
            continue
        else:
            if path.startswith("/dev/") and Path(path).exists():
                found.append(path)
    return found
