"""A learner's block as a file on the flash, and two slots of such files that no cut of power spoils.

    header | head (int32) | mem (16-bit words) | task (16-bit words)        everything little-endian

The header is HEADER, then the CRC-32 of each region, then the CRC-32 of all of it so far. docs/checkpoints.md says what
is guaranteed.
"""

import os
from errno import EIO
from struct import calcsize, pack, unpack

from subsong_device.faults import CHECKSUM, Fault
from subsong_device.frames import MAX_STEPS, RULES, crc32
from subsong_device.layout import ARITHMETIC_VERSION

MAGIC = b"SSPL"
FORMAT = 2
# Magic, format, rule, arithmetic, n_sensors, n_actuators, steps of a trial (0: the host says), run, count, seed of the
# plant's last reset, last trial, trials learned, words of the three regions.
HEADER = "<4sBBHHHHIIIIIIII"
_CHECKS_AT = calcsize(HEADER)
HEADER_BYTES = _CHECKS_AT + 16
_PIECE = 256  # bytes written at once, or read where nothing is kept


class Unreadable(Exception):
    """A file is no whole checkpoint of this firmware's; the message says why."""


class Header:
    """What a file says before its regions.

    Args:
        data: HEADER_BYTES bytes.

    Attributes:
        rule, n_sensors, n_actuators, steps, run, count, seed, trial, trials: pack_header's.
        words: of head, mem, task.
        checks: CRC-32 of each.
        check: CRC-32 of the header.

    Raises:
        Unreadable: it is damaged, or of another version.
    """

    def __init__(self, data):
        if len(data) != HEADER_BYTES or data[:4] != MAGIC:
            raise Unreadable("is cut, or nothing that was learned")
        self.checks = unpack("<III", data[_CHECKS_AT:-4])
        self.check = unpack("<I", data[-4:])[0]
        if crc32(data[:-4]) != self.check:
            raise Unreadable("is damaged in its header")
        fields = unpack(HEADER, data[:_CHECKS_AT])
        _, form, self.rule, arithmetic, self.n_sensors, self.n_actuators, self.steps = fields[:7]
        self.run, self.count, self.seed, self.trial, self.trials = fields[7:12]
        self.words = fields[12:]
        if form != FORMAT or arithmetic != ARITHMETIC_VERSION:
            raise Unreadable("is of another version than this firmware")
        if self.rule >= len(RULES) or self.steps > MAX_STEPS:
            raise Unreadable("asks for what this firmware has not")

    def fits(self, block):
        """Whether a block has its shape."""
        return (
            self.rule == block.rule
            and self.n_sensors == block.n_sensors
            and self.n_actuators == block.n_actuators
            and self.words == (len(block.head), len(block.mem), len(block.task))
        )


def pack_header(
    rule: int,
    n_sensors: int,
    n_actuators: int,
    steps: int,
    run: int,
    count: int,
    seed: int,
    trial: int,
    trials: int,
    regions: tuple[bytes, bytes, bytes],
) -> bytes:
    """Return a file's bytes before its regions.

    Args:
        rule: index in frames.RULES.
        n_sensors: words of a step.
        n_actuators: words of a step.
        steps: of a trial; 0: the host says.
        run: what it belongs to.
        count: higher than in every slot that is there.
        seed: of the last learning trial's reset, on a plant of the board's own; else 0.
        trial: number of the last trial.
        trials: learned so far.
        regions: head, mem, task as bytes.
    """
    head, mem, task = regions
    sizes = (len(head) // 4, len(mem) // 2, len(task) // 2)
    shape = (MAGIC, FORMAT, rule, ARITHMETIC_VERSION, n_sensors, n_actuators, steps)
    words = pack(HEADER, *shape, run, count, seed, trial, trials, *sizes)
    words += pack("<III", crc32(head), crc32(mem), crc32(task))
    return words + pack("<I", crc32(words))


def read_header(path):
    """Return a file's Header.

    Raises:
        Unreadable: it is damaged. OSError: there is no such file.
    """
    with open(path, "rb") as file:
        return Header(file.read(HEADER_BYTES))


def read_regions(path, header, block):
    """Fill a block of the header's shape from the file, and check it as SEAL does.

    Raises:
        Fault: CHECKSUM or BLOCK, as SEAL; the block holds anything.
        OSError: the flash cannot be read; likewise.
    """
    with open(path, "rb") as file:
        file.seek(HEADER_BYTES)
        for i in range(3):
            if file.readinto(block.regions[i]) != len(block.regions[i]):
                raise Fault(CHECKSUM, i)
    block.seal(*header.checks)


def whole(path):
    """Return the Header of a file all of which is as it was written; None of any other, and of none."""
    piece = memoryview(bytearray(_PIECE))
    try:
        with open(path, "rb") as file:
            header = Header(file.read(HEADER_BYTES))
            for region in range(3):
                left = header.words[region] * (4 if region == 0 else 2)
                crc = 0
                while left > 0:
                    n = file.readinto(piece[: min(left, _PIECE)])
                    if not n:
                        return None
                    crc = crc32(piece[:n], crc)
                    left -= n
                if crc != header.checks[region]:
                    return None
    except (OSError, Unreadable):
        return None
    return header


class Slots:
    """Two files, of which a save replaces the one that is not needed: whenever the power goes, the other is whole.

    Args:
        name: of the files NAME.0 and NAME.1, and of NAME.new, in which a save begins. A name of at most eight letters
            keeps each in one entry of a FAT directory.

    Attributes:
        files: the three names.
    """

    def __init__(self, name):
        self.files = (name + ".0", name + ".1", name + ".new")
        self._paths = self.files[:2]
        self._new = self.files[2]

    def newest(self, run, block):
        """Return (path, Header) of the whole slot with the highest count of this run and the block's shape; or None."""
        best = None
        for path in self._paths:
            header = whole(path)
            if header and header.run == run and header.fits(block) and (not best or header.count > best[1].count):
                best = (path, header)
        return best

    def save(self, block, run, steps, seed, trial, trials):
        """Write a block, between trials and with outputs safe: flash stops everything meanwhile.

        The slot that stays is this run's newest; where the run has none, the newest of all.

        Args:
            block: block.Block.
            run: what it belongs to.
            steps: of a trial; 0: the host says.
            seed: of the last learning trial's reset, on a plant of the board's own.
            trial: number of the last trial.
            trials: learned so far.

        Raises:
            OSError: the flash is full, or broken; the slot that stays is as it was.
        """
        count = 0
        older = self._paths[0]
        kept = None
        for i in range(2):
            header = whole(self._paths[i])
            if header:
                count = max(count, header.count + 1)
                rank = (header.run == run, header.count)
                if not kept or rank > kept:
                    kept = rank
                    older = self._paths[1 - i]
        shape = (block.rule, block.n_sensors, block.n_actuators, steps)
        try:
            self._write(pack_header(*shape, run, count, seed, trial, trials, block.regions), block.regions)
        except OSError:
            if self._new in os.listdir():
                os.remove(self._new)  # it may be what filled the flash
            raise
        try:
            os.rename(self._new, older)
        except OSError:  # FAT: no rename onto a file that is there
            os.remove(older)
            os.rename(self._new, older)

    def _write(self, header, regions):
        """Write the new file, and read it again."""
        with open(self._new, "wb") as file:
            file.write(header)
            for region in regions:
                view = memoryview(region)
                for at in range(0, len(region), _PIECE):  # between two of them a timer may feed a watchdog
                    file.write(view[at : at + _PIECE])
        if not whole(self._new):
            raise OSError(EIO)
