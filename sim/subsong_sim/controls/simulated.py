"""Simulated plants as models for back-propagation: what a policy becomes that is learned from a plant's equations.

    model = Simulated("pendulum", p, seeds, full_output(network))
    descend(network, model, steps, updates=200)

The plant's own functions are executed (slopes.py differentiates them); sensors and actuators have their declared
ranges, and a step costs what the plant says. Words are real numbers here, not rounded; where one is clipped it passes
no slope.

An episode that the plant has ended costs nothing more. No small change moves its end, which has no slope therefore.
Words of a state that count (steps, a seed) get slopes without meaning, and these reach no weight: nothing steers them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from subsong_device import layout
from subsong_sim.controls.backprop import DRIVE_FRAC, SENSOR_FRAC, Floats, Network
from subsong_sim.plants.base import WORD_MAX
from subsong_sim.plants.compiled import model_slopes
from subsong_sim.plants.models import model


def full_output(network: Network) -> float:
    """Return the output of a network that stands for the high end of an actuator's range."""
    drives = network.layers[-1].kind == layout.IDENTITY
    return WORD_MAX * 2.0 ** -(DRIVE_FRAC if drives else SENSOR_FRAC)


@dataclass
class Simulated:
    """A simulated plant in many episodes at once.

    A state is float64[episodes, STATE + 1]; its last word is 1 until the plant has ended the episode, and 0 then.

    Attributes:
        name: of the plant, one of subsong_sim.plants.models.
        p: its parameters, float64, in the order of PARAMETERS.
        seeds: of the episodes' resets, 32 bits each.
        full: the output that stands for the high end of an actuator's range.
        sensor_range: (low, high) of each sensor; the plant's where left out.
        actuator_range: of each actuator, likewise.
    """

    name: str
    p: Floats
    seeds: Sequence[int]
    full: float
    sensor_range: Sequence[Sequence[float]] | None = None
    actuator_range: Sequence[Sequence[float]] | None = None
    _sensors: Floats = field(init=False, repr=False)
    _actuators: Floats = field(init=False, repr=False)
    _state_words: int = field(init=False, repr=False)
    _made: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        known = model(self.name)
        self._state_words, self._made = known.STATE, model_slopes(self.name)
        self._sensors = np.array(self.sensor_range or [each[2:] for each in known.SENSORS])
        actuators = np.array(self.actuator_range or [each[2:] for each in known.ACTUATORS])
        self._actuators = np.column_stack((actuators, np.full(len(actuators), self.full)))

    def start(self) -> Floats:
        """Return the states that the episodes begin in."""
        states = np.zeros((len(self.seeds), self._state_words + 1))
        self._made.start_all(np.array(self.seeds, np.int64), states, self.p)
        return states

    def sense(self, t: int, state: Floats) -> Floats:
        """Return the sensors, -1..1."""
        del t
        x = np.empty((len(state), len(self._sensors)))
        self._made.sense_all(state, self.p, self._sensors, x)
        return x

    def sense_back(self, t: int, state: Floats, d_sensors: Floats) -> Floats:
        """Return the slope along the state, given that along the sensors."""
        del t
        d_state = np.zeros_like(state)
        self._made.sense_back(state, self.p, self._sensors, d_sensors, d_state)
        return d_state

    def act(self, t: int, state: Floats, u: Floats) -> tuple[Floats, Floats]:
        """Return the step's costs and the next states."""
        del t
        after, costs = state.copy(), np.zeros(len(state))
        self._made.act_all(after, u, self.p, self._actuators, costs)
        return costs, after

    def act_back(self, t: int, state: Floats, u: Floats, d_next: Floats) -> tuple[Floats, Floats]:
        """Return the slopes along the state and along u."""
        del t
        d_state, d_u = np.zeros_like(state), np.zeros_like(u)
        self._made.act_back(state, u, self.p, self._actuators, d_next, d_state, d_u)
        return d_state, d_u
