"""CartPole under Numba: the compiled pieces for a compiled trial loop, and a Plant made of them.

`cartpole_step` does Gymnasium's operations in Gymnasium's order, so every single step from the same state agrees to
float64 rounding; it is exactly equal where numpy's sin and cos are the C library's, which numpy decides by processor.
Whole episodes may part then, the plant being chaotic in its last digits. Friction is that of `cartpole_env`.

A loop compiled elsewhere links these functions in; Numba's disk cache watches the caller's file only, so touch the
caller after an edit here (or clear __pycache__).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

from subsong_sim.errors import PlantError
from subsong_sim.plants.base import (
    WORD_MAX,
    check_seed,
    check_words,
    cost_word,
    describe_settings,
    not_a_number,
    resolve_ranges,
    scale_of,
)
from subsong_sim.plants.cartpole_parameters import (
    EPISODE_STEPS,
    OBSERVED_HIGH,
    cartpole_numbers,
    cartpole_semi_implicit,
    cartpole_settings,
)
from subsong_sim.plants.compiled import cartpole_functions
from subsong_sim.plants.spec import Parameter, PlantSpec, Range

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


def cartpole_scale(spec: PlantSpec) -> NDArray[np.float64]:
    """Return the scale array of `cartpole_sense`, float64[4, 2]: middle and words per unit of each sensor.

    Raises:
        PlantError: the velocities have no declared range.
    """
    return np.array([scale_of(bounds) for bounds in _sensor_ranges(spec)])


def _sensor_ranges(spec: PlantSpec) -> list[Range]:
    low = [-high for high in OBSERVED_HIGH]
    return resolve_ranges("plant.sensor_range", spec.id, "sensor", spec.sensor_range, low, OBSERVED_HIGH)


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


@_compiled("int64(float64[::1], float64[:, ::1], int16[::1])", "int64(float64[::1], float64[:, ::1], uint16[::1])")
def cartpole_sense(state: NDArray[np.float64], scale: NDArray[np.float64], x_words: NDArray[np.int16]) -> int:
    """Write the sensor words of a state, identical to those of the Gymnasium plant.

    Args:
        state: float64[n].
        scale: float64[n, 2], middle and words per unit.
        x_words: int16[n], or uint16[n] for two's complement as the kernels take it; written.

    Returns:
        0, or one plus the index of the first sensor that is not a number (its word and the later ones are not written).
    """
    for i in range(len(state)):
        # Gymnasium's observation is float32: the rounding is part of the reading.
        y = (float(np.float32(state[i])) - scale[i, 0]) * scale[i, 1]
        if y >= WORD_MAX:
            x_words[i] = WORD_MAX
        elif y <= -WORD_MAX:
            x_words[i] = -WORD_MAX
        elif y == y:  # noqa: PLR0124 - not a NaN
            x_words[i] = int(np.rint(y))
        else:
            return i + 1
    return 0


def cartpole_reset_states(seeds: Sequence[int] | NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """Return the states in which Gymnasium's CartPole starts for these reset seeds.

    Args:
        seeds: n seeds, 0..2**32-1.

    Returns:
        float64[n, 4].

    Raises:
        PlantError: a seed is outside its limits.
    """
    states = np.empty((len(seeds), 4))
    for i, seed in enumerate(seeds):
        # What env.reset(seed=...) does: a PCG64 from the seed's SeedSequence, then one uniform draw of four.
        states[i] = np.random.Generator(np.random.PCG64(check_seed(seed))).uniform(-0.05, 0.05, 4)
    return states


class NumbaCartPole:
    """CartPole as a Plant, without Gymnasium.

    A compiled loop takes `functions`, `settings`, `state_words` and `episode_steps` from it, as from SimulatedPlant.

    Args:
        spec: the nominal plant; `id` is "CartPole-v0" or "CartPole-v1", whose step limits it takes.
        mismatch_parameters: `plant.mismatch.parameters`, which go over those of the nominal plant.

    Raises:
        PlantError: a parameter or a range is not allowed.
    """

    n_sensors = 4
    n_actuators = 1
    state_words = 4
    discrete_actions = True

    def __init__(self, spec: PlantSpec, mismatch_parameters: Mapping[str, Parameter] | None = None) -> None:
        if spec.actuator_range is not None:
            raise PlantError(f"plant.actuator_range: the actions of {spec.id} are discrete; remove it")
        over = mismatch_parameters or {}
        self.params = cartpole_params(spec.parameters, over)
        self.scale = cartpole_scale(spec)
        self.episode_steps = EPISODE_STEPS[spec.id]
        self.cost_per_step = cost_word(1.0, spec.cost_lsb)
        self.settings = np.array([*self.params, *self.scale.ravel(), self.cost_per_step])
        self.functions = cartpole_functions()
        settings = describe_settings(
            cartpole_settings(spec.parameters, over), {"sensor_range": _sensor_ranges(spec)}, spec.cost_lsb
        )
        self.description = f"{spec.id}, Numba: {settings}"
        self.done = False
        self.name = spec.id
        self._state = np.zeros(4)
        self._words = np.zeros(4, np.int16)
        self._seed = 0
        self._step: int | None = None  # None before the first reset

    def reset(self, seed: int) -> None:
        """Begin an episode in Gymnasium's starting state for this seed."""
        self._state[:] = cartpole_reset_states([seed])[0]
        self._seed = seed
        self._step = 0
        self.done = False
        self._sense()

    def sense(self) -> list[int]:
        """Return position, velocity, angle and angular velocity as words."""
        if self._step is None:
            raise PlantError(f"{self.name}: sense() before the first reset()")
        words: list[int] = self._words.tolist()
        return words

    def actuate(self, u: Sequence[int]) -> None:
        """Push to the right for a word >= 0, to the left otherwise."""
        if self._step is None or self.done:
            raise PlantError(f"{self.name}: actuate() {'after the episode ended' if self.done else 'before reset()'}")
        check_words(u, 1, self.name)
        self._step += 1
        terminated = cartpole_step(self._state, 1 if u[0] >= 0 else 0, self.params)
        self.done = terminated or self._step >= self.episode_steps
        self._sense()

    def cost(self) -> int:
        """Return the cost of the last step, the same for every step."""
        return self.cost_per_step if self._step else 0

    def close(self) -> None:
        """Do nothing: there is nothing to give back."""

    def _sense(self) -> None:
        bad = cartpole_sense(self._state, self.scale, self._words)
        if bad:
            raise not_a_number(self.name, bad, self._step or 0, self._seed)
