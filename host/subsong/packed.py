"""Files onto a board, through mpremote: as they are, or packed into less than half of what goes over the wire.

A packed file goes as base64 of a zlib stream, which mpremote sends as it is, where it sends up to four bytes for one of
other bytes (their repr). The board writes it to a file beside the others, and unpacks that.
"""

import base64
import os
import zlib

from subsong.errors import BoardError
from subsong.repl import Repl
from subsong_device import faults

CHUNK = 1024  # bytes of a file in one statement: the board holds two copies while it compiles it
PACKED = "packed"
WINDOW_BITS = 12  # of zlib; that of the board takes as much memory: 4 KB
UNPACK = """
from gc import collect
from os import remove
def unpack(packed, path):
    with open(packed, "rb") as file:
        data = file.read()
    remove(packed)
    data = BytesIO(a2b_base64(data))
    collect()
    try:
        with DeflateIO(data, ZLIB) as stream, open(path, "wb") as file:
            part = stream.read(512)
            while part:
                file.write(part)
                part = stream.read(512)
    except OSError as error:
        print(error.errno if isinstance(error.errno, int) else 5)
try:
    from binascii import a2b_base64
    from deflate import ZLIB, DeflateIO
    from io import BytesIO
    print("unpacks")
except ImportError:
    pass
"""


def can_unpack(repl: Repl) -> bool:
    """Teach the board to unpack files; return whether it can."""
    return "unpacks" in repl.run(UNPACK)


def write_file(repl: Repl, path: str, content: bytes) -> None:
    """Write a file on the board, as it is.

    Raises:
        BoardError: the board cannot keep it.
    """
    with repl.errors(f"writing {path}"):
        repl.transport.fs_writefile(path, content, chunk_size=CHUNK)


def write_packed(repl: Repl, folder: str, path: str, content: bytes) -> None:
    """Write a file into a folder of a board that can unpack: packed, where that is less and its heap has room for it.

    Raises:
        BoardError: the board cannot keep it.
    """
    compressor = zlib.compressobj(9, zlib.DEFLATED, WINDOW_BITS)
    text = base64.b64encode(compressor.compress(content) + compressor.flush())
    path, packed = f"{folder}/{path}", f"{folder}/{PACKED}"
    if len(text) + CHUNK >= len(repr(content)):
        write_file(repl, path, content)
        return
    write_file(repl, packed, text)
    try:
        with repl.errors(f"writing {path}"):
            failed = repl.transport.exec(f"unpack({packed!r}, {path!r})")
            if failed:
                number = int(failed)
                raise OSError(number, os.strerror(number))
    except BoardError as error:
        if error.code != faults.NO_MEMORY:
            raise
        repl.run(f"import os\nif {PACKED!r} in os.listdir({folder!r}):\n os.remove({packed!r})")
        write_file(repl, path, content)
