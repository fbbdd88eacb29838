"""Kernels on boards: cycles on an emulated Pico beside a C reference, memory, code. Writes docs/board-figures.md.

`make bench-board`; QUICK=1 for the smaller network alone, nothing deployed and nothing written.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from board.cycles import ENGINES, RULES, Call, Network, block_of, measure, synapses
from board.pico import CLOCK_HZ, Pico
from board.reference import FLAGS
from board.reference import version as gcc_version

from subsong.bridge import Bridge
from subsong.compiler import TARGETS, compile_kernels
from subsong.deploy import deploy, start_firmware
from subsong.errors import SubsongError
from subsong.ports import open_port
from subsong_device import layout
from subsong_hil.images import image, variable
from subsong_sim.loader import LEARNER_KERNELS, PACKAGE, TASK_KERNELS

QUICK = os.environ.get("QUICK", "0") not in ("", "0")
NETWORKS: tuple[Network, ...] = ((4, 8, 1),) if QUICK else ((4, 8, 1), (16, 32, 4))
PAGE = Path(__file__).resolve().parent.parent / "docs" / "board-figures.md"
# Machine code: at most so many times C's cycles; at least so many times quicker than the others; a control step's time.
MOST_OF_C, LEAST_OF_VIPER, LEAST_OF_BYTECODE = 1.10, 5.0, 150.0
MOST_US = 60.0
# Memory of weight perturbation, shared tables aside, beside its weights' bytes.
MOST_OF_WEIGHTS, MOST_BYTES = 1.10, 256

CYCLES = """\
A synapse is a weight or a bias. Cycles are net of the call: of an empty kernel, same engine, as many arguments.
Every engine leaves the words that CPython leaves, and so does C, which is written by itself. gcc is told to keep the
inner product out of line, where it takes two thirds of the cycles. A learning step is a trial of one step."""

Calls = dict[tuple[str, Network, str, str], Call]
# What is called, by its kernels.
ROWS = (
    ("forward", "weight_perturbation", ("forward",)),
    ("weight perturbation: perturb, forward", "weight_perturbation", ("begin", "act")),
    ("weight perturbation: update", "weight_perturbation", ("end",)),
    ("weight perturbation: learning step", "weight_perturbation", ("begin", "act", "end")),
    ("node perturbation: forward, perturbed", "node_perturbation", ("begin", "act")),
    ("node perturbation: update", "node_perturbation", ("end",)),
    ("node perturbation: learning step", "node_perturbation", ("begin", "act", "end")),
)


def name_of(layers: Network) -> str:
    """Return "4-8-1"."""
    return "-".join(map(str, layers))


def table(headers: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    """Yield a table's lines."""
    yield "| " + " | ".join(headers) + " |"
    yield "|---" + "|---:" * (len(headers) - 1) + "|"
    for row in rows:
        yield "| " + " | ".join(row) + " |"


NOTE = """\
In the smaller network half of the cycles are not the inner loops', so machine code gains least there. What makes the
source quicker makes viper quicker, too."""


def cycles(calls: Calls) -> Iterator[str]:
    """Yield cycles a synapse, and what came of the targets."""
    rows, worst_c, worst_viper, worst_bytecode = [], (0.0, ""), (float("inf"), ""), (float("inf"), "")
    for layers in NETWORKS:
        for title, rule, kernels in ROWS:
            total = {e: sum(calls[rule, layers, e, k].cycles for k in kernels) for e in ENGINES}
            b, v, m, c = (total[engine] for engine in ENGINES)
            where = f"{name_of(layers)}, {title}"
            worst_c = max(worst_c, (m / c, where))
            worst_viper = min(worst_viper, (v / m, where))
            worst_bytecode = min(worst_bytecode, (b / m, where))
            each = [f"{t / synapses(layers):,.1f}" for t in (b, v, m, c)]
            rows.append((where, *each, f"{m / c:.2f}", f"{v / m:.1f}", f"{b / m:.0f}"))
    headers = ("cycles a synapse", *ENGINES, "machine code / C", "viper / machine code", "bytecode / machine code")
    yield from table(headers, rows)
    yield ""
    yield verdict("machine code, of C's cycles", worst_c, MOST_OF_C, at_most=True)
    yield verdict("viper, of machine code's cycles", worst_viper, LEAST_OF_VIPER, at_most=False)
    yield verdict("bytecode, of machine code's cycles", worst_bytecode, LEAST_OF_BYTECODE, at_most=False)
    yield ""
    yield NOTE


def verdict(what: str, worst: tuple[float, str], target: float, *, at_most: bool) -> str:
    """Return a target's line."""
    value, where = worst
    met = value <= target if at_most else value >= target
    bound = "at most" if at_most else "at least"
    return f"- {what}: {bound} {value:.2f} ({where}); the target, {bound} {target:g}, is {'met' if met else 'MISSED'}"


def control_step(calls: Calls) -> Iterator[str]:
    """Yield the microseconds of `act`, call included."""
    rows = []
    for layers in NETWORKS:
        for rule in RULES:
            found = [calls[rule, layers, engine, "act"] for engine in ENGINES]
            times = [f"{(call.cycles + call.call) / CLOCK_HZ * 1e6:,.1f}" for call in found]
            own = f"{calls[rule, layers, 'machine code', 'act'].call / CLOCK_HZ * 1e6:.1f}"
            rows.append((f"{name_of(layers)}, {rule.replace('_', ' ')}", *times, own))
    yield from table(("us a control step, call included", *ENGINES, "of which the call"), rows)
    yield ""
    slowest = [calls[rule, (4, 8, 1), "machine code", "act"] for rule in RULES]
    worst = max((call.cycles + call.call) / CLOCK_HZ * 1e6 for call in slowest)
    met = "met" if worst <= MOST_US else "MISSED"
    yield f"- machine code, 4-8-1: {worst:.1f} us at most; the target, at most {MOST_US:g} us, is {met}"


def memory() -> Iterator[str]:
    """Yield the bytes of learners' blocks."""
    rows, met = [], "met"
    for layers in NETWORKS:
        for rule in RULES:
            block = block_of(rule, layers)
            state = len(block.head) + len(block.mem) - 2 * layout.TABLE_WORDS
            weights = 2 * synapses(layers)
            most = MOST_OF_WEIGHTS * weights + MOST_BYTES
            if rule == "weight_perturbation" and state > most:
                met = "MISSED"
            bound = f"{most:,.0f}" if rule == "weight_perturbation" else ""
            rows.append((f"{name_of(layers)}, {rule.replace('_', ' ')}", f"{weights:,}", f"{state:,}", bound))
    yield from table(("bytes of a learner", "its weights", "its state, the tanh table aside", "at most"), rows)
    yield ""
    yield f"- weight perturbation: the target, at most {MOST_OF_WEIGHTS:g} times the weights + {MOST_BYTES}, is {met}"


def code() -> Iterator[str]:
    """Yield the bytes of every kernel as machine code."""
    rows = []
    modules = [(f"learners.{rule}", LEARNER_KERNELS) for rule in RULES] + [("tasks", TASK_KERNELS)]
    for module, kernels in modules:
        compiled = [compile_kernels(f"{PACKAGE}.{module}", kernels, target).kernels for target in TARGETS]
        rows += [(f"{module}, {k[0].name}", *(f"{len(one.code):,}" for one in k)) for k in zip(*compiled, strict=True)]
        rows.append((f"{module}, all", *(f"{sum(len(k.code) for k in kernels):,}" for kernels in compiled)))
    yield from table(("bytes of machine code", *TARGETS), rows)


def heap(boards: tuple[str, ...]) -> Iterator[str]:
    """Yield what firmware leaves free on emulated boards, each fresh: it deploys, starts, and asks."""
    rows = []
    found = {board: str(image(board)) for board in boards}
    kept = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="subsong-bench-") as folder:
        os.environ["SUBSONG_CACHE"] = folder
        try:
            for board, path in found.items():
                os.environ[variable(board)] = path
                with open_port(board) as port:
                    deploy(port)
                    start_firmware(port)
                    with Bridge(port) as bridge:
                        hello = bridge.hello()
                rows.append((board, f"{hello.heap_free:,}", str(hello.tier)))
        finally:
            os.environ.clear()
            os.environ.update(kept)
    yield from table(("firmware, started", "free heap, bytes", "tier"), rows)


def report(calls: Calls, about: str) -> Iterator[str]:
    """Yield the page."""
    import llvmlite.binding as llvm

    yield "# Kernels on boards: figures"
    yield ""
    yield "Printed, and written here, by `make bench-board`; every ratio is of one run."
    yield f"{about}, emulated by rp2040py {version('rp2040py')}: exact core cycles for code in RAM, no flash misses."
    yield f"C reference: benchmarks/board, {gcc_version()}, `{' '.join(FLAGS[:3])}`."
    yield f"Machine code: LLVM {'.'.join(map(str, llvm.llvm_version_info))}, llvmlite {version('llvmlite')}."
    yield ""
    yield "## Cycles a synapse"
    yield ""
    yield CYCLES
    yield ""
    yield from cycles(calls)
    yield ""
    yield "## A control step"
    yield ""
    yield from control_step(calls)
    yield ""
    yield "## Memory"
    yield ""
    yield from memory()
    if not QUICK:
        yield ""
        yield from heap(("pico", "microbit"))
    yield ""
    yield "## Code"
    yield ""
    yield from code()


def main() -> None:
    """Print the page; write it, unless this is the short version."""
    gcc_version()  # before a minute is spent
    with Pico(image("pico")) as pico:
        about = pico.run("import os; print(os.uname().machine + ', MicroPython ' + os.uname().version, end='')")
        calls = measure(pico, NETWORKS)
    lines = []
    for line in report(calls, about):
        print(line, flush=True)
        lines.append(line)
    if not QUICK:
        PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except SubsongError as e:
        sys.exit(f"bench_board: {e}")
