"""The experiment file as text: reading it, TOML in and out, and the examples that ship with the package."""

import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from subsong.errors import ExperimentError

MAX_FILE_BYTES = 1 << 20
EXAMPLES = (
    "xor",
    "cartpole",
    "activity_difference",
    "hebb",
    "keep_if_better",
    "run_and_tumble",
    "conductance_perturbation",
    "song",
    "linear_teacher",
    "parity",
    "extended",
    "letters",
    "lqr",
    "delayed_match",
    "sequence",
    "reinforce",
    "hedonistic_synapse",
    "stochastic_spiking",
    "filters",
    "rc_pins",
    "dc_motor_pins",
    "servo_pot_pins",
    "heater_pins",
    "tclab",
    "host_load",
)

# Rules whose examples are named after their tasks.
_OF_RULES = {"weight_perturbation": "xor", "node_perturbation": "xor", "songbird": "song"}

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_MCAP_MAGIC = b"\x89MCAP0\r\n"


def read_text(path: Path) -> str:
    """Read an experiment file.

    Raises:
        ExperimentError: the file is missing, not a file, unreadable, too large, not UTF-8, or a run log.
    """
    try:
        with path.open("rb") as file:
            # Bounded, whatever the path is: a pipe or a device has no size to ask for.
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise ExperimentError(f"{path}: there is no such file; `subsong new {path}` writes one to start from") from None
    except IsADirectoryError:
        raise ExperimentError(f"{path}: is a folder; name an experiment file (.toml) in it") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        raise ExperimentError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if data.startswith(_MCAP_MAGIC):
        raise ExperimentError(f"{path}: is a run log, not an experiment file; `subsong replay {path}` reads it")
    if len(data) > MAX_FILE_BYTES:
        raise ExperimentError(f"{path}: is larger than 1 MiB, so it is no experiment file")
    return decode(data, str(path))


def decode(data: bytes, where: str) -> str:
    """Decode UTF-8, with or without a byte-order mark.

    Raises:
        ExperimentError: the bytes are not UTF-8; the message names line and byte.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ExperimentError(
            f"{where}: line {line}: byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8"
        ) from None


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """Parse TOML.

    Raises:
        ExperimentError: a syntax error; the message names its line.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        found = re.search(r"^(.*) \(at line (\d+), column (\d+)\)$", message, re.DOTALL)
        if found:
            what, line, column = found.groups()
            position = f"line {line}, column {column}"
        else:
            what, position = message.replace(" (at end of document)", ""), f"line {text.count(chr(10)) + 1} (the end)"
        raise ExperimentError(f"{where}: {position}: TOML syntax: {what[:1].lower()}{what[1:]}") from None
    except RecursionError:
        raise ExperimentError(f"{where}: arrays or tables are nested too deeply") from None
    except ValueError:  # int() refuses more than 4300 digits
        raise ExperimentError(f"{where}: a number has too many digits") from None


def to_toml(tables: Mapping[str, Any]) -> str:
    """Write nested tables of numbers, strings, truth values and arrays as TOML; None is left out."""
    return "\n".join(_table_lines(tables, ())) + "\n"


def _table_lines(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    # A table's own keys come before its sub-tables: after a [header], every key belongs to that header.
    inner = {key: value for key, value in table.items() if isinstance(value, Mapping) and key != "parameters"}
    if path:
        yield f"\n[{'.'.join(map(_key, path))}]"
    for key, value in table.items():
        if key not in inner and value is not None:
            yield f"{_key(key)} = {toml_value(value)}"
    for key, value in inner.items():
        yield from _table_lines(value, (*path, key))


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _string(key)


def _string(text: str) -> str:
    # JSON's escapes are TOML's, except that TOML also wants DEL escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def toml_value(value: Any) -> str:
    """Write a number, a text, a truth value, an array or an inline table as TOML has it."""
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)} = {toml_value(item)}" for key, item in value.items()) + "}"
    return "[" + ", ".join(toml_value(item) for item in value) + "]"


def example_text(name: str) -> str:
    """Return the shipped example `name` (one of EXAMPLES) as it stands, comments included."""
    from importlib.resources import files

    return (files("subsong") / "examples" / f"{name}.toml").read_text(encoding="utf-8")


def example_named(name: str) -> tuple[str, str] | None:
    """Return the shipped example of a name, or of a rule: what it is called, and its text; None: there is none."""
    if name in _OF_RULES:
        return _OF_RULES[name], with_learner(example_text(_OF_RULES[name]), name)
    return (name, example_text(name)) if name in EXAMPLES else None


def with_learner(text: str, rule: str) -> str:
    """Return an example's text set to `rule`.

    Some hold another rule's numbers in comments, `#key = value`, beside the active ones, since an amplitude and a rate
    mean something else under each rule. Setting the other rule swaps the two values.

    Raises:
        ExperimentError: this example does not hold the rule's.
    """
    if re.search(rf'^rule = "{rule}"', text, re.MULTILINE):
        return text
    if not re.search(rf'^#rule = "{rule}"', text, re.MULTILINE):
        own = re.findall(r'^#?rule = "(\w+)"', text, re.MULTILINE)
        raise ExperimentError(f"the example has numbers for {' and '.join(own)}, none for {rule}: leave --learner out")
    for key, value in re.findall(r"^#(\w+) = (\S+)", text, re.MULTILINE):
        active = re.search(rf"^{key} = (\S+)", text, re.MULTILINE)
        if active is None:
            raise ExperimentError(f"the example holds `#{key} = {value}` beside no active `{key}`")
        text = re.sub(rf"^#{key} = \S+", f"#{key} = {active[1]}", text, flags=re.MULTILINE)
        text = re.sub(rf"^{key} = \S+", f"{key} = {value}", text, flags=re.MULTILINE)
    return text


def write_example(path: Path, kind: str | None, rule: str | None, overwrite: bool) -> Path:
    """Write a shipped example to a file of one's own.

    Args:
        path: where; ".toml" is added where it is missing.
        kind: one of EXAMPLES; None: the one that the file's name says, else cartpole.
        rule: the learner's rule, of those that the example holds; None: the example's own.
        overwrite: replace a file that is there.

    Returns:
        The path written.

    Raises:
        ExperimentError: the file is there already, or cannot be written; or the example does not hold the rule.
    """

    def text(path: Path) -> str:
        named = example_named(path.stem)
        example, found = (kind, example_text(kind)) if kind else named or ("cartpole", example_text("cartpole"))
        # The comments show lines to type; let them name this file.
        return (with_learner(found, rule) if rule else found).replace(f" {example}.toml", f" {path.name}")

    return write_text(path, text, overwrite)


def write_text(path: Path, text: Callable[[Path], str], overwrite: bool) -> Path:
    """Write an experiment's text to a file of one's own.

    Args:
        path: where; ".toml" is added where it is missing.
        text: returns it, told the path.
        overwrite: replace a file that is there.

    Returns:
        The path written.

    Raises:
        ExperimentError: the file is there already, or cannot be written.
    """
    if not path.name.isprintable() or not path.name:
        raise ExperimentError(f"{str(path)!r}: is no name for a file")
    path = path if path.suffix == ".toml" else path.with_name(path.name + ".toml")
    content = text(path)
    try:
        with path.open("w" if overwrite else "x", encoding="utf-8") as file:
            file.write(content)
    except FileExistsError:
        raise ExperimentError(f"{path}: is there already; --force overwrites it") from None
    except OSError as error:
        raise ExperimentError(f"{path}: cannot be written: {error.strerror}") from None
    return path
