"""A heater with a thermometer, heard late: two first-order lags behind a dead time.

    capacity T' = power drive - loss (T - ambient),   sensor_time S' = T - S

drive, 0 to 1, arrives `delay` periods late; what is below 0 is none, so that word 0 is off. T is the heater's
temperature, S the thermometer's. Implicit Euler, ten steps a period: stable for any parameters.
The figures are of the order of one heater of the Temperature Control Lab (J. Park et al., "Benchmark temperature
microcontroller for process dynamics and control", Computers & Chemical Engineering 135, 2020), radiation left out.
Cost of a step: (set point - S)^2, K^2, after the step.
"""

from subsong_sim.plants.models.common import Floats, normal, uniform

PARAMETERS = {
    "power": 1.0,  # W, at full drive
    "capacity": 2.0,  # J/K
    "loss": 0.018,  # W/K, to the air
    "ambient": 23.0,  # degrees Celsius
    "sensor_time": 20.0,  # s, time constant of the thermometer
    "delay": 1.0,  # periods until a drive arrives, whole ones
    "target_low": 30.0,  # degrees Celsius, set points are uniform between this
    "target_high": 55.0,  # degrees Celsius, and this
    "noise": 0.0,  # K, standard deviation of a reading
    "period": 10.0,  # s
}
LIMITS = {
    "capacity": (1e-6, 1e9),
    "ambient": (-273.15, 1e4),
    "delay": (0.0, 30.0),
    "target_low": (-273.15, 1e4),
    "target_high": (-273.15, 1e4),
    "period": (1e-3, 1e5),
}
POWER, CAPACITY, LOSS, AMBIENT, SENSOR_TIME, DELAY, TARGET_LOW, TARGET_HIGH, NOISE, PERIOD = range(10)
SENSORS = (("error", "K", -40.0, 40.0), ("temperature", "degC", 0.0, 80.0))
ACTUATORS = (("drive", "1", -1.0, 1.0),)
STEPS = 60
COST_LSB = 0.1
LINE = 31  # drives on their way: a ring of the longest delay, and one
STATE = 5 + LINE
HEATER, THERMOMETER, SET_POINT, SEED, STEP = range(5)
RING = 5
SUBSTEPS = 10


def start(seed: int, state: Floats, p: Floats) -> None:
    """Begin at the temperature of the air, with a set point drawn from the seed."""
    state[:STATE] = 0.0
    state[HEATER] = state[THERMOMETER] = p[AMBIENT]
    state[SET_POINT] = uniform(seed, 0, p[TARGET_LOW], p[TARGET_HIGH])
    state[SEED] = seed


def advance(state: Floats, u: Floats, p: Floats) -> float:
    """Heat for one period; return the step's cost."""
    step = int(state[STEP])
    state[RING + step % LINE] = min(max(u[0], 0.0), 1.0)
    drive = state[RING + (step - int(p[DELAY])) % LINE]
    heater, thermometer = state[HEATER], state[THERMOMETER]
    short = p[PERIOD] / SUBSTEPS
    for _ in range(SUBSTEPS):
        gained = p[CAPACITY] * heater + short * (p[POWER] * drive + p[LOSS] * p[AMBIENT])
        heater = gained / (p[CAPACITY] + short * p[LOSS])
        thermometer = (p[SENSOR_TIME] * thermometer + short * heater) / (p[SENSOR_TIME] + short)
    state[HEATER], state[THERMOMETER], state[STEP] = heater, thermometer, step + 1
    cost: float = (state[SET_POINT] - thermometer) ** 2
    return cost


def sense(state: Floats, p: Floats, y: Floats) -> None:
    """Read set point less temperature, and the temperature, each with noise of the reading."""
    read = state[THERMOMETER] + p[NOISE] * normal(int(state[SEED]), 1 + int(state[STEP]))
    y[0] = state[SET_POINT] - read
    y[1] = read


def done(state: Floats, p: Floats) -> bool:
    """Never end early."""
    return False
