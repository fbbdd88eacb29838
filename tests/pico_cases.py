"""Cases for emulated boards, where time is dear: few, fixed, and at every limit that tests/test_extremes.py knows."""

import random
from collections.abc import Iterator
from dataclasses import replace

from cases import ACTIVATIONS, COST_LIMIT, ESTIMATORS, FIRST, Case, Setup, Step, Trial, case_of, head_words
from subsong_device import layout
from test_engines import COSTS, WORDS
from test_extremes import DRIVES, ELIGIBILITIES, SHAPES, worst_trials


def drawn(seed: int) -> Case:
    """Draw a case from what an experiment file admits; rules, estimators, activations and depths take turns."""
    rng = random.Random(seed)

    def edge_or(low: int, high: int, *more: int) -> int:
        return rng.choice((low, high, *more)) if rng.random() < 0.5 else rng.randint(low, high)

    # One size in three fills, or just does not fill, the words that signs come in; the others are small, for time.
    sizes = (1, 2, 3, 4, 6, 9, 15, 16, 17)
    rule, estimator, n_layers = FIRST[seed % 2], ESTIMATORS[seed // 2 % 3], 1 + seed // 3 % 4
    setup = Setup(
        rule=rule,
        estimator=estimator,
        layers=tuple(rng.choice(sizes) for _ in range(n_layers + 1)),
        activations=tuple(ACTIVATIONS[(seed + k) % 4] for k in range(n_layers)),
        weight_frac=8 + seed % 7,
        amplitude=edge_or(1, 4096 if rule == "weight_perturbation" else 16384),
        rate=edge_or(1, 16383),
        rate_shift=edge_or(0, 29, 9, 14, 20),
        baseline_shift=edge_or(1, 15),
        rounding=("stochastic", "nearest")[seed % 5 == 4],
        init=edge_or(0, 32767),
        seed=edge_or(0, 2**32 - 1),
    )
    if rng.random() < 0.5:
        extremes = (-setup.limit, -setup.limit + 1, -1, 0, 1, setup.limit - 1, setup.limit)
        setup = replace(setup, weights=tuple(rng.choice(extremes) for _ in range(setup.n_weights)))
    if estimator == "running_baseline" and rng.random() < 0.5:
        remainder = edge_or(0, 2**setup.baseline_shift - 1)
        baseline = edge_or(-COST_LIMIT, COST_LIMIT)
        setup = replace(setup, head={layout.STARTED: 1, layout.BASELINE: baseline, layout.REMAINDER: remainder})
    scale = rng.choice((1, 3, 1000, 2**16, 2**22, COST_LIMIT))

    def cost() -> int:
        return rng.choice(COSTS) if scale == COST_LIMIT and rng.random() < 0.3 else rng.randint(-scale, scale)

    def trial() -> Trial:
        edges = rng.random()
        words = [
            tuple(
                rng.choice(WORDS) if rng.random() < edges else rng.randint(-32768, 32767)
                for _ in range(setup.layers[0])
            )
            for _ in range(rng.randint(0, 3))
        ]
        return Trial(rng.random() < 0.2, tuple(Step(cost(), x) for x in words), cost())

    return case_of(setup, [trial() for _ in range(rng.randint(3, 6))])


def at_the_extremes(rule: str, fan_in: str) -> Case:
    """Return weights, words, costs, amplitude and rate at their limits."""
    layers = SHAPES[fan_in]
    rate, rate_shift = ((1, 29), (16383, 0))[(len(fan_in) + int(fan_in)) % 2]
    setup = Setup(
        rule=rule,
        layers=layers,
        activations=("identity",) * (len(layers) - 1),
        weight_frac=8,
        amplitude=4096 if rule == "weight_perturbation" else 16384,
        rate=rate,
        rate_shift=rate_shift,
    )
    setup = replace(setup, weights=tuple((-setup.limit, setup.limit)[k % 3 > 0] for k in range(setup.n_weights)))
    return case_of(setup, worst_trials(layers[0]))


def of_every_difference(rule: str, estimator: str) -> Case:
    """Return trials whose cost differs from the baseline by every power of two."""
    n = FIRST.index(rule) + 2 * ESTIMATORS.index(estimator)
    trials = []
    for k in range(29):
        size = min(2**k + k % 3 - 1, COST_LIMIT) * (1, -1)[(k + n) % 2]
        trials += [Trial(False, (Step(0, (30000, -20000)),), 0), Trial(False, (Step(0, (-32768, 32767)),), size)]
    rate, rate_shift = ((1, 29), (16383, 0), (16383, 29), (257, 13), (16383, 15), (2, 8), (99, 11), (16383, 22))[n]
    setup = Setup(
        rule=rule, estimator=estimator, rate=rate, rate_shift=rate_shift, baseline_shift=1, amplitude=3, layers=(2, 1)
    )
    return case_of(setup, trials)


def of_every_eligibility() -> Iterator[tuple[str, Case]]:
    """Yield second trials of a pair that begin with an eligibility that we choose, and take no step."""
    for n, largest in enumerate(ELIGIBILITIES):
        for m, delta in enumerate((16383, 2**20 + 5)):
            rate, rate_shift = ((1, 10), (16383, 29))[(n + m) % 2]
            setup = Setup(
                rule=FIRST[1], layers=(2, 1, 1), activations=("identity",) * 2, rate=rate, rate_shift=rate_shift
            )
            stream = head_words(setup.block().head)[layout.PERTURBATION : layout.PERTURBATION + 2]
            state = {layout.PHASE: 1, layout.REWIND: stream[0], layout.REWIND + 1: stream[1]}
            at = layout.LAYERS_AT + 2 * layout.LAYER_WORDS
            for k, e in enumerate((largest, -(largest // 2), 1, -largest, largest // 3)):
                state[at + k] = e
            yield (
                f"eligibility {largest}, delta {delta}",
                case_of(replace(setup, head=state), [Trial(False, (), delta)]),
            )


def of_every_drive(activation: str) -> Case:
    """Return one layer whose units have these drives exactly, in an evaluation; then perturbed."""
    # In this format 1 LSB of the bias drives by 16, and the word 8, with the weight 256 * n, by n.
    parts = [divmod(drive, 16) for drive in DRIVES]
    setup = Setup(
        rule=FIRST[1],
        layers=(1, len(DRIVES)),
        activations=(activation,),
        weight_frac=8,
        amplitude=5,
        weights=tuple(w for bias, rest in parts for w in (256 * rest, bias)),
    )
    steps = (Step(0, (8,)), Step(77, (-8,)), Step(-5, (9,)))
    return case_of(setup, [Trial(True, steps[:1], 0), Trial(False, steps, 3), Trial(False, steps, -9)])
