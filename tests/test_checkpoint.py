"""Checkpoints: slots that no cut spoils, SAVE and LOAD over the link, and runs that go on as if nothing had been."""

import dataclasses
import itertools
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO, Self

import pytest

from checkpoint_pico import run_cuts, watch_saves
from learning import PENDULUM, cut_off, short_example, shortened
from link_wire import BoardInThread
from subsong.block import Block, build_block
from subsong.board_session import run_on_board, run_over
from subsong.bridge import Bridge, Checkpoint
from subsong.console import SilentProgress
from subsong.errors import BoardError, ExperimentError
from subsong.experiment import Experiment, parse_experiment
from subsong.experiment_text import example_text
from subsong.policy import policy_of_run
from subsong.replay import replay
from subsong.runlog import Recorder, RunHeader, read_run
from subsong.session import RunResult, learn, simulate
from subsong_device import block as device_block
from subsong_device import checkpoint, faults, frames, layout
from subsong_hil.unix import INSTALL, find_micropython
from subsong_sim.engines import LocalLearner
from subsong_sim.trials import TaskTrials

pytest_plugins = ["subsong_hil.fixtures"]

RUN = 0xC0FFEE11
DEADMAN_MS = 60000


def with_run(experiment: Experiment, **keys: object) -> Experiment:
    """Return the experiment with keys of [run] set."""
    return experiment.model_copy(update={"run": experiment.run.model_copy(update=keys)})


@pytest.fixture
def flash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory: the device's modules under CPython take it for a board's flash."""
    folder = tmp_path / "flash"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


# ------------------------------------------------------------------------------------------ slots


def blank(block: Block) -> device_block.Block:
    """Return an empty block of the same shape, as OPEN makes it."""
    sizes = (len(block.head) // 4, len(block.mem) // 2, len(block.task) // 2)
    return device_block.Block(frames.RULES.index(block.rule), block.n_sensors, block.n_actuators, *sizes)


def filled(block: Block) -> device_block.Block:
    made = blank(block)
    for region, data in zip(made.regions, (block.head, block.mem, block.task), strict=True):
        region[:] = data
    return made


XOR = build_block(shortened("xor"))


def newest_trials(block: device_block.Block) -> int:
    """Return the trials of what a board would read, which is read and checked; 0 where there is nothing."""
    found = checkpoint.Slots("run").newest(RUN, block)
    if found is None:
        return 0
    checkpoint.read_regions(*found, block)
    assert block.head[layout.DELTA] == found[1].trials
    return int(found[1].trials)


def save(block: device_block.Block, trials: int, run: int = RUN) -> None:
    block.head[layout.DELTA] = trials
    checkpoint.Slots("run").save(block, run, 0, trials, trials, trials)


class Disk:
    """What a save does to a folder: ("write", path, byte), ("remove", path) and ("rename", old, new), in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, overwrites: bool) -> None:
        self.done: list[tuple[Any, ...]] = []
        self.overwrites = overwrites
        monkeypatch.setattr(checkpoint, "open", self._open, raising=False)
        monkeypatch.setattr(
            checkpoint, "os", SimpleNamespace(rename=self._rename, remove=self._remove, listdir=os.listdir)
        )

    def _open(self, path: str, mode: str) -> Any:
        file = open(path, mode)  # noqa: SIM115, PTH123 - the device's own way
        if mode == "wb":
            self.done.append(("write", path, b""))
            return _Watched(file, lambda data: self.done.extend(("write", path, bytes([byte])) for byte in data))
        return file

    def _rename(self, old: str, new: str) -> None:
        if not self.overwrites and os.path.exists(new):  # noqa: PTH110 - likewise
            raise OSError(17)
        os.rename(old, new)  # noqa: PTH104
        self.done.append(("rename", old, new))

    def _remove(self, path: str) -> None:
        os.remove(path)  # noqa: PTH107
        self.done.append(("remove", path))


class _Watched:
    """A file whose writes are told."""

    def __init__(self, file: BinaryIO, told: Callable[[bytes], object]) -> None:
        self._file, self._told = file, told

    def write(self, data: bytes) -> int:
        self._told(data)
        return self._file.write(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def lay_out(flash: Path, files: dict[str, bytes]) -> None:
    """Make a folder hold just these files."""
    for path in flash.iterdir():
        path.unlink()
    for name, data in files.items():
        (flash / name).write_bytes(data)


EVERY = pytest.mark.parametrize("stride", [23, pytest.param(1, marks=pytest.mark.slow)])


@EVERY
@pytest.mark.parametrize("overwrites", [True, False], ids=["littlefs", "FAT"])
def test_the_power_may_go_at_every_byte_of_a_save(
    flash: Path, monkeypatch: pytest.MonkeyPatch, overwrites: bool, stride: int
) -> None:
    """Of the first four saves: whatever is on the flash after any part of one is the state before or the one after."""
    block, read = filled(XOR), blank(XOR)
    disk = Disk(monkeypatch, overwrites=overwrites)
    files: dict[str, bytes] = {}
    cuts = 0
    for saves in range(1, 5):
        disk.done.clear()
        save(block, saves)
        done = list(disk.done)
        assert {"rename"} | ({"remove"} if saves > 2 and not overwrites else set()) < {kind for kind, *_ in done}
        lay_out(flash, files)
        assert newest_trials(read) == saves - 1
        for kind, path, *other in done:
            if kind == "write":
                files[path] = files.get(path, b"") + other[0] if other[0] else b""
            elif kind == "remove":
                del files[path]
            else:
                files[other[0]] = files.pop(path)
            cuts += 1
            if kind != "write" or cuts % stride == 0:
                lay_out(flash, files)
                assert newest_trials(read) in (saves - 1, saves), (kind, path)
        assert newest_trials(read) == saves
    assert cuts > 4 * (checkpoint.HEADER_BYTES + len(XOR.head) + len(XOR.mem) + len(XOR.task))
    assert sorted(files) == ["run.0", "run.1"]


@EVERY
def test_a_slot_cut_or_flipped_at_any_byte_gives_the_other_one(flash: Path, stride: int) -> None:
    block, read = filled(XOR), blank(XOR)
    save(block, 1)
    save(block, 2)
    good = (flash / "run.1").read_bytes()
    for at in range(0, len(good), stride):
        for damaged in (good[:at], good[:at] + bytes([good[at] ^ 1 << at % 8]) + good[at + 1 :]):
            (flash / "run.1").write_bytes(damaged)
            assert newest_trials(read) == 1, at
    save(block, 3)  # in place of the damaged one
    assert newest_trials(read) == 3
    (flash / "run.1").unlink()
    assert newest_trials(read) == 1


@pytest.mark.parametrize("stride", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_a_cut_at_every_write_of_micropythons_own_file_systems(stride: int) -> None:
    """littlefs, as the Pico has it, and FAT: whole and torn writes of the flash, and cuts of the save after a cut."""
    said = [line.split() for line in run_cuts(micropython_program(), str(stride)).splitlines()]
    assert [line[0] for line in said] == ["littlefs", "FAT", "littlefs", "FAT"], said
    assert all(line[-1] == "0" for line in said), said
    assert all(int(line[1]) > 20 and int(line[2]) > 20 for line in said[:2]), said


def micropython_program() -> str:
    program = find_micropython()
    if program is None:
        pytest.skip(f"needs MicroPython: {INSTALL}")
    return str(program)


@pytest.mark.slow
def test_a_cut_at_every_write_of_a_picos_flash_chip(pico_firmware: Path, tmp_path: Path) -> None:
    """After any command of the chip in six saves, a board reads the save before or the one that was begun."""
    program = micropython_program()
    watched = watch_saves(pico_firmware, program, tmp_path, 6)
    read = [int(word) for word in run_cuts(program, "log", str(watched.image), str(watched.log)).split()]
    assert len(read) == watched.writes + 1 > 30
    assert (read[0], read[-1]) == (0, 6)
    assert all(after - before in (0, 1) for before, after in itertools.pairwise(read)), read
    assert len(watched.save_us) == 6


def test_a_run_never_spoils_the_newest_save_of_its_own_and_reads_no_other_runs(flash: Path) -> None:
    block, read = filled(XOR), blank(XOR)
    save(block, 1)
    save(block, 2, run=RUN + 1)
    assert newest_trials(read) == 1
    (flash / "run.new").write_bytes(b"a save that was cut")
    save(block, 3)  # in place of the other run's, although that is newer
    assert [checkpoint.read_header(f"run.{i}").trials for i in range(2)] == [1, 3]
    assert [checkpoint.read_header(f"run.{i}").count for i in range(2)] == [0, 2]
    save(block, 4, run=RUN + 1)  # which has none: the newest of all stays
    assert [checkpoint.read_header(f"run.{i}").trials for i in range(2)] == [4, 3]
    other = blank(build_block(shortened("cartpole")))
    assert checkpoint.Slots("run").newest(RUN, other) is None


# ------------------------------------------------------------------------------------------ the link


@pytest.fixture
def board(flash: Path) -> Iterator[BoardInThread]:
    with BoardInThread() as board:
        yield board


def connect(board: BoardInThread, block: Block = XOR, **options: Any) -> Bridge:
    bridge = Bridge(board.port, **{"timeout_s": 5.0, **options})
    bridge.hello()
    bridge.open(block, DEADMAN_MS)
    return bridge


def code_of(call: Callable[[], object]) -> int:
    with pytest.raises(BoardError) as caught:
        call()
    return caught.value.code


def test_a_board_goes_on_from_what_it_saved(board: BoardInThread) -> None:
    bridge = connect(board)
    bridge.run_task(0, 3, 4)
    bridge.save(RUN, 2, 3)
    kept = bridge.state()
    then = [bridge.run_task(3, 4, 4), bridge.state()][1]
    assert then != kept
    assert bridge.load(RUN) == Checkpoint(0, 2, 3)
    assert bridge.state() == kept
    bridge.run_task(3, 4, 4)
    assert bridge.state() == then
    bridge.save(RUN, 6, 7)
    bridge.open(XOR, DEADMAN_MS)
    assert bridge.load(RUN) == Checkpoint(1, 6, 7)
    assert bridge.state() == then


def test_what_is_not_there_changes_nothing(board: BoardInThread) -> None:
    bridge = connect(board)
    assert bridge.load(RUN) is None
    bridge.run_task(0, 2, 4)
    bridge.save(RUN, 1, 2)
    state = bridge.state()
    assert bridge.load(RUN + 1) is None
    assert bridge.state() == state
    bridge.run_task(2, 2, 4)  # it is as ready as it was
    other = build_block(shortened("xor", "node_perturbation"))
    bridge.open(other, DEADMAN_MS)
    assert bridge.load(RUN) is None
    assert bridge.state() == (other.head, other.mem)
    bridge.run_task(0, 1, 4)


def test_a_save_is_done_once_however_often_it_is_asked_for(board: BoardInThread) -> None:
    bridge = connect(board, timeout_s=0.02)
    lost = iter([True, False] * 40)
    board.wire.harm = lambda wire: b"" if next(lost) else wire
    for n in range(5):
        bridge.save(RUN, n, n)
    board.wire.harm = lambda wire: wire
    assert bridge.counters.retries >= 5
    assert bridge.load(RUN) == Checkpoint(4, 4, 4)


def test_a_flash_that_is_full_is_a_sentence_and_the_run_goes_on(
    board: BoardInThread, flash: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge = connect(board)
    bridge.save(RUN, 0, 1)

    def full(path: str, mode: str) -> Any:
        if mode == "wb":
            Path(path).write_bytes(b"begun")
            raise OSError(28, "full")
        return open(path, mode)  # noqa: PTH123 - the device's own way

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "open", full, raising=False)
        with pytest.raises(
            BoardError, match=r"refused SAVE: its flash failed \(No space left.*checkpoint_every"
        ) as error:
            bridge.save(RUN, 1, 2)
    assert error.value.code == faults.FLASH
    assert [path.name for path in flash.iterdir()] == ["run.0"]
    bridge.run_task(0, 1, 4)
    assert bridge.load(RUN) == Checkpoint(0, 0, 1)


def test_a_state_that_was_read_in_half_is_never_run(
    board: BoardInThread, flash: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge = connect(board)
    bridge.save(RUN, 0, 1)
    with monkeypatch.context() as patch:
        whole = checkpoint.whole

        def whole_until_read(path: str) -> Any:
            header = whole(path)
            if header is not None:
                data = (flash / path).read_bytes()
                (flash / path).write_bytes(data[:-20])
            return header

        patch.setattr(checkpoint, "whole", whole_until_read)
        assert code_of(lambda: bridge.load(RUN)) == faults.CHECKSUM
    assert code_of(lambda: bridge.run_task(0, 1, 4)) == faults.STATE
    assert bridge.load(RUN) is None
    bridge.open(XOR, DEADMAN_MS)
    bridge.run_task(0, 1, 4)


def test_a_whole_slot_that_no_board_wrote_is_checked_as_seal_does(board: BoardInThread) -> None:
    bridge = connect(board)
    wild = filled(XOR)
    wild.head[layout.N_WEIGHTS] = 1 << 20
    checkpoint.Slots("run").save(wild, RUN, 0, 0, 0, 1)
    assert code_of(lambda: bridge.load(RUN)) == faults.BLOCK
    assert code_of(lambda: bridge.run_task(0, 1, 4)) == faults.STATE


def test_saving_is_for_whoever_is_ready(board: BoardInThread, flash: Path) -> None:
    bridge = Bridge(board.port, timeout_s=5.0)
    bridge.hello()
    for call in (lambda: bridge.save(RUN, 0, 0), lambda: bridge.load(RUN)):
        assert code_of(call) == faults.STATE
    bridge.open(build_block(shortened("cartpole")), DEADMAN_MS)
    for trial, trials in ((frames.MAX_TRIAL + 1, 0), (3, 5)):
        assert code_of(lambda trial=trial, trials=trials: bridge.save(RUN, trial, trials)) == faults.FIELD  # type: ignore[misc]
    bridge.begin(0, False)
    for call in (lambda: bridge.save(RUN, 0, 0), lambda: bridge.load(RUN)):
        assert code_of(call) == faults.STATE
    assert list(flash.iterdir()) == []


@pytest.mark.slow
def test_a_flash_slower_than_the_dead_man_time_is_no_silence(
    board: BoardInThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge = Bridge(board.port)
    bridge.hello()
    bridge.open(XOR, 2000)
    whole = checkpoint.whole

    def slow(path: str) -> Any:
        time.sleep(0.8)  # of which a save has three
        return whole(path)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "whole", slow)
        bridge.save(RUN, 0, 1)
    assert bridge.load(RUN) == Checkpoint(0, 0, 1)


# ------------------------------------------------------------------------------------------ the schedule


class Kept:
    """A simulator that keeps its state at every checkpoint, as a board does."""

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.block = build_block(experiment)
        self.ended: list[Any] = []
        self.kept: list[tuple[Checkpoint, tuple[bytes, bytes]]] = []

    def run(self, state: tuple[bytes, bytes] | None = None, after: Checkpoint | None = None) -> RunResult:
        block, run = self.block, self.experiment.run
        learner = LocalLearner(block.rule, *(state or (block.head, block.mem)), "cpython")
        trials = TaskTrials(learner, block.task, run.steps, None, run.evaluate_steps)

        def keep(trial: int, learned: int) -> None:
            self.kept.append((Checkpoint(len(self.kept), trial, learned), trials.state()))

        self.ended.clear()
        result = RunResult(None)
        learn(self.experiment, trials, result, SilentProgress(), self.ended.append, after=after, keep=keep)
        self.final = trials.state()
        return result


@pytest.mark.parametrize("every", [1, 2, 3, 5])
@pytest.mark.parametrize("evaluate_every", [0, 3, 4])
@pytest.mark.parametrize("estimator", ["two_sided", "running_baseline"])
def test_a_schedule_goes_on_behind_any_checkpoint(estimator: str, evaluate_every: int, every: int) -> None:
    experiment = with_run(shortened("xor", trials=11, evaluate_every=evaluate_every), checkpoint_every=every)
    experiment = experiment.model_copy(
        update={"learner": experiment.learner.model_copy(update={"estimator": estimator})}
    )
    whole, again = Kept(experiment), Kept(experiment)
    result = whole.run()
    step = every + (every % 2 if estimator == "two_sided" else 0)
    assert [place.trials for place, _ in whole.kept] == list(range(step, 12, step))
    if estimator == "two_sided":
        assert not any(int.from_bytes(head[4 * layout.PHASE :][:4], "little") for _, (head, _) in whole.kept)
    for place, state in whole.kept:
        rest = again.run(state, place)
        assert again.final == whole.final
        assert again.ended == whole.ended[place.trial + 1 :]
        assert (rest.final or result.final, rest.trials, rest.resumed) == (result.final, 11, place.trials)
        assert rest.costs == result.costs[place.trials :]


def test_without_checkpoints_nothing_is_kept_and_the_digest_is_that_of_old_files() -> None:
    experiment = shortened("xor")
    kept = Kept(experiment)
    kept.run()
    assert kept.kept == []
    assert "checkpoint_every" not in experiment.canonical()
    assert with_run(experiment, checkpoint_every=1).digest != experiment.digest


# ------------------------------------------------------------------------------------------ whole runs


def two_sided(experiment: Experiment) -> Experiment:
    learner = experiment.learner.model_copy(update={"estimator": "two_sided"})
    return experiment.model_copy(update={"learner": learner})


RESUMED = {
    "cartpole, two-sided": two_sided(shortened("cartpole", "node_perturbation", trials=20)),
    "xor, two-sided": two_sided(shortened("xor", "node_perturbation", trials=20)),
    "pendulum, noise": with_run(parse_experiment(PENDULUM, "test"), trials=20),
    "reinforce": with_run(short_example("reinforce", 20, 40), evaluate_every=4),
    "rc, the board's own plant": with_run(
        parse_experiment(example_text("filters").replace("step_limit_ms = 100 ", "step_limit_ms = 8000 "), "filters"),
        trials=20,
        evaluate_every=4,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", RESUMED)
def test_a_run_that_was_killed_and_went_on_is_bit_for_bit_one_that_was_not(
    name: str, deployed_flash: Path, tmp_path: Path
) -> None:
    """Killed twice: the second time within the run that went on."""
    experiment = with_run(RESUMED[name], checkpoint_every=3)
    own = experiment.plant.kind == "board"
    if own:
        shutil.copy(Path(__file__).parent.parent / "examples" / "plants" / "filters.py", deployed_flash / "plant.py")
    paths = [tmp_path / f"{part}.mcap" for part in ("whole", "first", "second", "third")]
    result = run_on_board(experiment, port="unix", out=paths[0])
    cut_off(experiment, paths[1], 9)
    cut_off(experiment, paths[2], 13, resume=paths[1])
    rest = run_on_board(experiment, port="unix", out=paths[3], resume=paths[2])
    whole, *parts = map(read_run, paths)
    expected = {trial.number: trial for trial in whole.iter_trials()}
    firsts = [part.header.first_trial for part in parts]
    assert firsts[0] == 0 < firsts[1] < firsts[2]
    for part in parts:
        for trial in part.iter_trials():
            if trial.whole:
                assert trial == expected[trial.number]
        replayed = replay(part.path)
        assert (replayed.difference, replayed.holes) == (None, 0)
        assert bool(replayed.begins) == bool(part.header.continues)
        assert replayed.checked >= 3
    assert [trial.number for trial in parts[2].iter_trials()] == list(range(firsts[2], len(expected)))
    assert parts[2].states["final"] == whole.states["final"]
    assert parts[2].header.continues["log"] == "second.mcap"
    assert parts[2].header.run == parts[1].header.run == parts[0].header.run != whole.header.run
    assert (rest.final, rest.trials) == (result.final, 20)
    assert policy_of_run(paths[3]) == policy_of_run(paths[0])
    if not own:
        assert simulate(experiment, out=None, mismatch=True).final == result.final


def test_a_run_outlives_checkpoints_that_fail(deployed_flash: Path, tmp_path: Path) -> None:
    (deployed_flash / "run.new").mkdir()  # where a save cannot begin
    experiment = with_run(shortened("xor", trials=6), checkpoint_every=2)
    result = run_on_board(experiment, port="unix", out=tmp_path / "run.mcap")
    assert (result.trials, result.counters["failed_checkpoints"]) == (6, 3)
    events = [event for event in read_run(tmp_path / "run.mcap").events if event.kind == "checkpoint"]
    assert len(events) == 3
    assert "refused SAVE: its flash failed (" in events[0].text


def test_what_cannot_be_gone_on_with_is_a_sentence(deployed_flash: Path, tmp_path: Path) -> None:
    experiment = shortened("xor")
    run_on_board(experiment, port="unix", out=tmp_path / "run.mcap")
    simulate(experiment, out=tmp_path / "sim.mcap", engine="cpython")

    def go_on(log: str, with_what: Experiment = experiment) -> None:
        run_on_board(with_what, port="unix", out=tmp_path / "next.mcap", resume=tmp_path / log)

    with pytest.raises(ExperimentError, match=r"run\.mcap: is of another experiment or seed"):
        go_on("run.mcap", experiment.with_seed(9))
    with pytest.raises(ExperimentError, match=r"sim\.mcap: is the simulator's"):
        go_on("sim.mcap")
    with pytest.raises(BoardError, match=r"no checkpoint of the run in .*run\.mcap.*checkpoint_every above 0"):
        go_on("run.mcap")
    assert not (tmp_path / "next.mcap").exists()
    assert not (tmp_path / "next.mcap.partial").exists()


def test_a_board_without_checkpoints_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    experiment = with_run(shortened("xor"), checkpoint_every=2)
    port: Any = SimpleNamespace(name="m")
    held: Any = SimpleNamespace(profile=SimpleNamespace(firmware="small", name="microbit"))
    with pytest.raises(BoardError, match=r"port m: microbit keeps no checkpoints; set run\.checkpoint_every = 0"):
        run_over(experiment, port, None, tmp_path / "run.mcap", held=held)
    assert list(tmp_path.iterdir()) == []


def test_a_log_that_goes_on_is_held_to_its_experiment_all_the_same(deployed_flash: Path, tmp_path: Path) -> None:
    experiment = with_run(shortened("xor", trials=6), checkpoint_every=2)
    run_on_board(experiment, port="unix", out=tmp_path / "run.mcap")
    run_on_board(with_run(experiment), port="unix", out=tmp_path / "next.mcap", resume=tmp_path / "run.mcap")
    run = read_run(tmp_path / "next.mcap")
    head, mem = run.states["initial"]

    def replayed(name: str, states: dict[str, tuple[bytes, bytes]]) -> str:
        with Recorder(tmp_path / name, dataclasses.replace(run.header, source="sim")) as recorder:
            for label, state in states.items():
                recorder.state(label, *state)
        return replay(tmp_path / name).difference or ""

    assert replayed("same.mcap", {"initial": (head, mem)}) == ""
    assert "lost the state that it began with" in replayed("lost.mcap", {"final": (head, mem)})
    rate = 4 * layout.RATE
    other = head[:rate] + bytes([head[rate] ^ 1]) + head[rate + 1 :]
    assert "another network's or another rule's" in replayed("other.mcap", {"initial": (other, mem)})
    assert "mem has" in replayed("short.mcap", {"initial": (head, mem[:-2])})


def test_headers_that_continue_nothing_are_as_they_always_were() -> None:
    header = RunHeader("board", "", "d", 1, "hebb", 2, 1, 2, False, "plant", started_ns=5)
    metadata = header.to_metadata()
    assert "continues" not in metadata
    assert RunHeader.from_metadata(metadata) == header
    assert (header.first_trial, header.learned) == (0, 0)
    later = dataclasses.replace(header, continues={"log": "a", "run": 7, "trial": 4, "trials": 3})
    assert RunHeader.from_metadata(later.to_metadata()) == later
    assert (later.run, later.first_trial, later.learned) == (7, 5, 3)
    with pytest.raises(ValueError, match="does not say where"):
        RunHeader.from_metadata(dataclasses.replace(header, continues={"log": "a"}).to_metadata())
