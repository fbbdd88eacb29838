"""Layers of any depth: weighted sums, optional perturbation of the drives, activations."""

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
    ONE_DRIVE,
    PRODUCT_SHIFT,
    SATURATED,
    SIGNALS_AT,
    SIGNS_AT,
    TABLE_AT,
    WEIGHTS_AT,
)


def tanh_word(mem: ptr16, table: int, g: int) -> int:
    """Return tanh of a drive by linear interpolation in mem[table : table + 257].

    Args:
        mem: table entry i is round(32767 * tanh((i - 128) / 16)) + 32768.
        table: offset of the table.
        g: drive, int16, 1 LSB = 2**-12.

    Returns:
        int16, 1 LSB = 2**-15, in +-32767; within 4.2e-4 of tanh (the interpolation's own bound is 3.8e-4).

    Scaling and overflow: (difference of neighbours < 2**12) * (fraction < 2**8) < 2**20.
    """
    g += 0x8000
    i = table + (g >> 8)
    low = mem[i]
    return low + (((mem[i + 1] - low) * (g & 0xFF) + 0x80) >> 8) - 0x8000


def activate(mem: ptr16, table: int, kind: int, g: int) -> int:
    """Return the output word of a unit with drive g (int16, 1 LSB = 2**-12).

    Returns:
        identity: g itself (1 LSB = 2**-12, range +-8). hard_tanh, tanh, logistic: 1 LSB = 2**-15, in -32767..32767.

    Scaling and overflow: every intermediate < 2**20.
    """
    y = g
    if kind == HARD_TANH:
        if g >= ONE_DRIVE:
            y = 0x7FFF
        elif g <= 0 - ONE_DRIVE:
            y = 0 - 0x7FFF
        else:
            y = g << 3
    elif kind != IDENTITY:
        if kind == LOGISTIC:
            y = 0x4000 + (tanh_word(mem, table, g >> 1) >> 1)
        else:
            y = tanh_word(mem, table, g)
    return y


def forward(head: ptr32, mem: ptr16, amount: int) -> int:
    """Propagate the sensor words at SIGNALS_AT through every layer; add +-amount to every unit's drive.

    Unit i of a layer has the drive (sum over j of (w_ij * x_j >> PRODUCT_SHIFT)) + (bias << BIAS_SHIFT), shifted right
    by DRIVE_SHIFT to 1 LSB = 2**-12; then the perturbation is added; then the drive saturates to int16.

    Args:
        head: layer rows at LAYERS_AT.
        mem: weights; signals, every layer's after its input's; table; with amount != 0, one sign bit a unit at SIGNS_AT
            (1 means +).
        amount: drive LSBs (2**-12), -16384..16384; 0: no perturbation.

    Returns:
        The offset in mem of the last layer's outputs. head[SATURATED] grows by the number of drives that saturated.

    Scaling and overflow: weights are in +-32767, so a product is below 2**30 and, shifted before it is summed by
    PRODUCT_SHIFT with 2**PRODUCT_SHIFT >= n_in + 1, the sum of n_in products and the bias stays below 2**30.
    """
    signal = head[SIGNALS_AT]
    weight = head[WEIGHTS_AT]
    table = head[TABLE_AT]
    sign = head[SIGNS_AT]
    saturated = head[SATURATED]
    layer = LAYERS_AT
    for _k in range(head[N_LAYERS]):
        n_in = head[layer + N_IN]
        n_out = head[layer + N_OUT]
        kind = head[layer + ACTIVATION]
        product_shift = head[layer + PRODUCT_SHIFT]
        bias_shift = head[layer + BIAS_SHIFT]
        drive_shift = head[layer + DRIVE_SHIFT]
        output = signal + n_in
        bits = 0
        for i in range(n_out):
            g = 0
            for j in range(n_in):
                g += (((mem[weight + j] ^ 0x8000) - 0x8000) * ((mem[signal + j] ^ 0x8000) - 0x8000)) >> product_shift
            g = (g + (((mem[weight + n_in] ^ 0x8000) - 0x8000) << bias_shift)) >> drive_shift
            weight += n_in + 1
            if amount != 0:
                if (i & 15) == 0:
                    bits = mem[sign]
                    sign += 1
                if (bits & 1) != 0:
                    g += amount
                else:
                    g -= amount
                bits = bits >> 1
            if g > 0x7FFF:
                g = 0x7FFF
                saturated += 1
            elif g < 0 - 0x8000:
                g = 0 - 0x8000
                saturated += 1
            mem[output + i] = activate(mem, table, kind, g) & 0xFFFF
        signal = output
        layer += LAYER_WORDS
    head[SATURATED] = saturated
    return signal
