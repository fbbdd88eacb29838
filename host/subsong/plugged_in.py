"""What is plugged in that is no serial port: boards in their bootloaders, and the drives on which they take firmware.

Nothing is opened but the small text file that such a drive brings to say what it is: INFO_UF2.TXT, DETAILS.TXT, or
CircuitPython's boot_out.txt.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

SYS = Path("/sys")
MOUNTS = Path("/proc/self/mounts")
MEDIA = tuple(Path(folder) for folder in ("/media", "/run/media", "/Volumes"))
# Drives of bootloaders are FAT. No other is looked at: a network drive whose server is gone would hold us for minutes.
FAT = frozenset({"vfat", "msdos", "exfat", "fuseblk"})
LONGEST = 4096  # bytes of a drive's text file that are read


@dataclass(frozen=True)
class UsbDevice:
    """A device on USB, with or without a serial port; `location` is the kernel's name for its place ("1-2")."""

    vid: int
    pid: int
    product: str
    serial_number: str
    location: str
    blocks: tuple[str, ...] = ()  # its drives' device files, partitions first


@dataclass(frozen=True)
class Drive:
    """A drive that takes firmware.

    Attributes:
        path: where it is mounted.
        kind: "uf2", "daplink", or "circuitpython", which takes no firmware.
        model: what it calls itself: "Raspberry Pi RP2"; DAPLink's mode; CircuitPython's board.
        board_id: INFO_UF2.TXT's Board-ID ("RPI-RP2", "RP2350"); else the board's unique id, its USB serial number.
        device: its device file, "" where nobody says.
    """

    path: Path
    kind: str
    model: str
    board_id: str
    device: str = ""


def usb_devices(sys: Path = SYS) -> list[UsbDevice]:
    """Return the devices on USB, by place; none where there is no sysfs (macOS)."""
    root = sys / "bus" / "usb" / "devices"
    found = []
    for entry in sorted(root.iterdir()) if root.is_dir() else []:
        vid, pid = _text(entry / "idVendor"), _text(entry / "idProduct")
        if re.fullmatch(r"[0-9a-f]{4}", vid) and re.fullmatch(r"[0-9a-f]{4}", pid):
            blocks = tuple(_blocks(sys, entry))
            product, number = _text(entry / "product"), _text(entry / "serial")
            found.append(UsbDevice(int(vid, 16), int(pid, 16), product, number, entry.name, blocks))
    return found


def _blocks(sys: Path, usb: Path) -> Iterator[str]:
    """Yield the device files of a USB device's drives: a drive's folder lies below its USB device's."""
    root = sys / "class" / "block"
    place = usb.resolve()
    names = [entry.name for entry in root.iterdir() if place in entry.resolve().parents] if root.is_dir() else []
    for name in sorted(names, key=lambda name: (not name[-1].isdigit(), name)):
        yield f"/dev/{name}"


def drives(mounts: Path = MOUNTS, media: Sequence[Path] = MEDIA) -> list[Drive]:
    """Return the mounted drives that take firmware, by path.

    Args:
        mounts: the kernel's table of mounts.
        media: folders where drives are mounted: they and the folders in them are looked at where there is no table.
    """
    found: dict[Path, Drive] = {}
    for path, device in _mounted(mounts) if mounts.exists() else _in_media(media):
        drive = _read_drive(path, device)
        if drive is not None:
            found[path] = drive
    return [found[path] for path in sorted(found)]


def _mounted(mounts: Path) -> Iterator[tuple[Path, str]]:
    for line in _text(mounts, None).splitlines():
        fields = line.split(" ")
        if len(fields) >= 3 and fields[2] in FAT:
            # The kernel writes blanks, tabs, newlines and backslashes in a path as \ooo, of the bytes.
            path = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[1])
            yield Path(path), fields[0]


def _in_media(media: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    for folder in media:
        for pattern in ("*", "*/*"):
            for path in sorted(folder.glob(pattern)):
                yield path, ""


def _read_drive(path: Path, device: str) -> Drive | None:
    if uf2 := _text(path / "INFO_UF2.TXT"):
        fields = _fields(uf2)
        return Drive(path, "uf2", fields.get("model", "UF2 bootloader"), fields.get("board-id", ""), device)
    if details := _text(path / "DETAILS.TXT"):
        fields = _fields(details)
        mode = fields.get("daplink mode", "Interface")
        return Drive(path, "daplink", mode, fields["unique id"], device) if "unique id" in fields else None
    if (booted := _text(path / "boot_out.txt")).startswith("Adafruit CircuitPython"):
        model = booted.splitlines()[0].rpartition("; ")[2]
        return Drive(path, "circuitpython", model, _fields(booted).get("uid", ""), device)
    return None


def _fields(text: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in text.splitlines() if ":" in line)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _text(path: Path, longest: int | None = LONGEST) -> str:
    """Return a text file's beginning; "" where it cannot be read: drives and devices go while we look."""
    try:
        with path.open("rb") as file:
            return file.read(longest if longest is not None else -1).decode("utf-8", "replace").strip()
    except OSError:
        return ""
