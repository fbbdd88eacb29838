"""subsong new --plant: experiments by numbers that are the same for every plant, and that they learn."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from click.testing import CliRunner
from gymnasium.spaces import Box

from subsong.batch import simulate_many
from subsong.cli import subsong
from subsong.defaults import AMPLITUDE, STEP, commented, default_experiment, plant_named
from subsong.errors import PlantError
from subsong.experiment import from_tables, load_experiment, parse_experiment
from subsong_sim.plants.models import NAMES
from subsong_sim.plants.probe import _range, probe
from subsong_sim.plants.spec import PlantSpec

PLANTS = (*NAMES, "CartPole-v1", "Acrobot-v1", "InvertedPendulum-v5", "FrozenLake-v1", "tclab", "host_load")


def test_random_actions_tell_how_far_sensors_reach() -> None:
    seen = probe(PlantSpec(id="CartPole-v1"))
    assert (seen.steps, seen.most, seen.solved) == (500, 1.0, 475.0)
    position, speed, angle, spin = seen.sensor_range
    assert all(low == -high for low, high in seen.sensor_range)
    assert 0.3 < position[1] < 0.9  # its bounds are 4.8
    assert 0.2 < angle[1] < 0.4  # and 0.42
    assert 1.2 < speed[1] < 2.4
    assert 1.8 < spin[1] < 3.6
    assert seen == probe(PlantSpec(id="CartPole-v1"))


def test_bounds_that_are_near_are_taken() -> None:
    assert probe(PlantSpec(id="Pendulum-v1")).sensor_range == [(-1.0, 1.0), (-1.0, 1.0), (-8.0, 8.0)]


def test_a_sensor_that_random_actions_never_change_keeps_its_bounds() -> None:
    assert (0.0, 1.0) in probe(PlantSpec(id="FrozenLake-v1")).sensor_range


def test_ranges_far_from_0_keep_the_digits_of_their_span() -> None:
    rng = np.random.default_rng(1)
    low, high = _range(101_325.0 + rng.standard_normal(1000), -np.inf, np.inf)
    assert (low - 101_325.0, high - 101_325.0) == pytest.approx((-3.0, 3.0), abs=0.3)
    low, high = _range(np.full(9, 1e20), -np.inf, np.inf)
    assert low < 1e20 < high


class Rewarded(gymnasium.Env[Any, Any]):
    """One reading, one action, and the reward that it is made with."""

    observation_space = Box(-1.0, 1.0, (1,))
    action_space = Box(-1.0, 1.0, (1,))

    def __init__(self, reward: float) -> None:
        self.reward = reward

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Return 0."""
        super().reset(seed=seed, options=options)
        return np.zeros(1), {}

    def step(self, _action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Return 0."""
        return np.zeros(1), self.reward, False, False, {}


def test_an_infinite_reward_is_refused_and_an_infinite_threshold_stops_no_run() -> None:
    name = "Rewarded-v0"
    gymnasium.register(name, Rewarded, max_episode_steps=9, kwargs={"reward": np.inf})
    try:
        with pytest.raises(PlantError, match="Rewarded-v0: random actions meet an infinite reward"):
            probe(PlantSpec(id=name))
        gymnasium.registry[name].kwargs["reward"] = 1.0
        gymnasium.registry[name].reward_threshold = np.inf
        assert probe(PlantSpec(id=name)).solved is None
    finally:
        del gymnasium.registry[name]


@pytest.mark.parametrize("name", PLANTS)
def test_every_plant_has_an_experiment_whose_file_says_it(name: str) -> None:
    experiment = default_experiment(plant_named(name), trials=400)
    layers = experiment.network.layers
    assert len(layers) == 2
    assert experiment.learner.amplitude == pytest.approx(AMPLITUDE / (layers[0] + 1) ** 0.5, abs=5e-4)
    assert experiment.learner.rate * 2.0**-experiment.learner.rate_shift == pytest.approx(
        STEP / (layers[0] + 1) ** 0.5, rel=1e-2
    )
    assert parse_experiment(commented(experiment, "mine.toml"), "mine.toml") == experiment


def test_hidden_units_count_in_the_mean_fan_in() -> None:
    experiment = default_experiment(plant_named("pendulum"), hidden=(16,))
    assert experiment.network.layers == (3, 16, 1)
    assert experiment.network.activations == ("tanh", "hard_tanh")
    mean = (16 * 4 + 17) / 17
    assert experiment.learner.amplitude == pytest.approx(AMPLITUDE / mean**0.5, abs=5e-4)
    assert experiment.network.init > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--plant", "NoSuchThing-v0"], "(simulated plants: pendulum, "),
        (["--plant", "xor"], "`subsong new NAME --kind xor`"),
        (["--plant", ""], "plant.id: missing"),
        (["--plant", "CartPole-v1", "--kind", "xor"], "--plant excludes --kind"),
        (["--hidden", "16"], "go with --plant"),
        (["--trials", "10"], "go with --plant"),
    ],
)
def test_what_new_refuses(tmp_path: Path, arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(subsong, ["new", str(tmp_path / "mine"), *arguments])
    assert result.exit_code != 0
    assert said in result.output + str(result.exception)
    assert not list(tmp_path.iterdir())


def test_new_writes_a_file_that_sim_reads(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    result = CliRunner().invoke(subsong, ["new", str(path), "--plant", "dc_motor", "--trials", "200"])
    assert result.exit_code == 0, result.output
    assert load_experiment(path) == default_experiment(plant_named("dc_motor"), trials=200)


def test_ranges_that_are_given_are_kept() -> None:
    table = {"kind": "simulated", "name": "rc", "sensor_range": [[-1.0, 1.0], [0.0, 2.0]]}
    assert default_experiment(table).plant.sensor_range == ((-1.0, 1.0), (0.0, 2.0))
    with pytest.raises(PlantError, match=r"sensor_range: 1 pairs for the 2 sensors"):
        default_experiment({**table, "sensor_range": [[0.0, 1.0]]})


@pytest.mark.slow
@pytest.mark.parametrize(("name", "share"), [("dc_motor", 0.2), ("rc", 0.5), ("heater", 0.5), ("CartPole-v1", None)])
def test_one_set_of_numbers_learns(name: str, share: float | None) -> None:
    experiment = default_experiment(plant_named(name), trials=600)
    runs = [experiment.with_seed(seed) for seed in range(1, 9)]
    tables = experiment.model_dump(exclude_none=True)
    still = from_tables({**tables, "run": {**tables["run"], "trials": 2}}, name)
    still = from_tables({**still.model_dump(exclude_none=True), "learner": {**tables["learner"], "rate": 1}}, name)
    (control,) = simulate_many([still])
    costs = [each.final for each in simulate_many(runs)]
    assert control.final is not None
    limit = -475.0 if share is None else share * control.final
    assert control.final > limit
    assert all(cost is not None and cost <= limit for cost in costs), (costs, control.final)
