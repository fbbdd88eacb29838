"""The control period of a plant on the board: how it is kept, how well, and who is told of it."""

import json
import random
import re
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from runlog_sessions import Session, header, record, rewrite
from subsong.board_session import run_on_board
from subsong.cli import subsong
from subsong.deploy import deploy_policy
from subsong.errors import BoardError
from subsong.experiment import Experiment, parse_experiment
from subsong.ports import open_port
from subsong.repl import Repl
from subsong.replay import replay
from subsong.runlog import Recorder, Timing, TimingTotal, read_run
from subsong_device import faults, frames
from subsong_device import session as device_session
from subsong_device.plant_clock import Clock
from subsong_device.plant_guard import FEWEST_STEPS
from test_bad_plants import NOTED
from test_board_plant import EXAMPLE, Board, Plant, experiment_of
from test_policy import policy_of

pytest_plugins = ["subsong_hil.fixtures"]

# A plant that takes its time: 1 ms and more in sense(), by the board's own clock.
SLOW = EXAMPLE.read_text() + "\nimport time\nfast = sense\ndef sense(x):\n    time.sleep_us(1200)\n    fast(x)\n"


def short(period_ms: float) -> Experiment:
    """An experiment whose trials are too short to be judged: a busy machine may be late in all of their steps."""
    return parse_experiment(experiment_of(period_ms=period_ms).to_toml().replace("steps = 12", "steps = 7"), "test")


class Hands:
    """A clock that moves when somebody sleeps, and a little with every look at it.

    Attributes:
        now: microseconds.
        sleeps: what was slept, microseconds.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, look_us: int = 0) -> None:
        self.now = 1000
        self.sleeps: list[int] = []
        self.look_us = look_us
        monkeypatch.setattr(time, "ticks_us", self.look)
        monkeypatch.setattr(time, "sleep_us", self.sleep, raising=False)
        monkeypatch.setattr(time, "sleep_ms", lambda ms: self.sleep(1000 * ms))

    def look(self) -> int:
        self.now += self.look_us
        return self.now

    def sleep(self, us: int) -> None:
        self.sleeps.append(us)
        self.now += us


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> Hands:
    return Hands(monkeypatch)


def trial(hands: Hands, clock: Clock, took: list[int]) -> list[int]:
    """Run a trial whose steps take so long; return when each began."""
    began = []
    clock.begin()
    for us in took:
        began.append(clock.next(hands.now))
        hands.now += us
    clock.end(hands.now)
    return began


# ------------------------------------------------------------------------------------------ keeping the period


def test_steps_begin_on_the_grid_and_what_was_missed_is_not_made_up_for(hands: Hands) -> None:
    clock = Clock()
    clock.start(2500)
    began = trial(hands, clock, [0, 2500, 2400, 2600, 9000, 0, 100])
    assert began == [1000, 3500, 6000, 8500, 11100, 20100, 22600]
    assert clock.told() == (7, 2500, 2, (100 + 6500) // 7, 6500, 16600 // 7, 9000)


@pytest.mark.parametrize("seed", range(20))
def test_no_two_steps_are_nearer_than_a_period_and_the_counts_are_those_of_the_steps(seed: int, hands: Hands) -> None:
    random_ = random.Random(seed)
    period = random_.choice((1, 700, 2000, 10_000, 8_000_000))
    took = [random_.randrange(2 * period) for _ in range(200)]
    clock = Clock()
    clock.start(period)
    began = trial(hands, clock, took)
    due = [at + period for at in began[:-1]]
    off = [at - then for at, then in zip(began[1:], due, strict=True)]
    assert min(off) >= 0
    assert [each > 0 for each in off] == [us > period for us in took[:-1]]
    late = sum(us > period for us in took)
    assert clock.told() == (200, period, late, sum(off) // 200, max(off), sum(took) // 200, max(took))
    assert max(hands.sleeps) <= period


def test_a_long_wait_leaves_callbacks_their_turn(hands: Hands) -> None:
    """All but its last two milliseconds are slept in sleep_ms, within which MicroPython runs them."""
    clock = Clock()
    clock.start(1_000_000)
    trial(hands, clock, [300_000, 999_000, 0])
    assert hands.sleeps == [699_000, 1000, 1000]


def test_a_clock_that_moves_while_it_is_read_makes_jitter_and_no_late_step(monkeypatch: pytest.MonkeyPatch) -> None:
    hands = Hands(monkeypatch, look_us=7)
    clock = Clock()
    clock.start(5000)
    trial(hands, clock, [1000] * 50)
    steps, _, late, jitter, worst, step, longest = clock.told()
    assert (steps, late) == (50, 0)
    assert 0 < jitter <= worst <= 14
    assert step == longest == 1000


def test_without_a_period_steps_follow_each_other_and_are_measured(hands: Hands) -> None:
    clock = Clock()
    clock.start(0)
    assert trial(hands, clock, [10, 30, 20]) == [1000, 1010, 1040]
    assert clock.told() == (3, 0, 0, 0, 0, 20, 30)
    assert clock.excess(1) == 0
    assert hands.sleeps == []


def test_a_period_cannot_be_met_where_every_step_of_a_trial_is_late(hands: Hands) -> None:
    clock = Clock()
    clock.start(1000)
    for took, excess in (
        ([1700] * FEWEST_STEPS, 700),
        ([1700] * (FEWEST_STEPS - 1), 0),
        ([*[1700] * FEWEST_STEPS, 900], 0),
        ([1001] * FEWEST_STEPS, 1),
    ):
        trial(hands, clock, took)
        assert clock.excess(FEWEST_STEPS) == excess, took


# ------------------------------------------------------------------------------------------ over the link


@pytest.mark.slow
def test_each_trial_says_how_long_its_steps_took(monkeypatch: pytest.MonkeyPatch) -> None:
    timings: list[Timing] = []
    with Board(Plant(), monkeypatch) as board:
        bridge = board.connect(period_ms=0.25)
        bridge.run_task(3, 2, 5, on_timing=timings.append)
        bridge.run_task(5, 1, 7, evaluate=True, on_timing=timings.append)
        assert bridge.close()
    assert [(each.trial, each.clock, each.steps, each.period_us) for each in timings] == [
        (3, "board", 5, 250),
        (4, "board", 5, 250),
        (5, "board", 7, 250),
    ]
    assert all(0 < each.step_us <= each.longest_step_us for each in timings)


def test_a_period_that_cannot_be_met_ends_the_run_behind_its_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    plant = Plant()
    read = plant.sense

    def slow(x: Any) -> None:
        time.sleep(0.003)
        read(x)

    plant.sense = slow  # type: ignore[method-assign]
    seen: list[Any] = []
    with Board(plant, monkeypatch) as board:
        bridge = board.connect(period_ms=1)
        with pytest.raises(BoardError, match=r"period_ms, by [\d.]+ ms on average, so the outputs are safe") as caught:
            bridge.run_task(0, 4, 12, on_timing=seen.append, on_trial=lambda *ended: seen.append(ended))
        assert caught.value.code == faults.PERIOD
        assert plant.out is None
        assert bridge.close()
    timing, (summary, _) = seen
    assert timing.late == timing.steps == summary.steps == 12
    assert timing.longest_step_us >= timing.step_us >= 3000


# ------------------------------------------------------------------------------------------ what a run says of it


def of(trial_: int, steps: int = 100, late: int = 0, worst: int = 30, step: int = 900, longest: int = 1900) -> Timing:
    return Timing(trial_, "board", steps, 2000, late, 10, worst, step, longest)


def test_a_runs_timing_is_a_sentence() -> None:
    assert str(TimingTotal()) == ""
    fits = TimingTotal.of([of(0), of(1, steps=300, step=1300, longest=1700)])
    assert (fits.trials, fits.steps, fits.step_us, fits.excess_us) == (2, 400, 1200.0, 0.0)
    assert str(fits) == "a step took up to 1.9 of 2 ms; 0 of 400 steps were late; jitter 0.01 ms, 0.03 ms at most"
    late = TimingTotal.of([of(0, 3997), of(1, 3, 3, worst=380, longest=2400)])
    assert "a step took up to 2.4 of 2 ms; 3 of 4,000 steps were late, the worst by 0.4 ms; " in str(late)
    never = TimingTotal.of([of(0, late=100, step=2700, worst=800, longest=2800)])
    assert never.excess_us == 700
    assert "a step does not fit 2 ms, by 0.7 ms on average; 100 of 100 steps were late" in str(never)
    assert str(TimingTotal.of([of(0)._replace(period_us=0)])) == "a step took 0.9 ms, 1.9 ms at most"


def test_the_log_has_it_as_a_channel_and_replay_takes_no_notice(deployed_flash: Path, tmp_path: Path) -> None:
    (deployed_flash / "plant.py").write_text(SLOW)
    experiment = short(3.5)
    log = tmp_path / "run.mcap"
    result = run_on_board(experiment, port="unix", out=log)
    run = read_run(log)
    assert [each.trial for each in run.timings] == [trial_.number for trial_ in run.iter_trials()]
    assert TimingTotal.of(run.timings) == result.timing
    assert (result.timing.trials, result.timing.steps, result.timing.period_us) == (16, 16 * 7, 3500)
    assert 1200 <= result.timing.step_us <= result.timing.longest_step_us
    assert run.disagreements() == []
    assert replay(log).difference is None


def test_a_run_that_does_not_fit_its_period_says_by_how_much(deployed_flash: Path, tmp_path: Path) -> None:
    (deployed_flash / "plant.py").write_text(SLOW)
    log = tmp_path / "run.mcap"
    with pytest.raises(BoardError, match=r"no step of a whole trial fitted plant\.period_ms") as caught:
        run_on_board(experiment_of(period_ms=1), port="unix", out=log)
    run = read_run(log)
    (timing,) = run.timings
    assert timing.late == timing.steps == 12
    assert f"by {(timing.step_us - 1000) / 1000:.2g} ms on average" in str(caught.value)
    assert [event.kind for event in run.events if event.kind in ("fault", "error")] == ["fault", "error"]


def test_a_policy_that_does_not_fit_its_period_stops_with_the_same_words(deployed_flash: Path) -> None:
    (deployed_flash / "plant.py").write_text(SLOW + NOTED)
    with open_port("unix") as port:
        deploy_policy(port, policy_of(experiment_of(period_ms=1)))
        with Repl(port) as repl:
            said = repl.run("import subsong_device.policy_main as p\np.main(trials=4)")
    assert re.fullmatch(
        r"policy: stopped, no step fitted the control period, by \d+ us on average", said.splitlines()[-1]
    )
    told = (deployed_flash / "outputs").read_text().split()
    assert told.count("moved") == 12, "it ends behind its first trial"
    assert told[-1] == "safe"


def test_the_summary_shows_it(deployed_flash: Path, tmp_path: Path) -> None:
    (deployed_flash / "plant.py").write_bytes(EXAMPLE.read_bytes())
    file = tmp_path / "mine.toml"
    file.write_text(short(4).to_toml())
    arguments = ["run", str(file), "--port", "unix", "-o"]
    said = CliRunner().invoke(subsong, [*arguments, str(tmp_path / "a.mcap")]).output
    assert re.search(r"timing +a step .* of (4 ms|112 steps)", said), said
    told = json.loads(CliRunner().invoke(subsong, [*arguments, str(tmp_path / "b.mcap"), "--json"]).stdout)
    assert told["timing"]["steps"] == 112


def test_a_host_that_keeps_a_period_records_it_in_the_same_channel(tmp_path: Path) -> None:
    mine = of(0)._replace(clock="host")
    for source in ("board", "sim"):
        with Recorder(tmp_path / f"{source}.mcap", header(source)) as recorder:
            recorder.timing(mine)
        run = read_run(tmp_path / f"{source}.mcap")
        assert (run.timings, run.disagreements()) == ([mine], [])


@pytest.mark.parametrize("period", ["0", "0.0"])
def test_whole_milliseconds_mean_what_they_meant(period: str) -> None:
    text = experiment_of().to_toml()
    other = text.replace("\nperiod_ms = 0\n", f"\nperiod_ms = {period}\n", 1)  # plant's, not run's
    assert parse_experiment(other, "test").digest == parse_experiment(text, "test").digest
    assert "period_ms = 2.5\n" in experiment_of(period_ms=2.5).to_toml()


def test_a_timing_that_was_altered_in_the_log_names_its_trial(tmp_path: Path) -> None:
    session = Session().open(frames.PLANT).run(0, 2, 4)
    for number in range(2):
        session.tell(frames.T_TIME, number, 4, 2000, 0, 13, 17, 900, 1200)
        session.task_trial(number, 4)
    recorder = record(tmp_path / "run.mcap", session.done(2))
    assert read_run(recorder.partial).timings == [Timing(n, "board", 4, 2000, 0, 13, 17, 900, 1200) for n in range(2)]
    log = recorder.close()
    assert read_run(log).disagreements() == []

    def alter(messages: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        return [
            (topic, data.replace(b'"trial":1', b'"trial":3') if topic == "/timing" else data)
            for topic, data in messages
        ]

    found = read_run(rewrite(log, tmp_path / "altered.mcap", alter)).disagreements()
    assert [each.trial for each in found] == [1, 3]
    assert str(found[0]) == "The timing of trial 1: the raw frames say so, and channel /timing does not."


def test_a_host_that_greets_in_a_run_costs_no_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    states: list[int] = []  # of the session, when garbage was collected; then, when it was greeted
    greeted: list[int] = []
    with Board(Plant(), monkeypatch) as board:
        bridge, session = board.connect(), board.session
        monkeypatch.setattr(device_session, "collect", lambda: states.append(session._state) or 99)
        assert bridge.greet().heap_free == 99
        answer = session._on_hello
        monkeypatch.setitem(
            session._handlers, frames.HELLO, lambda schema: (greeted.append(session._state), answer(schema))
        )
        bridge.run_task(0, 2, 300)
        assert bridge.close()
    assert faults.RUNNING in greeted
    assert faults.RUNNING not in states
