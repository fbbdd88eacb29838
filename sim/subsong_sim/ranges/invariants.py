"""What memory may hold before a trial, and must hold after it: the invariants that the proof rests on, and proves.

docs/ranges.md says the same in words. What every learner has is in `Block`; what a rule has of its own is its row of
RULES, and what a kind of on-board task has, its row of TASKS. For a new rule add a row:

    "leaky_rule": Rule(amplitude=(1, 16384)),                        an eligibility to which a step adds 2**15 at most
    "hebb": Rule(amplitude=(0, 0), factor=1 << 20),                  no perturbation; a step adds up to 2**20
    "traced": Rule(amplitude=(0, 0), eligibility=lambda block, phase: (-LIMIT, LIMIT)),   its kernels clip it
    "spiking": Rule(
        amplitude=(0, 0),
        options={"LEAK_SHIFT": (1, 12)},        words of head that the host writes and nothing changes
        state={"BEST_COST": COST},              words of head that trials change: what they may hold between two
        units=(0, 32767),                       what the words of units hold (int16), and those of synapses likewise
    ),

How many words of units and synapses there are, and whether it has signs and an eligibility, is in
subsong_device.block.NEEDS. Words that differ among themselves, membrane potentials beside traces, are regions of their
own: `regions` then returns them, and they take the place of "units" and "synapses". An interval that is too narrow is
no danger: the trial's end is proved to be within it again, or refused by name. So begin with what the kernels clip to.
"""

import ast
import struct
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib import resources
from typing import NamedTuple

from subsong_device import frames, layout
from subsong_device.block import NEEDS, TASK_KINDS
from subsong_sim.dialect import Violation
from subsong_sim.ranges.memory import INT16, Memory
from subsong_sim.ranges.regions import Region, fresh
from subsong_sim.ranges.state import State
from subsong_sim.ranges.values import INT32_HIGH, WORD, Interval, unknown

COST = (-layout.COST_LIMIT, layout.COST_LIMIT)
BIT = (0, 1)
WORDS = (0, WORD)
FADED = (1 << 30) - (1 << 15)  # kernels.eligibility.ELIGIBILITY_LIMIT
ONE_INPUT = 1 << 15  # the largest magnitude of an input's word: what a step adds to an eligibility

# Written by the host; exact in the proof, and in these ranges for the proof to mean what docs/arithmetic.md says.
CONFIGURATION = {
    "ESTIMATOR": (layout.RUNNING_BASELINE, layout.EACH_STEP),
    "RATE": (1, 16383),
    "RATE_SHIFT": (0, 29),
    "BASELINE_SHIFT": (1, 15),
    "STOCHASTIC": BIT,
    "TRACE_SHIFT": (0, 14),
}
ESTIMATORS = {
    layout.RUNNING_BASELINE: "running_baseline",
    layout.UNPERTURBED_TRIAL: "unperturbed_trial",
    layout.TWO_SIDED: "two_sided",
    layout.EACH_STEP: "each_step",
}


class Rule(NamedTuple):
    """What a rule has of its own.

    Attributes:
        amplitude: what AMPLITUDE may be.
        weights: it perturbs weights, whose LIMIT leaves room for that.
        factor: the largest magnitude that a step adds to an eligibility.
        eligibility: returns what an eligibility may be between trials, given the block and PHASE; None: the sum of
            what the trials of a pair add, or under EACH_STEP what `fade` clips to and a step adds.
        options: its words of head that stay as the host wrote them, by their names in layout.py.
        state: its words of head that trials change, likewise.
        units: what the words that it keeps for each unit hold, int16.
        synapses: the same for each weight.
        regions: returns those words as regions, where they are not all of one kind.
    """

    amplitude: Interval
    weights: bool = False
    factor: int = ONE_INPUT
    eligibility: "Callable[[Block, int], Interval] | None" = None
    options: Mapping[str, Interval] = {}
    state: Mapping[str, Interval] = {}
    units: Interval = INT16
    synapses: Interval = INT16
    regions: "Callable[[Block], list[Region]] | None" = None


RULES: Mapping[str, Rule] = {
    "weight_perturbation": Rule(amplitude=(1, 4096), weights=True),
    "node_perturbation": Rule(amplitude=(1, 16384)),
}


class Case(NamedTuple):
    """A trial to be proved: what is known of it beforehand."""

    evaluate: int
    phase: int
    started: int


class Block:
    """A learner's block, and what its words may hold.

    Args:
        rule: such as "weight_perturbation".
        head: little-endian int32 words.
        mem: little-endian uint16 words.
        steps: of a trial, at most.
    """

    def __init__(self, rule: str, head: bytes, mem: bytes, steps: int) -> None:
        self.rule, self.steps = rule, steps
        self.own = RULES[rule]
        # int32 of head a weight, bits of mem a unit, words of mem a unit, words of mem a weight.
        self.needs = NEEDS[frames.RULES.index(rule)]
        self.head = struct.unpack(f"<{len(head) // 4}i", head)
        self.mem = struct.unpack(f"<{len(mem) // 2}H", mem)
        n = self.head[layout.N_LAYERS]
        rows = [layout.LAYERS_AT + layout.LAYER_WORDS * k for k in range(n)]
        self.rows_end = layout.LAYERS_AT + layout.LAYER_WORDS * n
        if n < 1 or self.rows_end > len(self.head):
            rows, self.rows_end = [], min(layout.LAYERS_AT, len(self.head))
        self.recurrent = [self.head[at + layout.RECURRENT] for at in rows]
        inputs = [self.head[at + layout.N_IN] - own for at, own in zip(rows, self.recurrent, strict=True)]
        self.sizes = inputs[:1] + [self.head[at + layout.N_OUT] for at in rows]
        self.estimator = self.head[layout.ESTIMATOR]

    @property
    def words(self) -> str:
        """The configuration in words, for messages."""
        h, estimator = self.head, ESTIMATORS.get(self.estimator, str(self.estimator))
        heard = [str(k + 1) for k, own in enumerate(self.recurrent) if own]
        again = f" (recurrent: {', '.join(heard)})" if heard else ""
        return (
            f"{self.rule}, {estimator}, layers {'-'.join(map(str, self.sizes))}{again}, "
            f"amplitude {h[layout.AMPLITUDE]}, rate {h[layout.RATE]} * 2**-{h[layout.RATE_SHIFT]}"
        )

    def scalars(self) -> dict[str, Interval]:
        """Return what the scalars that trials change may hold between two of them."""
        streams = ("PERTURBATION", "REWIND", "ROUNDING")
        return {
            "COST": COST,
            "EVALUATE": BIT,
            "STEPS": (0, self.steps),
            "TOTAL": COST,
            "BASELINE": COST,
            "CHECK": (0, 2**28 - 1),
            "SATURATED": (0, INT32_HIGH),
            "PHASE": BIT,
            "STARTED": BIT,
            "REMAINDER": (0, (1 << min(self.head[layout.BASELINE_SHIFT], 15)) - 1),
            "SIGN": (-1, 1),
            "DELTA": (2 * COST[0], 2 * COST[1]),
            **dict.fromkeys(streams, WORDS),
            **self.own.state,
        }

    def cells(self) -> dict[int, tuple[str, Interval]]:
        """Return name and interval of every scalar that trials change, by its index in head."""
        found = {getattr(layout, name): (name, interval) for name, interval in self.scalars().items()}
        for name in ("PERTURBATION", "REWIND", "ROUNDING"):
            found[getattr(layout, name) + 1] = name, WORDS
        return found

    def weights(self) -> Interval:
        """Return what a weight may be between trials."""
        limit = self.head[layout.LIMIT]
        return -limit, limit

    def eligibility(self, phase: int) -> Interval:
        """Return what an eligibility may be between trials: a pair's first trial leaves half of what both may."""
        if self.own.eligibility is not None:
            return self.own.eligibility(self, phase)
        if self.estimator == layout.EACH_STEP:
            return -FADED - self.own.factor, FADED + self.own.factor
        trials = 1 if self.estimator != layout.TWO_SIDED or phase else 2
        return -trials * self.steps * self.own.factor, trials * self.steps * self.own.factor

    def regions(self) -> list[Region]:
        """Return the regions whose words are not told apart."""
        h = self.head
        n_weights, signals = h[layout.N_WEIGHTS], sum(self.sizes) + sum(self.recurrent)
        signs = sum((n + 15) // 16 for n in self.sizes[1:])
        at, limit = h[layout.WEIGHTS_AT], self.weights()
        found = [
            Region("weights", "mem", at, at + n_weights, 16, limit),
            Region("signals", "mem", h[layout.SIGNALS_AT], h[layout.SIGNALS_AT] + signals, 16, INT16),
            Region("x", "x", 0, self.sizes[0] if self.sizes else 0, 16, INT16),
            Region("u", "u", 0, self.sizes[-1] if self.sizes else 0, 16, INT16),
        ]
        eligibility, bits, unit_words, synapse_words = self.needs
        if bits:
            found.append(Region("signs", "mem", h[layout.SIGNS_AT], h[layout.SIGNS_AT] + bits * signs, 16, INT16))
        if eligibility:
            e = h[layout.ELIGIBILITY_AT]
            found.append(Region("eligibility", "head", e, e + eligibility * n_weights, 32, self.eligibility(0)))
        if self.own.regions is not None:
            found += self.own.regions(self)
        else:
            start, n = h[layout.UNITS_AT], unit_words * sum(self.sizes[1:])
            found.append(Region("units", "mem", start, start + n, 16, self.own.units))
            start, n = h[layout.SYNAPSES_AT], synapse_words * n_weights
            found.append(Region("synapses", "mem", start, start + n, 16, self.own.synapses))
        table = h[layout.TABLE_AT]
        kinds = {h[at + layout.ACTIVATION] for at in range(layout.LAYERS_AT, self.rows_end, layout.LAYER_WORDS)}
        if unit_words or kinds & {layout.TANH, layout.LOGISTIC}:
            data = self.mem[table : table + layout.TABLE_WORDS]
            found.append(Region("table", "mem", table, table + len(data), 16, INT16, data))
        return [r for r in found if r.start < r.end]

    def memory(self) -> Memory:
        """Return the buffers."""
        return Memory({"head": 32, "mem": 16, "x": 16, "u": 16}, self.regions())

    def state(self, memory: Memory, case: Case) -> State:
        """Return what is known before a trial."""
        state = State()
        for i in range(self.rows_end):
            state.cells["head", i] = self.head[i]
        for i, (_, interval) in self.cells().items():
            state.cells["head", i] = unknown(*interval)
        for name, value in case._asdict().items():
            state.cells["head", getattr(layout, name.upper())] = value
        for region in memory.regions:
            declared = self.eligibility(case.phase) if region.name == "eligibility" else region.declared
            state.contents[region.name] = fresh(region, declared)
        return state

    def cases(self) -> Iterator[Case]:
        """Yield every kind of trial: together they are all."""
        for evaluate in (0, 1):
            if self.estimator in (layout.RUNNING_BASELINE, layout.EACH_STEP):
                yield from (Case(evaluate, self.head[layout.PHASE], started) for started in (0, 1))
            else:
                yield from (Case(evaluate, phase, self.head[layout.STARTED]) for phase in (0, 1))

    def begins_well(self) -> list[Violation]:
        """Return where the block itself is outside the invariants: what the proof, by induction, begins with."""
        found = []
        ranges = {**CONFIGURATION, **self.own.options, "AMPLITUDE": self.own.amplitude}
        amplitude = self.head[layout.AMPLITUDE] if self.own.weights else 0
        ranges["LIMIT"] = (0, INT16[1] - amplitude)
        for name, interval in ranges.items():
            found += self._word(name, self.head[getattr(layout, name)], interval)
        for i, (name, interval) in self.cells().items():
            found += self._word(name, self.head[i], interval)
        for region in self.regions():
            words = self.head if region.buffer == "head" else self.mem
            if region.buffer in ("head", "mem") and not 0 <= region.start < region.end <= len(words):
                what = f"{region.name} are elements {region.start}..{region.end - 1} of {region.buffer}, which has"
                found.append(self._violation("N_LAYERS", f"{what} {len(words)}"))
            elif region.name == "weights":
                weights = [(w ^ 0x8000) - 0x8000 for w in words[region.start : region.end]]
                found += self._hold("WEIGHTS_AT", region, weights)
            elif region.name == "eligibility":
                phase = self.head[layout.PHASE]
                held = region._replace(declared=self.eligibility(phase))
                found += self._hold("ELIGIBILITY_AT", held, words[region.start : region.end])
            elif region.buffer == "mem" and region.data is None and region.declared != INT16:
                held_words = [(w ^ 0x8000) - 0x8000 for w in words[region.start : region.end]]
                found += self._hold("UNITS_AT", region, held_words)
        return found

    def _hold(self, name: str, region: Region, words: "list[int] | tuple[int, ...]") -> list[Violation]:
        worst = max(words, key=abs)
        low, high = region.declared
        if low <= min(words) and max(words) <= high:
            return []
        return [self._violation(name, f"{region.name}: {worst} is outside {low}..{high}")]

    def _word(self, name: str, value: int, interval: Interval) -> list[Violation]:
        if interval[0] <= value <= interval[1]:
            return []
        what = f"head[{name}] is {value}, outside {interval[0]}..{interval[1]}"
        return [self._violation(name, what)]

    def _violation(self, name: str, what: str) -> Violation:
        file, lines = _layout_lines()
        return Violation(file, lines.get(name, 0), f"{what}: build the block anew ({self.words})")


# ------------------------------------------------------------------------------------------------- tasks


class Task:
    """An on-board task's block, and what its words may hold between two calls of its kernels.

    Args:
        words: of the block.
    """

    def __init__(self, words: tuple[int, ...]) -> None:
        self.words = words
        self.n_in, self.n_out = words[layout.TASK_INPUTS], words[layout.TASK_OUTPUTS]
        self.count = words[layout.TASK_COUNT]
        self.kind = TASK_KINDS[words[layout.TASK_KIND]]

    @property
    def shape(self) -> str:
        """The task in words, for messages."""
        return f"task of {self.count} {self.kind}, {self.n_in} inputs and {self.n_out} outputs"

    def cells(self) -> dict[int, tuple[str, Interval]]:
        """Return name and interval of the header's words that change, and of those that the kind adds."""
        place = (0, max(self.count - 1, 0))
        header = {"TASK_NEXT": place, "TASK_START": place, "TASK_RESUME": place, "TASK_EVALUATING": BIT}
        found = {getattr(layout, name): (name, interval) for name, interval in header.items()}
        return {**found, **TASKS[self.kind].cells(self)}

    def regions(self) -> list[Region]:
        """Return the regions whose words are not told apart."""
        x, u = Region("x", "x", 0, self.n_in, 16, INT16), Region("u", "u", 0, self.n_out, 16, INT16)
        return [*TASKS[self.kind].regions(self), x, u]


class TaskKind(NamedTuple):
    """What a kind of task keeps behind its header.

    Attributes:
        regions: returns its regions of the block; those with `data` never change.
        cells: returns name and interval of its words that are told apart and change, by index.
    """

    regions: Callable[[Task], list[Region]]
    cells: Callable[[Task], dict[int, tuple[str, Interval]]] = lambda _task: {}


def _patterns(task: Task) -> list[Region]:
    data = task.words[layout.TASK_DATA :]
    return [Region("patterns", "task", layout.TASK_DATA, len(task.words), 16, INT16, data)]


TASKS: Mapping[str, TaskKind] = {"patterns": TaskKind(_patterns)}


@cache
def _layout_lines() -> tuple[str, dict[str, int]]:
    """Return layout.py's path, and the line of every constant in it."""
    path = resources.files("subsong_device").joinpath("layout.py")
    nodes = [n for n in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(n, ast.Assign)]
    return str(path), {n.targets[0].id: n.lineno for n in nodes if isinstance(n.targets[0], ast.Name)}
