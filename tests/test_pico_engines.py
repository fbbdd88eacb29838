"""The kernels on an emulated Pico against the oracle: bytecode, viper, machine code; official 1.24.1 and 1.25.0.

The whole state is compared after every trial. Viper and machine code play every case; bytecode, a hundred times slower,
plays the first trials of the smaller golden vectors and drawn cases and of the extremes, and the tasks.
"""

import struct
from collections.abc import Iterator
from dataclasses import replace

import pytest

from cases import ACTIVATIONS, FIRST, Answer, Case, case_of, first_difference, head_words, oracle_engine
from golden_setups import VECTORS
from make_golden import trials_of
from pico_cases import at_the_extremes, drawn, of_every_difference, of_every_drive, of_every_eligibility
from pico_engine import MODULES, PROVED, TARGET, PicoEngine
from subsong.compiler import assembler_module, compile_kernels
from subsong.rules import BY_NAME
from subsong_device import layout
from task_models import model
from test_engines import task_blocks, task_outputs
from test_extremes import SHAPES

FAST = PROVED[1:]
VERSIONS = [pytest.param(v, marks=pytest.mark.xdist_group(f"pico-{v}")) for v in ("1.24.1", "1.25.0")]
on_the_newest = pytest.mark.parametrize("pico", VERSIONS[-1:], indirect=True)  # where the other would tell nothing new
# The board's heap holds it, but half a minute of wall time would go into one shape.
LARGEST_FAN_IN = 256

FEW_WEIGHTS = 70

pytestmark = pytest.mark.slow


def broken_module() -> bytes:
    """Return weight perturbation as machine code with one word changed: where `act` rotates its checksum, 6 for 7."""
    compiled = compile_kernels(*MODULES[FIRST[0]], TARGET)
    begin, act, end = compiled.kernels
    words = list(struct.unpack(f"<{len(act.code) // 2}H", act.code))
    at = next(i for i, word in enumerate(words) if word >> 6 == 7)  # lsls rd, rm, #7
    words[at] ^= 1 << 6
    changed = replace(act, code=struct.pack(f"<{len(words)}H", *words))
    return assembler_module(replace(compiled, kernels=(begin, changed, end))).encode()


@pytest.fixture(scope="session", params=VERSIONS)
def pico(request: pytest.FixtureRequest) -> Iterator[PicoEngine]:
    """A Pico with this version of the firmware, and every kernel on it; one for the session."""
    with PicoEngine(request.param, {f"broken/{FIRST[0]}.py": broken_module()}) as engine:
        yield engine


def differences(pico: PicoEngine, case: Case, expected: list[Answer], tiers: tuple[str, ...]) -> list[str]:
    """Return the first difference of every tier that has one."""
    answers = pico.play(case, tiers)
    found = [(tier, first_difference(expected, got)) for tier, got in answers.items()]
    return [f"Pico {pico.version}, {tier}, {case.rule}: {difference}" for tier, difference in found if difference]


def check(pico: PicoEngine, label: str, case: Case, bytecode: int = 0) -> None:
    """Hold every tier against the oracle; bytecode in so many trials."""
    expected = oracle_engine(case)
    found = differences(pico, case, expected, FAST)
    if bytecode:
        first = case._replace(trials=case.trials[:bytecode])
        found += differences(pico, first, expected[:bytecode], PROVED[:1])
    assert not found, f"{label}: {'; '.join(found)}"


@pytest.mark.parametrize("name", [name for name, (setup, *_) in VECTORS.items() if setup.rule in FIRST])
def test_golden_vectors_are_reproduced(pico: PicoEngine, name: str) -> None:
    case = case_of(VECTORS[name][0], trials_of(name))
    check(pico, name, case, bytecode=2 if n_weights(case) < FEW_WEIGHTS else 0)


@on_the_newest
@pytest.mark.parametrize("name", [name for name, (setup, *_) in VECTORS.items() if setup.rule not in FIRST])
def test_golden_vectors_of_the_other_rules_are_reproduced(pico: PicoEngine, name: str) -> None:
    check(pico, name, case_of(VECTORS[name][0], trials_of(name)))


@on_the_newest
@pytest.mark.parametrize("rule", FIRST)
@pytest.mark.parametrize("fan_in", [name for name in SHAPES if int(name) <= LARGEST_FAN_IN])
def test_extremes_are_computed_alike(pico: PicoEngine, rule: str, fan_in: str) -> None:
    check(pico, fan_in, at_the_extremes(rule, fan_in), bytecode=7 if int(fan_in) <= 3 else 0)


@on_the_newest
@pytest.mark.parametrize(("rule", "estimator"), [(rule, name) for rule in FIRST for name in BY_NAME[rule].estimators])
def test_every_size_of_difference_is_computed_alike(pico: PicoEngine, rule: str, estimator: str) -> None:
    check(pico, estimator, of_every_difference(rule, estimator), bytecode=8)


@on_the_newest
def test_every_size_of_eligibility_is_computed_alike(pico: PicoEngine) -> None:
    for label, case in of_every_eligibility():
        check(pico, label, case, bytecode=int("delta 16383" in label))


@on_the_newest
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_drives_at_the_ends_are_computed_alike(pico: PicoEngine, activation: str) -> None:
    check(pico, activation, of_every_drive(activation), bytecode=2)


@pytest.mark.parametrize("first", range(0, 40, 10))
def test_drawn_experiments_are_computed_alike(pico: PicoEngine, first: int) -> None:
    for seed in range(first, first + 10):
        case = drawn(seed)
        check(pico, f"drawn({seed})", case, bytecode=2 if n_weights(case) < FEW_WEIGHTS else 0)


def n_weights(case: Case) -> int:
    return head_words(case.head)[layout.N_WEIGHTS]


def test_drawn_experiments_are_of_every_kind() -> None:
    kinds = set()
    for seed in range(40):
        case = drawn(seed)
        head = head_words(case.head)
        few = n_weights(case) < FEW_WEIGHTS
        kinds.add((case.rule, "layers", head[layout.N_LAYERS]))
        kinds.add((case.rule, "stochastic", head[layout.STOCHASTIC]))
        kinds.add((case.rule, "estimator", head[layout.ESTIMATOR]))
        kinds.add((case.rule, "estimator, in bytecode", head[layout.ESTIMATOR] if few else 0))
    assert len(kinds) == 2 * (4 + 2 + 3 + 3)


def test_tasks_are_computed_alike(pico: PicoEngine) -> None:
    for block in task_blocks():
        reference = model(block)
        outputs = task_outputs(reference)
        reference.begin(False, 0)
        expected = [(reference.sense(), reference.cost(u)) for u in outputs]
        for tier, (got, after) in pico.task(block, reference.n, outputs).items():
            assert got == expected, f"Pico {pico.version}, {tier}"
            assert after == reference.state(), f"Pico {pico.version}, {tier}"


def test_one_changed_word_of_machine_code_is_found(pico: PicoEngine) -> None:
    """The comparison's own test: a wrong kernel gives a wrong state, and the message says where and on which board."""
    case = case_of(VECTORS["wp_saturated"][0], trials_of("wp_saturated")[:2])
    expected = oracle_engine(case)
    (found,) = differences(pico, case, expected, ("broken",))
    assert found.startswith(
        f"Pico {pico.version}, broken, {FIRST[0]}: trial 0, after end, head[{layout.CHECK}] (CHECK)"
    )
