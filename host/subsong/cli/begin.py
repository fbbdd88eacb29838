"""The verbs to begin with: new and demo."""

from pathlib import Path

import click

from subsong import console
from subsong.cli.app import Verb
from subsong.experiment_text import EXAMPLES


@click.command(
    cls=Verb,
    short_help="Write a commented experiment file.",
    examples=[
        ("subsong new mine", "balance a pole, on a plant with friction, delay and drop-outs"),
        (
            "subsong new mine --kind xor --learner node_perturbation",
            "a task that runs wholly on the board, by the other rule",
        ),
        ("subsong new song", "the example of that name: `subsong rules` lists what there is to learn by"),
        ("subsong new mine --plant InvertedPendulum-v5", "any plant, by numbers that are the same for all of them"),
        ("subsong new mine --plant pendulum --hidden 16", "one that a linear policy cannot swing up"),
    ],
)
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice(EXAMPLES),
    metavar="EXAMPLE",
    help="The example to start from: xor, letters, song; a wrong name lists all.  [default: NAME's, else cartpole]",
)
@click.option(
    "--learner",
    type=click.Choice(["weight_perturbation", "node_perturbation"]),
    help="The rule, with numbers that suit it, of cartpole and xor, which hold both.  [default: the example's]",
)
@click.option(
    "--plant",
    metavar="PLANT",
    help="This plant, with nothing tuned to it: a Gymnasium id, a simulated plant's name, tclab, host_load.",
)
@click.option("--hidden", type=click.IntRange(1, 4095), multiple=True, help="With --plant: a hidden layer's units.")
@click.option(
    "--trials",
    type=click.IntRange(2, 10_000_000),
    help="With --plant: learning trials.  [default: 2000, of host_load 200]",
)
@click.option("--force", is_flag=True, help="Overwrite a file that is there.")
def new(
    name: str,
    kind: str | None,
    learner: str | None,
    plant: str | None,
    hidden: tuple[int, ...],
    trials: int | None,
    force: bool,
) -> None:
    """Write an experiment file to start from, every key explained in it.

    NAME is the file's; .toml is added where it is missing.
    """
    from subsong.experiment_text import write_example, write_text

    if plant is not None and (kind or learner):
        raise click.UsageError("--plant excludes --kind and --learner")
    if plant is None and (hidden or trials):
        raise click.UsageError("--hidden and --trials go with --plant")
    if plant is not None:
        from subsong.defaults import commented, default_experiment, plant_named

        made = default_experiment(plant_named(plant), hidden=hidden, trials=trials)
        path = write_text(Path(name), lambda path: commented(made, path.name), force)
    else:
        path = write_example(Path(name), kind, learner, force)
    own = 'kind = "board"' in path.read_text(encoding="utf-8")
    console.show([f"wrote {path}: read it, change it, then `subsong {'run' if own else 'sim'} {path}`"])


@click.command(
    cls=Verb,
    short_help="See it all, in about three minutes.",
    examples=[("subsong demo", "nothing has to be plugged in")],
)
def demo() -> int | None:
    """Learn on an embedded board and in the simulator, replay the log bit for bit, and compare the two.

    The board is genuine MicroPython in a process of its own, behind a serial port. Logs and report go to runs/.
    """
    from subsong.demo import main

    code: int | None = main()
    return code
