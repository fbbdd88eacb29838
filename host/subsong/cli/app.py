"""What every verb shares: help that teaches, errors in one line, exit codes."""

import difflib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import click

from subsong import errors
from subsong.console import complain

OK, DIFFERENT, USAGE, NO_BOARD, BAD_FILE, BUG = 0, 1, 2, 3, 4, 70
INTERRUPTED, PIPE_CLOSED = 130, 141

EXIT_CODES = {
    OK: "done; nothing differs",
    DIFFERENT: "done, and the answer is no: replay found a difference, compare's verdict is negative",
    USAGE: "the command line, the experiment file, or what it asks of a plant or an engine is wrong",
    NO_BOARD: "the port, the board or the link failed",
    BAD_FILE: "a run log or another file cannot be read, written or replayed",
    BUG: "a bug in Subsong; SUBSONG_DEBUG=1 shows the traceback",
    INTERRUPTED: "interrupted (Ctrl-C); 143 when terminated; the log is closed either way",
    PIPE_CLOSED: "whoever read the output went away",
}
ENVIRONMENT = {
    "SUBSONG_PORT": "the port that --port stands for when it is left out",
    "SUBSONG_CACHE": "the folder of compiled kernels and emulated boards, in place of ~/.cache/subsong",
    "SUBSONG_HEAP": "the heap of --port unix, such as 192K",
    "SUBSONG_PROFILES": "a folder of your own board profiles (docs/boards.md)",
    "SUBSONG_KEYS": "the folder of your boards' keys, in place of ~/.config/subsong/keys",
    "SUBSONG_DEBUG": "1: every error comes with its traceback",
}

# The first class that fits decides, so a class stands before its bases.
_CODES: tuple[tuple[type[Exception], int], ...] = (
    (errors.ExperimentError, USAGE),
    (errors.PlantError, USAGE),
    (errors.EngineError, USAGE),
    (errors.PortError, NO_BOARD),
    (errors.BoardError, NO_BOARD),
    (errors.LinkError, NO_BOARD),
    (errors.LogError, BAD_FILE),
    (errors.TableError, BAD_FILE),
    (errors.ReplayError, BAD_FILE),
    (errors.SubsongError, USAGE),
    (OSError, BAD_FILE),
)


class Example(NamedTuple):
    """A command to show in help, and what it does."""

    command: str
    does: str = ""


class Verb(click.Command):
    """A command whose help ends with examples."""

    def __init__(self, *args: Any, examples: Sequence[tuple[str, str]] = (), **kwargs: Any) -> None:
        kwargs.setdefault("context_settings", {"help_option_names": ["-h", "--help"]})
        super().__init__(*args, **kwargs)
        self.examples = [Example(*example) for example in examples]

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples: what each does, then the line to type."""
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write(f"{'':{formatter.current_indent}}# {example.does}\n")
                    formatter.write(f"{'':{formatter.current_indent}}{example.command}\n")
        super().format_epilog(ctx, formatter)


class Verbs(click.Group):
    """The root: its verbs in the order in which they are met, and the way out.

    Args:
        sections: title to verbs.
    """

    def __init__(self, sections: Mapping[str, Sequence[click.Command]], **kwargs: Any) -> None:
        commands = {verb.name or "": verb for verbs in sections.values() for verb in verbs}
        settings = {"help_option_names": ["-h", "--help"]}
        super().__init__(commands=commands, context_settings=settings, **kwargs)
        self.sections = sections
        self.params.append(
            click.Option(
                ["--version"],
                is_flag=True,
                expose_value=False,
                is_eager=True,
                callback=_version,
                help="Say the version.",
            )
        )

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the verbs in the order of the sections."""
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - likewise
        """Write the verbs, section by section."""
        width = max(map(len, self.commands))
        room = formatter.width - formatter.indent_increment - width - 2
        for title, verbs in self.sections.items():
            with formatter.section(title):
                formatter.write_dl([(f"{verb.name:<{width}}", verb.get_short_help_str(room)) for verb in verbs])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - likewise
        """Write exit codes and environment variables."""
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code), meaning) for code, meaning in EXIT_CODES.items()])
        with formatter.section("Environment"):
            formatter.write_dl(list(ENVIRONMENT.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb; for a mistyped one, name its neighbour."""
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], self.commands, 1)
            hint = f"; did you mean `subsong {near[0]}`?" if near else f"; there are {', '.join(self.commands)}"
            raise click.UsageError(f"no such verb: {args[0]}{hint}", ctx)
        return super().resolve_command(ctx, args)

    def main(  # type: ignore[override]  # click's overloads tell standalone_mode apart; one signature serves both
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        *,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a verb and exit with its code; every error ends here, in one line on stderr."""
        if not standalone_mode:
            return super().main(args, prog_name, standalone_mode=False, **extra)
        try:
            code = super().main(args, prog_name, standalone_mode=False, **extra)
            sys.stdout.flush()
        except SystemExit as stop:
            # Verbs return their codes. What exits with 1 is click, which does so when stdout has gone.
            code = PIPE_CLOSED if stop.code == 1 else stop.code
        except BaseException as error:  # noqa: BLE001 - the last handler: whatever arrives must become a line and a code
            code = report(error)
        sys.exit(code if isinstance(code, int) else OK)


def report(error: BaseException) -> int:
    """Tell an error to stderr; return the exit code."""
    if os.environ.get("SUBSONG_DEBUG", "0") not in {"", "0"}:
        import traceback

        traceback.print_exception(error)
    if isinstance(error, click.UsageError):
        complain(f"error: {error.format_message()}")
        complain(f"try `{error.ctx.command_path if error.ctx else 'subsong'} --help`")
        return USAGE
    if isinstance(error, click.ClickException):
        complain(f"error: {error.format_message()}")
        return USAGE
    if isinstance(error, KeyboardInterrupt) or isinstance(error.__cause__, KeyboardInterrupt):
        complain("interrupted")
        return INTERRUPTED
    for kind, code in _CODES:
        if isinstance(error, kind):
            # Each of an experiment's errors is a line that stands by itself.
            for line in _message(error).splitlines():
                complain(f"error: {line}")
            for note in getattr(error, "__notes__", ()):
                complain(note)
            return code
    complain(f"error: {type(error).__name__}: {' '.join(str(error).split())[:500]}")
    complain("this is a bug; run with SUBSONG_DEBUG=1 for the traceback")
    return BUG


def _message(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__


def _version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from importlib.metadata import PackageNotFoundError, version

        try:
            number = version("subsong")
        except PackageNotFoundError:  # run from a checkout that is not installed
            number = "(not installed)"
        click.echo(f"subsong {number}")
        ctx.exit()
