"""The table of a sweep: one SQLite file, one row a run, which a kill at any moment leaves readable.

    results     the view to read: every varied key a column, then the run
    runs        one row a run; its digest, that of the experiment under its seed, is the key, so it arrives once
    settings    the experiment of each setting, as TOML and as JSON
    searched    what a search has tried, and what came of it
    varied      the keys that became columns
    sweep       what experiment it is

One process writes, a chunk's runs in one transaction.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from subsong.errors import TableError
from subsong.experiment import Experiment
from subsong.sweep.grid import Setting, under
from subsong.sweep.work import Done, Run
from subsong_device.layout import ARITHMETIC_VERSION

APPLICATION = 0x53756253  # "SubS": what tells the file from other SQLite files
FORMAT = 1
WAIT_S = 60  # for another sweep that writes to the same table

_TABLES = """
CREATE TABLE sweep (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE varied (key TEXT PRIMARY KEY);
CREATE TABLE settings (
    setting INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, experiment TEXT NOT NULL, toml TEXT NOT NULL
);
CREATE TABLE runs (
    digest TEXT PRIMARY KEY, setting INTEGER NOT NULL REFERENCES settings, seed INTEGER NOT NULL, rule TEXT NOT NULL,
    trials INTEGER NOT NULL, steps INTEGER NOT NULL, final_cost REAL NOT NULL, reached_at INTEGER,
    stopped TEXT NOT NULL, evaluations TEXT NOT NULL, chunk_runs INTEGER NOT NULL, chunk_seconds REAL NOT NULL,
    subsong TEXT NOT NULL, numba TEXT NOT NULL
);
CREATE INDEX runs_of_setting ON runs (setting, seed);
CREATE TABLE searched (
    search TEXT, number INTEGER, parameters TEXT NOT NULL, score REAL NOT NULL, PRIMARY KEY (search, number)
);
"""
_RUN = "digest, seed, rule, trials, steps, final_cost, reached_at, stopped, evaluations"
_SHOWN = "seed, rule, trials, steps, final_cost, reached_at, stopped, chunk_seconds / chunk_runs AS seconds"


class Table:
    """A sweep's table, opened or made. Use it in a `with`.

    Args:
        path: of the file.
        base: the experiment that is varied; its seed does not matter.
        mismatch: whether the sweep learns on the plant that a board would meet.

    Attributes:
        path: of the file.

    Raises:
        TableError: it cannot be opened, is something else, or holds another sweep.
    """

    def __init__(self, path: Path, base: Experiment, mismatch: bool) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TableError(
                f"cannot make the folder {path.parent}: {error.strerror}; choose another place with -o"
            ) from None
        with self._telling():
            self._db = sqlite3.connect(path, timeout=WAIT_S, isolation_level=None)
        try:
            with self._telling(), self._transaction():
                self._own(under(base, 0), mismatch)
                self._known = {digest for (digest,) in self._db.execute("SELECT digest FROM runs")}
        except BaseException:
            self._db.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def _own(self, base: Experiment, mismatch: bool) -> None:
        """Make the tables, or see that they are this sweep's."""
        own = {"experiment": base.digest, "mismatch": str(mismatch), "arithmetic": str(ARITHMETIC_VERSION)}
        if not self._db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            for statement in filter(str.strip, _TABLES.split(";")):
                self._db.execute(statement)
            self._db.execute(f"PRAGMA application_id = {APPLICATION}")
            self._db.execute(f"PRAGMA user_version = {FORMAT}")
            self._db.executemany("INSERT INTO sweep VALUES (?, ?)", {**own, "toml": base.to_toml()}.items())
            self._view()
            return
        application, version = (
            self._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
        )
        if application != APPLICATION or version != FORMAT:
            raise TableError(f"{self.path}: is no table of a sweep that this Subsong can read; choose another with -o")
        there = dict(self._db.execute("SELECT key, value FROM sweep"))
        for key, what in (
            ("experiment", "of another experiment, or of this one before it was changed"),
            ("mismatch", f"{'without' if mismatch else 'with'} --mismatch"),
            ("arithmetic", f"by arithmetic version {there.get('arithmetic')}, which is not this Subsong's"),
        ):
            if there.get(key) != own[key]:
                raise TableError(f"{self.path}: holds a sweep {what}; choose another table with -o")

    def __len__(self) -> int:
        """Return how many runs there are."""
        return len(self._known)

    def vary(self, keys: Sequence[str]) -> None:
        """Give the view a column for each of these keys, beside those that it has."""
        with self._telling(), self._transaction():
            self._db.executemany("INSERT OR IGNORE INTO varied VALUES (?)", [(key,) for key in keys])
            self._view()

    def _view(self) -> None:
        keys = [key for (key,) in self._db.execute("SELECT key FROM varied ORDER BY rowid")]
        columns = "".join(f"json_extract(experiment, {_quoted(_json_path(key))}) AS {_name(key)}, " for key in keys)
        self._db.execute("DROP VIEW IF EXISTS results")
        self._db.execute(
            f"CREATE VIEW results AS SELECT setting, {columns}{_SHOWN} FROM runs JOIN settings USING (setting) "  # noqa: S608 - quoted
            "ORDER BY setting, seed"
        )

    def missing(self, setting: Setting, seeds: Sequence[int]) -> list[int]:
        """Return the seeds under which the setting has no run yet."""
        return [seed for seed in seeds if under(setting.experiment, seed).digest not in self._known]

    def add_settings(self, settings: Sequence[Setting]) -> None:
        """Enter settings; those that are there stay as they are."""
        rows = [
            (each.digest, json.dumps(plain.model_dump(mode="json", exclude_none=True)), plain.to_toml())
            for each in settings
            for plain in [under(each.experiment, 0)]
        ]
        with self._telling(), self._transaction():
            self._db.executemany("INSERT OR IGNORE INTO settings (digest, experiment, toml) VALUES (?, ?, ?)", rows)

    def add(self, done: Done) -> int:
        """Enter a chunk's runs, all of them or none; return how many are new: a run that is there stays as it is.

        Its setting must be there.
        """
        rows = [
            (
                *run[:-1],
                json.dumps(run.evaluations),
                len(done.runs),
                done.seconds,
                done.subsong,
                done.numba,
                done.chunk.setting,
            )
            for run in done.runs
        ]
        before = self._db.total_changes
        with self._telling(), self._transaction():
            self._db.executemany(
                f"INSERT OR IGNORE INTO runs ({_RUN}, chunk_runs, chunk_seconds, subsong, numba, setting) "  # noqa: S608 - constants
                f"VALUES ({'?, ' * 13} (SELECT setting FROM settings WHERE digest = ?))",
                rows,
            )
        self._known.update(run.digest for run in done.runs)
        return self._db.total_changes - before

    def runs(self, setting: Setting, seeds: Sequence[int]) -> list[Run]:
        """Return a setting's runs under consecutive seeds, those that are there, in the order of their seeds."""
        where = "setting = (SELECT setting FROM settings WHERE digest = ?) AND seed BETWEEN ? AND ? ORDER BY seed"
        with self._telling():
            found = self._db.execute(
                f"SELECT {_RUN} FROM runs WHERE {where}",  # noqa: S608 - constants
                (setting.digest, seeds[0], seeds[-1]),
            ).fetchall()
        return [Run._make([*row[:-1], tuple(map(tuple, json.loads(row[-1])))]) for row in found]

    def searched(self, search: str) -> list[tuple[dict[str, Any], float]]:
        """Return what a search has tried: parameters and score, in order."""
        with self._telling():
            found = self._db.execute(
                "SELECT parameters, score FROM searched WHERE search = ? ORDER BY number", (search,)
            ).fetchall()
        return [(json.loads(parameters), score) for parameters, score in found]

    def add_searched(self, search: str, number: int, parameters: Mapping[str, Any], score: float) -> None:
        """Enter the next try of a search."""
        with self._telling(), self._transaction():
            self._db.execute(
                "INSERT OR IGNORE INTO searched VALUES (?, ?, ?, ?)", (search, number, json.dumps(parameters), score)
            )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise TableError(
                f"{self.path}: cannot be used as a sweep's table: {error}; choose another with -o"
            ) from error


def _json_path(key: str) -> str:
    return "$" + "".join(f'."{part}"' for part in key.split("."))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _name(key: str) -> str:
    return '"' + key.replace('"', '""') + '"'
