"""The run log: one MCAP file a run, that a killed host cannot lose and any MCAP viewer plots (docs/runlog.md).

recorder.py    records while the run goes on: unchunked, NAME.mcap.partial
handover.py    hands the records to a process that waits for the disk
writer.py      is that process: writes and seals
finish.py      closes: decodes, chunks, indexes, renames to NAME.mcap
reader.py      reads either, holding the decoded channels against the raw frames
recover.py     saves what a cut or damaged log still holds
"""

from subsong.runlog.reader import Run, read_run
from subsong.runlog.recorder import Recorder
from subsong.runlog.records import Disagreement, Event, Frame, RunHeader, Step, Trial
from subsong.runlog.recover import recover
from subsong.timing import Timing, TimingTotal

__all__ = [
    "Disagreement",
    "Event",
    "Frame",
    "Recorder",
    "Run",
    "RunHeader",
    "Step",
    "Timing",
    "TimingTotal",
    "Trial",
    "read_run",
    "recover",
]
