"""Options and small helpers that several verbs share."""

import dataclasses
import json
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from subsong.console import complain, show

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from subsong.experiment import Experiment

_F = TypeVar("_F", bound="Callable[..., Any]")

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print the result as one JSON object, and no progress."
)
port_option = click.option(
    "--port",
    required=True,
    envvar="SUBSONG_PORT",
    help="a0 or /dev/ttyACM0, socket://HOST:PORT, auto; or a board that Subsong starts itself: unix, pico, microbit.",
)


def experiment_options(function: _F) -> _F:
    """Add what `sim` and `run` share."""
    decorators = (
        click.argument("experiment"),
        click.option(
            "-o", "--out", type=click.Path(path_type=Path), help="The run log.  [default: runs/NAME-VERB-TIME.mcap]"
        ),
        click.option("--seed", type=int, help="Replace the experiment's seed."),
        json_option,
    )
    for decorate in reversed(decorators):
        function = decorate(function)
    return function


def find(experiment: str) -> tuple[str, str, str]:
    """Read an experiment file, or the example that ships under this name where there is no such file.

    Returns:
        Its text, what to call it in messages, and a short name for what is made of it.
    """
    from subsong.experiment_text import example_named, read_text

    path = Path(experiment)
    example = example_named(experiment)
    if example and not path.exists():
        kind, text = example
        which = "of that name" if kind == experiment else kind
        complain(f"no file {experiment} here: using the example {which} (`subsong new {experiment}` copies it)")
        return text, kind, path.stem
    return read_text(path), str(path), path.stem


def load(experiment: str, seed: int | None) -> tuple["Experiment", str]:
    """Load an experiment file, or an example, as `find` finds it.

    Returns:
        The experiment and a short name for its logs.
    """
    from subsong.experiment import parse_experiment

    text, where, name = find(experiment)
    loaded = parse_experiment(text, where)
    return loaded if seed is None else loaded.with_seed(seed), name


def log_path(name: str, source: str) -> Path:
    """Return a path for a new log under runs/ that no log has yet."""
    moment = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    path = Path("runs") / f"{name}-{source}-{moment}.mcap"
    number = 1
    while path.exists() or path.with_name(path.name + ".partial").exists():
        number += 1
        path = path.with_name(f"{name}-{source}-{moment}-{number}.mcap")
    return path


@contextmanager
def telling_where(log: Path | None) -> "Iterator[None]":
    """Where a run ends early, say what became of the log that it began, then go on with the error."""
    partial = None if log is None else log.with_name(log.name + ".partial")
    before = [path for path in (log, partial) if path is not None and path.exists()]
    try:
        yield
    except BaseException:
        if log is not None and log not in before and log.exists():
            complain(f"the log of what happened until then: {log}")
        elif partial is not None and partial not in before and partial.exists():
            complain(f"the log was left open: `subsong recover {partial}` closes it")
        raise


def show_json(result: Any) -> None:
    """Print a result, dataclasses and paths included, as one JSON object."""
    show([json.dumps(result, default=_plain, allow_nan=False, indent=2)])


def plain_fields(value: Any) -> dict[str, Any]:
    """Return a dataclass's fields by name, without those that are too long to be shown."""
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.repr}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain_fields(value)
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # numpy's scalars and arrays
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} has no JSON form")
