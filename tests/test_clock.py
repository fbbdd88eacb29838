"""Plants in real time: deadlines on a grid, and what is late told to the microsecond. Time is the test's own."""

from collections.abc import Sequence

import pytest

from subsong_sim.plants import PlantSpec, make_plant
from subsong_sim.plants.clock import LATE_NS, SPIN_NS, Clock, PacedPlant, clock_of
from subsong_sim.plants.mismatch import MismatchedPlant

MS = 1_000_000


class FakeTime:
    """A time that passes by `look_ns` a look, and by what one sleeps, and a bit."""

    def __init__(self, look_ns: int = 1000, oversleep_ns: int = 0) -> None:
        self.ns, self.look_ns, self.oversleep_ns = 7 * MS, look_ns, oversleep_ns
        self.slept: list[float] = []

    def now(self) -> int:
        self.ns += self.look_ns
        return self.ns

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.slept.append(seconds)
        self.ns += round(seconds * 1e9) + self.oversleep_ns

    def clock(self, period_ms: int) -> Clock:
        return Clock(period_ms, self.now, self.sleep)


def test_steps_end_at_their_deadlines_however_long_they_take() -> None:
    time = FakeTime()
    clock = time.clock(10)
    clock.start()
    first = clock.due
    for step, work_ns in enumerate((0, 3 * MS, 9 * MS + MS // 2, 9_990_000)):
        assert clock.due == first + step * 10 * MS
        time.ns += work_ns
        clock.wait()
        assert first + step * 10 * MS <= time.ns <= first + step * 10 * MS + 2 * time.look_ns
    assert clock.late == []
    assert max(clock.lateness_us) <= 2
    assert time.slept[0] == pytest.approx((10 * MS - SPIN_NS) / 1e9, abs=1e-5)
    assert len(time.slept) == 2, "what is left of the others is shorter than a sleep is sure to be"


def test_a_sleep_that_ends_too_late_is_a_late_step() -> None:
    time = FakeTime(oversleep_ns=5 * MS)
    clock = time.clock(10)
    clock.start()
    clock.wait()
    assert clock.late == [(0, 4001)]


def test_a_late_step_is_told_and_the_grid_stays_where_less_than_a_period_was_missed() -> None:
    time = FakeTime()
    clock = time.clock(10)
    clock.start()
    first = clock.due
    time.ns += 17 * MS
    clock.wait()
    assert clock.late == [(0, pytest.approx(7000, abs=5))]
    assert clock.due == first + 10 * MS
    clock.wait()
    assert len(clock.late) == 1
    assert list(clock.lateness_us)[1] <= 2


def test_a_period_that_was_missed_whole_is_not_made_up_for() -> None:
    time = FakeTime()
    clock = time.clock(10)
    clock.start()
    time.ns += 57 * MS
    clock.wait()
    after = time.ns
    assert clock.late == [(0, pytest.approx(47_000, abs=5))]
    assert clock.due == after + 10 * MS
    clock.wait()
    assert len(clock.late) == 1, "there is no hurry to catch up: the steps missed are no steps"


def test_what_is_late_by_less_than_it_takes_to_look_is_punctual() -> None:
    time = FakeTime(look_ns=1)
    clock = time.clock(10)
    for work_ns, late in ((10 * MS + LATE_NS - 10, 0), (10 * MS + LATE_NS + 10, 1)):
        clock.start()
        time.ns += work_ns
        clock.wait()
        assert len(clock.late) == late


def test_each_episode_has_a_grid_and_late_steps_of_its_own() -> None:
    time = FakeTime()
    clock = time.clock(10)
    clock.start()
    clock.wait()
    time.ns += 20 * MS
    clock.wait()
    assert [step for step, _ in clock.late] == [1]
    time.ns += 500 * MS  # between two episodes nobody waits
    clock.start()
    assert clock.late == []
    clock.wait()
    assert clock.late == []
    assert len(clock.lateness_us) == 3


def test_a_plant_on_a_clock_has_the_words_of_one_without() -> None:
    time = FakeTime()
    spec = PlantSpec(id="Pendulum-v1", cost_lsb=0.01)
    paced, free = make_plant(spec, clock=time.clock(50)), make_plant(spec)
    assert clock_of(paced) is not None
    assert clock_of(free) is None
    assert paced.description == f"{free.description}; real time, a step of 50 ms"
    for plant in (paced, free):
        plant.reset(3)
    began = time.ns
    for word in (0, 32767, -20000):
        for plant in (paced, free):
            plant.actuate([word])
        assert (paced.sense(), paced.cost(), paced.done) == (free.sense(), free.cost(), free.done)
    assert time.ns - began == pytest.approx(150 * MS, abs=0.1 * MS)
    for plant in (paced, free):
        plant.close()


class Sleeper:
    """A plant that takes its time."""

    n_sensors = n_actuators = 1
    description, done = "sleeper", False

    def __init__(self, time: FakeTime) -> None:
        self.time = time

    def reset(self, seed: int) -> None:
        del seed
        self.time.ns += 100 * MS

    def sense(self) -> list[int]:
        return [0]

    def actuate(self, u: Sequence[int]) -> None:
        self.time.ns += u[0] * MS

    def cost(self) -> int:
        return 0

    def close(self) -> None:
        """Do nothing."""


def test_only_steps_count_and_not_the_reset_and_the_clock_is_found_behind_stages() -> None:
    time = FakeTime()
    plant = MismatchedPlant(PacedPlant(Sleeper(time), time.clock(10)), [], [])
    clock = clock_of(plant)
    assert clock is not None
    plant.reset(0)
    for ms in (1, 12, 1):
        plant.actuate([ms])
    assert [step for step, _ in clock.late] == [1]
