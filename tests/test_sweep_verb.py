"""The verb sweep: what it makes, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from subsong.cli import subsong
from subsong.cli.app import BAD_FILE, OK, USAGE
from subsong.experiment import load_experiment
from subsong.experiment_text import example_text
from test_sweep import RATES, rows


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder with a short experiment in it."""
    monkeypatch.chdir(tmp_path)
    text = example_text("xor").replace("trials = 20000", "trials = 100")
    (tmp_path / "mine.toml").write_text(text)
    return tmp_path


def invoke(*args: str) -> Any:
    return CliRunner().invoke(subsong, ["sweep", *args, "-j", "1"])


def test_the_verb_makes_table_picture_and_the_best_experiment(here: Path) -> None:
    args = ("mine.toml", "--vary", RATES, "--seeds", "2", "--seed", "7", "--best", "best.toml")
    result = invoke(*args)
    assert result.exit_code == OK, result.output
    assert "mine: 3 settings\n  runs    6 computed, 0 from the table" in result.stdout
    assert "next: subsong sim best.toml" in result.stdout
    assert (here / "runs" / "mine-sweep.svg").read_text().count("<circle") >= 3
    assert sorted({seed for (seed,) in rows(here / "runs" / "mine-sweep.db", "seed")}) == [7, 8]
    again = json.loads(invoke(*args, "--json").stdout)
    assert (again["computed"], again["present"], again["table"]) == (0, 6, "runs/mine-sweep.db")
    best = min(again["settings"], key=lambda each: each["score"])
    chosen = load_experiment(here / "best.toml")
    assert (chosen.learner.rate_shift, chosen.seed) == (best["setting"]["learner.rate_shift"], 7)


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (
            ["mine.toml", "--vary", "learner.rate_shift=30"],
            USAGE,
            "mine.toml with --vary learner.rate_shift=30: learner.r",
        ),
        (["none.toml"], USAGE, "none.toml: there is no such file"),
        (["mine.toml", "--dask", "tcp://x:1"], USAGE, "--jobs and --dask exclude each other"),
        (["mine.toml", "--cuda"], USAGE, "--cuda: the GPU does all the work"),
        (["mine.toml", "--vary", RATES, "--figure", "x.png"], USAGE, "pictures of sweeps are SVG files"),
        (["mine.toml", "--figure", "x.svg"], USAGE, "nothing varies that could be drawn"),
        (["mine.toml", "--best", "./mine.toml"], USAGE, "mine.toml: would be both the experiment and the best exp"),
        (["mine.toml", "-o", "mine.toml"], USAGE, "would be both the experiment and the table"),
        (["mine.toml", "-o", "y.db", "--best", "y.db"], USAGE, "y.db: would be both the table and the best experiment"),
        (["mine.toml", "--vary", RATES, "-o", "x.svg"], USAGE, "x.svg: would be both the table and the picture"),
        (["mine.toml", "--vary", RATES, "-o", "w.svg", "--figure", "w.svg"], USAGE, "both the table and the picture"),
        (["mine.toml", "--vary", RATES, "-o", "z.db", "--best", "z.svg"], USAGE, "both the picture and the best exp"),
        (["mine.toml", "-o", "text.db"], BAD_FILE, "text.db: cannot be used as a sweep's table: file is not a data"),
        (["mine.toml", "-o", "mine.toml/x.db"], BAD_FILE, "cannot make the folder mine.toml"),
        (
            ["mine.toml", "--seeds", "1", "--best", "no/x.toml"],
            BAD_FILE,
            "no/x.toml: No such file or directory",
        ),
        (["filters"], USAGE, '"board" has no model to simulate'),
    ],
)
def test_the_verb_says_what_is_wrong(here: Path, args: list[str], code: int, said: str) -> None:
    (here / "text.db").write_text("no database\n" * 100)
    before = (here / "mine.toml").read_text()
    result = CliRunner().invoke(subsong, ["sweep", *args, "-j", "1"], catch_exceptions=False)
    assert (result.exit_code, said in result.stderr) == (code, True), result.output
    assert (here / "mine.toml").read_text() == before
