"""The same kernels on a board and here, each against C: what makes one quicker must not make the other slower."""

from collections.abc import Iterator

import numpy as np
from board.cycles import RULES, load_on_board, on_board, prepare, script_of
from board.pico import Pico

from sim.cases import Case
from sim.report import table
from sim.speed import measure
from subsong_hil.images import image

LAYERS = (4, 8, 1)
ABOUT = """\
Pico: emulated, exact core cycles of a learning step, which is a trial of one step (`make bench-board` has more). Here:
a learning step as above, on one core, in the lanes that the simulator takes. C is compiled for each."""


def cycles(pico: Pico, rule: str, engine: str) -> int:
    """Return the cycles of begin, act and end of an update on the board."""
    load_on_board(pico, rule, engine)
    calls = zip(script_of(), on_board(pico, rule, LAYERS, engine), strict=True)
    return sum(call.cycles for step, call in calls if step.measured and step.name != "forward")


def section() -> Iterator[str]:
    """Yield the table."""
    yield ABOUT
    yield ""
    rows = []
    with Pico(image("pico")) as pico:
        prepare(pico)
        for rule in RULES:
            ours, theirs = (cycles(pico, rule, engine) for engine in ("machine code", "C"))
            case = Case(rule, LAYERS)
            here, _, lanes = measure(case)
            ratio = float(np.median(here.ratios["1 lane" if lanes == 1 else f"{lanes} lanes"]))
            c = 1e9 / here.steps_per_s
            board = [f"{ours:,}", f"{theirs:,}", f"{theirs / ours:.2f}"]
            rows.append([case.name, *board, f"{c / ratio:.1f}", f"{c:.1f}", f"{ratio:.2f}"])
    headers = ("", "Pico, cycles", "C", "of C's speed", "here, ns", "C", "of C's speed")
    yield from table(headers, rows)
