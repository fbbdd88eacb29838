"""What the proof is told of each rule beyond what every learner has (invariants.py): one row a rule.

How many words of units and of synapses a rule keeps, whether it has signs and an eligibility, and the ranges of its own
words of head are in subsong_device.block already. So most rows are short:

    "leaky_rule": Rule(amplitude=(1, 16384)),                        an eligibility to which a step adds 2**15 at most
    "hebb": Rule(amplitude=(1, 16384), eligibility=factors),         steps add products that INPUT_SHIFT keeps small
    "spiking": Rule(
        amplitude=(0, 0),                       there is none
        state=best_cost,                        returns the words of head that trials change, and what they may hold
        units=(0, 32767),                       what the words of units hold (int16), and those of synapses likewise
    ),

Words that differ among themselves, membrane potentials beside traces, are regions of their own: `units` is None then,
and `regions` returns them; a second int32 for each weight is a region, too. An interval that is
too narrow is no danger: the trial's end is proved to be within it again, or refused by name. So begin with what the
kernels clip to. tests/test_ranges.py proves every rule with every estimator that it takes, and holds runs against that.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from subsong_device import frames, layout
from subsong_device.block import keeps_velocity
from subsong_sim.ranges.memory import INT16
from subsong_sim.ranges.regions import Region
from subsong_sim.ranges.values import Interval

if TYPE_CHECKING:
    from subsong_sim.ranges.invariants import Block

FADED = (1 << 30) - (1 << 15)  # kernels.eligibility.ELIGIBILITY_LIMIT
VELOCITY = 1 << 28  # kernels.velocity.VELOCITY_LIMIT
ONE_INPUT = 1 << 15  # the largest magnitude of an input's word


# ------------------------------------------------------------------------------------------------- eligibilities


def within_steps(block: "Block", phase: int, added: int) -> Interval:
    """Return the range of an eligibility to which a step adds at most so much, and which fades under EACH_STEP.

    A pair's first trial leaves half of what both may.
    """
    if block.estimator == layout.EACH_STEP:
        return -FADED - added, FADED + added
    trials = 1 if block.estimator != layout.TWO_SIDED or phase else 2
    return -trials * block.steps * added, trials * block.steps * added


def inputs(block: "Block", phase: int) -> Interval:
    """Return the range of an eligibility to which a step adds an input, or takes it off."""
    return within_steps(block, phase, ONE_INPUT)


def factors(block: "Block", phase: int) -> Interval:
    """Return the range of one to which a step adds an input, less its INPUT_SHIFT, times a word."""
    return within_steps(block, phase, ONE_INPUT * (ONE_INPUT >> block.head[layout.INPUT_SHIFT]))


def differences(_block: "Block", phase: int) -> Interval:
    """Return the range of one made of two passes: words after the first, products after the second."""
    return INT16 if phase else (-(2**30), 2**30)


# ------------------------------------------------------------------------------------------------- words of head


def code(block: "Block") -> Mapping[int, Interval]:
    """Return the words of a perturbation's code, and of updates that are gathered."""
    h = block.head
    rows = 0x20000000
    if block.own.weights and h[layout.CODE] == layout.ONE_AT_A_TIME:
        rows = 2 * h[layout.N_WEIGHTS]
    return {layout.CODE_STEP: (0, rows - 1), layout.WAITING: (0, max(h[layout.TAU], 1) - 1)}


# ------------------------------------------------------------------------------------------------- regions


def velocity(block: "Block") -> list[Region]:
    """Return the velocity, where there is one: an int32 for each weight, behind the eligibility."""
    h = block.head
    if not keeps_velocity(frames.RULES.index(block.rule), h[layout.TAU], h[layout.MOMENTUM_SHIFT]):
        return []
    n = h[layout.N_WEIGHTS]
    start = h[layout.ELIGIBILITY_AT] + block.needs[0] * n
    return [Region("velocity", "head", start, start + n, 32, (-VELOCITY, VELOCITY))]


# ------------------------------------------------------------------------------------------------- the table


class Rule(NamedTuple):
    """What a rule has of its own.

    Attributes:
        amplitude: what AMPLITUDE may be.
        weights: it perturbs weights, whose LIMIT leaves room for that.
        eligibility: returns what an eligibility may be between trials, given the block and PHASE.
        state: returns which of its own words of head trials change, and what these may hold between two of them; the
            others stay as the host wrote them.
        units: what the words that it keeps for each unit hold, int16; None: `regions` has them.
        synapses: the same for each weight.
        regions: returns further regions.
    """

    amplitude: Interval
    weights: bool = False
    eligibility: "Callable[[Block, int], Interval]" = inputs
    state: "Callable[[Block], Mapping[int, Interval]]" = lambda _block: {}
    units: Interval | None = INT16
    synapses: Interval | None = INT16
    regions: "Callable[[Block], list[Region]]" = lambda _block: []


RULES: Mapping[str, Rule] = {
    "weight_perturbation": Rule(amplitude=(1, 4096), weights=True, state=code, regions=velocity),
    "node_perturbation": Rule(amplitude=(1, 16384), state=code, regions=velocity),
    "activity_difference": Rule(amplitude=(1, 16384), eligibility=differences),
    "hebb": Rule(amplitude=(1, 16384), eligibility=factors),
    "keep_if_better": Rule(amplitude=(1, 4096), weights=True),
    "run_and_tumble": Rule(amplitude=(1, 4096), weights=True),
    "conductance_perturbation": Rule(amplitude=(1, 16384)),
    "songbird": Rule(amplitude=(1, 16384)),
    "reinforce": Rule(amplitude=(0, 0), eligibility=factors),
    "hedonistic_synapse": Rule(amplitude=(0, 0)),
    "stochastic_spiking": Rule(amplitude=(0, 0), eligibility=factors),
}
