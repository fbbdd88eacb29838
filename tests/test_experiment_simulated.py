"""The experiment's table of a simulated plant."""

from typing import Any

import pytest

from subsong.errors import ExperimentError
from subsong.experiment import Experiment, from_tables, parse_experiment
from subsong_sim.plants import PlantSpec, models


def parsed(**plant: Any) -> Experiment:
    return from_tables(
        {
            "network": {"layers": [2, 1], "activations": ["identity"]},
            "learner": {"rule": "weight_perturbation", "amplitude": 0.1, "rate": 1, "rate_shift": 8},
            "plant": {"kind": "simulated", **plant},
            "run": {"trials": 2, "steps": 10},
        },
        "f",
    )


@pytest.mark.parametrize("name", models.NAMES)
def test_a_plant_has_its_own_cost_lsb_and_the_experiment_says_it(name: str) -> None:
    experiment = parsed(name=name)
    own = models.model(name).COST_LSB
    assert experiment.plant_spec() == PlantSpec(kind="simulated", name=name, cost_lsb=own)
    assert parse_experiment(experiment.to_toml(), "again") == experiment
    assert experiment.digest == parsed(name=name, cost_lsb=own).digest != parsed(name=name, cost_lsb=own * 2).digest


def test_parameters_of_the_mismatch_are_the_real_plants() -> None:
    experiment = parsed(name="rc", parameters={"load": 1e4}, mismatch={"parameters": {"load": 2e4}, "sensor_bits": 8})
    mismatch = experiment.mismatch()
    assert mismatch is not None
    assert (experiment.plant_spec().parameters, mismatch.parameters) == ({"load": 1e4}, {"load": 2e4})
    assert mismatch.changed() == {"sensor_bits": 8}


@pytest.mark.parametrize(
    ("plant", "says"),
    [
        ({}, 'f: plant.name: is missing (allowed: "pendulum" or "cartpole_swingup" or '),
        ({"name": "motor"}, "f: plant.name: got the text 'motor' (allowed: \"pendulum\" or "),
        (
            {"name": "lqr", "parameters": {"mass": 1}},
            "f: plant.parameters.mass: lqr has no such parameter (allowed: a11",
        ),
        ({"name": "rc", "parameters": {"hold": 0}}, "f: plant.parameters.hold: got 0 (allowed: a number, 1 to 1e+06)"),
        ({"name": "rc", "parameters": {"load": "x"}}, "f: plant.parameters.load: got 'x' (allowed: a number, "),
        (
            {"name": "rc", "mismatch": {"parameters": {"mass": 1}}},
            "f: plant.mismatch.parameters.mass: rc has no such parameter (allowed: resistance, load, ",
        ),
        ({"name": "rc", "cost_lsb": 0.0}, "f: plant.cost_lsb: got 0.0 (allowed: a number, above 0)"),
        ({"name": "rc", "id": "CartPole-v1"}, "f: plant.id: unknown key; "),
        ({"name": "rc", "sensor_range": [[0, 1]]}, "f: plant.sensor_range: 1 ranges for 2 network inputs"),
    ],
)
def test_what_is_wrong_with_the_table_is_one_line(plant: dict[str, Any], says: str) -> None:
    with pytest.raises(ExperimentError) as caught:
        parsed(**plant)
    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)
