"""The verbs about boards: boards and deploy."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from subsong import console
from subsong.cli.app import Verb
from subsong.cli.options import json_option, port_option, show_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from subsong.deploy import DeployReport, PolicyReport


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
        ("subsong deploy --port a0 --policy run.policy.json", "a learned policy, to start at power-on without a host"),
        ("subsong deploy --port a0 --policy run.policy.json --learn", "the same, and it goes on learning"),
    ],
)
@port_option
@click.option(
    "--policy", type=click.Path(path_type=Path), help="A policy from `subsong export`, to run without a host."
)
@click.option("--learn", is_flag=True, help="With --policy: go on learning. Without, the policy is frozen.")
@click.option(
    "--skip-pin",
    metavar="PIN",
    help="With --policy: held low at power-on, this pin keeps it from starting.  [default: GP22 on an RP2]",
)
@click.option("--replace-main", is_flag=True, help="With --policy: replace a main.py that is not Subsong's.")
@json_option
def deploy(
    port: str, policy: Path | None, learn: bool, skip_pin: str | None, replace_main: bool, as_json: bool
) -> None:
    """Copy the firmware to a board that runs stock MicroPython, and verify it there by its hashes.

    Only files that differ are copied. With --policy the board also gets a learned policy and a thin main.py that
    starts it at power-on; Ctrl-C, the skip pin, or a file named SKIP beside main.py keep it from running.
    """
    if policy is None and (learn or skip_pin or replace_main):
        raise click.UsageError("--learn, --skip-pin and --replace-main go with --policy")
    from subsong import deploy as deploying
    from subsong.policy import load_policy
    from subsong.ports import open_port

    learned = None if policy is None else load_policy(policy)
    with console.progress(quiet=as_json) as progress, open_port(port) as opened:
        if learned is None:
            report, more = deploying.deploy(opened, progress=_copying(progress)), None
        else:
            pin = int(skip_pin) if skip_pin and skip_pin.isdecimal() else skip_pin
            more = deploying.deploy_policy(
                opened, learned, learn, skip_pin=pin, replace_main=replace_main, progress=_copying(progress)
            )
            report = more.firmware
    if as_json:
        told = {**vars(report), "port": port, "manifest": report.manifest.as_dict()}
        if more is not None:
            told["policy"] = {"copied": more.copied, "drives": more.drives, "skip_pin": more.skip_pin, "learn": learn}
        show_json(told)
        return
    _show_firmware(port, report, None if more else f"subsong run cartpole --port {port}")
    if more is not None:
        _show_policy(policy, more, learn)


def _copying(progress: console.Progress) -> "Callable[[str, int, int], None]":
    """Return what turns a deploy's account (path, bytes so far, bytes in all) into a bar."""
    done: int | None = None

    def move(_path: str, copied: int, total: int) -> None:
        nonlocal done
        if done is None:
            progress.start("copying bytes", total)
        progress.advance(copied - (done or 0))
        done = copied

    return move


def _show_firmware(port: str, report: "DeployReport", then: str | None) -> None:
    copied = f"{len(report.copied)} files, {report.copied_bytes:,} bytes" if report.copied else "nothing: all was there"
    console.last_screen(
        f"{port}: firmware {report.manifest.label}, verified on the board",
        [
            ("copied", copied),
            ("unchanged", f"{report.unchanged} files" if report.unchanged else ""),
            ("removed", f"{len(report.deleted)} files of an earlier firmware" if report.deleted else ""),
            ("folder", report.target),
        ],
        then=then or "",
    )


def _show_policy(policy: Path | None, report: "PolicyReport", learn: bool) -> None:
    pin = f"hold pin {report.skip_pin} low at power-on, or " if report.skip_pin is not None else ""
    console.last_screen(
        f"policy {policy}: starts at the next power-on, {'and goes on learning' if learn else 'frozen'}",
        [
            ("copied", ", ".join(report.copied) or "nothing: all was there"),
            (
                "drives",
                "" if report.drives else "nothing yet: put your plant on the board as plant.py (docs/deploy.md)",
            ),
            ("stop it", f"Ctrl-C; {pin}put a file named SKIP beside main.py"),
        ],
    )
