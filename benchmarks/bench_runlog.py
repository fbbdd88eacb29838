"""What the run log costs, beside mcap's own writer doing the same.

    python benchmarks/bench_runlog.py          QUICK=1 for a short version

A frame is a STEP of CartPole (4 sensor words). The reference is mcap's unchunked Writer, flushed to the system after
each message, as the recorder hands each to the process that writes. All take turns, so that whatever else this machine
does meets them alike, and the median of all turns counts. The last lines record, close, read and check a board's run
of 100 trials.
"""

import os
import platform
import statistics
import struct
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from mcap.writer import Writer

from subsong.runlog import Recorder, RunHeader, Step, read_run, recover
from subsong_device import frames

QUICK = os.environ.get("QUICK", "0") not in ("", "0")
TURNS, EACH = (20, 500) if QUICK else (100, 1000)
TRIALS, STEPS = (20, 200) if QUICK else (100, 500)


def header(source: str) -> RunHeader:
    return RunHeader(
        source=source,
        experiment_toml="",
        experiment_digest="",
        seed=1,
        rule="weight_perturbation",
        n_sensors=4,
        n_actuators=1,
        arithmetic=1,
        mismatch=False,
        plant="CartPole-v1",
    )


def turn(call: Callable[[], None]) -> float:
    """Return microseconds a call."""
    began = time.perf_counter()
    for _ in range(EACH):
        call()
    return (time.perf_counter() - began) / EACH * 1e6


def writing(folder: Path) -> None:
    wire = frames.encode(frames.STEP, 77, struct.pack("<IHi4h", 12, 345, -1, 1000, -2000, 300, -4))
    step = Step(12, 345, -1, (1000, -2000, 300, -4), (17,))
    board, sim = Recorder(folder / "board.mcap", header("board")), Recorder(folder / "sim.mcap", header("sim"))
    with (folder / "reference.mcap").open("wb") as file:
        writer = Writer(file, use_chunking=False)
        writer.start()
        channel = writer.register_channel("/wire", "raw", 0)

        def reference() -> None:
            now = time.time_ns()
            writer.add_message(channel, now, wire, now)
            file.flush()

        calls: dict[str, Callable[[], None]] = {
            "mcap's Writer, flushed": reference,
            "Recorder.frame": lambda: board.frame(True, wire, time.time_ns()),
            "Recorder.step": lambda: sim.step(step),
        }
        taken: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(TURNS):
            for name, call in calls.items():
                taken[name].append(turn(call))
    board.abort()
    sim.abort()
    medians = {name: statistics.median(each) for name, each in taken.items()}
    first = medians["mcap's Writer, flushed"]
    print("| a record | us | of mcap's Writer |\n|---|---|---|")
    for name, us in medians.items():
        print(f"| {name} | {us:.1f} | {us / first:.2f} |")


def whole(folder: Path) -> None:
    recorder = Recorder(folder / "run.mcap", header("board"))
    made, seq = frames.formats(4, 1), 0

    def exchange(command: int, reply: int, sent: tuple[int, ...], answered: tuple[int, ...]) -> None:
        nonlocal seq
        seq = (seq + 1) & 0xFFFF
        recorder.frame(True, frames.encode(command, seq, struct.pack(made[command], *sent)), time.time_ns())
        recorder.frame(False, frames.encode(reply, seq, struct.pack(made[reply], *answered)), time.time_ns())

    for trial in range(TRIALS):
        exchange(frames.BEGIN, frames.ACK, (trial, 0), (0, 0))
        for at in range(STEPS):
            angle = (trial * 7919 + at * 104729) % 4001 - 2000  # words that change, as a plant's do
            exchange(frames.STEP, frames.ACT, (trial, at, -1, angle, -angle, angle // 2, 7 * angle), (trial, at, angle))
        exchange(frames.END, frames.TRIAL, (trial, -1), (trial, 0, STEPS, -STEPS, 0, 12345, 0, 0))
    recorder.abort()
    partial, steps = recorder.partial, TRIALS * STEPS
    print(f"\n| a run of {steps:,} steps | us a step |\n|---|---|")

    def say(what: str, call: Callable[[], object]) -> None:
        began = time.perf_counter()
        call()
        print(f"| {what} | {(time.perf_counter() - began) / steps * 1e6:.1f} |")

    path = folder / "closed.mcap"
    say("close (or recover): decode, compress, index", lambda: recover(partial, path))
    say("open, every CRC checked", lambda: read_run(path))
    run = read_run(path)
    say("read every trial, channels held against frames", lambda: list(run.iter_trials()))
    assert run.disagreements() == []
    print(f"\nbytes a step: {partial.stat().st_size / steps:.0f} recorded, {path.stat().st_size / steps:.0f} closed")


if __name__ == "__main__":
    print(f"python benchmarks/bench_runlog.py{' (QUICK=1)' if QUICK else ''}")
    print(f"{platform.machine()}, Python {platform.python_version()}, mcap {version('mcap')}\n")
    with tempfile.TemporaryDirectory() as name:
        writing(Path(name))
        whole(Path(name))
