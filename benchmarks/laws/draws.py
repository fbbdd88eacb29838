"""Random numbers for the float64 reference: compiled, one state a seed, the same on any number of threads.

Nothing of the firmware's generator is used: a law that both sides obey is not an accident of one generator.
Source: Steele, Lea & Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014 (SplitMix64).
"""

import math

import numba
import numpy as np

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
MIX_2 = np.uint64(0x94D049BB133111EB)
S27 = np.uint64(27)
S30 = np.uint64(30)
S31 = np.uint64(31)
S11 = np.uint64(11)
ONE = np.uint64(1)
TO_UNIT = 2.0**-53


@numba.njit
def word(state):
    """Advance state uint64[1]; return the next 64 random bits."""
    state[0] += GOLDEN
    z = state[0]
    z = (z ^ (z >> S30)) * MIX_1
    z = (z ^ (z >> S27)) * MIX_2
    return z ^ (z >> S31)


@numba.njit
def stream(seed, purpose):
    """Return the state uint64[1] of a seed's stream for a purpose (small integers both)."""
    state = np.zeros(1, np.uint64)
    state[0] = np.uint64(seed) * np.uint64(1 << 20) + np.uint64(purpose)
    state[0] = word(state)
    return state


@numba.njit
def uniform(state):
    """Return a number in [0, 1)."""
    return float(word(state) >> S11) * TO_UNIT


@numba.njit
def below(state, n):
    """Return an integer in 0..n - 1; the bias is below n * 2**-53."""
    return int(uniform(state) * n)


@numba.njit
def normals(state, out):
    """Fill a flat array with standard normal numbers (Box & Muller)."""
    for i in range(0, out.size, 2):
        radius = math.sqrt(-2.0 * math.log(1.0 - uniform(state)))
        angle = 2.0 * math.pi * uniform(state)
        out[i] = radius * math.cos(angle)
        if i + 1 < out.size:
            out[i + 1] = radius * math.sin(angle)


@numba.njit
def signs(state, out):
    """Fill a flat array with -1.0 and 1.0."""
    bits = np.uint64(0)
    for i in range(out.size):
        if i & 63 == 0:
            bits = word(state)
        out[i] = 2.0 * float(bits & ONE) - 1.0
        bits = bits >> ONE


@numba.njit
def coins(state, out):
    """Fill a flat array with sums of 64 fair coins, (heads - 32) / 4: variance 1, kurtosis 3 - 2 / 64, clipped at 4."""
    for i in range(out.size):
        z = word(state)
        heads = 0
        while z != np.uint64(0):
            z &= z - ONE
            heads += 1
        out[i] = min(max((heads - 32) * 0.25, -4.0), 4.0)


NORMAL, SIGN, COINS = 0, 1, 2


@numba.njit
def draw(state, out, kind):
    """Fill a flat array by one of the kinds NORMAL, SIGN, COINS."""
    if kind == NORMAL:
        normals(state, out)
    elif kind == SIGN:
        signs(state, out)
    else:
        coins(state, out)
