"""How long until Subsong answers: `subsong --help`, and a second `subsong sim`, against `python -c pass`.

    python benchmarks/bench_startup.py           QUICK=1 for fewer repetitions

Figures to hold: help under 0.3 s; a second sim, its kernels compiled by the first, starts in under 2 s. The sim is
the shipped xor, cut to two trials: what remains is starting. The limits are held against the best repetition, since
whatever else the machine does only adds to it.
"""

import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from subsong.experiment_text import example_text, parse_toml, to_toml

REPEATS = 5 if os.environ.get("QUICK", "0") not in ("", "0") else 15
HELP_LIMIT_S, SIM_LIMIT_S = 0.3, 2.0
PYTHON = sys.executable


def environment(folder: Path) -> dict[str, str]:
    """Return an environment whose kernel cache is empty at first, so that the first sim compiles."""
    return {**os.environ, "SUBSONG_CACHE": str(folder / "cache")}


def seconds(command: list[str], folder: Path) -> float:
    began = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True, env=environment(folder))
    return time.perf_counter() - began


def heaviest(command: list[str], folder: Path, count: int) -> list[tuple[float, str]]:
    """Return the imports that take longest, with what they import, by -X importtime: ms and name, disjoint."""
    done = subprocess.run(
        [PYTHON, "-X", "importtime", *command[1:]],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
        env=environment(folder),
    )
    found = []
    for line in done.stderr.splitlines():
        if line.startswith("import time:") and "cumulative" not in line:
            _, total, name = line.removeprefix("import time:").split("|")
            if len(name) - len(name.lstrip()) == 1:
                found.append((int(total) / 1000, name.strip()))
    return sorted(found, reverse=True)[:count]


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tables = parse_toml(example_text("xor"), "xor")
        tables["run"] |= {"trials": 2, "evaluate_every": 0}
        (folder / "short.toml").write_text(to_toml(tables))
        rows = {
            "python -c pass": ([PYTHON, "-c", "pass"], None),
            "subsong --help": ([PYTHON, "-m", "subsong", "--help"], HELP_LIMIT_S),
            "subsong sim, again": ([PYTHON, "-m", "subsong", "sim", "short.toml", "--no-log"], SIM_LIMIT_S),
        }
        first = seconds(rows["subsong sim, again"][0], folder)
        # Interleaved, so that a busy moment of the machine falls on all alike.
        times: dict[str, list[float]] = {row: [] for row in rows}
        for _ in range(REPEATS):
            for row, (command, _) in rows.items():
                times[row].append(seconds(command, folder))
        bare = median(times["python -c pass"])
        load = f"load average {os.getloadavg()[0]:.1f}"
        machine = f"python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores, {load}"
        print(f"{machine}, {REPEATS} repetitions")
        print(f"\n{'':<20}{'median s':>9}{'best s':>9}{'ratio':>8}{'limit s':>9}")
        late = []
        for row, (_, limit) in rows.items():
            typical, best = median(times[row]), min(times[row])
            print(f"{row:<20}{typical:>9.3f}{best:>9.3f}{typical / bare:>8.1f}{limit or '':>9}")
            if limit is not None and best >= limit:
                late.append(row)
        print(f"{'the first sim':<20}{first:>9.3f}")
        for row in ("subsong --help", "subsong sim, again"):
            print(
                f"\nimports of {row}, ms: "
                + ", ".join(f"{name} {ms:.0f}" for ms, name in heaviest(rows[row][0], folder, 6))
            )
        for row in late:
            print(f"\nTOO SLOW: {row}")
        return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
