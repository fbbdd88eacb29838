"""CartPole's starting state from a reset seed, compiled: what NumPy draws, without an object a reset.

NumPy's own names and constants: SeedSequence of one 32-bit word, PCG64 (XSL-RR, 128 bits), Generator.uniform. A loop
compiled elsewhere links `cartpole_start` in; tests compare with NumPy itself.
"""

import numpy as np
from numba import njit, uint32, uint64

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
# The multiplier of PCG64, 128 bits.
_MULTIPLIER_HIGH = np.uint64(0x2360ED051FC65DA4)
_MULTIPLIER_LOW = np.uint64(0x4385DF649FCCF645)


@njit("uint32(uint32)", cache=True)
def _folded(word):
    return word ^ (word >> uint32(16))


@njit("void(uint32, uint32[::1])", cache=True)
def seed_sequence(seed, words):
    """Write SeedSequence(seed).generate_state(8) to `words`, uint32[8]."""
    pool = np.zeros(4, np.uint32)
    scale = uint32(0x43B0D7E5)
    entropy = seed
    for i in range(4):
        word = uint32(entropy ^ scale)
        scale = uint32(scale * uint32(0x931E8875))
        pool[i] = _folded(uint32(word * scale))
        entropy = uint32(0)
    for source in range(4):
        for target in range(4):
            if source != target:
                word = uint32(pool[source] ^ scale)
                scale = uint32(scale * uint32(0x931E8875))
                word = _folded(uint32(word * scale))
                mixed = uint32(uint32(0xCA01F9DD) * pool[target]) - uint32(uint32(0x4973F715) * word)
                pool[target] = _folded(uint32(mixed))
    scale = uint32(0x8B51F9DD)
    for i in range(8):
        word = uint32(pool[i % 4] ^ scale)
        scale = uint32(scale * uint32(0x58F38DED))
        words[i] = _folded(uint32(word * scale))


@njit("UniTuple(uint64, 2)(uint64, uint64, uint64, uint64)", cache=True)
def _sum(high, low, add_high, add_low):
    total = uint64(low + add_low)
    return uint64(high + add_high + uint64(total < low)), total


@njit("UniTuple(uint64, 2)(uint64, uint64, uint64, uint64)", cache=True)
def pcg64_step(high, low, add_high, add_low):
    """Return state * multiplier + increment, modulo 2**128, as (high, low) words of 64 bits."""
    # The 128 bits of low * _MULTIPLIER_LOW from products of 32 bits.
    a, b = low >> _HALF, low & _LOW
    c, d = _MULTIPLIER_LOW >> _HALF, _MULTIPLIER_LOW & _LOW
    middle = uint64(a * d + (b * d >> _HALF))
    carry = uint64(b * c + (middle & _LOW))
    product_high = uint64(a * c + (middle >> _HALF) + (carry >> _HALF))
    product_high = uint64(product_high + low * _MULTIPLIER_HIGH + high * _MULTIPLIER_LOW)
    return _sum(product_high, uint64(low * _MULTIPLIER_LOW), add_high, add_low)


@njit("void(uint32, float64[::1])", cache=True)
def cartpole_start(seed, state):
    """Write the state in which Gymnasium's CartPole starts.

    Args:
        seed: uint32, of the reset.
        state: float64[4]; written.
    """
    words = np.empty(8, np.uint32)
    seed_sequence(seed, words)
    # Two 64-bit words of the initial state, high first, then two of the sequence's number.
    drawn = np.empty(4, np.uint64)
    for i in range(4):
        drawn[i] = uint64(words[2 * i]) | (uint64(words[2 * i + 1]) << _HALF)
    one = uint64(1)
    add_high, add_low = (drawn[2] << one) | (drawn[3] >> uint64(63)), (drawn[3] << one) | one
    # A step from state 0 leaves the increment.
    high, low = _sum(add_high, add_low, drawn[0], drawn[1])
    high, low = pcg64_step(high, low, add_high, add_low)
    for i in range(4):
        high, low = pcg64_step(high, low, add_high, add_low)
        turn = high >> uint64(58)
        mixed = high ^ low
        word = (mixed >> turn) | (mixed << ((uint64(64) - turn) & uint64(63)))
        state[i] = -0.05 + (0.05 - -0.05) * ((word >> uint64(11)) * (1.0 / 9007199254740992.0))
