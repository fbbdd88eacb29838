"""A learned policy as a file: the learner's memory after a run, and what it takes to run it elsewhere.

JSON, so that anybody can read it; the sha256 over everything else in it tells a whole file from a damaged one.
"""

import base64
import binascii
import hashlib
import json
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from subsong.errors import LogError
from subsong_device.checkpoint import pack_header
from subsong_device.frames import MAX_STEPS, RULES
from subsong_device.layout import ARITHMETIC_VERSION
from subsong_device.plant_check import PLANT

KIND = "subsong-policy"
FORMAT = 1
_BYTES = ("head", "mem", "task")


@dataclass(frozen=True)
class Policy:
    """What a run learned.

    Attributes:
        arithmetic: version of the arithmetic that the weights mean something in.
        rule: the learner's rule.
        experiment_digest: sha256 in hex of the experiment.
        experiment_toml: the experiment's text.
        plant: description of what it learned to drive.
        n_sensors: words of a step.
        n_actuators: words of a step.
        steps: at most, of a trial.
        trials: learned so far.
        head: little-endian int32 words (subsong_device.layout).
        mem: little-endian 16-bit words.
        task: the on-board task's words; empty where it learned a plant.
    """

    arithmetic: int
    rule: str
    experiment_digest: str
    experiment_toml: str
    plant: str
    n_sensors: int
    n_actuators: int
    steps: int
    trials: int
    head: bytes
    mem: bytes
    task: bytes

    def to_json(self) -> str:
        """Return the policy's file."""
        body = {"kind": KIND, "format": FORMAT} | {
            field.name: _text(getattr(self, field.name)) for field in fields(self)
        }
        return json.dumps(body | {"sha256": _digest(body)}, indent=1, sort_keys=True) + "\n"

    @property
    def has_task(self) -> bool:
        """Whether it runs a task that the board sets itself, and drives nothing."""
        return len(self.task) > 0 and self.task[:2] != PLANT.to_bytes(2, "little")

    def to_binary(self) -> bytes:
        """Return the file that a board reads (subsong_device.checkpoint)."""
        regions = (self.head, self.mem, self.task)
        shape = (RULES.index(self.rule), self.n_sensors, self.n_actuators, self.steps)
        # Of no run and the first of its kind; on the board, the plant's seeds go on from the trials learned.
        header = pack_header(*shape, 0, 0, self.trials, self.trials, self.trials, regions)
        return header + b"".join(regions)

    def save(self, path: Path) -> None:
        """Write the policy, whole or not at all; an earlier policy of that name is replaced, any other file is kept.

        Raises:
            LogError: the file cannot be written, or is there and no policy.
        """
        part = path.with_name(path.name + ".partial")
        try:
            if path.exists() and KIND.encode() not in path.read_bytes()[:4096]:
                raise LogError(f"{path}: is there already and is no policy; choose another name with -o")
            part.write_text(self.to_json(), encoding="utf-8")
            part.replace(path)
        except OSError as error:
            raise LogError(f"{path}: the policy cannot be written: {error.strerror or error}") from error


def load_policy(path: Path) -> Policy:
    """Read a policy.

    Raises:
        LogError: there is none, it is damaged, or of another version.
    """
    again = "; export it again: subsong export RUN.mcap"
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise LogError(f"{path}: the policy cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # no JSON, or no UTF-8
        raise LogError(f"{path}: no policy, or damaged: {error}{again}") from error
    if not isinstance(data, dict) or data.get("kind") != KIND:
        raise LogError(f"{path}: no policy; `subsong export RUN.mcap` writes one")
    if data.get("format") != FORMAT:
        raise LogError(f"{path}: a policy of format {data.get('format')!r}, this Subsong reads {FORMAT}{again}")
    body = {name: value for name, value in data.items() if name != "sha256"}
    if data.get("sha256") != _digest(body):
        raise LogError(f"{path}: the policy is damaged, its sha256 differs{again}")
    return _checked(body, path)


def _checked(body: dict[str, Any], path: Path) -> Policy:
    """Make the policy of a body that is what somebody wrote; whether that was this program is asked here."""
    try:
        policy = Policy(**{field.name: _value(body[field.name], field.name, field.type) for field in fields(Policy)})
    except (KeyError, TypeError, ValueError) as error:
        raise LogError(f"{path}: no policy that Subsong wrote: {error.args[0]} is missing or wrong") from error
    if policy.arithmetic != ARITHMETIC_VERSION:
        raise LogError(
            f"{path}: the policy was learned in arithmetic version {policy.arithmetic}, this Subsong's firmware has "
            f"version {ARITHMETIC_VERSION}; learn again, or install the Subsong that it was learned with"
        )
    if policy.rule not in RULES or not 0 < policy.steps <= MAX_STEPS:
        raise LogError(
            f"{path}: the policy's rule ({policy.rule}) or steps ({policy.steps}) are none of this Subsong's"
        )
    return policy


def export_policy(log: Path, out: Path | None = None) -> Path:
    """Write the policy that a run learned.

    Args:
        log: the run's log, of a board or of the simulator.
        out: by default the log's name with `.policy.json`.

    Returns:
        The policy's path.

    Raises:
        LogError: the log cannot be read, or holds no state of the learner; or the policy cannot be written.
    """
    path = out if out is not None else log.with_name(log.name.split(".mcap")[0] + ".policy.json")
    policy_of_run(log).save(path)
    return path


def _replayed(log: Path) -> tuple[bytes, bytes] | None:
    """Return what an interrupted run had learned after its last whole trial, by executing its log again."""
    from subsong.errors import ReplayError
    from subsong.replay import state_after

    try:
        return state_after(log)
    except ReplayError:
        return None


def policy_of_run(log: Path) -> Policy:
    """Return the policy that a run learned: its last state.

    Raises:
        LogError: the log cannot be read, or holds no state of the learner after its first trial.
    """
    from subsong.experiment import parse_experiment
    from subsong.runlog import read_run
    from subsong.tasks import task_block

    run = read_run(log)
    states = run.states
    # Without a final state (a run that was cut short) the last one that the board or the host kept.
    kept = sorted((name for name in states if re.fullmatch(r"trial-\d{1,10}", name)), key=lambda name: int(name[6:]))
    label = "final" if "final" in states else kept[-1] if kept else None
    state = states[label] if label is not None else _replayed(log)
    if state is None:
        raise LogError(
            f"{log}: holds no learned state, so there is no policy to export; the run ended before one was recorded"
        )
    header = run.header
    experiment = parse_experiment(header.experiment_toml, str(log))
    head, mem = state
    return Policy(
        arithmetic=header.arithmetic,
        rule=header.rule,
        experiment_digest=header.experiment_digest,
        experiment_toml=header.experiment_toml,
        plant=header.plant,
        n_sensors=header.n_sensors,
        n_actuators=header.n_actuators,
        steps=experiment.run.steps,
        trials=header.learned + sum(not summary.evaluate for summary in run.summaries()),
        head=head,
        mem=mem,
        task=task_block(experiment),
    )


def _text(value: object) -> object:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _value(value: object, name: str, kind: object) -> Any:
    """Return a field's value from JSON's.

    Raises:
        ValueError: it is of another type; its argument is the field's name.
    """
    if name in _BYTES:
        try:
            return base64.b64decode(str(value), validate=True)
        except binascii.Error:
            raise ValueError(name) from None
    if type(value) is not kind:
        raise ValueError(name)
    return value


def _digest(body: dict[str, object]) -> str:
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
