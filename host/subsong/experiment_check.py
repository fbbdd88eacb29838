"""What is wrong with an experiment, in words: pydantic's findings retold, and the rules that span several keys.

Every message is one line, `file: key.path: what is wrong (allowed: ...)`, and all of them come at once: a rule that
spans several keys is checked whenever the keys that it needs are good by themselves.
"""

import difflib
import math
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from subsong.experiment_tasks import TASKS
from subsong.rules import BY_NAME, DRIVE, DRIVE_FRAC, OPTIONS, RATE_KEYS, WEIGHT, Rule
from subsong_device.block import MOST_SIGN_WORDS
from subsong_device.plant_check import MIN_WATCHDOG_MS

Path = tuple[str | int, ...]

KINDS = ("gymnasium", "simulated", "tclab", "host_load", "task", "board")
NOT_IN_THE_LOOP = ("task", "board")
# One telemetry frame carries a step's sensor and actuator words: 14 + 2 * (sensors + actuators) bytes of 1024.
MAX_WORDS = 505
# Larger than any board's memory, and still a few megabytes on the host.
MAX_WEIGHTS = 1 << 20


class Problem(NamedTuple):
    """One error: where, what, and what is allowed there ("" where the message says it all)."""

    path: Path
    what: str
    allowed: str = ""

    def line(self, where: str) -> str:
        """Say it in one line."""
        key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.path).lstrip(".")
        allowed = f" (allowed: {self.allowed})" if self.allowed else ""
        return ": ".join(filter(None, (where, key, self.what))) + allowed


class Good:
    """The values that are good by themselves, looked up by dotted path.

    Args:
        data: the file's tables, unvalidated.
        problems: what is already known to be wrong with them.
        model: supplies the defaults of keys that the file leaves out.
    """

    def __init__(self, data: Mapping[str, Any], problems: Sequence[Problem], model: type[BaseModel]) -> None:
        self._data, self._model = data, model
        self._bad = [problem.path for problem in problems]

    def __call__(self, dotted: str) -> Any:
        """Return the value or its default; None where it is absent, or wrong in itself or in any part."""
        path: Path = tuple(dotted.split("."))
        if any(path[: len(bad)] == bad or bad[: len(path)] == path for bad in self._bad):
            return None
        value: Any = self._data
        for key in path:
            if key not in value:
                field = field_at(self._model, path, kind_of(self._data))
                return None if field is None or field.is_required() else field.default
            value = value[key]
        return value

    def given(self, table: str) -> set[str]:
        """Return the keys that the file itself gives in a table."""
        found = self._data.get(table)
        return set(found) if isinstance(found, Mapping) else set()


def cross_checks(good: Good) -> Iterator[Problem]:
    """Yield what is wrong between keys."""
    yield from _check_network(good)
    yield from _check_learner(good)
    yield from _check_plant(good)


def _check_network(good: Good) -> Iterator[Problem]:
    layers, activations = good("network.layers"), good("network.activations")
    recurrent, bias = good("network.recurrent"), good("network.bias")
    for key, said in (("recurrent", recurrent), ("bias", bias)):
        if layers and said and len(said) != len(layers) - 1:
            yield Problem(
                ("network", key),
                f"says it of {len(said)} of the {len(layers) - 1} layers after the input",
                f"{len(layers) - 1} of them, or none",
            )
            return
    init, weight_frac = good("network.init"), good("network.weight_frac")
    if layers and activations is not None and len(activations) != len(layers) - 1:
        yield Problem(
            ("network", "activations"),
            f"names {len(activations)} for the {len(layers) - 1} layers after the input",
            f"{len(layers) - 1} of them",
        )
    if layers and layers[0] + layers[-1] > MAX_WORDS:
        yield Problem(
            ("network", "layers"),
            f"{layers[0]} sensors and {layers[-1]} actuators do not fit one frame of the link",
            f"{MAX_WORDS} together",
        )
    if layers and weight_frac is not None and activations is not None and len(activations) == len(layers) - 1:
        yield from _check_fan_in(_fan_in(layers, recurrent), activations, weight_frac)
    if layers:
        weights = sum((n_in + 1) * n_out for n_in, n_out in zip(_fan_in(layers, recurrent), layers[1:], strict=True))
        if weights > MAX_WEIGHTS:
            yield Problem(("network", "layers"), f"make {weights} weights and biases", f"at most {MAX_WEIGHTS}")
    if init is not None and weight_frac is not None and round(init * 2**weight_frac) > 32767:
        yield Problem(
            ("network", "init"),
            f"{init:g} is outside int16 at weight_frac = {weight_frac}",
            f"0 to {32767 / 2**weight_frac:.6g}",
        )


def _fan_in(layers: Sequence[int], recurrent: Sequence[bool] | None) -> list[int]:
    own = [n_out * flag for n_out, flag in zip(layers[1:], recurrent or [False] * (len(layers) - 1), strict=True)]
    return [n_below + n_own for n_below, n_own in zip(layers[:-1], own, strict=True)]


def _check_fan_in(fan_in: Sequence[int], activations: Sequence[str], weight_frac: int) -> Iterator[Problem]:
    # Products are shifted right by s, 2**s >= n_in + 1, so that their sum stays in 32 bits; what is left must hold a
    # drive. Inputs have 15 fraction bits, except where an identity layer passes its drives on as they are.
    frac = 15
    for k, n_in in enumerate(fan_in):
        most = (1 << (weight_frac + frac - DRIVE_FRAC)) - 1
        if n_in > most:
            yield Problem(
                ("network", "layers", k),
                f"{n_in} inputs to one unit at weight_frac = {weight_frac}",
                f"at most {most} here",
            )
        frac = DRIVE_FRAC if activations[k] == "identity" else 15


def _check_learner(good: Good) -> Iterator[Problem]:
    rule = BY_NAME.get(good("learner.rule"))
    if rule is None:
        return
    estimator, given = good("learner.estimator"), good.given("learner")
    # Where the file names none, the rule has its own.
    if estimator is not None and "estimator" in given and estimator not in rule.estimators:
        allowed = " or ".join(f'"{each}"' for each in rule.estimators)
        yield Problem(("learner", "estimator"), f'"{estimator}" is none of {rule.name}\'s', allowed)
    for key in sorted(given & OPTIONS.keys()):
        rules = OPTIONS[key][1]
        if rule.name not in rules:
            yield Problem(("learner", key), f"{rule.name} has no such key", f"with {' or '.join(rules)}")
    yield from _check_spiking(good, rule)
    for key in sorted(given & RATE_KEYS if not rule.rated else ()):
        yield Problem(("learner", key), f"{rule.name} has no learning rate", f"no {key}")
    if rule.rated and good("learner.anneal") and good("learner.spread_shift") == 0:
        yield Problem(("learner", "anneal"), "the rate falls only with a spread", "with learner.spread_shift, 1 to 15")
    steps, layers = good("run.steps"), good("network.layers")
    if steps is not None and steps > rule.most_steps:
        yield Problem(("run", "steps"), f"{steps} steps for {rule.name}", f"at most {rule.most_steps}")
    coded = rule.perturbs == DRIVE and good("learner.code") != OPTIONS["code"][0].choices[0]
    if coded and layers and sum((n + 15) // 16 for n in layers[1:]) > MOST_SIGN_WORDS:
        what = "a code for so many units"
        yield Problem(("learner", "code"), what, f"16 units a word, a layer's words its own: {MOST_SIGN_WORDS} words")
    for k, name in enumerate(good("network.activations") or ()):
        if name not in rule.activations:
            allowed = " or ".join(f'"{each}"' for each in rule.activations)
            yield Problem(("network", "activations", k), f'"{name}" is none of {rule.name}\'s', allowed)
    yield from _check_amplitude(good, rule, given)


def _check_amplitude(good: Good, rule: Rule, given: set[str]) -> Iterator[Problem]:
    path = ("learner", "amplitude")
    if not rule.perturbs:
        if "amplitude" in given:
            yield Problem(path, f"{rule.name} has none: chance is in its units themselves", "to leave it out")
        return
    if "amplitude" not in given:
        yield Problem(path, "is missing", "a number, above 0")
    amplitude, weight_frac = good("learner.amplitude"), good("network.weight_frac")
    if amplitude is None or weight_frac is None:
        return
    frac = rule.amplitude_frac(weight_frac)
    if not 1 <= round(amplitude * 2**frac) <= rule.amplitude:
        of = f"a weight at weight_frac = {frac}" if rule.perturbs == WEIGHT else f"a drive (1 LSB = 2**-{frac})"
        yield Problem(
            path,
            f"{amplitude:g} cannot be added to {of}",
            f"for {rule.name}, {2**-frac:.6g} to {rule.amplitude / 2**frac:g}",
        )


def _check_spiking(good: Good, rule: Rule) -> Iterator[Problem]:
    """Hold the layers' activations against what the rule learns."""
    activations = good("network.activations")
    if activations is None:
        return
    spiking = [name == "integrate_fire" for name in activations]
    where = ("network", "activations")
    if rule.name == "songbird":
        if spiking != [True] + [False] * (len(spiking) - 1) or any(good("network.recurrent") or ()):
            what = "the songbird learns one layer, RA, driven by sensors alone"
            yield Problem(where, what, '"integrate_fire" first and nowhere else, and no recurrent layer')
    elif rule.spiking and not any(spiking):
        yield Problem(where, f"{rule.name} learns spiking layers, and there is none", '"integrate_fire" somewhere')


def _check_plant(good: Good) -> Iterator[Problem]:
    kind = good("plant.kind")
    if kind and kind not in NOT_IN_THE_LOOP and good("run.evaluate_steps"):
        yield Problem(
            ("run", "evaluate_steps"), "belongs to what the board plays; here, evaluations are as long as trials"
        )
    yield from _check_pace(good, kind)
    layers, task = good("network.layers"), TASKS.get(good("plant.name")) if kind == "task" else None
    if layers and task:
        if not task.ends.fit(layers[0], layers[-1]):
            yield Problem(
                ("network", "layers"),
                f"{layers[0]} inputs and {layers[-1]} outputs do not fit the task {good('plant.name')}",
                str(task.ends),
            )
        else:
            yield from (Problem(tuple(key.split(".")), *said) for key, *said in task.problems(good))
    for key, end in ("sensor_range", 0), ("actuator_range", -1):
        ranges = good(f"plant.{key}")
        if ranges is None:
            continue
        if layers and len(ranges) != layers[end]:
            what = f"{len(ranges)} ranges for {layers[end]} network {'inputs' if end == 0 else 'outputs'}"
            yield Problem(("plant", key), what, "one [low, high] for each")
        for i, (low, high) in enumerate(ranges):
            if not low < high or not math.isfinite(high - low):
                yield Problem(("plant", key, i), f"got [{low:g}, {high:g}]", "[low, high] with low < high")
    for i, (low, high) in enumerate(good("plant.target_range") or ()):
        if not low <= high:
            yield Problem(("plant", "target_range", i), f"got [{low:g}, {high:g}]", "[low, high], low not above high")
    if kind == "simulated":
        yield from _check_parameters(good)
    if kind == "board":
        yield from _check_guard(good)


def _check_parameters(good: Good) -> Iterator[Problem]:
    """Hold a simulated plant's parameters against those that it has."""
    from subsong_sim.plants.models import wrong_parameters

    name = good("plant.name")
    for table in ("plant", "plant.mismatch") if name else ():
        for wrong in wrong_parameters(name, good(f"{table}.parameters") or {}):
            yield Problem((*table.split("."), "parameters", wrong.name), wrong.what, wrong.allowed)


def _check_pace(good: Good, kind: str | None) -> Iterator[Problem]:
    """Hold the time of a step against who keeps it, and against the silence that it means for a board."""
    period, deadman, path = good("run.period_ms"), good("run.deadman_ms"), ("run", "period_ms")
    real = kind == "host_load" or (kind == "tclab" and good("plant.port"))
    if period and kind == "task":
        yield Problem(path, "belongs to plants in the loop; a task has no time", "0")
    elif period and (kind == "board" or real):
        yield Problem(path, "is plant.period_ms here: the plant has a pace of its own", "0")
    period = good("plant.period_ms") if real else period
    if period and kind and kind not in NOT_IN_THE_LOOP and deadman and deadman <= period:
        what = f"is {deadman}, and steps are {period} ms apart: the board would leave the link in between"
        yield Problem(("run", "deadman_ms"), what, f"above {period}")


def _check_guard(good: Good) -> Iterator[Problem]:
    """Hold what the guard of the board's own plant is told against itself."""
    layers, ranges, safe = good("network.layers"), good("plant.actuator_range"), good("plant.actuator_safe")
    for key in ("actuator_slew", "actuator_safe"):
        words = good(f"plant.{key}")
        if layers and words is not None and len(words) != layers[-1]:
            yield Problem(("plant", key), f"{len(words)} words for {layers[-1]} network outputs", "one for each")
    for i, ((low, high), word) in enumerate(zip(ranges or (), safe or (), strict=False)):
        if not low <= word <= high:
            yield Problem(("plant", "actuator_safe", i), f"{word} is outside [{low}, {high}]", "a word of its range")
    period, limit, watchdog = good("plant.period_ms"), good("plant.step_limit_ms"), good("plant.watchdog_ms")
    if period is not None and limit is not None and period >= limit:
        yield Problem(("plant", "step_limit_ms"), f"is {limit}, and steps are {period:g} ms apart", f"above {period:g}")
    if watchdog is not None and 0 < watchdog < MIN_WATCHDOG_MS:
        yield Problem(("plant", "watchdog_ms"), f"got {watchdog}", f"0, or {MIN_WATCHDOG_MS} and more")


def describe(error: Mapping[str, Any], model: type[BaseModel], data: Any) -> Problem | None:
    """Retell one of pydantic's errors; None where another error already says it.

    Args:
        error: an item of `ValidationError.errors()`.
        model: the model that refused.
        data: what it refused.
    """
    kind = kind_of(data)
    path: Path = tuple(error["loc"])
    # Pydantic puts the unions' tags into the path.
    tagged: Path = ()
    if len(path) > 1 and path[0] == "plant" and path[1] in KINDS:
        tagged, path = path[:2], ("plant", *path[2:])
        if tagged[1] == "task" and len(path) > 1 and path[1] in TASKS:
            path = ("plant", *path[2:])
    if "parameters" in path:
        path = path[: path.index("parameters") + 2]  # and the type that it tried
    if error["loc"][-1:] == ("[key]",):
        return Problem(path, "is no attribute's name", "letters, digits and _, not starting with _ or a digit")
    match error["type"]:
        case "extra_forbidden":
            return _unknown_key(path, model, kind)
        case "union_tag_invalid" | "union_tag_not_found":
            key, choices = ("name", tuple(TASKS)) if tagged else ("kind", KINDS)
            path = (*path, key)
            what = f"got {show(data['plant'][key])}" if error["type"] == "union_tag_invalid" else "is missing"
            return Problem(path, what, " or ".join(f'"{choice}"' for choice in choices))
        case "missing" if not isinstance(path[-1], int):
            what = "is missing"
        case "missing" | "too_long" | "too_short" as length:
            path = path[:-1] if length == "missing" else path
            entries = error["input"]
            # Entries that are wrong in themselves are not counted by pydantic, but are there.
            if length == "too_short" and len(entries) >= error["ctx"]["min_length"]:
                return None
            what = f"has {len(entries)} entr{'y' if len(entries) == 1 else 'ies'}"
        case _:
            what = f"got {show(error['input'])}"
    return Problem(path, what, allowed_at(model, path, kind))


def _unknown_key(path: Path, model: type[BaseModel], kind: str) -> Problem:
    key = str(path[-1])
    own = kind in TASKS or kind == "board"
    if path[0] == "plant" and own and (key == "mismatch" or key in _names(model, path[:-1], "gymnasium")):
        what = "a plant on the board" if kind == "board" else "a task"
        return Problem(path, f'belongs to plants of kind = "gymnasium"; {what} has none')
    names = _names(model, path[:-1], kind)
    elsewhere = {
        name: table or "the top of the file, before any [table]"
        for table in ("", "network", "learner", "plant", "plant.mismatch", "run")
        for name in _names(model, tuple(filter(None, table.split("."))), "gymnasium")
    }
    near = difflib.get_close_matches(key, names, 1)
    if key in elsewhere:
        home = elsewhere[key]
        hint = f"; it belongs to {home if ' ' in home else f'[{home}]'}"
    elif near:
        hint = f"; did you mean {near[0]}?"
    else:
        hint = ""
    return Problem(path, f"unknown key{hint}", ", ".join(names))


def _names(model: type[BaseModel], path: Path, kind: str) -> list[str]:
    table: type[BaseModel] | None = model
    if path:
        field = field_at(model, path, kind)
        table = None if field is None else _table_of(field, kind)
    return [] if table is None else list(table.model_fields)


def field_at(model: type[BaseModel], path: Path, kind: str) -> FieldInfo | None:
    """Return the declared key at `path`, or the key whose array or free table `path` points into."""
    table: type[BaseModel] | None = model
    field: FieldInfo | None = None
    for key in path:
        if table is None or isinstance(key, int):
            break
        field = table.model_fields.get(key)
        if field is None:
            return None
        table = _table_of(field, kind)
    return field


def _table_of(field: FieldInfo, kind: str) -> type[BaseModel] | None:
    tables = list(_tables_in(field.annotation))
    if len(tables) > 1:
        tables = [each for each in tables if kind == _tag(each)]
    return tables[0] if tables else None


def _tables_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for each in typing.get_args(annotation):
        yield from _tables_in(each)


def _tag(table: type[BaseModel]) -> str:
    """Return what tells a plant's table from the others: a task's name, or the kind."""
    kind, name = (table.model_fields.get(key) for key in ("kind", "name"))
    tags = [typing.get_args(field.annotation)[0] for field in (kind, name) if field is not None]
    return str(tags[-1] if tags[0] == "task" else tags[0])


def allowed_at(model: type[BaseModel], path: Path, kind: str) -> str:
    """Say what is allowed at a declared key, or at the array or table that `path` points into."""
    field = field_at(model, path, kind)
    return "" if field is None else allowed_of(field) or "a table, [{}]".format(".".join(map(str, path)))


def allowed_of(field: FieldInfo) -> str:
    """Say what a declared key allows; "" for a table of its own."""
    if isinstance(field.json_schema_extra, dict):
        return str(field.json_schema_extra["allowed"])
    if typing.get_origin(field.annotation) is typing.Literal:
        return " or ".join(f'"{choice}"' for choice in typing.get_args(field.annotation))
    return ""


def kind_of(data: Any) -> str:
    """Return the plant's kind, a task's name; "" where the file does not say it well."""
    plant = data.get("plant") if isinstance(data, Mapping) else None
    if not isinstance(plant, Mapping):
        return ""
    kind = plant.get("kind")
    if kind == "task":
        kind = plant.get("name")
        return kind if isinstance(kind, str) and kind in TASKS else ""
    return kind if isinstance(kind, str) and kind in KINDS else ""


def show(value: Any) -> str:
    """Show a value of the file, shortened, with the type where that is the point."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return f"the text {value!r}" if len(value) <= 40 else f"the text {value[:37]!r}..."
        case int() if value.bit_length() > 100:
            return "an integer of more than 100 bits"
        case int() | float():
            return repr(value)
        case list() | tuple():
            return "an array"
        case Mapping():
            return "a table"
        case _:
            return f"a {type(value).__name__}"
