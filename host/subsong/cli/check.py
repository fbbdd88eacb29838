"""The verb that proves an experiment's arithmetic: check."""

import click

from subsong import console
from subsong.cli.app import Verb
from subsong.cli.options import json_option, load, show_json


@click.command(
    cls=Verb,
    short_help="Prove that an experiment's arithmetic fits 32 bits.",
    examples=[("subsong check mine.toml", "before a long run: every expression of every kernel, for these numbers")],
)
@click.argument("experiment")
@json_option
def check(experiment: str, as_json: bool) -> None:
    """Prove that no expression of any kernel leaves 32 bits, whatever the plant does, for this experiment.

    The file is validated; then the kernels run on intervals instead of numbers, every trial and every step at once
    (docs/ranges.md). What cannot be proved is named: file, line, expression, interval. EXPERIMENT is a file, or the
    name of an example: xor, cartpole.
    """
    loaded, name = load(experiment, None)
    from subsong.ranges import prove_experiment

    proof = prove_experiment(loaded)
    (kernel, line, *_), (low, high) = proof.widest
    if as_json:
        widest = {"kernel": kernel, "line": line, "low": low, "high": high}
        show_json({"proved": len(proof.seen), "kernels": proof.kernels, "widest": widest})
        return
    console.last_screen(
        f"{name}: proved to stay within 32 bits",
        [
            ("expressions", f"{len(proof.seen)} in {proof.kernels} kernels, for any plant and any number of trials"),
            ("largest", f"{low} to {high}: {kernel}, line {line}"),
        ],
        then=f"subsong {'run' if loaded.plant.kind == 'board' else 'sim'} {experiment}",
    )
