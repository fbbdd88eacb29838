"""Sources as a board gets them: the same statements on the same lines, in half the bytes."""

import ast
from importlib import resources
from pathlib import Path

import pytest

from subsong.firmware import build_firmware
from subsong.profile import named_profile
from subsong.strip import statements, strip_source, unannotated
from subsong_sim import loader

FILES = sorted(Path(str(resources.files("subsong_device"))).rglob("*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_file_of_the_firmware_keeps_its_statements_and_their_lines(path: Path) -> None:
    source = path.read_bytes()
    stripped = strip_source(source, path.name)
    assert statements(ast.parse(stripped)) == statements(unannotated(ast.parse(source)))
    assert ast.dump(ast.parse(stripped)) == ast.dump(unannotated(ast.parse(source)))
    assert b"#" not in stripped or b'"#' in stripped
    assert strip_source(stripped) == stripped


def test_half_of_the_bytes_stay_here() -> None:
    before = sum(path.stat().st_size for path in FILES if "small" not in path.parts)
    after = sum(
        len(source) for path, source in build_firmware(named_profile("unix")).sources.items() if path[-3:] == ".py"
    )
    assert after < 0.6 * before, (after, before)


SOURCE = b'''"""What it is."""

import a  # why


def f(x: ptr16, n: int, *rest: int) -> int:
    """Do it.

    At length.
    """
    text = """# no comment
    and no indentation
"""
    y: int = (
        n  # one
        + 1
    )
    z: int
    return text, y


class C:
    """Only this."""


class D:
    only: int


def g():
    "short"
'''
STRIPPED = b'''

import a


def f(x, n, *rest):




 text = """# no comment
    and no indentation
"""
 y = (
n
+ 1
)

 return text, y


class C:
 pass


class D:
 pass


def g():
 pass
'''


def test_what_goes_and_what_stays() -> None:
    assert strip_source(SOURCE) == STRIPPED


@pytest.mark.parametrize(
    "source",
    [
        b"def f() -> (int):\n    return 1\n",
        b"def f(): 'doc'; return 1\n",
        b"x: int; y: int = 2\n",
        b"if 1:\n  x: int\n",
    ],
)
def test_what_is_written_too_cleverly_comes_back_the_same_or_right(source: bytes) -> None:
    stripped = strip_source(source)
    assert stripped == source or ast.dump(ast.parse(stripped)) == ast.dump(unannotated(ast.parse(source)))


def test_what_is_no_python_is_an_error() -> None:
    with pytest.raises(SyntaxError):
        strip_source(b"def f(:\n", "f.py")


def test_kernels_that_a_board_gets_are_those_that_the_simulator_runs() -> None:
    """The dialect's syntax trees, from the stripped files: no docstring, the same statements."""
    sources = build_firmware(named_profile("unix")).sources
    for rule in ("weight_perturbation", "node_perturbation"):
        gathered = loader.gather(f"{loader.PACKAGE}.learners.{rule}", loader.LEARNER_KERNELS)
        tree = ast.parse(sources[f"learners/{rule}.py"])
        for node in tree.body:
            if isinstance(node, ast.FunctionDef):
                own = ast.parse(ast.unparse(gathered.functions[node.name]))
                assert ast.dump(ast.Module([node], [])) == ast.dump(unannotated(own))
