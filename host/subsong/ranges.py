"""What the range checker (subsong_sim.ranges) is asked: about one experiment, or about all that a board may get."""

import hashlib
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from subsong.block import build_block
from subsong.experiment import Experiment, parse_experiment
from subsong.experiment_plant import BoardPlant
from subsong.rules import TABLE, Rule
from subsong_device.frames import RULES

if TYPE_CHECKING:
    from subsong_sim.ranges import Proof

# At either end: layers, weight_frac, rate, rate_shift, baseline_shift.
_ENDS = (
    ([1, 1], 8, 1, 29, 1),
    ([3, 17, 2], 14, 16383, 0, 15),
)
_TEXT = """
[network]
layers = {layers}
activations = {activations}
weight_frac = {weight_frac}
[learner]
rule = "{rule}"
{learner}
[plant]
{plant}
[run]
trials = 1
steps = {steps}
"""
# A task, its layers, the last activation, the steps of a trial; the task's own keys.
_TASKS = (
    ("xor", [2, 1], "identity", 4096, "hold = 1024"),
    ("parity", [8, 1], "logistic", 256, ""),
    ("linear_teacher", [127, 2], "identity", 16384, "deviation = 1.0\nnoise = 4.0"),
    ("linear_teacher", [1, 1], "identity", 1, 'inputs = "signs"\ncost_shift = 16'),
    ("letters", [49, 4], "logistic", 1, "cost_shift = 0"),
    ("extended", [5, 3], "identity", 64, "cost_shift = 0"),
    ("lqr", [8, 8], "identity", 1, "growth = 0.12\nq = 1.0\nnoise = 31.0\nstart = 31.0"),
    ("delayed_match", [2, 1], "identity", 8, "cue_steps = 5\ndelay_steps = 0\nprobe_steps = 3\ncost_shift = 0"),
    ("sequence", [3, 2], "identity", 60, "cue_steps = 10\nlength = 50\ncost_shift = 0"),
    ("song", [30, 2], "identity", 1, ""),
)


def prove_experiment(experiment: Experiment) -> "Proof":
    """Prove that no expression of any kernel leaves 32 bits in this experiment.

    Raises:
        EngineError: names every expression that is not proved to.
    """
    from subsong_sim.ranges import require_ranges

    block = build_block(experiment)
    run = experiment.run
    task = b"" if isinstance(experiment.plant, BoardPlant) else block.task
    return require_ranges(block.rule, block.head, block.mem, task, run.steps, run.evaluate_steps)


@cache
def extremes() -> tuple[Experiment, ...]:
    """Return experiments that between them stand at the ends of what the experiment file admits.

    Every rule with every estimator that it takes, at both ends of its numbers, and with costs over their spread; every
    kind of task.
    """
    found = []
    for rule in TABLE:
        for number, estimator in enumerate(rule.estimators):
            # Of several estimators one is at one end, the next at the other.
            ends = (0, 1) if len(rule.estimators) == 1 else (number & 1,)
            found += [extreme(rule, estimator, end) for end in ends]
        # Normalised, a difference is small: what comes behind it is the less to be proved, and itself the more.
        if rule.rated:
            found.append(extreme(rule, rule.estimators[-1], 0, spread_shift=15))
    for name, layers, activation, steps, keys in _TASKS:
        plant = f'kind = "task"\nname = "{name}"\n{keys}'
        found.append(_parsed("keep_if_better", "amplitude = 1.0", layers, [activation], 11, plant, steps))
    return tuple(found)


def extreme(rule: Rule, estimator: str, end: int, spread_shift: int = 0) -> Experiment:
    """Return an experiment of a rule at the low end, 0, or the high one, 1, of its numbers, for any plant."""
    layers, weight_frac, rate, rate_shift, baseline_shift = _ENDS[end]
    given: dict[str, object] = {"estimator": estimator, "baseline_shift": baseline_shift}
    if rule.perturbs:
        given["amplitude"] = (1, rule.amplitude)[end] / 2 ** rule.amplitude_frac(weight_frac)
    if rule.rated:
        given |= {"rate": rate, "rate_shift": rate_shift, "spread_shift": spread_shift}
    for key, option in rule.options:
        value = (option.low, option.high)[end]
        given[key] = option.choices[value - option.low] if option.choices else value
    first = "integrate_fire" if rule.spiking else rule.activations[-1]
    activations = [first, rule.activations[0]][: len(layers) - 1]
    plant = 'kind = "gymnasium"\nid = "None-v0"'
    learner = "\n".join(f"{key} = {_toml(value)}" for key, value in given.items())
    return _parsed(rule.name, learner, layers, activations, weight_frac, plant, rule.most_steps)


def _parsed(
    rule: str, learner: str, layers: list[int], activations: list[str], weight_frac: int, plant: str, steps: int
) -> Experiment:
    text = _TEXT.format(
        rule=rule,
        learner=learner,
        layers=layers,
        activations=_toml(activations),
        weight_frac=weight_frac,
        plant=plant,
        steps=steps,
    )
    return parse_experiment(text, "extremes")


def _toml(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).replace("'", '"')


_proved: set[str] = set()  # in this process, whatever becomes of the cache


def prove_kernels() -> None:
    """Prove the kernels at the ends of what an experiment file admits: once for each text of them, then from the cache.

    Raises:
        EngineError: names every expression that is not proved to stay within 32 bits.
    """
    from subsong_sim.cache import cache_folder

    experiments = extremes()
    digest = _digest(experiments)
    done = cache_folder() / "ranges" / digest
    if digest in _proved or done.is_file():
        return
    for experiment in experiments:
        prove_experiment(experiment)
    _proved.add(digest)
    try:
        done.parent.mkdir(parents=True, exist_ok=True)
        done.touch()
    except OSError:
        return  # proved again the next time: a cache that cannot be written is no error


def _digest(experiments: tuple[Experiment, ...]) -> str:
    """Return a hash of all that a proof depends on, the same in every process: the experiments, kernels, checker."""
    from subsong_sim.loader import LEARNER_KERNELS, PACKAGE, TASK_KERNELS, gather

    parts = [each.model_dump_json() + repr(build_block(each)) for each in experiments]
    modules = [(f"{PACKAGE}.learners.{rule}", LEARNER_KERNELS) for rule in RULES]
    files: set[str] = set()
    for module, called in (*modules, (f"{PACKAGE}.tasks", TASK_KERNELS)):
        source = gather(module, called)
        parts.append(repr(sorted(source.constants.items())))
        files |= set(source.files.values())
    parts += [Path(file).read_text(encoding="utf-8") for file in sorted(files)]
    folder = resources.files("subsong_sim").joinpath("ranges")
    names = sorted(path.name for path in folder.iterdir() if path.name.endswith(".py"))
    parts += [folder.joinpath(name).read_text(encoding="utf-8") for name in names]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
