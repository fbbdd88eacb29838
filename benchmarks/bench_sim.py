"""The simulator at the machine's limit: against C, boards beside it, start-up. `make bench-sim`, QUICK=1 for a look."""

import sys

from sim import boards, speed, startup
from sim.report import QUICK, machine

from subsong.errors import SubsongError

SECTIONS = (speed.section, *(() if QUICK else (boards.section,)), startup.section)


def main() -> None:
    """Print every section."""
    print(machine())
    for section in SECTIONS:
        print()
        for line in section():
            print(line, flush=True)


if __name__ == "__main__":
    try:
        main()
    except SubsongError as e:
        sys.exit(f"bench_sim: {e}")
