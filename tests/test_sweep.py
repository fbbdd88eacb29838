"""Sweeps: what varies and what is refused; runs that arrive once, whoever computes and whoever is killed."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from subsong.console import SilentProgress
from subsong.errors import ExperimentError, SubsongError, TableError
from subsong.experiment import parse_experiment
from subsong.experiment_text import example_text, parse_toml, to_toml
from subsong.session import simulate
from subsong.sweep import Plan, sweep
from subsong.sweep.grid import grid, parse_varied, parse_vary
from subsong.sweep.work import GROUP, MOST_SINGLES, chunks, compute
from subsong.sweep.workers import Workers, workers

XOR = parse_toml(example_text("xor"), "xor")
CARTPOLE = parse_toml(example_text("cartpole"), "cartpole")
RATES = "learner.rate_shift=11:13"


def short(trials: int = 200) -> dict[str, Any]:
    """XOR, cut to so many trials: some seeds reach its goal by then, some do not."""
    return XOR | {"run": XOR["run"] | {"trials": trials}}


def plan(*vary: str, seeds: int = 3, trials: int = 200, tries: int | None = None) -> Plan:
    return Plan(short(trials), "xor.toml", vary, seeds, tries=tries)


def rows(path: Path, of: str = "*") -> list[tuple[Any, ...]]:
    """What the table says of every run, but for the time that it took."""
    columns = "toml, digest, seed, rule, trials, steps, final_cost, reached_at, stopped, evaluations"
    with sqlite3.connect(path) as database:
        query = f"SELECT {columns if of == '*' else of} FROM (SELECT * FROM runs JOIN "
        query += "(SELECT setting, toml FROM settings) USING (setting)) ORDER BY toml, seed"
        return database.execute(query).fetchall()


class At(SilentProgress):
    """Does something once, when so many units are done."""

    def __init__(self, count: int, act: Callable[[], object]) -> None:
        self.left, self.act, self.notes = count, act, list[str]()

    def advance(self, n: int = 1) -> None:
        """Count, and act."""
        before, self.left = self.left, self.left - n
        if before > 0 >= self.left:
            self.act()

    def note(self, text: str) -> None:
        """Keep it."""
        self.notes.append(text)


# ---------------------------------------------------------------------------------------------------- what varies


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("4:9", [4, 5, 6, 7, 8, 9]),
        ("-1:1", [-1, 0, 1]),
        ("4:4", [4]),
        ("4:16:5", [4, 9, 14]),
        ("0.1:0.5:0.1", [0.1, 0.2, 0.3, 0.4, 0.5]),
        ("1:2:0.5", [1.0, 1.5, 2.0]),
        ("1e-3:3e-3:1e-3", [0.001, 0.002, 0.003]),
        ("0.01:0.5", []),
        ("0,0.1", [0, 0.1]),
        ("7", [7]),
        ("true, false", [True, False]),
        ("tanh,logistic", ["tanh", "logistic"]),
        ('"a,b",c', ["a,b", "c"]),
        ("it's,that's, 'x,y'", ["it's", "that's", "x,y"]),
        ('"a,b","c"', ["a,b", "c"]),
        ("[2,4,1],[2,8,1]", [[2, 4, 1], [2, 8, 1]]),
        ("CartPole-v1,x:Y-v0", ["CartPole-v1", "x:Y-v0"]),
    ],
)
def test_values_are_ranges_lists_and_names(text: str, values: list[Any]) -> None:
    found = parse_vary(f"table.key={text}")
    assert found.key == "table.key"
    assert [(type(value), value) for value in found.values] == [(type(value), value) for value in values]


@pytest.mark.parametrize(
    ("vary", "said"),
    [
        (["learner.rate_shift"], "--vary learner.rate_shift: is no KEY=VALUES, such as"),
        (["=4"], "is no KEY=VALUES"),
        (["learner.=4"], "is no KEY=VALUES"),
        (["learner.rate="], "is no KEY=VALUES"),
        (["learner.rate=1,,2"], "has an empty value"),
        (["learner.rate_shift=9:4"], "a range goes up; write 4:9"),
        (["learner.rate_shift=4:9:0"], "its step is 0 (allowed: above 0)"),
        (["learner.rate=1:1000000000"], "makes more than 10,000 values; give a step"),
        (["learner.rate=0:1:1e-5"], "makes more than 10,000 values; give a larger step"),
        (["learner.rate=0:1:1e-999999999"], "makes more than 10,000 values; give a larger step"),
        (["learner.rate=0:1e999999999:1"], "its numbers are too large"),
        (
            ["learner.rate_shift=1:1000", "learner.amplitude=0.001:1:0.001"],
            "--vary: 1,000,000 combinations of values (allowed: at most 100,000); give fewer, or --search",
        ),
        (["learner.amplitude=0.1:0.2"], "has no end of values; give a step, as in 0.1:0.5:0.1, or --search"),
        (["seed=1:9"], "seeds are not varied but counted: --seeds"),
        (["learner.rate=1", "learner.rate=2"], "--vary learner.rate: comes twice"),
        (
            ["learner.rate_shift=28:30"],
            "xor.toml with --vary learner.rate_shift=30: learner.rate_shift: got 30 (allowed: a whole number, 0 to 29)",
        ),
        (
            ["learner.rate_shft=4"],
            "--vary learner.rate_shft=4: learner.rate_shft: unknown key; did you mean rate_shift?",
        ),
        (["lerner.rate=4"], "--vary lerner.rate=4: lerner: unknown key; did you mean learner?"),
        (["learner=4"], "--vary learner=4: learner: got 4"),
        (["learner.rule.x=4"], "--vary learner.rule.x=4: learner.rule: is no table, so it has no key x"),
        (["learner.rule=magic"], "learner.rule: got the text 'magic' (allowed: "),
        (["network.layers=[2,4,4,1]"], "network.activations: names 2 for the 3 layers after the input"),
        (["plant.mismatch.sensor_bits=8"], "the simulator leaves [plant.mismatch] out without --mismatch"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_before_anything_is_made(tmp_path: Path, vary: list[str], said: str) -> None:
    with pytest.raises(ExperimentError) as caught:
        sweep(plan(*vary), tmp_path / "sweep.db", jobs=1)
    assert said in str(caught.value)
    assert "--vary" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("vary", "said", "at"),
    [
        ("plant.parameters.gravity=9.8,-1", "plant.parameters.gravity: ", "plant.parameters.gravity = -1"),
        ("plant.parameters.frictn=1", "plant.parameters.frictn: CartPole has no such", "plant.parameters.frictn = 1"),
        ("network.layers=[4,4],[4,1]", "network.layers[-1]: is 4 (allowed: 1, the", "network.layers = [4, 4]"),
        ("plant.id=CartPole-v1,Acrobot-v1", "plant.sensor_range: 4 pairs for the 6", 'plant.id = "Acrobot-v1"'),
    ],
)
def test_a_plant_that_cannot_be_is_told_before_anything_is_made(tmp_path: Path, vary: str, said: str, at: str) -> None:
    with pytest.raises(SubsongError) as caught:
        sweep(Plan(CARTPOLE, "cartpole", [vary], 2), tmp_path / "sweep.db", jobs=1)
    assert str(caught.value).startswith(said)
    assert caught.value.__notes__ == [f"at {at}"]
    assert list(tmp_path.iterdir()) == []


def test_a_grid_has_every_combination_once() -> None:
    settings = grid(XOR, "xor", parse_varied(["learner.rate_shift=11:12", "learner.amplitude=0.1,0.2,0.10"]))
    assert [list(each.values.values()) for each in settings] == [[11, 0.1], [11, 0.2], [12, 0.1], [12, 0.2]]
    assert [each.experiment.learner.amplitude for each in settings] == [0.1, 0.2, 0.1, 0.2]
    assert settings[0].label == "learner.rate_shift = 11, learner.amplitude = 0.1"


def test_a_varied_key_is_as_if_the_file_said_it() -> None:
    """A rule's own default estimator, a table that the file has not, another network."""
    text = example_text("xor").replace('estimator = "two_sided"', "#")
    varied = parse_varied(["learner.rule=weight_perturbation,node_perturbation", "learner.tau=2"])
    found = grid(parse_toml(text, "xor"), "xor", varied)
    assert [(each.experiment.learner.rule, each.experiment.learner.tau) for each in found] == [
        ("weight_perturbation", 2),
        ("node_perturbation", 2),
    ]
    (plant,) = grid(CARTPOLE, "cartpole", parse_varied(["plant.parameters.friction_cart=0.1"]))
    assert plant.experiment.plant_spec().parameters == {"friction_cart": 0.1}


def test_chunks_hold_every_seed_once_in_whole_groups() -> None:
    settings = grid(XOR, "xor", parse_varied([RATES]))
    for seeds, sharing in ((1, 1), (200, 2), (5000, 2), (40, 64)):
        made = chunks([(each, range(1, 1 + seeds)) for each in settings], sharing, mismatch=False)
        for each in settings:
            mine = [chunk.seeds for chunk in made if chunk.setting == each.digest]
            assert [seed for part in mine for seed in part] == list(range(1, 1 + seeds))
            assert all(len(part) % GROUP == 0 for part in mine[:-1])


def test_chunks_of_plants_that_are_not_compiled_are_small() -> None:
    tables = CARTPOLE | {"plant": CARTPOLE["plant"] | {"mismatch": {"sensor_bits": 8}}}
    settings = grid(tables, "cartpole", [])
    for mismatch, lengths in ((False, [16, 4]), (True, [1] * 20)):
        made = chunks([(settings[0], range(20))], 2, mismatch=mismatch)
        assert [len(each.seeds) for each in made] == lengths
    assert {len(each.seeds) for each in chunks([(settings[0], range(1000))], 2, mismatch=True)} == {MOST_SINGLES}


# ---------------------------------------------------------------------------------------------------- the table


def test_every_run_is_the_single_run(tmp_path: Path) -> None:
    outcome = sweep(plan(RATES), tmp_path / "sweep.db", jobs=1)
    assert (outcome.computed, outcome.present) == (9, 0)
    found = iter(rows(tmp_path / "sweep.db"))
    for shift in (11, 12, 13):
        for seed in (1, 2, 3):
            (setting,) = grid(short(), "xor", parse_varied([f"learner.rate_shift={shift}"]))
            single = simulate(setting.experiment.with_seed(seed), out=None)
            reached = [trials for trials, cost in single.evaluations if cost <= 0.04]
            assert next(found)[1:] == (
                setting.experiment.with_seed(seed).digest, seed, "weight_perturbation", single.trials, single.steps,
                single.final, min(reached, default=None), single.stopped, json.dumps(single.evaluations),
            )  # fmt: skip
    assert next(found, None) is None


def test_a_sweep_computes_only_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "sweep.db"
    first = sweep(plan(RATES), path, jobs=1)
    before = rows(path)
    again = sweep(plan(RATES), path, jobs=1)
    assert (again.computed, again.present) == (0, 9)
    assert [each.to_json() for each in again.summaries] == [each.to_json() for each in first.summaries]
    assert rows(path) == before
    more = sweep(plan("learner.rate_shift=12:14", seeds=4), path, jobs=1)
    assert (more.computed, more.present) == (1 + 1 + 4, 6)
    assert [each.runs for each in more.summaries] == [4, 4, 4]
    assert set(before) <= set(rows(path))


def test_a_chunk_that_comes_twice_changes_nothing(tmp_path: Path) -> None:
    from subsong.sweep.table import Table

    settings = grid(short(), "xor", parse_varied([RATES]))
    with Table(tmp_path / "sweep.db", settings[0].experiment, mismatch=False) as table:
        table.add_settings(settings)
        (chunk,) = chunks([(settings[0], [1, 2])], 1, mismatch=False)
        done = compute(chunk)
        assert table.add(done) == 2
        before = rows(table.path, "rowid, digest, chunk_seconds")
        assert table.add(compute(chunk)) == 0
        assert rows(table.path, "rowid, digest, chunk_seconds") == before
        assert table.missing(settings[0], [1, 2, 3]) == [3]
        assert table.runs(settings[0], [1, 2]) == list(done.runs)


def test_a_run_whose_cost_never_varies_is_told_in_the_table() -> None:
    text = example_text("dc_motor").replace("[plant]", "[plant]\ncost_lsb = 1e6")
    experiment = parse_experiment(text, "dc_motor.toml")
    experiment = experiment.model_copy(
        update={"run": experiment.run.model_copy(update={"trials": 12, "evaluate_every": 0})}
    )
    (chunk,) = chunks([(grid(experiment, "dc_motor", [])[0], [1])], 1, mismatch=False)
    assert compute(chunk).runs[0].stopped.startswith("all trials done; every one of 12 trials cost exactly 0")


def test_the_view_has_a_column_for_every_key_that_was_ever_varied(tmp_path: Path) -> None:
    path = tmp_path / "sweep.db"
    sweep(plan("learner.rate_shift=11,12", seeds=1), path, jobs=1)
    sweep(plan("learner.amplitude=0.2", seeds=1), path, jobs=1)
    with sqlite3.connect(path) as database:
        found = database.execute('SELECT "learner.rate_shift", "learner.amplitude", trials > 0 FROM results').fetchall()
    assert found == [(11, 0.1, 1), (12, 0.1, 1), (12, 0.2, 1)]


def test_a_table_of_something_else_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "sweep.db"
    sweep(plan(RATES, seeds=1), path, jobs=1)
    before = path.read_bytes()
    with pytest.raises(TableError, match="holds a sweep of another experiment, or of this one before it was changed"):
        sweep(plan(RATES, seeds=1, trials=100), path, jobs=1)
    with pytest.raises(TableError, match="holds a sweep without --mismatch"):
        sweep(Plan(short(), "xor.toml", [RATES], 1, mismatch=True), path, jobs=1)
    assert path.read_bytes() == before
    text, other = tmp_path / "text.db", tmp_path / "other.db"
    text.write_text("no database at all, and long enough to be looked at\n" * 100)
    with sqlite3.connect(other) as database:
        database.execute("CREATE TABLE mine (x)")
    for wrong, said in (
        (text, "file is not a database"),
        (other, "is no table of a sweep"),
        (tmp_path, "unable to open"),
    ):
        with pytest.raises(TableError, match=said):
            sweep(plan(RATES, seeds=1), wrong, jobs=1)
    assert rows(path, "seed") == [(1,)] * 3


def test_seeds_begin_with_the_experiments_and_end_in_32_bits(tmp_path: Path) -> None:
    last = Plan(short() | {"seed": 2**32 - 2}, "xor.toml", [], 2)
    sweep(last, tmp_path / "sweep.db", jobs=1)
    assert rows(tmp_path / "sweep.db", "seed") == [(2**32 - 2,), (2**32 - 1,)]
    with pytest.raises(ExperimentError, match="3 seeds from 4294967294 on go beyond"):
        sweep(Plan(last.tables, "xor.toml", [], 3), tmp_path / "sweep.db", jobs=1)


def test_an_error_amid_a_sweep_names_the_setting_and_keeps_the_rest(tmp_path: Path) -> None:
    tables = CARTPOLE | {"run": CARTPOLE["run"] | {"trials": 2, "steps": 5}}
    varied = "plant.cost_lsb=1,1e-9"
    progress = At(10, lambda: None)
    with pytest.raises(SubsongError) as caught:
        sweep(Plan(tables, "cartpole.toml", [varied], 2), tmp_path / "sweep.db", jobs=1, progress=progress)
    assert str(caught.value).startswith("trial 0: its cost does not fit")
    assert caught.value.__notes__ == ["at plant.cost_lsb = 1e-09, seed = 1"]
    assert rows(tmp_path / "sweep.db", "seed") == [(1,), (2,)]
    assert progress.notes == [f"2 runs are in {tmp_path / 'sweep.db'}; the same command goes on from there"]


# ---------------------------------------------------------------------------------------------------- kills

DRIVER = """
import os, signal, sqlite3, sys
from pathlib import Path
import test_sweep
from subsong.sweep import sweep

words, left = sys.argv[2], int(sys.argv[3])

def count(statement):
    global left
    left -= words in statement
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)

connect = sqlite3.connect

def traced(*args, **options):
    database = connect(*args, **options)
    database.set_trace_callback(count)
    return database

sqlite3.connect = traced
sweep(test_sweep.plan(test_sweep.RATES, seeds=20), Path(sys.argv[1]), jobs=1)
"""


@pytest.mark.slow
def test_a_kill_at_any_statement_leaves_whole_chunks_and_the_sweep_goes_on(tmp_path: Path) -> None:
    """While the table is made; at a row of the second chunk, of four; going on, at a row of the third, of sixteen."""
    whole = tmp_path / "whole.db"
    sweep(plan(RATES, seeds=20), whole, jobs=1)
    path, kept = tmp_path / "sweep.db", []
    for words, count in (("TABLE searched", 1), ("INTO runs", 16 + 2), ("INTO runs", 4 + 9)):
        command = [sys.executable, "-c", DRIVER, str(path), words, str(count)]
        done = subprocess.run(command, check=False, env=_environment())
        assert done.returncode == -signal.SIGKILL
        with sqlite3.connect(path) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            made = database.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'runs'").fetchone()[0]
        kept.append(len(rows(path)) if made else None)
    assert kept == [None, 16, 20]
    last = sweep(plan(RATES, seeds=20), path, jobs=1)
    assert (last.present, last.computed) == (20, 40)
    assert rows(path) == rows(whole)


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_processes_end_with_the_sweep_that_started_them(tmp_path: Path, how: signal.Signals) -> None:
    """Ctrl-C, which a terminal sends to all of them, and a kill of the first: none is left, and the table is whole."""
    path, file = tmp_path / "sweep.db", tmp_path / "long.toml"
    file.write_text(to_toml(short(8000)))
    # So small a rate never reaches the goal; so few seeds come in chunks of one group.
    command = [sys.executable, "-m", "subsong", "sweep", str(file), "--vary", "learner.rate_shift=29", "--seeds", "480"]
    process = subprocess.Popen(
        [*command, "-j", "2", "-o", str(path)], start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    with process:
        while not _count(path):
            assert process.poll() is None
            time.sleep(0.02)
        (os.killpg if how == signal.SIGINT else os.kill)(process.pid, how)
        said = process.stderr.read()  # to its end: which comes when the last of them has gone
    if how == signal.SIGINT:
        lines = [line for line in said.splitlines() if line]
        assert process.returncode == 130
        assert all(line.startswith("subsong: ") for line in lines), said
        assert lines[-2:] == [
            f"subsong: {_count(path)} runs are in {path}; the same command goes on from there",
            "subsong: interrupted",
        ]
    else:
        assert process.returncode == -signal.SIGKILL
    for seed, trials, steps in rows(path, "seed, trials, steps")[:2]:
        (setting,) = grid(short(8000), "xor", parse_varied(["learner.rate_shift=29"]))
        single = simulate(setting.experiment.with_seed(seed), out=None)
        assert (trials, steps) == (single.trials, single.steps)


def _count(path: Path) -> int:
    """How many runs a table has; 0 while it is being made."""
    if not path.exists():
        return 0
    database = sqlite3.connect(path)
    try:
        made = database.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'runs'").fetchone()[0]
        return int(database.execute("SELECT count(*) FROM runs").fetchone()[0]) if made else 0
    finally:
        database.close()


# ---------------------------------------------------------------------------------------------------- who computes


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, dict[str, subprocess.Popen[bytes]]]]:
    """A Dask scheduler and two workers: the scheduler's address, and the three processes by name."""
    distributed = pytest.importorskip("distributed", reason="needs distributed: pip install -e '.[dev]'")
    where, processes = tmp_path / "scheduler.json", dict[str, subprocess.Popen[bytes]]()

    def start(name: str, *options: str) -> None:
        command = [sys.executable, "-m", "dask", *options, "--scheduler-file", str(where), "--no-dashboard"]
        processes[name] = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=_environment(), cwd=tmp_path)

    try:
        start("scheduler", "scheduler", "--host", "127.0.0.1", "--port", "0")
        for name in ("one", "two"):
            start(name, "worker", "--name", name, "--nthreads", "1", "--no-nanny")
        with distributed.Client(scheduler_file=str(where), set_as_default=False) as client:
            client.wait_for_workers(2)
        yield json.loads(where.read_text())["address"], processes
    finally:
        for each in processes.values():
            each.kill()
            each.wait()


@pytest.mark.slow
def test_every_executor_makes_the_same_rows_and_a_killed_worker_loses_none(
    tmp_path: Path, cluster: tuple[str, dict[str, subprocess.Popen[bytes]]]
) -> None:
    import distributed

    address, processes = cluster
    varied = ("learner.rate_shift=27:29", "learner.amplitude=0.05,0.1")  # none reaches the goal: chunks take long
    wanted = plan(*varied, seeds=20, trials=1000)
    tables = [tmp_path / f"{name}.db" for name in ("here", "joblib", "dask")]
    sweep(wanted, tables[0], jobs=1)
    sweep(wanted, tables[1], jobs=2)
    busy: list[Any] = []

    def kill_a_worker() -> None:
        # A worker that is stopped keeps what it was given: it dies amid it.
        processes["one"].send_signal(signal.SIGSTOP)
        with distributed.Client(address, set_as_default=False) as client:
            victim = next(at for at, worker in client.scheduler_info()["workers"].items() if worker["name"] == "one")
            busy.extend(client.processing()[victim])
        processes["one"].kill()

    outcome = sweep(wanted, tables[2], scheduler=address, progress=At(1, kill_a_worker))
    assert processes["one"].wait() == -signal.SIGKILL
    assert busy, "it had something to do"
    assert processes["two"].poll() is None
    assert (outcome.computed, outcome.present) == (120, 0)
    assert rows(tables[0]) == rows(tables[1]) == rows(tables[2])
    assert len(rows(tables[2])) == 120

    more = plan(*varied, seeds=60, trials=1000)
    progress = At(121, processes["scheduler"].kill)
    with pytest.raises(SubsongError, match=f"--dask {address}: the scheduler was lost"):
        sweep(more, tables[2], scheduler=address, progress=progress)
    kept = len(rows(tables[2]))
    assert 120 < kept < 360
    assert progress.notes[-1] == f"{kept} runs are in {tables[2]}; the same command goes on from there"
    sweep(more, tables[0], jobs=1)
    sweep(more, tables[2], jobs=1)
    assert rows(tables[0]) == rows(tables[2])


@pytest.mark.parametrize("address", ["ftp://nowhere", "foo"])
def test_an_address_that_is_none_is_told_before_a_client_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    distributed = pytest.importorskip("distributed", reason="needs distributed: pip install -e '.[dev]'")
    monkeypatch.setattr(distributed, "Client", None)
    with pytest.raises(SubsongError, match=rf"--dask {address}: no scheduler answers there \(.+\); `dask scheduler`"):
        sweep(plan(RATES), tmp_path / "sweep.db", scheduler=address)


def test_a_cluster_without_workers_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = pytest.importorskip("distributed", reason="needs distributed: pip install -e '.[dev]'")
    client = SimpleNamespace(ncores=dict, close=lambda: None)
    monkeypatch.setattr(distributed, "Client", lambda *_, **__: client)
    with workers(None, "tcp://a:1") as who:
        assert who.count == 1
        note = "--dask tcp://a:1: has no worker yet; waits for one (`dask worker tcp://a:1`)"
        assert who.note == note
    here = Workers(1, lambda chunks: map(compute, chunks), note)
    monkeypatch.setattr("subsong.sweep.workers", lambda *_: nullcontext(here))
    progress = At(0, lambda: None)
    sweep(plan(seeds=1), tmp_path / "sweep.db", progress=progress)
    assert progress.notes == [note]


def test_processes_that_are_given_up_are_not_told_of() -> None:
    """As Ctrl-C gives them up, amid what is done with a result."""
    (setting,) = grid(short(2000), "xor", parse_varied(["learner.rate_shift=29"]))
    with warnings.catch_warnings(record=True) as told, workers(2, None) as who:
        warnings.simplefilter("always")
        coming = who.compute(chunks([(setting, range(160))], 2, mismatch=False))
        assert isinstance(coming, Generator)
        next(coming)
        coming.close()
    assert not told


@pytest.mark.parametrize(
    ("module", "options", "said"),
    [
        ("distributed", {"scheduler": "tcp://127.0.0.1:1"}, "--dask needs distributed: pip install 'subsong[cluster]'"),
        ("optuna", {"tries": 2}, "--search needs optuna: pip install 'subsong[search]'"),
    ],
)
def test_what_is_not_installed_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, options: Mapping[str, Any], said: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SubsongError) as caught:
        sweep(plan(RATES, tries=options.get("tries")), tmp_path / "sweep.db", scheduler=options.get("scheduler"))
    assert str(caught.value) == said
