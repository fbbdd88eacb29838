"""This computer as a plant: how much work it is told to do, and how much it gets done. No model is behind it.

The actuator is a duty, the share of each step that a busy loop may take, 0 to 1. The sensors are the throughput, rounds
of that loop done in the last step, 1 being as many as a whole step of the idle machine holds (measured when the plant
is made), and the set point. The cost is the squared error of the throughput, divided by `cost_lsb`.

The loop runs in this process, between the learner's answer and the step's deadline: what learner and link take, it does
not get, nor what other programs take, and a hot or throttled processor does fewer rounds. Nothing runs on when a step
has ended, so nothing has to be stopped. Nothing but the set points is a function of the seed.
"""

from collections.abc import Sequence

from subsong_sim.errors import PlantError
from subsong_sim.plants.base import check_seed, check_words, cost_word, scale_of, sensor_words, to_physical
from subsong_sim.plants.clock import Clock
from subsong_sim.plants.spec import PlantSpec
from subsong_sim.plants.target import targets

TARGETS = ((0.2, 0.8),)
SENSED = (0.0, 1.25)  # throughput; above 1: the processor has become faster since it was measured
DUTY = (0.0, 1.0)
_ROUND = range(200)  # some microseconds
_SLICES, _SLICE_NS = 8, 5_000_000


class HostLoad:
    """The computer that this runs on, as a Plant.

    Args:
        spec: `target_range` and `cost_lsb` count.
        clock: ends the steps.

    Attributes:
        rounds_per_ms: of the busy loop on the idle machine, as measured when the plant was made.
    """

    n_sensors, n_actuators = 2, 1
    discrete_actions = False
    done = False

    def __init__(self, spec: PlantSpec, clock: Clock) -> None:
        self.clock = clock
        self._targets = spec.target_range or TARGETS
        if len(self._targets) != 1:
            raise PlantError(f"plant.target_range: {len(self._targets)} pairs, but the load has 1 set point")
        self._cost_lsb = spec.cost_lsb
        self._scales = [scale_of(SENSED), scale_of(DUTY)]
        self.rounds_per_ms = self._measured()
        self._target = self._throughput = 0.0
        self._cost = 0
        self._words: list[int] | None = None
        ((low, high),) = self._targets
        self.description = (
            f"host_load, this computer, {self.rounds_per_ms:.0f} rounds a millisecond, a step of {clock.period_ms} ms: "
            f"target_range=[{low:g}..{high:g}], cost_lsb={spec.cost_lsb:g}"
        )

    def reset(self, seed: int) -> None:
        """Draw a set point, and begin an episode of the clock; nothing was done yet."""
        (self._target,) = targets(self._targets, check_seed(seed))
        self._throughput, self._cost = 0.0, 0
        self._look()
        self.clock.start()

    def sense(self) -> list[int]:
        """Return throughput and set point as words."""
        if self._words is None:
            raise PlantError("host_load: sense() before the first reset()")
        return self._words

    def actuate(self, u: Sequence[int]) -> None:
        """Be busy for the duty's share of a step, or until the step ends; then wait for its end."""
        if self._words is None:
            raise PlantError("host_load: actuate() before reset()")
        check_words(u, 1, "host_load")
        step_ms = self.clock.period_ms
        busy_ns = round(to_physical(u[0], DUTY) * step_ms * 1e6)
        rounds = self._busy(min(self.clock.now() + busy_ns, self.clock.due))
        self.clock.wait()
        self._throughput = rounds / (self.rounds_per_ms * step_ms)
        self._cost = cost_word(-((self._throughput - self._target) ** 2), self._cost_lsb)
        self._look()

    def cost(self) -> int:
        """Return the squared error of the last step, in counts of cost_lsb."""
        return self._cost

    def close(self) -> None:
        """Do nothing: between steps nothing runs."""

    def _look(self) -> None:
        self._words = sensor_words([self._throughput, self._target], self._scales)

    def _busy(self, until: int) -> int:
        """Work until a time of the clock, ns; return the rounds done."""
        rounds, now = 0, self.clock.now
        while now() < until:
            for _ in _ROUND:
                pass
            rounds += 1
        return rounds

    def _measured(self) -> float:
        """Return the rounds of the best slice of several, a millisecond: the others were not alone."""
        best = max(self._busy(self.clock.now() + _SLICE_NS) for _ in range(_SLICES))
        return best / (_SLICE_NS / 1e6)
