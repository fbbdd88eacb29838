"""Proves what firmware a board holds, from hashes that the board itself computes.

On the board: LIB/subsong_device/... and LIB/subsong_device/manifest.json, where LIB is the `lib` folder of the board's
sys.path, or the working directory if there is none.
"""

import ast
from dataclasses import dataclass, field
from typing import Any

from subsong.device import DeviceInfo, ask_device
from subsong.errors import BoardError, FirmwareError
from subsong.firmware import PACKAGE, Firmware, Manifest, build_firmware
from subsong.first_flash import refuse_other_interpreter
from subsong.ports import Port
from subsong.profile import Profile, profile_of
from subsong.repl import Repl

MANIFEST = "manifest.json"

# Prints one line a file below the package's folder, hashed on the board, and before them: the folder that imports would
# come from, and the manifest. `lib` first, since '' is wherever the working directory is.
SCAN = """
import os, sys
from hashlib import sha256
from binascii import hexlify
B = bytearray(512)
V = memoryview(B)
def is_dir(p):
    try:
        return os.stat(p)[0] & 0x4000
    except OSError:
        return None
def scan(p, q):
    for e in os.ilistdir(p):
        f = p + "/" + e[0]
        if e[1] & 0x4000:
            print("D", repr(q + e[0]))
            scan(f, q + e[0] + "/")
        else:
            h = sha256()
            size = 0
            with open(f, "rb") as s:
                while True:
                    n = s.readinto(B)
                    if not n:
                        break
                    size += n
                    h.update(V[:n])
            print("F", repr((q + e[0], size, hexlify(h.digest()))))
lib = [p for p in sys.path if p == "lib" or p.endswith("/lib")]
root = (lib[0] + "/" if lib else "") + NAME
print("R", repr(root))
for p in sys.path:
    p = p + "/" + NAME if p else NAME
    if p != root and not p.startswith(".frozen"):
        for s in ("", ".py", ".mpy"):
            if is_dir(p + s) is not None:
                print("S", repr(p + s))
    if p == root:
        break
if is_dir(root):
    scan(root, "")
    try:
        with open(root + "/manifest.json", "rb") as s:
            print("M", repr(s.read()))
    except OSError:
        pass
"""


@dataclass
class Found:
    """What SCAN found. `files`: path -> (bytes, sha256 in hex); `shadows`: what imports would take instead."""

    root: str = ""
    files: dict[str, tuple[int, str]] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    shadows: list[str] = field(default_factory=list)
    manifest: bytes | None = None


@dataclass(frozen=True)
class Verified:
    """A board whose firmware is proven: what it says about itself, its profile, and what it holds."""

    device: DeviceInfo
    profile: Profile
    manifest: Manifest


def verify_board(port: Port, firmware: Firmware | None = None) -> Verified:
    """Prove, by hashes computed on the board, that it holds exactly this firmware.

    Args:
        port: an open port, the board at its prompt or in any program.
        firmware: by default the one that this installation builds for the board.

    Raises:
        FirmwareError: the firmware is missing, incomplete, altered, or another one; or no profile covers the board.
        BoardError: no MicroPython answers.
        CompileError, EngineError: the firmware cannot be built.
        PortError: the port failed.
    """
    with Repl(port) as repl:
        device = ask_device(repl)
        refuse_other_interpreter(port.name, device)
        profile = profile_of(device)
        wanted = firmware if firmware is not None else build_firmware(profile)
        manifest = wanted.manifest
        if profile.firmware == "small":
            from subsong.small_deploy import scan_small

            found = scan_small(repl, wanted)
        else:
            found = scan(repl)
    refuse_shadows(port, found)
    check(port, found, manifest)
    return Verified(device, profile, manifest)


def verify_firmware(port: Port, firmware: Firmware | None = None) -> Manifest:
    """Do `verify_board`; return the manifest."""
    return verify_board(port, firmware).manifest


def scan(repl: Repl) -> Found:
    """Have the board list and hash what it holds of the firmware."""
    found = Found()
    output = repl.run(f"NAME = {PACKAGE!r}\n" + SCAN)
    for line in output.splitlines():
        kind, _, text = line.partition(" ")
        try:
            _take(found, kind, ast.literal_eval(text))
        except (ValueError, SyntaxError, TypeError, AttributeError, RecursionError, MemoryError):
            raise BoardError(f"port {repl.port.name}: the board's list of files is garbled at {line[:200]!r}") from None
    return found


def _take(found: Found, kind: str, value: Any) -> None:
    """Note what a line says. A board may say anything: ValueError, TypeError, AttributeError if it is no such list."""
    if kind == "F":
        path, size, digest = value
        value = path
        found.files[path] = (int(size), digest.decode())
    elif kind == "R":
        found.root = value
    elif kind == "D":
        found.folders.append(value)
    elif kind == "S":
        found.shadows.append(value)
    else:
        found.manifest = bytes(value)
        return
    if not isinstance(value, str):
        raise TypeError(kind)


def refuse_shadows(port: Port, found: Found) -> None:
    """Raise FirmwareError if an import on the board would take another copy than the one that was hashed."""
    if found.shadows:
        raise FirmwareError(
            f"port {port.name}: {found.shadows[0]} on the board would be imported instead of {found.root}; remove it "
            f"(mpremote fs rm -r :{found.shadows[0]}), then: subsong deploy --port {port.name}"
        )


def check(port: Port, found: Found, manifest: Manifest) -> None:
    """Raise FirmwareError if what the board holds is not exactly the manifest's firmware."""
    redeploy = f"subsong deploy --port {port.name}"
    if not found.files:
        raise FirmwareError(f"port {port.name}: the board is without the firmware: {redeploy}")
    if found.manifest is None:
        raise FirmwareError(
            f"port {port.name}: the firmware on the board is incomplete (a deploy was interrupted): {redeploy}"
        )
    held = Manifest.from_json(found.manifest)
    if held is None:
        raise FirmwareError(f"port {port.name}: the manifest of the firmware on the board is damaged: {redeploy}")
    if held.digest != manifest.digest:
        raise FirmwareError(
            f"port {port.name}: the board holds firmware {held.label}, this host needs {manifest.label}: {redeploy}"
        )
    files = {file.path: (file.size, file.sha256) for file in manifest.files}
    present = {path: value for path, value in found.files.items() if path != MANIFEST}
    if present != files:
        path = min(path for path in files.keys() | present.keys() if files.get(path) != present.get(path))
        what = "is missing" if path not in present else "does not belong" if path not in files else "is altered"
        raise FirmwareError(f"port {port.name}: {path} of the firmware on the board {what}: {redeploy}")
