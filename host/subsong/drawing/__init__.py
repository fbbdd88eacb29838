"""A picture of a run, from its log alone: what it cost, and what it did first and last.

    columns     the trials that are shown
    observe     plays them again, and sees every unit's spikes
    parts       what every picture is made of
    figure      the picture of any run
    song        the picture of a songbird's

Needs matplotlib, which nothing else does: pip install matplotlib.
"""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from subsong.errors import LogError, SubsongError
from subsong.experiment import parse_experiment

if TYPE_CHECKING:
    from subsong.console import Progress

__all__ = ["draw"]


def draw(path: Path, out: Path | None = None, progress: "Progress | None" = None) -> Path:
    """Draw a run's log.

    Args:
        path: a run log, of a board or of the simulator; whole, recovered or partial.
        out: the picture, a PNG; by default the log's name with `.png`. One that is there is replaced.
        progress: told how far it is.

    Returns:
        The picture's path.

    Raises:
        LogError: the log cannot be read, or no trial of it that learned is whole; or the picture cannot be written.
        ReplayError: spikes are to be drawn, and the log is of another arithmetic.
        ExperimentError: the log's experiment is damaged.
        SubsongError: there is no matplotlib, or the picture is to be no PNG.
    """
    from subsong.console import SilentProgress
    from subsong.drawing import figure, song
    from subsong.runlog import read_run

    run = read_run(path)
    experiment = parse_experiment(run.header.experiment_toml, str(path))
    target = out if out is not None else path.with_name(path.name.split(".mcap")[0] + ".png")
    _check(target, path)
    _need_matplotlib()
    make = song.make if song.is_sung(run, experiment) else figure.make
    _write(target, make(run, experiment, progress or SilentProgress()))
    return target


def _check(target: Path, log: Path) -> None:
    """Say what is wrong with the picture's place before anything takes long."""
    if target.suffix.lower() != ".png":
        raise SubsongError(f"{target}: pictures are PNG files; give it a name that ends in .png")
    if target.resolve() == log.resolve():
        raise LogError(f"{target}: is the log itself; choose another name with -o")
    if not target.parent.is_dir():
        raise LogError(f"{target.parent}: there is no such folder for the picture; make it, or choose another with -o")


def _need_matplotlib() -> None:
    try:
        import matplotlib as mpl  # noqa: F401 - whether it is there is the question
    except ImportError:
        raise SubsongError("drawing needs matplotlib: pip install matplotlib") from None


def _write(target: Path, image: bytes) -> None:
    """Write the picture beside its place, then move it there: never half a picture."""
    part = target.with_name(target.name + ".partial")
    try:
        part.write_bytes(image)
        part.replace(target)
    except OSError as error:
        with suppress(OSError):  # it may not even have come to be
            part.unlink()
        raise LogError(
            f"{target}: the picture cannot be written: {error.strerror or error}; choose another place with -o"
        ) from error
