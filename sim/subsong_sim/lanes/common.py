"""What the blocks of a batch have in common, by their structure: words that code may take for known, or for alike."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from subsong_device import layout
from subsong_sim.errors import EngineError
from subsong_sim.lanes.flow import Word
from subsong_sim.lanes.words import Table

# What a search varies: numbers that decide no course. Code is made for any of them, not for one.
SETTINGS = frozenset(
    {
        layout.AMPLITUDE,
        layout.RATE,
        layout.RATE_SHIFT,
        layout.BASELINE_SHIFT,
        layout.LIMIT,
        layout.TRACE_SHIFT,
        layout.ANNEAL,
    }
)
# What every trial changes.
STATE = frozenset(
    {
        *range(layout.ESTIMATOR),
        *range(layout.PHASE, layout.ROUNDING + 2),
        layout.CODE_STEP,
        layout.WAITING,
        *range(layout.SPREAD, layout.ANNEALED + 1),
    }
)

# What the runs of a batch go through in step: how far they are, not what they found. Where they do not, slower code
# serves them.
IN_STEP: frozenset[Word] = frozenset(
    {
        *(("head", i) for i in (layout.EVALUATE, layout.STEPS, layout.PHASE, layout.STARTED, layout.SIGN)),
        *(("head", i) for i in (layout.CODE_STEP, layout.WAITING)),
        *(("task", i) for i in (layout.TASK_NEXT, layout.TASK_START, layout.TASK_RESUME, layout.TASK_EVALUATING)),
    }
)


def frozen_words(heads: NDArray[np.int32], tasks: NDArray[np.uint16] | None) -> dict[Word, int]:
    """Return the words that kernels read, do not change, and find alike in all runs, by (buffer, index).

    Raises:
        EngineError: the runs have not as many layers.
    """
    layers = heads[:, layout.N_LAYERS]
    if (layers != layers[0]).any():
        raise EngineError("the runs of a batch must have as many layers; make a batch of each")
    end = rows_end(int(layers[0]))
    same = (heads == heads[0]).all(axis=0)
    words = {("head", i): int(heads[0, i]) for i in range(end) if i not in SETTINGS | STATE and same[i]}
    if tasks is not None:
        alike = (tasks == tasks[0]).all(axis=0)
        words |= {("task", i): int(tasks[0, i]) for i in range(min(layout.TASK_DATA, tasks.shape[1])) if alike[i]}
    return words


def fixed_words(words: dict[Word, int]) -> dict[str, int]:
    """Return where the words begin, in each buffer, to which kernels compute an index: arrays, behind the scalars."""
    layers = words.get(("head", layout.N_LAYERS))
    return {} if layers is None else {"head": rows_end(layers), "task": layout.TASK_DATA}


def tables_of(heads: NDArray[np.int32], mems: NDArray[np.uint16]) -> dict[str, Table]:
    """Return the activations' table, the firmware's constant, where the runs have it at one place."""
    start, end = int(heads[0, layout.TABLE_AT]), int(heads[0, layout.SYNAPSES_AT])
    rows = mems[:, start : start + layout.TABLE_WORDS]
    there = end - start == layout.TABLE_WORDS and _same(heads[:, [layout.TABLE_AT, layout.SYNAPSES_AT]])
    return {"mem": Table(start, tuple(rows[0].tolist()))} if there and _same(rows) else {}


def shared_words(tasks: NDArray[np.uint16] | None) -> dict[str, int]:
    """Return from where on a task's words are the same in all runs, if they are: its patterns."""
    return {"task": layout.TASK_DATA} if tasks is not None and _same(tasks[:, layout.TASK_DATA :]) else {}


def _same(rows: NDArray[Any]) -> bool:
    return bool((rows == rows[0]).all())


def rows_end(layers: int) -> int:
    """Return the index in head behind the layers' rows: arrays begin there."""
    return layout.LAYERS_AT + layers * layout.LAYER_WORDS
