"""Reading a run log: closed, recovered, or the partial file of a run that was killed or still goes on."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from subsong.errors import LogError
from subsong.runlog.agree import Agreement, Settled, parse_message
from subsong.runlog.codec import parse_ended, parse_event, parse_state, parse_timing
from subsong.runlog.container import (
    CLOSED,
    EVENT,
    FROM_BOARD,
    RECORDING,
    STATE,
    STEP,
    TIMING,
    TO_BOARD,
    TRIAL,
    Message,
)
from subsong.runlog.damage import name_trials
from subsong.runlog.decode import Decoder
from subsong.runlog.finish import derive
from subsong.runlog.logfile import LogFile
from subsong.runlog.records import Buffers, Disagreement, Event, Frame, RunHeader, Step, Trial
from subsong.runlog.trials import group
from subsong.timing import Timing
from subsong_sim.learner import Ended, TrialSummary


class Run:
    """One recorded run.

    A board's log says everything twice: in raw frames, each with a CRC-32, and in decoded channels. Reading trials
    decodes the frames again and holds both against each other; where they differ, the trial gets the frames' words,
    and the difference is in its `disagreements` and in `disagreements()`.

    Attributes:
        path: the log's file.
        header: what the log says of its run before the first trial.
        stage: "closed", "recovered", or "recording" for a partial file.
        lost: what a partial file lost at its end, in words; empty where nothing was.
    """

    def __init__(self, path: Path, log: LogFile) -> None:
        self.path = path
        self.header: RunHeader = log.header
        self.stage = log.stage
        self.lost = "; ".join(problem.text for problem in log.problems)
        self._log = log
        self._sparse_disagreements: list[Disagreement] = []
        self._found: list[Disagreement] | None = None

    @property
    def complete(self) -> bool:
        """True for a log that was closed; False for a partial or recovered one."""
        return self.stage == CLOSED

    @property
    def arithmetic(self) -> int:
        """Version of the arithmetic that the run used."""
        return self.header.arithmetic

    # -------------------------------------------------------------------------------------------- what was recorded

    def frames(self) -> Iterator[Frame]:
        """Yield every raw wire frame in the order of recording; none for a simulator's log."""
        index = 0
        for message in self._log.messages():
            if message.topic in {TO_BOARD, FROM_BOARD}:
                yield Frame(index, message.topic == TO_BOARD, message.data, message.t_ns)
                index += 1

    @cached_property
    def states(self) -> dict[str, Buffers]:
        """The learner's buffers by label, (head, mem); those from snapshots included.

        A state whose CRC-32 does not match is left out, and told by `disagreements()`.
        """
        return self._sparse[0]

    @cached_property
    def events(self) -> list[Event]:
        """Everything that the host noted and that the raw frames show, in order."""
        return self._sparse[1]

    @cached_property
    def timings(self) -> list[Timing]:
        """How well each trial kept its control period, in order; empty where nobody kept one (TimingTotal.of sums up).

        What cannot be read is left out, and told by `disagreements()`.
        """
        return self._sparse[2]

    @cached_property
    def _sparse(self) -> tuple[dict[str, Buffers], list[Event], list[Timing]]:
        states: dict[str, Buffers] = {}
        events: list[Event] = []
        timings: list[Timing] = []
        trial: int | None = None
        for message in self._messages():
            try:
                if message.topic == STATE:
                    state = parse_state(message.data)
                    states[state.label] = Buffers(state.head, state.mem)
                elif message.topic == EVENT:
                    events.append(parse_event(message.data))
                elif message.topic == TIMING:
                    timings.append(parse_timing(message.data))
                elif message.topic == TRIAL:
                    trial = parse_ended(message.data).summary.trial
            except ValueError as error:
                if message.topic != TRIAL:  # iter_trials tells of that
                    where = "before the first trial ends" if trial is None else f"after trial {trial}"
                    what = f"A record in channel {message.topic}, {where}, cannot be trusted: {error}."
                    self._sparse_disagreements.append(Disagreement(trial, None, what))
        return states, events, timings

    # -------------------------------------------------------------------------------------------- trials

    def iter_trials(self) -> Iterator[Trial]:
        """Yield the trials in the order of the run, incomplete ones included (`Trial.whole` tells)."""
        found: list[Disagreement] = []
        yield from group(self._settled(), self.header.source == "board", found)
        _ = self._sparse
        self._found = self._sparse_disagreements + found

    def steps(self, trial: int, evaluate: bool = False) -> list[Step]:
        """Return the steps of one trial.

        Raises:
            LogError: the log has no such trial.
        """
        for candidate in self.iter_trials():
            if candidate.number == trial and bool(candidate.evaluate) == evaluate:
                return candidate.steps
        raise LogError(f"{self.path} has no {'evaluation' if evaluate else 'trial'} with the number {trial}.")

    def summaries(self) -> list[TrialSummary]:
        """Return what end() returned for every trial, without reading the steps."""
        return [
            record.summary
            for message in self._messages()
            if message.topic == TRIAL and (record := self._ended(message))
        ]

    def _ended(self, message: Message) -> Ended | None:
        record = parse_message(message, self.header)
        return record if isinstance(record, Ended) else None

    def disagreements(self) -> list[Disagreement]:
        """Return every difference between the channels and the raw frames, and every record that cannot be trusted.

        Empty for a log that nobody altered. Reads the whole log, unless `iter_trials` has just done so to its end.
        """
        if self._found is None:
            for _ in self.iter_trials():
                pass
        return list(self._found or [])

    # -------------------------------------------------------------------------------------------- inside

    def _messages(self) -> Iterator[Message]:
        """Yield the messages, with what a partial file's frames say, which nobody has decoded yet."""
        messages = self._log.messages()
        return derive(self.header, messages) if self.stage == RECORDING else messages

    def _settled(self) -> Iterator[Settled]:
        """Yield steps and ends of trials, with what the two accounts have differently."""
        if self.header.source != "board" or self.stage == RECORDING:
            for message in self._messages():
                if message.topic in {STEP, TRIAL}:
                    record = parse_message(message, self.header)
                    unreadable = Disagreement(None, None, f"A record in channel {message.topic} cannot be read.")
                    yield Settled(record, None if record else unreadable)
            return
        agreement, decoder, index = Agreement(self.header), Decoder(self.header), 0
        for message in self._log.messages():
            if message.topic in {TO_BOARD, FROM_BOARD}:
                agreement.raw(decoder.feed(Frame(index, message.topic == TO_BOARD, message.data, message.t_ns)))
                index += 1
            else:
                agreement.logged(message)
                yield from agreement.settle()
        agreement.raw(decoder.finish())
        yield from agreement.finish()


def read_run(path: Path | str) -> Run:
    """Open a run log: NAME.mcap, or the partial file of a run that was killed or is still recorded.

    Raises:
        LogError: no such file, not a run log, of a newer format, cut (a closed log), or damaged; the message names
            the trials
            concerned where it can.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LogError(f"Cannot read the run log {path}: {error.strerror or error}.") from error
    log = LogFile(data, str(path))
    fatal = [problem for problem in log.problems if not (problem.cut and log.stage == RECORDING)]
    if fatal:
        what = "; ".join(problem.text + name_trials(log, problem) for problem in fatal)
        state = "is cut" if all(problem.cut for problem in fatal) else "is damaged"
        raise LogError(f"{path} {state}: {what}. What can be saved, `subsong recover {path}` saves.")
    return Run(path, log)
