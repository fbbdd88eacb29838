"""The suite for real boards, as its user runs it: a pytest of its own, on the boards that need no board."""

import faulthandler
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from subsong_hil import BOARDS, images

pytest_plugins = ["subsong_hil.fixtures"]

ROOT = Path(__file__).parents[1]
TESTS = 5


@pytest.fixture(scope="session")
def microbit_firmware() -> Path:
    """The official image, from this user's own cache."""
    return images.image("microbit")


@pytest.fixture(autouse=True)
def _own_board(board_cache: Path) -> None:
    """A board of this test's own."""


def run_suite(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run `pytest hil ...` from the checkout."""
    # That process watches each of its tests; on an emulated board they may together take longer than one may here.
    faulthandler.cancel_dump_traceback_later()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment = {**inherited, "COLUMNS": "200"}
    command = [sys.executable, "-m", "pytest", "hil", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def facts(output: str) -> dict[str, str]:
    """Return the lines of the suite's summary."""
    summary = re.split(r"=+ the board =+\n", output)[1]
    return dict(re.findall(r"^([a-z][\w, ]*?) {2,}(.+)$", summary, re.MULTILINE))


@pytest.mark.slow
def test_the_suite_passes_on_the_unix_board_and_says_what_it_measured() -> None:
    done = run_suite("--port", "unix")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{TESTS} passed" in done.stdout
    told = facts(done.stdout)
    assert "MicroPython 1." in told["board"]
    assert re.search(r"equal to the oracle over \d+ trials", told["bytecode"])
    assert re.search(r"median [\d,.]+ us, .* most [\d,.]+ us", told["round trip"])
    assert "kB/s" in told["there and back"] and "none lost" in told["from the board"]
    assert "63, 64, 65, 127, 128, 512" in told["frames"]
    assert "us by weight perturbation" in told["a step, bytecode"]
    assert "replayed bit for bit" in told["xor, weight perturbation"]
    assert "replayed bit for bit" in told["xor, node perturbation"]


@pytest.mark.slow
@pytest.mark.xdist_group("pico")
def test_the_suite_passes_on_the_emulated_pico_at_every_tier(pico_deployed: Path) -> None:
    done = run_suite("--port", "pico")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{TESTS} passed" in done.stdout
    told = facts(done.stdout)
    assert "RP2040" in told["board"]
    for tier in ("machine code", "viper", "bytecode"):
        assert "equal to the oracle" in told[tier]
        assert "us by node perturbation" in told[f"a step, {tier}"]
    assert "by machine code" in told["xor, weight perturbation"]
    assert "failed" not in told


@pytest.mark.slow
def test_on_the_small_firmware_the_suite_is_its_learning_run(
    need_tool: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, microbit_firmware: Path
) -> None:
    need_tool("qemu-system-arm", apt="qemu-system-arm")
    monkeypatch.setenv(images.variable("microbit"), str(microbit_firmware))
    done = run_suite("--port", "microbit")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"2 passed, 3 skipped", done.stdout)
    told = facts(done.stdout)
    assert "by machine code" in told["xor, weight perturbation"]
    assert "replayed bit for bit" in told["xor, node perturbation"]  # a second run over one port


@pytest.mark.slow
def test_without_a_port_the_suite_says_how() -> None:
    done = run_suite()
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "name it: pytest hil --port a0" in done.stderr
    assert all(name in done.stderr for name in BOARDS)


@pytest.mark.slow
def test_a_port_that_is_not_there_is_one_error_for_the_suite() -> None:
    done = run_suite("--port", "a250", "-x")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "there is no such port" in done.stdout


@pytest.mark.slow
def test_two_processes_on_one_board_are_refused() -> None:
    done = run_suite("--port", "unix", "-n", "2")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "one board, one process" in done.stderr


def test_plain_pytest_leaves_real_boards_alone() -> None:
    options = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"]
    assert options["testpaths"] == ["tests"]
