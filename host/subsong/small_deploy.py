"""Puts the small firmware on a board, proves that it is there, and starts it, where mpremote cannot.

MicroPython 1.9.2 has no hashlib, no ilistdir, and a file system without folders. Files are sent as statements of at
most 62 bytes, each of them answered; the board then computes the CRC-32 of every file with a compiled kernel, and sends
the manifest back.
"""

import ast
from zlib import crc32

from subsong.compiler import compile_kernels
from subsong.errors import BoardError, FirmwareError
from subsong.firmware import Firmware, Manifest
from subsong.profile import load_profiles
from subsong.repl import Repl
from subsong.small_firmware import ENTRY
from subsong.verify import MANIFEST, Found
from subsong_device import faults

ENTRY_CALL = f"{ENTRY}.main()"
_STATEMENT = 62
_LONGEST_BYTES = 3000  # of a manifest: a board with less free heap could not send it

# Prints a line a file: name, bytes, CRC-32. CODE is kernel crc32 of subsong_device/small/wire.py.
_SCAN = """
import os, micropython
from array import array
@micropython.asm_thumb
def call(r0, r1):
    mov(r4, r0)
    add(r4, 1)
    mov(r5, r1)
    ldr(r0, [r5, 0])
    ldr(r1, [r5, 4])
    ldr(r2, [r5, 8])
    ldr(r3, [r5, 12])
    data(2, 0x47a0)
@micropython.asm_thumb
def address(r0):
    pass
code = bytearray(CODE)
part = bytearray(256)
a = array("i", (address(part), 0, 0, 0))
for name in os.listdir():
    f = open(name, "rb")
    size = a[3] = 0
    while True:
        a[2] = f.readinto(part)
        if not a[2]:
            break
        size += a[2]
        a[3] = call(code, a)
    f.close()
    print((name, size, a[3]))
"""


def is_small(repl: Repl) -> bool:
    """Return whether the board takes the small firmware. Nothing is run for it: names at the prompt cost heap."""
    return any(
        profile.firmware == "small" and repl.platform in profile.recognise.platforms
        for profile in load_profiles().values()
    )


def scan_small(repl: Repl, firmware: Firmware) -> Found:
    """Have the board list its files and compute their CRC-32; a file with the right one has the right hash."""
    target = next(iter(firmware.manifest.kernels))
    (kernel,) = compile_kernels("subsong_device.small.wire", ("crc32",), target, compact=True).kernels
    repl.transport.restart()
    output = repl.run(_SCAN.replace("CODE", repr(kernel.code)))
    wanted = {file.path: file for file in firmware.manifest.files}
    found = Found()
    present = []
    for line in output.splitlines():
        try:
            name, size, crc = ast.literal_eval(line)
            present.append(str(name))
            if name in wanted:
                right = crc & 0xFFFFFFFF == crc32(firmware.sources[name])
                found.files[name] = (int(size), wanted[name].sha256 if right else f"crc32 {crc & 0xFFFFFFFF:08x}")
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            raise BoardError(f"port {repl.port.name}: the board's list of files is garbled at {line[:200]!r}") from None
    repl.transport.restart()
    if MANIFEST in present:
        found.manifest = _manifest(repl)
        held = Manifest.from_json(found.manifest)
        for file in held.files if held is not None else ():
            if file.path in present and file.path not in wanted:
                found.files[file.path] = (file.size, file.sha256)
    return found


def _manifest(repl: Repl) -> bytes:
    """Return the board's manifest, which it sends in parts."""
    repl.run(f"f=open({MANIFEST!r},'rb')")
    text = b""
    while len(text) < _LONGEST_BYTES:
        said = repl.run("print(f.read(256))").strip()
        try:
            part = bytes(ast.literal_eval(said))
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            raise BoardError(f"port {repl.port.name}: the board's manifest is garbled at {said[:200]!r}") from None
        if not part:
            break
        text += part
    repl.run("f.close()")
    return text


def write_small(repl: Repl, path: str, content: bytes) -> None:
    """Write a file on the board.

    Raises:
        BoardError: the board cannot keep it.
    """
    try:
        repl.run(f"f=open({path!r},'wb')")
        at = 0
        while at < len(content):
            n = _STATEMENT - len("f.write()")
            while len(repr(content[at : at + n])) > _STATEMENT - len("f.write()"):
                n -= 1
            repl.run(f"f.write({content[at : at + n]!r})")
            at += n
        repl.run("f.close()")
    except BoardError as error:
        if "OSError" in str(error):  # MicroPython 1.9.2 says no more than that
            raise BoardError(
                f"port {repl.port.name}: the board cannot keep {path}; its flash is full: remove files of yours "
                f"(import os; os.listdir(), os.remove(...)), then deploy again"
            ) from error
        raise


def remove_small(repl: Repl, path: str) -> None:
    """Remove a file on the board. Raises BoardError if that fails."""
    repl.run(f"import os;os.remove({path!r})")


def start_small(repl: Repl) -> None:
    """Start the small firmware's link server; the next bytes from the port are the board's.

    Raises:
        FirmwareError: it does not load; the message ends in the board's traceback.
        BoardError: the board's heap is too small for it.
    """
    try:
        repl.run(f"import {ENTRY}")
    except BoardError as error:
        if error.code == faults.NO_MEMORY:
            raise
        raise FirmwareError(
            f"{error}\nthe firmware does not start; redeploy: subsong deploy --port {repl.port.name}"
        ) from error
    repl.launch(ENTRY_CALL)
