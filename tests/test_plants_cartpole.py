"""CartPole three times over: Gymnasium's, the one with friction, and the Numba twin."""

import math
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.classic_control.cartpole import CartPoleEnv
from numpy.typing import NDArray

from subsong_sim.errors import PlantError
from subsong_sim.plants import Mismatch, PlantSpec, make_plant
from subsong_sim.plants.base import scale_of, sensor_words
from subsong_sim.plants.cartpole import NumbaCartPole, cartpole_params, cartpole_step
from subsong_sim.plants.cartpole_env import FrictionCartPole
from subsong_sim.plants.cartpole_start import cartpole_start
from subsong_sim.plants.gym import GymPlant

RANGES = [(-2.4, 2.4), (-3.0, 3.0), (-0.21, 0.21), (-3.0, 3.0)]
SPEC = PlantSpec(id="CartPole-v1", sensor_range=RANGES)
INTEGRATORS = ("euler", "semi-implicit euler")


def some_states(n: int, seed: int, spread: float = 1.0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).uniform(-1, 1, (n, 4)) * np.array([2.6, 3.0, 0.25, 3.5]) * spread


def configure(env: CartPoleEnv, parameters: dict[str, Any]) -> None:
    for name, value in parameters.items():
        setattr(env, name, value)
    env.total_mass = env.masspole + env.masscart
    env.polemass_length = env.masspole * env.length


def step(env: CartPoleEnv, state: NDArray[np.float64], action: int) -> tuple[NDArray[np.float64], bool]:
    env.state = state.copy()
    env.steps_beyond_terminated = None
    terminated = env.step(action)[2]
    assert env.state is not None
    return env.state, terminated


def same_libm(theta: float) -> bool:
    """Is numpy's sine here the C library's? It depends on the processor, and decides the last bit."""
    return float(np.sin(theta)) == math.sin(theta) and float(np.cos(theta)) == math.cos(theta)


@pytest.mark.parametrize("integrator", INTEGRATORS)
@pytest.mark.parametrize(
    "parameters",
    [{}, {"force_mag": 8.0, "masspole": 0.23, "masscart": 0.7, "length": 0.61, "gravity": 9.81, "tau": 0.011}],
)
def test_every_single_numba_step_is_gymnasiums(parameters: dict[str, float], integrator: str) -> None:
    given = {**parameters, "kinematics_integrator": integrator}
    env = CartPoleEnv()
    configure(env, given)
    params = cartpole_params(given)
    exact = ended = 0
    for i, before in enumerate(some_states(4000, seed=11)):
        action = i & 1
        expected, terminated = step(env, before, action)
        state = before.copy()
        assert cartpole_step(state, action, params) is terminated
        ended += terminated
        if same_libm(before[2]):
            exact += 1
            assert state.tolist() == expected.tolist(), f"state {i}: {before.tolist()}, action {action}"
        else:  # one unit in the last place of the sine, carried through: a few of the largest term
            np.testing.assert_allclose(state, expected, rtol=0, atol=4e-15)
    assert exact > 0
    assert 0 < ended < 4000


@pytest.mark.parametrize("integrator", INTEGRATORS)
def test_without_friction_the_environment_is_gymnasiums_bit_for_bit(integrator: str) -> None:
    ours = FrictionCartPole()
    theirs = CartPoleEnv()
    ours.kinematics_integrator = theirs.kinematics_integrator = integrator
    for i, before in enumerate(some_states(500, seed=12)):
        mine, ended = step(ours, before, i & 1)
        its, also = step(theirs, before, i & 1)
        assert mine.tobytes() == its.tobytes()
        assert ended is also


def accelerations(env: FrictionCartPole, state: NDArray[np.float64], action: int) -> tuple[float, float]:
    """What one explicit Euler step did to the velocities, in m/s^2 and rad/s^2."""
    after, _ = step(env, state, action)
    return (after[1] - state[1]) / env.tau, (after[3] - state[3]) / env.tau


def test_friction_obeys_the_equations_of_motion() -> None:
    env = FrictionCartPole()
    configure(env, {"friction_cart": 0.15, "friction_pole": 0.02, "masspole": 0.3, "tau": 0.01})
    lifted = rubbed = 0
    for i, state in enumerate(some_states(2000, seed=13, spread=4.0)):  # fast enough to lift the cart, at times
        x_dot, theta, theta_dot = state[1:]
        xacc, thetaacc = accelerations(env, state, i & 1)
        force = env.force_mag if i & 1 else -env.force_mag
        normal = env.total_mass * env.gravity - env.polemass_length * (
            thetaacc * math.sin(theta) + theta_dot**2 * math.cos(theta)
        )
        friction = env.friction_cart * normal * np.sign(normal * x_dot)
        pushed = force + env.polemass_length * (theta_dot**2 * math.sin(theta) - thetaacc * math.cos(theta)) - friction
        turned = (
            env.gravity * math.sin(theta) - xacc * math.cos(theta) - env.friction_pole * theta_dot / env.polemass_length
        )
        assert env.total_mass * xacc == pytest.approx(pushed, abs=1e-9)
        assert 4.0 / 3.0 * env.length * thetaacc == pytest.approx(turned, abs=1e-9)
        lifted += normal < 0
        rubbed += friction * x_dot > 0
    assert lifted > 20
    assert rubbed == 2000, "friction always works against the motion"


def test_vanishing_friction_tends_to_none() -> None:
    env, bare = FrictionCartPole(), CartPoleEnv()
    configure(env, {"friction_cart": 1e-13, "friction_pole": 1e-13})
    for state in some_states(200, seed=14):
        np.testing.assert_allclose(step(env, state, 1)[0], step(bare, state, 1)[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("integrator", INTEGRATORS)
@pytest.mark.parametrize("friction", [(0.1, 0.0), (0.0, 0.01), (0.2, 0.005)])
def test_friction_is_the_same_in_both_engines(friction: tuple[float, float], integrator: str) -> None:
    given = {"friction_cart": friction[0], "friction_pole": friction[1], "kinematics_integrator": integrator}
    env = FrictionCartPole()
    configure(env, given)
    params = cartpole_params({}, given)
    states = some_states(1000, seed=15, spread=6.0)  # fast enough to lift the cart, at times
    states[::50, 1] = 0.0  # a cart at rest is not rubbed
    for i, before in enumerate(states):
        expected, terminated = step(env, before, i & 1)
        state = before.copy()
        assert cartpole_step(state, i & 1, params) is terminated
        assert state.tolist() == expected.tolist(), f"state {i}: {before.tolist()}"


def test_numba_plant_senses_what_the_gymnasium_plant_senses_along_whole_episodes() -> None:
    theirs = GymPlant(SPEC)
    ours = NumbaCartPole(SPEC)
    for seed in range(5):
        theirs.reset(seed)
        ours.reset(seed)
        assert ours.sense() == theirs.sense()
        for k in range(500):
            ours._state[:] = theirs.env.unwrapped.state  # one step at a time: the last bit may differ by processor
            u = [20000 if theirs.sense()[2] + (theirs.sense()[3] >> 2) >= (k % 7 - 3) * 500 else -1]
            theirs.actuate(u)
            ours.actuate(u)
            assert (ours.sense(), ours.cost(), ours.done) == (theirs.sense(), theirs.cost(), theirs.done)
            if theirs.done:
                break
    theirs.close()


def sensed(plant: NumbaCartPole, state: Sequence[float]) -> list[int]:
    plant.reset(0)
    plant._state[:] = state
    plant._sense()
    return plant.sense()


def test_compiled_words_equal_the_plain_ones_at_every_edge() -> None:
    scales = [scale_of(bounds) for bounds in RANGES]
    plant = NumbaCartPole(SPEC)
    edges = [0.0, -0.0, 1e-9, 0.21, -0.21, 0.2100001, 2.4, -2.4, 3.0, -3.0, 1e30, -1e30, math.inf, -math.inf]
    halves = [(k + 0.5) * 3.0 / 32767 for k in range(-40, 40)]
    for row in [[edge] * 4 for edge in edges + halves] + some_states(3000, seed=16).tolist():
        assert sensed(plant, row) == sensor_words(np.array(row, np.float32).tolist(), scales), row


@pytest.mark.parametrize("where", range(4))
def test_the_compiled_sense_names_the_sensor_that_is_not_a_number(where: int) -> None:
    state = [0.0] * 4
    state[where] = math.nan
    with pytest.raises(PlantError, match=rf"sensor {where} is not a number at step 0 after reset\(0\)"):
        sensed(NumbaCartPole(SPEC), state)


def test_the_numba_plant_says_when_it_breaks() -> None:
    plant = NumbaCartPole(SPEC)
    plant.reset(1)
    plant._state[3] = math.nan
    with pytest.raises(PlantError, match="sensor 1 is not a number at step 1"):
        plant.actuate([0])


def test_episodes_start_where_gymnasiums_start() -> None:
    found = np.empty(4)
    env = gymnasium.make("CartPole-v1")
    bare: Any = env.unwrapped
    for seed in [0, 1, 2, 99, 12345, 2**31, 2**32 - 1, *np.random.default_rng(1).integers(0, 2**32, 500).tolist()]:
        env.reset(seed=seed)
        cartpole_start(seed, found)
        assert found.tolist() == bare.state.tolist(), seed
    env.close()


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(("env_id", "steps"), [("CartPole-v0", 200), ("CartPole-v1", 500)])
def test_an_episode_that_never_fails_is_truncated(env_id: str, steps: int, compiled: bool) -> None:
    wide = {"x_threshold": 1e9, "theta_threshold_radians": 1e9}
    plant = make_plant(PlantSpec(id=env_id, sensor_range=RANGES, parameters=wide), compiled=compiled)
    for seed in (0, 1):
        plant.reset(seed)
        for k in range(1, steps + 1):
            plant.actuate([-1 if k & 1 else 0])
            assert plant.done is (k == steps)
    plant.close()


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"mass": 1.0}, r"plant\.parameters\.mass: CartPole has no such parameter; use one of gravity, masscart"),
        ({"total_mass": 1.0}, r"plant\.parameters\.total_mass: follows from masscart and masspole"),
        ({"polemass_length": 1.0}, "follows from masspole and length"),
        ({"masspole": 0.0}, r"plant\.parameters\.masspole: 0\.0 must be a number above 0"),
        ({"force_mag": -1.0}, "of at least 0"),
        ({"length": "long"}, "must be a number above 0"),
        ({"kinematics_integrator": "rk4"}, "'euler' or 'semi-implicit euler'"),
        ({"screen_width": 7}, "no such parameter"),
    ],
)
def test_parameters_that_cannot_be(parameters: dict[str, Any], says: str, compiled: bool) -> None:
    with pytest.raises(PlantError, match=says):
        make_plant(PlantSpec(id="CartPole-v1", sensor_range=RANGES, parameters=parameters), compiled=compiled)
    with pytest.raises(PlantError, match=says.replace(r"plant\.", r"plant\.mismatch\.")):
        make_plant(SPEC, Mismatch(parameters=parameters), compiled=compiled)


def test_mismatch_parameters_go_over_the_nominal_ones_and_derived_ones_follow() -> None:
    spec = PlantSpec(id="CartPole-v1", sensor_range=RANGES, parameters={"masspole": 0.2, "force_mag": 9.0})
    plant = make_plant(spec, Mismatch(parameters={"force_mag": 8.0, "length": 0.7}))
    assert isinstance(plant, GymPlant)
    bare: Any = plant.env.unwrapped
    assert (bare.force_mag, bare.masspole, bare.length, bare.friction_cart) == (8.0, 0.2, 0.7, 0.0)
    assert (bare.total_mass, bare.polemass_length) == (0.2 + 1.0, 0.2 * 0.7)
    plant.close()


def test_who_is_made_and_says_so() -> None:
    rubbed = Mismatch(parameters={"friction_cart": 0.1})
    for mismatch, compiled, engine in (
        (None, False, "Gymnasium"),
        (None, True, "Numba"),
        (rubbed, True, "Numba"),
        (Mismatch(sensor_delay=1), True, "Gymnasium"),
    ):
        plant = make_plant(SPEC, mismatch, compiled=compiled)
        assert plant.description.startswith(f"CartPole-v1, {engine}")
        assert ("friction_cart=0.1" in plant.description) is (mismatch is rubbed)
        assert ("sensor_delay=1" in plant.description) is (mismatch is not None and mismatch is not rubbed)
        plant.close()


@pytest.mark.parametrize("compiled", [False, True])
def test_ranges_that_cannot_be(compiled: bool) -> None:
    with pytest.raises(PlantError, match=r"plant\.sensor_range: missing.*sensors 1, 3 of its 4"):
        make_plant(PlantSpec(id="CartPole-v1"), compiled=compiled)
    with pytest.raises(PlantError, match="3 pairs for the 4 sensors"):
        make_plant(PlantSpec(id="CartPole-v1", sensor_range=RANGES[:3]), compiled=compiled)
    with pytest.raises(PlantError, match=r"plant\.actuator_range.*discrete; remove it"):
        make_plant(PlantSpec(id="CartPole-v1", sensor_range=RANGES, actuator_range=[(-1, 1)]), compiled=compiled)


def test_the_compiled_plant_starts_without_gymnasium() -> None:
    program = (
        "import sys; from subsong_sim.plants import PlantSpec, make_plant\n"
        "heavy = {'gymnasium', 'numba', 'numpy'} & set(sys.modules); assert not heavy, heavy\n"
        f"make_plant(PlantSpec(id='CartPole-v1', sensor_range={RANGES}), compiled=True).reset(1)\n"
        "assert 'gymnasium' not in sys.modules and 'numba' in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
