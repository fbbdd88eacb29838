"""The range checker: what it proves of every kernel, that runs stay inside it, and that it names what overflows."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cases import COMBINATIONS, COST_LIMIT, FIRST, RULES, Setup, Step, Trial, suited
from ranges_watch import Watch
from subsong.block import build_block
from subsong.cli import subsong
from subsong.experiment import Experiment, parse_experiment
from subsong.experiment_tasks import TASKS, TaskPlant
from subsong.experiment_text import EXAMPLES, example_text
from subsong.ranges import extreme, extremes, prove_experiment, prove_kernels
from subsong.rules import BY_NAME
from subsong_device import layout
from subsong_sim import ranges
from subsong_sim.errors import EngineError
from subsong_sim.loader import LEARNER_KERNELS, PACKAGE, TASK_KERNELS, Source, gather
from subsong_sim.ranges.interpreter import Place
from subsong_sim.ranges.values import INT32_HIGH, INT32_LOW, Interval
from test_engines import setups


def learner(rule: str) -> Source:
    """Return a rule's kernels."""
    return gather(f"{PACKAGE}.learners.{rule}", LEARNER_KERNELS)


def tasks() -> Source:
    """Return the tasks' kernels."""
    return gather(f"{PACKAGE}.tasks", TASK_KERNELS)


def proof_of(setup: Setup, source: Source | None = None) -> ranges.Proof:
    """Prove a set-up."""
    block = setup.block()
    steps = setup.steps or BY_NAME[setup.rule].most_steps
    return ranges.prove(block.rule, block.head, block.mem, steps=steps, learner=source)


def some(cases: Sequence[tuple[str, ...]], quick: int = 4) -> list[Any]:
    """Return parameters of which all but the first few are slow."""
    return [pytest.param(*case, marks=[pytest.mark.slow] if n >= quick else []) for n, case in enumerate(cases)]


# ------------------------------------------------------------------------------------------------- what is proved

# Layers, activations, weight_frac: one unit; every activation; more units than a word has signs; deep; wide.
SHAPES: dict[str, tuple[tuple[int, ...], tuple[str, ...], int]] = {
    "one": ((1, 1), ("identity",), 8),
    "bounded": ((3, 17, 5, 2), ("tanh", "hard_tanh", "logistic"), 11),
    "deep": ((2, *(1,) * 12), ("identity",) * 12, 14),
    "wide": ((480, 64, 10), ("logistic", "identity"), 9),
    "fan_in": ((1, 4095, 1), ("identity", "tanh"), 14),
}


@pytest.mark.slow
@pytest.mark.parametrize(("rule", "estimator"), COMBINATIONS)
def test_every_rule_stays_within_int32_with_every_estimator_that_it_takes(rule: str, estimator: str) -> None:
    prove_experiment(extreme(BY_NAME[rule], estimator, BY_NAME[rule].estimators.index(estimator) & 1))


@pytest.mark.slow
@pytest.mark.parametrize(("rule", "estimator"), COMBINATIONS)
def test_every_rule_stays_within_int32_at_the_other_end_of_its_numbers(rule: str, estimator: str) -> None:
    prove_experiment(extreme(BY_NAME[rule], estimator, ~BY_NAME[rule].estimators.index(estimator) & 1))


@pytest.mark.slow
@pytest.mark.parametrize("rule", [rule for rule in RULES if BY_NAME[rule].rated])
def test_every_rule_stays_within_int32_with_costs_over_their_spread(rule: str) -> None:
    estimator = BY_NAME[rule].estimators[0]
    proof = proof_of(suited(Setup(rule, estimator, (3, 17, 2), ("tanh", "tanh"), rate=16383, spread_shift=1)))
    assert proof.violations == []
    assert {place[0] for place in proof.seen} >= {"normalise", "ratio", "seal_spread"}


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("rule", "estimator"),
    [(rule, name) for rule, name in COMBINATIONS if BY_NAME[rule].estimators[0] == name],
)
def test_every_rule_stays_within_int32_in_every_shape(rule: str, estimator: str, shape: str) -> None:
    layers, activations, weight_frac = SHAPES[shape]
    if rule == "songbird" and len(layers) > 3:
        layers, activations = layers[:3], activations[:2]
    if rule == "hedonistic_synapse" and shape == "fan_in":
        layers = (1, 127, 1)  # its units are proved one by one: thousands take minutes
    setup = suited(Setup(rule, estimator, layers, activations, weight_frac, 4096, 16383, 29, 15))
    assert proof_of(setup).violations == []


@pytest.mark.slow
@pytest.mark.parametrize("rule", [rule for rule in RULES if BY_NAME[rule].needs[1]])
def test_signs_stay_among_the_signs_where_layers_have_other_numbers_of_words(rule: str) -> None:
    layers, activations = (2, 16, 17, 16, 33), ("tanh", "identity", "hard_tanh", "logistic")
    assert proof_of(suited(Setup(rule, BY_NAME[rule].estimators[0], layers, activations))).violations == []


@pytest.mark.parametrize("name", TASKS)
def test_every_task_stays_within_int32(name: str) -> None:
    found = [e for e in extremes() if isinstance(e.plant, TaskPlant) and e.plant.name == name]
    assert found
    for experiment in found:
        assert {place[0] for place in prove_experiment(experiment).seen} >= {"task_begin", "task_sense", "task_cost"}


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_every_shipped_experiment_stays_within_int32(name: str) -> None:
    prove_experiment(parse_experiment(example_text(name), name))


def test_a_proof_tells_what_it_has_seen() -> None:
    proof = proof_of(Setup())
    place, (low, high) = proof.widest
    assert proof.kernels > 10
    assert 2**29 < max(-low, high) <= INT32_HIGH
    assert all(INT32_LOW <= a <= b <= INT32_HIGH for a, b in proof.seen.values())
    assert place[0] in learner("weight_perturbation").functions


# ------------------------------------------------------------------------------------------------- soundness

WORDS = st.one_of(st.sampled_from([-32768, -32767, -1, 0, 1, 32767]), st.integers(-32768, 32767))
COSTS = st.one_of(st.sampled_from([-COST_LIMIT, -1, 0, 1, COST_LIMIT]), st.integers(-COST_LIMIT, COST_LIMIT))


@st.composite
def short_trials(draw: st.DrawFn, n_sensors: int, most: int) -> list[Trial]:
    """A dozen short trials."""
    steps = st.builds(Step, COSTS, st.tuples(*[WORDS] * n_sensors))
    return draw(
        st.lists(
            st.builds(Trial, st.sampled_from([False, False, True]), st.lists(steps, max_size=most).map(tuple), COSTS),
            min_size=4,
            max_size=10,
        )
    )


def hold(rule: str, data: st.DataObject) -> None:
    """Prove a drawn set-up of a rule, and hold drawn trials against the proof."""
    setup = data.draw(setups([(rule, estimator) for estimator in BY_NAME[rule].estimators]))
    block = setup.block()
    proof = ranges.prove(block.rule, block.head, block.mem, steps=setup.steps or BY_NAME[rule].most_steps)
    assert proof.violations == []
    watch = Watch(learner(rule), proof.seen)
    watch.play(block.head, block.mem, data.draw(short_trials(block.n_sensors, min(4, BY_NAME[rule].most_steps))))
    assert list(watch.wrong.values()) == []


# Nothing is gained by shrinking what takes a second to prove.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=4, deadline=None, phases=PHASES, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_no_expression_ever_leaves_the_interval_that_it_was_given(rule: str, data: st.DataObject) -> None:
    hold(rule, data)


@pytest.mark.slow
@pytest.mark.parametrize("rule", FIRST)
def test_what_is_said_to_run_does_run(rule: str) -> None:
    """The intervals are of expressions that runs meet, and not much wider than what these meet."""
    setup = Setup(rule, "two_sided", (2, 17, 1), ("tanh", "logistic"), 9, 200, 16383, 29)
    block = setup.block()
    proof = ranges.prove(block.rule, block.head, block.mem)
    watch = Watch(learner(rule), proof.seen)
    words = [Step(cost, x) for cost in (-COST_LIMIT, 7, COST_LIMIT) for x in ((-32768, 32767), (32767, -1), (5, 0))]
    for evaluate in (False, True):
        watch.play(
            block.head, block.mem, [Trial(evaluate, (*words, words[4]), cost) for cost in (1, -1, 9, -COST_LIMIT)]
        )
    assert list(watch.wrong.values()) == []
    assert len(watch.met) > 0.9 * len(proof.seen)
    widths = {place: high - low for place, (low, high) in proof.seen.items()}
    near = [place for place, (low, high) in watch.met.items() if 2 * (high - low) >= widths[place]]
    assert len(near) > 0.5 * len(watch.met)


@cache
def proved_task(name: str) -> tuple[bytes, int, dict[Place, Interval]]:
    """Return a task, how many outputs it takes, and the intervals of its proof."""
    experiment = next(e for e in extremes() if isinstance(e.plant, TaskPlant) and e.plant.name == name)
    block = build_block(experiment)
    return block.task, block.n_actuators, prove_experiment(experiment).seen


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
@settings(max_examples=8, deadline=None, derandomize=True)
@given(st.data())
def test_no_expression_of_a_task_leaves_its_interval(name: str, data: st.DataObject) -> None:
    task, n, seen = proved_task(name)
    watch = Watch(tasks(), seen)
    outputs = data.draw(st.lists(st.lists(WORDS, min_size=n, max_size=n), min_size=1, max_size=9))
    for evaluate, phase in data.draw(st.sampled_from((((0, 0), (0, 1)), ((0, 0), (1, 0), (1, 0), (0, 1))))):
        watch.play_task(task, outputs, evaluate, phase)
    assert list(watch.wrong.values()) == []


# ------------------------------------------------------------------------------------------------- what is refused


def altered(source: Source, kernel: str, old: str, new: str) -> Source:
    """Return kernels, a text in one of them altered."""
    file = source.files[kernel]
    text = Path(file).read_text(encoding="utf-8")
    begins = text.index(f"def {kernel}(")
    assert old in text[begins:], f"{file} has no {old!r} any more"
    at = text.index(old, begins)
    tree = ast.parse(text[:at] + new + text[at + len(old) :])
    functions = {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef)}
    merged = {name: functions.get(name, f) if source.files[name] == file else f for name, f in source.functions.items()}
    return Source(source.constants, merged, source.files)


WEIGHTS, NODES = FIRST
MUTANTS = [
    # Rule, kernel, a text of it, what replaces that; the expression that is refused, in that kernel or another; why.
    (WEIGHTS, "drives", " >> product_shift", "", "`g += ", "can be -3221192704..3221192703, outside int32"),
    (WEIGHTS, "drives", "* one", "* (one << 4)", "`g += ((mem[weight + j]", "outside int32"),
    (WEIGHTS, "drives", "range(n_in):", "range(n_in + 99):", "`mem[weight + j]`", "keep the index within one region"),
    (
        WEIGHTS,
        "sense",
        "mem[at + j] = x",
        "mem[at + 99 + j] = x",
        "`mem[at + 99 + j]`",
        "keep the index within one region",
    ),
    # Turns that overlap: a weight may be moved twice.
    (WEIGHTS, "perturb_along_signs", "at += block", "at += block - (block >> 4)", "`mem[at + k]`", "clip it to int16"),
    (WEIGHTS, "perturb_along_signs", "mem[at + k] =", "mem[at] =", "`mem[at]`", "clip it to int16 first"),
    (WEIGHTS, "perturb_along_signs", "w += amount", "w += amount + amount", "`mem[at + k]`", "clip it to int16 first"),
    (WEIGHTS, "threshold", "0x1FFF", "0xFFFF", "`(high & 65535) << 16`", "can be 0..4294901760, outside int32"),
    (WEIGHTS, "rounded_step", "0x8000", "0x80000", "`shift_to_zero(delta, s) * head[RATE]`", "outside int32"),
    (WEIGHTS, "rounded_step", "if shift > 29", "if shift > 30", "`r >> 29 - shift`", "shifts by -1"),
    (WEIGHTS, "observe", "total = COST_LIMIT\n", "total = total + 0\n", "`head[TOTAL] + cost`", "outside int32"),
    (WEIGHTS, "move_along_signs", "at += block", "at += block - block", "`at < end`", "is not proved to end"),
    (WEIGHTS, "end", "head[LIMIT]", "0x7FFF", "weights: end leaves", "not in -32667..32667: clip them"),
    (WEIGHTS, "end", "0 - sign * (", "0 - sign * 262144 * (", "`sign * 262144 * ", "outside int32"),
    (NODES, "learn_into", "0x4000", "0x40000", " * q`", "outside int32"),
    (NODES, "accumulate_signs", "1 << head[layer + INPUT_FRAC]", "1 << 16", "eligibility: end leaves", "clip them"),
    (NODES, "begin", "if sign > 0", "if sign > 1", "eligibility: end leaves", "clip them"),
    (NODES, "move_along_eligibility", "d = limit\n", "d = d + 0\n", "`mem[w + k]`", "clip it to int16 first"),
    ("activity_difference", "take_difference", "d = 0x7FFF\n", "d = d + 0\n", "eligibility: end leaves", "clip them"),
    ("hebb", "accumulate_factors", "* one", "* (one << 2)", "eligibility: end leaves", "clip them"),
    ("conductance_perturbation", "fire", "v = 0 - INH", "v = v - INH", "`mem[unit]`", "clip it to int16 first"),
    ("songbird", "accumulate_empiric", "* one", "* (one << 1)", "eligibility: end leaves", "clip them"),
    ("reinforce", "draw_states", "(0x8000 - p) & 0xFFFF", "0x20000 - p", "`mem[unit + i]`", "no word of 16 bits"),
    ("hedonistic_synapse", "release", "k += 1\n", "k += 2\n", "+ k]`", "keep the index within one region"),
    ("stochastic_spiking", "accumulate_scores", " & 0x7FFF", "", "eligibility: end leaves", "clip them"),
]


@pytest.mark.parametrize(("rule", "kernel", "old", "new", "named", "why"), some(MUTANTS))
def test_a_kernel_that_can_overflow_is_refused_at_its_line(
    rule: str, kernel: str, old: str, new: str, named: str, why: str
) -> None:
    source = altered(learner(rule), kernel, old, new)
    layers = (40, 2) if kernel == "perturb_along_signs" else (7, 2)  # more weights than a word has signs
    setup = suited(Setup(rule, "two_sided", layers, ("identity",), 8, 100, 16383, 29))
    found = proof_of(setup, source).violations
    meant = [v for v in found if v.rule.startswith(named) or named in v.rule.split(" can be ")[0]]
    assert meant, found
    where = f"layers {layers[0]}-2, amplitude {setup.amplitude}, rate 16383 * 2**-29"
    assert any(why in v.rule and where in v.rule for v in meant), meant


def test_a_refusal_names_file_line_expression_interval_calls_and_configuration() -> None:
    source = altered(learner(WEIGHTS), "threshold", "0x1FFF", "0xFFFF")
    line = next(n.lineno for n in ast.walk(source.functions["threshold"]) if isinstance(n, ast.LShift) or _shifts(n))
    found = proof_of(Setup(), source).violations[0]
    assert str(found) == (
        f"{source.files['threshold']}:{line}: `(high & 65535) << 16` can be 0..4294901760, outside int32: "
        "clip or shift its operands, or restrict what feeds them "
        "(in end > threshold; weight_perturbation, two_sided, layers 2-1, amplitude 200, rate 1 * 2**-4)"
    )


def _shifts(node: ast.AST) -> bool:
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.LShift)


TASK_MUTANTS = [
    # Task, kernel, a text of it, what replaces that; what is refused; why.
    ("xor", "squared_error", "cost += e * e", "cost += (e * e) << 8", "`e * e << 8`", "outside int32"),
    (
        "linear_teacher",
        "teacher_cost",
        "cost = COST_LIMIT\n",
        "cost = cost + 0\n",
        "cost: task_cost returns",
        "clip it",
    ),
    ("letters", "letters_sense", "place >= 9", "place >= 12", "`x[pixel + j]`", "keep the index within one region"),
    ("letters", "letters_sense", "range(47)", "range(46)", "`x[second]`", "keep the index within one region"),
    ("extended", "extended_cost", "following = 0", "following = following + 0", "TASK_NEXT: task_cost", "clip it"),
    ("lqr", "put_state", "s = 262136\n", "s = s + 0\n", "`task[at]`", "clip it to int16 first"),
    ("delayed_match", "match_draw", "probe -= n", "probe -= 0", "MATCH_PROBE: task_sense leaves", "clip it"),
    ("sequence", "sequence_sense", "* n) >> 16", "* n) >> 15", "`x[task[SEQUENCE_CHOICE]]`", "keep the index"),
    ("song", "late", "& 0x1FFF", "& 0xFFFF", "<< 16`", "outside int32"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kernel", "old", "new", "named", "why"), TASK_MUTANTS)
def test_a_task_that_can_overflow_is_refused_at_its_line(
    name: str, kernel: str, old: str, new: str, named: str, why: str
) -> None:
    experiment = next(e for e in extremes() if isinstance(e.plant, TaskPlant) and e.plant.name == name)
    block = build_block(experiment)
    source = altered(tasks(), kernel, old, new)
    found = ranges.prove(block.rule, block.head, block.mem, block.task, experiment.run.steps, tasks=source).violations
    meant = [v for v in found if named in v.rule.split(" can be ")[0]]
    assert meant, found
    assert any(why in v.rule for v in meant), meant


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("AMPLITUDE", 5000, "head[AMPLITUDE] is 5000, outside 1..4096"),
        ("LIMIT", 65535, "head[LIMIT] is 65535, outside 0..32567"),
        ("RATE", 16384, "head[RATE] is 16384, outside 1..16383"),
        ("SPREAD_SHIFT", 16, "head[SPREAD_SHIFT] is 16, outside 0..15"),
        ("SPREAD", 2**29 + 1, "head[SPREAD] is 536870913, outside 0..536870912"),
        ("ANNEALED", 0, "head[ANNEALED] is 0, outside 16777216..268435456"),
        ("REMAINDER", 2**30, "head[REMAINDER] is 1073741824, outside 0..7"),
        ("BASELINE", 2**28 + 1, "head[BASELINE] is 268435457, outside -268435456..268435456"),
    ],
)
def test_a_block_outside_its_ranges_is_refused_at_the_words_line(name: str, value: int, says: str) -> None:
    block = Setup(head={getattr(layout, name): value}).block()
    found = ranges.check_ranges(block.rule, block.head, block.mem)
    lines = Path(str(layout.__file__)).read_text(encoding="utf-8").splitlines()
    assert says in [v.rule.split(":")[0] for v in found]
    assert all(lines[v.line - 1].startswith(f"{name} = ") for v in found if says in v.rule)


def test_a_limit_beyond_int16_is_refused_where_the_product_overflows() -> None:
    block = Setup(head={layout.LIMIT: 65535}).block()
    found = ranges.check_ranges(block.rule, block.head, block.mem)
    assert any("clip it to int16 first" in v.rule for v in found), found


def test_more_steps_than_an_eligibility_has_room_for_are_refused() -> None:
    block = Setup("node_perturbation").block()
    assert ranges.check_ranges(block.rule, block.head, block.mem, steps=16384) == []
    found = ranges.check_ranges(block.rule, block.head, block.mem, steps=40000)
    assert any(v.rule.startswith("`head[e] += ") and "outside int32" in v.rule for v in found), found


def test_more_units_and_steps_than_a_counter_has_room_for_are_refused() -> None:
    setup = Setup(layers=(1, 4095, 1, 4095, 1), activations=("identity",) * 4, weight_frac=14)
    block = setup.block()
    assert ranges.check_ranges(block.rule, block.head, block.mem) == []
    found = ranges.check_ranges(block.rule, block.head, block.mem, steps=2**20)
    assert any("head[SATURATED] += saturated" in v.rule for v in found), found


def test_require_lists_every_refusal() -> None:
    block = Setup(head={layout.LIMIT: 65535}).block()
    with pytest.raises(EngineError) as error:
        ranges.require_ranges(block.rule, block.head, block.mem)
    head, *lines = str(error.value).splitlines()
    assert head == "not proved to stay within 32 bits (see docs/ranges.md):"
    assert len(lines) == len(ranges.check_ranges(block.rule, block.head, block.mem))
    with pytest.raises(EngineError, match="rule 'x': choose one of weight_perturbation, node_perturbation"):
        ranges.require_ranges("x", block.head, block.mem)


# ------------------------------------------------------------------------------------------------- where it is used


def test_check_says_what_was_proved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = CliRunner().invoke(subsong, ["check", "xor", "--json"])
    assert said.exit_code == 0
    told = json.loads(said.stdout)
    assert told["proved"] > 200
    assert set(told["widest"]) == {"kernel", "line", "low", "high"}
    said = CliRunner().invoke(subsong, ["check", "xor"])
    assert said.stdout.startswith("xor: proved to stay within 32 bits\n  expressions  ")


def test_the_kernels_are_proved_once_for_each_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUBSONG_CACHE", str(tmp_path))
    one = extremes()[2:3]
    proved: list[Experiment] = []
    monkeypatch.setattr("subsong.ranges.extremes", lambda: one)
    monkeypatch.setattr("subsong.ranges.prove_experiment", proved.append)
    for _process in range(2):  # each with nothing in its memory
        monkeypatch.setattr("subsong.ranges._proved", set())
        prove_kernels()
        prove_kernels()
    assert proved == list(one)
    assert len(list((tmp_path / "ranges").iterdir())) == 1


@pytest.mark.slow
def test_processes_agree_on_what_was_proved(tmp_path: Path) -> None:
    """Or each of them proves it again, for half a minute."""
    code = (
        "from subsong import ranges\n"
        "ranges.prove_experiment = lambda each: print(each.learner.rule)\n"
        "ranges.prove_kernels()"
    )
    said = []
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "SUBSONG_CACHE": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        )
        said.append(done.stdout.split())
    assert set(said[0]) == set(RULES) and said[1] == []


def test_the_experiments_that_deploy_proves_stand_at_the_ends() -> None:
    found = extremes()
    learners = [experiment.learner for experiment in found]
    assert {(e.rule, e.estimator) for e in learners} == set(COMBINATIONS)
    assert {e.rule for e in learners if e.spread_shift} == {rule for rule in RULES if BY_NAME[rule].rated}
    assert {e.rate_shift for e in learners} >= {0, 29} and {e.baseline_shift for e in learners} >= {1, 15}
    assert {e.plant.name for e in found if isinstance(e.plant, TaskPlant)} == set(TASKS)
