"""Which trials a damaged stretch of a log belongs to."""

from collections.abc import Iterator

from subsong.runlog.agree import parse_message
from subsong.runlog.container import FROM_BOARD, STEP, TO_BOARD, TRIAL
from subsong.runlog.formats import Formats
from subsong.runlog.logfile import Block, LogFile, Problem
from subsong.runlog.records import Step
from subsong_sim.learner import Ended


def name_trials(log: LogFile, problem: Problem) -> str:
    """Return " (within trials 3 to 5)": the trials of the sound records around a problem, or of what is left in it.

    Empty where no trial can be concerned, or none is known.
    """
    if problem.harmless:
        return ": no recorded message is concerned"
    before: int | None = None
    after: int | None = None
    for block in log.blocks:
        if block.sound and block.end <= problem.start:
            *_, before = before, *_trials(log, block)
        elif block.sound and block.start >= problem.end and after is None:
            after = next(_trials(log, block), None)
    if before is None and after is None:
        inside = [trial for block in log.blocks if block.start >= problem.start for trial in _trials(log, block)]
        return f" (within trials {inside[0]} to {inside[-1]})" if inside else ""
    since = "from the beginning" if before is None else f"within trials {before}"
    until = "the end" if after is None else f"{after}"
    return f" ({since} to {'trial ' if before is None else ''}{until})"


def _trials(log: LogFile, block: Block) -> Iterator[int]:
    """Yield the trial numbers that a block's readable records mention, in order."""
    formats = Formats(log.header.n_sensors, log.header.n_actuators)
    for message in log.block_messages(block):
        trial: int | None = None
        if message.topic in {TO_BOARD, FROM_BOARD}:
            trial = formats.trial_of(message.data, message.topic == TO_BOARD)
        elif message.topic in {STEP, TRIAL}:
            match parse_message(message, log.header):
                case Step(trial=number) | Ended(summary=(number, *_)):
                    trial = number
        if trial is not None:
            yield trial
