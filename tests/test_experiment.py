"""The experiment file: what is accepted, what is refused and in which words, and what names an experiment."""

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning import example_of
from subsong import block, experiment_check
from subsong.errors import ExperimentError
from subsong.experiment import (
    Experiment,
    Learner,
    Network,
    Run,
    load_experiment,
    parse_experiment,
)
from subsong.experiment_loop import GymnasiumPlant, MismatchTable
from subsong.experiment_tasks import TASKS
from subsong.experiment_text import (
    example_named,
    example_text,
    parse_toml,
    to_toml,
    with_learner,
    write_example,
)
from subsong.rules import BY_NAME, OPTIONS
from subsong_device import frames, layout
from subsong_sim.plants.spec import Mismatch, PlantSpec

RULES = ("weight_perturbation", "node_perturbation")
ACTIVATIONS = experiment_check.allowed_of(Network.model_fields["activations"])
BOTH = ("xor", "cartpole")  # examples that hold the numbers of both rules

CARTPOLE: dict[str, Any] = {
    "seed": 1,
    "network": {"layers": [4, 1], "activations": ["identity"]},
    "learner": {"rule": "weight_perturbation", "amplitude": 0.1, "rate": 1, "rate_shift": 4},
    "plant": {"kind": "gymnasium", "id": "CartPole-v1"},
    "run": {"trials": 200, "steps": 500},
}
XOR: dict[str, Any] = {
    **CARTPOLE,
    "network": {"layers": [2, 4, 1], "activations": ["tanh", "logistic"], "init": 1.0},
    "plant": {"kind": "task", "name": "xor"},
}


def changed(base: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return tables with `network__init=2` and the like set; a value of ... deletes the key."""
    tables = copy.deepcopy(base)
    for key, value in changes.items():
        *path, last = key.split("__")
        table = tables
        for name in path:
            table = table.setdefault(name, {})
        if value is ...:
            del table[last]
        else:
            table[last] = value
    return tables


def parse(tables: dict[str, Any]) -> Experiment:
    return parse_experiment(to_toml(tables), "f.toml")


def errors(tables: dict[str, Any]) -> list[str]:
    with pytest.raises(ExperimentError) as caught:
        parse(tables)
    return str(caught.value).splitlines()


# ------------------------------------------------------------------------------------------------ examples


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", BOTH)
def test_an_example_is_valid_under_either_rule(name: str, rule: str) -> None:
    experiment = parse_experiment(with_learner(example_text(name), rule), name)
    assert experiment.learner.rule == rule


def test_a_rule_that_an_example_has_no_numbers_for_is_refused() -> None:
    with pytest.raises(ExperimentError, match="has numbers for node_perturbation, none for weight_perturbation"):
        with_learner(example_text("parity"), "weight_perturbation")
    assert with_learner(example_text("parity"), "node_perturbation") == example_text("parity")


def test_every_rule_finds_its_example() -> None:
    for rule in BY_NAME:
        name, text = example_named(rule) or ("", "")
        assert parse_experiment(text, name).learner.rule == rule
    assert example_named("parity") == ("parity", example_text("parity"))
    assert example_named("nothing") is None


@pytest.mark.parametrize("name", BOTH)
def test_setting_the_other_rule_and_back_changes_nothing(name: str) -> None:
    text = example_text(name)
    there = with_learner(text, "node_perturbation")
    assert there != text
    assert with_learner(there, "weight_perturbation") == text
    first, other = parse_experiment(text, name), parse_experiment(there, name)
    assert first.model_copy(update={"learner": other.learner}) == other, "only the learner differs"


def test_the_examples_are_what_their_comments_promise() -> None:
    cartpole, xor = (parse_experiment(example_text(name), name) for name in ("cartpole", "xor"))
    mismatch = cartpole.mismatch()
    assert mismatch is not None
    assert set(mismatch.changed()) == {"actuator_delay", "actuator_dropout", "sensor_delay", "sensor_bits"}
    assert {"friction_cart", "friction_pole"} <= set(mismatch.parameters)
    assert xor.network.layers == (2, 4, 1)
    assert xor.mismatch() is None


# ------------------------------------------------------------------------------------------------ refusals

TASK_NAMES = " or ".join(f'"{name}"' for name in TASKS)
KINDS = " or ".join(f'"{kind}"' for kind in experiment_check.KINDS)
LOAD = changed(CARTPOLE, network__layers=[2, 1], plant={"kind": "host_load"})
LAB = changed(CARTPOLE, plant={"kind": "tclab", "target_range": [[30.0, 50.0], [25.0, 40.0]]}, network__layers=[4, 2])
REFUSED: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    (CARTPOLE, {"seed": "1"}, "seed: got the text '1' (allowed: a whole number, 0 to 4294967295)"),
    (CARTPOLE, {"seed": -1}, "seed: got -1 (allowed: a whole number, 0 to 4294967295)"),
    (CARTPOLE, {"seed": 2**32}, "seed: got 4294967296 (allowed: a whole number, 0 to 4294967295)"),
    (CARTPOLE, {"learner__rate": True}, "learner.rate: got true (allowed: a whole number, 1 to 16383)"),
    (CARTPOLE, {"learner__rate": 1.0}, "learner.rate: got 1.0 (allowed: a whole number, 1 to 16383)"),
    (CARTPOLE, {"learner__rate": ...}, "learner.rate: is missing (allowed: a whole number, 1 to 16383)"),
    (CARTPOLE, {"learner__amplitude": math.nan}, "learner.amplitude: got nan (allowed: a number, above 0)"),
    (CARTPOLE, {"learner__amplitude": math.inf}, "learner.amplitude: got inf (allowed: a number, above 0)"),
    (CARTPOLE, {"run": ...}, "run: is missing (allowed: a table, [run])"),
    (CARTPOLE, {"run": 3}, "run: got 3 (allowed: a table, [run])"),
    (
        CARTPOLE,
        {"learner__rule": "hope"},
        f"learner.rule: got the text 'hope' (allowed: {' or '.join(map(json.dumps, frames.RULES))})",
    ),
    (
        CARTPOLE,
        {"network__layers": [4]},
        "network.layers: has 1 entry (allowed: an array of 2 or more whole numbers, 1 to 4095)",
    ),
    (
        CARTPOLE,
        {"network__layers": [4, 4096, 1], "network__activations": ["tanh", "identity"]},
        "network.layers[1]: got 4096 (allowed: an array of 2 or more whole numbers, 1 to 4095)",
    ),
    (
        CARTPOLE,
        {"network__activations": ["relu"]},
        f"network.activations[0]: got the text 'relu' (allowed: {ACTIVATIONS})",
    ),
    (
        CARTPOLE,
        {"network__activations": ["tanh", "tanh"]},
        "network.activations: names 2 for the 1 layers after the input (allowed: 1 of them)",
    ),
    (
        CARTPOLE,
        {"network__init": 16.0},
        "network.init: 16 is outside int16 at weight_frac = 11 (allowed: 0 to 15.9995)",
    ),
    (
        CARTPOLE,
        {"network__layers": [4, 2048, 1], "network__activations": ["tanh", "identity"], "network__weight_frac": 8},
        "network.layers[1]: 2048 inputs to one unit at weight_frac = 8 (allowed: at most 2047 here)",
    ),
    (
        CARTPOLE,
        {"network__layers": [500, 6]},
        "network.layers: 500 sensors and 6 actuators do not fit one frame of the link (allowed: 505 together)",
    ),
    (
        CARTPOLE,
        {"network__layers": [2, 4000, 4000, 1], "network__activations": ["tanh"] * 3},
        "network.layers: make 16020001 weights and biases (allowed: at most 1048576)",
    ),
    (
        CARTPOLE,
        {"learner__amplitude": 2.5},
        (
            "learner.amplitude: 2.5 cannot be added to a weight at weight_frac = 11 "
            "(allowed: for weight_perturbation, 0.000488281 to 2)"
        ),
    ),
    (
        CARTPOLE,
        {"learner__amplitude": 5, "learner__rule": "node_perturbation"},
        (
            "learner.amplitude: 5 cannot be added to a drive (1 LSB = 2**-12) "
            "(allowed: for node_perturbation, 0.000244141 to 4)"
        ),
    ),
    (CARTPOLE, {"plant__kind": ...}, f"plant.kind: is missing (allowed: {KINDS})"),
    (CARTPOLE, {"plant__kind": 3}, f"plant.kind: got 3 (allowed: {KINDS})"),
    (
        CARTPOLE,
        {"plant__id": "Cart Pole"},
        "plant.id: got the text 'Cart Pole' (allowed: a Gymnasium id such as CartPole-v1)",
    ),
    (
        CARTPOLE,
        {"plant__sensor_range": [[1.0, 2.0]] * 3},
        "plant.sensor_range: 3 ranges for 4 network inputs (allowed: one [low, high] for each)",
    ),
    (
        CARTPOLE,
        {"plant__actuator_range": [[2.0, -2.0]]},
        "plant.actuator_range[0]: got [2, -2] (allowed: [low, high] with low < high)",
    ),
    (
        CARTPOLE,
        {"plant__actuator_range": [[-1.7e308, 1.7e308]]},
        "plant.actuator_range[0]: got [-1.7e+308, 1.7e+308] (allowed: [low, high] with low < high)",
    ),
    (
        CARTPOLE,
        {"plant__actuator_range": [[1.0]]},
        "plant.actuator_range[0]: has 1 entry (allowed: an array of [low, high], one an actuator)",
    ),
    (
        CARTPOLE,
        {"plant__parameters": {"__class__": 1}},
        (
            "plant.parameters.__class__: is no attribute's name "
            "(allowed: letters, digits and _, not starting with _ or a digit)"
        ),
    ),
    (
        CARTPOLE,
        {"plant__parameters": {"gravity": [1]}},
        "plant.parameters.gravity: got an array (allowed: a table of finite numbers and texts)",
    ),
    (
        CARTPOLE,
        {"plant__mismatch": {"sensor_bits": 0}},
        "plant.mismatch.sensor_bits: got 0 (allowed: a whole number, 1 to 16)",
    ),
    (
        XOR,
        {"learner__anneal": True},
        "learner.anneal: the rate falls only with a spread (allowed: with learner.spread_shift, 1 to 15)",
    ),
    (
        XOR,
        {"learner__spread_shift": 16},
        "learner.spread_shift: got 16 (allowed: a whole number, 0 to 15)",
    ),
    (
        XOR,
        {"learner__anneal": 1},
        "learner.anneal: got 1 (allowed: true or false; true needs spread_shift above 0)",
    ),
    (XOR, {"plant__name": "and"}, f"plant.name: got the text 'and' (allowed: {TASK_NAMES})"),
    (
        XOR,
        {"network__layers": [3, 4, 1]},
        "network.layers: 3 inputs and 1 outputs do not fit the task xor (allowed: 2 first, 1 last)",
    ),
    (
        XOR,
        {"plant__mismatch": {"sensor_bits": 8}},
        'plant.mismatch: belongs to plants of kind = "gymnasium"; a task has none',
    ),
    (XOR, {"run__period_ms": 20}, "run.period_ms: belongs to plants in the loop; a task has no time (allowed: 0)"),
    (
        CARTPOLE,
        {"run__period_ms": 2000},
        (
            "run.deadman_ms: is 2000, and steps are 2000 ms apart: the board would leave the link in between "
            "(allowed: above 2000)"
        ),
    ),
    (
        changed(CARTPOLE, plant={"kind": "board"}),
        {"run__period_ms": 20},
        "run.period_ms: is plant.period_ms here: the plant has a pace of its own (allowed: 0)",
    ),
    (
        LOAD,
        {"run__period_ms": 20},
        "run.period_ms: is plant.period_ms here: the plant has a pace of its own (allowed: 0)",
    ),
    (
        LOAD,
        {"plant__period_ms": 3000},
        (
            "run.deadman_ms: is 2000, and steps are 3000 ms apart: the board would leave the link in between "
            "(allowed: above 3000)"
        ),
    ),
    (
        LOAD,
        {"plant__target_range": [[0.5, 0.4]]},
        "plant.target_range[0]: got [0.5, 0.4] (allowed: [low, high], low not above high)",
    ),
    (
        LOAD,
        {"plant__target_range": [[0.1, 0.2], [0.3, 0.4]]},
        (
            "plant.target_range: has 2 entries "
            "(allowed: an array of [low, high], one, shares of the idle machine's throughput)"
        ),
    ),
    (
        LAB,
        {"plant__port": "/dev/ttyACM1", "run__period_ms": 20},
        "run.period_ms: is plant.period_ms here: the plant has a pace of its own (allowed: 0)",
    ),
    (
        LAB,
        {"plant__period_ms": 0},
        "plant.period_ms: got 0 (allowed: a whole number, 1 to 60000)",
    ),
    (
        LAB,
        {"run__evaluate_steps": 4},
        "run.evaluate_steps: belongs to what the board plays; here, evaluations are as long as trials",
    ),
    (XOR, {"plant__id": "x"}, 'plant.id: belongs to plants of kind = "gymnasium"; a task has none'),
]


@pytest.mark.parametrize(("base", "changes", "line"), REFUSED, ids=[line.split(" (")[0] for _, _, line in REFUSED])
def test_one_error_is_one_line(base: dict[str, Any], changes: dict[str, Any], line: str) -> None:
    assert errors(changed(base, **changes)) == [f"f.toml: {line}"]


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("sede", "; did you mean seed?"),
        ("learner__estimater", "; did you mean estimator?"),
        ("plant__mismatch__sensr_bits", "; did you mean sensor_bits?"),
        ("network__trials", "; it belongs to [run]"),
        ("run__sensor_bits", "; it belongs to [plant.mismatch]"),
        ("run__seed", "; it belongs to the top of the file, before any [table]"),
        ("network__qqq", ""),
    ],
)
def test_an_unknown_key_is_refused_and_a_near_one_named(path: str, hint: str) -> None:
    (line,) = errors(changed(CARTPOLE, **{path: 1}))
    key = path.replace("__", ".")
    assert line.startswith(f"f.toml: {key}: unknown key{hint} (allowed: ")
    assert all(name in line for name in Network.model_fields) or not path.startswith("network")


def test_every_error_comes_at_once_and_rules_between_keys_do_not_wait_for_the_rest() -> None:
    tables = changed(
        CARTPOLE,
        seed="x",
        sede=1,
        network__activations=["tanh", "tanh"],
        learner__amplitude=100,
        learner__rate=...,
        plant__sensor_range=[[1, 1]],
        run__steps=0,
    )
    assert [line.split(": ")[1] for line in errors(tables)] == [
        "seed",
        "learner.rate",
        "run.steps",
        "sede",
        "network.activations",
        "learner.amplitude",
        "plant.sensor_range",
        "plant.sensor_range[0]",
    ]


def test_a_rule_between_keys_is_silent_where_one_of_them_is_wrong_by_itself() -> None:
    assert len(errors(changed(CARTPOLE, network__weight_frac=99, network__init=1e9, learner__amplitude=1e9))) == 1


def test_an_empty_file_says_what_is_missing() -> None:
    assert [line.split(": ")[1] for line in errors({})] == ["network", "learner", "plant", "run"]


INTEGER_KEYS = [
    (table, name, field)
    for table, model in (("", Experiment), ("network", Network), ("learner", Learner), ("run", Run))
    for name, field in model.model_fields.items()
    if field.annotation is int
]


@pytest.mark.parametrize(("table", "name", "field"), INTEGER_KEYS, ids=[name for _, name, _ in INTEGER_KEYS])
def test_integers_are_accepted_up_to_their_limits_and_no_further(table: str, name: str, field: Any) -> None:
    limits = {type(each).__name__: each for each in field.metadata}
    low, high = limits["Ge"].ge, limits["Le"].le
    key = f"{table}__{name}" if table else name
    tables = XOR if name == "evaluate_steps" else CARTPOLE
    if name in OPTIONS:  # it belongs to some rules, and they may want a network of their own
        tables = example_of(OPTIONS[name][1][0]).model_dump(exclude_none=True)
    if name == "period_ms":  # a board is patient for longer than that
        tables = changed(tables, run__deadman_ms=high + 1)
    for good in (low, low + 1, high - 1, high):
        parse(changed(tables, **{key: good}))
    for bad in (low - 1, high + 1, -(2**63), 2**63):
        (line,) = errors(changed(tables, **{key: bad}))
        assert f"got {bad} (allowed: a whole number, {low} to {high})" in line


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("weight_frac", [8, 11, 14])
def test_an_amplitude_is_a_whole_number_of_lsbs_within_its_limits(rule: str, weight_frac: int) -> None:
    frac, most = (weight_frac, 4096) if rule == "weight_perturbation" else (12, 16384)
    for lsbs, good in ((0.49, False), (0.51, True), (1, True), (most, True), (most + 0.4, True), (most + 0.6, False)):
        tables = changed(
            CARTPOLE, network__weight_frac=weight_frac, learner__rule=rule, learner__amplitude=lsbs / 2**frac
        )
        if good:
            head = memoryview(block.build_block(parse(tables)).head).cast("i")
            assert head[layout.AMPLITUDE] == round(lsbs)
        else:
            assert "cannot be added" in errors(tables)[0]


@pytest.mark.parametrize("weight_frac", range(8, 15))
@pytest.mark.parametrize("first", ["identity", "tanh"])
def test_the_fan_in_that_is_accepted_is_the_fan_in_that_a_block_can_hold(weight_frac: int, first: str) -> None:
    limit = min(4095, 2 ** (weight_frac + (0 if first == "identity" else 3)) - 1)
    for width in (limit, limit + 1):
        tables = changed(
            CARTPOLE,
            network__weight_frac=weight_frac,
            network__layers=[4, width, 1],
            network__activations=[first, "identity"],
        )
        if width == limit:
            block.build_block(parse(tables))
        else:
            assert all("network.layers[1]" in line for line in errors(tables))


def test_the_largest_experiment_fits_one_frame_of_the_link() -> None:
    from subsong_device import frames

    telemetry = 4 + 4 + 2 + 4 + 2 * experiment_check.MAX_WORDS
    assert telemetry <= frames.MAX_PAYLOAD < telemetry + 2


# ------------------------------------------------------------------------------------------------ text and files


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed = 1\nseed = = 2\n", "f.toml: line 2, column 8: TOML syntax: invalid value"),
        ("a = [1,\n\n", "f.toml: line 3 (the end): TOML syntax: invalid value"),
        ("[" * 100_000, "f.toml: "),
        ("seed = " + "[" * 50_000, "f.toml: arrays or tables are nested too deeply"),
        ("seed = " + "1" * 5000, "f.toml: a number has too many digits"),
        ("seed = 0x" + "f" * 5000, "f.toml: seed: got an integer of more than 100 bits"),
        ("seed = 1\0", "f.toml: line 1, column 9: TOML syntax: "),
        ("seed = 2020-01-01", "f.toml: seed: got a date (allowed: a whole number"),
    ],
)
def test_bad_toml_is_one_clear_error(text: str, message: str) -> None:
    with pytest.raises(ExperimentError) as caught:
        parse_experiment(text, "f.toml")
    assert str(caught.value).startswith(message)


def test_files_that_are_no_experiments(tmp_path: Path) -> None:
    contents = {
        "latin1.toml": (b"seed = 1\n# f\xfcr\n", "line 2: byte 0xfc is not UTF-8; save the file as UTF-8"),
        "utf16.toml": ("seed = 1\n".encode("utf-16"), "line 1: byte 0xff is not UTF-8; save the file as UTF-8"),
        "large.toml": (b"#" * (10 << 20), "is larger than 1 MiB, so it is no experiment file"),
        "run.mcap": (b"\x89MCAP0\r\n\x01" + bytes(9), "is a run log, not an experiment file; `subsong replay"),
    }
    for name, (data, message) in contents.items():
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(ExperimentError) as caught:
            load_experiment(path)
        assert str(caught.value).startswith(f"{path}: {message}")
    for path, message in (
        (tmp_path / "none.toml", "there is no such file; `subsong new"),
        (tmp_path, "is a folder"),
        (tmp_path / "none.toml" / "x", "there is no such file"),
        (tmp_path / "latin1.toml" / "x", "cannot be read: Not a directory"),
        (Path("a\0b"), "cannot be read: embedded null byte"),
        (Path("/dev/zero"), "is larger than 1 MiB"),
    ):
        with pytest.raises(ExperimentError) as caught:
            load_experiment(path)
        assert str(caught.value).startswith(f"{path}: {message}")


def test_windows_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "windows.toml"
    path.write_bytes(b"\xef\xbb\xbf" + example_text("xor").replace("\n", "\r\n").encode())
    assert load_experiment(path) == parse_experiment(example_text("xor"), "xor")


@given(st.text(max_size=200))
def test_no_text_raises_anything_but_experiment_errors(text: str) -> None:
    with pytest.raises(ExperimentError):
        parse_experiment(text, "f.toml")


VALUES = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["kind", "a", "name", "0"]), inner),
    max_leaves=5,
)
PATHS = [
    (table, name)
    for table, model in (("network", Network), ("learner", Learner), ("plant", GymnasiumPlant), ("run", Run))
    for name in [*model.model_fields, ""]
] + [("plant.mismatch", name) for name in MismatchTable.model_fields]


@given(base=st.sampled_from([CARTPOLE, XOR]), path=st.sampled_from(PATHS), value=VALUES)
def test_no_value_anywhere_raises_anything_but_experiment_errors(
    base: dict[str, Any], path: tuple[str, str], value: Any
) -> None:
    table, name = path
    key = "__".join(filter(None, (*table.split("."), name)))
    try:
        experiment = parse(changed(base, **{key: value}))
    except ExperimentError as error:
        lines = str(error).splitlines()
    else:
        lines = []
        assert parse_experiment(experiment.to_toml(), "again") == experiment
    assert all(line.startswith("f.toml: ") for line in lines)


# ------------------------------------------------------------------------------------------------ identity

FINITE = st.floats(allow_nan=False, allow_infinity=False)
EXPERIMENTS = st.builds(
    changed,
    st.sampled_from([CARTPOLE, XOR]),
    seed=st.integers(0, 2**32 - 1),
    network__weight_frac=st.integers(10, 14),
    network__init=st.floats(0, 1.9),
    learner__rule=st.sampled_from(RULES),
    learner__amplitude=st.floats(0.001, 0.25),
    run__stop_cost=FINITE,
).flatmap(
    lambda tables: (
        st.just(tables)
        if tables["plant"]["kind"] == "task"
        else st.builds(
            changed,
            st.just(tables),
            plant__parameters=st.dictionaries(
                st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,8}", fullmatch=True),
                FINITE | st.integers(-9, 9) | st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
                max_size=3,
            ),
            plant__mismatch__sensor_noise=st.floats(0, 1),
        )
    )
)


@given(EXPERIMENTS)
def test_toml_written_is_toml_read(tables: dict[str, Any]) -> None:
    experiment = parse(tables)
    again = parse_experiment(experiment.to_toml(), "again")
    assert again == experiment
    assert again.digest == experiment.digest
    assert experiment.to_toml() == again.to_toml()


def test_the_digest_is_a_contract() -> None:
    # Logs name their experiment by it. A change here is a change of format: say so in the changelog.
    assert parse(CARTPOLE).digest == "758900e87aebf460c012c208b9006e2401fb1988c75911ddc706763c607fcf6f"
    assert parse(XOR).digest == "c23e1117e39f2aa45008990172c470fdc6c2783eeee6b93f27245c7682a34008"


def test_the_digest_ignores_what_does_not_matter() -> None:
    text = example_text("cartpole")
    plain = parse_experiment(text, "a")
    assert parse_experiment("# more\n" + text, "b").digest == plain.digest
    assert parse_experiment(plain.to_toml(), "c").digest == plain.digest
    assert parse_experiment(text.replace("init = 0.0", "init = -0.0"), "d").digest == plain.digest
    assert parse_experiment(text.replace("init = 0.0", "init = 0"), "e").digest == plain.digest


def test_the_digest_tells_every_value_apart() -> None:
    digests = {parse(tables).digest for tables in (CARTPOLE, XOR)}
    for key, value in {
        "seed": 2,
        "network__weight_frac": 12,
        "learner__rate": 2,
        "learner__rounding": "nearest",
        "plant__cost_lsb": 2,
        "plant__mismatch": {},
        "plant__mismatch__sensor_bits": 9,
        "run__stop_cost": 0.0,
        "run__deadman_ms": 2001,
    }.items():
        digests.add(parse(changed(CARTPOLE, **{key: value})).digest)
    assert len(digests) == 11


def test_another_seed_is_another_experiment() -> None:
    experiment = parse(changed(XOR, seed=5))
    assert experiment.with_seed(5) == experiment
    assert experiment.with_seed(6) == parse(changed(XOR, seed=6))
    with pytest.raises(ExperimentError, match=r"^seed: got -1 \(allowed: a whole number"):
        experiment.with_seed(-1)


def test_an_experiment_does_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        parse(XOR).seed = 2  # type: ignore[misc]


# ------------------------------------------------------------------------------------------------ plants


def test_the_plant_is_handed_over_whole() -> None:
    tables = changed(
        CARTPOLE,
        plant__parameters={"gravity": 9, "kinematics_integrator": "euler"},
        plant__sensor_range=[[-1, 1]] * 4,
        plant__cost_lsb=0.5,
        plant__mismatch={"sensor_bits": 8, "parameters": {"force_mag": 8.0}},
    )
    experiment = parse(tables)
    assert experiment.plant_spec() == PlantSpec(
        "gymnasium",
        "CartPole-v1",
        parameters={"gravity": 9, "kinematics_integrator": "euler"},
        sensor_range=((-1.0, 1.0),) * 4,
        cost_lsb=0.5,
    )
    assert experiment.mismatch() == Mismatch(sensor_bits=8, parameters={"force_mag": 8.0})
    assert parse(CARTPOLE).mismatch() is None
    assert parse(XOR).plant_spec() == PlantSpec("task", name="xor")


def test_a_mismatch_means_the_same_here_and_in_the_simulator() -> None:
    assert parse(changed(CARTPOLE, plant__mismatch={})).mismatch() == Mismatch(), "the defaults are neutral in both"
    for name, field in MismatchTable.model_fields.items():
        for limit in field.metadata:
            bounds = [value for at in ("ge", "le", "gt", "lt") if (value := getattr(limit, at, None)) is not None]
            for bound in bounds:
                for value in (
                    {bound, bound + 1, bound - 1} if field.annotation is int else {bound, bound + 0.1, bound - 0.1}
                ):
                    tables = changed(CARTPOLE, **{f"plant__mismatch__{name}": value})
                    assert accepts(lambda tables=tables: parse(tables)) == accepts(
                        lambda name=name, value=value: Mismatch(**{name: value})
                    ), f"{name} = {value}"


def accepts(make: Any) -> bool:
    from subsong.errors import SubsongError

    try:
        make()
    except SubsongError:
        return False
    return True


# ------------------------------------------------------------------------------------------------ new files


def test_an_example_is_written_to_start_from(tmp_path: Path) -> None:
    path = write_example(tmp_path / "mine", None, "node_perturbation", overwrite=False)
    assert path == tmp_path / "mine.toml"
    text = path.read_text()
    assert load_experiment(path).learner.rule == "node_perturbation"
    assert "subsong sim mine.toml" in text
    assert "cartpole.toml" not in text
    with pytest.raises(ExperimentError, match="is there already; --force overwrites it"):
        write_example(path, "xor", "weight_perturbation", overwrite=False)
    write_example(path, "xor", "weight_perturbation", overwrite=True)
    assert load_experiment(path) == parse_experiment(example_text("xor"), "xor")
    assert load_experiment(write_example(tmp_path / "xor", None, RULES[0], overwrite=False)).plant.kind == "task"
    for bad, message in (
        (tmp_path / "no" / "x", "cannot be written"),
        (Path("a\nb"), "is no name"),
        (Path(), "is no name"),
    ):
        with pytest.raises(ExperimentError, match=message):
            write_example(bad, None, RULES[0], overwrite=False)


def test_toml_of_awkward_keys_and_texts() -> None:
    tables = {"a b": 'x"\\\n\x7f\u2028', "t": {"": 1e-300, "é": [1, [2.5, False]], "u": {"parameters": {"k y": -0.0}}}}
    assert parse_toml(to_toml(tables), "f") == tables
