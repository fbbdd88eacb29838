"""Steps and ends, as they stand in a log, grouped into trials."""

from collections import Counter
from collections.abc import Iterable, Iterator

from subsong.runlog.agree import Settled
from subsong.runlog.records import Disagreement, Step, Trial
from subsong_sim.learner import Ended


def group(settled: Iterable[Settled], trust: bool, found: list[Disagreement]) -> Iterator[Trial]:
    """Yield trials in the order of the run.

    Args:
        settled: records and disagreements in the order of the log.
        trust: True where the trial numbers stem from frames with CRCs: holes can split trials there, and any other
            number is another trial. A simulator's log has neither holes nor a second account: its numbers are checked.
        found: takes every disagreement, those of no trial included.
    """
    current: Trial | None = None
    last: int | None = None
    nameless: list[Disagreement] = []  # between two trials: they belong to the next
    for record, note in settled:
        if record is not None:
            if current is not None and _begins_another(current, record, trust):
                yield _checked(current, trust, found)
                current = None
            if current is None:
                current = Trial(_trial(record))
                last = current.number
                _take(current, [_named(each, last) for each in nameless], found)
                nameless.clear()
            if isinstance(record, Step):
                current.steps.append(record)
            else:
                current.evaluate, current.summary, current.last_cost = record.summary.evaluate, *record
        if note is None:
            continue
        if note.trial is None and (current is None or current.summary is not None):
            nameless.append(note)
        else:
            _take(current, [_named(note, last)], found)
    found += [_named(each, last) for each in nameless]
    if current is not None:
        yield _checked(current, trust, found)


def _named(note: Disagreement, trial: int | None) -> Disagreement:
    """Return a disagreement that names its trial."""
    if note.trial is not None or trial is None:
        return note
    return Disagreement(trial, None, f"In trial {trial}: {note.text[0].lower()}{note.text[1:]}")


def _take(trial: Trial | None, notes: list[Disagreement], found: list[Disagreement]) -> None:
    found += notes
    if trial is not None:
        trial.disagreements += [note for note in notes if note.trial == trial.number]


def _trial(record: Step | Ended) -> int:
    return record.trial if isinstance(record, Step) else record.summary.trial


def _begins_another(current: Trial, record: Step | Ended, trust: bool) -> bool:
    if current.summary is not None:
        return True
    first = isinstance(record, Step) and record.step == 0
    if trust:
        return _trial(record) != current.number or (first and bool(current.steps))
    return first and _trial(record) != current.number


def _checked(trial: Trial, trust: bool, found: list[Disagreement]) -> Trial:
    """Check a simulator's trial against itself: its number, the numbers of its steps, and their count."""
    if trust:
        return trial
    numbers = Counter([step.trial for step in trial.steps])
    if trial.summary is not None:
        numbers[trial.summary.trial] += 1
    trial.number = max(numbers, key=lambda number: numbers[number])
    notes = [
        Disagreement(
            trial.number,
            at,
            f"Step {at} of trial {trial.number} is numbered as step {step.step} of trial {step.trial}.",
        )
        for at, step in enumerate(trial.steps)
        if (step.trial, step.step) != (trial.number, at)
    ]
    if trial.summary is not None and trial.summary.trial != trial.number:
        notes.append(
            Disagreement(
                trial.number, None, f"The end of trial {trial.number} is numbered as trial {trial.summary.trial}."
            )
        )
    if trial.summary is not None and trial.summary.steps != len(trial.steps):
        text = f"Trial {trial.number} ended after {trial.summary.steps} steps, and the log holds {len(trial.steps)}."
        notes.append(Disagreement(trial.number, None, text))
    trial.disagreements += notes
    found += notes
    return trial
