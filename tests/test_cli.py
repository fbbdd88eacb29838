"""The command line: help that teaches, one line for each error, exit codes, and nothing heavy before it is needed."""

import json
import os
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from subsong import console, errors
from subsong.cli import subsong
from subsong.cli.app import BAD_FILE, BUG, DIFFERENT, EXIT_CODES, INTERRUPTED, NO_BOARD, PIPE_CLOSED, USAGE, Verb, Verbs
from subsong.cli.options import load, log_path, show_json, telling_where
from subsong.experiment import load_experiment
from subsong.experiment_text import example_text, parse_toml, to_toml
from subsong.runlog import Recorder, read_run

pytest_plugins = ["subsong_hil.fixtures"]

ROOT = Path(__file__).parents[1]


def _verbs(group: click.Group, path: str = "") -> dict[str, click.Command]:
    """Return every verb by the words that call it: groups are none."""
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        words = f"{path} {name}".strip()
        found |= _verbs(command, words) if isinstance(command, click.Group) else {words: command}
    return found


VERBS = _verbs(subsong)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, no port chosen."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SUBSONG_PORT", raising=False)
    monkeypatch.delenv("SUBSONG_DEBUG", raising=False)
    return tmp_path


def invoke(*args: str) -> Any:
    return CliRunner().invoke(subsong, args)


def process(*args: str, cwd: Path, **options: Any) -> subprocess.Popen[str]:
    """Start the real thing, with pipes."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SUBSONG_")}
    environment |= options.pop("env", {})
    command = [sys.executable, "-m", "subsong", *args]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen(command, cwd=cwd, env=environment, text=True, **pipes)


def complaints(stderr: str) -> list[str]:
    """Check that stderr is nothing but Subsong's own lines; return them without its name."""
    lines = [line for line in stderr.splitlines() if line]  # click closes a terminal's ^C with an empty line
    assert all(line.startswith("subsong: ") for line in lines), stderr
    return [line.removeprefix("subsong: ") for line in lines]


# ------------------------------------------------------------------------------------------------ help


def test_help_shows_every_verb_and_every_exit_code() -> None:
    result = invoke("--help")
    assert result.exit_code == 0
    for verb in ["sim", "run", "deploy", "replay", "compare", "draw", "recover", "boards", "new", "export", "demo"]:
        assert f"  {verb} " in result.output
    for code in EXIT_CODES:
        assert f"\n  {code} " in result.output


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_with_examples(verb: str) -> None:
    command = VERBS[verb]
    assert isinstance(command, Verb)
    first, _, rest = (command.help or "").partition("\n\n")
    assert first.endswith(".")
    assert rest, "a second paragraph says what to know"
    assert command.examples
    for flag in "--help", "-h":
        result = invoke(*verb.split(), flag)
        assert result.exit_code == 0
        for example in command.examples:
            assert f"  # {example.does}\n  {example.command}\n" in result.output
    assert max(map(len, result.output.splitlines())) <= 100


@pytest.mark.parametrize("verb", VERBS)
def test_examples_in_help_are_commands_that_parse(verb: str) -> None:
    for example in VERBS[verb].examples:  # type: ignore[attr-defined]
        for line in example.command.split(" && "):
            if line.startswith("subsong "):
                name = max((name for name in VERBS if f"{line} ".startswith(f"subsong {name} ")), key=len)
                VERBS[name].make_context(name, line.removeprefix(f"subsong {name}").split())


def test_json_is_there_where_a_script_wants_it() -> None:
    with_json = {name for name, verb in VERBS.items() if any("--json" in each.opts for each in verb.params)}
    assert with_json == set(VERBS) - {"new", "demo", "hil proxy"}


def test_docs_are_in_step() -> None:
    from subsong.cli import reference

    for name, content in reference.DOCUMENTS.items():
        text = (ROOT / "docs" / name).read_text(encoding="utf-8")
        assert reference.filled(text, content()) == text, f"docs/{name} is behind: {reference.COMMAND}"


def test_the_experiment_in_the_docs_is_valid(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "experiment.md").read_text(encoding="utf-8")
    path = tmp_path / "docs.toml"
    path.write_text(text.split("```toml\n")[1].split("```")[0])
    assert load_experiment(path).network.layers == (4, 1)


HEAVY = ("gymnasium", "mcap", "numba", "numpy", "pydantic", "rich", "scipy", "serial", "subsong_device", "subsong_hil")


@pytest.mark.parametrize("args", [["--help"], ["run", "--help"], ["--version"], ["nonsense"]])
def test_nothing_heavy_is_imported_before_a_verb_runs(args: list[str]) -> None:
    code = (
        "import sys\nfrom subsong.cli import subsong\n"
        f"try: subsong({args!r}, 'subsong')\nexcept SystemExit: pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"


# ------------------------------------------------------------------------------------------------ usage


@pytest.mark.parametrize(
    ("args", "lines"),
    [
        (["smi"], ["error: no such verb: smi; did you mean `subsong sim`?", "try `subsong --help`"]),
        (["run", "xor"], ["error: Missing option '--port'.", "try `subsong run --help`"]),
        (["sim"], ["error: Missing argument 'EXPERIMENT'.", "try `subsong sim --help`"]),
        (["replay"], ["error: Missing argument 'LOG'.", "try `subsong replay --help`"]),
        (["compare"], ["error: Missing argument 'LOGS...'.", "try `subsong compare --help`"]),
        (
            ["deploy", "--port", "unix", "--learn"],
            ["error: --learn, --skip-pin and --replace-main go with --policy", "try `subsong deploy --help`"],
        ),
        (
            ["sim", "xor", "--no-log", "-o", "x.mcap"],
            ["error: --no-log and --out exclude each other", "try `subsong sim --help`"],
        ),
        (
            ["sim", "xor", "--seed", "x"],
            ["error: Invalid value for '--seed': 'x' is not a valid integer.", "try `subsong sim --help`"],
        ),
    ],
)
def test_a_wrong_command_line_is_told_in_two_lines(here: Path, args: list[str], lines: list[str]) -> None:
    result = invoke(*args)
    assert result.exit_code == USAGE
    assert result.stdout == ""
    assert complaints(result.stderr) == lines


def test_without_arguments_there_is_help() -> None:
    result = invoke()
    assert "Usage: subsong" in result.output
    assert result.exit_code == USAGE


# ------------------------------------------------------------------------------------------------ exit codes

CODES: list[tuple[BaseException, int, list[str]]] = [
    (errors.ExperimentError("f: a: got 1\nf: b: got 2"), USAGE, ["error: f: a: got 1", "error: f: b: got 2"]),
    (errors.PlantError("no such environment"), USAGE, ["error: no such environment"]),
    (errors.EngineError("no such engine"), USAGE, ["error: no such engine"]),
    (errors.PortError("a0: busy"), NO_BOARD, ["error: a0: busy"]),
    (errors.BoardError("refused", 3), NO_BOARD, ["error: refused"]),
    (errors.FirmwareError("redeploy"), NO_BOARD, ["error: redeploy"]),
    (errors.LinkLost("silent"), NO_BOARD, ["error: silent"]),
    (errors.SchemaMismatch("redeploy"), NO_BOARD, ["error: redeploy"]),
    (errors.LogError("cut"), BAD_FILE, ["error: cut"]),
    (errors.ReplayError("arithmetic 2"), BAD_FILE, ["error: arithmetic 2"]),
    (errors.SubsongError("what"), USAGE, ["error: what"]),
    (OSError(28, "No space left on device", "r.html"), BAD_FILE, ["error: r.html: No space left on device"]),
    (KeyboardInterrupt(), INTERRUPTED, ["interrupted"]),
    (
        KeyError("x"),
        BUG,
        ["error: KeyError: 'x'", "this is a bug; run with SUBSONG_DEBUG=1 for the traceback"],
    ),
    (SystemExit(143), 143, []),
]


def failing(error: BaseException) -> Verbs:
    @click.command(cls=Verb)
    def fail() -> None:
        raise error

    return Verbs(name="subsong", sections={"Test": [fail]})


@pytest.mark.parametrize(("error", "code", "lines"), CODES, ids=[type(error).__name__ for error, _, _ in CODES])
def test_an_error_is_a_code_and_its_lines(here: Path, error: BaseException, code: int, lines: list[str]) -> None:
    result = CliRunner().invoke(failing(error), ["fail"])
    assert result.exit_code == code
    assert complaints(result.stderr) == lines
    assert code in EXIT_CODES or code == 143


def test_debugging_shows_the_traceback(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUBSONG_DEBUG", "1")
    result = CliRunner().invoke(failing(errors.LogError("cut")), ["fail"])
    assert "Traceback" in result.stderr
    assert result.stderr.endswith("subsong: error: cut\n")


def test_a_verb_says_no_by_its_exit_code() -> None:
    @click.command(cls=Verb)
    def differ() -> int:
        return DIFFERENT

    assert CliRunner().invoke(Verbs(name="subsong", sections={"Test": [differ]}), ["differ"]).exit_code == DIFFERENT


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        (
            "none.toml",
            None,
            "error: none.toml: there is no such file; `subsong new none.toml` writes one to start from",
        ),
        ("bad.toml", b"seed = \xff", "error: bad.toml: line 1: byte 0xff is not UTF-8; save the file as UTF-8"),
        ("bad.toml", b"seed = ", "error: bad.toml: line 1 (the end): TOML syntax: invalid value"),
    ],
)
def test_a_bad_experiment_ends_a_real_process(here: Path, name: str, content: bytes | None, line: str) -> None:
    if content is not None:
        (here / name).write_bytes(content)
    for verb in ["sim"], ["run", "--port", "unix"]:
        running = process(*verb, name, cwd=here)
        stdout, stderr = running.communicate()
        assert (running.returncode, stdout) == (USAGE, "")
        assert complaints(stderr) == [line]
    assert not (here / "runs").exists()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, INTERRUPTED), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_a_verb_in_order(here: Path, number: signal.Signals, code: int) -> None:
    os.mkfifo(here / "pipe.toml")
    running = process("sim", "pipe.toml", cwd=here)
    # Opening a pipe waits for its reader: once this returns, the verb is at work.
    with (here / "pipe.toml").open("w"):
        running.send_signal(number)
        stdout, stderr = running.communicate()
    assert (running.returncode, stdout) == (code, "")
    assert complaints(stderr) == (["interrupted"] if number == signal.SIGINT else [])


def test_nohup_is_respected(here: Path) -> None:
    os.mkfifo(here / "pipe.toml")
    command = f"trap '' HUP; exec {sys.executable} -m subsong sim pipe.toml"
    running = subprocess.Popen(["sh", "-c", command], cwd=here, stderr=subprocess.PIPE, text=True)
    with (here / "pipe.toml").open("w"):
        running.send_signal(signal.SIGHUP)
    _, stderr = running.communicate()
    assert running.returncode == USAGE, "the pipe ended, and an empty file is no experiment"
    assert len(complaints(stderr)) == 4


def test_whoever_reads_may_go_away(here: Path) -> None:
    for args in ["--help"], ["new", "x"]:
        reading, writing = os.pipe()
        os.close(reading)
        running = process(*args, cwd=here, stdout=writing)
        os.close(writing)
        _, stderr = running.communicate()
        assert (running.returncode, stderr) == (PIPE_CLOSED, "")


def test_a_version_is_told() -> None:
    result = invoke("--version")
    assert result.exit_code == 0
    assert result.output.startswith("subsong ")


# ------------------------------------------------------------------------------------------------ experiments


def test_new_writes_a_file_to_start_from(here: Path) -> None:
    result = invoke("new", "mine", "--kind", "xor", "--learner", "node_perturbation")
    assert result.exit_code == 0
    assert result.stdout == "wrote mine.toml: read it, change it, then `subsong sim mine.toml`\n"
    assert load_experiment("mine.toml").learner.rule == "node_perturbation"
    result = invoke("new", "mine.toml")
    assert result.exit_code == USAGE
    assert complaints(result.stderr) == ["error: mine.toml: is there already; --force overwrites it"]
    assert invoke("new", "mine", "--force").exit_code == 0
    assert load_experiment("mine.toml").plant.kind == "gymnasium"


def test_new_takes_any_example_and_says_which_rules_it_has_numbers_for(here: Path) -> None:
    assert invoke("new", "songbird").exit_code == 0
    assert load_experiment("songbird.toml").learner.rule == "songbird"
    assert invoke("new", "node_perturbation").exit_code == 0
    assert load_experiment("node_perturbation.toml").learner.rule == "node_perturbation"
    assert invoke("new", "mine", "--kind", "parity").exit_code == 0
    assert load_experiment("mine.toml").learner.rule == "node_perturbation"
    result = invoke("new", "other", "--kind", "parity", "--learner", "weight_perturbation")
    assert result.exit_code == USAGE
    assert "none for weight_perturbation: leave --learner out" in result.stderr
    assert not Path("other.toml").exists()


def test_a_rules_name_stands_for_its_example(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    experiment, name = load("songbird", None)
    assert (experiment.learner.rule, name) == ("songbird", "songbird")
    assert complaints(capsys.readouterr().err) == [
        "no file songbird here: using the example song (`subsong new songbird` copies it)"
    ]


def test_a_bare_example_name_is_enough_where_no_file_has_it(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    experiment, name = load("xor", None)
    assert name == "xor"
    assert complaints(capsys.readouterr().err) == [
        "no file xor here: using the example of that name (`subsong new xor` copies it)"
    ]
    (here / "xor").write_text(example_text("cartpole"))
    other, _ = load("xor", 9)
    assert capsys.readouterr().err == ""
    assert (experiment.plant.kind, other.plant.kind, other.seed) == ("task", "gymnasium", 9)


def test_a_log_gets_a_name_that_no_log_has(here: Path) -> None:
    names = set()
    (here / "runs").mkdir()
    for _ in range(3):
        path = log_path("xor", "sim")
        (path if names else path.with_name(path.name + ".partial")).touch()
        names.add(path)
    assert len(names) == 3
    assert all(path.match("runs/xor-sim-*.mcap") for path in names)


def test_a_run_that_ends_early_says_where_its_log_is(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = here / "x.mcap"
    partial = here / "x.mcap.partial"
    for made, told in (
        (partial, f"the log was left open: `subsong recover {partial}` closes it"),
        (
            log,
            f"the log of what happened until then: {log}",
        ),
    ):
        with pytest.raises(FileExistsError), telling_where(log):  # noqa: PT012 - the first line makes what the second meets
            made.touch()
            made.touch(exist_ok=False)
        assert complaints(capsys.readouterr().err) == [told]
    with pytest.raises(errors.LogError), telling_where(log):
        raise errors.LogError("it exists already")
    assert capsys.readouterr().err == "", "a log of another run is not this run's"


# ------------------------------------------------------------------------------------------------ logs


@pytest.mark.parametrize("args", [["replay", "x"], ["recover", "x"], ["compare", "x"], ["draw", "x"], ["export", "x"]])
@pytest.mark.parametrize(
    "content", [None, b"", b"\x89MCAP0\r\n", b"seed = 1\n" * 99], ids=["none", "empty", "cut", "text"]
)
def test_what_is_no_log_is_told_so(here: Path, args: list[str], content: bytes | None) -> None:
    if content is not None:
        (here / "x").write_bytes(content)
    result = invoke(*args)
    assert result.exit_code == BAD_FILE
    assert result.stdout == ""
    assert complaints(result.stderr)[0].startswith("error: ")
    assert {path.name for path in here.iterdir()} <= {"x"}


# ------------------------------------------------------------------------------------------------ screens


def test_plain_progress_is_a_line_a_stage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), console.progress() as progress:  # noqa: PT012 - what comes before must be told
        progress.start("learning", 10)
        progress.advance(3)
        progress.note("a note")
        progress.start("checking")
        progress.advance()
        raise ZeroDivisionError
    assert [line.split(" in ")[0] for line in complaints(capsys.readouterr().err)] == [
        "a note",
        "learning: 3",
        "checking: 1",
    ]


def test_quiet_progress_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress(quiet=True) as progress:
        progress.start("learning", 10)
        progress.advance(3)
        progress.note("a note")
    assert capsys.readouterr() == ("", "")


def test_bars_count_everything_and_give_the_cursor_back(capsys: pytest.CaptureFixture[str]) -> None:
    bars = console.BarProgress()
    bars.start("learning", 1000)
    for _ in range(1000):
        bars.advance()
    bars.note("half way [1/2]")
    bars.start("checking")
    bars.finish()
    bars.finish()
    shown = capsys.readouterr().err
    assert "1000/1000" in shown
    assert "half way [1/2]" in shown
    assert "checking" in shown


def test_screens_are_plain_text(capsys: pytest.CaptureFixture[str]) -> None:
    console.last_screen("done", [("trials", "3"), ("holes", ""), ("log", "x.mcap")], then="subsong replay x.mcap")
    console.table(["port", "note"], [["unix", "here"], ["/dev/ttyACM0", ""]])
    assert capsys.readouterr().out == (
        "done\n  trials  3\n  log     x.mcap\n\n  next: subsong replay x.mcap\n"
        "port          note\nunix          here\n/dev/ttyACM0\n"
    )


def test_a_curve_is_drawn_in_one_line() -> None:
    assert console.sparkline([]) == console.sparkline([1]) == ""
    assert console.sparkline([7, 7, 7]) == "▁▁▁"
    assert console.sparkline([3, 2, 1, 0]) == "█▆▃▁"
    assert len(console.sparkline(list(range(1000)))) == 40


def test_a_terminal_without_unicode_still_gets_its_screen(here: Path) -> None:
    code = "from subsong import console; console.show(['▁▂ é'])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"}, check=True
    )
    assert done.stdout == b"?? ?\n"


def test_json_takes_what_results_hold(capsys: pytest.CaptureFixture[str]) -> None:
    import numpy as np

    show_json({"path": Path("a/b"), "costs": np.array([1, 2]), "mean": np.float64(0.5), "none": None})
    assert json.loads(capsys.readouterr().out) == {"path": "a/b", "costs": [1, 2], "mean": 0.5, "none": None}
    with pytest.raises(TypeError, match="set has no JSON form"):
        show_json({"x": {1}})


# ------------------------------------------------------------------------------------------------ runs


@pytest.fixture
def short(here: Path) -> str:
    """A small experiment's file: 20 trials of xor."""
    tables = parse_toml(example_text("xor"), "xor")
    tables["run"] |= {"trials": 20, "evaluate_every": 10, "stop_cost": -1.0}
    (here / "short.toml").write_text(to_toml(tables))
    return "short.toml"


def test_sim_and_replay_from_end_to_end(here: Path, short: str) -> None:
    result = invoke("sim", short, "--json", "--seed", "7")
    assert (result.exit_code, result.stderr) == (0, "")
    told = json.loads(result.stdout)
    assert told["experiment"] == load_experiment(short).with_seed(7).digest
    assert (told["seed"], told["trials"], len(told["costs"])) == (7, 20, 20)
    log = Path(told["path"])
    assert log.match("runs/short-sim-*.mcap")
    assert log.is_file()

    result = invoke("replay", str(log), "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    told = json.loads(result.stdout)
    assert told["difference"] is None
    assert told["checked"] == told["trials"] > 20

    result = invoke("replay", str(log))
    assert result.stdout.startswith(f"{log}: equal, bit for bit\n")


def test_the_last_screen_of_sim_says_what_happened(here: Path, short: str) -> None:
    result = invoke("sim", short, "-o", "logs/x.mcap")
    assert result.exit_code == 0
    assert result.stdout.startswith("short: learned in the simulator, on the nominal plant\n")
    for fact in ("weight_perturbation, two_sided, seed 1", "20 of at most 20", "after 20 trials", "logs/x.mcap"):
        assert fact in result.stdout
    result = invoke("sim", short, "-o", "logs/x.mcap")
    assert result.exit_code == BAD_FILE
    assert "exists already" in complaints(result.stderr)[-1]
    assert "the log of" not in result.stderr
    result = invoke("sim", short, "--no-log", "--engine", "cpython", "--json")
    assert json.loads(result.stdout)["path"] is None
    assert [path.name for path in here.iterdir() if path.is_dir()] == ["logs"]


def test_a_difference_is_exit_code_1(here: Path, short: str) -> None:
    invoke("sim", short, "-o", "x.mcap")
    run = read_run(Path("x.mcap"))
    head, mem = run.states["initial"]
    with Recorder(here / "altered.mcap", run.header) as recorder:
        recorder.state("initial", head, bytes([mem[0] ^ 1]) + mem[1:])
        recorder.state("final", *run.states["final"])
    result = invoke("replay", "altered.mcap")
    assert result.exit_code == DIFFERENT
    assert result.stdout.startswith("altered.mcap: DIFFERENT\n")
    assert "initial state" in result.stdout
    result = invoke("replay", "altered.mcap", "--json")
    assert result.exit_code == DIFFERENT
    assert "initial state" in json.loads(result.stdout)["difference"]


class Impatient(console.SilentProgress):
    """Presses Ctrl-C after ten units of learning."""

    def __init__(self) -> None:
        self.done = 0

    def advance(self, n: int = 1) -> None:
        """Count."""
        self.done += n
        if self.done == 10:
            raise KeyboardInterrupt


def test_an_interrupted_run_leaves_a_log_that_replays(here: Path, short: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "progress", lambda quiet=False: nullcontext(Impatient()))  # noqa: ARG005 - its signature
    result = invoke("sim", short, "-o", "x.mcap")
    assert result.exit_code == INTERRUPTED
    assert complaints(result.stderr)[-2:] == ["the log of what happened until then: x.mcap", "interrupted"]
    monkeypatch.undo()
    monkeypatch.chdir(here)
    assert len(read_run(Path("x.mcap")).summaries()) == 10
    assert invoke("replay", "x.mcap").exit_code == 0


def test_recover_saves_what_a_cut_log_holds(here: Path, short: str) -> None:
    invoke("sim", short, "-o", "x.mcap")
    result = invoke("recover", "x.mcap", "--json")
    assert json.loads(result.stdout) == {"path": "x.mcap", "written": False, "trials": 22, "lost": []}
    data = Path("x.mcap").read_bytes()
    Path("cut.mcap").write_bytes(data[: len(data) * 2 // 3])
    result = invoke("recover", "cut.mcap", "-o", "saved.mcap")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0].endswith(" trials: saved.mcap")
    assert invoke("replay", "saved.mcap").exit_code == 0
    result = invoke("recover", "cut.mcap", "-o", "saved.mcap")
    assert result.exit_code == BAD_FILE, "a log that is there is not overwritten"


def test_compare_writes_a_report(here: Path, short: str) -> None:
    for seed in ("1", "2"):
        invoke("sim", short, "-o", f"{seed}.mcap", "--seed", seed)
    result = invoke("compare", "1.mcap", "2.mcap", "-o", "r.html", "--episodes", "1")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.endswith("report: r.html\n")
    assert Path("r.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    result = invoke("compare", "1.mcap", "2.mcap", "-o", "r.html", "--episodes", "1", "--json")
    assert json.loads(result.stdout)["path"] == "r.html"


def test_boards_lists_what_port_takes(here: Path) -> None:
    result = invoke("boards", "--json")
    assert result.exit_code == 0
    assert "unix" in [board["port"] for board in json.loads(result.stdout)["boards"]]
    assert invoke("boards").stdout.startswith("port")


@pytest.mark.parametrize("args", [["deploy"], ["run", "xor"]])
def test_a_port_that_is_not_there_is_one_error(here: Path, args: list[str]) -> None:
    for port, words in (
        ("a250", "there is no such port"),
        ("nonsense", "no such name"),
        ("socket://127.0.0.1:1", "cannot connect"),
    ):
        result = invoke(*args, "--port", port)
        assert (result.exit_code, result.stdout) == (NO_BOARD, "")
        assert words in result.stderr
        assert len([line for line in complaints(result.stderr) if line.startswith("error: ")]) == 1
    assert not list(here.iterdir())


def test_the_environment_may_name_the_port(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUBSONG_PORT", "a250")
    result = invoke("run", "xor")
    assert result.exit_code == NO_BOARD
    assert "a250" in result.stderr or "ttyACM250" in result.stderr


@pytest.fixture
def board(board_cache: Path) -> str:
    """An embedded board of this test's own, beside what is compiled already."""
    return "unix"


def test_a_board_learns_and_its_log_replays(here: Path, short: str, board: str) -> None:
    result = invoke("run", short, "--port", board, "-o", "x.mcap")
    assert result.exit_code == NO_BOARD
    assert "subsong deploy" in result.stderr, "what to do about a board without firmware"
    result = invoke("deploy", "--port", board, "--json")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["manifest"]["files"]
    result = invoke("deploy", "--port", board)
    assert "nothing: all was there" in result.stdout
    result = invoke("run", short, "--port", board, "-o", "x.mcap", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["trials"] == 20
    assert invoke("replay", "x.mcap").exit_code == 0


def test_a_learned_policy_goes_to_a_board(here: Path, short: str, board: str) -> None:
    invoke("sim", short, "-o", "x.mcap")
    result = invoke("export", "x.mcap", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout) == {"path": "x.policy.json"}
    result = invoke("export", "x.mcap", "-o", "y.json")
    assert result.stdout == "policy: y.json\n"
    assert Path("x.policy.json").read_bytes() == Path("y.json").read_bytes()
    result = invoke("deploy", "--port", board, "--policy", "y.json", "--learn", "--skip-pin", "7", "--json")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)["policy"]
    assert (told["learn"], told["skip_pin"], told["drives"]) == (True, 7, True)
    result = invoke("deploy", "--port", board, "--policy", "y.json")
    assert result.exit_code == 0, result.stderr
    assert "policy y.json: starts at the next power-on, frozen\n" in result.stdout
    Path("y.json").write_text("{}")
    result = invoke("deploy", "--port", board, "--policy", "y.json")
    assert result.exit_code == BAD_FILE
