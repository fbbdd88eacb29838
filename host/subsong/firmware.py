"""The firmware as the host has it: which files a board of a profile must hold, and how to recognise them.

The sources of `subsong_device` travel stripped. What the profile's tiers need is generated beside them: machine/ and
viper/ (kernels as modules of the same functions), known_answers.bin, profile.py.
"""

import hashlib
import importlib.resources
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from importlib.resources.abc import Traversable
from typing import Any

from subsong.profile import MACHINE_CODE, VIPER, Profile
from subsong.strip import indent_by_one, strip_source
from subsong_device.frames import RULES
from subsong_device.layout import ARITHMETIC_VERSION

FORMAT = 2
PACKAGE = "subsong_device"
SMALL = "small/"  # the firmware of boards that have no room for this one (docs/microbit.md)
FOLDERS = {MACHINE_CODE: "machine", VIPER: "viper"}
PYTHON = "viper"  # what the manifest calls the viper tier's target: one text for every architecture


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
        profile: name of the board profile that it was built for; "" for files as they are.
        kernels: target -> module -> sha256 in hex of its kernels' words (of the module's text, for viper).
    """

    version: str
    arithmetic: int
    files: tuple[FirmwareFile, ...]
    profile: str = ""
    kernels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """sha256 in hex over every file's path and hash."""
        lines = "".join(f"{file.path} {file.size} {file.sha256}\n" for file in self.files)
        return hashlib.sha256(lines.encode()).hexdigest()

    @property
    def label(self) -> str:
        """The firmware's name for people: version, arithmetic, and enough of the digest to tell two apart."""
        built_for = f"for {self.profile}, " if self.profile else ""
        return f"{self.version} ({built_for}arithmetic {self.arithmetic}, {self.digest[:8]})"

    def as_dict(self) -> dict[str, Any]:
        """Return the manifest as JSON's types, for logs and for the board."""
        return {
            "format": FORMAT,
            "version": self.version,
            "arithmetic": self.arithmetic,
            "digest": self.digest,
            "profile": self.profile,
            "kernels": {target: dict(modules) for target, modules in self.kernels.items()},
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
            kernels = {str(target): dict(modules) for target, modules in data["kernels"].items()}
            manifest = cls(str(data["version"]), int(data["arithmetic"]), files, str(data["profile"]), kernels)
            whole = data["format"] == FORMAT and data["digest"] == manifest.digest
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        return manifest if whole else None


@dataclass(frozen=True)
class Firmware:
    """The firmware with its bytes."""

    manifest: Manifest
    sources: Mapping[str, bytes]


def load_firmware(package: Traversable) -> Firmware:
    """Take a folder for a firmware: its Python files, as they are."""
    return firmware_of(dict(_sources(package, "")))


@cache
def build_firmware(profile: Profile) -> Firmware:
    """Build the firmware of a board: the same profile and installation give the same bytes.

    Args:
        profile: the board's, with the tiers that its MicroPython has (Profile.on).

    Raises:
        EngineError: a kernel is outside the dialect.
        CompileError: a kernel cannot be compiled; the message begins with FILE:LINE.
    """
    if profile.firmware == "small":
        from subsong.small_firmware import build_small

        return build_small(profile)
    from subsong.known_answers import known_answers

    sources = {
        path: strip_source(source, path)
        for path, source in _sources(importlib.resources.files(PACKAGE), "")
        if not path.startswith(SMALL)
    }
    kernels: dict[str, dict[str, str]] = {}
    for tier in profile.tiers:
        if tier in FOLDERS:
            target, made = _kernels(tier, profile)
            kernels[target] = {module: digest for module, (_, digest) in made.items()}
            sources[f"{FOLDERS[tier]}/__init__.py"] = b""
            sources |= dict(kernel_file(profile, tier, module, text) for module, (text, _) in made.items())
    sources["known_answers.bin"] = known_answers()
    return firmware_of(sources, profile, kernels)


def kernel_file(profile: Profile, tier: int, module: str, text: str) -> tuple[str, bytes]:
    """Return a module of kernels as a board of the profile gets it: its path and its content.

    Raises:
        CompileError: mpy-cross refused it.
    """
    path = f"{FOLDERS[tier]}/{module}"
    if profile.kernels == "text":
        return f"{path}.py", text.encode()
    from subsong.compiler.mpy import mpy

    architecture = profile.target if tier == MACHINE_CODE else profile.architecture
    return f"{path}.mpy", mpy(text, architecture or "")


def target_of(profile: Profile, tier: int) -> str:
    """Return what a tier's kernels are built for, the key of `Manifest.kernels`; "" for bytecode."""
    return {MACHINE_CODE: profile.target or "", VIPER: PYTHON}.get(tier, "")


def _kernels(tier: int, profile: Profile) -> tuple[str, dict[str, tuple[str, str]]]:
    """Return a tier's target and, for each module of kernels, its text for the board and its digest."""
    from subsong.compiler import assembler_module, compile_kernels
    from subsong.compiler.viper import viper_module
    from subsong_sim.loader import LEARNER_KERNELS, TASK_KERNELS

    modules = {rule: (f"{PACKAGE}.learners.{rule}", LEARNER_KERNELS) for rule in RULES}
    modules["tasks"] = (f"{PACKAGE}.tasks", TASK_KERNELS)
    if tier == VIPER:
        # Their annotations stay: they are viper's types.
        texts = {name: indent_by_one(viper_module(*module).encode()).decode() for name, module in modules.items()}
        return target_of(profile, tier), {
            name: (text, hashlib.sha256(text.encode()).hexdigest()) for name, text in texts.items()
        }
    assert profile.target is not None, "a profile with machine code has a target"
    compiled = {name: compile_kernels(*module, profile.target) for name, module in modules.items()}
    return profile.target, {name: (assembler_module(each), each.digest) for name, each in compiled.items()}


def firmware_of(
    sources: Mapping[str, bytes],
    profile: Profile | None = None,
    kernels: Mapping[str, Mapping[str, str]] | None = None,
) -> Firmware:
    """Return files as a firmware; with a profile, profile.py says so to the board."""
    if profile is not None:
        rest = firmware_of({path: source for path, source in sources.items() if path != "profile.py"})
        loaded = profile.kernels == "mpy"
        said = {"NAME": profile.name, "TIERS": profile.tiers, "LOADED": loaded, "FIRMWARE": rest.manifest.digest[:16]}
        text = "".join(f"{name} = {value!r}\n" for name, value in said.items())
        sources = {**sources, "profile.py": text.encode()}
    sources = dict(sorted(sources.items()))
    files = tuple(
        FirmwareFile(path, len(content), hashlib.sha256(content).hexdigest()) for path, content in sources.items()
    )
    name = "" if profile is None else profile.name
    return Firmware(Manifest(host_version(), ARITHMETIC_VERSION, files, name, kernels or {}), sources)


def _sources(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _sources(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".py"):
            yield prefix + entry.name, entry.read_bytes()
