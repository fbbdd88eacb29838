"""Raw link frames to steps, trials, states and events.

Two conversations are understood. With the plant in the loop, STEP and ACT, END and TRIAL belong together by their
sequence number; a repeated command is one step, whatever was lost in between. With a task on the board, telemetry is
numbered: a missing number is a hole, and a snapshot (T_SNAP) becomes a state.

Damaged frames are counted and never interpreted. Each is reported as an event that names the trial it belongs to, so
that a frame damaged *in the log* differs from what was found when the log was closed.
"""

from dataclasses import asdict, dataclass
from typing import Any

from subsong.runlog.formats import NAME, REPLY, TELEMETRY, Formats, Parsed
from subsong.runlog.records import Event, Frame, Record, RunHeader, Step
from subsong.runlog.telemetry import Telemetry
from subsong.timing import Timing
from subsong_device import frames
from subsong_sim.learner import Ended, TrialSummary


@dataclass(slots=True)
class Counts:
    """What the wire did, counted over a log.

    Attributes:
        to_board: frames from host to board, repeated and damaged ones included.
        from_board: frames from board to host, likewise.
        damaged: frames whose COBS, CRC-32, type or length is wrong.
        repeated: commands that the host sent again.
        late: replies that answer no open command.
        missing: telemetry frames that never came.
    """

    to_board: int = 0
    from_board: int = 0
    damaged: int = 0
    repeated: int = 0
    late: int = 0
    missing: int = 0


class Decoder:
    """A state machine over a log's raw frames, in the order in which they were recorded.

    Attributes:
        counts: what was seen so far.
    """

    def __init__(self, header: RunHeader) -> None:
        self.counts = Counts()
        self._format = Formats(header.n_sensors, header.n_actuators)
        self._telemetry = Telemetry()
        self._sent: Parsed | None = None  # the last command
        self._answered = True
        self._command: tuple[Any, ...] = ()  # its fields
        self._trial: int | None = None  # the trial last heard of
        self._open = False  # it has begun and not ended
        self._steps = 0  # of the open trial
        self._nameless: list[Frame] = []  # damaged between trials: they belong to the next

    def feed(self, frame: Frame) -> list[Record]:
        """Take the next frame; return what it completes."""
        out: list[Record] = []
        parsed = self._format.parse(frame.wire, frame.to_board)
        if frame.to_board:
            self.counts.to_board += 1
        else:
            self.counts.from_board += 1
        if parsed is None:
            self.counts.damaged += 1
            if self._open:
                out.append(_damaged(frame, self._trial))
            else:
                self._nameless.append(frame)
        elif frame.to_board:
            self._take_command(parsed, out)
        elif parsed[0] in TELEMETRY:
            self._take_telemetry(parsed[0], parsed[2], out)
        else:
            self._take_reply(parsed, out)
        return out

    def finish(self) -> list[Record]:
        """Return what the end of the log says: an unfinished trial, and the counts as an event of kind "link"."""
        out: list[Record] = []
        self._leave_trial(out)
        out += [_damaged(frame, self._trial) for frame in self._nameless]
        out += self._telemetry.finish()
        seen = self.counts
        seen.missing = self._telemetry.missing
        text = (
            f"{seen.to_board} frames to the board, {seen.from_board} from it: {seen.damaged} damaged, {seen.repeated}"
            f" commands repeated, {seen.late} replies late, {seen.missing} telemetry frames missing."
        )
        out.append(Event("link", text, asdict(seen), derived=True))
        return out

    # -------------------------------------------------------------------------------------------- trials

    def _enter_trial(self, trial: int, out: list[Record]) -> None:
        if self._open and trial == self._trial:
            return
        self._leave_trial(out)
        self._trial, self._open, self._steps = trial, True, 0
        if self._nameless:
            out += [_damaged(frame, trial) for frame in self._nameless]
            self._nameless.clear()

    def _leave_trial(self, out: list[Record]) -> None:
        """Close a trial that never ended: a fault, a lost board, a hole in the telemetry."""
        if self._open and self._steps:
            text = f"Trial {self._trial} has {self._steps} steps and no end."
            out.append(Event("unfinished", text, {"trial": self._trial, "steps": self._steps}, derived=True))
        self._open = False

    # -------------------------------------------------------------------------------------------- plant in the loop

    def _take_command(self, parsed: Parsed, out: list[Record]) -> None:
        if parsed[0] == frames.ASK:  # a question changes nothing, and is in no order with commands
            return
        if parsed == self._sent:
            self.counts.repeated += 1
            return
        self._sent, self._answered = parsed, False
        kind, _, payload = parsed
        command = self._command = self._format.unpack(kind, payload)
        if kind in {frames.STEP, frames.END}:
            self._enter_trial(command[0], out)
        elif kind == frames.BEGIN:
            self._leave_trial(out)
            self._enter_trial(command[0], out)
        elif kind in {frames.OPEN, frames.RUN}:
            self._leave_trial(out)
            self._telemetry.command(kind, command)

    def _take_reply(self, parsed: Parsed, out: list[Record]) -> None:
        kind, seq, payload = parsed
        if kind == frames.STATUS:
            return
        fields_ = self._format.unpack(kind, payload)
        sent, sent_seq = self._sent[:2] if self._sent else (0, 0)
        if self._answered or sent_seq != seq or kind not in {REPLY.get(sent), frames.ACK}:
            if kind == frames.ACK and fields_[0]:
                out.append(self._fault("The board reported", fields_))
            elif kind != frames.R_HELLO:  # the board's own greeting answers nothing
                self.counts.late += 1
            return
        self._answered = True
        command = self._command
        if kind == frames.ACT and fields_[:2] == command[:2]:
            trial, step, cost, *x = command
            self._steps += 1
            out.append(Step(trial, step, cost, tuple(x), fields_[2:]))
        elif kind == frames.TRIAL and fields_[0] == command[0]:
            out.append(Ended(TrialSummary(fields_[0], bool(fields_[1]), *fields_[2:]), command[1]))
            self._open = False
        elif kind in {frames.ACT, frames.TRIAL}:
            text = f"The board answered {NAME[sent]} of trial {command[0]} with the numbers of another trial or step."
            out.append(Event("fault", text, {"trial": command[0]}, derived=True))
        elif kind == frames.ACK and fields_[0]:
            out.append(self._fault(f"The board refused {NAME[sent]} with", fields_))

    def _fault(self, what: str, fields_: tuple[Any, ...]) -> Event:
        code, detail = fields_
        where = {"trial": self._trial, "code": code, "detail": detail}
        return Event("fault", f"{what} fault {code} (detail {detail}).", where, derived=True)

    # -------------------------------------------------------------------------------------------- a task on the board

    def _take_telemetry(self, kind: int, payload: bytes, out: list[Record]) -> None:
        values = self._format.unpack(kind, payload)
        out += self._telemetry.number(values[0], self._trial, values[1] if kind != frames.T_DONE else None)
        if kind == frames.T_STEP:
            _, trial, step, cost, *words = values
            self._enter_trial(trial, out)
            self._steps += 1
            split = self._format.n_sensors
            out.append(Step(trial, step, cost, tuple(words[:split]), tuple(words[split:])))
        elif kind == frames.T_TRIAL:
            _, trial, evaluate, *rest, last_cost = values
            self._enter_trial(trial, out)
            out.append(Ended(TrialSummary(trial, bool(evaluate), *rest), last_cost))
            self._open = False
        elif kind == frames.T_SNAP:
            out += self._telemetry.snapshot(*values[1:])
        elif kind == frames.T_TIME:
            out.append(Timing(values[1], "board", *values[2:]))
        else:
            self._leave_trial(out)
            self._telemetry.done = True


def _damaged(frame: Frame, trial: int | None) -> Event:
    where = "outside of any trial" if trial is None else f"in trial {trial}"
    way = "to" if frame.to_board else "from"
    text = f"Frame {frame.number}, {way} the board, {where}: COBS, CRC-32 or length is wrong."
    return Event("damaged", text, {"trial": trial, "frame": frame.number, "to_board": frame.to_board}, derived=True)
