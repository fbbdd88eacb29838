"""Searches of a sweep: the same tries whatever stops them, kept in its table, a study of Optuna's."""

from pathlib import Path
from typing import NoReturn

import pytest

from subsong.errors import ExperimentError, TableError
from subsong.experiment_text import toml_value
from subsong.sweep import open_study, sweep
from test_sweep import RATES, At, plan, rows

SPACE = ("learner.rate_shift=9:15:2", "learner.amplitude=0.02:0.4", "network.layers=[2,4,1],[2,6,1]", "run.steps=4")


def test_a_search_goes_on_as_if_it_had_never_stopped(tmp_path: Path) -> None:
    pytest.importorskip("optuna", reason="needs optuna: pip install -e '.[dev]'")
    whole, cut = tmp_path / "whole.db", tmp_path / "cut.db"
    first = sweep(plan(*SPACE, seeds=2, tries=14), whole, jobs=1)

    def stop() -> NoReturn:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(plan(*SPACE, seeds=2, tries=14), cut, jobs=1, progress=At(5, stop))
    second = sweep(plan(*SPACE, seeds=2, tries=12), cut, jobs=1)
    assert second.scores == first.scores[:12]
    assert second.computed < len(second.summaries) * 2, "five tries were there"
    third = sweep(plan(*SPACE, seeds=2, tries=14), cut, jobs=1)
    assert third.scores == first.scores
    assert [each.to_json() for each in third.summaries] == [each.to_json() for each in first.summaries]
    assert rows(cut) == rows(whole)
    for summary in first.summaries:
        values = summary.setting.values
        assert values["learner.rate_shift"] in (9, 11, 13, 15)
        assert 0.02 <= values["learner.amplitude"] <= 0.4
        assert len(toml_value(values["learner.amplitude"])) <= 7
        assert values["network.layers"] in ([2, 4, 1], [2, 6, 1])


def test_a_search_is_a_study_of_optunas(tmp_path: Path) -> None:
    optuna = pytest.importorskip("optuna", reason="needs optuna: pip install -e '.[dev]'")
    path = tmp_path / "sweep.db"
    outcome = sweep(plan(RATES, seeds=2, tries=4), path, jobs=1)
    optuna.logging.set_verbosity(optuna.logging.INFO)
    study = open_study(path)
    assert optuna.logging.get_verbosity() == optuna.logging.WARNING, "nothing is logged where nobody asked"
    assert [trial.value for trial in study.trials] == outcome.scores
    assert study.best_value == min(outcome.scores)
    assert study.best_params.keys() == {"learner.rate_shift"}
    sweep(plan(RATES, seeds=1), tmp_path / "grid.db", jobs=1)
    with pytest.raises(TableError, match="has no search"):
        open_study(tmp_path / "grid.db")
    with pytest.raises(TableError, match="cannot be read as a sweep's table"):
        open_study(tmp_path / "none.db")
    assert not (tmp_path / "none.db").exists()


def test_a_search_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match="--search: there is nothing to search"):
        sweep(plan(tries=3), tmp_path / "sweep.db", jobs=1)
