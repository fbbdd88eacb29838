"""Writes known_answers.bin: what every tier of kernels has to compute on a board before it is used there.

The cases are chosen so that a kernel with anything wrong in it gives another answer (tests/test_known_answers.py counts
what they miss). The answers come from the kernels under CPython, which the oracle checks.
"""

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from subsong.block import build_block
from subsong.experiment import parse_experiment
from subsong.rules import BY_NAME
from subsong_device import answers, layout
from subsong_device.frames import RULES


@dataclass(frozen=True)
class KnownTrial:
    """A trial: sensors are words times 2**x_scale, costs `cost` plus a word times 2**cost_scale.

    Of a task, `evaluate` is 2 for the second trial of a pair, and `x_scale` is the actuator words'.
    """

    evaluate: int = 0
    steps: int = 2
    x_scale: int = 0
    cost_scale: int = 4
    cost: int = 0


@dataclass(frozen=True)
class KnownLearner:
    """A learner's case, in the terms of the experiment file; `scale`: of its weights, words times 2**scale."""

    rule: str
    estimator: str
    layers: tuple[int, ...]
    activations: tuple[str, ...]
    trials: tuple[KnownTrial, ...]
    weight_frac: int = 11
    amplitude: int = 100
    rate: int = 3000
    rate_shift: int = 20
    baseline_shift: int = 3
    rounding: str = "stochastic"
    scale: int = -3
    seed: int = 1
    recurrent: tuple[bool, ...] = ()
    options: Mapping[str, object] = field(default_factory=dict)

    def toml(self) -> str:
        """Return the experiment file."""
        frac = BY_NAME[self.rule].amplitude_frac(self.weight_frac)
        numbers: dict[str, object] = {}
        if BY_NAME[self.rule].rated:
            numbers = {"rate": self.rate, "rate_shift": self.rate_shift}
        if BY_NAME[self.rule].perturbs:
            numbers["amplitude"] = repr(self.amplitude / 2**frac)
        options = "\n".join(f"{key} = {value}" for key, value in (numbers | dict(self.options)).items())
        return f"""
seed = {self.seed}
[network]
layers = {list(self.layers)}
activations = [{", ".join(f'"{a}"' for a in self.activations)}]
recurrent = [{", ".join(str(each).lower() for each in self.recurrent)}]
weight_frac = {self.weight_frac}
[learner]
rule = "{self.rule}"
estimator = "{self.estimator}"
baseline_shift = {self.baseline_shift}
rounding = "{self.rounding}"
{options}
[plant]
kind = "gymnasium"
id = "None-v0"
[run]
trials = 1
steps = {min(max(trial.steps for trial in self.trials), BY_NAME[self.rule].most_steps)}
"""

    def setup(self) -> bytes:
        """Return the case's bytes before its trials."""
        block = build_block(parse_experiment(self.toml(), "known answers"))
        head = struct.unpack(f"<{len(block.head) // 4}i", block.head)
        n_layers = len(self.layers) - 1
        rows = head[layout.LAYERS_AT : layout.LAYERS_AT + layout.LAYER_WORDS * n_layers]
        return (
            struct.pack(
                answers.CASE,
                RULES.index(self.rule),
                n_layers,
                len(self.trials),
                self.scale,
                len(head),
                len(block.mem) // 2,
                head[layout.PERTURBATION] or 1,
            )
            + struct.pack(f"<{answers.SCALARS}H", *head[layout.ESTIMATOR : layout.ANNEAL])
            + bytes(rows)
        )


@dataclass(frozen=True)
class KnownTask:
    """An on-board task's case: its layers' ends, and its table [plant] of the experiment file."""

    name: str
    n_in: int
    n_out: int
    trials: tuple[KnownTrial, ...]
    plant: str = ""
    activation: str = "identity"
    steps: int = 4
    seed: int = 1

    def toml(self) -> str:
        """Return the experiment file."""
        return f"""
seed = {self.seed}
[network]
layers = [{self.n_in}, {self.n_out}]
activations = ["{self.activation}"]
[learner]
rule = "weight_perturbation"
amplitude = 0.1
rate = 1
rate_shift = 1
[plant]
kind = "task"
name = "{self.name}"
{self.plant}
[run]
trials = 1
steps = {self.steps}
"""

    def setup(self) -> bytes:
        """Return the case's bytes before its trials."""
        block = build_block(parse_experiment(self.toml(), "known answers")).task
        return struct.pack(answers.CASE, answers.TASKS, 0, len(self.trials), 0, len(block) // 2, 0, self.seed) + block


_T = KnownTrial
_SIX = (_T(), _T(cost=9000), _T(evaluate=1), _T(cost=-70000, steps=1), _T(cost_scale=6), _T(x_scale=1))
# Costs that saturate a trial's total, on both sides.
_HUGE = (
    _T(cost=1 << 27, steps=3, cost_scale=8),
    _T(cost=-(1 << 27), steps=3, cost_scale=8),
    _T(cost=1 << 27, steps=3, cost_scale=8),
    _T(cost=-(1 << 28), steps=1),
)
_LARGE = tuple(_T(cost_scale=scale, steps=1) for scale in (6, 8, 5, 7, 9, 6, 8, 10))
_SMALL = tuple(_T(cost_scale=scale, steps=1) for scale in (-14, -9, -15, -8, -7, -10, -6, -13))
_MIDDLE = tuple(_T(cost_scale=scale, steps=1) for scale in (-1, -2, 0, -1, -2, 0, -1, 0))
_PAIR = (_T(steps=5), _T(steps=4, cost=500))
_LONG = (*_PAIR, _T(evaluate=1, steps=3), _T(steps=3, cost=-9000), _T(cost_scale=6, steps=5))
_EVALUATIONS = (_T(evaluate=1, x_scale=-4), _T(evaluate=1, x_scale=-2))
_EXACT = (_T(evaluate=1, x_scale=-16, steps=1), _T(x_scale=-16, steps=1), _T(x_scale=-16, steps=1))


def _spread(shift: int) -> dict[str, object]:
    """Return the options of a normalised learner, whose rate falls by shift / 32 an update (answers.Learner)."""
    return {"spread_shift": shift}


def _perturbation(rule: str) -> tuple[KnownLearner, ...]:
    """Return the cases of the rules that the others are made from."""
    base = KnownLearner(rule, "running_baseline", (3, 4, 2), ("tanh", "identity"), _SIX)
    tiny = replace(base, layers=(2, 1), activations=("identity",))
    return (
        base,
        replace(base, estimator="unperturbed_trial", activations=("logistic", "hard_tanh"), rounding="nearest", seed=2),
        replace(base, estimator="two_sided", activations=("hard_tanh", "tanh"), seed=3),
        # More units than a word of signs has bits, just as many, and one weight more than that.
        replace(base, estimator="two_sided", layers=(2, 17, 1), activations=("hard_tanh", "logistic"), trials=_SIX[:4]),
        replace(base, layers=(1, 16, 1), activations=("tanh", "identity"), trials=_SIX[:3], seed=4),
        replace(base, layers=(16, 1), activations=("tanh",), trials=_SIX[:4], seed=5),
        # A layer that hears itself, beside one that does not.
        replace(base, estimator="two_sided", recurrent=(True, False), trials=_LONG[:4], seed=15),
        # Drives on the very edge of the activation and of their format.
        replace(base, layers=(2, 5, 3), activations=("hard_tanh", "identity"), scale=11, trials=_EXACT, seed=6),
        replace(base, layers=(2, 5), activations=("identity",), scale=14, trials=_EXACT, seed=7),
        # Weights at their limits, steps of the greatest size and of the least.
        replace(tiny, scale=4, amplitude=1, rate=16383, rate_shift=0, trials=_HUGE, weight_frac=8, seed=8),
        replace(tiny, scale=1, rate=1, rate_shift=29, estimator="two_sided", trials=_HUGE, weight_frac=14, seed=9),
        replace(tiny, rate=16383, rate_shift=24, trials=_LARGE, seed=10),
        replace(tiny, rate=9999, rate_shift=25, estimator="two_sided", rounding="nearest", trials=_LARGE, seed=11),
        replace(tiny, rate=16383, rate_shift=29, estimator="two_sided", trials=_MIDDLE, seed=12),
        replace(tiny, rate=161, rate_shift=17, baseline_shift=15, trials=_SMALL, seed=13),
        replace(tiny, rate=16001, rate_shift=22, estimator="unperturbed_trial", trials=_SMALL, seed=14),
        # Spreads of less than a count and of as many as there may be; the rate falls as far as it may.
        replace(tiny, options=_spread(15), rate_shift=9, trials=_SMALL + _HUGE, seed=50),
        replace(tiny, options=_spread(1), rate_shift=9, trials=_HUGE + _MIDDLE, estimator="two_sided", seed=51),
    )


def _each_step(rule: str) -> tuple[KnownLearner, ...]:
    """Return the cases of a rule that learns from the costs of single steps."""
    base = KnownLearner(rule, "each_step", (2, 3, 2), ("tanh", "identity"), _LONG, recurrent=(False, True), seed=16)
    return (
        replace(base, options={"trace_shift": 2}),
        replace(base, options={"trace_shift": 0}, rounding="nearest", rate_shift=17, trials=_LONG[:3], seed=17),
        replace(base, options={"trace_shift": 1} | _spread(2), rate_shift=14, trials=_LONG[:3], seed=52),
    )


def _coded(rule: str) -> tuple[KnownLearner, ...]:
    """Return the cases of a rule's codes, and of updates that are gathered before the weights move."""
    base = KnownLearner(rule, "two_sided", (2, 3, 2), ("tanh", "identity"), _LONG, seed=30)
    walsh, one = '"walsh_hadamard"', '"one_at_a_time"'
    trials = tuple(_T(steps=1, cost_scale=scale) for scale in (4, 3, 5, 2, 4, 6, 3, 4))
    ever = replace(base, estimator="running_baseline", trials=trials + trials[::-1])
    return (
        # Rows that tell all signs of two words apart; every weight and every unit by itself, some at their limits.
        replace(ever, options={"code": walsh}, layers=(2, 17), activations=("hard_tanh",), trials=3 * trials, seed=37),
        replace(
            ever, options={"code": one}, scale=2, weight_frac=8, amplitude=4000, rate=16383, rate_shift=15, seed=38
        ),
        replace(ever, options={"tau": 2, "momentum_shift": 1}, rate=16383, rate_shift=0, trials=_HUGE + _HUGE, seed=39),
        replace(base, options={"code": walsh}, layers=(2, 17, 1), trials=trials),
        replace(base, options={"code": one}, estimator="running_baseline", layers=(1, 1), activations=("tanh",)),
        replace(base, options={"code": one, "tau": 2}, estimator="unperturbed_trial", trials=trials, seed=31),
        replace(base, options={"tau": 2, "momentum_shift": 1}, estimator="running_baseline", trials=_SIX, seed=32),
        replace(base, options={"code": walsh, "momentum_shift": 3}, rounding="nearest", layers=(2, 17, 1), seed=33),
        replace(base, options={"tau": 2}, rate=16383, rate_shift=0, trials=_HUGE, amplitude=1, weight_frac=8, seed=34),
        replace(base, options={"tau": 2}, rate=3, rate_shift=29, trials=trials, seed=35),
    )


def _others(rule: str) -> tuple[KnownLearner, ...]:
    """Return a few cases of any rule, one for each of its estimators and one of two layers that hear themselves."""
    first, *rest = BY_NAME[rule].estimators
    allowed = BY_NAME[rule].activations

    def kinds(*wanted: str) -> tuple[str, ...]:
        return tuple(kind if kind in allowed else allowed[0] for kind in wanted)

    own = {BY_NAME[rule].strength: 1 << 13} if BY_NAME[rule].strength else {}  # of what answers.Learner draws
    base = KnownLearner(
        rule, first, (3, 4, 2), kinds("tanh", "identity"), _LONG, recurrent=(True, False), options=own, seed=18
    )
    return (
        base,
        *(
            replace(base, estimator=estimator, activations=kinds("hard_tanh", "logistic"), recurrent=(), seed=19 + k)
            for k, estimator in enumerate(rest)
        ),
        replace(base, layers=(2, 17, 1), recurrent=(True, True), rounding="nearest", trials=_LONG[:3], seed=29),
        *(
            [replace(base, options=own | _spread(2), rate_shift=14, trials=_LONG[:4], seed=53)]
            if BY_NAME[rule].rated
            else []
        ),
    )


def _spiking(rule: str) -> tuple[KnownLearner, ...]:
    """Return the cases of a rule with integrate-and-fire units, with weights large enough for them to fire."""
    song = rule == "songbird"
    own = {"lman_shift": 1} if song else {"tick_shift": 2}
    base = KnownLearner(
        rule,
        "each_step",
        (3, 17, 2),
        ("integrate_fire", "identity" if song else "integrate_fire"),
        _LONG,
        amplitude=8000,
        scale=0,
        recurrent=() if song else (True, False),
        options={**own, "trace_shift": 2, "leak_shift": 2, "synapse_shift": 2},
        seed=36,
    )
    return (
        base,
        replace(base, estimator="two_sided", layers=(2, 3, 1), options={**own, "spike_shift": 1, "refractory": 0}),
        replace(base, estimator="running_baseline", layers=(2, 3), activations=base.activations[:1], recurrent=()),
        replace(base, estimator="unperturbed_trial", options={"leak_shift": 1}, rounding="nearest", trials=_LONG[:4]),
        replace(base, options=dict(base.options) | _spread(2), rate_shift=14, trials=_LONG[:4], seed=53),
    )


def _tasks() -> tuple[KnownTask, ...]:
    """Return a case or two of every kind of task."""
    pairs = (_T(steps=3), _T(evaluate=2, steps=3, x_scale=1), *_EVALUATIONS, _T(), _T(evaluate=2, x_scale=-3))
    flips = tuple(_T(steps=3, x_scale=-n) for n in range(4))
    song = (_T(steps=20), _T(evaluate=2, steps=20, x_scale=-1), _T(evaluate=1, steps=12))
    spells = (_T(steps=7), _T(evaluate=2, steps=8), _T(evaluate=1, steps=12), _T(steps=9), _T(evaluate=2, steps=10))
    return (
        KnownTask("xor", 2, 1, pairs, activation="logistic"),
        KnownTask("parity", 2, 1, pairs[:3], steps=1, seed=2),
        KnownTask("linear_teacher", 3, 2, pairs, "noise = 0.05", seed=3),
        KnownTask("linear_teacher", 17, 1, pairs[:3], 'inputs = "signs"\ndeviation = 1.0\ncost_shift = 3', seed=4),
        KnownTask("letters", 49, 4, flips, activation="logistic", seed=5),
        KnownTask("letters", 49, 4, flips[:2], seed=12),
        KnownTask("extended", 2, 2, pairs, "latent = 2", steps=3, seed=6),
        KnownTask("lqr", 3, 3, pairs, "start = 3.0", seed=7),
        KnownTask("lqr", 1, 1, (_T(steps=20), *pairs[1:4]), "noise = 31.0\ncoupling = 0.0\nq = 1.0", seed=8),
        KnownTask("delayed_match", 3, 1, spells, activation="logistic", steps=12, seed=9),
        KnownTask("sequence", 2, 1, spells, "cue_steps = 2\nlength = 3", steps=5, seed=10),
        KnownTask("song", 30, 2, song, steps=130, seed=11),
    )


CASES: tuple[KnownLearner | KnownTask, ...] = (
    *_perturbation(RULES[0]),
    *_perturbation(RULES[1]),
    *_each_step(RULES[1]),
    *_coded(RULES[0]),
    *_coded(RULES[1]),
    *(case for rule in RULES[2:] for case in (_spiking if BY_NAME[rule].spiking else _others)(rule)),
    *_tasks(),
)


def tanh_half() -> bytes:
    """Return tanh of 1/16 to 128/16, 16-bit words of 1 LSB = 1/32767."""
    return struct.pack("<128H", *(round(32767 * math.tanh(i / 16)) for i in range(1, 129)))


def with_answers(cases: Sequence[KnownLearner | KnownTask], computed: list[int]) -> bytes:
    """Return the file, given the answer of every trial."""
    left = iter(computed)
    parts = [tanh_half()]
    for case in cases:
        parts.append(case.setup())
        parts += [
            struct.pack(answers.TRIAL, t.evaluate, t.steps, t.x_scale, t.cost_scale, t.cost, next(left))
            for t in case.trials
        ]
    return b"".join(parts)


def answers_of(cases: Sequence[KnownLearner | KnownTask]) -> bytes:
    """Return the file with these cases."""
    from subsong_sim.engines import learner_kernels, task_kernels

    blank = with_answers(cases, [0] * sum(len(case.trials) for case in cases))
    kernels = [(learner_kernels(rule, "cpython"), task_kernels("cpython")) for rule in RULES]
    computed = [got for _, _, got, _ in answers.play(blank, kernels.__getitem__)]  # type: ignore[no-untyped-call]
    return with_answers(cases, computed)


@cache
def known_answers() -> bytes:
    """Return known_answers.bin."""
    return answers_of(CASES)
