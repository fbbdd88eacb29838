"""CartPole under Numba: a compiled step, and a Plant made of it (cartpole_words has it as C functions).

`cartpole_step` does Gymnasium's operations in Gymnasium's order, so every single step from the same state agrees to
float64 rounding; it is exactly equal where numpy's sin and cos are the C library's, which numpy decides by processor.
Whole episodes may part then, the plant being chaotic in its last digits. Friction is that of `cartpole_env`.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

from subsong_sim.errors import PlantError
from subsong_sim.plants.base import cost_word, describe_settings, resolve_ranges, scale_of
from subsong_sim.plants.cartpole_parameters import (
    EPISODE_STEPS,
    OBSERVED_HIGH,
    cartpole_numbers,
    cartpole_semi_implicit,
    cartpole_settings,
)
from subsong_sim.plants.compiled import cartpole_functions
from subsong_sim.plants.compiled_plant import CompiledPlant
from subsong_sim.plants.spec import Parameter, PlantSpec

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _compiled(*signatures: str) -> Callable[[_Function], _Function]:
    """Return njit for these signatures, typed: Numba has no annotations. Division by 0 gives what C gives."""
    decorator = numba.njit(list(signatures), cache=True, error_model="numpy")
    return cast("Callable[[_Function], _Function]", decorator)


# Indices of the parameter array.
GRAVITY, MASSPOLE, TOTAL_MASS, LENGTH, POLEMASS_LENGTH, FORCE_MAG, TAU = range(7)
THETA_THRESHOLD, X_THRESHOLD, SEMI_IMPLICIT, FRICTION_CART, FRICTION_POLE = range(7, 12)
N_PARAMETERS = 12


def cartpole_params(
    nominal: Mapping[str, Parameter] | None = None, mismatch: Mapping[str, Parameter] | None = None
) -> NDArray[np.float64]:
    """Return the parameter array of `cartpole_step`, float64[12].

    Args:
        nominal: `plant.parameters`: names and SI values; Gymnasium's defaults for the rest.
        mismatch: `plant.mismatch.parameters`, which go over them.

    Raises:
        PlantError: an unknown name or a value the equations cannot take.
    """
    nominal = nominal or {}
    mismatch = mismatch or {}
    number = cartpole_numbers(nominal, mismatch)
    params = np.zeros(N_PARAMETERS)
    params[GRAVITY] = number["gravity"]
    params[MASSPOLE] = number["masspole"]
    params[TOTAL_MASS] = number["masspole"] + number["masscart"]
    params[LENGTH] = number["length"]
    params[POLEMASS_LENGTH] = number["masspole"] * number["length"]
    params[FORCE_MAG] = number["force_mag"]
    params[TAU] = number["tau"]
    params[THETA_THRESHOLD] = number["theta_threshold_radians"]
    params[X_THRESHOLD] = number["x_threshold"]
    params[SEMI_IMPLICIT] = float(cartpole_semi_implicit(nominal, mismatch))
    params[FRICTION_CART] = number["friction_cart"]
    params[FRICTION_POLE] = number["friction_pole"]
    return params


@_compiled("float64(float64, float64, float64, float64, float64, float64, float64[::1])")
def _turn(
    force: float, sintheta: float, costheta: float, spin: float, joint: float, slide: float, p: NDArray[np.float64]
) -> float:
    """Return th'' with friction, for one sign of the normal force; see cartpole_env."""
    weight = p[TOTAL_MASS] * p[GRAVITY]
    temp = (force + p[POLEMASS_LENGTH] * spin * (sintheta + slide * costheta) - slide * weight) / p[TOTAL_MASS]
    thetaacc: float = (p[GRAVITY] * sintheta - costheta * temp - joint) / (
        p[LENGTH] * (4.0 / 3.0 - p[MASSPOLE] * costheta * (costheta - slide * sintheta) / p[TOTAL_MASS])
    )
    return thetaacc


@_compiled("boolean(float64[::1], int64, float64[::1])")
def cartpole_step(state: NDArray[np.float64], action: int, params: NDArray[np.float64]) -> bool:
    """Advance the state in place by one step.

    Args:
        state: float64[4]: position m, velocity m/s, angle rad, angular velocity rad/s.
        action: 1 pushes to the right, anything else to the left; from an actuator word u it is ((u + 32768) * 2) >> 16.
        params: float64[12] of `cartpole_params`.

    Returns:
        True if the episode has terminated; truncation is the caller's count of steps.
    """
    p = params
    x = state[0]
    x_dot = state[1]
    theta = state[2]
    theta_dot = state[3]
    force = p[FORCE_MAG] if action == 1 else -p[FORCE_MAG]
    costheta = math.cos(theta)
    sintheta = math.sin(theta)
    # The order of every product and quotient is Gymnasium's: it decides the last bit.
    if p[FRICTION_CART] == 0.0 and p[FRICTION_POLE] == 0.0:
        temp = (force + p[POLEMASS_LENGTH] * (theta_dot * theta_dot) * sintheta) / p[TOTAL_MASS]
        thetaacc = (p[GRAVITY] * sintheta - costheta * temp) / (
            p[LENGTH] * (4.0 / 3.0 - p[MASSPOLE] * (costheta * costheta) / p[TOTAL_MASS])
        )
        xacc = temp - p[POLEMASS_LENGTH] * thetaacc * costheta / p[TOTAL_MASS]
    else:
        spin = theta_dot * theta_dot
        weight = p[TOTAL_MASS] * p[GRAVITY]
        joint = p[FRICTION_POLE] * theta_dot / p[POLEMASS_LENGTH]
        slide = 0.0
        if x_dot > 0.0:
            slide = p[FRICTION_CART]
        elif x_dot < 0.0:
            slide = -p[FRICTION_CART]
        thetaacc = _turn(force, sintheta, costheta, spin, joint, slide, p)
        normal = weight - p[POLEMASS_LENGTH] * (thetaacc * sintheta + spin * costheta)
        if normal < 0.0:
            slide = -slide
            thetaacc = _turn(force, sintheta, costheta, spin, joint, slide, p)
            normal = weight - p[POLEMASS_LENGTH] * (thetaacc * sintheta + spin * costheta)
        xacc = (force + p[POLEMASS_LENGTH] * (spin * sintheta - thetaacc * costheta) - slide * normal) / p[TOTAL_MASS]
    tau = p[TAU]
    if p[SEMI_IMPLICIT] == 0.0:
        x = x + tau * x_dot
        x_dot = x_dot + tau * xacc
        theta = theta + tau * theta_dot
        theta_dot = theta_dot + tau * thetaacc
    else:
        x_dot = x_dot + tau * xacc
        x = x + tau * x_dot
        theta_dot = theta_dot + tau * thetaacc
        theta = theta + tau * theta_dot
    state[0] = x
    state[1] = x_dot
    state[2] = theta
    state[3] = theta_dot
    return bool(x < -p[X_THRESHOLD] or x > p[X_THRESHOLD] or theta < -p[THETA_THRESHOLD] or theta > p[THETA_THRESHOLD])


class NumbaCartPole(CompiledPlant):
    """CartPole as a Plant, without Gymnasium.

    Args:
        spec: the nominal plant; `id` is "CartPole-v0" or "CartPole-v1", whose step limits it takes.
        mismatch_parameters: `plant.mismatch.parameters`, which go over those of the nominal plant.

    Raises:
        PlantError: a parameter or a range is not allowed.
    """

    def __init__(self, spec: PlantSpec, mismatch_parameters: Mapping[str, Parameter] | None = None) -> None:
        if spec.actuator_range is not None:
            raise PlantError(f"plant.actuator_range: the actions of {spec.id} are discrete; remove it")
        over = mismatch_parameters or {}
        low = [-high for high in OBSERVED_HIGH]
        ranges = resolve_ranges("plant.sensor_range", spec.id, "sensor", spec.sensor_range, low, OBSERVED_HIGH)
        scales = [number for bounds in ranges for number in scale_of(bounds)]
        parameters = cartpole_settings(spec.parameters, over)
        super().__init__(
            spec.id,
            cartpole_functions(),
            np.array([*cartpole_params(spec.parameters, over), *scales, cost_word(1.0, spec.cost_lsb)]),
            state_words=4,
            episode_steps=EPISODE_STEPS[spec.id],
            n_sensors=4,
            n_actuators=1,
            description=f"{spec.id}, Numba: {describe_settings(parameters, {'sensor_range': ranges}, spec.cost_lsb)}",
        )
