"""Plants in the loop: physical systems that the host plays, in words. See docs/plants.md.

Importing this package loads neither Gymnasium nor Numba; `make_plant` does, when it must.
"""

from subsong_sim.errors import PlantError
from subsong_sim.plants.base import Plant
from subsong_sim.plants.cartpole_parameters import EPISODE_STEPS
from subsong_sim.plants.spec import Mismatch, PlantSpec

__all__ = ["Mismatch", "Plant", "PlantSpec", "make_plant"]


def make_plant(spec: PlantSpec, mismatch: Mismatch | None = None, compiled: bool = False) -> Plant:
    """Make a plant.

    Args:
        spec: the nominal plant.
        mismatch: what the real one does otherwise; None is the nominal plant.
        compiled: of CartPole, take the Numba twin where the mismatch is in its parameters alone. Its single steps are
            Gymnasium's to float64 rounding. Gymnasium's others are its own; `description` says which. Simulated
            plants are always compiled.

    Raises:
        PlantError: the plant cannot be made so; the message names the key and what is allowed.
    """
    mismatch = mismatch or Mismatch()
    if spec.kind == "simulated":
        from subsong_sim.plants.mismatch import with_mismatch
        from subsong_sim.plants.simulated import SimulatedPlant

        return with_mismatch(SimulatedPlant(spec, mismatch.parameters), mismatch, discrete=False)
    if spec.kind != "gymnasium":
        raise PlantError(f"plant.kind: the task {spec.name!r} runs on the board, with no plant in the loop")
    if compiled and spec.id in EPISODE_STEPS and not mismatch.changed():
        from subsong_sim.plants.cartpole import NumbaCartPole

        return NumbaCartPole(spec, mismatch.parameters)

    from subsong_sim.plants.gym import GymPlant
    from subsong_sim.plants.mismatch import with_mismatch

    plant = GymPlant(spec, mismatch.parameters)
    try:
        return with_mismatch(plant, mismatch, plant.discrete_actions)
    except PlantError:
        plant.close()
        raise
