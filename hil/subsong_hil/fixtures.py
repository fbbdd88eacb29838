"""pytest fixtures for emulated boards: `pytest_plugins = ["subsong_hil.fixtures"]` in a test file.

Each board has a flash and a cache of its own, so that tests run side by side.
"""

import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from subsong.cache import cache_folder
from subsong.deploy import deploy, start_firmware, stop_firmware
from subsong.firmware import build_firmware
from subsong.ports import Port, open_port
from subsong.profile import named_profile
from subsong_hil import images
from subsong_hil.pico import PicoBoard
from subsong_hil.unix import UnixBoard

SHARED = ("compiled", "kernels", "ranges")  # folders of the cache, in which everything is found by a hash


@pytest.fixture
def board_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder without boards: `--port unix` is then one of this test's own, in this process and its children.

    What is compiled or proved once for each text of the kernels stays everybody's: making it again takes longer than
    most tests.
    """
    cache = tmp_path / "cache"
    cache.mkdir()
    for name in SHARED:
        everybodys = cache_folder() / name
        everybodys.mkdir(parents=True, exist_ok=True)
        (cache / name).symlink_to(everybodys)
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


@pytest.fixture(scope="session")
def pico_firmware() -> Path:
    """The Pico's official image, from this user's own cache: fetched once, not once a test."""
    return images.image("pico")


def deployed_pico(firmware: Path) -> Path:
    """Return a Pico's flash folder with this installation's firmware, its tier chosen, to be copied and never used.

    Making it takes a minute of emulation and more, so all processes of a session share one, and later sessions as long
    as neither firmware changes.
    """
    digest = build_firmware(named_profile("pico")).manifest.digest
    folder = cache_folder() / "deployed"
    flash = folder / f"{firmware.stem}-{digest[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not flash.exists():
            made = folder / "new"
            shutil.rmtree(made, ignore_errors=True)
            with PicoBoard(made, firmware=str(firmware)) as board, open_port(board.path) as port:
                deploy(port)
                start_firmware(port)
                stop_firmware(port)
            made.rename(flash)
    return flash


@pytest.fixture(scope="session")
def pico_deployed_flash(pico_firmware: Path) -> Path:
    """What `deployed_pico` returns, for the Pico's default firmware."""
    return deployed_pico(pico_firmware)


@pytest.fixture
def pico_flash(board_cache: Path, pico_firmware: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The flash folder of `--port pico`, empty; the official image is found without fetching it again."""
    monkeypatch.setenv(images.variable("pico"), str(pico_firmware))
    flash = board_cache / "boards" / "pico"
    flash.mkdir(parents=True)
    return flash


@pytest.fixture
def pico_port(pico_flash: Path) -> Iterator[Port]:  # noqa: ARG001  # opens the board that lives there
    """An open port to an emulated Pico with nothing deployed. Its flash is `pico_flash`."""
    with open_port("pico") as port:
        yield port


@pytest.fixture
def pico_deployed(pico_flash: Path, pico_deployed_flash: Path) -> Path:
    """`pico_flash` with the firmware on it; the board is off."""
    shutil.copytree(pico_deployed_flash, pico_flash, dirs_exist_ok=True)
    return pico_flash
