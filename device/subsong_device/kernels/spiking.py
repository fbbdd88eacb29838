"""Spiking units: filtered spike trains, units that spike by chance, synapses that release by chance."""

from subsong_device.kernels.network import activate, drives, recall
from subsong_device.kernels.random import draw
from subsong_device.layout import (
    BIAS_SHIFT,
    DRIVE_SHIFT,
    ELIGIBILITY_AT,
    FILTER_SHIFT,
    FIRE_AT,
    INPUT_FRAC,
    INPUT_SHIFT,
    LAYER_WORDS,
    LAYERS_AT,
    LEAK_SHIFT,
    LOGISTIC,
    N_IN,
    N_LAYERS,
    N_OUT,
    NO_BIAS,
    PEAK_SHIFT,
    PERTURBATION,
    PRODUCT_SHIFT,
    RECURRENT,
    SATURATED,
    SIGN,
    SIGNALS_AT,
    SPIKE,
    SYNAPSES_AT,
    TABLE_AT,
    UNITS_AT,
)


def silence(head: ptr32, mem: ptr16) -> int:
    """Set the words that are kept for each unit to 0: at the beginning of a trial nothing has happened.

    Args:
        head: UNITS_AT; TABLE_AT, where they end.
        mem: words of units (changed).

    Scaling and overflow: assignments only.
    """
    for i in range(head[UNITS_AT], head[TABLE_AT]):
        mem[i] = 0
    return 0


def faded(value: int, shift: int) -> int:
    """Return value less 2**-shift of it, rounded so that it ends at 0.

    Scaling and overflow: |value| below 2**16.
    """
    if value > 0:
        value -= (value + (1 << shift) - 1) >> shift
    else:
        value -= value >> shift
    return value


def filtered(head: ptr32, h: int, amount: int) -> int:
    """Return a filtered spike train one step on.

    Args:
        head: FILTER_SHIFT.
        h: the train as it was, 0..32767, 1 LSB = 2**-15.
        amount: what this step adds, 0..32767.

    Scaling and overflow: at most 2**16 before the clip.
    """
    h = faded(h, head[FILTER_SHIFT]) + amount
    if h > 0x7FFF:
        h = 0x7FFF
    return h


# ------------------------------------------------------------------------------------------------- units of chance


def draw_spikes(head: ptr32, mem: ptr16, at: int, n: int, unit: int) -> int:
    """Replace the logistic outputs mem[at : at + n], parts of the highest rate, by filtered spike trains.

    Of each unit's three words the first is its train, the second the factor S - p, S 1 for a spike, else 0. It is
    (2**15 - p) with probability p * 2**-15 and -p otherwise: its mean is exactly 0. The third is phi, what is left to
    the highest rate: the derivative of ln(rate) by the drive.

    Args:
        head: SIGN, PEAK_SHIFT, FILTER_SHIFT, SPIKE, the perturbation stream; with SIGN 0 nothing is drawn, and every
            unit adds what it would add on average.
        mem: outputs, 15 bits; words of units.
        at: offset of the outputs.
        n: how many.
        unit: offset of their words.

    Scaling and overflow: a logistic output f is in 11..32756, p = f >> PEAK_SHIFT; SPIKE * p is below 2**30.
    """
    for i in range(at, at + n):
        f = mem[i] & 0x7FFF
        p = f >> head[PEAK_SHIFT]
        amount = 0
        factor = 0 - p
        if head[SIGN] == 0:
            amount = (head[SPIKE] * p) >> 15
        elif (draw(head, PERTURBATION) >> 1) < p:
            amount = head[SPIKE]
            factor = 0x8000 - p
        h = filtered(head, mem[unit], amount)
        mem[i] = h
        mem[unit] = h
        mem[unit + 1] = factor & 0xFFFF
        mem[unit + 2] = 0x8000 - f
        unit += 3
    return 0


def forward_spiking(head: ptr32, mem: ptr16) -> int:
    """Propagate the sensor words at SIGNALS_AT through layers of units that spike by chance.

    Returns:
        The offset in mem of the last layer's outputs. head[SATURATED] grows by the number of drives that saturated.

    Scaling and overflow: those of drives, activate and draw_spikes.
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
        draw_spikes(head, mem, signal, n_out, unit)
        unit += 3 * n_out
        layer += LAYER_WORDS
    return signal


def accumulate_scores(head: ptr32, mem: ptr16) -> int:
    """Add factor_i * (phi_i * x_j) to every eligibility e_ij; a bias sees the input 1.0.

    phi and x are known before the spike is drawn: they are multiplied, and shifted to 15 - INPUT_SHIFT bits, first, so
    that the zero mean of the factor is kept.

    Args:
        head: layer rows, INPUT_SHIFT, the eligibility.
        mem: signals; three words of each unit at UNITS_AT, its factor and its phi the last two.

    Scaling and overflow: phi * x is at most 2**30; with INPUT_SHIFT as for accumulate_factors, eligibilities stay below
    2**30.
    """
    e = head[ELIGIBILITY_AT]
    at = head[UNITS_AT]
    shift = head[INPUT_SHIFT]
    half = (1 << shift) >> 1
    signal = head[SIGNALS_AT]
    layer = LAYERS_AT
    for _k in range(head[N_LAYERS]):
        n_in = head[layer + N_IN]
        one = head[layer + INPUT_FRAC]
        for _i in range(head[layer + N_OUT]):
            factor = (mem[at + 1] ^ 0x8000) - 0x8000
            phi = mem[at + 2] & 0x7FFF
            at += 3
            for j in range(n_in):
                x = (phi * ((mem[signal + j] ^ 0x8000) - 0x8000)) >> 15
                head[e + j] += factor * ((x + half) >> shift)
            e += n_in
            head[e] += factor * ((((phi << one) >> 15) + half) >> shift)
            e += 1
        signal += n_in
        layer += LAYER_WORDS
    return 0


# ------------------------------------------------------------------------------------------------- synapses of chance


def logistic_word(mem: ptr16, table: int, g: int) -> int:
    """Return the logistic function of g, int16, 1 LSB = 2**-12, as activate does: 11..32756, 1 LSB = 2**-15.

    Scaling and overflow: as in activate.
    """
    g = g >> 1
    k = table + 128 + (g >> 8)
    low = mem[k]
    return (low + (((mem[k + 1] - low) * (g & 0xFF) + 0x80) >> 8)) >> 1


def draw_sensors(head: ptr32, mem: ptr16) -> int:
    """Replace sensor words by spikes: 32767 with the word's own probability, else 0; a negative word is silent.

    With SIGN 0 nothing is drawn, and a word stands for itself; a negative one becomes 0.

    Scaling and overflow: words only.
    """
    at = head[SIGNALS_AT]
    for j in range(at, at + head[LAYERS_AT + N_IN] - head[LAYERS_AT + RECURRENT]):
        x = (mem[j] ^ 0x8000) - 0x8000
        if head[SIGN] != 0:
            if (draw(head, PERTURBATION) >> 1) < x:
                x = 0x7FFF
            else:
                x = 0
        elif x < 0:
            x = 0
        mem[j] = x
    return 0


def release(head: ptr32, mem: ptr16, layer: int, signal: int, k: int, v: int) -> int:
    """Let the synapses of a unit release by chance, and note what each did.

    A synapse whose input spikes releases with probability p = logistic(q), q the word of its weight: its strength is
    then added to the unit's potential. Its eligibility grows by 1 - p on release and by -p on failure: (2**15 - p) with
    probability p * 2**-15, else -p, exactly 0 on average. The last synapse's input, the bias's, spikes in every step,
    or in none where the layer has no bias.

    Args:
        head: SIGN, layer's row, the eligibility, the perturbation stream; with SIGN 0 nothing is drawn or noted, and
            what is added is strength * p * input.
        mem: weights, strengths, the layer's inputs (32767 for a spike, 0 for none), the table.
        layer: offset of its row.
        signal: offset of its inputs.
        k: number of the unit's first weight.
        v: the potential before, int16, 1 LSB = 2**-12.

    Returns:
        The potential after.

    Scaling and overflow: a strength is a word, so |v| grows by less than 2**15 a synapse and stays below 2**30; a step
    adds at most 2**15 to an eligibility.
    """
    n_in = head[layer + N_IN]
    up = head[layer + INPUT_FRAC] - head[layer + PRODUCT_SHIFT]
    for j in range(n_in + 1):
        x = 0
        if j < n_in:
            x = mem[signal + j]
        elif head[layer + BIAS_SHIFT] != NO_BIAS:
            x = 0x7FFF
        if x != 0:
            q = (((mem[k] ^ 0x8000) - 0x8000) << up) >> head[layer + DRIVE_SHIFT]
            if q > 0x7FFF:
                q = 0x7FFF
            elif q < 0 - 0x8000:
                q = 0 - 0x8000
            p = logistic_word(mem, head[TABLE_AT], q)
            strength = (mem[head[SYNAPSES_AT] + k] ^ 0x8000) - 0x8000
            e = head[ELIGIBILITY_AT] + k
            if head[SIGN] == 0:
                v += (((strength * p) >> 15) * x) >> 15
            elif (draw(head, PERTURBATION) >> 1) < p:
                v += strength
                head[e] += 0x8000 - p
            else:
                head[e] -= p
        k += 1
    return v


def forward_releasing(head: ptr32, mem: ptr16) -> int:
    """Propagate the sensor words at SIGNALS_AT through layers of leaky integrate-and-fire units.

    A unit's potential leaks, takes what its synapses release, and, at FIRE_AT, is set back to 0 with a spike. The
    next layer sees spikes; what the network puts out are the last layer's filtered spike trains.

    Returns:
        The offset in mem of the last layer's trains: words of units are the potentials, then the trains, of all units.
        head[SATURATED] grows by the number of potentials that were clipped.

    Scaling and overflow: those of release; a potential is clipped to +-32767.
    """
    draw_sensors(head, mem)
    signal = head[SIGNALS_AT]
    unit = head[UNITS_AT]
    train = unit + ((head[TABLE_AT] - unit) >> 1)  # two words a unit, and then the table
    layer = LAYERS_AT
    k = 0
    first = train
    for _k in range(head[N_LAYERS]):
        n_in = head[layer + N_IN]
        output = signal + n_in
        first = train
        recall(head, mem, layer, signal)
        for i in range(output, output + head[layer + N_OUT]):
            v = faded((mem[unit] ^ 0x8000) - 0x8000, head[LEAK_SHIFT])
            v = release(head, mem, layer, signal, k, v)
            k += n_in + 1
            if v > 0x7FFF:
                v = 0x7FFF
                head[SATURATED] += 1
            elif v < 0 - 0x7FFF:
                v = 0 - 0x7FFF
                head[SATURATED] += 1
            s = 0
            amount = 0
            if v >= head[FIRE_AT]:
                v = 0
                s = 0x7FFF
                amount = head[SPIKE]
            mem[unit] = v & 0xFFFF
            mem[i] = s
            mem[train] = filtered(head, mem[train], amount)
            unit += 1
            train += 1
        signal = output
        layer += LAYER_WORDS
    return first
