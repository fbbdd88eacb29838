"""Drivers for plants on pins, on genuine MicroPython and an emulated Pico, whose pins a test reads and drives."""

import math
from ast import literal_eval
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from pico_pins import PinnedPico
from subsong.plant_file import shipped_plants

pytest_plugins = ["subsong_hil.fixtures"]
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("pico_pins")]

DRIVERS = shipped_plants()
PWM_PIN, DIRECTION_PIN, A_PIN, B_PIN = 15, 14, 16, 17
CONFORMANCE = Path(__file__).parent / "pins" / "conformance.py"
FRESH = "import sys\nsys.modules.pop('plant', None)\nimport plant, time\nfrom array import array\n"
STEP = "u = array('H', [{u}])\nx = array('H', [0, 0])\nplant.sense(x)\nplant.actuate(u)\nprint(list(x))"
BY_INTERRUPTS = "import sys\nsys.modules['rp2'] = sys\n" + FRESH + "sys.modules.pop('rp2')"  # as if it were no RP2
EDGE_US = {"PIO": 20, "interrupts": 250}  # between two of the encoder's
TURNS = (5, -9, 3)


@pytest.fixture(scope="module")
def pico(pico_firmware: Path) -> PinnedPico:
    board = PinnedPico(pico_firmware)
    board.write("conformance.py", CONFORMANCE.read_text())
    return board


@pytest.fixture
def drive(pico: PinnedPico) -> Iterator[Callable[[str], PinnedPico]]:
    """Return drive(name): the board, that driver its plant. With PIO on, the board is emulated twenty times slower."""

    def load(name: str, pio: bool = False) -> PinnedPico:
        pico.wire(0, lambda: 0.25)
        for pin in (A_PIN, B_PIN):
            pico.drive(pin, 0)
        pico.write("plant.py", DRIVERS[name].read_text())
        pico.run(FRESH if pio else BY_INTERRUPTS)
        return pico

    yield load
    pico.run("plant.safe()\nif hasattr(plant, 'encoder'):\n plant.encoder.active(0)")


@pytest.mark.parametrize("name", DRIVERS)
def test_every_driver_does_what_a_plant_has_to_and_leaves_no_garbage(
    name: str, drive: Callable[[str], PinnedPico]
) -> None:
    ends = (4, 2) if name == "filters" else (2, 1)
    told = drive(name).run(
        f"import conformance\nprint(conformance.complaints(plant, *{ends}, lambda: time.sleep_ms(1)))\n"
        f"print(conformance.garbage(plant, array('H', [0] * {ends[0]}), array('H', [0] * {ends[1]})))"
    )
    assert told.splitlines() == ["[]", "0"]


WORDS = (-32768, -32767, -16384, -1, 0, 1, 16384, 32767)


@pytest.mark.parametrize(
    ("name", "duty", "backwards"),
    [
        ("rc", lambda word: (word + 32768) / 65535, lambda _: False),
        ("dc_motor", lambda word: abs(word) / 32767, lambda word: word < 0),
        ("servo_pot", lambda word: (1500 + word / 32768 * 500) / 20000, lambda _: False),
        ("heater", lambda word: max(word, 0) / 32767, lambda _: False),
    ],
)
def test_words_become_duties_and_levels_of_the_pins(
    name: str, duty: Callable[[int], float], backwards: Callable[[int], bool], drive: Callable[[str], PinnedPico]
) -> None:
    board = drive(name)
    board.run("plant.reset(1)")
    for word in WORDS:
        board.run(STEP.format(u=word & 0xFFFF))
        assert abs(board.duty(PWM_PIN) - min(duty(word), 1.0)) < 2e-4, word
        if name == "dc_motor":
            assert board.level(DIRECTION_PIN) == backwards(word)
    board.run("plant.safe()")
    assert board.duty(PWM_PIN) == 0


@pytest.mark.parametrize("raw", [0, 1, 2047, 2048, 4095])
def test_what_the_converter_reads_is_sensed(raw: int, drive: Callable[[str], PinnedPico]) -> None:
    board = drive("rc")
    board.run("plant.reset(1)")
    board.wire(0, lambda: raw / 4095)
    way, voltage = literal_eval(board.run(STEP.format(u=0)))
    wanted = int(board.run("print(plant.wanted)"))
    read = raw << 4 | raw >> 8
    assert voltage ^ 0x8000 == read
    assert way == (wanted - read) >> 1 & 0xFFFF


def test_a_filter_on_the_pins_settles_at_its_duty(drive: Callable[[str], PinnedPico]) -> None:
    """The capacitor's voltage is the exact solution of its equation, by the board's clock, from duty to duty."""
    board = drive("rc")
    state = [0.0, board.nanos, 0.0]  # voltage, when, the duty since

    def move() -> None:
        voltage, since, duty = state
        voltage += (duty - voltage) * (1 - math.exp(-(board.nanos - since) / 10e6))
        state[:] = voltage, board.nanos, board.duty(PWM_PIN)

    def voltage() -> float:
        move()
        return state[0]

    board.wire(0, voltage)
    board.on_duty(move)
    told = board.run(
        "plant.reset(1)\nu = array('H', [16384])\nx = array('H', [0, 0])\nplant.actuate(u)\n"
        "for _ in range(12):\n time.sleep_ms(5)\n plant.sense(x)\n print(x[1] ^ 0x8000)"
    )
    read = [int(line) / 65535 for line in told.split()]
    assert [abs(v - 0.75 * (1 - math.exp(-(i + 1) / 2))) < 0.02 for i, v in enumerate(read)] == [True] * 12, read


@pytest.mark.parametrize("by", ["PIO", "interrupts"])
def test_an_encoders_edges_are_counted(by: str, drive: Callable[..., PinnedPico]) -> None:
    board = drive("dc_motor", by == "PIO")
    assert board.run("plant.reset(1)\nprint(hasattr(plant, 'encoder'))").strip() == str(by == "PIO")
    count = 0

    def turn(one: int) -> None:
        nonlocal count
        count += one
        board.drive(A_PIN, count >> 1 & 1)
        board.drive(B_PIN, (count + 1) >> 1 & 1)

    for turns in TURNS:
        board.at_intervals(EDGE_US[by], [partial(turn, 1 if turns > 0 else -1)] * abs(turns))
        busy = EDGE_US[by] * (abs(turns) + 2)
        board.run(f"t = time.ticks_us()\nwhile time.ticks_diff(time.ticks_us(), t) < {busy}:\n pass")
        told = board.run("plant.sense(array('H', [0, 0]))\nprint(plant.position)")
        assert int(told) == count
    told = board.run(
        "import conformance\nconformance.STEPS = 5\n"
        "print(conformance.garbage(plant, array('H', [0, 0]), array('H', [0])))"
    )
    assert int(told) == 0
