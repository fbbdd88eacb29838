"""Whole runs on plants that fail, that teach nothing, or that are in real time: what is told, and what is logged."""

import dataclasses
import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box

from subsong.batch import simulate_many
from subsong.block import build_block
from subsong.board_session import run_on_board
from subsong.compare import compare
from subsong.errors import ExperimentError, PlantError
from subsong.experiment import Experiment, parse_experiment
from subsong.findings import FEWEST_COSTS, Findings, Pace, read_pace
from subsong.replay import replay
from subsong.runlog import read_run
from subsong.runlog.records import Event
from subsong.session import evaluate, simulate
from subsong_sim.learner import Ended, TrialSummary
from subsong_sim.plants import PlantSpec, make_plant
from test_clock import MS, FakeTime

pytest_plugins = ["subsong_hil.fixtures"]

EXPERIMENT = """
[network]
layers = [1, 1]
activations = ["identity"]
[learner]
rule = "weight_perturbation"
amplitude = 0.1
rate = 1
rate_shift = 4
[plant]
kind = "gymnasium"
id = "Odd-v0"
cost_lsb = 0.001
[run]
trials = {trials}
steps = 5
evaluate_episodes = 1
"""


def odd(trials: int = 12, more: str = "") -> Experiment:
    return parse_experiment(EXPERIMENT.format(trials=trials) + more, "test")


class Odd(gymnasium.Env[Any, Any]):
    """Does at each step of its whole life, counted from 1, what the test says: reading and reward."""

    observation_space = action_space = Box(-1.0, 1.0, (1,), np.float64)
    lives: Callable[[int, float], tuple[float, float]]
    closed = False

    def __init__(self) -> None:
        self.age = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        return np.array([0.5]), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.age += 1
        reading, reward = type(self).lives(self.age, float(action[0]))
        return np.array([reading]), reward, False, False, {}

    def close(self) -> None:
        type(self).closed = True


@pytest.fixture
def living() -> Iterator[Callable[[Callable[[int, float], tuple[float, float]]], type[Odd]]]:
    """A function that registers an Odd-v0 of this life, and returns its class."""

    def register(life: Callable[[int, float], tuple[float, float]]) -> type[Odd]:
        gymnasium.registry.pop("Odd-v0", None)
        made = type("Made", (Odd,), {"lives": staticmethod(life)})
        gymnasium.register("Odd-v0", entry_point=made)
        return made

    yield register
    gymnasium.registry.pop("Odd-v0", None)


def failing(age: int, action: float) -> tuple[float, float]:
    if age == 23:
        raise RuntimeError("a wheel came off")
    return 0.5, -abs(action)


def blind(age: int, action: float) -> tuple[float, float]:
    return (math.nan if age == 23 else 0.5), -abs(action)


SAYS = {
    failing: r"Odd-v0: its step\(\) failed at step 3 after reset\(\d+\): RuntimeError: a wheel came off; mend the env",
    blind: r"Odd-v0: a sensor is not a number at step 3 after reset\(\d+\)",
}


@pytest.mark.parametrize("life", SAYS)
@pytest.mark.parametrize("where", ["sim", "unix"])
def test_a_plant_that_fails_in_a_trial_ends_the_run_with_a_sentence_and_a_log_that_replays(
    where: str, life: Any, living: Any, deployed_flash: Path, tmp_path: Path
) -> None:
    made, log = living(life), tmp_path / "run.mcap"
    learn = partial(simulate, odd()) if where == "sim" else partial(run_on_board, odd(), port="unix")
    with pytest.raises(PlantError, match=SAYS[life]):
        learn(out=log)
    assert made.closed
    run = read_run(log)
    (error,) = (event for event in run.events if event.kind == "error")
    assert error.text.startswith("PlantError: Odd-v0: ")
    assert len(run.summaries()) == 4, "of 5 steps each; the fifth trial has no end"
    assert (replayed := replay(log)).difference is None
    assert replayed.checked >= 4
    if where == "unix":  # the board was told goodbye: it is at its prompt, and takes the next run
        living(lambda _age, action: (0.5, -abs(action)))
        assert run_on_board(odd(2), port="unix", out=tmp_path / "next.mcap").trials == 2


def test_an_environment_that_shows_more_than_a_step_carries_is_refused_in_a_sentence(living: Any) -> None:
    living(blind).observation_space = Box(0, 255, (96, 96, 3), np.uint8)
    with pytest.raises(ExperimentError, match=r"^plant: Odd-v0 has 27648 sensors and 1 .* 505 words at most;"):
        simulate(odd(), out=None)


@pytest.mark.parametrize("logged", [True, False])
def test_a_cost_that_never_varies_is_told_once_with_what_to_do(logged: bool, living: Any, tmp_path: Path) -> None:
    living(lambda _age, _action: (0.5, -2.0))
    log = tmp_path / "run.mcap"
    result = simulate(odd(), out=log if logged else None)
    (warning,) = result.warnings
    assert warning.startswith("every one of 12 trials cost exactly 10: nothing can be learned from that. Does the cost")
    if logged:
        (event,) = (event for event in read_run(log).events if event.kind == "constant_cost")
        assert event.text == f"{warning}."
        assert event.fields == {"trials": 12, "cost": 10.0}


def test_what_mujoco_warns_of_is_told_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    plant: Any = make_plant(PlantSpec(id="InvertedPendulum-v5", sensor_range=((-5.0, 5.0),) * 4))
    plant.reset(1)
    plant.actuate([0])
    assert Findings(plant, None).close([])[1] == []
    plant.env.unwrapped.data.qvel[:] = 1e30
    plant.actuate([0])
    ((warning,), log) = Findings(plant, None).close([])[1], Log()
    assert warning.startswith("the simulator warned in 1 step, first: Nan, Inf or huge value in QVEL at DOF 0. The sim")
    Findings(plant, log).close([])  # type: ignore[arg-type]
    assert [event.kind for event in log.events] == ["complaint"]
    plant.close()
    assert (list(tmp_path.iterdir()), capfd.readouterr().out) == ([], "")


@pytest.mark.parametrize("costs", [True, False])
def test_a_batch_warns_as_its_single_runs_do(costs: bool) -> None:
    text = EXPERIMENT.format(trials=12).replace('id = "Odd-v0"', 'name = "dc_motor"').replace("gymnasium", "simulated")
    fine = parse_experiment(text.replace("layers = [1, 1]", "layers = [2, 1]"), "test")
    coarse = fine.model_copy(update={"plant": fine.plant.model_copy(update={"cost_lsb": 1e6})})
    few = coarse.model_copy(update={"run": fine.run.model_copy(update={"trials": FEWEST_COSTS - 2})})
    runs = [fine, coarse, few]
    warned = [result.warnings for result in simulate_many(runs, costs=costs)]
    assert warned == [simulate(each, out=None).warnings for each in runs]
    assert [len(each) for each in warned] == [0, 1, 0]


def test_a_cost_that_varies_once_or_of_few_trials_is_no_finding(living: Any, tmp_path: Path) -> None:
    living(lambda age, _action: (0.5, -2.0 if age < 10 else -2.1))
    assert simulate(odd(), out=None).warnings == []
    assert simulate(odd(FEWEST_COSTS - 2), out=None).warnings == []
    living(lambda _age, _action: (0.5, -2.0))
    assert simulate(odd(FEWEST_COSTS - 2), out=None).warnings == []
    assert len(simulate(odd(FEWEST_COSTS), out=None).warnings) == 1


def test_a_run_in_real_time_says_how_it_kept_its_time_and_learns_the_same(living: Any, tmp_path: Path) -> None:
    living(lambda _age, action: (0.5, -abs(action - 0.3)))
    log = tmp_path / "run.mcap"
    result = simulate(odd(more="period_ms = 1\n"), out=log)
    pace = result.pace
    assert pace is not None
    assert (pace.period_ms, pace.steps) == (1, result.steps) == (1, 5 * 13)
    assert 0 <= pace.late <= pace.steps
    assert 0 <= pace.median_us <= pace.p99_us <= pace.worst_us
    run = read_run(log)
    assert read_pace(run.events) == pace
    told = [event for event in run.events if event.kind == "late"]
    assert sum(len(event.fields["steps"]) for event in told) == pace.late
    assert "real time, a step of 1 ms" in run.header.plant
    free = simulate(odd(), out=None)
    assert (result.costs, result.final) == (free.costs, free.final)
    assert free.pace is None


def test_late_steps_are_counted_on_a_board_too(living: Any, deployed_flash: Path, tmp_path: Path) -> None:
    experiment = odd(more="period_ms = 1\n")
    living(lambda _age, action: (0.5, -abs(action - 0.3)))
    log = tmp_path / "run.mcap"
    result = run_on_board(experiment, port="unix", out=log)
    assert result.pace is not None
    assert result.pace.steps == result.steps
    assert read_pace(read_run(log).events) == result.pace
    assert replay(log).difference is None
    simulate(experiment, out=tmp_path / "sim.mcap")
    (timing,) = (
        part
        for part in compare([log, tmp_path / "sim.mcap"], tmp_path / "report.html").details["gap"]
        if part["part"] == "Timing"
    )
    assert timing["text"].startswith("The plant goes on by a clock. Late were ")
    assert f"of {result.steps:,} steps in hardware" in timing["text"]


class Log:
    """Keeps events."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def event(self, kind: str, text: str, **fields: Any) -> None:
        self.events.append(Event(kind, text, fields))


def test_each_late_step_is_in_the_log_with_its_trial_and_by_how_much() -> None:
    time, log = FakeTime(), Log()
    plant = make_plant(PlantSpec(id="Pendulum-v1"), clock=time.clock(20))
    findings = Findings(plant, log)  # type: ignore[arg-type]
    for trial, taken_ms in enumerate(([1, 25, 1], [1, 1, 1], [70, 1, 1])):
        plant.reset(1)
        for ms in taken_ms:
            time.ns += ms * MS
            plant.actuate([0])
        if trial < 2:
            findings.ended(Ended(TrialSummary(trial, False, 3, 0, 0, 0, 0, 0), 0))
    pace, warnings = findings.close([1.0, 2.0])
    first, cut, last = log.events
    assert (first.kind, first.fields["trial"]) == ("late", 0)
    ((step, us),) = first.fields["steps"]
    assert (step, us) == (1, pytest.approx(5000, abs=10))
    assert first.text == "Trial 0 had 1 late step, the worst by 5 ms."
    assert cut.text.startswith("The trial that was cut off had 1 late step")
    assert pace == Pace(20, 9, 2, pace.median_us, pace.p99_us, pace.worst_us) if pace else False
    assert (last.kind, last.fields["late"], last.fields["steps"]) == ("pace", 2, 9)
    assert last.text.startswith("2 of 9 steps of 20 ms were late, the worst by 50 ms (median ")
    assert warnings == []
    plant.close()


@pytest.mark.parametrize(("taken_ms", "warned"), [(19, 0), (22, 1)])
def test_a_period_that_cannot_be_met_is_warned_of(taken_ms: int, warned: int) -> None:
    time = FakeTime()
    plant = make_plant(PlantSpec(id="Pendulum-v1"), clock=time.clock(20))
    findings = Findings(plant, None)
    plant.reset(1)
    for _ in range(30):
        time.ns += taken_ms * MS
        plant.actuate([0])
    _, warnings = findings.close([])
    assert len(warnings) == warned
    assert all("a step takes more than 20 ms here" in warning for warning in warnings)
    plant.close()


def test_a_pace_that_a_log_has_wrongly_is_none() -> None:
    good = dataclasses.asdict(Pace(0, 1, 2, 3, 4, 5))
    assert read_pace([Event("late", "", good), Event("pace", "", good)]) == Pace(0, 1, 2, 3, 4, 5)
    assert read_pace([Event("pace", "", {**good, "late": "2"})]) is None
    assert read_pace([Event("pace", "", {})]) is None
    assert read_pace([]) is None


def test_a_real_plant_is_not_driven_to_compare() -> None:
    text = EXPERIMENT.format(trials=2).replace('id = "Odd-v0"\n', "").replace("gymnasium", "host_load")
    experiment = parse_experiment(text.replace("layers = [1, 1]", "layers = [2, 1]"), "test")
    block = build_block(experiment)
    with pytest.raises(PlantError, match="the plant, host_load, is real: it is driven to learn, and not to compare"):
        evaluate(experiment, block.rule, block.head, block.mem, mismatch=False, episodes=1)


def test_this_computer_is_learned_on_a_board_and_replays(deployed_flash: Path, tmp_path: Path) -> None:
    text = EXPERIMENT.format(trials=4).replace('id = "Odd-v0"\n', "period_ms = 5\n").replace("gymnasium", "host_load")
    experiment = parse_experiment(text.replace("layers = [1, 1]", "layers = [2, 1]"), "test")
    log = tmp_path / "run.mcap"
    result = run_on_board(experiment, port="unix", out=log)
    assert result.pace is not None
    assert (result.pace.period_ms, result.pace.steps) == (5, result.steps)
    assert replay(log).difference is None
    assert read_run(log).header.plant.startswith("host_load, this computer, ")
    rows = compare([log], tmp_path / "report.html").transfer["weights"]
    for weights in ("untrained", "hardware"):
        assert rows[weights]["nominal"] == {
            "missing": "the plant, host_load, is real: it is driven to learn, and not to compare"
        }
