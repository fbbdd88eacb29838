"""Disks that stall, fill up or take nothing, and viewers that hang: the run goes on, or ends with one clear error."""

import gc
import os
import signal
import subprocess
import sys
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning import shortened
from runlog_sessions import START_NS, T_NS, Session, header, loop_session, record, records_of
from subsong import board_session
from subsong.board_session import run_on_board, run_over
from subsong.cli.app import BAD_FILE
from subsong.console import SilentProgress
from subsong.errors import LogError
from subsong.ports import open_port
from subsong.replay import replay
from subsong.runlog import Recorder, RunHeader, Step, read_run, recover
from subsong.runlog import handover as handover_module
from subsong.runlog.container import MESSAGE, MESSAGE_BYTES, walk
from subsong.runlog.writer import FLUSH, FLUSHED, RECORD, SEAL_BODY, SEAL_OPCODE, SEAL_PREFIX, write_from
from subsong.session import require_recordable
from subsong_hil.unix import UnixBoard

pytest_plugins = ["subsong_hil.fixtures"]

PIPE_BYTES, HELD_BYTES = 1 << 16, 1 << 14  # in place of the real ones
LONG = loop_session(trials=100, steps=20)  # 220 kB: more than these, and as much again as a process reads at once


def writer_of(recorder: Recorder) -> "subprocess.Popen[bytes]":
    """Return the process that writes a recorder's file."""
    assert recorder._out is not None
    return recorder._out.process


def stall(writer: "subprocess.Popen[bytes]") -> None:
    """Stop the process that writes, as a disk does that takes nothing."""
    writer.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, writer.pid, os.WSTOPPED)


@contextmanager
def stalled(writer: "subprocess.Popen[bytes]") -> Iterator[None]:
    """Stop the process that writes for a while."""
    stall(writer)
    try:
        yield
    finally:
        writer.send_signal(signal.SIGCONT)


def send(recorder: Recorder, session: Session) -> None:
    for at, (to_board, wire) in enumerate(session.wire):
        recorder.frame(to_board, wire, START_NS + at * T_NS)


def wires(path: Path) -> list[tuple[bool, bytes]]:
    return [(frame.to_board, frame.wire) for frame in read_run(path).frames()]


# ---------------------------------------------------------------------------------------- a disk that stalls


@pytest.fixture
def _small_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover_module, "PIPE_BYTES", PIPE_BYTES)


@pytest.mark.usefixtures("_small_pipe")
def test_a_stalled_disk_stops_no_frame_and_loses_none(tmp_path: Path) -> None:
    session = LONG
    recorder = Recorder(tmp_path / "run.mcap", session.header())
    recorder.flush()
    size = recorder.partial.stat().st_size
    with stalled(writer_of(recorder)):
        send(recorder, session)  # more than the pipe takes
        assert recorder._out is not None
        assert len(recorder._out._held) > 0
        assert recorder.partial.stat().st_size == size
    recorder.abort()
    assert wires(recorder.partial) == session.wire
    assert records_of(read_run(recorder.partial)) == session.records


@pytest.mark.usefixtures("_small_pipe")
def test_a_disk_that_stalls_for_too_long_ends_the_run_with_one_error_and_keeps_what_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover_module, "HELD_BYTES", HELD_BYTES)
    session = LONG
    recorder = Recorder(tmp_path / "run.mcap", session.header())
    recorder.flush()
    monkeypatch.setattr(handover_module, "PATIENCE_S", 0.1)
    writer = writer_of(recorder)
    with stalled(writer), pytest.raises(LogError, match=r"run\.mcap\.partial: its disk is stalled") as caught, recorder:
        send(recorder, session)
    assert not hasattr(caught.value, "__notes__")
    assert writer.wait(60) == 0  # its disk is back: it has written what it was given
    assert not recorder.path.exists()
    found = wires(recover(recorder.partial))
    assert found == session.wire[: len(found)]
    assert len(found) > 1000  # a full pipe of them


@pytest.mark.usefixtures("_small_pipe")
def test_a_disk_that_comes_back_too_late_leaves_a_partial_file_with_all_that_was_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover_module, "HELD_BYTES", HELD_BYTES)
    session = LONG
    recorder = Recorder(tmp_path / "run.mcap", session.header())
    recorder.flush()
    with stalled(writer_of(recorder)), pytest.raises(LogError, match="its disk is stalled"):
        send(recorder, session)
    taken = recorder._sequence
    with pytest.raises(LogError, match="its disk is stalled"):
        recorder.close()
    assert wires(recover(recorder.partial)) == session.wire[:taken]


@pytest.mark.usefixtures("_small_pipe")
def test_a_simulator_waits_for_its_disk(tmp_path: Path) -> None:
    """Nobody waits for it: it keeps nothing in memory."""
    session = LONG
    recorder = Recorder(tmp_path / "run.mcap", header("sim"))
    recorder.flush()
    waiting = threading.Thread(target=record_all, args=(recorder, session), daemon=True)
    with stalled(writer_of(recorder)):
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
    waiting.join(60)
    assert not waiting.is_alive()
    assert records_of(read_run(recorder.close())) == session.records


def record_all(recorder: Recorder, session: Session) -> None:
    for each in session.records:
        if isinstance(each, Step):
            recorder.step(each)
        else:
            recorder.trial(each.summary, each.last_cost)


class _Staller(SilentProgress):
    """Stops the process that writes after so many trials, and lets it go on after as many again."""

    def __init__(self, stop: int, go_on: int) -> None:
        self.stop, self.go_on = stop, go_on
        self.trials, self.sizes = 0, []
        self.recorder: Recorder | None = None

    def record(self, path: Path, run_header: RunHeader) -> Recorder:
        self.recorder = Recorder(path, run_header)
        return self.recorder

    def advance(self, n: int = 1) -> None:
        self.trials += n
        assert self.recorder is not None
        if self.trials == self.stop:
            self.recorder.flush()
            stall(writer_of(self.recorder))
        if self.stop <= self.trials <= self.go_on:
            self.sizes.append(self.recorder.partial.stat().st_size)
        if self.trials == self.go_on:
            writer_of(self.recorder).send_signal(signal.SIGCONT)


@pytest.mark.slow
def test_a_board_learns_on_while_the_disk_is_stalled_and_the_log_is_complete(
    deployed_flash: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    staller = _Staller(10, 40)
    monkeypatch.setattr(board_session, "recording", staller.record)
    log = tmp_path / "run.mcap"
    result = run_on_board(shortened("cartpole", trials=60), port="unix", out=log, progress=staller)
    assert result.trials == 60
    assert len(staller.sizes) == 31
    assert len(set(staller.sizes)) == 1  # thirty trials without a byte on the disk
    assert replay(log).difference is None
    run = read_run(log)
    assert run.complete
    assert sum(not trial.evaluate for trial in run.iter_trials()) == 60


# ---------------------------------------------------------------------------------------- the process that writes


def message(number: int, data: bytes) -> bytes:
    return MESSAGE.pack(5, MESSAGE_BYTES + len(data), 1, number, 0, 0) + data


@settings(max_examples=25)
@given(sizes=st.lists(st.integers(0, 300), max_size=12), cuts=st.lists(st.integers(0, 3000)), flush=st.integers(0, 12))
def test_whatever_pieces_records_come_in_each_is_written_and_seals_stand_between_them(
    sizes: list[int], cuts: list[int], flush: int
) -> None:
    records = [message(number, bytes(size)) for number, size in enumerate(sizes)]
    stream = b"".join([*records[:flush], FLUSH, *records[flush:]])
    edges = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    with tempfile.TemporaryFile() as file:
        pipe, end = os.pipe()
        status, told = os.pipe()
        with os.fdopen(end, "wb", buffering=0) as writing, os.fdopen(status, "rb") as saying:
            thread = threading.Thread(target=write_from, args=(pipe, file.fileno(), told))
            thread.start()
            for start, stop in pairwise(edges):
                writing.write(stream[start:stop])
            writing.close()
            thread.join()
            os.close(told)
            os.close(pipe)
            assert saying.read() == FLUSHED
        file.seek(0)
        data = file.read()
    found, covered = [], 0
    at = 0
    for opcode, start, after in walk(data, 0, len(data)):
        if opcode == SEAL_OPCODE:
            assert data[start - RECORD.size : after] == SEAL_PREFIX + SEAL_BODY.pack(
                zlib.crc32(data[covered:at]), at - covered
            )
            covered = after
        else:
            found.append(data[start - RECORD.size : after])
        at = after
    assert found == records
    assert covered == len(data) == at


def test_a_host_killed_amid_a_large_record_leaves_a_cut_one(tmp_path: Path) -> None:
    recorder = record(tmp_path / "run.mcap", loop_session())
    recorder._hand_over(message(1, bytes(5000))[:4000])
    recorder.abort()
    run = read_run(recorder.partial)
    assert run.lost == "4000 bytes of a cut record at the end"
    assert records_of(run) == loop_session().records


def test_where_the_process_that_writes_is_killed_too_what_was_flushed_is_there(tmp_path: Path) -> None:
    session = loop_session(trials=20)
    recorder = Recorder(tmp_path / "run.mcap", session.header())
    for at, (to_board, wire) in enumerate(session.wire[:100]):
        recorder.frame(to_board, wire, START_NS + at)
    recorder.flush()
    writer_of(recorder).kill()
    writer_of(recorder).wait()
    with pytest.raises(LogError, match=r"run\.mcap\.partial: the process that writes it was killed"):
        recorder.frame(True, b"late", START_NS)
    with pytest.raises(LogError, match="was killed"):
        recorder.close()
    assert wires(recover(recorder.partial)) == session.wire[:100]


def test_ctrl_c_and_a_closing_terminal_do_not_reach_the_process_that_writes(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "run.mcap", header())
    recorder.flush()
    writer = writer_of(recorder)
    assert os.getsid(writer.pid) == writer.pid
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        writer.send_signal(number)
    recorder.frame(True, b"\1\1\0", START_NS)
    recorder.abort()
    assert wires(recorder.partial) == [(True, b"\1\1\0")]


def test_a_recorder_that_is_dropped_leaves_no_process_and_no_descriptor(tmp_path: Path) -> None:
    gc.collect()  # what earlier tests left
    before = len(list(Path("/dev/fd").iterdir()))
    recorder = Recorder(tmp_path / "run.mcap", header())
    recorder.frame(True, b"\1\1\0", START_NS)
    writer = writer_of(recorder)
    del recorder
    gc.collect()
    assert writer.wait(60) == 0
    assert len(list(Path("/dev/fd").iterdir())) == before
    assert wires(tmp_path / "run.mcap.partial") == [(True, b"\1\1\0")]


# ---------------------------------------------------------------------------------------- viewers

_VIEWER = """
import fcntl, mmap, sys
file = open(sys.argv[1], "rb")
try:
    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
except BlockingIOError:
    pass
held = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
print(len(file.read(100)), flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("hangs", [False, True])
def test_a_viewer_that_holds_the_file_open_or_hangs_changes_nothing(tmp_path: Path, hangs: bool) -> None:
    session = loop_session(trials=50, steps=20)
    recorder = Recorder(tmp_path / "run.mcap", session.header())
    with subprocess.Popen(
        [sys.executable, "-c", _VIEWER, recorder.partial], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as viewer:
        assert viewer.stdout is not None
        assert viewer.stdout.readline() == b"100\n"
        if hangs:
            viewer.send_signal(signal.SIGSTOP)
        send(recorder, session)
        recorder.flush()
        assert wires(recorder.partial) == session.wire
        run = read_run(recorder.close())
        viewer.kill()
    assert records_of(run) == session.records


_TERMINAL = """
import os, time
from subsong.console import progress
with progress() as bars:
    bars.start("learning", 1000)
    screen = os.open(os.ttyname(2), os.O_WRONLY | os.O_NONBLOCK)
    try:
        while True:
            os.write(screen, bytes(512))
    except BlockingIOError:
        pass
    for _ in range(50):
        bars.advance()
        time.sleep(0.02)
    os.write(1, b"all steps done")  # not print: the bars have replaced stdout
    os._exit(0)
"""


@pytest.mark.slow
def test_a_terminal_that_shows_nothing_more_stops_no_step() -> None:
    """Ctrl-S, or the far end of a connection that died: the bars are drawn by a thread of their own, and wait alone."""
    master, slave = os.openpty()
    try:
        command = [sys.executable, "-c", _TERMINAL]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TERM": "xterm"}
        done = subprocess.run(
            command, env=environment, stdin=slave, stdout=subprocess.PIPE, stderr=slave, check=False, timeout=120
        )
    finally:
        os.close(master)
        os.close(slave)
    assert done.stdout == b"all steps done"


# ---------------------------------------------------------------------------------------- full and read-only disks

ROOM = 100_000  # bytes
_LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2)
from subsong.cli import main
main()
"""


def run_verb(experiment: Path, port: str, log: Path) -> "subprocess.CompletedProcess[str]":
    """Do `subsong run` where no file may grow beyond ROOM bytes, as on a disk that fills up."""
    command = [sys.executable, "-c", _LIMITED, str(ROOM), "run", str(experiment), "--port", port, "-o", str(log)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["xor", "cartpole"])
def test_a_disk_that_fills_up_amid_a_run_ends_it_with_one_error_and_the_board_at_its_prompt(
    deployed_flash: Path, tmp_path: Path, name: str
) -> None:
    experiment = tmp_path / "experiment.toml"
    experiment.write_text(shortened(name, trials=2000, evaluate_every=0).to_toml())
    log = tmp_path / "run.mcap"
    partial = log.with_name("run.mcap.partial")
    with UnixBoard(deployed_flash) as board:
        full = run_verb(experiment, board.path, log)
        assert (full.returncode, full.stdout) == (BAD_FILE, "")
        assert "Traceback" not in full.stderr
        error = (
            f"subsong: error: Cannot write the run log {partial}: File too large. What was recorded before is in it:"
            f" put that right, then `subsong recover {partial}`."
        )
        assert [line for line in full.stderr.splitlines() if "error" in line] == [error]
        with open_port(board.path) as port:
            port.write(b"1+1\r")
            said = b""
            while b"\n2" not in said:
                more = port.read_available(30.0)
                assert more, said
                said += more
    assert (log.exists(), partial.stat().st_size) == (False, ROOM)
    run = read_run(recover(partial))
    assert len(list(run.iter_trials())) > 10
    assert replay(log).difference is None


@pytest.mark.slow
def test_a_log_that_cannot_begin_after_all_leaves_the_board_at_its_prompt(deployed_flash: Path, tmp_path: Path) -> None:
    experiment, taken = shortened("xor"), tmp_path / "run.mcap"
    taken.touch()
    with open_port("unix") as port:
        with pytest.raises(LogError, match="exists already"):
            run_over(experiment, port, None, taken)
        assert run_over(experiment, port, None, tmp_path / "again.mcap").trials == 8


@pytest.mark.parametrize("where", ["missing/below/a/file/run.mcap", "run.mcap"])
def test_where_no_log_can_be_written_the_board_is_not_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def opened(name: str) -> None:
        pytest.fail("the port was opened")

    monkeypatch.setattr(board_session, "open_port", opened)
    out = tmp_path / where
    if out.parent == tmp_path:
        out.touch()
    else:
        (tmp_path / "missing").touch()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(LogError, match=r"annot (make|record to).*run\.mcap|annot make the folder"):
        run_on_board(shortened("xor"), port="unix", out=out)
    assert sorted(tmp_path.rglob("*")) == before


def as_nobody(do: Callable[[], object]) -> str:
    """Return the LogError that something raises for a user who is not root."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            if os.geteuid() == 0:
                os.setuid(65534)
            do()
        except LogError as error:
            os.write(writing, str(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read().decode()
    os.waitpid(child, 0)
    return said


def test_a_read_only_folder_is_one_clear_error() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)
        for do in (lambda: Recorder(folder / "run.mcap", header()), lambda: require_recordable(folder / "run.mcap")):
            said = as_nobody(do)
            assert said == (f"Cannot record to {folder}/run.mcap: Permission denied. Is the folder there and writable?")
        said = as_nobody(lambda: require_recordable(folder / "runs" / "run.mcap"))
        assert said == f"cannot make the folder {folder}/runs: Permission denied. Name another with -o."
        folder.chmod(0o755)
