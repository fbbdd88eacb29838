"""What a plant looks like to the trial loop, and the one mapping between physical values and words.

A word is a signed int16. A physical value v of a channel with the declared range (low, high) is

    word = clip(round_half_even((v - middle) * (32767 / half)), -32767, 32767)
    middle = (low + high) / 2,  half = (high - low) / 2

in float64 and in this order. So low is -32767, the middle 0, high 32767, and -32768 never leaves a sensor; infinities
saturate, and a value that is not a number is a PlantError. Python's round() and numpy's and Numba's rint all round
halves to even, which is what makes the three implementations agree word for word.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from subsong_sim.errors import PlantError
from subsong_sim.plants.spec import Parameter, Range

WORD_MAX = 32767
COST_MAX = 1 << 28  # counts; leaves a trial's 32-bit sums room on the board
UNBOUNDED = 1e30  # some environments write "unbounded" as the largest float32


class Plant(Protocol):
    """A thing to be driven, in words. Sensor and actuator words are int16, costs int32 counts, both plain ints.

    `reset`, then for each step `sense`, `actuate`, `cost`; once `done` is True, `reset` again. The list that `sense`
    returns belongs to the plant until the next `actuate`: read it, do not write it.
    """

    @property
    def n_sensors(self) -> int:
        """Return the number of sensor words."""
        ...

    @property
    def n_actuators(self) -> int:
        """Return the number of actuator words."""
        ...

    @property
    def description(self) -> str:
        """Return one line that says which plant this is, with all that is not its default."""
        ...

    @property
    def done(self) -> bool:
        """Return True if the last step ended the episode: terminated or truncated."""
        ...

    def reset(self, seed: int) -> None:
        """Begin an episode; everything random until the next reset is a function of `seed`, 0..2**32-1."""
        ...

    def sense(self) -> list[int]:
        """Return the sensor words of the present; the same however often it is asked."""
        ...

    def actuate(self, u: Sequence[int]) -> None:
        """Apply the actuator words and advance by one step."""
        ...

    def cost(self) -> int:
        """Return the cost of the last step, counts, |cost| <= 2**28; 0 right after a reset."""
        ...

    def close(self) -> None:
        """Give back what the plant holds; it may be called twice."""
        ...


def make_safe(plant: object) -> None:
    """Put a real plant's outputs to what does no harm (its `safe()`); a simulated one has none.

    Args:
        plant: what it is made of is found by its attribute `plant`.
    """
    while plant is not None:
        safe = getattr(plant, "safe", None)
        if safe is not None:
            safe()
        plant = getattr(plant, "plant", None)


class Scale(NamedTuple):
    """One channel's mapping.

    Attributes:
        middle: physical value of word 0.
        words_per_unit: counts for one physical unit, above 0.
    """

    middle: float
    words_per_unit: float


def scale_of(bounds: Range) -> Scale:
    """Return the mapping of a channel with the physical range `bounds`."""
    low, high = bounds
    return Scale((low + high) / 2.0, WORD_MAX / ((high - low) / 2.0))


def to_word(value: float) -> int:
    """Round half to even and saturate at +-32767.

    Args:
        value: counts; must be a number, infinities allowed.

    Returns:
        A word.
    """
    if value >= WORD_MAX:
        return WORD_MAX
    if value <= -WORD_MAX:
        return -WORD_MAX
    return round(value)


def to_physical(word: int, bounds: Range) -> float:
    """Map an actuator word to the channel's range, within which it is held: -32768 acts as -32767.

    Args:
        word: int16.
        bounds: (low, high), physical.
    """
    low, high = bounds
    value = (low + high) / 2.0 + (high - low) / 2.0 * (word / WORD_MAX)
    return low if value < low else min(value, high)


def sensor_words(values: Sequence[float], scales: Sequence[Scale]) -> list[int]:
    """Map physical readings to words.

    Args:
        values: one a sensor, physical units.
        scales: one a sensor.

    Returns:
        Words, -32767..32767.

    Raises:
        ValueError: a reading is not a number, or there are not as many readings as scales.
    """
    words = []
    for value, (middle, words_per_unit) in zip(values, scales, strict=True):
        y = (value - middle) * words_per_unit
        # The comparisons of to_word, written out: a call for each sensor is a third of the whole conversion.
        if y >= WORD_MAX:
            words.append(WORD_MAX)
        elif y <= -WORD_MAX:
            words.append(-WORD_MAX)
        else:
            words.append(round(y))  # round() of a NaN is the ValueError
    return words


def cost_word(reward: float, cost_lsb: float) -> int:
    """Map a reward to a cost word.

    Args:
        reward: what the environment pays for a step, physical units.
        cost_lsb: physical cost of one count, above 0.

    Returns:
        round_half_even(-reward / cost_lsb), saturated at +-2**28.

    Raises:
        ValueError: the reward is not a number.
    """
    y = -reward / cost_lsb
    if y >= COST_MAX:
        return COST_MAX
    if y <= -COST_MAX:
        return -COST_MAX
    return round(y)


def resolve_ranges(
    key: str,
    plant: str,
    channel: str,
    declared: Sequence[Sequence[float]] | None,
    low: Sequence[float],
    high: Sequence[float],
) -> list[Range]:
    """Return the physical range of each channel: the declared one, else the environment's bounds.

    Args:
        key: where a user would declare it, for the message.
        plant: name of the environment, for the message.
        channel: "sensor" or "actuator", for the message.
        declared: the experiment's ranges, or None.
        low: the environment's lower bounds, flattened.
        high: its upper bounds.

    Raises:
        PlantError: another number of pairs than channels, or an unbounded channel without a declared range.
    """
    n = len(low)
    if declared is not None:
        if len(declared) != n:
            raise PlantError(
                f"{key}: {len(declared)} pairs for the {n} {channel}s of {plant}; declare one [low, high] each"
            )
        return [(float(pair[0]), float(pair[1])) for pair in declared]
    # `not <` also catches a NaN bound; equal bounds are a channel that says nothing and cannot be scaled.
    bad = [i for i in range(n) if not (-UNBOUNDED < low[i] < high[i] < UNBOUNDED)]
    if bad:
        which = f"{channel}{'s' * (len(bad) > 1)} {', '.join(map(str, bad))}"
        raise PlantError(
            f"{key}: missing, and {plant} does not bound {which} of its {n}; "
            f"declare {key.rpartition('.')[2]} = [[low, high], ...], one pair each, wide enough for what they reach"
            + (f" (`subsong new mine --plant {plant}` measures them)" if channel == "sensor" else "")
        )
    return list(zip(low, high, strict=True))


def check_seed(seed: int) -> int:
    """Return `seed` as a plain int.

    Raises:
        PlantError: it is outside 0..2**32-1.
    """
    if not 0 <= seed < 1 << 32:
        raise PlantError(f"reset seed {seed!r}: use a whole number 0..2**32-1")
    return int(seed)


def not_a_number(plant: str, what: int, step: int, seed: int) -> PlantError:
    """Return the error of a plant whose reading or cost is not a number.

    Args:
        plant: its name.
        what: one plus the number of the sensor; -1: the cost.
        step: of the episode.
        seed: of its reset.
    """
    return PlantError(
        f"{plant}: {'its cost' if what < 0 else f'sensor {what - 1}'} is not a number at step {step} after "
        f"reset({seed}); check plant.parameters, the plant has left what its equations can compute"
    )


def check_words(u: Sequence[int], n: int, plant: str) -> None:
    """Check actuator words.

    Raises:
        PlantError: there are not `n` of them, or one is no int16.
    """
    if len(u) != n:
        raise PlantError(f"{plant}: {len(u)} actuator words, but it has {n} actuators")
    for i, word in enumerate(u):
        if not -WORD_MAX - 1 <= word <= WORD_MAX:
            raise PlantError(f"{plant}: actuator word {i} is {word!r}, outside int16 (-32768..32767)")


def describe_settings(
    parameters: dict[str, Parameter], ranges: dict[str, Sequence[Range] | None], cost_lsb: float
) -> str:
    """Return "name=value" for everything, ranges as low..high, for a plant's description."""
    parts = [
        f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}" for name, value in parameters.items()
    ]
    for name, pairs in ranges.items():
        if pairs is not None:
            parts.append(f"{name}=[{', '.join(f'{low:g}..{high:g}' for low, high in pairs)}]")
    parts.append(f"cost_lsb={cost_lsb:g}")
    return ", ".join(parts)
