"""Integrate-and-fire units driven by conductances, their synaptic activations, and the empiric synapse's eligibility.

A layer of the kind INTEGRATE_FIRE has spiking units. The drive that its weights give (kernels.network.drives) is a
unit's total conductance: excitatory where positive, inhibitory where negative, in units of the leak. Its output is its
synaptic activation, the filtered train of its spikes. Layers of other kinds are what they are elsewhere, but fixed:
nothing perturbs them, and they have no eligibility.

A unit has three words at UNITS_AT: its potential (int16, 1 LSB = 2**-12 of the way from rest to threshold), its
synaptic activation (1 LSB = 2**-15, 0..32767), and for how many ticks more it is refractory.
"""

from subsong_device.kernels.network import activate, drives, recall, rest
from subsong_device.layout import (
    ACTIVATION,
    ELIGIBILITY_AT,
    INPUT_FRAC,
    INTEGRATE_FIRE,
    LAYER_WORDS,
    LAYERS_AT,
    LEAK_SHIFT,
    N_IN,
    N_LAYERS,
    N_OUT,
    REFRACTORY,
    SIGNALS_AT,
    SIGNS_AT,
    SPIKE_SHIFT,
    SPIKING_WORDS,
    SYNAPSE_SHIFT,
    TABLE_AT,
    UNITS_AT,
)

THRESHOLD = 4096  # potentials count from rest, 1 LSB = 2**-12 of the way to threshold
EXCITATORY_REVERSAL = 16384  # 4 thresholds above rest
INHIBITORY_DEPTH = 4096  # 1 threshold below rest


def rest_units(head: ptr32, mem: ptr16) -> int:
    """Bring every unit to rest: potential and activation 0, not refractory; and no recurrent input.

    Scaling and overflow: assignments only.
    """
    at = head[UNITS_AT]
    layer = LAYERS_AT
    for _k in range(head[N_LAYERS]):
        for i in range(SPIKING_WORDS * head[layer + N_OUT]):
            mem[at + i] = 0
        at += SPIKING_WORDS * head[layer + N_OUT]
        layer += LAYER_WORDS
    rest(head, mem)
    return 0


def fire(head: ptr32, mem: ptr16, at: int, unit: int, n: int) -> int:
    """Integrate n units over one tick: conductances at mem[at ..] are replaced by synaptic activations.

    The activation fades. A refractory unit waits at rest; any other is pulled to rest by its leak and to a reversal
    potential by its conductance g, and fires where that brings it to the threshold:

        v += ((g (E - v)) - v) 2**-LEAK_SHIFT        E = 4 for g > 0; for g < 0, |g| and E = -1

    Args:
        head: LEAK_SHIFT, SYNAPSE_SHIFT, SPIKE_SHIFT, REFRACTORY.
        mem: conductances int16, 1 LSB = 2**-12 leaks; words of units.
        at: offset of the conductances.
        unit: offset of the units' words.
        n: how many.

    Scaling and overflow: a potential is in -4096..4095 between ticks. E - v <= 20480 times g < 2**15 is below 2**30;
    shifted by 12 below 2**18, minus v and plus half below 2**19.
    """
    leak = head[LEAK_SHIFT]
    half = (1 << leak) >> 1
    fading = head[SYNAPSE_SHIFT]
    below = (1 << fading) - 1
    kick = 0x8000 >> head[SPIKE_SHIFT]
    for i in range(at, at + n):
        v = (mem[unit] ^ 0x8000) - 0x8000
        s = mem[unit + 1]
        s -= (s + below) >> fading
        waits = mem[unit + 2]
        if waits > 0:
            mem[unit + 2] = waits - 1
        else:
            g = (mem[i] ^ 0x8000) - 0x8000
            if g > 0:
                pull = (g * (EXCITATORY_REVERSAL - v)) >> 12
            else:
                pull = (g * (INHIBITORY_DEPTH + v)) >> 12
            v += (pull - v + half) >> leak
            if v >= THRESHOLD:
                v = 0
                s += kick
                if s > 0x7FFF:
                    s = 0x7FFF
                mem[unit + 2] = head[REFRACTORY]
            elif v < 0 - INHIBITORY_DEPTH:
                v = 0 - INHIBITORY_DEPTH
        mem[unit] = v & 0xFFFF
        mem[unit + 1] = s
        mem[i] = s
        unit += SPIKING_WORDS
    return 0


def tick(head: ptr32, mem: ptr16, amount: int) -> int:
    """Propagate the sensor words through every layer, for one tick; spiking units' drives carry +-amount.

    Args:
        head: layer rows; what fire reads.
        mem: weights, signals, words of units, table; a sign bit a unit at SIGNS_AT.
        amount: conductance of the empiric synapse about its mean, drive LSBs, -16384..16384.

    Returns:
        The offset in mem of the last layer's outputs. head[SATURATED] grows by the number of drives that saturated.

    Scaling and overflow: those of drives, fire and activate.
    """
    signal = head[SIGNALS_AT]
    weight = 0
    sign = head[SIGNS_AT]
    unit = head[UNITS_AT]
    layer = LAYERS_AT
    for _k in range(head[N_LAYERS]):
        n_in = head[layer + N_IN]
        n_out = head[layer + N_OUT]
        recall(head, mem, layer, signal)
        kind = head[layer + ACTIVATION]
        force = amount
        if kind != INTEGRATE_FIRE:
            force = 0
        weight = drives(head, mem, layer, signal, weight, sign, force)
        if kind == INTEGRATE_FIRE:
            fire(head, mem, signal + n_in, unit, n_out)
        else:
            activate(mem, head[TABLE_AT], kind, signal + n_in, n_out)
        sign += (n_out + 15) >> 4
        unit += SPIKING_WORDS * n_out
        signal += n_in
        layer += LAYER_WORDS
    return signal


def accumulate_empiric(head: ptr32, mem: ptr16, shift: int) -> int:
    """Add xi_i times the unweighted activation s_j to every eligibility e_ij of a spiking layer; a bias sees 1.0.

    Args:
        head: layer rows, the eligibility.
        mem: signals, signs.
        shift: of the activation, before it takes its sign: what has zero mean keeps it.

    Scaling and overflow: 2**shift ticks a step add at most 2**15 to each eligibility; as in accumulate_signs.
    """
    e = head[ELIGIBILITY_AT]
    at = head[SIGNS_AT]
    signal = head[SIGNALS_AT]
    layer = LAYERS_AT
    for _k in range(head[N_LAYERS]):
        n_in = head[layer + N_IN]
        n_out = head[layer + N_OUT]
        if head[layer + ACTIVATION] == INTEGRATE_FIRE:
            one = (1 << head[layer + INPUT_FRAC]) >> shift
            for i in range(n_out):
                xi = (((mem[at + (i >> 4)] >> (i & 15)) & 1) << 1) - 1
                for j in range(n_in):
                    head[e + j] += xi * (((mem[signal + j] ^ 0x8000) - 0x8000) >> shift)
                e += n_in
                head[e] += xi * one
                e += 1
        else:
            e += (n_in + 1) * n_out
        at += (n_out + 15) >> 4
        signal += n_in
        layer += LAYER_WORDS
    return 0
