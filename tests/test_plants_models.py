"""Simulated plants against their physics, and what all of them share."""

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import gymnasium
import numpy as np
import pytest
from numpy.typing import NDArray

from subsong.experiment_loop import SimulatedPlant as SimulatedTable
from subsong_sim.errors import PlantError
from subsong_sim.plants import Mismatch, PlantSpec, make_plant, models
from subsong_sim.plants.cartpole import cartpole_params, cartpole_step
from subsong_sim.plants.models import common, dc_motor, furuta, heater, lqr, rc
from subsong_sim.plants.simulated import SimulatedPlant

DOCS = Path(__file__).parents[1] / "docs" / "plants.md"
Floats = NDArray[np.float64]
# Rubbing, late, noisy: every branch is taken.
SEVERE: dict[str, dict[str, float]] = {
    "pendulum": {"viscous": 0.1, "coulomb": 0.3},
    "cartpole_swingup": {"viscous": 0.2, "coulomb": 1.0, "joint": 0.002, "end": 0.3},
    "furuta": {"coulomb": 0.001, "end": 0.5},
    "dc_motor": {"coulomb": 0.004, "dead_band": 1.0, "backlash": 0.1, "end": 0.5},
    "rc": {"noise": 0.01, "hold": 7.0},
    "heater": {"noise": 0.1, "delay": 3.0},
    "lqr": {"a11": 1.1},
}


class Bare:
    """A model's functions, uncompiled, with a state and parameters."""

    def __init__(self, name: str, seed: int = 1, **parameters: float) -> None:
        self.model = models.model(name)
        self.p = np.array(list(models.parameter_values(name, parameters).values()))
        self.state = np.zeros(self.model.STATE)
        self.model.start(seed, self.state, self.p)

    def advance(self, *u: float) -> float:
        return self.model.advance(self.state, np.array(u), self.p)

    def sense(self) -> list[float]:
        y = np.zeros(len(self.model.SENSORS))
        self.model.sense(self.state, self.p, y)
        return y.tolist()


def driven(name: str, steps: int, seed: int = 1) -> Iterator[list[int]]:
    draw = np.random.default_rng(seed)
    n = len(models.model(name).ACTUATORS)
    for _ in range(steps):
        yield draw.integers(-32768, 32768, n).tolist()


# What all share.


@pytest.mark.parametrize("name", models.NAMES)
def test_compiled_functions_are_the_plain_ones(name: str) -> None:
    plant = SimulatedPlant(PlantSpec(kind="simulated", name=name, parameters=SEVERE[name], cost_lsb=1e-6))
    plain = Bare(name, 7, **SEVERE[name])
    plant.reset(7)
    spans = [(low, high) for _, _, low, high in plain.model.ACTUATORS]
    for words in driven(name, 40):
        values = [
            (low + high) / 2 + (high - low) / 2 * max(word, -32767) / 32767
            for word, (low, high) in zip(words, spans, strict=True)
        ]
        cost = plain.advance(*values)
        plant.actuate(words)
        assert plant._state[: plain.model.STATE] == pytest.approx(plain.state, rel=1e-9, abs=1e-12)
        assert plant.cost() == pytest.approx(min(cost / 1e-6, 2**28), rel=1e-8, abs=1)


@pytest.mark.parametrize("name", models.NAMES)
def test_a_trials_total_is_far_from_the_limit_whatever_is_done(name: str) -> None:
    for u in (-1.0, 0.0, 1.0):
        for seed in range(3):
            plant = Bare(name, seed)
            ends = [(low + high) / 2 + u * (high - low) / 2 for _, _, low, high in plant.model.ACTUATORS]
            costs = [plant.advance(*ends) for _ in range(plant.model.STEPS)]
            assert min(costs) >= 0
            assert sum(costs) / plant.model.COST_LSB < 2**26


@pytest.mark.parametrize("name", models.NAMES)
def test_word_0_does_nothing_or_what_is_harmless(name: str) -> None:
    middles = {(low + high) / 2 for _, _, low, high in models.model(name).ACTUATORS}
    assert middles == ({0.5} if name == "rc" else {0.0})


@pytest.mark.parametrize("name", models.NAMES)
def test_the_document_has_every_parameter_with_its_default_and_every_sensor(name: str) -> None:
    section = DOCS.read_text(encoding="utf-8").split(f"### {name}\n")[1].split("\n### ")[0].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", section, re.MULTILINE)
    known = models.model(name)
    assert {row: default.strip() for row, default in rows} == {
        key: "pi" if value == math.pi else f"{value:g}" for key, value in known.PARAMETERS.items()
    }
    for channel, _, low, high in (*known.SENSORS, *known.ACTUATORS):
        assert f"`{channel}` {low:g} to {high:g}" in section


def test_the_experiment_knows_the_plants_there_are_and_each_name_has_its_own() -> None:
    assert get_args(SimulatedTable.model_fields["name"].annotation) == models.NAMES
    assert [Path(str(models.model(name).__file__)).stem for name in models.NAMES] == list(models.NAMES)


@pytest.mark.parametrize("name", models.NAMES)
def test_limits_are_those_of_parameters_and_admit_the_defaults(name: str) -> None:
    known = models.model(name)
    assert known.LIMITS.keys() <= known.PARAMETERS.keys()
    assert list(models.wrong_parameters(name, known.PARAMETERS)) == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": "steam"}, "plant.name: 'steam' is no simulated plant; use one of pendulum, "),
        (
            {"parameters": {"weight": 1.0}},
            "plant.parameters.weight: pendulum has no such parameter .allowed: gravity, ",
        ),
        ({"parameters": {"mass": 0.0}}, "plant.parameters.mass: got 0.0 .allowed: a number, 1e-06 to 1e"),
        ({"parameters": {"coulomb": -1.0}}, "plant.parameters.coulomb: got -1.0 .allowed: a number, 0 to 1e"),
        ({"parameters": {"mass": "heavy"}}, "plant.parameters.mass: got 'heavy'"),
        ({"actuator_range": [[-2.0, 2.5]]}, r"plant.actuator_range\[0\]: \[-2, 2.5\] is wider than the torque of pend"),
        ({"actuator_range": [[-2.0, 2.0]] * 2}, "plant.actuator_range: 2 pairs for the 1 actuators of pendulum"),
        ({"sensor_range": [[-2.0, 2.0]]}, "plant.sensor_range: 1 pairs for the 3 sensors of pendulum"),
    ],
)
def test_what_a_plant_does_not_take_is_said(changes: dict[str, Any], says: str) -> None:
    spec = PlantSpec(**{"kind": "simulated", "name": "pendulum", **changes})
    with pytest.raises(PlantError, match=f"^{says}"):
        make_plant(spec)


def test_a_mismatchs_parameters_go_over_the_nominal_ones_and_are_checked() -> None:
    spec = PlantSpec(kind="simulated", name="rc", parameters={"load": 1e4, "resistance": 2e4})
    plant = make_plant(spec, Mismatch(parameters={"load": 3e4}))
    assert "resistance=20000, load=30000, capacitance=1e-05" in plant.description
    with pytest.raises(PlantError, match=r"^plant\.mismatch\.parameters\.loud: rc has no such parameter"):
        make_plant(spec, Mismatch(parameters={"loud": 3e4}))


def test_a_state_that_is_not_a_number_is_said() -> None:
    plant = SimulatedPlant(PlantSpec(kind="simulated", name="pendulum"))
    plant.reset(3)
    plant._state[0] = math.nan
    with pytest.raises(
        PlantError, match=r"^pendulum: its cost is not a number at step 1 after reset\(3\); check plant"
    ):
        plant.actuate([0])


# Numbers of a seed.


def test_numbers_of_a_seed_are_the_same_everywhere() -> None:
    assert [common.drawn(seed, k) for seed, k in ((0, 0), (0, 1), (1, 0), (2**32 - 1, 2**31))] == [
        2947049190,
        1805918708,
        3848424317,
        1432859185,
    ]


def test_normal_numbers_have_mean_0_variance_1_and_are_independent_of_their_neighbours() -> None:
    numbers = np.array([[common.normal(seed, k) for k in range(200)] for seed in range(100)])
    assert abs(numbers.mean()) < 4 / math.sqrt(numbers.size)
    assert numbers.var() == pytest.approx(1.0, abs=4 * math.sqrt(2 / numbers.size))
    for a, b in ((numbers[:, 1:], numbers[:, :-1]), (numbers[1:], numbers[:-1])):
        assert abs((a * b).mean()) < 4 / math.sqrt(a.size)
    assert abs(numbers).max() < 6


def test_uniform_numbers_fill_their_range_evenly() -> None:
    numbers = [common.uniform(seed, k, -1.0, 3.0) for seed in range(100) for k in range(100)]
    counts = np.histogram(numbers, 20, (-1.0, 3.0))[0]
    assert counts.sum() == len(numbers)
    assert abs(counts - 500).max() < 5 * math.sqrt(500)


# Pendulum.


def test_the_pendulum_without_friction_is_gymnasiums() -> None:
    env: Any = gymnasium.make("Pendulum-v1").unwrapped
    env.reset(seed=1)
    plant = Bare("pendulum")
    draw = np.random.default_rng(1)
    for _ in range(500):
        state, torque = draw.uniform([-9.0, -8.0], [9.0, 8.0]), draw.uniform(-2.0, 2.0)
        env.state, plant.state[:] = state.copy(), state
        _, reward, *_ = env.step(np.array([torque]))
        assert plant.advance(torque) == pytest.approx(-reward, rel=1e-12)
        assert plant.state == pytest.approx(env.state, rel=1e-12)


def energy_of_pendulum(plant: Bare) -> float:
    angle, speed = plant.state
    gravity, mass, length = plant.p[:3]
    return float(mass * length**2 / 6 * speed**2 + mass * gravity * length / 2 * math.cos(angle))


def energy_of_cartpole(plant: Bare) -> float:
    _, v, angle, spin = plant.state
    g, cart, pole, half = plant.p[:4]
    moving = (cart + pole) * v**2 / 2 + pole * half * math.cos(angle) * v * spin + 2 / 3 * pole * half**2 * spin**2
    return float(moving + pole * g * half * math.cos(angle))


def energy_of_furuta(plant: Bare) -> float:
    _, v, angle, spin = plant.state
    g, arm, inertia, mass, length = plant.p[:5]
    own = mass * length**2 / 3
    moving = (inertia + mass * arm**2 + own * math.sin(angle) ** 2) * v**2 / 2 + own * spin**2 / 2
    moving += mass * arm * length / 2 * math.cos(angle) * v * spin
    return float(moving + mass * g * length / 2 * math.cos(angle))


FREE: dict[str, tuple[dict[str, float], Callable[[Bare], float], float]] = {
    "pendulum": ({"max_speed": 100.0, "period": 0.001}, energy_of_pendulum, 10.0),
    "cartpole_swingup": ({"start_angle": 1.0, "period": 0.001, "end": 100.0}, energy_of_cartpole, 0.98),
    "furuta": (
        {"start_angle": 1.0, "period": 0.001, "torque_constant": 0.0, "viscous": 0.0, "joint": 0.0, "end": 100.0},
        energy_of_furuta,
        0.03,
    ),
}


@pytest.mark.parametrize("name", FREE)
def test_what_nothing_slows_keeps_its_energy(name: str) -> None:
    parameters, energy, scale = FREE[name]
    plant = Bare(name, **parameters)
    before, seen = energy(plant), set()
    for _ in range(2000):
        plant.advance(0.0)
        seen.add(round(plant.state[-2], 1))
        assert energy(plant) == pytest.approx(before, abs=0.01 * scale)
    assert len(seen) > 10, "it moves"


@pytest.mark.parametrize(("name", "rubbing"), [
    ("pendulum", {"viscous": 0.2}), ("pendulum", {"coulomb": 0.2}), ("cartpole_swingup", {"coulomb": 0.5}),
    ("cartpole_swingup", {"joint": 0.01}), ("furuta", {"coulomb": 0.0005}), ("furuta", {"joint": 0.0001}),
])  # fmt: skip
def test_friction_takes_energy_and_gives_none(name: str, rubbing: dict[str, float]) -> None:
    parameters, energy, scale = FREE[name]
    plant = Bare(name, **{**parameters, **rubbing})
    energies = [energy(plant)]
    for _ in range(2000):
        plant.advance(0.0)
        energies.append(energy(plant))
    assert energies[-1] < energies[0] - 0.05 * scale
    assert max(np.diff(energies)) < 1e-4 * scale


def test_coulomb_friction_holds_the_pendulum_until_it_is_overcome() -> None:
    plant = Bare("pendulum", coulomb=0.5)
    plant.state[:] = math.pi, 0.0
    for _ in range(50):
        plant.advance(0.49)
        assert plant.state.tolist() == [math.pi, pytest.approx(0.0, abs=1e-12)]
    plant.advance(0.6)
    assert plant.state[1] == pytest.approx(0.1 * 3 * 0.05)


# Cart-pole and Furuta.


def test_ten_short_steps_of_gymnasiums_cartpole_are_a_period_of_the_swing_up() -> None:
    params = cartpole_params({"tau": 0.002, "kinematics_integrator": "semi-implicit euler", "force_mag": 7.0})
    plant = Bare("cartpole_swingup", end=100.0)
    for state in np.random.default_rng(1).uniform(-1, 1, (200, 4)) * [2.0, 3.0, 3.0, 6.0]:
        theirs = state.copy()
        plant.state[:] = state
        plant.advance(7.0)
        for _ in range(10):
            cartpole_step(theirs, 1, params)
        assert plant.state == pytest.approx(theirs, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("name", "push"), [("cartpole_swingup", 10.0), ("furuta", 10.0), ("dc_motor", 12.0)])
def test_ends_stop_what_moves(name: str, push: float) -> None:
    plant = Bare(name, end=0.2)
    at = dc_motor.LOAD if name == "dc_motor" else 0
    reached = 0.0
    for k in range(400):
        plant.advance(push if k < 200 else -push)
        assert abs(plant.state[at]) <= 0.2 + 1e-12
        reached = max(reached, plant.state[at])
    assert reached == pytest.approx(0.2)
    assert plant.state[at] == pytest.approx(-0.2), "and lets it go again"


def test_the_arm_of_furuta_pulls_its_pendulum_over_as_newton_would() -> None:
    """From rest upright, the joint's acceleration a throws the pendulum by -3 a / (2 l) (a rod on a moving pivot)."""
    plant = Bare("furuta", start_spread=0.0, period=1e-4, viscous=0.0, joint=0.0)
    plant.advance(1.0)
    joint = furuta.PARAMETERS["arm"] * plant.state[furuta.ARM_SPEED]
    assert plant.state[furuta.ARM_SPEED] > 0
    assert plant.state[furuta.SPIN] == pytest.approx(-3 * joint / (2 * furuta.PARAMETERS["length"]), rel=1e-3)


# DC motor.


def test_the_motor_reaches_its_no_load_speed_in_its_time_constant() -> None:
    plant = Bare("dc_motor", end=1e6, period=0.001)
    k, r = dc_motor.PARAMETERS["back_emf"], dc_motor.PARAMETERS["resistance"]
    damping = dc_motor.PARAMETERS["viscous"] + k**2 / r
    final, constant = k * 6.0 / r / damping, dc_motor.PARAMETERS["inertia"] / damping
    for _ in range(round(constant / 0.001)):
        plant.advance(6.0)
    assert plant.state[dc_motor.SPEED] / final == pytest.approx(1 - math.exp(-1), rel=0.01)
    for _ in range(2000):
        plant.advance(6.0)
    assert plant.state[dc_motor.SPEED] == pytest.approx(final)
    assert plant.sense()[1] == pytest.approx(final / dc_motor.PARAMETERS["ratio"])


def test_backlash_is_crossed_before_the_load_turns_back() -> None:
    play, ratio = 0.1, dc_motor.PARAMETERS["ratio"]
    plant = Bare("dc_motor", backlash=play)
    for _ in range(20):
        plant.advance(3.0)
    motor, load = plant.state[dc_motor.MOTOR] / ratio, plant.state[dc_motor.LOAD]
    assert motor - load == pytest.approx(play / 2), "pushed by the gear's one side"
    still = turned = 0
    for _ in range(40):
        before = plant.state[dc_motor.LOAD]
        plant.advance(-3.0)
        gap = plant.state[dc_motor.MOTOR] / ratio - plant.state[dc_motor.LOAD]
        assert abs(gap) <= play / 2 + 1e-12
        if abs(gap) < play / 2 - 1e-9:
            assert plant.state[dc_motor.LOAD] >= before
            still += 1
        turned += plant.state[dc_motor.LOAD] < before
    assert still >= 1
    assert turned >= 1
    assert gap == pytest.approx(-play / 2), "pushed by the other side"


def test_nothing_moves_within_the_dead_band_or_below_friction() -> None:
    for parameters, least in (({"dead_band": 1.5}, 1.5), ({"coulomb": 0.005}, 0.005 * 2.4 / 0.0111)):
        for voltage, moves in ((0.98 * least, False), (-0.98 * least, False), (1.1 * least, True)):
            plant = Bare("dc_motor", **parameters)
            for _ in range(20):
                plant.advance(voltage)
            assert bool(plant.state[dc_motor.MOTOR]) is moves, (parameters, voltage)


# RC and heater.


@pytest.mark.parametrize("period", [0.001, 0.01, 1.0])
def test_the_capacitor_charges_by_the_exact_law(period: float) -> None:
    plant = Bare("rc", period=period)
    source, tau = 0.8 * 3.3 * 47 / 57, 1e-5 * 1e4 * 47 / 57
    for k in range(1, 6):
        plant.advance(0.8)
        assert plant.state[rc.VOLTAGE] == pytest.approx(source * (1 - math.exp(-k * period / tau)))


def test_set_points_of_rc_change_every_so_many_periods_and_stay_in_their_range() -> None:
    plant = Bare("rc", hold=5.0)
    seen = [plant.state[rc.SET_POINT]]
    for _ in range(99):
        plant.advance(0.5)
        seen.append(plant.state[rc.SET_POINT])
    assert [len(set(seen[k : k + 5])) for k in range(0, 100, 5)] == [1] * 20
    assert len(set(seen)) == 20
    assert 0.3 <= min(seen) < 0.8 and 1.9 < max(seen) < 2.4


def test_noise_is_in_the_reading_and_not_in_the_cost() -> None:
    for name in ("rc", "heater"):
        quiet, loud = Bare(name), Bare(name, noise=0.1)
        for _ in range(20):
            assert quiet.advance(0.5) == loud.advance(0.5)
            assert quiet.sense() != loud.sense()
            assert loud.sense() == loud.sense(), "the same however often it is asked"
            assert sum(loud.sense()) == pytest.approx(sum(quiet.sense())), "both sensors have the one reading's noise"


@pytest.mark.parametrize("delay", [0, 1, 30])
def test_a_drive_arrives_late_and_heats_to_the_balance(delay: int) -> None:
    plant = Bare("heater", delay=float(delay))
    for k in range(300):
        plant.advance(0.6)
        warm = plant.state[heater.HEATER] > 23.01
        assert bool(warm) == (k >= delay), k
    assert plant.sense()[1] == pytest.approx(23.0 + 0.6 * 1.0 / 0.018)
    for _ in range(300):
        plant.advance(-1.0)
    assert plant.sense()[1] == pytest.approx(23.0), "below 0 is off: it does not cool"


def test_the_thermometer_lags_behind_the_heater() -> None:
    plant = Bare("heater", sensor_time=60.0)
    for _ in range(10):
        plant.advance(1.0)
        assert plant.state[heater.THERMOMETER] < plant.state[heater.HEATER]


# LQR.


def test_the_optimum_is_the_published_one_and_what_its_gain_costs() -> None:
    p = np.array(list(lqr.PARAMETERS.values()))
    assert lqr.optimal_cost(p) == pytest.approx(0.137287, abs=1e-6)
    assert cost_of(lqr.optimal_gain(p), p) == pytest.approx(lqr.optimal_cost(p))
    for scale in (0.9, 1.1):
        assert cost_of(scale * lqr.optimal_gain(p), p) > lqr.optimal_cost(p)


def cost_of(gain: Floats, p: Floats) -> float:
    """Return the mean cost of a step under u = -K x, by Lyapunov's equation."""
    closed = p[:9].reshape(3, 3) - gain
    n = np.eye(9) - np.kron(closed, closed)
    covariance = np.linalg.solve(n, p[lqr.NOISE] ** 2 * np.eye(3).ravel()).reshape(3, 3)
    weights = p[lqr.STATE_COST] * np.eye(3) + p[lqr.CONTROL_COST] * gain.T @ gain
    return float(np.trace(weights @ covariance))


def test_what_is_simulated_costs_what_theory_says() -> None:
    p = np.array(list(lqr.PARAMETERS.values()))
    means = []
    for scale in (1.0, 0.5):
        gain = scale * lqr.optimal_gain(p)
        plants = [Bare("lqr", seed) for seed in range(20)]
        costs = [[plant.advance(*(-gain @ plant.state[:3])) for plant in plants] for _ in range(400)]
        means.append(np.mean(costs[100:]))
        assert means[-1] == pytest.approx(cost_of(gain, p), rel=0.1)
    assert means[0] < means[1], "the same noise, a gain that is not optimal"
