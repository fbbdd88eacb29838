"""Fuzzing of the link's parsers: the host's and the board's, on CPython and on MicroPython, agree on every input.

    python tests/fuzz_frames.py 10000000            # segments between delimiters; a seed may follow
    python tests/fuzz_frames.py --atheris [libFuzzer's options, such as -runs=1000000 or a folder]

The first draws its inputs from a seed (fuzz_worker.py) in one process of each Python, which takes some 100 us a segment
of each. The second (`pip install -e .[fuzz]`) lets libFuzzer look for inputs that reach further, on CPython alone.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from subsong.errors import PortError
from subsong_hil.unix import INSTALL, find_micropython

WORKER = Path(__file__).with_name("fuzz_worker.py")
BATCH = 5000
Batch = list[list[int]]


def start(program: list[str], seed: int, inputs: int, batch: int) -> "subprocess.Popen[str]":
    """Start a worker."""
    device = Path(str(resources.files("subsong_device"))).parent
    environment = {**os.environ, "MICROPYPATH": f"{device}:.frozen"}
    command = [*program, str(WORKER), *map(str, (seed, inputs, batch))]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def agreed(seed: int, inputs: int, batch: int = BATCH) -> Iterator[tuple[int, int]]:
    """Yield (frames found, segments refused) so far after each batch, as long as all four parsers agree.

    Raises:
        AssertionError: they differ, or a worker failed.
        PortError: there is no MicroPython.
    """
    micropython = find_micropython()
    if micropython is None:
        raise PortError(f"needs MicroPython: {INSTALL}")
    programs = [[sys.executable], [str(micropython), "-X", "heapsize=2M"]]
    workers = [start(program, seed, inputs, batch) for program in programs]
    try:
        for number in range(inputs // batch):
            lines = [worker.stdout.readline() for worker in workers if worker.stdout]
            if not all(lines):
                raise AssertionError([worker.communicate()[1][-500:] for worker in workers])
            host, board = (json.loads(line) for line in lines)
            where = f"seed {seed}, batches of {batch}, batch {number}"
            # Found, refused, digest of what was found: by the host's parser and by the board's.
            assert host[0] == host[1] == board[0] == board[1], (where, host, board)
            yield host[0][0], host[0][1]
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()


def offline(segments: int, seed: int) -> None:
    """Fuzz until so many segments were judged."""
    judged = found = 0
    while judged < segments:
        before = judged
        for found_now, refused in agreed(seed, 100 * BATCH):
            judged = before + found_now + refused
            sys.stdout.write(f"\rseed {seed}: {judged:,} segments judged alike, {found + found_now:,} of them frames")
            sys.stdout.flush()
            if judged >= segments:
                break
        found += found_now
        seed += 1
    sys.stdout.write("\n")


def coverage_guided(arguments: list[str]) -> None:
    """Let libFuzzer choose the inputs."""
    import atheris

    with atheris.instrument_imports(include=["subsong_device"]):
        import fuzz_worker

    def one(data: bytes) -> None:
        judges = fuzz_worker.Judges()
        judges.feed(data + b"\0")
        judges.feed(fuzz_worker.QUIET)
        assert judges.found[0] == judges.found[1]
        assert judges.digests[0] == judges.digests[1]
        assert judges.damaged[0] == judges.damaged[1]

    atheris.Setup([sys.argv[0], *arguments], one)
    atheris.Fuzz()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--atheris"]:
        coverage_guided(sys.argv[2:])
    else:
        offline(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000, int(sys.argv[2]) if len(sys.argv) > 2 else 1)
