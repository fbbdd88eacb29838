"""Builds the firmware of boards with some 9 KB of heap (subsong_device/small, docs/microbit.md).

subsong.py      compiles parts, one statement of board.py after the other: a whole module does not compile there
parts           board.py with its constants' values in place of their names, and with names of one letter
_session        the session's words, their rows made from the link's own table
_wact, _nend..  each kernel's machine code, a file of its own
"""

import ast
import struct
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib import resources
from string import ascii_lowercase, ascii_uppercase

from subsong.bridge import LearnerBlock
from subsong.compiler import Compiled, compile_kernels
from subsong.compiler.settled import Settled
from subsong.errors import BoardError, FirmwareError
from subsong.firmware import PACKAGE, Firmware, firmware_of
from subsong.profile import Profile, version_numbers
from subsong_device import frames, layout
from subsong_device.plant_check import PLANT
from subsong_device.small import words
from subsong_device.task_check import TASK_KINDS
from subsong_sim.loader import LEARNER_KERNELS

VERSION = (1, 9)  # of MicroPython: what board.py leans on changed since
ENTRY = "subsong"
ARENA_BYTES = 1200  # for head, mem and task together
MACHINE_CODE = 2
RULES = ("weight_perturbation", "node_perturbation")  # the first two on the link
# What the small firmware leaves out of them, for it does not fit; small/guard.py refuses the rest. A test compares.
KNOWN = Settled(
    words=(("CODE", layout.RANDOM_SIGNS), ("TAU", 1), ("MOMENTUM_SHIFT", 0), ("SPREAD_SHIFT", 0)),
    never=("EACH_STEP", "BEST_SO_FAR", "PERTURBED_PAIR"),
)
TASK_KERNELS = ("patterns_begin", "patterns_sense", "patterns_cost")  # of the only kind of task
MODULES = {  # rule or task: module, kernels, the prefix of their files
    "weight_perturbation": (f"{PACKAGE}.learners.weight_perturbation", LEARNER_KERNELS, "_w"),
    "node_perturbation": (f"{PACKAGE}.learners.node_perturbation", LEARNER_KERNELS, "_n"),
    "tasks": (f"{PACKAGE}.kernels.tasks.patterns", TASK_KERNELS, "_"),
    "link": (f"{PACKAGE}.small.link", ("take", "command", "make_frame"), "_"),
    "guard": (f"{PACKAGE}.small.guard", ("check_block", "check_task"), "_"),
    "wire": (f"{PACKAGE}.small.wire", ("crc32",), "_"),
}
# In which states a command is allowed, one bit a state (subsong_device.session; a test compares).
STATES = {
    "HELLO": 0x7F, "OPEN": 0x5E, "WRITE": 0x0C, "SEAL": 0x0C, "BEGIN": 0x08, "STEP": 0x10, "END": 0x10, "RUN": 0x08,
    "READ": 0x0C, "SNAPSHOT": 0x7E, "CLOSE": 0x7F, "STOP": 0x7E,
}  # fmt: skip
_SUMMARY = tuple(words.SUMMARY + i for i in range(6))
# Which of the session's words are the fields of a frame that the board sends.
FIELDS = {
    "HELLO": (
        words.OF_SCHEMA, words.OF_ARITHMETIC, words.OF_TIER, words.OF_CHUNK, words.HEAP_FREE, words.DROPPED,
    ),
    "ACK": (words.FAULT, words.DETAIL),
    "ACT": (words.FIELDS, words.FIELDS + 1),
    "TRIAL": (words.FIELDS, *_SUMMARY, words.DROPPED),
    "DATA": (words.REGION, words.OFFSET, words.COUNT),
    "T_STEP": (words.NUMBER, words.TRIAL_NOW, words.STEP_NOW, words.COST_SEEN),
    "T_TRIAL": (words.NUMBER, words.TRIAL_NOW, *_SUMMARY, words.DROPPED, words.COST_SEEN),
    "T_SNAP": (words.NUMBER, words.TRIAL_NOW, words.REGION, words.OFFSET, words.COUNT),
    "T_DONE": (words.NUMBER, words.DONE),
}  # fmt: skip
_SIZES = {"B": 0, "H": 1, "I": 2, "i": 2}  # 1 << size bytes
_COMMAND_FIELDS = 8


def require_version(port: str, version: str) -> None:
    """Raise FirmwareError where a board that takes the small firmware runs another MicroPython than it was made for."""
    if version_numbers(version)[:2] != VERSION:
        raise FirmwareError(
            f"port {port}: the board runs MicroPython {version}, and the small firmware is made for 1.9.2, that of the "
            "micro:bit v1; a micro:bit v2 is not supported"
        )


def require_fit(port: str, board: str, block: LearnerBlock) -> None:
    """Raise BoardError, before anything is sent, where a board that takes the small firmware cannot learn this.

    Args:
        port: for the message.
        board: likewise, the profile's name.
        block: what would be sent.
    """
    head = struct.unpack(f"<{len(block.head) // 4}i", block.head)
    kind = int.from_bytes(block.task[:2], "little")
    never = [getattr(layout, name) for name in KNOWN.never]
    if block.rule not in RULES:
        what, instead = f'learner.rule = "{block.rule}"', f"let it learn by {' or '.join(RULES)}"
    elif head[layout.ESTIMATOR] in never:
        what, instead = "learning from the costs of single steps", "use another learner.estimator"
    elif any(head[getattr(layout, name)] != value for name, value in KNOWN.words):
        what, instead = (
            "a perturbation's code, updates that are gathered, or costs over their spread",
            "leave learner.code, tau, momentum_shift and spread_shift out",
        )
    elif kind == PLANT:
        what, instead = "a plant of its own", "play it on the host"
    elif kind != layout.PATTERNS:
        what, instead = f"the task {TASK_KINDS[kind]}", "let it learn xor"
    else:
        return
    raise BoardError(f"port {port}: {board} has no room for {what}; {instead}, or take another board")


@cache
def build_small(profile: Profile) -> Firmware:
    """Build the small firmware: the same installation gives the same bytes.

    Raises:
        EngineError, CompileError: a kernel is outside the dialect, or cannot be compiled.
    """
    target = profile.target or ""
    compiled = {
        name: compile_kernels(module, called, target, KNOWN, compact=True)
        for name, (module, called, _) in MODULES.items()
    }
    # Names cost heap there: a task's kernels, of one kind only, are the task's.
    sources = {
        MODULES[name][2] + kernel.name.replace("patterns_", "task_"): kernel.code
        for name, each in compiled.items()
        for kernel in each.kernels
    }
    sources["_session"] = session_image()
    parts = [part.encode() for part in board_parts(constants(compiled))]
    sources["parts"] = b"".join(parts)
    sizes = ",".join(str(len(part)) for part in parts)
    sources[f"{ENTRY}.py"] = (
        f"import gc\nf=open('parts')\nfor p in ({sizes}):\n exec(f.read(p))\n gc.collect()\nf.close()\n"
    ).encode()
    digests = {name: compiled[name].digest for name in (*RULES, "tasks")}
    firmware = firmware_of(sources, None, {target: digests})
    return Firmware(replace(firmware.manifest, profile=profile.name), firmware.sources)


def constants(compiled: Mapping[str, Compiled]) -> dict[str, int]:
    """Return the constants that board.py imports, and the two sizes that only the host knows."""
    known = {name: value for name, value in vars(words).items() if isinstance(value, int)}
    # The guard takes the learner's place while it looks at a block, and the task's beginning before a trial's.
    names = (*RULES, "guard", "tasks")
    learner = [kernel.code for name in names for kernel in compiled[name].kernels]
    return known | {"ARENA_BYTES": ARENA_BYTES, "LEARNER_BYTES": max(map(len, learner))}


def session_image() -> bytes:
    """Return the first values of a session's words: what the board says of itself, and its rows of frames."""
    image = [0] * words.SESSION_WORDS
    image[words.OF_SCHEMA] = frames.schema()
    image[words.OF_ARITHMETIC] = layout.ARITHMETIC_VERSION
    image[words.OF_TIER] = MACHINE_CODE
    image[words.OF_CHUNK] = words.CHUNK
    image[words.WINDOW_LEFT] = frames.WINDOW
    image[words.DEADMAN_MS] = 10000
    lengths = frames.body_lengths(True, 0, 0, words.CHUNK)
    for kind, name, payload, _ in frames.TABLE:
        sizes = [_SIZES[code] for code in payload if code in _SIZES]
        if frames.STOP < kind < frames.R_HELLO or kind in (frames.STATUS, frames.CHECKPOINT, frames.T_TIME):
            continue  # a small board has none of these
        if kind < frames.R_HELLO:
            row = lengths[kind] | STATES[name] << 8
            for place, size in enumerate((sizes + [words.NO_FIELD] * _COMMAND_FIELDS)[:_COMMAND_FIELDS]):
                row |= size << (15 + 2 * place)
            image[words.COMMAND_ROWS + kind - frames.HELLO] = row
        else:
            fields = bytes(word << 2 | size for word, size in zip(FIELDS[name], sizes, strict=True))
            text = (bytes([kind, _follows(name, payload)]) + fields).ljust(12, bytes([words.NO_WORD]))
            at = getattr(words, f"ROW_{name}")
            image[at : at + words.ROW_WORDS] = struct.unpack("<3I", text)
    return struct.pack(f"<{len(image)}I", *image)


def _follows(name: str, payload: str) -> int:
    follows = words.UNASKED if name.startswith("T_") else 0
    for code, value in (
        ("D", words.FOLLOWED_BY_CHUNK), ("S", words.FOLLOWED_BY_STEP), ("A", words.FOLLOWED_BY_ACTUATORS),
    ):  # fmt: skip
        if code in payload:
            return follows | value
    return follows


def board_parts(values: Mapping[str, int]) -> list[str]:
    """Return board.py as the board compiles it: statement by statement, without what costs heap there.

    Args:
        values: of the constants that it imports.
    """
    text = resources.files(PACKAGE).joinpath("small", "board.py").read_text(encoding="utf-8")
    tree = ast.parse(text)
    tree.body = [
        node
        for node in tree.body
        if not (isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(PACKAGE))
        and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    ]
    shortened = _Shorten(tree, values).visit(tree)
    return [_dense(ast.unparse(ast.fix_missing_locations(node))) + "\n" for node in shortened.body]


def _dense(text: str) -> str:
    lines = text.splitlines()
    bare = [line.lstrip(" ") for line in lines]
    return "\n".join(" " * ((len(line) - len(rest)) // 4) + rest for line, rest in zip(lines, bare, strict=True))


class _Shorten(ast.NodeTransformer):
    """Gives every name of the file's own one letter: each new name takes a dozen bytes of heap.

    Names of the file have upper case (and z, y, ..), those of a function lower case from a on; `main` stays.
    """

    def __init__(self, tree: ast.Module, values: Mapping[str, int]) -> None:
        self.values = values
        self.own: dict[str, str] = {}
        self.local: dict[str, str] = {}
        letters = iter(ascii_uppercase + ascii_lowercase[:17:-1])
        for node in tree.body:
            for name in _assigned(node) if isinstance(node, ast.Assign) else [getattr(node, "name", "main")]:
                if name != "main" and name not in self.own:
                    self.own[name] = next(letters)

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in self.values:
            return ast.Constant(self.values[node.id])
        return ast.Name(self.local.get(node.id) or self.own.get(node.id, node.id), node.ctx)

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.left, ast.Constant) and isinstance(node.right, ast.Constant) and type(node.op) is ast.Add:
            return ast.Constant(node.left.value + node.right.value)  # type: ignore[operator]  # both are numbers here
        return node

    def visit_Global(self, node: ast.Global) -> ast.Global:
        return ast.Global([self.own[name] for name in node.names])

    def visit_arg(self, node: ast.arg) -> ast.arg:
        return ast.arg(self.local.get(node.arg, node.arg))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        body = node.body[1:] or [ast.Pass()]  # without its docstring
        node.body = body
        node.name = self.own.get(node.name, node.name)
        if node.decorator_list:  # inline assembler: its parameters are registers
            return node
        shared = {name for each in ast.walk(node) if isinstance(each, ast.Global) for name in each.names}
        names = [arg.arg for arg in node.args.args]
        names += [name for each in body for name in _assigned(each) if name not in shared]
        self.local = dict(zip(dict.fromkeys(names), ascii_lowercase[:18], strict=False))
        self.generic_visit(node)
        self.local = {}
        return node


def _assigned(node: ast.AST) -> list[str]:
    return [each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)]
