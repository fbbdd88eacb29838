"""The plants, what is wrong with their models, and every setting of the learners."""

from collections.abc import Mapping
from typing import NamedTuple

from subsong.experiment import Experiment, from_tables, parse_toml
from subsong_sim.plants.models import model


class Case(NamedTuple):
    """A plant and its learners.

    Attributes:
        name: of the plant.
        text: the experiment, TOML, on the nominal plant.
        severe: the true plant's parameters at severity 1. In between they are on the straight line from the nominal.
        horizons: steps of an episode that back-propagation looks ahead, one after the other.
        episodes: starts that its cost is the mean of.
        updates: at each horizon.
    """

    name: str
    text: str
    severe: Mapping[str, float]
    horizons: tuple[int, ...]
    episodes: int
    updates: int = 30

    def true(self, severity: float) -> dict[str, float]:
        """Return the true plant's parameters that differ from the nominal one's."""
        nominal = model(self.name).PARAMETERS | parse_toml(self.text, self.name)["plant"].get("parameters", {})
        return {key: nominal[key] + severity * (value - nominal[key]) for key, value in self.severe.items()}

    def experiment(self, seed: int, severity: float = 0.0) -> Experiment:
        """Return the experiment of a seed, its mismatch of a severity."""
        tables = parse_toml(self.text, self.name)
        tables["plant"]["mismatch"] = {"parameters": self.true(severity)}
        return from_tables(tables | {"seed": seed}, self.name)


CASES = {
    case.name: case
    for case in (
        Case(
            "lqr",
            """
[network]
layers = [3, 3]
activations = ["hard_tanh"]

[learner]
rule = "weight_perturbation"
amplitude = 0.15
rate = 1
rate_shift = 10

[plant]
kind = "simulated"
name = "lqr"
cost_lsb = 0.001

[run]
trials = 4000
steps = 100
evaluate_every = 100
evaluate_episodes = 20
""",
            severe={"a11": 1.04, "a22": 1.04, "a33": 1.04},
            horizons=(20, 50, 100),
            episodes=64,
        ),
        Case(
            "dc_motor",
            """
[network]
layers = [2, 6, 1]
activations = ["tanh", "tanh"]
init = 1.0

[learner]
rule = "weight_perturbation"
amplitude = 0.2
rate = 1
rate_shift = 7

[plant]
kind = "simulated"
name = "dc_motor"
cost_lsb = 0.01

[run]
trials = 4000
steps = 100
evaluate_every = 100
evaluate_episodes = 20
""",
            severe={"inertia": 1.2e-5, "back_emf": 0.006, "coulomb": 0.003, "dead_band": 2.0, "backlash": 0.3},
            horizons=(25, 50, 100),
            episodes=16,
        ),
        Case(
            "pendulum",
            """
[network]
layers = [3, 8, 1]
activations = ["tanh", "tanh"]
init = 1.0

[learner]
rule = "weight_perturbation"
amplitude = 0.3
rate = 1
rate_shift = 7

[plant]
kind = "simulated"
name = "pendulum"
parameters = { mass = 0.5 }
cost_lsb = 0.01

[run]
trials = 8000
steps = 100
evaluate_every = 200
evaluate_episodes = 20
""",
            severe={"mass": 1.0, "viscous": 0.2, "coulomb": 0.2},
            horizons=(20, 40, 60, 80, 100),
            episodes=32,
        ),
    )
}
