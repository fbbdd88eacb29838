"""The gap as a sum: its terms, in their order, and that they add up."""

import json

import pytest

from compare_logs import CARTPOLE, evaluate, make_run, reader, refuse, replay_equal
from subsong.compare import _nominal, compare
from subsong.compare.transfer import with_mismatch
from subsong.experiment import parse_experiment
from subsong.findings import clock_of

ALL = CARTPOLE.replace("actuator_delay = 1", "actuator_delay = 1\nsensor_delay = 2\nsensor_bits = 8")
# What software's weights cost more under each key of a mismatch, counts.
PRICES = {"sensor_bits": 10, "actuator_delay": 20, "sensor_delay": 40, "parameters": 80}


def priced(experiment, rule, head, mem, *, mismatch, episodes):
    costs = evaluate(experiment, rule, head, mem, mismatch=False, episodes=episodes)
    keys = experiment.plant.mismatch.model_dump(exclude_defaults=True) if mismatch else ()
    return [cost + sum(PRICES[key] for key in keys) for cost in costs]


@pytest.fixture
def terms(tmp_path):
    """Return terms(one, two): what compare says of two runs' gap, and the page."""

    def call(one, two, evaluate=priced, **options):
        runs = {"one.mcap": one, "two.mcap": two}
        paths = [tmp_path / name for name in runs]
        options = {"evaluate": evaluate, "replay": replay_equal, "episodes": 7, **options}
        found = compare(paths, tmp_path / "report.html", read=reader(runs), **options)
        return found, found.path.read_text(encoding="utf-8")

    return call


def test_the_terms_are_priced_one_on_top_of_the_other_and_add_up(terms):
    board = make_run("board", toml=ALL, final=(-1100.0, 0.0))
    found, page = terms(make_run("sim", toml=ALL, final=(-980.0, 0.0)), board)
    # cost_lsb = 0.5
    assert [(each["part"], each["keys"], each["change"]) for each in found.details["split"]] == [
        ("quantisation", ["sensor_bits"], 5.0),
        ("timing", ["actuator_delay", "sensor_delay"], 30.0),
        ("plant", ["parameters"], 40.0),
        ("learning", [], pytest.approx(-60.0, abs=1.0)),
    ]
    table = found.transfer["weights"]
    assert found.details["split"][0]["cost"] == table["software"]["nominal"]["mean"] + 5.0
    assert found.details["split"][2]["cost"] == table["software"]["mismatched"]["mean"]
    assert found.details["split"][3]["cost"] == table["hardware"]["mismatched"]["mean"]
    whole = table["hardware"]["mismatched"]["mean"] - table["software"]["nominal"]["mean"]
    assert sum(each["change"] for each in found.details["split"]) == pytest.approx(whole, abs=1e-9)
    parts = {part["part"]: part for part in found.details["gap"]}
    assert (parts["Timing"]["finding"], parts["Plant"]["finding"][0]) == ("+30", "+")
    assert "It is the sum of quantisation +5, timing +30, plant +40, learning" in parts["Plant"]["text"]
    assert "The gap as a sum" in page


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({"mismatch": True}, {}),
        ({}, {"mismatch": False}),
        ({}, {"complete": False}),
    ],
    ids=["both mismatched", "both nominal", "no hardware run that counts"],
)
def test_no_sum_is_made_up_where_the_sides_learned_elsewhere_or_not_at_all(terms, one, two):
    complete = two.pop("complete", True)
    board = make_run("board", toml=ALL, **two)
    board.complete = complete
    found, page = terms(make_run("sim", toml=ALL, **one), board)
    assert found.details["split"] == []
    assert "The gap as a sum" not in page


def test_a_plant_that_cannot_be_played_has_no_sum(terms):
    found, _ = terms(make_run("sim"), make_run("board"), evaluate=refuse)
    assert found.details["split"] == []
    json.dumps(found.to_json(), allow_nan=False)


def test_another_mismatch_is_simulated_even_where_the_real_plant_has_a_port():
    lab = parse_experiment(
        CARTPOLE[: CARTPOLE.index("[plant]")].replace("[4, 1]", "[2, 1]")
        + '[plant]\nkind = "tclab"\nport = "/dev/ttyUSB0"\ntarget_range = [[30.0, 50.0]]\n'
        + "[run]\ntrials = 2\nsteps = 3\n",
        "test",
    )
    assert lab.real(mismatch=True)
    coarse = with_mismatch(lab, {"sensor_bits": 8})
    assert not coarse.real(mismatch=True)
    assert coarse.plant.mismatch.sensor_bits == 8


def test_the_model_foretells_as_fast_as_it_can():
    paced = parse_experiment(CARTPOLE.replace("[run]", "[run]\nperiod_ms = 20"), "test")
    plant = _nominal()(paced, False, compiled=False)
    assert clock_of(plant) is None
    plant.close()
