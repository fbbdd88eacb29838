"""`pytest hil --port a0`: the suite for real boards, on whatever is plugged in (docs/hil.md).

The board is opened once, gets the firmware once, and is left at its prompt.
"""

import time
from collections.abc import Iterator

import pytest

from subsong.deploy import deploy
from subsong.errors import FirmwareError
from subsong.ports import Port, open_port
from subsong.profile import TIERS, remarks
from subsong.repl import PATIENCE_S, Repl
from subsong.verify import verify_board
from subsong_hil import BOARDS
from subsong_hil.suite import BoardUnderTest

ORDER = ("hil_deploy", "hil_engines", "hil_steps", "hil_learning", "hil_link")
UNDER_TEST = pytest.StashKey[BoardUnderTest]()
HOW = f"name it: pytest hil --port a0 (or /dev/ttyACM0, auto; with nothing plugged in: {', '.join(sorted(BOARDS))})"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --port."""
    parser.addoption("--port", help="the board to test, as `subsong run --port` takes it")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse two processes on one board."""
    if config.getoption("--port", None) and getattr(config.option, "numprocesses", None):
        raise pytest.UsageError("one board, one process: leave -n out")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse to begin without a board. What needs the same imports on the board comes one after another."""
    items.sort(key=lambda item: ORDER.index(item.path.stem) if item.path.stem in ORDER else -1)
    on_board = any(item.path.name.startswith("hil_") for item in items)
    if on_board and not config.option.collectonly and not config.getoption("--port", None):
        raise pytest.UsageError(HOW)


@pytest.fixture(scope="session")
def board(request: pytest.FixtureRequest) -> Iterator[BoardUnderTest]:
    """The board under test, with this installation's firmware on it."""
    began = time.monotonic()
    with open_port(request.config.getoption("--port")) as port:
        try:
            held, copied = verify_board(port), "was there already"
        except FirmwareError:
            copied = f"{deploy(port).copied_bytes:,} bytes copied"
            held = verify_board(port)
        under_test = BoardUnderTest(port, held)
        request.config.stash[UNDER_TEST] = under_test
        device, tiers = held.device, ", ".join(TIERS[tier] for tier in held.profile.tiers)
        what = device.machine or device.platform
        under_test.note("board", f"{what}, MicroPython {device.version}, {port.describe()}")
        under_test.note("profile", f"{held.profile.title}: {tiers}")
        under_test.note("firmware", f"{held.manifest.label}, {copied}, verified in {time.monotonic() - began:.1f} s")
        for remark in remarks(device, held.profile):
            under_test.note("remark", remark)
        yield under_test


@pytest.fixture(autouse=True)
def _left_at_its_prompt(board: BoardUnderTest) -> Iterator[None]:
    """Every test leaves the board at its prompt: an empty line is answered by one."""
    yield
    assert prompts(board.port), "the board was not left at its prompt"


def prompts(port: Port) -> bool:
    """Return whether an empty line is answered by the prompt, nothing being interrupted."""
    port.reset_input()
    port.write(b"\r")
    said = b""
    until = time.monotonic() + PATIENCE_S * port.slowdown
    while not said.endswith(b">>> ") and time.monotonic() < until:
        said += port.read_available(max(0.0, until - time.monotonic()))
    return said.endswith(b">>> ")


@pytest.fixture
def full_board(board: BoardUnderTest) -> BoardUnderTest:
    """The board, if it has the full firmware; the small one has neither its modules nor memory for what tests bring."""
    if board.profile.firmware != "full":
        pytest.skip(f"{board.profile.title} has the small firmware: its learning run is the test")
    return board


@pytest.fixture
def repl(full_board: BoardUnderTest) -> Iterator[Repl]:
    """The board's REPL. Nothing is reset: what one test imported, the next need not."""
    with Repl(full_board.port, soft_reset=False) as entered:
        yield entered


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was measured, for a person to read."""
    under_test = config.stash.get(UNDER_TEST, None)
    if under_test is not None:
        width = max(len(name) for name, _ in under_test.facts)
        terminalreporter.section("the board")
        for name, value in under_test.facts:
            terminalreporter.write_line(f"{name:<{width}}  {value}")
