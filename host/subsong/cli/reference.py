"""Writes what docs/cli.md, docs/experiment.md and docs/rules.md say about verbs, keys and rules, from these themselves.

    python -m subsong.cli.reference docs

A test compares the files with what this would write.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from subsong import rules
from subsong.cli import subsong
from subsong.cli.app import ENVIRONMENT, EXIT_CODES, Verb
from subsong.experiment import Experiment, Learner, Network, Run
from subsong.experiment_check import allowed_of
from subsong.experiment_loop import GymnasiumPlant, HostLoadPlant, MismatchTable, SimulatedPlant, TclabPlant
from subsong.experiment_plant import BoardPlant
from subsong.experiment_tasks import TASKS

COMMAND = "python -m subsong.cli.reference docs"
BEGIN, END = f"<!-- written by `{COMMAND}` -->", "<!-- end -->"
TABLES: dict[str, type[BaseModel]] = {
    "the top of the file": Experiment,
    "[network]": Network,
    "[learner]": Learner,
    '[plant], kind = "gymnasium"': GymnasiumPlant,
    '[plant], kind = "simulated"': SimulatedPlant,
    '[plant], kind = "tclab"': TclabPlant,
    '[plant], kind = "host_load"': HostLoadPlant,
    "[plant.mismatch]": MismatchTable,
    **{f'[plant], kind = "task", name = "{name}"': task for name, task in TASKS.items()},
    '[plant], kind = "board"': BoardPlant,
    "[run]": Run,
}


def verbs() -> str:
    """Return the verbs, exit codes and environment variables as Markdown."""
    lines: list[str] = []
    for title, commands in subsong.sections.items():
        lines += ["", f"## {title}"]
        for command in commands:
            lines += _verb(command)
    lines += ["", "## Exit codes", "", "| code | meaning |", "|---|---|"]
    lines += [f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items()]
    lines += ["", "## Environment", "", "| variable | meaning |", "|---|---|"]
    lines += [f"| `{name}` | {meaning} |" for name, meaning in ENVIRONMENT.items()]
    return "\n".join(lines) + "\n"


def keys() -> str:
    """Return every key of the experiment file as Markdown tables."""
    lines: list[str] = []
    for title, table in TABLES.items():
        lines += ["", f"### {title}", "", "| key | allowed | default | meaning |", "|---|---|---|---|"]
        for name, field in table.model_fields.items():
            if allowed := allowed_of(field):
                lines.append(f"| `{name}` | {allowed} | {_default(field)} | {field.description or ''} |")
    return "\n".join(lines) + "\n"


def filled(text: str, content: str) -> str:
    """Return a document with what stands between its markers replaced."""
    before, rest = text.split(BEGIN + "\n", 1)
    after = rest.split(END, 1)[1]
    return f"{before}{BEGIN}\n{content}{END}{after}"


DOCUMENTS = {"cli.md": verbs, "experiment.md": keys, "rules.md": rules.markdown}


def write(docs: Path) -> None:
    """Bring the documents up to date."""
    for name, content in DOCUMENTS.items():
        path = docs / name
        path.write_text(filled(path.read_text(encoding="utf-8"), content()), encoding="utf-8")


def _verb(command: click.Command, group: str = "subsong") -> Iterator[str]:
    name = f"{group} {command.name}"
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            yield from _verb(inner, name)
        return
    arguments = [_argument(each) for each in command.params if isinstance(each, click.Argument)]
    yield from (
        "",
        f"### {name}",
        "",
        f"    {' '.join([name, *arguments, '[OPTIONS]'])}",
    )
    for paragraph in (command.help or "").split("\n\n"):
        yield from ("", " ".join(paragraph.split()))
    options = [each for each in command.params if isinstance(each, click.Option)]
    if options:
        yield from ("", "| option | meaning |", "|---|---|")
        for option in options:
            yield f"| {', '.join(f'`{each}`' for each in option.opts)}{_values(option)} | {_meaning(option)} |"
    if isinstance(command, Verb):
        for example in command.examples:
            yield from ("", f"{example.does[:1].upper()}{example.does[1:]}:", "", f"    {example.command}")


def _argument(argument: click.Argument) -> str:
    return f"{(argument.name or '').upper()}{'...' if argument.nargs == -1 else ''}"


def _values(option: click.Option) -> str:
    if option.is_flag:
        return ""
    if isinstance(option.type, click.Choice):
        return " " + " or ".join(f"`{choice}`" for choice in option.type.choices)
    return f" {option.type.name.upper()}"


def _meaning(option: click.Option) -> str:
    parts = [" ".join((option.help or "").split())]
    if option.show_default:
        parts.append(f"Default: `{option.default}`.")
    if option.required:
        parts.append(f"Required{f', or `{option.envvar}` set' if option.envvar else ''}.")
    return " ".join(parts)


def _default(field: FieldInfo) -> str:
    default: Any = field.default
    if field.is_required():
        return "required"
    if default is None:
        return "none"
    return f"`{default!r}`".replace("'", '"')


if __name__ == "__main__":
    write(Path(sys.argv[1]))
