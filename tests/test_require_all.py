"""REQUIRE_ALL=1 must make every way of skipping fail: CI would otherwise be green for tests that never ran."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CASES = {
    "call": "import pytest\ndef test_it(): pytest.skip('wants-call')\n",
    "mark": "import pytest\n@pytest.mark.skip(reason='wants-mark')\ndef test_it(): pass\n",
    "module": "import pytest\npytest.skip('wants-module', allow_module_level=True)\n",
    "setup": "import pytest\n@pytest.fixture\ndef f(): pytest.skip('wants-setup')\ndef test_it(f): pass\n",
    "tool": "def test_it(need_tool): need_tool('no-such-tool', 'nor-this', apt='wants-tool')\n",
}
EXPECTED_FAILURE = "import pytest\n@pytest.mark.xfail(reason='wants-xfail')\ndef test_it(): assert False\n"
CI = {"REQUIRE_ALL": "1"}


def run_pytest(folder: Path, variables: dict[str, str], *arguments: str) -> list[str]:
    """Run all cases, beside a copy of conftest.py, in a pytest of their own; return the lines of its summary."""
    shutil.copy(Path(__file__).with_name("conftest.py"), folder)
    for name, source in {**CASES, "xfail": EXPECTED_FAILURE}.items():
        (folder / f"test_{name}.py").write_text(source)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "REQUIRE_ALL"))}
    fixed = ("-rA", "--continue-on-collection-errors", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", ".")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *fixed, *arguments, "."],
        cwd=folder,
        env={**inherited, **variables, "COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return [line for line in done.stdout.splitlines() if re.match(r"(SKIPPED|FAILED|ERROR|XFAIL|PASSED) ", line)]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["one process", "workers"])
def test_every_skip_fails_where_everything_is_required(workers: tuple[str, ...], tmp_path: Path) -> None:
    summary = run_pytest(tmp_path, CI, *workers)
    for case in CASES:
        assert any(re.match(rf"(FAILED|ERROR) .*wants-{case}$", line) for line in summary), (case, summary)
    assert any(re.match(r"XFAIL .*wants-xfail$", line) for line in summary), summary  # an expected failure is no skip
    assert len(summary) == len(CASES) + 1, summary


@pytest.mark.slow
def test_skips_are_skips_elsewhere(tmp_path: Path) -> None:
    summary = run_pytest(tmp_path, {})
    for case in CASES:
        assert any(re.match(rf"SKIPPED .*wants-{case}$", line) for line in summary), (case, summary)
    advice = "needs no-such-tool or nor-this: sudo apt-get install wants-tool"
    assert any(line.endswith(advice) for line in summary), summary
    assert len(summary) == len(CASES) + 1, summary
