"""What the range checker (subsong_sim.ranges) is asked: about one experiment, or about all that a board may get."""

import ast
import hashlib
from importlib import resources
from typing import TYPE_CHECKING

from subsong.block import build_block
from subsong.experiment import Experiment, parse_experiment
from subsong_device.frames import RULES

if TYPE_CHECKING:
    from subsong_sim.ranges import Proof

# Rule, estimator, layers, activations, weight_frac, amplitude, rate, rate_shift, baseline_shift, plant.
_EXTREMES = (
    ("weight_perturbation", "two_sided", [2, 17, 1], ["tanh", "identity"], 8, 16.0, 16383, 29, 1, "xor"),
    ("weight_perturbation", "running_baseline", [127, 1], ["hard_tanh"], 14, 0.25, 16383, 0, 15, ""),
    ("weight_perturbation", "unperturbed_trial", [1, 1], ["logistic"], 11, 2.0, 1, 29, 1, ""),
    ("node_perturbation", "two_sided", [2, 3, 1], ["tanh", "identity"], 8, 4.0, 16383, 29, 1, "xor"),
    ("node_perturbation", "running_baseline", [127, 1], ["hard_tanh"], 14, 4.0, 16383, 0, 15, ""),
    ("node_perturbation", "unperturbed_trial", [1, 1], ["identity"], 11, 4.0, 1, 29, 1, ""),
)
_TEXT = """
[network]
layers = {layers}
activations = {activations}
weight_frac = {weight_frac}
[learner]
rule = "{rule}"
estimator = "{estimator}"
amplitude = {amplitude}
rate = {rate}
rate_shift = {rate_shift}
baseline_shift = {baseline_shift}
[plant]
{plant}
[run]
trials = 1
steps = 16384
"""
_NAMES = (
    "rule",
    "estimator",
    "layers",
    "activations",
    "weight_frac",
    "amplitude",
    "rate",
    "rate_shift",
    "baseline_shift",
)


def prove_experiment(experiment: Experiment) -> "Proof":
    """Prove that no expression of any kernel leaves 32 bits in this experiment.

    Raises:
        EngineError: names every expression that is not proved to.
    """
    from subsong_sim.ranges import require_ranges

    block = build_block(experiment)
    return require_ranges(block.rule, block.head, block.mem, block.task, experiment.run.steps)


def extremes() -> list[Experiment]:
    """Return experiments that between them stand at the ends of what the experiment file admits."""
    found = []
    for *values, task in _EXTREMES:
        plant = f'kind = "task"\nname = "{task}"' if task else 'kind = "gymnasium"\nid = "None-v0"'
        words = {name: _toml(value) for name, value in zip(_NAMES, values, strict=True)}
        found.append(parse_experiment(_TEXT.format(plant=plant, **words), "extremes"))
    return found


def _toml(value: object) -> str:
    return str(value).replace("'", '"')


_proved: set[str] = set()  # in this process, whatever becomes of the cache


def prove_kernels() -> None:
    """Prove the kernels at the ends of what an experiment file admits: once for each text of them, then from the cache.

    Raises:
        EngineError: names every expression that is not proved to stay within 32 bits.
    """
    from subsong_sim.cache import cache_folder

    digest = _digest()
    done = cache_folder() / "ranges" / digest
    if digest in _proved or done.is_file():
        return
    for experiment in extremes():
        prove_experiment(experiment)
    _proved.add(digest)
    try:
        done.parent.mkdir(parents=True, exist_ok=True)
        done.touch()
    except OSError:
        return  # proved again the next time: a cache that cannot be written is no error


def _digest() -> str:
    """Return a hash of all that a proof depends on: the kernels, the checker, the experiments."""
    from subsong_sim.loader import LEARNER_KERNELS, PACKAGE, TASK_KERNELS, gather

    parts = [repr(_EXTREMES), _TEXT]
    modules = [(f"{PACKAGE}.learners.{rule}", LEARNER_KERNELS) for rule in RULES]
    for module, called in (*modules, (f"{PACKAGE}.tasks", TASK_KERNELS)):
        source = gather(module, called)
        parts.append(repr(sorted(source.constants.items())))
        parts += [ast.dump(function) for function in source.functions.values()]
    folder = resources.files("subsong_sim").joinpath("ranges")
    files = sorted(path.name for path in folder.iterdir() if path.name.endswith(".py"))
    parts += [folder.joinpath(name).read_text(encoding="utf-8") for name in files]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
