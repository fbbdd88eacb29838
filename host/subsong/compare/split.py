"""The gap as a sum: what each part of a declared mismatch costs, and what learning under it changes.

Software's final weights meet the mismatch part by part, the next on top of those before, over the episodes of the
transfer table. So the changes add up to the whole gap, exactly; what two parts cost only together counts as the later
one's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from subsong.compare.transfer import Evaluate, State, Table, with_mismatch
from subsong.console import Progress
from subsong.experiment import Experiment

PartName = Literal["quantisation", "timing", "plant", "learning"]
# In the order in which they are added; the plant has every other key.
_KEYS: dict[PartName, tuple[str, ...]] = {
    "quantisation": ("sensor_bits",),
    "timing": ("actuator_delay", "actuator_dropout", "sensor_delay"),
}


@dataclass(frozen=True)
class Part:
    """One term of the sum.

    Attributes:
        name: of the part; "learning" is hardware's weights in place of software's, under the whole mismatch.
        keys: of plant.mismatch that make it.
        change: of the mean cost, physical units.
        cost: mean cost with this part and all before it.
    """

    name: PartName
    keys: tuple[str, ...]
    change: float
    cost: float

    def to_json(self) -> dict[str, Any]:
        """Return it as what JSON can hold."""
        return {"part": self.name, "keys": list(self.keys), "change": self.change, "cost": self.cost}


def split(
    states: Sequence[tuple[Experiment, State]],
    table: Table,
    evaluate: Evaluate,
    *,
    cost_lsb: float,
    progress: Progress,
) -> tuple[Part, ...]:
    """Return the terms from S(nominal) to H(mismatched), or none where the transfer table lacks a cell for it.

    Args:
        states: software's final weights, as the transfer table took them.
        table: the transfer table.
        evaluate: runs weights on a plant.
        cost_lsb: physical cost of one count.
        progress: advances by one an evaluation.
    """
    cost, whole = table.mean("software", "nominal"), table.mean("software", "mismatched")
    end = table.mean("hardware", "mismatched")
    if cost is None or whole is None or end is None:
        return ()
    mismatch = getattr(states[0][0].plant, "mismatch", None)
    declared: dict[str, Any] = {} if mismatch is None else mismatch.model_dump(exclude_defaults=True)
    groups: dict[PartName, tuple[str, ...]] = {
        name: tuple(key for key in declared if key in keys) for name, keys in _KEYS.items()
    }
    groups["plant"] = tuple(key for key in declared if not any(key in keys for keys in _KEYS.values()))
    groups = {name: keys for name, keys in groups.items() if keys}
    progress.start("splitting the gap", max(0, len(groups) - 1) * len(states))
    parts: list[Part] = []
    met: dict[str, Any] = {}
    for name, keys in groups.items():
        met |= {key: declared[key] for key in keys}
        after = whole
        if len(met) < len(declared):
            costs = []
            for experiment, (head, mem) in states:
                there = with_mismatch(experiment, met)
                rule = experiment.learner.rule
                costs.append(evaluate(there, rule, head, mem, mismatch=True, episodes=table.episodes))
                progress.advance()
            after = float(np.mean(costs)) * cost_lsb
        parts.append(Part(name, keys, after - cost, after))
        cost = after
    return (*parts, Part("learning", (), end - cost, end))
