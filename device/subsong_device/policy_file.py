"""A learned policy on the board: policy.bin, as `subsong deploy --policy` wrote it, and two slots of what came of it.

policy.bin is a checkpoint (subsong_device.checkpoint) that the board never writes. A slot belongs to the policy.bin
whose header's CRC-32 is its run: slots of any other policy are not read.
"""

from subsong_device.block import Block
from subsong_device.checkpoint import Slots, Unreadable, read_header, read_regions
from subsong_device.faults import Fault

PATH = "policy.bin"
SLOTS = Slots("policy")
_DEPLOY = ": export and deploy it again, subsong deploy --policy"


class PolicyError(Exception):
    """The policy on the board cannot be run; the message says why."""


def read_latest():
    """Read what the policy has learned: the newest whole slot of policy.bin's, or policy.bin itself.

    Returns:
        (block.Block, run of its slots, checkpoint.Header of what was read).

    Raises:
        PolicyError: policy.bin is missing, damaged, or of another version.
        MemoryError: no room for it.
    """
    path = PATH
    try:
        header = read_header(PATH)
        run = header.check
        block = Block(header.rule, header.n_sensors, header.n_actuators, *header.words)
        path, header = SLOTS.newest(run, block) or (PATH, header)
        read_regions(path, header, block)
    except Unreadable as error:
        raise PolicyError(PATH + " " + str(error) + _DEPLOY)
    except Fault as fault:
        raise PolicyError(path + " is damaged (fault %d, detail %d)" % (fault.code, fault.detail) + _DEPLOY)
    except OSError:
        raise PolicyError(path + " is missing" + _DEPLOY)
    if not header.steps:
        raise PolicyError(path + " does not say how long a trial is" + _DEPLOY)
    return block, run, header
