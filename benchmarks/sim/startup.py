"""Start-up: how long until a first result, with nothing compiled before and with everything kept."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from sim.cases import NETWORKS, RULES, Case, runs_of
from sim.report import QUICK, table
from subsong.experiment_text import example_text, parse_toml, to_toml, with_learner
from subsong_sim import lanes
from subsong_sim.lanes import LANES, compile_lanes

# What specialisation may add to a first result, seconds.
LIMIT_S = 5.0
ABOUT = f"""\
Each rule begins with an empty cache. `subsong sim`: the shipped xor, two trials. A batch: {LANES} seeds of it in a
process; the batches share a cache, so that the first of all compiles the schedule, too. By the clock, once. Code for
a shape is made in this process, and its seconds are the processor's."""
BATCH = """
import sys, tomllib
from pathlib import Path
from subsong.batch import simulate_many
from subsong.experiment import parse_experiment
experiment = parse_experiment(Path(sys.argv[1]).read_text(), sys.argv[1])
simulate_many([experiment.with_seed(seed) for seed in range(1, int(sys.argv[2]) + 1)])
"""


def experiment_file(folder: Path, rule: str) -> Path:
    """Write the shipped xor of a rule, cut to two trials."""
    name = "reinforce" if rule == "reinforce" else "xor"
    text = example_text(name) if rule == "reinforce" else with_learner(example_text(name), rule)
    tables = parse_toml(text, name)
    tables["run"] |= {"trials": 2, "evaluate_every": 0}
    path = folder / f"{rule}.toml"
    path.write_text(to_toml(tables), encoding="utf-8")
    return path


def seconds(folder: Path, *command: str) -> float:
    """Return what a command takes with its caches in a folder."""
    environment = {**os.environ, "SUBSONG_CACHE": str(folder), "NUMBA_CACHE_DIR": str(folder / "numba")}
    began = time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, capture_output=True, cwd=folder, env=environment)
    return time.perf_counter() - began


def processes() -> Iterator[list[str]]:
    """Yield a row for a rule: first and second `subsong sim`; first and second batch."""
    with tempfile.TemporaryDirectory(prefix="subsong-start-") as shared:
        for rule in RULES[:1] if QUICK else RULES:
            with tempfile.TemporaryDirectory(prefix="subsong-start-") as own:
                sim = ("-m", "subsong", "sim", str(experiment_file(Path(own), rule)), "--no-log")
                batch = ("-c", BATCH, str(experiment_file(Path(shared), rule)), str(LANES))
                took = [seconds(Path(own), *sim), seconds(Path(own), *sim)]
                took += [seconds(Path(shared), *batch), seconds(Path(shared), *batch)]
                yield [rule.replace("_", " "), *(f"{s:.2f}" for s in took)]


def specialised(case: Case) -> tuple[float, float]:
    """Return the processor's seconds for the code of a case's shape: compiled, and found in the cache."""
    runs = runs_of(case, LANES)
    before = os.environ.get("SUBSONG_CACHE")
    took = []
    with tempfile.TemporaryDirectory(prefix="subsong-start-") as folder:
        os.environ["SUBSONG_CACHE"] = folder
        try:
            for _ in range(2):
                lanes._code.cache_clear()  # noqa: SLF001  (what this process has is no start)
                began = time.thread_time()
                compile_lanes(case.rule, runs.heads, runs.mems, runs.tasks)
                took.append(time.thread_time() - began)
        finally:
            if before is None:
                del os.environ["SUBSONG_CACHE"]
            else:
                os.environ["SUBSONG_CACHE"] = before
    return took[0], took[1]


def section() -> Iterator[str]:
    """Yield the tables."""
    yield ABOUT
    yield ""
    yield from table(("seconds", "first sim", "second", "first batch", "second"), list(processes()))
    yield ""
    shapes = [Case(rule, layers) for layers in (NETWORKS[:1] if QUICK else NETWORKS) for rule in RULES]
    took = {case: specialised(case) for case in shapes}
    rows = [[case.name, *(f"{s:.3f}" for s in both)] for case, both in took.items()]
    yield from table(("code for a shape, seconds", "compiled", "kept"), rows)
    yield ""
    slowest = max(took, key=lambda case: took[case][0])
    worst = took[slowest][0]
    met = "met" if worst <= LIMIT_S else "MISSED"
    yield f"- specialising to a new shape adds at most {worst:.1f} s of processor time to a first result"
    yield f"  ({slowest.name}); the limit, {LIMIT_S:g} s, is {met}. What else first batches wait for is Numba's"
    yield "  compilation of the schedule, once for an installation."
