"""A simulated plant between a network's outputs and its inputs, and its slopes. Not imported: joined to a model's file.

The imports of a model below are for readers and linters: joined (subsong_sim.plants.compiled), the names are the chosen
model's. All functions take many episodes. `states` is float64[episodes, STATE + 1], of which the last word is 1 until
the plant has ended the episode; `sensors` is float64[n, 2], low and high; `actuators` float64[n, 3], low, high, and the
output that stands for the high end.

A slope is a central difference along what is asked for: two calls for each word of the state and for each actuator.
"""

import numpy as np
from numba import njit

from subsong_sim.plants.models.pendulum import ACTUATORS, SENSORS, STATE, advance, done, sense, start

DIFFERENCE = 2.0**-17  # of the size of a value, or of 1: errors of rounding and of curvature are some 1e-11
inner = njit(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)


@njit(cache=True)
def start_all(seeds, states, p):
    """Begin episodes."""
    for e in range(len(states)):
        start(seeds[e], states[e, :STATE], p)
        states[e, STATE] = 1.0


@inner
def _read(state, p, sensors, x):
    """Write the inputs, -1..1."""
    sense(state, p, x)
    for k in range(len(x)):
        low, high = sensors[k]
        x[k] = (2.0 * min(max(x[k], low), high) - low - high) / (high - low)


@inner
def _step(state, u, p, actuators, v):
    """Take the outputs, through the actuators' values v; return the step's cost."""
    for k in range(len(v)):
        low, high, full = actuators[k]
        v[k] = 0.5 * (low + high + (high - low) * min(max(u[k] / full, -1.0), 1.0))
    return advance(state, v, p)


@njit(cache=True)
def sense_all(states, p, sensors, x):
    """Write the inputs, float64[episodes, sensors]."""
    for e in range(len(states)):
        _read(states[e, :STATE], p, sensors, x[e])


@njit(cache=True)
def act_all(states, u, p, actuators, costs):
    """Take a step in every episode that has not ended; write its cost."""
    v = np.empty(len(ACTUATORS))
    for e in range(len(states)):
        if states[e, STATE] != 0.0:
            costs[e] = _step(states[e, :STATE], u[e], p, actuators, v)
            states[e, STATE] = 0.0 if done(states[e, :STATE], p) else 1.0


@njit(cache=True)
def sense_back(states, p, sensors, d_x, d_states):
    """Write the slope along the state, given that along the inputs."""
    near = np.empty(STATE)
    x = np.empty((2, len(SENSORS)))
    for e in range(len(states)):
        for j in range(STATE):
            h = DIFFERENCE * max(1.0, abs(states[e, j]))
            for side in range(2):
                near[:] = states[e, :STATE]
                near[j] += h - 2.0 * h * side
                _read(near, p, sensors, x[side])
            slope = 0.0
            for k in range(len(SENSORS)):
                slope += d_x[e, k] * (x[0, k] - x[1, k])
            d_states[e, j] = slope / (2.0 * h)


@njit(cache=True)
def act_back(states, u, p, actuators, d_after, d_states, d_u):
    """Write the slopes of (the step's cost + what lies behind the state after it) along the state and the outputs."""
    near = np.empty((2, STATE + len(ACTUATORS)))
    v = np.empty(len(ACTUATORS))
    costs = np.empty(2)
    for e in range(len(states)):
        for j in range(STATE + len(ACTUATORS) if states[e, STATE] != 0.0 else 0):
            h = DIFFERENCE * max(1.0, abs(states[e, j] if j < STATE else u[e, j - STATE]))
            for side in range(2):
                near[side, :STATE] = states[e, :STATE]
                near[side, STATE:] = u[e]
                near[side, j] += h - 2.0 * h * side
                costs[side] = _step(near[side, :STATE], near[side, STATE:], p, actuators, v)
            slope = costs[0] - costs[1]
            for k in range(STATE):
                if near[0, k] != near[1, k]:  # else it adds nothing, were the slope infinite
                    slope += d_after[e, k] * (near[0, k] - near[1, k])
            if j < STATE:
                d_states[e, j] = slope / (2.0 * h)
            else:
                d_u[e, j - STATE] = slope / (2.0 * h)
