"""A short learning run on the board, its log executed again: no difference, bit for bit."""

from pathlib import Path

from cases import FIRST
from learning import shortened
from subsong.board_session import run_over
from subsong.replay import replay
from subsong_hil.suite import BoardUnderTest


def test_a_run_on_the_board_replays_without_a_difference(board: BoardUnderTest, tmp_path: Path) -> None:
    trials = board.pick(200, 24)
    for rule in FIRST[: board.pick(2, 1)]:
        log = tmp_path / f"{rule}.mcap"
        experiment = shortened("xor", rule, trials=trials, evaluate_every=trials // 2)
        result = run_over(experiment, board.port, None, log, held=board.held)
        assert result.trials == trials
        again = replay(log)
        assert again.difference is None, rule
        assert (again.checked, again.holes, again.skipped) == (trials + 2, 0, 0)
        board.note(
            f"xor, {rule.replace('_', ' ')}",
            f"{trials} trials, {result.steps} steps by {result.tier}, {result.steps / result.seconds:,.0f} a second, "
            f"every step told, mean cost {result.costs[0]:.3f} to {result.costs[-1]:.3f}, replayed bit for bit",
        )
        for failed in result.failed:
            board.note("failed", failed)
