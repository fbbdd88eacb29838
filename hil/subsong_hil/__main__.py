"""`python -m subsong_hil pico`: start an emulated board and keep it until Ctrl-C, so that any tool can attach to it."""

import argparse
import signal
import sys
from pathlib import Path

from subsong.errors import PortError
from subsong_hil import BOARDS

EPILOG = """Attach in another terminal, with the path that is printed:
  mpremote connect PATH repl          (unix: mpremote connect PATH resume repl)
  subsong run experiment.toml --port PATH
Ctrl-C here switches the board off; on unix it first stops the program that runs on the board, as the key does there."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status (3: the board cannot start, as in the `subsong` command)."""
    parser = argparse.ArgumentParser(
        prog="python -m subsong_hil", epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("board", choices=sorted(BOARDS))
    parser.add_argument("--flash", type=Path, help="folder for the board's flash")
    parser.add_argument("--heap", help="size of MicroPython's heap, such as 192K (unix alone)")
    parser.add_argument("--boot", action="store_true", help="run main.py from the flash first, as boards do")
    options = parser.parse_args(arguments)
    board = BOARDS[options.board](options.flash, options.heap, options.boot)
    before: set[signal.Signals | int] = set()
    try:
        with board:
            # Blocked and taken one at a time with sigwait, so that neither a thread nor a sleep is needed; and blocked
            # only now, because the board's process would inherit the mask and never see its own Ctrl-C.
            wanted = {signal.SIGINT, signal.SIGTERM, signal.SIGCHLD}
            before = signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
            sys.stdout.write(board.path + "\n")
            sys.stdout.flush()
            while board.running:
                received = signal.sigwait(wanted)
                if received == signal.SIGTERM or (received == signal.SIGINT and not board.interrupt()):
                    break
            status = board.wait(0)
    except PortError as error:
        sys.stderr.write(f"subsong_hil: error: {error}\n")
        return 3
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if status:
        last = board.complaints.decode("utf-8", "replace").strip().rpartition("\n")[2]
        sys.stderr.write(f"subsong_hil: the board's process ended with status {status}{last and ': ' + last}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
