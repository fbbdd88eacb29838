"""Velocity: updates gathered in fixed point before the weights move, one int32 a weight, 1 LSB = 2**-12 of a weight's.

    every update            v += the update
    every TAU-th            w -= v;  v -= v * 2**-MOMENTUM_SHIFT  (all of it, where there is no momentum)

Sources: McCaughan et al. 2023 (the time constant of updates); Polyak 1964 (momentum); Oripov et al. 2025 (both).
"""

from subsong_device.kernels.checksum import fold, fold_int
from subsong_device.kernels.codes import lone_sign, walsh_word
from subsong_device.kernels.random import draw, threshold
from subsong_device.kernels.update import (
    absolute,
    joint_magnitude,
    magnitude_shift,
    move_along_eligibility,
    shift_to_zero,
)
from subsong_device.layout import (
    CHECK,
    CODE,
    CODE_STEP,
    DELTA,
    ELIGIBILITY_AT,
    ESTIMATOR,
    INPUT_FRAC,
    LAYER_WORDS,
    LAYERS_AT,
    LIMIT,
    MOMENTUM_SHIFT,
    N_IN,
    N_LAYERS,
    N_OUT,
    N_WEIGHTS,
    ONE_AT_A_TIME,
    PERTURBATION,
    RANDOM_SIGNS,
    RATE,
    RATE_SHIFT,
    SATURATED,
    SIGN,
    STOCHASTIC,
    TAU,
    TWO_SIDED,
    WAITING,
)

VELOCITY_FRAC = 12
VELOCITY_LIMIT = 0x10000000  # 65536 LSBs of a weight: any weight saturates


def velocity_at(head: ptr32, at: int) -> int:
    """Return `at`, where a velocity would begin, if there is one; else 0.

    Scaling and overflow: comparisons only.
    """
    if head[TAU] <= 1 and head[MOMENTUM_SHIFT] == 0:
        at = 0
    return at


def within_velocity(value: int) -> int:
    """Return value, clipped to the velocity's range.

    Scaling and overflow: +-2**28.
    """
    if value > VELOCITY_LIMIT:
        value = VELOCITY_LIMIT
    elif value < 0 - VELOCITY_LIMIT:
        value = 0 - VELOCITY_LIMIT
    return value


def rounded(p: int, shift: int, r: int) -> int:
    """Return p * 2**-shift, rounded stochastically by r, or clipped where it grows.

    Args:
        p: in +-2**29.
        shift: at most 29; where it is negative p is shifted to the left.
        r: 0..2**29 - 1.

    Scaling and overflow: p + (r >> (29 - shift)) is within +-2**30; within +-2**28 afterwards, and what is shifted to
    the left was clipped to what 2**28 leaves room for.
    """
    rise = 0
    if shift < 0:
        rise = 0 - shift
        if rise > 28:
            rise = 28
        shift = 0
    p = (p + (r >> (29 - shift))) >> shift
    high = VELOCITY_LIMIT >> rise
    if p > high:
        p = high
    elif p < 0 - high:
        p = 0 - high
    return p << rise


def velocity_step(head: ptr32) -> int:
    """Return rate * 2**-RATE_SHIFT * DELTA in the velocity's format, rounded stochastically; half of it two-sided.

    Scaling and overflow: as kernels.update.rounded_step; the shift is 30 - 12 at most.
    """
    delta = head[DELTA]
    s = magnitude_shift(absolute(delta), 0x8000)
    shift = head[RATE_SHIFT] - VELOCITY_FRAC - s
    if head[ESTIMATOR] == TWO_SIDED:
        shift += 1
    return rounded(shift_to_zero(delta, s) * head[RATE], shift, threshold(head))


def push_along_code(head: ptr32, velocity: int, amount: int) -> int:
    """Add +-amount to the velocity of every weight that the code perturbs, by its sign.

    Args:
        head: CODE, CODE_STEP, N_WEIGHTS, the perturbation stream (advanced); velocity (changed).
        velocity: its offset in head.
        amount: in +-2**28.

    Scaling and overflow: +-2**28 plus +-2**28, clipped to +-2**28.
    """
    if head[CODE] == ONE_AT_A_TIME:
        k = velocity + (head[CODE_STEP] >> 1)
        head[k] = within_velocity(head[k] + lone_sign(head) * amount)
    else:
        bits = 0
        for k in range(head[N_WEIGHTS]):
            if (k & 15) == 0:
                if head[CODE] == RANDOM_SIGNS:
                    bits = draw(head, PERTURBATION)
                else:
                    bits = walsh_word(head[CODE_STEP], k >> 4)
            head[velocity + k] = within_velocity(head[velocity + k] + (((bits & 1) << 1) - 1) * amount)
            bits = bits >> 1
    return 0


def push_along_eligibility(head: ptr32, e: int, velocity: int, n: int, e_shift: int, q: int, shift: int, r: int) -> int:
    """Add q * (eligibility >> e_shift) * 2**-shift to the velocity of n weights, rounded stochastically.

    Args:
        head: eligibility, int32; velocity (changed); STOCHASTIC.
        e: offset in head of the eligibility.
        velocity: offset in head of the velocity.
        n: how many.
        e_shift: brings every |eligibility| below 2**15.
        q: rate times delta, a mantissa in +-16383.
        shift: at most 29; where it is negative what is added is shifted to the left.
        r: 0..2**29 - 1; the next weight's is that of kernels.update.move_along_eligibility.

    Returns:
        The next r.

    Scaling and overflow: |q| < 2**14 times a mantissa below 2**15 is below 2**29; those of rounded; and the sum of two
    numbers within +-2**28.
    """
    stride = 331804471 * head[STOCHASTIC]
    for k in range(n):
        d = rounded(shift_to_zero(head[e + k], e_shift) * q, shift, r)
        head[velocity + k] = within_velocity(head[velocity + k] + d)
        r = (r + stride) & 0x1FFFFFFF
    return r


def move_along_velocity(head: ptr32, mem: ptr16, velocity: int) -> int:
    """Count an update; after every TAU-th subtract the velocity from the weights, and what fades from the velocity.

    Both are rounded stochastically by one threshold a weight, a golden-section sequence: each is right on average.

    Scaling and overflow: |v| <= 2**28, plus a threshold below 2**12 (2**10); a weight moves by at most 2**16.
    """
    waiting = head[WAITING] + 1
    if waiting >= head[TAU]:
        waiting = 0
        shift = head[MOMENTUM_SHIFT]
        limit = head[LIMIT]
        stride = 331804471 * head[STOCHASTIC]
        r = threshold(head)
        saturated = 0
        for k in range(head[N_WEIGHTS]):
            v = head[velocity + k]
            w = ((mem[k] ^ 0x8000) - 0x8000) - ((v + (r >> (29 - VELOCITY_FRAC))) >> VELOCITY_FRAC)
            if w > limit:
                w = limit
                saturated += 1
            elif w < 0 - limit:
                w = 0 - limit
                saturated += 1
            mem[k] = w & 0xFFFF
            head[velocity + k] = v - ((v + (r >> (29 - shift))) >> shift)
            r = (r + stride) & 0x1FFFFFFF
        head[SATURATED] += saturated
    head[WAITING] = waiting
    return 0


def learn_into(head: ptr32, mem: ptr16, velocity: int) -> int:
    """Make an update along the eligibility: into the weights, or into the velocity, which moves them in its time.

    Args:
        head: DELTA, RATE, RATE_SHIFT, SIGN; the eligibility.
        mem: weights (changed).
        velocity: its offset in head; 0: there is none.

    Scaling and overflow: those of kernels.eligibility.learn, whose weights' shift is 12 more than a velocity's.
    """
    delta = head[DELTA]
    s = magnitude_shift(absolute(delta), 0x8000)
    q = head[SIGN] * shift_to_zero(delta, s) * head[RATE]
    q_shift = magnitude_shift(absolute(q), 0x4000)
    q = shift_to_zero(q, q_shift)
    at = head[ELIGIBILITY_AT]
    e_shift = magnitude_shift(joint_magnitude(head, at, head[N_WEIGHTS]), 0x8000)
    base = head[RATE_SHIFT] - s - q_shift - e_shift
    if head[ESTIMATOR] == TWO_SIDED:
        base += 2
    if velocity != 0:
        base -= VELOCITY_FRAC
    r = threshold(head)
    w = 0
    v = velocity
    layer = LAYERS_AT
    for _k in range(head[N_LAYERS]):
        n = (head[layer + N_IN] + 1) * head[layer + N_OUT]
        shift = base + head[layer + INPUT_FRAC]
        rate = q
        if shift > 29:
            excess = shift - 29
            if excess > 29:  # a step below 2**-28 of an LSB, whatever it is
                excess = 29
            # Its own threshold: sharing r with the weights' rounding would correlate the two and bias the product.
            rate = (q + (threshold(head) >> (29 - excess))) >> excess
            shift = 29
        if velocity != 0:
            r = push_along_eligibility(head, at, v, n, e_shift, rate, shift, r)
        else:
            r = move_along_eligibility(head, mem, at, w, n, e_shift, rate, shift, r)
        at += n
        w += n
        v += n
        layer += LAYER_WORDS
    if velocity != 0:
        move_along_velocity(head, mem, velocity)
    return 0


def fold_velocity(head: ptr32, velocity: int) -> int:
    """Fold the velocity into the checksum: sixteen at a time, the sums of (k + 1) * each 16-bit half.

    Scaling and overflow: 136 * 65535 < 2**24, twice.
    """
    check = head[CHECK]
    n = head[N_WEIGHTS]
    low = 0
    high = 0
    for k in range(n):
        place = (k & 15) + 1
        v = head[velocity + k]
        low += place * (v & 0xFFFF)
        high += place * ((v >> 16) & 0xFFFF)
        if place == 16 or k == n - 1:
            check = fold(check, low)
            check = fold(check, high)
            low = 0
            high = 0
    head[CHECK] = check
    return 0


def seal_velocity(head: ptr32, velocity: int) -> int:
    """Fold how many updates wait into the checksum, where there is a velocity for them.

    Scaling and overflow: fold_int takes any int32.
    """
    if velocity != 0:
        head[CHECK] = fold_int(head[CHECK], head[WAITING])
    return 0
