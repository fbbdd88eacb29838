"""Plants as C functions: what compiled loops call by address, and a plant that is played step by step, too.

A model's file is joined with what it shares with others and with model_words, and kept under the hash of its text, as
kernels are: an edited equation never meets a stale compilation.
"""

import ast
import hashlib
from functools import cache
from importlib import resources
from types import ModuleType
from typing import Any, NamedTuple

from subsong_sim import loader
from subsong_sim.plants.models import model

_CONTRACT = ("start", "advance", "sense", "done")
_HEADER = """# Joined by subsong_sim.plants.compiled from the simulator's files; edit those, not this.
import math
from numba import njit

inner = njit(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
"""


class Functions(NamedTuple):
    """A compiled plant. The functions are Numba's cfuncs, with `address` and `ctypes`; see model_words.

    Attributes:
        start: int32 start(int32 seed, double *state, double *settings).
        sense: int32 sense(double *state, double *settings, uint16 *x, int32 stride).
        step: int32 step(double *state, double *settings, uint16 *u, int32 stride, int32 *cost).
    """

    start: Any
    sense: Any
    step: Any

    @property
    def addresses(self) -> tuple[int, int, int]:
        """The addresses of start, sense and step."""
        return self.start.address, self.sense.address, self.step.address


@cache
def model_functions(name: str) -> Functions:
    """Return a simulated plant, compiled.

    Raises:
        PlantError: there is none of this name.
    """
    model(name)
    return _functions(loader.import_text(f"plant_{name}", model_text(name)))


@cache
def model_slopes(name: str) -> ModuleType:
    """Return a simulated plant in real numbers, with its slopes: the functions of subsong_sim.controls.slopes.

    Raises:
        PlantError: there is none of this name.
    """
    model(name)
    return loader.import_text(f"slopes_{name}", model_text(name, ("controls", "slopes.py")))


@cache
def cartpole_functions() -> Functions:
    """Return the compiled CartPole."""
    here = resources.files(__package__)
    linked = [here / each for each in ("base.py", "cartpole.py", "cartpole_parameters.py", "cartpole_start.py")]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in linked)).hexdigest()
    text = (here / "cartpole_words.py").read_text(encoding="utf-8")
    return _functions(loader.import_text("plant_cartpole", f"{text}\n# linked: {digest}\n"))


def _functions(module: ModuleType) -> Functions:
    made: Any = module
    return Functions(made.start_at, made.sense_at, made.step_at)


def model_text(name: str, around: tuple[str, str] = ("plants", "model_words.py")) -> str:
    """Return the text of a model's functions and of the file around them, for Numba: in words, or its slopes."""
    here = resources.files(__package__)
    parts = [ast.parse((here / "models" / f"{each}.py").read_text(encoding="utf-8")) for each in ("common", name)]
    outer = ast.parse(resources.files("subsong_sim").joinpath(*around).read_text(encoding="utf-8"))
    found = {node.name: node for part in parts for node in part.body if isinstance(node, ast.FunctionDef)}
    called = _called(found)
    lines = [_HEADER]
    for part in parts:
        for node in part.body:
            if isinstance(node, ast.Assign):
                lines.append(ast.unparse(node))
            elif isinstance(node, ast.FunctionDef) and node.name in called:
                lines.append(f"\n@inner\n{ast.unparse(_bare(node))}\n")
    lines += [ast.unparse(node) for node in outer.body if not _of_a_model(node)]
    return "\n".join(lines) + "\n"


def _called(found: dict[str, ast.FunctionDef]) -> set[str]:
    """Return the names of the contract's functions, and of what they call."""
    called: set[str] = set()
    pending = list(_CONTRACT)
    while pending:
        name = pending.pop()
        if name not in called:
            called.add(name)
            names = (node.id for node in ast.walk(found[name]) if isinstance(node, ast.Name))
            pending += [each for each in names if each in found]
    return called


def _bare(function: ast.FunctionDef) -> ast.FunctionDef:
    """Take annotations and docstring away: types are Numba's to find, and prose is no reason to compile."""
    for each in function.args.args:
        each.annotation = None
    function.returns = None
    if ast.get_docstring(function) is not None:
        function.body = function.body[1:]
    return function


def _of_a_model(node: ast.stmt) -> bool:
    """Tell whether a statement of model_words imports a model: joined, its functions are there."""
    return isinstance(node, ast.ImportFrom) and (node.module or "").startswith("subsong_sim.plants.models")
