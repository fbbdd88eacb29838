"""Raw frames to steps and trials: retries, damage, refusals, holes and snapshots."""

import struct
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runlog_sessions import Session, flip, header, loop_session, task_session
from subsong.runlog.decode import Counts, Decoder
from subsong.runlog.formats import Formats
from subsong.runlog.records import Event, Frame, Record, State, Step
from subsong_device import frames
from subsong_sim.learner import Ended

Wire = Sequence[tuple[bool, bytes]]


def decode(wire: Wire, session: Session) -> tuple[list[Record], Counts]:
    decoder = Decoder(session.header())
    records: list[Record] = []
    for number, (to_board, data) in enumerate(wire):
        records += decoder.feed(Frame(number, to_board, data, number))
    records += decoder.finish()
    assert isinstance(records[-1], Event)
    assert records.pop().kind == "link"
    return records, decoder.counts


def trials(records: Sequence[Record]) -> list[Record]:
    return [record for record in records if isinstance(record, Step | Ended)]


def events(records: Sequence[Record], kind: str) -> list[Event]:
    return [record for record in records if isinstance(record, Event) and record.kind == kind]


# -------------------------------------------------------------------------------------------- plant in the loop


@pytest.mark.parametrize("first_seq", [0, 65530])
def test_commands_and_replies_become_steps_and_ends(first_seq: int) -> None:
    session = loop_session(trials=3, steps=4, first_seq=first_seq)  # with 65530, the sequence number wraps
    records, counts = decode(session.wire, session)
    assert records == session.records
    assert counts == Counts(to_board=19, from_board=20)


@given(st.data())
def test_retries_are_one_step_whatever_was_lost_damaged_or_came_twice(data: st.DataObject) -> None:
    """Each exchange may need several attempts, and replies may come twice or late."""
    session = loop_session(trials=2, steps=3)
    wire: list[tuple[bool, bytes]] = [session.wire[0]]
    pairs = [(session.wire[i], session.wire[i + 1]) for i in range(1, len(session.wire), 2)]
    damaged = repeated = late = 0
    stale: tuple[bool, bytes] | None = None
    for command, reply in pairs:
        for _ in range(data.draw(st.integers(0, 2), label="failed attempts")):
            wire.append(command)
            repeated += 1
            if data.draw(st.booleans(), label="reply damaged"):
                wire.append((False, flip(reply[1], data.draw(st.integers(0, 8 * len(reply[1]) - 9)))))
                damaged += 1
            elif stale is not None and data.draw(st.booleans(), label="an old reply comes late"):
                wire.append(stale)
                late += 1
        wire += [command, reply]
        for _ in range(data.draw(st.integers(0, 2), label="the reply comes again")):
            wire.append(reply)
            late += 1
        if data.draw(st.booleans(), label="and the command, although it was answered"):
            wire += [command, reply]
            repeated += 1
            late += 1
        stale = reply
    records, counts = decode(wire, session)
    assert trials(records) == session.records
    assert (counts.damaged, counts.repeated, counts.late) == (damaged, repeated, late)
    assert len(events(records, "damaged")) == damaged


def test_a_damaged_frame_names_its_trial_or_the_next() -> None:
    session = loop_session(trials=2, steps=2)
    #  0 HELLO; 1 OPEN, ACK; 3 BEGIN 0, ACK; 5 STEP, ACT; 7 STEP, ACT; 9 END, TRIAL; 11 BEGIN 1, ACK; ...
    for number, trial in ((0, 0), (2, 0), (3, 0), (4, 0), (5, 0), (8, 0), (9, 0), (10, 0), (11, 1), (12, 1), (18, 1)):
        wire = list(session.wire)
        wire[number] = (wire[number][0], flip(wire[number][1], 20))
        records, counts = decode(wire, session)
        assert counts.damaged == 1
        found = events(records, "damaged")
        assert [(event.fields["trial"], event.fields["frame"]) for event in found] == [(trial, number)]
        assert f"in trial {trial}" in found[0].text
    records, _ = decode([(False, b"\x01\x02\x00")], session)
    assert events(records, "damaged")[0].fields["trial"] is None


def test_an_unfinished_trial_is_told_and_its_steps_are_kept() -> None:
    session = Session().open()
    session.ask(frames.BEGIN, 0, 0)
    session.send(False, frames.ACK, 0, 0)
    for at in range(3):
        session.step(0, at)
    session.trial(1, 2)
    session.ask(frames.BEGIN, 2, 0)
    session.send(False, frames.ACK, 0, 0)
    session.step(2, 0)
    records, _ = decode(session.wire, session)
    assert trials(records) == session.records
    assert [(event.fields["trial"], event.fields["steps"]) for event in events(records, "unfinished")] == [
        (0, 3),
        (2, 1),
    ]


def test_a_trial_that_begins_again_under_its_number_ends_the_first() -> None:
    session = Session().open()
    for _ in range(2):
        session.ask(frames.BEGIN, 5, 0)
        session.send(False, frames.ACK, 0, 0)
        session.step(5, 0)
    records, _ = decode(session.wire, session)
    assert [event.fields["trial"] for event in events(records, "unfinished")] == [5, 5]


def test_a_fault_of_the_board_is_an_event_with_its_number() -> None:
    session = loop_session(trials=1)
    session.ask(frames.STEP, 0, 9, 0, 1, 2)
    session.send(False, frames.ACK, 3, 77)
    session.send(False, frames.ACK, 10, 2000)  # the dead man's, asked for by nobody
    records, counts = decode(session.wire, session)
    assert trials(records) == session.records
    assert [(event.fields["code"], event.fields["detail"]) for event in events(records, "fault")] == [
        (3, 77),
        (10, 2000),
    ]
    assert "refused STEP" in events(records, "fault")[0].text
    assert counts.late == 0


def test_a_reply_with_the_numbers_of_another_step_is_no_step() -> None:
    session = loop_session(trials=1, steps=1)
    session.ask(frames.STEP, 3, 4, 0, 1, 2)
    session.send(False, frames.ACT, 3, 5, 0)
    session.ask(frames.END, 3, 0)
    session.send(False, frames.TRIAL, 2, 0, 1, 0, 0, 0, 0, 0)
    records, _ = decode(session.wire, session)
    assert trials(records) == session.records
    assert [event.fields["trial"] for event in events(records, "fault")] == [3, 3]


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=60)), max_size=30))
def test_no_bytes_whatever_raise(wire: list[tuple[bool, bytes]]) -> None:
    session = loop_session(trials=1)
    wire = [*session.wire[:8], *wire, *session.wire[8:]]
    assert trials(decode(wire, session)[0]) == session.records


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=20),
    st.sampled_from([loop_session, task_session]),
)
def test_no_order_of_good_frames_raises(swaps: list[tuple[int, int]], make) -> None:  # type: ignore[no-untyped-def]
    session = make(trials=3)
    wire = list(session.wire)
    for i, j in swaps:
        one, other = i % len(wire), j % len(wire)
        wire[one], wire[other] = wire[other], wire[one]
    decode(wire, session)


@pytest.mark.parametrize("chunk", [frames.MIN_CHUNK, 40, frames.CHUNK])
def test_a_board_with_smaller_chunks_is_read_as_its_hello_says(chunk: int) -> None:
    session = Session(chunk=chunk).open(frames.TASK, head=32, mem=50).run(0, 1, 1).task_trial(0, 1)
    session.snapshot(0, bytes(range(128)), bytes(range(100))).done(1)
    records, counts = decode(session.wire, session)
    assert [each for each in records if isinstance(each, State)] == [
        State("trial-000000", bytes(range(128)), bytes(range(100)), derived=True)
    ]
    assert counts.damaged == 0


@pytest.mark.parametrize("chunk", [0, frames.MIN_CHUNK - 1, frames.CHUNK + 1])
def test_a_chunk_out_of_range_changes_nothing(chunk: int) -> None:
    formats = Formats(2, 1)
    hello = Session(chunk=chunk).open().wire[0][1]
    assert formats.parse(hello, to_board=False) is not None
    region = frames.encode(frames.DATA, 1, bytes(6 + frames.CHUNK))
    assert formats.parse(region, to_board=False) is not None


def test_every_single_flipped_bit_of_every_frame_is_damage() -> None:
    session = loop_session(trials=2, steps=2)
    session.run(0, 1, 1).task_trial(0, 1).snapshot(0, bytes(range(130)), b"").done(1)
    formats = Formats(session.n_sensors, session.n_actuators)
    for to_board, wire in session.wire:
        whole = formats.parse(wire, to_board)
        assert whole is not None
        for bit in range(8 * (len(wire) - 1)):
            assert formats.parse(flip(wire, bit), to_board) is None


# -------------------------------------------------------------------------------------------- a task on the board


def test_telemetry_becomes_steps_and_ends() -> None:
    session = task_session(trials=3, steps=4)
    records, counts = decode(session.wire, session)
    assert records == session.records
    assert counts == Counts(to_board=2, from_board=3 + 15 + 1)


@given(st.sets(st.integers(0, 19), min_size=1, max_size=12))
def test_every_missing_telemetry_frame_is_told_with_its_number(gone: set[int]) -> None:
    session = task_session(trials=4, steps=4)  # telemetry 0..19, then T_DONE
    first = next(i for i, (to_board, _) in enumerate(session.wire) if i > 2 and not to_board) + 1
    wire = [frame for i, frame in enumerate(session.wire) if i - first not in gone]
    records, counts = decode(wire, session)
    told = {n for event in events(records, "hole") for n in range(event.fields["first"], event.fields["last"] + 1)}
    assert told == gone
    assert counts.missing == len(gone)
    assert trials(records) == [record for i, record in enumerate(session.records) if i not in gone]


def test_a_hole_names_the_trials_around_it() -> None:
    session = task_session(trials=3, steps=2)
    wire = session.wire[:7] + session.wire[10:]  # trial 0 lacks its end, trial 1 its steps
    records, _ = decode(wire, session)
    (hole,) = events(records, "hole")
    assert hole.fields == {"first": 2, "last": 4, "missing": 3, "trial": 0, "next_trial": 1}
    assert (
        hole.text
        == "Telemetry frames 2 to 4 are missing, after trial 0 was last heard of and before a frame of trial 1."
    )


@pytest.mark.parametrize(("n_head", "n_mem"), [(1, 0), (3, 4), (32, 64), (33, 65), (200, 700)])
def test_a_snapshot_becomes_the_state_of_its_trial(n_head: int, n_mem: int) -> None:
    session = Session().open(frames.TASK, n_head, n_mem).run(0, 2, 1).task_trial(0, 1)
    head, mem = session.random.randbytes(4 * n_head), session.random.randbytes(2 * n_mem)
    session.snapshot(0, head, mem).task_trial(1, 1).done(2)
    records, counts = decode(session.wire, session)
    assert [record for record in records if isinstance(record, State)] == [
        State("trial-000000", head, mem, derived=True)
    ]
    assert trials(records) == session.records
    assert counts.missing == 0


def test_a_snapshot_with_a_part_missing_is_told_and_the_next_one_counts() -> None:
    session = Session().open(frames.TASK, 40, 4).run(0, 2, 1).task_trial(0, 1)
    at = len(session.wire)
    session.snapshot(0, bytes(160), bytes(8)).task_trial(1, 1).snapshot(1, bytes(160), bytes(8)).done(2)
    del session.wire[at + 1]
    records, _ = decode(session.wire, session)
    assert [record.label for record in records if isinstance(record, State)] == ["trial-000001"]
    assert [event.fields["trial"] for event in events(records, "snapshot")] == [0]


def test_telemetry_without_its_last_frame_is_told() -> None:
    session = task_session()
    records, _ = decode(session.wire[:-1], session)
    assert "T_DONE" in events(records, "telemetry")[0].text


def test_a_second_session_in_one_log_counts_from_zero_again() -> None:
    session = task_session(trials=2)
    session.number = 0
    session.open(frames.TASK, seq=session.seq).run(2, 1, 2).task_trial(2, 2).done(1)
    records, counts = decode(session.wire, session)
    assert records == session.records
    assert counts.missing == 0


def test_the_table_of_frames_is_the_firmwares() -> None:
    formats = Formats(header().n_sensors, header().n_actuators)
    payload = struct.pack("<IHi2h", 1, 2, -3, 4, -5)
    assert formats.parse(frames.encode(frames.STEP, 513, payload), True) == (frames.STEP, 513, payload)
    assert formats.parse(frames.encode(frames.STEP, 513, payload), False) is None
    assert formats.parse(frames.encode(frames.STEP, 513, payload + b"\0"), True) is None
    assert formats.trial_of(frames.encode(frames.STEP, 513, payload), True) == 1
