"""A pendulum to swing up and hold, as Gymnasium's Pendulum-v1, with friction added.

A rod that hangs on a motor, theta the angle from upright, counter-clockwise:

    m l^2 / 3 theta'' = m g l / 2 sin theta + torque - viscous theta' - coulomb sgn theta'

Integrated as Gymnasium does, the speed first; without friction, Gymnasium's step but for float64's last digits.
Cost of a step: theta^2 + 0.1 theta'^2 + 0.001 torque^2, theta in +-pi, before the step.
"""

import math

from subsong_sim.plants.models.common import Floats, friction_impulse, uniform

PARAMETERS = {
    "gravity": 10.0,  # m/s^2
    "mass": 1.0,  # kg
    "length": 1.0,  # m
    "viscous": 0.0,  # N m s/rad
    "coulomb": 0.0,  # N m
    "max_speed": 8.0,  # rad/s, what the speed is clipped to
    "period": 0.05,  # s
}
LIMITS = {"mass": (1e-6, 1e6), "length": (1e-6, 1e6), "max_speed": (1e-3, 1e6), "period": (1e-6, 1.0)}
GRAVITY, MASS, LENGTH, VISCOUS, COULOMB, MAX_SPEED, PERIOD = range(7)
SENSORS = (("cos_angle", "1", -1.0, 1.0), ("sin_angle", "1", -1.0, 1.0), ("speed", "rad/s", -8.0, 8.0))
ACTUATORS = (("torque", "N m", -2.0, 2.0),)
STEPS = 200
COST_LSB = 0.01
STATE = 2
ANGLE, SPEED = range(2)


def start(seed: int, state: Floats, p: Floats) -> None:
    """Begin at any angle, at up to 1 rad/s, as Pendulum-v1 does."""
    state[ANGLE] = uniform(seed, 0, -math.pi, math.pi)
    state[SPEED] = uniform(seed, 1, -1.0, 1.0)


def advance(state: Floats, u: Floats, p: Floats) -> float:
    """Turn under a torque for one period; return the step's cost."""
    angle, speed, torque = state[ANGLE], state[SPEED], u[0]
    mobility = 3.0 / (p[MASS] * p[LENGTH] ** 2)
    off = (angle + math.pi) % (2.0 * math.pi) - math.pi
    cost: float = off**2 + 0.1 * speed**2 + 0.001 * torque**2
    pull = 3.0 * p[GRAVITY] / (2.0 * p[LENGTH]) * math.sin(angle) + mobility * (torque - p[VISCOUS] * speed)
    speed += pull * p[PERIOD]
    speed += mobility * friction_impulse(speed, mobility, p[COULOMB] * p[PERIOD])
    speed = min(max(speed, -p[MAX_SPEED]), p[MAX_SPEED])
    state[ANGLE] = angle + speed * p[PERIOD]
    state[SPEED] = speed
    return cost


def sense(state: Floats, p: Floats, y: Floats) -> None:
    """Read the angle's cosine and sine, and the speed."""
    y[0] = math.cos(state[ANGLE])
    y[1] = math.sin(state[ANGLE])
    y[2] = state[SPEED]


def done(state: Floats, p: Floats) -> bool:
    """Never end early."""
    return False
