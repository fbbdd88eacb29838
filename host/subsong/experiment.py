"""The experiment file: what is learned, by which rule, on which plant, for how long.

One TOML file serves the simulator, the emulated boards and real hardware, unchanged. It is validated whole: every
error at once, each with its key and what is allowed there. `Experiment.digest` names the experiment.

Nothing here builds a plant or a learner: the file is data, and `subsong_sim.plants.spec` is imported only to hand
that data over.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    Field,
    ModelWrapValidatorHandler,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from subsong.errors import ExperimentError
from subsong.experiment_check import Good, Problem, cross_checks, describe
from subsong.experiment_keys import ARRAY, Table, other, real, whole
from subsong.experiment_loop import LoopPlant
from subsong.experiment_plant import BoardPlant
from subsong.experiment_tasks import Task, TaskPlant
from subsong.experiment_text import parse_toml, read_text, to_toml
from subsong.rules import BY_NAME, OPTIONS, RATE_KEYS
from subsong_device.frames import RULES

if TYPE_CHECKING:
    from subsong_sim.plants.spec import Mismatch, PlantSpec


def _option(key: str) -> Any:
    """Declare a key that only some rules have (subsong.rules)."""
    option, rules = OPTIONS[key]
    why = f"{option.why} ({', '.join(rules)})"
    if option.choices:
        return Field(option.choices[option.default - option.low], description=why)
    return whole(option.low, option.high, why, option.default)


_Width = Annotated[int, Field(ge=1, le=4095)]
_Activation = Literal["identity", "hard_tanh", "tanh", "logistic", "integrate_fire"]


class Network(Table):
    """Shape and word format of the network that is learned. Weights are int16."""

    layers: Annotated[tuple[_Width, ...], ARRAY] = other(
        "an array of 2 or more whole numbers, 1 to 4095", "inputs, hidden layers, outputs", min_length=2
    )
    activations: Annotated[tuple[_Activation, ...], ARRAY] = other(
        '"identity", "hard_tanh", "tanh", "logistic"; of some rules "integrate_fire"', "one a layer after the input"
    )
    recurrent: Annotated[tuple[bool, ...], ARRAY] = other(
        "true or false, one a layer after the input; none: no layer is",
        "whether a layer's own outputs of the step before are further inputs of it",
        (),
    )
    bias: Annotated[tuple[bool, ...], ARRAY] = other(
        "true or false, one a layer after the input; none: every layer has one",
        "whether a layer's units have a bias, a weight of the input 1.0",
        (),
    )
    weight_frac: int = whole(8, 14, "1 LSB of a weight = 2**-weight_frac", 11)
    init: float = real("initial weights are uniform in +-init", 0.0, "0 or more", ge=0.0)


class Learner(Table):
    """The learning rule and its scales."""

    rule: Literal[*RULES] = Field(description="what learns; docs/rules.md has them all")  # type: ignore[valid-type]
    estimator: Literal[
        "running_baseline", "unperturbed_trial", "two_sided", "each_step", "best_so_far", "perturbed_pair"
    ] = Field(
        "two_sided", description="what the cost is measured against; a rule that knows no two_sided has its own default"
    )
    amplitude: float | None = real(
        "perturbation of a weight, or of a unit's drive, real units", None, "above 0", gt=0.0
    )
    rate: int = whole(1, 16383, "eta = rate * 2**-rate_shift, weight LSBs a cost count")
    rate_shift: int = whole(0, 29, "eta = rate * 2**-rate_shift")
    baseline_shift: int = whole(1, 15, "running baseline: b += (C - b) * 2**-baseline_shift", 3)
    rounding: Literal["stochastic", "nearest"] = Field(
        "stochastic", description='how an update is rounded to int16; "nearest" is a control'
    )
    spread_shift: int = whole(
        0,
        15,
        "the cost difference is divided by its running spread, s += (|C - b| - s) * 2**-spread_shift; 0: it is not",
        0,
    )
    anneal: bool = other(
        "true or false; true needs spread_shift above 0", "the rate falls to 1/16 over the run's trials", False
    )
    trace_shift: int = _option("trace_shift")
    code: Literal[*OPTIONS["code"][0].choices] = _option("code")  # type: ignore[valid-type]
    tau: int = _option("tau")
    momentum_shift: int = _option("momentum_shift")
    leak_shift: int = _option("leak_shift")
    synapse_shift: int = _option("synapse_shift")
    spike_shift: int = _option("spike_shift")
    refractory: int = _option("refractory")
    tick_shift: int = _option("tick_shift")
    lman_shift: int = _option("lman_shift")
    threshold: int = _option("threshold")
    strength: int = _option("strength")
    peak_shift: int = _option("peak_shift")
    filter_shift: int = _option("filter_shift")

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, data: Any) -> Any:
        """Give a rule its own default estimator, and one without a rate a rate that nobody reads."""
        rule = BY_NAME.get(data["rule"]) if isinstance(data, Mapping) and isinstance(data.get("rule"), str) else None
        if rule is None:
            return data
        unread = {} if rule.rated else {"rate": 1, "rate_shift": 0}
        return {"estimator": rule.estimators[0], **unread, **data}

    @model_serializer(mode="wrap")
    def _without_others(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what other rules have and this one has not."""
        rule = BY_NAME[self.rule]
        others = OPTIONS.keys() - dict(rule.options).keys() | (set() if rule.rated else RATE_KEYS)
        return {key: value for key, value in handler(self).items() if key not in others}


class Run(Table):
    """How long, and when to look."""

    trials: int = whole(1, 10_000_000, "learning trials, at most (one perturbed measurement each)")
    steps: int = whole(1, 16384, "steps a trial, at most")
    evaluate_every: int = whole(0, 10_000_000, "learning trials between evaluations; 0: only at the end", 0)
    evaluate_episodes: int = whole(1, 10_000, "unperturbed episodes an evaluation", 10)
    evaluate_steps: int = whole(
        0, 16384, "steps of an evaluation on the board or of a task; 0: as many as a trial's", 0
    )
    stop_cost: float | None = real("stop when an evaluation's mean physical cost is at most this", None)
    checkpoint_every: int = whole(
        0, 10_000_000, "learning trials between checkpoints on the board's flash; 0: none. A pair is kept whole", 0
    )
    period_ms: int = whole(
        0, 60_000, "from one step of a plant in the loop to the next, milliseconds; 0: as fast as it goes", 0
    )
    deadman_ms: int = whole(20, 600_000, "silence after which the board leaves the link, milliseconds", 2000)


# Tables and keys that the first format did not have.
LATER = (
    ("network", "recurrent"),
    ("network", "bias"),
    ("plant", "hold"),
    ("run", "evaluate_steps"),
    ("run", "checkpoint_every"),
    ("run", "period_ms"),
    ("plant", "hold"),
    ("plant", "authority"),
    *(("learner", key) for key in (*OPTIONS, "spread_shift", "anneal")),
)


class Experiment(Table):
    """One validated experiment. Made by `load_experiment` or `parse_experiment`."""

    seed: int = whole(0, 2**32 - 1, "every random draw is a function of it", 1)
    network: Network
    learner: Learner
    plant: LoopPlant | BoardPlant | Annotated[Task, Field(discriminator="name")] = Field(discriminator="kind")
    run: Run

    @model_validator(mode="wrap")
    @classmethod
    def _whole_file(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Add the rules between keys to what pydantic finds, so that every error comes at once."""
        if isinstance(data, cls):
            return data
        experiment, problems = None, []
        try:
            experiment = handler(data)
        except ValidationError as error:
            found = (describe(each, cls, data) for each in error.errors(include_url=False))
            # A value that fits none of several types fails once for each; say it once.
            problems = list(dict.fromkeys(problem for problem in found if problem))
        if isinstance(data, Mapping):
            problems += cross_checks(Good(data, problems, cls))
        if experiment is None or problems:
            raise ValidationError.from_exception_data(cls.__name__, [_as_detail(problem) for problem in problems])
        return experiment

    def canonical(self) -> str:
        """Return the experiment as JSON: sorted keys, defaults filled in, optional keys left out where not set.

        Keys that came later (LATER) are left out at their defaults, too: what cannot say them keeps its digest.
        """
        tables = _normal(self.model_dump(exclude_none=True))
        for name, key in LATER:
            table = getattr(self, name)
            if key in tables[name] and getattr(table, key) == type(table).model_fields[key].default:
                del tables[name][key]
        return json.dumps(tables, sort_keys=True, separators=(",", ":"))

    @property
    def digest(self) -> str:
        """The SHA-256 of `canonical()`, hexadecimal: comments, key order and spelt-out defaults do not change it."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()

    def to_toml(self) -> str:
        """Return TOML that parses to an equal experiment, every default spelt out."""
        return to_toml(_normal(self.model_dump(exclude_none=True)))

    def with_seed(self, seed: int) -> "Experiment":
        """Return the same experiment under another seed.

        Raises:
            ExperimentError: the seed is outside 0..2**32-1.
        """
        return from_tables({**self.model_dump(exclude_none=True), "seed": seed}, "")

    def with_authority(self, authority: float) -> "Experiment":
        """Return the same experiment with another plant.authority.

        Raises:
            ExperimentError: it is out of range, or the plant is not the board's own.
        """
        if not isinstance(self.plant, BoardPlant):
            raise ExperimentError('plant.authority: only the board\'s own plant has one (plant.kind = "board")')
        tables = self.model_dump(exclude_none=True)
        tables["plant"]["authority"] = authority
        return from_tables(tables, "")

    def steps(self, evaluate: bool) -> int:
        """Return the steps of a trial, at most, or of an evaluation."""
        return (evaluate and self.run.evaluate_steps) or self.run.steps

    def plant_spec(self) -> "PlantSpec":
        """Return the nominal plant as the simulator's dataclass."""
        from subsong_sim.plants.spec import PlantSpec

        assert not isinstance(self.plant, BoardPlant), "it has no model"
        if isinstance(self.plant, TaskPlant):
            return PlantSpec(kind="task", name=self.plant.name)
        return PlantSpec(**self.plant.model_dump(exclude={"mismatch", "port"}))

    def mismatch(self) -> "Mismatch | None":
        """Return what the real plant does otherwise, or None where the file declares no other than the nominal one."""
        from subsong_sim.plants.spec import Mismatch

        table, port = getattr(self.plant, "mismatch", None), getattr(self.plant, "port", "")
        if table is None and not port:
            return None
        return Mismatch(port=port, **({} if table is None else table.model_dump()))

    def real(self, mismatch: bool) -> bool:
        """Return whether the plant is a physical one; with `mismatch`, the one that `run` drives."""
        return self.plant.kind in ("board", "host_load") or (mismatch and bool(getattr(self.plant, "port", "")))


def load_experiment(path: str | Path) -> Experiment:
    """Read and validate an experiment file.

    Raises:
        ExperimentError: the file cannot be read or is wrong; one line for each error.
    """
    return parse_experiment(read_text(Path(path)), str(path))


def parse_experiment(text: str, where: str) -> Experiment:
    """Parse and validate an experiment.

    Args:
        text: TOML.
        where: what to call it in messages: a file's name, or the log that it comes from.

    Raises:
        ExperimentError: one line for each error, `where: key.path: what is wrong (allowed: ...)`.
    """
    return from_tables(parse_toml(text, where), where)


def from_tables(tables: Mapping[str, Any], where: str) -> Experiment:
    """Validate an experiment that is parsed already; `where` and errors as in `parse_experiment`."""
    try:
        return Experiment.model_validate(tables)
    except ValidationError as error:
        problems = [Problem(**each["ctx"]) for each in error.errors(include_url=False)]
        raise ExperimentError("\n".join(problem.line(where) for problem in problems)) from None


def _as_detail(problem: Problem) -> InitErrorDetails:
    return InitErrorDetails(
        type=PydanticCustomError("subsong", "{what} (allowed: {allowed})", problem._asdict()),
        loc=problem.path,
        input=None,
    )


def _normal(value: Any) -> Any:
    """Make -0.0 and 0.0 one, so that equal experiments have equal digests."""
    match value:
        case float():
            return value + 0.0
        case Mapping():
            return {key: _normal(item) for key, item in value.items()}
        case list() | tuple():
            return [_normal(item) for item in value]
        case _:
            return value
