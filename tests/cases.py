"""Experiments as tests drive them: build a block, play trials on any engine, name the first difference."""

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import NamedTuple

from oracle import Oracle
from subsong.block import ESTIMATORS as ESTIMATOR_NUMBERS
from subsong.block import Block, build_block
from subsong.experiment import parse_experiment
from subsong.rules import BY_NAME, OPTIONS, STATELESS, WEIGHT
from subsong_device import frames, layout
from subsong_sim.engines import LocalLearner
from subsong_sim.learner import Learner

RULES = frames.RULES
# The two from which the others are made: what takes long plays these alone.
FIRST = RULES[:2]
ESTIMATORS = tuple(ESTIMATOR_NUMBERS)
# Every rule with every estimator that it takes.
COMBINATIONS = tuple((rule, estimator) for rule in RULES for estimator in BY_NAME[rule].estimators)
ACTIVATIONS = STATELESS
COST_LIMIT = 2**28
_WORDS = list(vars(layout))
# head's scalars by index, for messages: layout.py names them first; those behind OWN have a name for each rule.
NAMES = {getattr(layout, name): name for name in _WORDS[_WORDS.index("COST") : _WORDS.index("OWN")]}


@dataclass(frozen=True)
class Setup:
    """What a block is built from, in the block's own integers.

    Attributes:
        amplitude: weight LSBs or drive LSBs.
        init: initial weights are uniform in +-init LSBs.
        recurrent: one a layer; none: no layer is.
        bias: one a layer; none: every layer has one.
        options: the rule's own numbers, by key of [learner]; of a choice among texts, its number.
        steps: of a trial, at most: what an eligibility must have room for; 0: as many as the rule takes.
        spread_shift: of the cost difference's spread; 0: it is taken as it is.
        head: scalars to overwrite, by index.
        weights: weights to overwrite, from the first on.
    """

    rule: str = "weight_perturbation"
    estimator: str = "two_sided"
    layers: tuple[int, ...] = (2, 1)
    activations: tuple[str, ...] = ("identity",)
    weight_frac: int = 11
    amplitude: int = 200
    rate: int = 1
    rate_shift: int = 4
    baseline_shift: int = 3
    rounding: str = "stochastic"
    init: int = 1000
    seed: int = 1
    head: Mapping[int, int] = field(default_factory=dict)
    weights: tuple[int, ...] = ()
    recurrent: tuple[bool, ...] = ()
    bias: tuple[bool, ...] = ()
    options: Mapping[str, int] = field(default_factory=dict)
    steps: int = 0
    spread_shift: int = 0

    @property
    def n_weights(self) -> int:
        """Weights and biases."""
        own = self.recurrent or (False,) * (len(self.layers) - 1)
        shapes = zip(pairwise(self.layers), own, strict=True)
        return sum((n_in + n_out * again + 1) * n_out for (n_in, n_out), again in shapes)

    @property
    def limit(self) -> int:
        """The largest weight, as docs/arithmetic.md has it."""
        return 32767 - (self.amplitude if BY_NAME[self.rule].perturbs == WEIGHT else 0)

    def toml(self, task: str = "") -> str:
        """Return the experiment file, of a task or of a plant that nobody makes."""
        plant = f'kind = "task"\nname = "{task}"' if task else 'kind = "gymnasium"\nid = "None-v0"'
        rule = BY_NAME[self.rule]
        keys = {key: _as_the_file_has_it(key, value) for key, value in self.options.items()}
        if rule.perturbs:
            keys["amplitude"] = repr(self.amplitude / 2 ** rule.amplitude_frac(self.weight_frac))
        if rule.rated:
            keys |= {"rate": str(self.rate), "rate_shift": str(self.rate_shift)}
            keys["spread_shift"] = str(self.spread_shift)
        own = "\n".join(f"{key} = {value}" for key, value in keys.items())
        return f"""
seed = {self.seed}
[network]
layers = {list(self.layers)}
activations = [{", ".join(f'"{a}"' for a in self.activations)}]
recurrent = [{", ".join(str(each).lower() for each in self.recurrent)}]
bias = [{", ".join(str(each).lower() for each in self.bias)}]
weight_frac = {self.weight_frac}
init = {self.init / 2**self.weight_frac!r}
[learner]
rule = "{self.rule}"
estimator = "{self.estimator}"
baseline_shift = {self.baseline_shift}
rounding = "{self.rounding}"
{own}
[plant]
{plant}
[run]
trials = 1
steps = {self.steps or rule.most_steps}
"""

    def block(self) -> Block:
        """Build the block as the host does, then overwrite what `head` and `weights` say."""
        built = build_block(parse_experiment(self.toml(), "setup"))
        head, mem = head_words(built.head), mem_words(built.mem)
        for at, value in self.head.items():
            head[at] = value
        mem[: len(self.weights)] = [w & 0xFFFF for w in self.weights]
        return replace(built, head=struct.pack(f"<{len(head)}i", *head), mem=struct.pack(f"<{len(mem)}H", *mem))


def _as_the_file_has_it(key: str, value: int) -> str:
    option, _ = OPTIONS[key]
    return f'"{option.choices[value - option.low]}"' if option.choices else str(value)


def suited(setup: Setup) -> Setup:
    """Return a set-up with what its rule has in place of what it has not: estimator, units, recurrence."""
    rule = BY_NAME[setup.rule]
    allowed = rule.activations
    names = tuple(name if name in allowed else allowed[0] for name in setup.activations)
    if rule.spiking:
        names = ("integrate_fire", *names[1:])
    return replace(
        setup,
        estimator=setup.estimator if setup.estimator in rule.estimators else rule.estimators[0],
        activations=names,
        recurrent=() if rule.name == "songbird" else setup.recurrent,
        amplitude=min(setup.amplitude, rule.amplitude),
    )


def head_words(head: bytes) -> list[int]:
    """Return the int32 words of head."""
    return list(struct.unpack(f"<{len(head) // 4}i", head))


def mem_words(mem: bytes) -> list[int]:
    """Return the 16-bit words of mem, 0..65535."""
    return list(struct.unpack(f"<{len(mem) // 2}H", mem))


def weights_of(head: bytes, mem: bytes) -> list[int]:
    """Return the signed weights."""
    n = head_words(head)[layout.N_WEIGHTS]
    return list(struct.unpack(f"<{n}h", mem[: 2 * n]))


def ends_of(head: bytes) -> tuple[int, int]:
    """Return how many sensor words and actuator words a block takes."""
    h = head_words(head)
    last = layout.LAYERS_AT + (h[layout.N_LAYERS] - 1) * layout.LAYER_WORDS
    return h[layout.LAYERS_AT + layout.N_IN] - h[layout.LAYERS_AT + layout.RECURRENT], h[last + layout.N_OUT]


# ------------------------------------------------------------------------------------------------- playing


class Step(NamedTuple):
    """What act() is given."""

    cost: int
    x: tuple[int, ...]


class Trial(NamedTuple):
    """What one trial is given."""

    evaluate: bool
    steps: tuple[Step, ...]
    last_cost: int


class Case(NamedTuple):
    """A block, and trials to play on it."""

    rule: str
    head: bytes
    mem: bytes
    trials: tuple[Trial, ...]

    def __repr__(self) -> str:
        return f"<{self.rule}, {len(self.trials)} trials>"  # hypothesis prints the set-up beside it


class Answer(NamedTuple):
    """What one trial did: every actuator word, and the whole state after it."""

    u: list[list[int]]
    head: bytes
    mem: bytes


Engine = Callable[[Case], list[Answer]]


def case_of(setup: Setup, trials: Sequence[Trial]) -> Case:
    """Return the case of a set-up."""
    block = setup.block()
    return Case(block.rule, block.head, block.mem, tuple(trials))


def play(learner: Learner, trials: Sequence[Trial]) -> list[Answer]:
    """Play trials on a learner."""
    answers = []
    for n, trial in enumerate(trials):
        learner.begin(n, trial.evaluate)
        u = [list(learner.act(step.cost, step.x)) for step in trial.steps]
        summary = learner.end(trial.last_cost)
        head, mem = learner.state()
        h = head_words(head)
        told = (summary.trial, summary.evaluate, summary.dropped)
        assert told == (n, trial.evaluate, 0)
        told_words = (summary.steps, summary.total, summary.baseline, summary.checksum, summary.saturated)
        assert list(told_words) == h[layout.STEPS : layout.SATURATED + 1]
        answers.append(Answer(u, head, mem))
    return answers


def oracle_engine(case: Case) -> list[Answer]:
    """The reference."""
    return play(Oracle.of(case.rule, case.head, case.mem), case.trials)


def local_engine(name: str) -> Engine:
    """An engine of this computer: "native", "numba" or "cpython" executes the kernels."""

    def engine(case: Case) -> list[Answer]:
        return play(LocalLearner(case.rule, case.head, case.mem, name), case.trials)

    return engine


cpython_engine = local_engine("cpython")


# ------------------------------------------------------------------------------------------------- comparing


def first_difference(expected: Sequence[Answer], got: Sequence[Answer]) -> str | None:
    """Name the first word in which two engines differ: trial, where, both values; None if they are equal."""
    assert len(expected) == len(got)
    for trial, (a, b) in enumerate(zip(expected, got, strict=True)):
        for step, (u, v) in enumerate(zip(a.u, b.u, strict=True)):
            for i, (p, q) in enumerate(zip(u, v, strict=True)):
                if p != q:
                    return f"trial {trial}, step {step}, u[{i}]: expected {p}, got {q}"
        words = [
            *(("head", i, p) for i, p in enumerate(head_words(a.head))),
            *(("mem", i, p) for i, p in enumerate(mem_words(a.mem))),
        ]
        others = [*head_words(b.head), *mem_words(b.mem)]
        differences = [(buffer, i, p, q) for (buffer, i, p), q in zip(words, others, strict=True) if p != q]
        # CHECK differs wherever anything does: it comes last.
        for buffer, i, p, q in sorted(differences, key=lambda d: d[:2] == ("head", layout.CHECK)):
            name = f" ({NAMES[i]})" if buffer == "head" and i in NAMES else ""
            return f"trial {trial}, after end, {buffer}[{i}]{name}: expected {p}, got {q}"
    return None


def assert_equal(case: Case, expected: Sequence[Answer], got: Sequence[Answer]) -> None:
    """Fail with the first difference."""
    difference = first_difference(expected, got)
    assert difference is None, f"{case.rule}: {difference}"
