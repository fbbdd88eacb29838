"""What kernels take on an emulated Pico, engine by engine, each call from the same state and with the same outcome."""

from array import array
from binascii import crc32
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from board.pico import Pico
from board.reference import BenchError, reference_module

from subsong.block import Block, build_block
from subsong.compiler import assembler_module, compile_kernels
from subsong.compiler.viper import viper_module
from subsong.experiment import parse_experiment
from subsong_device import layout
from subsong_sim.loader import LEARNER_KERNELS, PACKAGE, gather, load, render

RULES = ("weight_perturbation", "node_perturbation")
ENGINES = ("bytecode", "viper", "machine code", "C")
NETWORK = f"{PACKAGE}.kernels.network"
# What the C kernels take, by name: their Python namesakes' parameters.
PARAMETERS = {
    "begin": ("head", "mem"),
    "act": ("head", "mem", "x", "u"),
    "end": ("head", "mem"),
    "forward": ("head", "mem", "amount"),
}
Network = tuple[int, ...]


class Step(NamedTuple):
    """One call of a kernel.

    Attributes:
        name: of the kernel.
        takes: beside head and mem: "xu" for both buffers, "a" for the amount 0.
        settings: words of head to set before.
        measured: whether it counts.
    """

    name: str
    takes: str
    settings: dict[int, int]
    measured: bool


@dataclass(frozen=True)
class Call:
    """What one call of a kernel took, and what it left behind.

    Attributes:
        cycles: net of the call.
        call: what the same engine takes to call a kernel that does nothing, with as many arguments.
        left: CRC-32 over head, mem, x and u afterwards.
    """

    cycles: int
    call: int
    left: int


def script_of() -> list[Step]:
    """Return the calls: two trials of one step, the second of which updates; and forward."""
    return [
        Step("begin", "", {layout.EVALUATE: 0}, True),
        Step("act", "xu", {layout.COST: 0}, True),
        Step("end", "", {layout.COST: 1 << 22}, False),
        Step("begin", "", {}, False),
        Step("act", "xu", {layout.COST: 0}, False),
        Step("end", "", {layout.COST: 1 << 20}, True),
        Step("forward", "a", {}, True),
    ]


def synapses(layers: Network) -> int:
    """Return how many weights a network has, biases included."""
    return sum((n_in + 1) * n_out for n_in, n_out in pairwise(layers))


def block_of(rule: str, layers: Network) -> Block:
    """Return a learner's block: tanh within, logistic at the end, two-sided, as in examples/xor.toml."""
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


def words_of(layers: Network) -> tuple[bytes, bytes]:
    """Return sensor words, and room for actuator words."""
    x = array("H", [(9973 * (j + 1)) & 0xFFFF for j in range(layers[0])])
    return x.tobytes(), bytes(2 * layers[-1])


def sources(rule: str, engine: str) -> list[str]:
    """Return modules, as MicroPython source, in which an engine has the kernels of a rule, and forward."""
    learner = f"{PACKAGE}.learners.{rule}"
    if engine == "machine code":
        return [
            assembler_module(compile_kernels(learner, LEARNER_KERNELS, "armv6m")),
            assembler_module(compile_kernels(NETWORK, ("forward",), "armv6m")),
        ]
    if engine == "viper":
        return [viper_module(learner, LEARNER_KERNELS), viper_module(NETWORK, ("forward",))]
    if engine == "C":
        return [
            reference_module(rule, LEARNER_KERNELS, PARAMETERS),
            reference_module("network", ("forward",), PARAMETERS),
        ]
    return [render(gather(learner, LEARNER_KERNELS), "cpython")]


def on_board(pico: Pico, rule: str, layers: Network, engine: str) -> list[Call]:
    """Return what each call of the script takes on the board, which has the engine's kernels."""
    block, (x, u) = block_of(rule, layers), words_of(layers)
    script = [(step.name, step.takes, list(step.settings.items()), step.measured) for step in script_of()]
    buffers = [b.hex() for b in (block.head, block.mem, x, u)]
    # Beside bytecode's milliseconds, an interrupt is nothing.
    rounds = 1 if engine == "bytecode" else 2
    out = pico.run(f"measure({engine!r}, kernels[{rule!r}], {script!r}, {rounds}, *{buffers!r})")
    return [Call(*map(int, line.split()[1:])) for line in out.splitlines()]


def prepare(pico: Pico) -> None:
    """Have the board ready to take kernels and measure them."""
    pico.run(Path(__file__).with_name("measure.py").read_text(encoding="utf-8"))
    pico.run("kernels = {}")


def load_on_board(pico: Pico, rule: str, engine: str) -> None:
    """Have the board compile an engine's kernels, in place of what it had of that rule."""
    pico.run(f"kernels[{rule!r}] = {{}}; gc.collect()")
    for source in sources(rule, engine):
        pico.run(f"exec({source!r}, kernels[{rule!r}])")


def under_cpython(rule: str, layers: Network) -> list[int]:
    """Return what each call leaves behind, by the same kernels under CPython."""
    block, (x, u) = block_of(rule, layers), words_of(layers)
    kernels: Any = load(f"{PACKAGE}.learners.{rule}", LEARNER_KERNELS, "cpython")
    buffers = [array(t, b) for t, b in zip("iHHH", (block.head, block.mem, x, u), strict=True)]
    left = []
    for step in script_of():
        for at, value in step.settings.items():
            buffers[0][at] = value
        extra = {"xu": buffers[2:], "a": [0], "": []}[step.takes]
        getattr(kernels, step.name)(*buffers[:2], *extra)
        crc = 0
        for buffer in buffers:
            crc = crc32(buffer, crc)
        left.append(crc)
    return left


def measure(pico: Pico, networks: tuple[Network, ...]) -> dict[tuple[str, Network, str, str], Call]:
    """Measure every engine on every rule and network.

    Returns:
        What each measured call took, by rule, network, engine and kernel.

    Raises:
        BenchError: an engine left other words behind than CPython: it is wrong, however quick.
    """
    prepare(pico)
    found = {}
    for rule in RULES:
        expected = {layers: under_cpython(rule, layers) for layers in networks}
        for engine in ENGINES:
            load_on_board(pico, rule, engine)
            for layers in networks:
                calls = on_board(pico, rule, layers, engine)
                for n, (step, call, left) in enumerate(zip(script_of(), calls, expected[layers], strict=True)):
                    if call.left != left:
                        raise BenchError(
                            f"{engine}, {rule}, {layers}: call {n}, {step.name}, left other words than CPython; mend"
                            f" that before timing it"
                        )
                    if step.measured:
                        found[rule, layers, engine, step.name] = call
        pico.run(f"del kernels[{rule!r}]")
    return found
