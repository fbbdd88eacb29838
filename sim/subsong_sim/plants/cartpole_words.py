"""The compiled CartPole as C functions. Not imported: `compiled` has the loader keep this file's text and compile it.

State: float64[4]. Settings: the parameters, middle and words per unit of each sensor, the cost of a step in counts.
Words and results are as in model_words.
"""

import numpy as np
from numba import carray, cfunc, float32, float64, int32, int64, types, uint16, uint32

from subsong_sim.plants.base import WORD_MAX
from subsong_sim.plants.cartpole import N_PARAMETERS, cartpole_step
from subsong_sim.plants.cartpole_start import cartpole_start

COST_AT = N_PARAMETERS + 8
Floats, Words, Cost = types.CPointer(float64), types.CPointer(types.uint16), types.CPointer(types.int32)


@cfunc(int32(int32, Floats, Floats), cache=True)
def start_at(seed, state, settings):  # noqa: ARG001 - plants share their signatures
    """Begin an episode; return 0."""
    cartpole_start(uint32(seed), carray(state, 4))
    return int32(0)


@cfunc(int32(Floats, Floats, Words, int32), cache=True)
def sense_at(state, settings, x, stride):
    """Write the sensor words; return 0, or one plus the number of the first sensor that is not a number."""
    values, given, words = carray(state, 4), carray(settings, COST_AT), carray(x, 4 * stride)
    for i in range(4):
        # Gymnasium's observation is float32: the rounding is part of the reading.
        y = (float64(float32(values[i])) - given[N_PARAMETERS + 2 * i]) * given[N_PARAMETERS + 2 * i + 1]
        if y != y:  # noqa: PLR0124 - a NaN
            return int32(i + 1)
        words[i * stride] = uint16(int64(np.rint(min(max(y, -WORD_MAX), WORD_MAX))) & 0xFFFF)
    return int32(0)


@cfunc(int32(Floats, Floats, Words, int32, Cost), cache=True)
def step_at(state, settings, u, stride, cost):  # noqa: ARG001
    """Take a step and write its cost, counts; return 1 where the episode has ended, else 0."""
    given = carray(settings, COST_AT + 1)
    action = ((int32(carray(u, 1)[0]) ^ 0x8000) * 2) >> 16
    carray(cost, 1)[0] = int32(given[COST_AT])
    return int32(cartpole_step(carray(state, 4), action, carray(settings, N_PARAMETERS)))
