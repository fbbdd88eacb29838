"""The Temperature Control Lab: tclab's model against its equations, and a lab that is played by the test."""

import os
import pty
import random
import sys
import threading
import tty
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import tclab

from subsong_sim.errors import PlantError
from subsong_sim.learner import Ended, TrialSummary
from subsong_sim.plants import Mismatch, PlantSpec, make_plant
from subsong_sim.plants.clock import clock_of
from subsong_sim.plants.mismatch import MismatchedPlant
from subsong_sim.plants.tclab_drivers import ModelLab, RealLab
from subsong_sim.plants.thermal_lab import ThermalLab, make_lab
from subsong_sim.trials import plant_trial
from test_clock import FakeTime

SPEC = PlantSpec(kind="tclab", period_ms=1000, cost_lsb=0.01, target_range=[[40.0, 40.0], [30.0, 30.0]])


def integrated(powers: tuple[float, float], seconds: int) -> tuple[float, float]:
    """Return both temperatures after constant heating from 21 degrees: the package's equations, in small steps."""
    heater, sensor, dt = [21.0, 21.0], [21.0, 21.0], 0.01
    for _ in range(round(seconds / dt)):
        exchange = (heater[0] - heater[1]) / 100
        rates = [
            full * power / 5720 + (21.0 - h) / 20 - sign * exchange
            for full, power, h, sign in zip((200.0, 100.0), powers, heater, (1, -1), strict=True)
        ]
        sensor = [t + dt * (h - t) / 140 for t, h in zip(sensor, heater, strict=True)]
        heater = [h + dt * rate for h, rate in zip(heater, rates, strict=True)]
    return sensor[0], sensor[1]


def test_the_model_heats_as_its_equations_say() -> None:
    plant = make_plant(SPEC)
    plant.reset(1)
    for _ in range(120):
        plant.actuate([32767, -6553])  # all of one heater, 40 percent of the other
    expected = integrated((100.0, 40.0), 120)
    for word, temperature in zip(plant.sense(), expected, strict=False):
        assert (word / 32767 + 1) * 50 == pytest.approx(temperature, abs=0.6)  # tclab's converter has cells of 0.32 K
    assert (plant.sense()[2] / 32767 + 1) * 50 == pytest.approx(40.0, abs=0.01)


def test_the_cost_is_the_squared_error_of_what_is_measured() -> None:
    plant = make_plant(SPEC)
    plant.reset(5)
    plant.actuate([-32767, -32767])
    one, two, *_ = ((word / 32767 + 1) * 50 for word in plant.sense())
    assert plant.cost() == pytest.approx(((one - 40) ** 2 + (two - 30) ** 2) / 0.01, abs=20)


def test_one_set_point_makes_one_heater() -> None:
    plant = make_plant(PlantSpec(kind="tclab", period_ms=1000, target_range=[[40.0, 41.0]]))
    assert (plant.n_sensors, plant.n_actuators) == (2, 1)
    plant.reset(1)
    plant.actuate([32767])
    assert len(plant.sense()) == 2


def test_the_models_noise_is_its_own_and_a_function_of_the_seed() -> None:
    plant = make_plant(PlantSpec(kind="tclab", period_ms=1000, sensor_range=[[15.0, 30.0]] * 4))
    state = random.getstate()
    seen = []
    for seed in (1, 1, 2):
        plant.reset(seed)
        for _ in range(20):
            plant.actuate([0, 0])
        seen.append(plant.sense())
    assert seen[0] == seen[1] != seen[2]
    assert random.getstate() == state


def test_parameters_are_the_models() -> None:
    def warmed(mismatch: Mismatch) -> list[int]:
        plant = make_plant(SPEC, mismatch)
        plant.reset(1)
        for _ in range(60):
            plant.actuate([32767, 32767])
        return plant.sense()

    nominal = warmed(Mismatch())
    assert warmed(Mismatch(parameters={"P1": 100.0}))[0] < nominal[0]
    assert warmed(Mismatch(parameters={"Ta": 30.0}))[1] > nominal[1]
    for name in ("maxstep", "_T1", "Q1"):
        with pytest.raises(PlantError, match=rf"plant\.parameters\.{name}: .* use one of P1, P2, Ta"):
            make_plant(PlantSpec(kind="tclab", period_ms=1000, parameters={name: 1.0}))


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"target_range": [[1.0, 2.0]] * 3}, "3 pairs, but the lab has 2 heaters"),
        ({"actuator_range": [[0.0, 120.0]] * 2}, r"actuator_range\[0\]: .* wider than 0 to 100 percent"),
        ({"sensor_range": [[0.0, 50.0]]}, "1 pairs for the 4 sensors"),
        ({"period_ms": 0}, "above 0"),
    ],
)
def test_what_does_not_fit_is_refused(spec: dict[str, Any], says: str) -> None:
    with pytest.raises(PlantError, match=says):
        make_plant(PlantSpec(**{"kind": "tclab", "period_ms": 1000, **spec}))


class Lab:
    """A lab that answers, until `broken`; tclab's model without its print-outs, as far as the plant can tell."""

    def __init__(self, port: str) -> None:
        self.port, self.broken, self.closed = port, False, False
        self.powers = [7.0, 7.0]
        self.asked = 0

    def _heat(self, heater: int, power: float) -> float:
        if self.broken:
            raise OSError("Input/output error")
        self.powers[heater] = power
        return power

    def Q1(self, power: float) -> float:  # noqa: N802 - tclab's name
        return self._heat(0, power)

    def Q2(self, power: float) -> float:  # noqa: N802
        return self._heat(1, power)

    @property
    def T1(self) -> float:  # noqa: N802
        if self.broken:
            raise ValueError("could not convert string to float: ''")
        return 25.0

    T2 = T1

    def close(self) -> None:
        self.Q1(0)
        self.Q2(0)
        self.closed = True


def connected(time: FakeTime) -> tuple[ThermalLab, Lab]:
    """Return a plant, and the lab that it drives."""
    labs: list[Lab] = []

    def connect(port: str) -> Lab:
        print("TCLab version 1.0.0")
        labs.append(Lab(port))
        return labs[0]

    return ThermalLab(SPEC, RealLab("/dev/lab", time.clock(1000), connect), "the lab", {}), labs[0]


def test_a_lab_is_driven_in_real_time_on_its_own_port_and_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    time = FakeTime()
    plant, lab = connected(time)
    assert lab.port == "/dev/lab"
    plant.reset(1)
    assert lab.powers == [0, 0]
    began = time.ns
    plant.actuate([32767, 0])
    assert lab.powers == [100.0, 50.0]
    assert time.ns - began == pytest.approx(1e9, rel=1e-4)
    assert plant.cost() == round((15.0**2 + 5.0**2) / 0.01)
    assert clock_of(MismatchedPlant(plant, [], [])) is not None
    plant.close()
    plant.close()
    assert (lab.powers, lab.closed) == ([0, 0], True)
    assert capsys.readouterr().out == ""


class Learner:
    """Wants everything hot, and fails where the test says."""

    def __init__(self, fail: Callable[[int], None]) -> None:
        self.fail, self.steps = fail, 0

    def begin(self, *_: object) -> None:
        self.fail(-1)

    def act(self, *_: object) -> list[int]:
        self.steps += 1
        self.fail(self.steps)
        return [32767, 32767]

    def end(self, cost: int) -> TrialSummary:
        return TrialSummary(0, False, self.steps, cost, 0, 0, 0, 0)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, RuntimeError])
def test_whatever_ends_a_trial_the_heaters_are_off_at_once(error: type[BaseException]) -> None:
    plant, lab = connected(FakeTime())
    behind = MismatchedPlant(plant, [], [])

    def fail(step: int) -> None:
        if step == 3:
            assert lab.powers == [100.0, 100.0]
            raise error

    with pytest.raises(error):
        plant_trial(Learner(fail), behind, 0, 1, 10, False)
    assert lab.powers == [0, 0]
    assert isinstance(plant_trial(Learner(lambda _: None), behind, 0, 1, 2, False), Ended)
    assert lab.powers == [0, 0], "and between trials"


def test_a_lab_that_stops_answering_is_told_with_what_to_do() -> None:
    plant, lab = connected(FakeTime())
    plant.reset(1)
    lab.broken = True
    says = r"plant\.port: the TCLab at /dev/lab stopped answering: OSError: .*\. Its heaters may be on: unplug"
    for call in (lambda: plant.actuate([0, 0]), plant.safe, plant.close):
        with pytest.raises(PlantError, match=says):
            call()
    plant.close()


def test_a_port_without_a_lab_is_one_clear_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(PlantError, match=r"plant\.port: the TCLab at /dev/nowhere cannot be opened: RuntimeError"):
        make_plant(SPEC, Mismatch(port="/dev/nowhere"))
    assert capsys.readouterr().out == ""
    with pytest.raises(PlantError, match=r"the lab at plant\.port is no model"):
        make_lab(SPEC, {"Ta": 20.0}, "/dev/nowhere", None)


@pytest.fixture
def firmware() -> Iterator[tuple[str, list[str]]]:
    """A lab's firmware, as far as its protocol goes, behind a pty: the port's name, and the commands that came."""
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    commands: list[str] = []

    def serve() -> None:
        held = b""
        while data := _read(ours):
            *lines, held = (held + data).split(b"\r\n")
            for line in lines:
                commands.append(line.decode())
                name, _, value = commands[-1].partition(" ")
                reply = {"VER": "TCLab Firmware", "T1": "24.5", "T2": "23.25", "X": "Stop"}.get(name, value)
                os.write(ours, f"{reply}\r\n".encode())

    server = threading.Thread(target=serve, daemon=True)
    server.start()
    yield os.ttyname(theirs), commands
    os.close(theirs)
    server.join(5)
    os.close(ours)


def _read(file: int) -> bytes:
    try:
        return os.read(file, 256)
    except OSError:  # nobody has the other end open any more
        return b""


@pytest.mark.slow
def test_the_package_drives_a_lab_that_speaks_its_protocol(firmware: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    port, commands = firmware
    # A pty is no USB device, and only those are found.
    monkeypatch.setattr(tclab.tclab, "find_arduino", lambda wanted: (wanted, "a pty"))
    plant = make_plant(replace(SPEC, period_ms=50), Mismatch(port=port))
    plant.reset(1)
    plant.actuate([32767, 0])
    one, two, *_ = ((word / 32767 + 1) * 50 for word in plant.sense())
    assert (one, two) == (pytest.approx(24.5, abs=0.01), pytest.approx(23.25, abs=0.01))
    assert {"Q1 100.0", "Q2 50.0"} <= set(commands)
    plant.close()
    assert commands[-3:] == ["Q1 0", "Q2 0", "X"]


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tclab", None)
    with pytest.raises(PlantError, match=r"needs tclab, which is not installed; pip install 'subsong\[tclab\]'"):
        make_plant(SPEC, Mismatch(port="/dev/lab"))


def test_the_model_is_the_packages() -> None:
    model = ModelLab(1.0, {})
    assert isinstance(model._model, tclab.TCLabModel)
