"""No block that SEAL accepts makes a kernel leave its buffers: machine code would not ask, and nobody would see it.

Blocks as the host builds them are altered at random and at the edges; those that the board's check lets through are
played by kernels that watch every access (guarded_kernels.py).
"""

import random
from collections import Counter
from functools import cache
from typing import Any

import pytest

from cases import RULES, Setup, head_words, mem_words, suited
from guarded_kernels import OutOfBounds, Words, guarded_learner, guarded_tasks, play, play_task, wrapped
from subsong.block import Block
from subsong.errors import ExperimentError
from subsong.rules import BY_NAME
from subsong_device import block as board_block
from subsong_device import layout, task_check
from subsong_device.faults import Fault
from test_tasks import setup_block, short_song

OFFSETS = ("SIGNS_AT", "TABLE_AT", "ELIGIBILITY_AT", "UNITS_AT", "SYNAPSES_AT")
EDGES = (-(2**31), -1, 0, 1, 2, 15, 16, 17, 31, 32, 255, 257, 32767, 32768, 65535, 2**29, 2**30, 2**31 - 1)
SHAPES = ((1, 1), (2, 3, 1), (3, 17, 2), (1, 2, 2))


@cache
def built(rule: str) -> list[Block]:
    """Return the blocks to alter: each estimator, several shapes, with and without recurrent layers and a tanh."""
    setups = [
        Setup(rule, estimator, shape, (kind,) * (len(shape) - 1), 8, recurrent=(again,) * (len(shape) - 1), **more)
        for estimator in BY_NAME[rule].estimators
        for shape in SHAPES
        for again in (False, True)
        for kind, more in (("tanh", {"spread_shift": 3} if BY_NAME[rule].rated else {}), ("identity", {}))
    ]
    blocks = []
    for setup in setups:
        try:
            blocks.append(suited(setup).block())
        except ExperimentError:  # a shape that this rule has no use for
            continue
    return blocks


@cache
def learner(rule: str) -> Any:
    return guarded_learner(rule)


def accepted(block: Block, head: list[int], mem: list[int]) -> bool:
    """Whether the board's check lets a block through."""
    try:
        board_block.check_block(RULES.index(block.rule), head, len(mem), block.n_sensors, block.n_actuators)
    except Fault:
        return False
    return True


def play_block(block: Block, head: list[int], mem: list[int], draw: random.Random) -> None:
    x, u = Words("H", [0] * block.n_sensors), Words("H", [0] * block.n_actuators)
    play(learner(block.rule), Words("i", head), Words("H", mem), x, u, draw)


def altered(block: Block, draw: random.Random) -> tuple[list[int], list[int]]:
    """Return head and mem with some words drawn anew, and perhaps cut short."""
    head, mem = head_words(block.head), mem_words(block.mem)
    rows = layout.LAYERS_AT + layout.LAYER_WORDS * head[layout.N_LAYERS]
    for _ in range(draw.choice((1, 1, 2, 3, 6))):
        at = draw.randrange(rows if draw.random() < 0.95 else len(head))
        near = head[at] + draw.choice((-1, 1)), draw.randrange(len(mem) + 300) - 20, draw.choice(head[:rows])
        head[at] = wrapped(draw.choice((*near, draw.choice(EDGES), draw.getrandbits(32))))
    for _ in range(draw.choice((0, 3, 30))):
        mem[draw.randrange(len(mem))] = draw.choice((0, 1, 0x7FFF, 0x8000, 0xFFFF))
    if draw.random() < 0.2:
        del mem[max(1, len(mem) - draw.choice((1, 2, 257))) :]
    return head, mem


def search(rule: str, blocks: int, seed: int) -> Counter[str]:
    """Alter blocks and play those that are accepted; return how many there were, and how many were not."""
    draw = random.Random(seed)
    told: Counter[str] = Counter()
    for _ in range(blocks):
        block = draw.choice(built(rule))
        head, mem = altered(block, draw)
        told[f"accepted {accepted(block, head, mem)}"] += 1
        if accepted(block, head, mem):
            play_block(block, head, mem, draw)
    return told


@pytest.mark.parametrize("rule", RULES)
def test_no_accepted_block_leaves_its_buffers(rule: str) -> None:
    told = search(rule, 200, 7)
    assert told["accepted True"] > 10
    assert told["accepted False"] > 10


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
def test_every_region_may_lie_at_the_very_end_of_its_buffer(rule: str) -> None:
    """Each offset in turn at the highest and at the lowest value that is accepted, however they overlap."""
    draw = random.Random(1)
    for block in built(rule)[::3]:
        for name in OFFSETS:
            at = getattr(layout, name)
            head, mem = head_words(block.head), mem_words(block.mem)
            most = len(head) if name == "ELIGIBILITY_AT" else len(mem)
            for values in (range(most, -2, -1), range(-1, most)):
                for head[at] in values:
                    if accepted(block, head, mem):
                        play_block(block, list(head), list(mem), draw)
                        break
                else:
                    pytest.fail(f"{name}: no value of it is accepted")


UNCHECKED = [
    ("node_perturbation", layout.SIGNS_AT), ("activity_difference", layout.TABLE_AT),
    ("reinforce", layout.ELIGIBILITY_AT), ("conductance_perturbation", layout.UNITS_AT),
    ("hedonistic_synapse", layout.SYNAPSES_AT), ("weight_perturbation", layout.RATE_SHIFT),
    ("node_perturbation", layout.N_WEIGHTS), ("weight_perturbation", layout.SPREAD_SHIFT),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "word"), UNCHECKED)
def test_the_search_finds_a_word_that_nobody_checks(monkeypatch: pytest.MonkeyPatch, rule: str, word: int) -> None:
    need = board_block._need
    monkeypatch.setattr(board_block, "_need", lambda condition, at: at == word or need(condition, at))
    with pytest.raises(OutOfBounds):
        search(rule, 3000, 7)


# ------------------------------------------------------------------------------------------------- tasks

TASK_SETUPS = ("xor", "teacher", "letters", "extended", "lqr", "match", "sequence", "song")


@cache
def task_kernels() -> Any:
    return guarded_tasks()


def task_words(setup: str) -> list[int]:
    words = short_song(3, 2, 1, 0) if setup == "song" else setup_block(setup)
    return mem_words(words)


def search_tasks(setup: str, blocks: int, seed: int) -> Counter[str]:
    """As `search`, for the blocks of a task."""
    draw = random.Random(seed)
    told: Counter[str] = Counter()
    original = task_words(setup)
    for _ in range(blocks):
        task = list(original)
        for _ in range(draw.choice((1, 1, 2, 4))):
            at = draw.randrange(min(len(task), 32))
            task[at] = (
                draw.choice((draw.choice(EDGES), task[at] + draw.choice((-1, 1)), draw.choice(original))) & 0xFFFF
            )
        if draw.random() < 0.2:
            del task[max(1, len(task) - draw.choice((1, 2, 9))) :]
        n, m = draw.choice(((original[1], original[2]), (task[1] % 506, task[2] % 506)))
        try:
            task_check.check_task(task, n, m)
        except Fault:
            told["refused"] += 1
            continue
        told["accepted"] += 1
        head = Words("i", [0] * layout.LAYERS_AT)
        play_task(task_kernels(), head, Words("H", task), Words("H", [0] * n), Words("H", [0] * m), draw)
    return told


@pytest.mark.parametrize("setup", TASK_SETUPS)
def test_no_accepted_task_leaves_its_buffers(setup: str) -> None:
    told = search_tasks(setup, 300, 7)
    assert told["accepted"] > 10
    assert told["refused"] > 10


@pytest.mark.parametrize(
    ("setup", "word"),
    [
        ("sequence", layout.TASK_COUNT),
        ("song", layout.TASK_COUNT),
        ("xor", layout.TASK_NEXT),
    ],
)
def test_the_search_finds_a_word_of_a_task_that_nobody_checks(
    monkeypatch: pytest.MonkeyPatch, setup: str, word: int
) -> None:
    need = task_check._need
    monkeypatch.setattr(task_check, "_need", lambda condition, at: at == word or need(condition, at))
    with pytest.raises(OutOfBounds):
        search_tasks(setup, 3000, 7)
