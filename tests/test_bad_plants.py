"""A plant.py that does what it should not, on genuine MicroPython: the run ends safe, logged, and with one sentence."""

from pathlib import Path

import pytest

from subsong.board_session import run_on_board
from subsong.errors import PlantError, SubsongError
from subsong.experiment import parse_experiment
from subsong.findings import FLAT_TRIALS, FlatCost
from subsong.runlog import read_run
from subsong_sim.learner import TrialSummary
from test_board_plant import EXAMPLE, experiment_of

pytest_plugins = ["subsong_hil.fixtures"]

# What the outputs are, in a file of the board's flash: whatever comes, its last line is to say that they are safe.
NOTED = """
told = open("outputs", "w")
def note(what):
    told.write(what + "\\n")
    told.flush()
put, make = actuate, safe
def actuate(u):
    note("moved")
    put(u)
def safe():
    note("safe")
    make()
count = 0
def later():
    global count
    count += 1
    return count > 30  # in the midst of a trial, the third
"""
NO_NUMBER = "in cost(), which must return a whole number"
CASES = {
    "none": ("def cost():\n    return None if later() else 1", NO_NUMBER),
    "nan": ("def cost():\n    return float('nan') if later() else 1", NO_NUMBER),
    "float": ("def cost():\n    return 0.25 if later() else 1", NO_NUMBER),
    "huge": ("def cost():\n    return 1 << 40", "its cost does not fit the 28 bits of a cost"),
    "word": ("read = sense\ndef sense(x):\n    read(x)\n    if later():\n        x[2] = 0.5", "in sense(); "),
    "actuate": ("set = actuate\ndef actuate(u):\n    set(u)\n    later() and 1 // 0", "in actuate(); "),
    "reset": ("bring = reset\ndef reset(seed):\n    bring(seed)\n    seed > 1 and 1 // 0", "in reset(); "),
    "range": (
        "read = sense\ndef sense(x):\n    read(x)\n    if later():\n        x[1] = 32100",
        "sensor 1 left plant.",
    ),
    "stuck": (
        "read = sense\ndef sense(x):\n    read(x)\n    x[3] = 5",
        "sensor 3 no longer changes (plant.stuck_steps)",
    ),
    "flat": (
        "def cost():\n    return 37",
        f"each of the first {FLAT_TRIALS} learning trials cost 444 counts in 12 steps",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_plant_ends_safe_logged_and_explained(case: str, deployed_flash: Path, tmp_path: Path) -> None:
    code, sentence = CASES[case]
    (deployed_flash / "plant.py").write_text(f"{EXAMPLE.read_text()}{NOTED}\n{code}\n")
    text = experiment_of(stuck_steps=9).to_toml()
    if case == "flat":
        text = text.replace("trials = 8\n", f"trials = {FLAT_TRIALS}\n")
    log = tmp_path / "run.mcap"
    with pytest.raises(SubsongError) as caught:
        run_on_board(parse_experiment(text, "test"), port="unix", out=log)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (deployed_flash / "outputs").read_text().splitlines()[-1] == "safe"
    run = read_run(log)
    assert run.complete
    assert [event.text for event in run.events if event.kind == "error"] == [f"{caught.type.__name__}: {caught.value}"]


def ended(total: int, steps: int = 12) -> TrialSummary:
    return TrialSummary(0, False, steps, total, 0, 0, 0, 0)


def test_a_cost_that_varied_once_is_not_flat() -> None:
    flat = FlatCost()
    for total in [37] * (FLAT_TRIALS - 1) + [38] + [37] * 3 * FLAT_TRIALS:
        flat.take(ended(total))
    flat = FlatCost()
    for steps in [12] * (FLAT_TRIALS - 1) + [11] + [12] * 3 * FLAT_TRIALS:
        flat.take(ended(0, steps))
    flat = FlatCost()
    for _ in range(FLAT_TRIALS - 1):
        flat.take(ended(0))
    with pytest.raises(PlantError, match="nothing can be learned"):
        flat.take(ended(0))
