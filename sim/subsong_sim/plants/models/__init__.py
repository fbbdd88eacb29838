"""Simulated plants, one file each, that read like their equations. Importing this package imports no Numba.

A model is a module of plain Python functions in Numba's subset, in float64 and SI units; subsong_sim.plants.compiled
joins it with `common` and compiles both. It has

    PARAMETERS        name: default. `p` below is float64[len(PARAMETERS)] in this order
    LIMITS            name: (lowest, highest) of a parameter, where that is not (0, 1e6)
    SENSORS           (name, unit, low, high) each: the physical range that is mapped to words
    ACTUATORS         likewise; the middle of the range, word 0, is a neutral action
    STEPS             of an episode
    COST_LSB          physical cost of one count, unless the experiment says otherwise
    STATE             float64 words of its state, hidden ones included

    start(seed, state, p)       write the state in which an episode of this seed, uint32, begins
    advance(state, u, p)        one period under the actuators' values u[n]; returns the step's physical cost
    sense(state, p, y)          write the sensors' values y[n]
    done(state, p)              True where the episode has ended before its last step
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol, cast

from subsong_sim.errors import PlantError
from subsong_sim.plants.models.common import Floats

NAMES = ("pendulum", "cartpole_swingup", "furuta", "dc_motor", "rc", "heater", "lqr")
Channel = tuple[str, str, float, float]
_USUAL = (0.0, 1e6)


class Model(Protocol):
    """A plant's module; see above."""

    PARAMETERS: Mapping[str, float]
    LIMITS: Mapping[str, tuple[float, float]]
    SENSORS: tuple[Channel, ...]
    ACTUATORS: tuple[Channel, ...]
    STEPS: int
    COST_LSB: float
    STATE: int

    def start(self, seed: int, state: Floats, p: Floats) -> None:
        """Write the state in which an episode begins."""
        ...

    def advance(self, state: Floats, u: Floats, p: Floats) -> float:
        """Take one period, and return its physical cost."""
        ...

    def sense(self, state: Floats, p: Floats, y: Floats) -> None:
        """Write the sensors' physical values."""
        ...

    def done(self, state: Floats, p: Floats) -> bool:
        """Return True where the episode has ended before its last step."""
        ...


class Wrong(NamedTuple):
    """A parameter that a model does not take: its name, what is wrong with it, and what is allowed."""

    name: str
    what: str
    allowed: str


def model(name: str) -> Model:
    """Return a plant's module.

    Raises:
        PlantError: there is none of this name.
    """
    if name not in NAMES:
        raise PlantError(f"plant.name: {name!r} is no simulated plant; use one of {', '.join(NAMES)}")
    from subsong_sim.plants.models import cartpole_swingup, dc_motor, furuta, heater, lqr, pendulum, rc

    modules = pendulum, cartpole_swingup, furuta, dc_motor, rc, heater, lqr
    return cast("Model", modules[NAMES.index(name)])


def wrong_parameters(name: str, parameters: Mapping[str, object]) -> Iterator[Wrong]:
    """Yield the parameters that a plant does not take."""
    known = model(name)
    for key, value in parameters.items():
        low, high = known.LIMITS.get(key, _USUAL)
        if key not in known.PARAMETERS:
            yield Wrong(key, f"{name} has no such parameter", ", ".join(known.PARAMETERS))
        elif isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            yield Wrong(key, f"got {value!r}", f"a number, {low:g} to {high:g}")


def parameter_values(
    name: str, nominal: Mapping[str, object], mismatch: Mapping[str, object] | None = None
) -> dict[str, float]:
    """Return every parameter of a plant, in the order of its PARAMETERS.

    Args:
        name: of the plant.
        nominal: `plant.parameters`.
        mismatch: `plant.mismatch.parameters`, which go over them.

    Raises:
        PlantError: a parameter is unknown or outside its limits; the message lists each.
    """
    mismatch = mismatch or {}
    wrong = [
        f"{key}.{each.name}: {each.what} (allowed: {each.allowed})"
        for key, given in (("plant.parameters", nominal), ("plant.mismatch.parameters", mismatch))
        for each in wrong_parameters(name, given)
    ]
    if wrong:
        raise PlantError("\n".join(wrong))
    values = {**model(name).PARAMETERS, **nominal, **mismatch}
    return {key: float(cast("float", value)) for key, value in values.items()}
