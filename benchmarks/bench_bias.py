"""The model-bias experiment: `make bench-bias`, QUICK=1 for a look at two seeds and three severities.

The full run writes docs/bias.md and docs/images/bias.svg (matplotlib is needed). With BIAS_KEEP=FOLDER a plant's runs
are kept there when they are finished, and not made again. Plants named as arguments are the only ones measured.
"""

import json
import os
import platform
import sys
import time
from pathlib import Path

import numba
from bias import document
from bias.cases import CASES
from bias.judging import judge
from bias.learning import Measured, measure

QUICK = os.environ.get("QUICK", "0") not in ("", "0")
SEVERITIES = [0.0, 0.5, 1.0] if QUICK else [0.0, 0.125, 0.25, 0.375, 0.5, 0.75, 1.0]
SEEDS = range(1, 3 if QUICK else 21)


def measured(name: str, keep: Path | None) -> Measured:
    """Return a plant's runs, made now or kept from before."""
    file = keep / f"{name}.json" if keep else None
    if file and file.exists():
        return Measured(*json.loads(file.read_text()))
    found = measure(CASES[name], SEVERITIES, SEEDS, os.cpu_count() or 1)
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(found))
    return found


def main() -> None:
    """Print every table; write the document after a full run."""
    keep = Path(os.environ["BIAS_KEEP"]) if os.environ.get("BIAS_KEEP") else None
    command = (
        f"`make bench-bias`; Python {platform.python_version()}, Numba {numba.__version__}, {platform.machine()}.\n"
    )
    print(command)
    judged = {}
    for name in sys.argv[1:] or CASES:
        start = time.monotonic()
        judged[name] = judge(measured(name, keep))
        print("\n".join(document.section(name, judged[name], SEVERITIES)))
        print(f"in {time.monotonic() - start:.0f} s\n", flush=True)
    print(document.verdicts(judged))
    if not QUICK and not sys.argv[1:]:
        document.write(Path(__file__).parents[1], judged, SEVERITIES, len(SEEDS), command)


if __name__ == "__main__":
    main()
