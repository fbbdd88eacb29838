"""A simulated plant, one of `models`, in words."""

from collections.abc import Mapping, Sequence

import numpy as np

from subsong_sim.errors import PlantError
from subsong_sim.plants.base import describe_settings, resolve_ranges, scale_of
from subsong_sim.plants.compiled import model_functions
from subsong_sim.plants.compiled_plant import CompiledPlant
from subsong_sim.plants.models import model, parameter_values
from subsong_sim.plants.spec import Parameter, PlantSpec, Range


class SimulatedPlant(CompiledPlant):
    """A plant by the equations of its model.

    Attributes:
        sensor_ranges: (low, high) of each sensor, physical units, onto the words +-32767.

    Args:
        spec: the nominal plant; `name` is the model's.
        mismatch_parameters: `plant.mismatch.parameters`, which go over those of the nominal plant.

    Raises:
        PlantError: the name, a parameter or a range is not allowed.
    """

    discrete_actions = False

    def __init__(self, spec: PlantSpec, mismatch_parameters: Mapping[str, Parameter] | None = None) -> None:
        known = model(spec.name)
        values = parameter_values(spec.name, spec.parameters, mismatch_parameters)
        ranges: dict[str, Sequence[Range] | None] = {}
        for channel, declared in (("sensor", spec.sensor_range), ("actuator", spec.actuator_range)):
            channels = known.SENSORS if channel == "sensor" else known.ACTUATORS
            lows, highs = [each[2] for each in channels], [each[3] for each in channels]
            key = f"{channel}_range"
            ranges[key] = resolve_ranges(f"plant.{key}", spec.name, channel, declared, lows, highs)
        sensors, actuators = (each or [] for each in ranges.values())
        for i, ((low, high), (name, unit, least, most)) in enumerate(zip(actuators, known.ACTUATORS, strict=True)):
            if low < least or high > most:
                raise PlantError(
                    f"plant.actuator_range[{i}]: [{low:g}, {high:g}] is wider than the {name} of {spec.name} can be; "
                    f"stay within [{least:g}, {most:g}] {unit}"
                )
        scales = [number for bounds in sensors for number in scale_of(bounds)]
        spans = [number for low, high in actuators for number in ((low + high) / 2.0, (high - low) / 2.0, low, high)]
        self.sensor_ranges = sensors
        super().__init__(
            spec.name,
            model_functions(spec.name),
            np.array([*values.values(), *scales, *spans, spec.cost_lsb]),
            state_words=known.STATE + max(len(sensors), len(actuators)),
            episode_steps=known.STEPS,
            n_sensors=len(sensors),
            n_actuators=len(actuators),
            description=f"{spec.name}, simulated: {describe_settings({**values}, ranges, spec.cost_lsb)}",
        )
