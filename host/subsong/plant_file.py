"""plant.py: what a board drives on its own pins. Looked at before it is copied to the board's root."""

import ast
import hashlib
from importlib.resources import files
from pathlib import Path

from subsong.deploy import read_file
from subsong.errors import BoardError, FirmwareError
from subsong.packed import write_file
from subsong.ports import Port
from subsong.repl import Repl
from subsong.small_deploy import is_small
from subsong_device import faults
from subsong_device.plant_check import NEEDED

PLANT = "plant.py"


def shipped_plants() -> dict[str, Path]:
    """Return the drivers that ship with the package, by name: docs/pins.md."""
    folder = Path(str(files("subsong"))) / "examples" / "plants"
    return {path.stem: path for path in sorted(folder.glob("*.py"))}


def find_plant(path: Path) -> Path:
    """Return the file that is meant: the path itself, or where no such file is, the driver of that name.

    Raises:
        BoardError: there is neither.
    """
    if path.is_file():
        return path
    shipped = shipped_plants()
    if str(path) not in shipped:
        raise BoardError(
            f"{path}: there is no such file, and no plant of that name ships with Subsong; these do: "
            f"{', '.join(shipped)}"
        )
    return shipped[str(path)]


def example_for(path: Path) -> str | None:
    """Return the name of the example experiment that goes with a driver that ships; None: there is none."""
    from subsong.experiment_text import EXAMPLES

    names = (path.stem, f"{path.stem}_pins") if path in shipped_plants().values() else ()
    return next((name for name in names if name in EXAMPLES), None)


def read_plant(path: Path) -> bytes:
    """Return a plant.py's bytes.

    Args:
        path: of any name: on the board it becomes plant.py.

    Raises:
        BoardError: it cannot be read, is no Python, or lacks a function that every plant has.
    """
    try:
        content = path.read_bytes()
        names = _names(ast.parse(content, str(path)))
    except OSError as error:
        raise BoardError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (SyntaxError, ValueError) as error:
        line = f"line {error.lineno}: " if isinstance(error, SyntaxError) and error.lineno else ""
        raise BoardError(f"{path}: {line}is no Python: {error.args[0]}") from error
    missing = [f"{name}()" for name in NEEDED if name not in names]
    if missing:
        raise BoardError(
            f"{path}: lacks {', '.join(missing)}; docs/deploy.md says what a plant.py has", faults.NO_PLANT
        )
    return content


def _names(tree: ast.Module) -> set[str]:
    """Return what a module's outermost statements may define."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.alias):
            names.add(node.asname or node.name)
    return names


def deploy_plant(port: Port, content: bytes, replace: bool = False) -> bool:
    """Put a plant.py on the board.

    Args:
        port: an open port.
        content: of the file.
        replace: replace another plant.py that is there.

    Returns:
        Whether it was copied; False: it was there.

    Raises:
        BoardError: there is another one, no MicroPython answers, or the board cannot keep the file.
        FirmwareError: the board has the small firmware, which drives no plant of its own.
        PortError: the port failed.
    """
    with Repl(port) as repl:
        if is_small(repl):
            raise FirmwareError(
                f"port {port.name}: the small firmware has no room for a plant of its own; play it on the host, or "
                "take a larger board"
            )
        present = read_file(repl, PLANT)
        if present == content:
            return False
        if present is not None and not replace:
            raise BoardError(
                f"port {port.name}: the board has another plant.py; save it (mpremote cp :plant.py .), then deploy "
                "yours again with --replace-plant"
            )
        write_file(repl, PLANT, content)
    return True


def plant_digest(port: Port) -> str:
    """Return the SHA-256 of the board's plant.py, its first 16 hexadecimal digits.

    Raises:
        BoardError: there is none.
    """
    with Repl(port) as repl:
        content = read_file(repl, PLANT)
    if content is None:
        raise BoardError(
            f"port {port.name}: the board has no plant.py to drive; put yours there: subsong deploy --port {port.name} "
            "--plant plant.py",
            faults.NO_PLANT,
        )
    return hashlib.sha256(content).hexdigest()[:16]
