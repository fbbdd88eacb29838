"""Labs to be driven: tclab's model, told the time by steps and deterministic, and tclab's driver of a real one."""

import contextlib
import io
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Protocol

from subsong_sim.errors import PlantError
from subsong_sim.plants.clock import Clock
from subsong_sim.plants.mismatch import stream
from subsong_sim.plants.spec import Parameter

OFF = 0.0  # percent
_NOISE = 0.043  # K, tclab's own


class Lab(Protocol):
    """Heaters and thermometers, real or not.

    Attributes:
        clock: ends the steps of a real one.
    """

    clock: Clock | None

    def reset(self, seed: int) -> None:
        """Switch the heaters off, and begin an episode."""
        ...

    def heat(self, powers: Sequence[float]) -> None:
        """Set each heater's power, percent."""
        ...

    def advance(self) -> None:
        """Let a step's time pass."""
        ...

    def measure(self) -> list[float]:
        """Return both temperatures, degrees Celsius."""
        ...

    def close(self) -> None:
        """Switch the heaters off, and let go."""
        ...


class ModelLab:
    """A TCLabModel whose time is told in steps.

    Args:
        step_s: seconds of a step.
        parameters: those that are not tclab's own: P1, P2, Ta.
    """

    clock: Clock | None = None

    def __init__(self, step_s: float, parameters: Mapping[str, Parameter]) -> None:
        self._step_s, self._parameters = step_s, parameters
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Begin at the ambient temperature, heaters off, the noise rewound."""
        with contextlib.redirect_stdout(io.StringIO()):  # it prints its name
            self._model = _model_class()(synced=False)
        model = self._model
        model.noise = stream("thermometers", seed)
        for name, value in self._parameters.items():
            setattr(model, name, value)
        model.tlast = self._seconds = 0.0
        model._T1 = model._T2 = model._H1 = model._H2 = model.Ta  # noqa: SLF001 - tclab's begin at its default

    def heat(self, powers: Sequence[float]) -> None:
        """Set each heater's power, percent."""
        for heater, power in zip((self._model.Q1, self._model.Q2), powers, strict=False):
            heater(power)

    def advance(self) -> None:
        """Integrate over a step."""
        self._seconds += self._step_s
        self._model.update(self._seconds)

    def measure(self) -> list[float]:
        """Return both temperatures, degrees Celsius."""
        return [self._model.T1, self._model.T2]

    def close(self) -> None:
        """Do nothing."""


class RealLab:
    """A lab on a serial port.

    Args:
        port: its name; no other is looked at, since a learner's board may hang on another one.
        clock: ends the steps.
        connect: opens the lab; tclab's own.

    Raises:
        PlantError: there is none, or it does not answer; here, and from every method.
    """

    def __init__(self, port: str, clock: Clock, connect: Any = None) -> None:
        self.clock: Clock | None = clock
        self._wait, self._start = clock.wait, clock.start
        self._port = port
        self._lab: Any = None
        self._lab = self._asked(lambda: (connect or _package().TCLab)(port))

    def reset(self, seed: int) -> None:
        """Switch the heaters off, and begin an episode of the clock."""
        del seed
        self.heat([OFF] * 2)
        self._start()

    def heat(self, powers: Sequence[float]) -> None:
        """Set each heater's power, percent."""
        for heater, power in zip((self._lab.Q1, self._lab.Q2), powers, strict=False):
            self._asked(lambda heater=heater, power=power: heater(power))

    def advance(self) -> None:
        """Wait until the step ends."""
        self._wait()

    def measure(self) -> list[float]:
        """Return both temperatures, degrees Celsius."""
        return [self._asked(lambda: self._lab.T1), self._asked(lambda: self._lab.T2)]

    def close(self) -> None:
        """Switch the heaters off, and let go of the port."""
        if self._lab is not None:
            try:
                self._asked(self._lab.close)
            finally:
                self._lab = None

    def _asked(self, ask: Any) -> Any:
        """Ask the lab, which prints what its users like to read and raises whatever its port does."""
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                return ask()
        except PlantError:
            raise
        except Exception as error:
            opened = self._lab is not None
            raise PlantError(
                f"plant.port: the TCLab at {self._port} {'stopped answering' if opened else 'cannot be opened'}: "
                f"{type(error).__name__}: {error}. "
                + ("Its heaters may be on: unplug its power" if opened else "Is it plugged in, and nobody else's?")
            ) from error


def _package() -> Any:
    try:
        import tclab
    except ImportError as error:
        raise PlantError(
            "plant.kind: \"tclab\" needs tclab, which is not installed; pip install 'subsong[tclab]'"
        ) from error
    return tclab


@cache
def _model_class() -> Any:
    """Return tclab's model with a noise of its own: tclab's is the whole program's."""

    class Model(_package().TCLabModel):  # type: ignore[misc]
        noise: Any

        def measurement(self, temperature: float) -> Any:
            return self.quantize(temperature + self.noise.gauss(0.0, _NOISE))

    return Model
