"""What the kernels' pieces are by themselves: the generator, rounding, activations, the checksum."""

import math
import random
from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from oracle_parts import Stream
from subsong.block import tanh_table
from subsong_device import layout
from subsong_sim.engines import learner_kernels

WP = learner_kernels("weight_perturbation", "cpython")
NP = learner_kernels("node_perturbation", "cpython")
PERIOD = 2**32 - 1
words = st.integers(0, 0xFFFF)
states = st.tuples(words, words)
checks = st.integers(0, 2**28 - 1)

# ------------------------------------------------------------------------------------------------- the generator


def draw(state: tuple[int, int]) -> tuple[int, int]:
    """Advance a generator's two words by the kernel."""
    head = [0] * layout.LAYERS_AT
    head[layout.PERTURBATION : layout.PERTURBATION + 2] = state
    drawn = WP.draw(head, layout.PERTURBATION)
    a, b = head[layout.PERTURBATION : layout.PERTURBATION + 2]
    assert drawn == b
    return a, b


@given(p=states, q=states)
def test_draw_is_linear_over_gf2(p: tuple[int, int], q: tuple[int, int]) -> None:
    both = draw((p[0] ^ q[0], p[1] ^ q[1]))
    assert both == tuple(i ^ j for i, j in zip(draw(p), draw(q), strict=True))


def apply(matrix: list[int], v: int) -> int:
    """Multiply a GF(2) matrix, columns as 32-bit integers, by a vector."""
    product = 0
    for i, column in enumerate(matrix):
        if v >> i & 1:
            product ^= column
    return product


def power(matrix: list[int], n: int) -> list[int]:
    """Raise a GF(2) matrix to a power."""
    result = [1 << i for i in range(32)]
    while n:
        if n & 1:
            result = [apply(matrix, column) for column in result]
        matrix = [apply(matrix, column) for column in matrix]
        n >>= 1
    return result


def test_period_is_all_of_2_to_the_32_minus_1() -> None:
    """The order of the matrix is 2**32 - 1: every state but zero lies on one orbit."""
    matrix = []
    for i in range(32):
        a, b = draw((1 << i & 0xFFFF, 1 << i >> 16))
        matrix.append(a | b << 16)
    identity = [1 << i for i in range(32)]
    primes = (3, 5, 17, 257, 65537)
    assert math.prod(primes) == PERIOD
    assert power(matrix, PERIOD) == identity
    for prime in primes:
        assert power(matrix, PERIOD // prime) != identity


def sign_functionals(n_words: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """Return each sign of n_words words as a linear function of the 32 bits of state, one integer a sign."""
    functionals = np.zeros((n_words, 16), dtype=np.uint64)
    for i in range(32):
        head = [0] * layout.LAYERS_AT
        head[layout.PERTURBATION : layout.PERTURBATION + 2] = (1 << i & 0xFFFF, 1 << i >> 16)
        drawn = np.array([WP.draw(head, layout.PERTURBATION) for _ in range(n_words)], dtype=np.uint64)
        for k in range(16):
            functionals[:, k] |= ((drawn >> np.uint64(k)) & np.uint64(1)) << np.uint64(i)
    return functionals.reshape(-1)


@pytest.mark.parametrize("n_words", [1024, pytest.param(2**16, marks=pytest.mark.slow)])
def test_signs_are_balanced_and_pairwise_uncorrelated_over_the_period(n_words: int) -> None:
    """2**16 words hold a sign for each weight of the largest network.

    A linear function that is not zero is 1 for half of all states; two different ones agree for half.
    """
    functionals = sign_functionals(n_words)
    assert functionals.all()
    assert len(np.unique(functionals)) == len(functionals)


def test_signs_of_a_stream_are_balanced_and_uncorrelated_to_sampling_error() -> None:
    n = 2**15
    head = [0] * layout.LAYERS_AT
    head[layout.PERTURBATION : layout.PERTURBATION + 2] = (0x1234, 0xABCD)
    drawn = np.array([WP.draw(head, layout.PERTURBATION) for _ in range(n + 3)])
    bits = (drawn[:, None] >> np.arange(16)) & 1
    # Every sign beside the signs of the three words that follow.
    signs = np.concatenate([2.0 * bits[lag : n + lag] - 1 for lag in range(4)], axis=1)
    mean = signs.mean(axis=0) * math.sqrt(n)
    correlation = (signs.T @ signs / math.sqrt(n))[np.triu_indices(64, 1)]
    assert np.abs(mean).max() < 4
    assert np.abs(correlation).max() < 4.8  # of 2,016 pairs
    assert 0.9 < correlation.std() < 1.1


@given(state=states.filter(any))
def test_draws_and_thresholds_are_the_oracles(state: tuple[int, int]) -> None:
    stream = Stream(*state)
    assert draw(state)[1] == stream.draw()
    head = [0] * layout.LAYERS_AT
    head[layout.ROUNDING : layout.ROUNDING + 2] = [stream.a, stream.b]
    assert WP.threshold(head) == 2**28
    assert head[layout.ROUNDING : layout.ROUNDING + 2] == [stream.a, stream.b]
    head[layout.STOCHASTIC] = 1
    assert WP.threshold(head) == (stream.draw() % 2**13 << 16) + stream.draw()
    assert head[layout.ROUNDING : layout.ROUNDING + 2] == [stream.a, stream.b]


# ------------------------------------------------------------------------------------------------- rounding


def count_of_upper(result: Callable[[int], int]) -> tuple[int, int]:
    """Return the result at threshold 0, and how many of the 2**29 thresholds give one more.

    The result must not fall as the threshold grows: bisection then counts exactly.
    """
    low = result(0)
    assert result(2**29 - 1) in (low, low + 1)
    first, last = 0, 2**29
    while first < last:
        middle = (first + last) // 2
        if result(middle) > low:
            last = middle
        else:
            first = middle + 1
    return low, 2**29 - first


@given(delta=st.integers(-32767, 32767), rate=st.integers(1, 16383), shift=st.integers(0, 29))
def test_the_step_of_weight_perturbation_is_unbiased(delta: int, rate: int, shift: int) -> None:
    """Its mean over all thresholds is rate * delta * 2**-shift, exactly."""
    assume(abs(delta * rate) < 65535 << shift)
    head = [0] * layout.LAYERS_AT
    head[layout.DELTA], head[layout.RATE] = delta, rate
    low, upper = count_of_upper(lambda r: WP.rounded_step(head, shift, r))
    assert (low * 2**29 + upper) * 2**shift == delta * rate * 2**29


@given(
    eligibility=st.integers(-32767, 32767),
    q=st.integers(-16383, 16383),
    shift=st.integers(0, 29),
    w=st.integers(-1000, 1000),
)
def test_the_move_of_node_perturbation_is_unbiased(eligibility: int, q: int, shift: int, w: int) -> None:
    assume(abs(eligibility * q) < 30000 << shift)

    def moved(r: int) -> int:
        head = [0] * layout.LAYERS_AT + [eligibility]
        head[layout.LIMIT], head[layout.STOCHASTIC] = 32767, 1
        mem = [w & 0xFFFF]
        assert NP.move_along_eligibility(head, mem, layout.LAYERS_AT, 0, 1, 0, q, shift, r) == (r + 331804471) % 2**29
        return w - ((mem[0] ^ 0x8000) - 0x8000)

    low, upper = count_of_upper(moved)
    assert (low * 2**29 + upper) * 2**shift == eligibility * q * 2**29


def test_thresholds_of_neighbouring_weights_are_a_golden_section_sequence() -> None:
    """A translation modulo 2**29 keeps a uniform threshold uniform; the golden section spreads any run of them."""
    golden = 331804471
    assert abs(golden / 2**29 - (math.sqrt(5) - 1) / 2) < 2**-29
    for n in (10, 100, 1000):
        sequence = sorted(k * golden % 2**29 for k in range(n))
        gaps = [b - a for a, b in zip(sequence, [*sequence[1:], sequence[0] + 2**29], strict=True)]
        assert len(set(gaps)) <= 3
        assert max(gaps) < 2.7 * 2**29 / n


def test_nearest_rounding_has_one_threshold_for_every_weight() -> None:
    head = [0] * layout.LAYERS_AT + [1] * 50
    head[layout.LIMIT] = 32767
    assert NP.threshold(head) == 2**28
    for q, expected in ((511, 0), (512, -1 & 0xFFFF)):
        mem = [0] * 50
        assert NP.move_along_eligibility(head, mem, layout.LAYERS_AT, 0, 50, 0, q, 10, 2**28) == 2**28
        assert mem == [expected] * 50


@given(value=st.integers(-(2**30), 2**30), s=st.integers(0, 31))
def test_shifts_towards_zero_are_odd(value: int, s: int) -> None:
    assert WP.shift_to_zero(value, s) == -WP.shift_to_zero(-value, s) == int(value / 2**s)


# ------------------------------------------------------------------------------------------------- activations

DRIVES = range(-32768, 32768)
TABLE = tanh_table()


def outputs(kind: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the output word for each of the 65,536 drives."""
    mem = [*TABLE, *(g & 0xFFFF for g in DRIVES)]
    NP.activate(mem, 0, kind, len(TABLE), len(DRIVES))
    return np.array(mem[len(TABLE) :], dtype=np.uint16).astype(np.int16).astype(np.int64)


REAL = np.array(DRIVES) / 4096


def test_tanh_errs_by_at_most_what_the_page_says() -> None:
    y = outputs(layout.TANH)
    assert 4.1e-4 < np.abs(y / 32768 - np.tanh(REAL)).max() < 4.2e-4
    assert np.abs(y).max() <= 32767
    assert (np.diff(y) >= 0).all()


def test_logistic_errs_by_at_most_what_the_page_says() -> None:
    y = outputs(layout.LOGISTIC)
    assert 2.5e-4 < np.abs(y / 32768 - 1 / (1 + np.exp(-REAL))).max() < 2.6e-4
    assert y.min() >= 0
    assert y.max() <= 32767
    assert (np.diff(y) >= 0).all()


def test_the_table_is_the_same_with_every_libm() -> None:
    """No entry comes near a tie: an error of many units in the last place of tanh rounds to the same word."""
    exact = [32767 * math.tanh((i - 128) / 16) for i in range(257)]
    assert min(abs(v - math.floor(v) - 0.5) for v in exact) > 1e-4
    assert list(tanh_table()) == [round(v) + 32768 for v in exact]


def test_hard_tanh_is_exact() -> None:
    assert (outputs(layout.HARD_TANH) == np.clip(np.array(DRIVES) * 8, -32767, 32767)).all()


def test_identity_is_the_drive() -> None:
    assert (outputs(layout.IDENTITY) == np.array(DRIVES)).all()


# ------------------------------------------------------------------------------------------------- the checksum


def unfold(folded: int, value: int) -> int:
    """Return the checksum that fold(_, value) took to `folded`: 1 - 2**14 is the inverse of 1 + 2**14 modulo 2**28."""
    c = folded * (1 - 2**14) % 2**28 ^ value
    return c >> 7 | (c & 0x7F) << 21


@given(check=checks, value=checks)
def test_fold_is_one_to_one_in_the_checksum(check: int, value: int) -> None:
    assert unfold(WP.fold(check, value), value) == check


@given(check=checks, p=checks, q=checks)
def test_fold_is_one_to_one_in_the_value(check: int, p: int, q: int) -> None:
    assert (WP.fold(check, p) == WP.fold(check, q)) == (p == q)


@given(
    check=checks,
    run=st.lists(words, min_size=1, max_size=40),
    data=st.data(),
)
def test_one_altered_word_alters_the_checksum_of_a_run(check: int, run: list[int], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(run) - 1))
    altered = data.draw(words.filter(lambda v: v != run[at]))
    before = WP.fold_words(check, run, 0, len(run))
    assert WP.fold_words(check, [*run[:at], altered, *run[at + 1 :]], 0, len(run)) != before


@given(check=checks, p=st.integers(-(2**31), 2**31 - 1), q=st.integers(-(2**31), 2**31 - 1))
def test_one_altered_int32_alters_the_checksum(check: int, p: int, q: int) -> None:
    """In either half: 2**32 values fit no 28 bits, so both halves altered at once can collide, once in 2**28."""
    assume(p & 0xFFFF == q & 0xFFFF or p >> 16 == q >> 16)
    assert (WP.fold_int(check, p) == WP.fold_int(check, q)) == (p == q)


def test_swapped_words_alter_the_checksum() -> None:
    rng = random.Random(1)
    run = [rng.randrange(1, 0x10000) for _ in range(40)]
    before = WP.fold_words(0, run, 0, 40)
    for i, j in combinations(range(40), 2):
        swapped = list(run)
        swapped[i], swapped[j] = run[j], run[i]
        assert WP.fold_words(0, swapped, 0, 40) != before
