"""Eligibility from what was observed of the units in two passes, each with chance of its own."""

from subsong_device.layout import (
    ACTIVATION,
    ELIGIBILITY_AT,
    IDENTITY,
    INPUT_FRAC,
    LAYER_WORDS,
    LAYERS_AT,
    N_IN,
    N_LAYERS,
    N_OUT,
    SIGNALS_AT,
)


def note_activity(head: ptr32, mem: ptr16) -> int:
    """Keep the first pass where the eligibility will be: beside each weight its input, beside a bias its unit's output.

    Scaling and overflow: words are copied.
    """
    e = head[ELIGIBILITY_AT]
    signal = head[SIGNALS_AT]
    layer = LAYERS_AT
    for _k in range(head[N_LAYERS]):
        n_in = head[layer + N_IN]
        output = signal + n_in
        for i in range(head[layer + N_OUT]):
            for j in range(n_in):
                head[e + j] = (mem[signal + j] ^ 0x8000) - 0x8000
            e += n_in
            head[e] = (mem[output + i] ^ 0x8000) - 0x8000
            e += 1
        signal += n_in
        layer += LAYER_WORDS
    return 0


def take_difference(head: ptr32, mem: ptr16) -> int:
    """Set every eligibility to (the unit's output, second pass minus first) * (the input, mean of both passes).

    What was chance in either pass enters alike, with opposite signs: exchanged, the passes would give the opposite
    eligibility, which has therefore zero mean. A difference is clipped to +-32767. 1 LSB = 2**-12 of that of the input.

    Scaling and overflow: the sum of two inputs is within +-2**16, after its shift within +-2**12, or +-2**15 behind a
    layer without bounds; times 32767 it is below 2**30.
    """
    e = head[ELIGIBILITY_AT]
    signal = head[SIGNALS_AT]
    layer = LAYERS_AT
    for _k in range(head[N_LAYERS]):
        n_in = head[layer + N_IN]
        output = signal + n_in
        shift = 4
        if head[layer + ACTIVATION] == IDENTITY:
            shift = 1
        one = (2 << head[layer + INPUT_FRAC]) >> shift
        for i in range(head[layer + N_OUT]):
            d = ((mem[output + i] ^ 0x8000) - 0x8000) - head[e + n_in]
            if d > 0x7FFF:
                d = 0x7FFF
            elif d < 0 - 0x7FFF:
                d = 0 - 0x7FFF
            for j in range(n_in):
                head[e + j] = d * ((((mem[signal + j] ^ 0x8000) - 0x8000) + head[e + j]) >> shift)
            e += n_in
            head[e] = d * one
            e += 1
        signal += n_in
        layer += LAYER_WORDS
    return 0
