"""Drivers for plants on pins, without pins: on a fake `machine`, whose plants are solutions of their equations.

tests/pins has the fake and the conformance test; the same driver files run on CPython and on the unix board here, and
on an emulated Pico, whose pins are its own, in test_pins_pico.py.
"""

import importlib.util
import math
import re
import shutil
import subprocess
import sys
from array import array
from ast import literal_eval
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from pins import conformance
from subsong.board_session import run_on_board
from subsong.cli import subsong
from subsong.defaults import AMPLITUDE, RATE_SHIFT, SPREAD_SHIFT, STEP
from subsong.errors import BoardError
from subsong.experiment import Experiment, parse_experiment
from subsong.experiment_text import EXAMPLES, example_text
from subsong.plant_file import example_for, find_plant, read_plant, shipped_plants
from subsong.ports import open_port
from subsong.repl import Repl
from subsong.replay import replay
from subsong_device import faults, plant_check
from subsong_hil.unix import INSTALL, UnixBoard, find_micropython

pytest_plugins = ["subsong_hil.fixtures"]

PINS = Path(__file__).with_name("pins")
FAKE = {"time": "clock", "plants": "plants", "machine": "machine"}  # what it is on the board, and its file here
DRIVERS = shipped_plants()
ENDS = {"filters": (4, 2)}  # sensors and actuators, where they are not these:
ONE_LOOP = (2, 1)
STARTS_ANYWHERE = ("heater",)


def put_fake(flash: Path, plant: str) -> None:
    """Make a folder the flash of a board that has pins, and a plant on them."""
    for name, file in FAKE.items():
        shutil.copy(PINS / f"{file}.py", flash / f"{name}.py")
    (flash / "wiring.py").write_text(f"PLANT = {plant!r}\n")


class Loaded:
    """A driver on CPython, with a fake machine of its own."""

    def __init__(self, name: str, monkeypatch: pytest.MonkeyPatch, plant: str | None = None) -> None:
        with monkeypatch.context() as patched:
            patched.setitem(sys.modules, "wiring", SimpleNamespace(PLANT=plant or name))  # type: ignore[arg-type]
            paths = {module: PINS / f"{file}.py" for module, file in FAKE.items()} | {"driver": DRIVERS[name]}
            modules = {module: self._load(module, path, patched) for module, path in paths.items()}
        self.clock, self.driver = modules["time"], modules["driver"]
        self.plant = modules["machine"].plant

    @staticmethod
    def _load(name: str, path: Path, patched: pytest.MonkeyPatch) -> Any:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module: ModuleType = importlib.util.module_from_spec(spec)
        patched.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module

    def sense(self, n: int = 2) -> list[int]:
        x = array("H", [0] * n)
        self.driver.sense(x)
        return [plant_check.signed(word) for word in x]

    def actuate(self, *words: int) -> None:
        self.driver.actuate(array("H", [word & 0xFFFF for word in words]))


def complaints(loaded: Loaded, name: str) -> list[str]:
    ends = ENDS.get(name, ONE_LOOP)
    repeats = name not in STARTS_ANYWHERE
    return conformance.complaints(loaded.driver, *ends, lambda: loaded.clock.sleep_ms(20), repeats)


# ------------------------------------------------------------------------------------------ every driver


@pytest.mark.parametrize("name", DRIVERS)
def test_every_driver_does_what_a_plant_has_to_on_cpython(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert complaints(Loaded(name, monkeypatch), name) == []


@pytest.mark.parametrize("name", DRIVERS)
def test_every_driver_does_what_a_plant_has_to_on_the_unix_board(name: str, tmp_path: Path) -> None:
    micropython = find_micropython()
    if micropython is None:
        pytest.skip(f"needs MicroPython: {INSTALL}")
    put_fake(tmp_path, name)
    shutil.copy(DRIVERS[name], tmp_path / "plant.py")
    shutil.copy(PINS / "conformance.py", tmp_path)
    ends = ENDS.get(name, ONE_LOOP)
    arguments = f"plant, *{ends}, lambda: time.sleep_ms(20), {name not in STARTS_ANYWHERE}"
    code = f"import plant, conformance, time\nprint(conformance.complaints({arguments}))"
    done = subprocess.run([micropython, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stdout + done.stderr


BROKEN = {
    "lacks safe": ("def safe", "def unsafe"),
    "on after safe\\(\\)": ("pwm.duty_u16(0)\n", "pass\n"),
    "every seed is the same": ("seed * 40503", "1 * 40503"),
    "reset\\(1\\) started from": ("    safe()\n    sleep_ms(EMPTY_MS)", "    pass"),
    "sense\\(\\) leaves x\\[1\\]": ("    x[1] = voltage ^ 0x8000\n", ""),
    "cost\\(\\) returned": ("return (way >> 6)", "return 0.5 * (way >> 6)"),
    "actuate\\(\\) changed its words": ("pwm.duty_u16(u[0] ^ 0x8000)", "u[0] ^= 0x8000"),
}


@pytest.mark.parametrize("complaint", BROKEN)
def test_what_a_plant_does_wrong_is_told(complaint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    right, wrong = BROKEN[complaint]
    path = tmp_path / "rc.py"
    assert right in DRIVERS["rc"].read_text()
    path.write_text(DRIVERS["rc"].read_text().replace(right, wrong))
    monkeypatch.setitem(DRIVERS, "rc", path)
    told = complaints(Loaded("rc", monkeypatch), "rc")
    assert any(re.match(complaint, line) for line in told), told


def test_every_driver_that_ships_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert DRIVERS.keys() == {"filters", "rc", "dc_motor", "servo_pot", "heater", "template"}
    monkeypatch.chdir(tmp_path)
    for name, path in DRIVERS.items():
        assert find_plant(Path(name)) == path
        assert read_plant(path) == path.read_bytes()
        assert (example_for(path) in EXAMPLES) == (name != "template")
    own = tmp_path / "rc"
    own.write_text("pass\n")
    assert find_plant(Path("rc")) == Path("rc"), "a file of one's own comes first"
    assert example_for(Path("rc")) is None


def test_a_wrong_name_lists_the_right_ones() -> None:
    said = CliRunner().invoke(subsong, ["deploy", "--port", "unix", "--plant", "motor"])
    assert said.exit_code != 0
    names = "dc_motor, filters, heater, rc, servo_pot, template"
    assert f"no plant of that name ships with Subsong; these do: {names}" in " ".join(said.stderr.split())


# ------------------------------------------------------------------------------------------ each driver


@pytest.mark.parametrize(("word", "duty"), [(-32768, 0), (-32767, 1), (0, 32768), (32767, 65535)])
def test_the_rc_filter_follows_its_duty(word: int, duty: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rc = Loaded("rc", monkeypatch)
    rc.driver.reset(7)
    rc.actuate(word)
    for ms in range(10, 60, 10):
        rc.clock.sleep_ms(10)
        way, voltage = rc.sense()
        exact = duty / 65535 * (1 - math.exp(-ms / 10))
        assert abs((voltage + 32768) / 65535 - exact) < 3 / 4096
        full = rc.driver.wanted - voltage - 32768
        assert way == full >> 1
        assert rc.driver.cost() == (full >> 6) ** 2


def test_the_motor_turns_both_ways_and_every_count_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    motor = Loaded("dc_motor", monkeypatch)
    motor.driver.reset(1)
    for word, backwards in ((0, 0), (16384, 0), (-32768, 1), (32767, 0), (-5, 1)):
        motor.actuate(word)
        assert motor.plant.level[14] == backwards
        assert abs(motor.plant.duty[15] - abs(word) / 32767) < 1e-3
        for _ in range(30):
            before = motor.driver.position
            motor.clock.sleep_ms(10)
            way, speed = motor.sense()
            assert motor.driver.position == motor.plant.count
            left = min(max(motor.driver.wanted - motor.plant.count, -3200), 3200)
            assert way == (min(max(20 * left, -32767), 32767) if abs(left) < 3200 else -32768)
            assert speed == 512 * (motor.driver.position - before)
            assert motor.driver.cost() == (left >> 1) ** 2
    assert motor.plant.count


def test_a_reset_lets_the_motor_come_to_rest_and_counts_from_there(monkeypatch: pytest.MonkeyPatch) -> None:
    motor = Loaded("dc_motor", monkeypatch)
    motor.driver.counted[0] = 65000  # soon it wraps around
    motor.driver.reset(1)
    motor.actuate(32767)
    motor.clock.sleep_ms(1000)
    motor.sense()
    assert motor.driver.position == motor.plant.count > 1000
    motor.driver.reset(2)
    turned = motor.plant.count
    motor.clock.sleep_ms(1000)
    assert abs(motor.plant.count - turned) <= 1
    assert abs(motor.sense()[0] - 20 * motor.driver.wanted) <= 20
    assert abs(motor.driver.wanted) <= 660


@pytest.mark.parametrize(("name", "word"), [("rc", 30000), ("servo_pot", 32767)])
def test_a_plant_at_the_wrong_end_is_no_stuck_sensor(name: str, word: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a learner tries last: far from what is wanted, and held there by a range."""
    loaded = Loaded(name, monkeypatch)
    loaded.driver.reset(1)
    loaded.driver.wanted = loaded.driver.LOWEST
    loaded.actuate(word)
    loaded.clock.sleep_ms(1000)
    read = [loaded.sense() for _ in range(31)]
    assert all(len(set(words)) > 1 for words in zip(*read, strict=True))


@pytest.mark.parametrize(("word", "us"), [(-32768, 1000), (0, 1500), (32767, 2000)])
def test_the_servo_gets_pulses_of_one_to_two_ms(word: int, us: int, monkeypatch: pytest.MonkeyPatch) -> None:
    servo = Loaded("servo_pot", monkeypatch)
    servo.driver.reset(1)
    servo.actuate(word)
    assert abs(20000 * servo.plant.duty[15] - us) < 1
    servo.clock.sleep_ms(500)
    _, angle = servo.sense()
    assert abs((angle + 32768) / 65536 - (0.25 + 0.6 * (us / 1000 - 1))) < 2e-3


def test_the_heater_is_off_below_0_and_where_it_is_too_hot(monkeypatch: pytest.MonkeyPatch) -> None:
    heater = Loaded("heater", monkeypatch)
    heater.driver.reset(1)
    for word, duty in ((-32768, 0.0), (-1, 0.0), (0, 0.0), (16384, 0.5), (32767, 1.0)):
        heater.sense()
        heater.actuate(word)
        assert abs(heater.plant.duty[15] - duty) < 1e-4
    for celsius in (20.0, 40.0, 60.0, 64.0, 66.0):
        heater.plant.t = celsius
        way, above = heater.sense()
        assert abs(above - 794.4 * (celsius - 40)) < 100
        assert abs(way + above - 4 * (heater.driver.wanted - heater.driver.MIDDLE)) < 4
        heater.actuate(32767)
        assert (heater.plant.duty[15] > 0) == (celsius < 65)


# ------------------------------------------------------------------------------------------ on the unix board


def experiment_of(name: str, **keys: object) -> Experiment:
    """The example that goes with a driver, other keys in it."""
    # The board's clock goes on by control periods: no host is as quick as that.
    text = example_text(f"{name}_pins")
    for key, value in {"deadman_ms": 600000, **keys}.items():
        text, found = re.subn(rf"^{key} = .*$", f"{key} = {value}", text, flags=re.MULTILINE)
        assert found == 1, key
    return parse_experiment(text, "test")


@pytest.mark.parametrize("name", ["rc", "dc_motor", "servo_pot", "heater"])
def test_plants_on_pins_learn_by_the_numbers_of_every_plant(name: str) -> None:
    learner = experiment_of(name).learner
    scale = 1 / math.sqrt(3)
    assert learner.amplitude == round(AMPLITUDE * scale, 3)
    assert (learner.rate, learner.rate_shift) == (round(STEP * scale * 2**RATE_SHIFT), RATE_SHIFT)
    assert learner.spread_shift == SPREAD_SHIFT


# Trials, and what may be left of the cost that untrained weights have in the same evaluation.
LEARNED = {"rc": (200, 0.5), "dc_motor": (200, 0.5), "servo_pot": (200, 0.5), "heater": (60, 0.1)}


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNED)
def test_each_plant_on_pins_is_learned_through_its_driver(name: str, deployed_flash: Path, tmp_path: Path) -> None:
    put_fake(deployed_flash, name)
    shutil.copy(DRIVERS[name], deployed_flash / "plant.py")
    trials, part = LEARNED[name]
    log = tmp_path / "run.mcap"
    learned = run_on_board(experiment_of(name, trials=trials, evaluate_every=0), port="unix", out=log)
    # Weights that were not learned: of two trials, with a rate that moves nothing.
    control = experiment_of(name, trials=2, evaluate_every=0, rate_shift=29)
    untrained = run_on_board(control, port="unix", out=tmp_path / "control.mcap")
    print(f"{name}: {untrained.final:.3f} untrained, {learned.final:.3f} after {trials} trials")
    assert learned.final < part * untrained.final
    if name == "rc":
        again = replay(log)
        assert (again.difference, again.holes) == (None, 0)


# What is done to a driver (or what hangs on its pins), and what the host is told.
MISHAPS = {
    "no such pin": ("rc", "PWM_PIN = 15", "PWM_PIN = 99", "rc", r"raised ValueError: line 21, while it was imported"),
    "no such ADC": ("heater", "ADC_PIN = 26", "ADC_PIN = 15", "heater", r"ValueError: line 29, while it was imported"),
    "in reset()": ("rc", "sleep_ms(EMPTY_MS)", "sleep_ms(EMPTY_MS // (seed < 2))", "rc", r"line \d+, in reset\(\)"),
    "in a trial": ("dc_motor", "position = now", "position = now // (now < 9)", "dc_motor", r"line \d+, in sense\(\)"),
    "unplugged": ("heater", "", "", "unplugged", r"sensor 0 left plant.sensor_range, so the outputs are safe"),
    "stuck": ("servo_pot", "", "", "stuck", r"sensor 0 .* change"),
}


@pytest.mark.parametrize("mishap", MISHAPS)
def test_a_mishap_ends_with_outputs_off_and_is_explained(mishap: str, deployed_flash: Path, tmp_path: Path) -> None:
    name, right, wrong, plant, message = MISHAPS[mishap]
    put_fake(deployed_flash, plant)
    text = DRIVERS[name].read_text()
    assert right in text
    (deployed_flash / "plant.py").write_text(text.replace(right, wrong))
    experiment = experiment_of(name, trials=20, init=0.2)
    with UnixBoard(deployed_flash) as board:
        with pytest.raises(BoardError, match=message) as caught:
            run_on_board(experiment, port=board.path, out=tmp_path / "run.mcap")
        assert caught.value.code in (faults.PLANT, faults.SENSOR, faults.STUCK)
        with open_port(board.path) as port, Repl(port) as repl:
            duties, driven = literal_eval(repl.run("import machine as m\nprint((m.plant.duty, m.plant.driven))"))
    assert set(duties.values()) <= {0.0}
    assert driven == (mishap not in ("no such pin", "no such ADC", "unplugged"))
