"""The board holds this installation's firmware: hashed by the board itself, and deployed where it does not."""

from subsong_hil.suite import BoardUnderTest


def test_the_board_holds_this_installations_firmware(board: BoardUnderTest) -> None:
    """The first test: what it takes is the deploy's."""
    assert board.held.manifest.profile == board.profile.name
