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
    ACTIVATIONS,
    COMBINATIONS,
    COST_LIMIT,
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
from make_golden import FOLDER, VECTORS, row_of, trials_of
from oracle import Oracle, Task
from subsong.block import build_block
from subsong.experiment import parse_experiment
from subsong.rules import BASELINES, BY_NAME
from subsong_device import layout
from subsong_sim.engines import buffer_bytes, make_buffer, task_kernels
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


@st.composite
def setups(draw: st.DrawFn) -> Setup:
    """Draw a set-up from everything that an experiment file admits, up to four layers."""
    n_layers = draw(st.integers(1, 4))
    size = edge_or(1, 20, 15, 16, 17)
    rule, estimator = draw(st.sampled_from(COMBINATIONS))
    setup = Setup(
        rule=rule,
        estimator=estimator,
        layers=tuple(draw(st.lists(size, min_size=n_layers + 1, max_size=n_layers + 1))),
        activations=tuple(draw(st.lists(st.sampled_from(ACTIVATIONS), min_size=n_layers, max_size=n_layers))),
        weight_frac=draw(st.integers(8, 14)),
        amplitude=draw(edge_or(1, BY_NAME[rule].amplitude)),
        rate=draw(edge_or(1, 16383)),
        rate_shift=draw(edge_or(0, 29)),
        baseline_shift=draw(edge_or(1, 15)),
        rounding=draw(st.sampled_from(("stochastic", "nearest"))),
        init=draw(edge_or(0, 32767)),
        seed=draw(edge_or(0, 2**32 - 1)),
        recurrent=draw(st.one_of(st.just(()), st.tuples(*[st.booleans()] * n_layers))),
        bias=draw(st.one_of(st.just(()), st.tuples(*[st.booleans()] * n_layers))),
        options={key: draw(edge_or(option.low, option.high)) for key, option in BY_NAME[rule].options},
    )
    if draw(st.booleans()):
        limit = setup.limit
        rng = random.Random(draw(st.integers(0, 2**32)))
        extremes = (-limit, -limit + 1, -1, 0, 1, limit - 1, limit)
        setup = replace(setup, weights=tuple(rng.choice(extremes) for _ in range(setup.n_weights)))
    if setup.estimator in BASELINES and draw(st.booleans()):
        baseline = draw(edge_or(-COST_LIMIT, COST_LIMIT))
        remainder = draw(edge_or(0, 2**setup.baseline_shift - 1))
        setup = replace(setup, head={layout.STARTED: 1, layout.BASELINE: baseline, layout.REMAINDER: remainder})
    return setup


@st.composite
def drawn_cases(draw: st.DrawFn) -> Case:
    """Draw a block and trials: the shape shrinks, the words are random or at their limits."""
    setup = draw(setups())
    shape = draw(
        st.lists(st.tuples(st.sampled_from((False, False, False, True)), st.integers(0, 4)), min_size=2, max_size=8)
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


@settings(max_examples=60)
@given(case=drawn_cases())
def test_engine_equals_the_oracle(engine: Engine, case: Case) -> None:
    assert_equal(case, oracle_engine(case), engine(case))


@pytest.mark.slow
@settings(max_examples=1500)
@given(case=drawn_cases())
def test_every_engine_equals_the_oracle_over_many_experiments(engines: dict[str, Engine], case: Case) -> None:
    """Drawn once, and played once by the oracle, for all engines: that takes longer than most of them."""
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


@pytest.mark.parametrize("name", VECTORS)
def test_golden_vectors_are_reproduced(engine: Engine, name: str) -> None:
    """From the file's own words: neither the host's blocks nor the oracle take part."""
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


def task_outputs(reference: Task) -> list[list[int]]:
    """Return actuator words for four rounds of a task's patterns and one step."""
    rng = random.Random(5)
    return [
        [rng.choice((*WORDS, rng.randint(-32768, 32767))) for _ in range(reference.outputs)]
        for _ in range(4 * reference.patterns + 1)
    ]


@pytest.mark.parametrize("block", task_blocks(), ids=["xor", "five outputs", "one pattern", "unshifted"])
@pytest.mark.parametrize(
    "name", ["cpython", "numba", "micropython", "unicorn-armv6m", "unicorn-armv7em", "unicorn-rv32imc"]
)
def test_tasks_are_computed_alike(request: pytest.FixtureRequest, name: str, block: bytes) -> None:
    reference = Task(block)
    outputs = task_outputs(reference)
    reference.begin(False, 0)
    expected = [(reference.sense(), reference.cost(u)) for u in outputs]
    if name == "micropython":
        got, after = request.getfixturevalue("micropython").task(block, reference.inputs, outputs)
    else:
        got, after = local_task(name, block, reference.inputs, outputs)
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
