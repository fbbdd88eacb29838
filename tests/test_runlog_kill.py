"""Two hundred runs killed with kill -9 at points drawn by chance: what was recorded is there."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runlog_sessions import loop_session
from subsong.errors import LogError
from subsong.runlog import read_run, recover
from subsong.runlog.lock import is_held

KILLS = 200
SEED = 20_261
SESSION = (24, 20)  # trials, steps
FRAMES = len(loop_session(*SESSION).wire)

# Imports once, then forks a child for each line of input, and kills it at a count and some microseconds later. The
# child counts, in memory that both share, frames when they are recorded, and then how far the log is closed.
_KILLER = """
import json, mmap, os, random, signal, struct, sys, time
from pathlib import Path
from runlog_sessions import START_NS, T_NS, loop_session
from subsong.runlog import Recorder, finish

finish._CHUNK_BYTES = 4096
os.fsync = lambda _: None
session = loop_session(*json.loads(sys.argv[1]))
count = mmap.mmap(-1, 8)

def tell(number):
    count[:] = number.to_bytes(8, "little")

def record(path, close_after):
    recorder = Recorder(path, session.header())
    for number, (to_board, wire) in enumerate(session.wire[:close_after]):
        recorder.frame(to_board, wire, START_NS + number * T_NS)
        tell(number + 1)
    if close_after is not None:
        recorder.close(lambda _: tell(int.from_bytes(count[:], "little") + 1))
        tell(1 << 40)
    while True:
        signal.pause()

for line in sys.stdin:
    path, close_after, until_count, delay_us = json.loads(line)
    tell(0)
    child = os.fork()
    if not child:
        record(Path(path), close_after)
    while int.from_bytes(count[:], "little") < until_count:
        if os.waitpid(child, os.WNOHANG) != (0, 0):
            sys.exit("the recording ended by itself")
        os.sched_yield()
    until = time.perf_counter_ns() + delay_us * 1000
    while time.perf_counter_ns() < until:
        os.sched_yield()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    print(int.from_bytes(count[:], "little"), flush=True)
"""


def draw(number: int, chance: random.Random) -> tuple[int | None, int, int]:
    """Return after how many frames the log is closed, if at all; and at which count and how many us later it ends."""
    match number % 10:
        case 0:  # while it begins
            return None, 0, chance.randrange(30_000)
        case 1 | 2 | 3:  # while it is closed: chunk after chunk, brought to the disk, renamed
            frames = chance.randrange(1, 400)
            return frames, frames + chance.randrange(frames // 40 + 5), chance.randrange(1_000)
        case _:
            return None, chance.randrange(1, FRAMES - 1), chance.randrange(300)


@pytest.mark.slow
def test_two_hundred_kills_lose_no_frame_that_was_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    chance = random.Random(SEED)
    wire = loop_session(*SESSION).wire
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    command = [sys.executable, "-c", _KILLER, json.dumps(SESSION)]
    met = dict.fromkeys(("nothing yet", "recording", "closing", "closed"), 0)
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as killer:
        assert killer.stdin is not None and killer.stdout is not None
        for number in range(KILLS):
            path, partial = tmp_path / f"{number}.mcap", tmp_path / f"{number}.mcap.partial"
            point = draw(number, chance)
            killer.stdin.write(json.dumps([str(path), *point]) + "\n")
            killer.stdin.flush()
            counted = int(killer.stdout.readline())
            recorded = min(counted, point[0] or FRAMES)
            what = f"kill {number} of seed {SEED}: {point}, {recorded} frames recorded"
            while partial.exists() and is_held(partial):  # the process that writes ends after the one that was killed
                time.sleep(0.001)
            closed = path.exists()
            try:
                run = read_run(path if closed else recover(partial))
            except LogError:  # not even the header was there
                assert recorded == 0, what
                met["nothing yet"] += 1
                partial.unlink(missing_ok=True)
                continue
            met["closed" if closed else "closing" if recorded == point[0] else "recording"] += 1
            found = [(frame.to_board, frame.wire) for frame in run.frames()]
            assert found == wire[: len(found)], what
            assert recorded <= len(found) <= recorded + 1, what  # one may be handed over and not counted yet
            assert run.disagreements() == [], what
            assert run.complete == closed, what
            for each in tmp_path.iterdir():
                each.unlink()
        killer.stdin.close()
    assert all(met.values()), met
