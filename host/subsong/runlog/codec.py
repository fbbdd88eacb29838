"""Records to JSON and back.

The JSON is compact and its keys stand in one order, so that equal records are equal bytes: the reader compares bytes
first and parses only where they differ. Parsing is strict: a flipped bit must not pass as another spelling of the same
value.
"""

import base64
import json
import zlib
from typing import Any

from subsong.runlog.records import Event, Json, State, Step, dump
from subsong.timing import Timing
from subsong_sim.learner import Ended, TrialSummary


def step_template(n_sensors: int, n_actuators: int) -> str:
    """Return a step's JSON, to be %-formatted with (trial, step, cost, *x, *u): the fastest way measured."""
    x, u = ",".join(["%d"] * n_sensors), ",".join(["%d"] * n_actuators)
    return '{"trial":%d,"step":%d,"cost":%d,"x":[' + x + '],"u":[' + u + "]}"


_ENDED = (
    '{"trial":%d,"evaluate":%s,"steps":%d,"total":%d,"baseline":%d,"checksum":%d,"saturated":%d,"dropped":%d,'
    '"last_cost":%d}'
)


def encode_ended(summary: TrialSummary, last_cost: int) -> bytes:
    """Return a trial's end as JSON."""
    trial, evaluate, *rest = summary
    return (_ENDED % (trial, "true" if evaluate else "false", *rest, last_cost)).encode()


def encode_state(state: State) -> bytes:
    """Return a state as JSON: both buffers in base64, and a CRC-32 over them and the label."""
    return dump(
        {
            "label": state.label,
            "head": base64.b64encode(state.head).decode(),
            "mem": base64.b64encode(state.mem).decode(),
            "crc32": _crc(state.label, state.head, state.mem),
            "derived": state.derived,
        }
    ).encode()


def encode_event(event: Event) -> bytes:
    """Return an event as JSON."""
    kind, text, fields_, derived = event
    return dump({"kind": kind, "text": text, "derived": derived, "fields": fields_}).encode()


def encode_timing(timing: Timing) -> bytes:
    """Return a trial's timing as JSON."""
    return dump(timing._asdict()).encode()


def parse_step(data: bytes, n_sensors: int, n_actuators: int) -> Step:
    """Read a step.

    Raises:
        ValueError: it is not one, or has not the run's count of words.
    """
    json_ = _object(data, ("trial", "step", "cost", "x", "u"))
    x, u = json_["x"], json_["u"]
    if type(x) is not list or type(u) is not list or len(x) != n_sensors or len(u) != n_actuators:
        raise ValueError(f"a step of this run has {n_sensors} sensor and {n_actuators} actuator words")
    for value in (json_["trial"], json_["step"], json_["cost"], *x, *u):
        if type(value) is not int:
            raise ValueError(f"{value!r} is no integer")
    return Step(json_["trial"], json_["step"], json_["cost"], tuple(x), tuple(u))


_ENDED_KEYS = (*TrialSummary._fields, "last_cost")


def parse_ended(data: bytes) -> Ended:
    """Read a trial's end.

    Raises:
        ValueError: it is not one.
    """
    json_ = _object(data, _ENDED_KEYS)
    values = [json_[key] for key in _ENDED_KEYS]
    for key, value in zip(_ENDED_KEYS, values, strict=True):
        if type(value) is not (bool if key == "evaluate" else int):
            raise ValueError(f"{key} is {value!r}")
    return Ended(TrialSummary(*values[:-1]), values[-1])


def parse_state(data: bytes) -> State:
    """Read a state.

    Raises:
        ValueError: it is not one, or its CRC-32 does not match.
    """
    json_ = _object(data, ("label", "head", "mem", "crc32", "derived"))
    label, derived = json_["label"], json_["derived"]
    if type(label) is not str or type(derived) is not bool:
        raise ValueError("label or derived is of another type")
    head, mem = _base64(json_["head"]), _base64(json_["mem"])
    if json_["crc32"] != _crc(label, head, mem):
        raise ValueError(f"the CRC-32 of state {label!r} does not match its words")
    return State(label, head, mem, derived)


def parse_event(data: bytes) -> Event:
    """Read an event.

    Raises:
        ValueError: it is not one.
    """
    json_ = _object(data, ("kind", "text", "derived", "fields"))
    kind, text, derived, fields_ = json_["kind"], json_["text"], json_["derived"], json_["fields"]
    if type(kind) is not str or type(text) is not str or type(derived) is not bool or type(fields_) is not dict:
        raise ValueError("a field of the event is of another type")
    return Event(kind, text, fields_, derived)


def parse_timing(data: bytes) -> Timing:
    """Read a trial's timing.

    Raises:
        ValueError: it is not one.
    """
    json_ = _object(data, Timing._fields)
    for key, value in json_.items():
        if value not in {"board", "host"} if key == "clock" else type(value) is not int:
            raise ValueError(f"{key} is {value!r}")
    return Timing(**json_)


def _base64(text: Any) -> bytes:
    if type(text) is not str:
        raise ValueError("a buffer is no text")
    data = base64.b64decode(text, validate=True)  # binascii.Error is a ValueError
    if base64.b64encode(data).decode() != text:  # the unused bits of the last character
        raise ValueError("a buffer is not in canonical base64")
    return data


def _crc(label: str, head: bytes, mem: bytes) -> int:
    return zlib.crc32(mem, zlib.crc32(head, zlib.crc32(label.encode())))


def _object(data: bytes, keys: tuple[str, ...]) -> Json:
    value = json.loads(data)  # UnicodeDecodeError and JSONDecodeError are ValueErrors
    if type(value) is not dict or value.keys() != set(keys):
        raise ValueError(f"not an object with the keys {', '.join(keys)}")
    return value
