"""A short learning run on the board, its log executed again: no difference, bit for bit."""

from pathlib import Path

import pytest

from cases import RULES
from learning import shortened
from subsong.board_session import run_over
from subsong.replay import replay
from subsong.runlog import read_run
from subsong_hil.suite import BoardUnderTest


@pytest.mark.parametrize("rule", RULES)
def test_a_run_on_the_board_replays_without_a_difference(board: BoardUnderTest, tmp_path: Path, rule: str) -> None:
    log = tmp_path / "hil.mcap"
    trials = board.times(200, 24)
    experiment = shortened("xor", rule, trials=trials, evaluate_every=trials // 2)
    result = run_over(experiment, board.port, None, log, held=board.held)
    assert result.trials == trials
    again = replay(log)
    assert again.difference is None
    assert (again.checked, again.holes, again.skipped) == (trials + 2, 0, 0)
    tier = read_run(log).header.engine["tier"]
    board.note(
        f"xor, {rule.replace('_', ' ')}",
        f"{result.trials} trials, {result.steps} steps by {tier}, {result.steps / result.seconds:,.0f} a second with "
        f"every step's telemetry, mean cost {result.costs[0]:.3f} to {result.costs[-1]:.3f}, replayed bit for bit",
    )
