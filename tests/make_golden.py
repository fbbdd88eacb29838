"""Writes the golden vectors in tests/golden/, by the oracle alone:  python tests/make_golden.py

Each file holds an experiment's block and what every trial must leave behind. Where a file is there and differs, it is
left alone and NAME.new.json is written beside it (exit code 1): the arithmetic has changed, so its version must, and
then the new file may take the old one's place. Sensor words and costs come from the page's own generator, so that no
library's random numbers decide them.
"""

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("golden")
ROOT = FOLDER.parent.parent
# Found where the packages are not installed, too.
sys.path[1:1] = [str(ROOT / package) for package in ("device", "sim", "host", "hil")]

from cases import Answer, Step, Trial, case_of, head_words, mem_words, oracle_engine  # noqa: E402
from golden_setups import VECTORS  # noqa: E402
from oracle_parts import Stream, signed  # noqa: E402
from subsong_device import layout  # noqa: E402

LIMITS = (-32768, 32767)


def trials_of(name: str) -> tuple[Trial, ...]:
    """Return a vector's trials: every fifth is an evaluation, the words are drawn from a generator of its own."""
    setup, n_trials, n_steps, bits, edges = VECTORS[name]
    stream = Stream(len(name), setup.seed & 0xFFFF | 1)

    def cost() -> int:
        return (stream.draw() << 16 | stream.draw()) % (2 ** (bits + 1) + 1) - 2**bits

    def word() -> int:
        v = stream.draw()
        return LIMITS[v & 1] if stream.draw() & 0xFF < edges else signed(v)

    def steps() -> Iterator[Step]:
        for _ in range(n_steps):
            yield Step(cost(), tuple(word() for _ in range(setup.layers[0])))

    return tuple(Trial(n % 5 == 4, tuple(steps()), cost()) for n in range(n_trials))


KEYS = ("STEPS", "TOTAL", "BASELINE", "SATURATED", "CHECK")


def row_of(answer: Answer) -> list[int | str]:
    """Return a trial's line."""
    h = head_words(answer.head)
    u = b"".join((v & 0xFFFF).to_bytes(2, "little") for words in answer.u for v in words)
    return [*(h[getattr(layout, key)] for key in KEYS), hashlib.sha256(u).hexdigest()[:16]]


def vector(name: str) -> dict[str, Any]:
    """Return what the oracle says."""
    case = case_of(VECTORS[name][0], trials_of(name))
    answers = oracle_engine(case)
    return {
        "arithmetic": layout.ARITHMETIC_VERSION,
        "rule": case.rule,
        "head": head_words(case.head),
        "mem": mem_words(case.mem),
        "columns": [*(key.lower() for key in KEYS), "sha256 of the actuator words, first 8 bytes"],
        "trials": [row_of(answer) for answer in answers],
        "final head sha256": hashlib.sha256(answers[-1].head).hexdigest(),
        "final mem sha256": hashlib.sha256(answers[-1].mem).hexdigest(),
    }


def text(content: dict[str, Any]) -> str:
    """Return a vector's file: one line an entry, one line a trial."""
    lines = []
    for key, value in content.items():
        if key == "trials":
            rows = ",\n  ".join(json.dumps(row) for row in value)
            lines.append(f'"trials": [\n  {rows}]')
        else:
            lines.append(f"{json.dumps(key)}: {json.dumps(value)}")
    return "{" + ",\n".join(lines) + "}\n"


def main(folder: Path = FOLDER) -> int:
    """Write what is missing; return 1 if a file that is there differs."""
    folder.mkdir(exist_ok=True)
    different = 0
    for name in VECTORS:
        path = folder / f"{name}.json"
        new = text(vector(name))
        if not path.exists():
            path.write_text(new, encoding="utf-8")
            print(f"{path.name}: written")
        elif path.read_text(encoding="utf-8") != new:
            beside = path.with_suffix(".new.json")
            beside.write_text(new, encoding="utf-8")
            print(f"{path.name}: DIFFERS; the oracle's answer is in {beside.name}")
            different = 1
        else:
            print(f"{path.name}: as before")
    return different


if __name__ == "__main__":
    sys.exit(main())
