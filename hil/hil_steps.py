"""Step timing: what one control step, `act`, takes on the board itself, called from MicroPython."""

from cases import FIRST, RULES, Case, Setup, Step, Trial, case_of, suited
from oracle import Oracle
from subsong.profile import TIERS
from subsong.repl import Repl
from subsong_hil.suite import BoardUnderTest

TIMER = """
import gc
from array import array
from binascii import unhexlify
from time import ticks_diff, ticks_us
from subsong_device.layout import CHECK
def nothing(head, mem, x, u):
    pass
def timed(act, n, *block):
    gc.collect()
    began = ticks_us()
    for _ in range(n):
        act(*block)
    return ticks_diff(ticks_us(), began)
def measure(kernels, head, mem, x, n_u, n):
    learner = __import__(kernels, None, None, ("act",))
    block = array("i", unhexlify(head)), array("H", unhexlify(mem)), array("H", x), array("H", [0] * n_u)
    learner.begin(block[0], block[1])
    took = timed(learner.act, n, *block)
    print(took, timed(nothing, n, *block), block[0][CHECK])
"""
WORDS = (1000, -2000, 30000, -32768)


def test_a_step_takes_this_long(board: BoardUnderTest, repl: Repl) -> None:
    """A 4-8-1 network. Times are printed, never judged: what is judged is what the steps computed."""
    repl.run(TIMER)
    for tier in board.profile.tiers:
        n = board.pick(200, 20) if tier else board.pick(50, 4)
        took = []
        for rule in board.pick(RULES, FIRST):
            setup = Setup(rule=rule, estimator="running_baseline", layers=(4, 8, 1), activations=("tanh", "hard_tanh"))
            case = case_of(suited(setup), [Trial(False, (Step(0, WORDS),) * n, 0)])
            call = (board.kernels(rule, tier), case.head.hex(), case.mem.hex(), [w & 0xFFFF for w in WORDS], 1, n)
            us, loop_us, check = map(int, repl.run(f"measure{call!r}").split())
            assert check == check_after_steps(case), f"{rule}, {TIERS[tier]}"
            took.append(f"{(us - loop_us) / n:,.1f} us by {rule.replace('_', ' ')}")
        board.note(f"a step, {TIERS[tier]}", f"{', '.join(took)} (4-8-1, the call of an empty function taken off)")


def check_after_steps(case: Case) -> int:
    """Return the oracle's checksum after the steps of a case's only trial, before its end."""
    oracle = Oracle.of(case.rule, case.head, case.mem)
    oracle.begin(0, False)
    for step in case.trials[0].steps:
        oracle.act(step.cost, step.x)
    return oracle.check
