"""Logs that end too early: cut at any byte, or left behind by a process that was killed."""

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from mcap.exceptions import McapError
from mcap.records import Message
from mcap.stream_reader import StreamReader

from runlog_sessions import Session, loop_session, record, record_sim, records_of, task_session
from subsong.errors import LogError
from subsong.runlog import Run, read_run, recover
from subsong.runlog import finish as finish_module
from subsong_sim.learner import Ended

SESSIONS = {"loop": loop_session(2, 2), "task": task_session(2, 2)}


@pytest.fixture
def _no_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of logs are written here: they need not reach the disk."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def message_ends(data: bytes) -> list[int]:
    """Return where each message of an unchunked log ends, as mcap's own reader has it."""
    ends: list[int] = []
    stream = io.BytesIO(data)
    records = iter(StreamReader(stream).records)
    while True:
        try:
            each = next(records)
        except McapError:  # a partial file has no footer
            return ends
        if isinstance(each, Message):
            ends.append(stream.tell())


def recover_each(path: Path, cuts: Iterable[int]) -> Iterator[tuple[int, Run | LogError]]:
    """Cut a log at each offset; yield the offset and what was recovered."""
    data = path.read_bytes()
    cut, out = path.with_name("cut" + path.suffix), path.with_name("out.mcap")
    for at in cuts:
        cut.write_bytes(data[:at])
        try:
            run = read_run(recover(cut, out))
        except LogError as error:
            assert not out.exists()
            yield at, error
        else:
            yield at, run
            out.unlink()


def check_partial(recorder_path: Path, session: Session, stride: int) -> None:
    """A record is recovered exactly when all of its bytes are there."""
    data = recorder_path.read_bytes()
    initial, *ends = message_ends(data)[: 1 + len(session.wire)]
    header_ends = data.index(b"started_ns") + 4 + len(b"started_ns") + 4 + 19
    every = [8]
    while every[-1] < len(data):
        every.append(every[-1] + 9 + int.from_bytes(data[every[-1] + 1 : every[-1] + 9], "little"))
    recovered = 0
    for at, result in recover_each(recorder_path, range(0, len(data), stride)):
        frames = sum(end <= at for end in ends)
        if isinstance(result, LogError):
            assert at < header_ends + 50  # the header's own CRC is behind it
            assert "an be re" in str(result)  # nothing can be read, or recovered
            continue
        assert [frame.wire for frame in result.frames()] == [wire for _, wire in session.wire[:frames]]
        whole = [each for each, place in zip(session.records, session.places, strict=True) if place < frames]
        assert records_of(result) == whole
        assert ("initial" in result.states) == (at >= initial)
        assert result.disagreements() == []
        assert (result.complete, result.stage) == (False, "recovered")
        event = result.events[-1]
        assert (event.kind, event.fields["source"]) == ("recovered", "cut.partial")
        assert event.fields["lost_bytes"] == at - max(end for end in every if end <= at)  # what is left of a record
        recovered += 1
    assert recovered > len(data) // stride // 4


@pytest.mark.slow
@pytest.mark.usefixtures("_no_disk")
@pytest.mark.parametrize("source", ["loop", "task"])
def test_a_partial_file_cut_anywhere_gives_every_whole_record(tmp_path: Path, source: str) -> None:
    recorder = record(tmp_path / "log.mcap", SESSIONS[source])
    recorder.abort()
    check_partial(recorder.partial, SESSIONS[source], stride=3)


@pytest.mark.slow
@pytest.mark.usefixtures("_no_disk")
@pytest.mark.parametrize("source", ["loop", "task"])
def test_a_partial_file_cut_at_each_byte_gives_every_whole_record(tmp_path: Path, source: str) -> None:
    recorder = record(tmp_path / "log.mcap", SESSIONS[source])
    recorder.abort()
    check_partial(recorder.partial, SESSIONS[source], stride=1)


def chunk_ends(data: bytes) -> list[int]:
    """Return where each chunk of a closed log ends, as its own index says."""
    from mcap.reader import make_reader

    summary = make_reader(io.BytesIO(data)).get_summary()
    assert summary is not None
    return [index.chunk_start_offset + index.chunk_length for index in summary.chunk_indexes]


def check_closed(path: Path, session: Session, stride: int) -> None:
    """Every trial whose chunk is whole is recovered, and nothing that was not recorded."""
    data = path.read_bytes()
    ends = chunk_ends(data)
    trials = len([each for each in session.records if isinstance(each, Ended)])
    assert len(ends) == trials + 1  # a chunk a trial, and the final state's
    for at, result in recover_each(path, range(0, len(data), stride)):
        whole = sum(end <= at for end in ends)
        if isinstance(result, LogError):
            assert whole == 0
            continue
        assert records_of(result) == session.records[: len(records_of(result))]
        assert len([trial for trial in result.iter_trials() if trial.whole]) >= min(whole, trials)
        assert ("final" in result.states) == (whole > trials)
        assert result.events[-1].kind == "recovered"
        assert result.events[-1].fields["problems"]
        assert result.disagreements() == []


@pytest.mark.slow
@pytest.mark.usefixtures("_no_disk")
def test_a_closed_log_cut_anywhere_gives_every_trial_of_its_whole_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finish_module, "_CHUNK_BYTES", 300)
    check_closed(record(tmp_path / "log.mcap", loop_session(3, 2)).close(), loop_session(3, 2), stride=17)


@pytest.mark.slow
@pytest.mark.usefixtures("_no_disk")
def test_a_closed_log_cut_at_each_byte_gives_every_trial_of_its_whole_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finish_module, "_CHUNK_BYTES", 300)
    check_closed(record(tmp_path / "log.mcap", loop_session(2, 1)).close(), loop_session(2, 1), stride=1)


@pytest.mark.usefixtures("_no_disk")
@pytest.mark.parametrize("closed", [False, True])
def test_a_simulators_log_cut_anywhere_gives_whole_steps_in_order(tmp_path: Path, closed: bool) -> None:
    recorder, records = record_sim(tmp_path / "log.mcap", trials=3, steps=2)
    recorder.close() if closed else recorder.abort()
    path = recorder.path if closed else recorder.partial
    most = 0
    for _, result in recover_each(path, range(0, path.stat().st_size, 31)):
        if isinstance(result, Run):
            assert records_of(result) == records[: len(records_of(result))]
            most = max(most, len(records_of(result)))
    assert most == len(records)


def test_a_closed_log_that_is_cut_is_not_read_but_sent_to_recover(tmp_path: Path) -> None:
    path = record(tmp_path / "log.mcap", loop_session()).close()
    data = path.read_bytes()
    for at in (len(data) - 1, len(data) // 2, 1500):
        path.write_bytes(data[:at])
        with pytest.raises(LogError, match=r"log\.mcap is cut: .*`subsong recover .*log\.mcap`"):
            read_run(path)


def test_where_recover_writes_by_itself(tmp_path: Path) -> None:
    recorder = record(tmp_path / "a.mcap", loop_session())
    recorder.abort()
    before = recorder.partial.read_bytes()
    assert recover(recorder.partial) == tmp_path / "a.mcap"
    assert recorder.partial.read_bytes() == before  # the source stays
    assert recover(tmp_path / "a.mcap") == tmp_path / "a.mcap"  # whole: nothing to do
    cut = tmp_path / "b.mcap"
    cut.write_bytes((tmp_path / "a.mcap").read_bytes()[:-1])
    assert recover(cut) == tmp_path / "b.recovered.mcap"
    assert records_of(read_run(tmp_path / "b.recovered.mcap")) == loop_session().records
    events = [event.kind for event in read_run(tmp_path / "b.recovered.mcap").events]
    assert events == ["recovered", "link", "recovered"]  # what was said before stays said


def test_zeros_at_the_end_as_a_power_cut_leaves_them_are_a_cut(tmp_path: Path) -> None:
    recorder = record(tmp_path / "a.mcap", loop_session())
    recorder.abort()
    with recorder.partial.open("ab") as file:
        file.write(bytes(4096))
    run = read_run(recorder.partial)
    assert run.lost == "4096 bytes of a cut record at the end"
    assert records_of(read_run(recover(recorder.partial))) == loop_session().records


# ---------------------------------------------------------------------------------------- kill -9

_CHILD = """
import os, signal, sys, time
from pathlib import Path
from runlog_sessions import *
from subsong.runlog import Recorder
kind, path, stop = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])

def die():
    os.kill(os.getpid(), signal.SIGKILL)

session = loop_session(trials=40, steps=20)
if kind == "frames":        # die after so many frames
    recorder = Recorder(path, session.header())
    for at, (to_board, wire) in enumerate(session.wire):
        if at == stop:
            die()
        recorder.frame(to_board, wire, time.time_ns())
if kind == "sim":           # die after so many trials
    recorder = Recorder(path, header("sim"))
    for each in session.records:
        if isinstance(each, Step):
            recorder.step(each)
        elif each.summary.trial == stop:
            die()
        else:
            recorder.trial(each.summary, each.last_cost)
if kind == "close":         # die while the log is closed: before so many calls of the system, or between two chunks
    from subsong.runlog import finish
    finish._CHUNK_BYTES = 4096
    recorder = record(path, session)
    calls = 0
    def counted(call):
        def count(*args, **named):
            global calls
            calls += 1
            if calls > stop:
                die()
            return call(*args, **named)
        return count
    os.fsync = counted(os.fsync)
    for name in ("replace", "unlink"):
        setattr(Path, name, counted(getattr(Path, name)))
    recorder.close(counted(lambda fraction: None))
die()
"""


def killed(tmp_path: Path, kind: str, stop: int) -> Path:
    path = tmp_path / "run.mcap"
    command = [sys.executable, "-c", _CHILD, kind, str(path), str(stop)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return path


@pytest.mark.parametrize("stop", [0, 1, 500, 1600])
def test_a_killed_recording_has_lost_no_frame(tmp_path: Path, stop: int) -> None:
    path = killed(tmp_path, "frames", stop)
    session = loop_session(trials=40, steps=20)
    assert not path.exists()
    run = read_run(recover(path.with_name("run.mcap.partial")))
    assert [(frame.to_board, frame.wire) for frame in run.frames()] == session.wire[:stop]


@pytest.mark.parametrize("stop", [0, 1, 30])
def test_a_killed_simulation_has_lost_at_most_its_last_trial(tmp_path: Path, stop: int) -> None:
    path = killed(tmp_path, "sim", stop)
    run = read_run(recover(path.with_name("run.mcap.partial")))
    assert records_of(run) == loop_session(trials=40, steps=20).records[: 21 * stop]


@pytest.mark.slow
def test_a_process_killed_while_closing_has_lost_nothing_wherever_it_was(tmp_path: Path) -> None:
    session = loop_session(trials=40, steps=20)
    ways = set()
    for stop in (0, 20, 41, 42, 43, 44, 45):
        folder = tmp_path / str(stop)
        folder.mkdir()
        path = killed(folder, "close", stop)
        partial = path.with_name("run.mcap.partial")
        ways.add((path.exists(), partial.exists(), path.with_name("run.mcap.closing").exists()))
        if path.exists():
            assert read_run(path).complete
            assert records_of(read_run(path)) == session.records
        else:
            assert records_of(read_run(recover(partial))) == session.records
    # In the middle of writing; renamed, the partial file not yet removed; done.
    assert ways == {(False, True, True), (True, True, False), (True, False, False)}
