"""The firmware as the host has it: which files a board must hold, and how to recognise them."""

import hashlib
import importlib.resources
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from importlib.resources.abc import Traversable
from typing import Any

from subsong_device.layout import ARITHMETIC_VERSION

FORMAT = 1
PACKAGE = "subsong_device"


def host_version() -> str:
    """Return the version of this installation; "source" where it is not installed."""
    try:
        return version("subsong")
    except PackageNotFoundError:
        return "source"


@dataclass(frozen=True)
class FirmwareFile:
    """A file of the firmware: path below the package's folder, bytes, and sha256 in hex."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a board must hold.

    Attributes:
        version: of the distribution that it came with. Names it for people; the digest decides.
        arithmetic: version of the arithmetic (docs/arithmetic.md).
        files: sorted by path.
    """

    version: str
    arithmetic: int
    files: tuple[FirmwareFile, ...]

    @cached_property
    def digest(self) -> str:
        """sha256 in hex over every file's path and hash."""
        lines = "".join(f"{file.path} {file.size} {file.sha256}\n" for file in self.files)
        return hashlib.sha256(lines.encode()).hexdigest()

    @property
    def label(self) -> str:
        """The firmware's name for people: version, arithmetic, and enough of the digest to tell two apart."""
        return f"{self.version} (arithmetic {self.arithmetic}, {self.digest[:8]})"

    def as_dict(self) -> dict[str, Any]:
        """Return the manifest as JSON's types, for logs and for the board."""
        return {
            "format": FORMAT,
            "version": self.version,
            "arithmetic": self.arithmetic,
            "digest": self.digest,
            "files": [asdict(file) for file in self.files],
        }

    def to_json(self) -> bytes:
        """Return the file that lies on the board, one line."""
        return json.dumps(self.as_dict(), separators=(",", ":"), sort_keys=True).encode()

    @classmethod
    def from_json(cls, text: bytes) -> "Manifest | None":
        """Read a board's manifest; None if it is none, or contradicts itself."""
        try:
            data = json.loads(text)
            files = tuple(FirmwareFile(str(f["path"]), int(f["size"]), str(f["sha256"])) for f in data["files"])
            manifest = cls(str(data["version"]), int(data["arithmetic"]), files)
            whole = data["format"] == FORMAT and data["digest"] == manifest.digest
        except (ValueError, KeyError, TypeError):
            return None
        return manifest if whole else None


@dataclass(frozen=True)
class Firmware:
    """The firmware with its bytes."""

    manifest: Manifest
    sources: Mapping[str, bytes]


def load_firmware(package: Traversable | None = None) -> Firmware:
    """Read the firmware that this installation brings.

    Args:
        package: folder to read instead of the installed `subsong_device`.
    """
    root = package if package is not None else importlib.resources.files(PACKAGE)
    sources = dict(sorted(_sources(root, "")))
    files = tuple(
        FirmwareFile(path, len(content), hashlib.sha256(content).hexdigest()) for path, content in sources.items()
    )
    return Firmware(Manifest(host_version(), ARITHMETIC_VERSION, files), sources)


def _sources(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _sources(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".py"):
            yield prefix + entry.name, entry.read_bytes()
