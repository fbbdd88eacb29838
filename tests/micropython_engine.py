"""The kernels in a real MicroPython process: bytecode, unix port, one process for as many cases as there are."""

import json
import os
import subprocess
import tempfile
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cases import Answer, Case, ends_of
from subsong_hil.unix import find_micropython

WORKER = Path(__file__).with_name("micropython_worker.py")


class MicroPythonEngine:
    """Plays cases in a MicroPython process, which imports the firmware's files as they are."""

    def __init__(self) -> None:
        program = find_micropython()
        assert program is not None
        device = Path(str(resources.files("subsong_device"))).parent
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed in __exit__
        # Only the firmware's folder may be imported from: ~/.micropython/lib could hold another.
        self._child = subprocess.Popen(
            [str(program), "-X", "heapsize=64M", str(WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, "MICROPYPATH": f"{device}:.frozen"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.close()
        self._child.wait()
        self._child.stdout.close()
        self._errors.close()

    def ask(self, job: dict[str, Any]) -> Any:
        """Send a job, return its answer.

        Raises:
            RuntimeError: the kernel raised, or the process died; the message is its traceback.
        """
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        try:
            self._child.stdin.write(json.dumps(job).encode() + b"\n")
            self._child.stdin.flush()
            line = self._child.stdout.readline()
        except BrokenPipeError:
            line = b""
        if not line.endswith(b"\n"):
            self._child.wait()
            self._errors.seek(0)
            raise RuntimeError(f"MicroPython ended:\n{line.decode()}{self._errors.read().decode()}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"MicroPython: {answer['error']}")
        return answer

    def __call__(self, case: Case) -> list[Answer]:
        """Play a case."""
        n_sensors, n_actuators = ends_of(case.head)
        answers = self.ask(
            {
                "rule": case.rule,
                "head": case.head.hex(),
                "mem": case.mem.hex(),
                "n_sensors": n_sensors,
                "n_actuators": n_actuators,
                "trials": [[int(t.evaluate), t.steps, t.last_cost] for t in case.trials],
            }
        )
        return [Answer(u, bytes.fromhex(head), bytes.fromhex(mem)) for u, head, mem in answers]

    def task(self, block: bytes, n_sensors: int, outputs: list[list[int]]) -> tuple[list[tuple[list[int], int]], bytes]:
        """Play a task: for every step's actuator words, the sensor words before and the cost after; then the block."""
        steps, after = self.ask({"task": block.hex(), "n_sensors": n_sensors, "outputs": outputs})
        return [(x, cost) for x, cost in steps], bytes.fromhex(after)
