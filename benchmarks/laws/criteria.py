"""Trials to a criterion: every rule on every task that it fits, beside next to no rate."""

import tomllib
from collections.abc import Mapping
from typing import Any, NamedTuple

import figures
import numpy as np
from numpy.typing import NDArray

from laws.integers import Floats, Learner, over_seeds
from subsong.experiment import Experiment, parse_experiment
from subsong.experiment_tasks import TaskPlant
from subsong.experiment_text import example_text, to_toml, with_learner
from subsong.rules import BY_NAME

Keys = Mapping[str, Any]
NONE: Keys = {}


class Case(NamedTuple):
    """A rule on a task.

    Attributes:
        rule: what learns.
        task: what is learned, for the table.
        example: the shipped example whose settings hold, but for:
        learner: all its other keys in [learner], where the example is another rule's.
        network, run: keys that differ.
        seeds: how many.
    """

    rule: str
    task: str
    example: str
    learner: Keys = NONE
    network: Keys = NONE
    run: Keys = NONE
    seeds: int = 100

    @property
    def settings(self) -> str:
        """The example, and what differs from it, for the table."""
        keys = {key: value for table in (self.learner, self.network, self.run) for key, value in table.items()}
        parts = [
            f"{key} {', '.join(map(str, value)) if isinstance(value, list) else value}" for key, value in keys.items()
        ]
        return "; ".join([f"{self.example}.toml", *parts])


WEIGHT, NODE = "weight_perturbation", "node_perturbation"
DIFFERENCE, CONDUCTANCE, REINFORCE = "activity_difference", "conductance_perturbation", "reinforce"
KEEP, TUMBLE = "keep_if_better", "run_and_tumble"


def _at(shift: int, amplitude: float | None = None, rate: int = 1, **more: Any) -> Keys:
    """Return keys of [learner]: rate * 2**-shift; two-sided, unless told otherwise."""
    size = {} if amplitude is None else {"amplitude": amplitude}
    return {"estimator": "two_sided", **more, **size, "rate": rate, "rate_shift": shift}


_STEPS = {"estimator": "each_step", "trace_shift": 0}
# Layers of the songbird's task for rules of rate units: HVC drives the motor pools itself.
_SINGS = {"layers": [30, 2], "activations": ["identity"], "init": 0.1}
_SPIKES = {"leak_shift": 2, "synapse_shift": 3, "spike_shift": 2, "refractory": 1, "tick_shift": 5}
_BIRD = {
    "estimator": "each_step", "baseline_shift": 8, "trace_shift": 4,
    "leak_shift": 4, "synapse_shift": 3, "spike_shift": 2, "refractory": 1,
}  # fmt: skip
_SUNG = {"stop_cost": 0.005}  # silence has .025
# Which rule fits which task, document.CRITERION says.
CASES = (
    Case(WEIGHT, "XOR", "xor"),
    Case(NODE, "XOR", "xor"),
    Case(DIFFERENCE, "XOR", "activity_difference"),
    Case(KEEP, "XOR", "keep_if_better"),
    Case(TUMBLE, "XOR", "run_and_tumble"),
    Case(REINFORCE, "XOR", "reinforce"),
    Case(CONDUCTANCE, "XOR", "conductance_perturbation"),
    Case("hedonistic_synapse", "XOR, each pattern held", "hedonistic_synapse"),
    Case("stochastic_spiking", "XOR, each pattern held", "stochastic_spiking"),
    Case("hebb", "XOR", "hebb"),
    Case(WEIGHT, "3-bit parity", "parity", _at(13, 0.1)),
    Case(NODE, "3-bit parity", "parity"),
    Case(
        DIFFERENCE, "3-bit parity", "parity", _at(13, 0.2, estimator="perturbed_pair"),
        run={"trials": 400_000, "steps": 1, "evaluate_every": 2000, "evaluate_steps": 8},
    ),
    Case(KEEP, "3-bit parity", "parity", {"amplitude": 0.1}),
    Case(TUMBLE, "3-bit parity", "parity", {"amplitude": 0.1}),
    Case(REINFORCE, "3-bit parity", "parity", _at(18, **_STEPS), {"layers": [3, 16, 1], "init": 2.0}),
    Case(
        CONDUCTANCE, "3-bit parity", "parity", _at(18, 0.5, estimator="running_baseline", **_SPIKES),
        {"layers": [3, 24, 1], "activations": ["integrate_fire"] * 2, "init": 1.1}, {"stop_cost": 0.04},
    ),
    Case("hebb", "3-bit parity", "parity", _at(17, 0.4, **_STEPS)),
    Case(WEIGHT, "linear teacher, noisy", "linear_teacher", _at(14, 0.025), run={"trials": 40_000}),
    Case(NODE, "linear teacher, noisy", "linear_teacher"),
    Case(DIFFERENCE, "linear teacher, noisy", "linear_teacher", _at(9, 0.05, estimator="perturbed_pair")),
    Case("hebb", "linear teacher, noisy", "linear_teacher", _at(12, 0.1, estimator="running_baseline")),
    Case(WEIGHT, "letters", "letters", _at(15, 0.1), run={"trials": 2_000_000, "evaluate_every": 20_000}),
    Case(NODE, "letters", "letters"),
    Case(
        DIFFERENCE, "letters", "letters", _at(11, 0.2, estimator="perturbed_pair"), run={"trials": 400_000},
    ),
    Case(
        REINFORCE, "letters", "letters", _at(17, **_STEPS, baseline_shift=6),
        {"layers": [49, 4], "activations": ["logistic"]}, {"trials": 2_000_000, "evaluate_every": 20_000},
    ),
    Case(WEIGHT, "temporally extended", "extended", _at(17, 0.1, 3)),
    Case(NODE, "temporally extended", "extended"),
    Case(KEEP, "temporally extended", "extended", {"amplitude": 0.005}),
    Case(TUMBLE, "temporally extended", "extended", {"amplitude": 0.005}),
    Case(WEIGHT, "LQR", "lqr", _at(14, 0.1)),
    Case(NODE, "LQR", "lqr"),
    Case(WEIGHT, "delayed match, recurrent", "delayed_match", _at(16, 0.1)),
    Case(NODE, "delayed match, recurrent", "delayed_match"),
    Case(
        REINFORCE, "delayed match, recurrent", "delayed_match", _at(21, estimator="running_baseline"),
        {"layers": [2, 24, 1], "init": 1.5}, {"trials": 100_000},
    ),
    Case(WEIGHT, "sequence, recurrent", "sequence", _at(16, 0.03)),
    Case(NODE, "sequence, recurrent", "sequence"),
    Case("songbird", "the song", "song", run=_SUNG),
    Case(CONDUCTANCE, "the song", "song", _at(20, 0.7, 3, **_BIRD), run=_SUNG),
    Case(WEIGHT, "the song", "song", _at(18, 0.05), _SINGS, _SUNG),
    Case(NODE, "the song", "song", _at(20, 0.2), _SINGS, _SUNG),
    Case(KEEP, "the song", "song", {"amplitude": 0.01}, _SINGS, _SUNG),
    Case(TUMBLE, "the song", "song", {"amplitude": 0.01}, _SINGS, _SUNG),
    Case(WEIGHT, "CartPole", "cartpole"),
    Case(NODE, "CartPole", "cartpole"),
)  # fmt: skip


def case_text(case: Case, learning: bool) -> str:
    """Return the experiment file of a case; without `learning`, with a rate next to nothing."""
    text = example_text(case.example)
    if case.learner:
        tables = tomllib.loads(text)
        tables["learner"] = {"rule": case.rule, **case.learner}
    else:
        tables = tomllib.loads(with_learner(text, case.rule))
    tables["network"].update(case.network)
    tables["run"].update(case.run)
    if not learning:
        tables["learner"].update(rate=1, rate_shift=29)
    return to_toml(tables)


def has_control(case: Case) -> bool:
    """Return whether the rule has a rate that can be next to nothing."""
    return BY_NAME[case.rule].rated


class Looks(NamedTuple):
    """How an experiment is evaluated.

    Attributes:
        steps: of an evaluation trial.
        episodes: such trials.
        cost: mean cost of a step, as the experiment file counts it, of one count of their sum.
        stop: the criterion, in mean costs of a step.
    """

    steps: int
    episodes: int
    cost: float
    stop: float


def looks_of(experiment: Experiment) -> Looks:
    """Return how an experiment on a task of the board is evaluated."""
    run, plant = experiment.run, experiment.plant
    assert isinstance(plant, TaskPlant)
    assert run.stop_cost is not None
    steps = run.evaluate_steps or run.steps
    episodes = run.evaluate_episodes if plant.varied else 1
    return Looks(steps, episodes, plant.cost(1, steps, experiment.network.layers[-1]) / episodes, run.stop_cost)


def spent(case: Case, seeds: range, trials: int, learning: bool = True) -> Floats:
    """Return trials until an evaluation met the criterion, of so many at most, float64[seeds]; inf where none did."""
    if case.example == "cartpole":
        return figures.cartpole(case.rule, seeds, learning).spent
    text = case_text(case, learning)
    experiment = parse_experiment(text, case.example)
    run, looks = experiment.run, looks_of(experiment)
    stop = looks.stop / looks.cost

    def one(learner: Learner) -> float:
        done, total = learner.loops.until(
            *learner.buffers, run.steps, trials, run.evaluate_every, looks.steps, looks.episodes, stop
        )
        return float(done) if total <= stop else np.inf

    return np.array(over_seeds(text, seeds, one))


class Course(NamedTuple):
    """Learning curves of a shipped example.

    Attributes:
        trials: before each evaluation, int64[looks].
        costs: mean cost of a step, as the experiment file counts it, float64[seeds, looks].
        stop: the example's criterion.
    """

    trials: NDArray[np.int64]
    costs: Floats
    stop: float


def course(case: Case, seeds: range, trials: int, n: int) -> Course:
    """Return the costs of n evaluations all along so many trials, none of which ends them."""
    text = case_text(case, True)
    experiment = parse_experiment(text, case.example)
    looks = looks_of(experiment)
    pair = 2  # so that no evaluation parts one
    every = max(pair, trials // (n - 1) // pair * pair)

    def one(learner: Learner) -> Floats:
        totals = np.empty(n)
        learner.loops.course(*learner.buffers, experiment.run.steps, every, looks.steps, looks.episodes, totals)
        return totals

    costs = np.array(over_seeds(text, seeds, one)) * looks.cost
    return Course(np.arange(n) * every, costs, looks.stop)


def limit(case: Case) -> int:
    """Return how many trials a seed had."""
    if case.example == "cartpole":
        return figures.CARTPOLE_LIMIT
    return parse_experiment(case_text(case, True), case.example).run.trials
