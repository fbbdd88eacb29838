"""What a step costs on each compiled plant, in batches of one core, against CartPole in the same run.

A linear policy learns by weight perturbation; learning and plant are in the figure. The single run is `subsong sim`'s.
"""

import time
from collections.abc import Callable, Iterator, Sequence

from sim.report import QUICK, quartiles, table
from subsong.batch import simulate_many
from subsong.experiment import Experiment, from_tables
from subsong.session import RunResult, simulate
from subsong_sim.plants.models import NAMES, model

RUNS = 64
ROUNDS = 3 if QUICK else 9
STEPS = 50
CARTPOLE = {
    "kind": "gymnasium",
    "id": "CartPole-v1",
    "sensor_range": [[-2.4, 2.4], [-3.0, 3.0], [-0.21, 0.21], [-3.0, 3.0]],
    # So that it never falls, and every lane has as many steps.
    "parameters": {"x_threshold": 1e9, "theta_threshold_radians": 1e9},
}


def experiment(plant: dict[str, object], sensors: int, actuators: int, seed: int, trials: int) -> Experiment:
    """Return a run of a linear policy, of trials of 50 steps, with one evaluation at the end."""
    return from_tables(
        {
            "seed": seed,
            "network": {"layers": [sensors, actuators], "activations": ["hard_tanh"]},
            "learner": {"rule": "weight_perturbation", "amplitude": 0.1, "rate": 1, "rate_shift": 16},
            "plant": plant,
            "run": {"trials": trials, "steps": STEPS, "evaluate_episodes": 1},
        },
        "bench-sim",
    )


def timed(run: Callable[[], Sequence[RunResult]]) -> float:
    """Return nanoseconds of this process for each step of all runs."""
    began = time.process_time()
    steps = sum(result.steps for result in run())
    return (time.process_time() - began) / steps * 1e9


def section() -> Iterator[str]:
    """Yield the table."""
    plants: dict[str, tuple[dict[str, object], int, int]] = {"CartPole-v1": (CARTPOLE, 4, 1)}
    for name in NAMES:
        plants[name] = {"kind": "simulated", "name": name}, len(model(name).SENSORS), len(model(name).ACTUATORS)
    trials = 100 if QUICK else 400
    cases = {name: [experiment(*plant, seed, trials) for seed in range(RUNS)] for name, plant in plants.items()}
    batch: dict[str, list[float]] = {name: [] for name in plants}
    single: dict[str, list[float]] = {name: [] for name in plants}
    for turn in range(-1, ROUNDS):
        for name, runs in cases.items():
            together = timed(lambda: simulate_many(runs, threads=1, costs=False))  # noqa: B023 - called at once
            alone = timed(lambda: [simulate(runs[0], out=None)])  # noqa: B023
            if turn >= 0:  # the first one compiles
                batch[name].append(together)
                single[name].append(alone)
    yield f"{RUNS} runs side by side on one core, and one run alone; medians of {ROUNDS} turns and quartiles."
    yield ""
    rows = []
    for name in plants:
        ratios = [own / theirs for own, theirs in zip(batch[name], batch["CartPole-v1"], strict=True)]
        alone_ratios = [one / many for one, many in zip(single[name], batch[name], strict=True)]
        rows.append([name, quartiles(batch[name], 0), quartiles(ratios), quartiles(alone_ratios, 1)])
    yield from table(("plant", "ns a step", "of CartPole's", "a run alone, of its batch's"), rows)
