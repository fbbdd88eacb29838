"""What the words' resolution costs: weights run again on the nominal plant, behind coarser and coarser sensors.

16 bits cannot be made finer, but they can be made coarser, and what that costs is measured in the same unit as the
gap: cost(bits) - cost(16), same weights, same plant, same episodes. Where the cost has stopped falling well before 16
bits, the words are not what limits. And where a board's sensors show fewer bits than the simulator's did, the cost at
so many bits is the part of the gap that quantisation alone would make.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from subsong.compare.channels import Use, together
from subsong.compare.curves import Floats
from subsong.compare.model import why_no_model
from subsong.compare.records import SIDES, Record, Side
from subsong.compare.transfer import Evaluate, State, with_mismatch
from subsong.console import Progress
from subsong.errors import SubsongError
from subsong.experiment import Experiment

BITS = (4, 6, 8, 10, 12, 14, 16)
EPISODES = 20  # of each run at each resolution, at most


@dataclass(frozen=True)
class Resolution:
    """What the words of both sides were, and what coarser ones cost.

    Attributes:
        sensors: by side, one a sensor, over its runs; none where no log of the side holds a step.
        actuators: likewise.
        bits: resolutions of every sensor, ascending to 16.
        costs: mean physical cost of software's final weights on the nominal plant, shape (bits, runs); no row where it
            could not be measured.
        episodes: behind each.
        reason: why there are no costs.
    """

    sensors: dict[Side, tuple[Use, ...]]
    actuators: dict[Side, tuple[Use, ...]]
    bits: tuple[int, ...]
    costs: Floats
    episodes: int
    reason: str = ""

    def finest(self, side: Side) -> int | None:
        """Return the bits of the side's finest sensor, None without a step."""
        return max((use.bits for use in self.sensors[side]), default=None)

    def clipped(self, side: Side) -> float | None:
        """Return the share of the side's sensor words at an end of their range, None without a step."""
        words = sum(use.words for use in self.sensors[side])
        return sum(use.clipped for use in self.sensors[side]) / words if words else None

    def price(self, bits: int) -> float | None:
        """Return what sensors of so many bits cost more than those of 16, mean over runs."""
        if bits not in self.bits or not len(self.costs):
            return None
        return float((self.costs[self.bits.index(bits)] - self.costs[-1]).mean())

    @property
    def coarser(self) -> bool:
        """True where hardware's finest sensor shows fewer bits than software's."""
        one, two = self.finest("software"), self.finest("hardware")
        return one is not None and two is not None and two < one

    @property
    def hardware_price(self) -> float | None:
        """What hardware's resolution costs on the nominal plant: 0 where it is no coarser than software's."""
        if not (self.sensors["software"] and self.sensors["hardware"]):
            return None
        return self.price(self.finest("hardware") or 0) if self.coarser else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the figures of the report's table and picture."""
        used = {
            side: {
                "sensors": [use.to_json() for use in self.sensors[side]],
                "actuators": [use.to_json() for use in self.actuators[side]],
            }
            for side in SIDES
        }
        costs = {str(bits): row.tolist() for bits, row in zip(self.bits, self.costs, strict=False)}
        return {
            "words": used,
            "nominal_cost_by_sensor_bits": costs,
            "episodes": self.episodes,
            "missing": self.reason,
            "price_of_hardware_bits": self.hardware_price,
        }


def resolve(
    records: Sequence[Record],
    experiment: Experiment,
    states: Sequence[State],
    evaluate: Evaluate,
    *,
    cost_lsb: float,
    episodes: int,
    progress: Progress,
) -> Resolution:
    """Gather the words, and run software's weights behind coarser sensors.

    Args:
        records: every run.
        experiment: software's.
        states: software's final (head, mem), of the runs that count.
        evaluate: runs one of them on a plant.
        cost_lsb: physical cost of one count.
        episodes: of the transfer table; at most EPISODES of them are run.
        progress: advances by one an evaluation.
    """
    sensors: dict[Side, tuple[Use, ...]] = {}
    actuators: dict[Side, tuple[Use, ...]] = {}
    for side in SIDES:
        read = [record.channels for record in records if record.side == side and record.channels.sensors]
        sensors[side] = tuple(map(together, zip(*(each.sensors for each in read), strict=True)))
        actuators[side] = tuple(map(together, zip(*(each.actuators for each in read), strict=True)))
    episodes = min(episodes, EPISODES)
    # Hardware's own resolution is one of those that are measured.
    seen = max((use.bits for use in sensors["hardware"]), default=16)
    bits = tuple(sorted({*BITS, *({seen} if 0 < seen < 16 else ())}))
    nothing = np.empty((0, len(states)))
    reason = why_no_model(experiment) or ("" if states else "no run counts whose weights could be run")
    if reason:
        return Resolution(sensors, actuators, bits, nothing, episodes, reason)
    progress.start("coarser sensors", len(bits) * len(states))
    rows = []
    try:
        for each in bits:
            coarse = with_mismatch(experiment, {"sensor_bits": each})
            row = []
            for head, mem in states:
                costs = evaluate(
                    coarse,
                    experiment.learner.rule,
                    head,
                    mem,
                    mismatch=each < 16,
                    episodes=episodes,
                )
                row.append(float(np.mean(costs)) * cost_lsb)
                progress.advance()
            rows.append(row)
    except SubsongError as error:
        return Resolution(sensors, actuators, bits, nothing, episodes, str(error))
    return Resolution(sensors, actuators, bits, np.array(rows), episodes)
