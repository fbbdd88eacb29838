"""A simulated plant, one of `models`, as a Plant: its compiled functions, called step by step.

Compiled loops take `functions`, `settings`, `state_words` and `episode_steps` from it and call the same functions, so
that every engine gives the same words.
"""

import ctypes
from collections.abc import Mapping, Sequence

import numpy as np

from subsong_sim.errors import PlantError
from subsong_sim.plants.base import check_seed, check_words, describe_settings, not_a_number, resolve_ranges, scale_of
from subsong_sim.plants.compiled import model_functions
from subsong_sim.plants.models import model, parameter_values
from subsong_sim.plants.spec import Parameter, PlantSpec, Range

_DOUBLES, _WORDS, _COSTS = (ctypes.POINTER(kind) for kind in (ctypes.c_double, ctypes.c_uint16, ctypes.c_int32))


class SimulatedPlant:
    """A plant by the equations of its model.

    Args:
        spec: the nominal plant; `name` is the model's.
        mismatch_parameters: `plant.mismatch.parameters`, which go over those of the nominal plant.

    Attributes:
        name: the model's.
        functions: subsong_sim.plants.compiled.Functions.
        settings: float64, as the functions take them (model_words).
        state_words: length of their state.
        episode_steps: of an episode, at most.

    Raises:
        PlantError: the name, a parameter or a range is not allowed.
    """

    discrete_actions = False

    def __init__(self, spec: PlantSpec, mismatch_parameters: Mapping[str, Parameter] | None = None) -> None:
        known = model(spec.name)
        values = parameter_values(spec.name, spec.parameters, mismatch_parameters)
        sensors = _ranges(spec, "sensor", spec.sensor_range)
        actuators = _ranges(spec, "actuator", spec.actuator_range)
        for i, (name, unit, low, high) in enumerate(known.ACTUATORS):
            if actuators[i][0] < low or actuators[i][1] > high:
                raise PlantError(
                    f"plant.actuator_range[{i}]: {list(actuators[i])} is wider than {name} of {spec.name} allows; "
                    f"stay within [{low:g}, {high:g}] {unit}"
                )
        scales = [number for bounds in sensors for number in scale_of(bounds)]
        spans = [number for low, high in actuators for number in ((low + high) / 2.0, (high - low) / 2.0, low, high)]
        self.settings = np.array([*values.values(), *scales, *spans, spec.cost_lsb])
        self.functions = model_functions(spec.name)
        self.n_sensors, self.n_actuators = len(sensors), len(actuators)
        self.state_words = known.STATE + max(self.n_sensors, self.n_actuators)
        self.episode_steps = known.STEPS
        ranges: dict[str, Sequence[Range] | None] = {"sensor_range": sensors, "actuator_range": actuators}
        self.description = f"{spec.name}, simulated: {describe_settings({**values}, ranges, spec.cost_lsb)}"
        self.done = False
        self.name = spec.name
        self._state = np.zeros(self.state_words)
        self._x, self._u = np.zeros(self.n_sensors, np.uint16), np.zeros(self.n_actuators, np.uint16)
        self._paid = np.zeros(1, np.int32)
        self._plant = self._state.ctypes.data_as(_DOUBLES), self.settings.ctypes.data_as(_DOUBLES)
        self._sensed = *self._plant, self._x.ctypes.data_as(_WORDS), 1
        self._driven = *self._plant, self._u.ctypes.data_as(_WORDS), 1, self._paid.ctypes.data_as(_COSTS)
        self._words: list[int] | None = None  # None before the first reset
        self._cost = self._seed = self._step = 0

    def reset(self, seed: int) -> None:
        """Begin an episode in the model's starting state for this seed."""
        self._seed = check_seed(seed)
        self._step = self._cost = 0
        self.functions.start.ctypes(self._seed, *self._plant)
        self.done = False
        self._sense()

    def sense(self) -> list[int]:
        """Return the sensors' words."""
        if self._words is None:
            raise PlantError(f"{self.name}: sense() before the first reset()")
        return self._words

    def actuate(self, u: Sequence[int]) -> None:
        """Take one period.

        Raises:
            PlantError: there was no reset, the episode is over, the words are no int16 or too few or many, or the
                plant has left what its equations can compute.
        """
        if self._words is None or self.done:
            raise PlantError(f"{self.name}: actuate() {'after the episode ended' if self.done else 'before reset()'}")
        check_words(u, self.n_actuators, self.name)
        for i, word in enumerate(u):
            self._u[i] = word & 0xFFFF
        self._step += 1
        said = self.functions.step.ctypes(*self._driven)
        if said < 0:
            raise not_a_number(self.name, said, self._step, self._seed)
        self._cost = int(self._paid[0])
        self.done = said > 0 or self._step >= self.episode_steps
        self._sense()

    def cost(self) -> int:
        """Return the cost of the last step, round(cost / cost_lsb)."""
        return self._cost

    def close(self) -> None:
        """Do nothing: there is nothing to give back."""

    def _sense(self) -> None:
        said = self.functions.sense.ctypes(*self._sensed)
        if said:
            raise not_a_number(self.name, said, self._step, self._seed)
        self._words = self._x.view(np.int16).tolist()


def _ranges(spec: PlantSpec, channel: str, declared: Sequence[Sequence[float]] | None) -> list[Range]:
    known = model(spec.name)
    channels = known.SENSORS if channel == "sensor" else known.ACTUATORS
    lows, highs = [each[2] for each in channels], [each[3] for each in channels]
    return resolve_ranges(f"plant.{channel}_range", spec.name, channel, declared, lows, highs)
