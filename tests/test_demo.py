"""The demonstration, short: one seed. `make demo` is the whole of it."""

from pathlib import Path

import pytest

from subsong.demo import main

pytest_plugins = ["subsong_hil.fixtures"]
pytestmark = pytest.mark.slow


def test_the_demonstration_learns_replays_and_compares(
    board_flash: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(seeds=(2,)) == 0
    shown = capsys.readouterr().out
    assert shown.count("replayed bit for bit, no difference") == 2
    reports = sorted(path.name for path in tmp_path.glob("runs/demo-*/*.html"))
    assert reports == ["node_perturbation.html", "weight_perturbation.html"]
    assert len(list(tmp_path.glob("runs/demo-*/*.mcap"))) == 4
    assert list(board_flash.rglob("manifest.json"))
