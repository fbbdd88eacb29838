"""What every test file shares: what to do about tools that this machine lacks, and how hypothesis behaves.

Under REQUIRE_ALL=1 (set by CI, after installing what the tests need) nothing is skipped: a missing tool fails, and
so does every test that skips for any other reason. Elsewhere a missing tool skips its tests, and names the line that
brings it.
"""

import os
import shutil
import signal
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from cases import Engine
    from micropython_engine import MicroPythonEngine

LONGEST = ("pico",)  # the group of tests that give an emulated Pico every verb, one after another
REQUIRE_ALL = os.environ.get("REQUIRE_ALL", "0") not in ("", "0")

# What a script's shell starts in the background ignores Ctrl-C, what nohup starts a hang-up, and so do their children:
# tests that send them would wait.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# The first call of a kernel compiles it for seconds, and CI machines stall: time says nothing here. CI draws the same
# examples each time, so that a red run is the commit's doing; everywhere else each run looks at new ones.
settings.register_profile(
    "subsong", deadline=None, derandomize=REQUIRE_ALL, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("subsong")


@pytest.fixture(scope="session")
def need_tool() -> Callable[..., Path]:
    """Return need_tool(*names, apt): the path of the first of these programs that is there, or a skip.

    `apt` is the Debian package that brings them.
    """

    def need(*names: str, apt: str) -> Path:
        for name in names:
            found = shutil.which(name)
            if found:
                return Path(found)
        message = f"needs {' or '.join(names)}: sudo apt-get install {apt}"
        if REQUIRE_ALL:
            pytest.fail(message, pytrace=False)
        pytest.skip(message)

    return need


@pytest.fixture(scope="session")
def micropython() -> "Iterator[MicroPythonEngine]":
    """One MicroPython process for the session, which plays cases on the firmware's kernels."""
    from micropython_engine import MicroPythonEngine
    from subsong_hil.unix import INSTALL, find_micropython

    if find_micropython() is None:
        pytest.skip(f"needs MicroPython: {INSTALL}")
    with MicroPythonEngine() as engine:
        yield engine


UNICORNS = ("unicorn-armv6m", "unicorn-armv7em", "unicorn-rv32imc")
ENGINES = ("cpython", "native", "numba", "micropython", *UNICORNS)
# Quick runs play on one of the three; drawn kernels are compiled for all of them there, too (test_compiler*.py). Native
# code is made anew for each drawn network; quick runs have it play every rule's trials (test_trials.py).
_LATER = ("native", *UNICORNS[1:])
_PARAMS = [pytest.param(name, marks=pytest.mark.slow) if name in _LATER else name for name in ENGINES]


def _engine_of(name: str, request: pytest.FixtureRequest) -> "Engine":
    from cases import local_engine

    if name == "micropython":
        return request.getfixturevalue("micropython")
    if name in UNICORNS:
        from unicorn_engine import unicorn_engine

        return unicorn_engine(name.removeprefix("unicorn-"))
    return local_engine(name)


@pytest.fixture(scope="session", params=_PARAMS)
def engine(request: pytest.FixtureRequest) -> "Engine":
    """Every engine that executes the firmware's kernels, one after another: a case in, its answers out."""
    return _engine_of(request.param, request)


_SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("numba", *UNICORNS[1:])]


@pytest.fixture(scope="session", params=["cpython", "micropython", UNICORNS[0], *_SLOW])
def engine_of_all_rules(request: pytest.FixtureRequest) -> "Engine":
    """Every engine, for cases of every rule: Numba, which compiles each for many seconds, in slow tests alone."""
    return _engine_of(request.param, request)


@pytest.fixture(scope="session")
def engines(request: pytest.FixtureRequest) -> "dict[str, Engine]":
    """All of them at once, by name: for many cases, which take longer to draw than to play."""
    return {name: _engine_of(name, request) for name in ENGINES if name != "native"}


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin, where several processes share the work, with what takes longest, or it is what all wait for in the end."""
    if hasattr(config, "workerinput"):
        items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    group = item.get_closest_marker("xdist_group")
    if group is not None:
        return 0 if group.args == LONGEST else 1
    return 2 if item.get_closest_marker("slow") else 3


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test that skips where everything is required; an expected failure is no skip."""
    report = yield
    if not hasattr(report, "wasxfail"):
        _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Fail a whole file that skips where everything is required."""
    report = yield
    _refuse_skip(report)
    return report


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if REQUIRE_ALL and report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"REQUIRE_ALL=1 permits no skip: {reason}"
