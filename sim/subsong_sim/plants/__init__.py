"""Plants in the loop: physical systems that the host plays, in words. See docs/plants.md.

Importing this package loads neither Gymnasium nor Numba; `make_plant` does, when it must.
"""

from typing import Any

from subsong_sim.errors import PlantError
from subsong_sim.plants.base import Plant
from subsong_sim.plants.cartpole_parameters import EPISODE_STEPS
from subsong_sim.plants.clock import Clock, PacedPlant, clock_of
from subsong_sim.plants.spec import Mismatch, PlantSpec

__all__ = ["Clock", "Mismatch", "Plant", "PlantSpec", "make_plant"]


def make_plant(
    spec: PlantSpec, mismatch: Mismatch | None = None, compiled: bool = False, clock: Clock | None = None
) -> Plant:
    """Make a plant.

    Args:
        spec: the nominal plant.
        mismatch: what the real one does otherwise; None is the nominal plant.
        compiled: of CartPole, take the Numba twin where the mismatch is in its parameters alone. Its single steps are
            Gymnasium's to float64 rounding. Gymnasium's others are its own; `description` says which. Simulated
            plants are always compiled.
        clock: ends every step at its deadline; None: as fast as it goes, or by a clock of the plant's own where it is
            real.

    Raises:
        PlantError: the plant cannot be made so; the message names the key and what is allowed.
    """
    mismatch = mismatch or Mismatch()
    if compiled and clock is None and spec.id in EPISODE_STEPS and not mismatch.changed():
        from subsong_sim.plants.cartpole import NumbaCartPole

        return NumbaCartPole(spec, mismatch.parameters)

    from subsong_sim.plants.mismatch import with_mismatch

    plant = _bare(spec, mismatch, clock)
    try:
        made = with_mismatch(plant, mismatch, plant.discrete_actions)
    except PlantError:
        plant.close()
        raise
    return made if clock is None or clock_of(plant) else PacedPlant(made, clock)


def _bare(spec: PlantSpec, mismatch: Mismatch, clock: Clock | None) -> Any:
    """Make a plant as its kind has it, with the mismatch's parameters and none of its effects."""
    match spec.kind:
        case "gymnasium":
            from subsong_sim.plants.gym import GymPlant

            return GymPlant(spec, mismatch.parameters)
        case "simulated":
            from subsong_sim.plants.simulated import SimulatedPlant

            return SimulatedPlant(spec, mismatch.parameters)
        case "tclab":
            from subsong_sim.plants.thermal_lab import make_lab

            return make_lab(spec, mismatch.parameters, mismatch.port, clock)
        case "host_load":
            from subsong_sim.plants.host_load import HostLoad

            return HostLoad(spec, clock or Clock(spec.period_ms))
        case _:
            raise PlantError(f"plant.kind: the task {spec.name!r} runs on the board, with no plant in the loop")
