"""Every engine against the oracle: the whole state is equal after every trial, drawn or extreme."""

import hashlib
import json
import random
import struct
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from cases import (
    COMBINATIONS,
    COST_LIMIT,
    FIRST,
    RULES,
    Case,
    Engine,
    Setup,
    Step,
    Trial,
    assert_equal,
    case_of,
    first_difference,
    oracle_engine,
)
from golden_setups import VECTORS
from make_golden import FOLDER, row_of, trials_of
from oracle import Oracle
from subsong.block import build_block
from subsong.experiment import parse_experiment
from subsong.rules import BASELINES, BY_NAME, Rule
from subsong_device import layout
from subsong_sim.engines import buffer_bytes, make_buffer, task_kernels
from task_models import Model, model
from unicorn_engine import tasks_machine

WORDS = (-32768, -32767, -16384, -1, 0, 1, 16384, 32766, 32767)
COSTS = (
    -COST_LIMIT,
    -COST_LIMIT + 1,
    -65536,
    -32768,
    -32767,
    -1,
    0,
    1,
    32767,
    32768,
    65535,
    COST_LIMIT - 1,
    COST_LIMIT,
)


# ------------------------------------------------------------------------------------------------- drawn experiments


def edge_or(low: int, high: int, *more: int) -> st.SearchStrategy[int]:
    """Draw from low..high, its ends and `more` often."""
    return st.one_of(st.sampled_from((low, high, *more)), st.integers(low, high))


MOST_STEPS = 4  # of a drawn trial


@st.composite
def setups(draw: st.DrawFn, combinations: Sequence[tuple[str, str]] = COMBINATIONS) -> Setup:
    """Draw a set-up from everything that an experiment file admits, up to four layers."""
    n_layers = draw(st.integers(1, 4))
    size = edge_or(1, 20, 15, 16, 17)
    name, estimator = draw(st.sampled_from(combinations))
    rule = BY_NAME[name]
    setup = Setup(
        rule=name,
        estimator=estimator,
        layers=tuple(draw(st.lists(size, min_size=n_layers + 1, max_size=n_layers + 1))),
        activations=draw(activations(rule, n_layers)),
        weight_frac=draw(st.integers(8, 14)),
        amplitude=draw(edge_or(1, rule.amplitude)) if rule.perturbs else 0,
        rate=draw(edge_or(1, 16383)),
        rate_shift=draw(edge_or(0, 29)),
        baseline_shift=draw(edge_or(1, 15)),
        rounding=draw(st.sampled_from(("stochastic", "nearest"))),
        init=draw(edge_or(0, 32767)),
        seed=draw(edge_or(0, 2**32 - 1)),
        recurrent=draw(flags(n_layers)) if name != "songbird" else (),
        bias=draw(flags(n_layers)),
        options={key: draw(edge_or(option.low, HIGHEST.get(key, option.high))) for key, option in rule.options},
        steps=draw(st.sampled_from((0, min(MOST_STEPS, rule.most_steps)))),
        spread_shift=draw(st.sampled_from((0, 1, 5, 15))) if rule.rated else 0,
    )
    if draw(st.booleans()):
        limit = setup.limit
        rng = random.Random(draw(st.integers(0, 2**32)))
        extremes = (-limit, -limit + 1, -1, 0, 1, limit - 1, limit)
        setup = replace(setup, weights=tuple(rng.choice(extremes) for _ in range(setup.n_weights)))
    return replace(setup, head=draw(starts(setup)))


# Longer than this nothing new happens, but for what test_extremes.py plays.
HIGHEST = {"tick_shift": 3, "tau": 3, "refractory": 20}


def flags(n: int) -> st.SearchStrategy[tuple[bool, ...]]:
    """Draw what an experiment file says of each layer, or nothing."""
    return st.one_of(st.just(()), st.tuples(*[st.booleans()] * n))


def activations(rule: Rule, n: int) -> st.SearchStrategy[tuple[str, ...]]:
    """Draw the activations of n layers."""
    others = st.sampled_from([name for name in rule.activations if name != "integrate_fire"])
    if rule.name == "songbird":
        return st.tuples(st.just("integrate_fire"), *[others] * (n - 1))
    if rule.spiking:
        drawn = st.tuples(*[st.one_of(st.just("integrate_fire"), others)] * n)
        return drawn.map(lambda names: names if "integrate_fire" in names else ("integrate_fire", *names[1:]))
    return st.tuples(*[others] * n)


@st.composite
def starts(draw: st.DrawFn, setup: Setup) -> dict[int, int]:
    """Draw a learner's state as it may be after many trials, or none."""
    head = {}
    if setup.estimator in (*BASELINES, "best_so_far") and draw(st.booleans()):
        head |= {layout.STARTED: 1, layout.BASELINE: draw(edge_or(-COST_LIMIT, COST_LIMIT))}
    if layout.STARTED in head and setup.estimator != "best_so_far":
        head[layout.REMAINDER] = draw(edge_or(0, 2**setup.baseline_shift - 1))
    if setup.spread_shift and draw(st.booleans()):
        head[layout.SPREAD_FRAC] = frac = draw(edge_or(0, layout.MOST_SPREAD_FRAC))
        low = 0 if frac in (0, layout.MOST_SPREAD_FRAC) else layout.SPREAD_TOP
        head[layout.SPREAD] = draw(edge_or(low, 2 * layout.SPREAD_TOP - bool(frac)))
        head[layout.ANNEALED] = draw(edge_or(layout.LEAST_RATE, layout.ONE_RATE))
    if setup.spread_shift:
        head[layout.ANNEAL] = draw(edge_or(0, layout.ONE_RATE, 1))
    if setup.options.get("code"):
        # Near the ends of its period, whose length depends on the steps of node perturbation's trials.
        highest = 2 * setup.n_weights if setup.rule == "weight_perturbation" else 2**12
        head[layout.CODE_STEP] = draw(edge_or(0, highest - 1, highest // 2, (highest - 1) // 2))
    tau, momentum_shift = setup.options.get("tau", 1), setup.options.get("momentum_shift", 0)
    if (tau > 1 or momentum_shift) and draw(st.booleans()):
        head[layout.WAITING] = draw(st.integers(0, tau - 1))
        rng = random.Random(draw(st.integers(0, 2**32)))
        at = (
            layout.LAYERS_AT
            + layout.LAYER_WORDS * len(setup.activations)
            + BY_NAME[setup.rule].needs[0] * setup.n_weights
        )
        head |= {
            at + k: rng.choice((-(2**28), -1, 0, 2**28, rng.randint(-(2**28), 2**28))) for k in range(setup.n_weights)
        }
    return head


@st.composite
def drawn_cases(draw: st.DrawFn, combinations: Sequence[tuple[str, str]] = COMBINATIONS) -> Case:
    """Draw a block and trials: the shape shrinks, the words are random or at their limits."""
    setup = draw(setups(combinations))
    shape = draw(
        st.lists(
            st.tuples(st.sampled_from((False, False, False, True)), st.integers(0, MOST_STEPS)), min_size=2, max_size=8
        )
    )
    scale = draw(st.sampled_from((1, 3, 1000, 2**16, 2**22, COST_LIMIT)))
    rng = random.Random(draw(st.integers(0, 2**32)))

    def cost() -> int:
        return rng.choice(COSTS) if scale == COST_LIMIT and rng.random() < 0.3 else rng.randint(-scale, scale)

    def words() -> tuple[int, ...]:
        edges = rng.random()
        n = setup.layers[0]
        return tuple(rng.choice(WORDS) if rng.random() < edges else rng.randint(-32768, 32767) for _ in range(n))

    trials = [Trial(evaluate, tuple(Step(cost(), words()) for _ in range(n)), cost()) for evaluate, n in shape]
    note(f"{setup}\n{trials}")
    return case_of(setup, trials)


@pytest.mark.slow
@settings(max_examples=60)
@given(case=drawn_cases([each for each in COMBINATIONS if each[0] in FIRST]))
def test_engine_equals_the_oracle(engine: Engine, case: Case) -> None:
    assert_equal(case, oracle_engine(case), engine(case))


@pytest.mark.parametrize(
    "engine_of_all_rules",
    ["cpython", *(pytest.param(name, marks=pytest.mark.slow) for name in ("micropython", "unicorn-armv6m"))],
    indirect=True,
)
@settings(max_examples=100)
@given(case=drawn_cases())
def test_engine_equals_the_oracle_whatever_the_rule(engine_of_all_rules: Engine, case: Case) -> None:
    assert_equal(case, oracle_engine(case), engine_of_all_rules(case))


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=100)
@given(data=st.data())
def test_every_engine_equals_the_oracle_over_many_experiments(
    engines: dict[str, Engine], rule: str, data: st.DataObject
) -> None:
    """Drawn once, and played once by the oracle, for all engines: that takes longer than most of them."""
    case = data.draw(drawn_cases([each for each in COMBINATIONS if each[0] == rule]))
    expected = oracle_engine(case)
    found = {name: first_difference(expected, engine(case)) for name, engine in engines.items()}
    assert not any(found.values()), f"{case.rule}: {found}"


def test_the_first_difference_is_named() -> None:
    case = case_of(Setup(), [Trial(False, (Step(0, (1, 2)),), 5)] * 2)
    answers = oracle_engine(case)
    broken = list(answers)
    head = bytearray(answers[1].head)
    head[4 * layout.TOTAL] ^= 1
    head[4 * layout.CHECK] ^= 1
    broken[1] = answers[1]._replace(head=bytes(head), mem=answers[1].mem)
    assert first_difference(answers, answers) is None
    assert first_difference(answers, broken) == f"trial 1, after end, head[{layout.TOTAL}] (TOTAL): expected 5, got 4"


# ------------------------------------------------------------------------------------------------- golden vectors


@pytest.mark.parametrize("name", [name for name, (setup, *_) in VECTORS.items() if setup.rule in FIRST])
def test_golden_vectors_are_reproduced(engine: Engine, name: str) -> None:
    reproduce(engine, name)


@pytest.mark.parametrize("name", [name for name, (setup, *_) in VECTORS.items() if setup.rule not in FIRST])
def test_golden_vectors_of_the_other_rules_are_reproduced(engine_of_all_rules: Engine, name: str) -> None:
    reproduce(engine_of_all_rules, name)


def reproduce(engine: Engine, name: str) -> None:
    """Play a vector from the file's own words: neither the host's blocks nor the oracle take part."""
    golden = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    head = struct.pack(f"<{len(golden['head'])}i", *golden["head"])
    mem = struct.pack(f"<{len(golden['mem'])}H", *golden["mem"])
    answers = engine(Case(golden["rule"], head, mem, trials_of(name)))
    assert [row_of(answer) for answer in answers] == golden["trials"]
    assert hashlib.sha256(answers[-1].head).hexdigest() == golden["final head sha256"]
    assert hashlib.sha256(answers[-1].mem).hexdigest() == golden["final mem sha256"]


# ------------------------------------------------------------------------------------------------- on-board tasks

XOR = Setup(layers=(2, 4, 1), activations=("tanh", "logistic")).toml("xor")


def task_blocks() -> list[bytes]:
    """Return XOR's block, and made-up ones of several outputs with words at their limits."""
    blocks = [build_block(parse_experiment(XOR, "xor")).task]
    rng = random.Random(4)
    for patterns, n_in, n_out, shift in ((3, 2, 5, 3), (1, 1, 1, 0), (5, 3, 2, 0)):
        data = [rng.choice(WORDS) & 0xFFFF for _ in range(patterns * (n_in + n_out))]
        words = [0, n_in, n_out, shift, patterns - 1, 0, patterns - 1, 1, patterns, *data]
        blocks.append(b"".join(w.to_bytes(2, "little") for w in words))
    return blocks


def task_outputs(reference: Model) -> list[list[int]]:
    """Return actuator words for four rounds of a task's patterns and one step."""
    rng = random.Random(5)
    return [
        [rng.choice((*WORDS, rng.randint(-32768, 32767))) for _ in range(reference.m)]
        for _ in range(4 * reference.count + 1)
    ]


@pytest.mark.parametrize("block", task_blocks(), ids=["xor", "five outputs", "one pattern", "unshifted"])
@pytest.mark.parametrize(
    "name", ["cpython", "numba", "micropython", "unicorn-armv6m", "unicorn-armv7em", "unicorn-rv32imc"]
)
def test_tasks_are_computed_alike(request: pytest.FixtureRequest, name: str, block: bytes) -> None:
    reference = model(block)
    outputs = task_outputs(reference)
    reference.begin(False, 0)
    expected = [(reference.sense(), reference.cost(u)) for u in outputs]
    if name == "micropython":
        got, after = request.getfixturevalue("micropython").task(block, reference.n, outputs)
    else:
        got, after = local_task(name, block, reference.n, outputs)
    assert got == expected
    assert after == reference.state()


def local_task(
    name: str, block: bytes, n_sensors: int, outputs: Sequence[Sequence[int]]
) -> tuple[list[tuple[list[int], int]], bytes]:
    """Play a task's kernels on this computer."""
    engine, _, target = name.partition("-")
    kernels = tasks_machine(target) if engine == "unicorn" else task_kernels(name)
    return play_task(kernels, "cpython" if engine == "unicorn" else name, block, n_sensors, outputs)


def play_task(
    kernels: Any, name: str, block: bytes, n_sensors: int, outputs: Sequence[Sequence[int]]
) -> tuple[list[tuple[list[int], int]], bytes]:
    """Play a task on these kernels, which take buffers as engine `name` does."""
    task, x = make_buffer(block, "H", name), make_buffer(bytes(2 * n_sensors), "H", name)
    kernels.task_begin(make_buffer(bytes(4 * layout.LAYERS_AT), "i", name), task)
    steps = []
    for words in outputs:
        kernels.task_sense(task, x)
        sensed = [(int(w) ^ 0x8000) - 0x8000 for w in x]
        u = make_buffer(b"".join((w & 0xFFFF).to_bytes(2, "little") for w in words), "H", name)
        steps.append((sensed, int(kernels.task_cost(task, u))))
    return steps, buffer_bytes(task)


# ------------------------------------------------------------------------------------------------- what the block is


@settings(max_examples=60)
@given(setup=setups())
def test_blocks_meet_the_page(setup: Setup) -> None:
    """The oracle asserts formats, shifts, limits, the table and both lengths when it is made."""
    block = replace(setup, head={}, weights=()).block()
    Oracle.of(block.rule, block.head, block.mem)
