"""How well the nominal model foretells what the sensors read: open loop, on the recorded actuator words.

The model is reset with the seed of a recorded trial and given that trial's actuator words, one after the other; its
sensor words are set against the recorded ones. Nothing is fed back, so an error grows as the plant lets it grow. A
plant that is the model is foretold exactly: every error is 0.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from subsong.compare.channels import Sample
from subsong.compare.curves import Floats
from subsong.console import Progress
from subsong.errors import PlantError, SubsongError
from subsong.experiment import Experiment
from subsong.experiment_loop import GymnasiumPlant

if TYPE_CHECKING:
    from subsong_sim.plants.base import Plant

HORIZONS = (1, 2, 5, 10, 20, 50, 100, 200, 500)
MODELLED = ("gymnasium", "simulated", "tclab")  # kinds of plants that this computer can play as often as it likes
_RANGE = 65534.0  # counts from one end of a sensor's range to the other
_SPARSE = 0.25  # errors are drawn as long as this share of the trials lasts

# Makes the nominal plant; compiled=True the one that the simulator played.
Nominal = Callable[..., "Plant"]


@dataclass(frozen=True)
class OpenLoop:
    """Errors of the nominal model over several trials, at each step since the reset.

    Attributes:
        reached: trials that lasted so long, both recorded and foretold, shape (steps,).
        squares: sums of squared errors over them, counts squared, shape (steps, sensors).
        trials: foretold.
        ended: of these, where the model's episode was over while the recorded one went on.
        ranges: (low, high) of each sensor, physical units; None where the plant does not tell.
        reason: why nothing could be foretold; "" where something was.
    """

    reached: Floats
    squares: Floats
    trials: int = 0
    ended: int = 0
    ranges: tuple[tuple[float, float], ...] | None = None
    reason: str = ""

    @property
    def exact(self) -> bool:
        """True where every recorded word was foretold."""
        return self.trials > 0 and not self.ended and not self.squares.any()

    def growth(self) -> tuple[Floats, Floats]:
        """Return the steps since the reset, and the RMS error of each sensor there as a share of its range.

        Returns:
            Shapes (steps,) and (steps, sensors); steps that fewer than a quarter of the trials reach are left out.
        """
        kept = int((self.reached >= max(1.0, _SPARSE * self.trials)).sum())
        share = np.sqrt(self.squares[:kept] / self.reached[:kept, None]) / _RANGE
        return np.arange(kept, dtype=np.float64), share

    def at(self, step: int) -> Floats | None:
        """Return each sensor's RMS error after so many steps, a share of its range; None where too few trials last."""
        steps, share = self.growth()
        return share[step] if step < len(steps) else None

    def whole(self) -> Floats:
        """Return each sensor's RMS error over all steps of all trials, a share of its range."""
        return np.asarray(np.sqrt(self.squares.sum(axis=0) / self.reached.sum()) / _RANGE)

    def physical(self, share: Floats) -> list[float | None]:
        """Turn shares of the sensors' ranges into their physical units."""
        if self.ranges is None:
            return [None] * len(share)
        return [float(part * (high - low)) for part, (low, high) in zip(share, self.ranges, strict=True)]

    def to_json(self) -> dict[str, Any]:
        """Return the figures of the report's table."""
        if self.reason:
            return {"missing": self.reason}
        found = {str(step): self.at(step) for step in HORIZONS} | {"whole": self.whole()}
        errors = {
            name: {"share_of_range": share.tolist(), "physical": self.physical(share)}
            for name, share in found.items()
            if share is not None
        }
        return {"exact": self.exact, "trials": self.trials, "model_ended_early": self.ended, "rms_after_steps": errors}


def why_no_model(experiment: Experiment) -> str:
    """Say why this computer does not play the experiment's plant; "" where it does."""
    plant = experiment.plant
    if plant.kind == "task":
        return "the task is computed on the board, and is the same everywhere"
    if plant.kind not in MODELLED:
        return "nobody has a model of the plant"
    if isinstance(plant, GymnasiumPlant) and ":" in plant.id:
        return f"{plant.id} names a module, and none is imported because a log says so"
    return ""


def require_no_import(experiment: Experiment) -> None:
    """Raise PlantError where making the plant would import a module that only the log names."""
    plant = experiment.plant
    if isinstance(plant, GymnasiumPlant) and ":" in plant.id:
        raise PlantError(f"plant.id: {why_no_model(experiment)}")


def foretell(
    experiment: Experiment, samples: Sequence[Sample], nominal: Nominal, *, compiled: bool, progress: Progress
) -> OpenLoop:
    """Give the nominal model the actuator words of recorded trials.

    Args:
        experiment: declares the model.
        samples: the trials.
        nominal: `subsong.session.local_plant`; it should keep no clock.
        compiled: take the plant that the simulator takes, for its own logs.
        progress: advances by one a trial.
    """
    reason = why_no_model(experiment) or ("" if samples else "the logs hold no whole trial with its steps")
    n = samples[0].x.shape[1] if samples else 0
    steps = max((len(sample.x) for sample in samples), default=0)
    reached, squares = np.zeros(steps), np.zeros((steps, n))
    if reason:
        return OpenLoop(reached, squares, reason=reason)
    try:
        plant = nominal(experiment, False, compiled=compiled)
    except SubsongError as error:
        return OpenLoop(reached, squares, reason=str(error))
    progress.start("foretelling recorded trials", len(samples))
    ended = 0
    try:
        for sample in samples:
            ended += _foretell(plant, sample, reached, squares)
            progress.advance()
    except SubsongError as error:
        return OpenLoop(reached, squares, reason=str(error))
    finally:
        plant.close()
    ranges = getattr(plant, "sensor_ranges", None)
    return OpenLoop(reached, squares, len(samples), ended, None if ranges is None else tuple(map(tuple, ranges)))


def _foretell(plant: "Plant", sample: Sample, reached: Floats, squares: Floats) -> bool:
    """Add one trial's errors; return True where the model's episode was over first."""
    plant.reset(sample.seed)
    recorded, commands = sample.x.astype(np.float64), sample.u.tolist()
    for step, u in enumerate(commands):
        squares[step] += (np.array(plant.sense(), np.float64) - recorded[step]) ** 2
        reached[step] += 1
        if step + 1 < len(commands):
            plant.actuate(u)
            if plant.done:
                return True
    return False
