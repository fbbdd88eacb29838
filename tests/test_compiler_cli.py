"""`subsong compile`: a user's own kernels become a module, a .mpy or a listing; every refusal is one line."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from subsong.cli import subsong
from subsong.compiler import assembler_module, compile_kernels
from subsong_sim.loader import LEARNER_KERNELS, PACKAGE

FILTER = '''"""A low-pass."""

from subsong_device.kernels.checksum import fold

SHIFT = 4


def smooth(y: int, x: int) -> int:
    return y + ((x - y) >> SHIFT)


def low_pass(words: ptr16, state: ptr32, n: int) -> int:
    y = state[0]
    for i in range(n):
        y = smooth(y, words[i])
        words[i] = y & 0xFFFF
    state[0] = y
    return fold(0, y & 0xFFFF)


def reset(state: ptr32) -> int:
    state[0] = 0
    return 0
'''


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "low_pass.py").write_text(FILTER, encoding="utf-8")
    return tmp_path


def invoke(*args: str) -> Any:
    return CliRunner().invoke(subsong, ["compile", *args])


def test_a_file_of_kernels_becomes_a_module(here: Path) -> None:
    done = invoke("low_pass.py", "--target", "armv6m")
    assert done.exit_code == 0
    compiled = compile_kernels("low_pass.py", ("low_pass", "reset"), "armv6m")
    assert done.stdout == assembler_module(compiled)
    told = invoke("low_pass.py", "--target", "armv6m", "-o", "out.py")
    assert (here / "out.py").read_text(encoding="utf-8") == done.stdout
    assert "low_pass  words, state, n" in told.stdout
    assert "wrote out.py" in told.stdout


def test_kernels_are_chosen_by_name() -> None:
    done = invoke("low_pass.py", "--target", "rv32imc", "--kernel", "smooth", "--kernel", "reset", "--json")
    told = json.loads(done.stdout)
    assert list(told["bytes"]) == ["smooth", "reset"]
    assert told["digest"] == compile_kernels("low_pass.py", ("smooth", "reset"), "rv32imc").digest


def test_a_rule_is_listed_by_its_name() -> None:
    done = invoke("node_perturbation", "--target", "armv7em", "--listing")
    compiled = compile_kernels(f"{PACKAGE}.learners.node_perturbation", LEARNER_KERNELS, "armv7em")
    for kernel in compiled.kernels:
        assert f"# {kernel.name}({', '.join(kernel.parameters)}): {len(kernel.code)} bytes of armv7em" in done.stdout
    assert "# node_perturbation.py:" in done.stdout
    assert "# network.py:" in done.stdout


def test_an_mpy_file_is_written_beside(here: Path) -> None:
    assert "wrote low_pass.mpy" in invoke("low_pass.py", "--target", "armv7em", "--mpy").stdout
    assert (here / "low_pass.mpy").read_bytes().startswith(b"M")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing.py", "--target", "armv6m"), "nothing.py: no such file; give a file of kernels"),
        (("wight", "--target", "armv6m"), "wight: neither a file that ends in .py nor a rule; the rules are"),
        (("low_pass.py", "--target", "z80"), "target 'z80': kernels are compiled for armv6m, armv7em, rv32imc"),
        (
            ("low_pass.py", "--target", "armv6m", "--kernel", "high"),
            "low_pass.py: there is no kernel high; it has fold",
        ),
        (("empty.py", "--target", "armv6m"), "empty.py: no kernels; define functions in the dialect"),
        (("broken.py", "--target", "armv6m"), "broken.py:2: operator Div is not in the dialect"),
        (("low_pass.py", "--target", "armv6m", "-o", "no/where.py"), "No such file or directory"),
        (("low_pass.py", "--target", "armv6m", "--listing", "--json"), "--listing is text: leave out --json"),
    ],
)
def test_every_refusal_says_what_and_what_to_do(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    (here / "empty.py").write_text("LIMIT = 3\n", encoding="utf-8")
    (here / "broken.py").write_text("def f(n: int) -> int:\n    return n / 2\n", encoding="utf-8")
    done = invoke(*arguments)
    assert done.exit_code != 0
    assert message in done.stderr
    assert "this is a bug" not in done.stderr
    assert capsys.readouterr().out == ""
