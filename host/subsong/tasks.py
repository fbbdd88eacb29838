"""Builds a task's block of 16-bit words; docs/arithmetic.md, "On-board tasks", is the normative text."""

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from subsong import song
from subsong.experiment_plant import BoardPlant
from subsong.experiment_tasks import (
    DelayedMatchPlant,
    ExtendedPlant,
    LettersPlant,
    LinearTeacherPlant,
    LqrPlant,
    ParityPlant,
    SequencePlant,
    SongPlant,
    XorPlant,
    coarser,
)
from subsong_device import layout
from subsong_device.plant_check import PLANT

if TYPE_CHECKING:
    from subsong.experiment import Experiment

SENSOR_FRAC = 15
DRIVE_FRAC = 12
LQR_FRAC = 12  # of a state; a sensor word has 9
# Rows of five bits of N, I, S, T.
GLYPHS = (
    (0b10001, 0b11001, 0b10101, 0b10011, 0b10001),
    (0b01110, 0b00100, 0b00100, 0b00100, 0b01110),
    (0b01111, 0b10000, 0b01110, 0b00001, 0b11110),
    (0b11111, 0b00100, 0b00100, 0b00100, 0b00100),
)
Floats = NDArray[np.float64]


class Coins:
    """Numbers drawn on the host as the board draws: a stream of two 16-bit words.

    Args:
        seed: its 32-bit state.
    """

    def __init__(self, seed: int) -> None:
        from subsong_sim.loader import PACKAGE, load

        self._kernels = load(f"{PACKAGE}.kernels.tasks.streams", ("coins", "task_draw"), "cpython")
        self._words = [seed & 0xFFFF, seed >> 16]

    def normal(self) -> float:
        """Return the heads among 64 coins, less 32, over 4."""
        return float(self._kernels.coins(self._words, 0)) / 4

    def sign(self) -> int:
        """Return 1 or -1."""
        return 1 if self._kernels.task_draw(self._words, 0) & 1 else -1


def task_block(experiment: "Experiment") -> bytes:
    """Return the on-board task's words (subsong_device.tasks), or nothing for a plant that the host plays.

    For the board's own plant, they are what its guard is told (subsong_device.plant_check).
    Inputs are words of 1 LSB = 2**-15; targets are in the format of the output layer's activation.
    """
    match experiment.plant:
        case XorPlant():
            words = _patterns(experiment, experiment.plant.hold)
            words[layout.TASK_ERROR_SHIFT] += coarser(4 * experiment.plant.hold)
        case ParityPlant():
            words = _patterns(experiment)
        case LinearTeacherPlant():
            words = _linear_teacher(experiment, experiment.plant)
        case LettersPlant():
            words = _letters(experiment, experiment.plant)
        case ExtendedPlant():
            words = _extended(experiment, experiment.plant)
        case LqrPlant():
            words = _lqr(experiment, experiment.plant)
        case DelayedMatchPlant():
            words = _delayed_match(experiment, experiment.plant)
        case SequencePlant():
            words = _sequence(experiment, experiment.plant)
        case SongPlant():
            words = _song(experiment)
        case BoardPlant():
            words = _guard(experiment, experiment.plant)
        case _:
            words = []
    return np.array([word & 0xFFFF for word in words], dtype="<u2").tobytes()


def _guard(experiment: "Experiment", plant: BoardPlant) -> list[int]:
    layers = experiment.network.layers
    period_ms, period_us = divmod(round(1000 * plant.period_ms), 1000)
    words = [PLANT, layers[0], layers[-1], period_ms, plant.step_limit_ms, plant.reset_limit_ms]
    words += [plant.stuck_steps, plant.watchdog_ms, period_us, 0]
    return words + [word for each in (*plant.sensors(layers[0]), *plant.actuators(layers[-1])) for word in each]


def _output_frac(experiment: "Experiment") -> int:
    return DRIVE_FRAC if experiment.network.activations[-1] == "identity" else SENSOR_FRAC


def _header(experiment: "Experiment", kind: int, count: int) -> list[int]:
    layers = experiment.network.layers
    return [kind, layers[0], layers[-1], _output_frac(experiment) - DRIVE_FRAC, 0, 0, 0, 0, count]


def _streams(experiment: "Experiment") -> list[int]:
    """Return the stream that trials draw from, its rewinds, and where evaluations begin."""
    training, testing = _seed(experiment, "task"), _seed(experiment, "task evaluation")
    return training * 3 + testing


def _seed(experiment: "Experiment", stream: str) -> list[int]:
    from subsong.block import stream_seed

    seed = stream_seed(experiment.seed, stream)
    return [seed & 0xFFFF, seed >> 16]


def _coins(experiment: "Experiment") -> Coins:
    from subsong.block import stream_seed

    return Coins(stream_seed(experiment.seed, "teacher"))


def word_of(value: float, frac: int) -> int:
    """Return a number's int16 word with so many fraction bits, clipped to +-32767."""
    word: int = max(-32767, min(32767, round(value * 2**frac)))
    return word


def mantissa(value: float, most: int, shifts: int) -> tuple[int, int]:
    """Return m and the least s with m * 2**s nearest to a number, m at most `most`, s at most `shifts`."""
    for shift in range(shifts + 1):
        m = round(value / 2**shift)
        if m <= most:
            return m, shift
    return most, shifts


def _patterns(experiment: "Experiment", hold: int = 1) -> list[int]:
    n = experiment.network.layers[0]
    words = _header(experiment, layout.PATTERNS, 2**n * hold)
    words[layout.TASK_ERROR_SHIFT] += coarser(experiment.run.steps) if isinstance(experiment.plant, ParityPlant) else 0
    for number in range(2**n):
        bits = [number >> (n - 1 - j) & 1 for j in range(n)]
        target = word_of(sum(bits) & 1, _output_frac(experiment))
        words += [*(word_of(bit, SENSOR_FRAC) for bit in bits), target] * hold
    return words


def _linear_teacher(experiment: "Experiment", plant: LinearTeacherPlant) -> list[int]:
    from subsong.block import product_shift

    n, m = experiment.network.layers[0], experiment.network.layers[-1]
    weight_frac = experiment.network.weight_frac
    shift = product_shift(n)
    # A count is 2**(cost_shift - 25); a quarter of the deviation is what a coin is worth.
    size, size_shift = mantissa(plant.noise * 2.0 ** (25 - plant.cost_shift) / 4, 0x7FFF, 8)
    draw = _coins(experiment)
    return [
        *_header(experiment, layout.LINEAR_TEACHER, 1),
        *_streams(experiment),
        *_seed(experiment, "measurement"),
        int(plant.inputs == "signs"),
        max(1, round(plant.deviation * 2**13)),
        shift,
        weight_frac + SENSOR_FRAC - shift - _output_frac(experiment),
        plant.cost_shift,
        size,
        size_shift,
        *[0] * m,
        *(word_of(draw.normal() * plant.teacher, weight_frac) for _ in range(n * m)),
    ]


def _letters(experiment: "Experiment", plant: LettersPlant) -> list[int]:
    one = word_of(1, _output_frac(experiment))
    return [
        *_header(experiment, layout.LETTERS, layout.LETTERS_IMAGES),
        plant.stride,
        plant.cost_shift,
        *(one if output == letter else 0 for letter in range(4) for output in range(4)),
        *(row for glyph in GLYPHS for row in glyph),
    ]


def _extended(experiment: "Experiment", plant: ExtendedPlant) -> list[int]:
    inputs, targets = extended_courses(experiment, plant)
    frac = _output_frac(experiment)
    words = [*_header(experiment, layout.EXTENDED, len(inputs)), plant.cost_shift]
    for x, y in zip(inputs, targets, strict=True):
        words += [word_of(v, SENSOR_FRAC) for v in x * plant.deviation] + [word_of(v, frac) for v in y]
    return words


def extended_courses(experiment: "Experiment", plant: ExtendedPlant) -> tuple[Floats, Floats]:
    """Return inputs float64[steps, n], of mean square 1, and targets float64[steps, m].

    The time courses are harmonics of a trial, orthogonal to each other and of zero mean. The inputs are sums of the
    first `latent` of them, each along a direction of its own that is orthogonal to all others: their covariance has
    `latent` eigenvalues n / latent, the rest is 0. The targets' realisable part has random coordinates along the same
    time courses; the other part is made of those that are left.
    """
    steps, n, m = experiment.run.steps, experiment.network.layers[0], experiment.network.layers[-1]
    latent = plant.latent or min(n, steps - 2)
    draw = _coins(experiment)
    courses = math.sqrt(steps) * _cosines(steps)[1:]
    signs = np.array([draw.sign() for _ in range(latent)])
    # Random signs: courses and directions of the same frequencies would add up to one sharp peak an input.
    directions = _cosines(n)[:latent] * signs[:, None] * math.sqrt(n / latent)
    inputs = courses[:latent].T @ directions
    wanted = np.array([[draw.normal() for _ in range(latent)] for _ in range(m)]).reshape(m, latent)
    targets = courses[:latent].T @ _scaled(wanted, plant.realisable).T
    rest = np.array([[draw.normal() for _ in range(steps - 1 - latent)] for _ in range(m)]).reshape(m, -1)
    return inputs, targets + courses[latent:].T @ _scaled(rest, plant.unrealisable).T


def _scaled(coordinates: Floats, cost: float) -> Floats:
    """Return coordinates along orthonormal courses with half the sum of their squares equal to a cost."""
    norm = float(np.sum(coordinates**2))
    return coordinates * math.sqrt(2 * cost / norm) if norm > 0 else coordinates


def _cosines(n: int) -> Floats:
    """Return the orthonormal cosines of n points, one a row, the constant first."""
    rows = [[math.cos(math.pi * k * (2 * t + 1) / (2 * n)) for t in range(n)] for k in range(n)]
    cosines: Floats = np.array(rows) * math.sqrt(2 / n)
    cosines[0] *= math.sqrt(0.5)
    return cosines


def _lqr(experiment: "Experiment", plant: LqrPlant) -> list[int]:
    n = experiment.network.layers[0]
    # q |x|**2 in counts of 2**-16: the squared word has 18 fraction bits, of which the kernel drops 13.
    q_shift = 0
    while q_shift < 19 and round(plant.q * 2.0 ** (11 + q_shift + 1)) <= 4095:
        q_shift += 1
    drift = (
        np.diag([plant.growth] * n) + np.diag([plant.coupling] * (n - 1), 1) + np.diag([plant.coupling] * (n - 1), -1)
    )
    return [
        *_header(experiment, layout.LQR, 1),
        *_streams(experiment),
        round(plant.start * 2 ** (LQR_FRAC - 2)),
        round(plant.noise * 2 ** (LQR_FRAC - 2)),
        round(plant.q * 2.0 ** (11 + q_shift)),
        q_shift,
        *[0] * (2 * n),
        *(round(v * 2**18) for v in drift.flatten()),
        *[0] * (2 * n),
    ]


def _song(experiment: "Experiment") -> list[int]:
    frac = _output_frac(experiment)
    words = [*_header(experiment, layout.SONG, song.STEPS), song.SPACING, song.BURST, song.DELAY]
    words += [song.MUSCLE_SHIFT, song.CEILING_SHIFT, 0]
    words += [word_of(value, frac) for row in song.song_template() for value in row]
    return words + [0] * (song.MUSCLES + 2 * song.DELAY)


def _low(experiment: "Experiment") -> int:
    """Return the word for "no", where 1 is "yes": -1, or 0 for an output that has no sign."""
    return 0 if experiment.network.activations[-1] == "logistic" else word_of(-1, _output_frac(experiment))


def _delayed_match(experiment: "Experiment", plant: DelayedMatchPlant) -> list[int]:
    probe_at = plant.cue_steps + plant.delay_steps
    period = probe_at + plant.probe_steps
    return [
        *_header(experiment, layout.DELAYED_MATCH, period),
        *_streams(experiment),
        plant.cue_steps,
        probe_at,
        period - plant.response_steps,
        word_of(1, _output_frac(experiment)),
        _low(experiment),
        *[0] * 3,
        plant.cost_shift,
    ]


def _sequence(experiment: "Experiment", plant: SequencePlant) -> list[int]:
    n, m, frac = experiment.network.layers[0], experiment.network.layers[-1], _output_frac(experiment)
    words = [
        *_header(experiment, layout.SEQUENCE, plant.cue_steps + plant.length),
        *_streams(experiment),
        plant.cue_steps,
        0,
        plant.cost_shift,
    ]
    for choice in range(n):
        for t in range(plant.length):
            for output in range(m):
                turns = (t + 1) / plant.length + choice / n + output / 4
                wave = plant.swing * math.sin(2 * math.pi * turns)
                words.append(word_of((1 + wave) / 2 if _low(experiment) == 0 else wave, frac))
    return words
