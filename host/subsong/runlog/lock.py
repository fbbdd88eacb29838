"""Who is writing a partial file: so that `recover` keeps off a run that still goes on."""

import contextlib
import os
import sys
from pathlib import Path

if sys.platform != "win32":
    import fcntl

    def hold(file: int) -> None:
        """Mark an open file as being written, until it is closed or its process dies."""
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def is_held(path: Path) -> bool:
        """Tell whether a living process holds the file."""
        file = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        finally:
            os.close(file)
        return False

else:

    def hold(file: int) -> None:
        """Nobody is warned here."""

    def is_held(path: Path) -> bool:  # noqa: ARG001 -- the other one's signature
        """Nobody is warned here."""
        return False
