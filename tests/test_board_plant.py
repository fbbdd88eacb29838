"""A plant of the board's own: its guard, runs on it over the link, and every way in which its outputs become safe."""

import sys
import threading
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from link_wire import BoardInThread, kernels
from subsong.block import Block, build_block
from subsong.board_session import run_on_board
from subsong.bridge import Bridge
from subsong.cli import subsong
from subsong.deploy import deploy_policy, write_file
from subsong.errors import BoardError, ExperimentError
from subsong.experiment import Experiment, parse_experiment
from subsong.experiment_text import example_text
from subsong.plant_file import read_plant
from subsong.policy import export_policy, load_policy
from subsong.ports import open_port
from subsong.repl import Repl
from subsong.replay import replay
from subsong.runlog import read_run
from subsong.session import simulate
from subsong_device import faults, frames, layout, plant_check, plant_guard
from subsong_device.faults import Fault

pytest_plugins = ["subsong_hil.fixtures"]

EXAMPLE = Path(__file__).parent.parent / "examples" / "plants" / "filters.py"
DEADMAN_MS = 60000
STEP_MS = 8000  # a busy machine is not to trip what does not test the time
# What MicroPython's time has and CPython's lacks, beside what link_wire brings.
time.sleep_ms = lambda ms: time.sleep(ms / 1000)  # type: ignore[attr-defined]
time.sleep_us = lambda us: time.sleep(us / 1000000)  # type: ignore[attr-defined]


def experiment_of(**plant: object) -> Experiment:
    """The example with other keys in its [plant], shortened."""
    text = example_text("filters").replace("step_limit_ms = 100 ", f"step_limit_ms = {STEP_MS} ")
    text = text.replace("trials = 1000", "trials = 8").replace("steps = 40", "steps = 12")
    for key, value in plant.items():
        lines = [line for line in text.splitlines() if not line.startswith(f"{key} = ")]
        at = lines.index("[plant]") + 2
        text = "\n".join([*lines[:at], f"{key} = {value}", *lines[at:]])
    return parse_experiment(text, "test")


class Plant:
    """A plant that keeps what happens to it. `at` is the step, counted over everything, in which `happens` is called.

    Attributes:
        told: what was called, in order.
        out: what its outputs are; None: safe.
    """

    def __init__(self, happens: Any = None, where: str = "sense", at: int = 5) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.out: list[int] | None = None
        self.happens, self.where, self.at = happens, where, at
        self.steps = 0

    def _note(self, name: str, *what: Any) -> None:
        self.told.append((name, *what))
        if name == self.where and self.steps == self.at and self.happens is not None:
            self.happens()

    def reset(self, seed: int) -> None:
        self._note("reset", seed)

    def sense(self, x: Any) -> None:
        self.steps += 1
        for i in range(len(x)):
            x[i] = (100 * i + self.steps) & 0xFFFF
        self._note("sense")

    def actuate(self, u: Any) -> None:
        self.out = [plant_check.signed(word) for word in u]
        self._note("actuate", *self.out)

    def cost(self) -> int:
        self._note("cost")
        return self.steps

    def safe(self) -> None:
        self.out = None
        self._note("safe")


class Timer:
    """machine.Timer, whose time passes when a test says so."""

    ONE_SHOT = 0

    def __init__(self) -> None:
        self.callback: Any = None
        self.period = 0

    def init(self, *, mode: int, period: int, callback: Any) -> None:
        assert mode == self.ONE_SHOT
        self.period, self.callback = period, callback

    def deinit(self) -> None:
        self.callback = None

    def fire(self) -> None:
        callback, self.callback = self.callback, None
        callback(self)


HEAD = [0] * layout.LAYERS_AT


def guard_of(plant: Plant, words: array, n_sensors: int = 4, n_actuators: int = 2) -> plant_guard.Guard:  # type: ignore[type-arg]
    guard = plant_guard.Guard(plant)
    guard.start(words, n_sensors, n_actuators)
    return guard


def words_of(**plant: object) -> "array[int]":
    return array("H", build_block(experiment_of(**plant)).task)


# ------------------------------------------------------------------------------------------ what the guard is told


def test_the_words_are_checked_one_by_one() -> None:
    good = words_of()
    plant_check.check_plant(good, 4, 2)
    wrong = {
        layout.TASK_INPUTS: (3, 5),
        layout.TASK_OUTPUTS: (1, 3),
        plant_check.STEP_MS: (0, 8001, 65535),
        plant_check.PERIOD_MS: (STEP_MS, 65535),
        plant_check.RESET_MS: (0, 8001),
        plant_check.WATCHDOG_MS: (1, 99, 8001),
        plant_check.PERIOD_US: (1000, 65535),
        plant_check.DRY: (2, 65535),
        plant_check.DATA: (32001, 32767),  # a sensor's lowest word is not below its highest
        plant_check.DATA + 8: (4001,),  # likewise an actuator's
        plant_check.DATA + 8 + plant_check.SLEW: (0,),
        plant_check.DATA + 8 + plant_check.SAFE: (4001, 0x8000),
    }
    for word, values in wrong.items():
        for value in values:
            words = array("H", good)
            words[word] = value
            with pytest.raises(Fault) as caught:
                plant_check.check_plant(words, 4, 2)
            assert (caught.value.code, caught.value.detail) == (faults.BLOCK, 0x10000 + word), (word, value)
    for n in range(plant_check.DATA + 1, len(good)):
        with pytest.raises(Fault):
            plant_check.check_plant(good[:n], 4, 2)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"step_limit_ms": 0}, r"plant\.step_limit_ms: got 0 \(allowed: a whole number, 1 to 8000\)"),
        ({"period_ms": 8000}, r"plant\.step_limit_ms: is 8000, and steps are 8000 ms apart \(allowed: above 8000\)"),
        ({"watchdog_ms": 50}, r"plant\.watchdog_ms: got 50 \(allowed: 0, or 100 and more\)"),
        ({"actuator_slew": [1]}, r"plant\.actuator_slew: 1 words for 2 network outputs"),
        ({"actuator_safe": [0, 5000]}, r"plant\.actuator_safe\[1\]: 5000 is outside \[-4000, 4000\]"),
        ({"sensor_range": [[0, 1]]}, r"plant\.sensor_range: 1 ranges for 4 network inputs"),
        ({"actuator_range": [[0, 1], [1, 1]]}, r"plant\.actuator_range\[1\]: got \[1, 1\]"),
        ({"id": '"x"'}, r'plant\.id: belongs to plants of kind = "gymnasium"; a plant on the board has none'),
        ({"sensor_rnge": 1}, r"plant\.sensor_rnge: unknown key; did you mean sensor_range\?"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_an_experiment_says_what_is_wrong_with_its_plant(keys: dict[str, object], message: str) -> None:
    with pytest.raises(ExperimentError, match=message):
        experiment_of(**keys)


def test_there_is_no_model_to_simulate() -> None:
    with pytest.raises(ExperimentError, match=r'plant\.kind: "board" has no model to simulate.*subsong run'):
        simulate(experiment_of(), out=None)


# ------------------------------------------------------------------------------------------ the guard


def test_actuator_words_are_held_within_range_and_slew() -> None:
    words = words_of(
        actuator_range="[[-1000, 3000], [-4000, 4000]]", actuator_slew="[500, 65535]", actuator_safe="[200, 0]"
    )
    plant = Plant()
    guard = guard_of(plant, words)
    x, u = array("H", [0] * 4), array("H", [32767, 0x8000])
    guard.begin(HEAD)
    for _ in range(8):
        guard.sense(x)
        guard.step(u)
    outs = [told[1:] for told in plant.told if told[0] == "actuate"]
    assert outs == [(min(200 + 500 * (i + 1), 3000), -4000) for i in range(8)]
    assert list(u) == [32767, 0x8000], "the learner's own words are what is logged"
    guard.begin(HEAD)  # reset() has brought the outputs back to the safe word
    guard.sense(x)
    guard.step(array("H", [0x8000, 0]))
    assert plant.told[-2] == ("actuate", -300, 0)


@pytest.mark.parametrize("word", [-32001, 32001, -32768, 32767])
def test_a_sensor_beyond_its_range_makes_the_plant_safe(word: int) -> None:
    plant = Plant()
    guard = guard_of(plant, words_of())
    guard.begin(HEAD)
    plant.sense = lambda x: x.__setitem__(2, word & 0xFFFF)  # type: ignore[method-assign]
    guard._sense = plant.sense
    with pytest.raises(Fault) as caught:
        guard.sense(array("H", [0] * 4))
    assert (caught.value.code, caught.value.detail) == (faults.SENSOR, 2)
    assert plant.told[-1] == ("safe",)


@pytest.mark.parametrize("length", [1000, 7], ids=["within a trial", "over trials"])
@pytest.mark.parametrize("steps", [1, 3, 200])
def test_a_sensor_that_no_longer_changes_makes_the_plant_safe(steps: int, length: int) -> None:
    plant = Plant()
    guard = guard_of(plant, words_of(stuck_steps=steps))
    guard.begin(HEAD)
    x = array("H", [0] * 4)
    for _ in range(10):
        guard.sense(x)
    read = plant.sense

    def stuck(x: Any) -> None:
        read(x)
        x[1] = 7

    guard._sense = stuck
    for step in range(1, steps + 1):
        guard.sense(x)
        guard.step(array("H", [0, 0]))
        if step % length == 0:
            guard.finish()
            guard.begin(HEAD)
    with pytest.raises(Fault) as caught:
        guard.sense(x)
    assert (caught.value.code, caught.value.detail) == (faults.STUCK, 1)
    assert plant.told[-1] == ("safe",)


def test_after_a_fault_nothing_moves_until_the_next_run() -> None:
    plant = Plant()
    words = words_of()
    guard = guard_of(plant, words)
    guard.begin(HEAD)
    guard._trip()
    for call in (lambda: guard.step(array("H", [1, 1])), lambda: guard.sense(array("H", [0] * 4))):
        with pytest.raises(Fault):
            call()
    with pytest.raises(Fault):
        guard.begin(HEAD)
    assert not any(told[0] == "actuate" for told in plant.told)
    guard.start(words, 4, 2)
    guard.begin(HEAD)
    guard.sense(array("H", [0] * 4))
    guard.step(array("H", [1, 1]))
    assert plant.out == [1, 1]


def test_both_trials_of_a_pair_have_one_seed_and_evaluations_their_own() -> None:
    plant = Plant()
    words = words_of()
    guard = guard_of(plant, words)
    head = list(HEAD)
    for _run in range(2):
        guard.start(words, 4, 2)
        for evaluate, phase in ((0, 0), (0, 1), (1, 0), (0, 0), (1, 1), (0, 1)):
            head[layout.EVALUATE], head[layout.PHASE] = evaluate, phase
            guard.begin(head)
    assert [told[1] for told in plant.told] == [1, 1, 1, 2, 2, 2, 3, 3, 1, 4, 2, 4]


@pytest.fixture
def timer(monkeypatch: pytest.MonkeyPatch) -> Timer:
    """The timer that guards get, and a clock that stands still until it is moved (`timer.now`, ms)."""
    made = Timer()
    made.now = 0  # type: ignore[attr-defined]
    monkeypatch.setattr(plant_guard, "new_timer", lambda: made)
    monkeypatch.setattr(time, "ticks_us", lambda: 1000 * made.now)  # type: ignore[attr-defined]
    return made


def test_a_step_that_is_too_long_is_noticed_while_it_lasts(timer: Any) -> None:
    plant = Plant(where="actuate", at=1)
    guard = guard_of(plant, words_of(step_limit_ms=20, reset_limit_ms=300))
    guard.begin(HEAD)
    assert timer.period == 20
    timer.now = 15
    guard.sense(array("H", [0] * 4))
    timer.now = 20
    timer.fire()  # as many as a step may take, but this one began at 15
    assert plant.out is None
    assert ("safe",) not in plant.told
    assert timer.period == 15

    def hang() -> None:
        """The outputs are safe while actuate() goes on; what it does afterwards is undone."""
        timer.now = 36
        timer.fire()
        assert plant.told[-1] == ("safe",)
        plant.out = [1, 1]

    plant.happens = hang
    with pytest.raises(Fault) as caught:
        guard.step(array("H", [5, 5]))
    assert (caught.value.code, caught.value.detail) == (faults.LATE, 21)
    assert plant.out is None


def test_a_reset_that_is_too_long_is_noticed_too(timer: Any) -> None:
    plant = Plant()
    guard = guard_of(plant, words_of(step_limit_ms=20, reset_limit_ms=300))

    def reset(_seed: int) -> None:
        assert timer.period == 300
        timer.now = 301
        timer.fire()
        assert plant.told == [("safe",)]

    plant.reset = reset  # type: ignore[method-assign]
    with pytest.raises(Fault) as caught:
        guard.begin(HEAD)
    assert (caught.value.code, caught.value.detail) == (faults.LATE, 301)


def test_the_watchdog_is_fed_while_all_is_well_and_bites_where_a_step_does_not_end(
    timer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fed: list[int] = []
    dogs: list[int] = []

    class Dog:
        def __init__(self, timeout: int) -> None:
            dogs.append(timeout)

        def feed(self) -> None:
            fed.append(timer.now)

    monkeypatch.setitem(sys.modules, "machine", SimpleNamespace(WDT=Dog))  # type: ignore[arg-type]
    words = words_of(step_limit_ms=200, watchdog_ms=400)
    guard = guard_of(Plant(), words)
    guard.start(words, 4, 2)
    assert (dogs, timer.period) == ([400], 100)
    for timer.now in (100, 200):  # between runs
        timer.fire()
    guard.begin(HEAD)
    for timer.now in (300, 400, 500, 600):  # one step that does not end
        timer.fire()
    assert fed == [100, 200, 300, 400]
    guard.rest()  # it did end
    timer.now = 700
    timer.fire()
    assert fed[-1] == 700
    guard.close()
    assert timer.callback is None


def test_a_board_without_a_watchdog_refuses_one() -> None:
    with pytest.raises(Fault) as caught:
        guard_of(Plant(), words_of(watchdog_ms=400))
    assert caught.value.code == faults.NO_WATCHDOG


# ------------------------------------------------------------------------------------------ over the link


class Board(BoardInThread):
    """A board with a plant."""

    def __init__(self, plant: Plant, monkeypatch: pytest.MonkeyPatch, load: Any = kernels) -> None:
        super().__init__(load)
        self.plant = plant
        monkeypatch.setattr(plant_guard, "load_plant", lambda: plant)

    def connect(self, deadman_ms: int = DEADMAN_MS, **plant: object) -> Bridge:
        bridge = Bridge(self.port, timeout_s=5.0)
        bridge.hello()
        bridge.open(build_block(experiment_of(**plant)), deadman_ms)
        return bridge


def test_a_board_learns_on_its_own_plant(monkeypatch: pytest.MonkeyPatch) -> None:
    with Board(Plant(), monkeypatch) as board:
        bridge = board.connect()
        steps: list[int] = []
        assert bridge.run_task(0, 4, 12, on_step=lambda _trial, step, *_: steps.append(step)) == (4, 0, 0)
        assert bridge.run_task(4, 1, 12, True) == (1, 0, 0)
        assert steps == list(range(12)) * 4
        assert board.plant.out is None
        assert bridge.close()
        board.join()
    trial = ["reset", *["sense", "actuate", "cost"] * 12, "safe"]
    kinds = [told[0] for told in board.plant.told]
    assert kinds == [*trial * 4, "safe", *trial, "safe", "safe"]


def test_done_ends_a_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    plant = Plant()
    plant.done = lambda: plant.steps % 5 == 0  # type: ignore[attr-defined]
    with Board(plant, monkeypatch) as board:
        bridge = board.connect()
        lengths: list[int] = []
        bridge.run_task(0, 3, 12, on_trial=lambda summary, _cost: lengths.append(summary.steps))
        assert lengths == [5, 5, 5]
        assert bridge.close()


def broken() -> None:
    raise ValueError("it broke")


def unplugged() -> None:
    raise OSError(19, "what the drivers of buses raise")


class Strange(Exception):
    """What no table has."""


def strange() -> None:
    raise Strange


@pytest.mark.parametrize(
    ("breaks", "raised"), [(broken, "ValueError"), (unplugged, "OSError"), (strange, "an exception")]
)
@pytest.mark.parametrize("where", ["reset", "sense", "actuate", "cost"])
def test_an_exception_in_the_plant_makes_it_safe_and_is_named(
    where: str, breaks: Callable[[], None], raised: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant = Plant(breaks, where, 0 if where == "reset" else 5)
    with Board(plant, monkeypatch) as board:
        bridge = board.connect()
        with pytest.raises(BoardError, match=rf"the board stopped: plant\.py raised {raised}: in {where}\(\)") as e:
            bridge.run_task(0, 4, 12)
        assert e.value.code == faults.PLANT
        assert plant.out is None
        assert plant.told[plant.told.index(next(t for t in plant.told[::-1] if t[0] == where)) + 1 :]
        for refused in (lambda: bridge.run_task(0, 1, 12), bridge.state):
            with pytest.raises(BoardError, match=rf"the board refused [A-Z]+: plant\.py .* in {where}\(\)") as again:
                refused()
            assert again.value.code == faults.PLANT
        plant.happens = None
        bridge.open(build_block(experiment_of()), DEADMAN_MS)
        assert bridge.run_task(0, 2, 12).trials == 2
        assert bridge.close()


def without_its_report(wire: bytes) -> bytes:
    """Lose what a board says unasked of a fault, and T_DONE after it."""
    return b"" if wire[1] == frames.T_DONE or wire[1:4] == b"\x91\x01\x02" else wire  # ACK, 0


@pytest.mark.parametrize("where", ["sense", "safe"])
def test_a_fault_whose_report_is_lost_is_said_all_the_same(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant = Plant(broken, where, 5 if where == "sense" else 12)
    with Board(plant, monkeypatch) as board:
        bridge = board.connect(deadman_ms=2000)
        board.wire.harm = without_its_report

        def run() -> None:
            bridge.run_task(0, 1, 12)
            bridge.state()

        with pytest.raises(BoardError, match=rf"plant\.py raised ValueError: in {where}\(\)") as caught:
            run()
        assert caught.value.code == faults.PLANT


def test_a_last_step_that_is_late_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    plant = Plant(lambda: time.sleep(0.5), "cost", 12)
    with Board(plant, monkeypatch) as board:
        bridge = board.connect(step_limit_ms=400)
        with pytest.raises(BoardError) as caught:
            bridge.run_task(0, 1, 12)
        assert caught.value.code == faults.LATE
        assert plant.out is None


def test_a_checkpoint_brings_no_other_limits_than_were_sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the board's flash
    plant = Plant()
    with Board(plant, monkeypatch) as board:
        bridge = board.connect()
        bridge.run_task(0, 2, 12)
        bridge.save(7, 1, 2)
        state = bridge.state()
        bridge.run_task(2, 2, 12)
        found = bridge.load(7)
        assert found is not None
        assert (found.trial, found.trials, bridge.state()) == (1, 2, state)
        bridge.run_task(2, 2, 12)
        assert [told[1] for told in plant.told if told[0] == "reset"] == [1, 1, 2, 2, 2, 2]
        bridge.open(build_block(experiment_of(actuator_range="[[-9, 9], [-9, 9]]")), DEADMAN_MS)
        assert bridge.load(7) is None
        assert bridge.close()


def test_a_safe_that_fails_is_said_loudly(monkeypatch: pytest.MonkeyPatch) -> None:
    with Board(Plant(broken, "safe", 12), monkeypatch) as board:
        bridge = board.connect()
        with pytest.raises(BoardError, match=r"safe\(\); ITS OUTPUTS MAY NOT BE SAFE"):
            bridge.run_task(0, 4, 12)
        assert bridge.close()


class Stub:
    """A learner whose act() raises after some steps."""

    steps = 0

    def begin(self, *_: Any) -> None:
        pass

    end = begin

    def act(self, *_: Any) -> None:
        self.steps += 1
        if self.steps == 4:
            raise ValueError


def test_an_exception_in_a_kernel_makes_the_plant_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    with Board(Plant(), monkeypatch, lambda rule: (Stub(), kernels(rule)[1])) as board:
        bridge = board.connect()
        with pytest.raises(BoardError, match="a kernel raised"):
            bridge.run_task(0, 4, 12)
        assert board.plant.out is None
        assert bridge.close()


@pytest.mark.parametrize(
    ("keys", "words", "code"),
    [
        ({"sensor_range": [[-9, 9], [-9999, 9999], [-9999, 9999], [-9999, 9999]]}, "sensor 0 left", faults.SENSOR),
        ({"watchdog_ms": 500}, "it has no watchdog", faults.NO_WATCHDOG),
    ],
)
def test_what_the_guard_refuses_is_a_sentence(
    keys: dict[str, Any], words: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Board(Plant(), monkeypatch) as board:
        bridge = board.connect(**keys)
        with pytest.raises(BoardError, match=words) as caught:
            bridge.run_task(0, 4, 12)
        assert caught.value.code == code
        assert board.plant.out is None
        assert bridge.close()


def test_a_step_that_is_too_long_ends_the_run_on_a_board_without_timers_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with Board(Plant(lambda: time.sleep(0.2)), monkeypatch) as board:
        bridge = board.connect(step_limit_ms=150)
        with pytest.raises(BoardError, match=r"a step, or reset.*plant\.step_limit_ms") as caught:
            bridge.run_task(0, 4, 12)
        assert caught.value.code == faults.LATE
        assert board.plant.out is None
        assert bridge.close()


def start_run(bridge: Bridge, trials: int, steps: int) -> None:
    """Start a run, and take no notice of it."""
    exchange = bridge._exchange
    exchange.write(frames.encode(frames.RUN, exchange.next_seq(), frames_of_run(trials, steps)))


def frames_of_run(trials: int, steps: int) -> bytes:
    import struct

    return struct.pack("<IIHB", 0, trials, steps, 0)


@pytest.mark.parametrize("end", ["silent", "full", "close", "gone"])
def test_the_plant_is_safe_when_the_host_is_not_there(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the midst of a trial: one that no window and no end of a trial would stop."""
    moving = threading.Event()
    plant = Plant(moving.set, "cost")
    with Board(plant, monkeypatch) as board:
        # Only where nothing else can be what ends it, the dead man may.
        bridge = board.connect(deadman_ms=DEADMAN_MS if end in ("close", "gone") else 2000, period_ms=10)
        start_run(bridge, 1, 16384)
        assert moving.wait(20.0)
        if end == "full":
            board.wire.full = True
        elif end == "close":
            bridge._exchange.write(frames.encode(frames.CLOSE, bridge._exchange.next_seq(), b""))
        elif end == "gone":
            board.port.line.close()
        board.join()
        assert plant.told[-1] == ("safe",)
        assert plant.steps < 16384
        assert plant.out is None


def test_a_block_of_the_other_mode_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A guard's words are no task, and a task's words no guard's."""
    block = build_block(experiment_of())
    with Board(Plant(), monkeypatch) as board:
        bridge = board.connect()
        command = bridge._exchange.command
        shape = (0, frames.TASK, 4, 2, len(block.head) // 4, len(block.mem) // 2, len(block.task) // 2, DEADMAN_MS)
        command(frames.OPEN, *shape)
        with pytest.raises(BoardError, match="contradicts itself") as caught:
            fill(bridge, block)
        assert caught.value.code == faults.BLOCK
        with pytest.raises(BoardError, match=r"mode = 3 is out of its range"):
            command(frames.OPEN, 0, 3, *shape[2:])
        with pytest.raises(BoardError, match="task_words = 0 is out of its range"):
            command(frames.OPEN, 0, frames.PLANT, *shape[2:6], 0, DEADMAN_MS)
        assert bridge.close()


def fill(bridge: Bridge, block: Block) -> None:
    from zlib import crc32

    regions = (block.head, block.mem, block.task)
    for region, data in enumerate(regions):
        for at in range(0, len(data), frames.CHUNK):
            piece = data[at : at + frames.CHUNK]
            bridge._exchange.command(frames.WRITE, region, at, len(piece), piece.ljust(frames.CHUNK, b"\0"))
    bridge._exchange.command(frames.SEAL, *map(crc32, regions))


# ------------------------------------------------------------------------------------------ on genuine MicroPython


def test_a_run_on_a_plant_replays_bit_for_bit_and_its_policy_goes_on(deployed_flash: Path, tmp_path: Path) -> None:
    (deployed_flash / "plant.py").write_bytes(EXAMPLE.read_bytes())
    log = tmp_path / "run.mcap"
    result = run_on_board(experiment_of(), port="unix", out=log)
    assert result.trials == 8
    again = replay(log)
    assert (again.difference, again.skipped, again.holes) == (None, 0, 0)
    assert again.checked == again.trials == 8 + 8
    run = read_run(log)
    assert run.header.plant.startswith("plant.py on the board, sha256 ")
    policy = load_policy(export_policy(log))
    assert not policy.has_task
    # Without a host the same guard stands before the plant.
    with open_port("unix") as port:
        assert deploy_policy(port, policy).drives
        main = "import subsong_device.policy_main as p\np.main(trials=3)"
        with Repl(port) as repl:
            assert repl.run(main).splitlines()[-1] == "policy: done"
            write_file(repl, "plant.py", EXAMPLE.read_bytes() + b"def sense(x):\n    x[3] = 32001\n")
            repl.run("import sys\nsys.modules.pop('plant')")
            assert repl.run(main).splitlines()[-1] == "policy: stopped, sensor 3 left its range"
            write_file(repl, "plant.py", b"def safe():\n    print('safe')\n")
            repl.run("sys.modules.pop('plant')")
            told = repl.run(main).splitlines()
    assert told == ["safe", "policy: not started, plant.py lacks reset, sense, actuate, cost"]


@pytest.mark.parametrize(
    ("content", "message", "code"),
    [
        (None, r"the board has no plant\.py to drive; .*subsong deploy --port unix --plant", faults.NO_PLANT),
        ("def reset(seed): pass\n", r"lacks sense\(\), actuate\(\), cost\(\), safe\(\)", faults.NO_PLANT),
        (
            "\n\nimport nothing_of_the_kind\n",
            r"raised ImportError: line 3, while it was imported; this board's MicroPython may lack",
            faults.PLANT,
        ),
        ("def f(:\n", r"raised SyntaxError: line 1, while it was imported", faults.PLANT),
        (
            EXAMPLE.read_text() + "\ndef cost():\n    return 'x'\n",
            r"plant\.py raised TypeError: in cost\(\), which must return a whole number",
            faults.PLANT,
        ),
        (
            "\n" * 68 + "    return 1 // 0\n".join(("def cost():\n", EXAMPLE.read_text().replace("def cost", "def c"))),
            r"ZeroDivisionError: line 70, in cost\(\)",
            faults.PLANT,
        ),
    ],
    ids=["none", "lacking", "import", "syntax", "type", "raises"],
)
def test_a_plant_that_cannot_be_driven_is_a_sentence(
    deployed_flash: Path, tmp_path: Path, content: str | None, message: str, code: int
) -> None:
    if content is not None:
        (deployed_flash / "plant.py").write_text(content)
    with pytest.raises(BoardError, match=message) as caught:
        run_on_board(experiment_of(), port="unix", out=tmp_path / "run.mcap")
    assert caught.value.code == code


def test_deploy_puts_a_plant_there_and_replaces_none_unasked(deployed_flash: Path, tmp_path: Path) -> None:
    def deploy(path: Path, *more: str) -> str:
        return CliRunner().invoke(subsong, ["deploy", "--port", "unix", "--plant", str(path), *more]).output

    other = tmp_path / "other.py"
    other.write_text(EXAMPLE.read_text() + "# mine\n")
    assert "is the board's plant.py" in deploy(EXAMPLE)
    assert "was there already" in deploy(EXAMPLE)
    assert "the board has another plant.py; save it" in deploy(other)
    assert (deployed_flash / "plant.py").read_bytes() == EXAMPLE.read_bytes()
    assert "is the board's plant.py" in deploy(other, "--replace-plant")
    assert (deployed_flash / "plant.py").read_bytes() == other.read_bytes()


def test_a_file_that_is_no_plant_is_not_copied(tmp_path: Path) -> None:
    path = tmp_path / "plant.py"
    for content, message in (
        (None, "cannot be read: No such file"),
        (b"def f(:\n", r"line 1: is no Python"),
        (b"from pins import reset, sense\nsafe = None\n", r"lacks actuate\(\), cost\(\); docs/deploy\.md"),
    ):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(BoardError, match=message):
            read_plant(path)
    assert read_plant(EXAMPLE) == EXAMPLE.read_bytes()
