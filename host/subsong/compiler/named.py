"""What a user may compile by name: a rule, the tasks, or a file of kernels."""

import ast
from pathlib import Path

from subsong.errors import CompileError
from subsong_device.frames import RULES
from subsong_sim.loader import LEARNER_KERNELS, PACKAGE, TASK_KERNELS, gather


def module_of(what: str) -> str:
    """Return the module that a name or a path stands for.

    Raises:
        CompileError: there is neither.
    """
    if what.endswith(".py"):
        if not Path(what).is_file():
            raise CompileError(f"{what}: no such file; give a file of kernels, or {', '.join(RULES)} or tasks")
        return what
    if what in RULES:
        return f"{PACKAGE}.learners.{what}"
    if what == "tasks":
        return f"{PACKAGE}.tasks"
    raise CompileError(
        f"{what}: neither a file that ends in .py nor a rule; the rules are {', '.join(RULES)}, and tasks"
    )


def outermost(module: str) -> tuple[str, ...]:
    """Return the kernels that a board calls: those it does call, and of a user's file those that nothing else calls.

    Raises:
        CompileError: the file has no kernels.
        EngineError: the file is not in the dialect.
    """
    if module == f"{PACKAGE}.tasks":
        return TASK_KERNELS
    if not module.endswith(".py"):
        return LEARNER_KERNELS
    source = gather(module, ())
    own = [name for name, file in source.files.items() if file == str(Path(module))]
    inner = {
        node.func.id
        for function in source.functions.values()
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    if not own:
        raise CompileError(f"{module}: no kernels; define functions in the dialect of docs/arithmetic.md")
    return tuple(name for name in own if name not in inner)
