"""Whether the cost of the board's own plant varies at all: from one that does not, nothing can be learned."""

from subsong.errors import PlantError
from subsong_sim.learner import TrialSummary

TRIALS = 32  # learning trials, every one perturbed, that cost the same to the last count


class FlatCost:
    """Looks at a run's learning trials until one differs from the first."""

    def __init__(self) -> None:
        self._first: tuple[int, int] | None = None
        self._same = 0
        self._varies = False

    def take(self, summary: TrialSummary) -> None:
        """Take a learning trial's end.

        Raises:
            PlantError: this many trials had one cost, and one number of steps.
        """
        if self._varies:
            return
        cost = (summary.total, summary.steps)
        self._first = self._first or cost
        self._varies = cost != self._first
        self._same += 1
        if not self._varies and self._same == TRIALS:
            raise PlantError(
                f"trial {summary.trial}: each of the first {TRIALS} learning trials cost {summary.total} counts in "
                f"{summary.steps} steps, and from a cost that never varies nothing can be learned; let cost() in "
                "plant.py count finer, and look at the sensor that it reads"
            )
