"""Perturbation codes over the units' drives: the units of a trial's first step come first, then those of its second.

A pair's trials share a row. docs/arithmetic.md, "Perturbation codes".
"""

from subsong_device.kernels.codes import lone_sign, next_row, walsh_word
from subsong_device.kernels.eligibility import count_sign_words, draw_signs
from subsong_device.layout import (
    CODE,
    CODE_STEP,
    ELIGIBILITY_AT,
    INPUT_FRAC,
    LAYER_WORDS,
    LAYERS_AT,
    N_IN,
    N_LAYERS,
    N_OUT,
    ONE_AT_A_TIME,
    RANDOM_SIGNS,
    SIGNALS_AT,
    SIGNS_AT,
    STEPS,
    WALSH_HADAMARD,
)


def count_units(head: ptr32) -> int:
    """Return the number of units.

    Scaling and overflow: a block has fewer units than weights.
    """
    n = 0
    layer = LAYERS_AT
    for _k in range(head[N_LAYERS]):
        n += head[layer + N_OUT]
        layer += LAYER_WORDS
    return n


def choose_signs(head: ptr32, mem: ptr16) -> int:
    """Write the signs of this step's drives: drawn, or the code's.

    Of Walsh-Hadamard's, step t has the words t * (words a step) and on.

    Scaling and overflow: at most 16384 steps of 1024 words: below 2**24 words.
    """
    if head[CODE] == RANDOM_SIGNS:
        draw_signs(head, mem)
    elif head[CODE] == WALSH_HADAMARD:
        n = count_sign_words(head)
        at = head[SIGNS_AT]
        block = head[STEPS] * n
        for k in range(n):
            mem[at + k] = walsh_word(head[CODE_STEP], block + k)
    return 0


def lone_unit(head: ptr32) -> int:
    """Return which unit is perturbed in this step: -1 for all, the number of units for none.

    Scaling and overflow: at most 16384 steps of 16384 units.
    """
    unit = 0 - 1
    if head[CODE] == ONE_AT_A_TIME:
        n = count_units(head)
        unit = (head[CODE_STEP] >> 1) - head[STEPS] * n
        if unit < 0:
            unit = n
    return unit


def accumulate_lone(head: ptr32, mem: ptr16, unit: int) -> int:
    """Add xi x_j to the eligibilities of one unit, xi the sign that it was perturbed with.

    Scaling and overflow: as kernels.eligibility.accumulate_signs.
    """
    xi = lone_sign(head)
    e = head[ELIGIBILITY_AT]
    signal = head[SIGNALS_AT]
    layer = LAYERS_AT
    for _k in range(head[N_LAYERS]):
        n_in = head[layer + N_IN]
        n_out = head[layer + N_OUT]
        if unit >= 0 and unit < n_out:
            row = e + unit * (n_in + 1)
            for j in range(n_in):
                head[row + j] += xi * ((mem[signal + j] ^ 0x8000) - 0x8000)
            head[row + n_in] += xi * (1 << head[layer + INPUT_FRAC])
        unit -= n_out
        e += (n_in + 1) * n_out
        signal += n_in
        layer += LAYER_WORDS
    return 0


def next_row_of_units(head: ptr32) -> int:
    """Go to the code's next row, after a trial of STEPS steps.

    Scaling and overflow: 16 signs a word, 1024 words, 16384 steps: at most 2**28.
    """
    if head[CODE] != RANDOM_SIGNS:
        n = count_units(head)
        if head[CODE] == WALSH_HADAMARD:
            n = count_sign_words(head) << 4
        next_row(head, n * head[STEPS])
    return 0
