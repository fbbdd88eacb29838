"""A learned policy as a file on the board: what `subsong deploy --policy` writes and a learning board keeps up to date.

    header | head (int32) | mem (16-bit words) | task (16-bit words)        everything little-endian

The header is HEADER, then the CRC-32 of each region, then the CRC-32 of all of it so far.
"""

import os
from struct import calcsize, pack, unpack

from subsong_device.block import Block
from subsong_device.faults import Fault
from subsong_device.frames import MAX_STEPS, RULES, crc32
from subsong_device.layout import ARITHMETIC_VERSION

PATH = "policy.bin"
NEW = "policy.new"
MAGIC = b"SSPL"
FORMAT = 1
# Magic, format, rule, arithmetic, n_sensors, n_actuators, steps of a trial, trials learned, words of the three regions.
HEADER = "<4sBBHHHHIIII"
_HEADER_BYTES = calcsize(HEADER)
_CHECKS = "<IIII"


class PolicyError(Exception):
    """The policy on the board cannot be run; the message says why."""


def pack_header(
    rule: int, n_sensors: int, n_actuators: int, steps: int, trials: int, regions: tuple[bytes, bytes, bytes]
) -> bytes:
    """Return a policy file's bytes before its regions.

    Args:
        rule: index in frames.RULES.
        n_sensors: words of a step.
        n_actuators: words of a step.
        steps: at most, of a trial.
        trials: learned so far.
        regions: head, mem, task as bytes.
    """
    head, mem, task = regions
    words = pack(
        HEADER,
        MAGIC,
        FORMAT,
        rule,
        ARITHMETIC_VERSION,
        n_sensors,
        n_actuators,
        steps,
        trials,
        len(head) // 4,
        len(mem) // 2,
        len(task) // 2,
    ) + pack("<III", crc32(head), crc32(mem), crc32(task))
    return words + pack("<I", crc32(words))


def read(path=PATH):
    """Read a policy.

    Returns:
        (block.Block, steps, trials).

    Raises:
        PolicyError: it is damaged, of another arithmetic, or none.
        OSError: there is no such file.
        MemoryError: no room for it.
    """
    with open(path, "rb") as file:
        words = file.read(_HEADER_BYTES + calcsize(_CHECKS))
        if len(words) != _HEADER_BYTES + calcsize(_CHECKS) or words[:4] != MAGIC:
            raise PolicyError(path + " is no policy, or cut")
        head, mem, task, check = unpack(_CHECKS, words[_HEADER_BYTES:])
        if crc32(words[:-4]) != check:
            raise PolicyError(path + " is damaged in its header")
        fields = unpack(HEADER, words[:_HEADER_BYTES])
        if fields[1] != FORMAT or fields[3] != ARITHMETIC_VERSION:
            raise PolicyError(path + " is of another version than this firmware: export and deploy it again")
        _, _, rule, _, n_sensors, n_actuators, steps, trials, head_words, mem_words, task_words = fields
        if rule >= len(RULES) or not 0 < steps <= MAX_STEPS:
            raise PolicyError(path + " asks for what this firmware has not")
        block = Block(rule, n_sensors, n_actuators, head_words, mem_words, task_words)
        for region in block.regions:
            if file.readinto(region) != len(region):
                raise PolicyError(path + " is cut")
    try:
        block.seal(head, mem, task)
    except Fault as fault:
        raise PolicyError("%s is damaged (fault %d, detail %d)" % (path, fault.code, fault.detail))
    return block, steps, trials


def read_latest():
    """Read the policy; where the power went between a removal and a rename, the file that was to take its name.

    Raises:
        PolicyError, MemoryError: as read().
    """
    try:
        return read(PATH)
    except (OSError, PolicyError) as error:
        why = PATH + " is missing" if isinstance(error, OSError) else str(error)
    try:
        return read(NEW)
    except (OSError, PolicyError):
        raise PolicyError(why + ": subsong deploy --policy")


def write(block, steps, trials):
    """Write the policy beside the old one, then give it its name: at any moment one of the two is whole."""
    with open(NEW, "wb") as file:
        file.write(pack_header(block.rule, block.n_sensors, block.n_actuators, steps, trials, block.regions))
        for region in block.regions:
            file.write(region)
    try:
        os.rename(NEW, PATH)
    except OSError:  # FAT: no rename onto a file that is there
        os.remove(PATH)
        os.rename(NEW, PATH)
