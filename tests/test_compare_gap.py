"""The gap's parts that are measured by running something again: the nominal model, and coarser sensors."""

import sys
from itertools import pairwise
from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compare_logs import CARTPOLE, XOR, evaluate, make_run, reader, replay_equal
from subsong.compare import compare
from subsong.compare.channels import Sample, Use, read_channels, together
from subsong.compare.model import foretell
from subsong.console import SilentProgress
from subsong.experiment import parse_experiment
from subsong.runlog.records import Event, Step, Trial
from subsong.session import RunResult, learn, schedule, simulate
from subsong_sim.learner import Ended, TrialSummary
from subsong_sim.plants.mismatch import SensorBits

SHORT = CARTPOLE.replace("trials = 120", "trials = 14\nevaluate_every = 6\nevaluate_episodes = 2").replace(
    "stop_cost = -475.0", ""
)
# Nothing but constants differ: no stage of its own, and no chance.
BENT = SHORT.replace("actuator_delay = 1\n", "")
PENDULUM = (
    BENT.replace('"CartPole-v1"', '"Pendulum-v1"')
    .replace("[4, 1]", "[3, 1]")
    .replace("sensor_range = [[-2.4, 2.4], [-3.0, 3.0], [-0.21, 0.21], [-3.0, 3.0]]\n", "")
    .replace("force_mag = 8.0, friction_cart = 0.1", "m = 1.2")
    .replace("steps = 500", "steps = 40")
)


def experiment(toml):
    return parse_experiment(toml, "test")


# ---------------------------------------------------------------------------------------------- whose seed


class Recorded:
    """Trials that note how they were asked for, and end at once."""

    def __init__(self):
        self.asked = []

    def run(self, first, seeds, evaluating):
        for number, seed in enumerate(seeds, first):
            self.asked.append((number, evaluating, seed))
            yield Ended(TrialSummary(number, evaluating, 1, -1, 0, 0, 0, 0), -1)

    def state(self):
        return b"", b""


@pytest.mark.parametrize("every", [0, 1, 4, 6, 12, 100])
@pytest.mark.parametrize("estimator", ["two_sided", "running_baseline"])
def test_the_schedule_is_that_of_learning(every, estimator):
    toml = SHORT.replace("trials = 14\nevaluate_every = 6", f"trials = 12\nevaluate_every = {every}")
    found = experiment(toml.replace("[plant]", f'estimator = "{estimator}"\n[plant]'))
    trials = Recorded()
    learn(found, trials, RunResult(None), SilentProgress())
    assert trials.asked == [(number, *said) for number, said in enumerate(schedule(found))]


def test_seeds_are_found_again_behind_a_checkpoint():
    found = experiment(SHORT)
    run = make_run("board", toml=SHORT)
    whole = list(schedule(found))
    # Six learning trials and two evaluations; then, as trial 21, the schedule goes on behind the checkpoint after six.
    back = Event("reconnected", "", {"session": "new", "trial": 21, "trials": 6})
    steps = [Step(0, 0, 0, (1, 2, 3, 4), (5,))]
    trials = [
        Trial(n, said[0], steps, TrialSummary(n, said[0], 1, 0, 0, 0, 0, 0), 0)
        for n, said in [*enumerate(whole[:8]), *enumerate(whole[8:], 21)]
    ]
    for trial in trials:
        trial.steps = [step._replace(trial=trial.number) for step in steps]
    channels = read_channels(iter(trials), run.header, found, [back], [trial.number for trial in trials])
    assert [sample.seed for sample in channels.samples] == [said[1] for said in whole]


# ---------------------------------------------------------------------------------------------- the nominal model


@pytest.mark.parametrize("toml", [SHORT, PENDULUM], ids=["compiled", "gymnasium"])
def test_a_plant_that_is_the_model_is_foretold_exactly(tmp_path, toml):
    simulate(experiment(toml), out=tmp_path / "sim.mcap")
    result = compare([tmp_path / "sim.mcap"], tmp_path / "report.html", episodes=1)
    found = result.details["model"]["software"]
    # 14 learning trials and three evaluations of two episodes, evenly.
    assert (found["exact"], found["trials"]) == (True, 20)
    assert set(found["rms_after_steps"]["whole"]["share_of_range"]) == {0.0}
    model = next(part for part in result.details["gap"] if part["part"] == "Model")
    assert model["finding"] == "exact"


@pytest.mark.parametrize("toml", [BENT, PENDULUM], ids=["cartpole", "pendulum"])
def test_a_plant_that_differs_is_not_and_the_error_grows(tmp_path, toml):
    simulate(experiment(toml), out=tmp_path / "sim.mcap", mismatch=True)
    result = compare([tmp_path / "sim.mcap"], tmp_path / "report.html", episodes=1)
    found = result.details["model"]["software"]
    assert not found["exact"]
    errors = found["rms_after_steps"]
    first, later = (np.array(errors[step]["share_of_range"]) for step in ("1", "5"))
    assert 0 < first.max() < later.max()
    # As it is in physical units: a share of Pendulum's 16 rad/s, say.
    width = {"4": (4.8, 6.0, 0.42, 6.0), "3": (2.0, 2.0, 16.0)}[str(len(first))]
    assert errors["5"]["physical"] == pytest.approx(later * np.array(width))
    assert "What the nominal model foretells" in (tmp_path / "report.html").read_text(encoding="utf-8")


class Integrator:
    """x += gain * u, in words; over after `limit` steps."""

    n_sensors = n_actuators = 1
    sensor_ranges = ((-1.0, 3.0),)

    def __init__(self, gain, limit):
        self.gain, self.limit, self.closed = gain, limit, False

    def reset(self, seed):
        self.x, self.steps = seed, 0

    @property
    def done(self):
        return self.steps == self.limit

    def sense(self):
        return [self.x]

    def actuate(self, u):
        self.x += self.gain * u[0]
        self.steps += 1

    def close(self):
        self.closed = True


def recorded(gain, u, seed=100):
    x = seed + gain * np.concatenate([[0], np.cumsum(u)[:-1]])
    return Sample(seed, x.astype(np.int16)[:, None], np.array(u, np.int16)[:, None])


def test_errors_are_root_mean_squares_over_trials_step_by_step():
    plant = Integrator(3, 1000)
    samples = [recorded(2, [1, 1, 1]), recorded(2, [2, 2, 2, 2])]
    found = foretell(experiment(SHORT), samples, lambda *_, **_named: plant, compiled=True, progress=SilentProgress())
    # Each step the model goes astray by the command.
    steps, share = found.growth()
    assert steps.tolist() == [0, 1, 2, 3]
    counts = [0, sqrt((1 + 4) / 2), sqrt((4 + 16) / 2), 6]
    assert (65534 * share[:, 0]).tolist() == pytest.approx(counts)
    assert 65534 * found.whole()[0] == pytest.approx(sqrt((1 + 4 + 4 + 16 + 36) / 7))
    assert found.physical(found.at(3)) == pytest.approx([6 * 4.0 / 65534])
    assert plant.closed
    assert not found.exact


def test_a_model_whose_episode_is_over_first_foretells_no_further():
    samples = [recorded(2, [1] * 6), recorded(2, [1, 1])]
    model = Integrator(2, 3)
    found = foretell(experiment(SHORT), samples, lambda *_, **_named: model, compiled=False, progress=SilentProgress())
    assert found.reached.tolist() == [2, 2, 1, 0, 0, 0]
    assert (found.ended, found.exact) == (1, False)
    assert not found.squares.any()


def test_what_has_no_model_says_so(tmp_path):
    def gap(toml):
        runs = {"sim.mcap": make_run("sim", toml=toml), "run.mcap": make_run("board", toml=toml)}
        for found in runs.values():
            sizes = found.header.n_sensors, found.header.n_actuators
            words = [Step(0, 0, 0, (1,) * sizes[0], (2,) * sizes[1])]
            found.steps = [Trial(0, False, words, TrialSummary(0, False, 1, 0, 0, 0, 0, 0), 0)]
        paths = [tmp_path / name for name in runs]
        options = {"read": reader(runs), "evaluate": evaluate, "replay": replay_equal, "episodes": 2}
        result = compare(paths, tmp_path / "report.html", **options)
        return {part["part"]: part["text"] for part in result.details["gap"]}

    assert "the task is computed on the board" in gap(XOR)["Model"]
    board = XOR[: XOR.index("[plant]")] + '[plant]\nkind = "board"\n[run]\ntrials = 60\nsteps = 4\n'
    assert "nobody has a model of the plant" in gap(board)["Model"]
    assert "has no clock (plant.period_ms = 0)" in gap(board)["Timing"]
    assert "no log says how its period was kept" in gap(board.replace("[run]", "period_ms = 5\n[run]"))["Timing"]
    # An environment that a log names is made; a module that it names is not imported.
    (tmp_path / "trap_of_a_log.py").write_text("raise SystemExit('imported')")
    sys.path.insert(0, str(tmp_path))
    try:
        found = gap(CARTPOLE.replace('"CartPole-v1"', '"trap_of_a_log:CartPole-v1"'))
    finally:
        sys.path.remove(str(tmp_path))
    assert "none is imported because a log says so" in found["Model"]
    assert "trap_of_a_log" not in sys.modules


def test_weights_of_a_log_that_names_a_module_are_not_evaluated(tmp_path):
    runs = {"sim.mcap": make_run("sim", toml=CARTPOLE.replace('"CartPole-v1"', '"trap_of_a_log:CartPole-v1"'))}
    result = compare([tmp_path / "sim.mcap"], tmp_path / "report.html", read=reader(runs), replay=replay_equal)
    assert "none is imported" in result.transfer["weights"]["software"]["nominal"]["missing"]


# ---------------------------------------------------------------------------------------------- words


def use(words):
    """Return what read_channels says of one sensor's words."""
    run = make_run("sim", toml=PENDULUM)
    steps = [Step(0, k, 0, (word, 0, 0), (0,)) for k, word in enumerate(words)]
    trial = Trial(0, False, steps, TrialSummary(0, False, len(steps), 0, 0, 0, 0, 0), 0)
    return read_channels(iter([trial]), run.header, experiment(PENDULUM), [], [0]).sensors[0]


@given(st.lists(st.integers(-32768, 32767), min_size=1, max_size=40))
def test_words_are_counted(words):
    found = use(words)
    inside = sorted({word for word in words if abs(word) < 32767})
    gaps = [high - low for low, high in pairwise(inside)]
    assert (found.words, found.low, found.high) == (len(words), min(words), max(words))
    assert found.distinct == len(set(words))
    end = 32767 - (found.step // 2 if found.distinct >= 16 else 0)
    assert found.clipped == sum(abs(word) >= end for word in words)
    if gaps:
        assert found.step == min(gaps)


@pytest.mark.parametrize("bits", [4, 8, 12, 16])
def test_a_converter_shows_its_bits(bits):
    words = np.random.default_rng(bits).integers(-32767, 32768, 20000).tolist()
    coarse = SensorBits(bits)(words) if bits < 16 else words
    assert use(coarse).bits == bits
    # As many stand at its two ends as the outermost cells hold.
    cell = 1 << 16 - bits
    assert use(coarse).clipped == sum(word < -32768 + max(cell, 2) or word >= 32768 - cell for word in words)
    # One that is scaled to another range, too, where it leaves gaps of several words.
    if bits < 14:
        assert use([round(0.73 * word) for word in coarse]).bits in {bits, bits + 1}


def test_a_sensor_that_says_one_thing_shows_no_bits():
    assert use([7, 7, 7]).bits == 0
    joined = together([Use(3, 0, 7, 7, 1, 0), Use(4, 1, -9, 32767, 3, 16)])
    assert joined == Use(7, 1, -9, 32767, 3, 16)


def coarse_cost(experiment, rule, head, mem, *, mismatch, episodes):
    """Cost that only sensors' bits move: 1000 counts at 0 bits, -600 at 16."""
    bits = experiment.plant.mismatch.sensor_bits if mismatch else 16
    return [1000 - 100 * bits] * episodes


def test_coarser_sensors_are_priced_on_the_nominal_plant(tmp_path):
    asked = []

    def spy(experiment, rule, head, mem, *, mismatch, episodes):
        if mismatch and experiment.plant.mismatch.sensor_bits < 16:
            asked.append((experiment.plant.mismatch, episodes))
        return coarse_cost(experiment, rule, head, mem, mismatch=mismatch, episodes=episodes)

    runs = {"sim.mcap": make_run("sim"), "run.mcap": make_run("board")}
    for found, shift in zip(runs.values(), (0, 9), strict=True):  # the board's converter has 7 bits
        x = np.random.default_rng(1).integers(-32767, 32767, (3000, 4)) >> shift << shift
        steps = [Step(0, k, 0, tuple(row), (0,)) for k, row in enumerate(x.tolist())]
        found.steps = [Trial(0, False, steps, None, None)]
    paths = [tmp_path / name for name in runs]
    options = {"read": reader(runs), "evaluate": spy, "replay": replay_equal}
    result = compare(paths, tmp_path / "report.html", **options)
    found = result.details["resolution"]
    assert list(found["nominal_cost_by_sensor_bits"]) == ["4", "6", "7", "8", "10", "12", "14", "16"]
    # cost_lsb = 0.5
    assert found["nominal_cost_by_sensor_bits"]["7"] == [150.0]
    assert found["price_of_hardware_bits"] == 450.0
    assert [each.model_dump(exclude_defaults=True) for each, _ in asked] == [
        {"sensor_bits": bits} for bits in (4, 6, 7, 8, 10, 12, 14)
    ]
    assert {episodes for _, episodes in asked} == {20}
    part = next(part for part in result.details["gap"] if part["part"] == "Quantisation")
    assert part["finding"] == "+450"
    assert "16 bits in software, 7 bits in hardware" in part["text"]
