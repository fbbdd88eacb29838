"""The small firmware's own kernels and tables, on this computer: equal to the full firmware's, word for word."""

import random
import struct
import zlib
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases import Setup, head_words
from subsong.compiler import compile_kernels
from subsong.errors import BoardError, FirmwareError
from subsong.profile import named_profile
from subsong.small_firmware import (
    KNOWN,
    MODULES,
    RULES,
    STATES,
    VERSION,
    board_parts,
    build_small,
    constants,
    require_fit,
    require_version,
    session_image,
)
from subsong_device import block as full_block
from subsong_device import faults, frames, layout, session, task_check
from subsong_device.small import words
from subsong_sim import loader
from subsong_sim.engines import make_buffer

ENGINES = ("cpython", pytest.param("numba", marks=pytest.mark.slow))
NAMES = {"take", "command", "make_frame", "open_frame", "close_frame", "crc32", "check_block", "check_task"}


def kernels(module: str, called: tuple[str, ...], engine: str) -> ModuleType:
    return loader.load(f"subsong_device.small.{module}", called, engine)


def byte_buffer(data: bytes, engine: str) -> Any:
    """Return a buffer of bytes that a kernel may write to."""
    return np.frombuffer(data, np.uint8).copy() if engine == "numba" else bytearray(data)


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_its_words_are_the_links() -> None:
    for name, value in vars(words).items():
        for module in (frames, faults, layout):
            own = getattr(module, name, None)
            if isinstance(own, int) and name not in {"CHUNK", "STEPS"}:
                assert value == own, name
    assert frames.MIN_CHUNK <= words.CHUNK < frames.CHUNK
    assert {frames.HELLO + i for i in range(words.N_COMMANDS)} == {k for k, *_ in frames.TABLE if k <= frames.STOP}


def test_commands_are_allowed_in_the_same_states() -> None:
    names = {kind: name for kind, name, _, _ in frames.TABLE if kind <= frames.STOP}
    assert {names[kind]: states for kind, states in session._STATES.items() if kind in names} == STATES


def test_no_frame_is_longer_than_its_receive_buffer() -> None:
    for n_sensors in range(1, words.MOST_WORDS):
        n_actuators = words.MOST_WORDS - n_sensors
        for to_board in (True, False):
            lengths = frames.body_lengths(to_board, n_sensors, n_actuators, words.CHUNK)
            assert max(map(frames.wire_length, lengths.values())) <= words.LONGEST


def test_its_firmware_is_built_alike_each_time_and_kept_small() -> None:
    profile = named_profile("microbit")
    firmware = build_small(profile)
    build_small.cache_clear()
    assert build_small(profile).manifest == firmware.manifest
    assert firmware.manifest.profile == "microbit"
    assert set(firmware.manifest.kernels["armv6m"]) == {*RULES, "tasks"}
    assert {name[1:] for name in firmware.sources if name[0] == "_"} > NAMES - {"open_frame", "close_frame"}
    # What is compiled on the board in one piece.
    compiled = {
        n: compile_kernels(module, called, "armv6m", KNOWN, compact=True) for n, (module, called, _) in MODULES.items()
    }
    parts = board_parts(constants(compiled))
    assert "".join(parts).encode() == firmware.sources["parts"]
    assert max(map(len, parts)) < 700
    for part in parts:
        compile(part, "part", "exec")
    # Whatever is named after what it does was given one letter.
    assert "kernels" not in "".join(parts)


@pytest.mark.parametrize("version", ["1.13.0", "1.18", "2.1.2"])
def test_another_micropython_is_refused(version: str) -> None:
    assert VERSION == (1, 9)
    require_version("a0", "1.9.2")
    with pytest.raises(FirmwareError, match=rf"port a0: the board runs MicroPython {version}, .* a micro:bit v2"):
        require_version("a0", version)


# ------------------------------------------------------------------------------------------------ what it leaves out


def test_its_rules_are_the_first_on_the_link() -> None:
    assert frames.RULES[: len(RULES)] == RULES
    assert set(KNOWN.never) <= set(vars(layout)) and set(dict(KNOWN.words)) <= set(vars(layout))
    own = block_ranges(RULES[0]) | block_ranges(RULES[1])
    assert set(dict(KNOWN.words)) >= own - {"CODE_STEP", "WAITING"}, "what a rule has of its own is settled, or checked"


def block_ranges(rule: str) -> set[str]:
    at = [word for word, _, _ in full_block.OWN_RANGES[frames.RULES.index(rule)]]
    return {name for name in ("CODE", "CODE_STEP", "TAU", "WAITING", "MOMENTUM_SHIFT") if getattr(layout, name) in at}


@pytest.mark.parametrize("rule", frames.RULES[len(RULES) :])
def test_another_rule_is_refused_before_anything_is_sent(rule: str) -> None:
    block = replace(Setup().block(), rule=rule)
    says = rf'port a0: microbit has no room for learner.rule = "{rule}"; let it learn by weight_perturbation or node_p'
    with pytest.raises(BoardError, match=says):
        require_fit("a0", "microbit", block)
    assert Session("cpython").ask_to_open(frames.RULES.index(rule)) == (0, faults.FIELD, 0)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"rule": "node_perturbation", "estimator": "each_step"}, "costs of single steps; use another"),
        ({"options": {"code": layout.WALSH_HADAMARD}}, "a perturbation's code, .* leave learner.code"),
        ({"options": {"tau": 2}}, "updates that are gathered"),
        ({"options": {"momentum_shift": 3}}, "updates that are gathered"),
        ({"spread_shift": 3}, "costs over their spread; leave .* spread_shift out"),
    ],
)
def test_what_does_not_fit_is_refused_by_the_host_and_by_the_board(changed: dict[str, Any], says: str) -> None:
    setup = Setup(**changed)
    block = setup.block()
    with pytest.raises(BoardError, match=f"port a0: microbit has no room for .*{says}.*, or take another board"):
        require_fit("a0", "microbit", block)
    require_fit("a0", "microbit", Setup(rule=setup.rule, recurrent=(True,)).block())
    head = head_words(block.head)
    s = [0] * words.SESSION_WORDS
    s[words.OF_RULE] = RULES.index(setup.rule)
    s[words.SENSORS], s[words.ACTUATORS] = setup.layers[0], setup.layers[-1]
    s[words.HEAD_WORDS], s[words.MEM_WORDS] = len(head), len(block.mem) // 2
    assert kernels("guard", ("check_block",), "cpython").check_block(head, s) in {
        layout.ESTIMATOR, layout.CODE, layout.TAU, layout.MOMENTUM_SHIFT, layout.SPREAD_SHIFT,
    }  # fmt: skip


def test_another_kind_of_task_is_refused() -> None:
    block = replace(Setup().block(), task=struct.pack("<9H", layout.LETTERS, 2, 1, 0, 0, 0, 0, 0, 1))
    with pytest.raises(
        BoardError, match="microbit has no room for the task letters; let it learn xor, or take another"
    ):
        require_fit("a0", "microbit", block)


# ------------------------------------------------------------------------------------------------ frames


@given(data=st.binary(max_size=80), cut=st.integers(0, 80))
def test_crc32_is_zlibs_and_goes_on(engine: str, data: bytes, cut: int) -> None:
    crc32 = kernels("wire", ("crc32",), engine).crc32
    cut = min(cut, len(data))
    buf = byte_buffer(data, engine)
    first = crc32(buf, 0, cut, 0)
    assert first & 0xFFFFFFFF == zlib.crc32(data[:cut])
    assert crc32(buf, cut, len(data), first) & 0xFFFFFFFF == zlib.crc32(data)


@given(payload=st.one_of(st.binary(max_size=245), st.integers(0, 245).map(bytes)), kind=st.integers(1, 255))
def test_frames_are_coded_as_the_full_firmware_codes_them(engine: str, payload: bytes, kind: int) -> None:
    wire = kernels("wire", ("open_frame", "close_frame"), engine)
    body = len(payload) + frames.OVERHEAD
    buf = byte_buffer(b"\0" + bytes([kind, 1, 2]) + payload + bytes(5), engine)
    n = wire.close_frame(buf, body)
    assert bytes(bytearray(buf[:n])) == frames.encode(kind, 0x0201, payload)
    assert wire.open_frame(buf, n - 1) == body
    assert bytes(bytearray(buf[frames.PAYLOAD_AT : body - 3])) == payload


@given(
    segment=st.binary(min_size=1, max_size=70).map(lambda data: data.replace(b"\0", b"\1")), flip=st.integers(0, 559)
)
def test_damage_is_refused_as_the_full_firmware_refuses_it(engine: str, segment: bytes, flip: int) -> None:
    wire = kernels("wire", ("open_frame", "close_frame"), engine)
    good = bytearray(frames.encode(frames.READ, 7, struct.pack("<BI", 1, 40))[:-1])
    good[flip // 8 % len(good)] ^= 1 << flip % 8
    for damaged in (segment, bytes(good).replace(b"\0", b"\1")):
        lengths = dict.fromkeys(range(256), len(damaged) - 1)
        expected = frames.open_frame(bytearray(damaged), len(damaged), lengths)
        body = wire.open_frame(byte_buffer(damaged, engine), len(damaged))
        assert bool(body) == bool(expected)


# ------------------------------------------------------------------------------------------------ the guard


def judged(head: list[int], setup: Setup, n_mem: int) -> int:
    """Return the first word of head that the full firmware refuses; -1 if none."""
    rule = RULES.index(setup.rule)
    try:
        full_block.check_block(rule, head, n_mem, setup.layers[0], setup.layers[-1])
    except faults.Fault as fault:
        return fault.detail
    return -1


@pytest.mark.parametrize("rule", RULES)
def test_the_guard_refuses_what_the_full_firmware_refuses(engine: str, rule: str) -> None:
    check = kernels("guard", ("check_block",), engine).check_block
    rng = random.Random(5)
    setup = Setup(
        rule=rule, layers=(3, 17, 2), activations=("tanh", "identity"), amplitude=300, recurrent=(False, True)
    )
    built = setup.block()
    good, n_mem = head_words(built.head), len(built.mem) // 2
    session_words = [0] * words.SESSION_WORDS
    session_words[words.OF_RULE] = RULES.index(rule)
    session_words[words.SENSORS], session_words[words.ACTUATORS] = 3, 2
    session_words[words.HEAD_WORDS], session_words[words.MEM_WORDS] = len(good), n_mem
    s = make_buffer(struct.pack(f"<{len(session_words)}i", *session_words), "i", engine)
    refused = 0
    values = (
        -(2**31),
        -(2**28) - 1,
        -1,
        0,
        1,
        2,
        3,
        4,
        15,
        16,
        17,
        29,
        30,
        31,
        257,
        n_mem,
        16384,
        32767,
        65536,
        2**31 - 1,
    )
    rows_end = layout.LAYERS_AT + 2 * layout.LAYER_WORDS
    tried = [(at, value) for at in range(rows_end) for value in values]
    for at, value in [(0, 0), *tried]:
        head = list(good)
        head[at] = value
        if rng.random() < 0.3:
            head[rng.randrange(rows_end)] = rng.choice(values)
        # What the small firmware leaves out, the full one takes.
        known = all(head[getattr(layout, name)] == only for name, only in KNOWN.words)
        known = known and head[layout.ESTIMATOR] not in (getattr(layout, name) for name in KNOWN.never)
        judged_head = list(head)
        judged_head[layout.CODE_STEP] = judged_head[layout.WAITING] = 0  # nobody looks at them here
        judged_head[layout.ANNEAL : layout.LAYERS_AT] = good[layout.ANNEAL : layout.LAYERS_AT]
        expected = judged(judged_head, setup, n_mem) if known else 0
        got = check(make_buffer(struct.pack(f"<{len(head)}i", *head), "i", engine), s)
        assert (got >= 0) == (expected >= 0), (at, value, got, expected)
        refused += got >= 0
    assert 100 < refused < len(tried)


@pytest.mark.parametrize("word", [word for word in range(layout.TASK_DATA) if word != layout.TASK_EVALUATING])
def test_the_guard_of_tasks_refuses_what_the_full_firmware_refuses(engine: str, word: int) -> None:
    check = kernels("guard", ("check_task",), engine).check_task
    good = [layout.PATTERNS, 2, 1, 0, 3, 2, 1, 0, 4, *range(12)]
    session_words = [0] * words.SESSION_WORDS
    session_words[words.SENSORS], session_words[words.ACTUATORS], session_words[words.TASK_WORDS] = 2, 1, len(good)
    s = make_buffer(struct.pack(f"<{len(session_words)}i", *session_words), "i", engine)
    for value in (0, 1, 2, 3, 4, 5, 15, 16, 65535):
        task = list(good)
        task[word] = value
        try:
            task_check.check_task(task, 2, 1)
            expected = -1
        except faults.Fault as fault:
            expected = fault.detail
        if word == layout.TASK_KIND and value != layout.PATTERNS:
            expected = 0x10000 + word  # there is no other
        assert check(make_buffer(struct.pack("<21H", *task), "H", engine), s) == expected


# ------------------------------------------------------------------------------------------------ the session


class Session:
    """The session's kernels as board.py drives them, without a learner."""

    def __init__(self, engine: str) -> None:
        made = kernels("link", ("take", "command", "make_frame"), engine)
        self.take, self.command, self.make_frame = made.take, made.command, made.make_frame
        self.engine = engine
        self.s = make_buffer(session_image(), "i", engine)
        self.rx = byte_buffer(bytes(words.LONGEST + 1), engine)
        self.tx = byte_buffer(bytes(words.LONGEST + 1), engine)
        self.s[words.ARENA_WORD] = 1200

    def hear(self, wire: bytes) -> list[tuple[int, int, int]]:
        """Take bytes; return (action, code, detail) for each command in them."""
        s = self.s
        said = []
        data = byte_buffer(wire, self.engine)
        s[words.TAKEN], s[words.GOT] = 0, len(wire)
        while self.take(s, self.rx, data):
            action = self.command(s, self.rx)
            said.append((int(action), int(s[words.FAULT]), int(s[words.DETAIL])))
        return said

    def ask_to_open(self, rule: int) -> tuple[int, int, int]:
        """Say hello, and ask for a learner of a rule."""
        self.ask(frames.HELLO, 1, "I", frames.schema())
        return self.ask(frames.OPEN, 2, "BBHHIIII", rule, 1, 2, 1, 56, 281, 21, 2000)

    def ask(self, kind: int, seq: int, layout_: str, *fields: Any) -> tuple[int, int, int]:
        (answer,) = self.hear(frames.encode(kind, seq, struct.pack(f"<{layout_}", *fields)))
        return answer


def test_the_session_speaks_the_link(engine: str) -> None:
    session_ = Session(engine)
    assert session_.ask(frames.OPEN, 1, "BBHHIIII", 0, 1, 2, 1, 56, 281, 21, 2000)[1] == faults.SEQUENCE
    assert session_.ask(frames.HELLO, 5, "I", 1)[0] == frames.HELLO
    assert session_.ask(frames.STOP, 6, "") == (0, faults.SCHEMA, session_.s[words.OF_SCHEMA])
    assert session_.ask(frames.HELLO, 7, "I", frames.schema()) == (frames.HELLO, 0, 0)
    n = session_.make_frame(session_.s, session_.tx, words.ROW_HELLO)
    told = frames.Deframer(frames.body_lengths(False)).feed(bytes(bytearray(session_.tx[:n])))
    assert [(kind, seq) for _, kind, seq, _ in told] == [(frames.R_HELLO, 7)]
    assert struct.unpack("<IHBBII", told[0][3])[:4] == (frames.schema(), layout.ARITHMETIC_VERSION, 2, words.CHUNK)
    assert session_.ask(frames.RUN, 8, "IIHB", 0, 1, 4, 0) == (0, faults.STATE, faults.GREETED)
    assert session_.ask(frames.OPEN, 9, "BBHHIIII", 0, 1, 2, 1, 248, 281, 21, 2000) == (0, faults.NO_MEMORY, 1200)
    for field, value in ((0, 2), (1, 2), (2, 0), (2, 18), (3, 17), (4, 47), (5, 0), (6, 0), (7, 19), (7, 3600001)):
        fields = [0, 1, 2, 1, 56, 281, 21, 2000]
        fields[field] = value
        number = int(session_.s[words.NEXT_SEQ])
        assert session_.ask(frames.OPEN, number, "BBHHIIII", *fields) == (0, faults.FIELD, field)
    number = int(session_.s[words.NEXT_SEQ])
    wire = frames.encode(frames.OPEN, number, struct.pack("<BBHHIIII", 0, 1, 2, 1, 56, 281, 21, 2000))
    assert session_.hear(wire) == [(0, 0, 0)]
    assert session_.s[words.PHASE_NOW] == faults.OPENED
    assert [action for action, _, _ in session_.hear(wire)] == [words.REPEAT]
    # Bytes come in any portions; what lies between frames is counted once.
    write = frames.encode(frames.WRITE, number + 1, struct.pack("<BIB40s", 1, 0, 40, bytes(40)))
    assert [session_.hear(write[i : i + 1]) for i in range(len(write))][-1] == [(frames.WRITE, 0, 0)]
    dropped = int(session_.s[words.DROPPED])
    junk = b"\x05\x01\0" + b"\x77" * 200 + b"\0\0\0"
    assert session_.hear(junk + frames.encode(frames.STOP, number + 2, b"")) == [(0, 0, 0)]
    assert session_.s[words.DROPPED] == dropped + 2


@given(wire=st.lists(st.binary(max_size=90), max_size=8))
def test_no_bytes_whatever_leave_the_buffers(wire: list[bytes]) -> None:
    session_ = Session("cpython")
    for piece in wire:
        session_.hear(piece + b"\0" if piece else b"\0")
        assert 0 <= session_.s[words.HAVE] <= words.LONGEST
