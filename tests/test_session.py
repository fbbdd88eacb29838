"""Whole runs: in the simulator, on genuine MicroPython behind a serial port, and when that one dies."""

from pathlib import Path

import pytest

from learning import PENDULUM, RULES, cut_off, shortened
from subsong.block import build_block
from subsong.board_session import run_on_board
from subsong.errors import BoardError, ExperimentError, LogError, PlantError, PortError
from subsong.experiment import parse_experiment
from subsong.ports import open_port
from subsong.replay import replay
from subsong.runlog import Run, read_run
from subsong.session import evaluate, simulate
from subsong_device import faults

pytest_plugins = ["subsong_hil.fixtures"]


def same(one: Run, other: Run) -> None:
    """Demand that two runs have the same words throughout."""
    assert one.states == other.states
    left, right = list(one.iter_trials()), list(other.iter_trials())
    assert len(left) == len(right) > 0
    for a, b in zip(left, right, strict=True):
        assert (a.steps, a.summary, a.last_cost) == (b.steps, b.summary, b.last_cost)


EXPERIMENTS = {
    **{f"{name}, {rule}": shortened(name, rule) for name in ("xor", "cartpole") for rule in RULES},
    "pendulum": parse_experiment(PENDULUM, "test"),
    "pendulum, normalised": parse_experiment(
        PENDULUM.replace("rate_shift = 8", "rate_shift = 8\nspread_shift = 2\nanneal = true"), "test"
    ),
}


@pytest.mark.parametrize("engine", ["native", pytest.param("numba", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_compilers_and_cpython_learn_word_for_word_alike(name: str, engine: str, tmp_path: Path) -> None:
    for each in (engine, "cpython"):
        simulate(EXPERIMENTS[name], out=tmp_path / f"{each}.mcap", engine=each)
    run = read_run(tmp_path / f"{engine}.mcap")
    assert run.header.engine["engine"] == engine
    same(run, read_run(tmp_path / "cpython.mcap"))


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_board_learns_word_for_word_what_the_simulator_learns_on_the_same_plant(
    name: str, deployed_flash: Path, tmp_path: Path
) -> None:
    experiment = EXPERIMENTS[name]
    ran = run_on_board(experiment, port="unix", out=tmp_path / "board.mcap")
    simulated = simulate(experiment, out=tmp_path / "sim.mcap", mismatch=True)
    same(read_run(tmp_path / "board.mcap"), read_run(tmp_path / "sim.mcap"))
    assert (ran.costs, ran.evaluations, ran.steps) == (simulated.costs, simulated.evaluations, simulated.steps)
    assert replay(tmp_path / "board.mcap").difference is None


def test_the_board_gets_the_bytes_that_the_simulator_starts_from(deployed_flash: Path, tmp_path: Path) -> None:
    experiment = EXPERIMENTS["cartpole, weight_perturbation"]
    block = build_block(experiment)
    run_on_board(experiment, port="unix", out=tmp_path / "board.mcap")
    run = read_run(tmp_path / "board.mcap")
    assert run.states["initial"] == (block.head, block.mem)
    assert run.header.engine["block"] == block.digest
    assert run.header.experiment_digest == experiment.digest
    assert run.header.manifest["digest"]


def test_a_run_evaluates_when_told_and_once_more_at_its_end(tmp_path: Path) -> None:
    result = simulate(shortened("xor", trials=10, evaluate_every=4), out=None)
    assert [trials for trials, _ in result.evaluations] == [4, 8, 10]
    result = simulate(shortened("xor", trials=250, evaluate_every=0), out=None)
    assert [trials for trials, _ in result.evaluations] == [250]
    assert len(result.costs) == 250


def test_evaluating_moves_nothing(tmp_path: Path) -> None:
    finals = []
    for every in (0, 1, 3):
        out = tmp_path / f"{every}.mcap"
        simulate(shortened("xor", trials=20, evaluate_every=every), out=out)
        finals.append(simulate(shortened("xor", trials=20, evaluate_every=every), out=None).costs)
    assert finals[0] == finals[1] == finals[2]


def test_frozen_weights_cost_the_same_every_time_and_differ_by_plant() -> None:
    experiment = shortened("cartpole", steps=500)
    block = build_block(experiment)
    costs = [
        evaluate(experiment, block.rule, block.head, block.mem, mismatch=mismatch, episodes=5)
        for mismatch in (False, False, True)
    ]
    assert costs[0] == costs[1] != costs[2]


def test_a_board_that_dies_ends_the_run_with_one_error_and_a_readable_log(deployed_flash: Path, tmp_path: Path) -> None:
    log = tmp_path / "run.mcap"
    cut_off(shortened("cartpole", trials=50), log, 5)
    run = read_run(log)
    assert [event.kind for event in run.events if event.kind == "error"] == ["error"]
    ended = [trial for trial in run.iter_trials() if trial.summary]
    assert len(ended) >= 5
    replayed = replay(log)
    assert replayed.difference is None
    assert replayed.checked == len(ended)
    assert not log.with_name("run.mcap.partial").exists()


def test_a_network_too_large_for_the_boards_memory_is_refused_in_a_sentence(
    deployed_flash: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUBSONG_HEAP", "512K")
    toml = PENDULUM.replace("[3, 5, 1]", "[3, 400, 400, 1]").replace('["tanh", ', '["tanh", "tanh", ')
    with pytest.raises(BoardError, match="heap are free") as caught:
        run_on_board(parse_experiment(toml, "test"), port="unix", out=tmp_path / "run.mcap")
    assert caught.value.code == faults.NO_MEMORY


def test_a_network_that_does_not_fit_the_plant_is_refused_with_both_keys() -> None:
    toml = PENDULUM.replace("[3, 5, 1]", "[2, 5, 2]")
    with pytest.raises(ExperimentError, match=r"(?s)layers\[0\].*3.*layers\[-1\].*1"):
        simulate(parse_experiment(toml, "test"), out=None)


def test_a_log_that_is_there_is_not_overwritten_and_the_board_is_left_at_its_prompt(
    deployed_flash: Path, tmp_path: Path
) -> None:
    log = tmp_path / "run.mcap"
    run_on_board(shortened("xor"), port="unix", out=log)
    before = log.read_bytes()
    with pytest.raises(LogError, match="exists"):
        run_on_board(shortened("xor"), port="unix", out=log)
    assert log.read_bytes() == before
    run_on_board(shortened("xor"), port="unix", out=tmp_path / "again.mcap")


def test_a_cost_that_does_not_fit_its_word_is_refused_instead_of_learned_from() -> None:
    toml = PENDULUM.replace("cost_lsb = 0.01", "cost_lsb = 1e-9")
    with pytest.raises(PlantError, match=r"trial 0.*plant\.cost_lsb"):
        simulate(parse_experiment(toml, "test"), out=None)


def test_a_heap_too_small_for_the_firmware_is_said_to_be(
    deployed_flash: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUBSONG_HEAP", "64K")
    with pytest.raises(BoardError, match="heap is too small"):
        run_on_board(shortened("xor"), port="unix", out=tmp_path / "run.mcap")


def test_a_socket_without_a_port_is_refused_in_a_sentence() -> None:
    with pytest.raises(PortError, match="socket://HOST:PORT"):
        open_port("socket://nohost")
