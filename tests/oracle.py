"""docs/arithmetic.md once more: slow, in unbounded integers, written from that page alone (pieces: oracle_parts.py).

The kernels are not imported here and were not looked at: agreement with this file is their proof. `Oracle` behaves like
subsong_sim.learner.Learner.
"""

import struct
from collections.abc import Iterator, Sequence

from oracle_parts import (
    COST,
    HOT,
    TABLE,
    Layer,
    Stream,
    clip,
    fold_int32,
    fold_words,
    least_shift,
    rounded,
    sign_of,
    sign_words,
    signed,
    tz,
    unsigned,
    within,
)
from subsong_device import layout
from subsong_sim.learner import TrialSummary

ROWS = 40  # of head: where the layers' rows begin
GOLDEN = 331804471  # 2**29 times the golden section, nearly

# ------------------------------------------------------------------------------------------------- a trial


class Oracle:
    """A learner; see subsong_sim.learner.Learner. Its two rules are the subclasses; `Oracle.of` picks one."""

    rule: str
    estimators: tuple[int, ...] = (layout.RUNNING_BASELINE, layout.UNPERTURBED_TRIAL, layout.TWO_SIDED)

    @staticmethod
    def of(rule: str, head: bytes, mem: bytes) -> "Oracle":
        """Return the oracle of a rule over a block's bytes."""
        return ORACLES[rule](head, mem)

    def __init__(self, head: bytes, mem: bytes) -> None:
        h = list(struct.unpack(f"<{len(head) // 4}i", head))
        words = list(struct.unpack(f"<{len(mem) // 2}H", mem))
        self._head, self._mem = h, words
        self.cost, self.evaluate, self.steps, self.total, self.baseline, self.check, self.saturated = h[0:7]
        self.estimator, self.amplitude, self.rate, self.rate_shift = h[7:11]
        self.baseline_shift, stochastic, n_layers, n_weights, self.limit = h[11:16]
        self.stochastic = bool(stochastic)
        self.phase, self.started, self.remainder, self.sign, self.delta = h[21:26]
        self.trace_shift = h[34]
        self.perturbation, self.rewind, self.rounding = Stream(*h[26:28]), Stream(*h[28:30]), Stream(*h[30:32])
        self.layers = [Layer(*h[ROWS + 8 * k : ROWS + 8 + 8 * k]) for k in range(n_layers)]
        self.trial = 0

        sizes = [self.layers[0].n_in - self.layers[0].own] + [layer.n_out for layer in self.layers]
        assert n_weights == sum((layer.n_in + 1) * layer.n_out for layer in self.layers)
        self.weights = [signed(w) for w in words[:n_weights]]
        rest = iter(words[n_weights:])
        # signals[0] is the sensor words, signals[k + 1] what layer k puts out, own[k] what it put out the step before.
        self.signals = [[signed(next(rest)) for _ in range(sizes[0])]]
        self.own: list[list[int]] = []
        for layer in self.layers:
            self.own.append([signed(next(rest)) for _ in range(layer.own)])
            self.signals.append([signed(next(rest)) for _ in range(layer.n_out)])
        self.signs = [[next(rest) for _ in range((size + 15) // 16)] for size in sizes[1:]] if self._node else []
        tables = any(layer.activation in (layout.TANH, layout.LOGISTIC) for layer in self.layers)
        self.table = [next(rest) for _ in range(257)] if tables else []
        assert next(rest, None) is None, "mem holds more than the page says"
        assert not tables or self.table == TABLE
        self.eligibility = h[ROWS + 8 * n_layers :]
        self._assert_formats()

    @property
    def _node(self) -> bool:
        return self.rule == "node_perturbation"

    def _assert_formats(self) -> None:
        assert self.rate in range(1, 16384)
        assert self.rate_shift in range(30)
        assert self.amplitude in range(1, (16384 if self._node else 4096) + 1)
        assert self.limit == 32767 - (0 if self._node else self.amplitude)
        assert len(self.eligibility) == (len(self.weights) if self._node else 0)
        assert all(abs(w) <= self.limit for w in self.weights)
        first = self.layers[0]
        weight_frac = first.drive_shift - first.input_frac + first.product_shift + 12
        assert weight_frac in range(8, 15)
        assert self.trace_shift in range(15)
        assert self.estimator in self.estimators
        frac, size = 15, len(self.signals[0])
        for layer in self.layers:
            assert (layer.n_in, layer.input_frac) == (size + layer.own, frac)
            layer.assert_formats(weight_frac)
            frac, size = 12 if layer.activation == layout.IDENTITY else 15, layer.n_out

    # -- what the loop calls

    def begin(self, trial: int, evaluate: bool) -> None:
        """Start a trial."""
        self.trial, self.evaluate = trial, int(evaluate)
        self.steps = self.total = self.saturated = self.check = 0
        if evaluate or (self.estimator == layout.UNPERTURBED_TRIAL and self.phase == 0):
            self.sign = 0
        elif self.estimator == layout.TWO_SIDED and self.phase == 1:
            self.sign = -1
            self.perturbation = self.rewind.copy()
        else:
            self.sign = 1
            self.rewind = self.perturbation.copy()
        for k, layer in enumerate(self.layers):
            if layer.own:
                self.signals[k + 1] = [0] * layer.n_out
        self._perturb()

    def act(self, cost: int, x: Sequence[int]) -> list[int]:
        """Take the last cost and the sensor words; return the actuator words."""
        self._take(cost)
        if self.estimator == layout.EACH_STEP and self.steps > 0 and not self.evaluate and self._compare():
            self._finish(update=True)
        self.check = fold_words(self.check, [unsigned(v) for v in x])
        if self.sign:
            self._draw_step()
        self.signals[0] = [signed(unsigned(v)) for v in x]
        for k, (layer, units) in enumerate(zip(self.layers, self._units(), strict=True)):
            if layer.own:
                self.own[k] = list(self.signals[k + 1])
            self.signals[k + 1] = [self._unit(k, i, layer, unit) for i, unit in enumerate(units)]
        u = self.signals[-1]
        self.check = fold_words(self.check, [unsigned(v) for v in u])
        self.steps += 1
        assert self.steps <= 16384
        if self.sign:
            self._accumulate()
        return list(u)

    def end(self, cost: int) -> TrialSummary:
        """Take the last cost, update, and say what the trial was."""
        self._take(cost)
        update = not self.evaluate and self._compare()
        self._finish(update)
        if update:
            self.check = fold_words(self.check, [unsigned(w) for w in self.weights])
        for v in (self.steps, self.total, self.baseline, self.remainder, self.saturated):
            self.check = fold_int32(self.check, v)
        for stream in (self.perturbation, self.rewind, self.rounding):
            self.check = fold_int32(fold_int32(self.check, stream.a), stream.b)
        return TrialSummary(
            self.trial, bool(self.evaluate), self.steps, self.total, self.baseline, self.check, self.saturated, 0
        )

    def state(self) -> tuple[bytes, bytes]:
        """Return head and mem as bytes."""
        h = list(self._head)
        h[0:7] = [self.cost, self.evaluate, self.steps, self.total, self.baseline, self.check, self.saturated]
        h[21:26] = [self.phase, self.started, self.remainder, self.sign, self.delta]
        for at, stream in ((26, self.perturbation), (28, self.rewind), (30, self.rounding)):
            h[at : at + 2] = [stream.a, stream.b]
        h[ROWS + 8 * len(self.layers) :] = self.eligibility
        runs = [self.weights, self.signals[0]]
        for own, outputs in zip(self.own, self.signals[1:], strict=True):
            runs += [own, outputs]
        words = [unsigned(v) for run in runs for v in run]
        words += [word for run in (*self.signs, self.table) for word in run]
        assert (len(h), len(words)) == (len(self._head), len(self._mem))
        return struct.pack(f"<{len(h)}i", *h), struct.pack(f"<{len(words)}H", *words)

    # -- what both rules share

    def _take(self, cost: int) -> None:
        self.cost = within(cost, COST)
        self.total = clip(self.total + cost, COST)
        self.check = fold_int32(self.check, cost)

    def _units(self) -> Iterator[list[list[int]]]:
        """Yield, layer after layer, the weights of every unit."""
        at = 0
        for layer in self.layers:
            size = layer.n_in + 1
            yield [self.weights[at + i * size : at + (i + 1) * size] for i in range(layer.n_out)]
            at += size * layer.n_out

    def _inputs(self, k: int) -> list[int]:
        """Return a layer's inputs: what the layer below puts out, then its own last outputs."""
        return self.signals[k] + self.own[k]

    def _unit(self, k: int, i: int, layer: Layer, weights: Sequence[int]) -> int:
        g = within(layer.drive(weights, self._inputs(k)) + self._drive_perturbation(k, i), HOT)
        clipped = max(-32768, min(32767, g))
        self.saturated += clipped != g
        return layer.output(clipped, self.table)

    def _compare(self) -> bool:
        """Compare the trial, or the step, with its baseline and move that on; return whether an update is due."""
        observed = self.cost if self.estimator == layout.EACH_STEP else self.total
        self.delta = within(observed - self.baseline, 2 * COST)
        if self.estimator in (layout.UNPERTURBED_TRIAL, layout.TWO_SIDED):
            self.phase = 1 - self.phase
            if self.phase == 1:
                self.baseline = observed
            return self.phase == 0
        if not self.started:
            self.started, self.baseline = 1, observed
            return False
        r = within(self.delta + self.remainder, HOT)
        self.baseline = within(self.baseline + (r >> self.baseline_shift), COST)
        self.remainder = r - ((r >> self.baseline_shift) << self.baseline_shift)
        assert 0 <= self.remainder < 2**self.baseline_shift
        return True

    def _threshold(self) -> int:
        """Draw a threshold; nearest rounding draws nothing and has one of its own."""
        if not self.stochastic:
            return 2**28
        high = self.rounding.draw()
        return ((high & 0x1FFF) << 16) | self.rounding.draw()

    def _move(self, k: int, by: int) -> None:
        """Add to a weight, saturating."""
        w = within(self.weights[k] + by, HOT)
        self.weights[k] = clip(w, self.limit)
        self.saturated += self.weights[k] != w

    # -- what the rules differ in

    def _perturb(self) -> None:
        raise NotImplementedError

    def _draw_step(self) -> None:
        """Draw what perturbs this step."""

    def _accumulate(self) -> None:
        """Add this step to the eligibility."""

    def _drive_perturbation(self, k: int, i: int) -> int:  # noqa: ARG002
        return 0

    def _finish(self, update: bool) -> None:
        raise NotImplementedError


# ------------------------------------------------------------------------------------------------- the two rules


class WeightPerturbation(Oracle):
    """Every weight is perturbed for a whole trial."""

    rule = "weight_perturbation"

    def _perturb(self) -> None:
        if self.sign == 0:
            return
        words = sign_words(self.perturbation, len(self.weights))
        for k in range(len(self.weights)):
            self.weights[k] = within(self.weights[k] + self.sign * self.amplitude * sign_of(words, k), 32767)

    def _finish(self, update: bool) -> None:
        step = self._step() if update else 0
        if self.sign == 0:
            return
        # The trial began at REWIND: noted for sign +1, returned to for sign -1.
        self.perturbation = self.rewind.copy()
        words = sign_words(self.perturbation, len(self.weights))
        for k in range(len(self.weights)):
            self._move(k, -self.sign * (self.amplitude + step) * sign_of(words, k))

    def _step(self) -> int:
        n = self.rate_shift + (self.estimator == layout.TWO_SIDED)
        e = least_shift(self.delta, 15)
        p = within(tz(self.delta, e) * self.rate, 2**29)
        threshold = self._threshold()
        n -= e
        if n == 30:
            p, n = tz(p, 1), 29
        return clip(rounded(p, n, threshold) if n > 0 else p, 65535)


class NodePerturbation(Oracle):
    """Every unit's drive is perturbed, anew each step."""

    rule = "node_perturbation"
    estimators = (*Oracle.estimators, layout.EACH_STEP)

    def _perturb(self) -> None:
        if self.sign == 1:
            self.eligibility = [0] * len(self.weights)

    def _draw_step(self) -> None:
        self.signs = [sign_words(self.perturbation, layer.n_out) for layer in self.layers]

    def _drive_perturbation(self, k: int, i: int) -> int:
        return self.sign * self.amplitude * sign_of(self.signs[k], i) if self.sign else 0

    def _accumulate(self) -> None:
        if self.estimator == layout.EACH_STEP:
            self.eligibility = [self._faded(e) for e in self.eligibility]
        k = 0
        for n, (layer, signs) in enumerate(zip(self.layers, self.signs, strict=True)):
            for i in range(layer.n_out):
                for factor in [*self._inputs(n), 2**layer.input_frac]:
                    self.eligibility[k] = within(self.eligibility[k] + sign_of(signs, i) * factor, 2**30)
                    k += 1

    def _faded(self, e: int) -> int:
        s = self.trace_shift
        e -= within(e + 2**s - 1, 2**31 - 1) >> s if e > 0 else e >> s
        return clip(e, 2**30 - 2**15)

    def _finish(self, update: bool) -> None:
        if not update:
            return
        e = least_shift(self.delta, 15)
        q = within(self.sign * tz(self.delta, e) * self.rate, 2**29)
        f = least_shift(q, 14)
        q = within(tz(q, f), 2**14 - 1)
        g = least_shift(max(abs(v) for v in self.eligibility), 15)
        threshold = self._threshold()
        k = 0
        for layer in self.layers:
            n = self.rate_shift + layer.input_frac - e - f - g + 2 * (self.estimator == layout.TWO_SIDED)
            q_layer = q
            if n > 29:
                q_layer = rounded(q, n - 29, self._threshold())
                n = 29
            for _ in range((layer.n_in + 1) * layer.n_out):
                d = within(within(tz(self.eligibility[k], g), 2**15 - 1) * q_layer, 2**29)
                self._move(k, -(rounded(d, n, threshold) if n > 0 else d))
                if self.stochastic:
                    threshold = (threshold + GOLDEN) % 2**29
                k += 1


ORACLES: dict[str, type[Oracle]] = {cls.rule: cls for cls in (WeightPerturbation, NodePerturbation)}

# ------------------------------------------------------------------------------------------------- on-board tasks


class Task:
    """The patterns that a board learns by itself."""

    def __init__(self, block: bytes) -> None:
        self._words = list(struct.unpack(f"<{len(block) // 2}H", block))
        kind, self.inputs, self.outputs, self.error_shift, self.next, self.start, self.resume = self._words[:7]
        self.evaluating, self.patterns = self._words[7:9]
        assert kind == 0
        data = [signed(word) for word in self._words[9:]]
        size = self.inputs + self.outputs
        assert len(data) == self.patterns * size
        self.data = [(data[k : k + self.inputs], data[k + self.inputs : k + size]) for k in range(0, len(data), size)]

    def begin(self, evaluate: bool, phase: int) -> None:
        """Begin a trial: an evaluation, or the first (phase 0) or second of a pair."""
        if evaluate:
            if not self.evaluating:
                self.resume, self.evaluating, self.next = self.next, 1, 0
            return
        if self.evaluating:
            self.next, self.evaluating = self.resume, 0
        if phase == 0:
            self.start = self.next
        else:
            self.next = self.start

    def state(self) -> bytes:
        """Return the block as bytes."""
        words = list(self._words)
        words[4:8] = [self.next, self.start, self.resume, self.evaluating]
        return struct.pack(f"<{len(words)}H", *words)

    def sense(self) -> list[int]:
        """Return the inputs of the pattern that the next step takes."""
        return list(self.data[self.next][0])

    def cost(self, u: Sequence[int]) -> int:
        """Return the cost of the actuator words on this step's pattern, 1 LSB = 2**-24, and go on to the next."""
        cost = 0
        for v, target in zip(u, self.data[self.next][1], strict=True):
            e = clip(within(v - target, 65535) >> self.error_shift, 16384)
            cost = clip(cost + within(e * e, COST), COST)
        self.next = (self.next + 1) % self.patterns
        return cost
