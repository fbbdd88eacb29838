"""Every exception that Subsong raises for its users.

    SubsongError
    |-- ExperimentError       the experiment file: every error of it at once
    |-- ProfileError          a board profile is wrong, or there is none of that name
    |-- PortError             a port is missing or busy
    |   `-- PortVanished      it vanished while in use: a cable was pulled, a hub let go, the board lost its power
    |-- BoardError            the board refused or faulted; `code` is a number of subsong_device.faults
    |   `-- FirmwareError     the firmware is missing, altered or of another version: redeploy
    |-- LinkError             the conversation with the board failed
    |   |-- LinkLost          the board fell silent
    |   `-- SchemaMismatch    the board speaks another schema: redeploy
    |-- LogError              a run log cannot be written or read
    |-- TableError            a sweep's table cannot be written or read, or holds another sweep
    |-- ReplayError           a run log cannot be replayed: another arithmetic
    |-- CompileError          a kernel that the compiler or its target cannot take; the message begins with FILE:LINE
    |-- PlantError            the plant (subsong_sim)
    `-- EngineError           a kernel engine (subsong_sim)

Messages say what is wrong, where, and what to do.
"""

from subsong_sim.errors import EngineError, PlantError, SubsongError

__all__ = [
    "BoardError",
    "CompileError",
    "EngineError",
    "ExperimentError",
    "FirmwareError",
    "LinkError",
    "LinkLost",
    "LogError",
    "PlantError",
    "PortError",
    "PortVanished",
    "ProfileError",
    "ReplayError",
    "SchemaMismatch",
    "SubsongError",
    "TableError",
]


class ExperimentError(SubsongError):
    """The experiment file is wrong; the message lists every error with its key and what is allowed."""


class PortError(SubsongError):
    """A port is missing, busy, or vanished while in use."""


class PortVanished(PortError):
    """A port vanished while in use; the board may come back, under this name or another."""


class ProfileError(SubsongError):
    """A board profile is wrong, or there is none of that name."""


class BoardError(SubsongError):
    """The board refused a command or faulted.

    Attributes:
        code: the fault's number in `subsong_device.faults`, or None where the board could not say.
    """

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class FirmwareError(BoardError):
    """The firmware on the board is missing, altered, or of another version."""


class LinkError(SubsongError):
    """The conversation with the board failed."""


class LinkLost(LinkError):
    """The board stopped answering."""


class SchemaMismatch(LinkError):
    """The board speaks another version of the link's schema."""


class LogError(SubsongError):
    """A run log cannot be written, read or recovered."""


class TableError(SubsongError):
    """A sweep's table cannot be written or read, or holds the sweep of another experiment."""


class ReplayError(SubsongError):
    """A run log cannot be replayed: it was recorded with another version of the arithmetic."""


class CompileError(SubsongError):
    """A kernel cannot be compiled for a target; the message says FILE:LINE, what, and what to do."""
