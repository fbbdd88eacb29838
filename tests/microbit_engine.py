"""Compiled kernels on the emulated micro:bit, over the link: the board's own firmware plays the cases."""

from dataclasses import dataclass

from cases import Answer, Case, ends_of, play
from subsong.bridge import Bridge
from subsong.deploy import start_firmware
from subsong.errors import BoardError
from subsong.ports import Port
from subsong.small_firmware import ARENA_BYTES, require_fit
from subsong_device.small.words import MOST_WORDS


@dataclass(frozen=True)
class CaseBlock:
    """A case's block as OPEN and WRITE take it."""

    rule: str
    head: bytes
    mem: bytes
    n_sensors: int
    n_actuators: int
    task: bytes = b""


def block_of(case: Case) -> CaseBlock:
    """Return what the board is sent of a case."""
    return CaseBlock(case.rule, case.head, case.mem, *ends_of(case.head))


def takes(case: Case) -> bool:
    """Return whether the small firmware has kernels for a case."""
    try:
        require_fit("", "", block_of(case))
    except BoardError:
        return False
    return True


def fits(case: Case) -> bool:
    """Return whether the board has room for a case, and the link can play it: every trial has a step."""
    block = block_of(case)
    return (
        len(case.head) + len(case.mem) <= ARENA_BYTES
        and block.n_sensors + block.n_actuators <= MOST_WORDS
        and all(trial.steps for trial in case.trials)
    )


class MicrobitEngine:
    """Plays cases on a micro:bit that holds the firmware, one session for all of them."""

    def __init__(self, port: Port) -> None:
        start_firmware(port)
        self.wire: list[bytes] = []
        self.bridge = Bridge(port, on_frame=lambda _to_board, wire, _t_ns: self.wire.append(wire))
        self.greeting = self.bridge.hello()

    def __call__(self, case: Case) -> list[Answer]:
        """Play a case."""
        self.bridge.open(block_of(case), 20000)
        return play(self.bridge, case.trials)
