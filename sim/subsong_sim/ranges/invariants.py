"""What memory may hold before a trial, and must hold after it: the invariants that the proof rests on, and proves.

docs/ranges.md says the same in words. What every learner has is here. A new rule adds its row to rules.py, a new kind
of on-board task its row to tasks.py; each of the two says how.
"""

import ast
import struct
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import NamedTuple

from subsong_device import frames, layout
from subsong_device.block import NEEDS, OWN_RANGES
from subsong_sim.dialect import Violation
from subsong_sim.ranges.memory import INT16, Memory
from subsong_sim.ranges.regions import Region, fresh
from subsong_sim.ranges.rules import RULES
from subsong_sim.ranges.state import State
from subsong_sim.ranges.values import INT32_HIGH, WORD, Interval, unknown

COST = (-layout.COST_LIMIT, layout.COST_LIMIT)
BIT = (0, 1)
WORDS = (0, WORD)

# Written by the host; exact in the proof, and in these ranges for the proof to mean what docs/arithmetic.md says.
CONFIGURATION = {
    "ESTIMATOR": (layout.RUNNING_BASELINE, layout.PERTURBED_PAIR),
    "RATE": (1, 16383),
    "RATE_SHIFT": (0, 29),
    "BASELINE_SHIFT": (1, 15),
    "STOCHASTIC": BIT,
    "TRACE_SHIFT": (0, 14),
    "SPREAD_SHIFT": (0, 15),
    "ANNEAL": (0, layout.ONE_RATE),
}
ESTIMATORS = {
    layout.RUNNING_BASELINE: "running_baseline",
    layout.UNPERTURBED_TRIAL: "unperturbed_trial",
    layout.TWO_SIDED: "two_sided",
    layout.EACH_STEP: "each_step",
    layout.BEST_SO_FAR: "best_so_far",
    layout.PERTURBED_PAIR: "perturbed_pair",
}
PAIRS = (layout.UNPERTURBED_TRIAL, layout.TWO_SIDED, layout.PERTURBED_PAIR)


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
        evaluate_steps: of an evaluation, at most; 0: as many.
    """

    def __init__(self, rule: str, head: bytes, mem: bytes, steps: int, evaluate_steps: int = 0) -> None:
        self.rule, self.steps, self.evaluate_steps = rule, steps, evaluate_steps or steps
        self.own = RULES[rule]
        # int32 of head a weight, bits of mem a unit, words of mem a unit, words of mem a weight.
        number = frames.RULES.index(rule)
        self.needs = NEEDS[number]
        self.own_ranges = {at: (low, high) for at, low, high in OWN_RANGES[number]}
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
        pairs = self.estimator in PAIRS
        phase, started = self.head[layout.PHASE], self.head[layout.STARTED]
        return {
            "COST": COST,
            "EVALUATE": BIT,
            "STEPS": (0, max(self.steps, self.evaluate_steps)),
            "TOTAL": COST,
            "BASELINE": COST,
            "CHECK": (0, 2**28 - 1),
            "SATURATED": (0, INT32_HIGH),
            "PHASE": BIT if pairs else (phase, phase),
            "STARTED": (started, started) if pairs else BIT,
            "REMAINDER": (0, (1 << min(self.head[layout.BASELINE_SHIFT], 15)) - 1),
            "SIGN": (-1, 1),
            "DELTA": (2 * COST[0], 2 * COST[1]),
            "SPREAD": (0, 2 * layout.SPREAD_TOP),
            "SPREAD_FRAC": (0, layout.MOST_SPREAD_FRAC),
            "ANNEALED": (layout.LEAST_RATE, layout.ONE_RATE),
            **dict.fromkeys(streams, WORDS),
        }

    def cells(self) -> dict[int, tuple[str, Interval]]:
        """Return name and interval of every scalar that trials change, by its index in head."""
        found = {getattr(layout, name): (name, interval) for name, interval in self.scalars().items()}
        for name in ("PERTURBATION", "REWIND", "ROUNDING"):
            found[getattr(layout, name) + 1] = name, WORDS
        for at, interval in self.own.state(self).items():
            found[at] = f"OWN + {at - layout.OWN}", interval
        return found

    def weights(self) -> Interval:
        """Return what a weight may be between trials."""
        limit = self.head[layout.LIMIT]
        return -limit, limit

    def eligibility(self, phase: int) -> Interval:
        """Return what an eligibility may be between trials: a pair's first trial leaves half of what both may."""
        return self.own.eligibility(self, phase)

    def regions(self) -> list[Region]:
        """Return the regions whose words are not told apart."""
        h = self.head
        n_weights, signals = h[layout.N_WEIGHTS], sum(self.sizes) + sum(self.recurrent)
        signs = sum((n + 15) // 16 for n in self.sizes[1:])
        found = [
            Region("weights", "mem", 0, n_weights, 16, self.weights()),
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
        if unit_words and self.own.units is not None:
            start, n = h[layout.UNITS_AT], unit_words * sum(self.sizes[1:])
            found.append(Region("units", "mem", start, start + n, 16, self.own.units))
        if synapse_words and self.own.synapses is not None:
            start, n = h[layout.SYNAPSES_AT], synapse_words * n_weights
            found.append(Region("synapses", "mem", start, start + n, 16, self.own.synapses))
        found += self.own.regions(self)
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
            if self.estimator in PAIRS:
                yield from (Case(evaluate, phase, self.head[layout.STARTED]) for phase in (0, 1))
            else:
                yield from (Case(evaluate, self.head[layout.PHASE], started) for started in (0, 1))

    def begins_well(self) -> list[Violation]:
        """Return where the block itself is outside the invariants: what the proof, by induction, begins with."""
        found = []
        ranges = {**CONFIGURATION, "AMPLITUDE": self.own.amplitude}
        amplitude = self.head[layout.AMPLITUDE] if self.own.weights else 0
        ranges["LIMIT"] = (0, INT16[1] - amplitude)
        for name, interval in ranges.items():
            found += self._word(name, self.head[getattr(layout, name)], interval)
        for at, interval in self.own_ranges.items():
            found += self._word(f"OWN + {at - layout.OWN}", self.head[at], interval)
        for i, (name, interval) in self.cells().items():
            found += self._word(name, self.head[i], interval)
        for region in self.regions():
            words = self.head if region.buffer == "head" else self.mem
            if region.buffer in ("head", "mem") and not 0 <= region.start < region.end <= len(words):
                what = f"{region.name} are elements {region.start}..{region.end - 1} of {region.buffer}, which has"
                found.append(self._violation("N_LAYERS", f"{what} {len(words)}"))
            elif region.name == "weights":
                weights = [(w ^ 0x8000) - 0x8000 for w in words[region.start : region.end]]
                found += self._hold("N_WEIGHTS", region, weights)
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
        line = lines.get(name.split(" ", maxsplit=1)[0], 0)
        return Violation(file, line, f"{what}: build the block anew ({self.words})")


@cache
def _layout_lines() -> tuple[str, dict[str, int]]:
    """Return layout.py's path, and the line of every constant in it."""
    path = resources.files("subsong_device").joinpath("layout.py")
    nodes = [n for n in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(n, ast.Assign)]
    return str(path), {n.targets[0].id: n.lineno for n in nodes if isinstance(n.targets[0], ast.Name)}
