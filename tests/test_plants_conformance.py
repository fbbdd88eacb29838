"""The contract of a plant, held against every plant there is."""

import random
import re
from array import array
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from subsong_sim.errors import PlantError
from subsong_sim.plants import Clock, Mismatch, Plant, PlantSpec, make_plant
from subsong_sim.plants.base import COST_MAX
from subsong_sim.plants.models import NAMES

CARTPOLE_RANGE = [[-2.4, 2.4], [-3.0, 3.0], [-0.21, 0.21], [-3.0, 3.0]]
CARTPOLE = PlantSpec(id="CartPole-v1", sensor_range=CARTPOLE_RANGE)
PENDULUM = PlantSpec(id="Pendulum-v1", cost_lsb=0.01)
DISCRETE = Mismatch(actuator_delay=2, actuator_dropout=0.2, sensor_delay=1, sensor_noise=0.02, sensor_bits=8)
CONTINUOUS = Mismatch(
    actuator_lag=0.3,
    actuator_delay=1,
    actuator_dropout=0.1,
    actuator_gain=0.9,
    actuator_offset=0.05,
    actuator_deadband=0.05,
    actuator_backlash=0.02,
    sensor_delay=2,
    sensor_noise=0.01,
    sensor_bits=10,
)
PLANTS: dict[str, Callable[[], Plant]] = {
    "cartpole": lambda: make_plant(CARTPOLE),
    "cartpole friction": lambda: make_plant(
        CARTPOLE, Mismatch(parameters={"friction_cart": 0.1, "friction_pole": 0.001})
    ),
    "cartpole numba": lambda: make_plant(CARTPOLE, compiled=True),
    "cartpole numba friction": lambda: make_plant(CARTPOLE, Mismatch(parameters={"friction_cart": 0.1}), compiled=True),
    "cartpole mismatch": lambda: make_plant(CARTPOLE, DISCRETE),
    "cartpole v0": lambda: make_plant(PlantSpec(id="CartPole-v0", sensor_range=CARTPOLE_RANGE)),
    "pendulum": lambda: make_plant(PENDULUM),
    "pendulum mismatch": lambda: make_plant(PENDULUM, CONTINUOUS),
    "mountain car": lambda: make_plant(PlantSpec(id="MountainCar-v0")),
    "mountain car continuous": lambda: make_plant(PlantSpec(id="MountainCarContinuous-v0", cost_lsb=0.001)),
    "acrobot": lambda: make_plant(PlantSpec(id="Acrobot-v1")),
    **{
        f"simulated {name}": partial(make_plant, PlantSpec(kind="simulated", name=name, cost_lsb=0.01))
        for name in NAMES
    },
    "dc motor mismatch": lambda: make_plant(PlantSpec(kind="simulated", name="dc_motor", cost_lsb=0.01), CONTINUOUS),
    "taxi": lambda: make_plant(PlantSpec(id="Taxi-v4")),
    "inverted pendulum": lambda: make_plant(PlantSpec(id="InvertedPendulum-v5", sensor_range=[[-5.0, 5.0]] * 4)),
    "tclab": lambda: make_plant(PlantSpec(kind="tclab", period_ms=5000, cost_lsb=0.01)),
    "tclab mismatch": lambda: make_plant(
        PlantSpec(kind="tclab", period_ms=5000, target_range=[[30.0, 40.0]]), CONTINUOUS
    ),
    "pendulum on a clock": lambda: make_plant(PENDULUM, CONTINUOUS, clock=Clock(1)),
}
ENDLESS = ("tclab", "tclab mismatch")  # an episode is as long as a trial
EDGES = (-32768, -32767, -1, 0, 1, 32766, 32767)


@pytest.fixture(params=PLANTS, ids=lambda name: name.replace(" ", "-"))
def maker(request: pytest.FixtureRequest) -> Callable[[], Plant]:
    return PLANTS[request.param]


@pytest.fixture
def plant(maker: Callable[[], Plant]) -> Iterator[Plant]:
    made = maker()
    yield made
    made.close()


def commands(n: int, seed: int) -> Iterator[list[int]]:
    draw = random.Random(seed)
    while True:
        yield [draw.choice(EDGES) if draw.random() < 0.2 else draw.randint(-32768, 32767) for _ in range(n)]


def play(plant: Plant, seed: int, steps: int = 60) -> list[tuple[list[int], int, bool]]:
    """Reset and act at random; what was sensed, paid and ended, step by step."""
    plant.reset(seed)
    seen = [(plant.sense(), plant.cost(), plant.done)]
    for _, u in zip(range(steps), commands(plant.n_actuators, seed), strict=False):
        plant.actuate(u)
        seen.append((plant.sense(), plant.cost(), plant.done))
        if plant.done:
            break
    return seen


def first_difference(a: list[object], b: list[object]) -> str:
    pairs = [(i, x, y) for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y]
    return f"step {pairs[0][0]}: {pairs[0][1]} and {pairs[0][2]}" if pairs else f"lengths {len(a)} and {len(b)}"


def test_the_same_seed_gives_the_same_words_again_and_in_another_instance(
    maker: Callable[[], Plant], plant: Plant
) -> None:
    first = play(plant, 7)
    play(plant, 8)
    again = play(plant, 7)
    assert again == first, first_difference(again, first)
    other = maker()
    elsewhere = play(other, 7)
    other.close()
    assert elsewhere == first, first_difference(elsewhere, first)


def test_another_seed_gives_another_episode(plant: Plant) -> None:
    starts = set()
    for seed in (0, 1, 2, 2**31, 2**32 - 1):
        plant.reset(seed)
        starts.add(tuple(plant.sense()))
    assert len(starts) > 1


def test_words_and_costs_are_plain_ints_within_their_limits_and_lists_have_their_lengths(plant: Plant) -> None:
    for seed in range(3):
        for words, cost, done in play(plant, seed):
            assert type(words) is list
            assert len(words) == plant.n_sensors
            assert all(type(word) is int and -32768 <= word <= 32767 for word in words), words
            assert type(cost) is int
            assert abs(cost) <= COST_MAX
            assert type(done) is bool


def test_a_fresh_episode_has_cost_nothing_and_is_not_done(plant: Plant) -> None:
    play(plant, 3)
    plant.reset(4)
    assert plant.cost() == 0
    assert plant.done is False


def test_sensing_changes_nothing_and_old_readings_stay_what_they_were(plant: Plant) -> None:
    plant.reset(5)
    before = plant.sense()
    copy = list(before)
    assert plant.sense() == before
    for _, u in zip(range(5), commands(plant.n_actuators, 5), strict=False):
        plant.actuate(u)
        assert plant.sense() == plant.sense()
    assert before == copy


def test_a_caller_may_reuse_its_list_of_commands(maker: Callable[[], Plant], plant: Plant) -> None:
    other = maker()
    plant.reset(6)
    other.reset(6)
    shared = [0] * plant.n_actuators
    for _, u in zip(range(8), commands(plant.n_actuators, 6), strict=False):
        shared[:] = u
        plant.actuate(shared)
        other.actuate(tuple(u))
        assert plant.sense() == other.sense()
        if plant.done:
            break
    other.close()


def test_commands_may_be_an_array_of_int16(plant: Plant) -> None:
    plant.reset(0)
    plant.actuate(array("h", [-32768] * plant.n_actuators))


@pytest.mark.parametrize("name", [name for name in PLANTS if name not in ENDLESS])
def test_an_ended_episode_refuses_to_go_on_until_reset(name: str) -> None:
    plant = PLANTS[name]()
    seen = play(plant, 9, steps=100_000 if "MountainCarContinuous" not in plant.description else 1_000)
    assert seen[-1][2] is True, "every environment here ends: terminated or truncated"
    assert all(done is False for _, _, done in seen[:-1])
    with pytest.raises(PlantError, match="after the episode ended"):
        plant.actuate([0] * plant.n_actuators)
    plant.reset(9)
    assert plant.sense() == seen[0][0]
    assert plant.done is False
    plant.close()


def test_nothing_works_before_the_first_reset(plant: Plant) -> None:
    with pytest.raises(PlantError, match="before the first reset"):
        plant.sense()
    with pytest.raises(PlantError, match="before reset"):
        plant.actuate([0] * plant.n_actuators)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_outside_its_limits_is_refused(plant: Plant, seed: int) -> None:
    with pytest.raises(PlantError, match=r"0\.\.2\*\*32-1"):
        plant.reset(seed)


def test_wrong_commands_are_refused_and_cost_no_step(maker: Callable[[], Plant], plant: Plant) -> None:
    n = plant.n_actuators
    plant.reset(1)
    for wrong, says in (([0] * (n + 1), f"has {n} actuators"), ([], f"has {n} actuators"), ([32768] * n, "int16")):
        with pytest.raises(PlantError, match=says):
            plant.actuate(wrong)
    with pytest.raises(PlantError, match="int16"):
        plant.actuate([-32769] * n)
    other = maker()
    other.reset(1)
    plant.actuate([12345] * n)
    other.actuate([12345] * n)
    assert plant.sense() == other.sense()
    other.close()


def test_the_description_is_one_line_that_names_the_environment(plant: Plant) -> None:
    assert "\n" not in plant.description
    assert re.match(r"\w+-v\d|\w+, simulated|tclab, its model", plant.description)
    assert "cost_lsb=" in plant.description


def test_closing_twice_is_harmless(plant: Plant) -> None:
    plant.reset(0)
    plant.close()
    plant.close()
