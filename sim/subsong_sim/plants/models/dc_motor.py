"""A DC motor that turns a load to a set point through a gear with backlash; an encoder sits on the load.

    J omega' = kt i - viscous omega - coulomb sgn omega,   i = (V - ke omega) / R,   kt = ke

omega is the motor's speed, the inductance is neglected. The gear divides the motor's angle by its ratio. The load is
moved where the play is used up, and stays where it is within the play, friction holding it: the friction-driven model
of M. Nordin and P.-O. Gutman, "Controlling mechanical systems with backlash, a survey", Automatica 38 (2002). The
load's inertia counts at the motor at all times. The load's way has ends, which stop motor and load. The driver's dead
band is taken out of the voltage.
Cost of a step: error^2 + 0.001 V^2, error in rad, V in volts, after the step.
The figures are of the order of a 12 V gear motor of 37 mm that turns a disc.
"""

from subsong_sim.plants.models.common import Floats, friction_impulse, uniform, without_dead_band

PARAMETERS = {
    "resistance": 2.4,  # ohm
    "back_emf": 0.0111,  # V s/rad, and N m/A
    "inertia": 2.7e-6,  # kg m^2, at the motor: rotor, and load by the square of the ratio
    "viscous": 1e-6,  # N m s/rad, at the motor
    "coulomb": 0.0,  # N m, at the motor
    "ratio": 30.0,  # turns of the motor for one of the load
    "dead_band": 0.0,  # V, up to which nothing comes out of the driver
    "backlash": 0.0,  # rad, at the load, between the gear's two ends
    "end": 3.2,  # rad; the load goes from -end to end
    "target": 2.0,  # rad; set points are uniform in +-target
    "period": 0.01,  # s
}
LIMITS = {
    "resistance": (1e-3, 1e6),
    "back_emf": (1e-6, 1e3),
    "inertia": (1e-9, 1e3),
    "ratio": (1e-3, 1e6),
    "end": (1e-3, 1e6),
    "period": (1e-6, 1.0),
}
RESISTANCE, BACK_EMF, INERTIA, VISCOUS, COULOMB, RATIO, DEAD_BAND, BACKLASH, END, TARGET, PERIOD = range(11)
SENSORS = (("error", "rad", -3.2, 3.2), ("speed", "rad/s", -36.0, 36.0))
ACTUATORS = (("voltage", "V", -12.0, 12.0),)
STEPS = 100
COST_LSB = 0.001
STATE = 5
MOTOR, SPEED, LOAD, LOAD_SPEED, SET_POINT = range(5)
SUBSTEPS = 10


def start(seed: int, state: Floats, p: Floats) -> None:
    """Begin at rest at 0, the gear in the middle of its play, with a set point drawn from the seed."""
    state[:STATE] = 0.0
    state[SET_POINT] = uniform(seed, 0, -p[TARGET], p[TARGET])


def advance(state: Floats, u: Floats, p: Floats) -> float:
    """Turn under a voltage for one period; return the step's cost."""
    voltage = without_dead_band(u[0], p[DEAD_BAND])
    step = p[PERIOD] / SUBSTEPS
    mobility = 1.0 / p[INERTIA]
    # What slows the motor in proportion to its speed is taken at the end of the step: stable for any parameters.
    slowing = 1.0 / (1.0 + step * mobility * (p[VISCOUS] + p[BACK_EMF] ** 2 / p[RESISTANCE]))
    torque = p[BACK_EMF] * voltage / p[RESISTANCE]
    half = p[BACKLASH] / 2.0
    end = (p[END] + half) * p[RATIO]
    motor, speed, load = state[MOTOR], state[SPEED], state[LOAD]
    for _ in range(SUBSTEPS):
        speed = (speed + step * mobility * torque) * slowing
        speed += mobility * friction_impulse(speed, mobility, p[COULOMB] * step)
        motor += speed * step
        if abs(motor) > end:
            motor = min(max(motor, -end), end)
            speed = 0.0
    load = min(max(load, motor / p[RATIO] - half), motor / p[RATIO] + half)
    state[LOAD_SPEED] = (load - state[LOAD]) / p[PERIOD]
    state[MOTOR], state[SPEED], state[LOAD] = motor, speed, load
    cost: float = (state[SET_POINT] - load) ** 2 + 0.001 * u[0] ** 2
    return cost


def sense(state: Floats, p: Floats, y: Floats) -> None:
    """Read the encoder: set point less angle, and the angle's change over the last period."""
    y[0] = state[SET_POINT] - state[LOAD]
    y[1] = state[LOAD_SPEED]


def done(state: Floats, p: Floats) -> bool:
    """Never end early."""
    return False
