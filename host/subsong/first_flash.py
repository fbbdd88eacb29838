"""From a bare board to a MicroPython prompt, and back to one: what to do, step by step (docs/first-flash.md).

install(...)            how MicroPython gets onto a board
escape(...)             how to get out of a main.py that hangs
other_firmware(...)     USB identities of boards that run something else
"""

import shlex
from collections.abc import Callable
from typing import NamedTuple, Protocol

from subsong.errors import BoardError
from subsong.plugged_in import Drive
from subsong.profile import Profile

ERASE_RP2 = "https://datasheets.raspberrypi.com/soft/flash_nuke.uf2"
ANY_RP2 = "https://micropython.org/download/?port=rp2"
DOWNLOADS = "https://micropython.org/download/"
Steps = tuple[str, ...]

# USB identities that boards have while they run something else, and never under MicroPython: what, name of a profile.
OTHER_FIRMWARE: dict[tuple[int, int], tuple[str, str]] = {
    (0x2E8A, 0x0004): ("a debug probe (picoprobe)", "pico"),
    (0x2E8A, 0x0009): ("a program made with the Pico's C SDK", "pico2"),
    (0x2E8A, 0x000A): ("a program made with the Pico's C SDK", "pico"),
    (0x2E8A, 0x000B): ("CircuitPython", "pico"),
}
UF2_CHIPS = {"RPI-RP2": "pico", "RP2350": "pico2"}  # Board-ID of INFO_UF2.TXT: name of a profile
CHIPS = {"rp2040": "pico", "rp2350": "pico2"}  # what CircuitPython's boot_out.txt ends in: name of a profile


class Interpreter(Protocol):
    """What is asked of a board's account of itself."""

    @property
    def name(self) -> str:
        """sys.implementation.name."""

    @property
    def version(self) -> str:
        """Its version."""


class _Family(NamedTuple):
    """Boards that are flashed alike. Functions take the profile and the port's name ("" where there is none)."""

    bootloader: str
    write: Callable[[Profile, str], Steps]
    rescue: Callable[[Profile, str], Steps]


def _write_uf2(profile: Profile, _port: str) -> Steps:
    return (
        f"download the .uf2 of your board: {profile.micropython.page} (other boards: {ANY_RP2})",
        "copy it to the drive; the board restarts by itself, with a serial port",
    )


def _rescue_rp2(profile: Profile, _port: str) -> Steps:
    return (
        f"if nothing answers: hold BOOTSEL while plugging in, and copy {ERASE_RP2} to the drive",
        "that erased everything, main.py too, and the drive comes back",
        f"then copy MicroPython's .uf2 there: {profile.micropython.page}",
    )


def _write_esp32(profile: Profile, port: str) -> Steps:
    return (
        "pip install esptool",
        f"esptool.py -p {port or 'PORT'} erase_flash",
        f"write the .bin of your board as its page says, since the offset differs by chip: {profile.micropython.page}",
    )


def _rescue_esp32(profile: Profile, port: str) -> Steps:
    first, *rest = _write_esp32(profile, port)
    return (f"if nothing answers: erase the board and write MicroPython again: {first}", *rest)


def _write_dfu(profile: Profile, _port: str) -> Steps:
    return (
        f"download the .dfu of your board: {profile.micropython.page}",
        "dfu-util --alt 0 -D FILE.dfu (sudo apt-get install dfu-util), then press RST",
    )


def _rescue_stm32(_profile: Profile, _port: str) -> Steps:
    return (
        "if nothing answers: hold USR, press and release RST; let go of USR when the orange LED alone is lit",
        "main.py did not run: remove it as above (with both LEDs lit, USR erases all files)",
    )


def _write_daplink(profile: Profile, _port: str) -> Steps:
    return (
        f"download MicroPython's .hex: {profile.micropython.page}",
        "copy it to the drive MICROBIT; the board restarts by itself",
    )


def _rescue_daplink(profile: Profile, _port: str) -> Steps:
    return (f"if nothing answers: copy MicroPython's .hex again, which erases main.py too: {profile.micropython.page}",)


def _write_other(profile: Profile, _port: str) -> Steps:
    return (f"find your board, and how it is flashed: {profile.micropython.page}",)


def _rescue_other(profile: Profile, _port: str) -> Steps:
    return (
        f"if nothing answers: erase the board and write MicroPython anew, as its page says: {profile.micropython.page}",
    )


_HOLD_BOOTSEL = "unplug the board, hold its BOOTSEL button, plug it in again and let go: a drive appears"
_FAMILIES = {
    "rp2": _Family(_HOLD_BOOTSEL, _write_uf2, _rescue_rp2),
    "esp32": _Family("", _write_esp32, _rescue_esp32),
    "pyboard": _Family("connect BOOT0 (DFU) with 3V3 and press RST", _write_dfu, _rescue_stm32),
    "microbit": _Family("", _write_daplink, _rescue_daplink),
}
_OTHER = _Family("", _write_other, _rescue_other)


def _family(profile: Profile) -> _Family:
    return next((_FAMILIES[name] for name in profile.recognise.platforms if name in _FAMILIES), _OTHER)


def install(profile: Profile, port: str = "") -> Steps:
    """Return how MicroPython gets onto a board that runs something else.

    Args:
        profile: what the board is, or may be.
        port: its port's name, where it has one.
    """
    family = _family(profile)
    before = (family.bootloader,) if family.bootloader else ()
    return (*before, *family.write(profile, port), "subsong boards")


def install_on_drive(profile: Profile, drive: Drive | None, devices: tuple[str, ...] = ()) -> Steps:
    """Return how MicroPython gets onto a board that waits in its bootloader.

    Args:
        profile: what the board is.
        drive: the drive where it takes firmware; None where it is not mounted.
        devices: its device files, if the drive is known and not mounted.
    """
    first, *rest = _family(profile).write(profile, "")
    if drive is not None:
        ending = "uf2" if drive.kind == "uf2" else "hex"
        return (first, f"cp FILE.{ending} {shlex.quote(str(drive.path))}/", "subsong boards")
    if devices:
        return (first, f"udisksctl mount -b {devices[0]}", *rest, "subsong boards")
    return (first, "open its drive in your file manager, which mounts it", *rest, "subsong boards")


def escape(profile: Profile, port: str) -> Steps:
    """Return how to get out of a main.py that hangs: the gentle ways first."""
    pin = f"hold pin {profile.pins.skip} low at power-on, or " if profile.pins.skip is not None else ""
    return (
        f"a policy of Subsong: {pin}put a file named SKIP beside main.py: mpremote connect {port} touch :SKIP",
        f"any main.py that Ctrl-C stops: mpremote connect {port} cp :main.py saved.py + rm :main.py",
        *_family(profile).rescue(profile, port),
    )


def other_firmware(vid: int | None, pid: int | None, drive: Drive | None = None) -> tuple[str, str] | None:
    """Return what a board runs that is known to have no MicroPython, and the likeliest profile; None where it may have.

    Args:
        vid: USB vendor.
        pid: USB product.
        drive: the board's, if it has one.
    """
    if drive is not None and drive.kind == "circuitpython":
        return f"CircuitPython ({drive.model})", CHIPS.get(drive.model.rpartition(" with ")[2], "generic")
    return None if vid is None or pid is None else OTHER_FIRMWARE.get((vid, pid))


def refuse_other_interpreter(port: str, device: Interpreter) -> None:
    """Raise BoardError where what answers at the prompt is no MicroPython."""
    if device.name != "micropython":
        raise BoardError(
            f"port {port}: the board runs {device.name} {device.version}, and the firmware needs MicroPython; "
            f"`subsong boards --probe --port {port}` says how to put it there"
        )


def numbered(steps: Steps) -> list[str]:
    """Return steps as the lines of a list."""
    return [f"{number}. {step}" for number, step in enumerate(steps, 1)]
