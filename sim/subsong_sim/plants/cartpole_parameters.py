"""CartPole's parameters: one table for the Gymnasium plant and its Numba twin. Imports nothing heavy."""

from collections.abc import Mapping

from subsong_sim.errors import PlantError
from subsong_sim.plants.spec import Parameter

EPISODE_STEPS = {"CartPole-v0": 200, "CartPole-v1": 500}
INTEGRATORS = ("euler", "semi-implicit euler")
OBSERVED_HIGH = (4.800000190734863, float("inf"), 0.41887903213500977, float("inf"))  # Gymnasium's bounds, float32

# name: (Gymnasium's default, may it be 0), SI units
_NUMBERS: dict[str, tuple[float, bool]] = {
    "gravity": (9.8, True),
    "masscart": (1.0, False),
    "masspole": (0.1, False),
    "length": (0.5, False),  # half the pole
    "force_mag": (10.0, True),
    "tau": (0.02, False),
    "theta_threshold_radians": (0.20943951023931953, False),
    "x_threshold": (2.4, False),
    "friction_cart": (0.0, True),  # Coulomb, of the normal force
    "friction_pole": (0.0, True),  # viscous, N m s / rad
}
_DERIVED = {"total_mass": "masscart and masspole", "polemass_length": "masspole and length"}


def cartpole_numbers(nominal: Mapping[str, Parameter], mismatch: Mapping[str, Parameter]) -> dict[str, float]:
    """Return every numeric parameter, Gymnasium's default where it is not given.

    Args:
        nominal: `plant.parameters`.
        mismatch: `plant.mismatch.parameters`, which go over them.

    Raises:
        PlantError: an unknown name, a derived one, or a value that the equations cannot take.
    """
    values = {name: default for name, (default, _) in _NUMBERS.items()}
    for key, parameters in (("plant.parameters", nominal), ("plant.mismatch.parameters", mismatch)):
        for name, value in parameters.items():
            _check(f"{key}.{name}", name, value)
            if not isinstance(value, str):
                values[name] = float(value)
    return values


def cartpole_semi_implicit(nominal: Mapping[str, Parameter], mismatch: Mapping[str, Parameter]) -> bool:
    """Return True if the parameters choose the semi-implicit integrator."""
    return {**nominal, **mismatch}.get("kinematics_integrator", "euler") != "euler"


def cartpole_settings(nominal: Mapping[str, Parameter], mismatch: Mapping[str, Parameter]) -> dict[str, Parameter]:
    """Return every parameter, the integrator included, for a description."""
    integrator = INTEGRATORS[cartpole_semi_implicit(nominal, mismatch)]
    return {**cartpole_numbers(nominal, mismatch), "kinematics_integrator": integrator}


def _check(key: str, name: str, value: Parameter) -> None:
    if name in _DERIVED:
        raise PlantError(f"{key}: follows from {_DERIVED[name]}; set those")
    if name == "kinematics_integrator":
        if value not in INTEGRATORS:
            raise PlantError(f"{key}: {value!r} is unknown; use {' or '.join(map(repr, INTEGRATORS))}")
    elif name not in _NUMBERS:
        raise PlantError(
            f"{key}: CartPole has no such parameter; use one of {', '.join(_NUMBERS)}, kinematics_integrator"
        )
    else:
        may_be_zero = _NUMBERS[name][1]
        if isinstance(value, str) or value < 0 or (value == 0 and not may_be_zero):
            raise PlantError(f"{key}: {value!r} must be a number {'of at least' if may_be_zero else 'above'} 0")
