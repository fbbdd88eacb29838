"""The verbs about boards: boards and deploy."""

from pathlib import Path

import click

from subsong import console
from subsong.cli.app import Verb
from subsong.cli.options import json_option, port_option, show_json


@click.command(
    cls=Verb,
    short_help="List boards and emulated boards.",
    examples=[("subsong boards", "the first column is what --port takes")],
)
@json_option
def boards(as_json: bool) -> None:
    """List every serial port that may be a board, and the emulated boards that can be started here.

    Nothing is opened or written.
    """
    from subsong.boards import list_boards

    found = list_boards()
    if as_json:
        show_json({"boards": [board.as_dict() for board in found]})
    else:
        console.table(["port", "board", "next"], [[board.port, board.description, board.hint] for board in found])


@click.command(
    cls=Verb,
    short_help="Put the firmware, or a policy, on a board.",
    examples=[
        ("subsong deploy --port a0", "the firmware, over MicroPython's REPL; a second time copies nothing"),
        ("subsong deploy --port a0 --policy policy.json", "a learned policy, to run from power-on without a host"),
    ],
)
@port_option
@click.option(
    "--policy", type=click.Path(path_type=Path), help="A policy from `subsong export`, to run without a host."
)
@json_option
def deploy(port: str, policy: Path | None, as_json: bool) -> None:
    """Copy the firmware to a board that runs stock MicroPython, and verify it there by its hashes.

    Only files that differ are copied.
    """
    from subsong.deploy import deploy as copy_firmware
    from subsong.ports import open_port

    with console.progress(quiet=as_json) as progress, open_port(port) as opened:
        done: int | None = None

        def move(_path: str, copied: int, total: int) -> None:
            nonlocal done
            if done is None:
                progress.start("copying bytes", total)
            progress.advance(copied - (done or 0))
            done = copied

        report = copy_firmware(opened, progress=move)
    if as_json:
        show_json({**vars(report), "port": port, "manifest": report.manifest.as_dict()})
        return
    copied = f"{len(report.copied)} files, {report.copied_bytes:,} bytes" if report.copied else "nothing: all was there"
    console.last_screen(
        f"{port}: firmware {report.manifest.label}, verified on the board",
        [
            ("copied", copied),
            ("unchanged", f"{report.unchanged} files" if report.unchanged else ""),
            ("removed", f"{len(report.deleted)} files of an earlier firmware" if report.deleted else ""),
            ("folder", report.target),
        ],
        then=f"subsong run cartpole --port {port}",
    )
