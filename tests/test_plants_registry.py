"""Every environment that is installed: it makes a plant, or one clear sentence says why not."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import gymnasium
import pytest

from subsong_sim.errors import PlantError
from subsong_sim.plants import Plant, PlantSpec, make_plant

UNBOUNDED = re.compile(
    r"^plant\.sensor_range: missing, and \S+ does not bound .* of its (\d+); declare sensor_range = "
)
PLAYED = {
    "CartPole-v1": (4, 1), "Pendulum-v1": (3, 1), "Acrobot-v1": (6, 1), "MountainCarContinuous-v0": (2, 1),
    "FrozenLake-v1": (16, 1), "Taxi-v4": (500, 1), "Blackjack-v1": (45, 1),
    "InvertedPendulum-v5": (4, 1), "Swimmer-v5": (8, 2), "Humanoid-v5": (348, 17),
}  # fmt: skip


def made(env_id: str) -> Plant | str:
    """Return the plant, ranges declared where the environment has none, or the sentence that refuses it."""
    try:
        return make_plant(PlantSpec(id=env_id))
    except PlantError as error:
        refusal = str(error)
    if not (unbounded := UNBOUNDED.match(refusal)):
        return refusal
    return make_plant(PlantSpec(id=env_id, sensor_range=[[-10.0, 10.0]] * int(unbounded[1])))


def played(plant: Plant) -> None:
    """Drive a plant to both ends of its actuators and to their middle."""
    plant.reset(1)
    for word in (32767, -32768, 0):
        if not plant.done:
            plant.actuate([word] * plant.n_actuators)
        words = plant.sense()
        assert len(words) == plant.n_sensors
        assert all(type(each) is int and -32767 <= each <= 32767 for each in words)
        assert type(plant.cost()) is int


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hold every plant to writing nothing where it runs: MuJoCo would, left alone."""
    monkeypatch.chdir(tmp_path)
    yield
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("env_id", PLAYED)
def test_an_environment_by_its_name_has_so_many_sensors_and_actuators(env_id: str) -> None:
    plant = made(env_id)
    assert not isinstance(plant, str), plant
    assert (plant.n_sensors, plant.n_actuators) == PLAYED[env_id]
    played(plant)
    plant.close()


def test_whatever_is_registered_plays_or_is_refused_in_a_sentence() -> None:
    outcome: Counter[str] = Counter()
    for env_id in sorted(gymnasium.registry):
        plant = made(env_id)
        if isinstance(plant, str):
            assert re.match(rf"plant\.(id|\w+_range): .*{re.escape(env_id)}", plant), plant
            assert "\n" not in plant
            outcome["refused"] += 1
            continue
        played(plant)
        plant.close()
        outcome["played"] += 1
    # Refused is what needs JAX, Box2D or another MuJoCo, and what has moved to other packages.
    assert outcome["played"] >= 30 and outcome["refused"] >= 20, outcome


@pytest.mark.parametrize("package", ["mujoco", "box2d"])
def test_a_missing_package_is_named_with_the_extra_that_brings_it(package: str) -> None:
    def lacking() -> gymnasium.Env[object, object]:
        raise gymnasium.error.DependencyNotInstalled(f"{package.upper()} is not installed, run `pip install something`")

    gymnasium.register("Lacking-v0", entry_point=lacking)
    try:
        assert made("Lacking-v0") == (
            f"plant.id: Gymnasium cannot make 'Lacking-v0': it needs {package}, which is not installed; "
            f"pip install 'subsong[{package}]'"
        )
    finally:
        del gymnasium.registry["Lacking-v0"]
