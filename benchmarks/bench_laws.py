"""The learning rules against their exact laws, and 16-bit words against float64: `make bench-laws`, QUICK=1 for a look.

The full run writes docs/laws.md and docs/images/laws-*.png (matplotlib is needed for those). With LAWS_KEEP=FOLDER each
figure is kept there when it is finished, and not measured again; figures named as arguments are the only ones measured,
and the document is made of what is there.
"""

import json
import os
import platform
import sys
import time
from pathlib import Path

import numba
from laws.rows import HEADERS, Row, table
from laws.sections import QUICK, SECTIONS, Section


def measured(name: str, keep: Path | None) -> Section:
    """Return a figure, measured now or kept from before."""
    file = keep / f"{name}.json" if keep else None
    if file and file.exists():
        rows, others, curves = json.loads(file.read_text())
        return Section([Row(*row) for row in rows], others, curves)
    section = SECTIONS[name]()
    if QUICK:
        # A look: intervals of so few seeds meet no tolerance.
        section = section._replace(rows=[row._replace(met=None) for row in section.rows])
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(section))
    return section


def main() -> None:
    """Print every figure; write the document after a full run."""
    keep = Path(os.environ["LAWS_KEEP"]) if os.environ.get("LAWS_KEEP") else None
    machine = f"Python {platform.python_version()}, Numba {numba.__version__}, {platform.machine()}"
    print(machine, flush=True)
    done: dict[str, Section] = {}
    began = time.monotonic()
    for name in sys.argv[1:] or SECTIONS:
        start = time.monotonic()
        done[name] = section = measured(name, keep)
        print(f"\n## {name}: {time.monotonic() - start:.0f} s\n")
        if section.rows:
            print(table(HEADERS, [row.cells() for row in section.rows]))
        for title, headers, cells in section.others:
            print(f"{title}\n\n{table(headers, cells)}")
        sys.stdout.flush()
    missed = [row.what for section in done.values() for row in section.rows if row.met is False]
    print(f"in {time.monotonic() - began:.0f} s; missed: {', '.join(missed) or 'nothing'}")
    if not QUICK:
        from laws import document

        document.write(Path(__file__).parents[1], done, f"`make bench-laws`; {machine}.\n")


if __name__ == "__main__":
    main()
