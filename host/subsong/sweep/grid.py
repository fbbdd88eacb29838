"""What a sweep varies: `KEY=VALUES` parsed, and the experiment under each setting, checked as if the file said so.

4:9           every whole number from 4 to 9, both ends included
4:16:4        every fourth: 4, 8, 12, 16
0.1:0.5:0.1   the same in decimals, which are exact: 0.1, 0.2, 0.3, 0.4, 0.5
0.01:0.5      anything between: for a search, which needs no grid
0,0.1,0.3     these values; so, too, tanh,logistic and [2,4,1],[2,8,1]
"""

import copy
import itertools
import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

from subsong.errors import ExperimentError
from subsong.experiment import Experiment, from_tables
from subsong.experiment_text import toml_value

MOST_VALUES = 10_000  # of one key: more is a slip of the pen
MOST_SETTINGS = 100_000  # likewise, of all keys together
_NUMBER = r"([-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)"
_PIECE = re.compile(r"""(?<![^,\s])(?:"(?:\\.|[^"\\])*"|'[^']*')|.""", re.DOTALL)
_RANGE = re.compile(rf"{_NUMBER}:{_NUMBER}(?::{_NUMBER})?")


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, `step` apart, both ends included where they fit; without step, any real number."""

    low: Decimal
    high: Decimal
    step: Decimal | None

    @property
    def whole(self) -> bool:
        """Whether all of them are whole numbers."""
        return self.step is not None and all(each.as_tuple().exponent == 0 for each in (self.low, self.high, self.step))

    @property
    def count(self) -> int:
        """How many there are; 0: no end of them."""
        return 0 if self.step is None else int((self.high - self.low) // self.step) + 1

    def values(self) -> Iterator[int | float]:
        """Yield them in order."""
        for i in range(self.count):
            assert self.step is not None
            value = self.low + i * self.step
            yield int(value) if self.whole else float(value)


@dataclass(frozen=True)
class Vary:
    """One key that a sweep varies.

    Attributes:
        key: of the experiment file, dotted: learner.rate_shift.
        text: the values as they were given.
        values: all of them, in order; none of a range of reals that has no step.
        range: what they are, where they were not listed.
    """

    key: str
    text: str
    values: tuple[Any, ...]
    range: Range | None = None


@dataclass(frozen=True)
class Setting:
    """One point of a sweep.

    Attributes:
        values: by key.
        experiment: with these values, under the sweep's first seed.
    """

    values: Mapping[str, Any]
    experiment: Experiment

    @cached_property
    def digest(self) -> str:
        """What names the setting, whatever its seed."""
        return under(self.experiment, 0).digest

    @property
    def label(self) -> str:
        """The values in one line."""
        return ", ".join(f"{key} = {toml_value(value)}" for key, value in self.values.items())


def under(experiment: Experiment, seed: int) -> Experiment:
    """Return the experiment under another seed, which is known to be one."""
    return experiment.model_copy(update={"seed": seed})


def parse_vary(text: str) -> Vary:
    """Parse KEY=VALUES.

    Raises:
        ExperimentError: it is none, or its range has no values or too many.
    """
    key, equals, values = (part.strip() for part in text.partition("="))
    where = f"--vary {text}"
    if not equals or not values or not all(key.split(".")):
        raise ExperimentError(f"{where}: is no KEY=VALUES, such as learner.rate_shift=4:9 or learner.amplitude=0.1,0.2")
    if key == "seed":
        raise ExperimentError(f"{where}: seeds are not varied but counted: --seeds, and --seed for the first one")
    if found := _RANGE.fullmatch(values):
        span = _range(where, *found.groups())
        return Vary(key, values, tuple(span.values()), span)
    listed = _list(values)
    if "" in listed:
        raise ExperimentError(f'{where}: has an empty value; an empty text is ""')
    return Vary(key, values, tuple(listed))


def _range(where: str, low: str, high: str, step: str | None) -> Range:
    ends = Decimal(low), Decimal(high)
    if math.inf in map(abs, map(float, (*ends, step or 0))):
        raise ExperimentError(f"{where}: its numbers are too large")
    whole = all(end.as_tuple().exponent == 0 for end in ends)
    span = Range(*ends, Decimal(step) if step else Decimal(1) if whole else None)
    if span.low > span.high:
        raise ExperimentError(f"{where}: a range goes up; write {high}:{low}")
    if span.step is not None and span.step <= 0:
        raise ExperimentError(f"{where}: its step is {step} (allowed: above 0)")
    if span.step is not None and span.high - span.low >= MOST_VALUES * span.step:
        raise ExperimentError(
            f"{where}: makes more than {MOST_VALUES:,} values; give a {'larger step' if step else 'step'}"
        )
    return span


def _list(text: str) -> list[Any]:
    """Return listed values: TOML where they are TOML, else the text itself, so that names need no quotes."""
    try:
        return list(_toml(f"[{text}]"))
    except (ValueError, RecursionError):
        return [_item(item.strip()) for item in _split(text)]


def _split(text: str) -> list[str]:
    """Split a text at its commas, those within quotes left out."""
    items = [""]
    for piece in _PIECE.findall(text):
        if piece == ",":
            items.append("")
        else:
            items[-1] += piece
    return items


def _item(text: str) -> Any:
    try:
        return _toml(text) if text else ""
    except (ValueError, RecursionError):
        return text


def _toml(text: str) -> Any:
    return tomllib.loads(f"value = {text}")["value"]


def parse_varied(texts: Sequence[str]) -> list[Vary]:
    """Parse every KEY=VALUES of a command.

    Raises:
        ExperimentError: one is wrong, or a key comes twice.
    """
    varied = [parse_vary(text) for text in texts]
    keys = [vary.key for vary in varied]
    for key in keys:
        if keys.count(key) > 1:
            raise ExperimentError(f"--vary {key}: comes twice; give all its values at once: --vary {key}=A,B,C")
    return varied


def grid(tables: Mapping[str, Any], where: str, varied: Sequence[Vary]) -> list[Setting]:
    """Return every combination of the varied keys' values, the last key running fastest; equal ones once.

    Args:
        tables: the experiment file's, as they stand there.
        where: what to call the file in messages.
        varied: the keys; none: the experiment as it is.

    Raises:
        ExperimentError: a combination is no experiment, a range has no end of values, or there are too many.
    """
    for vary in varied:
        if not vary.values:
            raise ExperimentError(
                f"--vary {vary.key}={vary.text}: has no end of values; give a step, as in 0.1:0.5:0.1, or --search"
            )
    count = math.prod(len(vary.values) for vary in varied)
    if count > MOST_SETTINGS:
        raise ExperimentError(
            f"--vary: {count:,} combinations of values (allowed: at most {MOST_SETTINGS:,}); give fewer, or --search"
        )
    combinations = itertools.product(*(vary.values for vary in varied))
    keys = [vary.key for vary in varied]
    settings = (setting_of(tables, where, dict(zip(keys, each, strict=True))) for each in combinations)
    return list({each.digest: each for each in settings}.values())


def setting_of(tables: Mapping[str, Any], where: str, values: Mapping[str, Any]) -> Setting:
    """Return the experiment with these values in place of the file's.

    Raises:
        ExperimentError: it is none; messages name the file, the values and the key.
    """
    where += "".join(f" with --vary {key}={toml_value(value)}" for key, value in values.items())
    changed = copy.deepcopy(dict(tables))
    for dotted, value in values.items():
        table, (*parents, key) = changed, dotted.split(".")
        for depth, parent in enumerate(parents, 1):
            table = table.setdefault(parent, {})
            if not isinstance(table, dict):
                raise ExperimentError(f"{where}: {'.'.join(parents[:depth])}: is no table, so it has no key {key}")
        table[key] = value
    return Setting(values, from_tables(changed, where))
