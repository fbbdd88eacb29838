"""The verbs about boards: boards and deploy."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from subsong import console
from subsong.cli.app import Verb
from subsong.cli.options import json_option, port_option, show_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from subsong.boards import BoardEntry
    from subsong.deploy import DeployReport, PolicyReport


@click.command(
    cls=Verb,
    short_help="List boards, what is plugged in, and what to do next.",
    examples=[
        ("subsong boards", "the first column is what --port takes; nothing is opened"),
        ("subsong boards --probe", "ask every board that is plugged in; what runs there is stopped"),
        ("subsong boards --probe --port a0", "ask this one; also where it has no USB identity"),
    ],
)
@click.option("--probe", is_flag=True, help="Open the ports and ask each board. What runs there is stopped.")
@click.option("--port", help="With --probe: ask this port alone.")
@json_option
def boards(probe: bool, port: str | None, as_json: bool) -> None:
    """List emulated boards, what is plugged in (boards in their bootloader too), and the profiles of board models.

    Nothing is opened or written unless --probe says so: MicroPython, firmware and tier are then what the last deploy
    or run learned.
    """
    if port is not None and not probe:
        raise click.UsageError("--port goes with --probe")
    from subsong import boards as listing

    found = listing.list_boards()
    if probe:
        with console.progress(quiet=as_json) as progress:
            found = listing.probe_boards(found, port, note=progress.note)
    if as_json:
        show_json({"boards": [board.as_dict() for board in found], "profiles": listing.profile_rows()})
        return
    console.table(
        ["port", "board", "tier", "next"],
        [[board.port or "none", board.description, board.tier or "?", board.hint] for board in found],
    )
    for board in found:
        _show_steps(board)
    rows = [
        [row["profile"], row["title"], ", ".join(row["tiers"]), row["micropython"]["tested"] or "untested", row["page"]]
        for row in listing.profile_rows()
    ]
    console.show([""])
    console.table(["profile", "for", "tiers", "tested with", "MicroPython from"], rows)


def _show_steps(board: "BoardEntry") -> None:
    from subsong.first_flash import numbered

    if board.steps or board.remarks:
        lines = ["", f"{board.port or board.drive or board.description}:"]
        lines += [f"  {line}" for line in (*board.remarks, *numbered(board.steps))]
        console.show(lines)


@click.command(
    cls=Verb,
    short_help="Put the firmware, or a policy, on a board.",
    examples=[
        ("subsong deploy --port a0", "the firmware, over MicroPython's REPL; a second time copies nothing"),
        ("subsong deploy --port a0 --policy run.policy.json", "a learned policy, to start at power-on without a host"),
        ("subsong deploy --port a0 --policy run.policy.json --learn", "the same, and it goes on learning"),
        ("subsong deploy --port a0 --plant rc", "the firmware, and a driver that ships for what hangs on its pins"),
        ("subsong deploy --port a0 --plant plant.py", "the same with a driver of your own"),
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
    help="With --policy: held low at power-on, it keeps the policy from starting.  [default: the profile's]",
)
@click.option("--replace-main", is_flag=True, help="With --policy: replace a main.py that is not Subsong's.")
@click.option(
    "--plant",
    type=click.Path(path_type=Path),
    metavar="NAME|PATH",
    help="Put a plant.py there, too: one that ships (rc, dc_motor; a wrong name lists all), or a file of your own.",
)
@click.option("--replace-plant", is_flag=True, help="With --plant: replace another plant.py.")
@json_option
def deploy(
    port: str,
    policy: Path | None,
    learn: bool,
    skip_pin: str | None,
    replace_main: bool,
    plant: Path | None,
    replace_plant: bool,
    as_json: bool,
) -> None:
    """Copy the firmware to a board that runs stock MicroPython, and verify it there by its hashes.

    Only files that differ are copied. With --policy the board also gets a learned policy and a thin main.py that
    starts it at power-on; Ctrl-C, the skip pin, or a file named SKIP beside main.py keep it from running. With --plant
    it gets the file that drives its pins, for experiments of plant.kind = "board" and for policies.
    """
    if policy is None and (learn or skip_pin or replace_main):
        raise click.UsageError("--learn, --skip-pin and --replace-main go with --policy")
    if plant is None and replace_plant:
        raise click.UsageError("--replace-plant goes with --plant")
    from subsong import deploy as deploying
    from subsong.plant_file import deploy_plant, example_for, find_plant, read_plant
    from subsong.policy import load_policy
    from subsong.ports import open_port
    from subsong.remembered import note

    taught = None if policy is None else load_policy(policy)
    plant = None if plant is None else find_plant(plant)
    driven = None if plant is None else read_plant(plant)
    with console.progress(quiet=as_json) as progress, open_port(port) as opened:
        # First: whatever is wrong with it, nothing else is done; and a policy's report says whether there is one.
        copied = driven is not None and deploy_plant(opened, driven, replace_plant)
        if taught is None:
            report, more = deploying.deploy(opened, progress=_copying(progress)), None
        else:
            pin = int(skip_pin) if skip_pin and skip_pin.isdecimal() else skip_pin
            more = deploying.deploy_policy(
                opened, taught, learn, skip_pin=pin, replace_main=replace_main, progress=_copying(progress)
            )
            report = more.firmware
        # Which tier it comes to is known when it runs.
        learned = {"tier": None} if report.copied or report.deleted else {}
        note(opened.name, firmware=report.manifest.label, digest=report.manifest.digest, **learned)
    if as_json:
        told = {
            **vars(report),
            "port": port,
            "manifest": report.manifest.as_dict(),
            "profile": report.profile.name,
            "tiers": report.tiers,
        }
        if more is not None:
            told["policy"] = {"copied": more.copied, "drives": more.drives, "skip_pin": more.skip_pin, "learn": learn}
        if plant is not None:
            told["plant"] = {"copied": copied}
        show_json(told)
        return
    if plant is not None:
        console.show([f"{plant} is the board's plant.py" if copied else "the board's plant.py was there already"])
    example = "cartpole" if plant is None else example_for(plant) or "mine.toml"
    _show_firmware(port, report, None if more else f"subsong run {example} --port {port}")
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
            ("board", report.profile.title),
            ("kernels", f"{' > '.join(report.tiers)}: the first that computes the known answers there"),
            *(("note", remark) for remark in report.remarks),
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
