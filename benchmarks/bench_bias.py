"""The model-bias experiment: `make bench-bias`, QUICK=1 for a look at two seeds and three severities.

The full run writes docs/bias.md and docs/images/bias.svg (matplotlib is needed). With BIAS_KEEP=FOLDER what is finished
of a plant is kept there, and not made again. Plants named as arguments are the only ones measured; nothing is written.
"""

import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from bias import document
from bias.cases import CASES
from bias.judging import judge
from bias.learning import Measured, measure
from bias.sweep import Tried, tried

QUICK = os.environ.get("QUICK", "0") not in ("", "0")
SEVERITIES = [0.0, 0.5, 1.0] if QUICK else [0.0, 0.125, 0.25, 0.375, 0.5, 0.75, 1.0]
SEEDS = range(1, 3 if QUICK else 21)


def kept(name: str, make: Callable[[], Any]) -> Any:
    """Return what is made of tuples, lists and numbers, or what was kept of it before: lists, then."""
    folder = os.environ.get("BIAS_KEEP")
    file = Path(folder) / f"{name}.json" if folder else None
    if file and file.exists():
        return json.loads(file.read_text())
    found = make()
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(found))
    return found


def main() -> None:
    """Print every table; write the document after a full run."""
    command = (
        f"`make bench-bias`; Python {platform.python_version()}, Numba {numba.__version__}, {platform.machine()}.\n"
    )
    print(command)
    judged = {}
    for name in sys.argv[1:] or CASES:
        start = time.monotonic()
        found = kept(name, lambda name=name: measure(CASES[name], SEVERITIES, SEEDS, os.cpu_count() or 1))
        judged[name] = judge(Measured(*found))
        print("\n".join(document.section(name, judged[name], SEVERITIES)))
        print(f"in {time.monotonic() - start:.0f} s\n", flush=True)
    print(document.verdicts(judged))
    if not QUICK and not sys.argv[1:]:
        sweeps = {name: kept(f"{name}-sweep", lambda case=case: tried(case)) for name, case in CASES.items()}
        settings = {name: [Tried(*each) for each in rows] for name, rows in sweeps.items()}
        document.write(Path(__file__).parents[1], judged, settings, SEVERITIES, len(SEEDS), command)


if __name__ == "__main__":
    main()
