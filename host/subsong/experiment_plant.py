"""The table of the experiment file for a plant that hangs on the board's own pins: what its guard is told."""

from typing import Annotated, Literal

from pydantic import Field, PlainSerializer

from subsong.experiment_keys import ARRAY, Table, other, real, whole
from subsong_device.plant_check import MAX_MS, MIN_WATCHDOG_MS

_Word = Annotated[int, Field(ge=-32768, le=32767)]
_Words = Annotated[tuple[_Word, _Word], ARRAY]
_Slew = Annotated[int, Field(ge=1, le=65535)]
_WHOLE = (-32768, 32767)


def _plain(value: float) -> int | float:
    """Write a whole number without a point, as it was when there were no others: its experiment keeps its digest."""
    return int(value) if value.is_integer() else value


_Period = Annotated[float, PlainSerializer(_plain)]


class BoardPlant(Table):
    """The board's own plant.py. Ranges are in words, int16, as sense() and actuate() have them."""

    kind: Literal["board"] = Field(description="plant.py on the board drives the board's own pins")
    cost_lsb: float = real("physical cost of one count of cost()", 1.0, "above 0", gt=0.0)
    period_ms: _Period = real(
        "from one step to the next, milliseconds; 0: as fast as it goes",
        0.0,
        f"0 to {MAX_MS}, to the microsecond",
        ge=0,
        le=MAX_MS,
    )
    step_limit_ms: int = whole(1, MAX_MS, "a step that takes longer makes the outputs safe, and ends the run", 100)
    reset_limit_ms: int = whole(1, MAX_MS, "the same for reset()", 5000)
    stuck_steps: int = whole(0, 65535, "so many steps a sensor word may stay exactly what it is; 0: for ever", 0)
    sensor_range: Annotated[tuple[_Words, ...], ARRAY] | None = other(
        "an array of [low, high], whole numbers of int16, one a sensor",
        "words beyond it make the outputs safe, and end the run; none: no word is",
        None,
    )
    actuator_range: Annotated[tuple[_Words, ...], ARRAY] | None = other(
        "an array of [low, high], whole numbers of int16, one an actuator", "words are held within it", None
    )
    actuator_slew: Annotated[tuple[_Slew, ...], ARRAY] | None = other(
        "an array of whole numbers, 1 to 65535, one an actuator", "a word moves by so much in a step, at most", None
    )
    actuator_safe: Annotated[tuple[_Word, ...], ARRAY] | None = other(
        "an array of whole numbers of int16, one an actuator",
        "words for what reset() and safe() put out, where slew begins; none: 0, or what is nearest in range",
        None,
    )
    authority: float = real(
        "share of the way from its safe word to its limits that a word may go: little, for a first run",
        1.0,
        "above 0, up to 1",
        gt=0.0,
        le=1.0,
    )
    watchdog_ms: int = whole(
        0,
        MAX_MS,
        f"the board restarts where its firmware hangs for so long; 0: never; else {MIN_WATCHDOG_MS} or more",
        0,
    )

    @property
    def title(self) -> str:
        """What the plant is called."""
        return "plant.py on the board" + (f", at {self.authority:g} of its authority" if self.authority < 1.0 else "")

    def sensors(self, n: int) -> tuple[tuple[int, int], ...]:
        """Return the lowest and the highest word of each of n sensors."""
        return self.sensor_range or (_WHOLE,) * n

    def actuators(self, n: int) -> list[tuple[int, int, int, int]]:
        """Return the lowest and the highest word, as authority leaves them, slew limit and safe word of n actuators."""
        ranges = self.actuator_range or (_WHOLE,) * n
        slews = self.actuator_slew or (65535,) * n
        safe = self.actuator_safe or tuple(min(max(0, low), high) for low, high in ranges)
        part = self.authority
        return [
            (word - int(part * (word - low)), word + int(part * (high - word)), slew, word)
            for (low, high), slew, word in zip(ranges, slews, safe, strict=True)
        ]
