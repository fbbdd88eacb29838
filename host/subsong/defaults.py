"""One set of numbers for every plant: what `subsong new --plant` writes. Nothing in it is tuned to a plant.

    words       span what the sensors reach, which is declared or, of a Gymnasium environment, measured under random
                actions (subsong_sim.plants.probe); actuators have their whole range
    network     linear, from sensors to actuators; with hidden units where a plant needs them
    learner     weight perturbation, two-sided: both trials of a pair meet the same start
    amplitude   AMPLITUDE / sqrt(n), n being the mean fan-in, biases counted: what a perturbation does to a drive is a
                part of the actuator's range, whatever the network's size
    rate        STEP / sqrt(n) for a cost difference of the usual size: the difference is taken in units of its own
                running mean (learner.spread_shift), so that no cost needs a scale
    anneal      the rate falls to a sixteenth over the run

Sources: H. Mania, A. Guy, B. Recht 2018 (a step in units of the costs' spread, ranges from sensors' deviations);
Spall 1992 (two-sided, random signs). docs/no-tuning.md has what it learns.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from subsong.errors import PlantError
from subsong.experiment import Experiment, from_tables
from subsong.experiment_text import EXAMPLES, toml_value

AMPLITUDE = 0.4  # of a drive whose inputs are all at the ends of their ranges; 1 is an actuator's whole range
STEP = 0.15
SPREAD_SHIFT = 4
WEIGHT_FRAC = 11
RATE_SHIFT = 12
INIT = 1.0  # of hidden networks, likewise
TRIALS = 2000
STEPS = 100  # of an episode, where the plant itself has none
REAL = 200, 10  # trials and steps where nothing but real time will do: some 80 s, half of it evaluations
EVALUATIONS = 20
COUNTS = 1 << 22  # of the most that an episode of random actions can cost


def default_experiment(
    plant: Mapping[str, Any], *, hidden: Sequence[int] = (), trials: int | None = None, seed: int = 1
) -> Experiment:
    """Return the experiment for a plant.

    Args:
        plant: the [plant] table: its kind and name or id, and whatever else is not to be left to the plant.
        hidden: hidden layers' units; none: a linear policy.
        trials: how many, at most; None: TRIALS, or REAL's.
        seed: the experiment's.

    Raises:
        ExperimentError: a value is not allowed.
        PlantError: the plant cannot be made.
    """
    from subsong_sim.plants import make_plant

    table, steps, solved = _declared(dict(plant))
    trials = trials or (REAL[0] if table.get("kind") == "host_load" else TRIALS)
    ranges: dict[str, Any] = {key: table.pop(key) for key in ("sensor_range", "actuator_range") if key in table}
    draft = _tables(table, (1, 1), steps, trials, seed, solved)
    made = make_plant(replace(from_tables(draft, "").plant_spec(), **ranges))
    layers = made.n_sensors, *hidden, made.n_actuators
    made.close()
    return from_tables(_tables({**table, **ranges}, layers, steps, trials, seed, solved), "")


def _declared(plant: dict[str, Any]) -> tuple[dict[str, Any], int, float | None]:
    """Return the plant's table, with what random actions told of it; an episode's steps; the cost that solves it."""
    match plant.get("kind"):
        case "gymnasium":
            from subsong_sim.plants.probe import probe
            from subsong_sim.plants.spec import PlantSpec

            seen = probe(PlantSpec(id=plant.get("id", ""), parameters=plant.get("parameters", {})))
            lsb = 10.0 ** math.ceil(math.log10(max(seen.most, 1e-3) * seen.steps / COUNTS))
            told = {"sensor_range": seen.sensor_range, "cost_lsb": lsb}
            return {**told, **plant}, min(seen.steps, 16384), None if seen.solved is None else -seen.solved
        case "simulated":
            from subsong_sim.plants.models import model

            return plant, model(plant.get("name", "")).STEPS, None
        case "host_load":
            return plant, REAL[1], None
        case _:
            return plant, STEPS, None


def _tables(
    plant: Mapping[str, Any], layers: Sequence[int], steps: int, trials: int, seed: int, stop_cost: float | None
) -> dict[str, Any]:
    """Return the experiment's tables."""
    units = sum(layers[1:])
    scale = 1.0 / math.sqrt(sum(n_out * (n_in + 1) for n_in, n_out in pairwise(layers)) / units)
    run = {"trials": trials, "steps": steps, "evaluate_every": max(2, trials // EVALUATIONS // 2 * 2)}
    return {
        "seed": seed,
        "network": {
            "layers": list(layers),
            "activations": [*["tanh"] * (len(layers) - 2), "hard_tanh"],
            "weight_frac": WEIGHT_FRAC,
            "init": round(INIT * scale, 3) if len(layers) > 2 else 0.0,
        },
        "learner": {
            "rule": "weight_perturbation",
            "estimator": "two_sided",
            "amplitude": round(AMPLITUDE * scale, 3),
            "rate": round(STEP * scale * 2**RATE_SHIFT),
            "rate_shift": RATE_SHIFT,
            "spread_shift": SPREAD_SHIFT,
            "anneal": True,
        },
        "plant": plant,
        "run": run if stop_cost is None else {**run, "stop_cost": stop_cost},
    }


def plant_named(name: str) -> dict[str, Any]:
    """Return the [plant] table of a name: tclab, host_load, a simulated plant's, else an environment's id.

    Raises:
        PlantError: it is an example's name, and no plant's.
    """
    from subsong_sim.plants.models import NAMES

    if name in ("tclab", "host_load"):
        return {"kind": name}
    if name in NAMES:
        return {"kind": "simulated", "name": name}
    if name in EXAMPLES:
        raise PlantError(f"{name} is an example, not a plant; `subsong new NAME --kind {name}` writes it")
    return {"kind": "gymnasium", "id": name}


def commented(experiment: Experiment, name: str) -> str:
    """Return an experiment of this module as a commented file.

    Args:
        experiment: from default_experiment.
        name: of the file, for the lines to type.
    """
    network, learner, run = experiment.network, experiment.learner, experiment.run
    plant = experiment.plant.model_dump(exclude_defaults=True, exclude_none=True)
    lines = {"kind": experiment.plant.kind, **plant}
    stop = "" if run.stop_cost is None else f"stop_cost = {run.stop_cost:<23}# solved: the environment says so\n"
    return f"""\
# {experiment.plant.title}, by numbers that are the same for every plant: docs/no-tuning.md.
#
#   subsong sim {name}                 learn on this computer
#   subsong run {name} --port unix     learn on a board, which drives the plant
#
# Every key that is left out keeps its default; docs/experiment.md lists them all.

seed = {experiment.seed}

[network]
layers = {toml_value(network.layers):<25} # sensors, hidden layers if any, actuators
activations = {toml_value(network.activations):<20} # hard_tanh: a drive of 1 is the actuator's whole range
weight_frac = {network.weight_frac}
init = {network.init}

[learner]
rule = "weight_perturbation"
estimator = "two_sided"            # both trials of a pair meet the same start
amplitude = {learner.amplitude:<23}# {AMPLITUDE} / sqrt(mean fan-in)
rate = {learner.rate:<28}# times 2**-rate_shift a weight's usual step: {STEP} / sqrt(mean fan-in)
rate_shift = {learner.rate_shift}
spread_shift = {learner.spread_shift:<20}# costs are taken in units of their own running spread
anneal = true                      # the rate falls to a sixteenth over the run

[plant]
{"".join(f"{key} = {toml_value(value)}" + chr(10) for key, value in lines.items())}
[run]
trials = {run.trials}
steps = {run.steps}
evaluate_every = {run.evaluate_every}
{stop}"""
