"""A search over what a sweep varies: Optuna's tree-structured Parzen estimator, one setting a try.

The table has what was tried, in order, and every try draws from a generator of its own: a search that was cut off goes
on to the same tries, value for value, as if it had never been. Its study is made from the table whenever it is needed.
"""

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from subsong.console import Progress
from subsong.errors import SubsongError, TableError
from subsong.experiment_text import toml_value
from subsong.sweep.grid import Vary, parse_varied
from subsong.sweep.table import Table

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution


def need_optuna() -> None:
    """Raise SubsongError where there is no Optuna."""
    try:
        import optuna  # noqa: F401 - whether it is there is the question
    except ImportError:
        raise SubsongError("--search needs optuna: pip install 'subsong[search]'") from None


def search(
    varied: Sequence[Vary],
    seeds: Sequence[int],
    tries: int,
    table: Table,
    score_of: Callable[[Mapping[str, Any]], float],
    progress: Progress,
) -> list[tuple[dict[str, Any], float]]:
    """Search until there have been so many tries, those that the table has included.

    Args:
        varied: the keys, and what each may be.
        seeds: under which every setting is run; others make another search.
        tries: how many, in all.
        table: has the tries before, and is told of each.
        score_of: runs the experiment with these values, and returns its score.
        progress: told how far it is.

    Returns:
        The values of every try, and its score.
    """
    import optuna

    identity = _identity(varied, seeds)
    done = table.searched(identity)[:tries]
    study, distributions = _study(varied, done)
    tried = [(_values(varied, parameters), score) for parameters, score in done]
    progress.start("searching", tries)
    progress.advance(len(tried))
    for number in range(len(tried), tries):
        study.sampler = optuna.samplers.TPESampler(seed=number)
        trial = study.ask(distributions)
        values = _values(varied, trial.params)
        score = score_of(values)
        table.add_searched(identity, number, trial.params, score)
        study.tell(trial, score)
        if score < min((each for _, each in tried), default=float("inf")):
            said = ", ".join(f"{key} = {toml_value(value)}" for key, value in values.items())
            progress.note(f"try {number + 1}: {score:.6g}, the best so far: {said}")
        tried.append((values, score))
        progress.advance()
    progress.finish()
    return tried


def open_study(path: Path) -> "Study":
    """Return the last search of a sweep's table as an Optuna study, for its plots and its importances.

    Raises:
        SubsongError: there is no Optuna.
        TableError: the table cannot be read, or has no search.
    """
    need_optuna()
    try:
        database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        rows = database.execute(
            "SELECT search, parameters, score FROM searched WHERE search = "
            "(SELECT search FROM searched ORDER BY rowid DESC LIMIT 1) ORDER BY number"
        ).fetchall()
        database.close()
    except sqlite3.Error as error:
        raise TableError(f"{path}: cannot be read as a sweep's table: {error}") from error
    if not rows:
        raise TableError(f"{path}: has no search; `subsong sweep --search N` makes one")
    varied = parse_varied(json.loads(rows[0][0])["vary"])
    return _study(varied, [(json.loads(parameters), score) for _, parameters, score in rows])[0]


def _identity(varied: Sequence[Vary], seeds: Sequence[int]) -> str:
    return json.dumps({"vary": [f"{vary.key}={vary.text}" for vary in varied], "seeds": [seeds[0], seeds[-1]]})


def _study(
    varied: Sequence[Vary], done: Sequence[tuple[Mapping[str, Any], float]]
) -> "tuple[Study, dict[str, BaseDistribution]]":
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = {vary.key: _distribution(vary) for vary in varied}
    study = optuna.create_study()
    study.add_trials(
        [
            optuna.trial.create_trial(params=dict(parameters), distributions=distributions, value=score)
            for parameters, score in done
        ]
    )
    return study, distributions


def _distribution(vary: Vary) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if vary.range is None:
        return CategoricalDistribution([toml_value(value) for value in vary.values])
    if vary.range.whole:
        assert vary.range.step is not None
        return IntDistribution(vary.values[0], vary.values[-1], step=int(vary.range.step))
    if vary.range.step is None:
        return FloatDistribution(float(vary.range.low), float(vary.range.high))
    return FloatDistribution(vary.values[0], vary.values[-1], step=float(vary.range.step))


def _values(varied: Sequence[Vary], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return a try's values: Optuna knows listed ones by text, decimals nearly, and reals too finely."""
    return {vary.key: _value(vary, parameters[vary.key]) for vary in varied}


def _value(vary: Vary, parameter: Any) -> Any:
    if vary.range is None:
        return next(value for value in vary.values if toml_value(value) == parameter)
    if vary.values:
        return min(vary.values, key=lambda value: abs(value - parameter))
    return min(max(float(f"{parameter:.4g}"), float(vary.range.low)), float(vary.range.high))
