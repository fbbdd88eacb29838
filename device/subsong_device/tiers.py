"""What executes the kernels: machine code, viper or bytecode, whichever is the best that computes the known answers.

The answers are tried once for each firmware and MicroPython: what was found is kept in a file. The file says so before
machine code or viper is tried, too: a tier from which the board twice did not come back is left out (once may have been
a power cut). Where the flash takes no file, a kernel that hangs the board does so at every start.
"""

import gc
import os
import sys

from subsong_device import profile
from subsong_device.block import load_kernels

FOUND = "subsong.tier"
NAMES = ("bytecode", "viper", "machine code")
_DROPPED = ("answers", "tasks", "learners", "kernels", "viper", "machine")


class NoTier(Exception):
    """Every tier computes something else than the known answers."""


def choose(say=print):
    """Return the best tier that computes the known answers: 2 machine code, 1 viper, 0 bytecode.

    Args:
        say: told, in a line each, which tiers fail and why.

    Raises:
        NoTier: none does.
        MemoryError: there is no room even for bytecode.
    """
    if not profile.FIRMWARE:
        return profile.TIERS[-1]
    key = profile.FIRMWARE + " " + sys.version
    word, last = _recall(key)
    if word == "ok":
        return last
    lasting = True
    why = ""
    for tier in profile.TIERS:
        if (word == "again" and tier >= last) or (word == "trying" and tier > last):
            say("tier %d, %s: the board did not come back from its known answers" % (tier, NAMES[tier]))
            continue
        if tier:
            _keep(key, "again" if word == "trying" and tier == last else "trying", tier, say)
        why = _try(tier)
        if not why:
            if lasting:
                _keep(key, "ok", tier, say)
            else:
                forget()
            return tier
        say("tier %d, %s: %s" % (tier, NAMES[tier], why))
        # For want of memory only: another time it may be there.
        lasting = lasting and "MemoryError" not in why
    forget()
    if "MemoryError" in why:
        raise MemoryError(why)
    raise NoTier("no tier computes the known answers")


def forget():
    """Have the known answers tried again at the next start."""
    try:
        os.remove(FOUND)
    except OSError:  # none there; or a flash that cannot be written, of which choose() has told
        pass


def _recall(key):
    try:
        with open(FOUND, "rb") as file:  # as bytes: a flash that lost power may hold anything
            lines = file.read().split(b"\n")
    except OSError:
        return "", 0
    if (
        lines[0] == key.encode() and len(lines) > 2 and lines[2] in (b"0", b"1", b"2")
    ):  # else of another firmware, or cut
        return {b"ok": "ok", b"trying": "trying", b"again": "again"}.get(lines[1], ""), int(lines[2])
    return "", 0


def _keep(key, word, tier, say):
    try:
        with open(FOUND, "w") as file:
            file.write("%s\n%s\n%d\n" % (key, word, tier))
    except OSError as error:  # a flash that is full, or not to be written: then the next start tries again
        say("%s cannot be written: %r" % (FOUND, error))


def _try(tier):
    """Return what is wrong with a tier; "" if nothing is."""
    try:
        from subsong_device.answers import differing

        return differing(lambda rule: load_kernels(rule, tier))
    except KeyboardInterrupt:
        forget()
        raise
    except Exception as error:  # noqa: BLE001 - no emitter, no memory, anything that a broken kernel raises
        return repr(error)
    finally:
        unload()


def unload():
    """Let go of every kernel module, and of what tried them: OPEN loads those of its rule."""
    for name in list(sys.modules):
        parts = name.split(".")
        if parts[0] == "subsong_device" and len(parts) > 1 and parts[1] in _DROPPED:
            del sys.modules[name]
            parent = sys.modules.get(".".join(parts[:-1]))
            if parent and hasattr(parent, parts[-1]):
                delattr(parent, parts[-1])
    gc.collect()
