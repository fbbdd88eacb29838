"""Real time for a plant in the loop: its steps end at deadlines on a clock, and what comes late is counted.

Deadlines lie on a grid, `period_ms` apart, that begins with each episode. A step that ends late makes the next one
begin late, and nothing else: it is not made up for. Where more than a whole period was missed, the grid begins anew
there. The board's own clock does the same (subsong_device.plant_guard).
"""

import time
from array import array
from collections.abc import Callable, Sequence

from subsong_sim.plants.base import Plant

SPIN_NS = 1_000_000  # before a deadline: a sleep ends when the system likes, a look at the clock does not
LATE_NS = 100_000  # what comes later than this is late; below lies what it takes to look at a clock and go on


class Clock:
    """Waits for deadlines, and measures by how much each was missed.

    Args:
        period_ms: from one deadline to the next, above 0.
        now: a monotonic time, ns.
        sleep: sleeps for so many seconds.

    Attributes:
        period_ms: as given.
        lateness_us: of every step since the clock was made, microseconds after its deadline, rounded down.
        late: (step, microseconds) of each late step since the last `start`, steps counted from 0.
    """

    def __init__(
        self,
        period_ms: int,
        now: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.period_ms = period_ms
        self.lateness_us = array("I")
        self.late: list[tuple[int, int]] = []
        self._period = period_ms * 1_000_000
        self._now, self._sleep = now, sleep
        self._due = self._step = 0

    @property
    def due(self) -> int:
        """The time at which the present step ends, ns."""
        return self._due

    def now(self) -> int:
        """Return the time, ns."""
        return self._now()

    def start(self) -> None:
        """Begin an episode: its first step ends in a period from now."""
        self.late = []
        self._step = 0
        self._due = self._now() + self._period

    def wait(self) -> None:
        """Wait until the present step ends, and measure how late that was."""
        now = self._now()
        if self._due - now > SPIN_NS:
            self._sleep((self._due - now - SPIN_NS) / 1e9)
        while (now := self._now()) < self._due:
            pass
        late = now - self._due
        self.lateness_us.append(min(late // 1000, 0xFFFFFFFF))
        if late >= LATE_NS:
            self.late.append((self._step, late // 1000))
        self._step += 1
        self._due = (now if late > self._period else self._due) + self._period


class PacedPlant:
    """A Plant that advances at the pace of a clock: `actuate` returns at the step's deadline.

    Args:
        plant: advances as fast as it can.
        clock: paces it.
    """

    def __init__(self, plant: Plant, clock: Clock) -> None:
        self.plant, self.clock = plant, clock
        self.n_sensors, self.n_actuators = plant.n_sensors, plant.n_actuators
        self.description = f"{plant.description}; real time, a step of {clock.period_ms} ms"
        self.sense, self.cost, self.close = plant.sense, plant.cost, plant.close

    @property
    def done(self) -> bool:
        """Whether the last step ended the episode."""
        return self.plant.done

    def reset(self, seed: int) -> None:
        """Begin an episode of the plant, and then the clock's."""
        self.plant.reset(seed)
        self.clock.start()

    def actuate(self, u: Sequence[int]) -> None:
        """Take one step of the plant, and wait until it is due."""
        self.plant.actuate(u)
        self.clock.wait()


def clock_of(plant: object) -> Clock | None:
    """Return the clock that a plant goes by, its own or that of what it is made of; None: as fast as it can."""
    while plant is not None:
        clock = getattr(plant, "clock", None)
        if isinstance(clock, Clock):
            return clock
        plant = getattr(plant, "plant", None)
    return None
