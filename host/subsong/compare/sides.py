"""Who is set against whom: the simulator against boards as the logs say it, or two sets of runs as the user says it.

In code and in JSON the two sides are "software" and "hardware". Where the user sets two sets apart ("A... vs B..."),
the first stands in software's place and the second in hardware's, and both go by other names (`Sides.labels`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from subsong.compare.records import SIDES, Record, Side
from subsong.errors import ExperimentError
from subsong.experiment import Experiment

# Two sets may differ in what learns and for how long, never in what a cost means.
_FREE = (
    "learner.",
    "network.",
    *(f"run.{key}" for key in ("trials", "evaluate_every", "evaluate_episodes", "stop_cost", "margin")),
    *(f"run.{key}" for key in ("checkpoint_every", "deadman_ms")),
)


@dataclass(frozen=True)
class Sides:
    """Two sets of runs.

    Attributes:
        apart: True where the user set them apart.
        labels: what a side is called within a sentence.
        experiments: what a side ran; a side without a run has the other's.
        differences: keys of the experiment in which the sides differ, with both values; "" where one is not set.
    """

    apart: bool
    labels: Mapping[Side, str]
    experiments: Mapping[Side, Experiment]
    differences: tuple[tuple[str, str, str], ...] = ()

    def title(self, name: str) -> str:
        """Return what a side is called at the head of a column; any other name, its first letter made large."""
        label = self.labels[name] if name in SIDES else name
        return label[:1].upper() + label[1:]


def judge_sides(records: Sequence[Record], *, apart: bool, labels: Sequence[str] = ()) -> Sides:
    """Refuse what cannot be compared, and name what can.

    Args:
        records: at least one, each with its side.
        apart: the user set the sides apart.
        labels: what the user calls them; none: what they differ in names them.

    Raises:
        ExperimentError: runs of one side are no repetitions of one another (another experiment, another plant), or the
            costs of the two sides mean different things; the message names both logs and every key.
    """
    firsts: dict[Side, Record] = {}
    for record in records:
        first = firsts.setdefault(record.side, record)
        _refuse(first, record, differing(first.experiment, record.experiment), apart)
        if record.own_plant != first.own_plant:
            raise ExperimentError(
                f"{first.path} learned on the {first.own_plant} plant, {record.path} on the {record.own_plant} one. "
                "They are no repetitions of one another: name one kind of run a side, or set the two kinds against "
                "each other: subsong compare LOGS... vs LOGS..."
            )
    one, two = firsts.get("software"), firsts.get("hardware")
    differences = differing(one.experiment, two.experiment) if one and two else []
    if one and two:
        _refuse(one, two, [each for each in differences if not (apart and each[0].startswith(_FREE))], apart)
    any_run = next(iter(firsts.values())).experiment
    experiments = {side: firsts[side].experiment if side in firsts else any_run for side in SIDES}
    names = labels or (_names(one, two, differences) if apart else SIDES)
    return Sides(apart, dict(zip(SIDES, names, strict=True)), experiments, tuple(differences))


def differing(one: Experiment, two: Experiment) -> list[tuple[str, str, str]]:
    """Return the keys in which two experiments differ, their seeds aside, with both values; "" for one not set."""
    if one.with_seed(0).digest == two.with_seed(0).digest:
        return []
    left, right = flatten(one.model_dump()), flatten(two.model_dump())
    keys = sorted({*left, *right} - {"seed"})
    return [(key, left.get(key, ""), right.get(key, "")) for key in keys if left.get(key) != right.get(key)]


def _refuse(one: Record, two: Record, differences: Sequence[tuple[str, str, str]], apart: bool) -> None:
    if not differences:
        return
    lines = [f"  {key}: {left or 'not set'} against {right or 'not set'}" for key, left, right in differences]
    if not apart and all(key.startswith(_FREE) for key, _, _ in differences):
        lines.append("To set two rules or settings against each other: subsong compare LOGS... vs LOGS...")
    what = "these keys must be the same:" if apart else "compare runs that differ in their seed only:"
    raise ExperimentError(f"{one.path} and {two.path} are runs of different experiments; {what}\n" + "\n".join(lines))


def _names(one: Record | None, two: Record | None, differences: Sequence[tuple[str, str, str]]) -> tuple[str, str]:
    """Name two sets by what they differ in: by whether a board learned, by rule, by one key, or by plant."""
    if one is None or two is None:
        return ("first set", "second set")
    if one.header.source != two.header.source:
        names = {"sim": "software", "board": "hardware"}
        return (names[one.header.source], names[two.header.source])
    rules = [record.experiment.learner.rule.replace("_", " ") for record in (one, two)]
    if rules[0] != rules[1]:
        return (rules[0], rules[1])
    if len(differences) == 1:
        key, left, right = differences[0]
        name = key.rpartition(".")[2]
        return (f"{name} {left or 'not set'}", f"{name} {right or 'not set'}")
    if not differences and one.own_plant != two.own_plant:
        return (f"{one.own_plant}-plant", f"{two.own_plant}-plant")
    return ("first set", "second set")


def flatten(table: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested tables as dotted keys and text, leaving out what is not set."""
    flat: dict[str, str] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        elif value is not None:
            flat[prefix + key] = _plain(value)
    return flat


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_plain(item) for item in value) + "]"
    return f"{value:.12g}" if isinstance(value, float) else str(value)
