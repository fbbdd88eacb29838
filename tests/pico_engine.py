"""The kernels on an emulated Pico that boots official firmware: bytecode, viper, machine code; one board for all cases.

Emulated time is dear: every kernel module is uploaded once, and a case is sent once for all the tiers that play it.
"""

import struct
import tempfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Self

from cases import RULES, Answer, Case, ends_of
from oracle_parts import TABLE
from subsong.compiler import assembler_module, compile_kernels
from subsong.compiler.viper import viper_module
from subsong.firmware import kernel_file
from subsong.ports import open_port
from subsong.profile import MACHINE_CODE, VIPER, named_profile
from subsong.repl import Repl
from subsong.strip import strip_source
from subsong_hil.pico import PicoBoard
from subsong_sim.loader import LEARNER_KERNELS, PACKAGE, TASK_KERNELS

WORKER = Path(__file__).with_name("pico_worker.py")
TARGET = "armv6m"
TIERS = ("bytecode", "viper", "machine code", "broken")  # in the order of pico_worker.FOLDERS
PROVED = TIERS[:3]
MODULES = {rule: (f"{PACKAGE}.learners.{rule}", LEARNER_KERNELS) for rule in RULES} | {
    "tasks": (f"{PACKAGE}.tasks", TASK_KERNELS)
}
TABLE_BYTES = struct.pack(f"<{len(TABLE)}H", *TABLE)
SILENCE_S = 120.0  # of wall time: no case takes the board so long
# All files at once, packed: the board takes some 7 kB a second.
UNPACK = """
import deflate, io, micropython, os, sys
from struct import unpack_from
micropython.kbd_intr(-1)
def unpack():
 sys.stdout.buffer.write(b"R")
 read = sys.stdin.buffer.read
 packed = io.BytesIO(read(unpack_from("<I", read(4))[0]))
 with deflate.DeflateIO(packed, deflate.ZLIB) as files:
  while True:
   kind, length, size = unpack_from("<BBH", files.read(4))
   if kind == 0:
    return
   path = files.read(length).decode()
   if kind == 1:
    os.mkdir(path)
   else:
    with open(path, "wb") as file:
     file.write(files.read(size))
unpack()
import pico_worker
pico_worker.serve()
"""


# What a board of that version compiles from its text, as those do that read other .mpy files; all else is loaded, which
# is quicker.
AS_TEXT = {"1.24.1": ("weight_perturbation", "tasks")}


def kernel_files(version: str) -> dict[str, bytes]:
    """Return what deploy puts on a Pico, as far as kernels go: paths below the board's root."""
    device = resources.files(PACKAGE)
    paths = ["layout.py", "tasks.py"]
    paths += [
        f"{folder}/{e.name}"
        for folder in ("kernels", "kernels/tasks", "learners")
        for e in device.joinpath(folder).iterdir()
    ]
    files = {
        f"{PACKAGE}/{path}": strip_source(device.joinpath(path).read_bytes(), path)
        for path in sorted(paths)
        if path.endswith(".py")
    }
    for name, module in MODULES.items():
        form = "text" if name in AS_TEXT.get(version, ()) else "mpy"
        profile = named_profile("pico").model_copy(update={"kernels": form})
        made = ((VIPER, viper_module(*module)), (MACHINE_CODE, assembler_module(compile_kernels(*module, TARGET))))
        for tier, text in made:
            path, content = kernel_file(profile, tier, name, text)
            files[f"{PACKAGE}/{path}"] = content
    return files


class PicoEngine:
    """Plays cases on an emulated Pico.

    Args:
        version: of the official firmware.
        more: further files for the board: what tier "broken" plays lies in broken/RULE.py.
    """

    def __init__(self, version: str, more: Mapping[str, bytes] | None = None) -> None:
        self.version = version
        self._files = kernel_files(version) | dict(more or {})
        self._folder = tempfile.TemporaryDirectory(prefix="subsong-pico-")
        self._board = PicoBoard(flash=Path(self._folder.name) / "flash", firmware=version)
        self._unread = bytearray()

    def __enter__(self) -> Self:
        try:
            self._board.start()
            self._port = open_port(self._board.path)
            self._upload()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._port.close()
        self._stop()

    def _stop(self) -> None:
        self._board.kill()  # its flash is of no use to anybody
        self._board.stop()
        self._folder.cleanup()

    def _upload(self) -> None:
        repl = Repl(self._port).__enter__()  # never left: the worker runs until the power is cut
        repl.launch(UNPACK)
        self._expect(b"R")
        worker = WORKER.read_bytes().replace(b'TABLE = b""', b"TABLE = " + repr(TABLE_BYTES).encode())
        worker = worker.replace(b"RULES = ()", b"RULES = " + repr((*RULES, "tasks")).encode())
        files = {**self._files, "pico_worker.py": worker}
        folders = sorted({str(parent) for path in files for parent in list(Path(path).parents)[:-1]})
        entries = [_entry(1, folder, b"") for folder in folders]
        entries += [_entry(2, path, content) for path, content in files.items()]
        packed = zlib.compress(b"".join(entries) + bytes(4), 9)
        self._port.write(struct.pack("<I", len(packed)) + packed)
        self._expect(b"R")

    def _expect(self, mark: bytes) -> None:
        if (said := self._take(1)) != mark:
            raise RuntimeError(f"Pico {self.version}: {(said + self._port.read_available(1.0)).decode()}")

    def _take(self, n: int) -> bytes:
        while len(self._unread) < n:
            data = self._port.read_available(SILENCE_S)
            if not data:
                raise RuntimeError(f"Pico {self.version}: silent after {bytes(self._unread)!r}")
            self._unread += data
        taken = bytes(self._unread[:n])
        del self._unread[:n]
        return taken

    def _mark(self, tier: str) -> bytes:
        mark = self._take(1)
        if mark not in (b"K", b"T"):
            text = mark if mark != b"E" else self._take(int.from_bytes(self._take(2), "little"))
            raise RuntimeError(f"Pico {self.version}, {tier}: {text.decode('utf-8', 'replace')}")
        return mark

    def play(self, case: Case, tiers: Sequence[str] = PROVED) -> dict[str, list[Answer]]:
        """Play a case; return every tier's answers."""
        sensors, actuators = ends_of(case.head)
        table = case.mem.endswith(TABLE_BYTES)
        head = _without_zeros(case.head, 4)
        mem = _without_zeros(case.mem[: -len(TABLE_BYTES)] if table else case.mem, 2)
        numbers = (sensors, actuators, len(case.head) // 4, len(head), len(case.mem) // 2, len(mem), len(case.trials))
        job = struct.pack("<BBBBHHIIIIH", _bits(tiers), RULES.index(case.rule), table, 0, *numbers) + head + mem
        for trial in case.trials:
            job += struct.pack("<BHi", trial.evaluate, len(trial.steps), trial.last_cost)
            for step in trial.steps:
                job += struct.pack(f"<i{sensors}h", step.cost, *step.x)
        self._port.write(struct.pack("<I", len(job)) + job)
        answers: dict[str, list[Answer]] = {}
        for tier in _ordered(tiers):
            answers[tier] = []
            for trial in case.trials:
                kept = self._mark(tier) == b"T"
                u = [list(struct.unpack(f"<{actuators}h", self._take(2 * actuators))) for _ in trial.steps]
                after = self._take(len(case.head))
                rest = len(TABLE_BYTES) if kept else 0
                answers[tier].append(Answer(u, after, self._take(len(case.mem) - rest) + TABLE_BYTES[:rest]))
        return answers

    def task(
        self, block: bytes, n_sensors: int, outputs: Sequence[Sequence[int]], tiers: Sequence[str] = PROVED
    ) -> dict[str, tuple[list[tuple[list[int], int]], bytes]]:
        """Play a task: for every tier and step the sensor words before and the cost after; then the block."""
        n_out = len(outputs[0])
        numbers = (n_sensors, n_out, 0, 0, len(block) // 2, len(block), len(outputs))
        job = struct.pack("<BBBBHHIIIIH", _bits(tiers), len(RULES), 0, 0, *numbers) + block
        job += b"".join(struct.pack(f"<{n_out}h", *words) for words in outputs)
        self._port.write(struct.pack("<I", len(job)) + job)
        answers = {}
        for tier in _ordered(tiers):
            self._mark(tier)
            fields = [struct.unpack(f"<{n_sensors}hi", self._take(2 * n_sensors + 4)) for _ in outputs]
            answers[tier] = ([(list(words[:-1]), words[-1]) for words in fields], self._take(len(block)))
        return answers


def _entry(kind: int, path: str, content: bytes) -> bytes:
    return struct.pack("<BBH", kind, len(path), len(content)) + path.encode() + content


def _ordered(tiers: Iterable[str]) -> list[str]:
    return sorted(tiers, key=TIERS.index)


def _bits(tiers: Iterable[str]) -> int:
    return sum(1 << TIERS.index(tier) for tier in tiers)


def _without_zeros(words: bytes, size: int) -> bytes:
    """Return words without those at the end that are 0."""
    n = len(words.rstrip(b"\0"))
    return words[: (n + size - 1) // size * size]
