"""The root of Subsong's exceptions and the two that the simulator raises; `subsong.errors` draws the whole tree."""


class SubsongError(Exception):
    """Anything a user can cause or mend. The message says what is wrong, where, and what to do."""


class PlantError(SubsongError):
    """A plant cannot be made as the experiment asks, or broke its contract while running."""


class EngineError(SubsongError):
    """A kernel engine cannot run this learner."""
