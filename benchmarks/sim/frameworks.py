"""Against what a user would pick instead: NumPy, PyTorch and JAX learn the same tasks in float32, on the same cores.

`make bench-rivals` installs them in an environment of their own; QUICK=1 for less.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numba
import numpy as np
from figures import example

from sim.report import QUICK
from subsong.block import build_block
from subsong.errors import SubsongError
from subsong.experiment import Experiment, parse_experiment
from subsong.experiment_text import example_text
from subsong_device import layout
from subsong_sim import loader
from subsong_sim.engines import make_buffer

HERE = Path(__file__).parent / "rivals"
ROOT = Path(__file__).parents[2]
# The environment that `make bench-rivals` makes; the project's own stays small.
PYTHON = ROOT / ".venv-rivals" / "bin" / "python"
RIVALS = {
    "numpy_rival": "NumPy",
    "torch_rival": "PyTorch",
    "jax_rival": "JAX, vmap",
    "jax_batched_rival": "JAX, by hand",
}
# A network up to so many weights is small: of those, a core takes many seeds at once.
SMALL = 1000
# Of the best rival's learning steps a second: for small networks, for large ones.
AIMS = {True: 20, False: 1}

ABOUT = """\
Learning steps a second of many seeds side by side, on all cores, compile time left out. A step shows one pattern or
moves one cart; both trials of a pair count. Each program tries several numbers of seeds, and its best stretch counts;
Subsong, the batch behind simulate_many, is timed before and after its rivals. "JAX, vmap" is one seed's program under
jit and vmap, with jax.random. "JAX, by hand" has the seeds on the last axis, layers written out as sums, xorshift words
for random numbers, and carts that wait for no other. Seeds a second: steps a second by the steps of the whole task."""


class RivalError(SubsongError):
    """A rival's program failed."""


@dataclass(frozen=True)
class Task:
    """A learning task, for Subsong and its rivals.

    Attributes:
        name: as printed.
        experiment: of Subsong's side; its seed is replaced.
        trials: of the whole task.
        x, y: patterns of 0 and 1, [patterns, inputs], and their targets; empty for CartPole.
        block: on-board task that takes the place of the experiment's own; none: it has one.
        count: what one count of cost is.
    """

    name: str
    experiment: Experiment
    trials: int
    x: np.ndarray
    y: np.ndarray
    block: bytes
    count: float

    @property
    def weights(self) -> int:
        """Weights, biases included."""
        layers = self.experiment.network.layers
        return sum((n + 1) * m for n, m in pairwise(layers))

    def problem(self) -> dict[str, Any]:
        """Return the task in real units, as rivals/problem.py has it, without its patterns."""
        network, learner, run = self.experiment.network, self.experiment.learner, self.experiment.run
        ranges = getattr(self.experiment.plant, "sensor_range", None) or ()
        return {
            "name": self.name,
            "rule": learner.rule,
            "estimator": learner.estimator,
            "layers": network.layers,
            "activations": network.activations,
            "amplitude": learner.amplitude or 0.0,
            "eta": learner.rate * 2.0 ** -(learner.rate_shift + network.weight_frac) / self.count,
            "baseline": 2.0**-learner.baseline_shift,
            "init": network.init,
            "trials": self.trials,
            "ranges": [high for _low, high in ranges],
            "shown": 1 if run.steps == 1 else len(self.x),
            "stride": getattr(self.experiment.plant, "stride", 1),
        }


def _example(name: str, rule: str) -> Experiment:
    return example(name, rule, 1)


def xor(rule: str, trials: int) -> Task:
    """Return exclusive-or, as the example has it."""
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    return Task("XOR", _example("xor", rule), trials, x, x.sum(1, keepdims=True) % 2, b"", 2.0**-24)


def cartpole(rule: str, trials: int) -> Task:
    """Return CartPole, as the example has it."""
    return Task("CartPole", _example("cartpole", rule), trials, np.empty((0, 4)), np.empty((0, 1)), b"", 1.0)


@cache
def _images() -> np.ndarray:
    """Return the pixels of all letters, 0 or 1, as the board draws them."""
    task = make_buffer(build_block(parse_experiment(example_text("letters"), "letters")).task, "H", "cpython")
    sense = loader.load("subsong_device.kernels.tasks.letters", ("letters_sense",), "cpython").letters_sense
    words = [0] * 49
    images = []
    for image in range(layout.LETTERS_IMAGES):
        task[layout.TASK_NEXT] = image
        sense(task, words)
        images.append([word > 0 for word in words])
    return np.array(images)


def _letters(rule: str, trials: int) -> Task:
    experiment = parse_experiment(_with(example_text("letters"), LETTERS[rule]), "letters")
    letters = np.repeat(np.eye(4), layout.LETTERS_IMAGES // 4, axis=0)
    return Task("letters", experiment, trials, _images(), letters, b"", 2.0**-20)


# Settings of the letters for a rule that the shipped example has none for.
LETTERS = {
    "node_perturbation": {},
    "weight_perturbation": {"rule": '"weight_perturbation"', "amplitude": "0.02", "rate_shift": "9"},
}
LARGE = {
    "weight_perturbation": ("two_sided", "amplitude = 0.01", 19),
    "node_perturbation": ("running_baseline", "amplitude = 0.1", 21),
    "reinforce": ("running_baseline", "", 21),
}
PATTERNS = 10


def _with(text: str, settings: dict[str, str]) -> str:
    lines = []
    for line in text.splitlines():
        key = line.partition(" = ")[0]
        lines.append(f"{key} = {settings[key]}" if key in settings else line)
    return "\n".join(lines)


def _large(rule: str, trials: int) -> Task:
    """784-64-10 and ten images at random, each of a class of its own: no shipped task has this shape.

    The link's frames have no room for this network, so its layers come in once the file is read.
    """
    estimator, amplitude, shift = LARGE[rule]
    text = f"""
[network]
layers = [2, 2, 2]
activations = ["tanh", "logistic"]
init = 0.1
[learner]
rule = "{rule}"
estimator = "{estimator}"
{amplitude}
rate = 1
rate_shift = {shift}
[plant]
kind = "gymnasium"
id = "None-v0"
[run]
trials = 2
steps = {PATTERNS}
"""
    experiment = parse_experiment(text, "784-64-10")
    network = experiment.network.model_copy(update={"layers": (784, 64, 10)})
    experiment = experiment.model_copy(update={"network": network})
    x = np.random.default_rng(1).random((PATTERNS, 784)) < 0.2
    y = np.eye(PATTERNS)
    # An error's LSB is 2**-11: a trial's cost is at most 100, 2**28 counts.
    header = [layout.PATTERNS, 784, PATTERNS, 4, 0, 0, 0, 0, PATTERNS]
    words = np.concatenate([header, (np.concatenate([x, y], axis=1) * 32767).ravel()]).astype("<u2")
    return Task("784-64-10", experiment, trials, x, y, words.tobytes(), 2.0**-22)


def tasks() -> list[Task]:
    """Return what is learned; so many trials that costs have fallen well."""
    return [
        xor("weight_perturbation", 4000),
        xor("node_perturbation", 4000),
        cartpole("weight_perturbation", 200),
        cartpole("node_perturbation", 1000),
        _letters("weight_perturbation", 20000),
        _letters("node_perturbation", 20000),
        _large("weight_perturbation", 1000),
        _large("node_perturbation", 1000),
        _large("reinforce", 1000),
    ]


@dataclass(frozen=True)
class Answer:
    """How fast a task is learned.

    Attributes:
        seeds: side by side.
        steps_per_s: learning steps, of all seeds.
        seeds_per_s: whole tasks.
        before, after: mean costs of an output; on CartPole minus the length of trials.
        versions: of what was timed.
    """

    seeds: int
    steps_per_s: float
    seeds_per_s: float
    before: float
    after: float
    versions: str


def ask(rival: str, task: Task, seeds: Sequence[int], learn: int, seconds: float) -> Answer | None:
    """Have a rival learn a task in a process of its own; None where its framework is not installed.

    Args:
        rival: its program.
        task: to be learned.
        seeds: how many side by side, tried in turn.
        learn: seeds of the run that shows that it learns.
        seconds: a timing.
    """
    python = PYTHON if PYTHON.exists() else Path(sys.executable)
    framework = rival.partition("_")[0]
    if subprocess.run([python, "-c", f"import {framework}"], capture_output=True, check=False).returncode:
        return None
    with tempfile.TemporaryDirectory(prefix="subsong-rival-") as folder:
        data = Path(folder, "patterns.npz")
        np.savez(data, x=task.x.astype(np.float32), y=task.y.astype(np.float32))
        question = {"problem": task.problem(), "data": str(data), "seeds": seeds, "learn": learn, "seconds": seconds}
        done = subprocess.run(
            [python, HERE / f"{rival}.py"], input=json.dumps(question), capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise RivalError(f"{rival}, {task.name}: {done.stderr.strip() or 'it ended without a word'}")
    answer = json.loads(done.stdout)
    return Answer(**{key: answer[key] for key in Answer.__dataclass_fields__})


def _batch(task: Task, seeds: int, trials: int) -> Any:
    """Return a batch of runs of a task, compiled."""
    from subsong_sim.batch import NEVER, PLAN, Batch
    from subsong_sim.lanes import compile_lanes

    blocks = [build_block(task.experiment.model_copy(update={"seed": seed})) for seed in range(1, seeds + 1)]
    heads = np.array([np.frombuffer(block.head, "<i4") for block in blocks], np.int32)
    mems = np.array([np.frombuffer(block.mem, "<u2") for block in blocks], np.uint16)
    words = [task.block or block.task for block in blocks]
    boards = np.array([np.frombuffer(each, "<u2") for each in words], np.uint16) if words[0] else None
    pair = 1 if task.experiment.learner.estimator == "running_baseline" else 2
    run = task.experiment.run
    episodes = 512 if run.steps == 1 else 1
    plan = np.array([(trials, 0, episodes, pair, NEVER, run.steps, run.steps)] * seeds, PLAN)
    code = compile_lanes(blocks[0].rule, heads, mems, boards)
    ends = task.experiment.network.layers[0], task.experiment.network.layers[-1]
    return Batch(code, heads, mems, boards, ends, plan, None if boards is not None else _plants(task, seeds))


def _plants(task: Task, seeds: int) -> Any:
    from subsong_sim.batch import Plants
    from subsong_sim.plants import make_plant

    plant: Any = make_plant(task.experiment.plant_spec(), compiled=True)

    def resets(run: int, first: int, last: int) -> Any:
        return (np.arange(first, last) * seeds + run).astype(np.uint32)

    tests = np.zeros((seeds, 1), np.uint32)
    return Plants([plant] * seeds, tests, resets)


def _learned(task: Task, seeds: int, trials: int) -> tuple[float, int, float, float]:
    """Run so many trials of every seed; return seconds, learning steps, and the costs before and after."""
    batch = _batch(task, seeds, trials)
    kept, took = [], 0.0
    began = time.perf_counter()
    for left in batch.run():
        took += time.perf_counter() - began
        kept.append(left[..., :2].reshape(-1, left.shape[2], 2)[:seeds].copy())
        began = time.perf_counter()
    took += time.perf_counter() - began
    ends = np.concatenate(kept, axis=1)
    steps = ends[:, :, 0].astype(np.int64)
    if not len(task.x):
        few = max(2, trials // 10)
        return took, int(steps.sum()), -float(steps[:, :2].mean()), -float(steps[:, -few:].mean())
    outputs = task.y.shape[1]
    before = ends[:, :2, 1].mean() * task.count / (int(steps[0, 0]) * outputs)
    shown = 512 if task.experiment.run.steps == 1 else task.experiment.run.steps
    return took, int(steps.sum()), float(before), float(batch.totals[:, 0].mean()) * task.count / (shown * outputs)


def ours(task: Task, seeds: Sequence[int], learn: int, seconds: float) -> Answer:
    """Learn a task with Subsong's batch on all cores; arguments as of `ask`."""
    _learned(task, seeds[0], 2)  # compiles
    took, steps, before, after = _learned(task, learn, task.trials)
    task_steps = steps / learn
    best: tuple[float, int] = 0.0, 0
    for n in seeds:
        trials = max(2, min(task.trials, int(task.trials * seconds / 2 * learn / (took * n)))) // 2 * 2
        for _ in range(3):
            spent, done, _before, _after = _learned(task, n, trials)
            best = max(best, (done / spent, n))
    speed, n = best
    return Answer(n, speed, speed / task_steps, before, after, f"Numba {numba.__version__}")


def measure(task: Task) -> dict[str, Answer | None]:
    """Return how fast Subsong and each of its rivals learn a task."""
    small = task.weights <= SMALL
    seconds = 0.5 if QUICK else 3.0
    mine, theirs = ((256, 2048), (256, 2048, 16384)) if small else ((32, 64), (1, 4, 16, 64))
    if QUICK:
        mine, theirs = mine[1:], theirs[-2:]
    learn = 64 if small else 16
    answers: dict[str, Answer | None] = {"Subsong": ours(task, mine, learn, seconds)}
    for rival, name in RIVALS.items():
        answers[name] = ask(rival, task, theirs, learn, seconds)
    again = ours(task, mine, learn, seconds)
    answers["Subsong"] = max((answers["Subsong"] or again, again), key=lambda answer: answer.steps_per_s)
    return answers


def learns(answer: Answer, reference: Answer) -> bool:
    """Return whether the cost has fallen by at least half of what the reference's has."""
    return answer.before - answer.after >= (reference.before - reference.after) / 2


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def section() -> Iterator[str]:
    """Yield the lines of the tables: speed, then the costs that say that all of them learn."""
    yield ABOUT
    names = list(RIVALS.values())
    headers = [
        "task, rule",
        "weights",
        "Subsong",
        *names,
        "Subsong, seeds/s",
        "best rival's",
        "ratio to it",
        "to JAX, vmap",
    ]
    costs = [f"| {' | '.join(['task, rule', 'trials', 'at first', 'Subsong', *names])} |"]
    costs.append("|---" * (4 + len(names)) + "|")
    versions: dict[str, str] = {}
    least: dict[tuple[bool, str], tuple[float, str]] = {}
    yield ""
    yield f"| {' | '.join(headers)} |"
    yield "|---" * len(headers) + "|"
    for task in tasks()[:: 4 if QUICK else 1]:
        answers = measure(task)
        reference = answers["Subsong"]
        assert reference is not None
        rivals = {name: answer for name, answer in answers.items() if answer and name != "Subsong"}
        versions |= {answer.versions: "" for answer in rivals.values()}
        valid = [answer for answer in rivals.values() if learns(answer, reference)]
        title = f"{task.name}, {task.experiment.learner.rule.replace('_', ' ')}"
        cells = [title, str(task.weights), _number(reference.steps_per_s)]
        for name in names:
            answer = answers[name]
            if answer is None:
                cells.append("not installed: make bench-rivals")
            else:
                cells.append(_number(answer.steps_per_s) if answer in valid else "does not learn")
        best = max(valid, key=lambda answer: answer.steps_per_s, default=None)
        cells += [_number(reference.seeds_per_s), _number(best.seeds_per_s) if best else "-"]
        plain = answers["JAX, vmap"] if answers["JAX, vmap"] in valid else None
        cells += [_number(reference.steps_per_s / each.steps_per_s) if each else "-" for each in (best, plain)]
        for against, each in (("the best", best), ("JAX, vmap", plain)):
            if each:
                ratio = reference.steps_per_s / each.steps_per_s, title
                key = task.weights <= SMALL, against
                least[key] = min(least.get(key, ratio), ratio)
        yield f"| {' | '.join(cells)} |"
        after = [f"{answer.after:.4g}" if answer else "-" for answer in (answers[name] for name in names)]
        first = f"{reference.before:.4g}"
        costs.append(f"| {' | '.join([title, str(task.trials), first, f'{reference.after:.4g}', *after])} |")
    yield ""
    yield "Mean cost of an output after the whole task (of CartPole: minus the length of trials), mean of all seeds:"
    yield ""
    yield from costs
    yield ""
    for (small, against), (ratio, title) in least.items():
        size = f"up to {SMALL:,} weights" if small else "larger ones"
        met = "met" if ratio >= AIMS[small] else "MISSED"
        yield f"- {size}, against {against}: at least {ratio:.2f} times ({title}); the aim, {AIMS[small]}, is {met}"
    yield ""
    yield f"{', '.join(versions)}; Numba {numba.__version__}; {os.cpu_count()} cores"


if __name__ == "__main__":
    try:
        for line in section():
            print(line, flush=True)
    except SubsongError as e:
        sys.exit(f"rivals: {e}")
