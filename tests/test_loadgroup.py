"""Tests that share an emulated board stay in one process under `--dist loadgroup`: each process would start its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

GROUPED = """
import os
import pytest
from pathlib import Path

@pytest.fixture(scope="session", params=[pytest.param(v, marks=pytest.mark.xdist_group(v)) for v in "ab"])
def board(request):
    return request.param

@pytest.mark.parametrize("n", range(6))
def test_it(board, n):
    Path(f"{board}-{os.environ['PYTEST_XDIST_WORKER']}").touch()
"""


@pytest.mark.slow
def test_a_group_stays_in_one_process(tmp_path: Path) -> None:
    (tmp_path / "test_grouped.py").write_text(GROUPED, encoding="utf-8")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadgroup", "--no-loadscope-reorder"]
    done = subprocess.run(
        [*command, "-c", "/dev/null", "--rootdir", ".", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env=inherited,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    boards = [path.name[0] for path in sorted(tmp_path.glob("?-gw?"))]
    assert boards == ["a", "b"], "pytest-xdist no longer keeps groups: see pytest's version in pyproject.toml"
