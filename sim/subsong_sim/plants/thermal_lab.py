"""The Temperature Control Lab: heaters and thermometers on an Arduino shield, or the model that `tclab` has of it.

One or two heaters, of 0 to 100 % power, each with a thermometer and a set point (J. D. Hedengren's lab, J. Kantor's
Python package, https://tclab.readthedocs.io). The sensors are the temperatures and then the set points, degrees
Celsius; the cost is the sum of the squared errors of the measured temperatures, K^2, divided by `cost_lsb`. With one
set point, the second heater stays off and the second thermometer is ignored.

The model is tclab's TCLabModel, told the time by steps instead of by a clock, its noise a function of the reset seed:
as fast as the processor, and deterministic. An episode of the model begins at the ambient temperature; one of a lab
with what the last one has left, heaters off.
"""

from collections.abc import Mapping, Sequence

from subsong_sim.errors import PlantError
from subsong_sim.plants.base import (
    check_seed,
    check_words,
    cost_word,
    describe_settings,
    resolve_ranges,
    scale_of,
    sensor_words,
    to_physical,
)
from subsong_sim.plants.clock import Clock
from subsong_sim.plants.spec import Parameter, PlantSpec, Range
from subsong_sim.plants.target import targets
from subsong_sim.plants.tclab_drivers import OFF, Lab, ModelLab, RealLab

TARGETS = ((30.0, 50.0), (25.0, 40.0))
COLDEST, HOTTEST = 0.0, 100.0
FULL = 100.0
PARAMETERS = ("P1", "P2", "Ta")  # full power of the heaters in tclab's units, 200 and 100; ambient temperature, 21


class ThermalLab:
    """A Lab as a Plant.

    Args:
        spec: `target_range` (one or two), the other ranges and `cost_lsb` count.
        lab: what is driven.
        title: which lab it is, for the description.
        settings: what of it is not as always, likewise.

    Raises:
        PlantError: ranges that do not fit.
    """

    discrete_actions = False
    done = False

    def __init__(self, spec: PlantSpec, lab: Lab, title: str, settings: Mapping[str, Parameter]) -> None:
        self._lab, self.clock = lab, lab.clock
        self._targets = spec.target_range or TARGETS
        self.n_actuators = n = len(self._targets)
        if not 1 <= n <= 2:
            raise PlantError(f"plant.target_range: {n} pairs, but the lab has 2 heaters; declare one or two set points")
        self.n_sensors = 2 * n
        sensed = resolve_ranges(
            "plant.sensor_range", "tclab", "sensor", spec.sensor_range, [COLDEST] * 2 * n, [HOTTEST] * 2 * n
        )
        self._powers = resolve_ranges(
            "plant.actuator_range", "tclab", "actuator", spec.actuator_range, [OFF] * n, [FULL] * n
        )
        for i, (low, high) in enumerate(self._powers):
            if low < OFF or high > FULL:
                raise PlantError(f"plant.actuator_range[{i}]: {[low, high]} is wider than 0 to 100 percent")
        self._scales = [scale_of(bounds) for bounds in sensed]
        self._cost_lsb = spec.cost_lsb
        self._target: list[float] = []
        self._words: list[int] | None = None
        self._cost = 0
        ranges: dict[str, Sequence[Range] | None] = {
            "target_range": [(low, high) for low, high in self._targets],
            "sensor_range": sensed,
            "actuator_range": self._powers,
        }
        text = describe_settings(dict(settings), ranges, spec.cost_lsb)
        self.description = f"tclab, {title}, a step of {spec.period_ms} ms: {text}"

    def reset(self, seed: int) -> None:
        """Draw the set points, switch the heaters off, and begin an episode."""
        self._target = targets(self._targets, check_seed(seed))
        self._lab.reset(seed)
        self._cost = 0
        self._look()

    def sense(self) -> list[int]:
        """Return temperatures and set points as words."""
        if self._words is None:
            raise PlantError("tclab: sense() before the first reset()")
        return self._words

    def actuate(self, u: Sequence[int]) -> None:
        """Heat for a step, and measure."""
        if self._words is None:
            raise PlantError("tclab: actuate() before reset()")
        check_words(u, self.n_actuators, "tclab")
        self._lab.heat([to_physical(word, bounds) for word, bounds in zip(u, self._powers, strict=True)])
        self._lab.advance()
        measured = self._look()
        error = sum((value - target) ** 2 for value, target in zip(measured, self._target, strict=True))
        self._cost = cost_word(-error, self._cost_lsb)

    def cost(self) -> int:
        """Return the last step's summed squared errors, in counts of cost_lsb."""
        return self._cost

    def safe(self) -> None:
        """Switch the heaters off."""
        self._lab.heat([OFF] * 2)

    def close(self) -> None:
        """Switch the heaters off, and let go of the lab."""
        self._lab.close()

    def _look(self) -> list[float]:
        measured = self._lab.measure()[: self.n_actuators]
        self._words = sensor_words([*measured, *self._target], self._scales)
        return measured


def make_lab(spec: PlantSpec, over: Mapping[str, Parameter], port: str, clock: Clock | None) -> ThermalLab:
    """Make the plant of kind "tclab".

    Args:
        spec: the nominal plant.
        over: `plant.mismatch.parameters`, which go over those of the nominal plant.
        port: of a lab; "" for the model.
        clock: ends the steps of a lab.

    Raises:
        PlantError: tclab is not installed, there is no lab, or a key does not fit.
    """
    for key, given in (("plant.parameters", spec.parameters), ("plant.mismatch.parameters", over)):
        for name, value in given.items():
            if name not in PARAMETERS or isinstance(value, str):
                raise PlantError(f"{key}.{name}: the model has no such number; use one of {', '.join(PARAMETERS)}")
    if not port:
        settings = {**spec.parameters, **over}
        return ThermalLab(spec, ModelLab(spec.period_ms / 1000.0, settings), "its model", settings)
    if over:
        raise PlantError("plant.mismatch.parameters: the lab at plant.port is no model; leave one of the two out")
    lab = RealLab(port, clock or Clock(spec.period_ms))
    try:
        return ThermalLab(spec, lab, f"the lab at {port}", {})
    except PlantError:
        lab.close()
        raise
