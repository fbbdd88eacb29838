"""Before a learner moves a plant of the board's own: a dry run, which moves nothing, and a run at reduced authority."""

import json
import random
from array import array
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from subsong.board_session import run_on_board
from subsong.cli import subsong
from subsong.dry_run import SHOWN, Channel, dry_run
from subsong.errors import BoardError, ExperimentError
from subsong.experiment import parse_experiment
from subsong.experiment_plant import BoardPlant
from subsong.experiment_text import example_text
from subsong.replay import replay
from subsong.runlog import read_run
from subsong_device import plant_check
from test_board_plant import EXAMPLE, HEAD, Plant, experiment_of, guard_of, words_of

pytest_plugins = ["subsong_hil.fixtures"]

# A plant that would say so if it were moved.
STILL = EXAMPLE.read_text() + "\nstart = reset\ndef reset(seed):\n    1 // 0\nactuate = reset\nstart(1)\n"


# One that raises where a word goes further than a twentieth of the way.
BOUNDED = """
put = actuate
def actuate(u):
    put(u)
    assert all(-200 <= (word ^ 0x8000) - 0x8000 <= 200 for word in u)
"""


def at(authority: float, **plant: object) -> BoardPlant:
    found = experiment_of(authority=authority, **plant).plant
    assert isinstance(found, BoardPlant)
    return found


# ------------------------------------------------------------------------------------------ reduced authority


@pytest.mark.parametrize(
    ("authority", "ranges", "safe", "held"),
    [
        (1.0, "[[-1000, 3000], [-4000, 4000]]", "[200, 0]", [(-1000, 3000), (-4000, 4000)]),
        (0.5, "[[-1000, 3000], [-4000, 4000]]", "[200, 0]", [(-400, 1600), (-2000, 2000)]),
        (0.1, "[[0, 100], [-32768, 32767]]", "[0, -32768]", [(0, 10), (-32768, -26215)]),
        (0.001, "[[0, 100], [7, 8]]", "[100, 7]", [(100, 100), (7, 7)]),
    ],
)
def test_words_go_a_share_of_the_way_from_the_safe_word(
    authority: float, ranges: str, safe: str, held: list[tuple[int, int]]
) -> None:
    """Towards either limit; a share that is no whole word is cut, never rounded up."""
    keys = {"actuator_range": ranges, "actuator_safe": safe}
    assert [limits[:2] for limits in at(authority, **keys).actuators(2)] == held
    words = words_of(authority=authority, **keys)
    plant_check.check_plant(words, 4, 2)
    plant = Plant()
    guard = guard_of(plant, words)
    guard.begin(HEAD)
    random_ = random.Random(1)
    for _ in range(200):
        guard.sense(array("H", [0] * 4))
        guard.step(array("H", [random_.randrange(65536), random_.randrange(65536)]))
        assert plant.out is not None
        assert all(low <= word <= high for word, (low, high) in zip(plant.out, held, strict=True))


def test_full_authority_is_what_there_was_before() -> None:
    assert experiment_of(authority=1.0).digest == experiment_of().digest
    assert experiment_of(authority=0.5).digest != experiment_of().digest
    assert experiment_of().with_authority(0.5).digest == experiment_of(authority=0.5).digest
    for wrong in (0, 1.5, -0.1):
        with pytest.raises(ExperimentError, match=r"plant\.authority: got .* \(allowed: a number, above 0, up to 1\)"):
            experiment_of(authority=wrong)
    with pytest.raises(ExperimentError, match=r"plant\.authority: only the board's own plant has one"):
        parse_experiment(example_text("xor"), "test").with_authority(0.5)


def test_a_run_at_reduced_authority_says_so_and_replays(deployed_flash: Path, tmp_path: Path) -> None:
    (deployed_flash / "plant.py").write_text(EXAMPLE.read_text() + BOUNDED)
    log = tmp_path / "run.mcap"
    experiment = experiment_of()
    with pytest.raises(BoardError, match=r"in actuate\(\)"):
        run_on_board(experiment, port="unix", out=tmp_path / "whole.mcap")
    run_on_board(experiment.with_authority(0.05), port="unix", out=log)
    run = read_run(log)
    assert run.header.plant.startswith("plant.py on the board, at 0.05 of its authority, sha256 ")
    assert "authority = 0.05\n" in run.header.experiment_toml
    words = [word for trial in run.iter_trials() for step in trial.steps for word in step.u]
    assert max(map(abs, words)) > 200, "the learner's own words are what is logged"
    assert replay(log).difference is None


# ------------------------------------------------------------------------------------------ a dry run


def test_what_a_dry_run_shows_is_what_the_guard_would_put_out() -> None:
    keys: dict[str, Any] = {"actuator_range": "[[-1000, 3000], [-4000, 4000]]", "actuator_slew": "[500, 65535]"}
    limits = at(0.7, **keys).actuators(2)
    plant = Plant()
    guard = guard_of(plant, words_of(authority=0.7, **keys))
    channels = [Channel(*each) for each in limits]
    random_ = random.Random(2)
    for _ in range(5):
        guard.begin(HEAD)
        for channel in channels:
            channel.begin()
        for _ in range(40):
            u = [random_.randrange(-32768, 32768) >> random_.randrange(6) for _ in range(2)]
            guard.sense(array("H", [0] * 4))
            guard.step(array("H", [word & 0xFFFF for word in u]))
            assert [channel.take(word) for channel, word in zip(channels, u, strict=True)] == plant.out
    assert channels[0].slewed > channels[1].slewed == 0
    assert channels[1].clipped > 0


def test_in_a_dry_run_the_guard_calls_nothing_that_moves() -> None:
    words = words_of()
    words[plant_check.DRY] = 1
    plant = Plant()
    guard = guard_of(plant, words)
    for _ in range(2):
        guard.begin(HEAD)
        for _ in range(3):
            guard.sense(array("H", [0] * 4))
            assert guard.step(array("H", [9, 9])) == plant.steps
        guard.finish()
    assert {told[0] for told in plant.told} == {"safe", "sense", "cost"}
    assert plant.told[0] == ("safe",)
    guard.start(words_of(), 4, 2)  # and the next run does move
    guard.begin(HEAD)
    guard.sense(array("H", [0] * 4))
    guard.step(array("H", [9, 9]))
    assert plant.out == [9, 9]


def test_a_dry_run_on_a_board_moves_nothing_and_says_what_it_would_do(
    deployed_flash: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (deployed_flash / "plant.py").write_text(STILL)
    found = dry_run(experiment_of(stuck_steps=3), port="unix")
    assert (found.trials, found.steps, len(found.sensors), len(found.shown)) == (2, 24, 4, SHOWN)
    assert found.timing.steps == 24
    for channel in found.actuators:
        assert channel.asked is not None
        assert channel.out is not None
        assert -4000 <= channel.out[0] <= channel.out[1] <= 4000
        assert channel.asked != (0, 0), "the learner perturbs"
    file = tmp_path / "mine.toml"
    file.write_text(experiment_of(stuck_steps=3).to_toml())
    arguments = ["run", str(file), "--port", "unix", "--dry-run"]
    said = CliRunner().invoke(subsong, [*arguments, "--authority", "0.5"]).output
    assert "2, 24 steps; nothing moved, nothing is kept" in said
    assert "would have gone out" in said
    told = json.loads(CliRunner().invoke(subsong, [*arguments, "--json"]).stdout)
    assert told["actuators"][0]["low"] == -4000
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".toml" and path.name != "cache"] == []


def test_a_dry_run_in_the_loop_does_not_move_the_hosts_plant(deployed_flash: Path, tmp_path: Path) -> None:
    assert deployed_flash.exists()
    found = dry_run(parse_experiment(example_text("cartpole"), "test"), port="unix")
    assert found.trials == 2
    assert all(low == high for low, high in found.sensors), "it stands where reset() has put it"
    said = CliRunner().invoke(subsong, ["run", "xor", "--port", "unix", "--dry-run", "-o", str(tmp_path / "x.mcap")])
    assert said.exit_code == 2
    assert "--dry-run writes no log" in said.output
