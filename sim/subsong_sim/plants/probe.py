"""What an environment does when it is driven at random: how far its sensors reach, and what its steps cost.

It is looked at once, when an experiment is written (`subsong new --plant`); the numbers then stand in the file.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from subsong_sim.errors import PlantError
from subsong_sim.plants.base import UNBOUNDED
from subsong_sim.plants.gym import open_environment, said
from subsong_sim.plants.spec import PlantSpec, Range

STEPS = 5000  # of random actions, and at least EPISODES
EPISODES = 5
DEVIATIONS = 3.0  # of a sensor, which its word's range holds on either side of its mean
NEAR = 1.4  # bounds that are no further apart than so many times that are taken instead
UNLIMITED = 1000  # steps of an episode, where the environment's registration sets no limit


class Probe(NamedTuple):
    """What was seen.

    Attributes:
        sensor_range: (low, high) of each sensor: its mean and DEVIATIONS standard deviations on
            either side, or its bounds where these are near.
        steps: of an episode, at most.
        most: the largest |reward| of a step.
        solved: the mean return from which on the environment counts as solved; None: its registration does not say.
    """

    sensor_range: list[Range]
    steps: int
    most: float
    solved: float | None


def probe(spec: PlantSpec, seed: int = 1) -> Probe:
    """Drive a Gymnasium environment with random actions, each drawn anew.

    Args:
        spec: names it; its ranges are not looked at.
        seed: of the actions, and of the first reset.

    Raises:
        PlantError: the environment is unknown, cannot be made or fails, or its observations or rewards are no numbers.
    """
    env, space, _ = open_environment(spec)
    low, high = space.low.ravel().astype(float), space.high.ravel().astype(float)
    readings: list[NDArray[np.float64]] = []
    most, episode = 0.0, 0
    env.action_space.seed(seed)
    try:
        while episode < EPISODES or len(readings) < STEPS:
            observation, _ = env.reset(seed=seed + episode)
            over = False
            while not over and len(readings) < EPISODES * STEPS:
                readings.append(np.ravel(observation).astype(float))
                observation, reward, terminated, truncated, _ = env.step(env.action_space.sample())
                most = max(most, abs(float(reward)))
                over = bool(terminated) or bool(truncated)
            episode += 1
    except Exception as error:  # the environment may be the user's own
        raise PlantError(f"{spec.id}: random actions fail in episode {episode}: {said(error)}") from error
    finally:
        env.close()
    if not math.isfinite(most):
        raise PlantError(f"{spec.id}: random actions meet an infinite reward; bound it, and register that")
    registered = env.spec
    limit = registered.max_episode_steps if registered else None
    threshold = registered.reward_threshold if registered else None
    ranges = [_range(*each) for each in zip(np.transpose(readings), low, high, strict=True)]
    solved = threshold if threshold is not None and math.isfinite(threshold) else None
    return Probe(ranges, limit or UNLIMITED, most, solved)


def _range(values: NDArray[np.float64], low: float, high: float) -> Range:
    """Return what one sensor's words are to span: its bounds, where these are near; rounded, to three digits or more.

    Far from 0, where the span is a small part of the values, every further digit is kept that the span needs.
    """
    values = values[np.isfinite(values)]
    mean, reach = (float(values.mean()), DEVIATIONS * float(values.std())) if len(values) else (0.0, 0.0)
    still = reach < 1e-6 * max(abs(mean), 1e-3)
    if -UNBOUNDED < low < high < UNBOUNDED and (still or high - low <= NEAR * 2.0 * reach):
        return float(low), float(high)
    if still:
        half = max(1.0, 1e-3 * abs(mean))
        return mean - half, mean + half
    if abs(mean) < 0.1 * reach:  # a middle of nearly nothing is the sensor's 0: what is symmetric stays so
        mean = 0.0
    low, high = max(low, mean - reach), min(high, mean + reach)
    digits = 3 + max(0, math.floor(math.log10(max(abs(low), abs(high)) / (high - low))))
    return float(f"{low:.{digits}g}"), float(f"{high:.{digits}g}")
