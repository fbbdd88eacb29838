"""The tables of the experiment file for plants in the loop, which the host plays."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from subsong.experiment_keys import ARRAY, Table, other, real, whole

Range = Annotated[tuple[float, float], ARRAY]
_Attribute = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=64)]
# An int stays an int: some attributes are counts. Beyond 2**53 it would be no float64.
Parameters = dict[
    _Attribute, Annotated[int, Field(ge=-(2**53), le=2**53)] | float | Annotated[str, Field(max_length=256)]
]


class MismatchTable(Table):
    """What the real plant does and the nominal one does not: for `run`, and for `sim --mismatch`.

    Every default is neutral. Fractions are of a channel's half range.
    """

    parameters: Parameters = other(
        "a table of finite numbers and texts", "attributes of the environment, in place of the nominal ones", {}
    )
    actuator_lag: float = real("share of the last actuation that remains; Box actions", 0.0, "0 to below 1", ge=0, lt=1)
    actuator_delay: int = whole(0, 1000, "steps by which every action comes late", 0)
    actuator_dropout: float = real("probability that a step repeats the last action", 0.0, "0 to 1", ge=0, le=1)
    actuator_gain: float = real("factor on the action; Box actions", 1.0, "-10 to 10", ge=-10, le=10)
    actuator_offset: float = real("fraction added to the action; Box actions", 0.0, "-1 to 1", ge=-1, le=1)
    actuator_deadband: float = real("fraction within which commands do nothing; Box actions", 0.0, "0 to 1", ge=0, le=1)
    actuator_backlash: float = real("fraction between the gear's two ends; Box actions", 0.0, "0 to 2", ge=0, le=2)
    sensor_delay: int = whole(0, 1000, "steps by which every sensor word comes late", 0)
    sensor_noise: float = real("standard deviation, a fraction", 0.0, "0 to 1", ge=0, le=1)
    sensor_bits: int = whole(1, 16, "quantisation: bits over the range", 16)


class GymnasiumPlant(Table):
    """A Gymnasium environment: numbers and choices in, numbers or choices out; cost = -reward."""

    kind: Literal["gymnasium"]
    id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:/-]+$", max_length=128)] = other(
        "a Gymnasium id such as CartPole-v1", "the environment's id"
    )
    parameters: Parameters = other("a table of finite numbers and texts", "attributes set on the environment", {})
    sensor_range: Annotated[tuple[Range, ...], ARRAY] | None = other(
        "an array of [low, high], one a sensor",
        "physical range of the word range +-32767; optional where bounded",
        None,
    )
    actuator_range: Annotated[tuple[Range, ...], ARRAY] | None = other(
        "an array of [low, high], one an actuator", "the same for Box actions", None
    )
    cost_lsb: float = real("physical cost of one count", 1.0, "above 0", gt=0.0)
    mismatch: MismatchTable | None = Field(None, description="what the real plant does otherwise")

    @property
    def title(self) -> str:
        """What the plant is called."""
        return self.id


class SimulatedPlant(Table):
    """A plant by its equations, in its own units and at its own period; docs/plants.md has them all."""

    kind: Literal["simulated"] = Field(description="a plant by its equations")
    name: Literal["pendulum", "cartpole_swingup", "furuta", "dc_motor", "rc", "heater", "lqr"] = Field(
        description="which one"
    )
    parameters: Parameters = other("a table of numbers", "what is not the plant's own default", {})
    sensor_range: Annotated[tuple[Range, ...], ARRAY] | None = other(
        "an array of [low, high], one a sensor", "physical range of the word range +-32767; none: the plant's own", None
    )
    actuator_range: Annotated[tuple[Range, ...], ARRAY] | None = other(
        "an array of [low, high], one an actuator", "the same, within the plant's own", None
    )
    cost_lsb: float = real("physical cost of one count; none: the plant's own", None, "above 0", gt=0.0)
    mismatch: MismatchTable | None = Field(None, description="what the real plant does otherwise")

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, data: Any) -> Any:
        """Give a plant its own cost_lsb, so that the experiment says what its costs were."""
        from subsong_sim.plants.models import NAMES, model

        known = isinstance(data, Mapping) and data.get("name") in NAMES
        return {"cost_lsb": model(data["name"]).COST_LSB, **data} if known else data

    @property
    def title(self) -> str:
        """What the plant is called."""
        return self.name


_Targets = Annotated[tuple[Range, ...], ARRAY]
_PAIRS = "an array of [low, high]"


class TclabPlant(Table):
    """The Temperature Control Lab: heaters, thermometers, set points; tclab's model of it, or a lab on a port."""

    kind: Literal["tclab"] = Field(description="heaters and thermometers: tclab's model, or a lab")
    port: Annotated[str, StringConstraints(max_length=256)] = other(
        "a text", "serial port of a lab, for `run` and `sim --mismatch`; none: they have the model, too", ""
    )
    period_ms: int = whole(1, 60_000, "from one step to the next, simulated or a lab's own, milliseconds", 1000)
    target_range: _Targets = other(
        f"{_PAIRS}, one or two, degrees Celsius",
        "set points: each episode has its own; two for two heaters",
        ((30.0, 50.0), (25.0, 40.0)),
        min_length=1,
        max_length=2,
    )
    parameters: Parameters = other("a table of numbers: P1, P2, Ta", "what is not tclab's own in its model", {})
    sensor_range: Annotated[tuple[Range, ...], ARRAY] | None = other(
        f"{_PAIRS}, one a sensor: temperatures, then set points", "of the word range +-32767; none: 0 to 100", None
    )
    actuator_range: Annotated[tuple[Range, ...], ARRAY] | None = other(
        f"{_PAIRS}, one a heater, percent", "power of the word range +-32767; none: 0 to 100", None
    )
    cost_lsb: float = real("physical cost of one count, K^2", 0.01, "above 0", gt=0.0)
    mismatch: MismatchTable | None = Field(None, description="what the real plant does otherwise")

    @property
    def title(self) -> str:
        """What the plant is called."""
        return "tclab"


class HostLoadPlant(Table):
    """This computer: the duty of a busy loop, and the throughput that comes of it."""

    kind: Literal["host_load"] = Field(description="this computer itself: busy-loop duty in, throughput out")
    period_ms: int = whole(1, 10_000, "from one step to the next, milliseconds", 20)
    target_range: _Targets = other(
        f"{_PAIRS}, one, shares of the idle machine's throughput",
        "set point: each episode has its own",
        ((0.2, 0.8),),
        min_length=1,
        max_length=1,
    )
    cost_lsb: float = real("physical cost of one count, a squared share", 1e-5, "above 0", gt=0.0)

    @property
    def title(self) -> str:
        """What the plant is called."""
        return "host_load"


LoopPlant = GymnasiumPlant | SimulatedPlant | TclabPlant | HostLoadPlant
