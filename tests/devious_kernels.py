"""Courses of loops that only look known, conditions with effects, indices that only a condition keeps in bounds."""


def f(w: ptr16) -> int:
    w[0] = w[0] * 5 + 1
    return w[0]


def a_while_that_asks_a_kernel(w: ptr16, d: ptr32, b: ptr8, n: int) -> int:
    s = 0
    while s < 9 and (f(w) & 4) != 0:
        s += 1
    d[0] = s
    return n


def a_while_that_only_asks(w: ptr16, d: ptr32, b: ptr8, n: int) -> int:
    s = 0
    while (f(w) & 3) != 0:
        s += 1
    d[0] = s
    return n


def a_step_that_is_the_variable(w: ptr16, d: ptr32, b: ptr8, n: int) -> int:
    v = n
    for i in range(20):
        v = (v + i) & 7
        d[i & 7] ^= v
    return v


def a_mask_with_a_hole(w: ptr16, d: ptr32, b: ptr8, n: int) -> int:
    s = 8
    v = n
    for i in range(20):
        v = (v + s) & 240
        d[i & 7] ^= v
    return v


def a_circle(w: ptr16, d: ptr32, b: ptr8, n: int) -> int:
    s = 77
    v = n
    for i in range(20):
        d[i & 7] ^= v
        v = (v + s) & 255
    return v


def a_variable_that_is_assigned(w: ptr16, d: ptr32, b: ptr8, n: int) -> int:
    i = 0
    s = 0
    for i in range(11):
        i = i * 2  # noqa: PLW2901 - what it is for
        s += i
    return s + i


def a_step_that_leaves_32_bits(w: ptr16, d: ptr32, b: ptr8, n: int) -> int:
    v = 0 - 0x3FFFFFFF - 0x3FFFFFFF - 2
    for i in range(20):
        d[i & 7] ^= v
        v += 0x0D000000
    return v


def known_for_a_while(w: ptr16, d: ptr32, b: ptr8, n: int) -> int:
    a = 3
    s = 0
    for i in range(20):
        s += a
        if i == 18:
            a = w[0]
    return s + a


def an_index_behind_and(w: ptr16, d: ptr32, b: ptr8, n: int) -> int:
    i = n & 0x3FFFFFF
    if i < 8 and w[i] > 5:
        d[1] = w[i]
    return n


def a_far_index_behind_and(w: ptr16, d: ptr32, b: ptr8, n: int) -> int:
    i = 0x3FFFFFF
    if n == 77 and w[i] > 5:
        d[1] = 1
    return n


def an_index_behind_or(w: ptr16, d: ptr32, b: ptr8, n: int) -> int:
    i = n & 0x3FFFFFF
    if i > 7 or w[i] > 5:
        d[1] = 4
    return n


def a_range_of_each_runs_own(w: ptr16, d: ptr32, b: ptr8, n: int) -> int:
    s = 0
    for i in range(n & 7, 12, 2):
        s += d[i & 7]
    return s


def a_store_to_what_is_known(w: ptr16, d: ptr32, b: ptr8, n: int) -> int:
    d[n & 1] = 77
    w[3] = 9
    s = 0
    for _i in range(w[2]):
        s += w[3] + d[5]
    return d[0] + d[1] * s


def a_sum_of_sums(w: ptr16, d: ptr32, b: ptr8, n: int) -> int:
    t = d[6]
    s = n
    for i in range(20):
        t += w[i & 7]
        s += t
    d[0] = t
    return s


def a_sum_of_sums_of_what_is_known(w: ptr16, d: ptr32, b: ptr8, n: int) -> int:
    t = 2
    s = n
    for _i in range(20):
        t += 3
        s += t
    return s


def a_sum_of_sums_that_changes_what_it_adds(w: ptr16, d: ptr32, b: ptr8, n: int) -> int:
    t = d[6]
    s = n
    for i in range(20):
        t += f(w) + s
        s += t
        d[i & 7] ^= t
    return s


def sums_that_a_turn_reads(w: ptr16, d: ptr32, b: ptr8, n: int) -> int:
    s = n
    t = n
    k = 0
    while k < 20:
        t += w[k & 7]
        if t > 70000:
            s += 1
        k += 1
    d[0] = t
    return s


def a_sum_within_a_loop(w: ptr16, d: ptr32, b: ptr8, n: int) -> int:
    s = n
    for i in range(17):
        for j in range(18):
            if w[(i + j) & 7] > 900:
                s += i
            d[j & 7] += s & 1
    return s


def a_clip_that_counts(w: ptr16, d: ptr32, b: ptr8, n: int) -> int:
    clipped = 0
    for i in range(8):
        v = d[i]
        if v > 77:
            v = 77
            clipped += 1
        elif v < 0 - 5:
            v = 0 - 5
            clipped += 1
        d[i] = v
    return clipped


def a_clip_whose_limits_cross(w: ptr16, d: ptr32, b: ptr8, n: int) -> int:
    clipped = 0
    high = d[1]
    low = d[2]
    for i in range(3, 8):
        v = d[i]
        if v > high:
            v = high
            clipped += 1
        elif v < low:
            v = low
            clipped += 1
        d[i] = v
    return clipped


def a_clip_that_is_none(w: ptr16, d: ptr32, b: ptr8, n: int) -> int:
    clipped = d[0]
    v = d[1]
    if v > clipped:
        v = clipped
        clipped += 1
    elif v < n:
        v = n
        clipped += 1
    d[1] = v
    if v > 5:
        v = 5
        clipped += 1
    elif v < 0 - 5:
        v = 0 - 6
        clipped += 1
    d[2] = v
    if v > 4:
        v = 4
        clipped += 1
    elif v < 0 - 4:
        v = 0 - 4
    return clipped


def a_clip_by_its_high_bits(w: ptr16, d: ptr32, b: ptr8, n: int) -> int:
    clipped = 0
    for i in range(8):
        v = d[i]
        if ((v + 0x8000) >> 16) != 0:
            clipped += 1
            v = 0x7FFF ^ (v >> 31)
        d[i] = v
    v = n
    if ((v + 4) >> 3) != 0:
        clipped += 1
        v = 3 ^ (v >> 31)
    d[0] ^= v
    return clipped


def a_clip_by_other_bits(w: ptr16, d: ptr32, b: ptr8, n: int) -> int:
    clipped = 0
    v = n
    if ((v + 3) >> 3) != 0:
        clipped += 1
        v = 3 ^ (v >> 31)
    d[0] = v
    v = n
    if ((v + 4) >> 3) != 0:
        clipped += 1
        v = 4 ^ (v >> 31)
    d[1] = v
    v = n
    if ((v + 4) >> 3) != 0:
        v += 1
        v = 3 ^ (v >> 31)
    d[2] = v
    return clipped
