"""The linear quadratic regulator: three coupled integrators, slightly unstable, under noise. Units are nobody's.

    x' = A x + u + noise w,   cost of a step = state_cost |x|^2 + control_cost |u|^2, before the step

w has independent components of mean 0 and variance 1 (common.normal). A, Q = 0.001 I and R = I are those of S. Dean et
al., "On the sample complexity of the linear quadratic regulator" (2017), as used by H. Mania et al. (2018); the least
mean cost of a step is `optimal_cost`. A state is held within +-limit, which a learner that stabilises never meets.
"""

from subsong_sim.plants.models.common import Floats, normal

PARAMETERS = {
    "a11": 1.01,  # A, row by row
    "a12": 0.01,
    "a13": 0.0,
    "a21": 0.01,
    "a22": 1.01,
    "a23": 0.01,
    "a31": 0.0,
    "a32": 0.01,
    "a33": 1.01,
    "state_cost": 0.001,  # Q = state_cost I
    "control_cost": 1.0,  # R = control_cost I
    "noise": 1.0,  # standard deviation of each component
    "limit": 100.0,  # of each state
}
LIMITS = {
    **{f"a{i}{j}": (-10.0, 10.0) for i in (1, 2, 3) for j in (1, 2, 3)},
    "control_cost": (1e-9, 1e6),
    "limit": (1.0, 1e4),
}
STATE_COST, CONTROL_COST, NOISE, LIMIT = range(9, 13)
SENSORS = (("x1", "1", -16.0, 16.0), ("x2", "1", -16.0, 16.0), ("x3", "1", -16.0, 16.0))
ACTUATORS = (("u1", "1", -0.5, 0.5), ("u2", "1", -0.5, 0.5), ("u3", "1", -0.5, 0.5))
STEPS = 300
COST_LSB = 0.001
STATE = 5
SEED, STEP = 3, 4


def start(seed: int, state: Floats, p: Floats) -> None:
    """Begin where one step's noise leads from 0."""
    for i in range(3):
        state[i] = p[NOISE] * normal(seed, i)
    state[SEED] = seed
    state[STEP] = 1


def advance(state: Floats, u: Floats, p: Floats) -> float:
    """Take one step; return its cost."""
    x1, x2, x3 = state[0], state[1], state[2]
    seed, step = int(state[SEED]), int(state[STEP])
    for i in range(3):
        x = p[3 * i] * x1 + p[3 * i + 1] * x2 + p[3 * i + 2] * x3 + u[i] + p[NOISE] * normal(seed, 3 * step + i)
        state[i] = min(max(x, -p[LIMIT]), p[LIMIT])
    state[STEP] = step + 1
    states: float = x1**2 + x2**2 + x3**2
    controls: float = u[0] ** 2 + u[1] ** 2 + u[2] ** 2
    cost: float = p[STATE_COST] * states + p[CONTROL_COST] * controls
    return cost


def sense(state: Floats, p: Floats, y: Floats) -> None:
    """Read the state."""
    y[0], y[1], y[2] = state[0], state[1], state[2]


def done(state: Floats, p: Floats) -> bool:
    """Never end early."""
    return False


def optimal_cost(p: Floats) -> float:
    """Return J*, the least mean cost of a step in the long run: noise^2 tr P.

    P is the fixed point of Riccati's equation, P = Q + A' P A - A' P (R + P)^-1 P A, met by iteration.

    Args:
        p: float64[13], the parameters in the order of PARAMETERS.
    """
    return float(p[NOISE] ** 2 * _riccati(p).trace())


def optimal_gain(p: Floats) -> Floats:
    """Return K of the optimal control u = -K x, float64[3, 3]."""
    import numpy as np

    a, costs = np.reshape(np.asarray(p[:9]), (3, 3)), _riccati(p)
    gain: Floats = np.linalg.solve(p[CONTROL_COST] * np.eye(3) + costs, costs @ a)
    return gain


def _riccati(p: Floats) -> Floats:
    import numpy as np

    a = np.reshape(np.asarray(p[:9]), (3, 3))
    q, r = p[STATE_COST] * np.eye(3), p[CONTROL_COST] * np.eye(3)
    costs: Floats = q
    for _ in range(100_000):
        after = q + a.T @ costs @ a - a.T @ costs @ np.linalg.solve(r + costs, costs @ a)
        if np.abs(after - costs).max() < 1e-14 * np.abs(after).max():
            break
        costs = after
    return costs
