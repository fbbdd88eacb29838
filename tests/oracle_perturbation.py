"""docs/arithmetic.md's weight and node perturbation, with codes and velocity, and what is made like them."""

from collections.abc import Iterable

from oracle_base import Oracle
from oracle_parts import GOLDEN, Layer, clip, faded, least_shift, rounded, sign_of, sign_words, tz, within
from subsong_device import layout

THREE = (layout.RUNNING_BASELINE, layout.UNPERTURBED_TRIAL, layout.TWO_SIDED)


class Coded(Oracle):
    """A rule whose perturbation may be a code and whose updates may be gathered in a velocity."""

    def _assert_formats(self) -> None:
        super()._assert_formats()
        assert self.code in range(3)
        assert self.tau in range(1, 32768)
        assert self.waiting in range(self.tau)
        assert self.momentum_shift in range(11)

    def _code(self, k: int) -> int:
        """Return the k-th sign of a deterministic code's row; 0 where nothing is perturbed."""
        n = self.code_step
        if self.code == layout.WALSH_HADAMARD:
            return 1 if (n & ~k).bit_count() & 1 else -1
        assert self.code == layout.ONE_AT_A_TIME
        return 0 if k != n >> 1 else -1 if n & 1 else 1

    def _next_row(self, signs: int) -> None:
        """Go on to the code's next row; `signs` are told apart."""
        if self.code:
            period = 2 * signs if self.code == layout.ONE_AT_A_TIME else 1 << signs.bit_length()
            self.code_step = self.code_step + 1 if self.code_step + 1 < period else 0

    def _gather(self, moves: Iterable[tuple[int, int]]) -> None:
        """Add to velocities, (weight, by) each, then let the weights move if that is due."""
        for k, by in moves:
            self.velocity[k] = clip(within(self.velocity[k] + by, 2**30), 2**28)
        self.waiting += 1
        if self.waiting < self.tau:
            return
        self.waiting = 0
        r, s = self._threshold(), self.momentum_shift
        for k, v in enumerate(self.velocity):
            self._move(k, -(within(v + (r >> 17), 2**30) >> 12))
            self.velocity[k] = within(v - (within(v + (r >> (29 - s)), 2**30) >> s), 2**28)
            r = self._next_threshold(r)

    def _next_threshold(self, r: int) -> int:
        return (r + GOLDEN) % 2**29 if self.stochastic else r

    @staticmethod
    def _scaled(p: int, n: int, r: int) -> int:
        """Return p * 2**-n as an increment of a velocity."""
        if n > 0:
            return clip(rounded(p, n, r), 2**28)
        m = min(-n, 28)
        return within(clip(p, 2**28 >> m) << m, 2**28)


class WeightPerturbation(Coded):
    """Every weight is perturbed for a whole trial."""

    rule = "weight_perturbation"
    estimators = THREE
    amplitudes = range(1, 4097)
    perturbs_weights = True
    coded = True

    def _signs(self) -> list[int]:
        """Return every weight's sign; random ones are drawn."""
        if self.code:
            return [self._code(k) for k in range(len(self.weights))]
        words = sign_words(self.perturbation, len(self.weights))
        return [sign_of(words, k) for k in range(len(self.weights))]

    def _begin(self) -> None:
        if self.sign:
            for k, xi in enumerate(self._signs()):
                self.weights[k] = within(self.weights[k] + self.sign * self.amplitude * xi, 32767)

    def _end(self, update: bool) -> None:
        step = self._size() if update else 0
        if self.sign == 0:
            return
        # The trial began at REWIND: noted for sign +1, returned to for sign -1.
        self.perturbation = self.rewind.copy()
        signs = self._signs()
        back = self.amplitude if self.velocity else self.amplitude + step
        for k, xi in enumerate(signs):
            if xi:
                self._move(k, -self.sign * back * xi)
        if update and self.velocity:
            self._gather((k, self.sign * step * xi) for k, xi in enumerate(signs))
        if update:
            self._next_row(len(self.weights))

    def _size(self) -> int:
        """Return how far weights move along their perturbation, or how much their velocities grow."""
        e = least_shift(self.delta, 15)
        p = within(tz(self.delta, e) * self.rate, 2**29)
        n = self.rate_shift + (self.estimator == layout.TWO_SIDED) - e
        threshold = self._threshold()
        if self.velocity:
            return self._scaled(p, n - 12, threshold)
        if n == 30:
            p, n = tz(p, 1), 29
        return clip(rounded(p, n, threshold) if n > 0 else p, 65535)


class NodePerturbation(Coded):
    """Every unit's drive is perturbed, anew each step."""

    rule = "node_perturbation"
    estimators = (*THREE, layout.EACH_STEP)
    amplitudes = range(1, 16385)
    eligible = True
    signs_units = True
    coded = True

    def _begin(self) -> None:
        if self.sign == 1:
            self.eligibility = [0] * len(self.weights)

    def _step(self, x: list[int]) -> list[int]:
        if self.sign:
            self._draw_signs()
        u = super()._step(x)
        if self.sign:
            self._fade()
            self._accumulate()
        return u

    def _draw_signs(self) -> None:
        """Draw, or by a code make, the words of signs."""
        if self.code == layout.RANDOM_SIGNS:
            self.signs = [sign_words(self.perturbation, layer.n_out) for layer in self.layers]
        elif self.code == layout.WALSH_HADAMARD:
            k = 16 * self.steps * sum(len(words) for words in self.signs)
            for words in self.signs:
                for b in range(len(words)):
                    words[b] = sum((self._code(k + j) == 1) << j for j in range(16))
                    k += 16

    def _xi(self, k: int, i: int) -> int:
        if self.code == layout.ONE_AT_A_TIME:
            number = sum(layer.n_out for layer in self.layers[:k]) + i
            return self._code(self.steps * self.n_units + number)
        return sign_of(self.signs[k], i)

    def _fade(self) -> None:
        if self.estimator == layout.EACH_STEP:
            self.eligibility = [clip(faded(e, self.trace_shift), 2**30 - 2**15) for e in self.eligibility]

    def _accumulate(self) -> None:
        """Add a step, or a tick, to the eligibility."""
        at = 0
        for _, k, i, layer in self._numbered():
            grown = self._grown(k, i, layer)
            for j, by in enumerate(grown):
                self.eligibility[at + j] = within(self.eligibility[at + j] + by, 2**30)
            at += len(grown)

    def _grown(self, k: int, i: int, layer: Layer) -> list[int]:
        """Return what a step adds to a unit's eligibilities."""
        return [self._xi(k, i) * x for x in [*self._inputs(k), 2**layer.input_frac]]

    def _fraction(self, layer: Layer) -> int:
        """Return the fraction bits of a layer's eligibilities."""
        return layer.input_frac

    def _learn(self) -> None:
        e = least_shift(self.delta, 15)
        q = within(self.sign * tz(self.delta, e) * self.rate, 2**29)
        f = least_shift(q, 14)
        q = within(tz(q, f), 2**14 - 1)
        g = least_shift(max(abs(v) for v in self.eligibility), 15)
        r = self._threshold()
        k, moves = 0, []
        for layer in self.layers:
            n = self.rate_shift + self._fraction(layer) - e - f - g + 2 * (self.estimator == layout.TWO_SIDED)
            n -= 12 * bool(self.velocity)
            q_layer = q
            if n > 29:
                q_layer = rounded(q, min(n - 29, 29), self._threshold())
                n = 29
            for _ in range((layer.n_in + 1) * layer.n_out):
                d = within(within(tz(self.eligibility[k], g), 2**15 - 1) * q_layer, 2**29)
                if self.velocity:
                    moves.append((k, self._scaled(d, n, r)))
                else:
                    self._move(k, -(rounded(d, n, r) if n > 0 else d))
                r = self._next_threshold(r)
                k += 1
        if self.velocity:
            self._gather(moves)

    def _end(self, update: bool) -> None:
        if update:
            self._learn()
            words = sum(len(words) for words in self.signs)
            self._next_row(self.steps * (16 * words if self.code == layout.WALSH_HADAMARD else self.n_units))


class ActivityDifference(NodePerturbation):
    """Two perturbed trials of one step: what the units did otherwise in the second is the eligibility's factor."""

    rule = "activity_difference"
    estimators = (layout.PERTURBED_PAIR,)
    coded = False

    def _begin(self) -> None:
        if self.phase == 0:
            super()._begin()

    def _accumulate(self) -> None:
        if self.steps:
            return
        at = 0
        for _, k, i, layer in self._numbered():
            x, h, bias = self._inputs(k), self.signals[k + 1][i], at + layer.n_in
            if self.phase == 0:
                self.eligibility[at : bias + 1] = [*x, h]
            else:
                d = clip(h - self.eligibility[bias], 32767)
                s = 1 if layer.activation == layout.IDENTITY else 4
                both = [within(p + q, 2**16) >> s for p, q in zip(x, self.eligibility[at:bias], strict=True)]
                both.append(2 ** (layer.input_frac + 1) >> s)
                self.eligibility[at : bias + 1] = [within(d * v, 2**30) for v in both]
            at = bias + 1

    def _fraction(self, layer: Layer) -> int:
        return 12 + layer.input_frac


class Hebb(NodePerturbation):
    """Node perturbation whose eligibility has outputs in place of their perturbations."""

    rule = "hebb"
    estimators = (layout.RUNNING_BASELINE, layout.UNPERTURBED_TRIAL, layout.EACH_STEP)
    coded = False
    unit_words = 1

    def _assert_formats(self) -> None:
        super()._assert_formats()
        assert self.own_words[0] in range(16)

    def _accumulate(self) -> None:
        self.units = [self.signals[k + 1][i] for _, k, i, _ in self._numbered()]
        super()._accumulate()

    def _grown(self, k: int, i: int, layer: Layer) -> list[int]:
        s, y = self.own_words[0], self.signals[k + 1][i]
        return [y * ((x + (2**s >> 1)) >> s) for x in self._inputs(k)] + [y * (2**layer.input_frac >> s)]

    def _fraction(self, layer: Layer) -> int:
        return layer.input_frac + 15 - self.own_words[0]
