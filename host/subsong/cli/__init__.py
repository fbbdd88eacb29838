"""The command line: `subsong VERB`.

This package imports click alone, so that help comes at once; each verb imports what it needs when it runs. The verbs
themselves are thin: they turn arguments into one call, and its result into a last screen or JSON.
"""

import signal
import sys
from types import FrameType

from subsong.cli.app import Verbs
from subsong.cli.begin import demo, new
from subsong.cli.boards import boards, deploy
from subsong.cli.check import check
from subsong.cli.compile import compile_verb
from subsong.cli.hil import hil
from subsong.cli.key import key
from subsong.cli.learn import run, sim
from subsong.cli.logs import compare, draw, export, recover, replay
from subsong.cli.rules import rules
from subsong.cli.sweep import sweep

__all__ = ["main", "subsong"]

subsong = Verbs(
    name="subsong",
    help="""\
A microcontroller learns to drive a plant that nobody has modelled, by perturbing itself and watching one cost.

One experiment file serves the simulator, the emulated boards and real hardware, unchanged. Start with `subsong sim
cartpole`, then `subsong run cartpole --port unix`: nothing has to be plugged in.""",
    sections={
        "Begin": [new, demo],
        "Learn": [sim, run, sweep, rules, check],
        "Boards": [boards, deploy, key, compile_verb, hil],
        "Run logs": [replay, compare, draw, recover, export],
    },
)


def main() -> None:
    """Run the command line; the console script's entry point."""
    # A run that is terminated or hung up leaves as an interrupted one does: the log closed, the board's outputs safe.
    for name in "SIGTERM", "SIGHUP":
        number = getattr(signal, name, None)
        # nohup's wish to ignore a hang-up is respected.
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _leave)
    subsong(prog_name="subsong")


def _leave(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)
