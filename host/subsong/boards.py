"""What `subsong boards` lists: the boards that can be used now, with the --port that names each."""

from dataclasses import asdict, dataclass
from typing import Any

from subsong.ports import PresentPort, emulated_boards, present_ports

# USB identities of boards that run MicroPython, and of the bridges on boards without USB of their own. pid None: any.
USB_BOARDS: tuple[tuple[int, int | None, str], ...] = (
    (0x2E8A, 0x0003, "Raspberry Pi RP2040 in its bootloader"),
    (0x2E8A, 0x000F, "Raspberry Pi RP2350 in its bootloader"),
    (0x2E8A, 0x0005, "Raspberry Pi Pico or another RP2 board, MicroPython"),
    (0x2E8A, 0x000C, "Raspberry Pi Debug Probe"),
    (0xF055, 0x9800, "pyboard or another STM32 board, MicroPython"),
    (0xF055, None, "MicroPython"),
    (0x303A, 0x1001, "ESP32-S3/C3/C6, its own USB serial port"),
    (0x303A, 0x4001, "ESP32-S2/S3, MicroPython"),
    (0x303A, None, "Espressif"),
    (0x0D28, 0x0204, "BBC micro:bit or another DAPLink board"),
    (0x239A, None, "Adafruit"),
    (0x2341, None, "Arduino"),
    (0x1FC9, 0x0090, "NXP i.MX RT, its debugger"),
    (0x0483, 0x374B, "STM32 Nucleo, its ST-LINK"),
    (0x10C4, 0xEA60, "ESP32 or ESP8266 behind a CP210x"),
    (0x1A86, 0x7523, "ESP32 or ESP8266 behind a CH340"),
    (0x1A86, 0x55D4, "ESP32 behind a CH9102"),
    (0x0403, None, "FTDI adapter"),
)
BOOTLOADERS = ("in its bootloader",)


@dataclass(frozen=True)
class BoardEntry:
    """A board.

    Attributes:
        port: what to pass to --port.
        kind: "emulated" or "serial".
        description: what it is, as far as its USB identity says.
        usable: whether it can be used now.
        hint: what to do next.
    """

    port: str
    kind: str
    description: str
    usable: bool
    hint: str

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON's types."""
        return asdict(self)


def list_boards() -> list[BoardEntry]:
    """Return every board: emulated ones first, then what is plugged in, by port. Opens none of them."""
    entries = []
    for name, board in sorted(emulated_boards().items()):
        missing = board.missing()
        hint = f"cannot start: it {missing}" if missing else f"subsong deploy --port {name}"
        entries.append(BoardEntry(name, "emulated", board.available, missing is None, hint))
    return entries + [serial_entry(port) for port in present_ports()]


def serial_entry(port: PresentPort) -> BoardEntry:
    """Return the entry of a port that something is plugged into."""
    known = usb_board(port.vid, port.pid)
    if known is not None and known.endswith(BOOTLOADERS):
        hint = "copy a MicroPython UF2 to its drive first: https://micropython.org/download"
        return BoardEntry(port.path, "serial", known, False, hint)
    hint = f"subsong deploy --port {port.path}"
    if known is None:
        hint += " (not a board that Subsong knows; anything that runs MicroPython will do)"
    return BoardEntry(port.path, "serial", known or port.product or "unknown USB device", True, hint)


def usb_board(vid: int | None, pid: int | None) -> str | None:
    """Return what a USB identity stands for; None if it is unknown. An exact match goes before a vendor's."""
    exact = next((name for v, p, name in USB_BOARDS if v == vid and p == pid), None)
    return exact or next((name for v, p, name in USB_BOARDS if v == vid and p is None), None)
