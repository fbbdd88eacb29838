"""The verbs that do harm on purpose: `subsong hil proxy`."""

import json
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any

import click

from subsong import console
from subsong.cli.app import Verb
from subsong.cli.options import port_option

FAULTS = {
    "flip": "One bit is flipped.",
    "drop-bytes": "1 to 8 bytes in a row are lost.",
    "drop": "The frame is lost.",
    "duplicate": "It comes twice.",
    "reorder": "It comes after the next one.",
    "insert": "1 to 8 bytes come in between.",
    "stall": "It stops half-way for a while.",
    "delay": "It comes late.",
    "half-open": "It and the next frames vanish: the port is half open.",
    "disconnect": "The port vanishes, and comes back under another name.",
}


def _fault_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for name, text in reversed(FAULTS.items()):
        rate = click.FloatRange(0.0, 1.0)
        function = click.option(f"--{name}", type=rate, metavar="RATE", default=0.0, help=text)(function)
    return function


@click.group(short_help="Try a board on a bad wire.", context_settings={"help_option_names": ["-h", "--help"]})
def hil() -> None:
    """What hardware in the loop is tried with."""


@hil.command(
    cls=Verb,
    short_help="A port before a board's port, over a wire that does harm.",
    examples=[
        ("subsong hil proxy --port unix --flip 1e-3 --drop 1e-3", "an emulated board behind a bad cable"),
        ("subsong run xor --port /dev/pts/7", "then, in another terminal, with the path that it printed"),
    ],
)
@port_option
@_fault_options
@click.option("--seed", type=int, default=0, show_default=True, help="Fixes which frame meets which fault.")
@click.option("--away", "away_s", type=click.FloatRange(0.0), default=0.5, show_default=True, metavar="SECONDS",
              help="How long a disconnected port is away.")  # fmt: skip
@click.option("--record", type=click.File("w", lazy=False), metavar="FILE",
              help="Write every frame, as it came and as it went on, to FILE: one JSON object a line.")  # fmt: skip
def proxy(port: str, seed: int, away_s: float, record: IO[str] | None, **rates: float) -> None:
    """Stand between a host and a board, and damage frames by a seed; without rates, change nothing.

    The path of the port for the host is printed first, and again whenever it has another one. A rate is a probability
    for each frame of the link, in both directions; at most one fault strikes a frame. The text of a REPL passes as it
    is. Ctrl-C ends it and says what was done.
    """
    from subsong.ports import faulty_port

    told = None if record is None else _recorder(record)
    try:
        made = faulty_port(
            port, {**rates, "away_s": away_s}, seed=seed, on_frame=told, on_path=lambda path: console.show([path])
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    with made, suppress(KeyboardInterrupt):
        made.wait()
    names = [name for name in made.to_board.counts if any(counts[name] for counts in made.counts.values())]
    console.table(["", *made.counts], [[name, *(str(c[name]) for c in made.counts.values())] for name in names])


def _recorder(file: IO[str]) -> Callable[[Any], None]:
    """Return what writes a subsong_hil.faulty_wire.Passage."""

    def write(passage: Any) -> None:
        line = {**passage._asdict(), "true": passage.true.hex(), "sent": passage.sent.hex()}
        file.write(json.dumps(line) + "\n")

    return write
