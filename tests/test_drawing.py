"""Pictures of runs: the spikes that they show, held against another reckoning; what each shows; and what is refused."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from subsong import song
from subsong.block import build_block
from subsong.cli import subsong
from subsong.cli.app import BAD_FILE, OK, USAGE
from subsong.compare.curves import Curve
from subsong.console import SilentProgress
from subsong.drawing import draw, figure, observe, parts
from subsong.drawing import song as song_figure
from subsong.drawing.columns import column, read_ends
from subsong.errors import ReplayError
from subsong.experiment import Experiment, parse_experiment
from subsong.experiment_text import example_named
from subsong.runlog import Recorder, Run, Trial, read_run
from subsong.session import run_header, simulate
from subsong_device import layout
from subsong_sim.engines import LocalLearner

# What each of the examples is shortened to.
RULES = {"conductance_perturbation": 5, "stochastic_spiking": 3, "hedonistic_synapse": 3, "songbird": 2}


def shortened(name: str, trials: int, every: int = 0) -> Experiment:
    """Return an example of so many trials."""
    experiment = parse_experiment((example_named(name) or ("", ""))[1], name)
    run = experiment.run.model_copy(update={"trials": trials, "evaluate_every": every, "stop_cost": None})
    return experiment.model_copy(update={"run": run})


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a short log of every rule that spikes, an evaluation among its trials, and of exclusive-or."""
    folder = tmp_path_factory.mktemp("logs")
    for name, trials in {**RULES, "xor": 60}.items():
        simulate(shortened(name, trials, every=2), out=folder / f"{name}.mcap", engine="cpython")
    return folder


@pytest.fixture
def need_matplotlib() -> None:
    pytest.importorskip("matplotlib", reason="needs matplotlib: pip install -e '.[dev]'")


def opened(path: Path) -> tuple[Run, Experiment, list[Trial]]:
    """Return a run, its experiment, and its trials that learned."""
    run = read_run(path)
    experiment = parse_experiment(run.header.experiment_toml, str(path))
    return run, experiment, [trial for trial in run.iter_trials() if not trial.evaluate]


# ---------------------------------------------------------------------------------------------------- spikes


class Trains:
    """Filtered spike trains, reckoned from spikes alone, one number a unit of the layers that spike."""

    def __init__(self, rule: str, head: Any) -> None:
        self.conducting = rule in {"conductance_perturbation", "songbird"}
        self.shift = int(head[layout.SYNAPSE_SHIFT if self.conducting else layout.FILTER_SHIFT])
        self.kick = 0x8000 >> int(head[layout.SPIKE_SHIFT]) if self.conducting else int(head[layout.SPIKE])
        self.trains: list[int] = []

    def tick(self, spikes: list[bool]) -> None:
        trains = self.trains or [0] * len(spikes)
        # A train loses 2**-shift of itself, rounded up: -(-a // b) is a / b rounded up.
        faded = [train + (-train // 2**self.shift) for train in trains]
        self.trains = [min(train + self.kick * spike, 0x7FFF) for train, spike in zip(faded, spikes, strict=True)]


def words(rule: str, learner: LocalLearner, n: int) -> list[int]:
    """Return the filtered spike trains of the first n units as the learner's mem has them."""
    at, table = learner.head[layout.UNITS_AT], learner.head[layout.TABLE_AT]
    match rule:
        case "conductance_perturbation" | "songbird":
            first, stride = at + 1, layout.SPIKING_WORDS
        case "stochastic_spiking":
            first, stride = at, 3
        case _:
            first, stride = (at + table) // 2, 1
    return list(learner.mem[first : first + stride * n : stride])


@pytest.mark.parametrize("rule", RULES)
def test_the_trains_that_the_spikes_imply_are_those_in_mem(logs: Path, rule: str) -> None:
    run, _, trials = opened(logs / f"{rule}.mcap")
    learner = LocalLearner(rule, *run.states["initial"], engine="cpython")
    count = ticks = 0
    for trial in trials[:2]:
        trains = Trains(rule, learner.head)
        learner.begin(trial.number, False)
        for step in trial.steps:
            with observe.watching(learner.kernels, rule) as seen:
                learner.act(step.cost, step.x)
            for spikes in zip(*seen.values(), strict=True):
                fired = np.concatenate(spikes).tolist()
                trains.tick(fired)
                count += sum(fired)
                ticks += len(fired)
            assert words(rule, learner, len(trains.trains)) == trains.trains, (trial.number, step.step)
        learner.end(trial.last_cost or 0)
    assert 0.01 * ticks < count < 0.9 * ticks, "enough of both to tell them apart"


@pytest.mark.parametrize("rule", RULES)
def test_the_first_trials_are_played_exactly_and_the_kernels_are_left_as_they_were(logs: Path, rule: str) -> None:
    run, experiment, trials = opened(logs / f"{rule}.mcap")
    kernels = LocalLearner(rule, *run.states["initial"], engine="cpython").kernels
    before = dict(vars(kernels))
    first, last = observe.states(run, experiment)
    played = observe.play(rule, first, trials)
    assert played.exact
    network = experiment.network
    layers = [n for n, kind in zip(network.layers[1:], network.activations, strict=True) if kind != "identity"]
    ticks = sum(len(trial.steps) for trial in trials) * (
        2**experiment.learner.tick_shift if rule == "conductance_perturbation" else 1
    )
    assert [layer.shape for layer in played.layers] == [(ticks, n) for n in layers]
    assert last == run.states["final"]
    assert not observe.play(rule, last, trials).exact, "the run's last state has learned"
    cut = replace(trials[0], steps=trials[0].steps[:3])
    assert observe.play(rule, first, [cut]).exact
    with pytest.raises(ZeroDivisionError), observe.watching(kernels, rule):
        raise ZeroDivisionError
    assert dict(vars(kernels)) == before


def test_the_songs_spikes_are_those_of_the_activations_that_rose(logs: Path) -> None:
    run, _, trials = opened(logs / "songbird.mcap")
    state, trial = run.states["initial"], trials[0]
    # Another reckoning: the activations after each step, of a learner that nobody watches.
    learner = LocalLearner("songbird", *state, engine="cpython")
    n, first, fading = 32, int(learner.head[layout.UNITS_AT]) + 1, int(learner.head[layout.SYNAPSE_SHIFT])
    before, spikes, motor = np.zeros(n, np.int64), [], []
    learner.begin(trial.number, False)
    for step in trial.steps[: song.STEPS]:
        motor.append(learner.act(step.cost, step.x))
        now = np.array(learner.mem[first : first + layout.SPIKING_WORDS * n : layout.SPIKING_WORDS], np.int64)
        spikes.append(now > before - ((before + (1 << fading) - 1) >> fading))
        before = now
    sung = song_figure.rendition(state, trial)
    assert (sung.spikes == np.array(spikes)).all()
    assert (sung.heard == song_figure.heard(motor)).all()
    assert sung.hvc.sum() == song.SENSORS * song.BURST - 4, "the last burst is cut by the song's end"


@pytest.mark.slow  # replay compiles
def test_a_state_that_no_log_holds_is_found_by_replay(logs: Path, tmp_path: Path) -> None:
    run, experiment, _ = opened(logs / "hedonistic_synapse.mcap")
    cut = tmp_path / "cut.mcap"
    recorder = Recorder(cut, run.header)
    for trial in run.iter_trials():
        assert trial.summary is not None
        assert trial.last_cost is not None
        for step in trial.steps:
            recorder.step(step)
        recorder.trial(trial.summary, trial.last_cost)
    recorder.close()
    assert observe.states(read_run(cut), experiment) == (run.states["initial"], run.states["final"])


# ---------------------------------------------------------------------------------------------------- what is shown


def test_columns_are_whole_trials_until_there_are_steps_enough(logs: Path) -> None:
    run, _, trials = opened(logs / "xor.mcap")
    ends = read_ends(run, 10, SilentProgress())
    assert [trial.number for trial in ends.first] == [trial.number for trial in trials[:3]]
    assert [trial.number for trial in ends.last] == [trial.number for trial in trials[-3:]]
    assert ends.evaluation is not None and ends.evaluation.number == trials[-1].number + 1
    shown = column(ends.first, 12)
    assert (shown.edges, shown.cut, len(shown.trials)) == ([4, 8], False, 3)
    assert shown.sensors.tolist() == [list(step.x) for trial in trials[:3] for step in trial.steps]
    assert shown.actuators.tolist() == [list(step.u) for trial in trials[:3] for step in trial.steps]
    totals = [sum(shown.costs[at : at + 4]) for at in (0, 4, 8)]
    assert totals == [trial.summary.total for trial in trials[:3] if trial.summary]
    less = column(ends.first, 6)
    assert (less.edges, less.cut, [len(trial.steps) for trial in less.trials]) == ([4], True, [4, 2])
    assert less.costs.tolist() == shown.costs[:6].tolist()
    assert not less.trials[-1].whole


@pytest.mark.slow
@pytest.mark.usefixtures("need_matplotlib")
@pytest.mark.parametrize(
    ("costs", "scale"), [([0.01, 0.2], "log"), ([0.1, 0.9], "linear"), ([0.0, 5.0], "linear"), ([-9.0, 99.0], "linear")]
)
def test_costs_are_logarithmic_where_they_are_positive_over_more_than_a_decade(costs: list[float], scale: str) -> None:
    axis = parts.new_figure(2).add_subplot()
    parts.logarithmic(axis, np.array(costs))
    assert axis.get_yscale() == scale


@pytest.mark.usefixtures("need_matplotlib")
def test_a_curve_is_the_middle_of_blocks() -> None:
    costs = np.arange(2000.0)
    axis = parts.new_figure(2).add_subplot()
    drawn = parts.learning_curve(axis, Curve(costs, costs, (), 0, 0), "learning", "evaluation")
    (line,) = axis.get_lines()
    assert line.get_xdata()[[0, 1, -1]].tolist() == [9.5, 29.5, 1989.5]
    assert (line.get_ydata() == line.get_xdata()).all()
    assert (drawn.min(), drawn.max()) == pytest.approx((1.9, 1997.1))


@pytest.fixture
def drawn(need_matplotlib: None, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Figures that are kept as they are, in place of becoming PNGs."""
    figures: list[Any] = []

    def keep(made: Any, colours: int) -> bytes:
        figures.append(made)
        return b"a picture"

    monkeypatch.setattr(parts, "png", keep)
    return figures


def texts(made: Any) -> list[str]:
    """Return every text of a figure."""
    from matplotlib.text import Text

    return [text.get_text() for text in made.findobj(Text) if text.get_text()]


@pytest.mark.slow
@pytest.mark.parametrize("rule", [*RULES, "xor"])
def test_any_run_is_drawn(logs: Path, drawn: list[Any], rule: str) -> None:
    run, experiment, _ = opened(logs / f"{rule}.mcap")
    figure.make(run, experiment, SilentProgress())
    (made,) = drawn
    said = texts(made)
    expected = {"sensors", "actuators", "cost,\nstep by step", "cost of a trial", "learning trials"}
    if rule == "xor":
        expected |= {"The first 16 trials", "The last 16 trials"}
        assert not any("spikes" in text for text in said)
    else:
        how = ["played again from the run's first state", "going on from the run's last state: a continuation"]
        expected |= {f"spikes, {each}" for each in how} | {"hidden"} | ({"output"} if rule != "songbird" else set())
    assert expected <= set(said)
    # Every spike is a line of the raster: as many as the first column's trials had.
    if rule in RULES:
        raster = made.axes[2]
        shown = read_ends(run, 64 if rule != "conductance_perturbation" else 16, SilentProgress()).first
        played = observe.play(rule, run.states["initial"], shown)
        lines = sum(len(unit.get_positions()) for unit in raster.collections)
        assert lines == sum(int(layer.sum()) for layer in played.layers) > 0


def test_a_song_has_a_figure_of_its_own(logs: Path, drawn: list[Any], tmp_path: Path) -> None:
    assert draw(logs / "songbird.mcap", tmp_path / "song.png") == tmp_path / "song.png"
    assert {"HVC", "RA", "push 1", "muscle 2", "silence", "template", "After 2 songs, without LMAN"} <= set(
        texts(drawn[0])
    )


def test_a_last_state_that_is_unknown_is_said(logs: Path, drawn: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    run, experiment, _ = opened(logs / "stochastic_spiking.mcap")
    monkeypatch.setattr(figure, "states", lambda *_: (run.states["initial"], None))
    figure.make(run, experiment, SilentProgress())
    assert "spikes unknown: the log has no last state" in texts(drawn[0])


# ---------------------------------------------------------------------------------------------------- the verb


def invoke(*args: str) -> Any:
    return CliRunner().invoke(subsong, ["draw", *args])


@pytest.fixture
def here(tmp_path: Path, logs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with one log in it."""
    shutil.copy(logs / "xor.mcap", tmp_path / "xor.mcap")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SUBSONG_DEBUG", raising=False)
    return tmp_path


@pytest.mark.slow
@pytest.mark.usefixtures("need_matplotlib")
def test_a_picture_lies_beside_its_log(here: Path) -> None:
    result = invoke("xor.mcap")
    assert (result.exit_code, result.stdout) == (OK, "picture: xor.png\n")
    image = (here / "xor.png").read_bytes()
    assert image.startswith(b"\x89PNG\r\n")
    result = invoke("xor.mcap", "-o", "other.png", "--json")
    assert (result.exit_code, result.output) == (OK, '{\n  "path": "other.png"\n}\n')
    assert (here / "other.png").read_bytes() == image, "the same log, the same picture"
    assert sorted(path.name for path in here.iterdir()) == ["other.png", "xor.mcap", "xor.png"]


def refused(here: Path, code: int, why: str, *args: str) -> None:
    before = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
    result = invoke(*args)
    lines = [line for line in result.stderr.splitlines() if line.startswith("subsong: error: ")]
    assert (result.exit_code, result.stdout, len(lines)) == (code, "", 1), result.stderr
    assert why in lines[0]
    assert {path: path.read_bytes() for path in here.rglob("*") if path.is_file()} == before, "nothing is left behind"


@pytest.mark.usefixtures("need_matplotlib")
def test_a_place_for_no_picture_is_refused(here: Path) -> None:
    (here / "folder.png").mkdir()
    refused(here, BAD_FILE, "no such folder", "xor.mcap", "-o", "none/x.png")
    refused(here, BAD_FILE, "folder.png: the picture cannot be written: Is a directory", "xor.mcap", "-o", "folder.png")
    refused(here, USAGE, "ends in .png", "xor.mcap", "-o", "xor.mcap")
    (here / "xor.mcap").rename(here / "log.png")
    refused(here, BAD_FILE, "log.png: is the log itself", "log.png", "-o", "log.png")


def test_without_matplotlib_it_is_told(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    refused(here, USAGE, "pip install matplotlib", "xor.mcap")


@pytest.mark.usefixtures("need_matplotlib")
def test_a_log_without_a_whole_trial_that_learned_is_refused(here: Path) -> None:
    experiment = shortened("xor", 1)
    recorder = Recorder(
        here / "none.mcap", run_header(experiment, build_block(experiment), "sim", False, "xor", {}, {})
    )
    recorder.close()
    refused(here, BAD_FILE, "none.mcap: holds no whole trial that learned", "none.mcap")


def test_what_is_cut_or_no_log_is_refused(here: Path) -> None:
    whole = (here / "xor.mcap").read_bytes()
    (here / "cut.mcap").write_bytes(whole[: len(whole) // 2])
    (here / "text.mcap").write_text("no log")
    refused(here, BAD_FILE, "`subsong recover cut.mcap`", "cut.mcap")
    refused(here, BAD_FILE, "text.mcap", "text.mcap")
    refused(here, BAD_FILE, "absent.mcap: No such file", "absent.mcap")


def test_spikes_of_another_arithmetic_are_not_played(logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, experiment, _ = opened(logs / "songbird.mcap")
    run.header = replace(run.header, arithmetic=1)
    assert not song_figure.is_sung(run, experiment)
    with pytest.raises(ReplayError, match="arithmetic version 1"):
        observe.states(run, experiment)


def test_matplotlib_sleeps_until_something_is_drawn() -> None:
    code = "import sys, subsong.drawing.figure, subsong.drawing.song; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
