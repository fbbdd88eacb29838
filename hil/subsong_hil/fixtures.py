"""pytest fixtures for emulated boards: `pytest_plugins = ["subsong_hil.fixtures"]` in a test file.

Each board has a flash and a cache of its own, so that tests run side by side.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from subsong.deploy import deploy
from subsong.ports import Port, open_port
from subsong_hil.unix import UnixBoard


@pytest.fixture
def board_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder: `--port unix` is then a board of this test's own, in this process and its children."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("SUBSONG_CACHE", str(cache))
    monkeypatch.delenv("SUBSONG_HEAP", raising=False)
    return cache


@pytest.fixture
def board_flash(board_cache: Path) -> Path:
    """The folder that is the flash of `--port unix`; empty."""
    flash = board_cache / "boards" / "unix"
    flash.mkdir(parents=True)
    return flash


@pytest.fixture
def unix_board(board_flash: Path) -> Iterator[UnixBoard]:
    """A board that is running, at its prompt, with nothing deployed."""
    with UnixBoard(board_flash) as board:
        yield board


@pytest.fixture
def unix_port(board_flash: Path) -> Iterator[Port]:  # noqa: ARG001  # opens the board that lives there
    """An open port to a board with nothing deployed. Its flash is `board_flash`."""
    with open_port("unix") as port:
        yield port


@pytest.fixture(scope="session")
def firmware_flash(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A flash with this installation's firmware, for copying: deploying takes longer than most tests."""
    flash = tmp_path_factory.mktemp("firmware") / "flash"
    with UnixBoard(flash) as board, open_port(board.path) as port:
        deploy(port)
    return flash


@pytest.fixture
def deployed_flash(board_flash: Path, firmware_flash: Path) -> Path:
    """`board_flash` with the firmware on it; the board is off."""
    shutil.copytree(firmware_flash, board_flash, dirs_exist_ok=True)
    return board_flash


@pytest.fixture
def deployed_port(deployed_flash: Path, unix_port: Port) -> Port:  # noqa: ARG001  # the flash that unix_port's board has
    """An open port to a board that holds this installation's firmware, at its prompt."""
    return unix_port
