"""Furuta's pendulum: an arm turned by a motor in the horizontal plane, a pendulum that swings freely at its tip.

theta is the arm's angle, alpha the pendulum's from upright; r the arm's length, m and l the pendulum's mass and length,
I = m l^2 / 3 its inertia about the joint, J the arm's about the motor. By Lagrange, from the kinetic energy
(J + m r^2 + I sin^2 alpha) theta'^2 / 2 + (m r l / 2) cos alpha theta' alpha' + I alpha'^2 / 2:

    (J + m r^2 + I sin^2 alpha) theta'' + (m r l / 2) cos alpha alpha''
        = torque - 2 I sin alpha cos alpha theta' alpha' + (m r l / 2) sin alpha alpha'^2
          - viscous theta' - coulomb sgn theta'
    (m r l / 2) cos alpha theta'' + I alpha'' = I sin alpha cos alpha theta'^2 + (m g l / 2) sin alpha - joint alpha'
    torque = kt (V - kt theta') / R

Semi-implicit Euler, ten steps a period. At its ends, where the cable would be torn, the arm stops. The figures are of
the order of Quanser's QUBE-Servo 2 with its pendulum.
Cost of a step: 2 (1 - cos alpha) + 0.2 theta^2 + 0.0005 V^2, after the step: alpha^2, where alpha is small.
"""

import math

from subsong_sim.plants.models.common import Floats, friction_impulse, uniform

PARAMETERS = {
    "gravity": 9.81,  # m/s^2
    "arm": 0.085,  # m, length of the arm
    "arm_inertia": 2.288e-4,  # kg m^2, about the motor: 0.095 kg (0.085 m)^2 / 3
    "mass": 0.024,  # kg, of the pendulum
    "length": 0.129,  # m, of the pendulum
    "torque_constant": 0.042,  # N m/A, and V s/rad
    "resistance": 8.4,  # ohm
    "viscous": 0.00027,  # N m s/rad, of the arm
    "coulomb": 0.0,  # N m, of the arm
    "joint": 0.00005,  # N m s/rad, viscous friction of the pendulum's joint
    "end": 2.3,  # rad; the arm goes from -end to end
    "start_angle": 0.0,  # rad, where the pendulum starts: 0 is upright, pi hangs
    "start_spread": 0.1,  # rad, by which that varies
    "period": 0.01,  # s
}
LIMITS = {
    "arm": (1e-3, 1e3),
    "arm_inertia": (1e-7, 1e3),
    "mass": (1e-6, 1e3),
    "length": (1e-3, 1e3),
    "resistance": (1e-3, 1e6),
    "end": (1e-3, 1e6),
    "start_angle": (-10.0, 10.0),
    "period": (1e-6, 1.0),
}
GRAVITY, ARM, ARM_INERTIA, MASS, LENGTH, TORQUE_CONSTANT, RESISTANCE, VISCOUS, COULOMB, JOINT, END = range(11)
START_ANGLE, START_SPREAD, PERIOD = range(11, 14)
SENSORS = (
    ("arm_angle", "rad", -2.3, 2.3),
    ("arm_speed", "rad/s", -30.0, 30.0),
    ("cos_angle", "1", -1.0, 1.0),
    ("sin_angle", "1", -1.0, 1.0),
    ("spin", "rad/s", -30.0, 30.0),
)
ACTUATORS = (("voltage", "V", -10.0, 10.0),)
STEPS = 500
COST_LSB = 0.01
STATE = 4
ARM_ANGLE, ARM_SPEED, ANGLE, SPIN = range(4)
SUBSTEPS = 10


def start(seed: int, state: Floats, p: Floats) -> None:
    """Begin at rest, the arm in the middle, the pendulum within `start_spread` of `start_angle`."""
    state[:STATE] = 0.0
    state[ANGLE] = p[START_ANGLE] + uniform(seed, 0, -p[START_SPREAD], p[START_SPREAD])


def advance(state: Floats, u: Floats, p: Floats) -> float:
    """Move under a voltage for one period; return the step's cost."""
    theta, speed, alpha, spin = state[ARM_ANGLE], state[ARM_SPEED], state[ANGLE], state[SPIN]
    step = p[PERIOD] / SUBSTEPS
    pendulum = p[MASS] * p[LENGTH] ** 2 / 3.0
    damping = p[VISCOUS] + p[TORQUE_CONSTANT] ** 2 / p[RESISTANCE]
    torque = p[TORQUE_CONSTANT] * u[0] / p[RESISTANCE]
    for _ in range(SUBSTEPS):
        sine, cosine = math.sin(alpha), math.cos(alpha)
        lever = p[MASS] * p[ARM] * p[LENGTH] / 2.0
        arm = p[ARM_INERTIA] + p[MASS] * p[ARM] ** 2 + pendulum * sine**2
        coupled = lever * cosine
        push = torque - damping * speed - 2.0 * pendulum * sine * cosine * speed * spin + lever * sine * spin**2
        turn = pendulum * sine * cosine * speed**2 + p[MASS] * p[GRAVITY] * p[LENGTH] / 2.0 * sine - p[JOINT] * spin
        # The two equations, solved for theta'' and alpha''.
        determinant = arm * pendulum - coupled**2
        speed += step * (pendulum * push - coupled * turn) / determinant
        spin += step * (arm * turn - coupled * push) / determinant
        rub = friction_impulse(speed, pendulum / determinant, p[COULOMB] * step)
        speed += rub * pendulum / determinant
        spin -= rub * coupled / determinant
        theta += step * speed
        alpha += step * spin
        if abs(theta) > p[END]:
            theta = min(max(theta, -p[END]), p[END])
            speed = 0.0
    state[ARM_ANGLE], state[ARM_SPEED], state[ANGLE], state[SPIN] = theta, speed, alpha, spin
    cost: float = 2.0 * (1.0 - math.cos(alpha)) + 0.2 * theta**2 + 0.0005 * u[0] ** 2
    return cost


def sense(state: Floats, p: Floats, y: Floats) -> None:
    """Read angle and speed of the arm, cosine, sine and speed of the pendulum's angle."""
    y[0], y[1] = state[ARM_ANGLE], state[ARM_SPEED]
    y[2], y[3] = math.cos(state[ANGLE]), math.sin(state[ANGLE])
    y[4] = state[SPIN]


def done(state: Floats, p: Floats) -> bool:
    """Never end early."""
    return False
