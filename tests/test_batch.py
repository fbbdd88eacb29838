"""Batches against single runs: run k of a batch has the single run's numbers and bytes, whoever runs beside it."""

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numba
import numpy as np
import pytest

from cases import FIRST, RULES
from lane_kernels import SingleLanes
from learning import PENDULUM, short_example, shortened
from subsong.batch import simulate_many
from subsong.block import build_block
from subsong.console import SilentProgress
from subsong.errors import EngineError, ExperimentError, PlantError
from subsong.experiment import Experiment, from_tables, parse_experiment
from subsong.experiment_tasks import TASKS
from subsong.experiment_text import example_text, with_learner
from subsong.findings import Findings
from subsong.session import RunResult, learn, local_trials, simulate
from subsong_sim.batch import END_WORDS, Batch, interleave, room_for, rows_of
from subsong_sim.engines import ALIGNED
from subsong_sim.learner import Ended
from subsong_sim.plants.models import NAMES, model

# CPython plays the runs that are compared.
EACH_RULE = [*FIRST, *(pytest.param(rule, marks=pytest.mark.slow) for rule in RULES[2:])]


@pytest.fixture
def single_lanes(monkeypatch: pytest.MonkeyPatch) -> list[SingleLanes]:
    """Lanes made of code for one run; returns all that are made."""
    made: list[SingleLanes] = []

    def compile_lanes(*arguments: Any) -> SingleLanes:
        made.append(SingleLanes(*arguments))
        return made[-1]

    monkeypatch.setattr("subsong_sim.lanes.compile_lanes", compile_lanes)
    return made


def changed(experiment: Experiment, seed: int = 1, learner: dict[str, Any] | None = None, **run: Any) -> Experiment:
    """Return an experiment with another seed, and other keys of [learner] and [run]."""
    update = {
        "seed": seed,
        "learner": experiment.learner.model_copy(update=learner or {}),
        "run": experiment.run.model_copy(update=run),
    }
    return experiment.model_copy(update=update)


def varied(experiment: Experiment, n: int, **more: Any) -> list[Experiment]:
    """Return n experiments that differ in all that runs side by side may differ in."""
    amplitude, shift = experiment.learner.amplitude, experiment.learner.rate_shift
    return [
        changed(
            experiment,
            seed=k * k,
            learner={"amplitude": amplitude and amplitude * (1 - k % 3 / 4), "rate_shift": min(29, shift + k % 4)},
            trials=9 + k % 5,
            evaluate_every=k % 4,
            evaluate_episodes=1 + k % 3,
            **more,
        )
        for k in range(n)
    ]


def single(experiment: Experiment, mismatch: bool = False) -> tuple[RunResult, list[Ended]]:
    """Return what CPython, one run at a time, says of a run, and every trial's end."""
    result, ends = RunResult(None), []
    trials, _ = local_trials(experiment, build_block(experiment), mismatch, "cpython", None)
    learn(experiment, trials, result, SilentProgress(), ends.append)
    _, result.warnings = Findings(None, None).close(result.costs)
    result.state = trials.state()
    return timeless(result), ends


def timeless(result: RunResult) -> RunResult:
    """Return a result as if it had taken no time."""
    return replace(result, seconds=0.0)


def assert_same(
    experiments: list[Experiment], mismatch: bool = False, threads: int | None = None, every: int = 1
) -> list[RunResult]:
    """Hold a batch against single runs, or against every so manieth, and return its results."""
    batch = [timeless(each) for each in simulate_many(experiments, mismatch=mismatch, threads=threads)]
    assert len(batch) == len(experiments)
    for k in range(0, len(batch), every):
        assert batch[k] == single(experiments[k], mismatch)[0], f"run {k}"
    return batch


def test_costs_are_kept_only_where_they_are_wanted() -> None:
    experiments = varied(shortened("xor"), 3)
    full, bare = simulate_many(experiments), simulate_many(experiments, costs=False)
    assert [each.costs for each in bare] == [[], [], []]
    assert [(a.state, a.evaluations, a.trials) for a in full] == [(b.state, b.evaluations, b.trials) for b in bare]


@pytest.mark.usefixtures("single_lanes")
def test_runs_may_begin_with_weights_learned_elsewhere() -> None:
    experiments = varied(shortened("xor"), 3)
    mems = [each.state[1] for each in simulate_many([each.with_seed(99) for each in experiments])]
    batch = simulate_many(experiments, mems=mems)
    for experiment, mem, result, fresh in zip(experiments, mems, batch, simulate_many(experiments), strict=True):
        assert timeless(result) == timeless(simulate(experiment, out=None, mem=mem, engine="cpython"))
        assert result.state != fresh.state
    with pytest.raises(ExperimentError, match=r"run 1: network: its memory .*; take weights of the"):
        simulate_many(experiments, mems=[mems[0], mems[1][2:], mems[2]])


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("runs", [1, 16, 37])
def test_runs_on_a_task_are_the_single_runs(runs: int, threads: int) -> None:
    before = numba.get_num_threads()
    assert_same(varied(shortened("xor"), runs), threads=threads)
    assert numba.get_num_threads() == before


def cartpoles(rule: str) -> list[Experiment]:
    """Return 18 runs on CartPoles of three kinds, with episodes of many lengths."""
    experiments = varied(shortened("cartpole", rule), 18, steps=40)
    heavy = {"parameters": {"masspole": 0.3, "friction_cart": 0.1}, "cost_lsb": 0.25}
    for k in range(0, 18, 3):
        plant = experiments[k].plant.model_copy(update=heavy)
        short = changed(experiments[k], seed=k, steps=15)
        experiments[k] = short.model_copy(update={"plant": plant})
    return experiments


@pytest.mark.parametrize("mismatch", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
def test_runs_on_cartpole_are_the_single_runs_though_episodes_end_early(threads: int, mismatch: bool) -> None:
    results = assert_same(cartpoles(RULES[0]), mismatch=mismatch, threads=threads)
    lengths = {-cost for result in results[1::3] for cost in result.costs}
    assert min(lengths) < 20 and 40 in lengths


def simulated(name: str, rule: str = RULES[0], **plant: Any) -> Experiment:
    """Return a run of 6 trials on a simulated plant, with an evaluation in the middle."""
    known = model(name)
    cartpole = shortened("cartpole", rule, trials=6, evaluate_every=3, steps=30)
    tables = cartpole.model_dump(exclude_none=True)
    tables["network"] |= {"layers": [len(known.SENSORS), len(known.ACTUATORS)], "init": 0.5}
    return from_tables({**tables, "plant": {"kind": "simulated", "name": name, **plant}}, name)


# The schedule alone: code for one is made sooner than lanes.
@pytest.mark.slow
@pytest.mark.usefixtures("single_lanes")
def test_runs_on_simulated_plants_are_the_single_runs() -> None:
    severe = {"coulomb": 0.001, "end": 1.0}
    experiments = [changed(simulated(name), seed) for name in NAMES for seed in (1, 2)]
    experiments += [simulated(name, parameters=severe, cost_lsb=1e-4) for name in ("furuta", "dc_motor")]
    results = assert_same(experiments)
    assert len({tuple(result.costs) for result in results}) == len(results)


def test_different_plants_share_lanes_and_effects_on_words_make_single_runs() -> None:
    bent = {"parameters": {"masspole": 0.5, "viscous": 0.1}}
    experiments = [
        simulated("cartpole_swingup", mismatch=bent),
        simulated("furuta"),
        simulated("cartpole_swingup", mismatch={**bent, "actuator_delay": 1, "sensor_noise": 0.01}),
        changed(simulated("furuta", mismatch={}), 3, steps=17),
    ]
    results = assert_same(experiments, mismatch=True)
    assert results[0].costs != assert_same(experiments[:1])[0].costs
    assert results[0].costs != results[2].costs


@pytest.mark.usefixtures("single_lanes")
def test_a_plant_that_breaks_is_named_by_every_engine_alike() -> None:
    # A joint so stiff that explicit steps explode.
    broken = simulated("cartpole_swingup", parameters={"joint": 1e6, "period": 1.0})
    said = (
        r"cartpole_swingup: (its cost|sensor \d) is not a number at step \d+ after reset\(\d+\); check plant.parameters"
    )
    with pytest.raises(PlantError, match=f"^{said}") as alone:
        simulate(broken, out=None)
    with pytest.raises(PlantError) as plain:
        simulate(broken, out=None, engine="cpython")
    with pytest.raises(PlantError) as together:
        simulate_many([simulated("cartpole_swingup"), broken])
    assert str(plain.value) == str(alone.value)
    assert str(together.value) == f"run 1: {alone.value}"


@pytest.mark.parametrize("rule", EACH_RULE)
def test_every_rule_runs_in_batches(rule: str) -> None:
    assert_same(varied(short_example(rule, 8, 40), 18), every=3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["xor", "cartpole"])
def test_normalised_runs_are_the_single_runs_whatever_their_spreads(name: str) -> None:
    """Runs side by side that follow their spreads at different speeds, that do not, and whose rates fall or stay."""
    for spreads in ((4, 4, 4), (0, 3, 15)):
        experiments = varied(shortened(name), 18)
        for k, each in enumerate(experiments):
            learner = {"spread_shift": spreads[k % 3], "anneal": spreads[k % 3] > 0 and k % 2 == 1}
            experiments[k] = each.model_copy(update={"learner": each.learner.model_copy(update=learner)})
        assert_same(experiments)


# The song is the songbird's alone, and among the rules above.
@pytest.mark.slow
@pytest.mark.parametrize("task", sorted(TASKS.keys() - {"song"}))
def test_every_task_runs_in_batches(task: str) -> None:
    assert_same(varied(parse_experiment(with_learner(example_text(task), FIRST[1]), task), 18), every=3)


@pytest.mark.slow
def test_runs_may_differ_in_what_their_kernels_branch_on() -> None:
    xor = shortened("xor", trials=12)
    codes = itertools.product(("random", "walsh_hadamard", "one_at_a_time"), ("stochastic", "nearest"), (2, 3))
    mixed = [
        changed(xor, k, {"code": code, "rounding": rounding, "tau": tau, "momentum_shift": k % 3})
        for k, (code, rounding, tau) in enumerate(codes)
    ]
    assert_same([*mixed, changed(xor, 1, {"estimator": "running_baseline"})])


def test_large_blocks_are_executed_one_at_a_time_with_the_same_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subsong_sim.lanes.NEAR", 0)
    assert_same([*varied(shortened("xor"), 5), *cartpoles(RULES[0])[:5]])


# The schedule alone: the kernels are executed one run at a time.
@pytest.mark.parametrize("make", [lambda: varied(shortened("xor", RULES[1]), 18), lambda: cartpoles(RULES[1])])
def test_the_schedule_is_the_single_runs_whoever_executes_the_kernels(
    make: Callable[[], list[Experiment]], single_lanes: list[SingleLanes]
) -> None:
    assert_same(make())
    assert len(single_lanes) == 1


@pytest.mark.usefixtures("single_lanes")
def test_runs_stop_one_by_one_and_stay_as_they_were() -> None:
    experiments = [changed(each, each.seed, trials=40, evaluate_every=2) for each in varied(shortened("xor"), 20)]
    finals = [[cost for _, cost in simulate(each, out=None).evaluations] for each in experiments]
    # Each run stops where it is told: at its k-th evaluation, if none before was as good.
    for k, costs in enumerate(finals):
        experiments[k] = changed(experiments[k], experiments[k].seed, stop_cost=sorted(costs)[k % len(costs)])
    results = assert_same(experiments)
    assert len({result.trials for result in results}) > 4
    assert all(result.stopped.startswith("an evaluation reached") for result in results)


@pytest.mark.usefixtures("single_lanes")
def test_an_evaluation_at_the_end_stops_nothing_and_evaluations_have_steps_of_their_own() -> None:
    keys = {"trials": 9, "stop_cost": 1e6, "evaluate_steps": 8}
    results = assert_same([changed(shortened("xor"), every, evaluate_every=every, **keys) for every in (0, 3, 20)])
    assert [result.trials for result in results] == [9, 3, 9]
    assert [result.steps for result in results] == [9 * 4 + 8, 3 * 4 + 8, 9 * 4 + 8]
    assert results[0].stopped == results[2].stopped == "all trials done"


def test_a_lane_that_stopped_is_never_asked_again(single_lanes: list[SingleLanes]) -> None:
    experiments = [changed(shortened("xor"), k, trials=20, evaluate_every=1) for k in range(3)]
    experiments[1] = changed(experiments[1], stop_cost=1e6)
    simulate_many(experiments)
    (code,) = single_lanes
    assert code.masks[:3] == [0b111, 0b111, 0b101]
    assert set(code.masks[2:]) == {0b101}


@pytest.mark.parametrize("name", ["xor", "cartpole"])
@pytest.mark.parametrize("stretch", [2, 6, 100])
@pytest.mark.usefixtures("single_lanes")
def test_any_number_of_calls_leaves_the_same_ends(name: str, stretch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    experiments = [changed(shortened(name), k, trials=10 + k, evaluate_every=3) for k in range(3)]
    kept = []
    run = Batch.run

    def in_stretches(batch: Batch) -> Iterator[Any]:
        for ends in run(batch, stretch):
            kept.append(ends[0].copy())
            yield ends

    monkeypatch.setattr(Batch, "run", in_stretches)
    assert_same(experiments)
    ends = np.concatenate(kept, axis=1)
    for k, experiment in enumerate(experiments):
        learning = [each for each in single(experiment)[1] if not each.summary.evaluate]
        expected = [[*each.summary[2:7], each.last_cost] for each in learning]
        assert ends[k, : experiment.run.trials].tolist() == expected


@pytest.mark.usefixtures("single_lanes")
def test_unlike_experiments_come_back_in_their_order() -> None:
    pendulum = parse_experiment(PENDULUM, "test")
    mixed = [shortened("cartpole"), changed(pendulum, trials=2), shortened("xor"), shortened("xor", RULES[1])]
    mixed += [shortened("xor", steps=8), shortened("cartpole")]
    results = assert_same(mixed)
    assert [result.trials for result in results] == [8, 2, 8, 8, 8, 8]


@pytest.mark.usefixtures("single_lanes")
def test_batches_at_once_take_turns() -> None:
    experiments = varied(shortened("xor"), 5)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: list(map(timeless, simulate_many(experiments))), range(3)))
    assert found[0] == found[1] == found[2]


@pytest.mark.usefixtures("single_lanes")
def test_a_cost_that_does_not_fit_names_the_run_as_the_single_run_names_the_trial() -> None:
    experiments = [changed(shortened("cartpole"), k) for k in range(4)]
    plant = experiments[2].plant.model_copy(update={"cost_lsb": 1e-8})
    experiments[2] = experiments[2].model_copy(update={"plant": plant})
    with pytest.raises(PlantError) as one:
        simulate(experiments[2], out=None)
    with pytest.raises(PlantError) as caught:
        simulate_many(experiments)
    assert str(caught.value) == f"run 2: {one.value}"


def test_what_cannot_run_is_said_before_anything_runs() -> None:
    good = shortened("xor")
    wrong = parse_experiment(PENDULUM.replace("[3, 5, 1]", "[2, 5, 2]"), "test")
    with pytest.raises(ExperimentError, match=r"(?s)^run 1: network\.layers\[0\].*3.*layers\[-1\].*1"):
        simulate_many([good, wrong])
    with pytest.raises(ExperimentError, match=r'^run 0: plant\.kind: "board"'):
        simulate_many([shortened("filters")])


class Told(SilentProgress):
    """Progress that keeps what it is told."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, int | None]] = []
        self.done = 0

    def start(self, label: str, total: int | None = None) -> None:
        self.stages.append((label, total))

    def advance(self, n: int = 1) -> None:
        self.done += n


@pytest.mark.usefixtures("single_lanes")
def test_progress_counts_the_learning_trials_of_all_runs() -> None:
    told = Told()
    pendulum = changed(parse_experiment(PENDULUM, "test"), trials=2)
    simulate_many([shortened("xor"), pendulum, changed(shortened("xor"), stop_cost=1e6)], progress=told)
    assert told.stages[-1] == ("learning", 18)
    assert told.done == 8 + 2 + 4


@pytest.mark.usefixtures("single_lanes")
def test_no_threads_are_too_few() -> None:
    with pytest.raises(EngineError, match=r"threads: is 0 \(allowed: 1 or more\)"):
        simulate_many([shortened("xor")], threads=0)


def test_no_experiments_have_no_results() -> None:
    assert simulate_many([]) == []


@pytest.mark.parametrize("lanes", [1, 2, 16])
@pytest.mark.parametrize("runs", [1, 15, 16, 33])
@pytest.mark.parametrize("dtype", [np.int32, np.uint16])
def test_interleaved_words_come_back(lanes: int, runs: int, dtype: type) -> None:
    rows = np.arange(runs * 7, dtype=dtype).reshape(runs, 7)
    groups = interleave(rows, lanes)
    assert groups.flags.c_contiguous
    assert all(group.ctypes.data % ALIGNED == 0 for group in groups)
    assert groups[-1, 3, (runs - 1) % lanes :].tolist() == [rows[-1, 3]] * (lanes - (runs - 1) % lanes)
    assert rows_of(groups, runs, 7).tolist() == rows.tolist()
    assert rows_of(interleave(rows[:, :0], lanes), runs, 0).shape == (runs, 0)


@pytest.mark.parametrize("trials", [1, 2, 64, 65])
@pytest.mark.parametrize("lanes", [1, 16])
def test_a_call_has_room_for_its_trials_and_little_more(lanes: int, trials: int) -> None:
    room = room_for(trials, 3, lanes)
    assert room.shape[2:] == (END_WORDS, lanes)
    assert trials <= room.shape[1] < trials + (8 if lanes == 1 else 1)
    assert room.flags.c_contiguous and not room.any()
    assert all(group.ctypes.data % ALIGNED == 0 for group in room)
