"""The verb that lists what learns: rules."""

import click

from subsong import console
from subsong.cli.app import Verb
from subsong.cli.options import json_option, show_json


@click.command(
    cls=Verb,
    short_help="List the learning rules.",
    examples=[
        ("subsong rules", "what each perturbs, and what a weight is held responsible for"),
        ("subsong rules hebb", "everything about one of them"),
    ],
)
@click.argument("name", required=False)
@json_option
def rules(name: str | None, as_json: bool) -> None:
    """List the learning rules, or say everything about one of them.

    NAME is what an experiment file calls it. docs/rules.md derives each, from first principles down to its integers.
    """
    from subsong.experiment_text import example_named
    from subsong.rules import BY_NAME, COLUMNS, rows

    table = {row[0]: dict(zip(COLUMNS, row, strict=True)) for row in rows()}
    if name is not None and name not in table:
        raise click.UsageError(f"no such rule: {name}; there are {', '.join(table)}")
    if as_json:
        show_json(list(table.values()) if name is None else table[name])
    elif name is None:
        brief = COLUMNS[:3]
        console.table(brief, [[row[column] for column in brief] for row in table.values()])
    else:
        rule = BY_NAME[name]
        keys = []
        for key, option in BY_NAME[name].options:
            allowed, default = f"{option.low} to {option.high}", str(option.default)
            if option.choices:
                allowed, default = " or ".join(option.choices), option.choices[option.default - option.low]
            keys.append((key, f"{option.why} ({allowed}; {default} where left out)"))
        console.last_screen(
            f"{name}: {rule.title}",
            [
                ("control", rule.control),
                *((column, table[name][column]) for column in COLUMNS[1:4]),
                ("rate", "" if rule.rated else "none"),
                *keys,
                ("sources", rule.source),
            ],
            then=f"subsong sim {name}" if example_named(name) else "",
        )
