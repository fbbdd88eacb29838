"""Engine agreement: the kernels on the board, at every tier that it has, against the independent oracle."""

import json
import time

from cases import (
    FIRST,
    RULES,
    Answer,
    Case,
    Setup,
    Step,
    Trial,
    assert_equal,
    case_of,
    head_words,
    oracle_engine,
    suited,
)
from subsong.profile import TIERS
from subsong.repl import Repl
from subsong_device import layout
from subsong_hil.suite import BoardUnderTest

PLAYER = """
import gc
from array import array
from binascii import hexlify, unhexlify
from subsong_device.layout import COST, EVALUATE
def play(kernels, head, mem, n_x, n_u, trials):
    learner = __import__(kernels, None, None, ("act",))
    head = array("i", unhexlify(head))
    mem = array("H", unhexlify(mem))
    x = array("H", [0] * n_x)
    u = array("H", [0] * n_u)
    for evaluate, steps, last_cost in trials:
        head[EVALUATE] = evaluate
        learner.begin(head, mem)
        us = []
        for cost, words in steps:
            head[COST] = cost
            for j in range(n_x):
                x[j] = words[j] & 0xFFFF
            learner.act(head, mem, x, u)
            us.append([(w ^ 0x8000) - 0x8000 for w in u])
        head[COST] = last_cost
        learner.end(head, mem)
        print("[%s,\\"%s\\",\\"%s\\"]" % (us, hexlify(head).decode(), hexlify(mem).decode()))
"""
EXTREME = (-32768, -32767, -1, 0, 1, 32767)
COSTS = (0, 1, -1, 2**28, -(2**28), 65535, 12345678)


def cases() -> list[Case]:
    """Return three cases of each rule: up to three estimators, every activation, wide layers, extreme words."""
    made = []
    shapes = (
        ("running_baseline", (2, 4, 1), ("tanh", "logistic"), "stochastic"),
        ("unperturbed_trial", (3, 17, 2), ("hard_tanh", "identity"), "stochastic"),
        ("two_sided", (4, 3, 3, 2), ("identity", "tanh", "hard_tanh"), "nearest"),
    )
    for rule in RULES:
        for seed, (estimator, layers, activations, rounding) in enumerate(shapes):
            setup = Setup(
                rule=rule, estimator=estimator, layers=layers, activations=activations, rounding=rounding,
                rate=16383 if seed == 2 else 77, rate_shift=7, init=20000, seed=seed,
            )  # fmt: skip
            case_trials = []
            for n in range(5):
                steps = tuple(
                    Step(COSTS[(n + k) % len(COSTS)], tuple(EXTREME[(n * 5 + k * 3 + j) % 6] for j in range(layers[0])))
                    for k in range(2)
                )
                case_trials.append(Trial(n == 3, steps, COSTS[(3 * n + seed) % len(COSTS)]))
            made.append(case_of(suited(setup), case_trials))
    return made


def play(repl: Repl, case: Case, kernels: str) -> list[Answer]:
    """Play a case on a module of kernels on the board."""
    h = head_words(case.head)
    last = layout.LAYERS_AT + (h[layout.N_LAYERS] - 1) * layout.LAYER_WORDS
    sizes = h[layout.LAYERS_AT + layout.N_IN], h[last + layout.N_OUT]
    trials = [(int(t.evaluate), [(s.cost, s.x) for s in t.steps], t.last_cost) for t in case.trials]
    call = (kernels, case.head.hex(), case.mem.hex(), *sizes, trials)
    said = repl.run(f"gc.collect()\nplay{call!r}")
    answers = [json.loads(line) for line in said.splitlines()]
    return [Answer(u, bytes.fromhex(head), bytes.fromhex(mem)) for u, head, mem in answers]


def test_every_tier_computes_what_the_oracle_computes(board: BoardUnderTest, repl: Repl) -> None:
    expected = [(case, oracle_engine(case)) for case in cases()]
    repl.run(PLAYER)
    for tier in board.profile.tiers:
        # Where time is dear, one case each of two rules: tests/test_pico_engines.py has the others.
        one_each = {case.rule: (case, answers) for case, answers in reversed(expected)}
        dear = [one_each[rule] for rule in FIRST]
        played = board.pick(expected, dear)
        began = time.monotonic()
        for case, answers in played:
            assert_equal(case, answers, play(repl, case, board.kernels(case.rule, tier)))
        trials = sum(len(case.trials) for case, _ in played)
        board.note(TIERS[tier], f"equal to the oracle over {trials} trials, in {time.monotonic() - began:.1f} s")
