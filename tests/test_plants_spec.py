"""A plant as data: what is wrong by itself is said at once, with its key."""

import math
import pickle
from typing import Any

import pytest

from subsong_sim.errors import PlantError
from subsong_sim.plants import Mismatch, PlantSpec


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"kind": "robot"}, "plant.kind: 'robot' is unknown; use one of gymnasium, simulated, tclab, host_load, task"),
        ({"kind": "simulated"}, "plant.name: missing; name a simulated plant"),
        ({"id": ""}, "plant.id: missing"),
        ({"kind": "task"}, "plant.name: missing"),
        ({"cost_lsb": 0.0}, "plant.cost_lsb: 0.0 must be a finite number above 0"),
        ({"cost_lsb": -1.0}, "plant.cost_lsb"),
        ({"cost_lsb": math.nan}, "plant.cost_lsb"),
        ({"cost_lsb": math.inf}, "plant.cost_lsb"),
        (
            {"sensor_range": [[0, 1], [1, 0]]},
            "plant.sensor_range[1]: [1, 0] must be two finite numbers, low below high",
        ),
        ({"sensor_range": [[1, 1]]}, "plant.sensor_range[0]"),
        ({"sensor_range": [[0, math.nan]]}, "plant.sensor_range[0]"),
        ({"sensor_range": [[-math.inf, 0]]}, "plant.sensor_range[0]"),
        ({"sensor_range": [[0, 1, 2]]}, "plant.sensor_range[0]: [0, 1, 2] must be a pair [low, high]"),
        ({"actuator_range": [[2, 1]]}, "plant.actuator_range[0]"),
        ({"parameters": {"m": math.inf}}, "plant.parameters.m: inf must be a finite number"),
        ({"parameters": {"m": True}}, "plant.parameters.m"),
        ({"parameters": {"m": [1]}}, "plant.parameters.m"),
    ],
)
def test_plants_that_cannot_be(given: dict[str, Any], says: str) -> None:
    with pytest.raises(PlantError) as caught:
        PlantSpec(**{"id": "CartPole-v1", **given})
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("actuator_lag", (-0.1, 1.0, math.nan)),
        ("actuator_delay", (-1, 1001, 0.5, True)),
        ("actuator_dropout", (-0.01, 1.01, math.nan)),
        ("actuator_gain", (math.inf, 11.0)),
        ("actuator_offset", (-1.1, 1.1)),
        ("actuator_deadband", (-0.1, 1.1)),
        ("actuator_backlash", (-0.1, 2.1)),
        ("sensor_delay", (-1, 1001)),
        ("sensor_noise", (-0.1, math.inf)),
        ("sensor_bits", (0, 17, 8.0)),
        ("parameters", ({"m": math.nan},)),
    ],
)
def test_mismatches_that_cannot_be(key: str, values: tuple[Any, ...]) -> None:
    for value in values:
        with pytest.raises(PlantError, match=rf"^plant\.mismatch\.{key}"):
            Mismatch(**{key: value})


def test_every_error_is_said_at_once() -> None:
    with pytest.raises(PlantError) as caught:
        Mismatch(actuator_lag=2.0, sensor_bits=0, sensor_delay=-1)
    assert str(caught.value).count("\n") == 2


def test_changed_lists_what_is_not_neutral() -> None:
    assert Mismatch().changed() == {}
    assert Mismatch(parameters={"m": 1.0}).changed() == {}
    given = {"actuator_gain": 0.9, "sensor_bits": 8}
    assert Mismatch(sensor_bits=8, actuator_gain=0.9).changed() == given


def test_specs_compare_copy_and_travel() -> None:
    parameters = {"m": 1.0}
    spec = PlantSpec(id="Pendulum-v1", parameters=parameters, sensor_range=[[-1, 1]])
    parameters["m"] = 2.0
    assert spec.parameters == {"m": 1.0}
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert spec != PlantSpec(id="Pendulum-v1")
