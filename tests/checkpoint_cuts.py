"""Cuts of power at every write of a save, on MicroPython's own file systems: run by MicroPython (test_checkpoint.py).

A block device in memory keeps every write and erase. Each prefix of those of a save is a flash as a cut leaves it; that
is mounted, read, and saved to again. Prints a line a file system: name, cuts, cuts within the next save, wrong ones.

    checkpoint_cuts.py STRIDE            the above
    checkpoint_cuts.py image FOLDER OUT  make a Pico's flash of a folder
    checkpoint_cuts.py log IMAGE LOG     which save is read after each write of a real flash
"""

import os
import sys
from struct import unpack

import vfs

from subsong_device.block import Block
from subsong_device.checkpoint import Slots, read_regions
from subsong_device.layout import LAYER_WORDS, LAYERS_AT

RUN = 0xC0FFEE11
SHAPE = (0, 2, 1, LAYERS_AT + LAYER_WORDS, 200, 5)
_ERASE = 6
ENOSPC = 28  # which errno does not have


class Flash:
    """A flash in memory.

    Attributes:
        data: what it holds.
        writes: (address, bytes) of every write and erase since the list was last emptied.
    """

    def __init__(self, block_bytes, data):
        self.block_bytes = block_bytes
        self.data = bytearray(data)
        self.writes = []

    def _write(self, at, piece):
        self.data[at : at + len(piece)] = piece
        self.writes.append((at, piece))

    def readblocks(self, block, buf, offset=0):
        at = block * self.block_bytes + offset
        buf[:] = self.data[at : at + len(buf)]

    def writeblocks(self, block, buf, offset=0):
        self._write(block * self.block_bytes + offset, bytes(buf))

    def ioctl(self, what, block):
        if what == _ERASE:
            self._write(block * self.block_bytes, b"\xff" * self.block_bytes)
            return 0
        return {4: len(self.data) // self.block_bytes, 5: self.block_bytes}.get(what, 0)


class Unchecked(Block):
    """A block of any content: what lies in it is not these tests' business."""

    def seal(self, *checksums):
        pass


class Board:
    """A flash with a file system, and a learner that is saved to it."""

    def __init__(self, kind, flash):
        self.flash = flash
        self.slots = Slots("run")
        self.block = Unchecked(*SHAPE)
        vfs.mount(kind(flash), "/board")
        os.chdir("/board")

    def save(self, n):
        for region in self.block.regions:
            for i in range(len(region)):
                region[i] = (n * 7 + i * n) & 0xFF
        self.flash.writes = []
        self.slots.save(self.block, RUN, 0, n, n, n)
        return self.flash.writes

    def load(self):
        """Return which save is read, 0 if none; -1 if its regions are not what was saved."""
        found = self.slots.newest(RUN, self.block)
        if found is None:
            return 0
        path, header = found
        read_regions(path, header, self.block)
        n = header.trials
        same = all(region[i] == (n * 7 + i * n) & 0xFF for region in self.block.regions for i in range(len(region)))
        return n if same else -1

    def close(self):
        os.chdir("/")
        vfs.umount("/board")


def cut(data, writes, n, torn):
    """Return what a flash holds after n writes; if torn, half of the next one, too."""
    data = bytearray(data)
    for at, piece in writes[:n]:
        data[at : at + len(piece)] = piece
    if torn and n < len(writes):
        at, piece = writes[n]
        half = piece[: len(piece) // 2]
        data[at : at + len(half)] = half
    return data


def saved_before(kind, flash, saves):
    board = Board(kind, flash)
    for n in range(1, saves + 1):
        board.save(n)
    data = bytes(flash.data)
    writes = board.save(saves + 1)
    board.close()
    return data, writes


def try_all(name, kind, block_bytes, blocks, tears, stride):
    """Cut the power at every write of the first saves, and at every `stride`-th of the one after such a cut."""
    cuts = again = wrong = 0
    for saves in range(4):
        flash = Flash(block_bytes, bytes(blocks * block_bytes))
        kind.mkfs(flash)
        data, writes = saved_before(kind, flash, saves)
        for n in range(len(writes) + 1):
            for torn in tears:
                cuts += 1
                flash = Flash(block_bytes, cut(data, writes, n, torn))
                board = Board(kind, flash)
                old = board.load()
                wrong += old not in (saves, saves + 1) or (n == len(writes) and old != saves + 1)
                board.close()
                left = bytes(flash.data)
                board = Board(kind, flash)
                following = board.save(saves + 2)
                wrong += board.load() != saves + 2
                board.close()
                for m in range(cuts % stride, len(following), stride):
                    again += 1
                    board = Board(kind, Flash(block_bytes, cut(left, following, m, torn)))
                    new = board.load()
                    wrong += new not in (old, saves + 2)
                    board.close()
    print(name, cuts, again, wrong)


def takes(path, n):
    """Whether the flash takes a file of n bytes."""
    try:
        with open(path, "wb") as file:
            file.write(bytes(n))
    except OSError:
        return False
    return True


def try_full(name, kind, block_bytes, blocks):
    """Save to a flash that is full; count what is wrong."""
    flash = Flash(block_bytes, bytes(blocks * block_bytes))
    kind.mkfs(flash)
    board = Board(kind, flash)
    board.save(1)
    board.save(2)
    ballast = ["b0"]
    while takes(ballast[-1], block_bytes):
        ballast.append("b%d" % len(ballast))
    wrong = 0
    try:
        board.save(3)
        wrong += 1
    except OSError as error:
        wrong += error.errno != ENOSPC
    wrong += board.load() != 2
    wrong += "run.new" in os.listdir()
    for path in ballast:
        if path in os.listdir():
            os.remove(path)
    board.save(4)
    wrong += board.load() != 4
    board.close()
    print(name, "full", wrong)


def make_image(folder, out):
    """Write a flash as a Pico has it, with the files of a folder and of its folders, to a file."""
    flash = Flash(PICO[0], bytes(PICO[0] * PICO[1]))
    vfs.VfsLfs2.mkfs(flash, progsize=256)
    vfs.mount(vfs.VfsLfs2(flash, progsize=256), "/board")
    copy(folder, "/board")
    vfs.umount("/board")
    with open(out, "wb") as file:
        file.write(flash.data)


def copy(folder, to):
    for name, kind, *_ in os.ilistdir(folder):
        if kind == 0x4000:
            os.mkdir(to + "/" + name)
            copy(folder + "/" + name, to + "/" + name)
        else:
            with open(folder + "/" + name, "rb") as file, open(to + "/" + name, "wb") as made:
                made.write(file.read())


def read_after_each(image, log):
    """Print which save a board reads after each write of a log: address and size, 4 bytes each, and the bytes."""
    with open(image, "rb") as file:
        flash = Flash(PICO[0], file.read())
    with open(log, "rb") as file:
        while True:
            board = Board(vfs.VfsLfs2, Flash(PICO[0], flash.data))
            print(board.load(), end=" ")
            board.close()
            where = file.read(8)
            if not where:
                return
            at, size = unpack("<II", where)
            flash.data[at : at + size] = file.read(size)


PICO = (4096, 352)  # bytes of a block, blocks
if sys.argv[1] == "image":
    make_image(sys.argv[2], sys.argv[3])
elif sys.argv[1] == "log":
    read_after_each(sys.argv[2], sys.argv[3])
else:
    stride = int(sys.argv[1])
    try_all("littlefs", vfs.VfsLfs2, 4096, 16, (False, True), stride)
    try_all("FAT", vfs.VfsFat, 512, 128, (False,), stride)
    try_full("littlefs", vfs.VfsLfs2, 4096, 16)
    try_full("FAT", vfs.VfsFat, 512, 128)
