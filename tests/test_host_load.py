"""This computer as a plant: with a time of the test's own, and as it is."""

from dataclasses import replace
from typing import Any

import pytest

from subsong import session
from subsong.defaults import default_experiment, plant_named
from subsong.experiment import Experiment, parse_experiment
from subsong.experiment_text import example_text
from subsong_sim.errors import PlantError
from subsong_sim.plants import Clock, PlantSpec, host_load, make_plant
from subsong_sim.plants.clock import clock_of
from subsong_sim.plants.host_load import HostLoad
from test_clock import MS, FakeTime

SPEC = PlantSpec(kind="host_load", period_ms=10, cost_lsb=1e-5)


def load(time: FakeTime, **spec: Any) -> HostLoad:
    made = make_plant(replace(SPEC, **spec), clock=time.clock(10))
    assert isinstance(made, HostLoad)
    return made


def test_the_throughput_is_the_duty_where_nothing_else_takes_time() -> None:
    plant = load(FakeTime())
    assert plant.rounds_per_ms == pytest.approx(1000, rel=0.01)
    plant.reset(1)
    assert plant.sense()[0] == -32767
    for word, duty in ((-32768, 0.0), (-32767, 0.0), (0, 0.5), (16384, 0.75), (32767, 1.0)):
        plant.actuate([word])
        throughput, target = plant.sense()
        assert throughput == pytest.approx(duty / 0.625 * 32767 - 32767, abs=100)
        error = duty - (target / 32767 + 1) / 2
        assert plant.cost() == pytest.approx(error**2 / 1e-5, rel=0.02, abs=20)


def test_what_the_learner_takes_of_a_step_the_load_does_not_get() -> None:
    time = FakeTime()
    plant = load(time)
    plant.reset(1)
    for thinking_ms, most in ((0, 1.0), (4, 0.6), (9, 0.1)):
        time.ns += thinking_ms * MS
        plant.actuate([32767])
        assert plant.sense()[0] == pytest.approx(most / 0.625 * 32767 - 32767, abs=150)
    assert plant.clock.late == [], "the load gives way"


def test_set_points_are_a_function_of_the_seed_within_their_range() -> None:
    plant = load(FakeTime(), target_range=[[0.3, 0.4]])
    seen = []
    for seed in (1, 2, 1, 2**32 - 1):
        plant.reset(seed)
        seen.append(plant.sense()[1])
        assert 0.3 <= (seen[-1] / 32767 + 1) / 2 <= 0.4001
    assert seen[0] == seen[2] != seen[1]
    fixed = load(FakeTime(), target_range=[[0.5, 0.5]])
    fixed.reset(9)
    assert fixed.sense()[1] == 0


def test_this_very_machine_does_nothing_when_told_nothing_and_something_otherwise() -> None:
    plant = make_plant(SPEC, clock=Clock(500))  # long enough for a busy machine to let this program in
    plant.reset(1)
    plant.actuate([-32767])
    assert plant.sense()[0] == -32767
    plant.actuate([32767])
    assert plant.sense()[0] > -32767
    clock = clock_of(plant)
    assert clock is not None
    assert len(clock.lateness_us) == 2
    assert "rounds a millisecond" in plant.description
    plant.close()
    plant.close()


def test_it_has_a_clock_of_its_own_and_refuses_what_it_cannot_do() -> None:
    plant = make_plant(SPEC)
    clock = clock_of(plant)
    assert clock is not None
    assert clock.period_ms == 10
    for call, says in ((plant.sense, "before the first reset"), (lambda: plant.actuate([0]), r"before reset\(\)")):
        with pytest.raises(PlantError, match=says):
            call()
    plant.reset(1)
    with pytest.raises(PlantError, match="2 actuator words, but it has 1"):
        plant.actuate([0, 0])
    with pytest.raises(PlantError, match=r"plant\.target_range: 2 pairs, but the load has 1"):
        load(FakeTime(), target_range=[[0.1, 0.2]] * 2)
    with pytest.raises(PlantError, match=r"plant\.period_ms: 0 must be above 0"):
        PlantSpec(kind="host_load")


def test_the_numbers_of_every_plant_learn_an_idle_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_load, "_ROUND", range(0))  # time passes by looks alone
    monkeypatch.setattr(
        session, "local_plant", lambda *_, **__: make_plant(experiment.plant_spec(), clock=FakeTime(200_000).clock(20))
    )
    experiment = parse_experiment(example_text("host_load"), "host_load.toml")
    assert experiment == default_experiment(plant_named("host_load"))
    (control,) = session.simulate(
        with_run(experiment, trials=2, evaluate_every=0, evaluate_episodes=50), out=None
    ).evaluations
    learned = session.simulate(with_run(experiment, evaluate_every=0, evaluate_episodes=50), out=None)
    assert control[1] / experiment.run.steps == pytest.approx(0.03, rel=0.25), (
        "a duty of one half, whatever the set point"
    )
    assert learned.final is not None
    assert learned.final < 0.3 * control[1]


def with_run(experiment: Experiment, **run: int) -> Experiment:
    return experiment.model_copy(update={"run": experiment.run.model_copy(update=run)})
