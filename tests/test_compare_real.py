"""Comparing real logs: the simulator's, and those of genuine MicroPython behind a serial port."""

from pathlib import Path

import pytest
from mcap.reader import make_reader

from compare_logs import CARTPOLE, XOR
from subsong.board_session import run_on_board
from subsong.compare import compare
from subsong.errors import LogError
from subsong.experiment import parse_experiment
from subsong.session import simulate

pytest_plugins = ["subsong_hil.fixtures"]

SHORT = (
    CARTPOLE.replace("trials = 120", "trials = 12\nevaluate_every = 6\nevaluate_episodes = 2")
    .replace("steps = 500", "steps = 60")
    .replace("stop_cost = -475.0", "")
)


def both(toml: str, folder: Path, seeds: tuple[int, ...]) -> list[Path]:
    """Learn in the simulator and on a board, under every seed."""
    logs = []
    for seed in seeds:
        experiment = parse_experiment(toml, "test").with_seed(seed)
        logs += [folder / f"sim{seed}.mcap", folder / f"board{seed}.mcap"]
        simulate(experiment, out=logs[-2])
        run_on_board(experiment, port="unix", out=logs[-1])
    return logs


def test_learning_on_micropython_has_no_arithmetic_gap(deployed_flash, tmp_path):
    logs = both(SHORT, tmp_path, (1, 2))
    result = compare(logs, tmp_path / "report.html", margin=5.0, episodes=5)
    assert result.arithmetic_equal is True
    # 12 learning trials and two evaluations of two episodes, on either board run.
    assert result.verdict[0].startswith("Arithmetic: no gap. 32 trials of 2 board runs")
    assert [each["side"] for each in result.details["runs"]] == ["software", "hardware"] * 2
    assert [each["plant"] for each in result.details["runs"]] == ["nominal", "mismatched"] * 2
    assert result.details["statistics"]["own"]["runs"] == {"software": 2, "hardware": 2}
    assert result.details["notes"] == []
    link, timing = (part for part in result.details["gap"] if part["part"] in {"Link", "Timing"})
    assert link["finding"] == "nothing lost"
    assert "Round trip: median" in timing["text"]
    # The nominal model foretells the simulator's logs, word for word, and not the board's, whose cart is another one.
    model = result.details["model"]
    assert model["software"]["exact"]
    assert model["hardware"]["trials"] == 2 * 16
    assert max(model["hardware"]["rms_after_steps"]["5"]["share_of_range"]) > 0.01
    # Both sides' sensors show what the words hold.
    words = result.details["resolution"]["words"]
    assert [max(use["bits"] for use in words[side]["sensors"]) for side in words] == [16, 16]
    # The final weights of a log, evaluated here, are those that the run ended with: bit for bit the same costs again.
    again = compare(logs, tmp_path / "again.html", margin=5.0, episodes=5)
    assert again.transfer == result.transfer
    page = result.path.read_text(encoding="utf-8")
    assert "bytecode" in page
    assert "force_mag" in page


def test_a_task_that_runs_on_the_board_costs_mean_squared_errors(deployed_flash, tmp_path):
    logs = both(XOR, tmp_path, (1,))
    result = compare(logs, tmp_path / "report.html")
    assert result.arithmetic_equal is True
    weights = result.transfer["weights"]
    # The same seed, the same task, no plant between them: the same weights, and the same error.
    assert weights["software"]["nominal"]["mean"] == weights["hardware"]["nominal"]["mean"]
    assert 0 < weights["software"]["nominal"]["mean"] < 1
    assert result.verdict[1].startswith("Plant: one plant.")


def test_a_damaged_log_is_named(deployed_flash, tmp_path):
    logs = both(SHORT, tmp_path, (1,))
    data = bytearray(logs[1].read_bytes())
    with logs[1].open("rb") as file:
        summary = make_reader(file).get_summary()
    # One bit in the middle of the chunk that holds the middle of the run; chunks are compressed and carry a CRC.
    chunk = summary.chunk_indexes[len(summary.chunk_indexes) // 2]
    data[chunk.chunk_start_offset + chunk.chunk_length // 2] ^= 1
    logs[1].write_bytes(data)
    with pytest.raises(LogError, match=r"board1\.mcap"):
        compare(logs, tmp_path / "report.html", episodes=2)
