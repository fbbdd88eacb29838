"""Spikes are not in a log, but what the units were told is: the kernels play it again, and are watched.

The kernel that makes units fire is wrapped, in its loaded module, by a function that calls it and looks at what it
left in mem. The engine is CPython, where a kernel finds its neighbours by name.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from subsong.block import build_block
from subsong.errors import ReplayError
from subsong.experiment import Experiment
from subsong_device import layout

if TYPE_CHECKING:
    from subsong.runlog import Run, Trial

State = tuple[bytes, bytes]
Spikes = NDArray[np.bool_]
Kernel = Callable[..., int]
Seen = dict[int, list[Spikes]]  # by a word of the layer's in mem, so that layers are in their order: one entry a tick


class Played(NamedTuple):
    """What trials did when they were played.

    Attributes:
        layers: of each layer that spikes, which unit did, shape (ticks, units).
        motor: actuator words, one row a step.
        exact: whether they are the log's own, so that what the units did is what they did in the run.
    """

    layers: list[Spikes]
    motor: list[list[int]]
    exact: bool


def _watch_fire(kernel: Kernel, seen: Seen) -> Kernel:
    """Watch kernels.integrate_fire.fire: without a spike, an activation does nothing but fade."""

    def fire(head: Any, mem: Any, at: int, unit: int, n: int) -> int:
        words = slice(unit + 1, unit + layout.SPIKING_WORDS * n, layout.SPIKING_WORDS)
        before = np.array(mem[words], np.int64)
        result = kernel(head, mem, at, unit, n)
        below = (1 << head[layout.SYNAPSE_SHIFT]) - 1
        seen[unit].append(np.array(mem[words], np.int64) > before - ((before + below) >> head[layout.SYNAPSE_SHIFT]))
        return result

    return fire


def _watch_chance(kernel: Kernel, seen: Seen) -> Kernel:
    """Watch kernels.spiking.draw_spikes: the factor S - p is above 0 where S is 1, and nowhere else."""

    def draw_spikes(head: Any, mem: Any, at: int, n: int, unit: int) -> int:
        result = kernel(head, mem, at, n, unit)
        factors = np.array(mem[unit + 1 : unit + 3 * n : 3], np.uint16).view(np.int16)
        seen[unit].append(factors > 0)
        return result

    return draw_spikes


def _watch_releasing(kernel: Kernel, seen: Seen) -> Kernel:
    """Watch kernels.spiking.forward_releasing: a unit's output is 0x7FFF where it fired, else 0."""

    def forward_releasing(head: Any, mem: Any) -> int:
        result = kernel(head, mem)
        at = head[layout.SIGNALS_AT]
        for row in range(head[layout.N_LAYERS]):
            layer = layout.LAYERS_AT + row * layout.LAYER_WORDS
            at += head[layer + layout.N_IN]
            seen[at].append(np.array(mem[at : at + head[layer + layout.N_OUT]]) == 0x7FFF)
        return result

    return forward_releasing


# Which kernel of a rule makes units fire, and how it is watched.
_WATCHES: dict[str, tuple[str, Callable[[Kernel, Seen], Kernel]]] = {
    "conductance_perturbation": ("fire", _watch_fire),
    "songbird": ("fire", _watch_fire),
    "stochastic_spiking": ("draw_spikes", _watch_chance),
    "hedonistic_synapse": ("forward_releasing", _watch_releasing),
}
SPIKING = frozenset(_WATCHES)


@contextmanager
def watching(kernels: Any, rule: str) -> Iterator[Seen]:
    """Watch a rule's kernels, those of the engine "cpython", for as long as the context lasts.

    Args:
        kernels: the loaded module.
        rule: one of SPIKING.

    Yields:
        What grows by an entry for each layer and tick: which units fired.
    """
    name, watch = _WATCHES[rule]
    kernel: Kernel = getattr(kernels, name)
    seen: Seen = defaultdict(list)
    setattr(kernels, name, watch(kernel, seen))
    try:
        yield seen
    finally:
        setattr(kernels, name, kernel)


def play(rule: str, state: State, trials: "Sequence[Trial]") -> Played:
    """Play trials' sensor words and costs, one trial after the other, from the state before the first.

    Args:
        rule: one of SPIKING.
        state: head and mem.
        trials: the last need not be whole.
    """
    from subsong_sim.engines import LocalLearner

    learner = LocalLearner(rule, *state, engine="cpython")
    motor: list[list[int]] = []
    with watching(learner.kernels, rule) as seen:
        for trial in trials:
            learner.begin(trial.number, bool(trial.evaluate))
            motor += [learner.act(step.cost, step.x) for step in trial.steps]
            if trial.whole:
                assert trial.last_cost is not None
                learner.end(trial.last_cost)
    exact = motor == [list(step.u) for trial in trials for step in trial.steps]
    return Played([np.array(layer) for layer in seen.values()], motor, exact)


def states(run: "Run", experiment: Experiment) -> tuple[State, State | None]:
    """Return the learner's state before a log's first trial, and after its last one, if that is known.

    Raises:
        ReplayError: the log is of another arithmetic.
    """
    if run.arithmetic != layout.ARITHMETIC_VERSION:
        raise ReplayError(
            f"{run.path} was recorded with arithmetic version {run.arithmetic}; this Subsong has version "
            f"{layout.ARITHMETIC_VERSION}, and cannot play its spikes again. Draw it with the Subsong that recorded it."
        )
    block = build_block(experiment)
    first: State = run.states.get("initial", (block.head, block.mem))
    if "final" in run.states:
        return first, run.states["final"]
    from subsong.replay import state_after

    return first, state_after(run.path)
