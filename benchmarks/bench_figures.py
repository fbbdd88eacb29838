"""Learning itself, against the figures it is held to: `make bench-figures`, QUICK=1 for fewer seeds."""

import os
import platform
import time

import numba
import numpy as np
from figures import Figure, cartpole, xor

SEEDS = range(40 if os.environ.get("QUICK", "0") not in ("", "0") else 200)
RULES = ("weight_perturbation", "node_perturbation")


def row(what: str, figure: Figure, held_to: str) -> None:
    """Print one line of the table."""
    reached = figure.spent[np.isfinite(figure.spent)]
    worst = f"{reached.max():,.0f}" if len(reached) else "-"
    print(f"| {what} | {100 * figure.share:.1f} % | {figure.median:,.0f} | {worst} | {held_to} |")


def main() -> None:
    """Print the table."""
    print(f"{len(SEEDS)} seeds; Python {platform.python_version()}, Numba {numba.__version__}, {platform.machine()}")
    print("| task, rule | reached | median spent | most spent | held to |")
    print("|---|---|---|---|---|")
    began = time.monotonic()
    for rule in RULES:
        row(f"XOR 2-4-1 to MSE .04, {rule}, presentations", xor(rule, SEEDS), "99 % in 200,000, median 3,000")
    row("the same, rate next to nothing", xor(RULES[0], SEEDS[:20], learning=False), "fails: no learning")
    held = {RULES[0]: "100 %, median 28", RULES[1]: "95 %"}
    for rule in RULES:
        row(f"CartPole-v1 to mean 475, linear, {rule}, training episodes", cartpole(rule, SEEDS), held[rule])
    row(
        "the same, rate next to nothing",
        cartpole(RULES[0], SEEDS[:20], learning=False, limit=400),
        "fails: no learning",
    )
    print(f"in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
