"""Set points: each episode of a set-point plant has its own, within declared ranges."""

from collections.abc import Sequence

from subsong_sim.plants.mismatch import stream


def targets(ranges: Sequence[Sequence[float]], seed: int) -> list[float]:
    """Draw one set point a range, uniformly, from the stream "target" of a reset seed.

    Args:
        ranges: (low, high) each, physical; one without width is its own set point.
        seed: of the reset, 0..2**32-1.
    """
    draw = stream("target", seed)
    return [low + (high - low) * draw.random() for low, high in ranges]
