"""The verb key."""

import click

from subsong import console
from subsong.cli.app import Verb
from subsong.cli.options import json_option, port_option, show_json


@click.command(
    cls=Verb,
    short_help="Let a board take signed experiments alone.",
    examples=[
        ("subsong key --port a0", "draw a key; `subsong run` on this computer signs with it from then on"),
        ("subsong key --port a0 --remove", "take every experiment again"),
    ],
)
@port_option
@click.option("--replace", is_flag=True, help="Where the board has a key, put another in its place.")
@click.option("--remove", is_flag=True, help="Take the key off the board, and off this computer.")
@json_option
def key(port: str, replace: bool, remove: bool, as_json: bool) -> None:
    """Put a key on a board, over its REPL: from then on its firmware takes experiments signed with it alone.

    The key stays on this computer, in a file that its owner alone can read, and each experiment is signed once: what
    was recorded on the wire cannot be played again. Checkpoints on the board are removed. Whoever reaches the REPL can
    read, replace or remove the key; docs/security.md says what it is good for.
    """
    if replace and remove:
        raise click.UsageError("--replace or --remove, not both")
    from subsong.keys import remove_key, set_key
    from subsong.ports import open_port

    with open_port(port) as opened:
        report = remove_key(opened) if remove else set_key(opened, replace)
    if as_json:
        show_json({**report._asdict(), "port": port})
        return
    if remove:
        console.last_screen(f"{port}: {'the key is gone' if report.board else 'there was no key'}", [])
        return
    title = f"{port}: takes signed experiments alone{', with another key than before' if report.replaced else ''}"
    console.last_screen(
        title, [("board", report.board), ("key", str(report.path))], f"subsong run cartpole --port {port}"
    )
