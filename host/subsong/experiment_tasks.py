"""The tasks that the board sets itself, as tables of the experiment file. One class a task, its keys with defaults."""

from collections.abc import Callable
from typing import Any, ClassVar, Literal, NamedTuple, get_args

from pydantic import Field

from subsong.experiment_keys import Table, real, whole
from subsong.song import MUSCLES, SENSORS
from subsong_device.layout import LETTERS_IMAGES

# Beyond this a block is a typing error, not a task.
MAX_TASK_WORDS = 1 << 20


class Ends(NamedTuple):
    """Which sensors and actuators a task takes.

    Attributes:
        sensors, actuators: fewest and most.
        alike: there are as many of both.
    """

    sensors: tuple[int, int]
    actuators: tuple[int, int]
    alike: bool = False

    def fit(self, n_sensors: int, n_actuators: int) -> bool:
        """Return whether a network with these ends can do the task."""
        within = (low <= n <= high for n, (low, high) in zip((n_sensors, n_actuators), self[:2], strict=True))
        return all(within) and not (self.alike and n_sensors != n_actuators)

    def __str__(self) -> str:
        first, last = (f"{low} to {high}" if low != high else f"{low}" for low, high in self[:2])
        return f"{first} first, {'as many' if self.alike else last} last"


_ANY = 1, 504


class TaskPlant(Table):
    """A task in integers that runs wholly on the board."""

    kind: Literal["task"] = Field(description="runs wholly on the board, in integers")
    name: str = Field(description="the task")
    ends: ClassVar[Ends]
    # No two episodes need be alike: an evaluation takes run.evaluate_episodes of them.
    varied: ClassVar[bool] = False
    # Its cost is the mean of the outputs, too.
    per_output: ClassVar[bool] = True

    @property
    def title(self) -> str:
        """What the task is called."""
        return f"task {self.name}"

    @staticmethod
    def problems(_good: Callable[[str], Any], /) -> list[tuple[str, str, str]]:
        """Return what is wrong between this task's keys and others: key, what, what is allowed.

        Args:
            _good: looks the file's values up, as subsong.experiment_check does.
        """
        return []

    @property
    def count(self) -> float:
        """What a count stands for: of the squared error, 2**-24."""
        return 2.0**-24

    def cost(self, total: int, steps: int, outputs: int) -> float:
        """Return what a trial's total stands for, the mean of the steps."""
        return total * self.count / (steps * (outputs if self.per_output else 1))


def coarser(steps: int) -> int:
    """Return by how many bits errors are shifted beside their format, so that totals of all steps stay below 2**28."""
    return max(0, ((steps - 1).bit_length() - 3) // 2)


def _cost_shift(default: int) -> Any:
    why = "a count is 2**(cost_shift - 24) of the squared error; a trial's total is kept below 2**28 counts"
    return whole(0, 16, why, default)


def _linear(good: Callable[[str], Any], task: str) -> list[tuple[str, str, str]]:
    last = (good("network.activations") or ["identity"])[-1]
    if last == "identity":
        return []
    return [("network.activations", f'{task} has no room for "{last}" last', '"identity"')]


class XorPlant(TaskPlant):
    """Exclusive-or: four patterns of two inputs."""

    name: Literal["xor"] = Field(description="exclusive-or, all four patterns")
    hold: int = whole(1, 1024, "steps for which each pattern is shown: spiking units take their time", 1)

    ends: ClassVar[Ends] = Ends((2, 2), (1, 1))

    @property
    def count(self) -> float:
        """What a count stands for, of the squared error: held patterns need coarser counts to fit a total."""
        return 2.0 ** (2 * coarser(4 * self.hold) - 24)


class ParityPlant(TaskPlant):
    """Parity: whether an odd number of the network's inputs are 1; all patterns, in the order of their numbers."""

    name: Literal["parity"] = Field(description="whether an odd number of inputs are 1, all patterns")

    ends: ClassVar[Ends] = Ends((2, 10), (1, 1))

    def cost(self, total: int, steps: int, outputs: int) -> float:
        """Return the mean squared error: of a table of more than 16 patterns, coarser counts hold a trial's total."""
        return super().cost(total << 2 * coarser(steps), steps, outputs)


class LinearTeacherPlant(TaskPlant):
    """A linear teacher: random inputs, the outputs of a fixed layer as targets; cost: half the squared error."""

    name: Literal["linear_teacher"] = Field(
        description="random inputs, a fixed layer's outputs as targets; cost: half the squared error"
    )
    inputs: Literal["coins", "signs"] = Field("coins", description="nearly Gaussian, sums of 64 coins; or random signs")
    deviation: float = real(
        "standard deviation of an input, a part of its range", 0.25, "0.0005 to 1", ge=0.0005, le=1.0
    )
    teacher: float = real("standard deviation of the teacher's weights", 1.0, "0 to 16", ge=0.0, le=16.0)
    noise: float = real("standard deviation of the measurement noise on every cost", 0.0, "0 to 4", ge=0.0, le=4.0)
    cost_shift: int = whole(0, 16, "a count is 2**(cost_shift - 25) of the cost, which is kept below 2**28 counts", 0)
    varied: ClassVar[bool] = True
    per_output: ClassVar[bool] = False
    ends: ClassVar[Ends] = Ends(_ANY, _ANY)

    @staticmethod
    def problems(good: Callable[[str], Any], /) -> list[tuple[str, str, str]]:
        """Say where outputs are no linear function."""
        return _linear(good, "linear_teacher")

    @property
    def count(self) -> float:
        """What a count stands for, of half the squared error."""
        return 2.0 ** (self.cost_shift - 25)


class LettersPlant(TaskPlant):
    """Our surrogate of a published set: N, I, S, T in 7 x 7 pixels, at 9 places, with up to 2 pixels flipped."""

    name: Literal["letters"] = Field(description="N, I, S, T in 7 x 7 pixels, up to two of them flipped")
    stride: int = whole(1, LETTERS_IMAGES - 1, f"from image to image, modulo {LETTERS_IMAGES}", 27277)
    cost_shift: int = _cost_shift(4)
    varied: ClassVar[bool] = True
    ends: ClassVar[Ends] = Ends((49, 49), (4, 4))

    @staticmethod
    def problems(good: Callable[[str], Any], /) -> list[tuple[str, str, str]]:
        """Say where the stride would leave images out."""
        stride = good("plant.stride")
        if stride is None or all(stride % prime for prime in (2, 3, 613)):
            return []
        return [("plant.stride", f"{stride} leaves images out", "no multiple of 2, 3 or 613")]

    @property
    def count(self) -> float:
        """What a count stands for, of the squared error."""
        return 2.0 ** (self.cost_shift - 24)


class ExtendedPlant(TaskPlant):
    """A linear task that extends in time; cost: half the squared error, the mean of the steps."""

    name: Literal["extended"] = Field(
        description="linear, the same inputs and targets in every trial; cost: half the squared error"
    )
    latent: int | None = whole(
        1, 504, "dimensions that the inputs span; none: as many as there are inputs, or steps less 2", None
    )
    deviation: float = real(
        "root mean square of an input, a part of its range", 0.125, "0.0005 to 0.5", ge=0.0005, le=0.5
    )
    realisable: float = real("cost that the best weights remove, from 0", 1.0, "0 to 64", ge=0.0, le=64.0)
    unrealisable: float = real("cost that no weights remove", 0.0, "0 to 64", ge=0.0, le=64.0)
    cost_shift: int = whole(
        0, 16, "a count is 2**(cost_shift - 25) of a step's cost; a trial's is kept below 2**28 counts", 6
    )

    per_output: ClassVar[bool] = False
    ends: ClassVar[Ends] = Ends(_ANY, _ANY)

    @staticmethod
    def problems(good: Callable[[str], Any], /) -> list[tuple[str, str, str]]:
        """Say where there is no room for the latent dimensions, or for what no weights remove."""
        layers, steps, latent = good("network.layers"), good("run.steps"), good("plant.latent")
        found = _linear(good, "extended")
        if steps is not None and steps < 3:
            found.append(("run.steps", f"{steps} steps span no inputs of zero mean", "3 or more"))
        elif layers and steps is not None:
            most = min(layers[0], steps - 1)
            if latent is not None and latent > most:
                found.append(("plant.latent", f"{layers[0]} inputs of {steps} steps", f"at most {most}"))
            words = steps * (layers[0] + layers[-1])
            if words > MAX_TASK_WORDS:
                found.append(("run.steps", f"make a table of {words} words", f"at most {MAX_TASK_WORDS}"))
            if good("plant.unrealisable") and (latent or 0) > steps - 2:
                found.append(("plant.unrealisable", "the inputs span all steps", "0, or fewer latent dimensions"))
        return found

    @property
    def count(self) -> float:
        """What a count stands for, of half the squared error."""
        return 2.0 ** (self.cost_shift - 25)


class LqrPlant(TaskPlant):
    """The linear-quadratic regulator: x' = A x + u + noise, cost q |x|**2 + |u|**2, the mean of the steps."""

    name: Literal["lqr"] = Field(description="the linear-quadratic regulator; cost: the mean of a step's")
    growth: float = real("A's diagonal less 1", 0.01, "-0.12 to 0.12", ge=-0.12, le=0.12)
    coupling: float = real("A beside the diagonal", 0.01, "-0.12 to 0.12", ge=-0.12, le=0.12)
    q: float = real("what the state costs", 0.001, "0 to 1", ge=0.0, le=1.0)
    noise: float = real("standard deviation of the noise", 1.0, "0 to 31", ge=0.0, le=31.0)
    start: float = real("standard deviation of the initial state", 0.0, "0 to 31", ge=0.0, le=31.0)
    varied: ClassVar[bool] = True
    per_output: ClassVar[bool] = False
    ends: ClassVar[Ends] = Ends((1, 8), (1, 8), alike=True)

    @property
    def count(self) -> float:
        """What a count stands for."""
        return 2.0**-16


class DelayedMatchPlant(TaskPlant):
    """Delayed match to sample: one input a cue; the output says whether the probe is the cue of some steps before."""

    name: Literal["delayed_match"] = Field(
        description="is the probe the cue of some steps before? cost: the mean squared error of the response"
    )
    cue_steps: int = whole(1, 1000, "steps that the cue is shown", 1)
    delay_steps: int = whole(0, 10000, "silent steps between cue and probe", 3)
    probe_steps: int = whole(1, 1000, "steps that the probe is shown", 2)
    response_steps: int = whole(1, 1000, "the last steps of the probe, in which the output is judged", 1)
    cost_shift: int = _cost_shift(2)
    varied: ClassVar[bool] = True
    ends: ClassVar[Ends] = Ends((2, 504), (1, 1))

    @staticmethod
    def problems(good: Callable[[str], Any], /) -> list[tuple[str, str, str]]:
        """Say where a trial holds no whole presentations, or a response is due before the probe."""
        parts = [good(f"plant.{part}_steps") for part in ("cue", "delay", "probe")]
        found = [] if None in parts else _presentations(good, sum(parts))
        response = good("plant.response_steps")
        if response and parts[2] and response > parts[2]:
            found.append(("plant.response_steps", f"{response} begin before the probe", f"1 to {parts[2]}"))
        return found

    @property
    def count(self) -> float:
        """What a count stands for, of the squared error."""
        return 2.0 ** (self.cost_shift - 24)

    def cost(self, total: int, steps: int, outputs: int) -> float:
        """Return the mean squared error of the response."""
        period = self.cue_steps + self.delay_steps + self.probe_steps
        return super().cost(total, steps // period * self.response_steps, outputs)


class SequencePlant(TaskPlant):
    """Choice-specific sequences: one input a choice; the outputs go through a sine wave each, in a phase of its own."""

    name: Literal["sequence"] = Field(
        description="a cue chooses the sequence to produce; cost: the mean squared error of its steps"
    )
    cue_steps: int = whole(1, 1000, "steps that the cue is shown", 1)
    length: int = whole(1, 10000, "steps of a sequence", 8)
    swing: float = real("amplitude of the waves", 0.8, "0 to 1", ge=0.0, le=1.0)
    cost_shift: int = _cost_shift(2)
    varied: ClassVar[bool] = True
    ends: ClassVar[Ends] = Ends((1, 504), _ANY)

    @staticmethod
    def problems(good: Callable[[str], Any], /) -> list[tuple[str, str, str]]:
        """Say where a trial holds no whole presentations, or the waves no room."""
        layers, cue_steps, length = good("network.layers"), good("plant.cue_steps"), good("plant.length")
        if cue_steps is None or length is None:
            return []
        found = _presentations(good, cue_steps + length)
        words = layers[0] * layers[-1] * length
        if words > MAX_TASK_WORDS:
            found.append(("plant.length", f"makes a table of {words} words", f"at most {MAX_TASK_WORDS}"))
        return found

    @property
    def count(self) -> float:
        """What a count stands for, of the squared error."""
        return 2.0 ** (self.cost_shift - 24)

    def cost(self, total: int, steps: int, outputs: int) -> float:
        """Return the mean squared error of the steps after the cue."""
        return super().cost(total, steps // (self.cue_steps + self.length) * self.length, outputs)


class SongPlant(TaskPlant):
    """A song: HVC bursts, motor words are heard through muscles, costs come late (subsong.song)."""

    name: Literal["song"] = Field(description="a song to sing: HVC plays the time, costs come eight steps late")
    ends: ClassVar[Ends] = Ends((SENSORS, SENSORS), (MUSCLES, MUSCLES))


def _presentations(good: Callable[[str], Any], period: int) -> list[tuple[str, str, str]]:
    steps = good("run.steps")
    if steps is None or steps % period == 0:
        return []
    return [("run.steps", f"{steps} are no whole presentations of {period} steps", f"multiples of {period}")]


Task = (
    XorPlant
    | ParityPlant
    | LinearTeacherPlant
    | LettersPlant
    | ExtendedPlant
    | LqrPlant
    | DelayedMatchPlant
    | SequencePlant
    | SongPlant
)
TASKS: dict[str, type[TaskPlant]] = {get_args(each.model_fields["name"].annotation)[0]: each for each in get_args(Task)}
