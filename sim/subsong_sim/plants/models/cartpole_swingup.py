"""A pole to swing up on a cart that is pushed by a continuous force, on a track with ends.

x is the cart's position, theta the pole's angle from upright, l half its length, as in R. V. Florian, "Correct
equations for the dynamics of the cart-pole system" (2007):

    (m_c + m_p) x'' + m_p l cos theta theta'' = F + m_p l sin theta theta'^2 - viscous x' - coulomb sgn x'
    m_p l cos theta x'' + (4/3) m_p l^2 theta'' = m_p g l sin theta - joint theta'

Semi-implicit Euler, ten steps a period. At the track's ends the cart stops.
Cost of a step: 1 - cos theta + 0.05 x^2 + 0.0001 F^2, after the step: 2 where it hangs.
"""

import math

from subsong_sim.plants.models.common import Floats, friction_impulse, uniform

PARAMETERS = {
    "gravity": 9.8,  # m/s^2
    "masscart": 1.0,  # kg
    "masspole": 0.1,  # kg
    "length": 0.5,  # m, half the pole
    "viscous": 0.0,  # N s/m, under the cart
    "coulomb": 0.0,  # N, under the cart
    "joint": 0.0,  # N m s/rad, viscous friction of the pole's joint
    "end": 2.4,  # m; the track goes from -end to end
    "start_angle": math.pi,  # rad, where the pole starts: 0 is upright
    "start_spread": 0.1,  # rad, by which that varies
    "period": 0.02,  # s
}
LIMITS = {
    "masscart": (1e-3, 1e6),
    "masspole": (1e-6, 1e6),
    "length": (1e-3, 1e3),
    "end": (1e-3, 1e6),
    "start_angle": (-10.0, 10.0),
    "period": (1e-6, 1.0),
}
GRAVITY, MASSCART, MASSPOLE, LENGTH, VISCOUS, COULOMB, JOINT, END, START_ANGLE, START_SPREAD, PERIOD = range(11)
SENSORS = (
    ("position", "m", -2.4, 2.4),
    ("speed", "m/s", -5.0, 5.0),
    ("cos_angle", "1", -1.0, 1.0),
    ("sin_angle", "1", -1.0, 1.0),
    ("spin", "rad/s", -12.0, 12.0),
)
ACTUATORS = (("force", "N", -10.0, 10.0),)
STEPS = 500
COST_LSB = 0.01
STATE = 4
POSITION, SPEED, ANGLE, SPIN = range(4)
SUBSTEPS = 10


def start(seed: int, state: Floats, p: Floats) -> None:
    """Begin at rest near the middle, the pole within `start_spread` of `start_angle`."""
    state[POSITION] = uniform(seed, 0, -0.1, 0.1)
    state[SPEED] = 0.0
    state[ANGLE] = p[START_ANGLE] + uniform(seed, 1, -p[START_SPREAD], p[START_SPREAD])
    state[SPIN] = 0.0


def advance(state: Floats, u: Floats, p: Floats) -> float:
    """Move under a force for one period; return the step's cost."""
    x, speed, angle, spin = state[POSITION], state[SPEED], state[ANGLE], state[SPIN]
    step = p[PERIOD] / SUBSTEPS
    cart = p[MASSCART] + p[MASSPOLE]
    pole = 4.0 / 3.0 * p[MASSPOLE] * p[LENGTH] ** 2
    for _ in range(SUBSTEPS):
        lever = p[MASSPOLE] * p[LENGTH] * math.sin(angle)
        coupled = p[MASSPOLE] * p[LENGTH] * math.cos(angle)
        push = u[0] + lever * spin**2 - p[VISCOUS] * speed
        turn = lever * p[GRAVITY] - p[JOINT] * spin
        # The two equations, solved for x'' and theta''.
        determinant = cart * pole - coupled**2
        speed += step * (pole * push - coupled * turn) / determinant
        spin += step * (cart * turn - coupled * push) / determinant
        rub = friction_impulse(speed, pole / determinant, p[COULOMB] * step)
        speed += rub * pole / determinant
        spin -= rub * coupled / determinant
        x += step * speed
        angle += step * spin
        if abs(x) > p[END]:
            x = min(max(x, -p[END]), p[END])
            speed = 0.0
    state[POSITION], state[SPEED], state[ANGLE], state[SPIN] = x, speed, angle, spin
    cost: float = 1.0 - math.cos(angle) + 0.05 * x**2 + 0.0001 * u[0] ** 2
    return cost


def sense(state: Floats, p: Floats, y: Floats) -> None:
    """Read position and speed of the cart, cosine, sine and speed of the angle."""
    y[0], y[1] = state[POSITION], state[SPEED]
    y[2], y[3] = math.cos(state[ANGLE]), math.sin(state[ANGLE])
    y[4] = state[SPIN]


def done(state: Floats, p: Floats) -> bool:
    """Never end early."""
    return False
