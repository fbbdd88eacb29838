"""What the real-board suite shares (`pytest hil --port a0`): the board under test, and the lines of its summary."""

from dataclasses import dataclass, field
from typing import TypeVar

from subsong.firmware import FOLDERS, PACKAGE
from subsong.ports import Port
from subsong.profile import Profile
from subsong.verify import Verified

T = TypeVar("T")


@dataclass
class BoardUnderTest:
    """A board with the firmware on it, at its prompt between two tests.

    Attributes:
        port: open.
        held: what the board is and holds, proven once.
        facts: (name, value) of the summary, in the order in which they were found.
    """

    port: Port
    held: Verified
    facts: list[tuple[str, str]] = field(default_factory=list)

    @property
    def profile(self) -> Profile:
        """What the board is, with the tiers that its MicroPython has."""
        return self.held.profile

    def kernels(self, rule: str, tier: int) -> str:
        """Return the name of the module with a rule's kernels on the board: imported by itself, it comes quickest."""
        return f"{PACKAGE}.{FOLDERS.get(tier, 'learners')}.{rule}"

    def note(self, name: str, value: str) -> None:
        """Add a line to the summary."""
        self.facts.append((name, value))

    def pick(self, real: T, emulated: T) -> T:
        """Return how often, or what, to do: less on a board that is emulated slower than real."""
        return real if self.port.slowdown <= 2 else emulated
