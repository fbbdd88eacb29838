"""Gymnasium environments in words: the mapping, the parameters, and everything that can be wrong with them."""

import math
import warnings
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, Graph, MultiBinary, MultiDiscrete, Sequence, Space, Tuple
from hypothesis import given
from hypothesis import strategies as st

from subsong_sim.errors import PlantError
from subsong_sim.plants import Mismatch, PlantSpec, make_plant
from subsong_sim.plants.base import COST_MAX, cost_word, scale_of, sensor_words
from subsong_sim.plants.gym import GymPlant

CARTPOLE_RANGE = [[-2.4, 2.4], [-3.0, 3.0], [-0.21, 0.21], [-3.0, 3.0]]


class Scripted(gymnasium.Env[Any, Any]):
    """Shows and pays what the test says, and keeps what it was told to do."""

    sensors: Space[Any] = Box(-1.0, 1.0, (2,), np.float64)
    actions: Space[Any] = Discrete(2)

    def __init__(self) -> None:
        self.observation_space = self.sensors
        self.action_space = self.actions
        self.show = np.zeros(self.observation_space.shape or (), self.observation_space.dtype)
        self.pay: float = 0.0
        self.end = (False, False)
        self.told: Any = None
        self.seeds: list[int | None] = []
        self.stiffness = 1.0
        self.teeth = 12
        self._hidden = 3.0
        self.ready = True
        self.label = "one"

    @property
    def dt(self) -> float:
        return 0.1

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        self.seeds.append(seed)
        return self.show, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.told = action
        return self.show, self.pay, *self.end, {}


@pytest.fixture
def scripted() -> Iterator[Any]:
    """A function that registers an environment with these spaces and makes its plant."""
    made: list[GymPlant] = []

    def make(sensors: Space[Any] | None = None, actions: Space[Any] | None = None, **spec: Any) -> tuple[GymPlant, Any]:
        spaces = {"sensors": sensors, "actions": actions}
        body = {name: space for name, space in spaces.items() if space is not None}
        gymnasium.register("Scripted-v0", entry_point=type("Made", (Scripted,), body))
        try:
            plant = GymPlant(PlantSpec(id="Scripted-v0", **spec))
        finally:
            del gymnasium.registry["Scripted-v0"]
        made.append(plant)
        return plant, plant.env.unwrapped

    yield make
    for plant in made:
        plant.close()


def test_readings_saturate_and_round_half_to_even(scripted: Any) -> None:
    plant, env = scripted(Box(-32767.0, 32767.0, (1,), np.float64))
    plant.reset(0)
    table = {
        0.5: 0, 1.5: 2, 2.5: 2, -0.5: 0, -1.5: -2, 0.50001: 1,
        32766.5: 32766, 32766.6: 32767, 32767.0: 32767, 1e9: 32767, math.inf: 32767,
        -32766.6: -32767, -32767.0: -32767, -32768.0: -32767, -math.inf: -32767,
    }  # fmt: skip
    for value, word in table.items():
        env.show = np.array([value])
        plant.actuate([0])
        assert plant.sense() == [word], value


def test_low_is_minus_32767_the_middle_0_and_high_32767(scripted: Any) -> None:
    plant, env = scripted(Box(np.array([10.0, -3.0]), np.array([20.0, -1.0]), dtype=np.float64))
    plant.reset(0)
    for show, words in (([10, -3], [-32767, -32767]), ([15, -2], [0, 0]), ([20, -1], [32767, 32767])):
        env.show = np.array(show, np.float64)
        plant.actuate([0])
        assert plant.sense() == words


def test_a_declared_range_wins_over_the_box(scripted: Any) -> None:
    plant, env = scripted(sensor_range=[[0.0, 2.0], [-4.0, 4.0]])
    env.show = np.array([1.0, 1.0])
    plant.reset(0)
    assert plant.sense() == [0, 8192]  # 8191.75


@given(
    low=st.floats(-1e3, 1e3),
    width=st.floats(1e-2, 1e3),
    words=st.lists(st.integers(-32767, 32767), min_size=1, max_size=4),
)
def test_a_word_comes_back_from_its_physical_value(low: float, width: float, words: list[int]) -> None:
    middle, words_per_unit = scale = scale_of((low, low + width))
    assert sensor_words([middle + word / words_per_unit for word in words], [scale] * len(words)) == words


def test_many_sensors_take_numpys_way_to_the_same_words(scripted: Any) -> None:
    n = 400
    bounds = np.random.default_rng(1).uniform(0.1, 50, n)
    plant, env = scripted(Box(-bounds, 2 * bounds, dtype=np.float64))
    scales = [scale_of((-b, 2 * b)) for b in bounds.tolist()]
    plant.reset(0)
    draw = np.random.default_rng(2)
    for _ in range(20):
        env.show = draw.uniform(-1.2, 2.2, n) * bounds
        env.show[:4] = math.inf, -math.inf, 0.5 * bounds[2], 0.0
        plant.actuate([0])
        assert plant.sense() == sensor_words(env.show.tolist(), scales)
        assert all(type(word) is int for word in plant.sense())
    env.show[7] = math.nan
    with pytest.raises(PlantError, match="a sensor is not a number"):
        plant.actuate([0])


def test_observations_of_any_shape_and_kind_are_flattened(scripted: Any) -> None:
    plant, env = scripted(Box(0, 255, (2, 3), np.uint8))
    env.show = np.array([[0, 255, 0], [255, 0, 255]], np.uint8)
    plant.reset(0)
    assert plant.sense() == [-32767, 32767, -32767, 32767, -32767, 32767]
    assert plant.n_sensors == 6


def test_choices_are_sensed_one_sensor_a_value_and_parts_side_by_side(scripted: Any) -> None:
    low, high = -32767, 32767
    table: list[tuple[Space[Any], Any, list[int]]] = [
        (Discrete(3), 1, [low, high, low]),
        (MultiDiscrete([2, 3]), np.array([1, 0]), [low, high, high, low, low]),
        (MultiBinary(3), np.array([1, 0, 1], np.int8), [high, low, high]),
        (Box(-2.0, 2.0, (), np.float64), np.array(1.0), [16384]),
        (Tuple((Discrete(2), Box(-1.0, 1.0, (1,), np.float64))), (1, np.array([1.0])), [low, high, high]),
        (
            Dict({"b": Box(0, 4, (1,), np.int8), "a": Discrete(2)}),
            {"a": 0, "b": np.array([2], np.int8)},
            [high, low, 0],
        ),
    ]
    for space, show, words in table:
        plant, env = scripted(space)
        env.show = show
        plant.reset(0)
        assert (plant.sense(), plant.n_sensors) == (words, len(words)), space


def test_each_of_several_choices_has_an_actuator_of_its_own(scripted: Any) -> None:
    plant, env = scripted(actions=MultiDiscrete(np.array([[2, 3]]), start=np.array([[0, 5]])))
    plant.reset(0)
    for words, told in (([-1, -32768], [[0, 5]]), ([0, 0], [[1, 6]]), ([32767, 32767], [[1, 7]])):
        plant.actuate(words)
        assert env.told.tolist() == told and env.action_space.contains(env.told)
    plant, env = scripted(actions=MultiBinary((2, 2)))
    plant.reset(0)
    plant.actuate([-1, 0, 32767, -32768])
    assert env.told.tolist() == [[0, 1], [1, 0]] and env.action_space.contains(env.told)
    assert plant.discrete_actions


def test_what_an_environment_raises_is_told_with_its_step_and_seed(scripted: Any) -> None:
    plant, env = scripted()
    plant.reset(7)
    plant.actuate([0])
    env.step, well = (lambda _action: env.missing), env.step
    says = r"Scripted-v0: its step\(\) failed at step 2 after reset\(7\): AttributeError: .*; mend the env"
    with pytest.raises(PlantError, match=says):
        plant.actuate([0])
    with pytest.raises(PlantError, match=r"sense\(\) before the first reset"):
        plant.sense()
    env.step = well
    plant.reset(8)
    plant.actuate([0])
    env.reset = lambda **_: 1 / 0
    with pytest.raises(
        PlantError, match=r"its reset\(\) failed at step 0 after reset\(9\): ZeroDivisionError: division"
    ):
        plant.reset(9)


def test_what_an_environments_maker_raises_is_one_clear_error() -> None:
    gymnasium.register("Broken-v0", entry_point=lambda: 1 / 0)
    try:
        with pytest.raises(PlantError, match="cannot make 'Broken-v0': ZeroDivisionError: division by zero"):
            GymPlant(PlantSpec(id="Broken-v0"))
    finally:
        del gymnasium.registry["Broken-v0"]


def test_words_choose_among_discrete_actions(scripted: Any) -> None:
    for n, start in ((1, 0), (2, 0), (3, -1), (7, 5)):
        plant, env = scripted(actions=Discrete(n, start=start))
        plant.reset(0)
        assert plant.n_actuators == 1
        for word in (-32768, -32767, -1, 0, 1, 32767):
            plant.actuate([word])
            assert env.told == start + math.floor((word + 32768) * n / 65536)
        counts = [0] * n
        for word in range(-32768, 32768, 97):
            plant.actuate([word])
            counts[env.told - start] += 1
        assert max(counts) - min(counts) <= 1, "equal shares of the word range"


def test_words_drive_a_box(scripted: Any) -> None:
    actions = Box(np.array([[-2.0, 0.0]], np.float32), np.array([[2.0, 1.0]], np.float32))
    plant, env = scripted(actions=actions)
    plant.reset(0)
    assert plant.n_actuators == 2
    table = {
        -32768: (-2, 0),
        -32767: (-2, 0),
        0: (0, 0.5),
        32767: (2, 1),
        16384: (2 * 16384 / 32767, 0.5 + 0.5 * 16384 / 32767),
    }
    for word, values in table.items():
        plant.actuate([word, word])
        assert env.told.dtype == np.float32
        assert env.told.shape == (1, 2)
        assert env.told.tolist() == [np.array(values, np.float32).tolist()]
        assert actions.contains(env.told)


def test_a_box_of_whole_numbers_is_rounded_and_a_narrower_range_is_taken(scripted: Any) -> None:
    plant, env = scripted(actions=Box(-5, 5, (1,), np.int32))
    plant.reset(0)
    plant.actuate([32767 * 3 // 10])
    assert env.told.tolist() == [1]
    assert env.told.dtype == np.int32
    plant, env = scripted(actions=Box(-2.0, 2.0, (1,), np.float64), actuator_range=[[-1.0, 0.5]])
    plant.reset(0)
    plant.actuate([32767])
    assert env.told.tolist() == [0.5]


def test_cost_is_the_reward_turned_and_counted(scripted: Any) -> None:
    plant, env = scripted(cost_lsb=0.25)
    plant.reset(0)
    table = {1.0: -4, -1.0: 4, 0.125: 0, -0.375: 2, -0.374: 1, 0.0: 0, 1e12: -COST_MAX, -math.inf: COST_MAX}
    for reward, cost in table.items():
        env.pay = reward
        plant.actuate([0])
        assert plant.cost() == cost, reward
    env.pay = np.float32(-2.0)
    plant.actuate([0])
    assert type(plant.cost()) is int
    env.pay = math.nan
    with pytest.raises(PlantError, match="the reward is not a number"):
        plant.actuate([0])


@given(st.floats(allow_nan=False), st.floats(1e-6, 1e6))
def test_cost_words_stay_within_their_bound(reward: float, cost_lsb: float) -> None:
    assert abs(cost_word(reward, cost_lsb)) <= COST_MAX


@pytest.mark.parametrize("end", [(True, False), (False, True), (np.True_, np.False_), (True, True)])
def test_terminated_or_truncated_is_done(scripted: Any, end: tuple[bool, bool]) -> None:
    plant, env = scripted()
    plant.reset(0)
    env.end = end
    plant.actuate([0])
    assert plant.done is True


def test_a_reading_that_is_not_a_number_is_named_with_step_and_seed(scripted: Any) -> None:
    plant, env = scripted()
    plant.reset(42)
    plant.actuate([0])
    env.show = np.array([0.0, math.nan])
    with pytest.raises(PlantError, match=r"Scripted-v0: a sensor is not a number at step 2 after reset\(42\)"):
        plant.actuate([0])
    with pytest.raises(PlantError, match="at step 0 after"):
        plant.reset(43)


def test_reset_seeds_reach_the_environment(scripted: Any) -> None:
    plant, env = scripted()
    for seed in (0, 5, 2**32 - 1):
        plant.reset(seed)
    assert env.seeds == [0, 5, 2**32 - 1]


@pytest.mark.parametrize(
    ("spaces", "says"),
    [
        ({"sensors": Sequence(Discrete(4))}, "only numbers and choices can be sensed, as many at every step"),
        ({"sensors": Graph(Box(0.0, 1.0, (2,)), None)}, "only numbers and choices can be sensed"),
        ({"actions": Tuple((Discrete(2), Discrete(2)))}, "only Box, Discrete, MultiDiscrete and MultiBinary can be"),
        ({"actions": MultiDiscrete([2, 2]), "actuator_range": [[0, 1]] * 2}, "discrete; remove it"),
        (
            {"sensors": Box(-np.inf, np.inf, (3,), np.float64)},
            r"plant\.sensor_range: missing.*sensors 0, 1, 2 of its 3",
        ),
        ({"sensors": Box(np.float32([0, 0]), np.float32([1, np.finfo(np.float32).max]))}, "sensor 1 of its 2"),
        ({"sensors": Box(np.float32([0, 1]), np.float32([1, 1]))}, "sensor 1 of its 2"),
        ({"actions": Box(-np.inf, np.inf, (1,), np.float64)}, r"plant\.actuator_range: missing.*actuator 0 of its 1"),
    ],
)
def test_spaces_that_cannot_be_words(scripted: Any, spaces: dict[str, Any], says: str) -> None:
    with pytest.raises(PlantError, match=says):
        scripted(**spaces)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"sensor_range": [[-1, 1]]}, "1 pairs for the 2 sensors"),
        ({"actuator_range": [[-1, 1]]}, "discrete; remove it"),
        (
            {"parameters": {"springs": 2.0}},
            r"plant\.parameters\.springs: .* no such number; use one of .*stiffness, teeth",
        ),
        ({"parameters": {"_hidden": 2.0}}, "no such number"),
        ({"parameters": {"ready": 2.0}}, "no such number"),
        ({"parameters": {"label": "two"}}, "no such number"),
        ({"parameters": {"dt": 2.0}}, "no such number"),
        ({"parameters": {"stiffness": "hard"}}, "must be a number"),
    ],
)
def test_experiments_that_do_not_fit_the_environment(scripted: Any, spec: dict[str, Any], says: str) -> None:
    with pytest.raises(PlantError, match=says):
        scripted(**spec)


def test_a_range_beyond_the_action_space_is_refused(scripted: Any) -> None:
    with pytest.raises(PlantError, match=r"plant\.actuator_range\[0\]: .*stay within \[-2, 2\]"):
        scripted(actions=Box(-2.0, 2.0, (1,), np.float64), actuator_range=[[-3, 2]])


@pytest.mark.parametrize(
    "env_id", ["CartPole-v99", "NoSuch-v0", "Cart Pole", "nowhere/CartPole-v1", "no_such_module:Env-v0"]
)
def test_an_unknown_environment_is_one_clear_error(env_id: str) -> None:
    with pytest.raises(PlantError, match=rf"plant\.id: Gymnasium cannot make '{env_id}'"):
        make_plant(PlantSpec(id=env_id))


def test_an_id_without_its_version_is_refused() -> None:
    with pytest.raises(PlantError, match=r"plant\.id: 'CartPole' names no version; use 'CartPole-v1'"):
        make_plant(PlantSpec(id="CartPole", sensor_range=CARTPOLE_RANGE))


def test_parameters_of_the_instance_and_of_the_class_are_set_and_matter() -> None:
    nominal = make_plant(PlantSpec(id="Pendulum-v1"))
    heavier = make_plant(PlantSpec(id="Pendulum-v1", parameters={"m": 1.2}), Mismatch(parameters={"m": 1.5}))
    assert isinstance(heavier, GymPlant)
    assert heavier.env.get_wrapper_attr("m") == 1.5
    for plant in (nominal, heavier):
        plant.reset(1)
        plant.actuate([20000])
    assert nominal.sense() != heavier.sense()
    assert "m=1.5" in heavier.description
    acrobot = make_plant(PlantSpec(id="Acrobot-v1"), Mismatch(parameters={"LINK_MASS_1": 1.3}))
    assert isinstance(acrobot, GymPlant)
    assert acrobot.env.get_wrapper_attr("LINK_MASS_1") == 1.3
    assert type(acrobot.env.unwrapped).LINK_MASS_1 == 1.0, "other instances keep theirs"
    with pytest.raises(PlantError, match=r"plant\.mismatch\.parameters\.mass: .*use one of"):
        make_plant(PlantSpec(id="Pendulum-v1"), Mismatch(parameters={"mass": 1.5}))
    for plant in (nominal, heavier, acrobot):
        plant.close()


@pytest.mark.parametrize("env_id", ["CartPole-v0", "CartPole-v1", "Pendulum-v1", "MountainCar-v0", "Acrobot-v1"])
def test_gymnasiums_warnings_stay_inside(env_id: str, capfd: pytest.CaptureFixture[str]) -> None:
    ranges = CARTPOLE_RANGE if env_id.startswith("CartPole") else None
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        plant = make_plant(PlantSpec(id=env_id, sensor_range=ranges))
        plant.reset(1)
        for _ in range(600):
            plant.actuate([32767] * plant.n_actuators)
            if plant.done:
                plant.reset(2)
        plant.close()
    assert [str(warning.message) for warning in seen] == []
    assert capfd.readouterr() == ("", "")


def test_a_task_has_no_plant_in_the_loop() -> None:
    with pytest.raises(PlantError, match="'xor' runs on the board"):
        make_plant(PlantSpec(kind="task", name="xor"))
