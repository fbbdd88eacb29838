"""What actuators and sensors do to words: each effect by its formula, their order, and their neutral values."""

import itertools
import math
from collections.abc import Sequence
from statistics import fmean, pstdev
from typing import Any

import pytest

from subsong_sim.errors import PlantError
from subsong_sim.plants import Mismatch, PlantSpec, make_plant
from subsong_sim.plants.mismatch import (
    ActuatorBacklash,
    ActuatorDeadband,
    ActuatorDelay,
    ActuatorDropout,
    ActuatorGain,
    ActuatorLag,
    MismatchedPlant,
    SensorBits,
    SensorDelay,
    SensorNoise,
    stream,
    with_mismatch,
)

CARTPOLE = PlantSpec(id="CartPole-v1", sensor_range=[[-2.4, 2.4], [-3.0, 3.0], [-0.21, 0.21], [-3.0, 3.0]])
EDGES = (-32767, -32766, -1, 0, 1, 32766, 32767)


class Echo:
    """A plant of two channels whose sensors show the last command."""

    n_sensors = 2
    n_actuators = 2
    description = "Echo-v0, cost_lsb=1"
    done = False

    def __init__(self) -> None:
        self.words = [0, 0]

    def reset(self, seed: int) -> None:
        self.words = [seed % 1000, -5]

    def sense(self) -> list[int]:
        return self.words

    def actuate(self, u: Sequence[int]) -> None:
        self.words = list(u)

    def cost(self) -> int:
        return self.words[0]

    def close(self) -> None:
        pass


def echoes(mismatch: Mismatch, commands: Sequence[int], seed: int = 0) -> list[int]:
    """What the first sensor shows after each command, the reading at reset left out."""
    plant = with_mismatch(Echo(), mismatch, discrete=False)
    plant.reset(seed)
    shown = []
    for u in commands:
        plant.actuate([u, -u])
        shown.append(plant.sense()[0])
    return shown


def test_delay_rests_until_the_first_command_arrives() -> None:
    assert echoes(Mismatch(actuator_delay=1), [10, 20, 30]) == [0, 10, 20]
    assert echoes(Mismatch(actuator_delay=3), [10, 20, 30, 40]) == [0, 0, 0, 10]


def test_gain_offset_and_their_saturation() -> None:
    assert echoes(Mismatch(actuator_gain=0.5), [10, -10, 3, 5]) == [5, -5, 2, 2]  # halves to even
    assert echoes(Mismatch(actuator_offset=0.1), [0, 32767, -32767]) == [3277, 32767, -29490]
    assert echoes(Mismatch(actuator_gain=3.0), [20000, -20000]) == [32767, -32767]
    assert echoes(Mismatch(actuator_gain=-1.0), [20000, 1]) == [-20000, -1]


def test_dead_band_takes_its_width_from_every_command() -> None:
    d = 3276.7
    expected = [0, 0, 0, round(4000 - d), round(d - 4000), round(32767 - d)]
    assert echoes(Mismatch(actuator_deadband=0.1), [0, 3276, -3276, 4000, -4000, 32767]) == expected
    assert echoes(Mismatch(actuator_deadband=1.0), list(EDGES)) == [0] * len(EDGES)


def test_lag_follows_by_its_share_without_getting_stuck() -> None:
    assert echoes(Mismatch(actuator_lag=0.5), [1000, 1000, 1000, 0]) == [500, 750, 875, 438]
    assert echoes(Mismatch(actuator_lag=0.9), [32767] * 400)[-1] == 32767, (
        "words would stall, counts with fractions do not"
    )
    assert echoes(Mismatch(actuator_lag=0.99), [1] * 1000)[-1] == 1


def test_backlash_loses_its_width_at_every_turn() -> None:
    b = 2000 / 32767
    assert echoes(Mismatch(actuator_backlash=b), [500, 5000, 6000, 5000, 4500, 3000]) == [
        0,
        4000,
        5000,
        5000,
        5000,
        4000,
    ]


def test_drop_outs_repeat_the_last_command_and_are_as_frequent_as_asked() -> None:
    commands = [(i % 30000) + 1 for i in range(20000)]
    shown = echoes(Mismatch(actuator_dropout=0.1), commands, seed=3)
    held = 0
    last = 0
    for u, seen in zip(commands, shown, strict=True):
        assert seen in {u, last}
        held += seen != u
        last = seen
    assert abs(held / 20000 - 0.1) < 4 * math.sqrt(0.09 / 20000)
    assert echoes(Mismatch(actuator_dropout=1.0), [5, 6, 7]) == [0, 0, 0]


def test_a_drop_out_takes_all_actuators_at_once() -> None:
    plant = with_mismatch(Echo(), Mismatch(actuator_dropout=0.5), discrete=False)
    plant.reset(1)
    for u in range(1, 200):
        plant.actuate([u, -u])
        a, b = plant.sense()
        assert a == -b


def test_sensor_delay_shows_the_reading_at_reset_first() -> None:
    plant = with_mismatch(Echo(), Mismatch(sensor_delay=2), discrete=False)
    plant.reset(77)
    shown = [plant.sense()]
    for u in (1, 2, 3, 4):
        plant.actuate([u, u])
        shown.append(plant.sense())
    assert shown == [[77, -5], [77, -5], [77, -5], [1, 1], [2, 2]]
    plant.reset(78)
    assert plant.sense() == [78, -5]


@pytest.mark.parametrize("bits", range(1, 17))
def test_bits_give_equal_cells_and_their_middles(bits: int) -> None:
    stage = SensorBits(bits)
    cell = 2 ** (16 - bits)
    every = range(-32768, 32768, 1 if bits > 12 else 7)
    shown = stage(list(every))
    for word, reported in zip(every, shown, strict=True):
        assert -32768 <= reported <= 32767
        assert reported == word if bits == 16 else abs(reported + 0.0 - word) <= cell / 2
    assert len(set(stage(list(range(-32768, 32768))))) == 2**bits
    assert shown == sorted(shown)


def test_one_bit_is_a_comparator() -> None:
    assert SensorBits(1)([-32768, -1, 0, 32767]) == [-16384, -16384, 16384, 16384]


def test_noise_has_the_deviation_asked_for_no_mean_and_no_memory() -> None:
    n = 20000
    stage = SensorNoise(0.01)
    stage.reset(4)
    shown = [stage([0, 0]) for _ in range(n)]
    a, b = ([row[i] for row in shown] for i in (0, 1))
    sigma = 327.67
    for series in (a, b):
        assert abs(fmean(series)) < 4 * sigma / math.sqrt(n)
        assert abs(pstdev(series) / sigma - 1) < 4 / math.sqrt(2 * n)
        assert abs(fmean(x * y for x, y in itertools.pairwise(series))) < 4 * sigma**2 / math.sqrt(n)
    assert abs(fmean(x * y for x, y in zip(a, b, strict=True))) < 4 * sigma**2 / math.sqrt(n)


def test_noise_saturates() -> None:
    stage = SensorNoise(1.0)
    stage.reset(0)
    seen = {word for _ in range(200) for word in stage([32767, -32767])}
    assert max(seen) == 32767
    assert min(seen) == -32767


def test_streams_are_named_and_a_contract() -> None:
    assert stream("sensor_noise", 1).random() != stream("actuator_dropout", 1).random()
    assert stream("sensor_noise", 1).random() != stream("sensor_noise", 2).random()
    # Golden: run logs and published figures depend on these.
    uniform, gauss = 0.5316003295774514, -1.3438278554030672
    assert stream("actuator_dropout", 7).random() == uniform
    assert stream("sensor_noise", 7).gauss(0.0, 1.0) == pytest.approx(gauss, rel=1e-14)  # through libm's log and cos


def test_one_effects_draws_do_not_move_anothers() -> None:
    commands = list(range(1, 400))
    alone = echoes(Mismatch(actuator_dropout=0.3), commands, seed=9)
    noisy = with_mismatch(Echo(), Mismatch(actuator_dropout=0.3, sensor_noise=0.01), discrete=False)
    assert isinstance(noisy, MismatchedPlant)
    noisy.reset(9)
    beneath = []
    for u in commands:
        noisy.actuate([u, -u])
        beneath.append(noisy.plant.sense()[0])
    assert beneath == alone


def test_noise_does_not_move_where_the_plant_starts() -> None:
    bare = make_plant(CARTPOLE)
    noisy = make_plant(CARTPOLE, Mismatch(sensor_noise=0.05, actuator_dropout=0.1))
    assert isinstance(noisy, MismatchedPlant)
    for seed in range(5):
        bare.reset(seed)
        noisy.reset(seed)
        assert noisy.plant.sense() == bare.sense()
        assert noisy.sense() != bare.sense()
    bare.close()
    noisy.close()


def test_the_order_of_the_actuator_stages_is_the_documented_one() -> None:
    m = Mismatch(
        actuator_delay=1,
        actuator_dropout=0.2,
        actuator_gain=1.3,
        actuator_offset=-0.02,
        actuator_deadband=0.05,
        actuator_lag=0.4,
        actuator_backlash=0.03,
    )
    commands = [(i * 7919) % 65535 - 32767 for i in range(300)]
    draw = stream("actuator_dropout", 5)
    held = y = load = 0.0
    expected = []
    for arrived in [0, *commands[:-1]]:
        if draw.random() >= 0.2:
            held = arrived
        v = max(-32767, min(32767, 1.3 * held - 0.02 * 32767))
        d = 0.05 * 32767
        v = v - d if v > d else v + d if v < -d else 0.0
        y += (1.0 - 0.4) * (v - y)
        h = 0.03 * 32767 / 2
        load = min(max(load, y - h), y + h)
        expected.append(round(load))
    assert echoes(m, commands, seed=5) == expected


def test_the_order_of_the_sensor_stages_is_the_documented_one() -> None:
    plant = with_mismatch(Echo(), Mismatch(sensor_noise=0.02, sensor_bits=6, sensor_delay=1), discrete=False)
    plant.reset(5)
    draw = stream("sensor_noise", 5)
    readings = [[5, -5], *([u, -u] for u in range(-9000, 9000, 900))]
    reported = []
    for reading in readings:
        words = [round(word + draw.gauss(0.0, 0.02 * 32767)) for word in reading]
        reported.append([(word >> 10 << 10) + 512 for word in words])
    shown = [plant.sense()]
    for u, _ in readings[1:]:
        plant.actuate([u, -u])
        shown.append(plant.sense())
    assert shown == [reported[0], *reported[:-1]]


def neutral_stages(n: int) -> tuple[list[Any], list[Any]]:
    actuators = [
        ActuatorDelay(n, 0),
        ActuatorDropout(n, 0.0),
        ActuatorGain(1.0, 0.0),
        ActuatorDeadband(0.0),
        ActuatorLag(n, 0.0),
        ActuatorBacklash(n, 0.0),
    ]
    return actuators, [SensorNoise(0.0), SensorBits(16), SensorDelay(0)]


@pytest.mark.parametrize("spec", [CARTPOLE, PlantSpec(id="Pendulum-v1", cost_lsb=0.01)], ids=["discrete", "continuous"])
def test_every_stage_at_its_neutral_value_changes_no_word(spec: PlantSpec) -> None:
    bare = make_plant(spec)
    wrapped = MismatchedPlant(make_plant(spec), *neutral_stages(bare.n_actuators))
    for seed in range(10):
        bare.reset(seed)
        wrapped.reset(seed)
        assert wrapped.sense() == bare.sense()
        draw = stream("commands", seed)
        for _ in range(200):
            u = [draw.choice([-32768, *EDGES]) if draw.random() < 0.3 else draw.randint(-32768, 32767)]
            bare.actuate(u)
            wrapped.actuate(u)
            assert (wrapped.sense(), wrapped.cost(), wrapped.done) == (bare.sense(), bare.cost(), bare.done)
            if bare.done:
                break
    bare.close()
    wrapped.close()


def test_a_neutral_mismatch_is_no_wrapper_at_all() -> None:
    echo = Echo()
    assert with_mismatch(echo, Mismatch(), discrete=True) is echo


def test_mismatches_compose_around_one_another() -> None:
    inner = with_mismatch(Echo(), Mismatch(actuator_delay=1), discrete=False)
    outer = with_mismatch(inner, Mismatch(actuator_gain=2.0, sensor_delay=1), discrete=False)
    outer.reset(1)
    shown = []
    for u in (10, 20, 30, 40):
        outer.actuate([u, u])
        shown.append(outer.sense()[0])
    assert shown == [1, 0, 20, 40]
    assert (
        outer.description
        == "Echo-v0, cost_lsb=1; mismatch: actuator_delay=1; mismatch: actuator_gain=2, sensor_delay=1"
    )


def test_a_new_episode_forgets_the_last_one() -> None:
    m = Mismatch(
        actuator_delay=1,
        actuator_dropout=0.5,
        actuator_lag=0.5,
        actuator_backlash=0.1,
        sensor_delay=1,
        sensor_noise=0.1,
    )
    plant = with_mismatch(Echo(), m, discrete=False)
    runs = []
    for _ in range(2):
        plant.reset(6)
        run = [plant.sense()]
        for u in range(0, 30000, 999):
            plant.actuate([u, -u])
            run.append(plant.sense())
        runs.append(run)
    assert runs[0] == runs[1]


def test_cost_is_what_happened_not_what_was_sensed() -> None:
    plant = with_mismatch(Echo(), Mismatch(sensor_delay=1, sensor_noise=0.5), discrete=False)
    plant.reset(0)
    plant.actuate([123, 0])
    assert plant.cost() == 123


@pytest.mark.parametrize(
    "key", ["actuator_lag", "actuator_gain", "actuator_offset", "actuator_deadband", "actuator_backlash"]
)
def test_choices_cannot_be_bent(key: str) -> None:
    with pytest.raises(PlantError, match=rf"^plant\.mismatch\.{key}: .*discrete.*use actuator_delay, actuator_dropout"):
        make_plant(CARTPOLE, Mismatch(**{key: 0.5, "sensor_delay": 1}), compiled=True)


def test_a_delayed_choice_and_a_lost_one() -> None:
    plant = make_plant(CARTPOLE, Mismatch(actuator_delay=1))
    bare = make_plant(CARTPOLE)
    plant.reset(2)
    bare.reset(2)
    commands = [-1, 1, -1, -1, 1, 1]
    for late, now in zip(commands, [0, *commands], strict=False):
        plant.actuate([late])
        bare.actuate([now])
        assert plant.sense() == bare.sense()
    plant.close()
    bare.close()
