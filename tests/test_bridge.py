"""The bridge against the firmware's own session, in one process: every command once, whatever the wire does."""

import random
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cases import FIRST as RULES
from link_wire import BoardInThread, kernels
from subsong.block import Block, build_block
from subsong.bridge import Bridge
from subsong.errors import BoardError, FirmwareError, LinkLost, PlantError, PortError, SchemaMismatch
from subsong.exchange import Exchange
from subsong.experiment import Experiment, parse_experiment
from subsong_device import faults, frames, layout
from subsong_sim.engines import LocalLearner, make_buffer, task_kernels
from subsong_sim.learner import Learner

DEADMAN_MS = 60000
TIMEOUT_S = 0.02  # where frames are lost
PATIENT_S = 5.0  # where none is: a retry would be news

PLANT = """
seed = 3
[network]
layers = [3, 2]
activations = ["hard_tanh"]
init = 0.5
[learner]
rule = "{rule}"
estimator = "two_sided"
amplitude = 0.1
rate = 1
rate_shift = 2
[plant]
kind = "gymnasium"
id = "CartPole-v1"
[run]
trials = 4
steps = 20
"""
XOR = (
    PLANT.replace("[3, 2]", "[2, 2, 1]")
    .replace('["hard_tanh"]', '["tanh", "logistic"]')
    .replace('kind = "gymnasium"\nid = "CartPole-v1"', 'kind = "task"\nname = "xor"')
)


def experiment(text: str, rule: str = "weight_perturbation") -> Experiment:
    return parse_experiment(text.replace("{rule}", rule), "test")


def block_of(text: str, rule: str = "weight_perturbation") -> Block:
    return build_block(experiment(text, rule))


def local(block: Block) -> LocalLearner:
    return LocalLearner(block.rule, block.head, block.mem, "cpython")


@pytest.fixture
def board() -> Iterator[BoardInThread]:
    with BoardInThread() as board:
        yield board


def connect(board: BoardInThread, **options: Any) -> Bridge:
    bridge = Bridge(board.port, **{"timeout_s": PATIENT_S, **options})
    bridge.hello()
    return bridge


def play(learner: Learner, trials: int = 4, steps: int = 20) -> list[Any]:
    """Return every word and summary of some trials with made-up sensors; `dropped` is left out."""
    draw = random.Random(5)
    seen: list[Any] = []
    n = 3
    for trial in range(trials):
        learner.begin(trial, trial == 2)
        cost = 0
        for _ in range(steps):
            x = [draw.choice((-32768, -1, 0, 1, 32767, draw.randrange(-3000, 3000))) for _ in range(n)]
            seen.append(list(learner.act(cost, x)))
            cost = draw.choice((0, 1, -1, 255, -256, 1 << 28, -(1 << 28)))
        seen.append(learner.end(cost)._replace(dropped=0))
    return seen


# ------------------------------------------------------------------------------------------------ a learner


@pytest.mark.parametrize("rule", RULES)
def test_a_board_is_a_learner_like_any_other(board: BoardInThread, rule: str) -> None:
    block = block_of(PLANT, rule)
    bridge, reference = connect(board), local(block)
    bridge.open(block, DEADMAN_MS)
    assert play(bridge) == play(reference)
    assert bridge.state() == reference.state()
    assert vars(bridge.counters) == dict.fromkeys(vars(bridge.counters), 0)
    assert bridge.close()
    board.join()
    assert board.error is None


@pytest.mark.parametrize("n_sensors", [1, 117, 118, 119, 120, 240, 500])
def test_steps_of_any_length(board: BoardInThread, n_sensors: int) -> None:
    """Around 118 sensors a STEP outgrows one COBS block, and the board's short path with it."""
    text = PLANT.replace("[3, 2]", f"[{n_sensors}, 2]").replace("weight_frac", "#")
    block = block_of(text)
    bridge, reference = connect(board), local(block)
    bridge.open(block, DEADMAN_MS)
    draw = random.Random(6)
    for learner in (bridge, reference):
        learner.begin(0, False)
    for step in range(3):
        x = [draw.randrange(-32768, 32768) if step else -1 for _ in range(n_sensors)]
        assert list(bridge.act(step, x)) == reference.act(step, x)
    assert bridge.end(1) == reference.end(1)
    assert bridge.counters.retries == 0


class Harm:
    """Does something to one frame in `every`, by a seed."""

    def __init__(self, what: str, every: int) -> None:
        self.what, self.every = what, every
        self.draw = random.Random(7)
        self.done = 0

    def __call__(self, wire: bytes) -> bytes:
        if self.draw.randrange(self.every):
            return wire
        self.done += 1
        at = self.draw.randrange(len(wire))
        if self.what == "drop":
            return b""
        if self.what == "cut":
            return wire[:at]
        if self.what == "double":
            return wire * 2
        if self.what == "insert":
            return wire[:at] + b"\0" + wire[at:]
        return wire[:at] + bytes([wire[at] ^ 1 << self.draw.randrange(8)]) + wire[at + 1 :]


@pytest.mark.slow
@pytest.mark.parametrize("what", ["drop", "flip", "cut", "double", "insert"])
@pytest.mark.parametrize("way", ["to board", "from board", "both"])
def test_every_command_is_executed_once(board: BoardInThread, what: str, way: str) -> None:
    block = block_of(PLANT, "node_perturbation")
    logged: list[tuple[bool, bytes]] = []
    received: list[bytes] = []
    bridge = connect(board, timeout_s=TIMEOUT_S, on_frame=lambda to_board, wire, _t: logged.append((to_board, wire)))
    harm = Harm(what, 12)
    if way != "from board":
        board.port.harm = harm
    if way != "to board":
        board.wire.harm = harm
    read = board.port.read_available

    def read_and_keep(timeout_s: float) -> bytes:
        received.append(read(timeout_s))
        return received[-1]

    board.port.read_available = read_and_keep  # type: ignore[method-assign]
    logged.clear()
    bridge.open(block, DEADMAN_MS)
    reference = local(block)
    assert play(bridge) == play(reference)
    assert bridge.state() == reference.state()
    assert harm.done > 5
    counters = bridge.counters
    if what != "double":
        assert counters.retries > 0
    if way != "to board":
        assert counters.damaged > 0 or what in ("drop", "double")
    assert counters.stale > 0 or what != "double"
    # Every byte that came is in the log, damaged frames included, but for the delimiters of empty segments.
    in_log = b"".join(wire for to_board, wire in logged if not to_board)
    assert in_log.replace(b"\0", b"") == b"".join(received).replace(b"\0", b"")


def test_frames_are_logged_in_the_order_of_the_wire(board: BoardInThread) -> None:
    logged: list[tuple[bool, int, int]] = []
    times: list[int] = []

    def keep(to_board: bool, wire: bytes, t_ns: int) -> None:
        lengths = frames.body_lengths(to_board, 3, 2)
        _, kind, seq, _ = frames.Deframer(lengths).feed(wire)[0]
        logged.append((to_board, kind, seq))
        times.append(t_ns)

    block = block_of(PLANT)
    bridge = connect(board, on_frame=keep)
    bridge.open(block, DEADMAN_MS)
    logged.clear()
    play(bridge, trials=1, steps=3)
    first = logged[0][2]
    kinds = [(frames.BEGIN, frames.ACK), *[(frames.STEP, frames.ACT)] * 3, (frames.END, frames.TRIAL)]
    assert logged == [
        (to_board, pair[not to_board], first + i) for i, pair in enumerate(kinds) for to_board in (True, False)
    ]
    assert times == sorted(times)


def test_a_repeated_command_has_its_reply_repeated(board: BoardInThread) -> None:
    bridge = connect(board)
    bridge.open(block_of(PLANT), DEADMAN_MS)
    exchange = bridge._exchange
    bridge.begin(0, False)
    bridge.act(0, [1, 2, 3])
    seq = exchange.next_seq()
    wire = frames.encode(frames.END, seq, struct.pack("<Ii", 0, 5))
    replies = []
    for _ in range(3):
        exchange.write(wire)
        frame = exchange.receive(5.0)
        assert frame is not None
        replies.append(frame)
    assert replies == [replies[0]] * 3
    assert replies[0][:2] == (frames.TRIAL, seq)
    # The same number on another command is no repeat, and neither is an older one.
    exchange._seq = seq - 1
    with pytest.raises(BoardError, match="expected command number") as raised:
        exchange.command(frames.BEGIN, 1, 0)
    assert raised.value.code == faults.SEQUENCE
    exchange._seq = seq
    bridge.begin(1, False)


def test_numbers_wrap_and_skip_zero(board: BoardInThread) -> None:
    bridge = connect(board)
    bridge._exchange._seq = 0xFFFF - 30
    bridge._exchange.command(frames.HELLO, frames.schema(), reply=frames.R_HELLO)
    block = block_of(PLANT)
    bridge.open(block, DEADMAN_MS)
    assert play(bridge) == play(local(block))
    assert bridge._exchange._seq < 200
    assert bridge.counters.retries == 0


# ------------------------------------------------------------------------------------------------ refusals

HEAD_WORDS = layout.LAYERS_AT + layout.LAYER_WORDS  # one layer's
OPEN_OK = (0, 0, 3, 2, HEAD_WORDS, 13, 0, 1000)
BIG = 0xFFFFFFFF


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rule", len(frames.RULES)), ("rule", 255), ("mode", 3), ("n_sensors", 0), ("n_sensors", 505),
        ("n_sensors", 65535), ("n_actuators", 0), ("n_actuators", 503), ("n_actuators", 65535),
        ("head_words", HEAD_WORDS - 1), ("head_words", BIG),
        ("mem_words", 0), ("mem_words", BIG), ("task_words", 1), ("task_words", BIG), ("deadman_ms", 19),
        ("deadman_ms", 3600001),
    ],
)  # fmt: skip
def test_open_refuses_what_is_out_of_range(board: BoardInThread, field: str, value: int) -> None:
    bridge = connect(board)
    names = ("rule", "mode", "n_sensors", "n_actuators", "head_words", "mem_words", "task_words", "deadman_ms")
    values = [value if name == field else good for name, good in zip(names, OPEN_OK, strict=True)]
    with pytest.raises(BoardError, match=f"refused OPEN: {field} = {value} is out of its range") as raised:
        bridge._exchange.command(frames.OPEN, *values)
    assert raised.value.code == faults.FIELD
    bridge.open(block_of(PLANT), DEADMAN_MS)  # and a good one is taken


COST = 1 << 28


@pytest.mark.parametrize(
    ("before", "kind", "values", "field"),
    [
        ("open", frames.WRITE, (3, 0, 1, b""), "region"),
        ("open", frames.WRITE, (0, 4 * HEAD_WORDS, 1, b""), "offset"),
        ("open", frames.WRITE, (0, BIG, 1, b""), "offset"),
        ("open", frames.WRITE, (2, 0, 1, b""), "offset"),
        ("open", frames.WRITE, (0, 4 * HEAD_WORDS - 1, 2, b""), "count"),
        ("open", frames.WRITE, (0, 0, 0, b""), "count"),
        ("open", frames.WRITE, (0, 0, 129, b""), "count"),
        ("open", frames.READ, (3, 0), "region"),
        ("open", frames.READ, (1, 26), "offset"),
        ("ready", frames.BEGIN, (1 << 30, 0), "trial"),
        ("ready", frames.BEGIN, (0, 2), "evaluate"),
        ("trial", frames.STEP, (8, 0, 0, 1, 2, 3), "trial"),
        ("trial", frames.STEP, (7, 1, 0, 1, 2, 3), "step"),
        ("trial", frames.STEP, (7, 16384, 0, 1, 2, 3), "step"),
        ("trial", frames.STEP, (7, 0, COST + 1, 1, 2, 3), "cost"),
        ("trial", frames.STEP, (7, 0, -COST - 1, 1, 2, 3), "cost"),
        ("trial", frames.END, (8, 0), "trial"),
        ("trial", frames.END, (7, COST + 1), "cost"),
        ("trial", frames.END, (7, 0), "trial"),
    ],
)
def test_fields_out_of_range_are_refused(
    board: BoardInThread, before: str, kind: int, values: tuple[Any, ...], field: str
) -> None:
    bridge = connect(board)
    block = block_of(PLANT)
    bridge.open(block, DEADMAN_MS)
    if before == "open":
        bridge._exchange.command(frames.WRITE, 0, 0, 128, block.head[:128])
    if before == "trial":
        bridge.begin(7, False)
    with pytest.raises(BoardError, match=f"{field} = ") as raised:
        bridge._exchange.command(kind, *values, reply=frames.ACT if kind == frames.STEP else frames.DATA)
    assert raised.value.code == faults.FIELD
    # Nothing has happened to the session: the same can go on.
    if before == "trial":
        bridge.act(0, [1, 2, 3])
        bridge.end(0)


def test_the_step_limit_is_the_boards(board: BoardInThread) -> None:
    bridge = connect(board)
    bridge.open(block_of(PLANT), DEADMAN_MS)
    bridge.begin(0, False)
    board.session._trial.step = bridge._step = frames.MAX_STEPS - 1
    bridge.act(0, [1, 2, 3])
    with pytest.raises(BoardError, match="step = 16384 is out of its range"):
        bridge.act(0, [1, 2, 3])


def test_commands_out_of_their_state_are_refused(board: BoardInThread) -> None:
    bridge = Bridge(board.port, timeout_s=PATIENT_S)
    exchange = bridge._exchange

    def refused(code: int, kind: int, *values: object) -> None:
        with pytest.raises(SchemaMismatch if code == faults.SCHEMA else BoardError) as raised:
            exchange.command(kind, *values)
        assert getattr(raised.value, "code", faults.SCHEMA) == code

    bridge._await_greeting(PATIENT_S)
    board.session.expected = 1
    refused(faults.SCHEMA, frames.OPEN, *OPEN_OK)
    refused(faults.SCHEMA, frames.STOP)
    exchange.command(frames.HELLO, frames.schema() ^ 1, reply=frames.R_HELLO)
    refused(faults.SCHEMA, frames.OPEN, *OPEN_OK)
    exchange.command(frames.HELLO, frames.schema(), reply=frames.R_HELLO)
    for kind, values in (
        (frames.SEAL, (0, 0, 0)),
        (frames.BEGIN, (0, 0)),
        (frames.READ, (0, 0)),
        (frames.RUN, (0, 1, 1, 0)),
    ):
        refused(faults.STATE, kind, *values)
    refused(faults.NOT_RUNNING, frames.SNAPSHOT)
    exchange.command(frames.STOP)  # does nothing, and is no error
    exchange.command(frames.OPEN, *OPEN_OK)
    refused(faults.STATE, frames.BEGIN, 0, 0)
    bridge.open(block_of(PLANT), DEADMAN_MS)
    refused(faults.STATE, frames.END, 0, 0)
    refused(faults.STATE, frames.STEP, 0, 0, 0, 1, 2, 3)
    refused(faults.STATE, frames.RUN, 0, 1, 1, 0)  # no task
    bridge.begin(0, False)
    refused(faults.STATE, frames.BEGIN, 0, 0)
    refused(faults.STATE, frames.READ, 0, 0)
    bridge.open(block_of(XOR), DEADMAN_MS)  # leaves the trial
    refused(faults.STATE, frames.BEGIN, 0, 0)  # no plant in the loop
    for field, values in (
        ("first", (1 << 30, 1, 1, 0)),
        ("trials", (0, 0, 1, 0)),
        ("trials", ((1 << 30) - 1, 2, 1, 0)),
        ("steps", (0, 1, 0, 0)),
        ("steps", (0, 1, 16385, 0)),
        ("evaluate", (0, 1, 1, 2)),
    ):
        with pytest.raises(BoardError, match=f"{field} = "):
            exchange.command(frames.RUN, *values)


def altered(block: Block, word: int, value: int) -> Block:
    head = bytearray(block.head)
    head[4 * word : 4 * word + 4] = struct.pack("<i", value)
    return Block(block.rule, bytes(head), block.mem, block.task, block.n_sensors, block.n_actuators)


FIRST = layout.LAYERS_AT
SECOND = FIRST + layout.LAYER_WORDS


@pytest.mark.parametrize(
    ("word", "value"),
    [
        (layout.N_LAYERS, 0), (layout.N_LAYERS, 3), (layout.N_LAYERS, -1), (layout.N_LAYERS, 1 << 30),
        (FIRST + layout.N_IN, 3), (FIRST + layout.N_OUT, 0), (FIRST + layout.N_OUT, 60000),
        (FIRST + layout.ACTIVATION, 4), (FIRST + layout.ACTIVATION, -1), (FIRST + layout.PRODUCT_SHIFT, 31),
        (FIRST + layout.BIAS_SHIFT, -1), (FIRST + layout.DRIVE_SHIFT, 32), (FIRST + layout.INPUT_FRAC, -1),
        (SECOND + layout.N_IN, 1), (SECOND + layout.N_OUT, 2), (layout.N_WEIGHTS, 8), (layout.N_WEIGHTS, 10),
        (layout.SIGNS_AT, 60000), (layout.TABLE_AT, 17), (layout.ELIGIBILITY_AT, SECOND),
        (layout.ELIGIBILITY_AT, SECOND + 9),
        (FIRST + layout.RECURRENT, 1), (FIRST + layout.RECURRENT, 2), (SECOND + layout.RECURRENT, -1),
        (layout.UNITS_AT, -1), (layout.SYNAPSES_AT, 60000), (layout.TRACE_SHIFT, 15), (layout.TRACE_SHIFT, -1),
        (layout.ESTIMATOR, 6), (layout.ESTIMATOR, -1), (layout.RATE_SHIFT, 31), (layout.BASELINE_SHIFT, -1),
        (layout.SPREAD_SHIFT, 16), (layout.SPREAD_SHIFT, -1), (layout.ANNEAL, -1), (layout.ANNEAL, (1 << 28) + 1),
        (layout.SPREAD, -1), (layout.SPREAD, (1 << 29) + 1), (layout.SPREAD_FRAC, 29), (layout.SPREAD_FRAC, -1),
        (layout.ANNEALED, (1 << 24) - 1), (layout.ANNEALED, (1 << 28) + 1),
    ],
)  # fmt: skip
def test_a_block_that_points_outside_itself_is_refused(board: BoardInThread, word: int, value: int) -> None:
    bridge = connect(board)
    block = block_of(XOR, "node_perturbation")
    with pytest.raises(BoardError, match="contradicts itself") as raised:
        bridge.open(altered(block, word, value), DEADMAN_MS)
    assert raised.value.code == faults.BLOCK
    bridge.open(block, DEADMAN_MS)


@pytest.mark.parametrize(
    ("word", "value"),
    [(layout.TASK_KIND, 4000), (layout.TASK_COUNT, 0), (layout.TASK_COUNT, 5), (layout.TASK_START, 4),
     (layout.TASK_RESUME, 65535), (layout.TASK_INPUTS, 1), (layout.TASK_OUTPUTS, 2),
     (layout.TASK_NEXT, 4), (layout.TASK_ERROR_SHIFT, 16)],
)  # fmt: skip
def test_a_task_that_points_outside_itself_is_refused(board: BoardInThread, word: int, value: int) -> None:
    block = block_of(XOR)
    task = bytearray(block.task)
    task[2 * word : 2 * word + 2] = struct.pack("<H", value)
    bad = Block(block.rule, block.head, block.mem, bytes(task), block.n_sensors, block.n_actuators)
    with pytest.raises(BoardError, match=f"task word {word}") as raised:
        connect(board).open(bad, DEADMAN_MS)
    assert raised.value.code == faults.BLOCK


def test_a_block_that_arrives_otherwise_is_refused(board: BoardInThread) -> None:
    bridge = connect(board)
    block = block_of(PLANT)
    bridge.open(block, DEADMAN_MS)
    with pytest.raises(BoardError, match="mem did not arrive as it was sent") as raised:
        bridge._exchange.command(frames.SEAL, frames.crc32(block.head), 1, 0)
    assert raised.value.code == faults.CHECKSUM
    with pytest.raises(BoardError) as raised:
        bridge.begin(0, False)
    assert raised.value.code == faults.STATE


def test_words_out_of_range_never_leave_the_host(board: BoardInThread) -> None:
    bridge = connect(board)
    bridge.open(block_of(PLANT), DEADMAN_MS)
    bridge.begin(0, False)
    for cost, x, words in (
        (0, [1, 2], "sensed 2 words, the network has 3 inputs"),
        (0, [1, 2, 3, 4], "sensed 4 words"),
        (0, [1, 2, 32768], "out of range"),
        (1 << 31, [1, 2, 3], "out of range"),
    ):
        with pytest.raises(PlantError, match=words):
            bridge.act(cost, x)


# ------------------------------------------------------------------------------------------------ kernels that fail


class Stub:
    """A learner that fails where it is told to."""

    def __init__(self, fails: str, error: type[Exception] = ZeroDivisionError) -> None:
        self.fails, self.error = fails, error

    def __getattr__(self, name: str) -> Callable[..., int]:
        def kernel(*_arguments: Any) -> int:
            if name == self.fails:
                raise self.error
            return 0

        return kernel


@pytest.mark.parametrize("fails", ["begin", "act", "end"])
def test_a_kernel_that_raises_ends_the_run_and_not_the_link(fails: str) -> None:
    learners = [Stub(fails), kernels(0)[0]]
    with BoardInThread(lambda rule: (learners.pop(0), kernels(rule)[1])) as board:
        bridge = connect(board)
        block = block_of(PLANT)
        bridge.open(block, DEADMAN_MS)
        with pytest.raises(BoardError, match="a kernel raised an exception") as raised:
            play(bridge)
        assert raised.value.code == faults.LEARNER
        for refused in (lambda: bridge.begin(1, False), bridge.state):
            with pytest.raises(BoardError, match=r"the board refused [A-Z]+: a kernel raised an exception"):
                refused()
        bridge.open(block, DEADMAN_MS)
        assert play(bridge) == play(local(block))


@pytest.mark.parametrize(
    ("error", "kind", "words", "code"),
    [
        (MemoryError, BoardError, f"does not fit: it takes {4 * HEAD_WORDS + 26} bytes", faults.NO_MEMORY),
        (ImportError, FirmwareError, "subsong deploy --port fake", faults.NO_LEARNER),
    ],
)
def test_what_fails_while_opening(error: type[Exception], kind: type[BoardError], words: str, code: int) -> None:
    answers: list[Any] = [error, kernels(0)]

    def load(_rule: int) -> tuple[Any, Any]:
        answer: Any = answers.pop(0)
        if isinstance(answer, tuple):
            return answer
        raise answer

    with BoardInThread(load) as board:
        bridge = connect(board)
        with pytest.raises(kind, match=words) as raised:
            bridge.open(block_of(PLANT), DEADMAN_MS)
        assert raised.value.code == code
        bridge.open(block_of(PLANT), DEADMAN_MS)
        play(bridge)


# ------------------------------------------------------------------------------------------------ silence


def test_the_dead_man_names_himself() -> None:
    with BoardInThread() as board:
        bridge = connect(board)
        # On a busy machine this thread may itself be the one who is silent, before the last line.
        with pytest.raises(LinkLost, match=r"heard nothing for 40 ms and left the link.*raise run.deadman_ms"):  # noqa: PT012
            bridge.open(block_of(PLANT), 40)
            bridge.begin(0, False)
            bridge.act(0, [1, 2, 3])
            board.join()
            bridge.act(0, [1, 2, 3])
        bridge._exchange.patience_s = 0.05
        assert not bridge.close()


@pytest.mark.parametrize("noise", [b"", b"\x55", b"\0", b"\x01\x02\0\x55"])
def test_the_dead_man_is_not_fooled_by_noise(noise: bytes) -> None:
    with BoardInThread(deadman_ms=60) as board:
        received = b""
        while board.serving:
            board.port.write(noise)
            received += board.port.read_available(0.005)
        received += board.port.read_available(0)
    last = [f for f in frames.Deframer(frames.body_lengths(False)).feed(received) if f[1]][-1]
    assert (last[1], struct.unpack("<BI", last[3])) == (frames.ACK, (faults.DEADMAN, 60))


def test_a_step_without_a_reply_is_sent_again_after_one_time_out() -> None:
    class Deaf:
        name = "deaf"

        def __init__(self) -> None:
            self.did: list[str] = []

        def write(self, data: bytes) -> None:  # noqa: ARG002
            self.did.append("write")

        def read_available(self, timeout_s: float) -> bytes:
            self.did.append("read")
            time.sleep(timeout_s)
            return b""

    port = Deaf()
    exchange = Exchange(port, None, 0.01, 0.05)
    with pytest.raises(LinkLost):
        exchange.make_step(2, 1)(0, 0, 0, (1, 2))
    assert port.did[:3] == ["write", "read", "write"]
    assert exchange.counters.retries == port.did.count("write") - 1


def test_a_silent_board_is_given_up(board: BoardInThread) -> None:
    bridge = connect(board, timeout_s=TIMEOUT_S, patience_s=0.1)
    bridge.open(block_of(PLANT), DEADMAN_MS)
    bridge.begin(0, False)
    board.wire.harm = lambda _wire: b""
    with pytest.raises(LinkLost, match=r"port fake: the board fell silent \(asked \d+ times.*Reset it"):
        bridge.act(0, [1, 2, 3])
    assert bridge.counters.retries > 2


def test_a_port_that_vanishes_is_an_error_of_the_port(board: BoardInThread) -> None:
    logged: list[bool] = []
    bridge = connect(board, on_frame=lambda to_board, _wire, _t: logged.append(to_board))
    bridge.open(block_of(PLANT), DEADMAN_MS)
    bridge.begin(0, False)
    bridge.act(0, [1, 2, 3])

    def vanish(_data: bytes) -> None:
        raise PortError("port fake: vanished")

    board.port.write = vanish  # type: ignore[method-assign]
    with pytest.raises(PortError):
        bridge.act(0, [1, 2, 3])
    assert logged[-2:] == [True, False]  # the last ACT was not lost on the way to the log
    assert not bridge.close()


# ------------------------------------------------------------------------------------------------ hello


class Script:
    """A port that says what it is told to, and keeps what it hears."""

    def __init__(self, *says: bytes) -> None:
        self.name = "script"
        self.says = list(says)
        self.heard = b""

    def read_available(self, _timeout_s: float) -> bytes:
        return self.says.pop(0) if self.says else b""

    def write(self, data: bytes) -> None:
        self.heard += data


def greeting(
    schema: int,
    seq: int = 0,
    extra: bytes = b"",
    arithmetic: int = layout.ARITHMETIC_VERSION,
    chunk: int = frames.CHUNK,
) -> bytes:
    payload = struct.pack("<IHBBII", schema, arithmetic, 0, chunk, 1000, 0)
    return frames.encode(frames.R_HELLO, seq, payload + extra)


@pytest.mark.parametrize("extra", [b"", b"\x01\x02\x03"])
def test_another_schema_is_refused_with_what_to_do(extra: bytes) -> None:
    """Also where the other version's HELLO is longer than ours."""
    port = Script(b"OK\0" + greeting(0xDEADBEEF, 0, extra), greeting(0xDEADBEEF, 1, extra))
    with pytest.raises(
        SchemaMismatch, match=r"schema deadbeef, this Subsong [0-9a-f]{8}.*subsong deploy --port script"
    ):
        Bridge(port).hello()
    assert port.heard.endswith(frames.encode(frames.CLOSE, 2, b""))


def test_another_arithmetic_is_refused() -> None:
    port = Script(greeting(frames.schema()), greeting(frames.schema(), 1, arithmetic=99))
    with pytest.raises(FirmwareError, match=r"arithmetic version 99.*subsong deploy --port script"):
        Bridge(port).hello()


@pytest.mark.parametrize("chunk", [0, frames.MIN_CHUNK - 1, frames.CHUNK + 1, 255])
def test_a_chunk_that_the_link_does_not_allow_is_refused(chunk: int) -> None:
    said = (greeting(frames.schema(), seq, chunk=chunk) for seq in (0, 1))
    with pytest.raises(FirmwareError, match=rf"takes {chunk} bytes .*16 to 128; .*subsong deploy --port script"):
        Bridge(Script(*said)).hello()


@pytest.mark.parametrize("form", [b"OK\x04%s\x04>", b"\r\n%s>>> "], ids=["raw", "friendly"])
def test_a_board_without_firmware(form: bytes) -> None:
    error = b"ImportError: no module named 'subsong_device'\r\n"
    said = form % (b'Traceback (most recent call last):\r\n  File "<stdin>", line 1, in <module>\r\n' + error)
    with pytest.raises(FirmwareError, match=r"no module named 'subsong_device'; put this version's firmware"):
        Bridge(Script(said[:30], said[30:])).hello()


def test_a_board_that_says_nothing_or_something_else() -> None:
    with pytest.raises(LinkLost, match=r"did not say hello within 0.05 s\. Reset the board"):
        Bridge(Script()).hello(0.05)
    with pytest.raises(LinkLost, match=r"it said: 'Welcome to some other firmware'"):
        Bridge(Script(b"Welcome to some other firmware\r\n")).hello(0.05)


def test_a_lost_hello_is_asked_for() -> None:
    board = BoardInThread()
    board.wire.harm = Harm("drop", 1)  # everything, until the host has spoken
    wrote = board.port.write

    def write(data: bytes) -> None:
        board.wire.harm = lambda wire: wire
        wrote(data)

    board.port.write = write  # type: ignore[method-assign]
    with board:
        Bridge(board.port, timeout_s=PATIENT_S).hello(2.0)


# ------------------------------------------------------------------------------------------------ tasks on the board


def task_trials(block: Block, trials: int, steps: int) -> list[tuple[list[Any], Any, int, tuple[bytes, bytes]]]:
    """Return (steps, summary, last cost, state afterwards) of each trial, by the kernels on this computer."""
    learner, tasks = local(block), task_kernels("cpython")
    task = make_buffer(block.task, "H", "cpython")
    out = []
    for trial in range(trials):
        tasks.task_begin(learner.head, task)
        learner.begin(trial, False)
        cost, seen = 0, []
        for step in range(steps):
            tasks.task_sense(task, learner.x)
            x = [(word ^ 0x8000) - 0x8000 for word in learner.x]
            u = learner.act(cost, x)
            seen.append((trial, step, cost, x, u))
            cost = tasks.task_cost(task, learner.u)
        out.append((seen, learner.end(cost), cost, learner.state()))
    return out


class Heard:
    """Keeps what run_task tells."""

    def __init__(self) -> None:
        self.steps: list[Any] = []
        self.trials: list[Any] = []
        self.states: dict[int, tuple[bytes, bytes]] = {}
        self.holes: list[tuple[int, int]] = []

    def listeners(self) -> dict[str, Any]:
        return {
            "on_step": lambda trial, step, cost, x, u: self.steps.append((trial, step, cost, list(x), list(u))),
            "on_trial": lambda summary, cost: self.trials.append((summary._replace(dropped=0), cost)),
            "on_snapshot": lambda trial, head, mem: self.states.update({trial: (head, mem)}),
            "on_hole": lambda first, lost: self.holes.append((first, lost)),
        }


@pytest.mark.parametrize("rule", RULES)
def test_a_board_runs_a_task_by_itself(board: BoardInThread, rule: str) -> None:
    block = block_of(XOR, rule)
    expected = task_trials(block, 12, 5)
    bridge, heard = connect(board), Heard()
    bridge.open(block, DEADMAN_MS)
    assert bridge.run_task(0, 8, 5, **heard.listeners()) == (8, 0, 0)
    assert bridge.run_task(8, 4, 5, **heard.listeners()) == (4, 0, 0)  # numbers and state go on
    assert heard.steps == [step for trial in expected for step in trial[0]]
    assert heard.trials == [(trial[1], trial[2]) for trial in expected]
    assert heard.holes == []
    assert bridge.state() == expected[-1][3]
    assert bridge.run_task(12, 1, 5, True).trials == 1
    assert bridge.close()


class DropTelemetry:
    """Drops the telemetry frames of these numbers, and by type all of another kind."""

    def __init__(self, *numbers: int, kind: int = 0) -> None:
        self.numbers, self.kind = set(numbers), kind
        self.deframer = frames.Deframer(frames.body_lengths(False, 2, 1))
        self.dropped: list[int] = []  # their types

    def __call__(self, wire: bytes) -> bytes:
        for _, kind, _, payload in self.deframer.feed(wire):
            if kind == self.kind or (kind >= frames.T_STEP and int.from_bytes(payload[:4], "little") in self.numbers):
                self.dropped.append(kind)
                return b""
        return wire


LONG_RUN = 120  # trials of 194 bytes: several windows, so that the board must wait to hear what the host asks for


@pytest.mark.parametrize(
    "lost",
    [(0,), (7,), (10, 11), (5, 6, 7, 8, 9, 10, 11, 12, 13), (3, 20)],
    ids=["first", "a step", "a trial's end", "many", "two holes"],
)
def test_a_hole_is_reported_and_bridged_by_a_snapshot(board: BoardInThread, lost: tuple[int, ...]) -> None:
    block = block_of(XOR)
    expected = task_trials(block, LONG_RUN, 5)
    bridge, heard = connect(board), Heard()
    bridge.open(block, DEADMAN_MS)
    board.wire.harm = drop = DropTelemetry(*lost)
    result = bridge.run_task(0, LONG_RUN, 5, **heard.listeners())
    assert result.trials == LONG_RUN
    assert result.lost == bridge.counters.lost == len(lost) == sum(n for _, n in heard.holes)
    assert result.holes == bridge.counters.holes == len(heard.holes)
    assert {first + i for first, n in heard.holes for i in range(n)} == set(lost)
    # What came is right, and so is the state from which a replay goes on.
    every = {step[:2]: step for trial in expected for step in trial[0]}
    assert all(every[step[:2]] == step for step in heard.steps)
    lost_news = sum(kind != frames.T_SNAP for kind in drop.dropped)  # the snapshot that a hole brings may come soon
    assert len(heard.steps) + len(heard.trials) == LONG_RUN * 6 - lost_news
    assert heard.states
    for trial, state in heard.states.items():
        assert state == expected[trial][3]


def test_a_snapshot_with_a_hole_is_asked_for_again(board: BoardInThread) -> None:
    block = block_of(XOR)
    expected = task_trials(block, LONG_RUN, 5)
    bridge, heard = connect(board), Heard()
    bridge.open(block, DEADMAN_MS)
    snaps = 0
    drop = DropTelemetry(3)

    def harm(wire: bytes) -> bytes:
        nonlocal snaps
        if len(wire) > 140 and wire[1] == frames.T_SNAP:
            snaps += 1
            if snaps == 2:
                return b""
        return drop(wire)

    board.wire.harm = harm
    bridge.run_task(0, LONG_RUN, 5, **heard.listeners())
    assert len(heard.holes) == 2
    assert heard.states
    for trial, state in heard.states.items():
        assert state == expected[trial][3]


def test_a_lost_end_is_found_out(board: BoardInThread) -> None:
    bridge, heard = connect(board), Heard()
    bridge.open(block_of(XOR), 2000)  # a sign of life is due after 500 ms, and this question is one
    board.wire.harm = DropTelemetry(kind=frames.T_DONE)
    assert bridge.run_task(0, 3, 5, **heard.listeners()) == (3, 1, 1)
    assert heard.holes == [(18, 1)]
    board.wire.harm = lambda wire: wire
    assert bridge.run_task(3, 2, 5) == (2, 0, 0)


@pytest.mark.parametrize("what", ["drop", "flip", "cut", "insert"])
def test_runs_survive_a_bad_wire(board: BoardInThread, what: str) -> None:
    block = block_of(XOR)
    expected = task_trials(block, 40, 5)
    bridge, heard = connect(board, timeout_s=TIMEOUT_S), Heard()
    bridge.open(block, 2000)
    board.wire.harm, board.port.harm = Harm(what, 25), Harm(what, 4)
    bridge.run_task(0, 40, 5, **heard.listeners())
    board.wire.harm = board.port.harm = lambda wire: wire
    assert bridge.counters.lost == sum(n for _, n in heard.holes) > 0
    every = {step[:2]: step for trial in expected for step in trial[0]}
    assert all(every[step[:2]] == step for step in heard.steps)
    for trial, state in heard.states.items():
        assert state == expected[trial][3]
    assert bridge.state() == expected[-1][3]


def test_a_run_can_be_stopped(board: BoardInThread) -> None:
    bridge = connect(board)
    bridge.open(block_of(XOR), DEADMAN_MS)
    result = bridge.run_task(
        0, 1 << 20, 5, on_trial=lambda summary, _cost: bridge.stop() if summary.trial == 5 else None
    )
    assert 6 <= result.trials < 1 << 20
    bridge.run_task(result.trials, 1, 5)


def test_a_run_outlives_the_dead_man_while_the_host_listens(board: BoardInThread) -> None:
    bridge = connect(board)
    bridge.open(block_of(XOR), 700)
    began = time.monotonic()

    def on_trial(_summary: Any, _cost: int) -> None:
        if time.monotonic() - began > 1.5:
            bridge.stop()

    assert bridge.run_task(0, 1 << 20, 5, on_trial=on_trial).holes == 0


@pytest.mark.parametrize("reads", [True, False])
def test_a_run_ends_when_the_host_is_gone(reads: bool) -> None:
    """Whether the host still reads, or its end of the wire is full."""
    with BoardInThread() as board:
        bridge = connect(board)
        bridge.open(block_of(XOR), DEADMAN_MS)
        board.session.deadman = 50
        board.wire.full = not reads
        bridge._exchange.write(
            frames.encode(frames.RUN, bridge._exchange.next_seq(), struct.pack("<IIHB", 0, 1 << 20, 4, 0))
        )
        while reads and board.serving:
            board.port.read_available(0.01)
        board.join()
        assert board.error is None


def test_a_lost_end_of_a_trial_is_one_that_was_done(board: BoardInThread) -> None:
    bridge = connect(board)
    bridge.open(block_of(XOR), 2000)
    board.wire.harm = DropTelemetry(17, kind=frames.T_DONE)
    assert bridge.run_task(0, 3, 5) == (3, 1, 2)


def test_a_kernel_that_fails_is_reported_though_the_report_is_lost() -> None:
    with BoardInThread(lambda rule: (Stub("act"), kernels(rule)[1])) as board:
        bridge = connect(board)
        bridge.open(block_of(XOR), 2000)
        board.wire.harm = lambda wire: (
            b"" if wire[1] == frames.T_DONE or wire[1:4] == b"\x91\x01\x02" else wire
        )  # ACK, 0
        with pytest.raises(BoardError, match="a kernel raised") as raised:
            bridge.run_task(0, 10, 4)
        assert raised.value.code == faults.LEARNER


@pytest.mark.parametrize("fails", ["begin", "act", "end"])
def test_a_kernel_that_fails_in_a_run_is_reported(fails: str) -> None:
    with BoardInThread(lambda rule: (Stub(fails), kernels(rule)[1])) as board:
        bridge = connect(board)
        bridge.open(block_of(XOR), DEADMAN_MS)
        with pytest.raises(BoardError, match="the board stopped: a kernel raised") as raised:
            bridge.run_task(0, 10, 4)
        assert raised.value.code == faults.LEARNER
        with pytest.raises(BoardError, match="the board refused RUN: a kernel raised"):
            bridge.run_task(0, 10, 4)
        assert bridge.close()
