"""The micro:bit v1: genuine MicroPython 1.9.2 on QEMU deploys, learns, and equals the simulator bit for bit."""

import json
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import pytest

from cases import FIRST, Case, assert_equal, case_of, cpython_engine, oracle_engine
from golden_setups import VECTORS
from learning import shortened
from make_golden import FOLDER, row_of, trials_of
from microbit_engine import MicrobitEngine, block_of, fits, takes
from pico_cases import drawn
from subsong.block import build_block
from subsong.board_session import run_over
from subsong.bridge import Bridge
from subsong.deploy import deploy, deploy_policy, start_firmware, stop_firmware, verify_board
from subsong.device import device_info
from subsong.errors import BoardError, FirmwareError, PortError
from subsong.experiment import Experiment, parse_experiment
from subsong.experiment_text import example_text, with_learner
from subsong.firmware import build_firmware, firmware_of
from subsong.ports import Port, open_port
from subsong.profile import named_profile
from subsong.repl import Repl
from subsong.replay import replay
from subsong.runlog import read_run
from subsong.session import simulate
from subsong.small_firmware import ARENA_BYTES, RULES
from subsong_device import faults, frames, layout
from subsong_device.small.words import MOST_WORDS
from subsong_hil.images import image
from subsong_hil.microbit import MicrobitBoard
from subsong_sim.plants import make_plant

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("microbit")]

PATIENCE_S = 30.0  # with what must come, on a busy machine
HEAP_FREE = 2000  # bytes while serving, the learner's 1200 included; `make bench-board` prints what there is


def xor(rule: str) -> Experiment:
    """Return the shipped XOR experiment, for either rule."""
    return parse_experiment(with_learner(example_text("xor"), rule), "xor.toml")


@pytest.fixture(scope="module", autouse=True)
def qemu(need_tool) -> None:  # type: ignore[no-untyped-def]
    need_tool("qemu-system-arm", apt="qemu-system-arm")


@pytest.fixture(scope="module")
def flash(tmp_path_factory: pytest.TempPathFactory, qemu: None) -> Path:
    """A flash that holds the firmware; tests that alter it take a copy."""
    folder = tmp_path_factory.mktemp("microbit") / "flash"
    with MicrobitBoard(folder) as board, open_port(board.path) as port:
        report = deploy(port)
        assert report.unchanged == 0
        assert report.tiers == ("machine code",)
    return folder


@pytest.fixture(scope="module")
def port(flash: Path) -> Iterator[Port]:
    """The board that most tests share. Each begins with a restart of MicroPython."""
    with MicrobitBoard(flash) as board, open_port(board.path) as opened:
        yield opened


@pytest.fixture
def engine(port: Port) -> Iterator[MicrobitEngine]:
    engine = MicrobitEngine(port)
    yield engine
    assert engine.bridge.close()


# ------------------------------------------------------------------------------------------------ learning


@pytest.mark.parametrize("rule", RULES)
def test_xor_is_learned_and_replayed_bit_for_bit(port: Port, tmp_path: Path, rule: str) -> None:
    experiment = xor(rule)
    result = run_over(experiment, port, None, tmp_path / "run.mcap")
    assert result.tier == "machine code"
    assert result.stopped.startswith("an evaluation reached"), result.stopped
    assert result.counters["holes"] == 0
    # The simulator, begun with the same block, ends in the same state after as many trials.
    simulated = simulate(experiment, out=tmp_path / "sim.mcap")
    assert (simulated.trials, simulated.costs) == (result.trials, result.costs)
    logged, other = read_run(tmp_path / "run.mcap"), read_run(tmp_path / "sim.mcap")
    assert logged.states["final"] == other.states["final"]
    report = replay(tmp_path / "run.mcap")
    assert report.difference is None
    assert report.checked == report.trials == len(logged.summaries())


def test_a_cart_pole_in_the_loop_replays_bit_for_bit(port: Port, tmp_path: Path) -> None:
    experiment = shortened("cartpole", "node_perturbation", trials=4, evaluate_every=0, steps=30)
    plant = make_plant(experiment.plant_spec(), experiment.mismatch())
    run_over(experiment, port, plant, tmp_path / "loop.mcap")
    report = replay(tmp_path / "loop.mcap")
    assert report.difference is None
    assert report.checked == report.trials > 4


@pytest.mark.parametrize("name", [name for name, (setup, *_) in VECTORS.items() if takes(case_of(setup, []))])
def test_golden_vectors_are_reproduced(engine: MicrobitEngine, name: str) -> None:
    golden = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    head = struct.pack(f"<{len(golden['head'])}i", *golden["head"])
    mem = struct.pack(f"<{len(golden['mem'])}H", *golden["mem"])
    case = Case(golden["rule"], head, mem, trials_of(name))
    if fits(case):
        assert [row_of(answer) for answer in engine(case)] == golden["trials"]
        return
    block = block_of(case)
    too_wide = block.n_sensors + block.n_actuators > MOST_WORDS
    with pytest.raises(
        BoardError, match="n_actuators = " if too_wide else f"and {ARENA_BYTES} bytes of heap are free"
    ) as refused:
        engine(case)
    assert refused.value.code == (faults.FIELD if too_wide else faults.NO_MEMORY)


def test_machine_code_equals_the_oracle(engine: MicrobitEngine) -> None:
    """One session plays all cases: it is the board's state that must not matter."""
    cases = [case for case in map(drawn, range(200)) if case.rule in FIRST and takes(case) and fits(case)]
    assert len(cases) >= 15
    assert {case.rule for case in cases} == set(FIRST)
    for case in cases:
        assert_equal(case, oracle_engine(case), engine(case))


# ------------------------------------------------------------------------------------------------ the link


def test_heap_and_frames_are_as_small_as_promised(engine: MicrobitEngine) -> None:
    assert engine.greeting.heap_free >= HEAP_FREE
    assert (engine.greeting.tier, engine.greeting.chunk) == (2, 40)
    block = build_block(xor("node_perturbation"))
    engine.bridge.open(block)
    assert engine.bridge.state() == (block.head, block.mem)
    engine.bridge.run_task(0, 3, 4)
    assert max(map(len, engine.wire)) <= 63
    free = engine.bridge._exchange.command(frames.HELLO, frames.schema(), reply=frames.R_HELLO)[4]
    assert free >= HEAP_FREE


def test_noise_and_overlong_frames_are_dropped_and_counted(engine: MicrobitEngine, port: Port) -> None:
    block = build_block(xor("weight_perturbation"))
    engine.bridge.open(block)
    exchange = engine.bridge._exchange

    def dropped() -> int:
        return int(exchange.command(frames.HELLO, frames.schema(), reply=frames.R_HELLO)[-1])

    before = dropped()
    good = frames.encode(frames.READ, exchange.next_seq(), struct.pack("<BI", 0, 0))
    bad = bytearray(good)
    bad[3] ^= 0x10
    for n, wire in enumerate((bytes(bad), b"\x01\0", b"\x55" * 40 + b"\0", frames.encode(0x10, 9, bytes(5))), 1):
        port.write(wire)
        assert dropped() == before + n
    port.write(b"\x55" * 60)  # longer than any frame: counted once
    assert exchange.receive(0.5) is None  # nobody answers it, and with the rest it would not fit the buffer
    port.write(b"\x55" * 20 + b"\0")
    assert dropped() == before + 5
    # The state has not suffered.
    assert engine.bridge.state() == (block.head, block.mem)


def test_commands_are_executed_once_and_fields_are_judged(engine: MicrobitEngine) -> None:
    bridge, exchange = engine.bridge, engine.bridge._exchange
    block = build_block(xor("weight_perturbation"))
    bridge.open(block)

    def refused(kind: int, *values: object) -> int | None:
        with pytest.raises(BoardError) as error:
            exchange.command(kind, *values)
        return error.value.code

    for kind, values, code in (
        (frames.RUN, (0, 0, 4, 0), faults.FIELD),
        (frames.RUN, (frames.MAX_TRIAL, 2, 4, 0), faults.FIELD),
        (frames.RUN, (0, 1, frames.MAX_STEPS + 1, 0), faults.FIELD),
        (frames.RUN, (0, 1, 4, 2), faults.FIELD),
        (frames.WRITE, (3, 0, 1, b""), faults.FIELD),
        (frames.WRITE, (0, len(block.head), 1, b""), faults.FIELD),
        (frames.WRITE, (0, len(block.head) - 1, 2, b""), faults.FIELD),
        (frames.WRITE, (0, 0, 41, b""), faults.FIELD),
        (frames.BEGIN, (0, 0), faults.STATE),
        (frames.STEP, (0, 0, 0, 1, 2), faults.STATE),
        (frames.SEAL, (1, 2, 3), faults.CHECKSUM),
        (frames.RUN, (0, 1, 4, 0), faults.STATE),  # it is not sealed any more
    ):
        assert refused(kind, *values) == code, (kind, values)
    # A head that points outside is refused before any kernel runs.
    bridge.open(block)
    head = bytearray(block.head)
    at = 4 * layout.N_WEIGHTS
    head[at : at + 4] = struct.pack("<i", 20000)
    exchange.command(frames.WRITE, 0, at, 4, bytes(head[at : at + 4]))
    with pytest.raises(BoardError) as error:
        exchange.command(frames.SEAL, crc32(head), crc32(block.mem), crc32(block.task))
    assert error.value.code == faults.BLOCK
    # The same number again repeats the reply and does nothing; another one is a fault.
    bridge.open(block)
    wire = frames.encode(frames.RUN, exchange.next_seq(), struct.pack("<IIHB", 0, 1, 4, 0))
    exchange.write(wire)
    said = []
    while not said or said[-1].kind != frames.T_DONE:
        frame = exchange.receive(PATIENCE_S)
        assert frame is not None, said
        said.append(frame)
    exchange.write(wire)
    again = exchange.receive(PATIENCE_S)
    assert again == next(frame for frame in said if frame.kind == frames.ACK)
    assert exchange.receive(0.3) is None
    assert [frame.kind for frame in said] == [frames.ACK, *[frames.T_STEP] * 4, frames.T_TRIAL, frames.T_DONE]
    exchange.write(frames.encode(frames.READ, 999, struct.pack("<BI", 0, 0)))
    answer = exchange.receive(PATIENCE_S)
    assert answer is not None
    assert struct.unpack("<BI", answer.payload)[0] == faults.SEQUENCE


def test_a_hole_in_the_telemetry_brings_a_snapshot(port: Port) -> None:
    class Lossy:
        """A port that loses the bytes of one read in the middle of a run."""

        def __init__(self) -> None:
            self.name = port.name
            self.slowdown = port.slowdown
            self.countdown = 0

        def read_available(self, timeout_s: float) -> bytes:
            data = port.read_available(timeout_s)
            if data and self.countdown:
                self.countdown -= 1
                return data if self.countdown else b""
            return data

        def write(self, data: bytes) -> None:
            port.write(data)

    start_firmware(port)
    lossy = Lossy()
    bridge = Bridge(lossy)
    bridge.hello()
    block = build_block(xor("weight_perturbation"))
    bridge.open(block)
    states = {}
    lossy.countdown = 20
    result = bridge.run_task(0, 40, 4, on_snapshot=lambda trial, head, mem: states.update({trial: (head, mem)}))
    assert result.holes >= 1
    assert states
    assert bridge.close()


def test_a_silent_host_is_left(port: Port) -> None:
    start_firmware(port)
    bridge = Bridge(port)
    bridge.hello()
    bridge.open(build_block(xor("weight_perturbation")), 1500)  # longer than a busy machine leaves this process waiting
    said = []
    while not said or said[-1].kind != frames.ACK:
        frame = bridge._exchange.receive(PATIENCE_S)
        assert frame is not None
        said.append(frame)
    assert struct.unpack("<BI", said[-1].payload) == (faults.DEADMAN, 1500)
    stop_firmware(port)


# ------------------------------------------------------------------------------------------------ deploying


def test_what_is_there_is_not_copied_again(port: Port) -> None:
    report = deploy(port)
    assert report.copied == ()
    assert verify_board(port).manifest == report.manifest
    assert device_info(port).version == "1.9.2"


def test_a_kernel_that_computes_wrong_is_found_by_the_known_answers(flash: Path, tmp_path: Path) -> None:
    """All hashes are right: the compiler, or the processor, is not."""
    copy = tmp_path / "flash"
    shutil.copytree(flash, copy)
    right = build_firmware(named_profile("microbit"))
    does_nothing = bytes.fromhex("00207047")  # movs r0, #0; bx lr
    broken = firmware_of({**right.sources, "_wbegin": does_nothing}, None, right.manifest.kernels)
    with MicrobitBoard(copy) as board, open_port(board.path) as port:
        with pytest.raises(FirmwareError, match="computes another trial 0 of weight_perturbation") as found:
            deploy(port, broken)
        assert found.value.code == faults.KERNELS
        assert deploy(port).copied == ("_wbegin",)


def test_an_altered_file_is_found_by_the_boards_own_sum(flash: Path, tmp_path: Path) -> None:
    copy = tmp_path / "flash"
    shutil.copytree(flash, copy)
    with MicrobitBoard(copy) as board, open_port(board.path) as port:
        with Repl(port) as repl:
            size = repl.run("import os;print(os.size('_wact'))").strip()
            repl.run(f"f=open('_wact','wb');f.write(bytes({size}));f.close()")
        with pytest.raises(FirmwareError, match=r"_wact of the firmware on the board is altered: subsong deploy"):
            verify_board(port)
        assert deploy(port).copied == ("_wact",)
        verify_board(port)


def test_a_power_cut_in_the_middle_of_a_deploy_shows(flash: Path, tmp_path: Path) -> None:
    copy = tmp_path / "flash"
    shutil.copytree(flash, copy)
    with MicrobitBoard(copy) as board, open_port(board.path) as port:
        with Repl(port) as repl:
            repl.run("import os;os.remove('manifest.json')")
        with pytest.raises(FirmwareError, match="a deploy was interrupted"):
            verify_board(port)


def test_a_board_without_the_firmware_says_what_to_do(tmp_path: Path) -> None:
    with (
        MicrobitBoard(tmp_path / "flash") as board,
        open_port(board.path) as port,
        pytest.raises(FirmwareError, match=r"without the firmware: subsong deploy --port"),
    ):
        verify_board(port)


def test_it_runs_no_policy_by_itself(port: Port) -> None:
    with pytest.raises(FirmwareError, match="the small firmware runs no policy by itself"):
        deploy_policy(port, None)  # type: ignore[arg-type]  # refused before the policy is looked at


# ------------------------------------------------------------------------------------------------ the emulation


def test_a_power_cut_is_an_error_of_the_port(flash: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUBSONG_MICROBIT_FIRMWARE", str(image("microbit")))
    monkeypatch.setenv("SUBSONG_CACHE", str(tmp_path))
    shutil.copytree(flash, tmp_path / "boards" / "microbit")
    with open_port("microbit") as port:
        start_firmware(port)
        bridge = Bridge(port)
        bridge.hello()
        bridge.open(build_block(xor("weight_perturbation")))
        assert isinstance(port.board, MicrobitBoard)
        port.board.kill()
        with pytest.raises(PortError, match="port microbit: the emulated board's process ended with status -9"):
            bridge.run_task(0, 100, 4)


def test_without_qemu_the_command_that_brings_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PortError, match="sudo apt-get install qemu-system-arm"):
        MicrobitBoard(tmp_path / "flash").start()


def test_one_wrong_word_is_found() -> None:
    """The control of test_machine_code_equals_the_oracle."""
    case = Case("weight_perturbation", *_tiny())
    answers = cpython_engine(case)
    broken = [*answers[:-1], answers[-1]._replace(mem=bytes([answers[-1].mem[0] ^ 1]) + answers[-1].mem[1:])]
    with pytest.raises(AssertionError, match=r"mem\[0\]"):
        assert_equal(case, answers, broken)


def _tiny():  # type: ignore[no-untyped-def]
    golden = json.loads((FOLDER / "wp_two_sided_linear.json").read_text(encoding="utf-8"))
    head = struct.pack(f"<{len(golden['head'])}i", *golden["head"])
    mem = struct.pack(f"<{len(golden['mem'])}H", *golden["mem"])
    return head, mem, trials_of("wp_two_sided_linear")
