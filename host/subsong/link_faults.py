"""What the board's refusals mean, in sentences that say what to do."""

import os

from subsong.errors import BoardError, FirmwareError, SchemaMismatch, SubsongError
from subsong_device import faults, frames
from subsong_device.plant_check import EXCEPTIONS
from subsong_device.plant_check import FUNCTIONS as PLANT_FUNCTIONS

_STATES = {
    faults.NEW: "before the first HELLO",
    faults.GREETED: "before OPEN",
    faults.OPENED: "before SEAL",
    faults.READY: "between trials",
    faults.IN_TRIAL: "within a trial",
    faults.RUNNING: "while a run is on",
}
_PLAIN = {
    faults.LEARNER: "a kernel raised an exception; `subsong sim --engine cpython` shows where",
    faults.NO_CHECKPOINT: "it holds no whole checkpoint of this run and network; start the run from its beginning",
    faults.UNSIGNED: "it takes signed experiments alone, and this one is not; start the run again",
}
_ROWS = {kind: (name, names.split()) for kind, name, _, names in frames.TABLE}

_OF_PLANT = range(faults.SENSOR, faults.PERIOD + 1)


def redeploy(port: str) -> str:
    """Return the words that end every message about firmware."""
    return f"put this version's firmware on the board: subsong deploy --port {port}"


def fault_error(port: str, command: int, values: tuple[object, ...], code: int, detail: int) -> SubsongError:
    """Return the error for a refusal.

    Args:
        port: the port's name.
        command: type of the refused frame, 0 if the board spoke by itself.
        values: the command's fields.
        code: of faults.
        detail: see faults.
    """
    name, fields = _ROWS.get(command, ("", []))
    asked = f"port {port}: the board refused {name}" if name else f"port {port}: the board stopped"
    given = dict(zip(fields, values, strict=False))
    if code == faults.SCHEMA:
        return SchemaMismatch(f"{asked}: it speaks another version of the link; {redeploy(port)}")
    if code == faults.NO_LEARNER:
        rule = frames.RULES[detail] if detail < len(frames.RULES) else f"rule {detail}"
        return FirmwareError(f"{asked}: the kernels of {rule} are not on it; {redeploy(port)}", code)
    if code == faults.NO_MEMORY:
        wanted = sum(
            int(str(given.get(k, 0))) * size for k, size in (("head_words", 4), ("mem_words", 2), ("task_words", 2))
        )
        what = (
            f"the learner does not fit: it takes {wanted} bytes, and {detail} bytes of heap are free; use fewer units "
            "(node perturbation takes 4 bytes more a weight than weight perturbation)"
        )
    elif code == faults.FIELD:
        field = fields[detail] if detail < len(fields) else f"field {detail}"
        what = f"{field} = {given.get(field, '?')} is out of its range; docs/protocol.md has the ranges"
    elif code == faults.SEQUENCE:
        what = f"it expected command number {detail}; does another program use the port? Close that, and start again"
    elif code == faults.STATE:
        what = f"not allowed {_STATES.get(detail, f'in state {detail}')}; start the run again"
    elif code == faults.CHECKSUM:
        region = ("head", "mem", "task")[detail] if detail < 3 else f"region {detail}"
        what = f"{region} did not arrive as it was sent; start the run again"
    elif code == faults.BLOCK:
        where = f"task word {detail - 0x10000}" if detail >= 0x10000 else f"head word {detail}"
        what = f"the learner's block contradicts itself ({where}, subsong_device.layout); was it made by this version?"
    elif code == faults.NOT_RUNNING:
        what = f"no run is on; it sent {detail} telemetry frames"
    elif code == faults.FLASH:
        why = os.strerror(detail) if detail else "no reason given"
        what = (
            f"its flash failed ({why}); remove files that it does not need (a checkpoint takes three times the "
            "learner's memory), or set run.checkpoint_every = 0"
        )
    elif code in _PLAIN:
        what = _PLAIN[code]
    elif code in _OF_PLANT:
        what = _of_plant(port, code, detail)
    else:
        what = f"fault {code}, detail {detail}; {redeploy(port)}"
    return BoardError(f"{asked}: {what}", code)


def _of_plant(port: str, code: int, detail: int) -> str:
    """Return what is wrong with the board's own plant."""
    if code == faults.SENSOR:
        return f"sensor {detail} left plant.sensor_range, so the outputs are safe; look at its cable"
    if code == faults.STUCK:
        return f"sensor {detail} no longer changes (plant.stuck_steps), so the outputs are safe; look at its cable"
    if code == faults.LATE:
        return (
            f"a step, or reset(), took {detail} ms and more, so the outputs are safe; make sense(), actuate() and "
            "cost() quicker, or raise plant.step_limit_ms or plant.reset_limit_ms"
        )
    if code == faults.PERIOD:
        return (
            f"no step of a whole trial fitted plant.period_ms, by {detail / 1000:.2g} ms on average, so the outputs "
            "are safe; raise plant.period_ms, make plant.py quicker, or use fewer units"
        )
    if code == faults.PLANT:
        kind, function, line = detail >> 24, detail >> 16 & 0xFF, detail & 0xFFFF
        raised = EXCEPTIONS[kind] if kind < len(EXCEPTIONS) else EXCEPTIONS[0]
        name = PLANT_FUNCTIONS[function] if function < len(PLANT_FUNCTIONS) else f"function {function}"
        where = f"line {line}, " * (line > 0)
        doing = "while it was imported" if function == 0 else f"in {name}()"
        safe = "; ITS OUTPUTS MAY NOT BE SAFE" if name == "safe" else ""
        if (
            name == "cost" and not line
        ):  # raised by the guard, from what cost() returned, or the board does not say where
            doing += ", which must return a whole number, not None, NaN or a float"
        if raised == "ImportError":
            doing += "; this board's MicroPython may lack what is imported there"
        return f"plant.py raised {raised}: {where}{doing}{safe}; `import plant` at the board's prompt to try it"
    if code == faults.NO_PLANT:
        lacks = ", ".join(f"{name}()" for i, name in enumerate(PLANT_FUNCTIONS) if detail >> i & 1)
        missing = f"its plant.py lacks {lacks}" if lacks else "it has no plant.py"
        return f"{missing}; put yours there: subsong deploy --port {port} --plant plant.py"
    return "it has no watchdog, or no timer to feed one by; leave plant.watchdog_ms out"
