"""Saving what can be saved of a log that was cut or damaged."""

import time
from collections.abc import Iterator
from pathlib import Path

from subsong.errors import LogError
from subsong.runlog.codec import encode_event
from subsong.runlog.container import EVENT, RECORDING, RECOVERED, Message
from subsong.runlog.damage import name_trials
from subsong.runlog.finish import Progress, derive, write_closed
from subsong.runlog.lock import is_held
from subsong.runlog.logfile import LogFile
from subsong.runlog.records import Event

LAST_WRITES_S = 1.0  # a killed run's last frames are written by a process that outlives it


def recover(path: Path | str, out: Path | str | None = None, *, progress: Progress | None = None) -> Path:
    """Write a closed log of every whole record that a cut or damaged log still holds.

    The source stays as it is. An event of kind "recovered" in the new log says what was lost. A closed log that is
    whole needs no recovery: its own path is returned, and nothing is written.

    Args:
        path: a partial file, or a closed log that was cut or damaged.
        out: name of the new log; by default NAME.mcap for NAME.mcap.partial, and NAME.recovered.mcap for NAME.mcap.
        progress: called with 0..1 now and then.

    Returns:
        The new log's name.

    Raises:
        LogError: not even the run's header survives, the file cannot be read or is still recorded, or the new log
            cannot be written.
    """
    path = Path(path)
    try:
        busy = _is_busy(path)
        data = path.read_bytes()
    except OSError as error:
        raise LogError(f"Cannot read the run log {path}: {error.strerror or error}.") from error
    if busy:
        raise LogError(
            f"{path} is being recorded right now: there is nothing to recover while its run goes on, or"
            " while the last of it waits for a disk that is stalled."
        )
    log = LogFile(data, str(path))
    if log.stage != RECORDING and not log.problems:
        return path
    target = Path(out) if out is not None else default_target(path)
    kept = _kept(log, path.name)
    write_closed(target, log.header, RECOVERED, kept, bytes_in=2 * len(data), progress=progress)
    return target


def default_target(path: Path) -> Path:
    """Return where `recover` writes by default."""
    if path.suffix == ".partial":
        return path.with_suffix("")
    return path.with_name(f"{path.name.removesuffix('.mcap')}.recovered.mcap")


def _is_busy(path: Path) -> bool:
    until = time.monotonic() + LAST_WRITES_S
    while busy := is_held(path):
        if time.monotonic() > until:
            break
        time.sleep(0.01)
    return busy


def _kept(log: LogFile, name: str) -> Iterator[Message]:
    """Yield what survives, and at its end the event that says what did not."""
    count, t_ns = 0, log.header.started_ns

    def survivors() -> Iterator[Message]:
        nonlocal count, t_ns
        for message in log.messages(sound=False):
            count, t_ns = count + 1, message.t_ns
            yield message

    yield from derive(log.header, survivors())
    lost = [f"{problem.text}{name_trials(log, problem)}" for problem in log.problems]
    text = f"Recovered from {name}: {count} records kept; " + (
        f"lost: {'; '.join(lost)}." if lost else "nothing that was whole is lost."
    )
    fields = {
        "source": name,
        "records": count,
        "lost_bytes": sum(p.end - p.start for p in log.problems),
        "problems": lost,
    }
    yield Message(EVENT, 0, t_ns, encode_event(Event("recovered", text, fields)))
