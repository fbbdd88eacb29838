"""Any Gymnasium environment whose observations and actions are numbers or choices, in words.

The observation is flattened, a sensor for each number; what is no Box, Gymnasium's FlattenObservation flattens: a
choice becomes one sensor for each of its values, 1 for the one it has. A choice among n actions (Discrete, each one of
MultiDiscrete and MultiBinary) is one actuator whose word u chooses ((u + 32768) * n) >> 16; a Box is flattened, an
actuator for each number, words -32767..32767 mapped linearly onto its range (-32768 counts as -32767). The cost is
-reward. An episode is done when the environment says terminated or truncated. Conversions of up to 24 sensors are plain
Python, which at four costs a quarter of numpy's.
"""

import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete
from gymnasium.wrappers import FlattenObservation
from numpy.typing import NDArray

from subsong_sim.errors import PlantError
from subsong_sim.plants.base import (
    WORD_MAX,
    check_seed,
    check_words,
    cost_word,
    describe_settings,
    resolve_ranges,
    scale_of,
    sensor_words,
)
from subsong_sim.plants.cartpole_env import FrictionCartPole
from subsong_sim.plants.cartpole_parameters import (
    EPISODE_STEPS,
    INTEGRATORS,
    cartpole_numbers,
    cartpole_semi_implicit,
    cartpole_settings,
)
from subsong_sim.plants.models import NAMES
from subsong_sim.plants.spec import Parameter, PlantSpec, Range

_Env = gymnasium.Env[Any, Any]
_PLAIN_SENSORS = 24  # above this numpy's fixed cost is the smaller one
_mujoco_says: list[str] = []  # since a plant last looked


class GymPlant:
    """A Gymnasium environment as a Plant.

    Args:
        spec: the nominal plant.
        mismatch_parameters: `plant.mismatch.parameters`, which go over those of the nominal plant.

    Attributes:
        env: the environment, wrappers of its registration included.
        discrete_actions: True where actions are choices: Discrete, MultiDiscrete, MultiBinary.
        sensor_ranges: (low, high) of each sensor, physical units, onto the words +-32767.
        complaints: the steps in which MuJoCo warned, of an unstable simulation for one.
        complaint: what it first said; "" if nothing.

    Raises:
        PlantError: the environment is unknown or cannot be made, its spaces are of another kind, or a parameter or
            range is not allowed.
    """

    def __init__(self, spec: PlantSpec, mismatch_parameters: Mapping[str, Parameter] | None = None) -> None:
        self._name = spec.id
        self.env, sensors, settings = open_environment(spec, mismatch_parameters)
        self.done = False
        self.complaints, self.complaint = 0, ""
        try:
            self._set_up(spec, sensors, settings)
        except PlantError:
            self.env.close()
            raise

    def _set_up(self, spec: PlantSpec, sensors: Box, settings: dict[str, Parameter]) -> None:
        low, high = _bounds(sensors)
        ranges = resolve_ranges("plant.sensor_range", spec.id, "sensor", spec.sensor_range, low, high)
        self.n_sensors = len(ranges)
        self.sensor_ranges = ranges
        self._scales = [scale_of(bounds) for bounds in ranges]
        self._middles = np.array([scale.middle for scale in self._scales])
        self._gains = np.array([scale.words_per_unit for scale in self._scales])
        self._flat = len(sensors.shape) == 1
        actuator_ranges = self._set_up_actions(spec)
        self._cost_lsb = spec.cost_lsb
        self._words: list[int] | None = None  # None before the first reset
        self._cost = 0
        self._seed = 0
        self._step = 0
        text = describe_settings(settings, {"sensor_range": ranges, "actuator_range": actuator_ranges}, spec.cost_lsb)
        self.description = f"{spec.id}, Gymnasium {gymnasium.__version__}: {text}"

    def _set_up_actions(self, spec: PlantSpec) -> list[Range] | None:
        actions = self.env.action_space
        self._action: Callable[[Sequence[int]], Any]
        if isinstance(actions, Discrete | MultiDiscrete | MultiBinary):
            if spec.actuator_range is not None:
                raise PlantError(f"plant.actuator_range: the actions of {spec.id} are discrete; remove it")
            self.discrete_actions = True
            self._choices = _choices(actions)
            self.n_actuators = len(self._choices)
            self._shape = actions.shape
            self._dtype = actions.dtype
            self._action = self._choose if isinstance(actions, Discrete) else self._choose_each
            return None
        if not isinstance(actions, Box) or 0 in actions.shape:
            raise PlantError(
                f"plant.id: the actions of {spec.id} are {actions}; only Box, Discrete, MultiDiscrete and MultiBinary "
                "can be actuated: wrap the environment, and register that"
            )
        low, high = _bounds(actions)
        ranges = resolve_ranges("plant.actuator_range", spec.id, "actuator", spec.actuator_range, low, high)
        for i, bounds in enumerate(ranges):
            if bounds[0] < low[i] or bounds[1] > high[i]:
                raise PlantError(
                    f"plant.actuator_range[{i}]: {list(bounds)} is wider than {spec.id} allows; "
                    f"stay within [{low[i]:g}, {high[i]:g}]"
                )
        self.discrete_actions = False
        self.n_actuators = len(ranges)
        self._spans = [((lo + hi) / 2.0, (hi - lo) / 2.0, lo, hi) for lo, hi in ranges]
        self._shape = actions.shape
        self._dtype = actions.dtype
        self._whole = np.issubdtype(actions.dtype, np.integer)
        self._action = self._drive
        return ranges

    def reset(self, seed: int) -> None:
        """Begin an episode with env.reset(seed=seed).

        Raises:
            PlantError: the seed is outside 0..2**32-1, the environment fails, or a first reading is not a number.
        """
        self._seed = check_seed(seed)
        self._step = 0
        try:
            observation, _ = self.env.reset(seed=self._seed)
        except Exception as error:
            raise self._failed("reset", error) from error
        self._words = self._sense(observation)
        self._cost = 0
        self.done = False

    def sense(self) -> list[int]:
        """Return the observation as words."""
        if self._words is None:
            raise PlantError(f"{self._name}: sense() before the first reset()")
        return self._words

    def actuate(self, u: Sequence[int]) -> None:
        """Take one step of the environment.

        Raises:
            PlantError: there was no reset, the episode is over, the words are no int16 or too few or many, or the
                environment fails or returns something that is not a number.
        """
        if self._words is None or self.done:
            raise PlantError(f"{self._name}: actuate() {'after the episode ended' if self.done else 'before reset()'}")
        check_words(u, self.n_actuators, self._name)
        self._step += 1
        try:
            observation, reward, terminated, truncated, _ = self.env.step(self._action(u))
        except Exception as error:
            raise self._failed("step", error) from error
        if _mujoco_says:
            self.complaint = self.complaint or _mujoco_says[0]
            self.complaints += 1
            _mujoco_says.clear()
        self.done = bool(terminated) or bool(truncated)
        self._words = self._sense(observation)
        try:
            self._cost = cost_word(float(reward), self._cost_lsb)
        except ValueError as error:
            raise PlantError(self._broken("the reward")) from error

    def cost(self) -> int:
        """Return round(-reward / cost_lsb) of the last step."""
        return self._cost

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def _failed(self, what: str, error: Exception) -> PlantError:
        """Return what an environment that raised comes to; only a reset goes on."""
        self._words = None
        return PlantError(
            f"{self._name}: its {what}() failed at step {self._step} after reset({self._seed}): {said(error)}; "
            "mend the environment, or check plant.parameters"
        )

    def _choose(self, u: Sequence[int]) -> int:
        ((first, n),) = self._choices
        return first + (((int(u[0]) + 32768) * n) >> 16)

    def _choose_each(self, u: Sequence[int]) -> NDArray[Any]:
        chosen = [first + (((int(word) + 32768) * n) >> 16) for word, (first, n) in zip(u, self._choices, strict=True)]
        return np.array(chosen, self._dtype).reshape(self._shape)

    def _drive(self, u: Sequence[int]) -> NDArray[Any]:
        values = []
        for word, (middle, half, low, high) in zip(u, self._spans, strict=True):
            value = middle + half * (word / WORD_MAX)
            # Held within the range: this is where -32768 saturates, and the last digit of middle + half.
            values.append(low if value < low else min(value, high))
        if self._whole:
            return np.rint(values).astype(self._dtype).reshape(self._shape)
        return np.array(values, self._dtype).reshape(self._shape)

    def _sense(self, observation: NDArray[Any]) -> list[int]:
        flat = observation if self._flat else observation.ravel()
        try:
            if self.n_sensors <= _PLAIN_SENSORS:
                return sensor_words(flat.tolist(), self._scales)
            return self._sense_many(flat)
        except ValueError as error:
            raise PlantError(self._broken("a sensor")) from error

    def _sense_many(self, flat: NDArray[Any]) -> list[int]:
        # The same float64 operations in the same order as sensor_words: the words are equal.
        counts = np.clip((flat.astype(np.float64) - self._middles) * self._gains, -WORD_MAX, WORD_MAX)
        if np.isnan(counts).any():
            raise ValueError("not a number")
        words: list[int] = np.rint(counts).astype(np.int64).tolist()
        return words

    def _broken(self, what: str) -> str:
        return (
            f"{self._name}: {what} is not a number at step {self._step} after reset({self._seed}); "
            "check plant.parameters, the plant has left what its equations can compute"
        )


def _make(env_id: str) -> _Env:
    # Gymnasium warns about old versions and bound precision in its own voice and colours: not while we make it.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if env_id in EPISODE_STEPS:
                return gymnasium.make(
                    replace(gymnasium.spec(env_id), entry_point=cast("Any", FrictionCartPole)), disable_env_checker=True
                )
            # The checker warns on every odd reading; what matters of that is checked here, once.
            env: _Env = gymnasium.make(env_id, disable_env_checker=True)
        except gymnasium.error.DependencyNotInstalled as error:
            raise PlantError(f"plant.id: Gymnasium cannot make {env_id!r}: {_lacking(error)}") from error
        except gymnasium.error.NameNotFound as error:
            raise PlantError(
                f"plant.id: Gymnasium cannot make {env_id!r}: {said(error)} (simulated plants: {', '.join(NAMES)})"
            ) from error
        except Exception as error:  # an environment of the user's own may raise anything
            raise PlantError(f"plant.id: Gymnasium cannot make {env_id!r}: {said(error)}") from error
    _listen_to_mujoco()
    made = env.spec.id if env.spec else env_id
    if made != env_id.rpartition(":")[2]:
        # Gymnasium would take the latest version: the same file would be another experiment after an upgrade.
        env.close()
        raise PlantError(f"plant.id: {env_id!r} names no version; use {made!r}")
    return env


def _listen_to_mujoco() -> None:
    """Have MuJoCo tell its warnings here: else it prints them, and writes MUJOCO_LOG.TXT to where it runs."""
    mujoco: Any = sys.modules.get("mujoco")
    if mujoco is not None and mujoco.get_mju_user_warning() is None:
        mujoco.set_mju_user_warning(_mujoco_says.append)  # it must not raise: that ends the process


def open_environment(
    spec: PlantSpec, mismatch_parameters: Mapping[str, Parameter] | None = None
) -> tuple[_Env, Box, dict[str, Parameter]]:
    """Make an environment, its parameters set and its observations flat.

    Args, Raises: those of GymPlant.

    Returns:
        The environment, which flattens observations that are no Box; their space; the parameters worth describing.
    """
    env = _make(spec.id)
    try:
        settings = _set_parameters(env, spec, mismatch_parameters or {})
        return *_flat(env, spec.id), settings
    except PlantError:
        env.close()
        raise


def _flat(env: _Env, env_id: str) -> tuple[_Env, Box]:
    space = env.observation_space
    if (not isinstance(space, Box) and space.is_np_flattenable) or space.shape == ():
        env = FlattenObservation(env)
        space = env.observation_space
    if not isinstance(space, Box) or 0 in space.shape:
        raise PlantError(
            f"plant.id: the observations of {env_id} are {space}; only numbers and choices can be sensed, as many at "
            "every step: wrap the environment, and register that"
        )
    return env, space


def _lacking(error: Exception) -> str:
    """Name the extra of ours that brings what is missing; Gymnasium's own words where there is none."""
    for extra in ("mujoco", "box2d"):  # named like what they bring
        if extra in str(error).lower():
            return f"it needs {extra}, which is not installed; pip install 'subsong[{extra}]'"
    return said(error)


def said(error: Exception) -> str:
    """Return an error's text in one line, after its name where Python raised it."""
    text = " ".join(str(error).replace("`", "'").split()).rstrip(". ")
    told = isinstance(error, gymnasium.error.Error | ImportError)
    return text if told and text else f"{type(error).__name__}: {text}".removesuffix(": ")


def _choices(actions: Discrete | MultiDiscrete | MultiBinary) -> list[tuple[int, int]]:
    """Return the first value and the number of values of every choice."""
    if isinstance(actions, Discrete):
        return [(int(actions.start), int(actions.n))]
    if isinstance(actions, MultiBinary):
        return [(0, 2)] * int(np.prod(actions.shape))
    return list(zip(actions.start.ravel().tolist(), actions.nvec.ravel().tolist(), strict=True))


def _bounds(box: Box) -> tuple[list[float], list[float]]:
    return [float(v) for v in box.low.ravel()], [float(v) for v in box.high.ravel()]


def _settable(env: _Env) -> list[str]:
    """Return the public numeric attributes of the bare environment, its class's included, that can be set."""
    bare = env.unwrapped
    names = set(vars(bare))
    for base in type(bare).__mro__:
        names.update(vars(base))
    return sorted(
        name
        for name in names
        if not name.startswith("_")
        and getattr(getattr(type(bare), name, None), "fset", True)  # a property without a setter has None
        and isinstance(getattr(bare, name, None), int | float | np.number)
        and not isinstance(getattr(bare, name), bool)
    )


def _set_parameters(env: _Env, spec: PlantSpec, over: Mapping[str, Parameter]) -> dict[str, Parameter]:
    """Set the parameters on the bare environment; return those worth describing."""
    bare: Any = env.unwrapped
    if isinstance(bare, FrictionCartPole):
        for name, value in cartpole_numbers(spec.parameters, over).items():
            setattr(bare, name, value)
        bare.kinematics_integrator = INTEGRATORS[cartpole_semi_implicit(spec.parameters, over)]
        bare.total_mass = bare.masspole + bare.masscart
        bare.polemass_length = bare.masspole * bare.length
        return cartpole_settings(spec.parameters, over)
    allowed = _settable(env) if spec.parameters or over else []
    for key, parameters in (("plant.parameters", spec.parameters), ("plant.mismatch.parameters", over)):
        for name, given in parameters.items():
            if name not in allowed:
                names = ", ".join(allowed) or "(it has none)"
                raise PlantError(f"{key}.{name}: {spec.id} has no such number; use one of {names}")
            if isinstance(given, str):
                raise PlantError(f"{key}.{name}: {given!r} must be a number")
            try:
                setattr(bare, name, given)
            except Exception as error:  # the environment may be the user's own
                raise PlantError(f"{key}.{name}: {spec.id} does not take {given!r}: {said(error)}") from error
    return {**spec.parameters, **over}
