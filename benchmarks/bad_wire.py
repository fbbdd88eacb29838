"""Learning over a bad wire, judged against what truly passed: bench_faults.py and tests share this.

Truth is what the proxy keeps: every frame as it came, and what went on in its place. A segment (what lies between two
delimiters) that went on and is no frame that came is damage; so many must its receiver have refused, no more, no less.
"""

import random
import struct
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from subsong.block import build_block
from subsong.bridge import Bridge
from subsong.errors import BoardError, LinkError, PortError
from subsong.experiment import parse_experiment
from subsong.experiment_text import example_text
from subsong_device import frames
from subsong_hil.faulty_wire import FROM_BOARD, TO_BOARD, Faults, FaultyWire, Passage
from subsong_sim.engines import LocalLearner
from subsong_sim.learner import Learner, TrialSummary
from subsong_sim.trials import TaskTrials

TELEMETRY = (frames.T_STEP, frames.T_TRIAL, frames.T_SNAP, frames.T_DONE, frames.T_TIME)


class Truth(NamedTuple):
    """What passed in one direction.

    Attributes:
        frames: that came.
        struck: of them.
        damaged: segments that went on and are no frame that came.
        resync: the most frames in a row that nothing struck, and that the link's parser refuses in what went on: what
            was struck before took the delimiter that they begin at.
        lost: telemetry frames that did not go on whole, or only after a later one.
        rest: bytes behind the last delimiter.
    """

    frames: int
    struck: int
    damaged: int
    resync: int
    lost: int
    rest: bytes


def truth(passages: Sequence[Passage], way: str) -> Truth:
    """Return what passed in one direction."""
    mine = [p for p in passages if p.way == way]
    came = {p.true for p in mine}
    damaged = taken = 0
    news = sum(p.true[1] in TELEMETRY for p in mine) if way == FROM_BOARD else 0
    next_number = first_number(mine)
    rest = b""
    for p in mine:
        *segments, rest = (rest + p.sent).split(b"\0")
        for segment in filter(None, segments):
            wire = segment + b"\0"
            if wire not in came:
                damaged += 1
            elif way == FROM_BOARD and wire[1] in TELEMETRY and number_of(wire) >= next_number:
                taken += 1
                next_number = number_of(wire) + 1
    return Truth(
        len(mine), sum(bool(p.fault) for p in mine), damaged, refused_in_a_row(passages, way), news - taken, rest
    )


def refused_in_a_row(passages: Sequence[Passage], way: str) -> int:
    """Return Truth.resync: the parser is given all that went on, as it went."""
    deframer = frames.Deframer(frames.body_lengths(way == TO_BOARD))
    most = row = 0
    for p in passages:
        if p.true[1] == frames.OPEN:
            shape = struct.unpack_from("<HH", decoded(p.true), frames.PAYLOAD_AT + 2)
            deframer.lengths = frames.body_lengths(way == TO_BOARD, *shape)
        if p.way != way:
            continue
        read = [wire for wire, kind, *_ in deframer.feed(p.sent) if kind]
        row = 0 if p.fault or p.true in read else row + 1
        most = max(most, row)
    return most


def first_number(passages: Sequence[Passage]) -> int:
    """Return the number of the first telemetry frame that came."""
    return next((number_of(p.true) for p in passages if p.way == FROM_BOARD and p.true[1] in TELEMETRY), 0)


def number_of(wire: bytes) -> int:
    """Return the number of a telemetry frame that is whole."""
    return int(struct.unpack_from("<I", decoded(wire), frames.PAYLOAD_AT)[0])


def decoded(wire: bytes) -> bytearray:
    """Return a whole frame as it lies in a buffer, its payload at frames.PAYLOAD_AT."""
    buf = bytearray(wire[:-1])
    frames.unstuff(buf, len(buf))
    return buf


class Wires(Protocol):
    """What is between host and board; subsong_hil.proxy.Proxy is one."""

    to_board: FaultyWire
    from_board: FaultyWire


class Outcome(NamedTuple):
    """What came of learning over a bad wire.

    Attributes:
        frames: that came, both ways.
        struck: of them.
        refused: by the board and by the host, as they count.
        damaged: segments that were damage on the way to either, in truth. Equal to `refused`, or something is wrong.
        wrong: values that either side took and that are not those of a sound wire.
        resync: whole frames in a row that could not be read after what was struck, at most.
        steps_lost: steps that the host was not told of, those included that it stopped before.
        lost: telemetry frames that the host misses, by its count, and in truth.
        retries: commands sent again.
        stopped: why learning ended early; "" if it went on to the end.
    """

    frames: int = 0
    struck: int = 0
    refused: tuple[int, int] = (0, 0)
    damaged: tuple[int, int] = (0, 0)
    wrong: int = 0
    resync: int = 0
    steps_lost: int = 0
    lost: tuple[int, int] = (0, 0)
    retries: int = 0
    stopped: str = ""


class Task:
    """A task that a board learns by itself, and all that it does on a sound wire."""

    def __init__(self, steps: int) -> None:
        experiment = parse_experiment(example_text("xor"), "xor")
        self.block = build_block(experiment)
        self.steps = steps
        self.trials: list[tuple[list[Any], TrialSummary, int, tuple[bytes, bytes]]] = []
        self._seen: list[Any] = []
        learner = LocalLearner(self.block.rule, self.block.head, self.block.mem, "cpython")
        self._runs = TaskTrials(learner, self.block.task, steps, self._keep)

    def _keep(self, trial: int, step: int, cost: int, x: Sequence[int], u: Sequence[int]) -> None:
        self._seen.append((trial, step, cost, list(x), list(u)))

    def compute(self, trials: int) -> None:
        """Learn so many trials here, unless that was done."""
        for trial in range(len(self.trials), trials):
            self._seen = []
            (ended,) = self._runs.run(trial, [0], False)
            self.trials.append((self._seen, ended.summary, ended.last_cost, self._runs.state()))

    def learn(self, bridge: Bridge, trials: int, told: "Told") -> None:
        """Let a board learn so many trials."""
        self.compute(trials)
        told.steps_lost = trials * self.steps

        def on_step(trial: int, step: int, cost: int, x: Sequence[int], u: Sequence[int]) -> None:
            told.steps_lost -= 1
            told.judge((trial, step, cost, list(x), list(u)) == self.trials[trial][0][step])

        def on_trial(summary: TrialSummary, cost: int) -> None:
            told.judge((summary._replace(dropped=0), cost) == self.trials[summary.trial][1:3])

        def on_snapshot(trial: int, head: bytes, mem: bytes) -> None:
            told.judge((head, mem) == self.trials[trial][3])

        done = bridge.run_task(0, trials, self.steps, on_step=on_step, on_trial=on_trial, on_snapshot=on_snapshot)
        told.judge(done.trials == trials)
        told.judge(bridge.state() == self.trials[trials - 1][3])


class Loop:
    """A learner whose plant the host plays: sensor words and costs drawn from a seed."""

    def __init__(self, steps: int) -> None:
        self.block = build_block(parse_experiment(example_text("cartpole"), "cartpole"))
        self.steps = steps

    def play(self, learner: Learner, trials: int) -> Iterator[Any]:
        """Yield actuator words and summaries as they come."""
        draw = random.Random(5)
        for trial in range(trials):
            learner.begin(trial, trial % 5 == 4)
            cost = 0
            for _ in range(self.steps):
                x = [draw.randrange(-0x8000, 0x8000) for _ in range(self.block.n_sensors)]
                yield list(learner.act(cost, x))
                cost = draw.choice((0, 1, -1, 255, -256, 1 << 20))
            yield learner.end(cost)._replace(dropped=0)

    def learn(self, bridge: Bridge, trials: int, told: "Told") -> None:
        """Let a board learn so many trials."""
        here = LocalLearner(self.block.rule, self.block.head, self.block.mem, "cpython")
        for expected, word in zip(list(self.play(here, trials)), self.play(bridge, trials), strict=True):
            told.judge(expected == word)
        told.judge(bridge.state() == here.state())


class Told:
    """What a host was told.

    Attributes:
        wrong: values that are not those of a sound wire.
        steps_lost: steps that it was not told of.
    """

    def __init__(self) -> None:
        self.wrong = self.steps_lost = 0

    def judge(self, true: bool) -> None:
        """Count a value that is not true."""
        self.wrong += not true


def learn_over(
    wires: Wires, passages: list[Passage], bridge: Bridge, what: Task | Loop, trials: int, faults: Faults
) -> Outcome:
    """Learn over a bad wire, and judge.

    Args:
        wires: sound, and so again afterwards.
        passages: what the wires tell of every frame.
        bridge: that said hello.
        what: to learn.
        trials: how many.
        faults: of the wire, while the learner is opened and learns.
    """
    counters = bridge.counters
    bridge.settle()
    by_board, by_host = counters.refused_by_board, counters.damaged
    lost, retries = counters.lost, counters.retries
    passages.clear()
    told = Told()
    stopped = ""
    try:
        wires.to_board.faults = wires.from_board.faults = faults
        bridge.open(what.block, deadman_ms=60_000)
        what.learn(bridge, trials, told)
    except (LinkError, PortError, BoardError) as error:
        stopped = str(error)
    finally:
        wires.to_board.faults = wires.from_board.faults = Faults()
    if not stopped:
        bridge.settle()
    to_board, from_board = truth(passages, TO_BOARD), truth(passages, FROM_BOARD)
    return Outcome(
        frames=to_board.frames + from_board.frames,
        struck=to_board.struck + from_board.struck,
        refused=(counters.refused_by_board - by_board, counters.damaged - by_host),
        damaged=(to_board.damaged, from_board.damaged),
        wrong=told.wrong,
        resync=max(to_board.resync, from_board.resync),
        steps_lost=told.steps_lost,
        lost=(counters.lost - lost, from_board.lost),
        retries=counters.retries - retries,
        stopped=stopped,
    )


def added(a: Outcome, b: Outcome) -> Outcome:
    """Return what came of two runs together."""
    return Outcome(
        frames=a.frames + b.frames,
        struck=a.struck + b.struck,
        refused=(a.refused[0] + b.refused[0], a.refused[1] + b.refused[1]),
        damaged=(a.damaged[0] + b.damaged[0], a.damaged[1] + b.damaged[1]),
        wrong=a.wrong + b.wrong,
        resync=max(a.resync, b.resync),
        steps_lost=a.steps_lost + b.steps_lost,
        lost=(a.lost[0] + b.lost[0], a.lost[1] + b.lost[1]),
        retries=a.retries + b.retries,
        stopped=a.stopped or b.stopped,
    )
