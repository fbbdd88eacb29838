"""A simulated plant in words, as C functions. Not imported: `compiled` joins this file to a model's functions.

The imports of a model below are for readers and linters: joined, the names are the chosen model's. A plant's `state` is
float64[STATE + max(sensors, actuators)], the rest being room for physical values. Its `settings` are float64: the
parameters; middle and words per unit of each sensor; middle, half, low and high of each actuator; cost_lsb. The mapping
is that of `base`, in the same order of operations. Word i lies at [i * stride].
"""

import numpy as np
from numba import carray, cfunc, float64, int32, int64, types, uint16

from subsong_sim.plants.base import COST_MAX, WORD_MAX
from subsong_sim.plants.models.pendulum import ACTUATORS, PARAMETERS, SENSORS, STATE, advance, done, sense, start

N_PARAMETERS, N_SENSORS, N_ACTUATORS = len(PARAMETERS), len(SENSORS), len(ACTUATORS)
WORDS = STATE + max(N_SENSORS, N_ACTUATORS)
ACTUATORS_AT = N_PARAMETERS + 2 * N_SENSORS
COST_AT = ACTUATORS_AT + 4 * N_ACTUATORS
Floats, Words, Cost = types.CPointer(float64), types.CPointer(types.uint16), types.CPointer(types.int32)


@cfunc(int32(int32, Floats, Floats), cache=True)
def start_at(seed, state, settings):
    """Begin an episode; return 0."""
    start(int64(seed) & 0xFFFFFFFF, carray(state, WORDS)[:STATE], carray(settings, COST_AT + 1)[:N_PARAMETERS])
    return int32(0)


@cfunc(int32(Floats, Floats, Words, int32), cache=True)
def sense_at(state, settings, x, stride):
    """Write the sensor words; return 0, or one plus the number of the first sensor that is not a number."""
    work, given = carray(state, WORDS), carray(settings, COST_AT + 1)
    values, words = work[STATE:], carray(x, N_SENSORS * stride)
    sense(work[:STATE], given[:N_PARAMETERS], values)
    for i in range(N_SENSORS):
        y = (values[i] - given[N_PARAMETERS + 2 * i]) * given[N_PARAMETERS + 2 * i + 1]
        if y != y:  # noqa: PLR0124 - a NaN
            return int32(i + 1)
        words[i * stride] = uint16(int64(np.rint(min(max(y, -WORD_MAX), WORD_MAX))) & 0xFFFF)
    return int32(0)


@cfunc(int32(Floats, Floats, Words, int32, Cost), cache=True)
def step_at(state, settings, u, stride, cost):
    """Take a step and write its cost, counts; return 0, 1 where the episode has ended, -1 if the cost is no number."""
    work, given = carray(state, WORDS), carray(settings, COST_AT + 1)
    values, words = work[STATE:], carray(u, N_ACTUATORS * stride)
    for i in range(N_ACTUATORS):
        at = ACTUATORS_AT + 4 * i
        word = (int64(words[i * stride]) ^ 0x8000) - 0x8000
        values[i] = min(max(given[at] + given[at + 1] * (word / WORD_MAX), given[at + 2]), given[at + 3])
    y = advance(work[:STATE], values, given[:N_PARAMETERS]) / given[COST_AT]
    if y != y:  # noqa: PLR0124 - a NaN
        return int32(-1)
    carray(cost, 1)[0] = int32(np.rint(min(max(y, -COST_MAX), COST_MAX)))
    return int32(1) if done(work[:STATE], given[:N_PARAMETERS]) else int32(0)
