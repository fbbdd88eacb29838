"""Cycles of the kernels on an emulated Pico, engine against engine: writes docs/board-figures.md.

`make bench-board`; QUICK=1 for the smaller network alone, and nothing written.
"""

import os
import sys
from array import array
from binascii import crc32
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from board.pico import CLOCK_HZ, Pico
from board.reference import BenchError, reference_module
from board.reference import version as gcc_version

from subsong.block import Block, build_block
from subsong.compiler import assembler_module, compile_kernels
from subsong.experiment import parse_experiment
from subsong_device import layout
from subsong_sim.loader import LEARNER_KERNELS, PACKAGE, gather, load, render

QUICK = os.environ.get("QUICK", "0") not in ("", "0")
FIRMWARE = "1.25.0"
RULES = ("weight_perturbation", "node_perturbation")
NETWORKS = ((4, 8, 1),) if QUICK else ((4, 8, 1), (16, 32, 4))
ENGINES = ("bytecode", "viper", "machine code", "C")
KERNELS = ("forward", *LEARNER_KERNELS)
TARGETS = {"bytecode": 150.0, "viper": 5.0}
AT_MOST_C = 1.10
STEP_US = 60.0
PAGE = Path(__file__).resolve().parent.parent / "docs" / "board-figures.md"


@dataclass(frozen=True)
class Call:
    """What one call of a kernel took, and what it left behind.

    Attributes:
        cycles: net of the call.
        call: what calling an empty kernel takes, by the same engine, with as many arguments.
        left: CRC-32 over head, mem, x and u afterwards.
    """

    cycles: int
    call: int
    left: int


def block_of(rule: str, layers: tuple[int, ...]) -> Block:
    """Return the block of a learner: tanh within, logistic at the end, two-sided, as in examples/xor.toml."""
    text = f"""
seed = 1
[network]
layers = {list(layers)}
activations = ["tanh", "logistic"]
weight_frac = 11
init = 1.1
[learner]
rule = "{rule}"
amplitude = {0.1 if rule == "weight_perturbation" else 0.4}
rate = 3
rate_shift = 17
estimator = "two_sided"
[plant]
kind = "gymnasium"
id = "None-v0"
[run]
trials = 1
steps = 1
"""
    return build_block(parse_experiment(text, "benchmark"))


def script_of(rule: str) -> list[tuple[str, str, list[tuple[int, int]]]]:
    """Return the calls to measure: two trials of a step, the second of which updates; and forward after them.

    Each is a name, what it takes besides head and mem ("xu": both buffers; "a": an amount), and words of head to set.
    """
    first = [("begin", "", [(layout.EVALUATE, 0)]), ("act", "xu", [(layout.COST, 0)]), ("end", "", [(layout.COST, 1 << 22)])]
    second = [*first[:2], ("end", "", [(layout.COST, 1 << 20)])]
    return [*first, *second, ("forward", "a", [])]


def words_of(layers: tuple[int, ...]) -> tuple[bytes, bytes]:
    """Return sensor words and room for actuator words."""
    x = array("H", [(9973 * (j + 1)) & 0xFFFF for j in range(layers[0])])
    return x.tobytes(), bytes(2 * layers[-1])


def sources(rule: str, engine: str) -> list[str]:
    """Return the modules, as MicroPython source, in which an engine has the kernels of a rule, and forward."""
    learner, network = f"{PACKAGE}.learners.{rule}", f"{PACKAGE}.kernels.network"
    if engine == "machine code":
        return [
            assembler_module(compile_kernels(learner, LEARNER_KERNELS, "armv6m")),
            assembler_module(compile_kernels(network, ("forward",), "armv6m")),
        ]
    if engine == "viper":
        from subsong.compiler.viper import viper_module

        return [viper_module(learner, LEARNER_KERNELS), viper_module(network, ("forward",))]
    if engine == "C":
        parameters = dict.fromkeys(("begin", "end"), ("head", "mem"))
        parameters |= {"act": ("head", "mem", "x", "u"), "forward": ("head", "mem", "amount")}
        return [reference_module(rule, LEARNER_KERNELS, parameters), reference_module("network", ("forward",), parameters)]
    return [render(gather(learner, LEARNER_KERNELS), "cpython")]


def on_board(pico: Pico, rule: str, layers: tuple[int, ...], engine: str) -> list[Call]:
    """Return what each call of the script takes on the board."""
    block, (x, u) = block_of(rule, layers), words_of(layers)
    rounds = 1 if engine == "bytecode" else 3
    buffers = [b.hex() for b in (block.head, block.mem, x, u)]
    out = pico.run(f"measure({engine!r}, kernels[{rule!r}], {script_of(rule)!r}, *{buffers!r}, {rounds})")
    return [Call(*map(int, line.split()[1:])) for line in out.splitlines()]


def load_on_board(pico: Pico, rule: str, engine: str) -> None:
    """Have the board compile an engine's kernels, in place of what it had of that rule."""
    pico.run(f"kernels[{rule!r}] = {{}}; gc.collect()")
    for source in sources(rule, engine):
        pico.run(f"exec({source!r}, kernels[{rule!r}])")


def under_cpython(rule: str, layers: tuple[int, ...]) -> list[int]:
    """Return what each call leaves behind, by the same kernels under CPython."""
    block, (x, u) = block_of(rule, layers), words_of(layers)
    kernels: Any = load(f"{PACKAGE}.learners.{rule}", LEARNER_KERNELS, "cpython")
    buffers = [array(t, b) for t, b in zip("iHHH", (block.head, block.mem, x, u), strict=True)]
    left = []
    for name, takes, settings in script_of(rule):
        for at, value in settings:
            buffers[0][at] = value
        getattr(kernels, name)(*(buffers if takes == "xu" else buffers[:2]), *([0] if takes == "a" else []))
        crc = 0
        for buffer in buffers:
            crc = crc32(buffer, crc)
        left.append(crc)
    return left


def measure(pico: Pico) -> dict[tuple[str, tuple[int, ...], str], list[Call]]:
    """Measure every engine on every rule and network; all must leave the same words behind."""
    pico.run((Path(__file__).parent / "board" / "measure.py").read_text(encoding="utf-8"))
    pico.run("kernels = {}")
    found = {}
    for rule in RULES:
        expected = {layers: under_cpython(rule, layers) for layers in NETWORKS}
        for engine in ENGINES:
            load_on_board(pico, rule, engine)
            for layers in NETWORKS:
                calls = on_board(pico, rule, layers, engine)
                for n, (call, left) in enumerate(zip(calls, expected[layers], strict=True)):
                    if call.left != left:
                        raise BenchError(
                            f"{engine}, {rule}, {layers}: call {n}, {script_of(rule)[n][0]}, left other words than"
                            " CPython; mend that before timing it"
                        )
                found[rule, layers, engine] = calls
        pico.run(f"del kernels[{rule!r}]")
    return found
