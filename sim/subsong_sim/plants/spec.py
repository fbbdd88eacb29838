"""What a plant is, as data: the `[plant]` and `[plant.mismatch]` tables of an experiment.

Nothing is imported here but the standard library, so that reading an experiment starts neither Gymnasium nor Numba.
What can be judged without the environment is judged here; the rest is judged where the plant is made.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

from subsong_sim.errors import PlantError

Parameter = float | int | str
Range = tuple[float, float]

KINDS = ("gymnasium", "simulated", "tclab", "host_load", "task")
PERIODIC = ("tclab", "host_load")
MAX_DELAY = 1000  # steps; a delay line longer than a trial's useful part is a typing error


@dataclass(frozen=True, slots=True)
class PlantSpec:
    """The nominal plant.

    Attributes:
        kind: "gymnasium", "simulated", "tclab" or "host_load", plants in the loop, or "task", an integer task on the
            board.
        id: the Gymnasium environment, for example "CartPole-v1".
        name: the task, for kind "task"; for "simulated", the model (subsong_sim.plants.models).
        parameters: those of the environment or model that differ from its defaults, in its own units.
        sensor_range: (low, high) for each sensor, physical, mapped to the words -32767..32767; None takes the
            plant's own bounds, which must then be finite.
        actuator_range: the same for each actuator that is no choice; None takes the plant's bounds.
        cost_lsb: physical cost of one count; the cost word is round(-reward / cost_lsb).
        target_range: (low, high) from which each episode draws a set point, for kinds "tclab" and "host_load".
        period_ms: of one step, for the same: simulated, or real where the plant is.

    Raises:
        PlantError: a value is wrong by itself; the message lists every such key.
    """

    kind: str = "gymnasium"
    id: str = ""
    name: str = ""
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    sensor_range: Sequence[Sequence[float]] | None = None
    actuator_range: Sequence[Sequence[float]] | None = None
    cost_lsb: float = 1.0
    target_range: Sequence[Sequence[float]] | None = None
    period_ms: int = 0

    def __post_init__(self) -> None:
        problems: list[str] = []
        if self.kind not in KINDS:
            problems.append(f"plant.kind: {self.kind!r} is unknown; use one of {', '.join(KINDS)}")
        if self.kind == "gymnasium" and not self.id:
            problems.append("plant.id: missing; name a Gymnasium environment, for example 'CartPole-v1'")
        if self.kind == "task" and not self.name:
            problems.append("plant.name: missing; name a task, for example 'xor'")
        if self.kind == "simulated" and not self.name:
            problems.append("plant.name: missing; name a simulated plant, for example 'pendulum'")
        if self.kind in PERIODIC and self.period_ms < 1:
            problems.append(f"plant.period_ms: {self.period_ms!r} must be above 0: a step takes its time")
        _check_parameters(problems, "plant.parameters", self.parameters)
        for key, ranges in (("sensor_range", self.sensor_range), ("actuator_range", self.actuator_range)):
            if ranges is not None:
                _check_ranges(problems, f"plant.{key}", ranges)
        if self.target_range is not None:
            _check_ranges(problems, "plant.target_range", self.target_range, point=True)
        if not (math.isfinite(self.cost_lsb) and self.cost_lsb > 0):
            problems.append(f"plant.cost_lsb: {self.cost_lsb!r} must be a finite number above 0")
        _raise(problems)
        # The caller's dict is not ours to watch: a copy keeps the frozen promise.
        object.__setattr__(self, "parameters", dict(self.parameters))


@dataclass(frozen=True, slots=True)
class Mismatch:
    """What the real plant does otherwise than the nominal one. Every default is neutral: it changes no word.

    Fractions are of a channel's half range: 1.0 is 32767 counts.

    Attributes:
        parameters: attributes of the environment; they go over those of the nominal plant.
        port: serial port of the real plant, for kind "tclab"; "" where it is simulated, too.
        actuator_lag: share of the last step's actuation that remains, 0 (none) to below 1; Box actions only.
        actuator_delay: steps that a command takes to arrive.
        actuator_dropout: probability that a step's command is lost and the last one stays.
        actuator_gain: factor on every command; Box actions only.
        actuator_offset: fraction added to every command; Box actions only.
        actuator_deadband: commands up to this fraction do nothing; Box actions only.
        actuator_backlash: play of the gear, as a fraction, between its two ends; Box actions only.
        sensor_delay: steps by which sensors lag behind.
        sensor_noise: standard deviation of a Gaussian on every reading, as a fraction.
        sensor_bits: resolution of the sensors over the word range; 16 changes nothing.

    Raises:
        PlantError: a value is outside its limits; the message lists every such key.
    """

    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    port: str = ""
    actuator_lag: float = 0.0
    actuator_delay: int = 0
    actuator_dropout: float = 0.0
    actuator_gain: float = 1.0
    actuator_offset: float = 0.0
    actuator_deadband: float = 0.0
    actuator_backlash: float = 0.0
    sensor_delay: int = 0
    sensor_noise: float = 0.0
    sensor_bits: int = 16

    def __post_init__(self) -> None:
        problems: list[str] = []
        _check_parameters(problems, "plant.mismatch.parameters", self.parameters)
        for key, low, high, allowed in _REALS:
            value = getattr(self, key)
            if not low <= value <= high:
                problems.append(f"plant.mismatch.{key}: {value!r} is not allowed; use {allowed}")
        for key, low, high in (
            ("actuator_delay", 0, MAX_DELAY),
            ("sensor_delay", 0, MAX_DELAY),
            ("sensor_bits", 1, 16),
        ):
            value = getattr(self, key)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                problems.append(f"plant.mismatch.{key}: {value!r} is not allowed; use a whole number {low}..{high}")
        _raise(problems)
        object.__setattr__(self, "parameters", dict(self.parameters))

    def changed(self) -> dict[str, float | int]:
        """Return the effects that are not neutral, in the order in which they are declared."""
        effects = [f for f in fields(self) if f.name not in ("parameters", "port")]
        return {f.name: getattr(self, f.name) for f in effects if getattr(self, f.name) != f.default}


_BELOW_ONE = math.nextafter(1.0, 0.0)
_REALS = (
    ("actuator_lag", 0.0, _BELOW_ONE, "a number from 0 to below 1"),
    ("actuator_dropout", 0.0, 1.0, "a probability, 0 to 1"),
    ("actuator_gain", -10.0, 10.0, "a number from -10 to 10"),
    ("actuator_offset", -1.0, 1.0, "a fraction from -1 to 1"),
    ("actuator_deadband", 0.0, 1.0, "a fraction from 0 to 1"),
    ("actuator_backlash", 0.0, 2.0, "a fraction from 0 to 2"),
    ("sensor_noise", 0.0, 1.0, "a fraction from 0 to 1"),
)


def _check_parameters(problems: list[str], key: str, parameters: Mapping[str, object]) -> None:
    for name, value in parameters.items():
        if isinstance(value, str):
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            problems.append(f"{key}.{name}: {value!r} must be a finite number")


def _check_ranges(problems: list[str], key: str, ranges: Sequence[Sequence[float]], *, point: bool = False) -> None:
    """Tell of pairs that are none; with `point`, both ends may be equal."""
    for i, pair in enumerate(ranges):
        if len(pair) != 2:
            problems.append(f"{key}[{i}]: {list(pair)!r} must be a pair [low, high]")
        elif not (
            math.isfinite(pair[0]) and math.isfinite(pair[1]) and (pair[0] < pair[1] or (point and pair[0] == pair[1]))
        ):
            problems.append(f"{key}[{i}]: {list(pair)!r} must be two finite numbers, low below high")


def _raise(problems: list[str]) -> None:
    if problems:
        raise PlantError("\n".join(problems))
