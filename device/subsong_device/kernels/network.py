"""Layers of any depth, recurrent ones too: weighted sums, optional perturbation of the drives, activations."""

from subsong_device.layout import (
    ACTIVATION,
    BIAS_SHIFT,
    DRIVE_SHIFT,
    HARD_TANH,
    IDENTITY,
    LAYER_WORDS,
    LAYERS_AT,
    LOGISTIC,
    N_IN,
    N_LAYERS,
    N_OUT,
    NO_BIAS,
    ONE_DRIVE,
    PRODUCT_SHIFT,
    RECURRENT,
    SATURATED,
    SIGNALS_AT,
    SIGNS_AT,
    TABLE_AT,
)


def activate(mem: ptr16, table: int, kind: int, at: int, n: int) -> int:
    """Replace the drives mem[at : at + n] (int16, 1 LSB = 2**-12) by the units' outputs.

    identity: the drive itself (1 LSB = 2**-12, range +-8). hard_tanh, tanh, logistic: 1 LSB = 2**-15, in -32767..32767.
    tanh is interpolated between mem[table : table + 257], whose entry i is round(32767 * tanh((i - 128) / 16)) + 32768:
    within 4.2e-4 of tanh (the interpolation's own bound is 3.8e-4). The logistic function is (1 + tanh(g / 2)) / 2.

    Scaling and overflow: (difference of neighbours < 2**12) * (fraction < 2**8) < 2**20.
    """
    end = at + n
    if kind == HARD_TANH:
        for i in range(at, end):
            g = (mem[i] ^ 0x8000) - 0x8000
            if g >= ONE_DRIVE:
                g = 0x7FFF
            elif g <= 0 - ONE_DRIVE:
                g = 0 - 0x7FFF
            else:
                g = g << 3
            mem[i] = g & 0xFFFF
    elif kind != IDENTITY:
        half = 0
        middle = 0x8000
        if kind == LOGISTIC:
            half = 1
            middle = 0
        centre = table + 128
        for i in range(at, end):
            g = ((mem[i] ^ 0x8000) - 0x8000) >> half
            k = centre + (g >> 8)
            low = mem[k]
            y = low + (((mem[k + 1] - low) * (g & 0xFF) + 0x80) >> 8)
            mem[i] = (y >> half) ^ middle
    return 0


def drives(head: ptr32, mem: ptr16, layer: int, signal: int, weight: int, sign: int, amount: int) -> int:
    """Compute a layer's drives from its inputs at mem[signal], and leave them where its outputs will be.

    Unit i has the drive (sum over j of (w_ij * x_j >> PRODUCT_SHIFT)) + bias * 2**BIAS_SHIFT, shifted right by
    DRIVE_SHIFT to 1 LSB = 2**-12; then the perturbation is added; then the drive saturates to int16.

    Args:
        head: the layer's row at head[layer].
        mem: weights at mem[weight], inputs at mem[signal]; the drives are written behind the inputs.
        layer: offset of its row.
        signal: offset of its inputs.
        weight: offset of its weights.
        sign: offset in mem of the layer's signs, one bit a unit (1 means +).
        amount: drive LSBs (2**-12), -16384..16384; 0: no perturbation.

    Returns:
        The offset of the next layer's weights. head[SATURATED] grows by the number of drives that saturated.

    Scaling and overflow: weights are in +-32767, so a product is below 2**30 and, shifted before it is summed by
    PRODUCT_SHIFT with 2**PRODUCT_SHIFT >= n_in + 1, the sum of n_in products and the bias stays below 2**30.
    """
    n_in = head[layer + N_IN]
    n_out = head[layer + N_OUT]
    product_shift = head[layer + PRODUCT_SHIFT]
    one = 0
    if head[layer + BIAS_SHIFT] != NO_BIAS:
        one = 1 << head[layer + BIAS_SHIFT]
    drive_shift = head[layer + DRIVE_SHIFT]
    output = signal + n_in
    bits = 0
    saturated = 0
    for i in range(output, output + n_out):
        bias = weight + n_in
        g = ((mem[bias] ^ 0x8000) - 0x8000) * one
        for j in range(n_in):
            g += (((mem[weight + j] ^ 0x8000) - 0x8000) * ((mem[signal + j] ^ 0x8000) - 0x8000)) >> product_shift
        g = g >> drive_shift
        if amount != 0:
            if ((i - output) & 15) == 0:
                bits = mem[sign]
                sign += 1
            if (bits & 1) != 0:
                g += amount
            else:
                g -= amount
            bits = bits >> 1
        if ((g + 0x8000) >> 16) != 0:  # no int16
            saturated += 1
            g = 0x7FFF ^ (g >> 31)  # below zero: -0x8000
        mem[i] = g & 0xFFFF
        weight = bias + 1
    head[SATURATED] += saturated
    return weight


def recall(head: ptr32, mem: ptr16, layer: int, signal: int) -> int:
    """Put a recurrent layer's outputs of the step before among its inputs.

    Scaling and overflow: words are copied.
    """
    n = head[layer + RECURRENT]
    output = signal + head[layer + N_IN]
    for i in range(n):
        mem[output - n + i] = mem[output + i]
    return 0


def rest(head: ptr32, mem: ptr16) -> int:
    """Set the outputs of every recurrent layer to 0: at the beginning of a trial there is no step before.

    Scaling and overflow: assignments only.
    """
    output = head[SIGNALS_AT]
    layer = LAYERS_AT
    for _k in range(head[N_LAYERS]):
        output += head[layer + N_IN]
        for i in range(head[layer + RECURRENT]):
            mem[output + i] = 0
        layer += LAYER_WORDS
    return 0


def nudge(mem: ptr16, at: int, amount: int) -> int:
    """Add amount to one drive, mem[at], which saturates once more.

    Returns:
        1 if it did, else 0.

    Scaling and overflow: int16 plus +-16384.
    """
    g = ((mem[at] ^ 0x8000) - 0x8000) + amount
    saturated = 0
    if g > 0x7FFF:
        g = 0x7FFF
        saturated = 1
    elif g < 0 - 0x8000:
        g = 0 - 0x8000
        saturated = 1
    mem[at] = g & 0xFFFF
    return saturated


def forward(head: ptr32, mem: ptr16, amount: int) -> int:
    """Propagate the sensor words at SIGNALS_AT through every layer; add +-amount to every unit's drive.

    Args, Returns, Scaling and overflow: those of forward_lone.
    """
    return forward_lone(head, mem, amount, 0 - 1)


def forward_lone(head: ptr32, mem: ptr16, amount: int, unit: int) -> int:
    """Propagate the sensor words at SIGNALS_AT through every layer; add +-amount to every drive, or to one of them.

    Args:
        head: layer rows at LAYERS_AT.
        mem: weights; signals, every layer's after its input's; table; with amount != 0, a sign bit a unit at SIGNS_AT.
        amount: as in drives.
        unit: the only one whose drive is perturbed, by amount itself; -1: all of them are, by their signs.

    Returns:
        The offset in mem of the last layer's outputs. head[SATURATED] grows by the number of drives that saturated.

    Scaling and overflow: those of drives and activate.
    """
    signal = head[SIGNALS_AT]
    weight = 0
    sign = head[SIGNS_AT]
    layer = LAYERS_AT
    every = amount
    if unit >= 0:
        every = 0
    for _k in range(head[N_LAYERS]):
        n_in = head[layer + N_IN]
        n_out = head[layer + N_OUT]
        recall(head, mem, layer, signal)
        weight = drives(head, mem, layer, signal, weight, sign, every)
        sign += (n_out + 15) >> 4
        signal += n_in
        if unit >= 0:
            if unit < n_out:
                head[SATURATED] += nudge(mem, signal + unit, amount)
            unit -= n_out
        activate(mem, head[TABLE_AT], head[layer + ACTIVATION], signal, n_out)
        layer += LAYER_WORDS
    return signal
