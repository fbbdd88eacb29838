"""What subsong_device.block asks of a learner's block, as kernels: for boards on which that module has no room.

Machine code asks no questions: every count, offset and shift in head is looked at here, once, before a learner runs.
"""

from subsong_device.layout import (
    ACTIVATION,
    AMPLITUDE,
    BASELINE,
    BASELINE_SHIFT,
    BIAS_SHIFT,
    CODE,
    COST_LIMIT,
    ELIGIBILITY_AT,
    ESTIMATOR,
    IDENTITY,
    INPUT_FRAC,
    LAYER_WORDS,
    LAYERS_AT,
    LIMIT,
    LOGISTIC,
    MOMENTUM_SHIFT,
    N_IN,
    N_LAYERS,
    N_OUT,
    N_WEIGHTS,
    NO_BIAS,
    PATTERNS,
    PERTURBATION,
    PHASE,
    PRODUCT_SHIFT,
    RATE,
    RATE_SHIFT,
    RECURRENT,
    REMAINDER,
    ROUNDING,
    SIGNS_AT,
    SPREAD_SHIFT,
    STOCHASTIC,
    SYNAPSES_AT,
    TABLE_AT,
    TABLE_WORDS,
    TANH,
    TASK_COUNT,
    TASK_DATA,
    TASK_ERROR_SHIFT,
    TASK_INPUTS,
    TASK_KIND,
    TASK_NEXT,
    TASK_OUTPUTS,
    TASK_RESUME,
    TAU,
    TRACE_SHIFT,
    TWO_SIDED,
    UNITS_AT,
)
from subsong_device.small.words import ACTUATORS, HEAD_WORDS, MEM_WORDS, OF_RULE, SENSORS, TASK_WORDS

FIRST_OF_TASK = 0x10000


def outside(value: int, low: int, high: int, bad: int, word: int) -> int:
    """Return bad if it names a word already, else word if value is not in low..high, else bad.

    Scaling and overflow: comparisons only.
    """
    if bad < 0 and (value < low or value > high):
        bad = word
    return bad


def check_block(head: ptr32, s: ptr32) -> int:
    """Return the first word of head that contradicts OPEN or points outside the regions; -1 if none does.

    Args:
        head: s[HEAD_WORDS] int32 words, LAYERS_AT + LAYER_WORDS or more.
        s: the session; numbers of words are at most 2**14: that many fit.

    Scaling and overflow: a row is counted only while nothing is wrong; then n_in and n_out are below 2**14, and the
    sums are held to mem's length after every row.
    """
    mem_words = s[MEM_WORDS]
    expected = s[SENSORS]
    n_layers = head[N_LAYERS]
    bad = outside(n_layers, 1, (s[HEAD_WORDS] - LAYERS_AT) >> 3, 0 - 1, N_LAYERS)
    if bad >= 0:
        n_layers = 0
    n_weights = 0
    n_signals = expected
    n_signs = 0
    table = 0
    at = LAYERS_AT
    for _k in range(n_layers):
        n_in = head[at + N_IN]
        n_out = head[at + N_OUT]
        own = head[at + RECURRENT]
        kind = head[at + ACTIVATION]
        bad = outside(n_out, 1, mem_words, bad, at + N_OUT)
        if own != 0:
            bad = outside(own, n_out, n_out, bad, at + RECURRENT)
        fan_in = expected + (own & 0x3FFF)
        bad = outside(n_in, fan_in, fan_in, bad, at + N_IN)
        bad = outside(kind, IDENTITY, LOGISTIC, bad, at + ACTIVATION)
        for i in range(PRODUCT_SHIFT, INPUT_FRAC + 1):
            most = 30
            if i == BIAS_SHIFT:
                most = NO_BIAS
            bad = outside(head[at + i], 0, most, bad, at + i)
        bad = outside(head[at + PRODUCT_SHIFT], 0, head[at + INPUT_FRAC], bad, at + PRODUCT_SHIFT)
        if bad < 0:
            n_weights += (n_in + 1) * n_out
            n_signals += own + n_out
            n_signs += (n_out + 15) >> 4
            if kind >= TANH:
                table = 1
            bad = outside(n_weights, 0, mem_words, bad, at + N_OUT)
        expected = n_out
        at += LAYER_WORDS
    bad = outside(expected, s[ACTUATORS], s[ACTUATORS], bad, at - LAYER_WORDS + N_OUT)
    bad = outside(head[N_WEIGHTS], n_weights, n_weights, bad, N_WEIGHTS)
    bad = outside(n_weights, 0, mem_words - n_signals, bad, N_WEIGHTS)
    if s[OF_RULE] != 0:
        bad = outside(head[SIGNS_AT], 0, mem_words - n_signs, bad, SIGNS_AT)
        bad = outside(head[ELIGIBILITY_AT], at, s[HEAD_WORDS] - n_weights, bad, ELIGIBILITY_AT)
    bad = outside(head[UNITS_AT], 0, mem_words, bad, UNITS_AT)
    bad = outside(head[SYNAPSES_AT], 0, mem_words, bad, SYNAPSES_AT)
    if table != 0:
        bad = outside(head[TABLE_AT], 0, mem_words - TABLE_WORDS, bad, TABLE_AT)
    bad = outside(head[ESTIMATOR], 0, TWO_SIDED, bad, ESTIMATOR)
    bad = outside(head[AMPLITUDE], 0, 16384, bad, AMPLITUDE)
    bad = outside(head[RATE], 1, 16383, bad, RATE)
    bad = outside(head[RATE_SHIFT], 0, 29, bad, RATE_SHIFT)
    bad = outside(head[BASELINE_SHIFT], 1, 15, bad, BASELINE_SHIFT)
    bad = outside(head[STOCHASTIC], 0, 1, bad, STOCHASTIC)
    bad = outside(head[TRACE_SHIFT], 0, 14, bad, TRACE_SHIFT)
    bad = outside(head[CODE], 0, 0, bad, CODE)
    bad = outside(head[TAU], 1, 1, bad, TAU)
    bad = outside(head[MOMENTUM_SHIFT], 0, 0, bad, MOMENTUM_SHIFT)
    bad = outside(head[SPREAD_SHIFT], 0, 0, bad, SPREAD_SHIFT)
    bad = outside(head[LIMIT], 0, 0x7FFF, bad, LIMIT)
    bad = outside(head[BASELINE], 0 - COST_LIMIT, COST_LIMIT, bad, BASELINE)
    bad = outside(head[PHASE], 0, 1, bad, PHASE)
    bad = outside(head[REMAINDER], 0, 0x7FFF, bad, REMAINDER)
    for i in range(2):
        bad = outside(head[PERTURBATION + i], 0, 0xFFFF, bad, PERTURBATION + i)
    for i in range(2):
        bad = outside(head[ROUNDING + i], 0, 0xFFFF, bad, ROUNDING + i)
    return bad


def check_task(task: ptr16, s: ptr32) -> int:
    """Return FIRST_OF_TASK plus the first word of the task's header that is wrong; -1 if none is.

    Args:
        task: s[TASK_WORDS] words.
        s: the session; a step has at most MOST_WORDS words.

    Scaling and overflow: at most 2**16 patterns of MOST_WORDS words.
    """
    words = s[TASK_WORDS]
    each = s[SENSORS] + s[ACTUATORS]
    bad = outside(words, TASK_DATA + 1, 0x4000, 0 - 1, FIRST_OF_TASK)
    if bad < 0:
        patterns = task[TASK_COUNT]
        bad = outside(task[TASK_KIND], PATTERNS, PATTERNS, bad, FIRST_OF_TASK + TASK_KIND)
        bad = outside(task[TASK_INPUTS], s[SENSORS], s[SENSORS], bad, FIRST_OF_TASK + TASK_INPUTS)
        bad = outside(task[TASK_OUTPUTS], s[ACTUATORS], s[ACTUATORS], bad, FIRST_OF_TASK + TASK_OUTPUTS)
        bad = outside(patterns * each, 1, words - TASK_DATA, bad, FIRST_OF_TASK + TASK_COUNT)
        for i in range(TASK_NEXT, TASK_RESUME + 1):
            bad = outside(task[i], 0, patterns - 1, bad, FIRST_OF_TASK + i)
        bad = outside(task[TASK_ERROR_SHIFT], 0, 15, bad, FIRST_OF_TASK + TASK_ERROR_SHIFT)
    return bad
