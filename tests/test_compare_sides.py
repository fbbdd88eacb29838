"""Two sets of runs, whatever they are; runs that are left out; margins declared beforehand; commands that reproduce."""

import json
import re
import shlex
from html import unescape

import numpy as np
import pytest
from click.testing import CliRunner

from compare_logs import CARTPOLE, evaluate, make_run, reader, replay_equal
from subsong.cli import subsong
from subsong.compare import compare
from subsong.errors import ExperimentError
from subsong.experiment import parse_experiment
from subsong.session import simulate
from test_compare_gap import SHORT

NODES = CARTPOLE.replace("weight_perturbation", "node_perturbation")


def invoke(*words):
    return CliRunner().invoke(subsong, list(words))


@pytest.fixture
def run(tmp_path):
    """Return run(first, second, **options): compare two sets of in-memory runs."""

    def call(first, second=None, **options):
        options = {"evaluate": evaluate, "replay": replay_equal, "episodes": 5, **options}
        paths = [[tmp_path / name for name in runs] for runs in (first, second or {})]
        both = {**first, **(second or {})}
        return compare(paths[0], tmp_path / "report.html", against=paths[1], read=reader(both), **options)

    return call


def several(source, runs, mean, toml=CARTPOLE, **options):
    costs = np.random.default_rng(runs).normal(mean, 10.0, runs)
    return {
        f"{source}-{mean}-{seed}.mcap": make_run(source, seed, toml=toml, final=(cost, cost), **options)
        for seed, cost in enumerate(costs, 1)
    }


# ---------------------------------------------------------------------------------------------- two sets


def test_two_rules_of_one_simulator_are_set_against_each_other(run):
    result = run(several("sim", 6, -900), several("sim", 6, -400, toml=NODES))
    sides = result.details["sides"]
    assert [sides[side]["label"] for side in ("software", "hardware")] == ["weight perturbation", "node perturbation"]
    assert result.details["statistics"]["own"]["runs"] == {"software": 6, "hardware": 6}
    assert result.learning == "different"
    learning = next(line for line in result.verdict if line.startswith("Learning"))
    assert learning.startswith(
        "Learning: weight perturbation is better. Each on its own plant: node perturbation minus"
    )
    assert {"key": "learner.rule", "software": "weight_perturbation", "hardware": "node_perturbation"} in (
        result.details["differences"]
    )
    page = result.path.read_text(encoding="utf-8")
    assert "weight perturbation against node perturbation" in page
    assert "Node perturbation weights" in page
    assert not re.search(r"\b(software|hardware) (weights|runs?)\b", page)


def test_what_two_rules_on_one_plant_differ_by_is_not_put_on_the_plant(run):
    result = run(several("sim", 2, -900), several("sim", 2, -400, toml=NODES))
    rest = next(part for part in result.details["gap"] if part["part"] == "Plant")
    assert "what remains is what the two sets differ in, its own chance" in rest["text"]
    result = run(several("sim", 2, -900), several("sim", 2, -400))
    rest = next(part for part in result.details["gap"] if part["part"] == "Plant")
    assert "what remains is its own chance" in rest["text"]


def test_sides_without_spread_within_a_margin_are_called_so(run):
    one = {f"a{seed}.mcap": make_run("sim", seed, final=(-900.0, -900.0)) for seed in range(4)}
    two = {f"b{seed}.mcap": make_run("sim", seed, final=(-880.0, -880.0)) for seed in range(4)}
    learning = next(line for line in run(one, two, margin=50.0).verdict if line.startswith("Learning"))
    assert learning.startswith("Learning: equivalent.")
    assert "within the margin of 50 (declared by --margin), by counting alone, p = 0.014." in learning


def test_each_set_is_evaluated_under_its_own_rule(run):
    rules = []

    def spy(experiment, rule, head, mem, *, mismatch, episodes):
        rules.append(rule)
        return evaluate(experiment, rule, head, mem, mismatch=mismatch, episodes=episodes)

    run({"a.mcap": make_run("sim")}, {"b.mcap": make_run("sim", toml=NODES)}, evaluate=spy)
    # Two starts, the first set's weights, the second's, on both plants; then the first's behind coarser sensors.
    assert rules[:8] == ["weight_perturbation", "node_perturbation"] * 4
    assert set(rules[8:]) == {"weight_perturbation"}


@pytest.mark.parametrize(
    ("first", "second", "labels"),
    [
        ({}, {"toml": CARTPOLE.replace("rate_shift = 0", "rate_shift = 3")}, ("rate_shift 0", "rate_shift 3")),
        ({"mismatch": False}, {"mismatch": True}, ("nominal-plant", "mismatched-plant")),
        ({}, {"seed": 2}, ("first set", "second set")),
    ],
)
def test_sets_are_named_by_what_they_differ_in(run, first, second, labels):
    result = run({"a.mcap": make_run("sim", **first)}, {"b.mcap": make_run("sim", **second)})
    assert tuple(side["label"] for side in result.details["sides"].values()) == labels


def test_labels_are_the_users_where_there_are_any(run):
    runs = {"a.mcap": make_run("sim")}, {"b.mcap": make_run("board")}
    assert [side["label"] for side in run(*runs).details["sides"].values()] == ["software", "hardware"]
    result = run(*runs, labels=("old <cart>", "new cart"))
    page = result.path.read_text(encoding="utf-8")
    assert "Old &lt;cart&gt; weights" in page
    assert "<cart>" not in page
    assert result.details["sides"]["hardware"]["label"] == "new cart"


def test_two_boards_are_both_replayed(run):
    result = run({"a.mcap": make_run("board")}, {"b.mcap": make_run("board", 2)})
    assert [each["replay_equal"] for each in result.details["runs"]] == [True, True]


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (("force_mag = 8.0", "force_mag = 9.0"), "plant.mismatch.parameters.force_mag"),
        (("steps = 500", "steps = 400"), "run.steps"),
    ],
)
def test_what_a_cost_means_must_be_the_same(run, change, key):
    with pytest.raises(ExperimentError, match=key) as error:
        run({"a.mcap": make_run("sim")}, {"b.mcap": make_run("sim", toml=NODES.replace(*change))})
    assert "learner" not in str(error.value)


def test_one_set_holds_one_experiment(run):
    with pytest.raises(ExperimentError, match=r"learner\.rule: weight_perturbation against node_perturbation"):
        run({"a.mcap": make_run("sim"), "b.mcap": make_run("sim", toml=NODES)}, {"c.mcap": make_run("sim", 2)})
    with pytest.raises(ExperimentError, match=r"subsong compare LOGS\.\.\. vs LOGS\.\.\."):
        run({"a.mcap": make_run("sim"), "b.mcap": make_run("sim", toml=NODES)})


@pytest.mark.parametrize("words", [("vs", "b"), ("a", "vs"), ("a", "vs", "b", "vs", "c"), ("vs",)])
def test_vs_stands_once_between_two_sets(words):
    result = invoke("compare", *words)
    assert result.exit_code == 2
    assert "stands once, between two sets of logs" in result.output


@pytest.mark.parametrize("words", [("--label", "one"), ("--exclude", "a.mcap", " ")])
def test_half_said_options_are_usage_errors(words):
    assert invoke("compare", "a.mcap", *words).exit_code == 2


# ---------------------------------------------------------------------------------------------- left out


def test_a_run_is_left_out_with_its_reason_and_still_drawn(run, tmp_path):
    runs = several("sim", 3, -900)
    bad = next(iter(runs))
    result = run({**runs, "run.mcap": make_run("board")}, exclude=[(tmp_path / bad, "the belt slipped")])
    (left_out,) = result.details["excluded"]
    assert left_out["path"].endswith(bad)
    assert left_out["reason"].startswith("the belt slipped")
    assert result.details["statistics"]["own"]["runs"]["software"] == 2
    assert [each["counts"] for each in result.details["runs"]] == [False, True, True, True]
    page = result.path.read_text(encoding="utf-8")
    assert "the belt slipped" in page
    assert len(result.transfer["weights"]["software"]["nominal"]["scores"]) == 2


def test_a_log_that_is_not_there_cannot_be_left_out(run):
    with pytest.raises(ExperimentError, match=r"other\.mcap: is none of the logs"):
        run({"sim.mcap": make_run("sim")}, exclude=[("other.mcap", "lost")])


# ---------------------------------------------------------------------------------------------- margins


DECLARED = CARTPOLE.replace("stop_cost", "margin = 30.0\nstop_cost")


def both(toml):
    return {**several("sim", 8, -900, toml=toml), **several("board", 8, -905, toml=toml)}


def test_an_experiment_declares_its_margin(run):
    result = run(both(DECLARED))
    assert result.learning == "equivalent"
    assert result.details["margin"] == {
        "value": 30.0,
        "declared_in": "run.margin in the experiment",
        "in_experiment": 30.0,
    }
    assert "within the margin of 30 (declared by run.margin in the experiment)" in result.verdict[2]
    assert run(both(CARTPOLE)).learning == "inconclusive"


def test_an_option_goes_before_it_and_the_page_says_so(run):
    result = run(both(DECLARED), margin=0.01)
    assert result.learning == "inconclusive"
    assert result.details["margin"]["declared_in"] == "--margin"
    assert any(
        "declares a margin of 30 (run.margin); --margin put 0.01 in its place" in note
        for note in result.details["notes"]
    )


def test_two_sets_with_different_margins_have_none(run):
    result = run({"a.mcap": make_run("sim", toml=DECLARED)}, {"b.mcap": make_run("sim", 2)})
    assert result.details["margin"]["value"] is None
    assert any("declare different margins" in note for note in result.details["notes"])


def test_a_difference_despite_a_declared_margin_is_a_negative_answer(run):
    apart = {**several("sim", 8, -900, toml=DECLARED), **several("board", 8, -300, toml=DECLARED)}
    assert run(apart).negative
    assert not run({**several("sim", 8, -900), **several("board", 8, -300)}).negative


def test_no_margin_leaves_an_experiments_digest_as_it_was():
    plain = parse_experiment(CARTPOLE, "test")
    assert "margin" not in plain.canonical()
    assert parse_experiment(DECLARED, "test").digest != plain.digest


# ---------------------------------------------------------------------------------------------- reproduction


def test_every_command_of_the_page_gives_its_figures_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    toml = SHORT.replace("steps = 500", "steps = 60\nmargin = 4.5")
    for seed in (1, 2, 3):
        for name, mismatch in (("nominal", False), ("bent", True)):
            found = parse_experiment(toml, "test").with_seed(seed)
            simulate(found, out=tmp_path / f"{name} {seed}.mcap", mismatch=mismatch)
    sets = [[f"{name} {seed}.mcap" for seed in (1, 2, 3)] for name in ("nominal", "bent")]
    options = [
        "--label",
        "as modelled",
        "--label",
        "as built",
        "--exclude",
        "bent 3.mcap",
        "it's stuck",
        "--episodes",
        "3",
    ]
    said = invoke("compare", *sets[0], "vs", *sets[1], *options, "-o", "a report.html", "--json")
    assert said.exit_code == 0, said.output
    first, page = json.loads(said.stdout), (tmp_path / "a report.html").read_text(encoding="utf-8")
    blocks = [unescape(block) for block in re.findall(r"<pre>(.*?)</pre>", page, re.DOTALL)]
    commands = {line for block in blocks for line in block.splitlines() if line.startswith("subsong compare")}
    assert len(commands) == 1
    again = invoke(*shlex.split(commands.pop())[1:])
    assert json.loads(again.stdout) == first
    assert (tmp_path / "a report.html").read_text(encoding="utf-8") == page
    # Every section of figures names its key.
    keys = set(re.findall(r"--json</code>, <code>(\w+)</code>", page))
    assert keys == {"gap", "split", "transfer", "statistics", "model", "resolution", "runs"}
    assert keys <= first.keys()
    # And the figures that are shown stand there.
    shown = re.findall(r'<td class="big[^"]*">([^<]+)<', page)
    cells = [cell["mean"] for row in first["transfer"]["weights"].values() for cell in row.values()]
    assert [float(text.replace("\u2212", "-").replace(",", "")) for text in shown] == pytest.approx(cells, rel=1e-3)
    # The runs can be made again as well: what they said is what the logs hold.
    sims = [line for block in blocks for line in block.splitlines() if line.startswith("subsong sim")]
    assert len(sims) == 6
    (tmp_path / "experiment.toml").write_text(next(block for block in blocks if block.startswith("seed = ")))
    made = invoke(*shlex.split(sims[0])[1:], "-o", "again.mcap", "--json")
    assert made.exit_code == 0, made.output
    twice = compare([tmp_path / "nominal 1.mcap", tmp_path / "again.mcap"], tmp_path / "twice.html", episodes=1)
    assert "bit for bit" in twice.details["excluded"][0]["reason"]
