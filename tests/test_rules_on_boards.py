"""Rules learn on boards, and their logs replay bit for bit: every rule on the unix board, two on the emulated Pico."""

from pathlib import Path

import pytest

from learning import short_example
from subsong.board_session import run_over
from subsong.experiment import Experiment
from subsong.ports import Port, open_port
from subsong.replay import replay
from subsong.rules import TABLE
from subsong.verify import Verified, verify_board

pytest_plugins = ["subsong_hil.fixtures"]

RULES = [rule.name for rule in TABLE]
# Chance in the units, and spikes. A rule takes the better part of a minute there.
ON_PICO = ("reinforce", "songbird")


def learns_and_replays(experiment: Experiment, port: Port, held: Verified, log: Path) -> None:
    trials = experiment.run.trials
    result = run_over(experiment, port, None, log, held=held)
    assert result.trials == trials
    again = replay(log)
    assert again.difference is None, experiment.learner.rule
    assert (again.checked, again.holes, again.skipped) == (trials + 1, 0, 0)


@pytest.mark.slow  # replay compiles every rule for the simulator
@pytest.mark.parametrize("rule", RULES)
def test_a_rule_learns_on_the_unix_board_and_its_log_replays(rule: str, deployed_port: Port, tmp_path: Path) -> None:
    learns_and_replays(short_example(rule, 8, 160), deployed_port, verify_board(deployed_port), tmp_path / "run.mcap")


@pytest.mark.slow
@pytest.mark.xdist_group("pico")
def test_rules_learn_on_the_emulated_pico_and_their_logs_replay(pico_deployed: Path, tmp_path: Path) -> None:
    with open_port("pico") as port:
        held = verify_board(port)
        for rule in ON_PICO:
            learns_and_replays(short_example(rule, 2, 16), port, held, tmp_path / f"{rule}.mcap")
