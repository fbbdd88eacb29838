"""Replay: nothing differs in an honest log, and one flipped bit names its trial."""

import json
import random
import shutil
from pathlib import Path

import pytest

from learning import RULES, flip_bits, shortened
from runlog_sessions import Copier, Message, rewrite
from subsong.board_session import run_on_board
from subsong.console import SilentProgress
from subsong.errors import LogError, ReplayError
from subsong.policy import export_policy, load_policy
from subsong.replay import ReplayResult, _Player, replay
from subsong.runlog import Recorder, read_run, recover
from subsong.session import simulate
from subsong_device import layout
from subsong_sim.engines import LocalLearner

pytest_plugins = ["subsong_hil.fixtures"]


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory, firmware_flash: Path) -> dict[str, Path]:
    """A log of the simulator, of a board with the plant in the loop, and of a board with a task of its own."""
    folder = tmp_path_factory.mktemp("logs")
    with pytest.MonkeyPatch.context() as patch:
        cache = folder / "cache"
        shutil.copytree(firmware_flash, cache / "boards" / "unix")
        patch.setenv("SUBSONG_CACHE", str(cache))
        run_on_board(shortened("cartpole", trials=4, evaluate_every=0), port="unix", out=folder / "loop.mcap")
        run_on_board(shortened("xor", RULES[1], trials=4, evaluate_every=0), port="unix", out=folder / "task.mcap")
    simulate(shortened("cartpole", trials=4, evaluate_every=0), out=folder / "sim.mcap")
    return {name: folder / f"{name}.mcap" for name in ("sim", "loop", "task")}


@pytest.mark.parametrize("name", ["sim", "loop", "task"])
def test_an_honest_log_replays_whole(logs: dict[str, Path], name: str) -> None:
    result = replay(logs[name])
    assert result.difference is None
    assert result.checked == result.trials == len(read_run(logs[name]).summaries()) > 4
    assert result.holes == 0


@pytest.mark.parametrize(("name", "engine"), [("sim", "numba"), ("loop", "native"), ("task", "native")])
def test_who_wrote_a_log_does_not_check_it(logs: dict[str, Path], name: str, engine: str) -> None:
    run = read_run(logs[name])
    player = _Player(run, run.states["initial"])
    assert player.learner.engine == engine != run.header.engine.get("engine")


def _flip(message: Message, what: str, bits: random.Random) -> Message:
    """Flip one bit of one sensor, actuator or cost word of a step."""
    step = json.loads(message[1])
    if what == "cost":
        step["cost"] ^= 1 << bits.randrange(28)
    else:
        i = bits.randrange(len(step[what]))
        word = (step[what][i] & 0xFFFF) ^ 1 << bits.randrange(16)
        step[what][i] = (word ^ 0x8000) - 0x8000
    return message[0], json.dumps(step, separators=(",", ":")).encode()


@pytest.mark.slow
@pytest.mark.parametrize("what", ["x", "u", "cost"])
@pytest.mark.parametrize("name", ["sim", "loop", "task"])
def test_one_flipped_bit_of_any_recorded_word_names_its_trial(
    logs: dict[str, Path], tmp_path: Path, name: str, what: str
) -> None:
    bits = random.Random(f"{name} {what}")
    copier = Copier(logs[name])
    steps = [i for i, (topic, _) in enumerate(copier.messages) if topic == "/step"]
    for number in bits.sample(steps, min(12, len(steps))):
        altered = list(copier.messages)
        altered[number] = _flip(altered[number], what, bits)
        trial = json.loads(altered[number][1])["trial"]
        copy = rewrite(logs[name], tmp_path / "copy.mcap", lambda _, altered=altered: altered)
        difference = replay(copy).difference
        assert difference is not None
        assert f"trial {trial}" in difference, (difference, altered[number])


@pytest.mark.parametrize("name", ["loop", "task"])
def test_one_flipped_bit_of_a_raw_frame_is_a_difference(logs: dict[str, Path], tmp_path: Path, name: str) -> None:
    bits = random.Random(3)
    copier = Copier(logs[name])
    frames = [i for i, (topic, _) in enumerate(copier.messages) if topic.startswith("/wire")]
    for number in bits.sample(frames, 12):
        copy = copier.flip(tmp_path / "copy.mcap", number, bits.randrange(8 * len(copier.messages[number][1])))
        difference = replay(copy).difference
        assert difference is not None
        assert "trial" in difference


def test_a_log_of_another_arithmetic_is_refused(logs: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subsong.replay.ARITHMETIC_VERSION", layout.ARITHMETIC_VERSION + 1)
    now = layout.ARITHMETIC_VERSION
    with pytest.raises(ReplayError, match=rf"arithmetic version {now}; .* version {now + 1}"):
        replay(logs["loop"])


def test_what_is_no_log_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="missing"):
        replay(tmp_path / "missing.mcap")
    (tmp_path / "text.mcap").write_text("hello")
    with pytest.raises(LogError, match=r"text\.mcap"):
        replay(tmp_path / "text.mcap")


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_log_cut_off_replays_as_far_as_it_goes(logs: dict[str, Path], tmp_path: Path, share: float) -> None:
    data = logs["loop"].read_bytes()
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(data[: int(share * len(data))])
    assert replay(recover(cut, tmp_path / "whole.mcap")).difference is None


@pytest.mark.slow
def test_damage_on_the_wire_is_mended_and_the_log_still_replays(
    deployed_flash: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flip_bits(monkeypatch, every=7)
    result = run_on_board(shortened("cartpole"), port="unix", out=tmp_path / "run.mcap")
    assert result.counters["retries"] > 0
    assert result.counters["damaged"] > 0
    replayed = replay(tmp_path / "run.mcap")
    assert (replayed.difference, replayed.holes) == (None, 0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_after_a_hole_in_the_telemetry_replay_goes_on_from_the_boards_snapshot(
    deployed_flash: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    flip_bits(monkeypatch, every=5, seed=seed)
    result = run_on_board(shortened("xor", trials=60, evaluate_every=20), port="unix", out=tmp_path / "run.mcap")
    assert result.counters["holes"] > 0
    replayed = replay(tmp_path / "run.mcap")
    assert replayed.difference is None
    assert replayed.holes > 0
    assert replayed.checked > 0
    assert replayed.checked + replayed.skipped <= replayed.trials + replayed.skipped


def test_a_snapshot_of_another_learner_is_a_difference_and_is_not_executed(
    logs: dict[str, Path], tmp_path: Path
) -> None:
    run = read_run(logs["sim"])
    trials = list(run.iter_trials())
    learner = LocalLearner(run.header.rule, *run.states["initial"], "cpython")
    for trial in trials[:2]:
        learner.begin(trial.number, bool(trial.evaluate))
        for step in trial.steps:
            learner.act(step.cost, step.x)
        assert trial.last_cost is not None
        learner.end(trial.last_cost)
    head, mem = learner.state()

    def replayed(name: str, head: bytes, mem: bytes) -> ReplayResult:
        with Recorder(tmp_path / name, run.header) as recorder:
            recorder.state("initial", *run.states["initial"])
            recorder.state("trial-000001", head, mem)
            for trial in (trials[0], *trials[2:]):
                for step in trial.steps:
                    recorder.step(step)
                assert trial.summary is not None and trial.last_cost is not None
                recorder.trial(trial.summary, trial.last_cost)
        return replay(tmp_path / name)

    found = replayed("honest.mcap", head, mem)
    assert (found.difference, found.holes, found.checked) == (None, 1, len(trials) - 1)
    at = 4 * layout.SIGNALS_AT
    elsewhere = head[:at] + (1 << 30).to_bytes(4, "little") + head[at + 4 :]
    assert "state after trial 1: words 7 to 18 of head" in str(replayed("elsewhere.mcap", elsewhere, mem).difference)
    assert "state after trial 1: mem has" in str(replayed("short.mcap", head, mem[:-2]).difference)


def test_an_interrupted_run_has_no_hole(tmp_path: Path) -> None:
    class Interrupt(SilentProgress):
        def advance(self, n: int = 1) -> None:  # noqa: ARG002 - Progress's signature
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(shortened("cartpole"), out=tmp_path / "run.mcap", progress=Interrupt())
    result = replay(tmp_path / "run.mcap")
    assert (result.difference, result.holes) == (None, 0)


def test_what_an_interrupted_run_had_learned_can_be_exported(tmp_path: Path) -> None:
    class Interrupt(SilentProgress):
        left = 3

        def advance(self, n: int = 1) -> None:
            self.left -= n
            if not self.left:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(shortened("cartpole", trials=50, evaluate_every=0), out=tmp_path / "cut.mcap", progress=Interrupt())
    ended = len(read_run(tmp_path / "cut.mcap").summaries())
    policy = load_policy(export_policy(tmp_path / "cut.mcap"))
    simulate(shortened("cartpole", trials=ended, evaluate_every=0), out=tmp_path / "whole.mcap")
    head, mem = read_run(tmp_path / "whole.mcap").states["final"]
    n = int.from_bytes(head[4 * layout.N_WEIGHTS : 4 * layout.N_WEIGHTS + 4], "little")
    assert policy.mem[: 2 * n] == mem[: 2 * n]


def test_exporting_over_a_log_is_refused_and_the_log_stays(logs: dict[str, Path], tmp_path: Path) -> None:
    log = Path(shutil.copy(logs["sim"], tmp_path / "run.mcap"))
    before = log.read_bytes()
    with pytest.raises(LogError, match="no policy"):
        export_policy(log, log)
    assert log.read_bytes() == before
    out = export_policy(log, tmp_path / "policy.json")
    assert export_policy(log, out) == out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["policy.json", "run.mcap"]
