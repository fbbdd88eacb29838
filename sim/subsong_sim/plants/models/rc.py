"""Two resistors and a capacitor: the mean of a pulse width charges the capacitor, a load discharges it.

    C V' = (duty supply - V) / R - V / R_load

A period has the exact solution, since the duty is constant in it:

    V := V_inf + (V - V_inf) exp(-period / tau),   V_inf = duty supply share,   tau = C R share
    share = R_load / (R + R_load)

The set point changes every `hold` periods. Cost of a step: (set point - V)^2, after the step.
"""

import math

from subsong_sim.plants.models.common import Floats, normal, uniform

PARAMETERS = {
    "resistance": 1e4,  # ohm, from the pin to the capacitor
    "load": 4.7e4,  # ohm, beside the capacitor
    "capacitance": 1e-5,  # F
    "supply": 3.3,  # V, while the pin is high
    "target_low": 0.3,  # V, set points are uniform between this
    "target_high": 2.4,  # V, and this
    "hold": 50.0,  # periods that a set point lasts, whole ones
    "noise": 0.0,  # V, standard deviation of a reading
    "period": 0.01,  # s
}
LIMITS = {
    "resistance": (1e-3, 1e9),
    "load": (1e-3, 1e9),
    "capacitance": (1e-12, 1e3),
    "hold": (1.0, 1e6),
    "period": (1e-6, 1e3),
}
RESISTANCE, LOAD, CAPACITANCE, SUPPLY, TARGET_LOW, TARGET_HIGH, HOLD, NOISE, PERIOD = range(9)
SENSORS = (("error", "V", -3.3, 3.3), ("voltage", "V", 0.0, 3.3))
ACTUATORS = (("duty", "1", 0.0, 1.0),)
STEPS = 200
COST_LSB = 0.0001
STATE = 4
VOLTAGE, SET_POINT, SEED, STEP = range(4)
# Readings' numbers of the seed begin where no set point's are.
READINGS = 1 << 20


def start(seed: int, state: Floats, p: Floats) -> None:
    """Begin with an empty capacitor."""
    state[VOLTAGE] = 0.0
    state[SEED] = seed
    state[STEP] = 0.0
    state[SET_POINT] = uniform(seed, 0, p[TARGET_LOW], p[TARGET_HIGH])


def advance(state: Floats, u: Floats, p: Floats) -> float:
    """Charge or discharge for one period; return the step's cost."""
    share = p[LOAD] / (p[RESISTANCE] + p[LOAD])
    rest = u[0] * p[SUPPLY] * share
    left = math.exp(-p[PERIOD] / (p[CAPACITANCE] * p[RESISTANCE] * share))
    voltage = rest + (state[VOLTAGE] - rest) * left
    cost: float = (state[SET_POINT] - voltage) ** 2
    step = int(state[STEP]) + 1
    state[VOLTAGE] = voltage
    state[STEP] = step
    state[SET_POINT] = uniform(int(state[SEED]), step // int(p[HOLD]), p[TARGET_LOW], p[TARGET_HIGH])
    return cost


def sense(state: Floats, p: Floats, y: Floats) -> None:
    """Read set point less voltage, and the voltage, each with noise of the reading."""
    read = state[VOLTAGE] + p[NOISE] * normal(int(state[SEED]), READINGS + int(state[STEP]))
    y[0] = state[SET_POINT] - read
    y[1] = read


def done(state: Floats, p: Floats) -> bool:
    """Never end early."""
    return False
