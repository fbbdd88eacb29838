"""One flipped bit, anywhere in a log: found, and its trial named."""

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runlog_sessions import (
    Copier,
    Message,
    Session,
    flip,
    loop_session,
    record,
    record_sim,
    records_of,
    rewrite,
    task_session,
)
from subsong.errors import LogError
from subsong.runlog import finish as finish_module
from subsong.runlog import read_run, recover
from subsong.runlog.formats import Formats
from subsong_device import frames

SESSIONS: dict[str, Session] = {"loop": loop_session(2, 2), "task": task_session(2, 2)}


# ---------------------------------------------------------------------------------------- words, in a well-formed copy


@pytest.mark.slow
@pytest.mark.parametrize("source", ["loop", "task"])
def test_every_byte_of_every_step_and_end_in_the_channels_names_its_trial(tmp_path: Path, source: str) -> None:
    """The copy is well-formed, its CRCs are right: what betrays the bit is that the raw frames say otherwise."""
    copier = Copier(record(tmp_path / "run.mcap", SESSIONS[source]).close())
    bits = random.Random(1)
    for number, (topic, data) in enumerate(copier.messages):
        if topic not in {"/step", "/trial"}:
            continue
        trial = json.loads(data)["trial"]
        for byte in range(len(data)):
            run = read_run(copier.flip(tmp_path / "copy.mcap", number, 8 * byte + bits.randrange(8)))
            assert records_of(run) == SESSIONS[source].records  # the frames' words stand
            assert trial in {each.number for each in run.iter_trials() if each.disagreements}
            assert trial in {each.trial for each in run.disagreements()}
            assert f"trial {trial}" in " ".join(map(str, run.disagreements()))


@pytest.mark.slow
@pytest.mark.parametrize("source", ["loop", "task"])
def test_every_byte_of_every_raw_frame_names_its_trial(tmp_path: Path, source: str) -> None:
    copier = Copier(record(tmp_path / "run.mcap", SESSIONS[source]).close())
    formats = Formats(2, 1)
    near = {0}
    bits = random.Random(2)
    for number, (topic, data) in enumerate(copier.messages):
        if not topic.startswith("/wire"):
            continue
        trial = formats.trial_of(data, topic == "/wire/to_board")
        # A frame without a trial (an ACK, the handshake) belongs to the trial under way, or to the next.
        near = near | {each + 1 for each in near} if trial is None else {trial}
        for byte in range(len(data)):
            run = read_run(copier.flip(tmp_path / "copy.mcap", number, 8 * byte + bits.randrange(8)))
            named = {each.trial for each in run.disagreements()}
            assert named & near
            assert None not in named
            assert records_of(run) == SESSIONS[source].records  # the channels fill the gap


def test_a_flipped_word_is_told_with_both_values(tmp_path: Path) -> None:
    session = Session().open()
    session.trial(0, 1)
    session.trial(7, 3)
    path = record(tmp_path / "run.mcap", session).close()
    steps = [number for number, (topic, _) in enumerate(Copier(path).messages) if topic == "/step"]

    def change(messages: list[Message]) -> Iterator[Message]:
        for number, (topic, data) in enumerate(messages):
            value = json.loads(data) if number == steps[2] else {}
            if value:
                value["x"][1] ^= 4
            yield topic, json.dumps(value).encode() if value else data

    (found,) = read_run(rewrite(path, tmp_path / "copy.mcap", change)).disagreements()
    right = session.records[3].x[1]
    assert (found.trial, found.step) == (7, 1)
    assert (
        str(found) == f"Step 1 of trial 7: sensor word 1 is {right} in the raw frames and {right ^ 4} in channel /step."
    )


def test_a_frame_damaged_on_the_wire_is_no_disagreement_and_one_damaged_in_the_log_is(tmp_path: Path) -> None:
    """With retries, a damaged copy of a repeated frame changes no step: it is missed all the same."""
    session = loop_session(trials=2, steps=2)
    act = next(i for i, (to_board, _) in enumerate(session.wire) if i > 5 and not to_board)
    command, reply = session.wire[act - 1 : act + 1]
    session.wire[act - 1 : act + 1] = [command, (False, flip(reply[1], 30)), command, reply, reply]
    path = record(tmp_path / "run.mcap", session).close()
    run = read_run(path)
    assert run.disagreements() == []
    assert records_of(run) == session.records
    assert [event.fields["trial"] for event in run.events if event.kind == "damaged"] == [0]
    copier = Copier(path)
    wire = [number for number, (topic, _) in enumerate(copier.messages) if topic.startswith("/wire")]
    for extra in (act + 1, act + 3):  # the repeated command, the second reply
        copy = read_run(copier.flip(tmp_path / "copy.mcap", wire[extra], 40))
        assert records_of(copy) == session.records
        assert [each.trial for each in copy.disagreements()] == [0]
        assert "Not so when the log was closed" in str(copy.disagreements()[0])


@pytest.mark.slow
@given(st.data())
def test_records_lost_added_or_swapped_in_a_channel_are_told(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Whole messages may be altered, too: the walk finds where both accounts go on together."""
    folder = tmp_path_factory.mktemp("swap")
    path = record(folder / "run.mcap", loop_session(trials=3, steps=5)).close()
    count = 3 * 6
    one, other = data.draw(
        st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)).filter(lambda pair: pair[0] != pair[1])
    )

    def swap(messages: list[Message]) -> Iterator[Message]:
        places = [i for i, (topic, _) in enumerate(messages) if topic in {"/step", "/trial"}]
        for at, (topic, content) in enumerate(messages):
            source = {places[one]: places[other], places[other]: places[one]}.get(at, at)
            yield topic, messages[source][1] if topic in {"/step", "/trial"} else content

    run = read_run(rewrite(path, folder / "copy.mcap", swap))
    assert records_of(run) == loop_session(trials=3, steps=5).records
    assert {one // 6, other // 6} <= {each.trial for each in run.disagreements()}


def test_a_simulators_log_checks_its_numbers_and_its_states(tmp_path: Path) -> None:
    """There is no second account: replay finds altered words; what the log itself can tell, it tells."""
    copier = Copier(record_sim(tmp_path / "sim.mcap", trials=3, steps=4)[0].close())
    for number, (topic, data) in enumerate(copier.messages):
        if topic in {"/step", "/trial"}:
            trial = json.loads(data)["trial"]
            keys = (b'"trial":', b'"step":') if topic == "/step" else (b'"trial":', b'"steps":')
            places = [data.index(key) + len(key) for key in keys]
        elif topic == "/state":
            trial, places = (None if b"initial" in data else 2), range(2, len(data), 7)
        else:
            continue
        for byte in places:
            run = read_run(copier.flip(tmp_path / "copy.mcap", number, 8 * byte + 1))
            assert trial in {each.trial for each in run.disagreements()}


def test_a_step_of_a_simulators_log_that_cannot_be_read_names_its_trial(tmp_path: Path) -> None:
    copier = Copier(record_sim(tmp_path / "sim.mcap", trials=3, steps=2)[0].close())
    for number, (topic, data) in enumerate(copier.messages):
        if topic in {"/step", "/trial"}:
            run = read_run(copier.flip(tmp_path / "copy.mcap", number, 8))  # the quote of the first key
            trial = json.loads(data)["trial"]
            found = [each for each in run.disagreements() if "cannot be read" in each.text]
            assert [each.trial for each in found] == [trial]
            assert str(found[0]) == f"In trial {trial}: a record in channel {topic} cannot be read."
            assert trial in {each.number for each in run.iter_trials() if found[0] in each.disagreements}


# ---------------------------------------------------------------------------------------- bytes of the file


def small(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a small log of several chunks (closed), or one that was sealed and abandoned."""
    monkeypatch.setattr(finish_module, "_CHUNK_BYTES", 300)
    if kind == "sim":
        return record_sim(tmp_path / "log.mcap", trials=3, steps=2)[0].close()
    recorder = record(tmp_path / "log.mcap", loop_session(trials=3, steps=2))
    if kind == "closed":
        return recorder.close()
    recorder.abort()
    return recorder.partial


def check_flips(path: Path, out: Path, stride: int) -> None:
    data = path.read_bytes()
    last_seal = len(data) - 25 if path.suffix == ".partial" else len(data)
    for bit in range(0, 8 * len(data), stride):
        out.write_bytes(flip(data, bit))
        try:
            run = read_run(out)
        except LogError as error:
            told = str(error)
        else:
            told = f"{out} "
            # A partial file may end in a cut record; one flipped in its last seal looks so, and no message is in there.
            assert bit // 8 >= last_seal
            assert run.lost == "25 bytes of a cut record at the end"
            assert run.disagreements() == []
        assert str(out) in told
        assert "\n" not in told


@pytest.mark.parametrize("kind", ["closed", "sim", "partial"])
def test_a_flipped_bit_anywhere_in_the_file_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path = small(tmp_path, kind, monkeypatch)
    check_flips(path, tmp_path / f"flip{path.suffix}", stride=101)  # odd, so that every bit of a byte comes up


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["closed", "sim", "partial"])
def test_a_flipped_bit_in_each_byte_of_the_file_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path = small(tmp_path, kind, monkeypatch)
    check_flips(path, tmp_path / f"flip{path.suffix}", stride=5)


def test_damage_in_a_chunk_names_the_trials_and_costs_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finish_module, "_CHUNK_BYTES", 300)
    session = loop_session(trials=6, steps=3)
    path = record(tmp_path / "log.mcap", session).close()
    data = path.read_bytes()
    # Behind the chunks, the index mentions their compression again.
    chunks = [match.start() for match in re.finditer(re.escape(b"\x04\x00\x00\x00zstd"), data)][:6]
    copy, out = tmp_path / "copy.mcap", tmp_path / "out.mcap"
    for trial, at in enumerate(chunks):
        copy.write_bytes(flip(data, 8 * (at + 40)))
        with pytest.raises(LogError, match="damage in the chunk") as caught:
            read_run(copy)
        around = {0: "from the beginning to trial 1", 5: "within trials 4 to the end"}
        assert around.get(trial, f"within trials {trial - 1} to {trial + 1}") in str(caught.value)
        run = read_run(recover(copy, out))
        kept = records_of(run)  # of the damaged chunk, frames whose own CRC is right
        assert [each for each in session.records if each in kept] == kept
        assert {each.number for each in run.iter_trials() if each.whole} >= {n for n in range(6) if n != trial}
        assert run.disagreements() == []
        assert around.get(trial, f"within trials {trial - 1} to {trial + 1}") in run.events[-1].text
        out.unlink()


def test_damage_in_a_sealed_block_names_the_trials_and_costs_no_frame_but_the_damaged(tmp_path: Path) -> None:
    session = loop_session(trials=3, steps=2)
    recorder = record(tmp_path / "log.mcap", session)
    recorder.abort()
    data = recorder.partial.read_bytes()
    wire = session.wire[13][1]  # the command of trial 1's first step
    copy = tmp_path / "copy.mcap.partial"
    copy.write_bytes(flip(data, 8 * (data.index(wire) + 5)))
    with pytest.raises(LogError, match=r"damage between bytes \d+ and \d+ \(within trials 0 to 2\)"):
        read_run(copy)
    run = read_run(recover(copy))
    assert len(list(run.frames())) == len(session.wire)
    lost = Formats(2, 1).parse(wire, to_board=True)
    assert lost is not None
    assert lost[0] == frames.STEP
    assert records_of(run) == [each for each in session.records if each != session.records[3]]
    assert [event.fields["trial"] for event in run.events if event.kind == "damaged"] == [1]
