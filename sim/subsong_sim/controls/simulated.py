"""Simulated plants as models for back-propagation: what a policy becomes that is learned from a plant's equations.

    model = Simulated(plant, p, seeds, full_output(network))
    descend(network, model, steps, updates=200)

The plant's own functions are executed; sensors and actuators have their declared ranges, and a step costs what the
plant says. Slopes come from central differences along what going back asks for, two calls for each word of the state
and for each actuator. Words are real numbers here, not rounded; where one is clipped it passes no slope.

An episode that the plant has ended costs nothing more. No small change moves its end, which has no slope therefore.
Words of a state that count (steps, a seed) get slopes without meaning, which reach no weight: nothing steers such words.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from types import FunctionType
from typing import Any, NamedTuple

import numba
import numpy as np

from subsong_device import layout
from subsong_sim.controls.backprop import DRIVE_FRAC, SENSOR_FRAC, Floats, Network
from subsong_sim.plants.base import WORD_MAX
from subsong_sim.plants.models import Model
from subsong_sim.plants.spec import Range

STEP = 2.0**-17  # of a difference, of a value's size or of 1: errors of rounding and of curvature are some 1e-11


def full_output(network: Network) -> float:
    """Return the output of a network that stands for the high end of an actuator's range."""
    drives = network.layers[-1].kind == layout.IDENTITY
    return WORD_MAX * 2.0 ** -(DRIVE_FRAC if drives else SENSOR_FRAC)


@dataclass
class Simulated:
    """A simulated plant in many episodes at once.

    A state is float64[episodes, STATE + 1]; its last word is 1 until the plant has ended the episode, and 0 then.

    Attributes:
        plant: its module.
        p: its parameters, float64, in the order of PARAMETERS.
        seeds: of the episodes' resets, 32 bits each.
        full: the output that stands for the high end of an actuator's range.
        sensor_range: (low, high) of each sensor; the plant's where left out.
        actuator_range: of each actuator, likewise.
    """

    plant: Model
    p: Floats
    seeds: Sequence[int]
    full: float
    sensor_range: Sequence[Range] | None = None
    actuator_range: Sequence[Range] | None = None
    _sensors: Floats = field(init=False, repr=False)
    _actuators: Floats = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._sensors = np.array(self.sensor_range or [row[2:] for row in self.plant.SENSORS])
        self._actuators = np.array(self.actuator_range or [row[2:] for row in self.plant.ACTUATORS])

    def start(self) -> Floats:
        """Return the states that the episodes begin in."""
        states = np.zeros((len(self.seeds), self.plant.STATE + 1))
        states[:, -1] = 1
        _compiled(self.plant).start(states, np.array(self.seeds, np.uint32), self.p)
        return states

    def sense(self, t: int, state: Floats) -> Floats:
        """Return the sensors, -1..1."""
        del t
        low, high = self._sensors.T
        return (2 * np.clip(self._read(state), low, high) - (low + high)) / (high - low)

    def sense_back(self, t: int, state: Floats, d_sensors: Floats) -> Floats:
        """Return the slope along the state, given that along the sensors."""
        del t
        low, high = self._sensors.T
        y = self._read(state)
        d_state = np.zeros_like(state)
        d_y = np.where((low < y) & (y < high), 2 * d_sensors / (high - low), 0)
        _compiled(self.plant).sense_back(state, self.p, d_y, d_state)
        return d_state

    def act(self, t: int, state: Floats, u: Floats) -> tuple[Floats, Floats]:
        """Return the step's costs and the next states."""
        del t
        after = state.copy()
        costs = np.zeros(len(state))
        _compiled(self.plant).act(after, self._drive(u)[0], self.p, costs)
        return costs, after

    def act_back(self, t: int, state: Floats, u: Floats, d_next: Floats) -> tuple[Floats, Floats]:
        """Return the slopes along the state and along u."""
        del t
        v, slope = self._drive(u)
        d_state, d_v = np.zeros_like(state), np.zeros_like(v)
        _compiled(self.plant).act_back(state, v, self.p, d_next, d_state, d_v)
        return d_state, d_v * slope

    def _read(self, state: Floats) -> Floats:
        y = np.zeros((len(state), len(self._sensors)))
        _compiled(self.plant).sense(state, self.p, y)
        return y

    def _drive(self, u: Floats) -> tuple[Floats, Floats]:
        """Return the actuators' values, and their slopes along the outputs."""
        low, high = self._actuators.T
        share = u / self.full
        v = (low + high) / 2 + (high - low) / 2 * np.clip(share, -1, 1)
        return v, np.where(np.abs(share) < 1, (high - low) / 2 / self.full, 0)


class _Compiled(NamedTuple):
    """A plant's functions over all episodes. The state's last word is not the plant's."""

    start: Any
    sense: Any
    sense_back: Any
    act: Any
    act_back: Any


@cache
def _jitted(function: Any) -> Any:
    """Return a function under Numba, with those of the package that it calls."""
    names = {
        name: _jitted(value) if isinstance(value, FunctionType) else value
        for name, value in function.__globals__.items()
        if name in function.__code__.co_names
    }
    return numba.njit(FunctionType(function.__code__, names, function.__name__))


@cache
def _compiled(plant: Model) -> _Compiled:
    """Compile a plant."""
    n_state, n_sensors, n_actuators = plant.STATE, len(plant.SENSORS), len(plant.ACTUATORS)
    begin, advance, read, done = map(_jitted, (plant.start, plant.advance, plant.sense, plant.done))

    @numba.njit
    def start(states: Any, seeds: Any, p: Any) -> None:
        for e in range(len(states)):
            begin(seeds[e], states[e, :n_state], p)

    @numba.njit
    def sense(states: Any, p: Any, y: Any) -> None:
        for e in range(len(states)):
            read(states[e, :n_state], p, y[e])

    @numba.njit
    def sense_back(states: Any, p: Any, d_y: Any, d_states: Any) -> None:
        near = np.empty(n_state)
        y = np.empty((2, n_sensors))
        for e in range(len(states)):
            for j in range(n_state):
                h = STEP * max(1.0, abs(states[e, j]))
                for side in range(2):
                    near[:] = states[e, :n_state]
                    near[j] += h - 2 * h * side
                    read(near, p, y[side])
                d_states[e, j] = np.dot(d_y[e], y[0] - y[1]) / (2 * h)

    @numba.njit
    def act(states: Any, v: Any, p: Any, costs: Any) -> None:
        for e in range(len(states)):
            if states[e, n_state]:
                costs[e] = advance(states[e, :n_state], v[e], p)
                states[e, n_state] = not done(states[e, :n_state], p)

    @numba.njit
    def act_back(states: Any, v: Any, p: Any, d_next: Any, d_states: Any, d_v: Any) -> None:
        near = np.empty((2, n_state))
        drive = np.empty(n_actuators)
        costs = np.empty(2)
        for e in range(len(states)):
            if not states[e, n_state]:
                continue
            for j in range(n_state + n_actuators):
                at = states[e, j] if j < n_state else v[e, j - n_state]
                h = STEP * max(1.0, abs(at))
                for side in range(2):
                    near[side] = states[e, :n_state]
                    drive[:] = v[e]
                    if j < n_state:
                        near[side, j] += h - 2 * h * side
                    else:
                        drive[j - n_state] += h - 2 * h * side
                    costs[side] = advance(near[side], drive, p)
                slope = costs[0] - costs[1]
                for k in range(n_state):
                    if near[0, k] != near[1, k]:  # else it adds nothing, were the slope infinite
                        slope += d_next[e, k] * (near[0, k] - near[1, k])
                slope /= 2 * h
                if j < n_state:
                    d_states[e, j] = slope
                else:
                    d_v[e, j - n_state] = slope

    return _Compiled(start, sense, sense_back, act, act_back)
