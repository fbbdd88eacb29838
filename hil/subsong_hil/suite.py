"""What the real-board suite shares (`pytest hil --port a0`): the board under test, and the lines of its summary."""

from dataclasses import dataclass, field

from subsong.deploy import DeviceInfo
from subsong.firmware import Manifest
from subsong.ports import Port
from subsong.profile import Profile


@dataclass
class BoardUnderTest:
    """A board with the firmware on it, at its prompt between two tests.

    Attributes:
        port: open.
        device: what the board says of itself.
        profile: what it is.
        manifest: of the firmware there.
        slowdown: how many times slower than real an emulated board runs; 1 for any other.
        facts: (name, value) of the summary, in the order in which they were found.
    """

    port: Port
    device: DeviceInfo
    profile: Profile
    manifest: Manifest
    slowdown: float
    facts: list[tuple[str, str]] = field(default_factory=list)

    @property
    def patience_s(self) -> float:
        """The longest silence of a board that works."""
        return 10.0 * self.slowdown

    def note(self, name: str, value: str) -> None:
        """Add a line to the summary."""
        self.facts.append((name, value))

    def times(self, real: int, emulated: int) -> int:
        """Return how often to do something: less on a board that is emulated slower than real."""
        return real if self.slowdown <= 2 else emulated
