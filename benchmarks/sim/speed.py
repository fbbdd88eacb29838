"""Learning steps a second against the C reference, on one core and on all: everything from the same states."""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import NamedTuple

import numpy as np

from sim.cases import ESTIMATORS, NETWORKS, RULES, STEPS, Case, Runs, runs_of
from sim.reference import BenchError, Reference
from sim.report import QUICK, quartiles, table
from subsong_sim.batch import NEVER, PLAN, Batch, interleave, rows_of
from subsong_sim.lanes import LANES, compile_lanes
from subsong_sim.trials import addresses

CORES = os.cpu_count() or 1
ROUNDS = 7 if QUICK else 31
AT_ONCE = 64  # trials of a call, as in the batch
SECONDS = 0.01 if QUICK else 0.04
# Of C's learning steps a second, at least.
AIM = 0.9

ABOUT = f"""\
A learning step is one of {STEPS} in a trial that learns: {STEPS} patterns are shown, then the weights may move
({", ".join(f"{rule.replace('_', ' ')}: {ESTIMATORS[rule].replace('_', ' ')}" for rule in RULES)}).
C: benchmarks/sim/c, one run after another. Lanes: machine code of the same kernels, for 1 run, as `subsong sim`
executes it, or for {LANES} in one register. Batch: what many runs are executed by, schedule included.
Every core has {LANES} runs; all do the same trials of them, in turns, and leave the same words. Ratios are of steps a
second to C's in the same turn, median (quartiles) of {ROUNDS} turns: one core by its thread's processor time,
{CORES} cores by the clock."""


class Variant(NamedTuple):
    """One way to execute a case's runs, LANES a core.

    Attributes:
        name: as printed.
        words: returns what they have left behind.
        advance: runs learning trials of every run of a core; takes the core and their number.
    """

    name: str
    words: Callable[[], tuple[bytes, ...]]
    advance: Callable[[int, int], object]


def words_of(runs: Runs) -> tuple[bytes, ...]:
    """Return what runs leave behind: head, mem and the task."""
    return runs.heads.tobytes(), runs.mems.tobytes(), runs.tasks.tobytes()


def of_core(core: int) -> range:
    """Return the runs of a core."""
    return range(core * LANES, (core + 1) * LANES)


def by_c(case: Case, runs: Runs) -> Variant:
    """Return the C reference."""
    reference = Reference(case.rule, runs.heads[0])

    def advance(core: int, trials: int) -> None:
        for run in of_core(core):
            reference.stretch(runs, run, trials, STEPS)

    return Variant("C", partial(words_of, runs), advance)


def by_lanes(case: Case, runs: Runs, lanes: int) -> Variant:
    """Return machine code for so many runs side by side."""
    code = compile_lanes(case.rule, runs.heads, runs.mems, runs.tasks, lanes)
    kept = (runs.heads, runs.mems, runs.tasks)
    ends = np.zeros((len(runs.heads), 6 * AT_ONCE), np.int32)
    blocks = [interleave(a, lanes) for a in (*kept, runs.xs, runs.us, ends)]

    def advance(core: int, trials: int) -> None:
        run = code.functions["task_trials"]
        for group in range(core * LANES // lanes, (core + 1) * LANES // lanes):
            buffers = addresses(*(block[group] for block in blocks))
            for done in range(0, trials, AT_ONCE):
                run(*buffers, min(AT_ONCE, trials - done), STEPS, 0, (1 << lanes) - 1)

    def words() -> tuple[bytes, ...]:
        return tuple(rows_of(b, *a.shape).tobytes() for b, a in zip(blocks, kept, strict=False))

    return Variant("1 lane" if lanes == 1 else f"{lanes} lanes", words, advance)


def by_batch(case: Case, runs: Runs, cores: int) -> Variant:
    """Return the simulator's batch, which runs so many cores' runs in one call, whichever core is asked."""
    heads, mems, tasks = (a[: cores * LANES] for a in (runs.heads, runs.mems, runs.tasks))
    code = compile_lanes(case.rule, heads, mems, tasks)
    plan = np.array([(1 << 40, 0, 0, 1, NEVER, STEPS, STEPS)] * len(heads), PLAN)
    batch = Batch(code, heads, mems, tasks, (case.layers[0], case.layers[-1]), plan, threads=cores)

    def words() -> tuple[bytes, ...]:
        # The task's words are in the groups alone: what they do shows in the weights.
        head, mem = batch.blocks()
        return head.tobytes(), mem.tobytes()

    return Variant("batch", words, lambda _core, trials: next(batch.run(trials)))


def same_words(case: Case, variants: list[Variant]) -> None:
    """Hold every variant's words to C's, the first variant's.

    Raises:
        BenchError: one has others; its speed would mean nothing.
    """
    expected = variants[0].words()
    for variant in variants[1:]:
        for name, ours, theirs in zip(("head", "mem", "task"), variant.words(), expected, strict=False):
            if ours != theirs:
                raise BenchError(f"{case.name}: {variant.name} left other words in {name} than C; mend that first")


class Measured(NamedTuple):
    """What the turns of a case came to.

    Attributes:
        steps_per_s: C's learning steps a second, by the best turn.
        ratios: of steps a second to C's, turn after turn, by variant.
    """

    steps_per_s: float
    ratios: dict[str, list[float]]


def take_turns(variants: list[Variant], act: Callable[[Variant], float], steps: int) -> Measured:
    """Time all variants in turns; `act` returns the seconds that a variant took for `steps` steps."""
    seconds: dict[str, list[float]] = {variant.name: [] for variant in variants}
    for _ in range(ROUNDS):
        for variant in variants:
            seconds[variant.name].append(act(variant))
    reference = seconds.pop(variants[0].name)
    ratios = {name: [c / s for c, s in zip(reference, own, strict=True)] for name, own in seconds.items()}
    return Measured(steps / min(reference), ratios)


def trials_in(variant: Variant, seconds: float) -> int:
    """Return how many trials of each of a core's runs take so long; an even number, at least 2."""
    trials, took = 2, 0.0
    while took < seconds / 4:
        trials *= 4
        began = time.thread_time()
        variant.advance(0, trials)
        took = time.thread_time() - began
    return max(2, round(trials * seconds / took / 2) * 2)


@cache
def measure(case: Case) -> tuple[Measured, Measured]:
    """Return what one core does, and what all do."""
    fresh = runs_of(case, LANES * CORES)
    singles = [by_c(case, fresh.copy())]
    singles += [by_lanes(case, fresh.copy(), lanes) for lanes in (1, LANES)]
    batch = by_batch(case, fresh.copy(), CORES)
    trials = 2
    with ThreadPoolExecutor(CORES) as pool:

        def alone(variant: Variant) -> float:
            began = time.process_time()
            variant.advance(0, trials)
            return time.process_time() - began

        def together(variant: Variant) -> float:
            began = time.perf_counter()
            if variant is batch:
                variant.advance(0, trials)
            else:
                list(pool.map(variant.advance, range(CORES), [trials] * CORES))
            return time.perf_counter() - began

        # Warm, and from the same states on.
        for variant in (*singles, batch):
            together(variant)
        same_words(case, [*singles, batch])
        trials = trials_in(by_c(case, fresh), SECONDS)
        every = trials * STEPS * LANES
        all_cores = take_turns([*singles, batch], together, every * CORES)
        same_words(case, [*singles, batch])
    fresh = runs_of(case, LANES)
    singles = [by_c(case, fresh.copy())]
    singles += [by_lanes(case, fresh.copy(), lanes) for lanes in (1, LANES)]
    singles.append(by_batch(case, fresh.copy(), 1))
    one_core = take_turns(singles, alone, every)
    same_words(case, singles)
    return one_core, all_cores


def section() -> Iterator[str]:
    """Yield the tables of both."""
    yield ABOUT
    yield ""
    rows: dict[str, list[list[str]]] = {"one core": [], f"{CORES} cores": []}
    names: dict[str, list[str]] = {}
    worst: dict[tuple[str, str], tuple[float, str]] = {}
    for layers in NETWORKS[::3] if QUICK else NETWORKS:
        for rule in RULES:
            case = Case(rule, layers)
            for cores, measured in zip(rows, measure(case), strict=True):
                names[cores] = list(measured.ratios)
                cells = [quartiles(own) for own in measured.ratios.values()]
                rows[cores].append([case.name, f"{case.synapses:,}", f"{measured.steps_per_s:,.0f}", *cells])
                for name in ("batch", "1 lane"):
                    ratio = float(np.median(measured.ratios[name])), case.name
                    worst[cores, name] = min(worst.get((cores, name), ratio), ratio)
    for cores, cells in rows.items():
        yield from table((cores, "weights", "C, steps/s", *(f"{name} / C" for name in names[cores])), cells)
        yield ""
    for cores in rows:
        ratio, name = worst[cores, "batch"]
        met = "met" if ratio >= AIM else "MISSED"
        yield f"- batches on {cores}, of C's speed: at least {ratio:.2f} ({name}); the aim, {AIM:g}, is {met}"
    ratio, name = worst["one core", "1 lane"]
    yield f"- a run by itself, as `subsong sim` executes it: at least {ratio:.2f} ({name}); no aim of this benchmark"
