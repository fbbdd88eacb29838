"""Comparing logs: which may stand beside one another, what counts, what is said of the gap."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compare_logs import (
    CARTPOLE,
    XOR,
    FakeReplay,
    FakeRun,
    evaluate,
    make_run,
    reader,
    refuse,
    replay_equal,
)
from subsong.compare import compare
from subsong.compare.curves import at, middle, read_curve, thin, trailing_mean
from subsong.compare.gap import read_link
from subsong.compare.records import read_record
from subsong.errors import ExperimentError, LogError, ReplayError
from subsong.findings import Pace
from subsong.runlog.records import Event, Frame


@pytest.fixture
def run(tmp_path):
    """Return run(logs, **options): compare in-memory runs, written to a page in tmp_path."""

    def call(runs: dict[str, FakeRun], **options):
        options = {"evaluate": evaluate, "replay": replay_equal, "episodes": 20, **options}
        return compare([tmp_path / name for name in runs], tmp_path / "report.html", read=reader(runs), **options)

    return call


def several(source: str, runs: int, **options) -> dict[str, FakeRun]:
    rng = np.random.default_rng(runs)
    made = {}
    for seed in range(1, runs + 1):
        final = (-900 + 10 * rng.normal(), -500 + 60 * rng.normal())
        if source == "board":
            final = (-700 + 60 * rng.normal(), -880 + 10 * rng.normal())
        made[f"{source}{seed}.mcap"] = make_run(source, seed, **{"final": final, **options})
    return made


# ---------------------------------------------------------------------------------------------- one run a side


def test_one_run_a_side_says_that_it_is_one_and_gives_no_interval(run):
    result = run({"sim.mcap": make_run("sim"), "run.mcap": make_run("board")}, margin=1e6)
    assert result.learning == "inconclusive"
    assert any("One run a side: nothing can be said about other runs." in line for line in result.verdict)
    page = result.path.read_text()
    assert "One run a side: nothing can be said about other runs" in page
    assert "Probability of improvement" not in page
    own = result.details["statistics"]["own"]
    assert own["software_interval"] is own["p"] is own["equivalence"] is None
    # What the spread within a run is called.
    assert "standard deviation over the episodes of one run, which says nothing about other runs" in page


def test_one_software_run_against_many_is_inconclusive_too(run):
    result = run({"sim.mcap": make_run("sim"), **several("board", 4)}, margin=1e6)
    assert result.learning == "inconclusive"
    assert any("One software run: nothing can be said about other software runs." in line for line in result.verdict)


def test_the_verdict_in_the_order_arithmetic_plant_learning_transfer(run):
    result = run({"sim.mcap": make_run("sim", final=(-960, -500)), "run.mcap": make_run("board", final=(-700, -900))})
    assert [line.split(":")[0] for line in result.verdict] == ["Arithmetic", "Plant", "Learning", "Transfer"]
    assert result.verdict[0] == (
        "Arithmetic: no gap. 120 trials of 1 board run executed again from the recorded words: every actuator word, "
        "checksum and state is equal."
    )
    # Physical costs: counts times cost_lsb = 0.5. Gap and its split: -480 -> -250 -> -450.
    assert result.verdict[1] == (
        "Plant: gap of +30. The mismatch raises the cost of the software weights by 230, from -480 to -250. The "
        "hardware weights cost -450 on the same plant, 200 less than the software weights there. Learning there wins "
        "back 87% of the loss. These runs do not tell that from chance: see Transfer."
    )
    assert result.arithmetic_equal is True
    assert json.loads(json.dumps(result.to_json()))["transfer"]["weights"]["hardware"]["mismatched"]["mean"] == -450


def test_many_runs_a_side_are_judged(run):
    result = run({**several("sim", 8), **several("board", 8)}, margin=40.0)
    assert result.learning == "equivalent"
    assert result.details["statistics"]["mismatched"]["verdict"] == "different"
    assert result.details["statistics"]["mismatched"]["probability_of_improvement"] == 1
    assert any("hardware is better" in line for line in result.verdict)


def test_learning_that_learned_nothing_is_said_beside_any_likeness(run):
    nothing = (-40.0, -36.0)
    result = run({**several("sim", 3, final=nothing), **several("board", 3, final=nothing)})
    assert "The software weights are no better than untrained ones, which cost -20 there." in result.verdict[2]
    assert "The hardware weights are no better than untrained ones, which cost -18 there." in result.verdict[2]


# ---------------------------------------------------------------------------------------------- transfer


def test_every_cell_sees_the_same_experiment_and_the_same_seeds(run):
    asked = []

    def spy(experiment, rule, head, mem, *, mismatch, episodes):
        asked.append((experiment.with_seed(0).digest, rule, mismatch, episodes))
        return evaluate(experiment, rule, head, mem, mismatch=mismatch, episodes=episodes)

    result = run({**several("sim", 2), **several("board", 3)}, evaluate=spy, episodes=7)
    # Untrained starts: seeds 1 to 3; then 2 software and 3 hardware runs; on both plants.
    cells, rest = asked[: 2 * (3 + 2 + 3)], asked[2 * (3 + 2 + 3) :]
    assert len({(digest, rule, episodes) for digest, rule, _, episodes in cells}) == 1
    assert [mismatch for _, _, mismatch, _ in cells] == [False] * 8 + [True] * 8
    # The software weights under the mismatch's delays alone, and behind coarser sensors: seven resolutions, of which
    # the finest is the plant as it is.
    assert [mismatch for _, _, mismatch, _ in rest] == [True] * 2 + [True] * 12 + [False] * 2
    table = result.transfer["weights"]
    assert [table[row]["nominal"]["runs"] for row in ("untrained", "software", "hardware")] == [3, 2, 3]


def test_a_plant_that_cannot_be_simulated_leaves_its_cells_empty_and_scores_come_from_the_logs(run):
    result = run({**several("sim", 4), **several("board", 4)}, evaluate=refuse)
    assert "on pins" in result.transfer["weights"]["software"]["nominal"]["missing"]
    assert "not evaluated: this plant is on pins" in result.path.read_text()
    assert result.details["statistics"]["own"]["runs"] == {"software": 4, "hardware": 4}
    assert result.details["statistics"]["mismatched"]["runs"] == {"software": 0, "hardware": 0}


def test_an_experiment_without_a_mismatch_has_one_column(run):
    result = run({"sim.mcap": make_run("sim", toml=XOR), "run.mcap": make_run("board", toml=XOR)})
    assert result.transfer["plants"] == ["nominal"]
    assert result.transfer["episodes"] == 1  # a task has no chance in it
    assert result.verdict[1].startswith("Plant: one plant.")


def test_software_logs_alone_make_a_report_that_says_what_is_missing(run):
    result = run(several("sim", 2))
    assert result.arithmetic_equal is None
    assert "no hardware run counts here" in result.verdict[2]
    assert "no hardware run" in result.path.read_text()


# ---------------------------------------------------------------------------------------------- arithmetic


def test_a_difference_is_named_and_makes_the_arithmetic_unequal(run):
    found = FakeReplay(120, 3, difference="trial 3: checksum 17 in the log, 18 here")
    result = run({"sim.mcap": make_run("sim"), "run.mcap": make_run("board")}, replay=lambda *_: found)
    assert result.arithmetic_equal is False
    assert result.verdict[0].startswith("Arithmetic: differs.")
    assert "trial 3: checksum 17 in the log, 18 here" in result.verdict[0]
    assert "It cannot be told apart from the arithmetic" in result.path.read_text()


def test_one_difference_among_many_runs_decides(run):
    def replay(path, progress):
        return FakeReplay(120, 120, difference="trial 0" if path.name == "board2.mcap" else None)

    result = run({"sim.mcap": make_run("sim"), **several("board", 3)}, replay=replay)
    assert result.arithmetic_equal is False
    assert [each["replay_equal"] for each in result.details["runs"]] == [None, True, False, True]


def test_a_log_that_cannot_be_replayed_leaves_the_arithmetic_open(run):
    def replay(path, progress):
        raise ReplayError("the log has arithmetic version 1, this Subsong 2")

    result = run({"sim.mcap": make_run("sim"), "run.mcap": make_run("board")}, replay=replay)
    assert result.arithmetic_equal is None
    assert "arithmetic version 1, this Subsong 2" in result.verdict[0]


def test_a_log_without_any_trial_to_check_proves_nothing(run):
    result = run({"sim.mcap": make_run("sim"), "run.mcap": make_run("board")}, replay=lambda *_: FakeReplay(0, 0))
    assert result.arithmetic_equal is None


def test_holes_are_told(run):
    found = FakeReplay(120, 117, holes=1, skipped=3)
    result = run({"sim.mcap": make_run("sim"), "run.mcap": make_run("board")}, replay=lambda *_: found)
    assert "3 trials in holes could not be checked" in result.verdict[0]
    assert any("1 hole in the telemetry" in note for note in result.details["notes"])


# ---------------------------------------------------------------------------------------------- which logs


def test_different_experiments_are_refused_naming_every_key_that_differs(run):
    other = make_run("board", toml=CARTPOLE.replace("force_mag = 8.0", "force_mag = 9.0").replace("500", "400"))
    with pytest.raises(ExperimentError) as error:
        run({"sim.mcap": make_run("sim"), "run.mcap": other})
    text = str(error.value)
    assert "sim.mcap" in text
    assert "run.mcap" in text
    assert "plant.mismatch.parameters.force_mag: 8 against 9" in text
    assert "run.steps: 500 against 400" in text
    assert "seed" not in text.split("\n", 1)[1]


def test_seeds_may_differ(run):
    assert run({"sim.mcap": make_run("sim", 1), "run.mcap": make_run("board", 2)}).path.exists()


def test_two_plants_of_two_experiments_are_two_experiments(run):
    other = make_run("sim", 2, toml=CARTPOLE.replace("500", "400"), mismatch=True)
    with pytest.raises(ExperimentError, match=r"run\.steps: 500 against 400") as error:
        run({"a.mcap": make_run("sim"), "b.mcap": other})
    # What no "vs" allows, no "vs" is offered for.
    assert "vs" not in str(error.value)


def test_one_side_on_two_plants_is_refused(run):
    with pytest.raises(ExperimentError, match="no repetitions of one another"):
        run({"a.mcap": make_run("sim"), "b.mcap": make_run("sim", 2, mismatch=True), "c.mcap": make_run("board")})


def test_a_log_whose_experiment_is_not_the_one_it_names_is_refused(run):
    with pytest.raises(LogError, match="altered"):
        run({"sim.mcap": make_run("sim", experiment_digest="0" * 64)})


def test_a_log_whose_experiment_does_not_parse_is_refused(run):
    with pytest.raises(LogError, match="none that this version reads"):
        run({"sim.mcap": make_run("sim", experiment_toml="seed = 'x'")})


def test_the_same_run_twice_counts_once(run):
    result = run({"sim.mcap": make_run("sim"), "copy.mcap": make_run("sim"), "run.mcap": make_run("board")})
    assert result.details["statistics"]["own"]["runs"] == {"software": 1, "hardware": 1}
    (left_out,) = result.details["excluded"]
    assert left_out["path"].endswith("copy.mcap")
    assert left_out["reason"].startswith("holds the same run, bit for bit, as")


def test_a_seed_used_twice_is_told(run):
    again = make_run("board", 1, final=(-600.0, -700.0))
    result = run({"sim.mcap": make_run("sim"), "a.mcap": make_run("board", 1), "b.mcap": again})
    assert any("2 hardware runs share seed 1" in note for note in result.details["notes"])


def test_a_seed_used_twice_is_not_told_of_a_run_that_does_not_count(run):
    again = make_run("board", 1, final=(-600.0, -700.0))
    again.complete = False
    result = run({"sim.mcap": make_run("sim"), "a.mcap": make_run("board", 1), "b.mcap": again})
    assert result.details["notes"] == []


def test_what_is_won_back_by_so_few_runs_is_not_told_from_chance(run):
    (plant,) = (
        line
        for line in run({"a.mcap": make_run("sim"), "b.mcap": make_run("board", final=(-900.0, -800.0))}).verdict
        if line.startswith("Plant")
    )
    assert plant.endswith("wins back 62% of the loss. These runs do not tell that from chance: see Transfer.")
    certain = run({**several("sim", 8), **several("board", 8)})
    assert "from chance" not in certain.verdict[1]


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda found: setattr(found, "complete", False), "is incomplete"),
        (lambda found: found.states.pop("final"), "holds no final state"),
    ],
)
def test_a_log_that_is_not_whole_is_drawn_but_counts_in_no_statistic(run, spoil, word):
    broken = make_run("board", 2)
    spoil(broken)
    result = run({"sim.mcap": make_run("sim"), "run.mcap": make_run("board"), "broken.mcap": broken})
    assert result.details["statistics"]["own"]["runs"] == {"software": 1, "hardware": 1}
    assert [each["path"].endswith("broken.mcap") and word in each["reason"] for each in result.details["excluded"]] == [
        True
    ]
    assert [each["counts"] for each in result.details["runs"]] == [True, True, False]


def test_trials_without_an_end_are_told(run):
    cut = make_run("board")
    cut.events += [Event("unfinished", "", {})] * 2
    result = run({"sim.mcap": make_run("sim"), "run.mcap": cut})
    assert any("2 trials without an end, on no curve" in note for note in result.details["notes"])


def test_another_arithmetic_is_told(run):
    result = run({"sim.mcap": make_run("sim"), "run.mcap": make_run("board", arithmetic=2)})
    assert any("different versions of the arithmetic (1, 2)" in note for note in result.details["notes"])


def test_a_run_without_a_single_trial_still_makes_a_page(run):
    empty = make_run("board", trials=0)
    result = run({"sim.mcap": make_run("sim"), "run.mcap": empty})
    assert result.path.exists()
    assert run({"run.mcap": empty}).path.exists()


# ---------------------------------------------------------------------------------------------- the page's place


def test_the_report_never_replaces_a_log(tmp_path):
    with pytest.raises(LogError, match="is one of the logs"):
        compare([tmp_path / "sim.mcap"], tmp_path / "." / "sim.mcap", read=reader({}))


def test_a_folder_that_is_not_there_is_one_clear_error(tmp_path):
    """And it comes before the work: no log is read."""
    with pytest.raises(LogError, match="no such folder for the report"):
        compare([tmp_path / "sim.mcap"], tmp_path / "missing" / "report.html", read=reader({}), episodes=2)


@pytest.mark.parametrize("options", [{"margin": 0.0}, {"margin": -1.0}, {"margin": float("nan")}, {"episodes": 0}])
def test_impossible_options_are_refused(run, options):
    with pytest.raises(ValueError, match=r"margin|episodes"):
        run({"sim.mcap": make_run("sim")}, **options)


def test_the_same_logs_give_the_same_bytes(run):
    runs = {**several("sim", 3), **several("board", 3)}
    first = run(runs).path.read_bytes()
    assert run(runs).path.read_bytes() == first


# ---------------------------------------------------------------------------------------------- curves


def test_a_curve_counts_learning_trials_and_gathers_evaluations():
    curve = read_curve(make_run("sim", trials=40, evaluate_every=20).summaries(), 0.5)
    assert len(curve.cost) == len(curve.step) == 40
    assert [point.trial for point in curve.evaluations] == [20, 40]
    assert [len(point.costs) for point in curve.evaluations] == [5, 5]
    assert curve.evaluations[0].step == curve.step[19]
    assert curve.last == curve.evaluations[-1].mean


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=40), st.integers(1, 12))
def test_trailing_mean_is_the_mean_of_the_last(values, window):
    expected = [np.mean(values[max(0, k + 1 - window) : k + 1]) for k in range(len(values))]
    assert trailing_mean(np.array(values), window) == pytest.approx(expected, abs=1e-6)


@given(st.integers(1, 300), st.integers(1, 50))
def test_thinned_curves_keep_their_mean_and_their_end(length, points):
    x, y = np.arange(1.0, length + 1), np.random.default_rng(length).normal(size=length)
    thin_x, thin_y = thin(x, y, points)
    assert len(thin_x) <= points
    assert thin_x[-1] == x[-1]
    lengths = np.diff([0, *thin_x])
    assert float(thin_y @ lengths) == pytest.approx(float(y.sum()), abs=1e-9)


def test_a_curve_is_read_as_steps_and_carried_beyond_its_end():
    x, y = np.array([2.0, 4.0]), np.array([10.0, 20.0])
    assert at(np.array([1.0, 2.0, 3.0, 4.0, 5.0]), x, y, before=0.0, after=7.0).tolist() == [0, 10, 10, 20, 7]


def test_the_middle_carries_stopped_runs_forward_and_says_from_where():
    runs = [(np.arange(1.0, n + 1), np.full(n, value), value) for n, value in ((4, 1.0), (8, 3.0))]
    found = middle(runs, level=0.95, seed=0, points=8, whole=True)
    assert found.all_until == 4
    assert found.x.tolist() == list(range(1, 9))
    assert found.mean.tolist() == [2.0] * 8
    assert (found.low.min(), found.high.max()) == (1.0, 3.0)
    assert middle(runs[:1], level=0.95, seed=0) is None


# ---------------------------------------------------------------------------------------------- link


def test_round_trips_are_timed_from_the_first_sending():
    frames = [
        Frame(0, False, b"", 0),  # the board greets: nothing was asked
        Frame(1, True, b"", 1000),
        Frame(2, True, b"", 500_000),  # sent again
        Frame(3, False, b"", 901_000),
        Frame(4, False, b"", 950_000),  # telemetry: answers nothing
        Frame(5, True, b"", 1_000_000),
        Frame(6, False, b"", 1_100_000),
    ]
    link = read_link(frames, [], 0)
    assert (link.to_board, link.from_board) == (3, 4)
    assert link.round_trip_us[2] == 900
    assert link.round_trip_us[0] == 500


def test_what_went_wrong_on_the_link_is_counted_and_nonsense_is_not():
    events = [
        Event("hole", "", {}),
        Event("fault", "", {}),
        Event("link", "", {"repeated": 3, "damaged": 2, "late": "many", "missing": -4}),
    ]
    assert read_link([], events, 5).lost == {
        "command repeated": 3,
        "damaged frame": 2,
        "hole": 1,
        "fault": 1,
        "frame refused by the board": 5,
    }
    assert read_link([], [], 0).lost == {}


def test_link_loss_is_in_the_gap(run):
    lossy = make_run("board")
    lossy.events.append(Event("link", "", {"repeated": 2, "damaged": 1}))
    result = run({"sim.mcap": make_run("sim"), "run.mcap": lossy})
    link = next(part for part in result.details["gap"] if part["part"] == "Link")
    assert link["finding"] == "2 commands repeated, 1 damaged frame"


def test_late_steps_are_timing_and_nonsense_is_not(run):
    late = make_run("board")
    late.events.append(Event("pace", "", asdict(Pace(20, 1000, 3, 0, 900, 4200))))

    def timing(found):
        result = run({"sim.mcap": make_run("sim"), "run.mcap": found})
        return next(part for part in result.details["gap"] if part["part"] == "Timing")

    assert timing(late)["finding"] == "3 late"
    assert "Late were 3 of 1,000 steps in hardware, by 4.2 ms at most." in timing(late)["text"]
    # What the mismatch delays is priced either way: its first keys raise software's cost of -490 to -250.
    assert "(actuator_delay) changes the cost of the software weights by +240." in timing(late)["text"]
    late.events[-1].fields["late"] = "many"
    assert timing(late)["finding"] == "+240"
    assert "Late were" not in timing(late)["text"]


def test_a_simulators_log_has_no_link():
    assert read_record(Path("sim.mcap"), make_run("sim")).link is None
