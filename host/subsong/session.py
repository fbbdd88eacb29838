"""A run: trials that learn, evaluations between them, everything logged.

    learn           the schedule of any run
    simulate        learner and plant on this computer (board_session.py has the learner on a board)
    evaluate        a frozen learner on the nominal or the mismatched plant

Trials are numbered over the run, evaluations included. Learning trial n resets the plant with the stream "plant", index
n or, where two trials make a pair, n // 2: both meet the same start. Evaluation episode k has the stream "evaluation",
index k.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from subsong.block import Block, build_block, stream_seed
from subsong.console import Progress, SilentProgress
from subsong.errors import ExperimentError, LogError, PlantError
from subsong.experiment import Experiment
from subsong.experiment_check import MAX_WORDS
from subsong.experiment_plant import BoardPlant
from subsong.experiment_tasks import TaskPlant
from subsong.findings import Findings, FlatCost, Pace
from subsong.rules import PAIRS
from subsong.runlog import Recorder, RunHeader, Step
from subsong.runlog.recorder import require_room
from subsong.timing import TimingTotal
from subsong_device.layout import ARITHMETIC_VERSION, COST_LIMIT
from subsong_sim.learner import Ended, StepHook

if TYPE_CHECKING:
    from subsong_sim.engines import LocalLearner

MAX_STRETCH = 100  # trials asked for at a time: how far progress and Ctrl-C may lag behind


@dataclass
class RunResult:
    """What a run came to.

    Attributes:
        path: of the log, or None.
        trials: learning trials, those before a checkpoint that it went on from included.
        resumed: how many those are.
        numbered: trial numbers given so far, evaluations included; some more than there are trials where a run went
            back to a checkpoint.
        steps: act() calls, evaluations included.
        seconds: of learning and evaluating.
        costs: physical cost of each learning trial from there on (a task's: mean squared error of the perturbed
            network).
        final: mean physical cost of the last evaluation.
        evaluations: (learning trials before it, mean physical cost) of every evaluation.
        stopped: why it ended.
        counters: what was counted on the way: retries, dropped frames, saturations.
        pace: of a plant in real time, how its steps kept their deadlines.
        warnings: what its user should know, a sentence each.
        tier: what executed the kernels on a board; "" in the simulator.
        timing: how well the board's own plant was kept to its control period; no steps where nobody kept one.
        failed: of a board, which better tiers failed its known answers, a line each.
        state: the learner's head and mem at the end, of a simulation without a log; its log has them otherwise.
    """

    path: Path | None
    trials: int = 0
    resumed: int = 0
    numbered: int = 0
    steps: int = 0
    seconds: float = 0.0
    costs: list[float] = field(default_factory=list)
    final: float | None = None
    evaluations: list[tuple[int, float]] = field(default_factory=list)
    stopped: str = "all trials done"
    counters: dict[str, int] = field(default_factory=dict)
    pace: Pace | None = None
    warnings: list[str] = field(default_factory=list)
    timing: TimingTotal = field(default_factory=TimingTotal)
    tier: str = ""
    failed: tuple[str, ...] = ()
    state: tuple[bytes, bytes] = field(default=(b"", b""), repr=False)


class Place(Protocol):
    """Where in a run's schedule a state was kept; subsong.bridge.Checkpoint is one."""

    @property
    def trial(self) -> int:
        """Number of the last trial, evaluations counted."""

    @property
    def trials(self) -> int:
        """Learning trials so far."""


class Trials(Protocol):
    """Whatever runs trials: see subsong_sim.trials and board_session.BoardTask."""

    def run(self, first: int, seeds: Sequence[int], evaluate: bool) -> Iterator[Ended | None]:
        """Run len(seeds) trials, numbered from `first`; None for a trial whose end the link lost."""
        ...

    def state(self) -> tuple[bytes, bytes]:
        """Return the learner's head and mem."""
        ...


def physical(experiment: Experiment, total: int, evaluate: bool = False) -> float:
    """Return a trial's total cost in physical units: counts times cost_lsb, or what a task calls its cost."""
    if not isinstance(experiment.plant, TaskPlant):
        return total * experiment.plant.cost_lsb
    return experiment.plant.cost(total, experiment.steps(evaluate), experiment.network.layers[-1])


def evaluation_seeds(experiment: Experiment) -> list[int]:
    """Return the reset seed of each episode of an evaluation: of one where all are alike."""
    varied = not isinstance(experiment.plant, TaskPlant) or experiment.plant.varied
    episodes = experiment.run.evaluate_episodes if varied else 1
    return [stream_seed(experiment.seed, "evaluation", k) for k in range(episodes)]


def schedule(experiment: Experiment, learned: int = 0) -> Iterator[tuple[bool, int]]:
    """Yield (whether it is an evaluation, reset seed of the plant) of each trial of a run, in the order of `learn`.

    Args:
        experiment: has the schedule; a run that met stop_cost ended at one of the evaluations.
        learned: learning trials before the first one, of a run that went on from a checkpoint.
    """
    run = experiment.run
    paired = 2 if experiment.learner.estimator in PAIRS else 1
    episodes = [(True, seed) for seed in evaluation_seeds(experiment)]
    for index in range(learned, run.trials):
        yield False, stream_seed(experiment.seed, "plant", index // paired)
        if index + 1 == run.trials or (run.evaluate_every and (index + 1) % run.evaluate_every == 0):
            yield from episodes


def learn(
    experiment: Experiment,
    trials: Trials,
    result: RunResult,
    progress: Progress,
    on_end: Callable[[Ended], None] | None = None,
    *,
    after: Place | None = None,
    first: int | None = None,
    keep: Callable[[int, int], None] | None = None,
) -> None:
    """Run an experiment's schedule; fill in `result` as it goes, so that an interrupted run has one too.

    Args:
        experiment: has the schedule.
        trials: run them; in the state that belongs to `after`.
        result: filled in.
        progress: told how far it is.
        on_end: told of every trial's end.
        after: what `keep` was told when that state was kept: the schedule goes on behind it, trial for trial as if it
            had never been interrupted. None: it begins.
        first: number of the first trial, where it is not the one that follows `after`: the run has one log, in which
            numbers only grow, and goes back in its schedule.
        keep: keeps the learner's state; called with (number of the last trial, learning trials so far) every
            run.checkpoint_every learning trials, between trials: never within a pair, and behind the evaluation if one
            is due.
    """
    run = experiment.run
    paired = 2 if experiment.learner.estimator in PAIRS else 1
    keep_every = -(-run.checkpoint_every // paired) * paired
    marks = [every for every in (run.evaluate_every, keep_every) if every]
    course = _Course(experiment, trials, result, on_end)

    def due(every: int) -> bool:
        return every > 0 and result.trials % every == 0

    progress.start("learning", run.trials)
    assessed = -1
    if after is not None:
        result.trials = after.trials
        if first is None:
            course.number, result.resumed = after.trial + 1, after.trials
        else:
            course.number = first
        assessed = after.trials if due(run.evaluate_every) else -1
        progress.advance(after.trials)
    while result.trials < run.trials:
        stretch = min(MAX_STRETCH, run.trials - result.trials, *(every - result.trials % every for every in marks))
        seeds = [stream_seed(experiment.seed, "plant", (result.trials + i) // paired) for i in range(stretch)]
        for ended in course.run(seeds, False):
            result.trials += 1
            if ended is not None:
                result.costs.append(physical(experiment, ended.summary.total))
            progress.advance()
        if due(run.evaluate_every):
            mean = course.assess()
            assessed = result.trials
            if run.stop_cost is not None and mean is not None and mean <= run.stop_cost:
                result.stopped = f"an evaluation reached {mean:.6g}"
                break
        if keep is not None and due(keep_every):
            keep(course.number - 1, result.trials)
    if assessed != result.trials:
        course.assess()
    progress.finish()


class _Course:
    """Trials one after the other, numbered and told of.

    Attributes:
        number: of the next trial.
    """

    def __init__(
        self, experiment: Experiment, trials: Trials, result: RunResult, on_end: Callable[[Ended], None] | None
    ) -> None:
        self.experiment, self.trials, self.result, self.on_end = experiment, trials, result, on_end
        self.number = 0
        self._flat = FlatCost() if isinstance(experiment.plant, BoardPlant) else None
        self._began = time.monotonic() - result.seconds
        self._episodes = evaluation_seeds(experiment)

    def run(self, seeds: Sequence[int], evaluate: bool) -> Iterator[Ended | None]:
        """Run a trial for each seed."""
        result = self.result
        result.numbered = self.number + len(seeds)
        for ended in self.trials.run(self.number, seeds, evaluate):
            self.number += 1
            result.seconds = time.monotonic() - self._began
            if ended is not None:
                check_cost(self.experiment, ended.summary.trial, ended.summary.total)
                if self._flat is not None and not evaluate:
                    self._flat.take(ended.summary)
                result.steps += ended.summary.steps
                result.counters["saturated_words"] = result.counters.get("saturated_words", 0) + ended.summary.saturated
                if self.on_end is not None:
                    self.on_end(ended)
            yield ended

    def assess(self) -> float | None:
        """Evaluate; return the mean physical cost, None where the link lost every episode's end."""
        totals = [ended.summary.total for ended in self.run(self._episodes, True) if ended is not None]
        if not totals:
            return None
        result = self.result
        result.final = physical(self.experiment, sum(totals), evaluate=True) / len(totals)
        result.evaluations.append((result.trials, result.final))
        return result.final


def check_cost(experiment: Experiment, trial: int, total: int) -> None:
    """Raise PlantError where a trial's total cost was clipped: learning could not tell better from worse."""
    if abs(total) >= COST_LIMIT:
        board = isinstance(experiment.plant, BoardPlant)
        raise PlantError(
            f"trial {trial}: its cost does not fit the 28 bits of a cost; "
            f"{'let cost() in plant.py count coarser' if board else 'raise plant.cost_lsb'} or lower run.steps"
        )


def simulate(
    experiment: Experiment,
    *,
    out: Path | None,
    mismatch: bool = False,
    engine: str = "native",
    mem: bytes | None = None,
    progress: Progress | None = None,
) -> RunResult:
    """Learn on this computer with the firmware's kernels.

    Args:
        experiment: what to learn.
        out: the log; None writes none.
        mismatch: learn on the plant that a board would meet.
        engine: "native", "numba" or "cpython".
        mem: the memory that the learner begins with, weights learned elsewhere; None: the experiment's own.
        progress: told how far it is.

    Raises:
        PlantError, EngineError, ExperimentError, LogError.
    """
    progress = progress or SilentProgress()
    block = build_block(experiment).holding(mem)
    result = RunResult(out)
    progress.start("compiling kernels (kept for the next time)")
    recorder: Recorder | None = None

    def on_step(trial: int, step: int, cost: int, x: Any, u: Any) -> None:
        assert recorder is not None
        recorder.step(Step(trial, step, cost, tuple(x), tuple(u)))

    def on_end(ended: Ended) -> None:
        assert recorder is not None
        recorder.trial(ended.summary, ended.last_cost)
        findings.ended(ended)

    trials, plant = local_trials(experiment, block, mismatch, engine, on_step if out else None)
    try:
        if out is None:
            learn(experiment, trials, result, progress)
            result.pace, result.warnings = Findings(plant_of(trials), None).close(result.costs)
            result.state = trials.state()
            return result
        with recording(out, run_header(experiment, block, "sim", mismatch, plant, _engine(engine), {})) as recorder:
            recorder.state("initial", block.head, block.mem)
            findings = Findings(plant_of(trials), recorder)
            try:
                learn(experiment, trials, result, progress, on_end)
            finally:
                result.pace, result.warnings = findings.close(result.costs)
            recorder.state("final", *trials.state())
            progress.start("closing the log", 100)
            recorder.close(share(progress))
        progress.finish()
    finally:
        close(trials)
    return result


def evaluate(
    experiment: Experiment,
    rule: str,
    head: bytes,
    mem: bytes,
    *,
    mismatch: bool,
    episodes: int,
    first_seed: int = 0,
) -> list[int]:
    """Run a frozen learner, unperturbed, on the nominal or the mismatched plant.

    Args:
        experiment: names the plant and the steps of a trial.
        rule: whose kernels execute the block.
        head: little-endian int32 words.
        mem: little-endian uint16 words.
        mismatch: True for the plant that the board met.
        episodes: how many; a task has one.
        first_seed: index of the first episode in the stream "transfer" of seed 0, the same for every learner.

    Returns:
        Total cost of each episode, counts.

    Raises:
        PlantError: the plant is a physical one: it may be elsewhere by now, and is driven by `run` and `sim` alone.
    """
    if experiment.real(mismatch):
        raise PlantError(f"the plant, {experiment.plant.title}, is real: it is driven to learn, and not to compare")
    block = Block(
        rule, head, mem, build_block(experiment).task, experiment.network.layers[0], experiment.network.layers[-1]
    )
    trials, _plant = local_trials(experiment, block, mismatch, "native", None, in_time=False)
    try:
        seeds = [stream_seed(0, "transfer", first_seed + k) for k in range(episodes)]
        return [ended.summary.total for ended in trials.run(0, seeds, True) if ended is not None]
    finally:
        close(trials)


def local_trials(
    experiment: Experiment, block: Block, mismatch: bool, engine: str, hook: StepHook | None, *, in_time: bool = True
) -> tuple[Trials, str]:
    """Return what runs the trials on this computer, and the plant's description.

    Args:
        experiment: what to learn.
        block: the learner at its beginning.
        mismatch: on the plant that a board would meet.
        engine: "native", "numba" or "cpython".
        hook: told of every step.
        in_time: keep run.period_ms; else the plant is as fast as it can.

    Raises:
        ExperimentError: the plant is on the board, or the network does not fit it.
    """
    require_model(experiment)
    from subsong_sim.engines import LocalLearner
    from subsong_sim.plants.clock import clock_of
    from subsong_sim.trials import CompiledPlantTrials, PlantTrials, TaskTrials

    learner = LocalLearner(block.rule, block.head, block.mem, engine)
    steps = experiment.run.steps
    if isinstance(experiment.plant, TaskPlant):
        return TaskTrials(learner, block.task, steps, hook, experiment.run.evaluate_steps), experiment.plant.title
    plant = local_plant(experiment, mismatch, compiled=engine != "cpython", in_time=in_time)
    if clock_of(plant) is not None:
        _compile(LocalLearner(block.rule, block.head, block.mem, engine))
    if engine == "native" and hasattr(plant, "functions"):
        return CompiledPlantTrials(learner, plant, steps, hook), plant.description
    return PlantTrials(learner, plant, steps, hook), plant.description


def _compile(learner: "LocalLearner") -> None:
    """Spend a learner on having its kernels compiled: a first step that compiles would be late."""
    learner.begin(0, False)
    learner.act(0, [0] * learner.n_sensors)
    learner.end(0)


def local_plant(experiment: Experiment, mismatch: bool, *, compiled: bool, in_time: bool = True) -> Any:
    """Return the plant that the host plays; a compiled one has `functions`.

    With `in_time` it keeps run.period_ms.

    Raises:
        PlantError: it cannot be made.
        ExperimentError: the network does not fit it.
    """
    from subsong_sim.plants import Clock, make_plant

    real = experiment.mismatch() if mismatch else None
    clock = Clock(experiment.run.period_ms) if in_time and experiment.run.period_ms else None
    plant = make_plant(experiment.plant_spec(), real, compiled=compiled, clock=clock)
    check_shape(experiment, plant)
    return plant


def require_model(experiment: Experiment) -> None:
    """Raise ExperimentError where the plant is on the board, and nowhere else."""
    if isinstance(experiment.plant, BoardPlant):
        raise ExperimentError(
            'plant.kind: "board" has no model to simulate, which is the point of it; learn on it: subsong run'
        )


def check_shape(experiment: Experiment, plant: Any) -> None:
    """Raise ExperimentError where the network's ends do not fit the plant, or the plant no frame of the link."""
    layers = experiment.network.layers
    wrong = []
    if plant.n_sensors + plant.n_actuators > MAX_WORDS:
        plant.close()
        raise ExperimentError(
            f"plant: {experiment.plant.title} has {plant.n_sensors} sensors and {plant.n_actuators} actuators, and a "
            f"step carries {MAX_WORDS} words at most; wrap the environment in one that shows less, and register that"
        )
    if layers[0] != plant.n_sensors:
        wrong.append(f"network.layers[0]: is {layers[0]} (allowed: {plant.n_sensors}, the plant's sensors)")
    if layers[-1] != plant.n_actuators:
        wrong.append(f"network.layers[-1]: is {layers[-1]} (allowed: {plant.n_actuators}, the plant's actuators)")
    if wrong:
        plant.close()
        raise ExperimentError("\n".join(wrong))


def close(trials: Trials) -> None:
    """Give back the plant behind trials, where there is one."""
    plant = plant_of(trials)
    if plant is not None:
        plant.close()


def plant_of(trials: Trials) -> Any:
    """Return the plant behind trials; None where there is none in the loop."""
    return getattr(trials, "plant", None)


def run_header(
    experiment: Experiment,
    block: Block,
    source: str,
    mismatch: bool,
    plant: str,
    engine: dict[str, Any],
    manifest: dict[str, Any],
    continues: dict[str, Any] | None = None,
) -> RunHeader:
    """Return what a log says of its run before the first trial; `engine` is what executes the kernels."""
    return RunHeader(
        source=source,
        experiment_toml=experiment.to_toml(),
        experiment_digest=experiment.digest,
        seed=experiment.seed,
        rule=block.rule,
        n_sensors=block.n_sensors,
        n_actuators=block.n_actuators,
        arithmetic=ARITHMETIC_VERSION,
        mismatch=mismatch,
        plant=plant,
        engine={**engine, "block": block.digest},
        manifest=manifest,
        continues=continues or {},
        started_ns=time.time_ns(),
    )


def _engine(name: str) -> dict[str, Any]:
    import platform
    from importlib.metadata import version

    found: dict[str, Any] = {"engine": name, "python": platform.python_version(), "machine": platform.machine()}
    compiler = {"native": "llvmlite", "numba": "numba"}.get(name)
    return {**found, compiler: version(compiler)} if compiler else found


def recording(path: Path, header: RunHeader) -> Recorder:
    """Return a recorder; makes the log's folder, where the default `runs/` may be missing."""
    _make_folder(path)
    return Recorder(path, header)


def require_recordable(path: Path) -> None:
    """Raise the LogError that `recording` would, before anything else has begun; leave nothing behind."""
    made = [folder for folder in path.parents if not folder.exists()]
    try:
        _make_folder(path)
        require_room(path)
    finally:
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()


def _make_folder(path: Path) -> None:
    """Make the folder that a log shall lie in."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LogError(
            f"cannot make the folder {path.parent}: {error.strerror or error}. Name another with -o."
        ) from error


def share(progress: Progress) -> Callable[[float], None]:
    """Return a callback for 0..1 that moves a stage of 100."""
    done = 0

    def move(part: float) -> None:
        nonlocal done
        progress.advance(round(100 * part) - done)
        done = round(100 * part)

    return move
