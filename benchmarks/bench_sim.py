"""The simulator at the machine's limit: `make bench-sim`, QUICK=1 for a look.

    python benchmarks/bench_sim.py [speed] [boards] [startup] [plants] [rivals] [sweeps]     # only these
    make simulator-figures                                     # all of it, into docs/simulator-figures.md

speed: against C, on one core and on all. boards: the same kernels on boards. startup: with empty caches and full ones.
plants: a step on each compiled plant. rivals: against NumPy, PyTorch and JAX, where `make bench-rivals` has installed
them. sweeps: speed-up with workers, and what runs cost as they grow. QUICK leaves out what takes longest: boards,
plants, rivals and sweeps.
"""

import os
import sys
from functools import partial
from pathlib import Path

from sim import boards, frameworks, plants, speed, startup, sweeps
from sim.report import QUICK, machine

from subsong.errors import SubsongError

PICTURE = os.environ.get("PICTURE", "")  # where the curves of the sweeps go
SECTIONS = {
    "speed": speed.section,
    "boards": boards.section,
    "startup": startup.section,
    "plants": plants.section,
    "rivals": frameworks.section,
    "sweeps": partial(sweeps.section, Path(PICTURE) if PICTURE else None),
}


def main(names: list[str]) -> None:
    """Print sections: those that are named, or all."""
    unknown = set(names) - set(SECTIONS)
    if unknown:
        sys.exit(f"bench_sim: no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    print(machine())
    for name in names or (("speed", "startup") if QUICK else SECTIONS):
        print(f"\n## {name}\n")
        for line in SECTIONS[name]():
            print(line, flush=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except SubsongError as e:
        sys.exit(f"bench_sim: {e}")
