"""What memory may hold before a trial, and must hold after it: the invariants that the proof rests on, and proves.

docs/ranges.md says the same in words.
"""

import ast
import struct
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import NamedTuple

from subsong_device import layout
from subsong_sim.dialect import Violation
from subsong_sim.ranges.memory import INT16, Memory
from subsong_sim.ranges.regions import Region, fresh
from subsong_sim.ranges.state import State
from subsong_sim.ranges.values import INT32_HIGH, WORD, Interval, unknown

COST = (-layout.COST_LIMIT, layout.COST_LIMIT)
BIT = (0, 1)
WORDS = (0, WORD)
ONE_INPUT = 1 << 15  # the largest magnitude of an input's word: what a step adds to an eligibility

# Written by the host; exact in the proof, and in these ranges for the proof to mean what docs/arithmetic.md says.
CONFIGURATION = {
    "ESTIMATOR": (layout.RUNNING_BASELINE, layout.TWO_SIDED),
    "RATE": (1, 16383),
    "RATE_SHIFT": (0, 29),
    "BASELINE_SHIFT": (1, 15),
    "STOCHASTIC": BIT,
}
AMPLITUDES = {"weight_perturbation": (1, 4096), "node_perturbation": (1, 16384)}
ESTIMATORS = {
    layout.RUNNING_BASELINE: "running_baseline",
    layout.UNPERTURBED_TRIAL: "unperturbed_trial",
    layout.TWO_SIDED: "two_sided",
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
        self.head = struct.unpack(f"<{len(head) // 4}i", head)
        self.mem = struct.unpack(f"<{len(mem) // 2}H", mem)
        n = self.head[layout.N_LAYERS]
        rows = [layout.LAYERS_AT + layout.LAYER_WORDS * k for k in range(n)]
        self.rows_end = layout.LAYERS_AT + layout.LAYER_WORDS * n
        if n < 1 or self.rows_end > len(self.head):
            rows, self.rows_end = [], min(layout.LAYERS_AT, len(self.head))
        self.sizes = [self.head[at + layout.N_IN] for at in rows[:1]] + [self.head[at + layout.N_OUT] for at in rows]
        self.estimator = self.head[layout.ESTIMATOR]

    @property
    def words(self) -> str:
        """The configuration in words, for messages."""
        h, estimator = self.head, ESTIMATORS.get(self.estimator, str(self.estimator))
        return (
            f"{self.rule}, {estimator}, layers {'-'.join(map(str, self.sizes))}, amplitude {h[layout.AMPLITUDE]}, "
            f"rate {h[layout.RATE]} * 2**-{h[layout.RATE_SHIFT]}"
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
        trials = 1 if self.estimator != layout.TWO_SIDED or phase else 2
        return -trials * self.steps * ONE_INPUT, trials * self.steps * ONE_INPUT

    def regions(self) -> list[Region]:
        """Return the regions whose words are not told apart."""
        h = self.head
        n_weights, signals = h[layout.N_WEIGHTS], sum(self.sizes)
        signs = sum((n + 15) // 16 for n in self.sizes[1:])
        at, limit = h[layout.WEIGHTS_AT], self.weights()
        found = [
            Region("weights", "mem", at, at + n_weights, 16, limit),
            Region("signals", "mem", h[layout.SIGNALS_AT], h[layout.SIGNALS_AT] + signals, 16, INT16),
            Region("x", "x", 0, self.sizes[0] if self.sizes else 0, 16, INT16),
            Region("u", "u", 0, self.sizes[-1] if self.sizes else 0, 16, INT16),
        ]
        if self.rule == "node_perturbation":
            found.append(Region("signs", "mem", h[layout.SIGNS_AT], h[layout.SIGNS_AT] + signs, 16, INT16))
            e = h[layout.ELIGIBILITY_AT]
            found.append(Region("eligibility", "head", e, e + n_weights, 32, self.eligibility(0)))
        table = h[layout.TABLE_AT]
        kinds = {h[at + layout.ACTIVATION] for at in range(layout.LAYERS_AT, self.rows_end, layout.LAYER_WORDS)}
        if kinds & {layout.TANH, layout.LOGISTIC}:
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
            if self.estimator == layout.RUNNING_BASELINE:
                yield from (Case(evaluate, self.head[layout.PHASE], started) for started in (0, 1))
            else:
                yield from (Case(evaluate, phase, self.head[layout.STARTED]) for phase in (0, 1))

    def begins_well(self) -> list[Violation]:
        """Return where the block itself is outside the invariants: what the proof, by induction, begins with."""
        found = []
        ranges = {**CONFIGURATION, "AMPLITUDE": AMPLITUDES[self.rule]}
        amplitude = self.head[layout.AMPLITUDE] if self.rule == "weight_perturbation" else 0
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


@cache
def _layout_lines() -> tuple[str, dict[str, int]]:
    """Return layout.py's path, and the line of every constant in it."""
    path = resources.files("subsong_device").joinpath("layout.py")
    nodes = [n for n in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(n, ast.Assign)]
    return str(path), {n.targets[0].id: n.lineno for n in nodes if isinstance(n.targets[0], ast.Name)}
