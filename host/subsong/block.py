"""Builds a learner's block of memory: the same bytes go to the board and to the simulator."""

import hashlib
import math
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from subsong.errors import ExperimentError
from subsong.experiment import Experiment, Network
from subsong.rules import BY_NAME, PAIRS, WEIGHT
from subsong.tasks import DRIVE_FRAC, SENSOR_FRAC, task_block
from subsong_device import layout

ACTIVATIONS = {
    "identity": layout.IDENTITY,
    "hard_tanh": layout.HARD_TANH,
    "tanh": layout.TANH,
    "logistic": layout.LOGISTIC,
    "integrate_fire": layout.INTEGRATE_FIRE,
}
ESTIMATORS = {
    "running_baseline": layout.RUNNING_BASELINE,
    "unperturbed_trial": layout.UNPERTURBED_TRIAL,
    "two_sided": layout.TWO_SIDED,
    "each_step": layout.EACH_STEP,
    "best_so_far": layout.BEST_SO_FAR,
    "perturbed_pair": layout.PERTURBED_PAIR,
}


@dataclass(frozen=True)
class Block:
    """A learner's initial memory.

    Attributes:
        rule: name of the learner.
        head: little-endian int32 words, subsong_device.layout.
        mem: little-endian uint16 words.
        task: little-endian uint16 words of the on-board task, empty for a plant.
    """

    rule: str
    head: bytes
    mem: bytes
    task: bytes
    n_sensors: int
    n_actuators: int

    @property
    def digest(self) -> str:
        """sha256 over rule, head, mem and task: names the experiment."""
        parts = (self.rule.encode(), self.head, self.mem, self.task)
        return hashlib.sha256(b"".join(len(p).to_bytes(4, "little") + p for p in parts)).hexdigest()

    def holding(self, mem: bytes | None) -> "Block":
        """Return the block with another memory in place of its own: weights learned elsewhere; itself for None.

        Raises:
            ExperimentError: that memory is of another network or rule.
        """
        if mem is None:
            return self
        if len(mem) != len(self.mem):
            raise ExperimentError(
                f"network: its memory under {self.rule} has {len(self.mem)} bytes, and the one to begin with has "
                f"{len(mem)}; take weights of the same network and rule"
            )
        return replace(self, mem=mem)


def stream_seed(seed: int, stream: str, index: int = 0) -> int:
    """Return the 32-bit seed of a named stream: the first 4 bytes (little-endian) of sha256 of "seed/stream/index".

    0, where xorshift would stay for ever, becomes 1.
    """
    digest = hashlib.sha256(f"{seed}/{stream}/{index}".encode()).digest()
    return int.from_bytes(digest[:4], "little") or 1


def product_shift(n_in: int) -> int:
    """Return the least s with 2**s >= n_in + 1: n_in shifted products and a bias then stay below 2**30."""
    return n_in.bit_length()


def layer_rows(network: Network) -> list[list[int]]:
    """Return the layers' rows of head.

    Raises:
        ExperimentError: the formats leave no room for a layer's fan-in.
    """
    sizes = network.layers
    recurrent = network.recurrent or (False,) * (len(sizes) - 1)
    bias = network.bias or (True,) * (len(sizes) - 1)
    rows = []
    frac = SENSOR_FRAC
    for k, (n_below, n_out, name) in enumerate(zip(sizes[:-1], sizes[1:], network.activations, strict=True)):
        own = n_out if recurrent[k] else 0
        n_in = n_below + own
        shift = product_shift(n_in)
        room = min(frac, network.weight_frac + frac - DRIVE_FRAC)
        if shift > room:
            raise ExperimentError(
                f"network.layers[{k}]: {n_in} inputs leave no room for weight_frac = {network.weight_frac}; "
                f"allowed: at most {2**room - 1} inputs here"
            )
        bias_shift = frac - shift if bias[k] else layout.NO_BIAS
        drive_shift = network.weight_frac + frac - shift - DRIVE_FRAC
        rows.append([n_in, n_out, ACTIVATIONS[name], shift, bias_shift, drive_shift, frac, own])
        frac = DRIVE_FRAC if name == "identity" else SENSOR_FRAC
    return rows


def build_block(experiment: Experiment) -> Block:
    """Build the block of an experiment.

    Raises:
        ExperimentError: the formats leave no room for a layer's fan-in.
    """
    network, learner = experiment.network, experiment.learner
    rule = BY_NAME[learner.rule]
    _, bits, unit_words, synapse_words = rule.needs
    sizes = network.layers
    rows = layer_rows(network)
    n_weights = sum((row[layout.N_IN] + 1) * row[layout.N_OUT] for row in rows)
    needs_table = unit_words > 0 or any(a in ("tanh", "logistic") for a in network.activations)
    # mem: weights, signals, signs, units, table, synapses; what is not there has no words.
    ends = [0]
    for words in (
        n_weights,
        sizes[0] + sum(row[layout.RECURRENT] + row[layout.N_OUT] for row in rows),
        bits * sum((o + 15) // 16 for o in sizes[1:]),
        unit_words * sum(sizes[1:]),
        layout.TABLE_WORDS if needs_table else 0,
        synapse_words * n_weights,
    ):
        ends.append(ends[-1] + words)
    signs_at, units_at, table_at, synapses_at, end = ends[2:]
    amplitude = round((learner.amplitude or 0) * 2 ** rule.amplitude_frac(network.weight_frac))
    eligibility_at = layout.LAYERS_AT + layout.LAYER_WORDS * len(rows)

    head = np.zeros(eligibility_at + rule.int32s(learner.tau, learner.momentum_shift) * n_weights, dtype="<i4")
    for at, word in (
        (layout.ESTIMATOR, ESTIMATORS[learner.estimator]),
        (layout.AMPLITUDE, amplitude),
        (layout.RATE, learner.rate),
        (layout.RATE_SHIFT, learner.rate_shift),
        (layout.BASELINE_SHIFT, learner.baseline_shift),
        (layout.STOCHASTIC, int(learner.rounding == "stochastic")),
        (layout.SPREAD_SHIFT, learner.spread_shift),
        (layout.ANNEAL, anneal(experiment)),
        (layout.SPREAD_FRAC, layout.MOST_SPREAD_FRAC),
        (layout.ANNEALED, layout.ONE_RATE),
        (layout.N_LAYERS, len(rows)),
        (layout.N_WEIGHTS, n_weights),
        (layout.LIMIT, 32767 - (amplitude if rule.perturbs == WEIGHT else 0)),
        (layout.SIGNS_AT, signs_at),
        (layout.UNITS_AT, units_at),
        (layout.TABLE_AT, table_at),
        (layout.SYNAPSES_AT, synapses_at),
        (layout.ELIGIBILITY_AT, eligibility_at),
        *((option.at, option.word(getattr(learner, key))) for key, option in rule.options),
        *((at, derive(experiment)) for at, derive in rule.derived),
    ):
        head[at] = word
    for at, stream in ((layout.PERTURBATION, "perturbation"), (layout.ROUNDING, "rounding")):
        seed = stream_seed(experiment.seed, stream)
        head[at], head[at + 1] = seed & 0xFFFF, seed >> 16
    head[layout.LAYERS_AT : eligibility_at] = np.ravel(rows)

    mem = np.zeros(end, dtype="<u2")
    span = min(round(network.init * 2**network.weight_frac), int(head[layout.LIMIT]))
    mem[:n_weights] = initial_weights(n_weights, span, stream_seed(experiment.seed, "init"))
    if rule.spiking:
        fix_pools(mem, network)
    if rule.strength:
        strengths = stream_seed(experiment.seed, "strength")
        mem[synapses_at:] = initial_weights(n_weights, getattr(learner, rule.strength), strengths)
    if needs_table:
        mem[table_at : table_at + layout.TABLE_WORDS] = tanh_table()
    return Block(learner.rule, head.tobytes(), mem.tobytes(), task_block(experiment), sizes[0], sizes[-1])


def anneal(experiment: Experiment) -> int:
    """Return what an update takes off the factor on the rate: all of it over the updates that the run will make.

    Under "each_step" a run has an update a step, and its trials are taken to be as long as they may be.
    """
    if not experiment.learner.anneal:
        return 0
    updates = experiment.run.trials
    if experiment.learner.estimator in PAIRS:
        updates //= 2
    elif experiment.learner.estimator == "each_step":
        updates *= experiment.run.steps
    return max(layout.ONE_RATE // max(updates, 1), 1)


def initial_weights(n: int, span: int, seed: int) -> list[int]:
    """Return n weights uniform in -span..span, as uint16 words; drawn as the kernels draw, since that never changes."""
    from subsong_sim.loader import PACKAGE, load

    draw = load(f"{PACKAGE}.kernels.random", ("draw",), "cpython").draw
    stream = [seed & 0xFFFF, seed >> 16]
    return [((draw(stream, 0) * (2 * span + 1) >> 16) - span) & 0xFFFF for _ in range(n)]


def fix_pools(mem: "np.typing.NDArray[np.uint16]", network: Network) -> None:
    """Write the weights of the layers that spiking rules do not learn: unit i of n pools every n-th input from i on.

    The first of them pushes, the next pulls, and so on; either side's weights have the sum 2. There is no bias.
    """
    at = 0
    for n_in, n_out, kind, own in zip(
        network.layers, network.layers[1:], network.activations, network.recurrent or (False,) * 99, strict=False
    ):
        row = n_in + own * n_out + 1
        if kind != "integrate_fire":
            rows = np.zeros((n_out, row), np.int64)
            for i in range(n_out):
                pool = np.arange(i, n_in, n_out)
                for k, side in enumerate((pool[::2], pool[1::2])):
                    rows[i, side] = (1 - 2 * k) * round(2 * 2**network.weight_frac / max(len(side), 1))
            mem[at : at + rows.size] = rows.clip(-32767, 32767).ravel().astype("<i2").view("<u2")
        at += row * n_out


@cache
def tanh_table() -> tuple[int, ...]:
    """Return the 257 words of tanh at (i - 128) / 16, offset by 32768."""
    return tuple(round(32767 * math.tanh((i - 128) / 16)) + 32768 for i in range(layout.TABLE_WORDS))
