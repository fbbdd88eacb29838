"""One source, many engines: gathers kernels from the firmware's files for CPython, Numba and native code.

A learner's file and the kernels it imports are joined into one module, checked against the dialect, and written to the
cache under the hash of its text, so that tracebacks have lines, Numba keeps its compilations beside it, and an edited
kernel never meets a stale compilation.

For Numba every load and every operation is wrapped in int32: the boards' arithmetic, wrap-around included, at no cost.
"""

import ast
import hashlib
import importlib.util
import os
import sys
import tempfile
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from subsong_sim import dialect
from subsong_sim.cache import cache_folder
from subsong_sim.errors import EngineError

PACKAGE = "subsong_device"
LEARNER_KERNELS = ("begin", "act", "end")
TASK_KERNELS = ("task_begin", "task_sense", "task_cost")
_HEADER = "# Joined by subsong_sim.loader from the firmware's files; edit those, not this.\n"
# For each engine that compiles: what the joined module imports, and how it marks a kernel.
_COMPILED = {
    # Inlined, a kernel counts no references to its buffers: measured 1.6 to 2.2 times as fast.
    "numba": ("from numba import int32, njit, uint32\n", "@njit(cache=True, nogil=True, forceinline=True)\n"),
    "cuda": ("from subsong_sim.cuda_words import cuda, device, int32, kernel, uint32\n", "@device\n"),
}


class Source(NamedTuple):
    """Kernels joined into one module: constants first, then functions in the order of their calls.

    Attributes:
        files: the file that each function comes from, by the function's name.
    """

    constants: dict[str, int]
    functions: dict[str, ast.FunctionDef]
    files: dict[str, str]


@cache
def _parse(module: str) -> tuple[ast.Module, str]:
    path: Traversable
    if module.endswith(".py"):
        path = Path(module)
    else:
        path = resources.files(PACKAGE).joinpath(*module.split(".")[1:-1], module.rsplit(".", maxsplit=1)[-1] + ".py")
    try:
        text = path.read_text(encoding="utf-8")
        return ast.parse(text, str(path)), str(path)
    except (OSError, SyntaxError, ValueError) as e:  # ValueError: no text
        raise EngineError(f"kernel module {module}: {e}") from e


def _add_constant(constants: dict[str, int], name: str, value: int, where: str) -> None:
    """Add a constant to those of the joined module, where every name has one value."""
    if constants.setdefault(name, value) != value:
        raise EngineError(f"{where}: two constants are called {name}; rename one")


@cache
def gather(module: str, called: tuple[str, ...]) -> Source:
    """Collect a kernel module and everything it imports.

    Args:
        module: such as "subsong_device.learners.weight_perturbation", or the path of a file of kernels, ending in .py.
        called: the kernels in it that a board calls.

    Raises:
        EngineError: a file is missing, breaks the dialect, or two kernels share a name.
    """
    tree, file = _parse(module)
    constants: dict[str, int] = {}
    functions: dict[str, ast.FunctionDef] = {}
    files: dict[str, str] = {}
    scope_constants: set[str] = set()
    scope_kernels: dict[str, ast.FunctionDef] = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.module.startswith(PACKAGE):
            imported = gather(node.module, ())
            for name, function in imported.functions.items():
                if functions.setdefault(name, function) is not function:
                    raise EngineError(f"{file}: two kernels are called {name}; rename one")
            files.update(imported.files)
            for name, value in imported.constants.items():
                _add_constant(constants, name, value, f"{file}:{node.lineno}")
            for alias in node.names:
                if alias.name in imported.functions:
                    scope_kernels[alias.name] = imported.functions[alias.name]
                elif alias.name in imported.constants:
                    scope_constants.add(alias.name)
                else:
                    raise EngineError(f"{file}:{node.lineno}: {node.module} has no {alias.name}")
    own = {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef)}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            if isinstance(node.value, ast.Constant) and type(node.value.value) is int:
                _add_constant(constants, node.targets[0].id, node.value.value, f"{file}:{node.lineno}")
                scope_constants.add(node.targets[0].id)
    dialect.require(dialect.violations(tree, file, scope_kernels | own, scope_constants, called))
    for name, function in own.items():
        if name in functions:
            raise EngineError(f"{file}: two kernels are called {name}; rename one")
        functions[name] = function
        files[name] = file
    return Source(constants, functions, files)


class _Int32(ast.NodeTransformer):
    """Wraps every load and every operation in int32 and makes indices unsigned (no wrap-around test in the loop)."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        return _call("int32", node)

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        self.generic_visit(node)
        node.slice = _call("uint32", node.slice)
        return _call("int32", node) if isinstance(node.ctx, ast.Load) else node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.stmt:
        target = node.target
        load: ast.expr
        if isinstance(target, ast.Name):
            load = ast.Name(target.id, ast.Load())
        else:
            assert isinstance(target, ast.Subscript)
            load = ast.Subscript(target.value, target.slice, ast.Load())
        plain = ast.Assign([target], ast.BinOp(load, node.op, node.value))
        return self.visit_Assign(ast.copy_location(plain, node))

    def visit_Assign(self, node: ast.Assign) -> ast.stmt:
        target = node.targets[0]
        node.value = self.visit(node.value)
        if isinstance(target, ast.Subscript):
            node.targets = [self.visit(target)]
        elif isinstance(node.value, ast.Constant):
            # A local's first value fixes its type.
            node.value = _call("int32", node.value)
        return node

    def visit_Return(self, node: ast.Return) -> ast.stmt:
        self.generic_visit(node)
        assert node.value is not None
        node.value = _call("int32", node.value)
        return node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id != "range":
            node.args = [_call("int32", a) if isinstance(a, ast.Constant) else a for a in node.args]
        return node


def joined_constants(*sources: Source) -> dict[str, int]:
    """Return the constants of several sources.

    Raises:
        EngineError: two of one name differ.
    """
    constants: dict[str, int] = {}
    for source in sources:
        for name, value in source.constants.items():
            _add_constant(constants, name, value, "the kernels")
    return constants


def functions_of(file: str) -> dict[str, ast.FunctionDef]:
    """Return the functions of a file of this package, by name."""
    text = resources.files(__package__).joinpath(file).read_text(encoding="utf-8")
    return {node.name: node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}


@cache
def learner_and_loops(rule: str) -> Source:
    """Return a learner's kernels, the tasks', the whole layout and the loops around them (loops.py), as one module."""
    learner = gather(f"{PACKAGE}.learners.{rule}", LEARNER_KERNELS)
    tasks = gather(f"{PACKAGE}.tasks", TASK_KERNELS)
    loops = functions_of("loops.py")
    constants = joined_constants(gather(f"{PACKAGE}.layout", ()), learner, tasks)
    files = {**learner.files, **tasks.files, **dict.fromkeys(loops, "loops.py")}
    return Source(constants, {**learner.functions, **tasks.functions, **loops}, files)


@cache
def load_cuda(rule: str) -> ModuleType:
    """Return the GPU's kernel of a rule, `task_runs` (subsong_sim.cuda_loops), with what it calls."""
    lines = [render(learner_and_loops(rule), "cuda")]
    lines += [f"\n\n@kernel\n{ast.unparse(node)}\n" for node in functions_of("cuda_loops.py").values()]
    return import_text(f"{rule}_cuda", "".join(lines))


def _call(name: str, value: ast.expr) -> ast.Call:
    return ast.copy_location(ast.Call(ast.Name(name, ast.Load()), [value], []), value)


def render(source: Source, engine: str) -> str:
    """Return the joined module's text for "cpython", "numba" or "cuda"."""
    imports, decorator = _COMPILED.get(engine, ("", ""))
    compiled = engine in _COMPILED
    lines = [_HEADER, imports]
    lines += [
        f"{name} = int32({value})\n" if compiled else f"{name} = {value}\n" for name, value in source.constants.items()
    ]
    for function in source.functions.values():
        copy = ast.parse(ast.unparse(function)).body[0]
        assert isinstance(copy, ast.FunctionDef)
        if compiled and ast.get_docstring(copy) is not None:
            # Prose is no reason to compile again: the hash of this text names the compilation.
            copy.body = copy.body[1:]
        for p in copy.args.args:
            p.annotation = None
        copy.returns = None
        if compiled:
            copy.body = [_Int32().visit(statement) for statement in copy.body]
        lines.append(f"\n\n{decorator}" + ast.unparse(ast.fix_missing_locations(copy)) + "\n")
    return "".join(lines)


def _kept(name: str, text: str) -> Path:
    """Write text to the cache under its hash, once; to a temporary folder where the cache cannot be written."""
    problem: OSError | None = None
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    for root in (cache_folder() / "kernels", None):
        try:
            # Without a cache: a folder that nobody else could have prepared, for this process alone.
            folder = root / digest if root is not None else Path(tempfile.mkdtemp(prefix="subsong-kernels-"))
            path = folder / f"{name}.py"
            if path.is_file() and path.read_text(encoding="utf-8") == text:
                return path
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            fd, temporary = tempfile.mkstemp(dir=folder, suffix=".tmp")
            with os.fdopen(fd, "w", encoding="utf-8") as f:
                f.write(text)
            Path(temporary).replace(path)
            return path
        except OSError as e:
            problem = e
    raise EngineError(
        f"no folder to keep compiled kernels in ({problem}); set SUBSONG_CACHE to one that can be written"
    )


def import_text(name: str, text: str) -> ModuleType:
    """Import a module's text from the cache; the same text is imported once a process."""
    path = _kept(name, text)
    unique = f"_subsong_{path.parent.name}_{name}"
    if unique in sys.modules:
        return sys.modules[unique]
    spec = importlib.util.spec_from_file_location(unique, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[unique] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[unique]
        raise
    return module


@cache
def load(module: str, called: tuple[str, ...], engine: str) -> ModuleType:
    """Return a module of kernels for "cpython" (as they are) or "numba" (compiled)."""
    if engine not in ("cpython", "numba"):
        raise EngineError(f"engine {engine!r}: choose cpython or numba")
    return import_text(module.rsplit(".", maxsplit=1)[-1], render(gather(module, called), engine))
