"""Bernoulli-logistic units: a unit's drive is the log-odds of its state, which is drawn."""

from subsong_device.kernels.network import activate, drives, recall
from subsong_device.kernels.random import draw
from subsong_device.layout import (
    ACTIVATION,
    LAYER_WORDS,
    LAYERS_AT,
    LOGISTIC,
    N_IN,
    N_LAYERS,
    N_OUT,
    PERTURBATION,
    SIGN,
    SIGNALS_AT,
    TABLE_AT,
    TANH,
    UNITS_AT,
)


def draw_states(head: ptr32, mem: ptr16, at: int, n: int, low: int, unit: int) -> int:
    """Replace the probabilities mem[at : at + n] by states: 32767 with that probability, else low.

    What is left in each unit's word is the derivative of the log-probability of its state by its drive: s - p, s the
    state as 0 or 1. It is (2**15 - p) with probability p * 2**-15 and -p otherwise: its mean is exactly 0.

    Args:
        head: SIGN, the perturbation stream; with SIGN 0 nothing is drawn, and every unit takes its more probable state.
        mem: probabilities, 15 bits, 1 LSB = 2**-15, replaced by states; a word of each unit, int16, 1 LSB = 2**-15.
        at: offset of the probabilities.
        n: how many.
        low: the word of state 0.
        unit: offset of the units' words.

    Scaling and overflow: a logistic unit's probability is in 11..32756 (its drive is within +-8), so s - p is a word.
    """
    for i in range(n):
        p = mem[at + i]
        chance = 0x3FFF
        if head[SIGN] != 0:
            chance = draw(head, PERTURBATION) >> 1
        if chance < p:
            mem[at + i] = 0x7FFF
            mem[unit + i] = (0x8000 - p) & 0xFFFF
        else:
            mem[at + i] = low
            mem[unit + i] = (0 - p) & 0xFFFF
    return 0


def forward_bernoulli(head: ptr32, mem: ptr16) -> int:
    """Propagate the sensor words at SIGNALS_AT through every layer, drawing each unit's state from its drive.

    A unit's state is 1 with probability logistic(drive). A layer of activation logistic has the states 0 and 32767,
    one of activation tanh -32767 and 32767, with the same probabilities.

    Returns:
        The offset in mem of the last layer's outputs. head[SATURATED] grows by the number of drives that saturated.

    Scaling and overflow: those of drives, activate and draw_states.
    """
    signal = head[SIGNALS_AT]
    weight = 0
    unit = head[UNITS_AT]
    layer = LAYERS_AT
    for _k in range(head[N_LAYERS]):
        n_in = head[layer + N_IN]
        n_out = head[layer + N_OUT]
        recall(head, mem, layer, signal)
        weight = drives(head, mem, layer, signal, weight, 0, 0)
        signal += n_in
        activate(mem, head[TABLE_AT], LOGISTIC, signal, n_out)
        low = 0
        if head[layer + ACTIVATION] == TANH:
            low = 0x8001
        draw_states(head, mem, signal, n_out, low, unit)
        unit += n_out
        layer += LAYER_WORDS
    return signal
