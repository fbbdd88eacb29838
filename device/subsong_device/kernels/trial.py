"""The estimators: what a trial's sign is, what its cost is compared with, and when an update is due."""

from subsong_device.kernels.checksum import fold_int, fold_words
from subsong_device.kernels.spread import normalise, seal_spread
from subsong_device.layout import (
    BASELINE,
    BASELINE_SHIFT,
    CHECK,
    COST,
    COST_LIMIT,
    DELTA,
    EACH_STEP,
    ESTIMATOR,
    EVALUATE,
    LAYER_WORDS,
    LAYERS_AT,
    N_IN,
    N_LAYERS,
    N_OUT,
    PERTURBATION,
    PHASE,
    RECURRENT,
    REMAINDER,
    REWIND,
    ROUNDING,
    RUNNING_BASELINE,
    SATURATED,
    SIGN,
    SIGNALS_AT,
    STARTED,
    STEPS,
    TOTAL,
    TWO_SIDED,
    UNPERTURBED_TRIAL,
)


def open_trial(head: ptr32) -> int:
    """Clear the trial's scalars and choose the sign of its perturbation.

    Returns:
        head[SIGN]: +1; -1 for the second trial of a two-sided pair, whose perturbation stream is rewound; 0 for an
        evaluation and for the first trial of the estimator "unperturbed_trial".

    Scaling and overflow: assignments only.
    """
    head[STEPS] = 0
    head[TOTAL] = 0
    head[SATURATED] = 0
    head[CHECK] = 0
    sign = 1
    if head[EVALUATE] != 0:
        sign = 0
    elif head[ESTIMATOR] == UNPERTURBED_TRIAL and head[PHASE] == 0:
        sign = 0
    elif head[ESTIMATOR] == TWO_SIDED and head[PHASE] == 1:
        sign = 0 - 1
        rewind(head)
    else:
        head[REWIND] = head[PERTURBATION]
        head[REWIND + 1] = head[PERTURBATION + 1]
    head[SIGN] = sign
    return sign


def rewind(head: ptr32) -> int:
    """Return the perturbation stream to where this trial (or its pair) began.

    Scaling and overflow: assignments only.
    """
    head[PERTURBATION] = head[REWIND]
    head[PERTURBATION + 1] = head[REWIND + 1]
    return 0


def observe(head: ptr32) -> int:
    """Add head[COST] to the trial's total and to its checksum.

    Scaling and overflow: |cost| <= 2**28 and |total| <= 2**28 before the sum, which saturates at +-2**28.
    """
    cost = head[COST]
    total = head[TOTAL] + cost
    if total > COST_LIMIT:
        total = COST_LIMIT
    elif total < 0 - COST_LIMIT:
        total = 0 - COST_LIMIT
    head[TOTAL] = total
    head[CHECK] = fold_int(head[CHECK], cost)
    return 0


def compare(head: ptr32, cost: int) -> int:
    """Compare a cost with the running baseline, which follows it.

    Returns:
        1, with head[DELTA] = cost minus baseline; 0 for the first cost of all, which is the baseline from then on.

    Scaling and overflow: |cost| and |baseline| <= 2**28, so |delta| <= 2**29; delta + remainder < 2**29 + 2**15.
    The baseline b += delta * 2**-BASELINE_SHIFT keeps its fraction in head[REMAINDER]: no update is lost.
    """
    due = 1
    delta = cost - head[BASELINE]
    if head[STARTED] == 0:
        due = 0
        head[STARTED] = 1
        head[BASELINE] = cost
    else:
        shift = head[BASELINE_SHIFT]
        r = delta + head[REMAINDER]
        head[BASELINE] += r >> shift
        head[REMAINDER] = r - ((r >> shift) << shift)
    head[DELTA] = delta
    return due


def sense(head: ptr32, mem: ptr16, x: ptr16) -> int:
    """Observe the last step's cost and take this step's sensor words; both go into the checksum.

    Returns:
        1 if the last step's cost calls for an update: under EACH_STEP, in a trial that learns, from its second step on.

    Scaling and overflow: those of observe, compare, normalise and fold_words.
    """
    observe(head)
    due = 0
    if head[ESTIMATOR] == EACH_STEP and head[EVALUATE] == 0 and head[STEPS] > 0:
        due = compare(head, head[COST])
        if due != 0:
            normalise(head)
    n = head[LAYERS_AT + N_IN] - head[LAYERS_AT + RECURRENT]
    at = head[SIGNALS_AT]
    for j in range(n):
        mem[at + j] = x[j]
    head[CHECK] = fold_words(head[CHECK], mem, at, n)
    return due


def actuate(head: ptr32, mem: ptr16, at: int, u: ptr16) -> int:
    """Send the last layer's outputs, mem[at ..], as actuator words: the end of a step.

    Scaling and overflow: STEPS is at most 16384.
    """
    n = head[LAYERS_AT + (head[N_LAYERS] - 1) * LAYER_WORDS + N_OUT]
    for i in range(n):
        u[i] = mem[at + i]
    head[CHECK] = fold_words(head[CHECK], mem, at, n)
    head[STEPS] += 1
    return 0


def close_trial(head: ptr32) -> int:
    """Take the last cost; compare with the baseline; advance the pair or the running baseline.

    Returns:
        1 if head[DELTA] (cost minus baseline, counts; normalised where SPREAD_SHIFT says so) calls for an update, else
        0: after an evaluation, after the first trial of a pair, and after the first cost of all under a running
        baseline.

    Scaling and overflow: |total| and |baseline| <= 2**28, so |delta| <= 2**29; and those of compare and normalise.
    """
    observe(head)
    due = 0
    if head[EVALUATE] == 0:
        total = head[TOTAL]
        if head[ESTIMATOR] == RUNNING_BASELINE:
            due = compare(head, total)
        elif head[ESTIMATOR] == EACH_STEP:
            due = compare(head, head[COST])
        else:
            head[DELTA] = total - head[BASELINE]
            if head[PHASE] == 0:
                head[PHASE] = 1
                head[BASELINE] = total
            else:
                head[PHASE] = 0
                due = 1
    if due != 0:
        normalise(head)
    return due


def seal(head: ptr32) -> int:
    """Fold the scalars and both generators into the checksum; with them the spread, where there is one.

    Scaling and overflow: fold_int takes any int32.
    """
    seal_spread(head)
    check = fold_int(head[CHECK], head[STEPS])
    check = fold_int(check, head[TOTAL])
    check = fold_int(check, head[BASELINE])
    check = fold_int(check, head[REMAINDER])
    check = fold_int(check, head[SATURATED])
    for i in range(PERTURBATION, ROUNDING + 2):
        check = fold_int(check, head[i])
    head[CHECK] = check
    return 0
