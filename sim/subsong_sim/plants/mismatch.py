"""What real actuators and sensors do to words, as stages that compose around any Plant.

The order is fixed and physical. From the learner to the plant: delay, drop-out, gain and offset, dead band, lag,
backlash, then one rounding to a word. From the plant to the learner: noise, quantisation, delay. All random draws come
from named streams of the reset seed, none of them the environment's own: noise does not move where the plant starts.

Every stage is the identity at its neutral value; a stage that the mismatch leaves neutral is not even built.
"""

import random
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from subsong_sim.errors import PlantError
from subsong_sim.plants.base import WORD_MAX, Plant, check_seed, check_words, to_word
from subsong_sim.plants.spec import Mismatch

CONTINUOUS_ONLY = ("actuator_lag", "actuator_gain", "actuator_offset", "actuator_deadband", "actuator_backlash")


class ActuatorStage(Protocol):
    """One effect on a step's commands: counts in, counts out, one an actuator, fractions of a count allowed."""

    def reset(self, seed: int) -> None:
        """Forget the last episode."""
        ...

    def __call__(self, values: Sequence[float]) -> Sequence[float]:
        """Take the commands of this step, return what comes out."""
        ...


class SensorStage(Protocol):
    """One effect on a step's readings: words in, words out, one a sensor. It returns a list and alters none."""

    def reset(self, seed: int) -> None:
        """Forget the last episode."""
        ...

    def __call__(self, words: list[int]) -> list[int]:
        """Take the readings of this step, return what is reported."""
        ...


def stream(name: str, seed: int) -> random.Random:
    """Return a generator for the named stream of a reset seed.

    Mersenne Twister, seeded by SHA-512 of "subsong/plant/NAME/SEED" through Python's own string seeding.
    """
    return random.Random(f"subsong/plant/{name}/{seed}")


class ActuatorDelay:
    """Deliver each command `steps` steps late; until the first arrives, the rest command (0)."""

    def __init__(self, n: int, steps: int) -> None:
        self._at_rest = [[0.0] * n] * (steps + 1)
        self._line: deque[Sequence[float]] = deque(self._at_rest, maxlen=steps + 1)

    def reset(self, seed: int) -> None:
        """Empty the line."""
        del seed
        self._line.extend(self._at_rest)

    def __call__(self, values: Sequence[float]) -> Sequence[float]:
        """Return the command of `steps` steps ago."""
        self._line.append(values)
        return self._line[0]


class ActuatorDropout:
    """Lose the whole command with a probability; the last one that came through stays (0 at first). One draw a step."""

    def __init__(self, n: int, probability: float) -> None:
        self._rest: Sequence[float] = [0.0] * n
        self._probability = probability
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Rest, and rewind the stream "actuator_dropout"."""
        self._held = self._rest
        self._draw = stream("actuator_dropout", seed).random

    def __call__(self, values: Sequence[float]) -> Sequence[float]:
        """Return the command, or the last one."""
        if self._draw() >= self._probability:
            self._held = values
        return self._held


class ActuatorGain:
    """Return clip(gain * u + offset * 32767, +-32767)."""

    def __init__(self, gain: float, offset: float) -> None:
        self._gain = gain
        self._offset = offset * WORD_MAX

    def reset(self, seed: int) -> None:
        """Do nothing: it has no memory."""

    def __call__(self, values: Sequence[float]) -> Sequence[float]:
        """Scale, shift, saturate."""
        return [max(-WORD_MAX, min(WORD_MAX, self._gain * v + self._offset)) for v in values]


class ActuatorDeadband:
    """Return u - sign(u) * d beyond the dead band d, 0 within it."""

    def __init__(self, fraction: float) -> None:
        self._width = fraction * WORD_MAX

    def reset(self, seed: int) -> None:
        """Do nothing: it has no memory."""

    def __call__(self, values: Sequence[float]) -> Sequence[float]:
        """Take the dead band out."""
        d = self._width
        return [v - d if v > d else v + d if v < -d else 0.0 for v in values]


class ActuatorLag:
    """Follow the command by y += (1 - lag) * (u - y), from y = 0: a low pass of time constant -1 / ln(lag) steps."""

    def __init__(self, n: int, lag: float) -> None:
        self._share = 1.0 - lag
        self._state = [0.0] * n

    def reset(self, seed: int) -> None:
        """Rest."""
        del seed
        self._state = [0.0] * len(self._state)

    def __call__(self, values: Sequence[float]) -> Sequence[float]:
        """Advance the filter by a step."""
        self._state = [y + self._share * (u - y) for u, y in zip(values, self._state, strict=True)]
        return self._state


class ActuatorBacklash:
    """Drive through a gear with play b, centred at first: y = min(max(y, u - b/2), u + b/2)."""

    def __init__(self, n: int, fraction: float) -> None:
        self._half = fraction * WORD_MAX / 2.0
        self._state = [0.0] * n

    def reset(self, seed: int) -> None:
        """Rest in the middle of the play."""
        del seed
        self._state = [0.0] * len(self._state)

    def __call__(self, values: Sequence[float]) -> Sequence[float]:
        """Push the load where the play is used up."""
        h = self._half
        self._state = [min(max(y, u - h), u + h) for u, y in zip(values, self._state, strict=True)]
        return self._state


class SensorNoise:
    """Add Gaussian noise, then round and saturate to a word. One draw a sensor and step, in the sensors' order."""

    def __init__(self, fraction: float) -> None:
        self._sigma = fraction * WORD_MAX
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Rewind the stream "sensor_noise"."""
        self._gauss = stream("sensor_noise", seed).gauss

    def __call__(self, words: list[int]) -> list[int]:
        """Blur."""
        return [to_word(word + self._gauss(0.0, self._sigma)) for word in words]


class SensorBits:
    """Report the middle of the word's cell, of 2**bits equal cells over the 16-bit range; 16 bits report the word."""

    def __init__(self, bits: int) -> None:
        self._shift = 16 - bits
        self._middle = (1 << self._shift) >> 1

    def reset(self, seed: int) -> None:
        """Do nothing: it has no memory."""

    def __call__(self, words: list[int]) -> list[int]:
        """Quantise; exact integer arithmetic, within +-32767."""
        return [((word >> self._shift) << self._shift) + self._middle for word in words]


class SensorDelay:
    """Show each reading `steps` steps late; until the first is due, the reading at reset."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._line: deque[list[int]] = deque(maxlen=steps + 1)

    def reset(self, seed: int) -> None:
        """Empty the line."""
        del seed
        self._line.clear()

    def __call__(self, words: list[int]) -> list[int]:
        """Return the reading of `steps` steps ago."""
        line = self._line
        line.extend([words] * (1 if line else self._steps + 1))
        return line[0]


class MismatchedPlant:
    """A Plant behind stages.

    Args:
        plant: the plant as its maker describes it; it may be a MismatchedPlant itself.
        actuator_stages: from the learner's words to the plant's, in this order; rounded to words once, at the end.
        sensor_stages: from the plant's words to the learner's, in this order; each returns words.
        note: what the stages are, for the description.
    """

    def __init__(
        self,
        plant: Plant,
        actuator_stages: Sequence[ActuatorStage],
        sensor_stages: Sequence[SensorStage],
        note: str = "stages",
    ) -> None:
        self.plant = plant
        self.n_sensors = plant.n_sensors
        self.n_actuators = plant.n_actuators
        self.description = f"{plant.description}; mismatch: {note}"
        self.done = False
        self._name = plant.description.partition(",")[0]
        self._actuators = tuple(actuator_stages)
        self._sensors = tuple(sensor_stages)
        self._words: list[int] | None = None

    def reset(self, seed: int) -> None:
        """Begin an episode of the plant and of every stage with this seed."""
        seed = check_seed(seed)
        self.plant.reset(seed)
        for actuator in self._actuators:
            actuator.reset(seed)
        for sensor in self._sensors:
            sensor.reset(seed)
        self.done = False
        self._words = self._sensed()

    def sense(self) -> list[int]:
        """Return what the sensors report."""
        if self._words is None:
            raise PlantError(f"{self._name}: sense() before the first reset()")
        return self._words

    def actuate(self, u: Sequence[int]) -> None:
        """Send the command through the stages and take one step."""
        check_words(u, self.n_actuators, self._name)
        values: Sequence[float] = list(u)  # a copy: a delay keeps it, and the caller may reuse its list
        for stage in self._actuators:
            values = stage(values)
        self.plant.actuate([to_word(v) for v in values] if self._actuators else u)
        self.done = self.plant.done
        self._words = self._sensed()

    def cost(self) -> int:
        """Return the plant's cost: it is what happened, not what the sensors said."""
        return self.plant.cost()

    def close(self) -> None:
        """Close the plant."""
        self.plant.close()

    def _sensed(self) -> list[int]:
        words = self.plant.sense()
        for stage in self._sensors:
            words = stage(words)
        return words


def with_mismatch(plant: Plant, mismatch: Mismatch, discrete: bool) -> Plant:
    """Put a plant behind the stages of a mismatch.

    Args:
        plant: the plant, on which `mismatch.parameters` have been set already.
        mismatch: what is otherwise.
        discrete: True if the actuator words choose among discrete actions.

    Returns:
        A MismatchedPlant, or `plant` itself if no stage is asked for.

    Raises:
        PlantError: the mismatch bends the commands of discrete actions.
    """
    m = mismatch
    changed = m.changed()
    if not changed:
        return plant
    wrong = [f"plant.mismatch.{key}" for key in CONTINUOUS_ONLY if key in changed]
    if discrete and wrong:
        raise PlantError(
            f"{', '.join(wrong)}: the actions of this plant are discrete, and a choice cannot be bent; "
            "use actuator_delay, actuator_dropout, sensor_* or mismatch.parameters"
        )
    n = plant.n_actuators
    actuators: list[tuple[bool, ActuatorStage]] = [
        (m.actuator_delay > 0, ActuatorDelay(n, m.actuator_delay)),
        (m.actuator_dropout > 0, ActuatorDropout(n, m.actuator_dropout)),
        (m.actuator_gain != 1 or m.actuator_offset != 0, ActuatorGain(m.actuator_gain, m.actuator_offset)),
        (m.actuator_deadband > 0, ActuatorDeadband(m.actuator_deadband)),
        (m.actuator_lag > 0, ActuatorLag(n, m.actuator_lag)),
        (m.actuator_backlash > 0, ActuatorBacklash(n, m.actuator_backlash)),
    ]
    sensors: list[tuple[bool, SensorStage]] = [
        (m.sensor_noise > 0, SensorNoise(m.sensor_noise)),
        (m.sensor_bits < 16, SensorBits(m.sensor_bits)),
        (m.sensor_delay > 0, SensorDelay(m.sensor_delay)),
    ]
    note = ", ".join(f"{key}={value:g}" for key, value in changed.items())
    return MismatchedPlant(
        plant, [stage for used, stage in actuators if used], [stage for used, stage in sensors if used], note
    )
