"""The run log as a whole: what is recorded is read, other tools open it, and nothing stands where it must not."""

import json
import math
import os
import resource
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcap.exceptions import EndOfFile
from mcap.reader import make_reader
from mcap.records import Message
from mcap.stream_reader import StreamReader

from runlog_sessions import START_NS, T_NS, header, loop_session, record, record_sim, records_of, rewrite, task_session
from subsong.errors import LinkLost, LogError
from subsong.runlog import Event, Recorder, RunHeader, Step, read_run, recover
from subsong.runlog import container as container_module
from subsong.runlog import finish as finish_module
from subsong.runlog import logfile as logfile_module
from subsong_sim.learner import TrialSummary

SESSIONS = {"loop": loop_session, "task": task_session}


def close(tmp_path: Path, source: str = "loop", name: str = "run.mcap") -> Path:
    if source == "sim":
        return record_sim(tmp_path / name)[0].close()
    return record(tmp_path / name, SESSIONS[source]()).close()


# -------------------------------------------------------------------------------------------- what goes in comes out


@pytest.mark.parametrize("source", ["loop", "task"])
def test_a_boards_log_gives_back_every_step_trial_state_and_frame(tmp_path: Path, source: str) -> None:
    session = SESSIONS[source](trials=4, steps=3)
    recorder = record(tmp_path / "run.mcap", session)
    partial = read_run(recorder.partial)
    closed = read_run(recorder.close())
    for run in (partial, closed):
        assert run.header == replace(session.header(), started_ns=START_NS)
        assert records_of(run) == session.records
        assert all(trial.whole and not trial.disagreements for trial in run.iter_trials())
        assert run.states["initial"] == (b"\1\0\0\0" * 3, b"\2\0" * 4)
        assert run.states["final"].mem == b"\4\0" * 4
        frames = list(run.frames())
        assert [(frame.to_board, frame.wire) for frame in frames] == session.wire
        assert [(frame.number, frame.t_ns) for frame in frames] == [
            (i, START_NS + i * T_NS) for i in range(len(frames))
        ]
        assert run.disagreements() == []
        assert run.arithmetic == 1
        assert run.summaries() == [trial.summary for trial in run.iter_trials()]
    assert (partial.complete, closed.complete) == (False, True)
    assert not recorder.partial.exists()


def test_a_simulators_log_gives_back_every_step_trial_and_state(tmp_path: Path) -> None:
    recorder, records = record_sim(tmp_path / "sim.mcap", trials=5)
    recorder.event("note", "something happened", value=3, bad=math.nan, nested={"worse": [math.inf]})
    recorder.flush()
    partial = read_run(recorder.partial)
    closed = read_run(recorder.close())
    for run in (partial, closed):
        assert records_of(run) == records
        assert run.disagreements() == []
        assert list(run.frames()) == []
        assert set(run.states) == {"initial", "final"}
        fields = {"value": 3, "bad": "nan", "nested": {"worse": ["inf"]}}
        assert run.events == [Event("note", "something happened", fields)]
    assert closed.steps(2) == records[10:14]
    with pytest.raises(LogError, match="no trial with the number 77"):
        closed.steps(77)


def test_steps_that_are_recorded_read_back_as_plain_integers(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "sim.mcap", header("sim"))
    recorder.step(Step(0, 0, np.int64(-5), tuple(np.array([-32768, 32767], np.int16)), (np.int16(7),)))
    recorder.trial(TrialSummary(0, False, 1, -5, 0, 1, 0, 0), np.int32(3))
    assert records_of(read_run(recorder.close()))[0] == Step(0, 0, -5, (-32768, 32767), (7,))


@given(
    head=st.binary(max_size=40), mem=st.binary(max_size=40), label=st.text(max_size=9), text=st.text(max_size=20),
    fields=st.dictionaries(
        st.text("abcdefgh", min_size=1, max_size=4),
        st.none() | st.integers() | st.text(max_size=5) | st.lists(st.booleans()),
    ),
)  # fmt: skip
def test_any_state_and_event_survives_its_json(
    head: bytes, mem: bytes, label: str, text: str, fields: dict[str, object]
) -> None:
    from subsong.runlog.codec import encode_event, encode_state, parse_event, parse_state
    from subsong.runlog.records import State

    state, event = State(label, head, mem), Event("kind", text, fields)
    assert parse_state(encode_state(state)) == state
    assert parse_event(encode_event(event)) == event


def test_a_partial_file_can_be_read_while_it_grows(tmp_path: Path) -> None:
    session = loop_session(trials=2)
    recorder = Recorder(tmp_path / "run.mcap", session.header())
    for at, (to_board, wire) in enumerate(session.wire):
        recorder.frame(to_board, wire, START_NS + at)
        recorder.flush()
        assert len(list(read_run(recorder.partial).frames())) == at + 1
    recorder.close()


def test_frames_may_come_from_several_threads(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "run.mcap", header())
    wires = [bytes([way + 1]) * 9 + b"\0" for way in (0, 1)]

    def send(way: int) -> None:
        for at in range(500):
            recorder.frame(bool(way), wires[way], START_NS + at)

    threads = [threading.Thread(target=send, args=(way,)) for way in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    recorder.abort()
    run = read_run(recorder.partial)
    assert sorted(frame.wire for frame in run.frames()) == [wires[0]] * 500 + [wires[1]] * 500
    assert run.lost == ""


# -------------------------------------------------------------------------------------------- other tools


@pytest.mark.parametrize("source", ["loop", "task", "sim"])
def test_mcaps_own_reader_finds_summary_statistics_indexes_and_schemas(tmp_path: Path, source: str) -> None:
    path = close(tmp_path, source)
    with path.open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        summary = reader.get_summary()
        assert summary is not None
        assert summary.statistics is not None
        messages = list(reader.iter_messages())
        assert summary.statistics.message_count == len(messages) > 10
        assert summary.statistics.chunk_count == len(summary.chunk_indexes) >= 1
        assert all(index.message_index_offsets and index.compression == "zstd" for index in summary.chunk_indexes)
        channels = {channel.topic: channel for channel in summary.channels.values()}
        wire = {"/wire/to_board", "/wire/from_board"}
        assert set(channels) == {"/step", "/trial", "/state", "/event", "/timing"} | (
            set() if source == "sim" else wire
        )
        for _, channel, message in messages:
            schema = summary.schemas[channel.schema_id]  # PlotJuggler stops at a channel without one
            if channel.topic in wire:
                assert (channel.message_encoding, schema.encoding) == ("subsong-link", "subsong-link")
                continue
            assert (channel.message_encoding, schema.encoding) == ("json", "jsonschema")
            properties = json.loads(schema.data)["properties"]
            # Foxglove and Lichtblick cannot read an object without properties, or an array without items.
            assert all("properties" in each for each in properties.values() if each["type"] == "object")
            assert all("items" in each for each in properties.values() if each["type"] == "array")
            value = json.loads(message.data)
            assert set(value) == set(properties) == set(json.loads(schema.data)["required"])
            types = {"integer": int, "array": list, "string": str, "boolean": bool, "object": dict}
            assert all(type(value[key]) is types[properties[key]["type"]] for key in value)
        assert [attachment.name for attachment in reader.iter_attachments()] == ["experiment.toml"]
        assert [metadata.name for metadata in reader.iter_metadata()] == ["subsong.header"]
        steps = list(reader.iter_messages(topics="/step"))
        assert len(steps) == 12
    with path.open("rb") as file:
        assert sum(isinstance(record, Message) for record in StreamReader(file, validate_crcs=True).records) == len(
            messages
        )


def test_mcaps_stream_reader_reads_a_partial_file_past_its_seals(tmp_path: Path) -> None:
    recorder = record(tmp_path / "run.mcap", loop_session())
    recorder.abort()
    with recorder.partial.open("rb") as file:
        found = []

        def read_on() -> None:
            for each in StreamReader(file).records:
                found.append(each)  # noqa: PERF402 -- what comes before the exception counts

        with pytest.raises(EndOfFile):  # there is no footer yet
            read_on()
    assert sum(isinstance(record, Message) for record in found) == len(loop_session().wire) + 2


def test_decoded_records_carry_the_time_and_number_of_the_frame_that_completed_them(tmp_path: Path) -> None:
    path = close(tmp_path, "loop")
    with path.open("rb") as file:
        found = [(c.topic, m.sequence, m.log_time, m.data) for _, c, m in make_reader(file).iter_messages()]
    times = {sequence: time for topic, sequence, time, _ in found if topic == "/wire/from_board"}
    steps = [(sequence, time) for topic, sequence, time, _ in found if topic == "/step"]
    assert len(steps) == 12
    assert all(times[sequence] == time for sequence, time in steps)


@pytest.mark.parametrize("options", [{}, {"use_chunking": False}, {"chunk_size": 100}, {"enable_data_crcs": True}])
def test_a_log_that_another_tool_has_rewritten_reads_the_same(tmp_path: Path, options: dict[str, object]) -> None:
    path = close(tmp_path)
    original, copy = (
        read_run(path),
        read_run(rewrite(path, tmp_path / "copy.mcap", lambda messages: messages, **options)),
    )
    assert records_of(copy) == records_of(original)
    assert (copy.header, copy.states, copy.events) == (original.header, original.states, original.events)
    assert copy.disagreements() == []


def test_json_in_another_spelling_is_the_same_record(tmp_path: Path) -> None:
    def respell(messages: list[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
        for topic, data in messages:
            yield topic, data if topic.startswith("/wire") else json.dumps(json.loads(data), indent=1).encode()

    run = read_run(rewrite(close(tmp_path), tmp_path / "copy.mcap", respell))
    assert run.disagreements() == []
    assert records_of(run) == loop_session().records


# -------------------------------------------------------------------------------------------- the header


def test_a_newer_format_is_refused_with_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (container_module, logfile_module):
        monkeypatch.setattr(module, "FORMAT", 2)
    path = close(tmp_path)
    partial = record(tmp_path / "other.mcap", loop_session()).partial
    monkeypatch.undo()
    for each in (path, partial):
        with pytest.raises(LogError, match=r"has run log format 2, and this Subsong reads up to 1.*upgrade"):
            read_run(each)


def test_every_field_of_the_header_survives(tmp_path: Path) -> None:
    odd = RunHeader(
        source="sim", experiment_toml="a = 'é\n\"'\0", experiment_digest="d", seed=2**32 - 1, rule="node_perturbation",
        n_sensors=1, n_actuators=3, arithmetic=7, mismatch=True, plant="π\n", engine={"a": [1, {"b": None}]},
        manifest={"ü.py": "x"}, started_ns=12,
    )  # fmt: skip
    recorder = Recorder(tmp_path / "a.mcap", odd)
    assert read_run(recorder.partial).header == odd
    assert read_run(recorder.close()).header == odd


def test_files_that_are_no_logs_are_refused_by_name(tmp_path: Path) -> None:
    from mcap.writer import Writer

    foreign = tmp_path / "foreign.mcap"
    writer = Writer(str(foreign))
    writer.start()
    writer.finish()
    text = tmp_path / "text.mcap"
    text.write_text("not an MCAP file at all")
    empty = tmp_path / "empty.mcap"
    empty.touch()
    for path, what in (
        (foreign, "not written by Subsong"),
        (text, "is not an MCAP file"),
        (empty, "is cut within its first bytes"),
        (tmp_path / "absent.mcap", "No such file"),
        (tmp_path, "Is a directory"),
    ):
        for read in (read_run, recover):
            with pytest.raises(LogError, match=what) as caught:
                read(path)
            assert str(path) in str(caught.value)


# -------------------------------------------------------------------------------------------- what stands in the way


def test_neither_a_log_nor_a_partial_file_is_ever_overwritten(tmp_path: Path) -> None:
    path = close(tmp_path)
    before = path.read_bytes()
    with pytest.raises(LogError, match="exists already"):
        Recorder(path, header())
    other = record(tmp_path / "other.mcap", loop_session())
    with pytest.raises(LogError, match=r"subsong recover .*other\.mcap\.partial"):
        Recorder(tmp_path / "other.mcap", header())
    other.path.write_bytes(b"mine")
    with pytest.raises(LogError, match=r"exists already.*The run is safe in .*other\.mcap\.partial"):
        other.close()
    assert other.path.read_bytes() == b"mine"
    assert other.partial.exists()
    with pytest.raises(LogError, match="exists already"):
        recover(other.partial)
    assert path.read_bytes() == before


@pytest.mark.parametrize("where", ["missing/run.mcap", "file/run.mcap", "/proc/run.mcap"])
def test_a_folder_that_takes_no_file_is_one_clear_error(tmp_path: Path, where: str) -> None:
    if where.startswith("/proc") and sys.platform != "linux":
        where = "missing/too.mcap"
    (tmp_path / "file").touch()
    with pytest.raises(LogError, match="Is the folder there and writable"):
        Recorder(tmp_path / where, header())
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


@contextmanager
def full_disk(after: int) -> Iterator[None]:
    """Let no file grow beyond `after` bytes: the system refuses the rest of a write, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (after, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("room", [-9999, -3000, -1, 0, 1, 100, 101, 500])
def test_a_disk_that_fills_up_while_recording_ends_in_one_clear_error(tmp_path: Path, room: int) -> None:
    """`room` counts from the first message on; less, and not even the header finds room."""
    session = loop_session()
    path = tmp_path / "run.mcap"
    first = Recorder(tmp_path / "empty.mcap", session.header()).partial.stat().st_size
    with (
        full_disk(max(0, first + room)),
        pytest.raises(LogError, match=r"Cannot write the run log .*run\.mcap\.partial"),
    ):
        record(path, session).abort()
    assert not path.exists()
    partial = path.with_name("run.mcap.partial")
    assert partial.exists() == (room >= 0)  # a file without its header is not worth keeping
    if room >= 0:
        assert partial.stat().st_size == first + room
        recovered = records_of(read_run(recover(partial)))
        assert recovered == session.records[: len(recovered)]


def test_after_a_full_disk_nothing_more_is_taken(tmp_path: Path) -> None:
    session = loop_session()
    size = Recorder(tmp_path / "empty.mcap", session.header()).partial.stat().st_size
    with full_disk(size + 20):
        recorder = Recorder(tmp_path / "run.mcap", session.header())
    recorder.frame(*session.wire[0], START_NS)
    with pytest.raises(LogError, match=r"Cannot write the run log .*run\.mcap\.partial: File too large"):
        recorder.flush()
    assert recorder.partial.stat().st_size == size + 20
    for attempt in (
        lambda: recorder.frame(*session.wire[0], START_NS),
        lambda: recorder.event("a", "b"),
        recorder.close,
    ):
        with pytest.raises(LogError, match="Cannot write the run log"):
            attempt()
    assert recorder.partial.stat().st_size == size + 20
    assert not recorder.path.exists()
    assert list(read_run(recorder.partial).frames()) == []


def test_a_disk_that_fills_up_on_closing_leaves_the_partial_file_and_nothing_else(tmp_path: Path) -> None:
    session = loop_session()
    recorder = record(tmp_path / "run.mcap", session)
    with full_disk(recorder.partial.stat().st_size + 100), pytest.raises(LogError, match="The run is safe in"):
        recorder.close()
    assert [each.name for each in tmp_path.iterdir()] == ["run.mcap.partial"]
    assert records_of(read_run(recover(recorder.partial))) == session.records


# -------------------------------------------------------------------------------------------- the end of a run


def test_leaving_the_with_statement_closes_the_log(tmp_path: Path) -> None:
    with record(tmp_path / "run.mcap", loop_session()) as recorder:
        pass
    assert read_run(recorder.path).complete
    assert recorder.close() == recorder.path  # twice is harmless


@pytest.mark.parametrize("error", [LinkLost("the board fell silent"), KeyboardInterrupt()])
def test_an_exception_closes_the_log_and_is_noted_in_it(tmp_path: Path, error: BaseException) -> None:
    session = loop_session()
    with pytest.raises(type(error)), record(tmp_path / "run.mcap", session) as recorder:
        raise error
    run = read_run(recorder.path)
    assert run.complete
    assert records_of(run) == session.records
    noted = [event for event in run.events if event.kind == "error"]
    assert [event.text for event in noted] == [f"{type(error).__name__}: {error}".removesuffix(": ")]


def test_when_the_disk_is_full_too_the_first_error_is_shown_and_the_second_noted(tmp_path: Path) -> None:
    room = record(tmp_path / "other.mcap", loop_session()).partial.stat().st_size
    with full_disk(room):
        recorder = record(tmp_path / "run.mcap", loop_session())
    with pytest.raises(LinkLost, match="silent") as caught, recorder:
        raise LinkLost("the board fell silent")
    assert "Cannot write the run log" in "".join(caught.value.__notes__)
    assert records_of(read_run(recorder.partial)) == loop_session().records


def test_an_aborted_recording_is_readable_and_takes_nothing_more(tmp_path: Path) -> None:
    with record(tmp_path / "run.mcap", loop_session()) as recorder:
        assert recorder.abort() == recorder.partial
        with pytest.raises(LogError, match="is closed"):
            recorder.event("late", "too late")
    assert recorder.abort() == recorder.close() == recorder.partial
    run = read_run(recorder.partial)
    assert (run.complete, run.lost) == (False, "")
    assert not recorder.path.exists()


def test_a_file_that_somebody_else_wrote_to_is_not_closed_but_recovered(tmp_path: Path) -> None:
    recorder = record(tmp_path / "run.mcap", loop_session())
    with recorder.partial.open("r+b") as file:
        file.seek(-300, os.SEEK_END)
        file.write(b"mine")
    with pytest.raises(LogError, match="has been altered while it was recorded: damage between bytes"):
        recorder.close()
    assert not recorder.path.exists()
    assert len(list(read_run(recover(recorder.partial)).frames())) >= len(loop_session().wire) - 3


def test_a_partial_file_that_was_removed_is_one_clear_error(tmp_path: Path) -> None:
    recorder = record(tmp_path / "run.mcap", loop_session())
    recorder.partial.unlink()
    with pytest.raises(LogError, match=r"run\.mcap\.partial cannot be read \(No such file"):
        recorder.close()


def test_a_run_that_goes_on_is_not_recovered(tmp_path: Path) -> None:
    recorder = record(tmp_path / "run.mcap", loop_session())
    with pytest.raises(LogError, match="is being recorded right now"):
        recover(recorder.partial)
    recorder.abort()
    assert records_of(read_run(recover(recorder.partial))) == loop_session().records


def test_a_long_log_has_chunks_that_end_with_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finish_module, "_CHUNK_BYTES", 500)
    fractions: list[float] = []
    recorder, records = record_sim(tmp_path / "sim.mcap", trials=9, steps=5)
    path = recorder.close(fractions.append)
    with path.open("rb") as file:
        reader = make_reader(file)
        summary = reader.get_summary()
        assert summary is not None
        assert len(summary.chunk_indexes) == 10  # the states' at the end
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert records_of(read_run(path)) == records
