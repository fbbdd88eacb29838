"""What simulated plants share: numbers drawn from a seed, and friction that holds. Plain Python in Numba's subset."""

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Floats: TypeAlias = "NDArray[np.float64]"
_LOW = 0xFFFFFFFF


def mixed(word: int) -> int:
    """Return 32 bits that look like none of their neighbours': the finaliser of MurmurHash3 (Appleby)."""
    word = ((word ^ (word >> 16)) * 0x85EBCA6B) & _LOW
    word = ((word ^ (word >> 13)) * 0xC2B2AE35) & _LOW
    return word ^ (word >> 16)


def drawn(seed: int, k: int) -> int:
    """Return the k-th number of a seed, 0..2**32-1: the same on every machine, in any order."""
    return mixed(mixed((seed + 0x9E3779B9) & _LOW) ^ mixed((k * 0x9E3779B9 + 1) & _LOW))


def uniform(seed: int, k: int, low: float, high: float) -> float:
    """Return the k-th number of a seed, uniform from `low` to below `high`."""
    return low + (high - low) * (drawn(seed, k) / 4294967296.0)


def normal(seed: int, k: int) -> float:
    """Return a number of mean 0 and variance 1, bell-shaped, from the numbers 6 k to 6 k + 5 of a seed.

    The sum of twelve uniform ones (Irwin and Hall): within +-6, and, unlike a logarithm, the same on every machine.
    """
    total = 0
    for i in range(6):
        word = drawn(seed, 6 * k + i)
        total += (word >> 16) + (word & 0xFFFF)
    # Twelve of 0..65535, each of the variance (2**32 - 1) / 12.
    return (total - 12 * 32767.5) / 65536.0


def friction_impulse(speed: float, mobility: float, limit: float) -> float:
    """Return the impulse by which Coulomb friction changes a speed: what stops it, but at most the limit.

    So what rubs comes to rest, and stays there until something stronger than friction pulls.

    Args:
        speed: at the end of the step without friction, m/s or rad/s.
        mobility: change of speed by an impulse of 1: the inverse of the inertia that is felt there.
        limit: friction force or torque times the length of the step.
    """
    return min(max(-speed / mobility, -limit), limit)


def without_dead_band(value: float, width: float) -> float:
    """Return what is left of a command beyond a dead band of +-width, 0 within it."""
    return max(value - width, 0.0) + min(value + width, 0.0)
